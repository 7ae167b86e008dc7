//! What can be allowed.

/// Something that is done with services, by helmd for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Names and states.
    Services,
    /// All that a status says.
    Status,
    /// What happened.
    Events,
    /// Unexpected ends, and why something is as it is.
    Incidents,
    /// Log entries.
    Logs,
    /// How many log entries there are, by service, level and time.
    Counts,
    /// What services printed, and their processes.
    Output,
    /// Numbers over time.
    Metrics,
    /// Start, stop, restart.
    Operate,
    /// Send log entries.
    Ingest,
    /// Send numbers.
    IngestMetrics,
    /// All numbers as they are now, for Prometheus.
    Scrape,
    /// Read, apply and take back configurations; retention.
    Configuration,
    /// With what a service is started.
    Environment,
    /// Who changed what; the proof of the log.
    Audit,
    /// API tokens and sessions.
    Access,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Services,
        Self::Status,
        Self::Events,
        Self::Incidents,
        Self::Logs,
        Self::Counts,
        Self::Output,
        Self::Metrics,
        Self::Operate,
        Self::Ingest,
        Self::IngestMetrics,
        Self::Scrape,
        Self::Configuration,
        Self::Environment,
        Self::Audit,
        Self::Access,
    ];

    /// The word on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Status => "status",
            Self::Events => "events",
            Self::Incidents => "incidents",
            Self::Logs => "logs",
            Self::Counts => "counts",
            Self::Output => "output",
            Self::Metrics => "metrics",
            Self::Operate => "operate",
            Self::Ingest => "ingest",
            Self::IngestMetrics => "ingest_metrics",
            Self::Scrape => "scrape",
            Self::Configuration => "configuration",
            Self::Environment => "environment",
            Self::Audit => "audit",
            Self::Access => "access",
        }
    }

    /// It concerns no service in particular: who may not do it of all may not do it.
    pub(super) fn is_of_all(self) -> bool {
        matches!(self, Self::Configuration | Self::Audit | Self::Access)
    }

    /// For a sentence: "a client may not ... of `core`".
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Services => "see the state",
            Self::Status => "see the status",
            Self::Events => "see events",
            Self::Incidents => "see incidents",
            Self::Logs => "read the log",
            Self::Counts => "see counts of the log",
            Self::Output => "read the output",
            Self::Metrics => "read numbers",
            Self::Operate => "start, stop or restart services",
            Self::Ingest => "send log entries",
            Self::IngestMetrics => "send numbers",
            Self::Scrape => "read numbers for Prometheus",
            Self::Configuration => "see or change the configuration",
            Self::Environment => "see the environment",
            Self::Audit => "see the audit trail",
            Self::Access => "see or change tokens and sessions",
        }
    }
}
