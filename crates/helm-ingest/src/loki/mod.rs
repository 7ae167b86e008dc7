//! Loki's push API: what both encodings have in common. A line is read as captured output is; its stream's labels stand beside it.

pub(crate) mod json;
pub(crate) mod proto;

use helm_lines::Level;

use crate::shared::{ATTRIBUTES_MAX, Shared};
use crate::{Asked, BodyError, Decoded, FOREIGN_MAX, Record, Refusal, lines};

/// Labels that say whose a stream is, best first.
const SERVICE: [&str; 6] = ["service_name", "service", "job", "app", "application", "container"];

/// Most labels of a stream that are looked at (Loki itself allows 15).
pub(crate) const LABELS_MAX: usize = 64;

/// Takes a label of a stream.
fn label(shared: &mut Shared, name: &str, value: &str) {
    if let Some(rank) = SERVICE.iter().position(|known| *known == name) {
        shared.offer_service(rank, value);
    }
    match name {
        "level" | "detected_level" | "severity" if shared.level.is_none() => {
            shared.level = Level::parse(value).map(|level| level.word().to_owned());
        }
        "hostname" | "host" | "node" | "instance" if shared.hostname.is_none() => {
            shared.hostname = Some(value.chars().take(256).collect());
        }
        _ => {}
    }
    shared.string(name, value);
}

/// The labels of `{job="shop", app="till"}`, as far as they can be read.
fn labels(text: &str, shared: &mut Shared) {
    let mut rest = text.trim().trim_start_matches('{');
    for _ in 0..LABELS_MAX {
        let Some((name, quoted)) = rest.split_once('=') else { return };
        let quoted = quoted.trim_start();
        let Some(end) = quote_end(quoted) else { return };
        let value = helm_lines::json::string(&quoted[..end]);
        // Go's escapes are JSON's, but for a few that stay as they are.
        let value = value.unwrap_or(std::borrow::Cow::Borrowed(&quoted[1..end - 1]));
        label(shared, name.trim().trim_start_matches(',').trim(), &value);
        rest = &quoted[end..];
    }
}

/// Behind the quote that ends the text which begins here.
fn quote_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// One line with its time (nanoseconds since 1970) and its own metadata.
fn entry<'a>(
    asked: &Asked<'_>,
    decoded: &mut Decoded,
    shared: &Shared,
    at: Option<i64>,
    line: &[u8],
    metadata: impl Iterator<Item = (std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>)>,
) -> Result<(), BodyError> {
    let index = decoded.total;
    decoded.total += 1;
    if decoded.total as usize > FOREIGN_MAX {
        return Err(BodyError::TooMany(decoded.total as usize, FOREIGN_MAX));
    }
    let result = record(asked, decoded, shared, at, line, metadata);
    decoded.take(index, result);
    Ok(())
}

fn record<'a>(
    asked: &Asked<'_>,
    decoded: &mut Decoded,
    shared: &Shared,
    at: Option<i64>,
    line: &[u8],
    metadata: impl Iterator<Item = (std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>)>,
) -> Result<Record, Refusal> {
    let body = lines::one(asked, line).ok_or(Refusal::Empty)?;
    decoded.invalid_utf8 |= body.flags.invalid_utf8;
    let whose = decoded.service.as_str();
    let mut draft = lines::draft(body, whose, shared.service().or(Some(crate::otlp::UNKNOWN)));
    // The line's own time is in its text; the stream's is the one that orders it.
    draft.record.at_ns = at.or(draft.record.at_ns);
    for (name, value) in metadata.take(ATTRIBUTES_MAX) {
        match &*name {
            "level" | "detected_level" | "severity" if draft.record.level.is_empty() => {
                draft.record.level = value.chars().take(64).collect();
            }
            "trace_id" | "traceID" if draft.record.trace_id.is_none() => {
                draft.record.trace_id = Some(value.chars().take(1024).collect());
            }
            "user_id" if draft.record.user_id.is_none() => {
                draft.record.user_id = Some(value.chars().take(1024).collect());
            }
            _ => {}
        }
        draft.context.string(&name, &value);
    }
    if draft.record.level.is_empty() {
        draft.record.level = shared.level.clone().unwrap_or_default();
    }
    draft.record.hostname = draft.record.hostname.take().or_else(|| shared.hostname.clone());
    shared.beside("labels", &mut draft);
    draft.finish(whose)
}
