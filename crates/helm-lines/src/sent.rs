//! Entries that others send: taken as they are, repaired where that loses nothing, or refused alone.

use std::borrow::Cow;
use std::fmt;

use helm_core::time::Wall;

use crate::context::Context;
use crate::entry::{Body, Draft, Flags, MESSAGE_MAX, trace_column, user_column};
use crate::json;
use crate::level::Level;
use crate::text::{first_chars, without_nul};
use crate::time::{self, Clock};

/// Widest host name, in characters: the seed's column.
pub const HOSTNAME_MAX: usize = 255;

/// One field as it was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Field<'a> {
    /// Not at all.
    #[default]
    Absent,
    /// As text (gRPC).
    Text(Cow<'a, str>),
    /// As JSON of any kind: its own text (HTTP). Valid, as a `RawValue` is.
    Json(&'a str),
}

/// One entry as it was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent<'a> {
    /// A word or a number.
    pub level: Field<'a>,
    /// What it says.
    pub message: Field<'a>,
    /// ISO 8601 (UTC if it has no offset), or a count since 1970. Absent: the time of arrival.
    pub timestamp: Field<'a>,
    /// Trace or correlation id.
    pub trace_id: Field<'a>,
    /// Who caused it.
    pub user_id: Field<'a>,
    /// Where it was written.
    pub hostname: Field<'a>,
    /// By which process.
    pub process_id: Field<'a>,
    /// Anything else: an object.
    pub context: Field<'a>,
    /// Fields that the interface does not name: they become context.
    pub more: Vec<(Cow<'a, str>, &'a str)>,
}

impl<'a> Sent<'a> {
    /// Takes one element of a JSON batch apart. `null` counts as absent, except as a message.
    pub fn from_json(text: &'a str) -> Result<Sent<'a>, Refusal> {
        let fields = json::object(text.trim()).ok_or(Refusal::NoObject)?;
        let mut sent = Sent::default();
        for (key, raw) in fields {
            let place = match &*key {
                "level" => &mut sent.level,
                "message" => &mut sent.message,
                "timestamp" => &mut sent.timestamp,
                "trace_id" => &mut sent.trace_id,
                "user_id" => &mut sent.user_id,
                "hostname" => &mut sent.hostname,
                "process_id" => &mut sent.process_id,
                "context" => &mut sent.context,
                _ => {
                    sent.more.push((key, raw));
                    continue;
                }
            };
            if raw != "null" || key == "message" || key == "level" {
                *place = Field::Json(raw);
            }
        }
        Ok(sent)
    }
}

/// What is stored of a sent entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentEntry {
    /// What it says.
    pub body: Body,
    /// At most [`HOSTNAME_MAX`] characters.
    pub hostname: Option<String>,
    /// As the sender's system numbers it.
    pub process_id: Option<i32>,
}

/// What becomes of a sent entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Stored as it is.
    Ok(SentEntry),
    /// Stored, changed for these reasons.
    Repaired(SentEntry, Vec<Reason>),
    /// Not stored.
    Refused(Refusal),
}

/// Why an entry was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The level is no level: INFO, the original is in the context.
    Level,
    /// The message is null, a number or a structure: its JSON text was taken; for null and nothing, the empty text.
    Message,
    /// NUL was replaced by U+2400.
    Nul,
    /// The message was cut.
    MessageCut,
    /// The timestamp cannot be read: the time of arrival was taken, the original is in the context.
    Timestamp,
    /// The timestamp lies in the future: as above.
    Future,
    /// The trace id was shortened for its column; the whole is in the context.
    TraceId,
    /// The user id was shortened for its column; the whole is in the context.
    UserId,
    /// An id or the host name is neither text nor a number: it went to the context.
    NotText,
    /// The host name was shortened for its column; the whole is in the context.
    Hostname,
    /// The process id is no number that the column holds: it went to the context.
    ProcessId,
    /// The context is no object: it became the field `context` of one.
    Context,
    /// A field of the context is nested too deeply: kept as text.
    ContextDeep,
    /// The context is too long: cut.
    ContextCut,
    /// The context has escapes or numbers that no database holds: replaced.
    ContextMended,
}

