//! What happens after a service has ended by itself.

use harness::home::{Home, fixture};
use harness::procs::Process;
use serde_json::json;

#[test]
fn exits_are_told_as_they_were() {
    let home = Home::new(&json!({
        "code": {"command": fixture("exiter", "after=50 code=7"), "restart": "never"},
        "done": {"command": fixture("exiter", "after=50 code=0"), "restart": "on-failure"},
        "signal": {"command": fixture("exiter", "after=50 signal=6"), "restart": "never"},
    }));
    home.ctl(&["up", "--no-wait"]).code(0);
    for (name, exit) in [("code", "code 7"), ("done", "code 0"), ("signal", "signal 6 (SIGABRT)")] {
        let status = home.wait_for(name, exit, |s| s.last_exit.as_deref() == Some(exit) && s.pid.is_none());
        assert_eq!(status.restarts, 0, "{name}");
        assert_eq!(home.journal(name).lives.len(), 1, "{name}");
    }
    assert_eq!(home.status("done").state, "stopped");
    home.ctl(&["events", "code", "--json"]).code(0).says("code 7");
}

#[test]
fn on_failure_restarts_failures_only() {
    let home = Home::new(&json!({
        "app": {
            "command": "n=$(cat lives 2>/dev/null || echo 0); echo $((n + 1)) >lives; [ $n -ge 2 ] && exit 0; exit 9",
            "shell": true, "path": "app", "restart": "on-failure", "backoff": {"initial": "20ms", "max": "20ms"},
        },
    }));
    std::fs::create_dir(home.path("app")).unwrap();
    home.ctl(&["start", "app", "--no-wait"]).code(0);
    let status = home
        .wait_for("app", "it is done", |s| s.state == "stopped" && s.last_exit.as_deref() == Some("code 0"));
    assert_eq!((home.read("app/lives").trim(), status.restarts), ("3", 2));
}

#[test]
fn it_gives_up_at_the_limit_and_a_start_tries_again() {
    let home = Home::new(&json!({
        "app": {"command": fixture("exiter", "after=0 code=2"), "backoff": {"initial": "20ms", "max": "20ms", "limit": 3}},
    }));
    home.ctl(&["start", "app", "--no-wait"]).code(0);
    let status = home.wait_for("app", "it gives up", |s| s.state == "failed");
    assert!(status.reason.contains("code 2"), "{}", status.reason);
    let lives = home.journal("app").lives.len();
    assert_eq!(lives, 3);
    home.ctl(&["start", "app", "--no-wait"]).code(0);
    home.wait_for("app", "it tried again", |_| home.journal("app").lives.len() > lives);
}

#[test]
fn a_start_cuts_the_backoff_short() {
    let home = Home::new(&json!({
        "app": {
            "command": "[ -e mended ] || exit 1; exec sleep 600", "shell": true, "path": "app",
            "backoff": {"initial": "1h", "max": "1h", "jitter": 0},
        },
    }));
    std::fs::create_dir(home.path("app")).unwrap();
    home.ctl(&["start", "app", "--no-wait"]).code(0);
    let status = home.wait_for("app", "backoff", |s| s.state == "backoff");
    let wait = status.next_start_ms.expect("a countdown");
    assert!((3_500_000..=3_600_000).contains(&wait), "{wait}");
    home.write("app/mended", "");
    home.ctl(&["start", "app"]).code(0);
    assert_eq!(home.status("app").state, "running");
}

#[test]
fn the_first_restart_after_a_healthy_time_is_at_once() {
    let home = Home::new(&json!({
        "app": {"command": fixture("chatty", "rate=5"), "backoff": {"initial": "1h", "max": "1h", "reset_after": "200ms"}},
    }));
    home.ctl(&["up"]).code(0);
    let first = home.status("app");
    let end = std::time::Instant::now() + std::time::Duration::from_millis(300);
    harness::wait::until("it was healthy for its time", || std::time::Instant::now() > end);
    Process::of(first.pid.unwrap()).unwrap().kill();
    let second = home.wait_for("app", "its successor", |s| s.state == "running" && s.run != first.run);
    assert_eq!((second.restarts, second.last_exit.as_deref()), (1, Some("signal 9 (SIGKILL)")));
    // Killed again before it was healthy for its time: now the backoff of an hour holds.
    Process::of(second.pid.unwrap()).unwrap().kill();
    home.wait_for("app", "backoff", |s| s.state == "backoff");
}

#[test]
fn a_crash_loop_does_not_disturb_its_neighbours() {
    let home = Home::new(&json!({
        "loop": {"command": fixture("exiter", "after=0 code=1 rate=0"), "backoff": {"initial": "1ms", "max": "1ms"}},
        "calm": {"command": fixture("chatty", "rate=100")},
    }));
    home.ctl(&["up", "--no-wait"]).code(0);
    home.wait_for("loop", "fifty restarts", |s| s.restarts >= 50);
    let calm = home.status("calm");
    assert_eq!((calm.state.as_str(), calm.restarts), ("running", 0));
    assert_eq!(home.journal("loop").clashes, Vec::<String>::new());
    home.ctl(&["down"]).code(0);
}

#[test]
fn descendants_of_a_killed_service_are_gone_before_the_next_start() {
    let home = Home::new(&json!({
        "tree": {"command": fixture("forker", "depth=2 width=3 deaf"), "backoff": {"initial": "10ms", "max": "10ms"}, "stop": {"grace": "100ms"}},
    }));
    home.ctl(&["up"]).code(0);
    for n in 1..=5 {
        let before = home
            .wait_for("tree", "it runs", |s| s.state == "running" && home.journal("tree").lives.len() == n);
        Process::of(before.pid.unwrap()).unwrap().kill();
        home.wait_for("tree", "its successor", |s| s.state == "running" && s.run != before.run);
    }
    home.wait_for("tree", "its last life", |_| home.journal("tree").lives.len() == 6);
    let journal = home.journal("tree");
    assert_eq!((journal.lives.len(), journal.clashes), (6, Vec::<String>::new()));
}
