//! Joins lines into entries: pieces of a long line, the lines of a stack trace, the lines of one record.
//!
//! ```text
//!  pieces --(P ... F)--> lines --(does it belong to the one before?)--> entries, each with the span it was made of
//! ```
//!
//! Whether a line belongs is decided when it is there, from the lines and their capture times alone. So the same file gives
//! the same entries, however it is read. Only the last entry waits: for the next line, or for [`Joiner::flush_before`].

use std::time::Duration;

use helm_core::time::Wall;

use crate::context::Context;
use crate::entry::{Draft, Entry, Flags, Line, MESSAGE_MAX, Span};
use crate::level::Level;
use crate::read::{self, Format, Head, Message};
use crate::rule::Rule;
use crate::text;
use crate::time::Clock;
use crate::trace::Trace;

/// How long an entry waits for lines that belong to it, by their capture times.
pub const HOLD: Duration = Duration::from_millis(250);

/// How long a line waits for its end. What comes later is an entry of its own, flagged `continued`.
pub const PIECE_HOLD: Duration = Duration::from_secs(5);

/// Most lines of one entry. A longer trace becomes several entries, all but the first flagged `continued`.
pub const JOIN_LINES: usize = 1000;

/// Bytes of one line that are looked at. More than a message may have: a JSON line is read whole or not at all.
const LINE_MAX: usize = 256 << 10;

/// Makes the entries of one service. Its two streams are independent: an entry never has lines of both, and a service's
/// cursor is one position for each (`Entry::stream`, `Entry::span.last`).
#[derive(Debug)]
pub struct Joiner {
    rule: Rule,
    offset: i32,
    tracks: [Track; 2],
}

#[derive(Debug, Default)]
struct Track {
    pieces: Option<Pieces>,
    /// The line before ended by time and not by its own end: what comes next goes on with it.
    mid_line: bool,
    open: Option<Open>,
}

/// A line whose end has not come.
#[derive(Debug)]
struct Pieces {
    text: Vec<u8>,
    /// With what was not kept.
    bytes: usize,
    at: i64,
    last_at: i64,
    span: Span,
    continued: bool,
}

/// An entry that may get more lines.
#[derive(Debug)]
struct Open {
    draft: Draft,
    format: Format,
    headed: bool,
    trace: Trace,
    lines: usize,
    last_at: i64,
    span: Span,
}

/// A whole line.
struct Whole<'a> {
    text: &'a [u8],
    bytes: usize,
    at: i64,
    last_at: i64,
    stream: u8,
    span: Span,
    continued: bool,
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Whether `hold` has passed. A clock that was set back says nothing more about how long: then it has.
fn passed(at: i64, hold: Duration, now: i64) -> bool {
    now >= due(at, hold) || now < at.saturating_sub(nanos(PIECE_HOLD))
}

fn due(at: i64, hold: Duration) -> i64 {
    at.saturating_add(nanos(hold))
}

impl Joiner {
    /// For one service. `offset` is how many seconds east of UTC the stamps are that name no zone (the host's offset, as a
    /// rule); those in JSON lines are UTC all the same.
    pub fn new(rule: Rule, offset: i32) -> Joiner {
        Joiner { rule, offset, tracks: Default::default() }
    }

    /// Takes the next line of its stream; entries that are complete go to `out`.
    pub fn push(&mut self, line: Line<'_>, out: &mut Vec<Entry>) {
        let stream = usize::from(line.stream & 1);
        self.end_stale_pieces(stream, line.at, out);
        let track = &mut self.tracks[stream];
        if line.full && track.pieces.is_none() {
            let (at, last_at) = (line.at.0, line.at.0);
            let Line { stream, text, span, .. } = line;
            let continued = std::mem::take(&mut track.mid_line);
            return self.whole(Whole { text, bytes: text.len(), at, last_at, stream, span, continued }, out);
        }
        let pieces = track.pieces.get_or_insert_with(|| Pieces {
            text: Vec::new(),
            bytes: 0,
            at: line.at.0,
            last_at: line.at.0,
            span: line.span,
            continued: std::mem::take(&mut track.mid_line),
        });
        let room = LINE_MAX.saturating_sub(pieces.text.len()).min(line.text.len());
        pieces.text.extend_from_slice(&line.text[..room]);
        pieces.bytes = pieces.bytes.saturating_add(line.text.len());
        pieces.last_at = line.at.0;
        pieces.span.last = line.span.last;
        if line.full {
            self.end_pieces(stream, out);
        }
    }

