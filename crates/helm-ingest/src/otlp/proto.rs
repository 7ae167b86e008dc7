//! OTLP logs as protobuf. A record that is damaged is refused alone; a frame around records that is, loses the body.

use std::fmt::Write;

use helm_lines::json;

use super::{DEEP, DEPTH, LogRecord};
use crate::shared::Shared;
use crate::wire::{Damaged, Fields, Value};
use crate::{Asked, BodyError, Decoded, FOREIGN_MAX, Refusal};

impl From<Damaged> for BodyError {
    fn from(_: Damaged) -> BodyError {
        BodyError::NotProtobuf("a field has another form, or ends behind the message")
    }
}

/// Reads an `ExportLogsServiceRequest`.
pub(crate) fn decode(asked: &Asked<'_>, body: &[u8]) -> Result<Decoded, BodyError> {
    let mut decoded = Decoded { service: asked.service.unwrap_or_default().to_owned(), ..Decoded::default() };
    for field in Fields(body) {
        if let (1, group) = field? {
            resource_logs(group.bytes(), &mut decoded)?;
        }
    }
    Ok(decoded)
}

fn resource_logs(bytes: &[u8], decoded: &mut Decoded) -> Result<(), BodyError> {
    let mut shared = Shared::default();
    // The resource may stand behind its records.
    for field in Fields(bytes) {
        if let (1, resource) = field? {
            for field in Fields(resource.bytes()) {
                if let (1, attribute) = field? {
                    let (key, raw) = key_value(attribute.bytes(), 0)?;
                    super::resource(&mut shared, &key, &raw);
                }
            }
        }
    }
    for field in Fields(bytes) {
        if let (2, scope_logs) = field? {
            records(scope_logs.bytes(), &shared, decoded)?;
        }
    }
    Ok(())
}

fn records(bytes: &[u8], shared: &Shared, decoded: &mut Decoded) -> Result<(), BodyError> {
    let mut scope = String::new();
    for field in Fields(bytes) {
        if let (1, message) = field? {
            for field in Fields(message.bytes()) {
                if let (1, name) = field? {
                    scope = name.text().chars().take(256).collect();
                }
            }
        }
    }
    for field in Fields(bytes) {
        let (2, message) = field? else { continue };
        let index = decoded.total;
        decoded.total += 1;
        if decoded.total as usize > FOREIGN_MAX {
            return Err(BodyError::TooMany(decoded.total as usize, FOREIGN_MAX));
        }
        decoded.invalid_utf8 |= invalid(message.bytes());
        let result = match log_record(message.bytes()) {
            Ok(record) => record.finish(shared, &scope, &decoded.service),
            Err(Damaged) => Err(Refusal::Damaged),
        };
        decoded.take(index, result);
    }
    Ok(())
}

/// The body of a record is text, and has bytes that are none.
fn invalid(record: &[u8]) -> bool {
    let text = |(field, value): (u64, Value<'_>)| field == 5 && std::str::from_utf8(text_of(value)).is_err();
    Fields(record).filter_map(Result::ok).any(text)
}

/// The text of a value that is one; nothing for others.
fn text_of(value: Value<'_>) -> &[u8] {
    let texts = Fields(value.bytes()).filter_map(Result::ok).filter(|(field, _)| *field == 1);
    texts.last().map(|(_, text)| text.bytes()).unwrap_or_default()
}

fn log_record(bytes: &[u8]) -> Result<LogRecord<'_>, Damaged> {
    let mut record = LogRecord::default();
    for field in Fields(bytes) {
        match field? {
            (1, time) => record.time = time.number().cast_signed(),
            (11, time) => record.observed = time.number().cast_signed(),
            (2, number) => record.number = number.number().cast_signed(),
            (3, text) => record.text = text.text(),
            (5, body) => {
                record.body.clear();
                any(body.bytes(), 0, &mut record.body)?;
            }
            (6, attribute) => {
                let (key, raw) = key_value(attribute.bytes(), 0)?;
                record.attribute(&key, &raw);
            }
            (9, id) => record.trace = hex(id.bytes()),
            (10, id) => record.span = hex(id.bytes()),
            (12, name) => record.event = name.text(),
            _ => {}
        }
    }
    Ok(record)
}

fn key_value(bytes: &[u8], depth: usize) -> Result<(String, String), Damaged> {
    let (mut key, mut raw) = (String::new(), String::new());
    for field in Fields(bytes) {
        match field? {
            (1, text) => key = text.text().into_owned(),
            (2, value) => {
                raw.clear();
                any(value.bytes(), depth, &mut raw)?;
            }
            _ => {}
        }
    }
    if raw.is_empty() {
        raw.push_str("null");
    }
    Ok((key, raw))
}

/// Appends an `AnyValue` as JSON.
fn any(bytes: &[u8], depth: usize, out: &mut String) -> Result<(), Damaged> {
    // Of a `oneof` the last one counts.
    let mut value = None;
    for field in Fields(bytes) {
        value = Some(field?);
    }
    match value {
        Some((5 | 6, _)) if depth >= DEPTH => out.push_str(DEEP),
        Some((1, text)) => json::quote(out, &text.text()),
        Some((2, yes)) => out.push_str(if yes.number() == 0 { "false" } else { "true" }),
        Some((3, number)) => {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", number.number().cast_signed());
        }
        Some((4, number)) => double(f64::from_bits(number.number()), out),
        Some((5, list)) => {
            out.push('[');
            for (at, field) in Fields(list.bytes()).enumerate() {
                let (_, value) = field?;
                out.push_str(if at == 0 { "" } else { "," });
                any(value.bytes(), depth + 1, out)?;
            }
            out.push(']');
        }
        Some((6, list)) => {
            out.push('{');
            for (at, field) in Fields(list.bytes()).enumerate() {
                let (_, pair) = field?;
                let (key, raw) = key_value(pair.bytes(), depth + 1)?;
                out.push_str(if at == 0 { "" } else { "," });
                json::quote(out, &key);
                out.push(':');
                out.push_str(&raw);
            }
            out.push('}');
        }
        Some((7, bytes)) => {
            out.push('"');
            base64(bytes.bytes(), out);
            out.push('"');
        }
        Some(_) | None => out.push_str("null"),
    }
    Ok(())
}

fn double(number: f64, out: &mut String) {
    let text = format!("{number:?}");
    if number.is_finite() { out.push_str(&text) } else { json::quote(out, &text) }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().take(32).flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

/// As OTLP's JSON writes bytes.
fn base64(bytes: &[u8], out: &mut String) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let letter = LETTERS[bits >> (18 - 6 * at) & 63];
            out.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
}
