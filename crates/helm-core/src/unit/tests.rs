//! One service, as scripts. The fleet around it has one unit, so that what is tested is what clients get.

mod adoption;
mod external;
mod probing;
mod reborn;
mod removed;

use std::time::Duration;

use crate::event::{Answer, ChangeKind, News};
use crate::exit::Exit;
use crate::fleet::testing::*;
use crate::spec::{Backoff, Check, Probes, RestartPolicy, ServiceSpec, StopPolicy};
use crate::status::{Health, RunId, State};
use crate::wish::Mode;

fn running() -> Script {
    let mut script = Script::new([svc("a")]);
    script.start("a").started("a").expect(&["start a#1"]);
    script
}

fn with_policy(restart: RestartPolicy) -> Script {
    let mut script = Script::new([ServiceSpec { restart, ..svc("a") }]);
    script.start("a").started("a").expect(&["start a#1"]);
    script
}

#[test]
fn a_start_and_a_stop() {
    let mut s = Script::new([svc("a")]);
    s.is("a", State::Stopped, "was not started since helmd came");
    s.start("a").expect(&["start a#1"]).is("a", State::Starting, "is being started");
    assert_eq!(s.status("a").run, Some(RunId(1)));
    assert_eq!(s.status("a").pid, None, "no process is known yet");
    s.started("a").expect(&[]).is("a", State::Running, "ready");
    let status = s.status("a").clone();
    assert!(status.ready && status.wanted);
    assert_eq!((status.pid, status.started_at), (Some(1_001), Some(wall(s.mono))));
    assert_eq!(status.health, Health::Unknown, "nobody is asked");
    s.stop("a").expect(&["stop a#1"]).is("a", State::Stopping, "stopped by uid 7; waits for it to end");
    s.after(secs(3)).ended("a", Exit::Signal(15)).expect(&["stop a#1"]);
    s.is(
        "a",
        State::Stopping,
        "was ended by signal 15 (SIGTERM) after 3 s; ends what is left of its processes",
    );
    assert_eq!(s.status("a").pid, None);
    s.empty("a").expect(&["retire a"]);
    s.is("a", State::Stopped, "stopped by uid 7; was ended by signal 15 (SIGTERM) after 3 s");
    let status = s.status("a");
    assert_eq!((status.run, status.pid, status.started_at), (None, None, None));
    assert_eq!(status.last_exit, Some(Exit::Signal(15)));
    assert_eq!(s.fleet.deadline(), None);
}

#[test]
fn every_change_of_state_is_recorded_with_its_cause() {
    let mut s = Script::new([svc("a")]);
    s.start("a")
        .started("a")
        .after(secs(20))
        .died("a", Exit::Code(7))
        .started("a")
        .stop("a")
        .died("a", Exit::Code(0));
    s.expect_changes(
        ChangeKind::State,
        &[
            "a stopped -> starting: asked by uid 7",
            "a starting -> running: its program runs",
            "a running -> stopping: exited with code 7 after 20 s",
            "a stopping -> starting: exited with code 7 after 20 s; starts again at once",
            "a starting -> running: its program runs",
            "a running -> stopping: stopped by uid 7",
            "a stopping -> stopped: stopped by uid 7; exited with code 0 after 0.0 s",
        ],
    );
}

#[test]
fn wishes_and_exits_are_recorded() {
    let mut s = running();
    s.expect_changes(ChangeKind::Wish, &["a stopped -> running: asked by uid 7"]);
    s.after(secs(2)).ended("a", Exit::Code(7)).after(secs(1));
    let changes = s.changes();
    let exit = changes.iter().find(|change| change.kind == ChangeKind::Exit).unwrap();
    assert_eq!((exit.exit, exit.run, exit.pid), (Some(Exit::Code(7)), Some(RunId(1)), Some(1_001)));
    assert_eq!((exit.to.as_str(), exit.cause.as_str()), ("code 7", "exited with code 7 after 2 s"));
    s.down().expect_changes(ChangeKind::Wish, &["a running -> stopped: the fleet is held down by uid 7"]);
    s.up().expect_changes(ChangeKind::Wish, &["a stopped -> running: asked by uid 7"]);
}

