//! What is wrong with a home, by which evidence, and the command that mends it.
//!
//! Facts come in, findings come out; `helmd/src/doctor` gathers the facts, `helmctl doctor` shows what came of them. What
//! each finding means: docs/doctor.md.

mod certificate;
mod database;
mod ecosystem;
mod files;
mod helmd;
mod host;
mod id;
mod key;
mod neighbours;
mod running;
mod service;
mod shell;
mod units;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::name::ServiceName;
use crate::secret::without_passwords;
use crate::status::{Health, State};
use crate::time::Wall;

pub use certificate::{Certificate, CertificateState};
pub use database::{
    Database, Kind as DatabaseKind, Place as DatabasePlace, Refused, Settings as DatabaseSettings,
    with_percent_signs,
};
pub use ecosystem::{Java, REALM, Realm};
pub use files::{Directory, Open, Owned, Secret};
pub use helmd::{Helmds, Process};
pub use host::{Clock, Disk, Forbidden, Holding, Port};
pub use id::{Area, Id};
pub use key::{KeyFile, KeyPair};
pub use neighbours::{HelmUrl, Outside};
pub use running::{Output, Run};
pub use service::{Copy, Executable, Interpreter, Origin, ServiceFiles};
pub use shell::{Hands, edit, quoted};
pub use units::{OldUnit, UnitUser, Units, difference};

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Something does not work, or what is secret is open.
    Fault,
    /// It works, and will not for long, or not as it was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which kind.
    pub id: Id,
    /// Of which service.
    pub service: Option<ServiceName>,
    /// How much it matters.
    pub weight: Weight,
    /// In one line.
    pub what: String,
    /// What was seen.
    pub evidence: Vec<String>,
    /// The command that mends it.
    pub mend: Option<String>,
    /// What `--fix` would do about it.
    pub fix: Option<Fix>,
}

impl Finding {
    /// Something does not work.
    pub fn fault(id: Id, what: impl Into<String>) -> Self {
        Self::new(id, Weight::Fault, what.into())
    }

    /// It works, for now.
    pub fn warning(id: Id, what: impl Into<String>) -> Self {
        Self::new(id, Weight::Warning, what.into())
    }

    fn new(id: Id, weight: Weight, what: String) -> Self {
        Self { id, service: None, weight, what, evidence: Vec::new(), mend: None, fix: None }
    }

    /// It is about this service.
    #[must_use]
    pub fn of(mut self, service: &ServiceName) -> Self {
        self.service = Some(service.clone());
        self
    }

    /// By what it was seen. Command lines, output and messages of others are among it: no password is shown.
    #[must_use]
    pub fn seen(mut self, evidence: impl AsRef<str>) -> Self {
        self.evidence.push(without_passwords(evidence.as_ref()).into_owned());
        self
    }

    /// What mends it.
    #[must_use]
    pub fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend = Some(command.into());
        self
    }

    /// What `--fix` would do.
    #[must_use]
    pub fn fixed_by(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }
}

/// What `--fix` does after asking: nothing that touches data, and nothing that ends a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fix {
    /// Take every right from all but the owner of a file.
    Close {
        /// The file.
        path: String,
    },
    /// Remove a socket that nobody listens at.
    RemoveSocket {
        /// The socket.
        path: String,
    },
    /// Make the directory that a link of the home leads to.
    MakeDirectory {
        /// Which.
        path: String,
    },
    /// Put a service's own services.json in its place.
    CopyRegistry {
        /// Whose.
        service: ServiceName,
    },
    /// Let the user's units run without a login.
    EnableLinger {
        /// The user.
        user: String,
    },
}

/// What is asked before, and said afterwards.
impl std::fmt::Display for Fix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fix::Close { path } => write!(f, "make {path} readable for its owner only"),
            Fix::RemoveSocket { path } => write!(f, "remove {path}, where nobody listens"),
            Fix::MakeDirectory { path } => write!(f, "make the directory {path}"),
            Fix::CopyRegistry { service } => write!(f, "write services.json into the directory of {service}"),
            Fix::EnableLinger { user } => write!(f, "enable linger for {user}"),
        }
    }
}

/// What helmctl tells the program that looks: it alone can ask a helmd.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    /// How the operator calls helmctl for this home.
    pub helmctl: String,
    /// What the helmd of this home says of itself.
    pub daemon: Daemon,
}

/// Whether a helmd runs for the home.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Daemon {
    /// None holds it.
    Absent,
    /// One holds it, and does not answer.
    Silent {
        /// Its pid, as the lock file says; 0: not known.
        pid: u32,
        /// In words.
        why: String,
    },
    /// It answers.
    Answers(Told),
}

/// What a helmd says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Of its services.
    pub services: Vec<ToldService>,
    /// Of its store: why the log cannot be written, where it cannot.
    pub store: Option<String>,
}

/// What helmd says of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToldService {
    /// Which.
    pub name: ServiceName,
    /// Its state.
    pub state: State,
    /// Why.
    pub reason: String,
    /// Its health.
    pub health: Health,
    /// What the newest probe said.
    pub health_message: String,
    /// Its main process.
    pub pid: Option<u32>,
    /// How the last run ended.
    pub last_exit: Option<String>,
    /// For whom it waits.
    pub waits_for: Vec<ServiceName>,
    /// It runs in production.
    pub production: bool,
    /// Since when it is in this state.
    pub since: Wall,
    /// Start of the current run.
    pub started: Option<Wall>,
}

impl Daemon {
    /// What it says of a service.
    pub fn service(&self, name: &ServiceName) -> Option<&ToldService> {
        match self {
            Daemon::Answers(told) => told.services.iter().find(|service| service.name == *name),
            Daemon::Absent | Daemon::Silent { .. } => None,
        }
    }

    /// What it waits for is in the end not installed.
    pub fn waits_for_absent(&self, name: &ServiceName) -> bool {
        let (mut queue, mut seen) = (vec![name], BTreeSet::new());
        while let Some(next) = queue.pop() {
            let Some(told) = self.service(next).filter(|_| seen.insert(next)) else { continue };
            match told.state {
                State::NotInstalled => return true,
                State::Blocked => queue.extend(&told.waits_for),
                State::Stopped
                | State::Starting
                | State::Running
                | State::Stopping
                | State::Backoff
                | State::Failed
                | State::External => {}
            }
        }
        false
    }

    /// A process of this service is there.
    pub fn runs(&self, name: &ServiceName) -> bool {
        self.service(name).is_some_and(|service| service.pid.is_some())
    }
}

/// One line of what `helmd doctor` writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// This is being looked at now.
    Check(String),
    /// This was found.
    Finding(Box<Finding>),
    /// This was done.
    Fixed(String),
    /// This could not be done, and why.
    NotFixed(String),
    /// Everything was looked at; so many checks.
    Done(u32),
    /// Nothing could be looked at, and why.
    Failed(String),
    /// There is no such service; the one that was probably meant.
    Unknown(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_shows_no_password() {
        let found = Finding::fault(Id::PortHeld, "x").seen("pid 7: psql postgresql://u:hush@h/d");
        assert_eq!(found.evidence, ["pid 7: psql postgresql://u:********@h/d"]);
    }

    #[test]
    fn findings_survive_the_way_to_helmctl() {
        let finding = Finding::warning(Id::StaleSocket, "a socket").seen("/s").mend("rm /s");
        let line = Line::Finding(Box::new(finding.fixed_by(Fix::RemoveSocket { path: "/s".into() })));
        let text = serde_json::to_string(&line).unwrap();
        assert!(text.contains(r#""id":"stale-socket""#), "{text}");
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
    }
}
