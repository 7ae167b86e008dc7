//! helmctl: exit codes, JSON, and manners.

use std::process::{Command, Stdio};

use harness::home::{Home, Said, fixture, free_port};
use serde_json::{Value, json};

fn one() -> Home {
    Home::new(&json!({"web": {"command": fixture("chatty", "rate=5")}}))
}

#[test]
fn exit_codes_say_what_happened() {
    let home = Home::new(&json!({
        "web": {"command": fixture("chatty", "rate=5")},
        "bad": {"command": ["no-such-program"]},
        "slow": {"command": ["sleep", "600"], "probes": {"startup": {"exec": ["false"], "interval": "50ms"}}},
    }));
    home.ctl(&["status"]).code(3).says("daemon start");
    home.ctl(&["start", "web"]).code(0);
    home.ctl(&["start", "bad"]).code(1).says("no-such-program");
    home.ctl(&["no-such-verb"]).code(2);
    home.ctl(&["output", "web", "--stream", "stdin"]).code(2);
    home.ctl(&["status", "wbe"]).code(4).says("web");
    home.ctl(&["stop", "nothing-like-it"]).code(4);
    home.ctl(&["start", "slow", "--timeout", "1"]).code(5);
}

#[test]
fn a_directory_that_is_no_home_is_told_so() {
    let output =
        Command::new(harness::bins::bin("helmctl")).args(["--home", "/proc", "status"]).output().unwrap();
    Said::of(&output).code(2).says("services.json");
}

#[test]
fn status_json_has_its_documented_shape() {
    let port = free_port();
    let home = Home::new(&json!({
        "web": {"command": fixture("web", &format!("port={port}")), "url": format!("http://127.0.0.1:{port}"), "port": port},
        "off": {"command": fixture("exiter", "after=0 code=7"), "restart": "never"},
    }));
    home.ctl(&["up", "--no-wait"]).code(0);
    home.wait_for("web", "healthy", |s| s.health == "healthy");
    home.wait_for("off", "its end", |s| s.last_exit.is_some() && s.pid.is_none());
    let all = home.ctl(&["status", "--json"]).code(0).json();
    let services = all["services"].as_array().unwrap();
    let names: Vec<&str> = services.iter().filter_map(|s| s["name"].as_str()).collect();
    assert_eq!(names, ["off", "web"]);
    let web = &services[1];
    for (key, value) in [
        ("state", json!("running")),
        ("status", json!("running")),
        ("port", json!(port)),
        ("health", json!("healthy")),
        ("restarts", json!(0)),
        ("last_exit", Value::Null),
        ("pid", json!(home.status("web").pid)),
    ] {
        assert_eq!(web[key], value, "{key}");
    }
    let started = web["started_at"].as_str().unwrap();
    assert!(started.ends_with('Z') && started.as_bytes()[10] == b'T', "{started}");
    assert!(web["health_message"].is_string());
    let off = &services[0];
    assert_eq!(
        (&off["last_exit"], &off["pid"], &off["started_at"].is_null()),
        (&json!("code 7"), &Value::Null, &off["started_at"].is_null())
    );
}

#[test]
fn everything_that_prints_data_speaks_json() {
    let home = one();
    home.ctl(&["up"]).code(0);
    for words in [
        &["list", "--json"][..],
        &["status", "web", "--json"],
        &["config", "check", "--json"],
        &["daemon", "status", "--json"],
    ] {
        let value = home.ctl(words).code(0).json();
        assert!(value.is_object(), "{words:?}: {value}");
    }
    harness::wait::until("some output", || home.ctl(&["output", "web", "--json"]).out.lines().count() > 2);
    for words in [&["output", "web", "-n", "3", "--json"][..], &["events", "--json"]] {
        let said = home.ctl(words).code(0);
        assert!(said.out.lines().count() >= 3, "{words:?}: {}", said.out);
        for line in said.out.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{words:?}: {e}: {line}"));
        }
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let home = one();
    home.ctl(&["up"]).code(0);
    let mut child =
        home.helmctl(&["output", "web", "-f"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let status = harness::wait::eventually("it ends when nobody reads", || {
        child.try_wait().unwrap().ok_or(String::new())
    });
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert!(said.is_empty() && status.code() != Some(101), "{status}: {said}");
}

#[test]
fn no_colours_where_nobody_sees_them() {
    let home = one();
    home.ctl(&["up"]).code(0);
    let plain = home.ctl(&["status"]).code(0);
    assert!(!plain.out.contains('\x1b'), "{:?}", plain.out);
    assert!(plain.out.lines().all(|l| l.chars().count() <= 80), "{}", plain.out);
    let colours = home.ctl(&["--color", "always", "status"]).code(0);
    assert!(colours.out.contains('\x1b'), "{:?}", colours.out);
    let output = home.helmctl(&["status"]).env("NO_COLOR", "1").output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stdout).contains('\x1b'));
}

