//! What others and clients see of a unit.

use super::phase::{Cause, Ending, External, Gate, Main, Phase, Rest, Up};
use super::watch::Reading;
use super::{HOPELESS_KILLS, Unit};
use crate::name::ServiceName;
use crate::spec::{Condition, ServiceSpec};
use crate::status::{Health, Holder, RunId, ServiceStatus, State, Stuck};
use crate::time::{Mono, Wall};
use crate::wish::Mode;

/// Of a service that runs, or ran until a moment ago.
const REMOVED: &str = "not in the configuration in force";

/// What the fleet must know of a unit to decide about others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) state: State,
    /// It is asked to end and has not ended yet; what it depends on waits for that.
    pub(crate) leaving: bool,
    started: bool,
    ready: bool,
    health: Health,
    completed: bool,
}

impl View {
    /// Does `condition` hold of it? One that is about to end is not there; a one-shot that is done has been there.
    pub(crate) fn satisfies(&self, condition: Condition) -> bool {
        self.completed
            || !self.leaving
                && match condition {
                    Condition::Started => self.started,
                    Condition::Ready => self.ready,
                    Condition::Healthy => self.ready && self.health == Health::Healthy,
                    Condition::Completed => false,
                }
    }

    /// What keeps it from satisfying `condition`, in a word or two.
    pub(crate) fn lack(&self, condition: Condition) -> String {
        let state = self.state.as_str();
        match (self.state, condition) {
            (State::Running | State::External, _) if self.leaving => "stopping".into(),
            (State::Running | State::External, Condition::Completed) => format!("{state}, must complete"),
            (State::Running | State::External, _) if !self.ready => format!("{state}, not ready"),
            (State::Running | State::External, Condition::Healthy) => {
                format!("{state}, {}", self.health.as_str())
            }
            (
                State::Stopped
                | State::Blocked
                | State::Starting
                | State::Running
                | State::Stopping
                | State::Backoff
                | State::Failed
                | State::External
                | State::NotInstalled,
                _,
            ) => state.into(),
        }
    }
}

impl Unit {
    pub(crate) fn view(&self) -> View {
        let process = match &self.phase {
            Phase::Launching(_) | Phase::Up(_) => true,
            Phase::Ending(ending) => ending.kills < HOPELESS_KILLS,
            Phase::Rest(_) | Phase::Blocked(_) | Phase::Backoff { .. } | Phase::External(_) => false,
        };
        let asked = match &self.phase {
            Phase::Ending(ending) => !self.wanted || matches!(ending.cause, Cause::Asked | Cause::Restart),
            Phase::Rest(_)
            | Phase::Blocked(_)
            | Phase::Backoff { .. }
            | Phase::Launching(_)
            | Phase::Up(_)
            | Phase::External(_) => self.is_to_stop(),
        };
        View {
            state: self.state(),
            leaving: process && asked,
            started: matches!(self.phase, Phase::Up(_) | Phase::External(_)),
            ready: self.ready(),
            health: self.reading().health,
            completed: matches!(self.phase, Phase::Rest(Rest::Done { .. })),
        }
    }

    pub(super) fn state(&self) -> State {
        match &self.phase {
            Phase::Rest(rest) => rest.state(),
            Phase::Blocked(_) => State::Blocked,
            Phase::Backoff { .. } => State::Backoff,
            Phase::Launching(_) => State::Starting,
            Phase::Up(up) if up.watch.has_been_ready() => State::Running,
            Phase::Up(_) => State::Starting,
            Phase::Ending(_) => State::Stopping,
            Phase::External(_) => State::External,
        }
    }

    fn ready(&self) -> bool {
        match &self.phase {
            Phase::Up(up) => up.watch.is_ready(),
            Phase::External(external) => external.watch.is_ready(),
            Phase::Rest(_)
            | Phase::Blocked(_)
            | Phase::Backoff { .. }
            | Phase::Launching(_)
            | Phase::Ending(_) => false,
        }
    }

    pub(super) fn reading(&self) -> &Reading {
        match &self.phase {
            Phase::Up(up) => up.watch.reading(),
            Phase::External(external) => external.watch.reading(),
            Phase::Rest(_)
            | Phase::Blocked(_)
            | Phase::Backoff { .. }
            | Phase::Launching(_)
            | Phase::Ending(_) => Reading::none(),
        }
    }

