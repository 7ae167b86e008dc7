//! Revisions, times and deadlines.

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
    wishes.services.insert(name("a"), Wish { run: true, ..Wish::default() });
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
