//! Starting, stopping, wishes, and the ends of services that do not end nicely.

use harness::home::{Home, fixture, free_port, gone};
use harness::procs::{Process, children};
use harness::wait::{eventually, until};
use rustix::process::Signal;
use serde_json::json;

use crate::left;

#[test]
fn up_begins_a_helmd_starts_all_and_down_leaves_nothing() {
    let home = Home::new(&json!({
        "one": {"command": fixture("chatty", "rate=5")},
        "two": {"command": fixture("forker", "depth=2 width=2"), "depends_on": ["one"]},
    }));
    let said = home.ctl(&["up"]).code(0);
    assert!(said.err.contains("helmd"), "it does not say that it began a helmd: {}", said.err);
    assert!(said.says("started").code == 0);
    let two = home.status("two");
    assert_eq!((two.state.as_str(), two.restarts), ("running", 0));
    assert_eq!(two.pid, Some(home.life("two").pid));
    home.ctl(&["up"]).code(0).says("already running");

    home.ctl(&["down"]).code(0);
    assert_eq!(left(&home), Vec::<String>::new());
    until("no keeper is left", || home.keepers().is_empty());
    for name in ["one", "two"] {
        assert_eq!(home.status(name).state, "stopped");
        assert!(home.life(name).end.is_some(), "{name} was not told to end");
    }
    home.ctl(&["daemon", "stop"]).code(0);
    home.ctl(&["daemon", "status"]).code(3);
}

#[test]
fn a_stop_is_a_wish_and_down_is_a_hold() {
    let home = Home::new(&json!({
        "keep": {"command": fixture("chatty", "rate=5")},
        "rest": {"command": fixture("chatty", "rate=5")},
    }));
    home.ctl(&["up"]).code(0);
    home.ctl(&["stop", "rest"]).code(0).says("stopped");
    home.ctl(&["down"]).code(0);
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    assert_eq!(home.status("keep").state, "stopped", "a hold outlives helmd");

    home.ctl(&["up", "--as-wanted"]).code(0);
    home.wait_for("keep", "running", |s| s.state == "running");
    assert_eq!(home.status("rest").state, "stopped", "what the operator stopped is left alone");
    home.ctl(&["up"]).code(0);
    assert_eq!(home.status("rest").state, "running");
}

#[test]
fn restart_is_a_new_run_and_no_failure() {
    let home = Home::new(&json!({"web": {"command": fixture("chatty", "rate=5")}}));
    home.ctl(&["up"]).code(0);
    let before = home.status("web");
    home.ctl(&["restart", "web"]).code(0);
    let after = home.status("web");
    assert_ne!((before.pid, &before.run), (after.pid, &after.run));
    assert_eq!((after.state.as_str(), after.restarts), ("running", 0));
    until("the second life is noted", || home.journal("web").lives.len() == 2);
    assert_eq!(home.journal("web").clashes.len(), 0);
}

#[test]
fn helmd_leaves_on_sigterm_and_services_stay() {
    let home = Home::new(&json!({"web": {"command": fixture("chatty", "rate=50")}}));
    let helmd = home.spawn_helmd();
    home.answers();
    home.ctl(&["start", "web"]).code(0);
    let before = home.status("web");
    helmd.signal(Signal::TERM);
    assert_eq!(helmd.ended(), 0);
    let service = Process::of(before.pid.unwrap()).unwrap();
    assert!(service.alive());

    home.ctl(&["daemon", "start"]).code(0);
    let after = home.status("web");
    assert_eq!((after.state.as_str(), after.pid, &after.run), ("running", before.pid, &before.run));
    let began = |s: &helm_proto::v1::ServiceStatus| {
        s.started_at.as_ref().map(|t| t.seconds * 1000 + i64::from(t.nanos) / 1_000_000)
    };
    assert!(
        (began(&after).unwrap() - began(&before).unwrap()).abs() <= 50,
        "{:?} {:?}",
        before.started_at,
        after.started_at
    );
}

#[test]
fn one_helmd_per_home() {
    let home = Home::new(&json!({"web": {"command": fixture("chatty", "rate=5")}}));
    let _first = home.spawn_helmd();
    home.answers();
    let holder = home.helmd().unwrap();
    assert_ne!(home.spawn_helmd().ended(), 0);
    let said = home.read("helmd.err");
    assert!(said.contains(&holder.pid.to_string()) && said.contains("already"), "{said}");
}

#[test]
fn the_same_fleet_with_and_without_xdg_runtime_dir() {
    let home = Home::new(&json!({"web": {"command": fixture("chatty", "rate=5")}}));
    let runtime = home.path("runtime");
    std::fs::create_dir(&runtime).unwrap();
    let mut start = home.helmctl(&["daemon", "start"]);
    assert!(start.env("XDG_RUNTIME_DIR", &runtime).status().unwrap().success());
    home.ctl(&["start", "web"]).code(0);
    let before = home.status("web");
    home.kill_helmd();
    std::fs::remove_dir_all(&runtime).unwrap();

    home.ctl(&["daemon", "start"]).code(0);
    let after = home.status("web");
    assert_eq!((after.state.as_str(), after.pid), ("running", before.pid));
    home.ctl(&["down"]).code(0);
    assert_eq!(left(&home), Vec::<String>::new());
}