    /// When [`Joiner::flush_before`] has something to do, should nothing come before.
    pub fn deadline(&self) -> Option<Wall> {
        let of = |track: &Track| match (&track.open, &track.pieces) {
            // The line that is coming may belong to the open entry: both wait for it.
            (_, Some(pieces)) => Some(due(pieces.last_at, PIECE_HOLD)),
            (open, None) => open.as_ref().map(|open| due(open.last_at, HOLD)),
        };
        self.tracks.iter().filter_map(of).min().map(Wall)
    }

    /// Completes what has waited long enough. To be called only when all lines captured before `now` were pushed: then a
    /// line that comes later finds what it would have found had it come in time.
    pub fn flush_before(&mut self, now: Wall, out: &mut Vec<Entry>) {
        for stream in 0..self.tracks.len() {
            self.end_stale_pieces(stream, now, out);
            let Track { pieces, open, .. } = &self.tracks[stream];
            if pieces.is_none() && open.as_ref().is_some_and(|open| passed(open.last_at, HOLD, now.0)) {
                self.complete(stream, out);
            }
        }
    }

    /// Completes everything: no more lines will come.
    pub fn finish(&mut self, out: &mut Vec<Entry>) {
        for stream in 0..self.tracks.len() {
            self.end_pieces(stream, out);
            self.tracks[stream].mid_line = false;
            self.complete(stream, out);
        }
    }

    /// The lines of a stream that were pushed and are in no entry yet.
    pub fn held(&self, stream: u8) -> Option<Span> {
        let track = &self.tracks[usize::from(stream & 1)];
        let (open, pieces) = (track.open.as_ref().map(|o| o.span), track.pieces.as_ref().map(|p| p.span));
        let first = open.or(pieces)?.first;
        Some(Span { first, last: pieces.or(open)?.last })
    }

    fn end_stale_pieces(&mut self, stream: usize, now: Wall, out: &mut Vec<Entry>) {
        if self.tracks[stream].pieces.as_ref().is_some_and(|pieces| passed(pieces.last_at, PIECE_HOLD, now.0))
        {
            self.end_pieces(stream, out);
            self.tracks[stream].mid_line = true;
        }
    }

    /// Takes the line that is being pieced together for whole.
    fn end_pieces(&mut self, stream: usize, out: &mut Vec<Entry>) {
        let Some(pieces) = self.tracks[stream].pieces.take() else { return };
        let Pieces { text, bytes, at, last_at, span, continued } = pieces;
        self.whole(Whole { text: &text, bytes, at, last_at, stream: stream as u8 & 1, span, continued }, out);
    }

    fn whole(&mut self, line: Whole<'_>, out: &mut Vec<Entry>) {
        let stream = usize::from(line.stream & 1);
        let bytes = text::cut_bytes(line.text.strip_suffix(b"\r").unwrap_or(line.text), LINE_MAX);
        let (shown, invalid) = text::shown(bytes);
        let clock = Clock { at: Wall(line.at), offset: self.offset };
        if matches!(self.rule, Rule::None) {
            let head = read::read(&self.rule, &shown, clock);
            out.push(Open::new(head, Trace::No, &line, &shown, invalid).entry(line.stream));
            return;
        }
        // Traces are recognised without their colours.
        let bare = text::plain(&shown);
        let bare = bare.as_deref().unwrap_or(&shown);
        if self.tracks[stream].open.as_ref().is_some_and(|open| passed(open.last_at, HOLD, line.at)) {
            self.complete(stream, out);
        }
        let mut head = None;
        if let Some(open) = &mut self.tracks[stream].open {
            let mut read = || {
                let found = read::read(&self.rule, &shown, clock);
                let headed = found.format.headed();
                head = Some(found);
                headed
            };
            if let Some(trace) = open.admits(bare, &self.rule, &mut read).filter(|_| !line.continued) {
                if !open.has_room(&shown) {
                    let next = open.successor(&line);
                    out.extend(self.tracks[stream].open.replace(next).map(|full| full.entry(line.stream)));
                }
                if let Some(open) = &mut self.tracks[stream].open {
                    open.append(trace, &line, &shown, invalid);
                }
                return;
            }
            self.complete(stream, out);
        }
        let trace = Trace::begin(bare);
        let head = match (trace, head) {
            // A line that is a trace by its own form has no head to look for.
            (Some(trace), _) if trace.level().is_some() => Head::trace(trace.level()),
            (_, Some(head)) => head,
            (_, None) => read::read(&self.rule, &shown, clock),
        };
        let closed = head.format.closed();
        let open = Open::new(head, trace.unwrap_or(Trace::No), &line, &shown, invalid);
        if closed {
            out.push(open.entry(line.stream));
        } else {
            self.tracks[stream].open = Some(open);
        }
    }

