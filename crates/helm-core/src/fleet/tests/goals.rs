//! What askers are told.

use super::*;
use crate::event::News;
use crate::goal::Trials;
use crate::goal::Verdict::{Done, Failed, Pending, Skipped};
use crate::status::ServiceStatus;
use crate::time::Mono;

#[test]
fn words_of_a_start() {
    let mut s = Script::new([probed("a")]);
    s.start("a");
    assert_eq!(s.verdict("a"), Pending("is being started".into()));
    s.started("a").start("a");
    assert_eq!(s.verdict("a"), Pending("not ready yet".into()));
    s.answer("a", READINESS, Health::Healthy);
    assert_eq!(s.done("a"), "running", "it ran before the ask, and was not ready");
    s.start("a");
    assert_eq!(s.done("a"), "already running");
    s.answer("a", READINESS, Health::Degraded);
    assert_eq!(s.done("a"), "already running, degraded: says degraded");
    s.answer("a", READINESS, Health::Unhealthy).answer("a", READINESS, Health::Unhealthy);
    assert_eq!(s.verdict("a"), Pending("not ready any more: says unhealthy".into()));
}

#[test]
fn failures_of_a_start() {
    let mut s = Script::new([svc("a")]);
    s.start("a").start_failed("a", true);
    assert_eq!(s.verdict("a"), Failed("could not be started: no such file".into()));
    s.start("a");
    assert_eq!(s.verdict("a"), Pending("is being started".into()), "the former failure is not this one");
    s.start_failed("a", false);
    assert!(matches!(s.verdict("a"), Pending(_)));
    let wishes = Wishes::default();
    s.event(Event::Wished { wishes, restart: vec![], kick: vec![], by: "uid 8".into() });
    let why = "is not wanted any more: stopped by uid 8; before: could not be started: no such file; waits in backoff 1";
    assert_eq!(s.verdict("a"), Failed(why.into()));
}

#[test]
fn a_status_from_before_the_ask_decides_nothing() {
    let mut s = Script::new([svc("a")]);
    s.start("a").start_failed("a", true);
    let old = s.status("a").clone();
    let up = Goal::Up { fresh_since: None, if_installed: false };
    assert_eq!(crate::goal::judge(&up, &old, &old), Pending(old.reason.clone()));
    let mut stopping = Script::all([svc("a")]);
    stopping.started("a").stop("a");
    let old = stopping.status("a").clone();
    assert!(matches!(crate::goal::judge(&up, &old, &old), Pending(_)));
}

#[test]
fn a_stop_that_is_overtaken() {
    let mut s = Script::all([svc("a")]);
    s.started("a").stop("a");
    assert_eq!(s.verdict("a"), Pending("stopped by uid 7; waits for it to end".into()));
    let mut wishes = Wishes::default();
    wishes.services.insert(name("a"), Wish { run: true, ..Wish::default() });
    s.event(Event::Wished { wishes, restart: vec![], kick: vec![], by: "uid 8".into() });
    assert!(matches!(s.verdict("a"), Failed(why) if why.starts_with("is wanted again: ")));
}

#[test]
fn a_restart_wants_a_newer_run() {
    let mut s = Script::all([svc("a")]);
    s.started("a");
    let fresh = Goal::Up { fresh_since: Some(RunId(1)), if_installed: false };
    let begin = s.status("a").clone();
    assert_eq!(crate::goal::judge(&fresh, &begin, &begin), Pending("ready".into()));
    s.restart(&["a"]).died("a", Exit::Code(0)).started("a");
    assert_eq!(s.done("a"), "started");
}

#[test]
fn a_restart_of_what_became_external_fails() {
    let mut s = Script::all([svc("a")]);
    s.started("a").restart(&["a"]).died("a", Exit::Code(0)).occupied("a");
    assert_eq!(s.verdict("a"), Failed("is not run by Helm: pid 123 (java) holds port 5000".into()));
}

