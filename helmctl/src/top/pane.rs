//! The pane of the selected service: lines, broken to its width, and a place in them.

use std::collections::VecDeque;

use ratatui::text::Span;

use super::model::Effect;

/// Lines that are kept; older ones leave.
const MOST_LINES: usize = 2_000;
/// Characters of a line that are kept.
const LONGEST: usize = 16_384;

/// What the pane shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tab {
    /// State, probes and numbers.
    #[default]
    Overview,
    /// What happened to it.
    Events,
    /// What it printed.
    Output,
    /// What it logged.
    Log,
}

impl Tab {
    pub(super) const ALL: [Self; 4] = [Self::Overview, Self::Events, Self::Output, Self::Log];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Events => "events",
            Self::Output => "output",
            Self::Log => "log",
        }
    }

    /// The one `by` further to the right, around the end.
    pub(super) fn beside(self, by: isize) -> Self {
        let count = Self::ALL.len();
        let here = Self::ALL.iter().position(|tab| *tab == self).unwrap_or(0);
        Self::ALL[(here + count).saturating_add_signed(by) % count]
    }
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tone {
    #[default]
    Plain,
    Quiet,
    Good,
    Warn,
    Bad,
}

impl From<anstyle::Style> for Tone {
    /// The tone of a style that is printed elsewhere.
    fn from(style: anstyle::Style) -> Self {
        match style.get_fg_color() {
            Some(anstyle::Color::Ansi(anstyle::AnsiColor::Green)) => Self::Good,
            Some(anstyle::Color::Ansi(anstyle::AnsiColor::Yellow)) => Self::Warn,
            Some(anstyle::Color::Ansi(anstyle::AnsiColor::Red)) => Self::Bad,
            _ if style.get_effects().contains(anstyle::Effects::DIMMED) => Self::Quiet,
            _ => Self::Plain,
        }
    }
}

/// One line, free of control characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) tone: Tone,
}

impl Line {
    /// Of any text: escape sequences are taken out, tabs become spaces, what is left of control characters is shown.
    pub(super) fn new(text: &str, tone: Tone) -> Self {
        let mut plain = String::with_capacity(text.len());
        let mut count = 0;
        for c in anstream::adapter::strip_str(text).flat_map(str::chars).take(LONGEST) {
            match c {
                '\t' => {
                    let gap = 8 - count % 8;
                    plain.extend(std::iter::repeat_n(' ', gap));
                    count += gap;
                    continue;
                }
                c if c.is_control() => plain.push('\u{fffd}'),
                c => plain.push(c),
            }
            count += 1;
        }
        Self { text: plain, tone }
    }
}

/// A row on the screen: a part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    /// Number of the line, counted from the first that ever came.
    line: usize,
    from: usize,
    to: usize,
}

/// Lines of one service under one tab.
#[derive(Debug, Default)]
pub(super) struct Pane {
    service: Option<String>,
    tab: Tab,
    /// It shows something else than before, and must be followed.
    is_new: bool,
    number: u64,
    lines: VecDeque<Line>,
    /// Lines that have left.
    gone: usize,
    rows: VecDeque<Row>,
    width: usize,
    height: usize,
    cut: bool,
    /// First row on the screen.
    first: usize,
    /// The screen follows what comes.
    follows: bool,
    search: String,
    /// The row that was found last.
    place_found: Option<usize>,
    /// Why nothing further comes.
    ended: Option<String>,
}

impl Pane {
    /// Shows this from now on.
    pub(super) fn show(&mut self, service: Option<String>, tab: Tab) {
        if self.service == service && self.tab == tab {
            return;
        }
        let same = self.service == service;
        let search = if same { std::mem::take(&mut self.search) } else { String::new() };
        *self = Self {
            service,
            tab,
            search,
            is_new: true,
            // The overview is read from its top.
            follows: tab != Tab::Overview,
            width: self.width,
            height: self.height,
            cut: self.cut,
            ..Self::default()
        };
    }

    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// It has this number: lines for other numbers are not its own. What must be followed for it.
    pub(super) fn opened(&mut self, number: u64) -> Option<Effect> {
        (self.is_new, self.number) = (false, number);
        let service = self.service.clone()?;
        Some(Effect::Follow { pane: number, service, tab: self.tab })
    }

    /// Lines that came. Whoever reads further up goes on reading there.
    pub(super) fn take(&mut self, number: u64, lines: Vec<Line>) {
        if number != self.number {
            return;
        }
        for line in lines {
            self.lines.push_back(line);
            self.break_line(self.gone + self.lines.len() - 1);
        }
        while self.lines.len() > MOST_LINES {
            self.lines.pop_front();
            self.gone += 1;
        }
        while self.rows.front().is_some_and(|row| row.line < self.gone) {
            self.rows.pop_front();
            self.first = self.first.saturating_sub(1);
            self.place_found = self.place_found.map(|row| row.saturating_sub(1));
        }
        self.keep_place();
    }

