//! Start, end, signals, trees: over the real binary.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

mod common;

use common::{Home, alive, exists, until};
use helm_core::exit::Exit;
use helm_core::status::RunId;
use helm_shim::procs;
use helm_shim::wire::{Containment, Order, Report};

#[test]
fn exit_codes_and_signals_are_told_and_recorded() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let mut ran = Vec::new();
    for (script, exit) in [
        ("exit 0", Exit::Code(0)),
        ("exit 7", Exit::Code(7)),
        ("kill -9 $$", Exit::Signal(9)),
        ("kill -15 $$", Exit::Signal(15)),
    ] {
        let order = home.sh(script);
        let run = order.run;
        keeper.start(order);
        let ended = keeper.ended(run);
        assert_eq!(ended.exit, exit, "{script}");
        assert_eq!(keeper.tree_empty(run), 0);
        let record = helm_shim::record::RunRecord::read(&home.place().run(run).record()).unwrap().unwrap();
        assert_eq!(record.state.ended.as_ref().unwrap().exit, exit);
        assert!(record.state.over);
        ran.push(run);
    }
    keeper.retire();
    assert_eq!(home.place().runs().unwrap(), ran, "the records stay: a later helmd reads how they ended");
    assert!(!exists(&home.place().socket()));
}

#[test]
fn of_former_runs_the_newest_records_stay_and_nothing_else() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let mut ran = Vec::new();
    for _ in 0..12 {
        let order = home.sh("exit 7");
        ran.push(order.run);
        keeper.start(order);
        keeper.tree_empty(ran[ran.len() - 1]);
    }
    // The last run and eight before it.
    until("older ones are gone", || home.place().runs().unwrap() == ran[3..]);
    let files = |run| {
        let entries = std::fs::read_dir(home.place().run(run).path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    until("only the records are left", || ran[3..11].iter().all(|run| files(*run) == ["record"]));
    for run in &ran[3..] {
        let record = helm_shim::record::RunRecord::read(&home.place().run(*run).record()).unwrap().unwrap();
        assert_eq!(record.state.ended.unwrap().exit, Exit::Code(7));
    }
}

#[test]
fn records_of_a_boot_whose_clock_was_ahead_go_before_those_of_this_one() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let mut run_once = || {
        let order = home.sh("exit 7");
        let run = order.run;
        keeper.start(order);
        keeper.tree_empty(run);
        run
    };
    let first = run_once();
    let record = home.place().run(first).record();
    let foreign: Vec<RunId> = (0..9).map(|i| RunId(u64::MAX - i)).collect();
    for run in &foreign {
        let dir = home.place().run(*run);
        std::fs::create_dir(dir.path()).unwrap();
        let mut told = helm_shim::record::RunRecord::read(&record).unwrap().unwrap();
        told.epoch.boot_id = "another".into();
        let slot = helm_shim::record::RUN_SLOT;
        helm_shim::record::Slots::create(&dir.record(), slot).unwrap().write(&told).unwrap();
    }
    let mut ran = vec![first];
    ran.extend((0..8).map(|_| run_once()));
    // The last run and eight before it: there is no room for others.
    until("only those of this boot are there", || home.place().runs().unwrap() == ran);
}

#[test]
fn output_of_both_streams_is_kept_with_its_last_line() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let order = home.sh("echo one; echo two >&2; printf 'no newline'; printf err >&2");
    let run = order.run;
    keeper.start(order);
    keeper.tree_empty(run);
    assert_eq!(home.text(0), "one\nno newline\n");
    assert_eq!(home.text(1), "two\nerr\n");
    let current = std::fs::read(home.place().logs().join("current.log")).unwrap();
    assert_eq!(current, home.log_bytes());
}

