//! Lines: a JSON object each, or text. Read as captured output is, so that a stack trace is one entry here, too.

use std::borrow::Cow;

use helm_lines::sent::Field;
use helm_lines::{Body, Entry, Joiner, Line, Position, Rule, Span, json};

use crate::record::Draft;
use crate::{Asked, BodyError, Decoded, FOREIGN_MAX};

/// Names of the field that says whose an entry is, best first.
const SERVICE: [&str; 6] = ["service", "service_name", "service.name", "serviceName", "app", "application"];

/// Names of the field that says on which host it was written.
const HOST: [&str; 3] = ["hostname", "host.name", "host"];

/// Names of the field with the number of the process.
const PROCESS: [&str; 3] = ["process_id", "process.pid", "pid"];

/// Reads a body. `total` counts entries; `index` is the line that an entry begins with.
pub(crate) fn decode(asked: &Asked<'_>, body: &[u8]) -> Result<Decoded, BodyError> {
    let count = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
    if count > FOREIGN_MAX {
        return Err(BodyError::TooMany(count, FOREIGN_MAX));
    }
    let mut decoded = Decoded { service: asked.service.unwrap_or_default().to_owned(), ..Decoded::default() };
    let mut joiner = Joiner::new(Rule::Auto, 0);
    let mut entries = Vec::new();
    for (line, number) in body.split(|byte| *byte == b'\n').zip(0_u64..) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() {
            continue;
        }
        let span = Span { first: Position(0, number), last: Position(0, number + 1) };
        joiner.push(Line { at: asked.arrived, stream: 0, full: true, text: line, span }, &mut entries);
        take(&mut decoded, &mut entries);
    }
    joiner.finish(&mut entries);
    take(&mut decoded, &mut entries);
    decoded.records.sort_by_key(|record| record.index);
    decoded.rejected.sort_by_key(|rejected| rejected.index);
    Ok(decoded)
}

fn take(decoded: &mut Decoded, entries: &mut Vec<Entry>) {
    for entry in entries.drain(..) {
        let index = u32::try_from(entry.span.first.1).unwrap_or(u32::MAX);
        decoded.invalid_utf8 |= entry.body.flags.invalid_utf8;
        decoded.total += 1;
        let result = draft(entry.body, &decoded.service, None).finish(&decoded.service);
        decoded.take(index, result);
    }
}

/// One line by itself; `None` if there is nothing in it.
pub(crate) fn one(asked: &Asked<'_>, line: &[u8]) -> Option<Body> {
    let span = Span { first: Position(0, 0), last: Position(0, 1) };
    let mut joiner = Joiner::new(Rule::Auto, 0);
    let mut entries = Vec::with_capacity(1);
    joiner.push(Line { at: asked.arrived, stream: 0, full: true, text: line, span }, &mut entries);
    joiner.finish(&mut entries);
    entries.pop().map(|entry| entry.body)
}

/// A record of a line that was read. `fallback` is whose it is where neither the line nor the batch says.
pub(crate) fn draft(body: Body, whose: &str, fallback: Option<&str>) -> Draft {
    let mut draft = Draft::default();
    draft.message(Cow::Owned(body.message));
    let fields = body.context.as_deref().and_then(json::object).unwrap_or_default();
    draft.fields(&fields);
    match named(&fields, &SERVICE, "service", "name") {
        Some(name) => draft.service(&name),
        None if whose.is_empty() => draft.service(fallback.unwrap_or_default()),
        None => {}
    }
    // They stay in the context, too: the line is kept as it was.
    draft.record.hostname = named(&fields, &HOST, "host", "name").map(Cow::into_owned);
    if let Some(id) = named(&fields, &PROCESS, "process", "pid") {
        draft.process(&Field::Text(id));
    }
    draft.record.at_ns = body.source_time;
    if body.flags.level_given {
        draft.record.level = body.level.word().to_owned();
    }
    draft.record.trace_id = body.trace_id;
    draft.record.user_id = body.user_id;
    draft
}

/// The value of the first of these fields that is text or a number, or of `inner` within the object `outer`.
fn named<'a>(
    fields: &'a [(Cow<'_, str>, &'a str)],
    names: &[&str],
    outer: &str,
    inner: &str,
) -> Option<Cow<'a, str>> {
    let of = |name: &str| fields.iter().rev().find(|(key, _)| key == name).map(|(_, raw)| *raw);
    let direct = names.iter().filter_map(|name| scalar(of(name)?)).next();
    direct.or_else(|| {
        let within = json::object(of(outer)?)?;
        let (_, raw) = within.into_iter().rev().find(|(key, _)| key == inner)?;
        scalar(raw)
    })
}

fn scalar(raw: &str) -> Option<Cow<'_, str>> {
    let text = match json::string(raw) {
        Some(text) => text,
        None if raw.starts_with(|c: char| c.is_ascii_digit() || c == '-') => Cow::Borrowed(raw),
        None => return None,
    };
    (!text.is_empty()).then_some(text)
}
