//! Several services, as scripts.

use std::time::Duration;

use super::testing::*;
use crate::ask::{Ask, Refusal, plan};
use crate::event::{ChangeKind, Effect, Event};
use crate::exit::Exit;
use crate::goal::{Goal, Verdict};
use crate::spec::Condition::{self, Completed, Healthy, Ready, Started};
use crate::spec::{Backoff, RestartPolicy, ServiceSpec};
use crate::status::{Health, RunId, State};
use crate::wish::{Mode, Wish, Wishes};

/// nexus needs core needs keycloak; all with a readiness probe.
fn chain() -> [ServiceSpec; 3] {
    [
        probed("keycloak"),
        needs(probed("core"), &[("keycloak", Ready)]),
        needs(probed("nexus"), &[("core", Ready)]),
    ]
}

fn chain_running() -> Script {
    let mut s = Script::new(chain());
    s.start("nexus");
    for name in ["keycloak", "core", "nexus"] {
        s.started(name).answer(name, READINESS, Health::Healthy);
    }
    s.done_so_far();
    s
}

/// `b` needs `a` under `condition`.
fn pair(a: ServiceSpec, condition: Condition) -> Script {
    let mut s = Script::all([a, needs(svc("b"), &[("a", condition)])]);
    s.expect(&["start a#1"]);
    s
}

mod order {
    use super::*;

    #[test]
    fn a_start_takes_along_what_it_needs_in_order() {
        let mut s = Script::new(chain());
        s.start("nexus").expect(&["start keycloak#1"]);
        s.is("core", State::Blocked, "waits for keycloak (starting)");
        s.is("nexus", State::Blocked, "waits for core (blocked)");
        assert_eq!(s.status("nexus").waits_for, [name("core")]);
        s.started("keycloak").expect(&["probe keycloak#1 readiness"]);
        s.answer("keycloak", READINESS, Health::Healthy).expect(&["start core#2"]);
        assert_eq!(s.verdict("nexus"), Verdict::Pending("waits for core (starting)".into()));
        s.started("core")
            .answer("core", READINESS, Health::Degraded)
            .expect(&["probe core#2 readiness", "start nexus#3"]);
        s.started("nexus").answer("nexus", READINESS, Health::Healthy);
        assert_eq!(s.done("nexus"), "started");
        assert!(s.status("nexus").waits_for.is_empty());
    }

    #[test]
    fn waiting_is_recorded_with_its_cause() {
        let mut s = Script::all([probed("a"), needs(svc("b"), &[("a", Ready)])]);
        s.started("a").answer("a", READINESS, Health::Healthy).started("b");
        let changes = s.changes();
        let of_b = changes.iter().filter(|c| c.kind == ChangeKind::State && c.service.as_str() == "b");
        let lines: Vec<String> = of_b.map(|c| format!("{} -> {}: {}", c.from, c.to, c.cause)).collect();
        let want = [
            "stopped -> blocked: waits for a (starting)",
            "blocked -> starting: what it waited for is there",
            "starting -> running: its program runs",
        ];
        assert_eq!(lines, want);
    }

    #[test]
    fn started_is_satisfied_by_a_process() {
        let mut s = pair(probed("a"), Started);
        s.started("a").expect(&["probe a#1 readiness", "start b#2"]);
    }

    #[test]
    fn ready_is_not_satisfied_by_a_process_alone() {
        let mut s = pair(probed("a"), Ready);
        s.started("a").expect(&["probe a#1 readiness"]).is("b", State::Blocked, "waits for a (starting)");
        s.answer("a", READINESS, Health::Healthy).expect(&["start b#2"]);
    }

    #[test]
    fn healthy_is_more_than_ready() {
        let mut s = pair(probed("a"), Healthy);
        s.started("a").answer("a", READINESS, Health::Degraded).expect(&["probe a#1 readiness"]);
        s.is("b", State::Blocked, "waits for a (running, degraded)");
        s.answer("a", READINESS, Health::Healthy).expect(&["start b#2"]);
    }