#[test]
fn what_cannot_start_says_why() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let (stage, errno, message) = keeper.start_failure(home.start_order(&["/no/such/program"]));
    assert_eq!((stage.as_str(), errno), ("exec", libc::ENOENT));
    assert!(message.contains("/no/such/program") && message.contains("No such file"), "{message}");
    let plain = home.path.join("plain");
    std::fs::write(&plain, "no program").unwrap();
    let (stage, errno, _) = keeper.start_failure(home.start_order(&[plain.to_str().unwrap()]));
    assert_eq!((stage.as_str(), errno), ("exec", libc::EACCES));
    let mut order = home.sh("exit 0");
    order.cwd = "/no/such/dir".into();
    let (stage, errno, message) = keeper.start_failure(order);
    assert_eq!((stage.as_str(), errno), ("chdir", libc::ENOENT));
    assert!(message.contains("/no/such/dir"), "{message}");
    let (stage, ..) = keeper.start_failure(home.start_order(&["/bin/true", "a\0b"]));
    assert_eq!(stage, "exec");
    assert!(home.place().runs().unwrap().is_empty(), "a run that never was leaves nothing");
    // And it is none the worse for it.
    let order = home.sh("exit 3");
    let run = order.run;
    keeper.start(order);
    assert_eq!(keeper.ended(run).exit, Exit::Code(3));
}

#[test]
fn a_second_run_is_refused_while_one_is_not_over() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let order = home.sh("sleep 60");
    let run = order.run;
    keeper.start(order);
    let (stage, errno, message) = keeper.start_failure(home.sh("exit 0"));
    assert_eq!((stage.as_str(), errno), ("record", libc::EBUSY));
    assert!(message.contains(&run.to_string()), "{message}");
    keeper.order(&Order::Kill { run });
    keeper.tree_empty(run);
}

#[test]
fn the_environment_of_a_service_is_clean() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let mut order = home.start_order(&[
        "/bin/sh",
        "-c",
        "ls /proc/self/fd | tr '\\n' ' '; echo; grep -E '^Sig(Blk|Ign)' /proc/self/status; ulimit -n; ulimit -Sd; ulimit -Hd; pwd; env | sort; \
         ps -o sid= -p $$; echo $$; cat /proc/self/oom_score_adj; umask",
    ]);
    order.rlimits = vec![(libc::RLIMIT_NOFILE as i32, 512)];
    order.soft_rlimits = vec![(libc::RLIMIT_DATA as i32, 256 << 20)];
    order.env.push(("HELM_RUN".into(), "forged".into()));
    let run = order.run;
    let pid = keeper.start(order);
    keeper.tree_empty(run);
    let text = home.text(0);
    let lines: Vec<&str> = text.lines().collect();
    // 3 is the directory that ls reads.
    assert_eq!(lines[0].trim(), "0 1 2 3", "{text}");
    for (line, name) in lines[1..3].iter().zip(["SigBlk", "SigIgn"]) {
        assert!(line.starts_with(name) && line.ends_with("0000000000000000"), "{text}");
    }
    assert_eq!(lines[3], "512");
    assert_eq!(lines[4..6], ["262144", "unlimited"], "KiB of memory, which may become more later");
    assert_eq!(lines[6], home.path.to_str().unwrap());
    assert!(lines.contains(&format!("HELM_RUN={run}").as_str()) && !text.contains("forged"), "{text}");
    assert!(lines.iter().filter(|l| l.trim() == pid.to_string()).count() == 2, "session and pid: {text}");
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_eq!(lines[lines.len() - 2], own.trim(), "{text}");
}

#[test]
fn a_stopped_service_gets_its_stop_signal() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let order = home.sh("trap 'exit 5' TERM; kill -STOP $$; while :; do sleep 0.05; done");
    let run = order.run;
    let pid = keeper.start(order);
    until("it is stopped", || {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") T "))
    });
    keeper.order(&Order::Signal { run, signal: libc::SIGTERM });
    assert_eq!(keeper.ended(run).exit, Exit::Code(5));
    keeper.order(&Order::Kill { run });
    keeper.tree_empty(run);
}

#[test]
fn a_tree_that_ignores_everything_is_killed_whole() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let order = home.sh(
        "trap '' TERM HUP INT; for i in 1 2 3 4; do setsid sh -c 'trap \"\" TERM; sleep 300 & sleep 300' & done; echo up; wait",
    );
    let run = order.run;
    let pid = keeper.start(order);
    until("all are there", || procs::descendants(&[pid]).len() >= 12);
    let all = procs::descendants(&[pid]);
    keeper.order(&Order::Signal { run, signal: libc::SIGTERM });
    keeper.order(&Order::Kill { run });
    assert_eq!(keeper.ended(run).exit, Exit::Signal(9));
    keeper.tree_empty(run);
    assert!(all.iter().all(|p| !alive(p.pid)));
}

