//! Loki's push as JSON: `{"streams": [{"stream": {labels}, "values": [["ns", "line", {metadata}], ...]}]}`.

use std::borrow::Cow;

use helm_lines::json;

use super::{LABELS_MAX, entry, label};
use crate::shared::Shared;
use crate::{Asked, BodyError, Decoded, FOREIGN_MAX};

const SHAPE: BodyError =
    BodyError::Shape(r#"Loki's: {"streams": [{"stream": {...}, "values": [["<ns>", "<line>"], ...]}]}"#);

/// Reads a body.
pub(crate) fn decode(asked: &Asked<'_>, body: &[u8]) -> Result<Decoded, BodyError> {
    let (text, invalid_utf8) = crate::text(body);
    let request = json::object(&text).ok_or_else(|| crate::hivematrix::not_json(&text))?;
    let service = asked.service.unwrap_or_default().to_owned();
    let mut decoded = Decoded { service, invalid_utf8, ..Decoded::default() };
    for stream in list(field(&request, "streams").ok_or(SHAPE)?)? {
        let stream = json::object(stream).ok_or(SHAPE)?;
        let mut shared = Shared::default();
        let labels = field(&stream, "stream").and_then(json::object).unwrap_or_default();
        for (name, raw) in labels.iter().take(LABELS_MAX) {
            label(&mut shared, name, &text_of(raw));
        }
        for value in list(field(&stream, "values").unwrap_or("[]"))? {
            one(asked, value, &shared, &mut decoded)?;
        }
    }
    Ok(decoded)
}

/// A line; what is no list of a time and a line is kept as the line.
fn one(asked: &Asked<'_>, value: &str, shared: &Shared, decoded: &mut Decoded) -> Result<(), BodyError> {
    let (parts, _) = json::array(value, 3).unwrap_or_default();
    let (at, line) = match parts.as_slice() {
        [at, line, ..] => (text_of(at).parse().ok(), text_of(line)),
        _ => (None, Cow::Borrowed(value)),
    };
    let metadata = parts.get(2).and_then(|raw| json::object(raw)).unwrap_or_default();
    let metadata = metadata.into_iter().map(|(name, raw)| (name, text_of(raw)));
    entry(asked, decoded, shared, at, line.as_bytes(), metadata)
}

fn field<'a>(object: &[(Cow<'a, str>, &'a str)], name: &str) -> Option<&'a str> {
    object.iter().rev().find(|(key, _)| key == name).map(|(_, raw)| *raw).filter(|raw| *raw != "null")
}

fn list(raw: &str) -> Result<Vec<&str>, BodyError> {
    let (elements, count) = json::array(raw, FOREIGN_MAX).ok_or(SHAPE)?;
    if count > FOREIGN_MAX { Err(BodyError::TooMany(count, FOREIGN_MAX)) } else { Ok(elements) }
}

/// Text without its quotes; anything else as JSON.
fn text_of(raw: &str) -> Cow<'_, str> {
    json::string(raw).unwrap_or(Cow::Borrowed(raw))
}
