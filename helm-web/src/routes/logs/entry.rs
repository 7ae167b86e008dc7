//! A log entry as HiveMatrix knows it (contract 5.3), with what Helm knows beyond that.

use helm_proto::v1::LogEntry;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use crate::routes::when::naive_nanos;

/// A log entry.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LogEntry)]
pub struct Log {
    id: i64,
    /// Its own time; naive UTC, ISO 8601.
    timestamp: String,
    service_name: String,
    /// DEBUG, INFO, WARNING, ERROR or CRITICAL
    level: String,
    /// As it was written; may hold ANSI colours.
    message: String,
    #[schema(value_type = Option<serde_json::Value>)]
    context: Option<Box<RawValue>>,
    trace_id: Option<String>,
    user_id: Option<String>,
    hostname: Option<String>,
    process_id: Option<i32>,
    /// When Helm first saw it; naive UTC.
    received_at: String,
    /// captured, sent, helm or former
    source: String,
    /// stdout or stderr, where it was printed.
    stream: Option<String>,
    /// truncated, multiline, future, invalid-utf8, gap, repaired, twin, continued
    flags: Vec<String>,
}

impl From<LogEntry> for Log {
    fn from(entry: LogEntry) -> Self {
        // What is no JSON (rows of the Python Helm) is shown as text.
        let context = Some(entry.context).filter(|text| !text.is_empty()).and_then(|text| {
            let as_text = to_raw_value(&text);
            // In one line: a stream's events and NDJSON end with the line.
            let text = if text.contains(['\n', '\r']) {
                serde_json::from_str::<serde_json::Value>(&text).map_or(text, |value| value.to_string())
            } else {
                text
            };
            RawValue::from_string(text).or(as_text).ok()
        });
        Self {
            id: entry.id,
            timestamp: naive_nanos(entry.at),
            service_name: entry.service,
            level: entry.level,
            message: entry.message,
            context,
            trace_id: entry.trace_id,
            user_id: entry.user_id,
            hostname: entry.hostname,
            process_id: entry.process_id,
            received_at: naive_nanos(entry.seen),
            source: entry.source,
            stream: Some(entry.stream).filter(|stream| !stream.is_empty()),
            flags: entry.flags,
        }
    }
}

/// Several.
pub(super) fn logs(entries: Vec<LogEntry>) -> Vec<Log> {
    entries.into_iter().map(Log::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_keys_of_the_contract() {
        let entry = LogEntry {
            id: 7,
            at: 1_767_225_600_000_001_000,
            service: "core".into(),
            context: r#"{"a":1}"#.into(),
            ..Default::default()
        };
        let json = serde_json::to_value(Log::from(entry)).unwrap();
        assert_eq!(json["timestamp"], "2026-01-01T00:00:00.000001");
        assert_eq!((&json["context"]["a"], &json["trace_id"]), (&1.into(), &serde_json::Value::Null));
        let former = LogEntry { context: "no json".into(), ..Default::default() };
        assert_eq!(serde_json::to_value(Log::from(former)).unwrap()["context"], "no json");
        assert!(serde_json::to_value(Log::from(LogEntry::default())).unwrap()["context"].is_null());
    }
}
