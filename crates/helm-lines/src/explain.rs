//! How lines would be read, and why: `helmctl logs explain`.

use std::collections::VecDeque;
use std::fmt;

use helm_core::time::Wall;

use crate::entry::{Entry, Line, Position, Span};
use crate::join::Joiner;
use crate::read;
use crate::rule::Rule;
use crate::text;
use crate::time::{self, Clock};

/// One entry, and what it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The first and the last line of the entry, counted from 1.
    pub lines: (u64, u64),
    /// The rule that was asked for.
    pub rule: &'static str,
    /// The readers that `auto` may ask, and which of them recognise the first line. Empty for other rules.
    pub tried: Vec<(&'static str, bool)>,
    /// What came of it.
    pub entry: Entry,
}

impl Explanation {
    /// The fields that were found, by name, without the message.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let body = &self.entry.body;
        let level = body.level.word().to_owned()
            + if body.flags.level_given { "" } else { " (assumed: the line has none)" };
        let mut fields = vec![("level", level)];
        if let Some(at) = body.source_time {
            let clamped =
                if body.flags.future_time { " (the line's own time lies in the future)" } else { "" };
            fields.push(("time", time::write(at) + clamped));
        }
        let optional = [("trace_id", &body.trace_id), ("user_id", &body.user_id), ("context", &body.context)];
        fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        let flags = [
            (body.flags.truncated, "truncated"),
            (body.flags.continued, "continued"),
            (body.flags.invalid_utf8, "invalid_utf8"),
        ];
        fields.extend(flags.into_iter().filter(|(is, _)| *is).map(|(_, name)| ("flag", name.to_owned())));
        fields
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.lines;
        if first == last {
            write!(f, "line {first}")?;
        } else {
            write!(f, "lines {first} to {last}, one entry")?;
        }
        writeln!(f, ": read as {} (rule {})", self.entry.format, self.rule)?;
        if !self.tried.is_empty() {
            let tried: Vec<String> = self
                .tried
                .iter()
                .map(|(name, read)| format!("{name} {}", if *read { "yes" } else { "no" }))
                .collect();
            writeln!(f, "  tried     {}", tried.join(", "))?;
        }
        for (name, value) in self.fields() {
            writeln!(f, "  {name:<9} {value}")?;
        }
        for (at, line) in self.entry.body.searched().split('\n').enumerate() {
            writeln!(f, "  {:<9} {line}", if at == 0 { "message" } else { "" })?;
        }
        Ok(())
    }
}

/// Explains one line.
pub fn explain(rule: &Rule, offset: i32, line: &[u8], at: Wall) -> Option<Explanation> {
    explain_lines(rule, offset, [line], at).into_iter().next()
}

/// Explains the lines of a file, one after the other, all at once: [`Explainer`].
pub fn explain_lines<'a>(
    rule: &Rule,
    offset: i32,
    lines: impl IntoIterator<Item = &'a [u8]>,
    at: Wall,
) -> Vec<Explanation> {
    let mut explainer = Explainer::new(rule.clone(), offset, at);
    let mut all: Vec<Explanation> = lines.into_iter().flat_map(|line| explainer.push(line, true)).collect();
    all.extend(explainer.finish());
    all.sort_by_key(|explanation| explanation.lines);
    all
}

/// Explains lines as they come: which of them become one entry, and how each is read. A line as a keeper writes it
/// (`<time> stdout|stderr P|F <text>`) is taken for what it holds; any other is taken for one of stdout, captured at one moment.
/// Only what is not complete is held.
#[derive(Debug)]
pub struct Explainer {
    rule: Rule,
    offset: i32,
    at: Wall,
    joiner: Joiner,
    /// The line that comes next, counted from 0, and whether a piece of it came already.
    next: u64,
    within: bool,
    /// First pieces of the lines of entries that are not complete.
    texts: VecDeque<(u64, Vec<u8>)>,
}

impl Explainer {
    /// For a file; `at` is when lines without a time of their own are taken for captured.
    pub fn new(rule: Rule, offset: i32, at: Wall) -> Self {
        let joiner = Joiner::new(rule.clone(), offset);
        Self { rule, offset, at, joiner, next: 0, within: false, texts: VecDeque::new() }
    }

    /// The next line, or (`whole` is false) a piece of it. Gives what is complete now.
    pub fn push(&mut self, text: &[u8], whole: bool) -> Vec<Explanation> {
        let number = self.next;
        let span = Span { first: Position(0, number), last: Position(0, number + 1) };
        let given = Line { at: self.at, stream: 0, full: whole, text, span };
        let line = captured(text, span).filter(|_| whole && !self.within).unwrap_or(given);
        if !self.within && matches!(self.rule, Rule::Auto) {
            self.texts.push_back((number, line.text.to_vec()));
        }
        let mut entries = Vec::new();
        self.joiner.push(line, &mut entries);
        self.within = !whole;
        self.next += u64::from(whole);
        self.explained(entries)
    }

    /// What was not complete.
    pub fn finish(mut self) -> Vec<Explanation> {
        let mut entries = Vec::new();
        self.joiner.finish(&mut entries);
        self.explained(entries)
    }

    fn explained(&mut self, mut entries: Vec<Entry>) -> Vec<Explanation> {
        entries.sort_by_key(|entry| entry.span.first);
        let explanations = entries.into_iter().map(|entry| self.explanation(entry)).collect();
        let held = [0, 1].into_iter().filter_map(|stream| self.joiner.held(stream));
        let first = held.map(|span| span.first.1).min().unwrap_or(u64::MAX);
        self.texts.retain(|(number, _)| *number >= first);
        explanations
    }

    fn explanation(&self, entry: Entry) -> Explanation {
        let first = entry.span.first.1;
        let text = self.texts.iter().find(|(number, _)| *number == first);
        let clock = Clock { at: Wall(entry.body.capture_time), offset: self.offset };
        let tried = text.map(|(_, text)| read::trials(&text::shown(text).0, clock)).unwrap_or_default();
        Explanation { lines: (first + 1, entry.span.last.1), rule: self.rule.name(), tried, entry }
    }
}

/// A line of a keeper's file.
fn captured(line: &[u8], span: Span) -> Option<Line<'_>> {
    let (stamp, rest) = line.split_at_checked(30)?;
    let stamp = std::str::from_utf8(stamp).ok()?;
    let (at, 30) = time::iso(stamp, Clock { at: Wall(0), offset: 0 })? else { return None };
    let rest = rest.strip_prefix(b" std")?;
    let (stream, rest) = match rest.strip_prefix(b"out ") {
        Some(rest) => (0, rest),
        None => (1, rest.strip_prefix(b"err ")?),
    };
    let (full, text) = match rest {
        [b'F', b' ', text @ ..] => (true, text),
        [b'P', b' ', text @ ..] => (false, text),
        _ => return None,
    };
    Some(Line { at: Wall(at), stream, full, text, span })
}
