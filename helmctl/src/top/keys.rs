//! Which key means what. The table of keys is the help, too.

#![allow(clippy::wildcard_enum_match_arm, reason = "there are far more keys than those that mean something")]

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::model::{Focus, Verb};
use super::pane::Tab;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    Suspend,
    Help,
    Zoom,
    Leave,
    Move(isize),
    Page(isize),
    First,
    Last,
    Scroll(isize),
    ScrollPage(isize),
    Oldest,
    Newest,
    Tab(Tab),
    NextTab(isize),
    Wrap,
    Found(isize),
    Type,
    Typed(char),
    Rub,
    Accept,
    Mark,
    MarkAll,
    Unmark,
    Order,
    Operate(Verb),
    Copy,
    Mouse,
}

/// What the keys do, for the reader.
pub(super) const HELP: [(&str, &str); 20] = [
    ("up down, j k", "select a service; in the whole pane: scroll"),
    ("PgUp PgDn Home End", "further; End in the pane follows what comes"),
    ("enter", "give the pane the whole screen; Esc goes back"),
    ("tab, 1 2 3 4", "overview, events, output, log of the selected service"),
    ("J K, ctrl+d ctrl+u", "scroll the pane while the list is there"),
    ("[ ]", "the service before, the next one"),
    ("/", "list: only services with these words; pane: find"),
    ("n N", "the next, the former place found (pane)"),
    ("space", "mark a service, or take the mark off"),
    ("a u", "mark all that are listed; take all marks off"),
    ("s", "start the marked ones, else the selected one"),
    ("x", "stop them"),
    ("r", "restart them"),
    ("o", "order: as configured, trouble, CPU, memory, name"),
    ("w", "pane: break long lines, or cut them"),
    ("y", "copy what the pane shows (OSC 52)"),
    ("m", "let the mouse select, or leave it to the terminal"),
    ("Esc", "one step out: question, filter, pane, marks"),
    ("?", "this help"),
    ("q, ctrl+c", "leave; services stay as they are"),
];

/// What this key asks for, where the keys go to `focus`.
pub(super) fn action(focus: &Focus, key: KeyEvent) -> Option<Action> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return controlled(focus, key.code);
    }
    match focus {
        Focus::Typing { .. } => typing(key.code),
        Focus::Confirm { .. } => confirming(key.code),
        Focus::Help { .. } => Some(Action::Leave),
        Focus::List => common(key.code).or_else(|| on_list(key.code)),
        Focus::Pane => common(key.code).or_else(|| on_pane(key.code)),
    }
}

fn controlled(focus: &Focus, code: KeyCode) -> Option<Action> {
    match code {
        KeyCode::Char('c') => Some(Action::Quit),
        KeyCode::Char('z') => Some(Action::Suspend),
        KeyCode::Char('d') if matches!(focus, Focus::List | Focus::Pane) => Some(Action::ScrollPage(1)),
        KeyCode::Char('u') if matches!(focus, Focus::List | Focus::Pane) => Some(Action::ScrollPage(-1)),
        // What some terminals send for backspace.
        KeyCode::Char('h') if matches!(focus, Focus::Typing { .. }) => Some(Action::Rub),
        _ => None,
    }
}

fn typing(code: KeyCode) -> Option<Action> {
    match code {
        KeyCode::Char(c) => Some(Action::Typed(c)),
        KeyCode::Backspace => Some(Action::Rub),
        KeyCode::Enter => Some(Action::Accept),
        KeyCode::Esc => Some(Action::Leave),
        _ => None,
    }
}

/// Only a plain yes is one.
fn confirming(code: KeyCode) -> Option<Action> {
    match code {
        KeyCode::Char('y' | 'Y') => Some(Action::Accept),
        KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => Some(Action::Leave),
        _ => None,
    }
}

fn common(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Char('?') | KeyCode::F(1) => Action::Help,
        KeyCode::Esc => Action::Leave,
        KeyCode::Char('/') => Action::Type,
        KeyCode::Tab | KeyCode::Right => Action::NextTab(1),
        KeyCode::BackTab | KeyCode::Left => Action::NextTab(-1),
        KeyCode::Char('1') => Action::Tab(Tab::Overview),
        KeyCode::Char('2') => Action::Tab(Tab::Events),
        KeyCode::Char('3') => Action::Tab(Tab::Output),
        KeyCode::Char('4') => Action::Tab(Tab::Log),
        KeyCode::Char('[') => Action::Move(-1),
        KeyCode::Char(']') => Action::Move(1),
        KeyCode::Char('J') => Action::Scroll(1),
        KeyCode::Char('K') => Action::Scroll(-1),
        KeyCode::Char('s') => Action::Operate(Verb::Start),
        KeyCode::Char('x') => Action::Operate(Verb::Stop),
        KeyCode::Char('r') => Action::Operate(Verb::Restart),
        KeyCode::Char('w') => Action::Wrap,
        KeyCode::Char('y') => Action::Copy,
        KeyCode::Char('m') => Action::Mouse,
        KeyCode::Char('n') => Action::Found(1),
        KeyCode::Char('N') => Action::Found(-1),
        _ => return None,
    })
}

fn on_list(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Up | KeyCode::Char('k') => Action::Move(-1),
        KeyCode::Down | KeyCode::Char('j') => Action::Move(1),
        KeyCode::PageUp => Action::Page(-1),
        KeyCode::PageDown => Action::Page(1),
        KeyCode::Home | KeyCode::Char('g') => Action::First,
        KeyCode::End | KeyCode::Char('G') => Action::Last,
        KeyCode::Enter => Action::Zoom,
        KeyCode::Char(' ') => Action::Mark,
        KeyCode::Char('a') => Action::MarkAll,
        KeyCode::Char('u') => Action::Unmark,
        KeyCode::Char('o') => Action::Order,
        _ => return None,
    })
}

fn on_pane(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Up | KeyCode::Char('k') => Action::Scroll(-1),
        KeyCode::Down | KeyCode::Char('j') => Action::Scroll(1),
        KeyCode::PageUp => Action::ScrollPage(-1),
        KeyCode::PageDown | KeyCode::Char(' ') => Action::ScrollPage(1),
        KeyCode::Home | KeyCode::Char('g') => Action::Oldest,
        KeyCode::End | KeyCode::Char('G') => Action::Newest,
        KeyCode::Enter => Action::Leave,
        _ => return None,
    })
}