    #[test]
    fn healthy_needs_ready_too() {
        let readiness = Some(probe(http("/"), 2, 1));
        let spec = with_probes("a", crate::spec::Probes { readiness, ..Default::default() });
        let mut s = pair(spec, Healthy);
        s.started("a").answer("a", READINESS, Health::Healthy).expect(&["probe a#1 readiness"]);
        s.answer("a", READINESS, Health::Healthy).expect(&["start b#2"]);
    }

    #[test]
    fn completed_needs_a_success() {
        let once = ServiceSpec { restart: RestartPolicy::OnFailure, ..svc("a") };
        let mut s = pair(once, Completed);
        s.started("a").expect(&[]).is("b", State::Blocked, "waits for a (running, must complete)");
        s.died("a", Exit::Code(1)).expect(&["stop a#1"]).is("b", State::Blocked, "waits for a (backoff)");
        s.after(secs(1)).started("a").died("a", Exit::Code(0)).expect(&[
            "start a#2",
            "stop a#2",
            "retire a",
            "start b#3",
        ]);
    }

    #[test]
    fn what_is_completed_satisfies_every_condition() {
        for condition in [Started, Ready, Healthy, Completed] {
            let once = ServiceSpec { restart: RestartPolicy::OnFailure, ..probed("a") };
            let mut s = pair(once, condition);
            s.ended("a", Exit::Code(0)).empty("a");
            assert_eq!(s.status("b").state, State::Starting, "{condition:?}");
        }
    }

    #[test]
    fn a_wait_goes_on_through_restarts_and_counts_for_nothing() {
        let backoff = Backoff { limit: Some(1), jitter: 0.0, ..Backoff::default() };
        let mut s = Script::all([probed("a"), ServiceSpec { backoff, ..needs(svc("b"), &[("a", Ready)]) }]);
        s.started("a").died("a", Exit::Code(1)).is("b", State::Blocked, "waits for a (backoff)");
        s.after(secs(1)).is("b", State::Blocked, "waits for a (starting)");
        s.started("a").answer("a", READINESS, Health::Healthy).started("b").is("b", State::Running, "ready");
        assert_eq!(s.status("b").restarts, 0);
    }

    #[test]
    fn a_dependent_that_runs_is_never_touched() {
        let mut s = chain_running();
        s.after(secs(60)).died("keycloak", Exit::Signal(9));
        s.expect(&["unprobe keycloak readiness", "stop keycloak#1", "start keycloak#4"]);
        s.is("core", State::Running, "ready").is("nexus", State::Running, "ready");
        s.stop("keycloak").started("keycloak").died("keycloak", Exit::Signal(15)).after(secs(999)).is(
            "core",
            State::Running,
            "ready",
        );
    }

    #[test]
    fn a_dependent_that_restarts_waits_for_its_dependency() {
        let mut s = chain_running();
        s.after(secs(60)).stop("core").died("core", Exit::Signal(15)).died("nexus", Exit::Code(1));
        s.is("nexus", State::Blocked, "waits for core (stopped)");
        assert_eq!(s.status("nexus").restarts, 1);
        s.done_so_far();
        s.start("core").started("core").answer("core", READINESS, Health::Healthy);
        s.expect(&["start core#4", "probe core#4 readiness", "start nexus#5"]);
    }

    #[test]
    fn one_that_is_not_ready_any_more_holds_new_dependents_back() {
        let mut s = chain_running();
        s.answer("core", READINESS, Health::Unhealthy).answer("core", READINESS, Health::Unhealthy);
        s.after(secs(60)).died("nexus", Exit::Code(1)).is(
            "nexus",
            State::Blocked,
            "waits for core (running, not ready)",
        );
    }

    #[test]
    fn a_backoff_that_is_over_still_waits() {
        let mut s = chain_running();
        s.died("nexus", Exit::Code(1)).died("core", Exit::Code(1));
        s.is("nexus", State::Backoff, "exited with code 1 after 0.0 s; waits in backoff 1");
        s.after(secs(1)).is("nexus", State::Blocked, "waits for core (starting)");
    }

