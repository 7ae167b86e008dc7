//! What `top` knows and shows, as a function of what happened: no terminal, no helmd, no clock.

use std::collections::BTreeMap;

use crossterm::event::KeyEvent;
use helm_proto::v1::{ServiceInfo, WatchStatusResponse};

use super::fleet::Fleet;
use super::history::Points;
use super::keys::{self, Action};
use super::layout::{self, Size};
use super::overview;
use super::pane::{Line, Pane, Tab};

/// How long a remark at the bottom stays, in nanoseconds.
const NOTICE_STAYS: i64 = 8_000_000_000;
/// Operations at once: a finger that stays on a key does not flood helmd.
const MOST_OPERATIONS: usize = 8;

/// What happened.
#[derive(Debug)]
pub(super) enum Event {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has this size.
    Resize(Size),
    /// A row of the screen was clicked.
    Click(u16),
    /// The wheel: down is positive.
    Wheel(isize),
    /// A second went by.
    Tick,
    /// helmd told states.
    Status(WatchStatusResponse),
    /// What a helmd says of itself and its services, when it answers first.
    Helmd(Box<Helmd>),
    /// helmd is gone.
    Away,
    /// The next one answers.
    Back,
    /// States are told no more, and why: waiting does not mend it.
    Lost { why: String },
    /// Numbers of the past.
    History { service: String, points: Points },
    /// Lines for the pane that was asked for under this number.
    Lines { pane: u64, lines: Vec<Line> },
    /// That pane gets nothing further, and why.
    Ended { pane: u64, why: String },
    /// An operation is over.
    Done { words: String, ill: bool },
}

/// What a helmd says of itself and its services.
#[derive(Debug, Default)]
pub(super) struct Helmd {
    pub(super) home: String,
    pub(super) alerts: Vec<String>,
    pub(super) services: Vec<ServiceInfo>,
}

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Leave.
    Quit,
    /// Stop this program, as Ctrl+Z does.
    Suspend,
    /// Ask helmd for it.
    Operate(Order),
    /// Follow this for the pane with this number, and nothing else any more.
    Follow { pane: u64, service: String, tab: Tab },
    /// Give this to the clipboard of the terminal.
    Copy(String),
    /// Take the mouse, or leave it to the terminal.
    Mouse(bool),
}

/// What can be done to services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Start,
    Stop,
    Restart,
}

impl Verb {
    /// `stop`
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) verb: Verb,
    pub(super) names: Vec<String>,
}

/// What keys mean just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Focus {
    /// The list; the pane is below it.
    List,
    /// The pane has the whole screen.
    Pane,
    /// A filter (list) or something to find (pane) is being typed; `former` stands again after Esc.
    Typing { former: String, pane: bool },
    /// Yes or no.
    Confirm { order: Order, pane: bool },
    /// The keys are shown.
    Help { pane: bool },
}

impl Focus {
    /// The pane has the whole screen, also below a question.
    pub(super) fn on_pane(&self) -> bool {
        match self {
            Self::List => false,
            Self::Pane => true,
            Self::Typing { pane, .. } | Self::Confirm { pane, .. } | Self::Help { pane } => *pane,
        }
    }

    fn below(pane: bool) -> Self {
        if pane { Self::Pane } else { Self::List }
    }
}

/// A remark at the bottom.
#[derive(Debug)]
pub(super) struct Notice {
    pub(super) words: String,
    pub(super) ill: bool,
    until: i64,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Model {
    /// Nanoseconds since 1970, as of the last event.
    pub(super) now: i64,
    pub(super) size: Size,
    pub(super) helmd: Helmd,
    pub(super) infos: BTreeMap<String, ServiceInfo>,
    pub(super) fleet: Fleet,
    pub(super) pane: Pane,
    pub(super) focus: Focus,
    pub(super) notice: Option<Notice>,
    /// Since when helmd is away.
    pub(super) away: Option<i64>,
    /// Why states are told no more.
    pub(super) lost: Option<String>,
    pub(super) mouse: bool,
    operations: usize,
    panes: u64,
}

impl Model {
    pub(super) fn new(size: Size) -> Self {
        Self {
            now: 0,
            size,
            helmd: Helmd::default(),
            infos: BTreeMap::new(),
            fleet: Fleet::default(),
            pane: Pane::default(),
            focus: Focus::List,
            notice: None,
            away: None,
            lost: None,
            mouse: false,
            operations: 0,
            panes: 0,
        }
    }

