//! How lines would be read, and why: `helmctl logs explain`.

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

/// Explains the lines of a file, one after the other: which of them become one entry, and how each is read. A line as a keeper
/// writes it (`<time> stdout|stderr P|F <text>`) is taken for what it holds; any other is taken for one of stdout, captured
/// at `at`.
pub fn explain_lines<'a>(
    rule: &Rule,
    offset: i32,
    lines: impl IntoIterator<Item = &'a [u8]>,
    at: Wall,
) -> Vec<Explanation> {
    let mut joiner = Joiner::new(rule.clone(), offset);
    let (mut entries, mut texts) = (Vec::new(), Vec::new());
    for (text, number) in lines.into_iter().zip(0u64..) {
        let span = Span { first: Position(0, number), last: Position(0, number + 1) };
        let line = captured(text, span).unwrap_or(Line { at, stream: 0, full: true, text, span });
        joiner.push(line, &mut entries);
        texts.push(line.text);
    }
    joiner.finish(&mut entries);
    entries.sort_by_key(|entry| entry.span.first);
    let explanation = |entry: Entry| {
        let first = entry.span.first.1;
        let tried = if matches!(rule, Rule::Auto) {
            let line = usize::try_from(first).ok().and_then(|n| texts.get(n)).copied().unwrap_or_default();
            read::trials(&text::shown(line).0, Clock { at: Wall(entry.body.capture_time), offset })
        } else {
            Vec::new()
        };
        Explanation { lines: (first + 1, entry.span.last.1), rule: rule.name(), tried, entry }
    };
    entries.into_iter().map(explanation).collect()
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
