//! The screen as a function of the model.

mod boxes;
mod table;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::layout::{self, MOST_ALERTS, Parts};
use super::model::{Focus, Model};
use super::pane::{Tab, Tone};
use crate::render::{safe, status, warning};

/// Keys that are named where nothing else is said.
const KEYS: &str = "? help  / filter  space mark  s start  x stop  r restart  enter pane  q quit";
const PANE_KEYS: &str = "? help  / find  n N next  tab other  w wrap  y copy  [ ] service  esc back";

/// How tones look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    pub(super) colours: bool,
}

impl Theme {
    fn of(self, tone: Tone) -> Style {
        let colour = match tone {
            Tone::Plain => return Style::new(),
            Tone::Quiet => return Style::new().add_modifier(Modifier::DIM),
            Tone::Good => Color::Green,
            Tone::Warn => Color::Yellow,
            Tone::Bad => Color::Red,
        };
        match (self.colours, tone) {
            (true, _) => Style::new().fg(colour),
            (false, Tone::Bad) => Style::new().add_modifier(Modifier::BOLD),
            (false, _) => Style::new(),
        }
    }
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, theme: Theme) {
    let area = frame.area();
    let Parts { head: head_rows, alerts: alert_rows, table: table_rows, pane: pane_rows, foot: foot_rows } =
        layout::parts(model);
    let mut top = area.y;
    let mut next = |rows: u16| {
        let part = Rect { x: area.x, y: top, width: area.width, height: rows }.intersection(area);
        top = top.saturating_add(rows);
        part
    };
    let buffer = frame.buffer_mut();
    head(buffer, next(head_rows), model, theme);
    alerts(buffer, next(alert_rows), model, theme);
    table::draw(buffer, next(table_rows), model, theme);
    pane(buffer, next(pane_rows), model, theme);
    let foot_at = next(foot_rows);
    let cursor = foot(buffer, foot_at, model, theme);
    match &model.focus {
        Focus::Help { .. } => boxes::help(buffer, area),
        Focus::Confirm { order, .. } => boxes::confirm(buffer, area, order),
        Focus::List | Focus::Pane | Focus::Typing { .. } => {}
    }
    if let Some(column) = cursor {
        frame.set_cursor_position((column, foot_at.y));
    }
}

/// One line from the left edge.
fn put(buffer: &mut Buffer, area: Rect, row: u16, line: &Line<'_>) {
    if row < area.height {
        buffer.set_line(area.x, area.y + row, line, area.width);
    }
}

/// A line with something at its right edge; the left is cut where there is no room for both.
fn put_both(buffer: &mut Buffer, area: Rect, left: Line<'_>, right: &str, style: Style) {
    let wanted = u16::try_from(Span::raw(right).width()).unwrap_or(u16::MAX).min(area.width);
    let start = area.width - wanted;
    let room = Rect { width: if wanted == 0 { start } else { start.saturating_sub(2) }, ..area };
    put(buffer, room, 0, &left);
    put(buffer, Rect { x: area.x + start, width: wanted, ..area }, 0, &Line::styled(right, style));
}

fn head(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let count = model.fleet.all().len();
    let (states, broken) = model.fleet.summary();
    let services = if count == 1 { "service" } else { "services" };
    let mut left = vec![Span::styled(format!("{count} {services}"), BOLD)];
    if broken > 0 {
        let verb = if broken == 1 { "needs" } else { "need" };
        left.push(Span::styled(format!(", {broken} {verb} you"), theme.of(Tone::Bad)));
    }
    let states: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    left.push(Span::raw(format!(": {}", states.join(", "))));
    let right = match list_words(model) {
        words if words.is_empty() => safe(&model.helmd.home),
        words => words,
    };
    put_both(buffer, area, Line::from(left), &right, theme.of(Tone::Quiet));
}

/// What is special about the list.
fn list_words(model: &Model) -> String {
    let fleet = &model.fleet;
    let mut words = Vec::new();
    let room = layout::table_rows(model);
    if fleet.len() > room && room > 0 {
        words.push(format!("{}-{} of {}", fleet.first() + 1, fleet.first() + room, fleet.len()));
    }
    if !fleet.filter().is_empty() {
        words.push(format!("{} match `{}`", fleet.len(), fleet.filter()));
    }
    if fleet.order() != super::fleet::Order::Given {
        words.push(format!("by {}", fleet.order().words()));
    }
    if fleet.marked() > 0 {
        words.push(format!("{} marked", fleet.marked()));
    }
    words.join(", ")
}