#[test]
fn the_wall_time_of_an_exit_is_when_it_happened() {
    let mut s = running();
    let (run, at) = (s.run("a"), s.mono + secs(1));
    s.after(secs(5)).news("a", News::Ended { run, exit: Exit::Code(1), at });
    let change = s.changes().into_iter().find(|change| change.kind == ChangeKind::Exit).unwrap();
    assert_eq!(change.at, wall(at));
    assert_eq!(change.cause, "exited with code 1 after 1 s");
}

#[test]
fn a_service_that_ignores_the_signal_is_killed_and_killed_again() {
    let mut s = running();
    s.stop("a").expect(&["stop a#1"]).after(Duration::from_millis(9_999)).expect(&[]);
    s.after(Duration::from_millis(1)).expect(&["kill a#1"]);
    s.is("a", State::Stopping, "stopped by uid 7; its processes were killed and are not gone yet");
    s.after(Duration::from_millis(4_999)).expect(&[]).after(Duration::from_millis(1)).expect(&["kill a#1"]);
    s.ended("a", Exit::Signal(9)).expect(&[]).after(secs(5)).expect(&["kill a#1"]);
    s.empty("a").expect(&["retire a"]).after(secs(100)).expect(&[]);
}

#[test]
fn the_grace_time_is_the_services_own() {
    let stop = StopPolicy { signal: 2, grace: secs(60) };
    let mut s = Script::new([ServiceSpec { stop, ..svc("a") }]);
    s.start("a").started("a").stop("a").expect(&["start a#1", "stop a#1"]);
    s.after(secs(59)).expect(&[]).after(secs(1)).expect(&["kill a#1"]);
}

#[test]
fn what_outlives_the_main_process_gets_the_signal_then_the_kill() {
    let mut s = running();
    s.ended("a", Exit::Code(1)).expect(&["stop a#1"]);
    s.is("a", State::Stopping, "exited with code 1 after 0.0 s; ends what is left of its processes");
    s.after(secs(10)).expect(&["kill a#1"]);
    s.empty("a").expect(&["start a#2"]);
    assert_eq!(s.status("a").restarts, 1, "the delay was over by then");
}

#[test]
fn nothing_starts_before_the_tree_is_empty() {
    let mut s = running();
    s.after(secs(60)).ended("a", Exit::Code(1)).expect(&["stop a#1"]);
    s.start("a").restart(&["a"]).after(secs(9)).expect(&[]);
    s.empty("a").expect(&["start a#2"]);
}

#[test]
fn the_first_restart_after_a_healthy_run_is_immediate_later_ones_wait() {
    let mut s = running();
    s.after(secs(10)).died("a", Exit::Code(7)).expect(&["stop a#1", "start a#2"]);
    assert_eq!(s.status("a").restarts, 1);
    s.started("a").after(secs(3)).died("a", Exit::Code(7)).expect(&["stop a#2"]);
    s.is("a", State::Backoff, "exited with code 7 after 3 s; waits in backoff 1");
    assert_eq!(s.status("a").next_start, Some(s.mono + secs(1)));
    assert_eq!(s.status("a").last_exit, Some(Exit::Code(7)));
    s.after(secs(1)).expect(&["start a#3"]).started("a").died("a", Exit::Signal(11)).expect(&["stop a#3"]);
    s.is("a", State::Backoff, "was ended by signal 11 (SIGSEGV) after 0.0 s; waits in backoff 2");
    s.after(Duration::from_millis(1_999)).expect(&[]).after(Duration::from_millis(1)).expect(&["start a#4"]);
    assert_eq!(s.status("a").restarts, 3);
    s.started("a").after(Duration::from_millis(9_999)).died("a", Exit::Code(0)).expect(&["stop a#4"]);
    s.is("a", State::Backoff, "exited with code 0 after 9 s; if done, set \"restart\": \"on-failure\"");
}

