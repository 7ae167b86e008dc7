//! Kills: of helmd, of keepers, of both, and what happened meanwhile.

use harness::home::{Home, fixture, free_port, gone};
use harness::journal::{self, faults};
use harness::procs::Process;
use harness::wait::{eventually, until};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::{Value, json};

fn exits_when_told(code: u8) -> Value {
    json!({
        "command": format!("while [ ! -e go ]; do sleep 0.02; done; rm go; echo gone; exit {code}"), "shell": true, "path": "dir",
        "backoff": {"initial": "50ms", "max": "50ms"},
    })
}

fn home_with(name: &str, service: Value) -> Home {
    let home = Home::new(&json!({name: service}));
    std::fs::create_dir(home.path("dir")).unwrap();
    home.ctl(&["up"]).code(0);
    home
}

#[test]
fn what_ended_while_helmd_was_away_is_handled_with_its_real_exit() {
    let home = home_with("app", exits_when_told(7));
    let before = home.status("app");
    home.kill_helmd();
    let service = Process::of(before.pid.unwrap()).unwrap();
    home.write("dir/go", "");
    gone(service);
    home.ctl(&["daemon", "start"]).code(0);
    let after = home.wait_for("app", "its next run", |s| s.state == "running" && s.run != before.run);
    assert_eq!((after.last_exit.as_deref(), after.restarts), (Some("code 7"), 1));
}

#[test]
fn exits_that_the_killed_helmd_had_not_written_are_told_by_the_next() {
    // Lives end with 1, 2 and 3; the fourth stays.
    let service = "n=$(($(cat n) + 1)); echo $n >n; [ $n -gt 3 ] || exit $n; exec sleep 1000";
    let home = Home::new(&json!({"app": {
        "command": service, "shell": true, "path": "dir", "restart": "always", "backoff": {"initial": "10ms", "max": "10ms"},
    }}));
    std::fs::create_dir(home.path("dir")).unwrap();
    home.write("dir/n", "0");
    home.ctl(&["daemon", "start"]).code(0);
    // The journal's thread hangs at its first event, as on a disk that does not answer.
    let events = home.path("instance/events.jsonl");
    assert!(!events.exists(), "nothing has happened yet");
    mkfifoat(CWD, &events, Mode::RUSR | Mode::WUSR).unwrap();
    home.ctl(&["start", "app", "--no-wait"]).code(0);
    let before = home.wait_for("app", "its fourth life", |s| s.restarts == 3 && s.state == "running");
    // The keeper has tidied up after the third one.
    until("the next run is prepared", || home.path("instance/run/app/spare/record").exists());
    home.kill_helmd();
    std::fs::remove_file(&events).unwrap();
    for _ in 0..2 {
        home.ctl(&["daemon", "start"]).code(0);
        let after = home.status("app");
        assert_eq!((after.pid, after.restarts, after.last_exit.as_deref()), (before.pid, 3, Some("code 3")));
        let exits = || {
            let text = home.read("instance/events.jsonl");
            let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            entries.filter(|entry| entry["kind"] == "exit").collect::<Vec<_>>()
        };
        until("they are written", || exits().len() >= 3);
        let told: Vec<_> = exits().iter().map(|exit| exit["to"].as_str().unwrap().to_owned()).collect();
        assert_eq!(told, ["code 1", "code 2", "code 3"], "each once, in order");
        let times: Vec<_> = exits().iter().map(|exit| exit["at"].as_i64().unwrap()).collect();
        let fourth = before.started_at.unwrap();
        let fourth = fourth.seconds * 1_000_000_000 + i64::from(fourth.nanos);
        assert!(times.is_sorted() && times[2] < fourth, "{times:?}, {fourth}");
        home.kill_helmd();
    }
}

#[test]
fn a_killed_keeper_is_replaced_and_the_service_goes_on() {
    let home = home_with("app", exits_when_told(9));
    let before = home.status("app");
    for _ in 0..5 {
        let keeper = home.keeper("app").unwrap();
        keeper.kill();
        until("a new keeper", || home.keeper("app").is_some_and(|k| k != keeper));
        let now = home.wait_for("app", "it runs", |s| s.state == "running");
        assert_eq!((now.pid, &now.run, now.restarts), (before.pid, &before.run, 0));
    }
    home.write("dir/go", "");
    let after = home.wait_for("app", "its next run", |s| s.run != before.run && s.state == "running");
    assert_eq!(after.last_exit.as_deref(), Some("code 9"), "the exit is known although its parent is dead");
}

