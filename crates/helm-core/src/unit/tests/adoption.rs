//! What a new helmd finds of one service.

use super::*;
use crate::event::Event;
use crate::goal::Verdict;
use crate::spec::Condition::Ready;

fn home(spec: ServiceSpec, wanted: bool) -> Script {
    Script::unadopted([spec], if wanted { &["a"] } else { &[] }, 9)
}

#[test]
fn nothing_is_decided_before_all_are_asked() {
    let mut s = home(svc("a"), true);
    s.event(Event::Tick).after(secs(60)).expect(&[]);
    assert_eq!(s.fleet.deadline(), None);
    s.event(Event::Adopted).expect(&["start a#1"]);
    s.event(Event::Adopted).expect(&[]);
}

#[test]
fn what_runs_goes_on() {
    let mut s = home(probed("a"), true);
    s.found("a", 40, true, None).expect(&[]).event(Event::Adopted).expect(&["probe a#40 readiness"]);
    s.is("a", State::Running, "ready");
    let status = s.status("a");
    assert_eq!((status.run, status.pid, status.mode), (Some(RunId(40)), Some(1_040), Mode::Production));
    assert_eq!(status.started_at, Some(wall(s.mono - secs(100))));
    assert_eq!(
        (status.health, status.health_message.as_str()),
        (Health::Unknown, "was ready; not asked again yet")
    );
    s.died("a", Exit::Code(1)).expect(&["unprobe a readiness", "stop a#40", "start a#41"]);
}

#[test]
fn a_service_without_probes_needs_no_excuse() {
    let mut s = home(svc("a"), true);
    s.found("a", 40, true, None).event(Event::Adopted);
    assert_eq!((s.status("a").ready, s.status("a").health_message.as_str()), (true, ""));
}

#[test]
fn one_that_was_not_ready_gets_its_full_time() {
    let mut s = home(ServiceSpec { start_timeout: Some(secs(30)), ..probed("a") }, true);
    s.found("a", 40, false, None).event(Event::Adopted).expect(&["probe a#40 readiness"]);
    s.is("a", State::Starting, "not ready yet").after(secs(29)).expect(&[]);
    s.answer("a", READINESS, Health::Healthy).is("a", State::Running, "ready");
}

#[test]
fn a_notifying_service_stays_ready() {
    let probes = Probes { readiness: Some(probe(Check::Notify, 1, 1)), ..Probes::default() };
    let mut s = home(with_probes("a", probes), true);
    s.found("a", 40, true, None).event(Event::Adopted).says("a", false, false, None);
    assert!(s.status("a").ready);
}

#[test]
fn what_runs_and_is_not_wanted_is_stopped() {
    let mut s = home(svc("a"), false);
    s.found("a", 40, true, None).event(Event::Adopted).expect(&["stop a#40"]);
    s.died("a", Exit::Signal(15)).expect(&["stop a#40", "retire a"]);
}

#[test]
fn a_tree_without_its_main_process_is_ended() {
    let mut s = home(svc("a"), true);
    s.found("a", 40, true, Some(Exit::Code(2))).event(Event::Adopted).expect(&["stop a#40"]);
    assert_eq!((s.status("a").state, s.status("a").last_exit), (State::Stopping, Some(Exit::Code(2))));
    s.after(secs(10)).expect(&["kill a#40"]).empty("a").expect(&["start a#41"]);
    assert_eq!(s.status("a").restarts, 1);
}

#[test]
fn an_end_in_absence_is_handled_at_its_real_time() {
    let mut s = home(svc("a"), true);
    s.found_ended("a", Exit::Code(7), 3, 30, true).event(Event::Adopted).expect(&["start a#51"]);
    let changes = s.changes();
    let exit = changes.iter().find(|change| change.kind == ChangeKind::Exit).unwrap();
    assert_eq!((exit.at, exit.exit), (wall(s.mono - secs(30)), Some(Exit::Code(7))));
    assert_eq!(exit.cause, "exited with code 7 after 3 s while helmd was away");
    assert_eq!((s.status("a").restarts, s.status("a").last_exit), (1, Some(Exit::Code(7))));

    let backoff = Backoff { initial: secs(40), jitter: 0.0, ..Backoff::default() };
    let mut s = home(ServiceSpec { backoff: backoff.clone(), ..svc("a") }, true);
    s.found_ended("a", Exit::Code(7), 3, 30, true).event(Event::Adopted).expect(&[]);
    assert_eq!((s.status("a").state, s.status("a").since), (State::Backoff, wall(s.mono - secs(30))));
    s.after(Duration::from_millis(9_999)).expect(&[]).after(Duration::from_millis(1)).expect(&["start a#51"]);

    let mut s = home(ServiceSpec { backoff: backoff.clone(), ..svc("a") }, true);
    s.found_ended("a", Exit::Code(7), 10, 0, true).event(Event::Adopted).expect(&["start a#51"]);
    let mut s = home(ServiceSpec { backoff, ..svc("a") }, true);
    s.found_ended("a", Exit::Code(7), 10, 0, false).event(Event::Adopted).expect(&[]);
}

