//! The configuration is edited and applied: only what differs, in order, with a way back.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

use harness::home::{Home, fixture, free_port};
use harness::procs::Process;
use harness::wait::{eventually, until};
use rustix::process::Signal;
use serde_json::{Value, json};

fn talks(rate: u32) -> Value {
    json!({"command": fixture("chatty", &format!("rate={rate}"))})
}

/// `name: action` of each service of a plan, in its order.
fn actions(plan: &Value) -> Vec<String> {
    let services = plan["services"].as_array().into_iter().flatten();
    services
        .map(|s| format!("{}: {}", s["name"].as_str().unwrap_or("?"), s["action"].as_str().unwrap_or("?")))
        .collect()
}

#[track_caller]
fn plan(home: &Home) -> Value {
    home.ctl(&["plan", "--json"]).code(0).json()
}

/// The configuration that is in force, by its number.
#[track_caller]
fn in_force(home: &Home) -> u64 {
    let history = eventually("helmd answers", || {
        // It may begin again just now.
        let said = home.ctl(&["config", "history", "--json"]);
        if said.code == 3 { Err(said.err) } else { Ok(said.code(0).json()) }
    });
    let current = history.as_array().into_iter().flatten().find(|version| version["current"] == true);
    current.and_then(|version| version["number"].as_u64()).unwrap_or(0)
}

/// One kind of change: what becomes of `web`, and what is done about it.
struct Case {
    what: &'static str,
    edit: fn(&mut Value),
    actions: &'static [&'static str],
    /// It goes on with the same process.
    stays: bool,
}

const CASES: [Case; 12] = [
    Case {
        what: "another command",
        edit: |s| s["web"]["command"] = fixture("chatty", "rate=9"),
        actions: &["web: restart"],
        stays: false,
    },
    Case {
        what: "a variable",
        edit: |s| s["web"]["env"]["COLOUR"] = json!("red"),
        actions: &["web: restart"],
        stays: false,
    },
    Case {
        what: "open files",
        edit: |s| s["web"]["limits"] = json!({"nofile": 512}),
        actions: &["web: restart"],
        stays: false,
    },
    Case {
        what: "a probe",
        edit: |s| s["web"]["probes"] = json!({"liveness": {"exec": ["true"], "interval": "1s"}}),
        actions: &["web: live"],
        stays: true,
    },
    Case {
        what: "the restart policy",
        edit: |s| s["web"]["restart"] = json!("never"),
        actions: &["web: live"],
        stays: true,
    },
    Case {
        what: "the stop",
        edit: |s| s["web"]["stop"] = json!({"signal": "SIGINT", "grace": "3s"}),
        actions: &["web: live"],
        stays: true,
    },
    Case {
        what: "rules of its log",
        edit: |s| s["web"]["log"] = json!({"rule": "plain", "segment_size": "64K"}),
        actions: &["web: live"],
        stays: true,
    },
    Case {
        what: "a limit of its cgroup",
        edit: |s| s["web"]["limits"] = json!({"nofile": 512, "pids": 100}),
        actions: &["web: live"],
        stays: true,
    },
    Case {
        what: "its port",
        edit: |s| s["web"]["port"] = json!(free_port()),
        actions: &["web: live"],
        stays: true,
    },
    Case {
        what: "one dependency less",
        edit: |s| s["web"]["depends_on"] = json!([]),
        actions: &["web: live"],
        stays: true,
    },
    Case { what: "a new service", edit: |s| s["new"] = talks(5), actions: &["new: start"], stays: true },
    Case {
        what: "one that is gone",
        edit: |s| drop(s.as_object_mut().unwrap().remove("new")),
        actions: &["new: stop"],
        stays: true,
    },
];

#[test]
fn twelve_kinds_of_change() {
    let mut services =
        json!({"db": talks(5), "web": {"command": fixture("chatty", "rate=5"), "depends_on": ["db"]}});
    let home = Home::new(&services);
    home.ctl(&["up"]).code(0);
    let (helmd, db) = (home.helmd().unwrap(), home.status("db").pid);
    for Case { what, edit, actions: expected, stays } in CASES {
        let former = home.status("web").pid;
        edit(&mut services);
        home.write_services(&services);
        let planned = plan(&home);
        assert_eq!(actions(&planned), *expected, "{what}: {planned:#}");
        let dry = home.ctl(&["reload", "--dry-run", "--json"]).code(0).json();
        assert_eq!(actions(&dry), *expected, "{what}");
        assert_eq!(home.status("web").pid, former, "{what}: a plan changes nothing");
        let said = home.ctl(&["reload", "--wait", "--json"]).code(0).json();
        assert_eq!(
            (said["result"].as_str(), actions(&said["plan"])),
            (Some("done"), expected.iter().map(ToString::to_string).collect()),
            "{what}: {said:#}"
        );
        assert_eq!(home.status("web").pid == former, stays, "{what}\n{}", home.story("web"));
        assert_eq!(plan(&home)["services"], json!([]), "{what}: nothing is left to do");
        assert_eq!(home.status("web").warnings, Vec::<String>::new(), "{what}");
    }
    assert_eq!(home.status("db").pid, db, "what did not change was not touched");
    assert_eq!(home.helmd(), Some(helmd), "helmd began again in place");
    assert_eq!(in_force(&home), 1 + CASES.len() as u64);
    assert!(home.journal("db").clashes.is_empty());
}