    /// Takes in what happened at `now`; what is to be done outside comes back.
    pub(super) fn update(&mut self, now: i64, event: Event) -> Vec<Effect> {
        self.now = now;
        let mut effects = Vec::new();
        match event {
            Event::Key(key) => {
                if let Some(action) = keys::action(&self.focus, key) {
                    self.act(action, &mut effects);
                }
            }
            Event::Paste(text) => text.chars().filter(|c| !c.is_control()).for_each(|c| self.typed(c)),
            Event::Resize(size) => self.size = size,
            Event::Click(row) => {
                if let Some(nth) = layout::row_at(self, row) {
                    self.fleet.select_nth(nth);
                }
            }
            Event::Wheel(by) if self.focus.on_pane() => self.pane.scroll(by),
            Event::Wheel(by) => self.fleet.step(by),
            Event::Tick => {
                if self.notice.as_ref().is_some_and(|notice| notice.until <= now) {
                    self.notice = None;
                }
            }
            Event::Status(message) => self.fleet.take(message, now),
            Event::Helmd(helmd) => {
                self.infos = helmd.services.iter().map(|info| (info.name.clone(), info.clone())).collect();
                self.helmd = *helmd;
            }
            Event::Away => self.away = Some(now),
            Event::Back => self.away = None,
            Event::Lost { why } => (self.away, self.lost) = (None, Some(why)),
            Event::History { service, points } => self.fleet.history(service, points),
            Event::Lines { pane, lines } => self.pane.take(pane, lines),
            Event::Ended { pane, why } => self.pane.end(pane, why),
            Event::Done { words, ill } => {
                self.operations = self.operations.saturating_sub(1);
                self.say(words, ill);
            }
        }
        self.settle(&mut effects);
        effects
    }

    /// What follows from any change: the selection is on the screen, and the pane shows what is selected.
    fn settle(&mut self, effects: &mut Vec<Effect>) {
        self.fleet.settle(layout::table_rows(self));
        let selected = self.fleet.selected().map(|row| row.status.name.clone());
        if selected.as_deref() != self.pane.service() {
            self.pane.show(selected, self.pane.tab());
        }
        if self.pane.is_new() {
            self.panes += 1;
            effects.extend(self.pane.opened(self.panes));
        }
        let (width, height) = layout::pane_room(self);
        self.pane.resize(width, height);
        if self.pane.tab() == Tab::Overview {
            self.pane.overview(overview::lines(self, width));
        }
    }

    fn act(&mut self, action: Action, effects: &mut Vec<Effect>) {
        let pane = self.focus.on_pane();
        match action {
            Action::Quit => effects.push(Effect::Quit),
            Action::Suspend => effects.push(Effect::Suspend),
            Action::Help => self.focus = Focus::Help { pane },
            Action::Zoom => self.focus = Focus::Pane,
            Action::Leave => self.leave(),
            Action::Move(by) => self.fleet.step(by),
            Action::Page(by) => {
                let rows = isize::try_from(layout::table_rows(self)).unwrap_or(1);
                self.fleet.step(by * rows.max(1));
            }
            Action::First => self.fleet.select_nth(0),
            Action::Last => self.fleet.select_nth(usize::MAX),
            Action::Scroll(by) => self.pane.scroll(by),
            Action::ScrollPage(by) => self.pane.scroll_page(by),
            Action::Oldest => self.pane.oldest(),
            Action::Newest => self.pane.newest(),
            Action::Tab(tab) => self.pane.show(self.pane.service().map(str::to_owned), tab),
            Action::NextTab(by) => {
                let tab = self.pane.tab().beside(by);
                self.pane.show(self.pane.service().map(str::to_owned), tab);
            }
            Action::Wrap => self.pane.toggle_wrap(),
            Action::Found(by) => {
                if !self.pane.find(by) {
                    self.say("nothing found".into(), true);
                }
            }
            Action::Type => {
                let former =
                    if pane { self.pane.search().to_owned() } else { self.fleet.filter().to_owned() };
                self.focus = Focus::Typing { former, pane };
                self.set_typed(String::new());
            }
            Action::Typed(c) => self.typed(c),
            Action::Rub => {
                let mut text = self.text().to_owned();
                text.pop();
                self.set_typed(text);
            }
            Action::Accept => self.accept(effects),
            Action::Mark => {
                self.fleet.mark();
                self.fleet.step(1);
            }
            Action::MarkAll => self.fleet.mark_all(),
            Action::Unmark => self.fleet.unmark(),
            Action::Order => {
                let order = self.fleet.next_order();
                self.say(format!("ordered by {order}"), false);
            }
            Action::Operate(verb) => self.ask(verb, effects),
            Action::Copy => {
                let text = self.pane.copy();
                self.say(format!("{} lines given to the terminal's clipboard", text.lines().count()), false);
                effects.push(Effect::Copy(text));
            }
            Action::Mouse => {
                self.mouse = !self.mouse;
                let words = if self.mouse { "the mouse selects here" } else { "the mouse is the terminal's" };
                self.say(words.into(), false);
                effects.push(Effect::Mouse(self.mouse));
            }
        }
    }

