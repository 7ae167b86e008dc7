//! `helmctl top` in a real terminal: keys in, a screen out, and services that obey.

use harness::home::{Home, fixture};
use harness::terminal::Terminal;
use rustix::process::Signal;
use serde_json::json;

fn home() -> Home {
    let home = Home::new(&json!({
        "core": {"command": fixture("chatty", "rate=5")},
        "web": {"command": fixture("chatty", "rate=5"), "depends_on": ["core"]},
        "job": {"command": fixture("chatty", "rate=5")},
    }));
    home.ctl(&["up"]).code(0);
    home
}

fn top(home: &Home) -> Terminal {
    let terminal = Terminal::run(home.helmctl(&["top"]), 80, 24);
    terminal.until("three services run", |text| text.contains("3 services: 3 running"));
    terminal
}

/// The row of a service says this.
fn row(text: &str, name: &str, word: &str) -> bool {
    text.lines().any(|line| line.trim_start_matches(['*', ' ']).starts_with(name) && line.contains(word))
}

#[test]
fn keys_stop_and_start_services() {
    let home = home();
    let mut top = top(&home);
    // Services are listed in the order of services.json, whose names are sorted: core, job, web.
    top.press("jx");
    top.until("job is stopped on the screen", |text| row(text, "job", "stopped"));
    home.wait_for("job", "it is stopped", |s| s.state == "stopped");
    assert_eq!(home.status("core").state, "running");
    let before = (home.status("core").run, home.status("web").run);
    top.press("g \x1b[B r");
    top.until("a question", |text| text.contains("restart 2 services?") && text.contains("core, web"));
    assert_eq!((home.status("core").run, home.status("web").run), before, "nothing before the yes");
    top.press("y");
    home.wait_for("core", "a new run", |s| s.run != before.0 && s.state == "running");
    home.wait_for("web", "a new run", |s| s.run != before.1 && s.state == "running");
    top.until("the end of it is told", |text| text.contains("restart core, web: done"));
    top.press("q");
    assert_eq!(top.ended(), 0);
    top.until_given_back();
    home.wait_for("web", "it goes on", |s| s.state == "running");
}

#[test]
fn output_log_and_events_of_the_selected_service_are_live() {
    let home = home();
    let mut top = top(&home);
    top.press("3");
    top.until("output", |text| text.contains("[3 output]") && text.contains(" 1 "));
    let first = top.text();
    top.until("more of it", |text| text.lines().rev().nth(1) != first.lines().rev().nth(1));
    top.press("4");
    top.until("the log", |text| text.contains("[4 log]") && text.contains(" INFO "));
    top.press("2");
    top.until("events", |text| text.contains("[2 events]") && text.contains("starting -> running"));
    home.ctl(&["stop", "core"]).code(0);
    top.until("what happens now", |text| text.contains("stopping -> stopped"));
}

#[test]
fn another_size_is_drawn_anew() {
    let home = home();
    let mut top = top(&home);
    top.resize(160, 50);
    top.until("more columns", |text| text.contains("WHY"));
    top.resize(80, 24);
    top.until("fewer", |text| !text.contains("WHY") && text.contains("q quit"));
    top.press("?");
    top.until("the help", |text| text.contains("any key closes this"));
}

#[test]
fn the_next_helmd_is_waited_for() {
    let home = home();
    let mut top = top(&home);
    let away = |text: &str| text.contains("Services go on; this is how they were");
    top.press("2");
    top.until("events", |text| text.contains("starting -> running"));
    home.kill_helmd();
    top.until("helmd is away", |text| away(text) && text.contains("-- helmd is not reachable"));
    home.ctl(&["daemon", "start"]).code(0);
    top.until("the next one", |text| !away(text) && text.contains("-- reconnected"));
    home.kill_helmd();
    top.until("it is away again", away);
    top.press("4");
    home.ctl(&["daemon", "start"]).code(0);
    top.until("the pane waited for it", |text| !away(text) && text.contains(" INFO "));
    top.press("jx");
    home.wait_for("job", "the next one obeys", |s| s.state == "stopped");
}

#[test]
fn signals_give_the_terminal_back() {
    let home = home();
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut top = top(&home);
        top.press("m");
        top.until("the mouse is taken", |text| text.contains("the mouse selects here"));
        top.signal(signal);
        assert_eq!(top.ended(), 0, "{signal:?}");
        top.until_given_back();
    }
}

#[test]
fn without_a_terminal_or_a_helmd_nothing_is_drawn() {
    let home = home();
    home.ctl(&["top"]).code(2).says("helmctl status --watch");
    home.ctl(&["daemon", "stop"]).code(0);
    let mut top = Terminal::run(home.helmctl(&["top"]), 80, 24);
    assert_eq!(top.ended(), 3);
    top.until("the way out is told", |text| text.contains("daemon start"));
    top.until_given_back();
}