#[test]
fn what_means_the_same_is_not_applied_and_a_faulty_file_changes_nothing() {
    let home = Home::new(&json!({"web": talks(5)}));
    home.ctl(&["up"]).code(0);
    let pid = home.status("web").pid;
    let text = home.read("services.json");
    home.write("services.json", &format!("\n\n{text}"));
    home.ctl(&["reload"]).code(0).says("Nothing to do");
    assert_eq!(in_force(&home), 1);

    home.write("services.json", "{\"web\": {\"comand\": []}}");
    home.ctl(&["plan"]).code(1).says("did you mean `command`?");
    home.ctl(&["reload"]).code(1).says("the configuration has faults; nothing was changed");
    let faults = home.ctl(&["reload", "--json"]).code(1).json();
    assert_eq!((&faults["result"], &faults["plan"]["ok"]), (&json!("nothing"), &json!(false)));
    assert_eq!((in_force(&home), home.status("web").pid), (1, pid));
}

#[test]
fn restarts_follow_the_dependencies() {
    let with = |rate: u32| {
        let one = |needs: Value| json!({"command": fixture("chatty", &format!("rate={rate}")), "depends_on": needs});
        json!({"web": one(json!(["api"])), "api": one(json!(["db"])), "db": one(json!([]))})
    };
    let home = Home::new(&with(5));
    home.ctl(&["up"]).code(0);
    home.write_services(&with(6));
    assert_eq!(actions(&plan(&home)), ["db: restart", "api: restart", "web: restart"]);
    home.ctl(&["reload", "--wait"]).code(0);
    // A program that was started later may come to say so earlier.
    let events = home.ctl(&["events", "-n", "100", "--json"]).code(0).out;
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let runs = events.filter(|e| e["kind"] == "state" && e["to"] == "running");
    let runs: Vec<Value> = runs.map(|e| e["service"].clone()).collect();
    assert_eq!(runs, ["db", "api", "web", "db", "api", "web"]);
    let ended = |name: &str| home.journal(name).lives[0].end.map(|end| end.at).unwrap();
    assert!(ended("web") < ended("api") && ended("api") < ended("db"), "the stop is the reverse");
}

#[test]
fn what_an_operator_leaves_out_is_left_out_and_said() {
    let home = Home::new(&json!({"web": talks(5), "old": talks(5)}));
    home.ctl(&["up"]).code(0);
    let (web, old) = (home.status("web").pid, home.status("old").pid);
    home.write_services(&json!({"web": talks(6), "new": talks(5)}));
    home.ctl(&["reload", "--no-restart", "--no-start"])
        .code(0)
        .says("in force with: helmctl restart web")
        .says("end it with: helmctl stop old")
        .says("start it with: helmctl start new");
    assert_eq!((home.status("web").pid, home.status("old").pid, home.status("new").pid), (web, old, None));
    assert!(home.status("web").warnings[0].starts_with("runs by its former definition"));
    // A held fleet stays down.
    home.ctl(&["down"]).code(0);
    home.write_services(&json!({"web": talks(7), "new": talks(5), "more": talks(5)}));
    home.ctl(&["reload"]).code(0).says("the fleet is held down");
    assert!(home.processes().is_empty(), "{:?}", home.processes());
}

/// A service that serves `/health` on a port.
fn serves(port: u16, path: &str) -> Value {
    json!({
        "command": fixture("web", &format!("port={port}")), "port": port, "url": format!("http://127.0.0.1:{port}"),
        "probes": {"readiness": {"http": path, "interval": "200ms", "timeout": "1s", "failures": 2}},
    })
}

