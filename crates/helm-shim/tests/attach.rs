//! A killed keeper does not cost the service: attaching, exits, lines.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Home, Keeper, alive, until};
use helm_core::exit::Exit;
use helm_core::spec::LogRules;
use helm_core::status::RunId;
use helm_shim::procs;
use helm_shim::wire::{Attach, Containment, Order, Report};

fn attach(home: &Home, run: RunId) -> Keeper {
    home.keeper_with(LogRules::default(), Some(Attach { run, known: vec![] }))
}

/// Kills the keeper and puts another one in its place.
fn replace(home: &Home, mut old: Keeper, run: RunId) -> Keeper {
    old.kill();
    let live = old.live.take();
    let mut new = attach(home, run);
    new.live = live;
    new
}

#[test]
fn code_and_signal_are_known_after_attaching() {
    for (script, exit) in [("exit 37", Exit::Code(37)), ("kill -6 $$", Exit::Signal(6))] {
        let home = Home::new();
        let mut keeper = home.keeper();
        let go = home.path.join("go");
        let order =
            home.sh(&format!("echo up; while [ ! -e {} ]; do sleep 0.02; done; {script}", go.display()));
        let run = order.run;
        let pid = keeper.start(order);
        let _held = home.hold_pipes(run);
        let mut keeper = replace(&home, keeper, run);
        let state = keeper.hello.clone().unwrap().run.unwrap();
        assert_eq!((state.pid, state.over, state.containment), (pid, false, Containment::Session));
        assert_eq!(state.ended, None);
        std::fs::write(&go, "").unwrap();
        assert_eq!(keeper.ended(run).exit, exit);
        assert_eq!(keeper.tree_empty(run), 0);
        assert_eq!(home.text(0), "up\n");
        // The keeper goes on with the next run as its own.
        let order = home.sh("exit 2");
        let run = order.run;
        keeper.start(order);
        assert_eq!(keeper.ended(run).exit, Exit::Code(2));
        keeper.tree_empty(run);
    }
}

#[test]
fn an_exit_that_the_dead_keeper_recorded_is_not_lost() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let order = home.sh("sleep 300 & exit 11");
    let run = order.run;
    keeper.start(order);
    keeper.ended(run);
    let mut keeper = replace(&home, keeper, run);
    let state = keeper.hello.clone().unwrap().run.unwrap();
    assert_eq!(state.ended.unwrap().exit, Exit::Code(11));
    assert!(!state.over, "the sleep is left");
    keeper.order(&Order::Kill { run });
    assert_eq!(keeper.tree_empty(run), 1);
}

#[test]
fn helmd_may_know_the_exit_when_nobody_else_can() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let order = home.sh("exec sleep 300");
    let run = order.run;
    let pid = keeper.start(order);
    let process = procs::stat(pid).unwrap().process;
    keeper.kill();
    procs::signal(process, libc::SIGKILL);
    until("it is reaped", || procs::stat(pid).is_none());
    keeper.live = None;
    let mut keeper = attach(&home, run);
    keeper.order(&Order::ExitKnown { run, exit: Exit::Signal(9) });
    assert_eq!(keeper.ended(run).exit, Exit::Signal(9));
    keeper.tree_empty(run);
}

#[test]
fn an_exit_that_nobody_can_know_is_unknown() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let order = home.sh("exec sleep 300");
    let run = order.run;
    let pid = keeper.start(order);
    keeper.kill();
    procs::signal(procs::stat(pid).unwrap().process, libc::SIGKILL);
    until("it is reaped", || procs::stat(pid).is_none());
    keeper.live = None;
    let mut keeper = attach(&home, run);
    assert_eq!(keeper.ended(run).exit, Exit::Unknown);
    keeper.tree_empty(run);
    assert!(home.text(1).contains("output may have been lost"), "nobody held the pipes: {}", home.text(1));
}