    #[test]
    fn an_external_service_that_is_ready_counts_as_up() {
        let mut s = Script::all([probed("a"), needs(svc("b"), &[("a", Ready)])]);
        s.occupied("a").expect(&["start a#1", "watch a#1", "probe a#1 readiness"]);
        s.is("b", State::Blocked, "waits for a (external, not ready)");
        s.answer("a", READINESS, Health::Healthy).expect(&["start b#2"]);
    }

    #[test]
    fn a_directory_entry_never_satisfies() {
        let directory = ServiceSpec { program: None, ..svc("a") };
        let mut s = Script::all([directory, needs(svc("b"), &[("a", Started), ("gone", Started)])]);
        s.expect(&[]).is("b", State::Blocked, "waits for a (stopped), gone (not configured)");
    }

    #[test]
    fn all_lacks_are_named() {
        let mut s = Script::all([svc("a"), svc("b"), needs(svc("c"), &[("a", Ready), ("b", Ready)])]);
        s.is("c", State::Blocked, "waits for a (starting), b (starting)").started("a");
        s.is("c", State::Blocked, "waits for b (starting)");
        assert_eq!(s.status("c").waits_for, [name("b")]);
    }
}

mod slots {
    use super::*;

    fn four(spec: fn(&str) -> ServiceSpec) -> Script {
        let mut s = Script::unadopted(["a", "b", "c", "d"].map(spec), &["a", "b", "c", "d"], 2);
        s.event(Event::Adopted).expect(&["start a#1", "start b#2"]);
        s
    }

    #[test]
    fn only_so_many_start_at_once() {
        let mut s = four(svc);
        s.is("c", State::Blocked, "waits for its turn").started("b").expect(&["start c#3"]);
        s.started("a").expect(&["start d#4"]);
    }

    #[test]
    fn a_place_is_held_until_ready() {
        let mut s = four(probed);
        s.started("a").expect(&["probe a#1 readiness"]);
        s.answer("a", READINESS, Health::Healthy).expect(&["start c#3"]);
        s.answer("a", READINESS, Health::Unhealthy).answer("a", READINESS, Health::Unhealthy).started("b");
        s.answer("b", READINESS, Health::Healthy).expect(&["probe b#2 readiness", "start d#4"]);
    }

    #[test]
    fn a_place_is_freed_by_failure() {
        let mut s = four(svc);
        s.start_failed("a", true).expect(&["retire a", "start c#3"]);
        s.occupied("b").expect(&["watch b#2", "start d#4"]);
    }

    #[test]
    fn a_slow_one_gives_its_place_up() {
        let mut s = four(probed);
        s.started("a").after(secs(1)).started("b").expect(&["probe a#1 readiness", "probe b#2 readiness"]);
        assert_eq!(s.fleet.deadline(), Some((s.mono + secs(4), "a place among the starting ones")));
        s.after(Duration::from_millis(3_999))
            .expect(&[])
            .after(Duration::from_millis(1))
            .expect(&["start c#3"]);
        s.after(secs(1)).expect(&["start d#4"]);
        s.after(secs(1)).started("c").started("d").after(secs(99));
        assert_eq!(s.fleet.deadline(), None, "nobody waits for a place");
    }

    #[test]
    fn a_start_without_an_answer_holds_its_place_for_a_while() {
        let mut s = four(svc);
        s.after(Duration::from_millis(29_999)).expect(&[]).after(Duration::from_millis(1));
        s.expect(&["kill a#1", "kill b#2", "start c#3", "start d#4"]);
    }

    #[test]
    fn those_that_wait_for_others_take_no_place() {
        let specs = [needs(svc("a"), &[("c", Ready)]), needs(svc("b"), &[("c", Ready)]), svc("c")];
        let mut s = Script::unadopted(specs, &["a", "b", "c"], 1);
        s.event(Event::Adopted).expect(&["start c#1"]);
    }