#[test]
fn the_end_of_a_login_takes_no_socket_away() {
    let home = Home::new(&json!({"web": {"command": fixture("chatty", "rate=5")}}));
    let runtime = home.path("runtime");
    std::fs::create_dir(&runtime).unwrap();
    let mut start = home.helmctl(&["daemon", "start"]);
    assert!(start.env("XDG_RUNTIME_DIR", &runtime).status().unwrap().success());
    // What systemd does with /run/user/UID after the last logout, without linger.
    std::fs::remove_dir_all(&runtime).unwrap();
    let mut up = home.helmctl(&["up"]);
    assert!(up.env("XDG_RUNTIME_DIR", &runtime).status().unwrap().success());
    assert_eq!(home.status("web").state, "running");
}

#[test]
fn a_home_with_a_long_path() {
    let home = Home::within(
        &"a-long-name-of-a-directory/".repeat(8),
        &json!({
            "web": {"command": fixture("notifier", "ready=50"), "probes": {"startup": {"notify": true}}},
        }),
    );
    home.ctl(&["up"]).code(0);
    assert!(home.status("web").ready);
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    assert_eq!(home.status("web").state, "running");
    home.ctl(&["down"]).code(0);
    assert_eq!(left(&home), Vec::<String>::new());
}

#[test]
fn one_that_ignores_sigterm_is_killed_after_its_grace_time() {
    let home = Home::new(&json!({
        "deaf": {"command": fixture("stubborn", ""), "stop": {"grace": "500ms"}},
        "real": {"command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], "stop": {"grace": "500ms"}},
    }));
    home.ctl(&["up"]).code(0);
    home.ctl(&["stop", "deaf", "real"]).code(0);
    let deaf = home.status("deaf");
    assert_eq!((deaf.state.as_str(), deaf.last_exit.as_deref()), ("stopped", Some("signal 9 (SIGKILL)")));
    assert_eq!(home.journal("deaf").deaf, 1, "SIGTERM comes first");
    assert_eq!(left(&home), Vec::<String>::new());
}

#[test]
fn one_that_stopped_itself_can_be_stopped() {
    let home = Home::new(&json!({
        "frozen": {"command": fixture("stubborn", "frozen"), "stop": {"grace": "500ms"}},
        "nice": {"command": ["sh", "-c", "trap 'exit 5' TERM; kill -STOP $$; while :; do sleep 0.1; done"]},
    }));
    home.ctl(&["up"]).code(0);
    for name in ["frozen", "nice"] {
        let process = Process::of(home.status(name).pid.unwrap()).unwrap();
        until("it has stopped itself", || process.frozen());
    }
    home.ctl(&["down"]).code(0);
    assert_eq!(home.status("nice").last_exit.as_deref(), Some("code 5"), "SIGCONT lets it end by itself");
    assert_eq!(left(&home), Vec::<String>::new());
}

#[test]
fn one_that_daemonises_is_ended_whole_and_told_so() {
    let home = Home::new(&json!({
        "daemon": {
            "command": fixture("forker", "how=daemonise depth=2 session"),
            "stop": {"grace": "500ms"}, "backoff": {"initial": "1h", "max": "1h"},
        },
    }));
    home.ctl(&["start", "daemon", "--no-wait"]).code(0);
    let status = home
        .wait_for("daemon", "its warning", |s| s.warnings.iter().any(|w| w.contains("does it daemonise?")));
    assert_eq!(status.last_exit.as_deref(), Some("code 0"));
    home.wait_for("daemon", "its end", |s| s.state == "backoff");
    assert_eq!(left(&home), Vec::<String>::new());
}

#[test]
fn a_wrapper_that_dies_first_takes_its_tree_along() {
    let child = fixture("chatty", "")[0].as_str().unwrap().to_owned();
    let home = Home::new(&json!({
        "wrapped": {
            "command": format!("{child} rate=20 & sleep 0.3; exit 3"), "shell": true,
            "backoff": {"initial": "50ms", "max": "50ms"}, "stop": {"grace": "500ms"},
        },
    }));
    home.ctl(&["start", "wrapped", "--no-wait"]).code(0);
    home.wait_for("wrapped", "three restarts", |s| s.restarts >= 3);
    assert_eq!(home.status("wrapped").last_exit.as_deref(), Some("code 3"));
    // The lock is held by the child: a start before the tree is empty would clash.
    let journal = home.journal("wrapped");
    assert_eq!(journal.clashes, Vec::<String>::new());
    assert!(journal.lives.len() >= 3);
}

#[test]
fn a_service_starts_from_a_clean_place() {
    let home = Home::new(&json!({
        "inside": {
            "command": concat!(
                "ls -l /proc/self/fd | sed 's/.*[0-9] //' >fd; readlink /proc/$$/fd/0 >stdin; cat /proc/self/status >status;",
                " cat /proc/$$/stat >stat; pwd >pwd; env | cut -d= -f1 | sort >env; echo \"$SERVICE_NAME\" >name; sleep 600"
            ),
            "shell": true, "path": "dir", "env": {"OWN": "1"},
        },
    }))
    .with_env("SERVICE_NAME", "helm")
    .with_env("SECRET_OF_THE_PARENT", "x");
    std::fs::create_dir(home.path("dir")).unwrap();
    home.ctl(&["up"]).code(0);
    until("it has looked around", || !home.read("dir/name").is_empty());
    let fds = home.read("dir/fd");
    // 0, 1 and 2, and the directory that ls reads.
    assert_eq!(fds.lines().filter(|l| l.contains("->")).count(), 4, "a descriptor has leaked\n{fds}");
    assert_eq!(home.read("dir/stdin").trim(), "/dev/null");
    let status = home.read("dir/status");
    for word in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"] {
        assert!(status.contains(word), "{word}\n{status}");
    }
    let pid = home.status("inside").pid.unwrap().to_string();
    let stat = home.read("dir/stat");
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    assert_eq!((fields[2], fields[3]), (pid.as_str(), pid.as_str()), "its own process group and session");
    assert_eq!(home.read("dir/pwd").trim(), home.path("dir").to_str().unwrap());
    let env = home.read("dir/env");
    assert!(env.contains("OWN\n") && !env.contains("SECRET_OF_THE_PARENT"), "{env}");
    assert_ne!(home.read("dir/name").trim(), "helm", "SERVICE_NAME of the parent");
}