#[test]
fn a_completed_one_shot_stays_completed_in_this_boot() {
    let once = ServiceSpec { restart: RestartPolicy::OnFailure, ..svc("a") };
    let mut s = home(once.clone(), true);
    s.found_ended("a", Exit::Code(0), 3, 30, true).event(Event::Adopted).expect(&["retire a"]);
    assert!(s.status("a").completed);
    let mut s = home(once.clone(), true);
    s.found_ended("a", Exit::Unknown, 3, 30, true).event(Event::Adopted).expect(&["start a#51"]);
    let mut s = home(once, false);
    s.found_ended("a", Exit::Code(0), 3, 30, true).event(Event::Adopted).expect(&["retire a"]);
    s.is(
        "a",
        State::Stopped,
        "stopped by an operator, earlier; exited with code 0 after 3 s while helmd was away",
    );
    assert!(!s.status("a").completed, "it was not wanted: it may have been stopped");
    assert!(
        s.changes().iter().all(|change| change.kind != ChangeKind::Exit),
        "old history is not told again"
    );
}

#[test]
fn news_and_asks_before_adoption_are_taken_in_after_what_was_found() {
    let mut s = home(svc("a"), true);
    s.restart(&["a"]).found("a", 40, true, None).expect(&[]).event(Event::Adopted).expect(&["stop a#40"]);
    s.died("a", Exit::Code(1)).expect(&["stop a#40", "start a#41"]);

    let mut s = home(svc("a"), true);
    s.found("a", 40, true, None).died("a", Exit::Code(1)).expect(&[]).event(Event::Adopted);
    s.expect(&["stop a#40", "start a#41"]);
}

#[test]
fn a_run_found_late_is_adopted_where_nothing_else_runs_else_killed() {
    let mut s = Script::new([svc("a")]);
    s.found("a", 40, true, None).expect(&["stop a#40"]);
    s.found("a", 40, true, None).expect(&[]).died("a", Exit::Code(0)).expect(&["stop a#40", "retire a"]);
    s.start("a").expect(&["start a#41"]).found("a", 40, true, None).expect(&[]);
    let mut s = Script::new([svc("a")]);
    s.start("a").started("a").found("a", 40, true, None).expect(&["start a#1", "kill a#40"]);
    assert_eq!(s.status("a").run, Some(RunId(1)));
    let mut s = Script::new([svc("a")]);
    s.start("a").started("a").ended("a", Exit::Code(1)).found("a", 40, true, None);
    s.expect(&["start a#1", "stop a#1", "kill a#40"]);
}

#[test]
fn the_holder_of_the_port_may_turn_out_to_be_ours() {
    let mut s = Script::new([probed("a")]);
    s.start("a").occupied("a").expect(&["start a#1", "watch a#1", "probe a#1 readiness"]);
    s.found("a", 40, true, None).expect(&["unwatch a", "unprobe a readiness", "probe a#40 readiness"]);
    assert_eq!(s.status("a").state, State::Running);
}

#[test]
fn what_was_ready_is_not_asked_whether_it_has_come_up() {
    let probes = Probes {
        startup: Some(probe(http("/started"), 1, 1)),
        readiness: Some(probe(http("/ready"), 1, 1)),
        liveness: None,
    };
    let mut s = home(with_probes("a", probes), true);
    s.found("a", 40, true, None).event(Event::Adopted).expect(&["probe a#40 readiness"]);
}

#[test]
fn an_end_in_absence_is_history_once_something_newer_is_known() {
    let mut s = home(svc("a"), true);
    s.event(Event::Adopted).started("a").stop("a").died("a", Exit::Code(4)).done_so_far();
    s.found_ended("a", Exit::Code(9), 3, 30, true).expect(&[]);
    assert_eq!((s.status("a").state, s.status("a").last_exit), (State::Stopped, Some(Exit::Code(4))));
}

#[test]
fn an_end_in_absence_that_is_told_late_changes_no_plan() {
    let mut s = Script::all([probed("b"), needs(svc("a"), &[("b", Ready)])]);
    s.found_ended("a", Exit::Code(9), 3, 30, true).is("a", State::Blocked, "waits for b (starting)");
    assert_eq!(s.status("a").last_exit, None);
}