    #[test]
    fn a_cap_of_zero_is_one() {
        let mut s = Script::unadopted([svc("a"), svc("b")], &["a", "b"], 0);
        s.event(Event::Adopted).expect(&["start a#1"]).started("a").expect(&["start b#2"]);
    }
}

mod stopping {
    use super::*;

    #[test]
    fn down_stops_in_reverse_order() {
        let mut s = chain_running();
        s.down().expect(&["unprobe nexus readiness", "stop nexus#3"]);
        s.is("core", State::Running, "is to stop after nexus").is(
            "keycloak",
            State::Running,
            "is to stop after core, nexus",
        );
        assert_eq!(s.status("keycloak").waits_for, [name("core"), name("nexus")]);
        s.ended("nexus", Exit::Signal(15)).expect(&["stop nexus#3"]).empty("nexus");
        s.expect(&["retire nexus", "unprobe core readiness", "stop core#2"]);
        s.died("core", Exit::Signal(15));
        s.expect(&["stop core#2", "retire core", "unprobe keycloak readiness", "stop keycloak#1"]);
        s.died("keycloak", Exit::Signal(15)).expect(&["stop keycloak#1", "retire keycloak"]);
        assert_eq!(s.done("keycloak"), "stopped");
        assert!(s.fleet.hold());
    }

    #[test]
    fn the_wishes_outlive_a_hold() {
        let mut s = chain_running();
        s.down().ask(Ask::Up { names: vec![], mode: None, as_wanted: true });
        assert!(!s.fleet.hold());
        s.died("nexus", Exit::Signal(15));
        s.expect(&["unprobe nexus readiness", "stop nexus#3", "stop nexus#3", "start nexus#4"]);
        s.is("core", State::Running, "ready");
        assert!(s.status("core").waits_for.is_empty());
    }

    #[test]
    fn nobody_waits_for_dependents_that_stay() {
        let mut s = chain_running();
        s.stop("core").expect(&["unprobe core readiness", "stop core#2"]);
    }

    #[test]
    fn the_order_holds_through_a_service_that_is_down_already() {
        let mut s = chain_running();
        s.stop("core").died("core", Exit::Signal(15)).done_so_far();
        s.down().expect(&["unprobe nexus readiness", "stop nexus#3"]);
        s.is("keycloak", State::Running, "is to stop after nexus");
    }

    #[test]
    fn a_restart_of_all_goes_down_in_reverse_and_up_in_order() {
        let mut s = chain_running();
        s.restart(&["keycloak", "nexus"]).expect(&["unprobe nexus readiness", "stop nexus#3"]);
        s.died("nexus", Exit::Signal(15)).expect(&[
            "stop nexus#3",
            "unprobe keycloak readiness",
            "stop keycloak#1",
            "start nexus#4",
        ]);

        let mut s = chain_running();
        s.restart(&["core", "nexus"]).died("nexus", Exit::Signal(15)).done_so_far();
        s.is("nexus", State::Blocked, "waits for core (stopping)").died("core", Exit::Signal(15));
        s.expect(&["stop core#2", "start core#4"]).is("nexus", State::Blocked, "waits for core (starting)");
        s.started("core")
            .answer("core", READINESS, Health::Healthy)
            .expect(&["probe core#4 readiness", "start nexus#5"]);
    }

    #[test]
    fn one_that_is_about_to_stop_is_not_there() {
        let mut s =
            Script::all([svc("a"), needs(svc("b"), &[("a", Ready)]), needs(svc("c"), &[("a", Ready)])]);
        s.started("a").started("b").started("c").ended("c", Exit::Code(1)).done_so_far();
        s.restart(&["a", "b"]).expect(&["stop b#2"]).is("a", State::Running, "is to stop after b");
        s.after(secs(2)).empty("c").is("c", State::Blocked, "waits for a (stopping)");
    }

