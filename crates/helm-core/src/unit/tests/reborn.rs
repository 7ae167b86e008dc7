//! What a new helmd remembers of one service, and what it must not forget.

use super::*;
use crate::ask::Ask;
use crate::event::Event;
use crate::status::ServiceStatus;
use crate::time::Wall;

/// A helmd after the other; the run that lived goes on.
fn again(s: &mut Script, run: u64, ready: bool) {
    s.reborn().found("a", run, ready, None).event(Event::Adopted);
}

fn kept(status: &ServiceStatus) -> impl PartialEq + std::fmt::Debug + use<> {
    let ServiceStatus { state, since, ready, health, health_message, restarts, last_exit, .. } =
        status.clone();
    (state, since, ready, health, health_message, restarts, last_exit)
}

#[test]
fn what_runs_is_known_as_it_was() {
    let mut s = Script::all([ServiceSpec { restart: RestartPolicy::Always, ..probed("a") }]);
    s.started("a").died("a", Exit::Code(3)).after(secs(1)).started("a");
    s.answer("a", READINESS, Health::Degraded).after(secs(50)).done_so_far();
    let before = s.status("a").clone();
    assert_eq!((before.state, before.restarts, before.health), (State::Running, 1, Health::Degraded));
    s.changes();
    again(&mut s, 2, false);
    s.expect(&["probe a#2 readiness"]);
    assert_eq!(kept(s.status("a")), kept(&before));
    assert_eq!(s.changes(), [], "nothing has happened to it");
    // It was proven: ready since its start, and not since helmd's.
    s.died("a", Exit::Code(3)).expect(&["unprobe a readiness", "stop a#2", "start a#100"]);
}

#[test]
fn one_that_is_not_ready_stays_so() {
    let mut s = Script::all([probed("a")]);
    s.started("a").answer("a", READINESS, Health::Healthy);
    s.answer("a", READINESS, Health::Unhealthy).answer("a", READINESS, Health::Unhealthy);
    let before = s.status("a").clone();
    again(&mut s, 1, false);
    assert_eq!(kept(s.status("a")), kept(&before));
    assert!(!s.status("a").ready);
    s.answer("a", READINESS, Health::Healthy);
    assert!(s.status("a").ready);
}

#[test]
fn one_that_had_come_up_is_not_asked_for_its_startup_again() {
    let probes = Probes {
        startup: Some(probe(http("/started"), 1, 1)),
        readiness: Some(probe(http("/ready"), 1, 1)),
        liveness: None,
    };
    let mut s = Script::all([with_probes("a", probes)]);
    s.started("a").answer("a", STARTUP, Health::Healthy).done_so_far();
    again(&mut s, 1, false);
    s.expect(&["probe a#1 readiness"]);
}

#[test]
fn a_proven_run_that_ended_in_absence_starts_at_once() {
    let mut s = Script::all([probed("a")]);
    s.started("a").answer("a", READINESS, Health::Healthy).after(secs(60)).done_so_far();
    s.reborn()
        .found_ended_of("a", 1, Exit::Code(7), 60, 1, false)
        .event(Event::Adopted)
        .expect(&["start a#100"]);
    assert_eq!(s.status("a").restarts, 1);
}

#[test]
fn the_end_of_a_run_is_told_once_ever() {
    let once = ServiceSpec { restart: RestartPolicy::OnFailure, ..svc("a") };
    let mut s = Script::all([once]);
    s.started("a").died("a", Exit::Code(0)).done_so_far();
    let before = s.status("a").clone();
    s.changes();
    for _ in 0..2 {
        s.reborn().after(secs(5)).found_ended_of("a", 1, Exit::Code(0), 3, 5, false).event(Event::Adopted);
        s.expect(&["retire a"]);
        assert_eq!(s.changes(), []);
        assert_eq!((kept(s.status("a")), s.status("a").completed), (kept(&before), true));
    }
    // And told, if the former helmd did not live to tell it; also where nobody wants it to run any more.
    let mut s = Script::all([svc("a")]);
    s.started("a").stop("a").changes();
    s.reborn().found_ended_of("a", 1, Exit::Code(9), 3, 5, false).event(Event::Adopted);
    let exits = |s: &mut Script| s.changes().iter().filter(|change| change.kind == ChangeKind::Exit).count();
    assert_eq!(exits(&mut s), 1);
    s.reborn().found_ended_of("a", 1, Exit::Code(9), 3, 5, false).event(Event::Adopted);
    assert_eq!(exits(&mut s), 0);
}

