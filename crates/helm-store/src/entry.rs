//! A log entry, as it is appended and as it is stored.

use serde::{Deserialize, Serialize};

use crate::id::EntryId;

/// Under whose name the entries and events of helmd itself are.
pub const HELM: &str = "helm";

/// Under whose name the audit trail is, in a class of the same name. Whoever asks for all services is not given it.
pub const AUDIT: &str = "audit";

/// How grave. The numbers are stored; they are OpenTelemetry's severity numbers of the seed's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Level {
    /// `DEBUG`
    Debug = 5,
    /// `INFO`
    Info = 9,
    /// `WARNING`
    Warning = 13,
    /// `ERROR`
    Error = 17,
    /// `CRITICAL`
    Critical = 21,
}

impl Level {
    /// All, gravest last.
    pub const ALL: [Level; 5] = [Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical];

    /// The seed's word.
    pub fn word(self) -> &'static str {
        match self {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        }
    }

    /// From the seed's word, in any case.
    pub fn from_word(word: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.word().eq_ignore_ascii_case(word))
    }

    /// The stored number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// From the stored number.
    pub fn from_number(number: u8) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.number() == number)
    }
}

/// How an entry came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Source {
    /// Printed by a service and read by its keeper.
    Captured = 0,
    /// Sent by a program (gRPC, HTTP).
    Sent = 1,
    /// Written by helmd: its own log, what retention removed, gaps.
    Helm = 2,
    /// Taken over from the Python Helm.
    Former = 3,
}

impl Source {
    /// From the stored number.
    pub fn from_number(number: u8) -> Option<Source> {
        [Source::Captured, Source::Sent, Source::Helm, Source::Former]
            .into_iter()
            .find(|s| *s as u8 == number)
    }

    /// `captured`, `sent`, `helm`, `former`
    pub fn word(self) -> &'static str {
        match self {
            Source::Captured => "captured",
            Source::Sent => "sent",
            Source::Helm => "helm",
            Source::Former => "former",
        }
    }
}

/// What is true of an entry beside its text: bits of `flags`.
pub mod flag {
    /// The message was cut; its context says how long it was.
    pub const TRUNCATED: u32 = 1;
    /// Several lines of output.
    pub const MULTILINE: u32 = 1 << 1;
    /// Its own time lay in the future and was set to the time of capture.
    pub const FUTURE: u32 = 1 << 2;
    /// It held bytes that are not UTF-8.
    pub const INVALID_UTF8: u32 = 1 << 3;
    /// It stands for lines that are missing; its context says which.
    pub const GAP: u32 = 1 << 4;
    /// Something was mended when it came; its context holds the original.
    pub const REPAIRED: u32 = 1 << 5;
    /// The same line as a captured one of the same service.
    pub const TWIN: u32 = 1 << 6;
    /// It goes on where the entry before of its stream ended.
    pub const CONTINUED: u32 = 1 << 7;
}

/// An entry before it has a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEntry {
    /// Name of the service.
    pub service: String,
    /// Its own time, nanoseconds since 1970 (UTC).
    pub at: i64,
    /// When Helm first saw it, likewise.
    pub seen: i64,
    /// How grave.
    pub level: Level,
    /// How it came.
    pub source: Source,
    /// 0 none, 1 stdout, 2 stderr.
    pub stream: u8,
    /// See [`flag`].
    pub flags: u32,
    /// As it is shown, ANSI colours included.
    pub message: String,
    /// As it is searched, where that differs from `message`.
    pub plain: Option<String>,
    /// A JSON object as text, unchanged by the engines.
    pub context: Option<String>,
    /// Trace or correlation id.
    pub trace: Option<String>,
    /// User id.
    pub user: Option<String>,
    /// Host that it says it comes from.
    pub hostname: Option<String>,
    /// Process that it says it comes from.
    pub process: Option<i32>,
}

impl NewEntry {
    /// What a search looks at.
    pub fn searched(&self) -> &str {
        self.plain.as_deref().unwrap_or(&self.message)
    }

    /// Its size in memory, roughly, in bytes: what bounds count.
    pub fn weight(&self) -> usize {
        let long = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        160 + self.service.len()
            + self.message.len()
            + [&self.plain, &self.context, &self.trace, &self.user, &self.hostname]
                .map(long)
                .iter()
                .sum::<usize>()
    }
}

/// An entry as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub id: EntryId,
    /// First eight bytes of the chained digest, big-endian: names the entry in the chain.
    pub digest: i64,
    /// What it says.
    #[serde(flatten)]
    pub body: NewEntry,
}