impl Reason {
    /// A word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Level => "level_unknown",
            Reason::Message => "message_not_text",
            Reason::Nul => "nul_replaced",
            Reason::MessageCut => "message_cut",
            Reason::Timestamp => "timestamp_unread",
            Reason::Future => "timestamp_in_future",
            Reason::TraceId => "trace_id_shortened",
            Reason::UserId => "user_id_shortened",
            Reason::NotText => "field_not_text",
            Reason::Hostname => "hostname_shortened",
            Reason::ProcessId => "process_id_unread",
            Reason::Context => "context_not_object",
            Reason::ContextDeep => "context_too_deep",
            Reason::ContextCut => "context_cut",
            Reason::ContextMended => "context_mended",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Level => "the level is none of DEBUG, INFO, WARNING, ERROR, CRITICAL: stored as INFO",
            Reason::Message => "the message is no text: stored as JSON text",
            Reason::Nul => "NUL in the message: replaced by U+2400",
            Reason::MessageCut => "the message is longer than 65536 bytes: cut",
            Reason::Timestamp => {
                "the timestamp is neither ISO 8601 nor a count since 1970: the time of arrival taken"
            }
            Reason::Future => "the timestamp lies more than five minutes ahead: the time of arrival taken",
            Reason::TraceId => "the trace id has more than 36 characters: shortened, whole in the context",
            Reason::UserId => "the user id has more than 100 characters: shortened, whole in the context",
            Reason::NotText => "an id or the host name is no text: moved to the context",
            Reason::Hostname => "the host name has more than 255 characters: shortened, whole in the context",
            Reason::ProcessId => "the process id is no 32-bit number: moved to the context",
            Reason::Context => "the context is no object: made a field of one",
            Reason::ContextDeep => "the context is nested too deeply: the field kept as text",
            Reason::ContextCut => "the context is longer than 65536 bytes: cut",
            Reason::ContextMended => {
                "the context has NUL, half a surrogate pair or a number beyond a double: replaced"
            }
        })
    }
}

/// Why an entry is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a JSON object.
    #[error("the entry is no JSON object: send {{\"level\": ..., \"message\": ...}}")]
    NoObject,
    /// Nothing in it.
    #[error("the entry has no message and no context: there is nothing to store")]
    Empty,
}

/// Judges one entry that arrived at `arrived`.
pub fn repair(sent: Sent<'_>, arrived: Wall) -> Verdict {
    let mut reasons = Vec::new();
    let mut context = Context::default();
    if sent.message == Field::Absent && sent.context == Field::Absent && sent.more.is_empty() {
        return Verdict::Refused(Refusal::Empty);
    }
    let message = message(sent.message, &mut reasons);
    let level = level(&sent.level, &mut context, &mut reasons);
    let time = timestamp(&sent.timestamp, arrived, &mut context, &mut reasons);
    let trace = id(&sent.trace_id, "helm.trace_id", &mut context, &mut reasons);
    let user = id(&sent.user_id, "helm.user_id", &mut context, &mut reasons);
    let hostname = hostname(&sent.hostname, &mut context, &mut reasons);
    let process_id = process_id(&sent.process_id, &mut context, &mut reasons);
    fields(&sent.context, &mut context, &mut reasons);
    for (key, raw) in &sent.more {
        context.json(key, raw);
    }
    let bounded = context.bounded;
    let shortened = |id: &Option<String>, column: fn(&str) -> &str| {
        id.as_ref().is_some_and(|id| column(id).len() < id.len())
    };
    let found = [
        (bounded.deep, Reason::ContextDeep),
        (bounded.long, Reason::ContextCut),
        (bounded.mended, Reason::ContextMended),
        (shortened(&trace, trace_column), Reason::TraceId),
        (shortened(&user, user_column), Reason::UserId),
        (message.len() > MESSAGE_MAX, Reason::MessageCut),
    ];
    reasons.extend(found.into_iter().filter(|(is, _)| *is).map(|(_, reason)| reason));
    let body = Draft {
        time,
        capture: arrived.0,
        level,
        asked: message.len(),
        message,
        trace,
        user,
        context,
        flags: Flags::default(),
    }
    .finish();
    if body.flags.future_time {
        reasons.push(Reason::Future);
    }
    let entry = SentEntry { body, hostname, process_id };
    if reasons.is_empty() { Verdict::Ok(entry) } else { Verdict::Repaired(entry, reasons) }
}

