//! `services.json` as types: what a service is, how it is started, watched and stopped.
//!
//! These are the *resolved* types: defaults of `apps_registry.json` and of Helm are filled in. Reading the files into
//! them, with every fault reported at once, is the work of the modules below:
//!
//! ```text
//! text --tree--> nodes with positions --shape--> raw entries (one table of fields: table, registry, conf)
//!      --resolve--> ServiceSpec --graph--> dependencies, ports, cycles --read--> Reading { config, faults }
//! ```
//!
//! Nothing here stops at the first fault, and nothing here panics, whatever the text.

mod address;
mod change;
mod conf;
mod definition;
mod facts;
mod fault;
mod graph;
mod group;
pub mod guard;
mod helm_web;
mod json;
mod keep;
mod own;
mod plain;
mod probes;
mod program;
mod read;
mod registry;
mod resolve;
mod roles;
mod scalar;
mod schema;
mod shape;
mod start;
mod table;
#[cfg(test)]
mod tests;
mod tree;
mod web;

pub use change::{Changes, FieldChange, Kind, Need, ServiceChange, changes};
pub use conf::{MetricSettings, Settings};
pub use definition::Definition;
pub use fault::{Fault, Severity, nearest};
pub use keep::Keep;
pub use own::own_services_json;
pub use read::{Config, DirectoryEntry, LogPattern, Place, Reading, Source, Sources, read};
pub use schema::schema;
pub use start::{argv, environment, flaskenv};
pub use web::WebSettings;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::ServiceName;

/// One configured service, complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Its name.
    pub name: ServiceName,
    /// What is executed; `None` for a directory entry (a url alone).
    pub program: Option<Program>,
    /// Working directory, absolute.
    pub path: String,
    /// Address for people, probes and other services.
    pub url: Option<String>,
    /// The port it listens on.
    pub port: Option<u16>,
    /// What is listened at for it over its runs, and handed to each of them.
    #[serde(default)]
    pub listen: Vec<SocketAddr>,
    /// Shown in Nexus's side panel.
    pub visible: bool,
    /// Shown to admins only.
    pub admin_only: bool,
    /// Shown to billing and admins only.
    pub billing_or_admin_only: bool,
    /// What must be there before it starts.
    pub depends_on: Vec<Dependency>,
    /// Outside services that are checked once before a start and only warned about (postgresql, neo4j, redis).
    pub outside: Vec<OutsideCheck>,
    /// When to start it again.
    pub restart: RestartPolicy,
    /// How long to wait before that.
    pub backoff: Backoff,
    /// How to stop it.
    pub stop: StopPolicy,
    /// Longest time from exec to ready; `None` waits for ever. When it passes the run is ended and counts as a failure.
    pub start_timeout: Option<Duration>,
    /// Defaults beneath `.flaskenv` (from `apps_registry.json`).
    pub env_defaults: BTreeMap<String, String>,
    /// Extra defaults in one mode only (USE_GUNICORN of Nexus in production …), beneath `.flaskenv` as well.
    pub env_production: BTreeMap<String, String>,
    /// The same for development.
    pub env_development: BTreeMap<String, String>,
    /// File with variables, beside `.flaskenv`, inside `path`.
    pub env_file: Option<String>,
    /// Variables that are `true` in development and `false` in production (Nexus's DEV_MODE). With those that every
    /// service gets (see [`environment`]) they make the mode, and win over everything else.
    #[serde(default)]
    pub mode_flags: Vec<String>,
    /// Variables above `.flaskenv` and `env_file`.
    pub env: BTreeMap<String, String>,
    /// Probes.
    pub probes: Probes,
    /// Resource limits.
    pub limits: Limits,
    /// Log files.
    pub log: LogRules,
}

/// What is executed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// `<path>/<python_bin> <path>/<run_script>`
    Python {
        /// Interpreter inside `path` (default `pyenv/bin/python`).
        python_bin: String,
        /// Script inside `path` (default `run.py`).
        run_script: String,
    },
    /// `start_command`: words, the first one inside `path`.
    StartCommand(Vec<String>),
    /// `command`: any argv. The first word is looked up in PATH, or inside `path` where it contains a `/`.
    Command(Vec<String>),
    /// `"shell": true`: `/bin/sh -c <text>`
    Shell(String),
    /// helm-web, which lies beside helmd, as the service `helm` of the ecosystem.
    HelmWeb {
        /// Where it listens, on both loopback addresses.
        port: u16,
    },
    /// Nothing any more: it is not configured. What runs of it is looked after until it ends. Never read from a file.
    Removed,
}

/// An edge to another service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// On whom.
    pub service: ServiceName,
    /// What must hold.
    pub condition: Condition,
}

/// What must hold of a dependency before its dependent starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Its process runs.
    Started,
    /// It is ready (healthy or degraded count).
    #[default]
    Ready,
    /// Its health is `healthy`.
    Healthy,
    /// It ended with success in this boot.
    Completed,
}