#[test]
fn a_delay_counts_from_the_end_not_from_the_empty_tree() {
    let mut s = running();
    s.ended("a", Exit::Code(7)).after(Duration::from_millis(400)).empty("a").expect(&["stop a#1"]);
    s.after(Duration::from_millis(599)).expect(&[]).after(Duration::from_millis(1)).expect(&["start a#2"]);
}

#[test]
fn an_operator_cuts_the_backoff_short() {
    let mut s = running();
    s.died("a", Exit::Code(7)).after(secs(1)).started("a").died("a", Exit::Code(7)).expect(&[
        "stop a#1",
        "start a#2",
        "stop a#2",
    ]);
    s.start("a").expect(&["start a#3"]);
    assert_eq!(s.status("a").restarts, 0, "counted since an operator started it");
    s.started("a").died("a", Exit::Code(7)).is(
        "a",
        State::Backoff,
        "exited with code 7 after 0.0 s; waits in backoff 1",
    );
}

#[test]
fn a_stop_ends_the_backoff() {
    let mut s = running();
    s.died("a", Exit::Code(7)).expect(&["stop a#1"]).stop("a").expect(&["retire a"]);
    let why = "stopped by uid 7; before: exited with code 7 after 0.0 s; waits in backoff 1";
    s.is("a", State::Stopped, why).after(secs(100)).expect(&[]);
    assert_eq!(s.done("a"), "already stopped");
}

#[test]
fn a_limit_gives_up_until_an_operator_acts() {
    let backoff = Backoff { limit: Some(2), jitter: 0.0, ..Backoff::default() };
    let mut s = Script::new([ServiceSpec { backoff, ..svc("a") }]);
    s.start("a").started("a").died("a", Exit::Code(7)).after(secs(1)).started("a").expect(&[
        "start a#1",
        "stop a#1",
        "start a#2",
    ]);
    s.died("a", Exit::Code(7)).expect(&["stop a#2", "retire a"]);
    s.is("a", State::Failed, "exited with code 7 after 0.0 s; gave up after 2 failures in a row");
    s.after(secs(1_000)).expect(&[]);
    s.start("a").expect(&["start a#3"]).started("a").died("a", Exit::Code(7));
    assert_eq!(s.status("a").state, State::Backoff, "the count began anew");
}

#[test]
fn restart_policies() {
    let mut s = with_policy(RestartPolicy::OnFailure);
    s.died("a", Exit::Code(0)).expect(&["stop a#1", "retire a"]);
    s.is("a", State::Stopped, "completed: exited with code 0 after 0.0 s").after(secs(100)).expect(&[]);
    assert!(s.status("a").completed && s.status("a").wanted);
    s.start("a").expect(&["start a#2"]);
    assert!(!s.status("a").completed);
    s.started("a").died("a", Exit::Unknown).is(
        "a",
        State::Backoff,
        "ended after 0.0 s, nobody knows how; waits in backoff 1",
    );

    let mut s = with_policy(RestartPolicy::Never);
    s.died("a", Exit::Code(3)).expect(&["stop a#1", "retire a"]);
    s.is("a", State::Failed, "exited with code 3 after 0.0 s; it is never restarted by itself");

    let mut s = with_policy(RestartPolicy::Never);
    s.died("a", Exit::Code(0));
    assert!(s.status("a").completed);

    let mut s = with_policy(RestartPolicy::Always);
    s.died("a", Exit::Code(0)).is(
        "a",
        State::Backoff,
        "exited with code 0 after 0.0 s; if done, set \"restart\": \"on-failure\"",
    );
    assert!(!s.status("a").completed);
}

#[test]
fn an_end_that_was_asked_for_is_no_completion() {
    let mut s = with_policy(RestartPolicy::OnFailure);
    s.stop("a").died("a", Exit::Code(0));
    assert!(!s.status("a").completed);
    s.expect(&["stop a#1", "stop a#1", "retire a"]).start("a").expect(&["start a#2"]);
}