    /// The run that lives, or may live.
    pub(super) fn run(&self) -> Option<RunId> {
        match &self.phase {
            Phase::Launching(launching) => Some(launching.run),
            Phase::Up(up) => Some(up.run.id),
            Phase::Ending(ending) => Some(ending.run.id),
            Phase::Rest(_) | Phase::Blocked(_) | Phase::Backoff { .. } | Phase::External(_) => None,
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        match &self.phase {
            Phase::Up(up) => Some(up.pid),
            Phase::Ending(Ending { main: Main::Lives { pid }, .. }) => Some(*pid),
            Phase::External(external) => external.holder.pid,
            Phase::Ending(_)
            | Phase::Launching(_)
            | Phase::Rest(_)
            | Phase::Blocked(_)
            | Phase::Backoff { .. } => None,
        }
    }

    fn started_at(&self) -> Option<Wall> {
        match &self.phase {
            Phase::Up(up) => Some(up.run.started_wall),
            Phase::Ending(ending) => Some(ending.run.started_wall),
            Phase::Launching(_)
            | Phase::Rest(_)
            | Phase::Blocked(_)
            | Phase::Backoff { .. }
            | Phase::External(_) => None,
        }
    }

    fn running_mode(&self) -> Mode {
        match &self.phase {
            Phase::Launching(launching) => launching.mode,
            Phase::Up(up) => up.run.mode,
            Phase::Ending(ending) => ending.run.mode,
            Phase::Rest(_) | Phase::Blocked(_) | Phase::Backoff { .. } | Phase::External(_) => self.wish.mode,
        }
    }

    /// What this one is to those that wait for it, if it will not come by itself: not before a person acts.
    pub(crate) fn dead_end(&self) -> Option<Stuck> {
        let name = self.name();
        let (absent, why) = match &self.phase {
            Phase::Rest(Rest::NotInstalled { why }) => (true, format!("{name} is not installed ({why})")),
            Phase::Rest(Rest::Failed { why }) => (false, format!("{name} has failed ({why})")),
            Phase::Rest(Rest::Stopped { .. }) if self.spec.program.is_none() => {
                (false, format!("{name} is an entry of the directory, without a program"))
            }
            // Were it wanted, it would have gone on in this step.
            Phase::Rest(Rest::Stopped { why }) => (false, format!("{name} is not to run ({why})")),
            Phase::Rest(Rest::Done { .. })
            | Phase::Blocked(_)
            | Phase::Backoff { .. }
            | Phase::Launching(_)
            | Phase::Up(_)
            | Phase::Ending(_)
            | Phase::External(_) => return None,
        };
        Some(Stuck { root: name.clone(), why, absent })
    }

    /// For whom it waits before it can start.
    pub(crate) fn lacks(&self) -> &[(ServiceName, String)] {
        if let Phase::Blocked(Gate::Waits(whom)) = &self.phase { whom } else { &[] }
    }

    fn waits_for(&self) -> Vec<ServiceName> {
        match &self.phase {
            Phase::Blocked(Gate::Waits(whom)) => whom.iter().map(|(name, _)| name.clone()).collect(),
            Phase::Up(up) => up.held_by.clone(),
            Phase::Blocked(Gate::Unknown | Gate::Open | Gate::Turn | Gate::Silent)
            | Phase::Rest(_)
            | Phase::Backoff { .. }
            | Phase::Launching(_)
            | Phase::Ending(_)
            | Phase::External(_) => Vec::new(),
        }
    }

    fn reason(&self) -> String {
        match &self.phase {
            Phase::Rest(rest) if self.spec.is_removed() => format!("{}; {REMOVED}", rest.why()),
            Phase::Rest(rest) => rest.why().into(),
            Phase::Blocked(gate) => match &self.stuck {
                Some(stuck) => format!("not started: {}", stuck.why),
                None => gate.words(),
            },
            Phase::Backoff { why, .. } => why.clone(),
            Phase::Launching(_) if self.is_to_stop() => {
                format!("is being started; {} asked to end it", self.by)
            }
            Phase::Launching(_) => "is being started".into(),
            Phase::Up(up) => self.up_reason(up),
            Phase::Ending(ending) => ending.words(&self.by),
            Phase::External(external) => external.words(self.spec.port),
        }
    }

    fn up_reason(&self, up: &Up) -> String {
        if !up.held_by.is_empty() {
            return format!("is to stop after {}", list(up.held_by.iter().map(ServiceName::to_string)));
        }
        let message = &up.watch.reading().message;
        let what = match (up.watch.is_ready(), up.watch.is_leaving(), up.watch.has_been_ready()) {
            (_, true, _) => return "says that it is stopping".into(),
            (true, false, _) => return "ready".into(),
            (false, false, true) => "not ready any more",
            (false, false, false) => "not ready yet",
        };
        if message.is_empty() { what.into() } else { format!("{what}: {message}") }
    }

    /// The newest status, composed if something has changed. `revision` is counted up if it differs from the old one.
    pub(crate) fn publish(&mut self, revision: &mut u64) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let mut status = self.compose();
        status.revision = self.status.revision;
        if status != self.status {
            *revision += 1;
            status.revision = *revision;
            self.status = status;
        }
    }

    pub(crate) fn status(&self) -> &ServiceStatus {
        &self.status
    }