    /// Nothing further comes.
    pub(super) fn end(&mut self, number: u64, why: String) {
        if number == self.number {
            self.ended = Some(why);
        }
    }

    /// What the overview says now; the place in it stays.
    pub(super) fn overview(&mut self, lines: Vec<Line>) {
        if self.tab == Tab::Overview && !self.lines.iter().eq(&lines) {
            self.lines = lines.into();
            self.gone = 0;
            self.break_all();
        }
    }

    /// It is this wide and high.
    pub(super) fn resize(&mut self, width: usize, height: usize) {
        let former = std::mem::replace(&mut self.width, width);
        self.height = height;
        if former != width {
            self.break_all();
        }
        self.keep_place();
    }

    fn keep_place(&mut self) {
        self.first = if self.follows { self.last_first() } else { self.first.min(self.last_first()) };
    }

    /// The first row on the screen where the last one is on it.
    fn last_first(&self) -> usize {
        self.rows.len().saturating_sub(self.height)
    }

    fn break_all(&mut self) {
        self.rows.clear();
        (self.gone..self.gone + self.lines.len()).for_each(|line| self.break_line(line));
        self.keep_place();
    }

    fn break_line(&mut self, line: usize) {
        let Some(found) = self.lines.get(line - self.gone) else { return };
        let breaks = if self.cut { vec![0] } else { breaks(&found.text, self.width.max(1)) };
        let ends = breaks.iter().skip(1).copied().chain([found.text.len()]);
        self.rows.extend(breaks.iter().copied().zip(ends).map(|(from, to)| Row { line, from, to }));
    }

    fn row(&self, nth: usize) -> Option<(&str, Tone)> {
        let row = self.rows.get(nth)?;
        let line = self.lines.get(row.line - self.gone)?;
        Some((line.text.get(row.from..row.to)?, line.tone))
    }

    /// Rows on the screen.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&str, Tone)> {
        (self.first..self.first + self.height).map_while(|nth| self.row(nth))
    }

    pub(super) fn scroll(&mut self, by: isize) {
        self.go_to(self.first.saturating_add_signed(by));
    }

    pub(super) fn scroll_page(&mut self, by: isize) {
        let page = isize::try_from(self.height.saturating_sub(1)).unwrap_or(1);
        self.scroll(by * page.max(1));
    }

    pub(super) fn oldest(&mut self) {
        self.go_to(0);
    }

    pub(super) fn newest(&mut self) {
        self.go_to(usize::MAX);
    }

    fn go_to(&mut self, first: usize) {
        self.first = first.min(self.last_first());
        self.follows = self.tab != Tab::Overview && self.first == self.last_first();
    }

    pub(super) fn toggle_wrap(&mut self) {
        self.cut = !self.cut;
        self.break_all();
    }

    /// Goes to the next (1) or former (-1) row that holds what is searched, seen from the row in the middle of the screen.
    pub(super) fn find(&mut self, by: isize) -> bool {
        let half = self.height / 2;
        let holds = |nth: &usize| self.row(*nth).is_some_and(|(text, _)| !self.found_in(text).is_empty());
        let here = self.place_found.unwrap_or(if self.follows { self.rows.len() } else { self.first + half });
        let found = if by > 0 {
            (here + 1..self.rows.len()).find(holds)
        } else {
            (0..here.min(self.rows.len())).rev().find(holds)
        };
        let Some(row) = found else { return false };
        self.place_found = Some(row);
        self.go_to(row.saturating_sub(half));
        self.follows = false;
        true
    }

    /// Where in a row the search is found.
    pub(super) fn found_in(&self, text: &str) -> Vec<(usize, usize)> {
        places(text, &self.search)
    }

    /// What is on the screen, as text.
    pub(super) fn copy(&self) -> String {
        self.shown().map(|(row, _)| format!("{}\n", row.trim_end())).collect()
    }

    pub(super) fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }

    pub(super) fn tab(&self) -> Tab {
        self.tab
    }

    pub(super) fn search(&self) -> &str {
        &self.search
    }

    pub(super) fn set_search(&mut self, search: String) {
        self.search = search;
        self.place_found = None;
    }

    pub(super) fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// It has nothing to show.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Rows that are further down than the screen.
    pub(super) fn below(&self) -> usize {
        self.last_first() - self.first.min(self.last_first())
    }
}

/// Where `text` is broken so that no part is wider than `width`: behind a blank, where one is in the last third.
fn breaks(text: &str, width: usize) -> Vec<usize> {
    let mut breaks = vec![0];
    let (mut start, mut columns, mut blank) = (0, 0, None);
    for (at, c) in text.char_indices() {
        let wide = width_of(c);
        if columns + wide > width && at > start {
            start = blank.filter(|(_, used)| used * 3 > width * 2).map_or(at, |(behind, _)| behind);
            breaks.push(start);
            columns = text[start..at].chars().map(width_of).sum();
            blank = None;
        }
        columns += wide;
        if c == ' ' {
            blank = Some((at + 1, columns));
        }
    }
    breaks
}