#[test]
fn an_asked_restart_is_not_a_failure() {
    let mut s = running();
    s.after(secs(1)).restart(&["a"]).expect(&["stop a#1"]);
    s.is("a", State::Stopping, "restarted by uid 7; waits for it to end");
    s.died("a", Exit::Code(7)).expect(&["stop a#1", "start a#2"]);
    s.started("a").is("a", State::Running, "ready");
    assert_eq!((s.status("a").restarts, s.status("a").last_exit), (0, Some(Exit::Code(7))));
    assert_eq!(s.done("a"), "started");
}

#[test]
fn a_restart_of_what_does_not_run_starts_it() {
    let mut s = Script::new([svc("a")]);
    s.restart(&["a"]).expect(&["start a#1"]).started("a").died("a", Exit::Code(1)).expect(&["stop a#1"]);
    s.restart(&["a"]).expect(&["start a#2"]);
}

#[test]
fn a_restart_during_a_start_makes_a_fresh_run() {
    let mut s = Script::new([svc("a")]);
    s.start("a").restart(&["a"]).expect(&["start a#1"]).is(
        "a",
        State::Starting,
        "is being started; uid 7 asked to end it",
    );
    s.started("a").expect(&["stop a#1"]).died("a", Exit::Signal(15)).expect(&["stop a#1", "start a#2"]);
    s.started("a").expect(&[]);
    assert_eq!(s.done("a"), "started");
}

#[test]
fn a_restart_during_an_unexpected_end_starts_at_once() {
    let mut s = running();
    s.ended("a", Exit::Code(1)).restart(&["a"]).empty("a").expect(&["stop a#1", "start a#2"]);
    assert_eq!(s.status("a").restarts, 0);
}

#[test]
fn a_stop_during_a_start_comes_as_soon_as_it_runs() {
    let mut s = Script::new([svc("a")]);
    s.start("a").stop("a").expect(&["start a#1"]).is(
        "a",
        State::Starting,
        "is being started; uid 7 asked to end it",
    );
    s.started("a").expect(&["stop a#1"]).died("a", Exit::Signal(15)).expect(&["stop a#1", "retire a"]);
}

#[test]
fn a_start_during_a_stop_comes_after_it() {
    let mut s = running();
    s.stop("a")
        .start("a")
        .expect(&["stop a#1"])
        .died("a", Exit::Signal(15))
        .expect(&["stop a#1", "start a#2"]);
    assert_eq!(s.status("a").restarts, 0);
}

#[test]
fn a_wish_that_came_back_before_the_signal_changes_nothing() {
    let mut s = Script::new([svc("a")]);
    s.start("a").stop("a").start("a").started("a").expect(&["start a#1"]).is("a", State::Running, "ready");
}

#[test]
fn starts_that_fail() {
    let mut s = Script::new([svc("a")]);
    s.start("a").start_failed("a", true).expect(&["start a#1", "retire a"]);
    s.is("a", State::Failed, "could not be started: no such file").after(secs(1_000)).expect(&[]);
    s.start("a").start_failed("a", false).expect(&["start a#2"]);
    s.is("a", State::Backoff, "could not be started: no such file; waits in backoff 1");
    s.after(secs(1)).expect(&["start a#3"]).start_failed("a", false);
    s.is("a", State::Backoff, "could not be started: no such file; waits in backoff 2");
    s.stop("a")
        .expect(&["retire a"])
        .start("a")
        .stop("a")
        .start_failed("a", true)
        .expect(&["start a#4", "retire a"]);
    s.is("a", State::Stopped, "stopped by uid 7; could not be started: no such file");
}

#[test]
fn a_missing_directory_waits_for_an_operator() {
    let mut s = Script::new([svc("a")]);
    s.start("a").news("a", News::NotInstalled { run: RunId(1), reason: "/srv/a is not there".into() });
    s.expect(&["start a#1", "retire a"])
        .is("a", State::NotInstalled, "/srv/a is not there")
        .after(secs(999))
        .expect(&[]);
    s.up().expect(&["start a#2"]);
    s.news("a", News::NotInstalled { run: RunId(2), reason: "gone".into() }).expect(&["retire a"]);
    s.stop("a").is("a", State::Stopped, "stopped by uid 7");
}

