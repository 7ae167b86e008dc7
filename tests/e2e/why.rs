//! The flight recorder: prepared failures, and what `why` and `incidents` tell of them. (A kill for memory needs a memory
//! controller: `tests/outside/guest/boot.sh`.)

use std::os::unix::fs::PermissionsExt;

use harness::home::{Home, Said, fixture, free_port, gone};
use harness::procs::Process;
use harness::wait::{eventually, until};
use serde_json::{Value, json};

/// What `why` says once it names an incident.
#[track_caller]
fn why(home: &Home, name: &str) -> Said {
    eventually("the incident is written down", || {
        let said = home.ctl(&["why", name]).code(0);
        if said.out.contains("helmctl incidents show") { Ok(said) } else { Err(format!("{said:?}")) }
    })
}

/// The incidents of a service, newest first, once there are so many.
#[track_caller]
fn incidents(home: &Home, name: &str, count: usize) -> Vec<Value> {
    eventually("so many incidents", || {
        let said = home.ctl(&["incidents", name, "--json"]).code(0).json();
        let found = said.as_array().unwrap().clone();
        if found.len() == count { Ok(found) } else { Err(format!("{said:#}")) }
    })
}

/// The newest incident, once it is not this one.
#[track_caller]
fn until_another(home: &Home, former: &Value) -> Value {
    eventually("another incident", || {
        let said = home.ctl(&["incidents", "-n", "1", "--json"]).code(0).json();
        if said[0]["run"] == former["run"] { Err(format!("{said:#}")) } else { Ok(said[0].clone()) }
    })
}

fn shell(text: &str) -> Value {
    json!({"command": text, "shell": true, "restart": "never"})
}

