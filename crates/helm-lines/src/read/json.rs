//! JSON lines: the HiveMatrix services' own, pino, bunyan, zap, zerolog, tracing-subscriber, Quarkus, ECS, docker.
//!
//! A field goes to a column by its name; of several that could, the first in [`RANKED`] wins, and the others stay in the
//! context. Nothing is left out: what is not a column is context.

use std::borrow::Cow;

use super::{Format, Head, Message};
use crate::context::Context;
use crate::json;
use crate::level::Level;
use crate::time::{self, Clock};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Time,
    Level,
    Message,
    Trace,
    User,
}

const COLUMNS: usize = 5;

/// The column that a key speaks of, and its rank among the keys that do: 0 is best.
fn column(key: &str) -> Option<(Column, u8)> {
    use Column::{Level, Message, Time, Trace, User};
    Some(match key {
        "timestamp" => (Time, 0),
        "@timestamp" => (Time, 1),
        "time" => (Time, 2),
        "ts" => (Time, 3),
        "asctime" => (Time, 4),
        "datetime" => (Time, 5),
        "date" => (Time, 6),
        "t" => (Time, 7),
        "level" => (Level, 0),
        "severity" => (Level, 1),
        "log.level" => (Level, 2),
        "levelname" => (Level, 3),
        "loglevel" | "log_level" | "logLevel" => (Level, 4),
        "lvl" => (Level, 5),
        "severityText" | "severity_text" => (Level, 6),
        "severityNumber" | "severity_number" => (Level, 7),
        "levelno" => (Level, 8),
        "PRIORITY" => (Level, 9),
        "message" => (Message, 0),
        "msg" => (Message, 1),
        "short_message" => (Message, 2),
        "event" => (Message, 3),
        "log" => (Message, 4),
        "body" => (Message, 5),
        "MESSAGE" => (Message, 6),
        "trace_id" | "traceId" | "traceID" | "trace.id" => (Trace, 0),
        "correlation_id" | "correlationId" => (Trace, 1),
        "request_id" | "requestId" | "req_id" | "reqId" => (Trace, 2),
        "user_id" | "userId" => (User, 0),
        "user.id" | "enduser.id" => (User, 1),
        "user" => (User, 2),
        _ => return None,
    })
}

/// One value for each column, with the field that gave it.
#[derive(Default)]
struct Chosen {
    time: Option<i64>,
    level: Option<Level>,
    message: Option<String>,
    trace: Option<String>,
    user: Option<String>,
    /// Rank and field of each column's winner so far.
    by: [Option<(u8, usize)>; COLUMNS],
}

impl Chosen {
    /// Takes `raw` for its column, if it is of use there and better than what there is.
    fn offer(&mut self, field: usize, column: Column, rank: u8, key: &str, raw: &str, clock: Clock) {
        let slot = &mut self.by[column as usize];
        if slot.is_some_and(|(best, _)| best <= rank) {
            return;
        }
        let taken = match column {
            Column::Time => put(&mut self.time, time_of(raw, clock)),
            Column::Level => put(&mut self.level, level_of(key, raw)),
            Column::Message => put(&mut self.message, message_of(key, raw)),
            Column::Trace => put(&mut self.trace, id_of(raw)),
            Column::User => put(&mut self.user, id_of(raw)),
        };
        if taken {
            *slot = Some((rank, field));
        }
    }

    fn won(&self, field: usize) -> bool {
        self.by.iter().flatten().any(|(_, by)| *by == field)
    }
}

fn put<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let some = value.is_some();
    if some {
        *place = value;
    }
    some
}

/// Names of nested objects that speak of columns; their keys rank behind all top-level ones.
fn nested(key: &str) -> bool {
    matches!(key, "fields" | "mdc" | "log" | "trace" | "user" | "attributes")
}

/// The column of a key in a nested object.
fn nested_column(outer: &str, key: &str) -> Option<Column> {
    match (outer, key) {
        ("fields", "message") => Some(Column::Message),
        ("log", "level") => Some(Column::Level),
        ("trace", "id") => Some(Column::Trace),
        ("user", "id") => Some(Column::User),
        ("fields" | "mdc" | "attributes", _) => {
            column(key).map(|(column, _)| column).filter(|c| matches!(c, Column::Trace | Column::User))
        }
        _ => None,
    }
}

