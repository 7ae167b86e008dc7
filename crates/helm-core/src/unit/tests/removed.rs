//! The configuration was edited while no helmd was there: what runs goes on as it was started.

use super::*;
use crate::ask::{Ask, Refusal, plan};
use crate::event::Event;
use crate::spec::{Definition, Program};
use crate::wish::{Wish, Wishes};

const FORMER: &str = "runs by its former definition; `helmctl restart a` applies the new one";
const GONE: &str = "not in the configuration in force; `helmctl stop a` ends it";

fn removed() -> ServiceSpec {
    ServiceSpec::removed(name("a"), Definition { signal: 2, grace: secs(60), ..Definition::default() })
}

/// A helmd that finds a run of the removed service, which was wanted.
fn found() -> Script {
    let mut s = Script::unadopted([removed(), svc("b")], &["a"], 9);
    s.found("a", 40, true, None).event(Event::Adopted).expect(&[]);
    s
}

#[test]
fn a_run_by_a_former_definition_is_marked_until_a_new_one_is_started() {
    let definition = |spec: &ServiceSpec| Definition::of(spec, Mode::Production).fingerprint;
    let edited = ServiceSpec { program: Some(Program::Command(vec!["y".into()])), ..svc("a") };
    let mut s = Script::unadopted([edited.clone()], &["a"], 9);
    s.found_of(&definition(&svc("a")), "a", 40, true, None).event(Event::Adopted);
    s.is("a", State::Running, "ready");
    assert_eq!(s.status("a").warnings, [FORMER]);
    s.restart(&["a"]);
    assert_eq!(s.status("a").warnings, [FORMER], "while it ends as well");
    s.died("a", Exit::Code(0)).started("a");
    assert_eq!(s.status("a").warnings, [""; 0]);

    for (told, known) in [("by the present one", definition(&edited)), ("by an older helmd", String::new())] {
        let mut s = Script::unadopted([edited.clone()], &["a"], 9);
        s.found_of(&known, "a", 40, true, None).event(Event::Adopted);
        assert_eq!(s.status("a").warnings, [""; 0], "{told}");
    }
}

#[test]
fn what_is_configured_no_more_is_seen_and_can_be_stopped() {
    let mut s = found();
    s.is("a", State::Running, "ready");
    assert_eq!(s.status("a").warnings, [GONE]);
    s.stop("a").expect(&["stop a#40"]).after(secs(59)).expect(&[]).after(secs(1)).expect(&["kill a#40"]);
    s.died("a", Exit::Signal(9)).expect(&["retire a"]);
    assert_eq!(s.done("a"), "stopped (ended by signal 9 (SIGKILL))");
    s.is(
        "a",
        State::Stopped,
        "stopped by uid 7; was ended by signal 9 (SIGKILL) after 2 min; not in the configuration in force",
    );
    assert_eq!(s.status("a").warnings, [""; 0]);
}

#[test]
fn it_goes_down_with_the_fleet_and_does_not_come_up_with_it() {
    let mut s = found();
    s.down().expect(&["stop a#40"]).died("a", Exit::Code(0)).expect(&["stop a#40", "retire a"]);
    s.up().expect(&["start b#41"]).started("b").after(secs(600)).expect(&[]);
    assert_eq!(s.status("a").state, State::Stopped);
}

#[test]
fn it_is_never_started_again_however_it_ends() {
    for exit in [Exit::Code(0), Exit::Code(7), Exit::Signal(11)] {
        let mut s = found();
        s.died("a", exit).expect(&["stop a#40", "retire a"]).after(secs(600)).expect(&[]);
        assert_eq!(s.status("a").state, State::Stopped, "{exit}");
        assert!(
            s.status("a").reason.ends_with("; not in the configuration in force"),
            "{}",
            s.status("a").reason
        );
    }
    // Nor where it had ended before it could be found.
    let mut s = Script::unadopted([removed()], &["a"], 9);
    s.found_ended("a", Exit::Code(7), 5, 5, true)
        .event(Event::Adopted)
        .after(secs(600))
        .expect(&["retire a"]);
    // Nor where its keeper has nothing to tell.
    let mut s = Script::unadopted([removed()], &["a"], 9);
    s.news("a", News::Silent).event(Event::Adopted).news("a", News::Answered).after(secs(600));
    s.is(
        "a",
        State::Stopped,
        "nothing of it was found when its keeper answered; not in the configuration in force",
    );
}

#[test]
fn it_is_wanted_no_more_once_it_is_forgotten() {
    let s = Script::unadopted([svc("b")], &["b"], 9);
    let wish = |run| Wish { run, ..Wish::default() };
    let all = [("a", wish(true)), ("b", wish(true)), ("stopped", wish(false))];
    let wishes =
        Wishes { hold: true, services: all.iter().map(|(named, wish)| (name(named), *wish)).collect() };
    let plan = plan(&Ask::Forget, &wishes, &s.fleet, Mode::Development).unwrap();
    let left: Vec<&str> = plan.wishes.services.keys().map(AsRef::as_ref).collect();
    assert_eq!((left, plan.wishes.hold), (vec!["b", "stopped"], true));
    assert!(plan.goals.is_empty() && plan.kick.is_empty() && plan.restart.is_empty());
}

#[test]
fn to_start_it_is_refused_with_what_to_do() {
    let s = found();
    let names = || vec!["b".to_owned(), "a".to_owned()];
    let asks = [
        Ask::Start { names: names(), mode: None },
        Ask::Restart { names: names(), mode: None },
        Ask::Up { names: names(), mode: None, as_wanted: false },
    ];
    for ask in asks {
        let refused = plan(&ask, &Wishes::default(), &s.fleet, Mode::Development).unwrap_err();
        assert_eq!(refused, Refusal::Removed { name: name("a") });
        assert!(refused.to_string().contains("helmctl plan"), "{refused}");
    }
}
