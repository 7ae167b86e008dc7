//! The read model: what clients see of the fleet. Answered from memory, never by probing.

use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::name::ServiceName;
use crate::time::{Mono, Wall};
use crate::wish::Mode;

/// The exact state of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Does not run and is not wanted, or a one-shot that is done.
    Stopped,
    /// Is wanted and waits for a dependency, or for its turn.
    Blocked,
    /// The process runs and has not been ready yet.
    Starting,
    /// The process runs and has been ready.
    Running,
    /// Was asked to end; something of it still lives.
    Stopping,
    /// Ended unexpectedly; starts again after a delay.
    Backoff,
    /// Gave up. An operator must act.
    Failed,
    /// Somebody else holds its port: it runs, but Helm did not start it.
    External,
    /// Its directory or program is not there.
    NotInstalled,
}

impl State {
    /// Every state, in the order of the documentation.
    pub const ALL: [State; 9] = [
        State::Stopped,
        State::Blocked,
        State::Starting,
        State::Running,
        State::Stopping,
        State::Backoff,
        State::Failed,
        State::External,
        State::NotInstalled,
    ];

    /// The name on every wire and in every table.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Stopped => "stopped",
            State::Blocked => "blocked",
            State::Starting => "starting",
            State::Running => "running",
            State::Stopping => "stopping",
            State::Backoff => "backoff",
            State::Failed => "failed",
            State::External => "external",
            State::NotInstalled => "not_installed",
        }
    }

    /// The seed's word for `status` (contract 5.3): `running`, `stopped`, `error` or `unknown`.
    /// The one table that CLI, API and database share.
    pub fn seed_word(self) -> &'static str {
        match self {
            State::Running | State::External | State::Starting | State::Stopping => "running",
            State::Stopped | State::Blocked => "stopped",
            State::Backoff | State::Failed => "error",
            State::NotInstalled => "unknown",
        }
    }
}

/// Health as probes see it. The words are the seed's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Works.
    Healthy,
    /// Works, and says that something is wrong.
    Degraded,
    /// Answers that it does not work, or a liveness probe failed.
    Unhealthy,
    /// Does not answer.
    Unreachable,
    /// Too early to say.
    Starting,
    /// Does not run, or has nothing to ask.
    Unknown,
}

impl Health {
    /// The name on every wire and in every table.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Degraded => "degraded",
            Health::Unhealthy => "unhealthy",
            Health::Unreachable => "unreachable",
            Health::Starting => "starting",
            Health::Unknown => "unknown",
        }
    }
}

/// Who holds a port that a service of ours wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its pid, where it can be seen.
    pub pid: Option<u32>,
    /// Its command line, where it can be read.
    pub command: Option<String>,
    /// The user that owns the listening socket.
    pub uid: Option<u32>,
}

/// Why a blocked service will not start by itself: a person must act on the one at the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// Whom it waits for in the end.
    pub root: ServiceName,
    /// What is with that one: a sentence that begins with its name.
    pub why: String,
    /// Nothing has failed: all that is missing is not installed.
    pub absent: bool,
}

/// One service as everybody sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: ServiceName,
    /// Its state.
    pub state: State,
    /// Why it is in this state, in words ("waits for core (starting)"; "exited with code 7 after 3 s").
    pub reason: String,
    /// It is to run (wish, and no hold).
    pub wanted: bool,
    /// The mode of the running process, else of the wish.
    pub mode: Mode,
    /// The current run.
    pub run: Option<RunId>,
    /// The main process.
    pub pid: Option<u32>,
    /// The configured port.
    pub port: Option<u16>,
    /// The configured address.
    pub url: Option<String>,
    /// Health by the newest probes.
    pub health: Health,
    /// What the probe said ("HTTP 503 from /health: status degraded").
    pub health_message: String,
    /// Latency of the newest probe, in microseconds.
    pub health_latency_us: Option<u64>,
    /// Ready now: a dependent with condition `ready` may start.
    pub ready: bool,
    /// A one-shot that ended with success in this boot.
    pub completed: bool,
    /// Start of the current run.
    pub started_at: Option<Wall>,
    /// Since when it is in this state.
    pub since: Wall,
    /// Restarts after unexpected ends since the last time an operator started it, also past Helm (`external`).
    pub restarts: u32,
    /// How the last run ended.
    pub last_exit: Option<Exit>,
    /// When the next start is due (state `backoff`).
    pub next_start: Option<Mono>,
    /// When its processes are killed, if they do not end before (state `stopping`).
    pub kill_at: Option<Mono>,
    /// For whom it waits (state `blocked`), or who keeps it from stopping.
    pub waits_for: Vec<ServiceName>,
    /// What it waits for will not come by itself (state `blocked`).
    pub stuck: Option<Stuck>,
    /// Who holds the port (state `external`).
    pub holder: Option<Holder>,
    /// What the service says of itself (sd_notify STATUS).
    pub notify_status: Option<String>,
    /// Things worth knowing that do not change the state: outside checks, leftovers, dropped lines.
    pub warnings: Vec<String>,
    /// Counts changes of this record; a stream sends what is newer than what it sent.
    pub revision: u64,
}

/// One run of a service. Unique over the life of a home; the name of its run directory. A pid is never an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub u64);

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for RunId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(RunId)
    }
}