    #[test]
    fn an_end_while_waiting_for_dependents_is_the_end_that_was_asked_for() {
        let mut s = chain_running();
        s.down().died("keycloak", Exit::Code(1)).is(
            "keycloak",
            State::Stopped,
            "stopped by uid 7; exited with code 1 after 0.0 s",
        );
        s.died("nexus", Exit::Code(0)).up().done_so_far();
        let mut s = chain_running();
        s.restart(&["keycloak", "nexus"]).died("keycloak", Exit::Code(1));
        assert_eq!((s.status("keycloak").state, s.status("keycloak").restarts), (State::Starting, 0));
    }

    #[test]
    fn a_start_timeout_while_waiting_for_dependents_ends_the_wait() {
        let slow = ServiceSpec { start_timeout: Some(secs(3)), ..probed("a") };
        let mut s = Script::all([slow, needs(svc("b"), &[("a", Started)])]);
        s.started("a").started("b").down().done_so_far();
        s.after(secs(3)).expect(&["unprobe a readiness", "stop a#1"]).died("a", Exit::Signal(15));
        s.is("a", State::Stopped, "stopped by uid 7; was ended by signal 15 (SIGTERM) after 3 s");
    }

    #[test]
    fn a_dependent_that_cannot_be_killed_is_not_waited_for_for_ever() {
        let mut s = chain_running();
        s.down().after(secs(10)).after(secs(5)).expect(&[
            "unprobe nexus readiness",
            "stop nexus#3",
            "kill nexus#3",
            "kill nexus#3",
        ]);
        s.is("core", State::Running, "is to stop after nexus").after(secs(5));
        s.expect(&["kill nexus#3", "unprobe core readiness", "stop core#2"]);
        s.is("nexus", State::Stopping, "stopped by uid 7; its processes were killed and are not gone yet");
    }

    #[test]
    fn a_crash_of_a_dependent_delays_no_stop() {
        let mut s = chain_running();
        s.ended("nexus", Exit::Code(1)).done_so_far();
        s.stop("core").expect(&["unprobe core readiness", "stop core#2"]);
    }
}

mod asks {
    use super::*;

    fn wish(run: bool, mode: Mode) -> Wish {
        Wish { run, mode }
    }

    #[test]
    fn a_mode_is_remembered() {
        let mut s = Script::new([svc("a")]);
        s.ask(Ask::Start { names: vec!["a".into()], mode: Some(Mode::Production) })
            .expect(&["start a#1 production"]);
        s.started("a").stop("a").died("a", Exit::Code(0)).done_so_far();
        assert_eq!(s.status("a").mode, Mode::Production);
        s.start("a").expect(&["start a#2 production"]).started("a");
        s.ask(Ask::Start { names: vec!["a".into()], mode: Some(Mode::Development) }).expect(&[]);
        assert_eq!(s.status("a").mode, Mode::Production, "of the running process");
        assert_eq!(s.done("a"), "already running");
        s.restart(&["a"]).died("a", Exit::Code(0)).expect(&["stop a#2", "stop a#2", "start a#3"]);
        assert_eq!(s.status("a").mode, Mode::Development);
    }

    #[test]
    fn what_was_never_asked_for_gets_the_default_mode() {
        let fleet = Script::new([svc("a")]).fleet;
        let ask = Ask::Start { names: vec!["a".into()], mode: None };
        let plan = plan(&ask, &Wishes::default(), &fleet, Mode::Production).unwrap();
        assert_eq!(plan.wishes.services[&name("a")], wish(true, Mode::Production));
        assert_eq!(plan.goals, [(name("a"), Goal::Up { fresh_since: None })]);
        assert_eq!((plan.kick, plan.restart), (vec![name("a")], vec![]));
    }