#[test]
fn a_bad_exit_shows_the_code_and_the_last_words() {
    let home = Home::new(
        &json!({"core": shell("printf 'reading \\033[2J config\\n'; echo 'no such table: users' >&2; exit 3")}),
    );
    home.ctl(&["start", "core", "--no-wait"]).code(0);
    home.wait_for("core", "it has failed", |s| s.state == "failed");
    let said = why(&home, "core").says("core has failed").says("exited with code 3 after 0.");
    let said = said
        .says("last words")
        .says("no such table: users")
        .says("reading \u{fffd}[2J config")
        .says("Helm does not start it again by itself");
    said.says("Next: mend what its last words say (helmctl output core -n 50), then helmctl start core");
    let [incident] = &incidents(&home, "core", 1)[..] else { unreachable!() };
    assert_eq!((&incident["kind"], &incident["exit"]), (&json!("ended"), &json!("code 3")));
    let number = incident["number"].to_string();
    home.ctl(&["incidents", "show", &number]).code(0).says("last words").says("stderr no such table: users");
    home.ctl(&["events", "core"]).code(0).says(&format!("incident {number}  exited with code 3"));
    home.ctl(&["incidents", "show", "99999"]).code(4).says("there is no incident 99999");
    let path = home.path(&format!("instance/incidents/{:0>8}-core.json", number));
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_signal_from_nobody_known_and_one_through_helm_are_told_apart() {
    let home = Home::new(&json!({
        "web": shell("echo hello; kill -SEGV $$"),
        "core": {"command": fixture("chatty", "rate=5"), "restart": "never"},
    }));
    home.ctl(&["start", "web", "core", "--no-wait"]).code(0);
    home.wait_for("web", "it has failed", |s| s.state == "failed");
    why(&home, "web")
        .says("was ended by signal 11 (SIGSEGV)")
        .says("hello")
        .says("it crashed (memory that is not its own)")
        .says("Next: a fault in the program");
    home.wait_for("core", "it runs", |s| s.state == "running");
    home.ctl(&["signal", "core", "HUP"]).code(0);
    home.wait_for("core", "it has failed", |s| s.state == "failed");
    why(&home, "core")
        .says("was ended by signal 1 (SIGHUP)")
        .says("shortly before")
        .says("SIGHUP sent by ")
        .says("(helmctl)")
        .says("Next: nothing is to be mended: it was sent through Helm; helmctl start core");
}

#[test]
fn a_sigkill_past_helm_is_not_taken_for_the_kernels() {
    let home = Home::new(&json!({"core": {"command": fixture("chatty", "rate=5"), "restart": "never"}}));
    home.ctl(&["start", "core"]).code(0);
    Process::of(home.status("core").pid.unwrap()).unwrap().kill();
    home.wait_for("core", "it has failed", |s| s.state == "failed");
    let said = why(&home, "core").says("was ended by signal 9 (SIGKILL)").says("somebody sent SIGKILL");
    assert!(!said.out.contains("out of memory"), "{}", said.out);
}

#[test]
fn a_failed_readiness_shows_what_the_probe_found() {
    let port = free_port();
    let home = Home::new(&json!({"web": {
        "command": "echo warming up; exec sleep 600", "shell": true, "restart": "never", "start_timeout": "1s",
        "probes": {"readiness": {"tcp": format!("127.0.0.1:{port}"), "interval": "100ms"}},
    }}));
    home.ctl(&["start", "web", "--no-wait"]).code(0);
    home.wait_for("web", "Helm has ended it", |s| s.state == "failed");
    let said = why(&home, "web").says("web has failed").says("was ended by Helm: it was not ready after 1 s");
    let said = said.says("last probe").says("startup unreachable").says("times in a row");
    said.says("warming up")
        .says("Next: mend what its probe says")
        .says("start_timeout of web in services.json");
    let [incident] = &incidents(&home, "web", 1)[..] else { unreachable!() };
    let probes = incident["probes"].as_array().unwrap();
    assert!(!probes.is_empty() && probes.iter().all(|p| p["probe"] == "startup"), "{incident:#}");
}

#[test]
fn a_dependency_that_is_down_is_named_with_its_own_failure() {
    let home = Home::new(&json!({
        "db": shell("echo 'disk full' >&2; exit 4"),
        "core": {"command": fixture("chatty", "rate=5"), "depends_on": {"db": "completed"}},
        "nexus": {"command": fixture("chatty", "rate=5"), "depends_on": {"core": "ready"}},
    }));
    home.ctl(&["up", "--no-wait"]).code(0);
    home.wait_for("db", "it has failed", |s| s.state == "failed");
    incidents(&home, "db", 1);
    for name in ["core", "nexus"] {
        let said = home.ctl(&["why", name]).code(0).says(&format!("{name} is not started"));
        let said = said.says("db has failed").says("exited with code 4").says("disk full");
        said.says("Next: helmctl why db").says(&format!("{name} is started by itself"));
    }
    assert!(home.ctl(&["incidents", "core"]).code(0).out.contains("no incident"), "nothing of it has ended");
}

#[test]
fn a_missing_program_and_a_missing_directory_are_named() {
    let home = Home::new(&json!({
        "core": {"command": ["no-such-program", "--serve"]},
        "web": {"command": ["sleep", "600"], "path": "not/there"},
    }));
    home.ctl(&["start", "core", "web", "--no-wait"]).code(0);
    home.wait_for("core", "it has failed", |s| s.state == "failed");
    let said = why(&home, "core").says("core could not be started").says("no-such-program");
    let said =
        said.says("Next: install it or mend core in services.json (helmctl reload), then helmctl start core");
    assert!(!said.out.contains("last words"), "it did not run: {}", said.out);
    home.wait_for("web", "it is not installed", |s| s.state == "not_installed");
    why(&home, "web")
        .says("web could not be started")
        .says("the directory")
        .says("not/there is not there")
        .says("Next: put it there");
}

#[test]
fn a_taken_port_is_named_with_its_holder() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let home = Home::new(&json!({"web": {"command": ["sleep", "600"], "port": port}}));
    home.ctl(&["start", "web", "--no-wait"]).code(0);
    home.wait_for("web", "somebody else holds its port", |s| s.state == "external");
    let pid = std::process::id();
    home.ctl(&["why", "web"])
        .code(0)
        .says("web is not started by Helm")
        .says(&format!("pid {pid} ("))
        .says(&format!("holds port {port}"))
        .says(&format!("Next: end that process (kill {pid}): web is started as soon as the port is free"));
}