fn alerts(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let seconds = |since: i64| (model.now - since).max(0).unsigned_abs() / 1_000_000_000;
    let gone = match &model.lost {
        Some(why) => Some(format!("No more news: {why}. This is how they were; q leaves.")),
        None => model.away.map(|since| status::away(seconds(since))),
    };
    let hold = Some(status::HELD.to_owned()).filter(|_| model.fleet.hold);
    let all = &model.helmd.alerts;
    let more = all.len().saturating_sub(MOST_ALERTS);
    let words = all.iter().take(MOST_ALERTS).enumerate().map(|(nth, alert)| {
        let more = if nth + 1 == MOST_ALERTS && more > 0 { format!("({more} more) ") } else { String::new() };
        format!("{more}{}", warning(alert))
    });
    for (row, line) in (0..).zip(gone.into_iter().chain(hold).chain(words)) {
        put(buffer, area, row, &Line::styled(line, theme.of(Tone::Warn)));
    }
}

fn pane(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let pane = &model.pane;
    let mut tabs = vec![Span::styled(format!("── {} ", pane.service().unwrap_or("-")), BOLD)];
    for (nth, tab) in (1..).zip(Tab::ALL) {
        let (open, close) = if tab == pane.tab() { ("[", "]") } else { (" ", " ") };
        let style = if tab == pane.tab() { BOLD } else { theme.of(Tone::Quiet) };
        tabs.push(Span::raw("─"));
        tabs.push(Span::styled(format!("{open}{nth} {}{close}", tab.word()), style));
    }
    let right = match (pane.below(), pane.search()) {
        (0, "") => String::new(),
        (0, search) => format!(" `{search}`"),
        (below, "") => format!(" {below} more below"),
        (below, search) => format!(" `{search}`, {below} more below"),
    };
    let line = Line::styled("─".repeat(usize::from(area.width)), theme.of(Tone::Quiet));
    put(buffer, area, 0, &line);
    put_both(buffer, area, Line::from(tabs), &right, Style::new());
    let mut row = 1;
    for (text, tone) in pane.shown() {
        put(buffer, area, row, &Line::from(parts(text, &pane.found_in(text), theme.of(tone))));
        row += 1;
    }
    let remark = match (pane.ended(), pane.is_empty()) {
        (Some(why), _) => why,
        (None, true) if pane.service().is_none() => "no service is listed",
        (None, true) => "nothing yet",
        (None, false) => return,
    };
    put(buffer, area, row, &Line::styled(remark, theme.of(Tone::Quiet)));
}

/// A text with what was found in it.
fn parts<'a>(text: &'a str, found: &[(usize, usize)], style: Style) -> Vec<Span<'a>> {
    let mut parts = Vec::new();
    let mut at = 0;
    for (from, to) in found {
        parts.push(Span::styled(text.get(at..*from).unwrap_or_default(), style));
        parts.push(Span::styled(text.get(*from..*to).unwrap_or_default(), style.patch(CHOSEN)));
        at = *to;
    }
    parts.push(Span::styled(text.get(at..).unwrap_or_default(), style));
    parts
}

/// What is typed, else what was done, else the keys. The column of the cursor, where something is typed.
fn foot(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) -> Option<u16> {
    if let Focus::Typing { pane, .. } = &model.focus {
        let word = if *pane { "find" } else { "filter" };
        let line = Line::from(vec![Span::styled(format!("{word}: "), BOLD), Span::raw(model.text())]);
        put(buffer, area, 0, &line);
        return u16::try_from(line.width()).ok().map(|column| column.min(area.width.saturating_sub(1)));
    }
    let line = match &model.notice {
        Some(notice) => {
            let tone = if notice.ill { Tone::Bad } else { Tone::Good };
            Line::styled(safe(&notice.words), theme.of(tone))
        }
        None if model.focus.on_pane() => Line::styled(PANE_KEYS, theme.of(Tone::Quiet)),
        None => Line::styled(KEYS, theme.of(Tone::Quiet)),
    };
    put(buffer, area, 0, &line);
    None
}

#[cfg(test)]
#[path = "../view_tests.rs"]
mod tests;