#[test]
fn holders_are_named_as_well_as_can_be() {
    use crate::status::Holder;
    let words = |pid, command: Option<&str>, uid| {
        crate::unit::holder_words(&Holder { pid, command: command.map(Into::into), uid })
    };
    assert_eq!(words(Some(1), Some("x y"), Some(0)), "pid 1 (x y)");
    assert_eq!(words(Some(1), None, None), "pid 1");
    assert_eq!(words(None, Some("x"), Some(33)), "a process of uid 33");
    assert_eq!(words(None, None, None), "another process");
}

#[test]
fn a_service_without_a_port_can_be_external_too() {
    let mut s = Script::all([ServiceSpec { port: None, ..svc("a") }]);
    s.occupied("a")
        .is("a", State::External, "pid 123 (java) holds its port and was not started by Helm")
        .stop("a");
    assert_eq!(s.verdict("a"), Failed("is not run by Helm: pid 123 (java) holds its port".into()));
}

#[test]
fn an_external_service_that_is_not_ready_is_waited_for() {
    let mut s = Script::all([probed("a")]);
    s.occupied("a");
    assert_eq!(s.verdict("a"), Pending("pid 123 (java) holds port 5000 and was not started by Helm".into()));
}

#[test]
fn who_waits_for_what_will_not_come_is_told_at_once_who_is_at_the_root() {
    let mut s = Script::new(chain());
    s.start("nexus").start_failed("keycloak", true);
    let why = "not started: keycloak has failed (could not be started: no such file)";
    assert_eq!(s.verdict("nexus"), Failed(why.into()));
    s.is("core", State::Blocked, why).is("nexus", State::Blocked, why);
    assert_eq!(s.status("nexus").stuck.as_ref().unwrap().root, name("keycloak"));
    assert!(s.status("nexus").wanted && s.status("core").wanted);
    // It is wanted still, and comes as soon as what it waits for does.
    s.start("keycloak").is("nexus", State::Blocked, "waits for core (blocked)").started("keycloak");
    s.answer("keycloak", STARTUP, Health::Healthy).answer("keycloak", READINESS, Health::Healthy);
    assert_eq!(s.status("core").state, State::Starting);
    assert_eq!(s.status("core").stuck, None);
}

#[test]
fn of_several_failures_the_first_is_named_and_before_what_is_not_installed() {
    let both = [("a", Ready), ("b", Ready), ("c", Ready)];
    let mut s = Script::new([svc("a"), svc("b"), svc("c"), needs(svc("d"), &both)]);
    s.start("d").not_installed("a").start_failed("b", true).start_failed("c", true);
    assert_eq!(s.status("d").stuck.as_ref().unwrap().root, name("b"));
    let mut s = Script::new([svc("a"), svc("b"), svc("c"), needs(svc("d"), &both)]);
    s.start("d").not_installed("a").not_installed("b").not_installed("c");
    assert_eq!(s.status("d").stuck.as_ref().unwrap().root, name("a"));
}

#[test]
fn a_dependency_that_is_tried_again_or_still_ends_is_waited_for() {
    let mut s = Script::new([svc("a"), needs(svc("b"), &[("a", Ready)])]);
    s.start("b").start_failed("a", false);
    assert_eq!(s.verdict("b"), Pending("waits for a (backoff)".into()));
    s.after(secs(2)).started("a").started("b").died("b", Exit::Code(1)).stop("a").start("b");
    assert_eq!(s.verdict("b"), Pending("waits for a (stopping)".into()));
}

#[test]
fn a_dependency_that_was_stopped_or_did_not_complete_is_named() {
    let once = ServiceSpec { restart: RestartPolicy::Never, ..svc("once") };
    let mut s = Script::new([once, needs(svc("b"), &[("once", Completed)])]);
    s.start("b").started("once");
    assert_eq!(s.verdict("b"), Pending("waits for once (running, must complete)".into()));
    s.stop("once").died("once", Exit::Signal(15));
    let why =
        "not started: once is not to run (stopped by uid 7; was ended by signal 15 (SIGTERM) after 0.0 s)";
    s.is("b", State::Blocked, why).start("b").started("once").died("once", Exit::Code(4));
    let why =
        "not started: once has failed (exited with code 4 after 0.0 s; it is never restarted by itself)";
    assert_eq!(s.verdict("b"), Failed(why.into()));
}