fn message(field: Field<'_>, reasons: &mut Vec<Reason>) -> String {
    let text = match field {
        Field::Text(text) => text,
        Field::Json(raw) => match json::string(raw) {
            Some(text) => {
                // Unescaping has replaced them already.
                if text.contains('\u{2400}') && !raw.contains('\u{2400}') {
                    reasons.push(Reason::Nul);
                }
                text
            }
            None => {
                reasons.push(Reason::Message);
                if raw == "null" { Cow::Borrowed("") } else { json::clean(raw).text }
            }
        },
        Field::Absent => {
            reasons.push(Reason::Message);
            Cow::Borrowed("")
        }
    };
    match without_nul(&text) {
        Cow::Borrowed(_) => text.into_owned(),
        Cow::Owned(repaired) => {
            reasons.push(Reason::Nul);
            repaired
        }
    }
}

/// The text of a field as it may be noted: a string without its quotes, anything else as JSON.
fn said<'a>(field: &'a Field<'_>) -> Option<Cow<'a, str>> {
    match field {
        Field::Absent => None,
        Field::Text(text) => Some(Cow::Borrowed(text)),
        Field::Json(raw) => Some(json::string(raw).unwrap_or(Cow::Borrowed(raw))),
    }
}

fn level(field: &Field<'_>, context: &mut Context, reasons: &mut Vec<Reason>) -> Option<Level> {
    let text = said(field);
    let level = text.as_deref().and_then(Level::parse);
    if level.is_none() {
        reasons.push(Reason::Level);
        if let Some(text) = text.filter(|text| text != "null") {
            context.note("helm.level", &text);
        }
    }
    level
}

fn timestamp(
    field: &Field<'_>,
    arrived: Wall,
    context: &mut Context,
    reasons: &mut Vec<Reason>,
) -> Option<i64> {
    let text = said(field)?;
    let found = time::whole(&text, Clock { at: arrived, offset: 0 });
    if found.is_none() {
        reasons.push(Reason::Timestamp);
        context.note("helm.timestamp", &text);
    }
    found
}

/// An id that is text or a number.
fn id(field: &Field<'_>, key: &str, context: &mut Context, reasons: &mut Vec<Reason>) -> Option<String> {
    let text = said(field)?;
    if text.is_empty() {
        return None;
    }
    let structure = matches!(field, Field::Json(raw) if !raw.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit()));
    if structure {
        reasons.push(Reason::NotText);
        context.note(key, &text);
        return None;
    }
    if memchr::memchr(0, text.as_bytes()).is_some() && !reasons.contains(&Reason::Nul) {
        reasons.push(Reason::Nul);
    }
    Some(without_nul(&text).into_owned())
}

fn hostname(field: &Field<'_>, context: &mut Context, reasons: &mut Vec<Reason>) -> Option<String> {
    let mut name = id(field, "helm.hostname", context, reasons)?;
    let kept = first_chars(&name, HOSTNAME_MAX).len();
    if kept < name.len() {
        reasons.push(Reason::Hostname);
        context.note("helm.hostname", &name);
        name.truncate(kept);
    }
    Some(name)
}

fn process_id(field: &Field<'_>, context: &mut Context, reasons: &mut Vec<Reason>) -> Option<i32> {
    let text = said(field)?;
    let number = text.trim().parse().ok();
    if number.is_none() && !text.is_empty() {
        reasons.push(Reason::ProcessId);
        context.note("helm.process_id", &text);
    }
    number
}

fn fields(field: &Field<'_>, context: &mut Context, reasons: &mut Vec<Reason>) {
    let raw = match field {
        Field::Absent => return,
        Field::Text(text) if text.trim().is_empty() => return,
        Field::Text(text) => text.trim(),
        Field::Json(raw) => raw,
    };
    match json::object(raw) {
        Some(fields) => {
            for (key, value) in fields {
                context.json(&key, value);
            }
        }
        None => {
            reasons.push(Reason::Context);
            match field {
                Field::Json(raw) => context.json("context", raw),
                Field::Text(_) | Field::Absent => context.string("context", raw),
            }
        }
    }
}