#[test]
fn a_tree_whose_main_process_was_told_as_ended_is_not_told_again() {
    let mut s = Script::all([svc("a")]);
    s.started("a").ended("a", Exit::Code(2)).changes();
    s.reborn().found("a", 1, false, Some(Exit::Code(2))).event(Event::Adopted);
    assert!(s.changes().iter().all(|change| change.kind != ChangeKind::Exit));
    assert_eq!((s.status("a").state, s.status("a").last_exit), (State::Stopping, Some(Exit::Code(2))));
}

#[test]
fn a_backoff_goes_on_and_its_delays_grow() {
    let backoff = Backoff { initial: secs(8), jitter: 0.0, ..Backoff::default() };
    let mut s = Script::all([ServiceSpec { backoff, ..svc("a") }]);
    s.started("a").died("a", Exit::Code(1)).after(secs(3)).done_so_far();
    let before = s.status("a").clone();
    s.reborn().found_ended_of("a", 1, Exit::Code(1), 0, 3, false).event(Event::Adopted).expect(&[]);
    assert_eq!((kept(s.status("a")), &s.status("a").reason), (kept(&before), &before.reason));
    assert_eq!(s.status("a").next_start, before.next_start);
    s.after(secs(5)).expect(&["start a#100"]).started("a").died("a", Exit::Code(1));
    s.after(secs(15)).expect(&["stop a#100"]).after(secs(1)).expect(&["start a#101"]);
    assert_eq!(s.status("a").restarts, 2);
}

#[test]
fn what_gave_up_stays_down_and_what_could_not_be_started_is_tried_again() {
    let backoff = Backoff { limit: Some(1), ..Backoff::default() };
    let mut s = Script::all([ServiceSpec { backoff, ..svc("a") }]);
    s.started("a").died("a", Exit::Code(1)).done_so_far();
    s.reborn().found_ended_of("a", 1, Exit::Code(1), 0, 3, false).event(Event::Adopted).expect(&["retire a"]);
    s.is("a", State::Failed, "exited with code 1 after 0.0 s; gave up after 1 failures in a row");
    let mut s = Script::all([svc("a")]);
    s.start_failed("a", true).done_so_far();
    s.reborn().event(Event::Adopted).expect(&["start a#100"]);
}

#[test]
fn a_delayed_start_that_failed_before_keeps_its_delay() {
    let mut s = Script::all([svc("a")]);
    s.start_failed("a", false).done_so_far();
    s.reborn().event(Event::Adopted).expect(&[]).after(secs(1)).expect(&["start a#100"]);
}

fn never() -> Script {
    let mut s = Script::all([ServiceSpec { restart: RestartPolicy::Never, ..svc("a") }]);
    s.started("a").restart(&["a"]).expect(&["start a#1", "stop a#1"]);
    s
}

#[test]
fn a_restart_outlives_helmd_whatever_the_policy_says() {
    let mut s = never();
    s.reborn().found_ended_of("a", 1, Exit::Signal(15), 5, 1, false).event(Event::Adopted);
    s.expect(&["start a#100"]).is("a", State::Starting, "is being started");
    let mut s = never();
    again(&mut s, 1, false);
    s.expect(&["stop a#1"]).after(secs(10)).expect(&["kill a#1"]).died("a", Exit::Signal(9));
    s.expect(&["start a#100"]);
}

