//! The JSON of helmctl has exactly the keys that docs/api.md promises: the table there is what is tested.

use std::collections::{BTreeMap, BTreeSet};

use harness::home::{Home, fixture};
use harness::wait::until;
use serde_json::{Value, json};

/// What the table says of a value: an object with these keys (and what is said of their values), or a list of such.
#[derive(Debug, PartialEq)]
enum Shape {
    Any,
    Object(BTreeMap<String, Shape>),
    List(Box<Shape>),
}

/// Reads `{"a", "b": [{"c"}]}`.
fn shape(text: &mut &str) -> Shape {
    let take = |text: &mut &str, c: char| {
        let rest = text.trim_start();
        let found = rest.strip_prefix(c);
        *text = found.unwrap_or(rest);
        found.is_some()
    };
    if take(text, '[') {
        let inner = shape(text);
        assert!(take(text, ']'), "a list ends here: {text}");
        return Shape::List(Box::new(inner));
    }
    assert!(take(text, '{'), "an object begins here: {text}");
    let mut keys = BTreeMap::new();
    while !take(text, '}') {
        assert!(take(text, '"'), "a key begins here: {text}");
        let (key, rest) = text.split_once('"').unwrap();
        *text = rest;
        let value = if take(text, ':') { shape(text) } else { Shape::Any };
        assert!(keys.insert(key.to_owned(), value).is_none(), "{key} twice");
        take(text, ',');
    }
    Shape::Object(keys)
}

/// The row of the table that names this command.
fn documented(command: &str) -> Shape {
    let path = harness::bins::root().join("docs/api.md");
    let text = std::fs::read_to_string(path).unwrap();
    let table = text.split("## JSON of helmctl").nth(1).unwrap();
    let named = format!("`{command}`");
    let row = table
        .lines()
        .find(|line| line.split('|').nth(1).is_some_and(|cell| cell.contains(&named)))
        .unwrap_or_else(|| panic!("no row for {command}"));
    let mut cell = row.split('|').nth(2).unwrap().trim().trim_start_matches('`');
    shape(&mut cell)
}

#[track_caller]
fn fits(value: &Value, shape: &Shape, place: &str) {
    match shape {
        Shape::Any => {}
        Shape::List(inner) => {
            let list = value.as_array().unwrap_or_else(|| panic!("{place}: no list: {value}"));
            list.iter().for_each(|item| fits(item, inner, &format!("{place}[]")));
        }
        // What is not known is null.
        Shape::Object(_) if value.is_null() => {}
        Shape::Object(keys) => {
            let object = value.as_object().unwrap_or_else(|| panic!("{place}: no object: {value}"));
            let said: BTreeSet<&String> = object.keys().collect();
            assert_eq!(said, keys.keys().collect(), "{place}");
            keys.iter().for_each(|(key, shape)| fits(&object[key], shape, &format!("{place}.{key}")));
        }
    }
}

fn home() -> Home {
    Home::new(&json!({
        "web": {"command": fixture("chatty", "rate=50"), "depends_on": ["base"]},
        "base": {"command": fixture("chatty", "rate=50")},
        "absent": {"path": "../not-there"},
    }))
}

#[test]
fn single_objects_have_the_documented_keys() {
    let home = home();
    fits(&home.ctl(&["daemon", "status", "--json"]).code(3).json(), &documented("daemon status"), "no helmd");
    fits(&home.ctl(&["config", "check", "--json"]).code(0).json(), &documented("config check"), "by hand");
    fits(
        &home.ctl(&["daemon", "start", "--json"]).code(0).json(),
        &documented("daemon status"),
        "daemon start",
    );
    let up = home.ctl(&["up", "web", "base", "--json"]).code(0).json();
    assert_eq!((up["result"].as_str(), up["services"].as_array().map(Vec::len)), (Some("done"), Some(2)));
    fits(&up, &documented("up"), "up");
    for (words, row) in [
        (&["status"][..], "status"),
        (&["list"], "list"),
        (&["config", "check"], "config check"),
        (&["daemon", "status"], "daemon status"),
        (&["start", "web"], "start"),
        (&["restart", "web"], "restart"),
        (&["stop", "web"], "stop"),
        (&["start", "web", "--no-wait"], "start"),
        (&["down"], "down"),
    ] {
        let words = [words, &["--json"]].concat();
        let value = home.ctl(&words).code(0).json();
        fits(&value, &documented(row), &words.join(" "));
        // An empty list would show nothing of its items.
        for list in ["services", "faults"] {
            assert!(value[list].as_array().is_none_or(|l| !l.is_empty()), "{words:?}: {value}");
        }
    }
}

#[test]
fn lines_of_streams_have_the_documented_keys() {
    let home = home();
    home.ctl(&["up", "web", "base"]).code(0);
    until("some output", || !home.lines_so_far("web").unwrap_or_default().is_empty());
    for (words, row) in [(&["events", "--json"][..], "events"), (&["output", "web", "--json"], "output")] {
        let said = home.ctl(words).code(0).out;
        assert!(!said.is_empty(), "{words:?}");
        for line in said.lines() {
            fits(&serde_json::from_str(line).unwrap(), &documented(row), row);
        }
    }
}

#[test]
fn failures_keep_their_shape() {
    let home = Home::new(&json!({"bad": {"command": ["no-such-program"]}}));
    let up = home.ctl(&["up", "--json"]).code(1).json();
    assert_eq!(up["result"], "failed");
    fits(&up, &documented("up"), "up");
    home.write("services.json", "{");
    let checked = home.ctl(&["config", "check", "--json"]).code(1).json();
    assert_eq!(checked["ok"], false);
    fits(&checked, &documented("config check"), "config check");
}
