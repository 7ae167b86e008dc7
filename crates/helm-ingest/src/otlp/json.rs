//! OTLP logs as JSON: lower camel case, 64-bit numbers as text or as numbers, ids in hexadecimal digits.

use std::borrow::Cow;

use helm_lines::json;

use super::{DEEP, DEPTH, LogRecord};
use crate::shared::{ATTRIBUTES_MAX, Shared};
use crate::{Asked, BodyError, Decoded, FOREIGN_MAX, Refusal};

type Object<'a> = Vec<(Cow<'a, str>, &'a str)>;

/// Reads an `ExportLogsServiceRequest`.
pub(crate) fn decode(asked: &Asked<'_>, body: &[u8]) -> Result<Decoded, BodyError> {
    let (text, invalid_utf8) = crate::text(body);
    let request = json::object(&text).ok_or_else(|| crate::hivematrix::not_json(&text))?;
    let service = asked.service.unwrap_or_default().to_owned();
    let mut decoded = Decoded { service, invalid_utf8, ..Decoded::default() };
    for group in list(&request, "resourceLogs", "resource_logs")? {
        let group = object(group, "an OTLP request: `resourceLogs` is a list of objects")?;
        let mut shared = Shared::default();
        if let Some(resource) = field(&group, "resource", "resource").and_then(json::object) {
            attributes(&resource, |key, raw| super::resource(&mut shared, key, raw));
        }
        for logs in list(&group, "scopeLogs", "scope_logs")? {
            let logs = object(logs, "an OTLP request: `scopeLogs` is a list of objects")?;
            records(&logs, &shared, &mut decoded)?;
        }
    }
    Ok(decoded)
}

fn records(logs: &Object<'_>, shared: &Shared, decoded: &mut Decoded) -> Result<(), BodyError> {
    let scope = field(logs, "scope", "scope").and_then(json::object);
    let scope = scope.as_ref().and_then(|scope| json::string(field(scope, "name", "name")?));
    let scope: String = scope.unwrap_or_default().chars().take(256).collect();
    for record in list(logs, "logRecords", "log_records")? {
        let index = decoded.total;
        decoded.total += 1;
        if decoded.total as usize > FOREIGN_MAX {
            return Err(BodyError::TooMany(decoded.total as usize, FOREIGN_MAX));
        }
        let result = match json::object(record) {
            Some(fields) => log_record(&fields).finish(shared, &scope, &decoded.service),
            None => Err(Refusal::NoObject),
        };
        decoded.take(index, result);
    }
    Ok(())
}

fn log_record<'a>(fields: &Object<'a>) -> LogRecord<'a> {
    let get = |camel: &str, snake: &str| field(fields, camel, snake);
    let text = |camel: &str, snake: &str| get(camel, snake).and_then(json::string).unwrap_or_default();
    let mut record = LogRecord {
        time: get("timeUnixNano", "time_unix_nano").map_or(0, integer),
        observed: get("observedTimeUnixNano", "observed_time_unix_nano").map_or(0, integer),
        number: get("severityNumber", "severity_number").map_or(0, severity),
        text: text("severityText", "severity_text"),
        trace: text("traceId", "trace_id").into_owned(),
        span: text("spanId", "span_id").into_owned(),
        event: text("eventName", "event_name"),
        ..LogRecord::default()
    };
    if let Some(body) = get("body", "body") {
        any(body, 0, &mut record.body);
    }
    attributes(fields, |key, raw| record.attribute(key, raw));
    record
}

/// Each attribute of an object that has some; its value as plain JSON.
fn attributes(of: &Object<'_>, mut each: impl FnMut(&str, &str)) {
    let Some((pairs, _)) =
        field(of, "attributes", "attributes").and_then(|raw| json::array(raw, ATTRIBUTES_MAX + 1))
    else {
        return;
    };
    for pair in pairs {
        let Some((key, raw)) = key_value(pair, 0) else { continue };
        each(&key, &raw);
    }
}