#[test]
fn the_words_that_scripts_look_for() {
    let home = one();
    home.ctl(&["start", "web"]).code(0).says("started");
    home.ctl(&["start", "web"]).code(0).says("already running");
    home.ctl(&["status"]).code(0).says("running");
    home.ctl(&["stop", "web"]).code(0).says("stopped");
}

#[test]
fn events_tell_the_story_with_causes() {
    let home = one();
    home.ctl(&["up"]).code(0);
    home.ctl(&["stop", "web"]).code(0);
    let events = home.ctl(&["events", "web", "--json"]).code(0).out;
    let states: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["kind"] == "state")
        .map(|event| event["to"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(states.first().map(String::as_str), Some("starting"));
    assert_eq!(states.last().map(String::as_str), Some("stopped"));
    assert!(events.contains("uid 0"), "who asked: {events}");
    // History outlives helmd.
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    let after = home.ctl(&["events", "web", "--json", "-n", "1000"]).code(0).out;
    for line in events.lines() {
        assert!(after.contains(line), "lost: {line}");
    }
}

#[test]
fn services_are_listed_in_the_order_of_the_file() {
    let home = Home::new(&json!({}));
    home.write(
        "services.json",
        r#"{"zeta": {"command": ["true"]}, "alpha": {"command": ["true"]}, "mid": {"command": ["true"]}}"#,
    );
    home.ctl(&["daemon", "start"]).code(0);
    for verb in ["list", "status"] {
        let all = home.ctl(&[verb, "--json"]).code(0).json();
        let names: Vec<&str> =
            all["services"].as_array().unwrap().iter().filter_map(|s| s["name"].as_str()).collect();
        assert_eq!(names, ["zeta", "alpha", "mid"], "{verb}");
    }
}

#[test]
fn in_a_pipe_the_way_is_told_line_by_line() {
    let home = Home::new(&json!({
        "web": {"command": fixture("chatty", "rate=5")},
        "worker": {"command": fixture("chatty", "rate=5"), "depends_on": ["web"]},
        "bad": {"command": ["no-such-program"]},
    }));
    let started = home.ctl(&["start", "worker"]).code(0);
    let way: Vec<&str> = started.err.lines().filter(|line| !line.starts_with("helmd started")).collect();
    assert_eq!(way[0], "also starts: web (needed by worker)", "{}", started.err);
    assert!(way[1..].iter().all(|line| line.starts_with("worker: ")) && way.len() > 1, "{}", started.err);
    assert_eq!(started.out, "worker: started\n");

    let up = home.ctl(&["up"]).code(1);
    let mut out: Vec<&str> = up.out.lines().collect();
    out.sort_unstable();
    assert!(out[0].starts_with("bad: could not be started") && out.len() == 3, "{}", up.out);
    assert_eq!(out[1..], ["web: already running", "worker: already running"]);
    for said in [&started, &up] {
        let all = said.out.clone() + &said.err;
        assert!(!all.chars().any(|c| c.is_control() && c != '\n'), "{all:?}");
    }
    let json = home.ctl(&["down", "--json"]).code(0);
    assert_eq!((json.json()["result"].as_str(), json.err.as_str()), (Some("done"), ""));
}

#[test]
fn what_was_wrong_is_still_shown_after_a_down() {
    let home = Home::new(&json!({
        "task": {"command": ["true"], "restart": "on-failure"},
        "broken": {"command": ["sh", "-c", "exit 7"], "restart": "never"},
        "well": {"command": fixture("chatty", "rate=5")},
    }));
    home.ctl(&["up"]).code(1);
    home.ctl(&["down"]).code(0);
    let shown = home.ctl(&["status"]).code(0).out;
    let line = |name: &str| shown.lines().position(|l| l.starts_with(name)).map(|i| shown.lines().skip(i));
    let task = line("task").and_then(|mut lines| lines.next()).unwrap();
    assert!(task.contains("completed"), "{shown}");
    let broken: Vec<&str> = line("broken").unwrap().take(2).collect();
    assert!(broken[0].contains("stopped") && broken[1].contains("; before: exited with code 7"), "{shown}");
    assert_eq!(line("well").map(Iterator::count), Some(1), "nothing is to be said of it: {shown}");
}
