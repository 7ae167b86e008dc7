//! States of services and events of the supervisor, for whoever asks later.

use serde::{Deserialize, Serialize};

use crate::engine::Answer;

/// The latest state of a service, in the seed's words (contract 5.5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusRow {
    /// Name.
    pub service: String,
    /// running, stopped, error, unknown
    pub status: String,
    /// Main process.
    pub pid: Option<i32>,
    /// Its port.
    pub port: Option<i32>,
    /// When it was started, nanoseconds since 1970.
    pub started_at: Option<i64>,
    /// When this was found, likewise.
    pub checked_at: i64,
    /// healthy, degraded, unhealthy, unreachable, starting
    pub health: Option<String>,
    /// In words.
    pub health_message: Option<String>,
    /// Per cent of one core.
    pub cpu_percent: Option<f64>,
    /// MiB of memory.
    pub memory_mb: Option<f64>,
}

/// An event of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// Number in its instance, rising.
    pub id: u64,
    /// When, nanoseconds since 1970.
    pub at: i64,
    /// Name of the service.
    pub service: String,
    /// state, health, exit, wish, warning, incident ...
    pub kind: String,
    /// All of it, as JSON.
    pub body: String,
}

/// What a [`StatusRow`] is read from.
pub(crate) const STATES: &str =
    "service, status, pid, port, started_at, checked_at, health, health_message, cpu_percent, memory_mb";

/// The columns of [`STATES`].
pub(crate) type StateColumns = (
    String,
    String,
    Option<i32>,
    Option<i32>,
    Option<i64>,
    i64,
    Option<String>,
    Option<String>,
    Option<f64>,
    Option<f64>,
);

impl From<StateColumns> for StatusRow {
    fn from(columns: StateColumns) -> Self {
        let (
            service,
            status,
            pid,
            port,
            started_at,
            checked_at,
            health,
            health_message,
            cpu_percent,
            memory_mb,
        ) = columns;
        StatusRow {
            service,
            status,
            pid,
            port,
            started_at,
            checked_at,
            health,
            health_message,
            cpu_percent,
            memory_mb,
        }
    }
}

impl From<(i64, i64, String, String, String)> for EventRow {
    fn from((id, at, service, kind, body): (i64, i64, String, String, String)) -> Self {
        EventRow { id: id.cast_unsigned(), at, service, kind, body }
    }
}

/// Which events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Names of services; empty: all.
    pub services: Vec<String>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// From this time on, inclusive.
    pub since: Option<i64>,
    /// Before this time, exclusive.
    pub until: Option<i64>,
    /// Only with lower numbers: the next page.
    pub before: Option<u64>,
    /// At most so many, the newest.
    pub limit: u32,
}

/// A database of states and events. All calls are about this helmd's instance.
pub trait HistoryEngine: Send + Sync + std::fmt::Debug {
    /// Replaces the states of these services.
    fn put_status<'a>(&'a self, rows: &'a [StatusRow]) -> Answer<'a, ()>;
    /// The states, by service.
    fn states(&self) -> Answer<'_, Vec<StatusRow>>;
    /// Keeps events; those that are there already stay as they are.
    fn put_events<'a>(&'a self, rows: &'a [EventRow]) -> Answer<'a, ()>;
    /// Number of the newest event that is kept; 0 if there is none.
    fn last_event(&self) -> Answer<'_, u64>;
    /// Events, newest first.
    fn events<'a>(&'a self, filter: &'a EventFilter) -> Answer<'a, Vec<EventRow>>;
    /// Takes away events before this time; tells how many.
    fn forget_events(&self, before: i64) -> Answer<'_, u64>;
}
