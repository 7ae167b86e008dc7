//! How a body would be read: `?dry_run=1`. Nothing is kept.

use std::borrow::Cow;

use helm_lines::sent::{Field, Sent, SentEntry, Verdict, repair};
use helm_lines::{json, write_time};

use crate::{Asked, BodyError, Decoded, Format, Record, decode};

/// Most entries that are shown.
const SHOWN: usize = 100;

/// Reads a body, and tells as JSON what would be kept of it, with what was mended and why. The first 100 entries are shown.
pub fn explain(format: Format, asked: &Asked<'_>, body: &[u8]) -> Result<String, BodyError> {
    let decoded = decode(format, asked, body)?;
    let mut out = String::from(r#"{"dry_run":true,"format":"#);
    json::quote(&mut out, format.word());
    out.push_str(&format!(
        r#","total":{},"invalid_utf8":{},"entries":["#,
        decoded.total, decoded.invalid_utf8
    ));
    let mut refused: Vec<(u32, String)> = decoded
        .rejected
        .iter()
        .map(|rejected| (rejected.index, rejected.reason.clone().into_owned()))
        .collect();
    let mut shown = 0;
    for record in &decoded.records {
        match repair(sent(record), asked.arrived) {
            Verdict::Refused(refusal) => refused.push((record.index, refusal.to_string())),
            Verdict::Ok(entry) if shown < SHOWN => push(&mut out, &mut shown, &decoded, record, &entry, &[]),
            Verdict::Repaired(entry, reasons) if shown < SHOWN => {
                let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                push(&mut out, &mut shown, &decoded, record, &entry, &reasons);
            }
            Verdict::Ok(_) | Verdict::Repaired(..) => {}
        }
    }
    refused.sort();
    out.push_str(r#"],"rejected":["#);
    for (at, (index, reason)) in refused.iter().take(SHOWN).enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        out.push_str(&format!(r#"{{"index":{index},"reason":"#));
        json::quote(&mut out, reason);
        out.push('}');
    }
    out.push_str(&format!(r#"],"rejected_total":{}}}"#, refused.len()));
    Ok(out)
}

fn push(
    out: &mut String,
    shown: &mut usize,
    decoded: &Decoded,
    record: &Record,
    entry: &SentEntry,
    reasons: &[String],
) {
    out.push_str(if *shown == 0 { "" } else { "," });
    *shown += 1;
    let body = &entry.body;
    let service = if record.service.is_empty() { &decoded.service } else { &record.service };
    out.push_str(&format!(r#"{{"index":{}"#, record.index));
    field(out, "service", service);
    match body.source_time {
        Some(at) => field(out, "timestamp", &write_time(at)),
        None => out.push_str(r#","timestamp":null"#),
    }
    field(out, "level", body.level.seed());
    field(out, "message", &body.message);
    for (name, value) in
        [("trace_id", &body.trace_id), ("user_id", &body.user_id), ("hostname", &entry.hostname)]
    {
        if let Some(value) = value {
            field(out, name, value);
        }
    }
    if let Some(id) = entry.process_id {
        out.push_str(&format!(r#","process_id":{id}"#));
    }
    out.push_str(&format!(r#","context":{},"mended":["#, body.context_json()));
    for (at, reason) in reasons.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        json::quote(out, reason);
    }
    out.push_str("]}");
}

fn field(out: &mut String, name: &str, value: &str) {
    out.push_str(&format!(r#","{name}":"#));
    json::quote(out, value);
}

/// As helmd takes a record.
fn sent(record: &Record) -> Sent<'_> {
    fn text(text: &str) -> Field<'_> {
        if text.is_empty() { Field::Absent } else { Field::Text(Cow::Borrowed(text)) }
    }
    let optional = |field: &'_ Option<String>| {
        field.as_deref().map_or(Field::Absent, |t| Field::Text(Cow::Owned(t.to_owned())))
    };
    Sent {
        level: text(&record.level),
        message: text(&record.message),
        timestamp: record.at_ns.map_or(Field::Absent, |at| Field::Text(Cow::Owned(write_time(at)))),
        trace_id: optional(&record.trace_id),
        user_id: optional(&record.user_id),
        hostname: optional(&record.hostname),
        process_id: record.process_id.map_or(Field::Absent, |id| Field::Text(Cow::Owned(id.to_string()))),
        context: text(&record.context_json),
        more: Vec::new(),
    }
}