#[test]
fn what_does_not_become_healthy_is_taken_back() {
    let (port, other) = (free_port(), free_port());
    let good = json!({"site": serves(port, "/health"), "side": talks(5)});
    let home = Home::new(&good);
    home.ctl(&["up"]).code(0);
    let side = home.status("side").pid;

    // Another command that dies, a service that is gone, and a new one.
    let bad = json!({"site": {"command": fixture("exiter", "code=3 after=300")}, "new": talks(5)});
    home.write_services(&bad);
    let text = home.read("services.json");
    home.ctl(&["reload", "--wait", "--timeout", "20s"])
        .code(1)
        .says("configuration 2 was taken back: not all became healthy (20 s were given): site:")
        .says("what was restarted is up again");
    home.ctl(&["why", "new"])
        .says("stopped by the way back from configuration 2")
        .says("not in the configuration in force")
        .says("2 was taken back (helmctl config history)")
        .says("Next: helmctl plan");
    home.ctl(&["why", "site"]).says("2 was taken back because of it (helmctl config history)");
    assert_eq!(home.read("services.json"), text, "the operator's file stays as it is");
    until("site is ready", || home.status("site").ready);
    assert_eq!(home.status("side").state, "running");
    assert_ne!(home.status("side").pid, side, "it was stopped, and started again");
    assert!(home.journal("new").lives.iter().all(|life| life.end.is_some()), "the new one was ended");
    assert_eq!(in_force(&home), 1);
    let short = "configuration 2 was taken back: site did not become healthy; helmd runs by configuration 1. Why, and what to do: helmctl config history";
    home.ctl(&["status"]).code(0).says(short);
    home.ctl(&["config", "history"])
        .says("taken back: not all became healthy (20 s were given): site:")
        .says("helmctl config rollback 1");
    // A helmd that comes later does not apply it by the way.
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0).says(short);
    assert_eq!(plan(&home)["services"][0]["name"], json!("side"));

    // A probe that asks in vain is taken back too, and nothing was restarted.
    let pid = home.status("site").pid;
    home.write_services(&json!({"site": serves(other, "/health"), "side": talks(5)}));
    let mut wrong: Value = serde_json::from_str(&home.read("services.json")).unwrap();
    wrong["site"]["command"] = good["site"]["command"].clone();
    home.write("services.json", &wrong.to_string());
    assert_eq!(actions(&plan(&home)), ["site: live"]);
    home.ctl(&["reload", "--wait", "--timeout", "3s"]).code(1).says("site: ");
    assert_eq!(home.status("site").pid, pid);
    until("it is asked at its own port again", || home.status("site").health == "healthy");

    // Mended.
    home.write_services(&good);
    home.ctl(&["reload"]).code(0).says("Nothing to do");
    assert!(!home.ctl(&["status"]).code(0).err.contains("warning"));
    let history = home.ctl(&["config", "history"]).code(0).out;
    assert_eq!(history.matches("taken back:").count(), 2, "that stays on record\n{history}");
    assert!(!history.contains("rollback"), "and nothing is to be done about it\n{history}");
}

#[test]
fn what_was_taken_back_is_not_started_by_the_way_of_the_next_reload() {
    let home = Home::new(&json!({"side": talks(5)}));
    home.ctl(&["up"]).code(0);
    let with = |rate: u32| json!({"side": talks(rate), "new": {"command": ["/nowhere/program"]}});
    home.write_services(&with(5));
    home.ctl(&["plan"]).code(0).says("note: new.command: /nowhere/program is not there");
    let said = home.ctl(&["reload", "--wait"]).code(1);
    assert!(said.err.contains("new: ") && !said.err.contains("side: "), "{said:?}");
    let incidents = || home.ctl(&["incidents", "--json"]).code(0).json().as_array().map_or(0, Vec::len);
    assert_eq!(incidents(), 1);
    home.ctl(&["why", "new"])
        .code(4)
        .says("no service `new`")
        .says("configuration 2 was taken back: new did");
    home.write_services(&with(6));
    home.ctl(&["reload"]).code(0);
    home.wait_for("new", "it has failed", |s| s.state == "failed");
    until("it is told", || incidents() > 1);
    let events = home.ctl(&["events", "new", "--json", "-n", "100"]).code(0).out;
    let starts = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let starts = starts.filter(|event| event["kind"] == "state" && event["to"] == "starting");
    assert_eq!(starts.count(), 2, "one start for each reload\n{events}");
    // What is told of the failure is what differs from what was in force, not from what was taken back.
    home.ctl(&["why", "new"])
        .says("configuration 3 applied by")
        .says("command not given -> /nowhere/program");
}

