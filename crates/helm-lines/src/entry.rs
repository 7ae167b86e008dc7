//! Lines in, entries out: the values that cross this crate's boundary.

use helm_core::time::Wall;

use crate::context::Context;
use crate::level::Level;
use crate::read::Format;
use crate::text::{cut, first_chars, plain};
use crate::time::{self, FUTURE};

/// Longest message in bytes. A longer one is cut between two characters and flagged; `helm.message_bytes` in the context
/// has its whole length. (The seed cut at 10,000 characters.)
pub const MESSAGE_MAX: usize = 64 << 10;

/// Widest trace id, in characters: the seed's column.
pub const TRACE_MAX: usize = 36;

/// Widest user id, in characters: the seed's column.
pub const USER_MAX: usize = 100;

/// What the column holds of a trace id. Readers shorten what they look for in the same way; the whole id of a longer one
/// is in the context as `helm.trace_id`.
pub fn trace_column(id: &str) -> &str {
    first_chars(id, TRACE_MAX)
}

/// What the column holds of a user id; see [`trace_column`].
pub fn user_column(id: &str) -> &str {
    first_chars(id, USER_MAX)
}

/// A place in the captured output: a segment's number and an offset, for whoever follows. Opaque here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64, pub u64);

/// From the first byte of an entry's first line to behind its last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub first: Position,
    /// Behind its end: the stream's cursor, once the entry is stored.
    pub last: Position,
}

/// One captured line, or a piece of one.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// When it was captured.
    pub at: Wall,
    /// 0 stdout, 1 stderr. The streams of a service are joined apart from each other.
    pub stream: u8,
    /// It ends here; `false`: the stream's next piece goes on with it (`P` in the CRI format).
    pub full: bool,
    /// As the service wrote it, without its newline. Any bytes.
    pub text: &'a [u8],
    /// Where it stands.
    pub span: Span,
}

/// What is to be known about an entry beside its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// The message was longer than [`MESSAGE_MAX`], and is cut.
    pub truncated: bool,
    /// The message has several lines.
    pub multiline: bool,
    /// It goes on where the entry before ended: a stack trace too long for one entry, or a line that paused too long.
    pub continued: bool,
    /// Its time lay in the future of its capture, and was replaced by it (`helm.time` has the original).
    pub future_time: bool,
    /// Bytes that are no UTF-8 were replaced by U+FFFD.
    pub invalid_utf8: bool,
    /// The level was in the line. `false`: it is assumed to be [`Level::Info`].
    pub level_given: bool,
}

impl Flags {
    /// One bit each, in the order of the fields, lowest first.
    pub fn bits(self) -> u8 {
        [
            self.truncated,
            self.multiline,
            self.continued,
            self.future_time,
            self.invalid_utf8,
            self.level_given,
        ]
        .iter()
        .enumerate()
        .fold(0, |bits, (at, flag)| bits | u8::from(*flag) << at)
    }

    /// The flags of these bits.
    pub fn from_bits(bits: u8) -> Flags {
        let bit = |at: u8| bits >> at & 1 == 1;
        Flags {
            truncated: bit(0),
            multiline: bit(1),
            continued: bit(2),
            future_time: bit(3),
            invalid_utf8: bit(4),
            level_given: bit(5),
        }
    }
}

/// What every entry has, captured or sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// When it happened, by the service's own clock, in nanoseconds since 1970 (UTC).
    pub source_time: Option<i64>,
    /// When it was captured, or arrived.
    pub capture_time: i64,
    /// How serious it is.
    pub level: Level,
    /// The message as it is shown: colours kept, no NUL.
    pub message: String,
    /// The message as it is searched, where that differs: without escape sequences and control characters.
    pub plain: Option<String>,
    /// Trace, correlation or request id; at most [`TRACE_MAX`] characters.
    pub trace_id: Option<String>,
    /// At most [`USER_MAX`] characters.
    pub user_id: Option<String>,
    /// Text of a JSON object, if there is anything else to say. Keys that begin with `helm.` are Helm's own.
    pub context: Option<String>,
    /// What else is to be known.
    pub flags: Flags,
}

impl Body {
    /// The text to search in.
    pub fn searched(&self) -> &str {
        self.plain.as_deref().unwrap_or(&self.message)
    }

    /// The context, `{}` if there is none.
    pub fn context_json(&self) -> &str {
        self.context.as_deref().unwrap_or("{}")
    }
}

/// One captured entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it says.
    pub body: Body,
    /// 0 stdout, 1 stderr.
    pub stream: u8,
    /// What was read. Within a stream the spans follow one another without a gap and without an overlap.
    pub span: Span,
    /// How it was read.
    pub format: Format,
}

/// A body in the making.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) time: Option<i64>,
    pub(crate) capture: i64,
    pub(crate) level: Option<Level>,
    pub(crate) message: String,
    /// Bytes of the message before it was cut.
    pub(crate) asked: usize,
    pub(crate) trace: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) context: Context,
    pub(crate) flags: Flags,
}

impl Draft {
    /// Applies every bound.
    pub(crate) fn finish(mut self) -> Body {
        let mut flags = self.flags;
        if self.message.len() > MESSAGE_MAX {
            self.message.truncate(cut(&self.message, MESSAGE_MAX).len());
            flags.truncated = true;
        }
        if flags.truncated {
            self.context.note("helm.message_bytes", &self.asked.to_string());
        }
        let column = |context: &mut Context, id: Option<String>, key: &str, column: fn(&str) -> &str| {
            let mut id = id.filter(|id| !id.is_empty())?;
            if column(&id).len() < id.len() {
                context.note(key, &id);
                id.truncate(column(&id).len());
            }
            Some(id)
        };
        let trace_id = column(&mut self.context, self.trace, "helm.trace_id", trace_column);
        let user_id = column(&mut self.context, self.user, "helm.user_id", user_column);
        let mut source_time = self.time;
        if let Some(time) = source_time.filter(|time| *time > self.capture.saturating_add(FUTURE)) {
            flags.future_time = true;
            self.context.note("helm.time", &time::write(time));
            source_time = Some(self.capture);
        }
        flags.multiline |= memchr::memchr(b'\n', self.message.as_bytes()).is_some();
        flags.level_given = self.level.is_some();
        Body {
            source_time,
            capture_time: self.capture,
            level: self.level.unwrap_or(Level::Info),
            plain: plain(&self.message),
            message: self.message,
            trace_id,
            user_id,
            context: self.context.finish(),
            flags,
        }
    }
}
