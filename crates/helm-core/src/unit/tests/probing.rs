//! Probes, readiness, sd_notify and the watchdog of one service.

use super::*;

#[test]
fn ready_when_readiness_says_so() {
    let mut s = Script::new([probed("a")]);
    s.start("a").started("a").expect(&["start a#1", "probe a#1 readiness"]);
    s.is("a", State::Starting, "not ready yet");
    assert_eq!(s.status("a").health, Health::Starting);
    s.answer("a", READINESS, Health::Unreachable).is("a", State::Starting, "not ready yet: says unreachable");
    assert_eq!(s.status("a").health, Health::Unreachable);
    s.answer("a", READINESS, Health::Degraded).is("a", State::Running, "ready");
    let status = s.status("a");
    assert_eq!((status.health, status.health_latency_us), (Health::Degraded, Some(3_000)));
    assert_eq!(status.health_message, "says degraded");
    s.answer("a", READINESS, Health::Unhealthy);
    assert!(s.status("a").ready, "one failure of two");
    s.answer("a", READINESS, Health::Unreachable).is(
        "a",
        State::Running,
        "not ready any more: says unreachable",
    );
    assert!(!s.status("a").ready);
    s.answer("a", READINESS, Health::Healthy).expect(&[]);
    assert!(s.status("a").ready);
    s.stop("a").expect(&["unprobe a readiness", "stop a#1"]);
    assert_eq!(s.status("a").health, Health::Unknown);
}

#[test]
fn health_changes_are_recorded() {
    let mut s = Script::new([probed("a")]);
    s.start("a").started("a").answer("a", READINESS, Health::Healthy).answer("a", READINESS, Health::Healthy);
    s.answer("a", READINESS, Health::Degraded).died("a", Exit::Code(1));
    s.expect_changes(
        ChangeKind::Health,
        &[
            "a unknown -> starting: ",
            "a starting -> healthy: says healthy",
            "a healthy -> degraded: says degraded",
            "a degraded -> unknown: ",
        ],
    );
}

#[test]
fn becoming_ready_is_the_cause() {
    let mut s = Script::new([probed("a")]);
    s.start("a").started("a").answer("a", READINESS, Health::Healthy);
    let states = ["a stopped -> starting: asked by uid 7", "a starting -> running: is ready"];
    s.expect_changes(ChangeKind::State, &states);
}

#[test]
fn startup_comes_first() {
    let probes = Probes {
        startup: Some(probe(http("/started"), 2, 1)),
        readiness: Some(probe(http("/ready"), 1, 1)),
        liveness: Some(probe(http("/alive"), 1, 1)),
    };
    let mut s = Script::new([with_probes("a", probes)]);
    s.start("a").started("a").expect(&["start a#1", "probe a#1 startup"]);
    s.answer("a", READINESS, Health::Healthy).answer("a", LIVENESS, Health::Unhealthy).expect(&[]);
    s.answer("a", STARTUP, Health::Unreachable).is("a", State::Starting, "not ready yet: says unreachable");
    assert_eq!(s.status("a").health, Health::Starting, "too early to say");
    s.answer("a", STARTUP, Health::Healthy).answer("a", STARTUP, Health::Unhealthy).answer(
        "a",
        STARTUP,
        Health::Healthy,
    );
    s.expect(&[]);
    s.answer("a", STARTUP, Health::Degraded).expect(&[
        "unprobe a startup",
        "probe a#1 readiness",
        "probe a#1 liveness",
    ]);
    assert_eq!(s.status("a").state, State::Starting);
    s.answer("a", READINESS, Health::Healthy).is("a", State::Running, "ready");
    s.answer("a", STARTUP, Health::Unhealthy);
    assert_eq!(s.status("a").health, Health::Healthy, "a late answer");
    s.answer("a", LIVENESS, Health::Healthy);
    assert_eq!(s.status("a").health_message, "says healthy");
}

#[test]
fn a_startup_probe_alone_makes_ready() {
    let probes = Probes { startup: Some(probe(http("/"), 1, 1)), ..Probes::default() };
    let mut s = Script::new([with_probes("a", probes)]);
    s.start("a").started("a").answer("a", STARTUP, Health::Healthy).expect(&[
        "start a#1",
        "probe a#1 startup",
        "unprobe a startup",
    ]);
    s.is("a", State::Running, "ready");
    assert_eq!(s.status("a").health, Health::Healthy);
}