#[test]
fn the_mode_wins_over_flaskenv_and_is_remembered() {
    let home = Home::new(&json!({
        "app": {"command": "echo \"$FLASK_ENV $ENVIRONMENT $COLOUR\" >>seen; exec sleep 600", "shell": true, "path": "app"},
    }));
    home.write("app/.flaskenv", "# comment\nFLASK_ENV=development\nCOLOUR='dark blue'\n");
    let seen = |n: usize| {
        eventually("the service has told its mode", || {
            home.read("app/seen").lines().nth(n).map(str::to_owned).ok_or(String::new())
        })
    };
    home.ctl(&["start", "app", "--mode", "production"]).code(0);
    assert_eq!(seen(0), "production production dark blue");
    assert_eq!(home.status("app").mode, "production");
    home.ctl(&["restart", "app"]).code(0);
    assert_eq!(seen(1), "production production dark blue");
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    home.ctl(&["restart", "app", "--mode", "development"]).code(0);
    assert_eq!(seen(2), "development development dark blue");
}

#[test]
fn its_own_services_json_is_written_before_the_start() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let home = Home::new(&json!({
        "$schema": "x",
        "app": {"path": "app", "url": url, "port": port, "visible": false, "probes": {"startup": false, "readiness": false}},
        "linked": {"path": "linked"},
    }));
    for dir in ["app", "linked"] {
        let python = format!("{dir}/pyenv/bin/python");
        home.write(&python, "#!/bin/sh\nexec sleep 600\n");
        std::fs::set_permissions(home.path(&python), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        home.write(&format!("{dir}/run.py"), "");
    }
    home.write("theirs.json", "{}");
    std::os::unix::fs::symlink("../theirs.json", home.path("linked/services.json")).unwrap();
    let own = home.read("services.json");
    home.ctl(&["up"]).code(0);
    let written: serde_json::Value = serde_json::from_str(&home.read("app/services.json")).unwrap();
    assert_eq!(written["app"]["url"], json!(url));
    assert_eq!(written["app"]["visible"], json!(false));
    assert_eq!(
        (written.get("$schema"), written.get("linked")),
        (None, None),
        "entries without url and $schema are left out"
    );
    assert_eq!(home.read("theirs.json"), "{}", "a symlink is left alone");
    assert_eq!(home.read("services.json"), own, "the home's own file is never written");
}

#[test]
fn every_service_has_a_keeper_of_its_own_that_stays() {
    let home = Home::new(&json!({
        "a": {"command": fixture("chatty", "rate=5")},
        "b": {"command": fixture("chatty", "rate=5")},
    }));
    home.ctl(&["up"]).code(0);
    let keeper = home.keeper("a").unwrap();
    assert_ne!(Some(keeper), home.keeper("b"));
    assert!(children(keeper.pid).iter().any(|p| Some(p.pid) == home.status("a").pid));
    home.ctl(&["restart", "a"]).code(0);
    assert_eq!(home.keeper("a"), Some(keeper), "it stays through a restart");
    home.ctl(&["stop", "a"]).code(0);
    gone(keeper);
}