#[test]
fn a_tree_is_ended_whole_after_attaching() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let order = home.sh(
        "sleep 300 & setsid sh -c 'sleep 300 & sleep 300' & sh -c 'setsid sleep 300 &' ; trap '' TERM; echo up; while :; do sleep 1; done",
    );
    let run = order.run;
    let pid = keeper.start(order);
    until("the tree stands", || procs::descendants(&[keeper.child.id()]).len() >= 6);
    let all = procs::descendants(&[keeper.child.id()]);
    let _held = home.hold_pipes(run);
    let mut keeper = replace(&home, keeper, run);
    assert!(alive(pid));
    keeper.order(&Order::Kill { run });
    assert_eq!(keeper.ended(run).exit, Exit::Signal(9));
    keeper.tree_empty(run);
    assert!(all.iter().all(|p| !alive(p.pid)));
}

#[test]
fn leftovers_are_awaited_after_attaching() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let go = home.path.join("go");
    let order = home
        .sh(&format!("sleep 300 & echo $! > {0}.pid; while [ ! -e {0} ]; do sleep 0.02; done", go.display()));
    let run = order.run;
    keeper.start(order);
    let _held = home.hold_pipes(run);
    let mut keeper = replace(&home, keeper, run);
    let pid_file = home.path.join("go.pid");
    until("the leftover is there", || std::fs::read_to_string(&pid_file).is_ok_and(|t| t.ends_with('\n')));
    let left: u32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    std::fs::write(&go, "").unwrap();
    assert_eq!(keeper.ended(run).exit, Exit::Code(0));
    // The keeper's order, not a signal of our own: it is carried out after the keeper has looked for what is left.
    assert!(alive(left));
    keeper.order(&Order::Signal { run, signal: libc::SIGTERM });
    assert_eq!(keeper.tree_empty(run), 1);
}

#[test]
fn an_unreadable_record_ends_the_tree_and_says_so() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let order = home.sh("while :; do sleep 1; done");
    let run = order.run;
    let pid = keeper.start(order);
    keeper.kill();
    std::fs::write(home.place().run(run).record(), vec![7; 16384]).unwrap();
    let keeper = attach(&home, run);
    let state = keeper.hello.clone().unwrap();
    assert!(state.attach_failed.unwrap().contains("record"));
    assert_eq!(state.run, None);
    assert!(!alive(pid), "the marked tree was ended");
}

#[test]
fn the_notify_socket_and_the_watchdog_come_back() {
    let home = Home::new();
    let mut keeper = home.keeper();
    let go = home.path.join("go");
    let talk = "import os,socket,time,sys\n\
        def say(t):\n  s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); a=os.environ['NOTIFY_SOCKET']\n  \
        s.sendto(t,('\\0'+a[1:]) if a[0]=='@' else a)\n\
        say(b'READY=1\\nSTATUS=first')\n\
        while not os.path.exists(sys.argv[1]): time.sleep(0.02)\n\
        say(b'STATUS=second\\nSTOPPING=1')\n\
        time.sleep(300)";
    let mut order = home.start_order(&["/usr/bin/python3", "-c", talk, go.to_str().unwrap()]);
    (order.notify, order.watchdog) = (true, Some(Duration::from_millis(700)));
    let run = order.run;
    keeper.start(order);
    let ready = keeper.wait("READY", |r| match r {
        Report::Notify { ready, status, .. } => Some((*ready, status.clone())),
        _ => None,
    });
    assert_eq!(ready, (true, Some("first".into())));
    let _held = home.hold_pipes(run);
    let mut keeper = replace(&home, keeper, run);
    let state = keeper.hello.clone().unwrap().run.unwrap();
    assert!(state.ready);
    assert_eq!(state.status.as_deref(), Some("first"));
    std::fs::write(&go, "").unwrap();
    let second = keeper.wait("STOPPING", |r| match r {
        Report::Notify { stopping, status, ready, .. } => Some((*ready, *stopping, status.clone())),
        _ => None,
    });
    assert_eq!(second, (false, true, Some("second".into())));
    keeper.wait("WatchdogMissed", |r| matches!(r, Report::WatchdogMissed { .. }).then_some(()));
    keeper.order(&Order::Kill { run });
    keeper.tree_empty(run);
}

