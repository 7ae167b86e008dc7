//! Reads one line: what its head says, and where its message begins.
//!
//! The first byte of a line decides which readers look at it. A reader that does not recognise the line says so without
//! having allocated anything. A level is only ever taken from the place where a format puts it.

mod access;
mod head;
mod json;
mod logfmt;
mod pattern;
mod stamped;
mod syslog;

use std::fmt;

use crate::context::Context;
use crate::level::Level;
use crate::rule::Rule;
use crate::text;
use crate::time::Clock;

/// How an entry was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// A JSON object a line.
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// A time stamp, then level, logger, process or thread in one of the usual orders.
    Stamped,
    /// A level first: `ERROR:name:text`, `INFO:     text`, `[WARN] text`.
    Leveled,
    /// A syslog or sd-daemon prefix.
    Syslog,
    /// klog and glog: `E1123 09:04:00.123456 1 file.go:12] text`.
    Klog,
    /// An access log line.
    Access,
    /// The operator's pattern.
    Pattern,
    /// A stack trace without a head.
    Trace,
    /// Plain text.
    Plain,
}

impl Format {
    /// Its name, as `logs explain` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Logfmt => "logfmt",
            Format::Stamped => "stamped",
            Format::Leveled => "leveled",
            Format::Syslog => "syslog",
            Format::Klog => "klog",
            Format::Access => "access",
            Format::Pattern => "pattern",
            Format::Trace => "trace",
            Format::Plain => "plain",
        }
    }

    /// The line has a head of its own, so that lines without one may belong to it.
    pub(crate) fn headed(self) -> bool {
        match self {
            Format::Stamped | Format::Leveled | Format::Syslog | Format::Klog | Format::Pattern => true,
            Format::Json | Format::Logfmt | Format::Access | Format::Trace | Format::Plain => false,
        }
    }

    /// Nothing ever belongs to such a line but itself.
    pub(crate) fn closed(self) -> bool {
        matches!(self, Format::Json | Format::Logfmt | Format::Access)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where the message of a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// From this byte to the end of the line.
    From(usize),
    /// Not in the line as such: it was escaped.
    Text(String),
}

/// What a line says about itself.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) format: Format,
    pub(crate) time: Option<i64>,
    pub(crate) level: Option<Level>,
    pub(crate) message: Message,
    pub(crate) trace: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) context: Context,
}

impl Head {
    fn new(format: Format) -> Head {
        Head {
            format,
            time: None,
            level: None,
            message: Message::From(0),
            trace: None,
            user: None,
            context: Context::default(),
        }
    }

    /// A line that is part of a stack trace.
    pub(crate) fn trace(level: Option<Level>) -> Head {
        Head { level, ..Head::new(Format::Trace) }
    }

    /// The message is `rest`, a tail of `line`.
    fn tail(mut self, line: &str, rest: &str) -> Head {
        self.message = Message::From(line.len() - rest.len());
        self
    }
}

/// Reads a line by a rule.
pub(crate) fn read(rule: &Rule, line: &str, clock: Clock) -> Head {
    // Heads may be coloured. They are read without colours; the message is shown with its own.
    match text::plain(line) {
        Some(plain) if !matches!(rule, Rule::Plain | Rule::None) => {
            let mut head = read_plain(rule, &plain, clock);
            if let Message::From(at) = head.message {
                head.message = Message::From(if at == 0 { 0 } else { text::place(line, at) });
            }
            head
        }
        _ => read_plain(rule, line, clock),
    }
}

fn read_plain(rule: &Rule, line: &str, clock: Clock) -> Head {
    let found = match rule {
        Rule::Auto => auto(line, clock),
        Rule::Json => json::read(line, clock),
        Rule::Logfmt => logfmt::read(line, clock, true),
        Rule::Python | Rule::Java => text_head(line, clock),
        Rule::Syslog => syslog::read(line, clock, |_, _| None),
        Rule::Regex(pattern) => pattern::read(&pattern.0, line, clock),
        Rule::Plain | Rule::None => None,
    };
    found.unwrap_or_else(|| Head::new(Format::Plain))
}

fn auto(line: &str, clock: Clock) -> Option<Head> {
    match *line.as_bytes().first()? {
        b'{' => json::read(line, clock),
        // Once only: how many prefixes there are is the sender's to choose.
        b'<' => syslog::read(
            line,
            clock,
            |rest, clock| if rest.starts_with('<') { None } else { auto(rest, clock) },
        ),
        b'0'..=b'9' | b':' => stamped::read(line, clock).or_else(|| access::read(line, clock)),
        b'[' | b' ' => text_head(line, clock),
        b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'@' => logfmt::read(line, clock, false)
            .or_else(|| stamped::klog(line, clock))
            .or_else(|| head::leveled(line))
            .or_else(|| syslog::bare(line, clock)),
        _ => None,
    }
}

/// A head of text: a time stamp or a level first, in brackets or not.
fn text_head(line: &str, clock: Clock) -> Option<Head> {
    match *line.as_bytes().first()? {
        b'[' => stamped::bracketed(line, clock).or_else(|| head::leveled(line)),
        b'0'..=b'9' => stamped::read(line, clock),
        _ => head::leveled(line),
    }
}

/// The readers that `auto` would ask about this line, and whether each recognises it: for `logs explain`.
pub(crate) fn trials(line: &str, clock: Clock) -> Vec<(&'static str, bool)> {
    let line = text::plain(line).unwrap_or_else(|| line.to_owned());
    let line = line.as_str();
    let all: [(&'static str, Option<Head>); 7] = [
        ("json", json::read(line, clock)),
        ("logfmt", logfmt::read(line, clock, false)),
        ("syslog", syslog::read(line, clock, |_, _| None).or_else(|| syslog::bare(line, clock))),
        ("klog", stamped::klog(line, clock)),
        ("stamped", stamped::read(line, clock).or_else(|| stamped::bracketed(line, clock))),
        ("leveled", head::leveled(line)),
        ("access", access::read(line, clock)),
    ];
    all.into_iter().map(|(name, head)| (name, head.is_some())).collect()
}