fn key_value(pair: &str, depth: usize) -> Option<(String, String)> {
    let pair = json::object(pair)?;
    let key = json::string(field(&pair, "key", "key")?)?.into_owned();
    let mut raw = String::new();
    any(field(&pair, "value", "value").unwrap_or("null"), depth, &mut raw);
    Some((key, raw))
}

/// Appends an `AnyValue` as plain JSON. What is none (some senders write the value itself) is taken as it is.
fn any(value: &str, depth: usize, out: &mut String) {
    let Some(object) = json::object(value) else { return out.push_str(value) };
    let Some((kind, raw)) = object.last() else { return out.push_str("null") };
    match &**kind {
        "arrayValue" | "array_value" | "kvlistValue" | "kvlist_value" if depth >= DEPTH => out.push_str(DEEP),
        // Written anew: `05` is a number as text, and none in JSON.
        "intValue" | "int_value" => match json::string(raw).and_then(|digits| digits.parse::<i64>().ok()) {
            Some(number) => out.push_str(&number.to_string()),
            None => out.push_str(raw),
        },
        "arrayValue" | "array_value" => {
            out.push('[');
            for (at, element) in values(raw).into_iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                any(element, depth + 1, out);
            }
            out.push(']');
        }
        "kvlistValue" | "kvlist_value" => {
            out.push('{');
            for (at, (key, raw)) in
                values(raw).into_iter().filter_map(|pair| key_value(pair, depth + 1)).enumerate()
            {
                out.push_str(if at == 0 { "" } else { "," });
                json::quote(out, &key);
                out.push(':');
                out.push_str(&raw);
            }
            out.push('}');
        }
        "stringValue" | "string_value" | "boolValue" | "bool_value" | "doubleValue" | "double_value"
        | "bytesValue" | "bytes_value" => out.push_str(raw),
        _ => out.push_str(value),
    }
}

/// The list `values` of an object.
fn values(raw: &str) -> Vec<&str> {
    let object = json::object(raw).unwrap_or_default();
    let values = field(&object, "values", "values").and_then(|raw| json::array(raw, json::FIELDS_MAX));
    values.map(|(values, _)| values).unwrap_or_default()
}

fn object<'a>(raw: &'a str, what: &'static str) -> Result<Object<'a>, BodyError> {
    json::object(raw).ok_or(BodyError::Shape(what))
}

/// A field by either spelling; `null` counts as absent.
fn field<'a>(object: &Object<'a>, camel: &str, snake: &str) -> Option<&'a str> {
    let found = object.iter().rev().find(|(key, _)| key == camel || key == snake);
    found.map(|(_, raw)| *raw).filter(|raw| *raw != "null")
}

fn list<'a>(object: &Object<'a>, camel: &str, snake: &str) -> Result<Vec<&'a str>, BodyError> {
    let Some(raw) = field(object, camel, snake) else { return Ok(Vec::new()) };
    let (elements, count) = json::array(raw, FOREIGN_MAX)
        .ok_or(BodyError::Shape("an OTLP request: `resourceLogs`, `scopeLogs` and `logRecords` are lists"))?;
    if count > FOREIGN_MAX { Err(BodyError::TooMany(count, FOREIGN_MAX)) } else { Ok(elements) }
}

fn integer(raw: &str) -> i64 {
    json::string(raw).as_deref().unwrap_or(raw).parse().unwrap_or(0)
}

/// The number, or its name in the definition (`SEVERITY_NUMBER_WARN2`).
fn severity(raw: &str) -> i64 {
    let Some(name) = json::string(raw) else { return integer(raw) };
    let Some(word) = name.strip_prefix("SEVERITY_NUMBER_") else { return integer(raw) };
    let level = helm_lines::Level::parse(word.trim_end_matches(['2', '3', '4']));
    level.map_or(0, |level| i64::from(level.severity()))
}