#[test]
fn helmd_and_keeper_at_once() {
    let home = home_with("app", json!({"command": fixture("chatty", "rate=200")}));
    let before = home.status("app");
    for _ in 0..5 {
        home.keeper("app").unwrap().kill();
        home.kill_helmd();
        home.ctl(&["daemon", "start"]).code(0);
        let now = home.wait_for("app", "it runs", |s| s.state == "running");
        assert_eq!((now.pid, &now.run, now.restarts), (before.pid, &before.run, 0));
        until("a keeper", || home.keeper("app").is_some());
    }
    home.ctl(&["down"]).code(0);
    let journal = home.journal("app");
    assert_eq!((journal.lives.len(), journal.clashes.len()), (1, 0));
    let end = journal.lives[0].end.expect("it ended when it was told to");
    let heard = journal::heard(&home.lines("app")).remove(&journal.lives[0].nonce).unwrap();
    assert_eq!((faults(&heard.out, Some(end.out)), faults(&heard.err, Some(end.err))), (vec![], vec![]));
}

#[test]
fn when_all_three_are_dead_the_exit_is_unknown_and_counts_as_a_failure() {
    let home = home_with("app", exits_when_told(0));
    let before = home.status("app");
    let service = Process::of(before.pid.unwrap()).unwrap();
    home.kill_helmd();
    let keeper = home.keeper("app").unwrap();
    keeper.kill();
    gone(keeper);
    home.write("dir/go", "");
    // As long as it is a zombie, its exit can still be learnt.
    until("nobody knows any more", || service.reaped());
    home.ctl(&["daemon", "start"]).code(0);
    let after = home.wait_for("app", "its next run", |s| s.run != before.run && s.state == "running");
    assert_eq!((after.last_exit.as_deref(), after.restarts), (Some("unknown"), 1));
}

#[test]
fn a_tree_is_ended_whole_after_its_keeper_was_killed() {
    let home = home_with(
        "tree",
        json!({"command": fixture("forker", "depth=2 width=2 session deaf"), "stop": {"grace": "300ms"}}),
    );
    let keeper = home.keeper("tree").unwrap();
    until("the tree has grown", || home.processes().len() == 7);
    keeper.kill();
    until("a new keeper", || home.keeper("tree").is_some_and(|k| k != keeper));
    home.wait_for("tree", "it runs", |s| s.state == "running");
    home.ctl(&["down"]).code(0);
    assert_eq!(crate::left(&home), Vec::<String>::new());
}

#[test]
fn a_killed_helmd_starts_nothing_twice_and_goes_on_with_a_stop() {
    let home = home_with("deaf", json!({"command": fixture("stubborn", ""), "stop": {"grace": "1s"}}));
    let pid = Process::of(home.status("deaf").pid.unwrap()).unwrap();
    home.ctl(&["stop", "deaf", "--no-wait"]).code(0);
    home.wait_for("deaf", "it is being stopped", |s| s.state == "stopping");
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    gone(pid);
    home.wait_for("deaf", "the stop has ended", |s| s.state == "stopped");
    assert_eq!(home.journal("deaf").lives.len(), 1);
}

