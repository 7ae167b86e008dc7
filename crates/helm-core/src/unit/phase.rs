//! The phases of a unit. Each variant owns what is true in it, and nothing else.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::watch::Watch;
use crate::exit::Exit;
use crate::name::ServiceName;
use crate::status::{Holder, RunId};
use crate::time::{Mono, Wall};
use crate::wish::Mode;

#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// Nothing lives, and nothing is planned.
    Rest(Rest),
    /// To be started as soon as its gate is open.
    Blocked(Gate),
    /// To be started later.
    Backoff { until: Mono, why: String },
    /// `Effect::Start` is out; only its answer tells whether something lives.
    Launching(Launching),
    /// The main process lives, and is to go on, as far as we know.
    Up(Box<Up>),
    /// On the way to an empty tree.
    Ending(Ending),
    /// Somebody else holds the port.
    External(Box<External>),
}

/// Why it rests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rest {
    /// Not wanted. Starts as soon as it is.
    Stopped { why: String },
    /// A one-shot that succeeded. Starts only when asked.
    Done { why: String },
    /// Gave up. Starts only when asked.
    Failed { why: String },
    /// Directory or program is missing. Starts only when asked.
    NotInstalled { why: String },
}

/// May it start?
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Not looked at yet in this step.
    Unknown,
    /// Go.
    Open,
    /// These are not there yet: who, and in words.
    Waits(Vec<(ServiceName, String)>),
    /// As many as allowed are starting.
    Turn,
    /// Whether a run of it lives is not known: its keeper has not answered since helmd came. Also of what is not wanted.
    Silent,
}

#[derive(Debug, Clone)]
pub(super) struct Launching {
    pub(super) run: RunId,
    pub(super) mode: Mode,
    pub(super) since: Mono,
    /// When a start without an answer is (again) ended.
    pub(super) kill_at: Mono,
    /// Start anew as soon as it runs: somebody asked for a restart.
    pub(super) restart: bool,
}

/// A run whose exec has succeeded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) mode: Mode,
    pub(super) started: Mono,
    pub(super) started_wall: Wall,
    /// Started by another definition than the present one.
    pub(super) outdated: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Up {
    pub(super) run: Run,
    pub(super) pid: u32,
    pub(super) watch: Watch,
    pub(super) notify_status: Option<String>,
    /// It must have been ready by then.
    pub(super) ready_by: Option<Mono>,
    /// Until then it holds a place among the starting ones, if it is not ready before.
    pub(super) slot_until: Mono,
    pub(super) restart: bool,
    /// It is to stop, and these dependents must stop first.
    pub(super) held_by: Vec<ServiceName>,
}

impl Up {
    /// Until when it holds a place among the starting ones.
    pub(super) fn slot(&self) -> Option<Mono> {
        (!self.watch.has_been_ready()).then_some(self.slot_until)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) run: Run,
    pub(super) main: Main,
    pub(super) cause: Cause,
    /// It was healthy for long enough: the next start needs no delay.
    pub(super) proven: bool,
    /// When the whole tree is (again) killed.
    pub(super) kill_at: Mono,
    pub(super) kills: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Main {
    Lives { pid: u32 },
    Gone { exit: Exit, at: Mono },
}

/// Why a run ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cause {
    /// Somebody wanted it to stop.
    Asked,
    /// Somebody wanted a new run.
    Restart,
    /// It was not well.
    Sick(String),
    /// By itself.
    Own,
}

impl Ending {
    /// `exited with code 7 after 3 s`
    pub(super) fn story(&self) -> String {
        match (&self.cause, self.main) {
            (Cause::Sick(why), _) => why.clone(),
            (Cause::Asked | Cause::Restart | Cause::Own, Main::Gone { exit, at }) => {
                exit_words(exit, at.since(self.run.started))
            }
            (Cause::Asked | Cause::Restart | Cause::Own, Main::Lives { .. }) => "was asked to end".into(),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct External {
    /// Id of the run that was to start; probes answer under it.
    pub(super) run: RunId,
    pub(super) holder: Holder,
    pub(super) watch: Watch,
}

pub(crate) fn exit_words(exit: Exit, after: Duration) -> String {
    let after = span(after);
    match exit {
        Exit::Code(code) => format!("exited with code {code} after {after}"),
        Exit::Signal(_) => format!("was ended by {exit} after {after}"),
        Exit::Unknown => format!("ended after {after}, nobody knows how"),
    }
}

/// `0.4 s`, `3 s`, `2 min`, `5 h`, `3 d`: one number is enough for a tired person.
pub(crate) fn span(time: Duration) -> String {
    let secs = time.as_secs();
    match secs {
        0 => format!("0.{} s", time.subsec_millis() / 100),
        1..120 => format!("{secs} s"),
        120..7_200 => format!("{} min", secs / 60),
        7_200..172_800 => format!("{} h", secs / 3_600),
        172_800.. => format!("{} d", secs / 86_400),
    }
}