#[test]
fn a_start_without_an_answer_is_killed_until_it_is_over() {
    let mut s = Script::new([svc("a")]);
    s.start("a").expect(&["start a#1"]).after(Duration::from_millis(29_999)).expect(&[]);
    s.after(Duration::from_millis(1)).expect(&["kill a#1"]).after(secs(5)).expect(&["kill a#1"]);
    s.empty("a").is("a", State::Backoff, "ended after 35 s, nobody knows how; waits in backoff 1");
}

#[test]
fn an_end_before_the_start_was_told_is_an_end() {
    let mut s = Script::new([svc("a")]);
    s.start("a").after(secs(1)).ended("a", Exit::Code(4)).expect(&["start a#1", "stop a#1"]);
    let exit = s.changes().into_iter().find(|change| change.kind == ChangeKind::Exit).unwrap();
    assert_eq!((exit.pid, exit.exit), (None, Some(Exit::Code(4))));
    s.started("a").is(
        "a",
        State::Stopping,
        "exited with code 4 after 1 s; ends what is left of its processes",
    );
    s.empty("a").is("a", State::Backoff, "exited with code 4 after 1 s; waits in backoff 1").expect(&[]);
}

#[test]
fn an_empty_tree_without_a_told_end_is_an_unknown_end() {
    let mut s = running();
    s.after(secs(2)).empty("a").is(
        "a",
        State::Backoff,
        "ended after 2 s, nobody knows how; waits in backoff 1",
    );
    assert_eq!(s.status("a").last_exit, Some(Exit::Unknown));
    s.ended("a", Exit::Code(1)).is(
        "a",
        State::Backoff,
        "ended after 2 s, nobody knows how; waits in backoff 1",
    );
}

#[test]
fn news_of_another_run_changes_nothing() {
    let other = RunId(77);
    let answer = Answer { health: Health::Unhealthy, message: String::new(), latency: secs(0) };
    let holder = crate::status::Holder { pid: None, command: None, uid: None };
    let stale = [
        News::Started { run: other, pid: 1 },
        News::StartFailed { run: other, reason: String::new(), permanent: true },
        News::NotInstalled { run: other, reason: String::new() },
        News::Occupied { run: other, holder },
        News::Released,
        News::Probed { run: other, probe: LIVENESS, answer },
        News::Notified { run: other, ready: false, stopping: true, status: Some("x".into()) },
        News::WatchdogMissed { run: other },
        News::Ended { run: other, exit: Exit::Code(1), at: Script::new([]).mono },
        News::TreeEmpty { run: other, leftovers: 3 },
        found_ended(other),
    ];
    let probes = Probes { liveness: Some(probe(http("/"), 1, 1)), ..Probes::default() };
    for news in stale {
        for stage in 0..4 {
            let mut s = Script::new([with_probes("a", probes.clone())]);
            s.start("a");
            if stage > 0 {
                s.started("a");
            }
            if stage > 1 {
                s.ended("a", Exit::Code(1));
            }
            if stage > 2 {
                s.empty("a");
            }
            let before = s.status("a").clone();
            s.done_so_far();
            s.news("a", news.clone()).expect(&[]);
            assert_eq!(*s.status("a"), before, "{news:?} in stage {stage}");
        }
    }
}

fn found_ended(run: RunId) -> News {
    let (started, ended, ended_wall) = Default::default();
    News::FoundEnded {
        run,
        exit: Exit::Code(0),
        started,
        ended,
        ended_wall,
        mode: Mode::Production,
        ready: true,
    }
}

#[test]
fn the_same_news_twice_changes_nothing() {
    let mut s = running();
    s.started("a").expect(&[]).ended("a", Exit::Code(3)).ended("a", Exit::Code(4)).expect(&["stop a#1"]);
    assert_eq!(s.status("a").last_exit, Some(Exit::Code(3)));
    s.empty("a").empty("a").expect(&[]);
    assert_eq!(s.status("a").restarts, 1);
}

