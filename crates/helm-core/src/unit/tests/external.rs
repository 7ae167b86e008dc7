//! A port that somebody else holds.

use super::*;

#[test]
fn a_held_port_makes_it_external() {
    let mut s = Script::new([probed("a")]);
    s.start("a").occupied("a").expect(&["start a#1", "watch a#1", "probe a#1 readiness"]);
    s.is("a", State::External, "pid 123 (java) holds port 5000 and was not started by Helm");
    let status = s.status("a");
    assert!(!status.ready && status.run.is_none());
    assert_eq!((status.pid, status.holder.as_ref().unwrap().pid), (Some(123), Some(123)));
    s.answer("a", READINESS, Health::Healthy);
    assert_eq!(s.done("a"), "already running, external: pid 123 (java) holds port 5000");
    assert!(s.status("a").ready);
    s.start("a").restart(&["a"]).after(secs(99)).expect(&[]);
    let refused = "is not run by Helm: pid 123 (java) holds port 5000";
    assert_eq!(s.verdict("a"), crate::goal::Verdict::Failed(refused.into()));
    s.news("a", News::Released).expect(&["unwatch a", "unprobe a readiness", "start a#2"]);
    assert_eq!((s.status("a").state, s.status("a").holder.clone()), (State::Starting, None));
}

#[test]
fn one_that_took_the_port_of_a_crashed_run_was_never_restarted() {
    let mut s = Script::new([svc("a")]);
    s.start("a").started("a").died("a", Exit::Code(1)).after(secs(1));
    assert_eq!(s.status("a").restarts, 1);
    s.occupied("a");
    assert_eq!((s.status("a").state, s.status("a").restarts), (State::External, 0));
    s.news("a", News::Released).started("a");
    assert_eq!((s.status("a").state, s.status("a").restarts), (State::Running, 0));
}

#[test]
fn without_a_probe_it_is_ready_at_once() {
    let mut s = Script::new([svc("a")]);
    s.start("a").occupied("a").expect(&["start a#1", "watch a#1"]);
    assert_eq!(s.done("a"), "already running, external: pid 123 (java) holds port 5000");
}

#[test]
fn a_startup_probe_serves_as_readiness_and_liveness_does_not() {
    let probes = Probes {
        startup: Some(probe(http("/"), 1, 1)),
        readiness: None,
        liveness: Some(probe(http("/"), 1, 1)),
    };
    let mut s = Script::new([with_probes("a", probes)]);
    s.start("a").occupied("a").expect(&["start a#1", "watch a#1", "probe a#1 readiness"]);
    s.answer("a", LIVENESS, Health::Unhealthy).answer("a", READINESS, Health::Healthy).expect(&[]);
    assert!(s.status("a").ready);
}

#[test]
fn what_a_foreign_process_does_not_tell_us_is_not_asked() {
    for check in [Check::Notify, Check::Log { pattern: "up".into() }] {
        let probes = Probes { readiness: Some(probe(check, 1, 1)), ..Probes::default() };
        let mut s = Script::new([with_probes("a", probes)]);
        s.start("a").occupied("a").expect(&["start a#1", "watch a#1"]);
        assert!(s.status("a").ready);
    }
}

#[test]
fn it_is_not_killed_unasked_nor_asked() {
    let mut s = Script::new([svc("a")]);
    s.start("a").occupied("a").stop("a").after(secs(99)).expect(&["start a#1", "watch a#1"]);
    assert_eq!(
        s.verdict("a"),
        crate::goal::Verdict::Failed("is not run by Helm: pid 123 (java) holds port 5000".into())
    );
    assert_eq!(s.status("a").state, State::External);
    s.news("a", News::Released).expect(&["unwatch a", "retire a"]);
    s.is("a", State::Stopped, "who held its port is gone");
}

#[test]
fn a_probe_of_another_run_says_nothing_about_the_holder() {
    let mut s = Script::new([probed("a")]);
    s.start("a").occupied("a");
    let answer = Answer { health: Health::Healthy, message: String::new(), latency: secs(0) };
    s.news("a", News::Probed { run: RunId(77), probe: READINESS, answer });
    assert!(!s.status("a").ready);
}
