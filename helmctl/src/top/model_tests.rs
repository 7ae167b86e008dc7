//! Keys and news in, effects and what is shown out.

use crossterm::event::{KeyCode, KeyModifiers};
use helm_proto::v1::ServiceStatus;

use super::*;
use crate::top::pane::Tone;

const SECOND: i64 = 1_000_000_000;

fn service(name: &str, state: &str) -> ServiceStatus {
    ServiceStatus { name: name.into(), state: state.into(), health: "unknown".into(), ..Default::default() }
}

fn complete(services: Vec<ServiceStatus>) -> Event {
    Event::Status(WatchStatusResponse { complete: true, services, ..Default::default() })
}

fn model(names: &[&str]) -> Model {
    let mut model = Model::new(Size { width: 80, height: 24 });
    model.update(0, complete(names.iter().map(|name| service(name, "running")).collect()));
    model
}

/// Presses keys: characters, or what is named.
fn press(model: &mut Model, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for word in keys.split(' ') {
        let code = match word {
            "enter" => KeyCode::Enter,
            "esc" => KeyCode::Esc,
            "space" => KeyCode::Char(' '),
            "tab" => KeyCode::Tab,
            "rub" => KeyCode::Backspace,
            one => KeyCode::Char(one.chars().next().unwrap()),
        };
        effects.extend(model.update(model.now, Event::Key(KeyEvent::new(code, KeyModifiers::NONE))));
    }
    effects
}

fn operation(verb: Verb, names: &[&str]) -> Effect {
    Effect::Operate(Order { verb, names: names.iter().map(|name| (*name).to_owned()).collect() })
}

fn selected(model: &Model) -> &str {
    model.fleet.selected().map_or("", |row| &row.status.name)
}

#[test]
fn one_service_is_stopped_at_once_and_several_after_a_yes() {
    let mut model = model(&["core", "web", "job"]);
    assert!(press(&mut model, "j x").contains(&operation(Verb::Stop, &["web"])));
    assert!(!press(&mut model, "g space space x").iter().any(|e| matches!(e, Effect::Operate(_))));
    assert!(matches!(&model.focus, Focus::Confirm { order, .. } if order.names == ["core", "web"]));
    assert_eq!(press(&mut model, "z n"), [], "only a yes is one");
    assert_eq!(model.focus, Focus::List);
    assert_eq!(press(&mut model, "r y"), [operation(Verb::Restart, &["core", "web"])]);
    assert_eq!(press(&mut model, "esc k s")[1..], [operation(Verb::Start, &["web"])], "the marks are off");
}

#[test]
fn the_selection_is_a_service_and_not_a_place() {
    let mut model = model(&["a", "b", "c"]);
    press(&mut model, "j");
    model.update(0, complete(vec![service("x", "running"), service("a", "failed"), service("b", "running")]));
    assert_eq!(selected(&model), "b");
    press(&mut model, "o");
    assert_eq!((selected(&model), model.fleet.selected().map(|r| r.status.name.as_str())), ("b", Some("b")));
    model.update(0, complete(vec![service("a", "running")]));
    assert_eq!(selected(&model), "a", "the one at its place, where it has gone");
    model.update(0, complete(Vec::new()));
    assert_eq!((selected(&model), model.pane.service()), ("", None));
    assert!(press(&mut model, "x").is_empty(), "nobody is there to be stopped");
}

#[test]
fn a_filter_is_typed_kept_and_taken_away() {
    let mut model = model(&["core", "web-1", "web-2"]);
    press(&mut model, "/ W E B q");
    assert_eq!(model.fleet.len(), 0, "q is a letter here");
    press(&mut model, "rub enter");
    assert_eq!((model.fleet.len(), selected(&model)), (2, "web-1"));
    press(&mut model, "/ c esc");
    assert_eq!((model.fleet.filter(), model.focus.clone()), ("WEB", Focus::List), "as before");
    press(&mut model, "a esc");
    assert_eq!((model.fleet.len(), model.fleet.marked()), (3, 2));
    press(&mut model, "esc");
    assert_eq!(model.fleet.marked(), 0);
    model.update(0, Event::Paste("x".into()));
    assert_eq!(model.fleet.filter(), "", "what is pasted elsewhere is nothing");
}

