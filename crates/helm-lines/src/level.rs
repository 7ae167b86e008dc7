//! Levels: the seed's words, OpenTelemetry's numbers, and every usual spelling of others.

use std::fmt;

/// How serious an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Finer than debug. The seed has no such word: its API shows `DEBUG` ([`Level::seed`]).
    Trace,
    /// For developers.
    Debug,
    /// Normal work; also what an entry without a level gets.
    Info,
    /// Something to look at.
    Warning,
    /// Something failed.
    Error,
    /// The service cannot go on.
    Critical,
}

impl Level {
    /// All, mildest first.
    pub const ALL: [Level; 6] =
        [Level::Trace, Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical];

    /// Its own word.
    pub fn word(self) -> &'static str {
        match self {
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        }
    }

    /// The seed's word: one of `DEBUG INFO WARNING ERROR CRITICAL`.
    pub fn seed(self) -> &'static str {
        if self == Level::Trace { Level::Debug.word() } else { self.word() }
    }

    /// OpenTelemetry's severity number, the lowest of its range: 1, 5, 9, 13, 17, 21.
    pub fn severity(self) -> u8 {
        self as u8 * 4 + 1
    }

    /// The level of an OpenTelemetry severity number (1 to 24).
    pub fn from_severity(number: i64) -> Option<Level> {
        let step = usize::try_from(number.checked_sub(1)?).ok()? / 4;
        Level::ALL.get(step).copied()
    }

    /// The level of a syslog severity (0 emergency to 7 debug).
    pub fn from_syslog(number: i64) -> Option<Level> {
        match number {
            0..=2 => Some(Level::Critical),
            3 => Some(Level::Error),
            4 => Some(Level::Warning),
            5 | 6 => Some(Level::Info),
            7 => Some(Level::Debug),
            _ => None,
        }
    }

    /// The level of a `levelno` of Python's logging (10, 20 ... 50, and what lies between).
    pub fn from_python(number: i64) -> Option<Level> {
        match number {
            1..=9 => Some(Level::Trace),
            10..=19 => Some(Level::Debug),
            20..=29 => Some(Level::Info),
            30..=39 => Some(Level::Warning),
            40..=49 => Some(Level::Error),
            50..=99 => Some(Level::Critical),
            _ => None,
        }
    }

    /// The level of a number in a field called `level` or `severity`: 0 to 7 is syslog's, 10 to 60 pino's and bunyan's.
    pub fn from_number(number: i64) -> Option<Level> {
        match number {
            0..=7 => Level::from_syslog(number),
            10..=19 => Some(Level::Trace),
            20..=29 => Some(Level::Debug),
            30..=39 => Some(Level::Info),
            40..=49 => Some(Level::Warning),
            50..=59 => Some(Level::Error),
            60..=69 => Some(Level::Critical),
            _ => None,
        }
    }

    /// Any usual spelling, in any case: `warn`, `W`, `err`, `SEVERE`, `FINE`, `notice`, `panic` ..., or a number as in
    /// [`Level::from_number`].
    pub fn parse(text: &str) -> Option<Level> {
        let text = text.trim();
        let mut lower = [0u8; 13];
        let lower = lower.get_mut(..text.len())?;
        lower.copy_from_slice(text.as_bytes());
        lower.make_ascii_lowercase();
        match &*lower {
            b"trace" | b"trc" | b"t" | b"finest" | b"finer" | b"silly" => Some(Level::Trace),
            b"debug" | b"dbg" | b"d" | b"fine" | b"verbose" | b"debug1" | b"debug2" | b"debug3"
            | b"debug4" | b"debug5" => Some(Level::Debug),
            b"info" | b"inf" | b"i" | b"information" | b"informational" | b"notice" | b"config"
            | b"default" | b"http" | b"success" => Some(Level::Info),
            b"warning" | b"warn" | b"wrn" | b"w" => Some(Level::Warning),
            b"error" | b"err" | b"e" | b"eror" | b"severe" | b"failure" => Some(Level::Error),
            b"critical" | b"crit" | b"c" | b"fatal" | b"ftl" | b"f" | b"panic" | b"pnc" | b"dpanic"
            | b"alert" | b"emerg" | b"emergency" => Some(Level::Critical),
            [b'0'..=b'9', ..] => text.parse().ok().and_then(Level::from_number),
            _ => None,
        }
    }

    /// As [`Level::parse`], for words of at least three letters: what may stand at the head of a line of text.
    pub(crate) fn of_word(text: &str) -> Option<Level> {
        let letters = text.len() >= 3 && text.as_bytes()[0].is_ascii_alphabetic();
        if letters { Level::parse(text) } else { None }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
