//! The vocabulary between the pure core and the world: what the shell tells the fleet, and what the fleet wants done.
//!
//! Order of a life: `Effect::Start` -> (`NotInstalled` | `Occupied` | `StartFailed` | `Started`) ->
//! `Probed`/`Notified`* -> `Ended` -> `TreeEmpty`. A run is over only at `TreeEmpty`: nothing new starts before it.
//! News carries its run id; the fleet drops news of a run that is not the current one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::incident::Mishap;
use crate::memory::Memory;
use crate::name::ServiceName;
use crate::status::{Health, Holder, RunId};
use crate::time::{Mono, Wall};
use crate::wish::{Mode, Wishes};

/// What the shell passes in with every event: the clocks and one random draw.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Now {
    /// Monotonic clock, for decisions.
    pub mono: Mono,
    /// Wall clock, for records.
    pub wall: Wall,
    /// 64 random bits, for jitter.
    pub draw: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// All keepers of the home were asked (their `FoundFormer`/`Found`/`FoundEnded`/`Silent` news came before): the fleet
    /// may act.
    Adopted,
    /// The operator's wishes changed. They are recorded already. `restart` names services that are to be restarted
    /// even if they run; `kick` names those whose backoff or failure is cut short.
    Wished {
        /// The wishes as they are now.
        wishes: Wishes,
        /// Restart these (also when running).
        restart: Vec<ServiceName>,
        /// Forget backoff and failure of these: a person asked for them.
        kick: Vec<ServiceName>,
        /// Who asked, for the record ("uid 1000 pid 4711 (helmctl)").
        by: String,
    },
    /// News about a service.
    News(ServiceName, News),
    /// A deadline has come.
    Tick,
}

/// News from the world about one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum News {
    /// Adoption: this run lives.
    Found {
        /// The run.
        run: RunId,
        /// Main process.
        pid: u32,
        /// When it was started.
        started: Mono,
        /// The same on the wall clock.
        started_wall: Wall,
        /// The mode it was started in.
        mode: Mode,
        /// It had been ready.
        ready: bool,
        /// Its main process is gone already (how, and when), only the tree is left.
        ended: Option<(Exit, Mono)>,
        /// Fingerprint of the definition that it was started by; empty where that is not known.
        #[serde(default)]
        definition: String,
    },
    /// Adoption: the last run ended while no helmd was there.
    FoundEnded {
        /// The run.
        run: RunId,
        /// How.
        exit: Exit,
        /// When it was started.
        started: Mono,
        /// When it ended.
        ended: Mono,
        /// The same on the wall clock.
        ended_wall: Wall,
        /// The mode it ran in.
        mode: Mode,
        /// It had been ready.
        ready: bool,
    },
    /// Adoption: how a run ended that was followed by another one. The helmd that saw it may have died before that was
    /// written; ends that were told are not told again. Comes before news of the run that followed.
    FoundFormer {
        /// The run.
        run: RunId,
        /// How.
        exit: Exit,
        /// When it was started.
        started: Mono,
        /// When it ended.
        ended: Mono,
        /// The same on the wall clock.
        ended_wall: Wall,
        /// It had been ready.
        ready: bool,
    },
    /// Adoption: its keeper has not answered yet. What it will find comes later, and then `Answered`; nothing is
    /// started before.
    Silent,
    /// A keeper that was `Silent` has told what it found.
    Answered,
    /// The program runs (exec has succeeded).
    Started {
        /// The run.
        run: RunId,
        /// Main process.
        pid: u32,
    },
    /// It could not be started.
    StartFailed {
        /// The run.
        run: RunId,
        /// What failed, in words, with path and errno.
        reason: String,
        /// Trying again cannot help (no such program, not executable, bad configuration): state `failed`.
        permanent: bool,
    },
    /// Directory or interpreter is not there.
    NotInstalled {
        /// The run.
        run: RunId,
        /// What is missing.
        reason: String,
    },
    /// The port is held by a process that is not ours.
    Occupied {
        /// The run that was to start.
        run: RunId,
        /// Who holds it.
        holder: Holder,
    },
    /// The foreign holder of the port is gone.
    Released,
    /// One probe has answered.
    Probed {
        /// The run that was probed; for an external service the run of its `Occupied`.
        run: RunId,
        /// Which of the probes.
        probe: ProbeKind,
        /// Its answer.
        answer: Answer,
    },
    /// The service said something by sd_notify.
    Notified {
        /// The run.
        run: RunId,
        /// `READY=1`
        ready: bool,
        /// `STOPPING=1`
        stopping: bool,
        /// `STATUS=`
        status: Option<String>,
    },
    /// The service's watchdog was not fed in time.
    WatchdogMissed {
        /// The run.
        run: RunId,
    },
    /// The main process ended; its tree may live on.
    Ended {
        /// The run.
        run: RunId,
        /// How.
        exit: Exit,
        /// When.
        at: Mono,
    },
    /// Nothing of the run is left. `leftovers` processes had outlived the main process.
    TreeEmpty {
        /// The run.
        run: RunId,
        /// How many processes had to be ended after the main process.
        leftovers: u32,
    },
    /// A warning to show beside the state (replaces one of the same `topic`; an empty text takes it away).
    Warning {
        /// What it is about ("output", "outside:postgresql").
        topic: String,
        /// In words.
        text: String,
    },
}