    fn complete(&mut self, stream: usize, out: &mut Vec<Entry>) {
        out.extend(self.tracks[stream].open.take().map(|open| open.entry(stream as u8 & 1)));
    }
}

impl Open {
    fn new(head: Head, trace: Trace, line: &Whole<'_>, shown: &str, invalid: bool) -> Open {
        let message = match head.message {
            Message::From(at) => shown[at..].to_owned(),
            Message::Text(text) => text::without_nul(&text).into_owned(),
        };
        // The carriage return of a line's end is not missing.
        let missing = line.bytes.saturating_sub(LINE_MAX);
        let flags = Flags {
            invalid_utf8: invalid,
            continued: line.continued,
            truncated: missing > 0,
            ..Flags::default()
        };
        Open {
            draft: Draft {
                time: head.time,
                capture: line.at,
                level: head.level,
                asked: message.len() + missing,
                message,
                trace: head.trace,
                user: head.user,
                context: head.context,
                flags,
            },
            headed: head.format.headed(),
            format: head.format,
            trace,
            lines: 1,
            last_at: line.last_at,
            span: line.span,
        }
    }

    /// Where the trace is if `line` belongs to this entry. `headed` reads the line and says whether it has a head.
    fn admits(&self, line: &str, rule: &Rule, headed: &mut dyn FnMut() -> bool) -> Option<Trace> {
        if let Some(trace) = self.trace.follow(line) {
            return Some(trace);
        }
        if !self.headed {
            return None;
        }
        // A record that says that something failed (or whatever the rule gives lines without a head to), and behind it the trace of what did.
        if self.trace == Trace::No
            && (rule.headless_lines_belong() || self.draft.level.is_none_or(|level| level >= Level::Warning))
            && let Some(trace) = Trace::begin(line)
        {
            return Some(trace);
        }
        // One space is what banners begin with (` * Running on http://...`).
        let indented = line.starts_with("  ") || line.starts_with('\t');
        ((indented || rule.headless_lines_belong()) && !headed()).then_some(self.trace)
    }

    fn has_room(&self, line: &str) -> bool {
        self.lines < JOIN_LINES && self.draft.message.len() + 1 + line.len() <= MESSAGE_MAX
    }

    fn append(&mut self, trace: Trace, line: &Whole<'_>, shown: &str, invalid: bool) {
        let missing = line.bytes.saturating_sub(LINE_MAX);
        if self.lines > 0 {
            self.draft.message.push('\n');
        }
        self.draft.message.push_str(shown);
        self.draft.asked = self.draft.message.len() + missing;
        self.draft.flags.invalid_utf8 |= invalid;
        self.draft.flags.truncated |= missing > 0;
        // What a record was said to be, the trace behind it may be worse: the two are one entry, which is looked for by the graver.
        self.draft.level = self.draft.level.max(trace.level());
        if self.format == Format::Plain && trace.level().is_some() {
            self.format = Format::Trace;
        }
        self.trace = trace;
        self.lines += 1;
        self.last_at = line.last_at;
        self.span.last = line.span.last;
    }

    /// The entry that goes on where this one is full.
    fn successor(&self, line: &Whole<'_>) -> Open {
        Open {
            draft: Draft {
                time: self.draft.time,
                capture: line.at,
                level: self.draft.level,
                message: String::new(),
                asked: 0,
                trace: self.draft.trace.clone(),
                user: self.draft.user.clone(),
                context: Context::default(),
                flags: Flags { continued: true, ..Flags::default() },
            },
            format: self.format,
            headed: self.headed,
            trace: self.trace,
            lines: 0,
            last_at: line.last_at,
            span: line.span,
        }
    }

    fn entry(self, stream: u8) -> Entry {
        Entry { body: self.draft.finish(), stream, span: self.span, format: self.format }
    }
}
