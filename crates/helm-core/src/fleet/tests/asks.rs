//! What operators ask.

use super::*;

fn wish(run: bool, mode: Mode) -> Wish {
    Wish { run, mode, newer_than: None }
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
    assert_eq!(plan.goals, [(name("a"), Goal::Up { fresh_since: None, if_installed: false })]);
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
    s.is("core", State::Blocked, "not started: keycloak has failed (could not be started: no such file)");
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
fn up_as_wanted_leaves_alone_what_others_need_as_well() {
    let other = needs(svc("other"), &[("needed", Condition::Started)]);
    let mut s = Script::new([svc("needed"), other]);
    s.stop("needed");
    s.ask(Ask::Up { names: vec![], mode: None, as_wanted: true }).expect(&[]);
    assert_eq!(s.status("other").state, State::Blocked);
    s.up().expect(&["start needed#1"]);
}

#[test]
fn up_as_wanted_leaves_alone_what_was_stopped() {
    let mut s = Script::new([svc("asked"), svc("stopped"), svc("never")]);
    s.start("asked").started("asked").stop("stopped").down().died("asked", Exit::Signal(15)).done_so_far();
    s.ask(Ask::Up { names: vec![], mode: None, as_wanted: true }).expect(&["start asked#2", "start never#3"]);
    s.ask(Ask::Up { names: vec!["stopped".into(), "never".into()], mode: None, as_wanted: true }).expect(&[]);
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
    let plan = plan(&Ask::Down { names: vec![] }, &Wishes::default(), &s.fleet, Mode::Production).unwrap();
    assert_eq!(plan.goals, [(name("a"), Goal::LeftAlone), (name("b"), Goal::Stopped)]);
    let a = s.status("a");
    let Verdict::Done(words) = crate::goal::judge(&Goal::LeftAlone, a, a) else { panic!("it is waited for") };
    assert!(words.starts_with("left alone: a is external: pid 123 (java)"), "{words}");
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
    assert_eq!(refuse(&["keycloxxx"]), "there is no service `keycloxxx`; did you mean `keycloak`?");
    assert_eq!(refuse(&["postgresql"]), "there is no service `postgresql`");
    assert_eq!(refuse(&["kcl"]), "there is no service `kcl`");
    assert_eq!(refuse(&[]), "name at least one service");
    let none =
        plan(&Ask::Restart { names: vec![], mode: None }, &Wishes::default(), &fleet, Mode::Production);
    assert_eq!(none.unwrap_err(), Refusal::NoNames);
}

#[test]
fn one_wrong_letter_of_two_is_still_alike() {
    let fleet = Script::new([svc("ab")]).fleet;
    let refusal = plan(&Ask::Stop { names: vec!["ax".into()] }, &Wishes::default(), &fleet, Mode::Production);
    assert_eq!(refusal.unwrap_err().to_string(), "there is no service `ax`; did you mean `ab`?");
}

#[test]
fn modes_outlive_a_hold() {
    let mut s = Script::new([svc("a")]);
    s.ask(Ask::Start { names: vec!["a".into()], mode: Some(Mode::Production) }).started("a");
    s.down().died("a", Exit::Code(0)).done_so_far();
    s.up().expect(&["start a#2 production"]);
}

#[test]
fn a_one_shot_that_is_just_done_is_not_done_again_unless_it_is_named() {
    let done = || {
        let once = ServiceSpec { restart: RestartPolicy::OnFailure, ..svc("once") };
        let mut s = Script::all([once, needs(svc("b"), &[("once", Started)])]);
        s.started("once").ended("once", Exit::Code(0)).done_so_far();
        assert_eq!(s.status("once").state, State::Stopping);
        s
    };
    let mut s = done();
    s.up().empty("once").done_so_far();
    assert!(s.status("once").completed);
    let mut s = done();
    s.start("b").empty("once").done_so_far();
    assert!(s.status("once").completed);
    let mut s = done();
    s.start("once").empty("once");
    assert_eq!(s.status("once").state, State::Starting);
}

#[test]
fn what_is_started_beside_what_was_named_is_told() {
    let also =
        |s: &Script, ask: Ask| plan(&ask, &Wishes::default(), &s.fleet, Mode::Development).unwrap().also;
    let start = || Ask::Start { names: vec!["nexus".into()], mode: None };
    let mut s = Script::new(chain());
    assert_eq!(also(&s, start()), [name("core"), name("keycloak")]);
    assert_eq!(also(&s, Ask::Up { names: vec![], mode: None, as_wanted: false }), []);
    s.start("keycloak").started("keycloak");
    assert_eq!(also(&s, start()), [name("core")], "not what runs, or is on its way");
    assert_eq!(also(&s, Ask::Stop { names: vec!["nexus".into()] }), []);
}