#[test]
fn up_skips_what_is_not_installed_and_what_needs_only_that() {
    let all = || {
        [svc("a"), svc("b"), needs(svc("c"), &[("a", Ready)]), needs(svc("d"), &[("a", Ready), ("b", Ready)])]
    };
    let mut s = Script::all(all());
    let absent = |s: &mut Script, whom: &str| {
        let run = s.run(whom);
        s.news(whom, News::NotInstalled { run, reason: "no directory".into() });
    };
    absent(&mut s, "a");
    s.started("b");
    assert_eq!(s.verdict("a"), Skipped("not installed: no directory".into()));
    for whom in ["c", "d"] {
        assert_eq!(s.verdict(whom), Skipped("not started: a is not installed (no directory)".into()));
    }
    assert_eq!(s.done("b"), "started");
    // Where something has really failed, that is what is told.
    s.stop("b").died("b", Exit::Code(0)).up().start_failed("b", true);
    absent(&mut s, "a");
    assert!(matches!(s.verdict("d"), Failed(why) if why.starts_with("not started: b has failed")));
    assert!(matches!(s.verdict("c"), Skipped(_)));
    // By its name it was meant.
    s.start("c");
    absent(&mut s, "a");
    assert_eq!(s.verdict("c"), Failed("not started: a is not installed (no directory)".into()));
    s.start("a");
    absent(&mut s, "a");
    assert_eq!(s.verdict("a"), Failed("not installed: no directory".into()));
}

/// A life shorter than the trial is never `started`; the next one is on trial anew.
#[test]
fn a_run_without_a_probe_is_on_trial_first() {
    let mut s = Script::all([svc("a"), probed("b")]);
    let up = Goal::Up { fresh_since: None, if_installed: false };
    let mut trials = Trials::default();
    let begin = ["a", "b"].map(|name| ServiceStatus { run: None, ..s.status(name).clone() });
    s.started("a").started("b").answer("b", READINESS, Health::Healthy);
    let at = |ms| Mono(Duration::from_millis(ms));
    let on_trial = Pending("runs; no probe speaks for it".into());
    assert_eq!(trials.judge(&up, s.status("a"), &begin[0], at(0)), on_trial);
    assert_eq!(trials.judge(&up, s.status("b"), &begin[1], at(0)), Done("started".into()));
    assert_eq!(trials.next(at(0)), Some(at(500)));
    assert_eq!(trials.judge(&up, s.status("a"), &begin[0], at(499)), on_trial);
    assert_eq!(trials.judge(&up, s.status("a"), &begin[0], at(500)), Done("started".into()));
    assert_eq!(trials.next(at(500)), None);
    let mut next = s.status("a").clone();
    next.run = Some(RunId(99));
    assert_eq!(trials.judge(&up, &next, &begin[0], at(600)), on_trial);
    assert_eq!(trials.judge(&up, &next, &begin[0], at(1100)), Done("started".into()));
    let old = s.status("a");
    assert_eq!(trials.judge(&up, old, old, at(1200)), Done("already running".into()));
}

#[test]
fn a_restart_that_is_told_to_stay_down_is_a_stop() {
    let mut s = Script::all([svc("a")]);
    s.started("a").restart(&["a"]).stop("a");
    s.is("a", State::Stopping, "stopped by uid 7; waits for it to end");
}

#[test]
fn a_stop_that_had_to_kill_says_so() {
    let mut s = Script::all([svc("a")]);
    s.started("a").stop("a").died("a", Exit::Signal(9));
    assert_eq!(s.done("a"), "stopped (ended by signal 9 (SIGKILL))");
}