#[test]
fn a_restart_outlives_helmd_by_the_wish_alone() {
    let mut s = never();
    s.forget().reborn().found_ended_of("a", 1, Exit::Signal(15), 5, 1, false).event(Event::Adopted);
    s.expect(&["start a#100"]);
    let mut s = never();
    s.forget().reborn().found("a", 1, false, None).event(Event::Adopted).expect(&["stop a#1"]);
    s.died("a", Exit::Signal(15)).expect(&["stop a#1", "start a#100"]);
}

#[test]
fn a_restart_is_done_once() {
    let mut s = never();
    s.died("a", Exit::Signal(15)).started("a").expect(&["stop a#1", "start a#2"]);
    again(&mut s, 2, false);
    s.expect(&[]);
    s.forget().reborn().found("a", 2, false, None).event(Event::Adopted).expect(&[]);
    s.forget().reborn().found_ended_of("a", 2, Exit::Code(3), 5, 1, false).event(Event::Adopted);
    s.expect(&["retire a"]);
    assert_eq!(s.status("a").state, State::Failed);
}

#[test]
fn a_stop_takes_a_restart_back() {
    let mut s = never();
    s.stop("a").reborn().found_ended_of("a", 1, Exit::Signal(15), 5, 1, false).event(Event::Adopted);
    s.expect(&["retire a"]).start("a").expect(&["start a#100"]).started("a").died("a", Exit::Code(1));
    assert_eq!(s.status("a").state, State::Failed);
}

#[test]
fn a_start_of_what_is_ending_outlives_helmd() {
    let mut s = Script::all([ServiceSpec { restart: RestartPolicy::Never, ..svc("a") }]);
    s.started("a").stop("a").start("a").done_so_far();
    s.forget().reborn().found_ended_of("a", 1, Exit::Signal(15), 5, 1, false).event(Event::Adopted);
    s.expect(&["start a#100"]);
}

#[test]
fn what_was_not_well_counts_as_failed_whatever_its_code() {
    let probes = Probes { liveness: Some(probe(http("/live"), 1, 1)), ..Probes::default() };
    let spec = ServiceSpec { restart: RestartPolicy::OnFailure, ..with_probes("a", probes) };
    let mut s = Script::all([spec]);
    s.started("a").answer("a", LIVENESS, Health::Unreachable).done_so_far();
    s.reborn().found_ended_of("a", 1, Exit::Code(0), 5, 0, false).event(Event::Adopted).expect(&[]);
    assert_eq!(s.status("a").state, State::Backoff);
}

#[test]
fn a_clock_that_was_set_back_makes_no_run_twice() {
    let mut s = Script::unadopted([svc("a")], &["a"], 9);
    s.found("a", 500, false, None).event(Event::Adopted).expect(&[]);
    s.reborn().event(Event::Adopted).expect(&["start a#501"]);
}

#[test]
fn a_held_fleet_stays_down_and_keeps_its_words() {
    let mut s = Script::all([svc("a")]);
    s.started("a").ask(Ask::Down { names: vec![] }).died("a", Exit::Signal(15)).done_so_far();
    let before = s.status("a").clone();
    s.reborn().found_ended_of("a", 1, Exit::Signal(15), 0, 1, false).event(Event::Adopted);
    s.expect(&["retire a"]).is("a", State::Stopped, &before.reason);
    assert_eq!(kept(s.status("a")), kept(&before));
}

fn exits(s: &mut Script) -> Vec<(Option<RunId>, Option<Exit>, Wall)> {
    let exits = s.changes().into_iter().filter(|change| change.kind == ChangeKind::Exit);
    exits.map(|change| (change.run, change.exit, change.at)).collect()
}