#[test]
fn the_same_question_is_not_asked_twice_before_ready() {
    let same = Probes {
        startup: Some(probe(http("/"), 1, 1)),
        readiness: Some(probe(http("/"), 1, 1)),
        liveness: None,
    };
    let mut s = Script::new([with_probes("a", same.clone())]);
    s.start("a").started("a").answer("a", STARTUP, Health::Healthy).is("a", State::Running, "ready");
    let twice = Probes { readiness: Some(probe(http("/"), 2, 1)), ..same };
    let mut s = Script::new([with_probes("a", twice)]);
    s.start("a").started("a").answer("a", STARTUP, Health::Healthy);
    assert_eq!(s.status("a").state, State::Starting);
    s.answer("a", READINESS, Health::Healthy).is("a", State::Running, "ready");
}

#[test]
fn thresholds_of_zero_mean_one() {
    let probes = Probes { readiness: Some(probe(http("/"), 0, 0)), ..Probes::default() };
    let mut s = Script::new([with_probes("a", probes)]);
    s.start("a").started("a");
    assert!(!s.status("a").ready);
    s.answer("a", READINESS, Health::Healthy);
    assert!(s.status("a").ready);
    s.answer("a", READINESS, Health::Healthy);
    assert!(s.status("a").ready);
}

#[test]
fn a_failing_liveness_probe_restarts_through_the_backoff() {
    let probes = Probes { liveness: Some(probe(http("/alive"), 1, 2)), ..Probes::default() };
    let mut s = Script::new([with_probes("a", probes)]);
    s.start("a").started("a").expect(&["start a#1", "probe a#1 liveness"]);
    s.answer("a", LIVENESS, Health::Unreachable).answer("a", LIVENESS, Health::Healthy);
    assert_eq!(s.status("a").health, Health::Healthy, "no other probe is there");
    s.answer("a", LIVENESS, Health::Unreachable).expect(&[]);
    s.answer("a", LIVENESS, Health::Unhealthy).expect(&["unprobe a liveness", "stop a#1"]);
    let why = "its liveness probe failed 2 times in a row: says unhealthy";
    s.is("a", State::Stopping, &format!("{why}; waits for it to end"));
    s.died("a", Exit::Code(0)).is("a", State::Backoff, &format!("{why}; waits in backoff 1"));
    assert_eq!(s.status("a").restarts, 1);
}

#[test]
fn a_healthy_time_before_liveness_failed_makes_the_restart_immediate() {
    let probes = Probes { liveness: Some(probe(http("/alive"), 1, 1)), ..Probes::default() };
    let mut s = Script::new([with_probes("a", probes)]);
    s.start("a").started("a").after(secs(10)).answer("a", LIVENESS, Health::Unhealthy);
    s.after(secs(2)).died("a", Exit::Signal(15));
    s.expect(&["start a#1", "probe a#1 liveness", "unprobe a liveness", "stop a#1", "stop a#1", "start a#2"]);
}

#[test]
fn a_sick_one_shot_is_not_completed() {
    let probes = Probes { liveness: Some(probe(http("/alive"), 1, 1)), ..Probes::default() };
    let spec = ServiceSpec { restart: RestartPolicy::OnFailure, ..with_probes("a", probes) };
    let mut s = Script::new([spec]);
    s.start("a").started("a").answer("a", LIVENESS, Health::Unhealthy).died("a", Exit::Code(0));
    assert_eq!((s.status("a").state, s.status("a").completed), (State::Backoff, false));
}

#[test]
fn a_run_is_proven_by_an_unbroken_ready_time() {
    let mut s = Script::new([probed("a")]);
    s.start("a").started("a").answer("a", READINESS, Health::Healthy).after(secs(6));
    s.answer("a", READINESS, Health::Unhealthy).answer("a", READINESS, Health::Unhealthy);
    s.answer("a", READINESS, Health::Healthy).after(secs(6)).died("a", Exit::Code(1));
    assert_eq!(s.status("a").state, State::Backoff, "6 s twice are not 10 s");
    s.after(secs(1)).started("a").answer("a", READINESS, Health::Healthy).after(secs(10));
    s.answer("a", READINESS, Health::Unhealthy).answer("a", READINESS, Health::Unhealthy).after(secs(1));
    s.died("a", Exit::Code(1));
    assert_eq!(s.status("a").state, State::Starting, "it had been ready for 10 s before");
}

#[test]
fn a_run_that_never_was_ready_is_not_proven() {
    let backoff = Backoff { reset_after: secs(0), jitter: 0.0, ..Backoff::default() };
    let mut s = Script::new([ServiceSpec { backoff, ..probed("a") }]);
    s.start("a").started("a").after(secs(60)).died("a", Exit::Code(1));
    assert_eq!(s.status("a").state, State::Backoff);
}