#[test]
fn the_pane_follows_the_selection_and_takes_no_lines_of_others() {
    let mut model = model(&["core", "web"]);
    let follow = |effects: &[Effect]| match effects {
        [Effect::Follow { pane, service, tab }] => (*pane, service.clone(), *tab),
        other => panic!("{other:?}"),
    };
    let (first, service, tab) = follow(&press(&mut model, "3"));
    assert_eq!((service.as_str(), tab), ("core", Tab::Output));
    let (second, service, tab) = follow(&press(&mut model, "j"));
    assert_eq!((service.as_str(), tab), ("web", Tab::Output));
    let line = |text| vec![Line::new(text, Tone::Plain)];
    model.update(0, Event::Lines { pane: first, lines: line("of core") });
    assert!(model.pane.is_empty());
    model.update(0, Event::Lines { pane: second, lines: line("of web") });
    assert_eq!(model.pane.copy(), "of web\n");
    let copied = press(&mut model, "enter y");
    assert_eq!(copied, [Effect::Copy("of web\n".into())]);
    assert_eq!(
        press(&mut model, "r"),
        [operation(Verb::Restart, &["web"])],
        "of the pane, whatever is marked"
    );
    press(&mut model, "esc");
    assert_eq!(model.focus, Focus::List);
}

#[test]
fn countdowns_go_on_between_news() {
    let mut model = model(&["web"]);
    let again = ServiceStatus { next_start_ms: Some(12_000), ..service("web", "backoff") };
    model.update(SECOND, complete(vec![again]));
    let left = |model: &Model| model.fleet.selected().and_then(|row| row.countdown(model.now));
    assert_eq!(left(&model), Some(12));
    model.update(6 * SECOND, Event::Tick);
    assert_eq!(left(&model), Some(7));
    model.update(60 * SECOND, Event::Tick);
    assert_eq!(left(&model), Some(0));
}

#[test]
fn a_remark_goes_and_helmd_comes_back() {
    let mut model = model(&["web"]);
    model.update(0, Event::Done { words: "stop web: done".into(), ill: false });
    assert!(model.notice.is_some());
    model.update(8 * SECOND, Event::Tick);
    assert!(model.notice.is_none());
    model.update(9 * SECOND, Event::Away);
    assert_eq!(model.away, Some(9 * SECOND));
    model.update(12 * SECOND, Event::Back);
    assert_eq!(model.away, None);
    model.update(13 * SECOND, Event::Away);
    model.update(14 * SECOND, Event::Lost { why: "permission denied".into() });
    assert_eq!((model.away, model.lost.as_deref()), (None, Some("permission denied")));
}

#[test]
fn operations_are_bounded() {
    let mut model = model(&["web"]);
    let keys = ["x"; MOST_OPERATIONS + 3].join(" ");
    assert_eq!(press(&mut model, &keys).len(), MOST_OPERATIONS);
    assert!(model.notice.as_ref().is_some_and(|notice| notice.ill));
    model.update(0, Event::Done { words: "done".into(), ill: false });
    // No operation is over by that.
    model.update(0, Event::Lost { why: "permission denied".into() });
    assert_eq!(press(&mut model, "x x").len(), 1);
}

#[test]
fn the_mouse_is_optional_and_clicks_what_is_there() {
    let mut model = model(&["a", "b", "c"]);
    assert_eq!(press(&mut model, "m"), [Effect::Mouse(true)]);
    // The head, then the columns, then a, b, c.
    model.update(0, Event::Click(3));
    assert_eq!(selected(&model), "b");
    model.update(0, Event::Click(20));
    assert_eq!(selected(&model), "b");
    model.update(0, Event::Wheel(3));
    assert_eq!(selected(&model), "c");
}

#[test]
fn ways_out() {
    let mut model = model(&["a"]);
    assert_eq!(press(&mut model, "q"), [Effect::Quit]);
    press(&mut model, "?");
    assert_eq!((press(&mut model, "q"), model.focus.clone()), (vec![], Focus::List), "the help closes");
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    press(&mut model, "/");
    assert_eq!(model.update(0, Event::Key(interrupt)), [Effect::Quit], "also while something is typed");
}