#[test]
fn ends_that_were_not_written_are_told_at_their_times_and_counted() {
    let backoff = Backoff { initial: secs(8), jitter: 0.0, reset_after: secs(50), ..Backoff::default() };
    let mut s = Script::all([ServiceSpec { backoff, ..svc("a") }]);
    s.started("a").died("a", Exit::Code(1)).after(secs(8)).started("a").done_so_far();
    assert_eq!((s.status("a").restarts, exits(&mut s).len()), (1, 1));
    assert_eq!(s.told("a"), Some(RunId(1)));
    // Runs 2 and 3 have ended since, and that was not written; 4 lives.
    let (second, third) = (wall(s.mono - secs(30)), wall(s.mono - secs(9)));
    s.reborn();
    s.found_former("a", 1, Exit::Code(1), 0, 40).found_former("a", 2, Exit::Code(2), 1, 30);
    s.found_former("a", 3, Exit::Signal(9), 1, 9)
        .found("a", 4, false, None)
        .event(Event::Adopted)
        .expect(&[]);
    let told = [(2, Exit::Code(2), second), (3, Exit::Signal(9), third)];
    assert_eq!(exits(&mut s), told.map(|(run, exit, at)| (Some(RunId(run)), Some(exit), at)));
    assert_eq!((s.status("a").restarts, s.status("a").last_exit), (3, Some(Exit::Signal(9))));
    // It is the fourth delay in a row: 8, 16, 32, 60.
    s.died("a", Exit::Code(1)).expect(&["stop a#4"]);
    s.after(secs(59)).expect(&[]).after(secs(1)).expect(&["start a#100"]);
    // They are told once.
    s.changes();
    s.reborn().found_former("a", 3, Exit::Signal(9), 1, 9).event(Event::Adopted);
    assert_eq!(exits(&mut s), []);
}

#[test]
fn the_end_of_a_former_run_says_how_late_it_is_told() {
    let mut s = Script::all([svc("a")]);
    s.started("a").changes();
    s.forget()
        .reborn()
        .found_former("a", 1, Exit::Code(7), 3, 9)
        .found("a", 2, false, None)
        .event(Event::Adopted);
    let change = s.changes().into_iter().find(|change| change.kind == ChangeKind::Exit).unwrap();
    assert_eq!(
        change.cause,
        "exited with code 7 after 3 s; the helmd that saw it died before it was written"
    );
    assert_eq!(s.status("a").restarts, 1, "also where nothing is remembered");
}

#[test]
fn a_former_run_that_a_person_ended_or_replaced_does_not_count() {
    // By what is remembered of it, and by the wish alone.
    for forgets in [false, true] {
        let mut s = Script::all([svc("a")]);
        s.started("a").restart(&["a"]).changes();
        if forgets {
            s.forget();
        }
        s.reborn()
            .found_former("a", 1, Exit::Signal(15), 5, 1)
            .found("a", 2, false, None)
            .event(Event::Adopted);
        assert_eq!((s.status("a").restarts, exits(&mut s).len()), (0, 1));
    }
    // What the policy leaves down, a person has started again; failures before that are forgotten.
    let mut s = never();
    s.stop("a").start("a").forget().reborn();
    s.found_former("a", 50, Exit::Code(1), 5, 1).found("a", 51, false, None).event(Event::Adopted);
    assert_eq!(s.status("a").restarts, 0);
    for (code, restarts) in [(0, 0), (1, 1)] {
        let mut s = Script::all([ServiceSpec { restart: RestartPolicy::OnFailure, ..svc("a") }]);
        s.started("a").reborn().found_former("a", 1, Exit::Code(code), 5, 1).found("a", 2, false, None);
        s.event(Event::Adopted);
        assert_eq!(s.status("a").restarts, restarts, "exit code {code}");
    }
}

#[test]
fn what_was_proven_begins_a_new_row_of_failures_also_when_it_is_told_late() {
    let backoff = Backoff { initial: secs(8), jitter: 0.0, reset_after: secs(50), ..Backoff::default() };
    let mut s = Script::all([ServiceSpec { backoff, ..svc("a") }]);
    s.started("a").died("a", Exit::Code(1)).after(secs(8)).started("a").reborn();
    s.found_former("a", 2, Exit::Code(1), 50, 9).found("a", 3, false, None).event(Event::Adopted);
    s.done_so_far();
    s.died("a", Exit::Code(1)).after(secs(7)).expect(&["stop a#3"]).after(secs(1)).expect(&["start a#100"]);
}