/// Reads a line that is one JSON object.
pub(super) fn read(line: &str, clock: Clock) -> Option<Head> {
    let trimmed = line.trim();
    if !trimmed.starts_with('{') {
        return None;
    }
    // The services' naive times are UTC, whatever the host's zone.
    let clock = clock.utc();
    let named;
    let fields = match json::object(trimmed) {
        Some(fields) => fields,
        None => {
            named = json::with_numbers_named(trimmed)?;
            json::object(&named)?
        }
    };
    let mut chosen = Chosen::default();
    for (at, (key, raw)) in fields.iter().enumerate() {
        if let Some((column, rank)) = column(key) {
            chosen.offer(at, column, rank, key, raw, clock);
        }
    }
    let mut head = Head::new(Format::Json);
    for (at, (key, raw)) in fields.iter().enumerate() {
        if chosen.won(at) || (*raw == "null" && column(key).is_some()) {
            continue;
        }
        match json::object(raw).filter(|_| raw.starts_with('{') && nested(key)) {
            Some(inner) => nested_fields(&mut head.context, &mut chosen, key, raw, &inner, clock),
            None => head.context.json(key, raw),
        }
    }
    head.time = chosen.time;
    head.level = chosen.level;
    head.trace = chosen.trace;
    head.user = chosen.user;
    match chosen.message {
        Some(message) if is_docker(&fields) => return Some(docker(head, &message, clock)),
        Some(message) => head.message = Message::Text(message),
        None => {}
    }
    Some(head)
}

/// An object within the line. A message that is taken from it is not kept there once more.
fn nested_fields(
    context: &mut Context,
    chosen: &mut Chosen,
    outer: &str,
    raw: &str,
    inner: &[(Cow<'_, str>, &str)],
    clock: Clock,
) {
    let mut message = None;
    for (at, (key, value)) in inner.iter().enumerate() {
        if let Some(column) = nested_column(outer, key) {
            let had = chosen.by[column as usize].is_some();
            chosen.offer(usize::MAX, column, u8::MAX - 1, key, value, clock);
            if !had && column == Column::Message && chosen.message.is_some() {
                message = Some(at);
            }
        }
    }
    let Some(message) = message else { return context.json(outer, raw) };
    let mut rest = String::new();
    for (_, (key, value)) in inner.iter().enumerate().filter(|(at, _)| *at != message) {
        rest.push(if rest.is_empty() { '{' } else { ',' });
        json::quote(&mut rest, key);
        rest.push(':');
        rest.push_str(value);
    }
    if !rest.is_empty() {
        rest.push('}');
        context.json(outer, &rest);
    }
}

/// `{"log": "...\n", "stream": "stderr", "time": "..."}`: docker's envelope around a line of any format.
fn is_docker(fields: &[(Cow<'_, str>, &str)]) -> bool {
    fields.len() == 3
        && ["log", "stream", "time"].iter().all(|want| fields.iter().any(|(key, _)| key == want))
}

fn docker(outer: Head, line: &str, clock: Clock) -> Head {
    let line = line.trim_end_matches('\n');
    let inner = match json::object(line) {
        // An envelope within an envelope is not opened: depth is the sender's to choose.
        Some(fields) if is_docker(&fields) => None,
        _ => super::auto(line, clock),
    };
    let Some(mut head) = inner else { return Head { message: Message::Text(line.to_owned()), ..outer } };
    if let Message::From(at) = head.message {
        head.message = Message::Text(line[at..].to_owned());
    }
    head.time = head.time.or(outer.time);
    head.format = Format::Json;
    // The envelope's own words: which stream it was.
    head.context.extend(outer.context);
    head
}

/// A time: text or a number.
pub(crate) fn time_of(raw: &str, clock: Clock) -> Option<i64> {
    match json::string(raw) {
        Some(text) => time::whole(&text, clock),
        None => time::epoch(raw).or_else(|| {
            time::epoch(raw.parse::<f64>().ok().filter(|_| raw.contains(['e', 'E']))?.to_string().as_str())
        }),
    }
}

/// A level: a word or a number, which the key may say how to read.
pub(crate) fn level_of(key: &str, raw: &str) -> Option<Level> {
    if let Some(text) = json::string(raw) {
        return Level::parse(&text);
    }
    let number = raw.parse().ok()?;
    match key {
        "severityNumber" | "severity_number" => Level::from_severity(number),
        "levelno" => Level::from_python(number),
        "PRIORITY" => Level::from_syslog(number),
        _ => Level::from_number(number),
    }
}

/// A message: text, or whatever else was put there, as JSON. `log` and `body` are messages only if they are text.
fn message_of(key: &str, raw: &str) -> Option<String> {
    match json::string(raw) {
        Some(text) => Some(text.into_owned()),
        None if raw == "null" || matches!(key, "log" | "body" | "event") => None,
        None => Some(json::clean(raw).text.into_owned()),
    }
}

/// An id: text or a number.
pub(crate) fn id_of(raw: &str) -> Option<String> {
    match json::string(raw) {
        Some(text) => (!text.is_empty()).then(|| text.into_owned()),
        None => raw.starts_with(|c: char| c.is_ascii_digit() || c == '-').then(|| raw.to_owned()),
    }
}
