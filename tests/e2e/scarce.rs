//! No processes left.

use std::collections::BTreeSet;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use harness::home::{Home, Said, fixture};
use harness::procs::Process;
use helm_proto::v1::ServiceStatus;
use rustix::process::{Resource, getrlimit, getuid};
use serde_json::json;

/// A user that has no other processes: the limit counts all of its.
const USER: u32 = 64_999;

fn as_user(home: &Home, words: &[&str]) -> Said {
    let inner = home.helmctl(words);
    let user = USER.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
    command.arg(inner.get_program()).args(inner.get_args()).current_dir("/");
    for (key, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    Said::of(&command.output().unwrap())
}

fn give_away(dir: &Path) {
    chown(dir, Some(USER), Some(USER)).unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            give_away(&path);
        } else {
            chown(&path, Some(USER), Some(USER)).unwrap();
        }
    }
}

/// How many processes (and threads) the user of these may have when they start another one. As that user: no capability
/// is needed to change the soft limit of one's own processes.
fn limit(processes: &BTreeSet<Process>, count: &str) {
    let user = USER.to_string();
    for process in processes {
        let status = Command::new("setpriv")
            .args(["--reuid", &user, "--regid", &user, "--clear-groups", "prlimit"])
            .args([format!("--pid={}", process.pid), format!("--nproc={count}:")])
            .status();
        // The keeper of what was stopped leaves.
        assert!(status.unwrap().success() || !process.alive(), "{}", process.command());
    }
}

#[test]
fn without_processes_starts_are_tried_again_with_the_reason_and_neighbours_go_on() {
    assert!(getuid().is_root(), "this test makes a user of its own: run it as root");
    let home = Home::new(&json!({
        "calm": {"command": fixture("chatty", "rate=20")},
        "crash": {
            "command": "while [ ! -e go ]; do sleep 0.02; done; rm go; exit 3", "shell": true, "path": "dir",
            "backoff": {"initial": "50ms", "max": "50ms"},
        },
        "late": {"command": fixture("chatty", "rate=20"), "backoff": {"initial": "50ms", "max": "50ms"}},
    }));
    std::fs::create_dir(home.path("dir")).unwrap();
    give_away(home.dir());
    as_user(&home, &["up", "calm", "crash"]).code(0);
    let before = home.status("calm");

    let mut ours = home.keepers();
    ours.extend(home.helmd());
    let hard = getrlimit(Resource::Nproc).maximum.map_or("unlimited".to_owned(), |n| n.to_string());
    limit(&ours, "1");
    // helmd cannot start a keeper, a keeper cannot start its service.
    as_user(&home, &["start", "late", "--no-wait"]).code(0);
    home.write("dir/go", "");
    for name in ["late", "crash"] {
        let refused =
            |s: &ServiceStatus| s.state == "backoff" && s.reason.contains("Resource temporarily unavailable");
        let first = home.wait_for(name, "the reason", refused);
        home.wait_for(name, "it is tried again", |s| refused(s) && s.since != first.since);
    }
    let now = home.status("calm");
    assert_eq!((now.state.as_str(), now.pid), ("running", before.pid));
    // What was wanted is recorded, and a stop is carried out.
    as_user(&home, &["stop", "calm"]).code(0);
    assert_eq!(home.status("calm").state, "stopped");

    limit(&ours, &hard);
    for name in ["late", "crash"] {
        home.wait_for(name, "it runs", |s| s.state == "running");
    }
}