impl Condition {
    /// The name in the files and on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ready => "ready",
            Self::Healthy => "healthy",
            Self::Completed => "completed",
        }
    }
}

/// An outside service: a TCP address that should answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideCheck {
    /// `postgresql`
    pub name: String,
    /// Loopback port.
    pub port: u16,
}

/// When an ended service is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Whenever it ends without having been asked to.
    #[default]
    Always,
    /// When it ends otherwise than with code 0.
    OnFailure,
    /// Never.
    Never,
}

impl RestartPolicy {
    /// The name in the files and on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::OnFailure => "on-failure",
            Self::Never => "never",
        }
    }
}

/// Delay before a restart: `min(max, initial * factor^n)`, with jitter; the first restart after a healthy time is immediate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// First delay.
    pub initial: Duration,
    /// Growth, at least 1.
    pub factor: f64,
    /// Cap; restarts go on for ever at the cap.
    pub max: Duration,
    /// Share of the delay that is random, 0 to 1 (0.2: ±20 %).
    pub jitter: f64,
    /// A run that was ready for this long resets the count.
    pub reset_after: Duration,
    /// Give up (state `failed`) after this many failures in a row.
    pub limit: Option<u32>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(60),
            jitter: 0.2,
            reset_after: Duration::from_secs(10),
            limit: None,
        }
    }
}

/// How a service is stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StopPolicy {
    /// Signal number (default SIGTERM).
    pub signal: i32,
    /// Time from the signal to SIGKILL for the whole tree.
    pub grace: Duration,
}

impl Default for StopPolicy {
    fn default() -> Self {
        Self { signal: 15, grace: Duration::from_secs(10) }
    }
}

/// The three probes. A missing one is not asked.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Probes {
    /// Has it come up?
    pub startup: Option<Probe>,
    /// May others use it?
    pub readiness: Option<Probe>,
    /// Is it stuck?
    pub liveness: Option<Probe>,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// What is asked.
    pub check: Check,
    /// Between the end of one and the start of the next.
    pub interval: Duration,
    /// For one answer.
    pub timeout: Duration,
    /// Failures in a row before it counts.
    pub failures: u32,
    /// Successes in a row before it counts again.
    pub successes: u32,
    /// Before the first one.
    pub initial_delay: Duration,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The seed's three levels, cheapest first: process, port, HTTP; the answer is read as contract 8.3 says.
    Http {
        /// Full address (loopback certificates are not verified).
        url: String,
        /// Paths tried in order until one is not 404/405/401/403/3xx; the last one decides.
        fallback: Vec<String>,
    },
    /// Something listens.
    Tcp {
        /// Loopback or named host.
        host: String,
        /// Port.
        port: u16,
    },
    /// A program in the service's directory and environment; exit 0 is healthy, its last line is the message.
    Exec {
        /// argv
        command: Vec<String>,
    },
    /// A line of output matches (startup: once; readiness: the newest of `pattern` and `unless` decides).
    Log {
        /// Regular expression (crate `regex`: linear time).
        pattern: String,
    },
    /// `READY=1` by sd_notify.
    Notify,
}

/// Resource limits. In force by cgroup where a delegated tree has the controller, else as rlimits where such exist.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes for the whole tree.
    pub memory: Option<u64>,
    /// 1 to 10000, as cpu.weight.
    pub cpu_weight: Option<u32>,
    /// Per cent of one core.
    pub cpu_quota: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Open files of each process (RLIMIT_NOFILE).
    pub nofile: Option<u64>,
    /// Core dump size in bytes (RLIMIT_CORE).
    pub core: Option<u64>,
}

/// How output is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogRules {
    /// A segment is closed at the first line end beyond this many bytes.
    pub segment_bytes: u64,
    /// Oldest segments go when the service's files exceed this.
    pub total_bytes: u64,
    /// Closed segments are compressed.
    pub compress: bool,
    /// How lines become entries of the log.
    pub rule: LineRule,
    /// A regular expression in place of the rule.
    pub pattern: Option<String>,
    /// Class of retention.
    pub class: String,
    /// Access lines of `GET /health` from this host are counted, not stored.
    pub drop_health: bool,
}

/// How the lines of a service are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineRule {
    /// Each by what it looks like.
    #[default]
    Auto,
    /// JSON objects.
    Json,
    /// `key=value`
    Logfmt,
    /// Python's logging.
    Python,
    /// Java: Quarkus, Logback, Log4j.
    Java,
    /// Syslog prefixes.
    Syslog,
    /// Lines and stack traces, nothing read out of them.
    Plain,
    /// Each line as it is.
    None,
}

impl Default for LogRules {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            total_bytes: 512 << 20,
            compress: true,
            rule: LineRule::Auto,
            pattern: None,
            class: "default".to_owned(),
            drop_health: true,
        }
    }
}