    #[test]
    fn a_start_wants_all_that_it_needs_and_a_stop_only_what_is_named() {
        let fleet = Script::new(chain()).fleet;
        let start = Ask::Start { names: vec!["nexus".into(), "nexus".into()], mode: Some(Mode::Production) };
        let mut wishes = Wishes::default();
        wishes.services.insert(name("keycloak"), wish(true, Mode::Development));
        let plan1 = plan(&start, &wishes, &fleet, Mode::Development).unwrap();
        let want = [("core", Mode::Production), ("keycloak", Mode::Development), ("nexus", Mode::Production)];
        let want = want.map(|(n, mode)| (name(n), wish(true, mode)));
        assert_eq!(
            plan1.wishes.services.into_iter().collect::<Vec<_>>(),
            want,
            "what is wanted already keeps its mode"
        );
        assert_eq!(plan1.goals.len(), 1);
        assert_eq!(plan1.kick, [name("nexus"), name("core"), name("keycloak")]);
        let stop = Ask::Stop { names: vec!["keycloak".into()] };
        let plan2 = plan(&stop, &wishes, &fleet, Mode::Production).unwrap();
        assert_eq!(plan2.wishes.services[&name("keycloak")], wish(false, Mode::Development));
        assert_eq!(plan2.wishes.services.len(), 1);
        assert_eq!(plan2.goals, [(name("keycloak"), Goal::Stopped)]);
        assert_eq!(
            plan(&Ask::Down { names: vec!["keycloak".into()] }, &wishes, &fleet, Mode::Production).unwrap(),
            plan2
        );
    }

    #[test]
    fn a_start_kicks_what_it_needs() {
        let mut s = Script::new(chain());
        s.start("nexus").start_failed("keycloak", true).expect(&["start keycloak#1", "retire keycloak"]);
        s.is("core", State::Blocked, "waits for keycloak (failed)");
        s.start("nexus").expect(&["start keycloak#2"]);
    }

    #[test]
    fn an_external_dependency_is_not_wanted() {
        let mut s = Script::new(chain());
        s.start("keycloak").occupied("keycloak").stop("keycloak").start("core");
        assert!(!s.status("keycloak").wanted && s.status("core").wanted);
    }

    #[test]
    fn what_is_completed_is_done_again_only_by_name() {
        let once = ServiceSpec { restart: RestartPolicy::OnFailure, ..svc("a") };
        let mut s = Script::all([once, needs(svc("b"), &[("a", Completed)])]);
        s.started("a").died("a", Exit::Code(0)).started("b").done_so_far();
        s.up().expect(&[]);
        assert_eq!((s.done("a"), s.done("b")), ("completed".into(), "already running".into()));
        s.start("b").restart(&["b"]).died("b", Exit::Code(0)).expect(&["stop b#2", "stop b#2", "start b#3"]);
        s.start("a").expect(&["start a#4"]);
        assert_eq!(s.verdict("a"), Verdict::Pending("is being started".into()));
        s.started("a").died("a", Exit::Code(0));
        assert_eq!(s.done("a"), "completed");
    }

    #[test]
    fn up_as_wanted_leaves_alone_what_was_stopped() {
        let mut s = Script::new([svc("asked"), svc("stopped"), svc("never")]);
        s.start("asked")
            .started("asked")
            .stop("stopped")
            .down()
            .died("asked", Exit::Signal(15))
            .done_so_far();
        s.ask(Ask::Up { names: vec![], mode: None, as_wanted: true })
            .expect(&["start asked#2", "start never#3"]);
        s.ask(Ask::Up { names: vec!["stopped".into(), "never".into()], mode: None, as_wanted: true })
            .expect(&[]);
        s.up().expect(&["start stopped#4"]);
    }

    #[test]
    fn a_start_under_a_hold_lifts_it_for_that_one_alone() {
        let mut s = Script::all([svc("a"), svc("b"), svc("c")]);
        s.started("a").started("b").started("c").stop("c").down();
        s.died("a", Exit::Code(0)).died("b", Exit::Code(0)).died("c", Exit::Code(0)).done_so_far();
        s.start("a").expect(&["start a#4"]);
        assert!(!s.fleet.hold() && !s.status("b").wanted);
        s.ask(Ask::Up { names: vec![], mode: None, as_wanted: true }).expect(&["start b#5"]);
    }