fn width_of(c: char) -> usize {
    if c.is_ascii() { 1 } else { Span::raw(c.encode_utf8(&mut [0; 4]) as &str).width() }
}

/// Byte ranges of `text` that are `search`, whatever the case of ASCII letters.
fn places(text: &str, search: &str) -> Vec<(usize, usize)> {
    if search.is_empty() {
        return Vec::new();
    }
    let (low, search) = (text.to_ascii_lowercase(), search.to_ascii_lowercase());
    low.match_indices(&search).map(|(at, found)| (at, at + found.len())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pane(lines: &[&str], width: usize, height: usize) -> Pane {
        let mut pane = Pane::default();
        pane.show(Some("web".into()), Tab::Output);
        assert!(pane.opened(7).is_some());
        pane.resize(width, height);
        pane.take(7, lines.iter().map(|text| Line::new(text, Tone::Plain)).collect());
        pane
    }

    fn shown(pane: &Pane) -> Vec<&str> {
        pane.shown().map(|(text, _)| text).collect()
    }

    #[test]
    fn lines_are_plain_text() {
        let text = |raw| Line::new(raw, Tone::Plain).text;
        assert_eq!(text("\x1b[31mred\x1b[0m\tx"), "red     x");
        assert_eq!(text("a\x07b\x1b[2J\u{85}"), "ab\u{fffd}");
    }

    #[test]
    fn lines_are_broken_behind_blanks_or_where_they_must_be() {
        let parts = |text: &'static str, width| {
            let at = breaks(text, width);
            let ends = at.iter().skip(1).copied().chain([text.len()]);
            at.iter().copied().zip(ends).map(|(from, to)| &text[from..to]).collect::<Vec<_>>()
        };
        assert_eq!(parts("", 5), [""]);
        assert_eq!(parts("abcdefgh", 5), ["abcde", "fgh"]);
        assert_eq!(parts("abcd efgh ij", 6), ["abcd ", "efgh ", "ij"]);
        assert_eq!(parts("日本語", 4), ["日本", "語"]);
        assert_eq!(parts("日", 1), ["日"], "too wide, and still there");
    }

    #[test]
    fn the_newest_is_followed_until_somebody_reads_further_up() {
        let mut pane = pane(&["1", "2", "3", "4", "5"], 10, 2);
        assert_eq!(shown(&pane), ["4", "5"]);
        pane.scroll(-1);
        pane.take(7, vec![Line::new("6", Tone::Plain)]);
        assert_eq!((shown(&pane), pane.below()), (vec!["3", "4"], 2));
        pane.newest();
        pane.take(7, vec![Line::new("7", Tone::Plain)]);
        assert_eq!(shown(&pane), ["6", "7"]);
        pane.take(8, vec![Line::new("of another", Tone::Plain)]);
        assert_eq!(shown(&pane), ["6", "7"]);
    }

    #[test]
    fn old_lines_leave_and_the_place_stays() {
        let mut pane = pane(&["long enough to be broken"; 10], 8, 4);
        let numbered = |i: usize| Line::new(&i.to_string(), Tone::Plain);
        pane.take(7, (0..MOST_LINES - 5).map(numbered).collect());
        pane.oldest();
        pane.scroll(20);
        let before = shown(&pane).join(",");
        pane.take(7, (0..3).map(numbered).collect());
        assert_eq!((pane.lines.len(), shown(&pane).join(",")), (MOST_LINES, before));
    }

    #[test]
    fn another_width_breaks_again_and_the_same_place_is_kept() {
        let mut pane = pane(&["abcdefgh", "x"], 4, 9);
        assert_eq!(shown(&pane), ["abcd", "efgh", "x"]);
        pane.resize(8, 9);
        assert_eq!(shown(&pane), ["abcdefgh", "x"]);
        pane.resize(4, 9);
        pane.toggle_wrap();
        assert_eq!(shown(&pane), ["abcdefgh", "x"], "the screen cuts it");
    }

    #[test]
    fn what_is_searched_is_gone_to() {
        let mut pane = pane(&["Error 1", "b", "c", "d", "error 2", "f", "g"], 10, 3);
        pane.set_search("ERROR".into());
        assert!(pane.find(-1));
        assert_eq!(shown(&pane), ["d", "error 2", "f"]);
        assert!(pane.find(-1));
        assert_eq!(shown(&pane), ["Error 1", "b", "c"]);
        assert!(!pane.find(-1));
        assert!(pane.find(1));
        assert_eq!(shown(&pane), ["d", "error 2", "f"]);
        assert!(!pane.find(1));
        assert_eq!(pane.found_in("an error, an Error"), [(3, 8), (13, 18)]);
    }

    #[test]
    fn tabs_go_around() {
        assert_eq!(Tab::Log.beside(1), Tab::Overview);
        assert_eq!(Tab::Overview.beside(-1), Tab::Log);
    }
}