    fn compose(&self) -> ServiceStatus {
        let reading = self.reading();
        let view = self.view();
        ServiceStatus {
            state: view.state,
            reason: self.reason(),
            wanted: self.wanted,
            mode: self.running_mode(),
            run: self.run(),
            pid: self.pid(),
            health: reading.health,
            health_message: reading.message.clone(),
            health_latency_us: reading.latency.map(|l| u64::try_from(l.as_micros()).unwrap_or(u64::MAX)),
            ready: view.ready,
            completed: view.completed,
            started_at: self.started_at(),
            restarts: self.restarts,
            last_exit: self.last_exit,
            next_start: self.next_start(),
            waits_for: self.waits_for(),
            stuck: self.stuck.clone(),
            holder: self.holder(),
            notify_status: self.notify_status(),
            warnings: self.warnings.values().cloned().chain(self.drifted()).collect(),
            kill_at: self.kill_at(),
            ..blank(&self.spec, self.shown.since)
        }
    }

    /// What of the configuration its run does not know.
    fn drifted(&self) -> Option<String> {
        let run = match &self.phase {
            Phase::Up(up) => &up.run,
            Phase::Ending(ending) => &ending.run,
            Phase::Rest(_)
            | Phase::Blocked(_)
            | Phase::Backoff { .. }
            | Phase::Launching(_)
            | Phase::External(_) => return None,
        };
        let name = self.name();
        if self.spec.is_removed() {
            Some(format!("{REMOVED}; `helmctl stop {name}` ends it"))
        } else if run.outdated {
            Some(format!("runs by its former definition; `helmctl restart {name}` applies the new one"))
        } else {
            None
        }
    }

    fn kill_at(&self) -> Option<Mono> {
        if let Phase::Ending(ending) = &self.phase {
            Some(ending.kill_at).filter(|_| ending.kills == 0)
        } else {
            None
        }
    }

    fn next_start(&self) -> Option<Mono> {
        if let Phase::Backoff { until, .. } = &self.phase { Some(*until) } else { None }
    }

    fn holder(&self) -> Option<Holder> {
        if let Phase::External(external) = &self.phase { Some(external.holder.clone()) } else { None }
    }

    fn notify_status(&self) -> Option<String> {
        if let Phase::Up(up) = &self.phase { up.notify_status.clone() } else { None }
    }
}

impl Rest {
    pub(super) fn why(&self) -> &str {
        match self {
            Rest::Stopped { why }
            | Rest::Done { why }
            | Rest::Failed { why }
            | Rest::NotInstalled { why } => why,
        }
    }

    fn state(&self) -> State {
        match self {
            Rest::Stopped { .. } | Rest::Done { .. } => State::Stopped,
            Rest::Failed { .. } => State::Failed,
            Rest::NotInstalled { .. } => State::NotInstalled,
        }
    }
}

impl Gate {
    pub(super) fn words(&self) -> String {
        match self {
            Gate::Unknown | Gate::Open => "is about to start".into(),
            Gate::Turn => "waits for its turn".into(),
            Gate::Silent => "its keeper has not answered yet".into(),
            Gate::Waits(whom) => {
                format!("waits for {}", list(whom.iter().map(|(name, lack)| format!("{name} ({lack})"))))
            }
        }
    }
}

impl Ending {
    fn words(&self, by: &str) -> String {
        let why = match (&self.cause, self.main) {
            (Cause::Asked, Main::Lives { .. }) => format!("stopped by {by}"),
            (Cause::Restart, Main::Lives { .. }) => format!("restarted by {by}"),
            (Cause::Asked | Cause::Restart | Cause::Sick(_) | Cause::Own, _) => self.story(),
        };
        let what = match (self.kills, self.main) {
            (0, Main::Lives { .. }) => "waits for it to end",
            (0, Main::Gone { .. }) => "ends what is left of its processes",
            (1.., _) => "its processes were killed and are not gone yet",
        };
        format!("{why}; {what}")
    }
}

impl External {
    pub(super) fn words(&self, port: Option<u16>) -> String {
        let port = port.map_or_else(|| "its port".into(), |port| format!("port {port}"));
        format!("{} holds {port} and was not started by Helm", holder_words(&self.holder))
    }
}

/// `pid 123 (python run.py)`, `a process of uid 33`
pub(crate) fn holder_words(holder: &Holder) -> String {
    match (holder.pid, &holder.command, holder.uid) {
        (Some(pid), Some(command), _) => format!("pid {pid} ({command})"),
        (Some(pid), None, _) => format!("pid {pid}"),
        (None, _, Some(uid)) => format!("a process of uid {uid}"),
        (None, _, None) => "another process".into(),
    }
}

fn list(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// The status of a service of which nothing is known.
pub(super) fn blank(spec: &ServiceSpec, now: Wall) -> ServiceStatus {
    ServiceStatus {
        name: spec.name.clone(),
        state: State::Stopped,
        reason: String::new(),
        wanted: false,
        mode: Mode::default(),
        run: None,
        pid: None,
        port: spec.port,
        url: spec.url.clone(),
        health: Health::Unknown,
        health_message: String::new(),
        health_latency_us: None,
        ready: false,
        completed: false,
        started_at: None,
        since: now,
        restarts: 0,
        last_exit: None,
        next_start: None,
        kill_at: None,
        waits_for: Vec::new(),
        stuck: None,
        holder: None,
        notify_status: None,
        warnings: Vec::new(),
        revision: 0,
    }
}