/// Which probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// Until it succeeds once, the others wait.
    Startup,
    /// May dependents start, is it healthy?
    Readiness,
    /// Must it be restarted?
    Liveness,
}

impl ProbeKind {
    /// The name on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ProbeKind::Startup => "startup",
            ProbeKind::Readiness => "readiness",
            ProbeKind::Liveness => "liveness",
        }
    }
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// As read by contract 8.3.
    pub health: Health,
    /// In words.
    pub message: String,
    /// How long the answer took.
    pub latency: Duration,
}

/// Something the fleet wants done. The shell performs effects in order and returns at once; results come as news.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Check directory and port, prepare, start through the keeper.
    Start {
        /// Service.
        service: ServiceName,
        /// The id of the new run.
        run: RunId,
        /// Mode.
        mode: Mode,
    },
    /// Send the service's stop signal (and SIGCONT) to the main process; if that is gone, to what is left of the tree.
    Stop {
        /// Service.
        service: ServiceName,
        /// Run.
        run: RunId,
    },
    /// SIGKILL the whole tree.
    Kill {
        /// Service.
        service: ServiceName,
        /// Run.
        run: RunId,
    },
    /// Begin or go on with this probe (the shell repeats it by its interval until `ProbeOff`).
    ProbeOn {
        /// Service.
        service: ServiceName,
        /// Run.
        run: RunId,
        /// Which.
        probe: ProbeKind,
    },
    /// End this probe.
    ProbeOff {
        /// Service.
        service: ServiceName,
        /// Which.
        probe: ProbeKind,
    },
    /// Tell (`Released`) when the foreign holder lets the port go.
    WatchPort {
        /// Service.
        service: ServiceName,
        /// Run id of the `Occupied`.
        run: RunId,
        /// Who held it.
        holder: Holder,
    },
    /// Forget the foreign holder.
    UnwatchPort {
        /// Service.
        service: ServiceName,
    },
    /// The keeper is not needed any more (the service is not wanted and its tree is empty).
    Retire {
        /// Service.
        service: ServiceName,
    },
    /// Leave this to the next helmd. The newest one counts.
    Remember {
        /// Service.
        service: ServiceName,
        /// What.
        memory: Box<Memory>,
    },
    /// A run ended without having been asked to, or a start came to nothing: gather what tells why.
    Investigate(Box<Mishap>),
    /// Something worth recording has happened.
    Record(Change),
}

/// A change of state with its cause: the event that clients follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Wall,
    /// Service.
    pub service: ServiceName,
    /// What kind.
    pub kind: ChangeKind,
    /// The former word (state or health).
    pub from: String,
    /// The new word.
    pub to: String,
    /// The cause, in words.
    pub cause: String,
    /// The run it is about.
    pub run: Option<RunId>,
    /// Main process.
    pub pid: Option<u32>,
    /// How it ended, where it did.
    pub exit: Option<Exit>,
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The state.
    State,
    /// The health.
    Health,
    /// A main process ended.
    Exit,
    /// The operator's wish.
    Wish,
    /// A warning appeared or went.
    Warning,
    /// Somebody sent its main process a signal through Helm. Recorded by helmd.
    Signal,
    /// An incident was written down. Recorded by helmd.
    Incident,
    /// The database behind the log went, refused or came back. Recorded by helmd under the name `helm`.
    Store,
}

impl ChangeKind {
    /// The name on every wire and in every table.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::State => "state",
            ChangeKind::Health => "health",
            ChangeKind::Exit => "exit",
            ChangeKind::Wish => "wish",
            ChangeKind::Warning => "warning",
            ChangeKind::Signal => "signal",
            ChangeKind::Incident => "incident",
            ChangeKind::Store => "store",
        }
    }
}