#[test]
fn what_helmd_knew_of_a_service_outlives_it() {
    let port = free_port();
    let home = Home::new(&json!({
        "web": {
            "command": fixture("web", &format!("port={port} control=word")), "url": format!("http://127.0.0.1:{port}"),
            "backoff": {"initial": "50ms", "max": "50ms"},
            // The next answer is far away: what is known at first is what was known before.
            "probes": {"startup": {"http": "/health", "interval": "50ms"}, "readiness": {"http": "/health", "interval": "1h"}},
        },
        "loop": {"command": fixture("exiter", "after=0 code=1"), "backoff": {"initial": "1h", "max": "1h"}},
    }));
    home.write("word", "degraded");
    home.ctl(&["up", "--no-wait"]).code(0);
    home.wait_for("web", "its first life", |s| s.ready);
    Process::of(home.status("web").pid.unwrap()).unwrap().kill();
    home.wait_for("web", "its second life", |s| s.ready && s.restarts == 1 && s.health == "degraded");
    home.wait_for("loop", "its backoff", |s| s.state == "backoff");
    let known = |name: &str| {
        let all = home.ctl(&["status", name, "--json"]).code(0).json();
        let mut status = all["services"][0].clone();
        // The keeper and helmd look at the clock one after the other.
        for moving in
            ["health_latency_ms", "next_start_ms", "started_at", "cpu_percent", "memory_mb", "uptime"]
        {
            status.as_object_mut().unwrap().remove(moving);
        }
        status
    };
    let before = (known("web"), known("loop"));
    for _ in 0..2 {
        // What was to be written last is lost with a helmd that is killed at once.
        let newest = |name: &str| {
            let text = home.read("instance/run/memory.jsonl");
            let of_it = |line: &&str| line.contains(&format!(r#""service":"{name}""#));
            text.lines().rev().find(of_it).unwrap_or_default().to_owned()
        };
        until("it is written", || {
            let (web, other) = (newest("web"), newest("loop"));
            web.contains("degraded") && web.contains(r#""restarts":1"#) && other.contains("backoff")
        });
        home.kill_helmd();
        home.ctl(&["daemon", "start"]).code(0);
        assert_eq!((known("web"), known("loop")), before);
    }
}

#[test]
fn a_restart_outlives_the_helmd_that_was_to_do_it() {
    for ends_meanwhile in [false, true] {
        let home = home_with(
            "deaf",
            json!({"command": fixture("stubborn", ""), "restart": "never", "stop": {"grace": "3s"}}),
        );
        let before = home.status("deaf");
        let process = Process::of(before.pid.unwrap()).unwrap();
        home.ctl(&["restart", "deaf", "--no-wait"]).code(0);
        home.wait_for("deaf", "it is being stopped", |s| s.state == "stopping");
        home.kill_helmd();
        if ends_meanwhile {
            process.kill();
            gone(process);
        }
        home.ctl(&["daemon", "start"]).code(0);
        home.wait_for("deaf", "its next run", |s| s.state == "running" && s.run != before.run);
        until("it notes its second life", || home.journal("deaf").lives.len() == 2);
        // It was asked for once.
        home.kill_helmd();
        home.ctl(&["daemon", "start"]).code(0);
        assert_eq!((home.status("deaf").state.as_str(), home.journal("deaf").lives.len()), ("running", 2));
    }
}

#[test]
fn a_helmd_beside_a_broken_file_goes_on_with_the_last_good_copy() {
    let home = home_with("app", json!({"command": fixture("chatty", "rate=5")}));
    let before = home.status("app");
    home.kill_helmd();
    home.write("services.json", "{\"app\": {");
    home.ctl(&["daemon", "start"]).code(0);
    let after = home.status("app");
    assert_eq!((after.state.as_str(), after.pid), ("running", before.pid));
    let said = home.ctl(&["daemon", "status"]).code(0);
    assert!(said.out.to_lowercase().contains("last good"), "not said loudly: {}", said.out);
    home.ctl(&["restart", "app"]).code(0);
}

#[test]
fn a_hundred_services_are_adopted() {
    let services: serde_json::Map<String, Value> =
        (0..100).map(|n| (format!("s{n:03}"), json!({"command": ["sleep", "600"]}))).collect();
    let home = Home::new(&Value::Object(services));
    home.ctl(&["up"]).code(0);
    let pids = |home: &Home| -> Vec<Option<u32>> { home.statuses().into_iter().map(|s| s.pid).collect() };
    let before = pids(&home);
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    let after = eventually("all are known again", || {
        let all = home.statuses();
        let known = all.iter().filter(|s| s.state == "running").count();
        if known == 100 { Ok(pids(&home)) } else { Err(format!("{known} of 100")) }
    });
    assert_eq!(before, after);
    home.ctl(&["down"]).code(0);
    assert_eq!(crate::left(&home), Vec::<String>::new());
}

/// It was ended by SIGTERM, in its first and only life.
fn ended_once(home: &Home) {
    let journal = home.journal("app");
    assert_eq!((journal.lives.len(), journal.clashes.len()), (1, 0));
    assert_eq!(journal.lives[0].end.expect("it ended when it was told to").code, 0);
}

#[test]
fn a_stopped_keeper_is_woken_up_by_the_next_order() {
    let home = home_with("app", json!({"command": fixture("chatty", "rate=20"), "stop": {"grace": "30s"}}));
    home.life("app");
    let keeper = home.keeper("app").unwrap();
    keeper.signal(rustix::process::Signal::STOP);
    until("it is stopped", || keeper.frozen());
    home.ctl(&["restart", "app"]).code(0);
    assert_eq!(home.keeper("app"), Some(keeper), "there was no need to replace it");
    let journal = home.journal("app");
    assert_eq!((journal.lives[0].end.map(|end| end.code), journal.clashes.len()), (Some(0), 0));
}

/// Holds a process still so that no SIGCONT wakes it up, as a debugger does. Lets go of it when it is dropped.
struct Debugger(std::process::Child);

impl Debugger {
    fn of(process: Process) -> Self {
        const SCRIPT: &str = "\
import ctypes, os, sys
pid, ptrace = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True).ptrace
SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
for request in (SEIZE, INTERRUPT):
    assert ptrace(request, pid, None, None) == 0, os.strerror(ctypes.get_errno())
os.waitpid(pid, WALL)
print('held', flush=True)
sys.stdin.read()
";
        let mut child = std::process::Command::new("python3")
            .args(["-c", SCRIPT, &process.pid.to_string()])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let out = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut said).unwrap();
        assert_eq!(said, "held\n");
        Self(child)
    }
}

impl Drop for Debugger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_keeper_that_takes_no_order_is_replaced_and_the_service_is_not_touched() {
    let home = home_with("app", json!({"command": fixture("chatty", "rate=20"), "stop": {"grace": "120s"}}));
    let service = Process::of(home.life("app").pid).unwrap();
    let keeper = home.keeper("app").unwrap();
    let held = Debugger::of(keeper);
    home.ctl(&["stop", "app", "--no-wait"]).code(0);
    until("a new keeper", || home.keeper("app").is_some_and(|k| k != keeper));
    gone(service);
    home.wait_for("app", "the order was carried out by the new one", |s| s.state == "stopped");
    drop(held);
    ended_once(&home);
}

#[test]
fn a_directory_that_hangs_below_one_service_keeps_nobody() {
    let web = |rate| json!({"command": fixture("chatty", &format!("rate={rate}"))});
    let stuck = json!({"command": fixture("chatty", "rate=5"), "path": "dir", "env_file": "vars"});
    let home = Home::new(&json!({"app": web(5), "stuck": stuck}));
    std::fs::create_dir(home.path("dir")).unwrap();
    // Whoever opens it to read waits for a writer, as for a server of files that is gone.
    mkfifoat(CWD, home.path("dir/vars"), Mode::RUSR | Mode::WUSR).unwrap();
    home.ctl(&["start", "app"]).code(0);
    let before = home.status("app");
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    let after = home.status("app");
    assert_eq!((after.state.as_str(), after.pid, after.restarts), ("running", before.pid, 0));
    // It is said, by helmd and by a check; and an edit is noticed as ever.
    let hangs = "could not be looked at within 2s";
    eventually("its warning", || {
        let said = home.ctl(&["daemon", "status"]).code(0).out;
        if said.matches(hangs).count() == 1 { Ok(()) } else { Err(said) }
    });
    home.ctl(&["config", "check"]).code(0).says(hangs);
    home.write_services(&json!({"app": web(6), "stuck": stuck}));
    home.ctl(&["status"]).code(0).says("services.json was changed after helmd read it");
}

/// helmd is killed while `app` runs, and the next one cannot read the record of its run until `meanwhile` is done.
fn adopted_late(wishes_are_lost: bool, meanwhile: impl Fn(&Home)) {
    let home = home_with("app", json!({"command": fixture("chatty", "rate=20")}));
    let before = home.status("app");
    home.life("app");
    home.kill_helmd();
    if wishes_are_lost {
        home.write("instance/wishes.json", "{");
    }
    let record = home.path(&format!("instance/run/app/{}/record", before.run));
    let aside = record.with_extension("aside");
    std::fs::rename(&record, &aside).unwrap();
    // A directory is there, and no bytes can be read from it.
    std::fs::create_dir(&record).unwrap();
    home.ctl(&["daemon", "start"]).code(0);
    let silent = home.status("app");
    assert_eq!(
        (silent.state.as_str(), silent.reason.as_str()),
        ("blocked", "its keeper has not answered yet")
    );
    meanwhile(&home);
    std::fs::remove_dir(&record).unwrap();
    std::fs::rename(&aside, &record).unwrap();
    let after = home.wait_for("app", "it is known again", |s| s.state == "running");
    assert_eq!((after.pid, after.run, after.restarts), (before.pid, before.run, 0));
    home.ctl(&["stop", "app"]).code(0);
    ended_once(&home);
}

#[test]
fn a_service_whose_keeper_answers_late_goes_on() {
    adopted_late(false, |home| drop(home.ctl(&["start", "app", "--no-wait"]).code(0)));
}

#[test]
fn a_service_whose_keeper_answers_late_goes_on_where_the_wishes_are_lost() {
    adopted_late(true, |_| {});
}