    #[test]
    fn directory_entries_are_left_out_of_up_and_down() {
        let directory = ServiceSpec { program: None, ..svc("page") };
        let mut s = Script::all([directory, svc("a")]);
        s.expect(&["start a#1"]).down();
        assert_eq!(s.verdict("a"), Verdict::Pending("is being started; uid 7 asked to end it".into()));
        assert_eq!(s.fleet.status().map(|status| status.name.as_str()).collect::<Vec<_>>(), ["page", "a"]);
        let fleet = &s.fleet;
        let ask = Ask::Start { names: vec!["page".into()], mode: None };
        let refusal = plan(&ask, &Wishes::default(), fleet, Mode::Production).unwrap_err();
        assert_eq!(refusal, Refusal::NotRunnable { name: name("page") });
    }

    #[test]
    fn down_does_not_wait_for_what_helm_does_not_run() {
        let mut s = Script::all([svc("a"), svc("b")]);
        s.occupied("a").started("b");
        let plan =
            plan(&Ask::Down { names: vec![] }, &Wishes::default(), &s.fleet, Mode::Production).unwrap();
        assert_eq!(plan.goals, [(name("b"), Goal::Stopped)]);
        assert_eq!(plan.wishes, Wishes { hold: true, ..Wishes::default() });
    }

    #[test]
    fn refusals_help() {
        let fleet = Script::new(chain()).fleet;
        let refuse = |names: &[&str]| {
            let ask = Ask::Stop { names: names.iter().map(|n| n.to_string()).collect() };
            plan(&ask, &Wishes::default(), &fleet, Mode::Production).unwrap_err().to_string()
        };
        assert_eq!(refuse(&["core", "nexsu"]), "there is no service `nexsu`; did you mean `nexus`?");
        assert_eq!(refuse(&["Core"]), "there is no service `Core`; did you mean `core`?");
        assert_eq!(refuse(&["postgresql"]), "there is no service `postgresql`");
        assert_eq!(refuse(&["kcl"]), "there is no service `kcl`");
        assert_eq!(refuse(&[]), "name at least one service");
        let none =
            plan(&Ask::Restart { names: vec![], mode: None }, &Wishes::default(), &fleet, Mode::Production);
        assert_eq!(none.unwrap_err(), Refusal::NoNames);
    }
}

mod goals {
    use super::*;
    use crate::goal::Verdict::{Failed, Pending};

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
        assert_eq!(s.verdict("a"), Failed("is not wanted any more: stopped by uid 8".into()));
    }

    #[test]
    fn a_status_from_before_the_ask_decides_nothing() {
        let mut s = Script::new([svc("a")]);
        s.start("a").start_failed("a", true);
        let old = s.status("a").clone();
        let up = Goal::Up { fresh_since: None };
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
        wishes.services.insert(name("a"), Wish { run: true, mode: Mode::Development });
        s.event(Event::Wished { wishes, restart: vec![], kick: vec![], by: "uid 8".into() });
        assert!(matches!(s.verdict("a"), Failed(why) if why.starts_with("is wanted again: ")));
    }

    #[test]
    fn a_restart_wants_a_newer_run() {
        let mut s = Script::all([svc("a")]);
        s.started("a");
        let fresh = Goal::Up { fresh_since: Some(RunId(1)) };
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
}

mod read_model {
    use super::*;

    #[test]
    fn revisions_count_changes_and_nothing_else() {
        let mut s = Script::new([svc("a"), svc("b")]);
        let (fleet, b) = (s.fleet.revision(), s.status("b").revision);
        s.event(Event::Tick)
            .news("b", crate::event::News::Released)
            .news("unknown", crate::event::News::Released);
        assert_eq!(s.fleet.revision(), fleet);
        s.start("a");
        assert_eq!(s.status("b").revision, b);
        assert_eq!(s.status("a").revision, s.fleet.revision());
        assert!(s.fleet.revision() > fleet);
        let before = s.fleet.revision();
        s.died("a", Exit::Code(1)).stop("a");
        let before_hold = s.fleet.revision();
        assert!(before_hold > before);
        s.down();
        assert_eq!(s.fleet.revision(), before_hold + 1, "the hold itself counts");
        s.down();
        assert_eq!(s.fleet.revision(), before_hold + 1);
    }