const SILENT: &str = "its keeper has not answered yet";

#[test]
fn nothing_starts_before_its_keeper_has_answered() {
    let mut s = home(probed("a"), true);
    s.news("a", News::Silent).event(Event::Adopted).after(secs(60)).expect(&[]);
    s.is("a", State::Blocked, SILENT);
    s.found("a", 40, true, None).news("a", News::Answered).expect(&["probe a#40 readiness"]);
    s.is("a", State::Running, "ready");
    s.died("a", Exit::Code(1)).expect(&["unprobe a readiness", "stop a#40", "start a#41"]);
}

#[test]
fn a_silent_keeper_of_what_is_not_wanted_is_waited_for_as_well() {
    let mut s = home(svc("a"), true);
    s.news("a", News::Silent).event(Event::Adopted).stop("a").expect(&[]).is("a", State::Blocked, SILENT);
    assert!(matches!(s.verdict("a"), Verdict::Pending(_)));
    s.found("a", 40, true, None).news("a", News::Answered).expect(&["stop a#40"]);
    s.died("a", Exit::Signal(15)).expect(&["stop a#40", "retire a"]);
}

#[test]
fn where_a_late_keeper_finds_nothing_it_starts() {
    let mut s = home(svc("a"), true);
    s.news("a", News::Silent).event(Event::Adopted).expect(&[]);
    s.news("a", News::Answered).expect(&["start a#1"]);
}

#[test]
fn a_late_end_is_told_and_leads_to_a_start() {
    let mut s = home(svc("a"), true);
    s.news("a", News::Silent).event(Event::Adopted);
    s.found_ended("a", Exit::Code(7), 3, 30, true).news("a", News::Answered).expect(&["start a#51"]);
    assert_eq!(s.changes().iter().filter(|change| change.kind == ChangeKind::Exit).count(), 1);
}

#[test]
fn what_was_left_counts_when_a_late_keeper_finds_nothing_and_a_person_overrules_it() {
    let silent = |s: &mut Script| {
        s.reborn().news("a", News::Silent).event(Event::Adopted).expect(&[]).is("a", State::Blocked, SILENT);
    };
    let mut s = Script::all([ServiceSpec { restart: RestartPolicy::Never, ..svc("a") }]);
    s.started("a").died("a", Exit::Code(1)).done_so_far();
    silent(&mut s);
    s.news("a", News::Answered).expect(&["retire a"]);
    assert_eq!(s.status("a").state, State::Failed);
    silent(&mut s);
    s.start("a").expect(&[]).news("a", News::Answered);
    assert_eq!(s.status("a").state, State::Starting);
}

#[test]
fn a_restart_that_was_asked_of_a_silent_one_comes() {
    let mut s = home(svc("a"), true);
    s.news("a", News::Silent).event(Event::Adopted).restart(&["a"]).expect(&[]);
    s.found("a", 40, true, None).expect(&[]).news("a", News::Answered).expect(&["stop a#40"]);
    s.died("a", Exit::Signal(15)).expect(&["stop a#40", "start a#41"]);
}

#[test]
fn an_older_run_that_is_found_during_a_start_is_not_killed() {
    let mut s = home(svc("a"), true);
    s.event(Event::Adopted).start_failed("a", false).after(secs(60)).done_so_far();
    let newer = s.run("a");
    assert_eq!(newer, RunId(2));
    s.found("a", 1, true, None).expect(&[]);
}

#[test]
fn run_ids_are_above_those_of_a_boot_whose_clock_was_ahead() {
    let mut s = Script::all([svc("a")]);
    s.started("a").news("a", News::Warning { topic: "t".into(), text: String::new() });
    s.restart(&["a"]).died("a", Exit::Signal(15)).started("a").done_so_far();
    // The next boot knows the wish for a run newer than 1, and the events that tell of 500; nothing else.
    s.forget().reborn_at(1).written("a", 500).event(Event::Adopted).expect(&["start a#501"]);
    s.started("a").changes();
    s.died("a", Exit::Code(3));
    assert!(s.changes().iter().any(|change| change.kind == ChangeKind::Exit), "its end is told");
}

#[test]
fn a_restart_of_an_earlier_boot_is_not_asked_again_for_a_run_of_this_one() {
    let mut s = Script::all([svc("a")]);
    s.started("a").died("a", Exit::Code(0)).after(secs(60)).started("a").restart(&["a"]);
    s.done_so_far();
    s.forget().reborn_at(1).event(Event::Adopted).expect(&["start a#3"]).started("a");
    s.reborn_at(1).found("a", 3, true, None).event(Event::Adopted).expect(&[]);
}
