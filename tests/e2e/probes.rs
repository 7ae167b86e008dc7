//! When is a service ready, healthy, stuck?

use harness::home::{Home, fixture, free_port};
use harness::procs::Process;
use harness::wait::until;
use serde_json::{Value, json};

/// A `web` fixture that reads its health from the file `word`, asked often.
fn web(port: u16) -> Value {
    json!({
        "command": fixture("web", &format!("port={port} control=word")), "url": format!("http://127.0.0.1:{port}"),
        "probes": {
            "startup": {"http": "/health", "interval": "20ms", "timeout": "300ms"},
            "readiness": {"http": "/health", "interval": "20ms", "timeout": "300ms", "failures": 2},
        },
    })
}

#[test]
fn health_is_read_as_the_contract_says() {
    let home = Home::new(&json!({"web": web(free_port())}));
    home.write("word", "healthy");
    home.ctl(&["up"]).code(0);
    for (word, health) in [
        ("degraded", "degraded"),
        ("healthy", "healthy"),
        ("unhealthy", "unhealthy"),
        ("plain", "healthy"),
        ("error", "unhealthy"),
        ("missing", "degraded"),
        ("hang", "degraded"),
    ] {
        home.write("word", word);
        let status = home.wait_for("web", &format!("{word} is {health}"), |s| s.health == health);
        assert!(!status.health_message.is_empty(), "{word}");
        assert_eq!(status.state, "running", "{word}");
    }
    let status = home.status("web");
    assert_eq!(
        (status.restarts, home.journal("web").lives.len()),
        (0, 1),
        "bad health is no reason to restart"
    );
}

#[test]
fn without_a_listener_it_is_unreachable_and_not_ready() {
    let port = free_port();
    let home = Home::new(&json!({"web": {
        "command": fixture("web", &format!("port={port} slow=700")), "url": format!("http://127.0.0.1:{port}"),
        "probes": {"startup": {"http": "/health", "interval": "50ms"}},
    }}));
    home.ctl(&["up", "--no-wait"]).code(0);
    let early = home.wait_for("web", "it starts", |s| s.state == "starting" && s.pid.is_some());
    assert_eq!((early.health.as_str(), early.ready), ("starting", false));
    let late = home.wait_for("web", "it is ready", |s| s.ready);
    assert_eq!((late.state.as_str(), late.health.as_str()), ("running", "healthy"));
}

#[test]
fn a_start_that_takes_too_long_is_a_failure() {
    let port = free_port();
    let home = Home::new(&json!({"web": {
        "command": fixture("web", &format!("port={port} slow=100000")), "url": format!("http://127.0.0.1:{port}"),
        "start_timeout": "300ms", "backoff": {"initial": "1h", "max": "1h"},
    }}));
    home.ctl(&["start", "web", "--timeout", "3"]).code(5).says("was not ready");
    let status = home.wait_for("web", "backoff", |s| s.state == "backoff");
    assert!(status.reason.contains("ready"), "{}", status.reason);
}

#[test]
fn tcp_exec_and_log_line() {
    let port = free_port();
    let home = Home::new(&json!({
        "tcp": {"command": fixture("web", &format!("port={port} slow=200")), "probes": {"startup": {"tcp": port, "interval": "20ms"}}},
        "exec": {
            "command": ["sh", "-c", "sleep 0.3; touch ready; exec sleep 600"], "path": "exec",
            "probes": {"startup": {"exec": ["sh", "-c", "echo looking; test -e ready"], "interval": "20ms"},
                       "readiness": {"exec": ["sh", "-c", "echo \"own word: $WORD\"; test -e ready"], "interval": "20ms"}},
            "env": {"WORD": "seven"},
        },
        "log": {
            "command": ["sh", "-c", "echo loading; sleep 0.3; echo 'listening on port 80'; exec sleep 600"],
            "probes": {"startup": {"log": "listening on port [0-9]+"}},
        },
    }));
    std::fs::create_dir(home.path("exec")).unwrap();
    home.ctl(&["up"]).code(0);
    for name in ["tcp", "exec", "log"] {
        let status = home.status(name);
        assert!(status.ready && status.state == "running", "{name}: {status:?}");
    }
    home.wait_for("exec", "the last line is the message", |s| s.health_message.contains("own word: seven"));
    std::fs::remove_file(home.path("exec/ready")).unwrap();
    home.wait_for("exec", "not ready any more", |s| !s.ready && s.state == "running");
}

#[test]
fn sd_notify_makes_ready_and_survives_a_new_keeper() {
    let home = Home::new(&json!({"app": {
        "command": fixture("notifier", "ready=300 status=warm"), "probes": {"startup": {"notify": true}},
    }}));
    home.ctl(&["up"]).code(0);
    let status = home.wait_for("app", "its own words", |s| s.notify_status.as_deref() == Some("warm"));
    assert!(status.ready);
    let keeper = home.keeper("app").unwrap();
    keeper.kill();
    until("a new keeper", || home.keeper("app").is_some_and(|k| k != keeper));
    let after = home.status("app");
    assert!(after.ready && after.pid == status.pid, "{after:?}");
}

#[test]
fn liveness_restarts_what_is_stuck() {
    let port = free_port();
    let mut service = web(port);
    service["probes"]["liveness"] =
        json!({"http": "/alive", "interval": "50ms", "timeout": "300ms", "failures": 2});
    service["backoff"] = json!({"initial": "20ms", "max": "20ms"});
    let home = Home::new(&json!({"web": service}));
    home.write("word", "healthy");
    home.ctl(&["up"]).code(0);
    let before = home.status("web");
    // It does not answer anybody while it is stopped.
    Process::of(before.pid.unwrap()).unwrap().signal(rustix::process::Signal::STOP);
    let after = home.wait_for("web", "a new run", |s| s.state == "running" && s.run != before.run);
    assert_eq!(after.restarts, 1);
    let events = home.ctl(&["events", "web", "--json"]).code(0);
    assert!(events.out.contains("liveness"), "{}", events.out);
}

#[test]
fn a_hung_probe_delays_nobody() {
    let (hung, fine) = (free_port(), free_port());
    let mut stuck = web(hung);
    stuck["command"] = fixture("web", &format!("port={hung} control=stuck"));
    stuck["probes"]["startup"]["timeout"] = json!("1h");
    let mut calm = web(fine);
    calm["command"] = fixture("web", &format!("port={fine} control=word"));
    let home = Home::new(&json!({"stuck": stuck, "calm": calm}));
    home.write("stuck", "hang");
    home.write("word", "healthy");
    home.ctl(&["up", "--no-wait"]).code(0);
    home.wait_for("calm", "it is ready beside the hung one", |s| s.ready);
    for word in ["degraded", "healthy"] {
        home.write("word", word);
        home.wait_for("calm", word, |s| s.health == word);
    }
    assert_eq!(home.status("stuck").state, "starting");
    home.ctl(&["down"]).code(0);
}