    #[test]
    fn every_status_is_there_from_the_first_moment() {
        let s = Script::unadopted([svc("a"), svc("b")], &["b"], 9);
        assert_eq!(s.fleet.revision(), 2);
        assert!(s.status("b").wanted && !s.status("a").wanted);
        assert!(s.fleet.status_of("c").is_none());
    }

    #[test]
    fn run_ids_never_repeat() {
        let mut s = Script::unadopted([svc("a"), svc("b")], &["a", "b"], 9);
        s.found("a", 7, true, None).event(Event::Adopted).expect(&["start b#8"]);
        let mut s = Script::unadopted([svc("a")], &["a"], 9);
        s.found_ended("a", Exit::Code(1), 1, 9, false).event(Event::Adopted).expect(&["start a#51"]);
    }

    #[test]
    fn since_is_the_change_of_state() {
        let mut s = Script::new([probed("a")]);
        s.after(secs(1)).start("a").after(secs(1)).started("a").after(secs(1));
        assert_eq!(s.status("a").since, wall(s.mono - secs(2)), "still starting");
        s.answer("a", READINESS, Health::Healthy).after(secs(1)).answer("a", READINESS, Health::Degraded);
        assert_eq!(s.status("a").since, wall(s.mono - secs(1)));
    }

    #[test]
    fn deadlines_name_their_reason() {
        let mut s = Script::new([ServiceSpec { start_timeout: Some(secs(20)), ..probed("a") }]);
        let at = |s: &Script, after| Some((s.mono + secs(after), ()));
        let reason = |s: &Script| s.fleet.deadline().unwrap().1;
        s.start("a");
        assert_eq!(
            (s.fleet.deadline().map(|d| (d.0, ())), reason(&s)),
            (at(&s, 30), "a start without an answer")
        );
        s.started("a");
        assert_eq!((s.fleet.deadline().map(|d| (d.0, ())), reason(&s)), (at(&s, 20), "the start timeout"));
        s.ended("a", Exit::Code(1));
        assert_eq!(
            (s.fleet.deadline().map(|d| (d.0, ())), reason(&s)),
            (at(&s, 10), "the end of the grace time")
        );
        s.empty("a");
        assert_eq!(
            (s.fleet.deadline().map(|d| (d.0, ())), reason(&s)),
            (at(&s, 1), "the next start after a failure")
        );
    }

    #[test]
    fn a_change_is_recorded_before_what_follows_from_it() {
        let mut s = Script::new([svc("a")]);
        let mut wishes = Wishes::default();
        wishes.services.insert(name("a"), Wish { run: true, mode: Mode::Development });
        let wished = Event::Wished { wishes, restart: vec![], kick: vec![], by: "x".into() };
        let effects = s.fleet.step(now(s.mono), wished);
        let state = |e: &Effect| matches!(e, Effect::Record(change) if change.kind == ChangeKind::State);
        let recorded = effects.iter().position(state).unwrap();
        let started = effects.iter().position(|e| matches!(e, Effect::Start { .. })).unwrap();
        assert!(recorded < started, "{effects:?}");
    }

    #[test]
    fn times_are_one_number() {
        let mut s = Script::new([svc("a")]);
        for (lived, words) in [
            (0, "0.0 s"),
            (1, "1 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7_199, "119 min"),
            (7_200, "2 h"),
            (172_799, "47 h"),
            (172_800, "2 d"),
        ] {
            s.start("a").started("a").after(secs(lived)).stop("a").died("a", Exit::Code(0));
            s.is("a", State::Stopped, &format!("stopped by uid 7; exited with code 0 after {words}"));
        }
        s.start("a").started("a").after(Duration::from_millis(470)).stop("a").died("a", Exit::Code(0));
        s.is("a", State::Stopped, "stopped by uid 7; exited with code 0 after 0.4 s");
    }
}