#[test]
fn a_service_that_daemonises_is_told_so() {
    let mut s = running();
    let run = s.run("a");
    s.ended("a", Exit::Code(0)).news("a", News::TreeEmpty { run, leftovers: 2 });
    let hint = "2 processes outlived its main process, which ended with code 0: does it daemonise? run it in the foreground";
    assert_eq!(s.status("a").warnings, [hint]);
    s.after(secs(1)).started("a");
    assert_eq!(s.status("a").warnings, [hint], "it stays until a run ends otherwise");
    s.died("a", Exit::Code(0));
    assert!(s.status("a").warnings.is_empty());
    let run = s.after(secs(2)).started("a").run("a");
    s.ended("a", Exit::Code(1)).news("a", News::TreeEmpty { run, leftovers: 2 });
    assert!(s.status("a").warnings.is_empty(), "a crash may leave children");
    let run = s.after(secs(4)).started("a").run("a");
    s.stop("a").ended("a", Exit::Code(0)).news("a", News::TreeEmpty { run, leftovers: 2 });
    assert!(s.status("a").warnings.is_empty(), "a stop may leave children");
    let run = s.start("a").started("a").run("a");
    s.ended("a", Exit::Code(0)).news("a", News::TreeEmpty { run, leftovers: 1 });
    assert!(s.status("a").warnings[0].starts_with("1 process outlived"));
}

#[test]
fn warnings_come_and_go_by_topic() {
    let mut s = Script::new([svc("a")]);
    let warn = |text: &str| News::Warning { topic: "output".into(), text: text.into() };
    s.news("a", warn("full disk")).news("a", warn("full disk")).news("a", warn("still full"));
    assert_eq!(s.status("a").warnings, ["still full"]);
    s.news("a", warn(""));
    assert!(s.status("a").warnings.is_empty());
    s.expect_changes(
        ChangeKind::Warning,
        &["a  -> full disk: output", "a full disk -> still full: output", "a still full -> : output"],
    );
}

#[test]
fn what_was_wrong_is_still_said_after_a_stop() {
    let mut s = Script::new([ServiceSpec { restart: RestartPolicy::Never, ..svc("a") }]);
    s.start("a").started("a").after(secs(3)).died("a", Exit::Code(7)).down();
    s.is(
        "a",
        State::Stopped,
        "stopped by uid 7; before: exited with code 7 after 3 s; it is never restarted by itself",
    );
    assert_eq!((s.done("a"), s.status("a").last_exit), ("already stopped".into(), Some(Exit::Code(7))));

    let mut s = Script::new([svc("a")]);
    s.start("a").start_failed("a", true).stop("a");
    s.is("a", State::Stopped, "stopped by uid 7; before: could not be started: no such file");

    let mut s = running();
    s.after(secs(3)).died("a", Exit::Code(7)).stop("a");
    s.is("a", State::Stopped, "stopped by uid 7; before: exited with code 7 after 3 s; waits in backoff 1");
    // The next helmd says the same.
    s.reborn().event(crate::event::Event::Adopted);
    s.is("a", State::Stopped, "stopped by uid 7; before: exited with code 7 after 3 s; waits in backoff 1");
}

#[test]
fn a_task_that_is_done_stays_done_after_a_down() {
    let mut s = with_policy(RestartPolicy::OnFailure);
    s.after(secs(3)).died("a", Exit::Code(0)).down();
    s.is("a", State::Stopped, "completed: exited with code 0 after 3 s");
    assert!(s.status("a").completed);
}

#[test]
fn a_stop_says_when_it_becomes_a_kill() {
    let mut s = running();
    assert_eq!(s.status("a").kill_at, None);
    s.stop("a");
    assert_eq!(s.status("a").kill_at, Some(s.mono + secs(10)));
    s.after(secs(10));
    assert_eq!(s.status("a").kill_at, None, "it was");
}