#[test]
fn two_reloads_at_once() {
    let port = free_port();
    let home = Home::new(&json!({"site": serves(port, "/health")}));
    home.ctl(&["up"]).code(0);
    // It waits for a port that nobody listens at.
    let mut services = json!({"site": serves(port, "/health"), "late": serves(free_port(), "/health")});
    services["late"]["command"] = fixture("chatty", "rate=5");
    home.write_services(&services);
    let first = home.running(&["reload", "--wait", "--timeout", "120s"], Stdio::null());
    until("the first one is under way", || in_force(&home) == 2);
    let second = eventually("the second one is refused", || {
        // Until the next life answers it is away.
        let said = home.ctl(&["reload"]);
        if said.code == 3 { Err(said.err) } else { Ok(said) }
    });
    second.code(1).says("a reload is under way (configuration 2, asked by uid");
    // The operator's way out while it waits.
    home.ctl(&["stop", "late"]).code(0);
    assert_eq!(first.ended(), 0, "what is stopped is not waited for\n{}", home.read("logs/helmd.log"));
    home.ctl(&["reload"]).code(0).says("Nothing to do");
}

/// Makes services.json a pipe that blocks whoever reads it, until something is written and it is closed.
fn hanging(home: &Home) {
    let path = home.path("services.json");
    std::fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Its other end, once helmd reads it.
fn once_read(home: &Home) -> File {
    File::options().write(true).open(home.path("services.json")).unwrap()
}

#[test]
fn a_reload_is_done_whole_though_nobody_waits_for_it_any_more() {
    let home = Home::new(&json!({"web": talks(5)}));
    home.ctl(&["up"]).code(0);
    let pid = home.status("web").pid;
    let text = home.read("services.json").replace("rate=5", "rate=6");
    hanging(&home);
    let waits = home.running(&["reload"], Stdio::null());
    let mut pipe = once_read(&home);
    drop(waits);
    home.write("services.new", &text);
    std::fs::rename(home.path("services.new"), home.path("services.json")).unwrap();
    pipe.write_all(text.as_bytes()).unwrap();
    drop(pipe);
    until("it is in force", || in_force(&home) == 2);
    until("it is carried out", || home.read("logs/helmd.log").contains("restarting web"));
    until("it runs anew", || home.status("web").pid != pid && home.status("web").state == "running");
}

#[test]
fn helmd_leaves_though_a_reload_hangs() {
    let home = Home::new(&json!({"web": talks(5)}));
    home.ctl(&["up"]).code(0);
    let (helmd, life) = (home.helmd().unwrap(), home.life("web"));
    hanging(&home);
    helmd.signal(Signal::HUP);
    let _hangs = once_read(&home);
    helmd.signal(Signal::TERM);
    until("it has left", || !helmd.alive());
    assert_eq!(home.life("web").nonce, life.nonce);
}

#[test]
fn a_changed_secret_is_told_and_not_shown() {
    let with = |password: &str| {
        json!({"web": {
            "command": fixture("chatty", &format!("rate=5 db=postgres://me:{password}@db/x")),
            "env": {"DB_PASSWORD": password},
        }})
    };
    let conf = |password: &str| format!("[database_credentials]\npassword = {password}\n");
    let home = Home::new(&with("geheim1"));
    home.write("instance/helm.conf", &conf("geheim3"));
    home.ctl(&["up"]).code(0);
    home.write_services(&with("geheim2"));
    home.write("instance/helm.conf", &conf("geheim4"));
    let planned = home.ctl(&["plan"]).code(0);
    home.ctl(&["reload"]).code(0);
    let told = [planned, home.ctl(&["config", "diff", "1"]).code(0), home.ctl(&["config", "diff", "1", "2"])];
    for said in told {
        for field in ["env.DB_PASSWORD  ********", "db=postgres://me:********@db/x", "database  ********"] {
            assert!(said.out.contains(field), "{field}\n{}", said.out);
        }
        assert_eq!(said.out.matches("it changed").count(), 3, "{}", said.out);
        assert!(!said.out.contains("geheim"), "{}", said.out);
    }
}

#[test]
fn a_secret_that_was_not_there_before_is_told_as_new() {
    let home = Home::new(&json!({"web": talks(5)}));
    home.ctl(&["up"]).code(0);
    let mut services = json!({"web": talks(5)});
    services["web"]["env"] = json!({"DB_PASSWORD": "geheim"});
    home.write_services(&services);
    home.write(
        "instance/helm.conf",
        "[database]\nconnection_string = postgresql://me:geheim@127.0.0.1:1/x\n",
    );
    let said = home.ctl(&["plan"]).code(0);
    for field in ["env.DB_PASSWORD  (not given) -> ********", "database  (not given) -> ********"] {
        assert!(said.out.contains(field), "{field}\n{}", said.out);
    }
    assert!(!said.out.contains("it changed") && !said.out.contains("geheim"), "{}", said.out);
}

#[test]
fn a_signal_reloads_and_a_killed_helmd_goes_on_with_it() {
    let home = Home::new(&json!({"web": talks(5)}));
    home.ctl(&["up"]).code(0);
    let former = home.status("web").pid;
    home.write_services(&json!({"web": talks(6), "new": talks(5)}));
    home.helmd().unwrap().signal(Signal::HUP);
    until("it is applied", || home.read("logs/helmd.log").contains("configuration 2 is in force"));
    until("the new one runs", || home.status("new").state == "running");
    assert_ne!(home.status("web").pid, former);
    let history = home.ctl(&["config", "history", "--json"]).code(0).json();
    assert_eq!(history[0]["by"], json!("SIGHUP"));

    // Faulty files: the log says it, and helmd goes on.
    home.write("services.json", "{");
    home.helmd().unwrap().signal(Signal::HUP);
    until("it is refused", || home.read("logs/helmd.log").contains("SIGHUP: the configuration has faults"));
    assert_eq!(in_force(&home), 2);

    // Killed with a gate open: the next one waits on, and takes it back.
    let mut services = json!({"web": talks(6), "new": talks(5), "late": serves(free_port(), "/health")});
    services["late"]["command"] = fixture("chatty", "rate=5");
    home.write_services(&services);
    let waits = home.running(&["reload", "--wait", "--timeout", "5s"], Stdio::null());
    until("the new one is started", || home.journal("late").lives.iter().any(|life| life.end.is_none()));
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    assert_eq!(waits.ended(), 1);
    assert_eq!(in_force(&home), 2);
    assert!(home.journal("late").lives.iter().all(|life| life.end.is_some()));
}

#[test]
fn a_former_configuration_comes_back() {
    let home = Home::new(&json!({"web": talks(5)}));
    home.ctl(&["up"]).code(0);
    let first = home.read("services.json");
    home.write_services(&json!({"web": talks(6)}));
    home.ctl(&["reload"]).code(0);
    home.ctl(&["config", "diff", "1"]).code(0).says("rate=5").says("rate=6");
    home.ctl(&["config", "diff", "1", "2"]).code(0).says("web: changed");
    home.ctl(&["config", "diff", "2"]).code(0).says("no difference");
    home.ctl(&["config", "diff", "7"]).code(2).says("configuration 7 is not kept");

    // An edit that was never applied is kept, too.
    home.write_services(&json!({"web": talks(7)}));
    let edited = home.read("services.json");
    home.ctl(&["config", "rollback", "1", "--wait"]).code(0).says("configuration 4 is in force");
    assert_eq!(home.read("services.json"), first);
    assert_eq!(home.read("instance/config-history/000003/services.json"), edited);
    let history = home.ctl(&["config", "history"]).code(0);
    assert!(
        history.out.contains("the files before the rollback to 1")
            && history.out.contains("rollback to 1, by uid"),
        "{}",
        history.out
    );
    assert_eq!(plan(&home)["services"], json!([]));

    // What is set at once stands in the history, and is not lost with the next reload.
    home.ctl(&["retention", "set", "audit", "400d"]).code(0);
    home.write_services(&json!({"web": talks(8)}));
    home.ctl(&["reload"]).code(0);
    home.ctl(&["retention", "show"]).code(0).says("audit");
    assert_eq!(in_force(&home), 6);
}

#[test]
fn an_operation_that_waits_goes_on_over_a_reload() {
    let port = free_port();
    let mut slow = serves(port, "/health");
    slow["command"] = fixture("web", &format!("port={port} slow=3000"));
    let home = Home::new(&json!({"slow": slow.clone(), "web": talks(5)}));
    home.ctl(&["daemon", "start"]).code(0);
    let out = std::fs::File::create(home.path("up.err")).unwrap();
    let up = home.running(&["up"], out);
    until("it is being started", || home.status("slow").pid.is_some());
    let pid = home.status("slow").pid;
    home.write_services(
        &json!({"slow": slow, "web": {"command": fixture("chatty", "rate=5"), "restart": "on-failure"}}),
    );
    home.ctl(&["reload"]).code(0);
    assert!(Process::of(pid.unwrap()).unwrap().alive());
    assert_eq!(up.ended(), 0, "{}", home.read("up.err"));
    assert_eq!((home.status("slow").pid, home.status("slow").ready), (pid, true));
}