/// A child whose keeper dies before the gate opens never becomes a service. The keeper is stopped by the kernel while it
/// writes the record: the record is a pipe nobody can write to at once.
#[test]
fn the_death_of_a_keeper_at_the_gate_ends_the_child() {
    let home = Home::new();
    for attempt in 0..20 {
        let mut keeper = home.keeper();
        let proof = home.path.join(format!("proof{attempt}"));
        let order = home.sh(&format!("echo ran >> {}; sleep 300", proof.display()));
        let run = order.run;
        keeper.order(&Order::Start(Box::new(order)));
        // Anywhere between the order and the report.
        let end = std::time::Instant::now() + Duration::from_micros(attempt * 150);
        while std::time::Instant::now() < end {
            std::hint::spin_loop();
        }
        keeper.kill();
        let mut keeper = attach(&home, run);
        let state = keeper.hello.clone().unwrap();
        match state.run {
            Some(found) => {
                assert_ne!(found.pid, 0);
                keeper.live = Some((run, found.pid));
                keeper.order(&Order::Kill { run });
                keeper.tree_empty(run);
                assert!(!alive(found.pid));
            }
            None => {
                assert!(state.attach_failed.is_some());
                assert!(!proof.exists(), "never recorded, so it must never have run");
            }
        }
    }
}

fn numbers(text: &str, mark: char) -> Vec<u64> {
    text.lines().filter_map(|l| l.strip_prefix(mark)?.trim().parse().ok()).collect()
}

/// The heart of it: lines flow on both streams while keepers are killed; none is lost, none is doubled.
#[test]
fn no_line_is_lost_or_doubled_by_fifty_kills() {
    let home = Home::new();
    let stop = home.path.join("stop");
    let chatter = "import os,sys,time\ni=0\n\
        while not os.path.exists(sys.argv[1]):\n  \
          os.write(1,b'o %d %s\\n'%(i,b'')) if i%7 else os.write(1,b'o %d\\n'%i)\n  \
          os.write(2,b'e %d\\n'%i); i+=1\n  \
          if i%200==0: time.sleep(0.001)\n\
        os.write(1,b'last'); os.write(2,b'last')\n";
    let rules =
        LogRules { segment_bytes: 200_000, total_bytes: 1 << 30, compress: true, ..LogRules::default() };
    let mut keeper = home.keeper_with(rules.clone(), None);
    let order = home.start_order(&["/usr/bin/python3", "-c", chatter, stop.to_str().unwrap()]);
    let run = order.run;
    keeper.start(order);
    let _held = home.hold_pipes(run);
    let mut draw = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..50 {
        draw ^= draw << 13;
        draw ^= draw >> 7;
        draw ^= draw << 17;
        let end = std::time::Instant::now() + Duration::from_micros(draw % 20_000);
        while std::time::Instant::now() < end {
            common::pause();
        }
        keeper.kill();
        let live = keeper.live.take();
        keeper = home.keeper_with(rules.clone(), Some(Attach { run, known: vec![] }));
        keeper.live = live;
    }
    std::fs::write(&stop, "").unwrap();
    assert_eq!(keeper.ended(run).exit, Exit::Code(0));
    keeper.tree_empty(run);
    for (stream, mark) in [(0, 'o'), (1, 'e')] {
        let text = home.text(stream);
        let found = numbers(&text, mark);
        let wanted: Vec<u64> = (0..found.len() as u64).collect();
        assert!(found.len() > 1000, "only {} lines", found.len());
        let first = found.iter().zip(&wanted).position(|(a, b)| a != b);
        assert_eq!(first, None, "stream {stream}: {:?}", first.map(|i| &found[i.saturating_sub(3)..i + 3]));
        assert_eq!(text.lines().count(), found.len() + 1, "nothing else but the last line");
        assert!(text.ends_with("last\n"));
    }
}
