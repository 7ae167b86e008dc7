//! How many start at once.

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
    s.after(Duration::from_millis(3_999)).expect(&[]).after(Duration::from_millis(1)).expect(&["start c#3"]);
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