#[test]
fn leftovers_are_counted_and_get_the_signal() {
    let home = Home::new();
    let mut keeper = home.keeper();
    // Daemonises: a session of its own, its parent gone, its output elsewhere.
    let order = home.sh("setsid sh -c 'exec >/dev/null 2>&1; sleep 300' & sleep 0.1; exit 0");
    let run = order.run;
    keeper.start(order);
    assert_eq!(keeper.ended(run).exit, Exit::Code(0));
    keeper.order(&Order::Signal { run, signal: libc::SIGTERM });
    assert!(keeper.tree_empty(run) >= 1);
}

#[test]
fn a_grandchild_that_keeps_stdout_open_is_a_leftover_not_a_hang() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let order = home.sh("sleep 300 & echo started; exit 4");
    let run = order.run;
    keeper.start(order);
    assert_eq!(keeper.ended(run).exit, Exit::Code(4));
    keeper.order(&Order::Kill { run });
    assert_eq!(keeper.tree_empty(run), 1);
    assert_eq!(home.text(0), "started\n");
}

#[test]
fn a_fork_bomb_ends() {
    let home = Home::new();
    let mut keeper = home.keeper();
    // Bounded, so that a failing test does not take the machine along.
    let bomb = "import os,time\nn=0\nwhile n<9:\n  os.fork(); n+=1; time.sleep(0.02)\ntime.sleep(300)";
    let order = home.start_order(&["/usr/bin/python3", "-c", bomb]);
    let run = order.run;
    let pid = keeper.start(order);
    until("it has grown", || procs::descendants(&[pid]).len() > 100);
    keeper.order(&Order::Kill { run });
    assert_eq!(keeper.ended(run).exit, Exit::Signal(9));
    keeper.tree_empty(run);
    assert!(procs::descendants(&[keeper.child.id()]).is_empty());
}

#[test]
fn a_second_keeper_refuses() {
    let home = Home::new();
    let first = home.keeper();
    let mut second = home.bare_keeper();
    let Report::Output { trouble } = second.next() else { panic!("no refusal") };
    assert!(trouble.contains(&format!("pid {}", first.child.id())), "{trouble}");
    assert!(!second.child.wait().unwrap().success());
}

#[test]
fn a_newer_connection_replaces_the_older_and_learns_everything() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let order = home.sh("exit 9");
    let run = order.run;
    keeper.start(order);
    keeper.tree_empty(run);
    let mut stream = home.place().connect().unwrap();
    stream.set_read_timeout(Some(common::BOUND)).unwrap();
    let hello = Order::Hello { log: Default::default(), attach: None };
    helm_shim::codec::write_message(&mut stream, &hello).unwrap();
    let Some(Report::Hello(state)) = helm_shim::codec::read_message(&mut stream).unwrap() else {
        panic!("no Hello")
    };
    let state = state.run.unwrap();
    assert_eq!((state.run, state.over, state.containment), (run, true, Containment::Subreaper));
    assert_eq!(state.ended.unwrap().exit, Exit::Code(9));
}

#[test]
fn a_keeper_outlives_its_helmd_and_the_signals_of_a_terminal() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let order = home.sh("sleep 300");
    let run = order.run;
    let pid = keeper.start(order);
    keeper.stream.shutdown(std::net::Shutdown::Both).unwrap();
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGUSR1] {
        helm_shim::sys::kill(keeper.child.id(), signal).unwrap();
    }
    keeper.stream = home.place().connect().unwrap();
    keeper.stream.set_read_timeout(Some(common::BOUND)).unwrap();
    keeper.order(&Order::Hello { log: Default::default(), attach: None });
    let Report::Hello(state) = keeper.next() else { panic!("no Hello") };
    assert_eq!(state.run.unwrap().pid, pid);
    keeper.order(&Order::Kill { run });
    keeper.tree_empty(run);
}

#[test]
fn a_long_home_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x".repeat(100)).join("y".repeat(100));
    let home = Home::at(dir, path);
    let mut keeper = home.keeper();
    let mut order = home.sh("echo \"$NOTIFY_SOCKET\"");
    order.notify = true;
    let run = order.run;
    keeper.start(order);
    keeper.tree_empty(run);
    assert_eq!(home.text(0), format!("@helm-{run}\n"));
}
