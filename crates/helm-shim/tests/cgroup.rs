//! A run in a leaf of a cgroup v2 tree. Needs root, and the cgroup2 mount that every test machine of ours has.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Home, alive, until};
use helm_core::exit::Exit;
use helm_core::spec::LogRules;
use helm_shim::procs;
use helm_shim::wire::{Attach, CgroupLeaf, Containment, Order, Report};

/// A cgroup of this test, removed at its end.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = mounts.lines().find(|l| l.contains(" - cgroup2 ")).unwrap();
        let dir = PathBuf::from(line.split(' ').nth(4).unwrap())
            .join(format!("helm-shim-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn leaf(&self) -> CgroupLeaf {
        let values =
            vec![("no.such.file".into(), "1".into()), ("cgroup.max.descendants".into(), "10".into())];
        CgroupLeaf { dir: self.0.join("leaf").display().to_string(), values }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        let _ = fs::remove_dir(self.0.join("leaf"));
        let _ = fs::remove_dir(&self.0);
    }
}

const FOREST: &str =
    "for i in 1 2 3; do setsid sh -c 'trap \"\" TERM; sleep 300' & done; echo up; sleep 300; wait";

#[test]
fn a_leaf_is_made_entered_killed_and_removed() {
    let (home, tree) = (Home::new(), Tree::new("own"));
    let mut keeper = home.keeper();
    let mut order = home.sh(FOREST);
    order.cgroup = Some(tree.leaf());
    let run = order.run;
    keeper.order(&Order::Start(Box::new(order)));
    let (pid, containment, remarks) = keeper.wait("Started", |r| match r {
        Report::Started { pid, containment, remarks, .. } => Some((*pid, *containment, remarks.clone())),
        _ => None,
    });
    assert_eq!(containment, Containment::Cgroup);
    assert!(remarks.len() == 1 && remarks[0].contains("no.such.file"), "{remarks:?}");
    let leaf = tree.0.join("leaf");
    assert_eq!(fs::read_to_string(leaf.join("cgroup.max.descendants")).unwrap().trim(), "10");
    let members = || fs::read_to_string(leaf.join("cgroup.procs")).unwrap_or_default();
    until("all are in it", || members().lines().count() >= 7);
    assert!(members().lines().any(|l| l == pid.to_string()));
    assert!(!members().lines().any(|l| l == keeper.child.id().to_string()), "the keeper stays outside");
    let all = procs::descendants(&[pid]);
    keeper.order(&Order::Kill { run });
    assert_eq!(keeper.ended(run).exit, Exit::Signal(9));
    keeper.tree_empty(run);
    assert!(all.iter().all(|p| !alive(p.pid)));
    assert!(!leaf.exists(), "the leaf goes with the run");
}

#[test]
fn a_leaf_is_found_again_by_a_new_keeper() {
    let (home, tree) = (Home::new(), Tree::new("attached"));
    let mut keeper = home.keeper();
    let mut order = home.sh(FOREST);
    order.cgroup = Some(tree.leaf());
    let run = order.run;
    let pid = keeper.start(order);
    until("all are there", || procs::descendants(&[pid]).len() >= 6);
    let all = procs::descendants(&[pid]);
    let _held = home.hold_pipes(run);
    keeper.kill();
    let mut keeper = home.keeper_with(LogRules::default(), Some(Attach { run, known: vec![] }));
    assert_eq!(keeper.hello.clone().unwrap().run.unwrap().containment, Containment::Cgroup);
    procs::signal(procs::stat(pid).unwrap().process, libc::SIGTERM);
    assert_eq!(keeper.ended(run).exit, Exit::Signal(15));
    keeper.order(&Order::Kill { run });
    assert!(keeper.tree_empty(run) >= 6);
    assert!(all.iter().all(|p| !alive(p.pid)));
    assert!(!tree.0.join("leaf").exists());
}

#[test]
fn a_leaf_that_cannot_be_made_is_a_reason() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let mut order = home.sh("exit 0");
    order.cgroup = Some(CgroupLeaf { dir: "/proc/no-cgroup".into(), values: vec![] });
    let (stage, _, message) = keeper.start_failure(order);
    assert!(stage == "cgroup" && message.contains("/proc/no-cgroup"), "{stage}: {message}");
}