    /// One step out: of a question, of what was typed, of the pane, of marks and filter.
    fn leave(&mut self) {
        match self.focus.clone() {
            Focus::Typing { former, pane } => {
                self.set_typed(former);
                self.focus = Focus::below(pane);
            }
            Focus::Confirm { pane, .. } | Focus::Help { pane } => self.focus = Focus::below(pane),
            Focus::Pane if !self.pane.search().is_empty() => self.pane.set_search(String::new()),
            Focus::Pane => self.focus = Focus::List,
            Focus::List if !self.fleet.filter().is_empty() => self.fleet.set_filter(String::new()),
            Focus::List => self.fleet.unmark(),
        }
    }

    fn accept(&mut self, effects: &mut Vec<Effect>) {
        match self.focus.clone() {
            Focus::Typing { pane, .. } => {
                self.focus = Focus::below(pane);
                if pane && !self.pane.search().is_empty() && !self.pane.find(-1) {
                    self.say("nothing found".into(), true);
                }
            }
            Focus::Confirm { order, pane } => {
                self.focus = Focus::below(pane);
                self.operate(order, effects);
            }
            Focus::Help { pane } => self.focus = Focus::below(pane),
            Focus::List | Focus::Pane => {}
        }
    }

    /// One service at once, several after a question.
    fn ask(&mut self, verb: Verb, effects: &mut Vec<Effect>) {
        let pane = self.focus.on_pane();
        let names = match self.pane.service() {
            Some(service) if pane => vec![service.to_owned()],
            _ => self.fleet.meant(),
        };
        let order = Order { verb, names };
        match order.names.len() {
            0 => self.say(format!("there is nothing to {}", verb.word()), true),
            1 => self.operate(order, effects),
            _ => self.focus = Focus::Confirm { order, pane },
        }
    }

    fn operate(&mut self, order: Order, effects: &mut Vec<Effect>) {
        if self.operations >= MOST_OPERATIONS {
            return self.say(format!("{MOST_OPERATIONS} operations are under way: wait for one"), true);
        }
        self.operations += 1;
        self.say(format!("{} {} …", order.verb.word(), order.names.join(", ")), false);
        effects.push(Effect::Operate(order));
    }

    fn say(&mut self, words: String, ill: bool) {
        self.notice = Some(Notice { words, ill, until: self.now.saturating_add(NOTICE_STAYS) });
    }

    /// What is being typed, or was.
    pub(super) fn text(&self) -> &str {
        if self.focus.on_pane() { self.pane.search() } else { self.fleet.filter() }
    }

    fn typed(&mut self, c: char) {
        if matches!(self.focus, Focus::Typing { .. }) {
            let mut text = self.text().to_owned();
            text.push(c);
            self.set_typed(text);
        }
    }

    fn set_typed(&mut self, text: String) {
        if self.focus.on_pane() { self.pane.set_search(text) } else { self.fleet.set_filter(text) }
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