#[test]
fn an_end_that_was_written_and_not_remembered_is_counted_and_not_told_again() {
    let mut s = Script::all([svc("a")]);
    s.started("a").changes();
    s.reborn().written("a", 1).found_former("a", 1, Exit::Code(7), 3, 9).found("a", 2, false, None);
    s.event(Event::Adopted);
    assert_eq!((s.status("a").restarts, s.status("a").last_exit), (1, Some(Exit::Code(7))));
    assert_eq!(exits(&mut s), []);
    s.died("a", Exit::Code(8));
    assert_eq!(exits(&mut s).len(), 1);
    let mut s = Script::all([svc("a")]);
    s.started("a").changes();
    s.reborn().written("a", 1).found_ended_of("a", 1, Exit::Code(7), 3, 9, false).event(Event::Adopted);
    assert_eq!((s.status("a").restarts, exits(&mut s)), (1, vec![]));
}

#[test]
fn an_end_that_was_told_while_its_tree_lived_on_is_for_the_policy() {
    let mut s = Script::all([svc("a")]);
    s.started("a").ended("a", Exit::Code(2)).changes();
    s.done_so_far();
    s.reborn().found_ended_of("a", 1, Exit::Code(2), 0, 0, false).event(Event::Adopted).expect(&[]);
    assert_eq!((s.status("a").state, s.status("a").restarts), (State::Backoff, 1));
    assert_eq!(exits(&mut s), []);
}

#[test]
fn a_start_that_failed_is_newer_than_the_last_run_that_left_a_record() {
    let mut s = Script::all([svc("a")]);
    s.started("a").died("a", Exit::Code(1)).after(secs(1)).start_failed("a", false).done_so_far();
    let before = s.status("a").clone();
    assert_eq!((before.state, before.restarts), (State::Backoff, 2));
    s.reborn().found_ended_of("a", 1, Exit::Code(1), 0, 1, false).event(Event::Adopted).expect(&[]);
    assert_eq!(kept(s.status("a")), kept(&before));
    // One that no person has mended yet is tried again.
    s.after(secs(2)).start_failed("a", true).done_so_far();
    assert_eq!(s.status("a").state, State::Failed);
    s.reborn()
        .found_ended_of("a", 1, Exit::Code(1), 0, 3, false)
        .event(Event::Adopted)
        .expect(&["start a#101"]);
}

#[test]
fn a_run_that_left_no_record_is_newer_than_one_that_did() {
    let mut s = Script::all([svc("a")]);
    s.started("a").died("a", Exit::Code(1)).after(secs(1)).started("a").done_so_far();
    s.reborn()
        .found_ended_of("a", 1, Exit::Code(1), 0, 9, false)
        .event(Event::Adopted)
        .expect(&["start a#100"]);
    assert_eq!(s.status("a").restarts, 1);
}

#[test]
fn what_a_service_said_of_itself_is_known_to_the_next_helmd() {
    let spec =
        || with_probes("a", Probes { readiness: Some(probe(Check::Notify, 1, 1)), ..Probes::default() });
    let mut s = Script::all([spec()]);
    s.started("a").says("a", true, false, None);
    assert!(s.status("a").ready);
    again(&mut s, 1, false);
    assert!(s.status("a").ready);
    s.says("a", false, true, None);
    assert!(!s.status("a").ready);
    again(&mut s, 1, true);
    assert!(!s.status("a").ready, "it is leaving");
}

#[test]
fn what_was_proven_once_stays_so_for_the_next_helmd() {
    let backoff = Backoff { reset_after: secs(50), ..Backoff::default() };
    let mut s = Script::all([ServiceSpec { backoff, ..probed("a") }]);
    s.started("a").answer("a", READINESS, Health::Healthy).after(secs(50));
    s.answer("a", READINESS, Health::Unhealthy).answer("a", READINESS, Health::Unhealthy);
    assert!(!s.status("a").ready);
    again(&mut s, 1, false);
    s.done_so_far();
    s.died("a", Exit::Code(1)).expect(&["unprobe a readiness", "stop a#1", "start a#100"]);
}
