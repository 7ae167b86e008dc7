//! What services write, and what stands in the log files.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::{Home, until};
use helm_core::exit::Exit;
use helm_core::spec::LogRules;
use helm_shim::segments;
use helm_shim::wire::{Order, Report};

/// Runs a program to its end.
fn run(home: &Home, rules: LogRules, argv: &[&str]) {
    let compress = rules.compress;
    let mut keeper = home.keeper_with(rules, None);
    let order = home.start_order(argv);
    let run = order.run;
    keeper.start(order);
    keeper.tree_empty(run);
    if compress {
        until("closed segments are compressed", || {
            let found = segments::list(&home.place().logs()).unwrap();
            found.iter().rev().skip(1).all(|s| s.compressed)
        });
    }
    keeper.retire();
}

#[test]
fn any_bytes_come_back_as_they_were_written() {
    let home = Home::new();
    let script = "import os,sys\n\
        os.write(1,b'nul \\0 and \\xff\\xfe not utf-8\\n\\n\\r\\n')\n\
        w=sys.stdout.buffer\nw.write(b'x'*10_000_000+b'\\n'); w.write(b'after\\n'); w.flush()\n\
        sys.stderr.buffer.write(b'y'*16384+b'\\n'+b'z'*16385)";
    run(&home, LogRules::default(), &["/usr/bin/python3", "-c", script]);
    let out = home.output(0);
    let mut wanted = b"nul \0 and \xff\xfe not utf-8\n\n\r\n".to_vec();
    wanted.extend(std::iter::repeat_n(b'x', 10_000_000));
    wanted.extend(b"\nafter\n");
    assert!(out == wanted, "{} bytes instead of {}", out.len(), wanted.len());
    let err = home.output(1);
    assert_eq!(err.len(), 16384 + 1 + 16385 + 1);
    assert!(err.ends_with(b"z\n"));
}

#[test]
fn a_service_that_closes_its_stdout_costs_nothing() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let order = home.sh("echo bye; exec >&- 2>&-; exec sleep 300");
    let run = order.run;
    keeper.start(order);
    until("the line is there", || home.text(0) == "bye\n");
    let ticks = || -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", keeper.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let switches = || -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", keeper.child.id())).unwrap();
        text.lines()
            .filter_map(|l| l.split_once("ctxt_switches:"))
            .map(|(_, n)| n.trim().parse::<u64>().unwrap())
            .sum()
    };
    // Buffers are given back after a second; then it sleeps.
    let wait = |seconds| {
        let none = &mut [];
        rustix::event::poll(none, Some(&rustix::event::Timespec { tv_sec: seconds, tv_nsec: 0 })).unwrap();
    };
    wait(2);
    let before = (ticks(), switches());
    wait(2);
    assert_eq!((ticks(), switches()), before, "an idle keeper does not wake up");
    keeper.order(&Order::Kill { run });
    assert_eq!(keeper.ended(run).exit, Exit::Signal(9));
    keeper.tree_empty(run);
}

#[test]
fn segments_rotate_at_line_ends_and_are_compressed() {
    let home = Home::new();
    let rules =
        LogRules { segment_bytes: 50_000, total_bytes: 1 << 30, compress: true, ..LogRules::default() };
    run(&home, rules, &["/bin/sh", "-c", "seq 1 20000; seq 1 5000 >&2"]);
    let found = segments::list(&home.place().logs()).unwrap();
    assert!(found.len() > 10, "{found:?}");
    assert_eq!(
        found.iter().map(|s| s.number).collect::<Vec<_>>(),
        (1..=found.len() as u64).collect::<Vec<_>>()
    );
    let (newest, closed) = found.split_last().unwrap();
    assert!(!newest.compressed && closed.iter().all(|s| s.compressed), "{found:?}");
    for segment in closed {
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut segment.open_at(0).unwrap(), &mut plain).unwrap();
        assert!(plain.ends_with(b"\n") && (50_000..50_200).contains(&plain.len()), "{}", plain.len());
    }
    let wanted: String = (1..=20000).map(|n| format!("{n}\n")).collect();
    assert!(home.text(0) == wanted);
    let current = fs::metadata(home.place().logs().join("current.log")).unwrap();
    assert_eq!(
        std::os::unix::fs::MetadataExt::ino(&current),
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(&newest.path).unwrap())
    );
}

#[test]
fn the_total_is_bounded() {
    let home = Home::new();
    let rules =
        LogRules { segment_bytes: 50_000, total_bytes: 200_000, compress: false, ..LogRules::default() };
    run(&home, rules, &["/bin/sh", "-c", "seq 1 50000"]);
    let found = segments::list(&home.place().logs()).unwrap();
    let total: u64 = found.iter().map(|s| s.bytes).sum();
    assert!(total <= 260_000 && found[0].number > 1, "{found:?}");
    assert!(home.text(0).ends_with("50000\n"), "the newest stays");
}

#[test]
fn a_line_without_end_does_not_grow_one_segment_for_ever() {
    let home = Home::new();
    let rules =
        LogRules { segment_bytes: 100_000, total_bytes: 1 << 30, compress: false, ..LogRules::default() };
    run(&home, rules, &["/bin/sh", "-c", "head -c 2000000 /dev/zero"]);
    let found = segments::list(&home.place().logs()).unwrap();
    assert!(found.len() >= 8 && found.iter().all(|s| s.bytes < 300_000), "{found:?}");
    assert_eq!(home.output(0).len(), 2_000_001);
}