#[test]
fn the_start_timeout_ends_a_run_that_does_not_become_ready() {
    let spec = ServiceSpec { start_timeout: Some(secs(30)), ..probed("a") };
    let mut s = Script::new([spec.clone()]);
    s.start("a")
        .started("a")
        .after(Duration::from_millis(29_999))
        .expect(&["start a#1", "probe a#1 readiness"]);
    s.after(Duration::from_millis(1)).expect(&["unprobe a readiness", "stop a#1"]);
    let why = "was not ready after 30 s: no probe has answered yet";
    s.is("a", State::Stopping, &format!("{why}; waits for it to end")).died("a", Exit::Signal(15));
    s.is("a", State::Backoff, &format!("{why}; waits in backoff 1"));

    let mut s = Script::new([spec]);
    s.start("a").started("a").answer("a", READINESS, Health::Unreachable).answer(
        "a",
        READINESS,
        Health::Healthy,
    );
    s.expect(&["start a#1", "probe a#1 readiness"]).after(secs(99)).expect(&[]);
    s.answer("a", READINESS, Health::Unhealthy)
        .answer("a", READINESS, Health::Unhealthy)
        .after(secs(99))
        .expect(&[]);
    assert!(!s.status("a").ready, "once ready, the timeout is over");
}

#[test]
fn the_last_answer_explains_the_timeout() {
    let spec = ServiceSpec { start_timeout: Some(secs(30)), ..probed("a") };
    let mut s = Script::new([spec]);
    s.start("a").started("a").answer("a", READINESS, Health::Unreachable).after(secs(30));
    s.is("a", State::Stopping, "was not ready after 30 s: says unreachable; waits for it to end");
}

#[test]
fn sd_notify_makes_ready() {
    let probes = Probes { readiness: Some(probe(Check::Notify, 1, 1)), ..Probes::default() };
    let mut s = Script::new([with_probes("a", probes)]);
    s.start("a").started("a").expect(&["start a#1"]);
    s.says("a", false, false, Some("loading")).is("a", State::Starting, "not ready yet");
    assert_eq!(s.status("a").notify_status.as_deref(), Some("loading"));
    s.says("a", true, false, None).is("a", State::Running, "ready");
    assert_eq!(s.status("a").notify_status.as_deref(), Some("loading"), "a message without STATUS keeps it");
    s.says("a", false, true, Some("bye")).is("a", State::Running, "says that it is stopping");
    assert!(!s.status("a").ready);
    s.says("a", true, false, None);
    assert!(!s.status("a").ready, "there is no way back");
    s.expect(&[]);
}

#[test]
fn ready_by_sd_notify_during_startup_is_remembered() {
    let probes = Probes {
        startup: Some(probe(http("/"), 1, 1)),
        readiness: Some(probe(Check::Notify, 1, 1)),
        liveness: None,
    };
    let mut s = Script::new([with_probes("a", probes)]);
    s.start("a").started("a").says("a", true, false, None);
    assert!(!s.status("a").ready);
    s.answer("a", STARTUP, Health::Healthy).is("a", State::Running, "ready");
}

#[test]
fn sd_notify_as_startup() {
    let probes = Probes {
        startup: Some(probe(Check::Notify, 1, 1)),
        readiness: Some(probe(http("/"), 1, 1)),
        liveness: None,
    };
    let mut s = Script::new([with_probes("a", probes)]);
    s.start("a")
        .started("a")
        .expect(&["start a#1"])
        .says("a", true, false, None)
        .expect(&["probe a#1 readiness"]);
    assert_eq!(s.status("a").state, State::Starting);
}

#[test]
fn ready_without_a_notify_probe_is_only_talk() {
    let mut s = Script::new([probed("a")]);
    s.start("a").started("a").says("a", true, false, Some("here"));
    assert!(!s.status("a").ready);
    assert_eq!(s.status("a").notify_status.as_deref(), Some("here"));
}

#[test]
fn a_missed_watchdog_is_a_failure() {
    let mut s = running();
    let run = s.run("a");
    s.news("a", News::WatchdogMissed { run }).expect(&["stop a#1"]);
    s.is("a", State::Stopping, "did not feed its watchdog in time; waits for it to end");
    s.news("a", News::WatchdogMissed { run }).expect(&[]).died("a", Exit::Signal(6)).expect(&["stop a#1"]);
    s.is("a", State::Backoff, "did not feed its watchdog in time; waits in backoff 1");
}