#[test]
fn a_killed_keeper_is_told_while_the_service_goes_on() {
    let home = Home::new(&json!({"core": {"command": fixture("chatty", "rate=5")}}));
    home.ctl(&["start", "core"]).code(0);
    let before = home.status("core");
    home.keeper("core").unwrap().kill();
    until("a new keeper", || home.keeper("core").is_some());
    let said = eventually("why tells it", || {
        let said = home.ctl(&["why", "core"]).code(0);
        if said.out.contains("its keeper") { Ok(said) } else { Err(said.out) }
    });
    said.says("core is well").says("was killed, or crashed; a new one takes over, the service goes on");
    assert_eq!(home.status("core").pid, before.pid);
    assert!(home.ctl(&["incidents"]).code(0).out.contains("no incident"));
}

#[test]
fn an_end_while_helmd_and_keeper_were_dead_is_an_incident_of_the_next_helmd() {
    let home = Home::new(&json!({"core": {
        "command": "echo here; while [ ! -e go ]; do sleep 0.02; done; echo gone; exit 5", "shell": true, "restart": "never",
    }}));
    home.ctl(&["start", "core"]).code(0);
    let service = Process::of(home.status("core").pid.unwrap()).unwrap();
    home.kill_helmd();
    home.write("go", "");
    gone(service);
    home.ctl(&["daemon", "start"]).code(0);
    home.wait_for("core", "it has failed", |s| s.state == "failed");
    why(&home, "core").says("exited with code 5").says("here").says("gone");
    // It is not told again by the one after.
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    incidents(&home, "core", 1);
}

#[test]
fn what_runs_again_says_what_happened_and_what_had_changed() {
    let services = |code: u8| {
        json!({
            "core": {
                "command": format!("while [ ! -e go ]; do sleep 0.02; done; rm go; exit {code}"), "shell": true,
                "backoff": {"initial": "10ms", "max": "10ms"},
            },
            "nexus": {"command": fixture("chatty", "rate=5"), "depends_on": {"core": "ready"}},
        })
    };
    let home = Home::new(&services(1));
    home.ctl(&["up"]).code(0);
    home.ctl(&["why", "core"]).code(0).says("core is well").says("running, ready");
    home.write_services(&services(9));
    home.ctl(&["reload", "--wait"]).code(0);
    let run = home.wait_for("core", "it is up again", |s| s.state == "running").run;
    home.write("go", "");
    home.wait_for("core", "its next run", |s| s.state == "running" && s.run != run);
    let said = why(&home, "core").says("core failed, and runs again").says("exited with code 9");
    let said = said.says("running, ready").says("configuration 2 applied by ");
    assert!(said.out.contains("command "), "what changed: {}", said.out);
    // A start by hand closes the matter.
    home.ctl(&["restart", "core"]).code(0);
    home.ctl(&["why", "core"]).code(0).says("core is well").says("last incident");
    home.ctl(&["why", "croe"]).code(4).says("did you mean `core`?");
}

#[test]
fn incidents_are_in_the_store_when_the_home_has_them_no_more() {
    let home = Home::new(&json!({"core": shell("echo the reason; exit 6")}));
    home.ctl(&["start", "core", "--no-wait"]).code(0);
    let [incident] = &incidents(&home, "core", 1)[..] else { unreachable!() };
    let number = incident["number"].to_string();
    let kept = || {
        let file = |name| std::fs::read(home.path(&format!("instance/store/{name}"))).unwrap_or_default();
        let bytes = [file("main.db"), file("main.db-wal")].concat();
        bytes.windows(10).any(|part| part == b"\"evidence\"")
    };
    until("the store has it, with its event", kept);
    std::fs::remove_dir_all(home.path("instance/incidents")).unwrap();
    let found = incidents(&home, "core", 1);
    assert_eq!(&found[0], incident);
    home.ctl(&["incidents", "show", &number]).code(0).says("the reason");
    home.ctl(&["incidents", "--since", "1h"]).code(0).says("exited with code 6");
    home.ctl(&["incidents", "-n", "0"]).code(0).says("no incident");
    home.ctl(&["start", "core", "--no-wait"]).code(0);
    let newer = until_another(&home, incident);
    assert!(newer["number"].as_u64() > incident["number"].as_u64(), "no number is given again: {newer:#}");
    home.ctl(&["incidents", "show", &number]).code(0).says("the reason");
}