#[test]
fn numbering_goes_on_and_each_keeper_goes_on_with_the_segment() {
    let home = Home::new();
    run(&home, LogRules::default(), &["/bin/sh", "-c", "echo first"]);
    run(&home, LogRules::default(), &["/bin/sh", "-c", "echo second"]);
    assert_eq!(segments::list(&home.place().logs()).unwrap().len(), 1);
    assert_eq!(home.text(0), "first\nsecond\n");
    assert_eq!(home.text(1), "", "nothing was lost, so nothing is announced");
}

#[test]
fn a_dead_predecessor_is_announced_where_output_may_be_lost() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let order = home.sh("printf 'begun and not'; sleep 300");
    let first = order.run;
    let pid = keeper.start(order);
    until("it is spooled", || fs::metadata(home.place().spool(0)).is_ok_and(|m| m.len() > 0));
    keeper.kill();
    helm_shim::procs::signal(helm_shim::procs::stat(pid).unwrap().process, libc::SIGKILL);
    for p in helm_shim::procs::all() {
        if p.session == pid {
            helm_shim::procs::signal(p.process, libc::SIGKILL);
        }
    }
    let _ = first;
    run(&home, LogRules::default(), &["/bin/sh", "-c", "echo next"]);
    assert_eq!(home.text(0), "begun and not\nnext\n");
    assert!(home.text(1).contains("[helm] output may have been lost"), "{}", home.text(1));
}

/// A small file system of its own, unmounted at the end.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(path: PathBuf, bytes: usize) -> Self {
        fs::create_dir_all(&path).unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(status.success(), "this test needs root");
        Self(path)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_neither_blocks_nor_hides_what_was_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let small = Tmpfs::mount(dir.path().join("small"), 2 << 20);
    let home = Home::at(dir, small.0.clone());
    let filler = home.path.join("filler");
    let mut keeper = home.keeper();
    let go = home.path.join("go");
    let script = format!(
        "import os,sys,time\n\
         os.write(1,b'before\\n')\n\
         while not os.path.exists('{0}'): time.sleep(0.01)\n\
         for i in range(200000): os.write(1,b'during %06d\\n'%i)\n\
         os.rename('{0}','{0}.done')\n\
         while os.path.exists('{0}.done'): time.sleep(0.01)\n\
         os.write(1,b'after\\n')\n\
         time.sleep(300)",
        go.display()
    );
    let order = home.start_order(&["/usr/bin/python3", "-c", &script]);
    let run = order.run;
    keeper.start(order);
    until("the first line is there", || home.text(0) == "before\n");
    fs::write(&go, "").unwrap();
    let done = home.path.join("go.done");
    // Fill it to the last byte.
    let mut file = fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    until("the service is through: it was never blocked", || done.exists());
    keeper.wait("trouble", |r| match r {
        Report::Output { trouble } => trouble.contains("no space left on device").then_some(()),
        _ => None,
    });
    drop(file);
    fs::remove_file(&filler).unwrap();
    keeper.wait("the end of the trouble", |r| match r {
        Report::Output { trouble } => trouble.is_empty().then_some(()),
        _ => None,
    });
    fs::remove_file(&done).unwrap();
    until("output goes on", || home.text(0).ends_with("after\n"));
    let text = home.text(0);
    let kept: Vec<u64> = text.lines().filter_map(|l| l.strip_prefix("during ")?.parse().ok()).collect();
    assert!(kept.is_sorted_by(|a, b| a < b), "kept lines are in order and once");
    let notices: Vec<&str> = text.lines().filter(|l| l.starts_with("[helm]")).collect();
    assert!(notices.iter().all(|n| n.contains(" dropped: no space left on device")), "{notices:?}");
    let dropped: u64 = notices.iter().map(|n| n.split(' ').nth(1).unwrap().parse::<u64>().unwrap()).sum();
    let strange = text.lines().filter(|l| l.starts_with("dur") && l.len() != 13).count() as u64;
    assert_eq!(
        kept.len() as u64 + dropped,
        200_000,
        "every line is there or counted ({strange} torn): {notices:?}"
    );
    keeper.order(&Order::Kill { run });
    assert_eq!(keeper.ended(run).exit, Exit::Signal(9));
    keeper.tree_empty(run);
    keeper.retire();
}

#[test]
fn a_stop_works_on_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let small = Tmpfs::mount(dir.path().join("small"), 1 << 20);
    let home = Home::at(dir, small.0.clone());
    let mut keeper = home.keeper();
    let order = home.sh("while :; do echo line; done");
    let run = order.run;
    keeper.start(order);
    let mut file = fs::File::create(home.path.join("filler")).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    keeper.wait("trouble", |r| match r {
        Report::Output { trouble } => (!trouble.is_empty()).then_some(()),
        _ => None,
    });
    keeper.order(&Order::Signal { run, signal: libc::SIGTERM });
    assert_eq!(keeper.ended(run).exit, Exit::Signal(15));
    keeper.tree_empty(run);
    let record = helm_shim::record::RunRecord::read(&home.place().run(run).record()).unwrap().unwrap();
    assert_eq!(record.state.ended.unwrap().exit, Exit::Signal(15), "the record needs no space");
}
