//! What streams are told, serialised once for all of them.

use helm_proto::v1::{self, EventRecord, LogEntry, ServiceStatus};
use helm_shapes::fleet::Event;

use super::asked::Seen;
use crate::routes::jobs::Job;
use crate::routes::logs::entry::Log;
use crate::routes::services::Status;

/// A log entry, serialised.
#[derive(Debug)]
pub struct Line {
    service: String,
    level: String,
    message: String,
    trace_id: Option<String>,
    user_id: Option<String>,
    /// As JSON.
    pub json: String,
}

impl Line {
    /// As filters look at it.
    #[must_use]
    pub fn seen(&self) -> Seen<'_> {
        Seen {
            service: &self.service,
            level: &self.level,
            message: &self.message,
            trace_id: self.trace_id.as_deref(),
            user_id: self.user_id.as_deref(),
        }
    }
}

impl From<LogEntry> for Line {
    fn from(entry: LogEntry) -> Self {
        Self {
            service: entry.service.clone(),
            level: entry.level.clone(),
            message: entry.message.clone(),
            trace_id: entry.trace_id.clone(),
            user_id: entry.user_id.clone(),
            json: json(&Log::from(entry)),
        }
    }
}

/// How a service is, serialised.
#[derive(Debug)]
pub struct Shown {
    /// Its name.
    pub service: String,
    /// All of it, as JSON.
    pub whole: String,
    /// Name and state alone, as JSON.
    pub little: String,
    /// What it uses, as JSON.
    pub numbers: String,
    /// The same, to be compared.
    pub(super) status: ServiceStatus,
}

impl From<ServiceStatus> for Shown {
    fn from(status: ServiceStatus) -> Self {
        let little = serde_json::json!({
            "service_name": status.name, "status": status.status, "state": status.state,
        });
        let numbers = serde_json::json!({
            "service_name": status.name, "cpu_percent": status.cpu_percent, "memory_bytes": status.memory_bytes,
        });
        Self {
            service: status.name.clone(),
            whole: json(&Status::from(status.clone())),
            little: little.to_string(),
            numbers: numbers.to_string(),
            status,
        }
    }
}

/// An operation, serialised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownJob {
    /// What it is about; empty: all services.
    pub names: Vec<String>,
    /// It has ended.
    pub over: bool,
    /// As JSON.
    pub json: String,
}

impl From<v1::Job> for ShownJob {
    fn from(job: v1::Job) -> Self {
        Self { names: job.names.clone(), over: job.ended_at.is_some(), json: json(&Job::from(job)) }
    }
}

/// Whether only numbers differ.
pub(super) fn is_same_state(one: &ServiceStatus, other: &ServiceStatus) -> bool {
    let without = |status: &ServiceStatus| ServiceStatus {
        cpu_percent: None,
        memory_bytes: None,
        uptime_seconds: None,
        health_latency_us: None,
        next_start_ms: None,
        kill_in_ms: None,
        revision: 0,
        ..status.clone()
    };
    without(one) == without(other)
}

/// What happened, as JSON.
pub(super) fn event_json(record: &EventRecord) -> String {
    json(&Event::from(record.clone()))
}

fn json(value: &impl serde::Serialize) -> String {
    // These shapes hold nothing that JSON cannot.
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}
