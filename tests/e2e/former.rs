//! Run directories that former versions wrote stay readable: what runs by them is adopted.
//!
//! `fixtures/rundir-v1/` is what version 0.1.0 left: the states of its records, its memory, its wishes. What holds for one
//! boot and one process alone (boot id, pid, start time) is filled in here, nothing else.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use harness::bins::{bin, root};
use harness::home::{Home, fixture};
use harness::wait::until;
use helm_shim::record::{RUN_SLOT, Slots};
use helm_shim::rundir::Epoch;
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::{Value, json};

/// The run of the fixture.
const RUN: &str = "18ecf15e003e91ed";

fn kept(name: &str) -> String {
    fs::read_to_string(root().join("tests/fixtures/rundir-v1").join(name)).unwrap()
}

/// As the keeper wrote it, with a checksum over what is filled in.
fn slots(path: &Path, size: usize, state: &Value) {
    Slots::create(path, size).unwrap().write(state).unwrap();
}

/// The service, its output on the pipes of its run, as if keeper and helmd had been killed.
struct Orphan(Child);

impl Orphan {
    fn new(run: &Path) -> Self {
        fs::create_dir_all(run).unwrap();
        let pipe = |name: &str| -> File {
            mkfifoat(CWD, run.join(name), Mode::RUSR | Mode::WUSR).unwrap();
            OpenOptions::new().read(true).write(true).open(run.join(name)).unwrap()
        };
        let (out, err) = (pipe("stdout"), pipe("stderr"));
        let mut command = Command::new(bin("chatty"));
        command.arg("rate=20").stdin(Stdio::null()).stdout(out).stderr(err);
        Self(command.spawn().unwrap())
    }

    fn start_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1;
        fields.split(' ').nth(19).unwrap().parse().unwrap()
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        // It has ended where the test came to its end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_version_1_left_is_adopted() {
    let home = Home::new(&json!({"app": {"command": fixture("chatty", "rate=20")}}));
    let place = home.path("instance/run/app");
    let mut orphan = Orphan::new(&place.join(RUN));
    let epoch = json!(Epoch::current());
    let mut record: Value = serde_json::from_str(&kept("record.json")).unwrap();
    let former_epoch = record["epoch"].to_string();
    record["epoch"] = epoch.clone();
    record["state"]["pid"] = json!(orphan.0.id());
    record["state"]["start_ticks"] = json!(orphan.start_ticks());
    record["state"]["started"]["secs"] = json!(1);
    slots(&place.join(RUN).join("record"), RUN_SLOT, &record);
    let mut capture: Value = serde_json::from_str(&kept("capture.json")).unwrap();
    capture["boot_id"] = epoch["boot_id"].clone();
    slots(&place.join("capture"), 2048, &capture);
    home.write("instance/run/memory.jsonl", &kept("memory.jsonl").replace(&former_epoch, &epoch.to_string()));
    home.write("instance/wishes.json", &kept("wishes.json"));

    home.ctl(&["daemon", "start"]).code(0);
    let app = home.wait_for("app", "it is adopted", |s| s.run == RUN);
    assert_eq!((app.state.as_str(), app.pid, app.run.as_str()), ("running", Some(orphan.0.id()), RUN));
    assert_eq!(
        (app.restarts, app.last_exit.as_deref()),
        (2, Some("code 7")),
        "what the former helmd remembered"
    );
    until("its output is captured", || home.lines_so_far("app").unwrap_or_default().len() > 20);
    home.ctl(&["stop", "app"]).code(0).says("app: stopped");
    assert_eq!(orphan.0.wait().unwrap().code(), Some(0), "by its stop signal");
}
