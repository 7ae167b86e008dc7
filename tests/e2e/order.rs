//! Dependencies: who waits for whom, in which order things stop, and what a flapping dependency does not do.

use harness::home::{Home, fixture, free_port};
use serde_json::json;

#[test]
fn a_chain_starts_in_order_and_stops_in_reverse() {
    let (one, two) = (free_port(), free_port());
    let home = Home::new(&json!({
        "shop": {"command": fixture("chatty", "rate=5"), "depends_on": {"orders": "ready"}},
        "orders": {"command": fixture("web", &format!("port={two} slow=200")), "url": format!("http://127.0.0.1:{two}"), "depends_on": ["base"]},
        "base": {"command": fixture("web", &format!("port={one} slow=300 settle=300")), "url": format!("http://127.0.0.1:{one}")},
    }));
    home.ctl(&["start", "shop"]).code(0);
    let life = |name: &str| home.life(name).clone();
    // base is up 600 ms after its start at the earliest, orders 200 ms.
    assert!(life("orders").at - life("base").at >= 600_000_000, "orders did not wait until base was ready");
    assert!(life("shop").at - life("orders").at >= 200_000_000, "shop did not wait until orders was ready");
    home.ctl(&["down"]).code(0);
    let end = |name: &str| life(name).end.unwrap().at;
    assert!(end("shop") < end("orders") && end("orders") < end("base"), "not in reverse order");
}

#[test]
fn who_waits_says_for_whom() {
    let port = free_port();
    let home = Home::new(&json!({
        "web": {"command": fixture("web", &format!("port={port} slow=100000")), "url": format!("http://127.0.0.1:{port}")},
        "late": {"command": fixture("chatty", "rate=5"), "depends_on": ["web"]},
    }));
    home.ctl(&["up", "--no-wait"]).code(0);
    let late = home.wait_for("late", "it waits", |s| s.state == "blocked");
    assert_eq!(late.waits_for, ["web"]);
    assert!(late.reason.contains("waits for web"), "{}", late.reason);
    home.ctl(&["start", "late", "--timeout", "1"]).code(5).says("web");
    home.ctl(&["down"]).code(0);
    assert_eq!(home.journal("late").lives, []);
}

#[test]
fn a_wait_goes_on_through_restarts_of_the_dependency() {
    let home = Home::new(&json!({
        // Ready at its third life only.
        "base": {
            "command": "n=$(cat lives 2>/dev/null || echo 0); echo $((n + 1)) >lives; [ $n -ge 2 ] || exit 1; touch up; exec sleep 600",
            "shell": true, "path": "base",
            "backoff": {"initial": "50ms", "max": "50ms"},
            "probes": {"startup": {"exec": ["test", "-e", "up"], "interval": "50ms"}},
        },
        "late": {"command": fixture("chatty", "rate=5"), "depends_on": ["base"]},
    }));
    std::fs::create_dir(home.path("base")).unwrap();
    home.ctl(&["up"]).code(0);
    assert_eq!(home.read("base/lives").trim(), "3");
    let late = home.status("late");
    assert_eq!((late.state.as_str(), late.restarts), ("running", 0), "a wait is no failure");
}

#[test]
fn completed_once_per_boot() {
    let home = Home::new(&json!({
        "prepare": {"command": fixture("exiter", "after=100 code=0"), "restart": "never"},
        "app": {"command": fixture("chatty", "rate=5"), "depends_on": {"prepare": "completed"}},
    }));
    home.ctl(&["up"]).code(0);
    let prepare = home.status("prepare");
    assert_eq!((prepare.state.as_str(), prepare.completed), ("stopped", true));
    assert!(home.life("prepare").end.unwrap().at < home.life("app").at);
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    home.wait_for("prepare", "it is still known as completed", |s| s.completed);
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    let events = home.ctl(&["events", "--json"]).code(0).out;
    let ends =
        events.lines().filter(|l| l.contains(r#""kind":"exit""#) && l.contains(r#""service":"prepare""#));
    assert_eq!(ends.count(), 1, "its end is told once ever:\n{events}");
    home.ctl(&["up"]).code(0);
    assert_eq!(home.journal("prepare").lives.len(), 1, "it ran once");
}

#[test]
fn what_did_not_complete_lets_nobody_start() {
    let home = Home::new(&json!({
        "prepare": {"command": fixture("exiter", "after=50 code=4"), "restart": "never"},
        "app": {"command": fixture("chatty", "rate=5"), "depends_on": {"prepare": "completed"}},
    }));
    home.ctl(&["up", "--no-wait"]).code(0);
    home.wait_for("prepare", "its exit", |s| s.last_exit.as_deref() == Some("code 4"));
    let app = home.wait_for("app", "it waits", |s| s.state == "blocked");
    assert!(app.reason.contains("prepare"), "{}", app.reason);
    home.ctl(&["up", "--timeout", "60"])
        .code(1)
        .says("app: not started: prepare has failed (exited with code 4");
    assert_eq!(home.journal("app").lives, []);
}

#[test]
fn healthy_is_more_than_ready() {
    let port = free_port();
    let home = Home::new(&json!({
        "web": {
            "command": fixture("web", &format!("port={port} control=word")), "url": format!("http://127.0.0.1:{port}"),
            "probes": {"readiness": {"http": "/health", "interval": "50ms"}},
        },
        "ready": {"command": fixture("chatty", "rate=5"), "depends_on": {"web": "ready"}},
        "healthy": {"command": fixture("chatty", "rate=5"), "depends_on": {"web": "healthy"}},
    }));
    home.write("word", "degraded");
    home.ctl(&["up", "--no-wait"]).code(0);
    home.wait_for("ready", "degraded is ready", |s| s.state == "running");
    assert_eq!(home.status("healthy").state, "blocked");
    home.write("word", "healthy");
    home.wait_for("healthy", "its turn", |s| s.state == "running");
    assert_eq!(home.journal("web").lives.len(), 1);
}

#[test]
fn a_flapping_dependency_leaves_its_dependents_alone() {
    let home = Home::new(&json!({
        "base": {"command": fixture("exiter", "after=150 code=1"), "backoff": {"initial": "50ms", "max": "50ms"}},
        "app": {"command": fixture("chatty", "rate=5"), "depends_on": {"base": "started"}},
        "other": {"command": fixture("chatty", "rate=5")},
    }));
    home.ctl(&["up", "--no-wait"]).code(0);
    home.wait_for("base", "five restarts", |s| s.restarts >= 5);
    for name in ["app", "other"] {
        let status = home.status(name);
        assert_eq!((status.state.as_str(), status.restarts), ("running", 0), "{name}");
        assert_eq!(home.journal(name).lives.len(), 1, "{name}");
    }
    assert_eq!(home.journal("base").clashes, Vec::<String>::new());
}

#[test]
fn a_service_that_is_stopped_takes_nobody_along() {
    let home = Home::new(&json!({
        "base": {"command": fixture("chatty", "rate=5")},
        "app": {"command": fixture("chatty", "rate=5"), "depends_on": ["base"]},
    }));
    home.ctl(&["up"]).code(0);
    home.ctl(&["stop", "base"]).code(0);
    assert_eq!(
        (home.status("base").state.as_str(), home.status("app").state.as_str()),
        ("stopped", "running")
    );
    home.ctl(&["restart", "app"]).code(0);
    assert_eq!(home.status("base").state, "running", "a start brings what it needs");
}
