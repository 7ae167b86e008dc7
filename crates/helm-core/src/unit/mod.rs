//! One service: what was asked of it and what became of it, as a machine without clock or IO.
//!
//! ```text
//!   Rest ---> Blocked ---> Launching ---> Up ---> Ending ---> Rest | Backoff ---> Blocked | Blocked at once
//!                                `------> External ---> Blocked
//!
//!   from        by                                                            to
//!   Rest        wanted (where it was stopped), kick (whatever it rests for)   Blocked
//!   Blocked     gate open                                                     Launching, with Effect::Start
//!               its keeper was silent and has found something                 Up, Rest or Backoff
//!   Backoff     its time, kick                                                Blocked
//!   Launching   Started                                                       Up
//!               StartFailed, NotInstalled                                     Backoff or Rest
//!               Occupied                                                      External
//!   Up          stop, restart, not well, main process ended                   Ending, with Effect::Stop
//!   Ending      TreeEmpty                                                     Rest, Backoff or Blocked
//!   External    Released                                                      Blocked or Rest
//!   Blocked, Backoff, and Rest after a failure: not wanted any more           Rest
//! ```
//!
//! What never happens here:
//!
//! 1. Two live runs. `Effect::Start` is emitted only on the way from `Blocked`/`Rest`/`Backoff` to `Launching`, and
//!    `Launching`, `Up` and `Ending` are left only by news that nothing of their run lives.
//! 2. News of another run has an effect. (Found beside a run that is up or ends: a run that we do not
//!    know is killed.)
//! 3. A stop that does not end. `Launching` and `Ending` repeat `Effect::Kill` until the run is over.
//! 4. A deadline in the past after a step.
//!
//! The parts: `phase` (the data), `news` (what the world says), `advance` (what wishes and time do), `watch` (probes),
//! `view` (what others and clients see), `memory` (what is left to the next helmd).

mod advance;
pub mod memory;
mod news;
mod phase;
mod view;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{Change, ChangeKind, Effect, Now};
use crate::exit::Exit;
use crate::name::ServiceName;
use crate::policy::Streak;
use crate::spec::ServiceSpec;
use crate::status::{Health, RunId, ServiceStatus, State, Stuck};
use crate::time::Wall;
use crate::wish::{Mode, Wish};

use memory::{Memory, Stand};
pub(crate) use phase::{Gate, exit_words, span};
use phase::{Phase, Rest};
pub(crate) use view::{View, holder_words};

/// Between one SIGKILL and the next, where the tree does not go.
const KILL_AGAIN: Duration = Duration::from_secs(5);
/// How long a start may stay without an answer before its run is killed.
const LAUNCH_LIMIT: Duration = Duration::from_secs(30);
/// How long a started service that is not ready holds its place among the starting ones.
const SLOT_LIMIT: Duration = Duration::from_secs(5);
/// After so many kills in vain, those that wait for this one's end wait no longer.
const HOPELESS_KILLS: u32 = 3;

/// What a unit needs to act: the time, where effects go, and the next run id.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) out: &'a mut Vec<Effect>,
    pub(crate) next_run: &'a mut RunId,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Unit {
    spec: ServiceSpec,
    phase: Phase,
    /// It is to run (wish, and no hold).
    wanted: bool,
    wish: Wish,
    /// Who asked last.
    by: String,
    streak: Streak,
    restarts: u32,
    last_exit: Option<Exit>,
    /// Newest run known; older news is history.
    last_run: Option<RunId>,
    /// Newest run whose end was told.
    told: Option<RunId>,
    /// Newest run whose end stands in the events of former helmds.
    written: Option<RunId>,
    /// A start (`false`) or restart that was asked for while its keeper was silent, and by whom.
    deferred: Option<(bool, String)>,
    /// What it waits for will not come by itself.
    stuck: Option<Stuck>,
    warnings: BTreeMap<String, String>,
    /// Why it last changed its phase.
    cause: String,
    shown: Shown,
    /// What the next helmd would be left.
    remembered: Option<Memory>,
    status: ServiceStatus,
    /// The status must be composed again.
    stale: bool,
}

/// What was last recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Shown {
    state: State,
    since: Wall,
    health: Health,
}

impl Unit {
    /// `remembered` is what a former helmd of this boot left.
    pub(crate) fn new(
        spec: ServiceSpec,
        wish: Wish,
        hold: bool,
        remembered: Option<Memory>,
        now: Now,
    ) -> Self {
        let status = view::blank(&spec, now.wall);
        let former = remembered.as_ref();
        let why = match former.map(|memory| &memory.stand) {
            Some(Stand::Rest(rest)) => rest.why().to_owned(),
            Some(_) | None => "was not started since helmd came".into(),
        };
        Self {
            spec,
            phase: Phase::Rest(Rest::Stopped { why }),
            wanted: wish.run && !hold,
            wish,
            by: "an operator, earlier".into(),
            streak: former.map_or_else(Streak::default, |memory| memory.streak),
            restarts: former.map_or(0, |memory| memory.restarts),
            last_exit: former.and_then(|memory| memory.last_exit),
            last_run: None,
            told: former.and_then(|memory| memory.told),
            written: None,
            deferred: None,
            stuck: None,
            warnings: BTreeMap::new(),
            cause: String::new(),
            shown: former.map_or(
                Shown { state: State::Stopped, since: now.wall, health: Health::Unknown },
                |memory| memory.shown.clone(),
            ),
            remembered,
            status,
            stale: true,
        }
    }

    pub(crate) fn spec(&self) -> &ServiceSpec {
        &self.spec
    }

    pub(crate) fn end_written(&mut self, run: Option<RunId>) {
        self.written = run;
    }

    fn name(&self) -> &ServiceName {
        &self.spec.name
    }

    fn mode(&self) -> Mode {
        self.wish.mode
    }

    /// Changes the phase. What is recorded of it is decided by `refresh`, at the end of the news or the advance, so
    /// that a phase that is left in the same step is not told to anybody.
    fn enter(&mut self, phase: Phase, cause: impl Into<String>) {
        self.phase = phase;
        self.cause = cause.into();
        self.stale = true;
    }

    /// Comes to rest: the keeper is not needed any more.
    fn rest(&mut self, rest: Rest, turn: &mut Turn<'_>) {
        let why = rest.why().to_owned();
        self.enter(Phase::Rest(rest), why);
        self.refresh(turn);
        turn.out.push(Effect::Retire { service: self.name().clone() });
    }

    /// The step is over: what it waits for, if it waits, is final. `stuck`: that will not come by itself.
    pub(crate) fn settled(&mut self, stuck: Option<Stuck>, turn: &mut Turn<'_>) {
        self.stale |= stuck != self.stuck;
        self.stuck = stuck;
        if !self.stale {
            return;
        }
        self.refresh(turn);
        // Of one whose keeper is silent, what the former helmd left still counts.
        if self.spec.program.is_some() && !self.is_silent() {
            let memory = self.memory();
            if self.remembered.as_ref() != Some(&memory) {
                self.remembered = Some(memory.clone());
                turn.out.push(Effect::Remember { service: self.name().clone(), memory: Box::new(memory) });
            }
        }
    }

    /// Records what others can see to have changed.
    fn refresh(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.phase, Phase::Blocked(Gate::Unknown | Gate::Silent)) {
            return;
        }
        self.stale = true;
        let state = self.state();
        if state != self.shown.state {
            let cause = self.cause.clone();
            self.record(turn, ChangeKind::State, self.shown.state.as_str(), state.as_str(), cause);
            self.shown.state = state;
            self.shown.since = turn.now.wall;
        }
        let health = self.reading().health;
        if health != self.shown.health {
            let message = self.reading().message.clone();
            self.record(turn, ChangeKind::Health, self.shown.health.as_str(), health.as_str(), message);
            self.shown.health = health;
        }
    }

    fn record(&self, turn: &mut Turn<'_>, kind: ChangeKind, from: &str, to: &str, cause: String) {
        turn.out.push(Effect::Record(Change {
            at: turn.now.wall,
            service: self.name().clone(),
            kind,
            from: from.into(),
            to: to.into(),
            cause,
            run: self.run(),
            pid: self.pid(),
            exit: None,
        }));
    }

    /// Shows `text` under `topic` beside the state; an empty text takes it away.
    fn warn(&mut self, topic: &str, text: &str, turn: &mut Turn<'_>) {
        let old = self.warnings.get(topic).map_or("", String::as_str).to_owned();
        if old == text {
            return;
        }
        self.record(turn, ChangeKind::Warning, &old, text, topic.into());
        if text.is_empty() {
            self.warnings.remove(topic);
        } else {
            self.warnings.insert(topic.into(), text.into());
        }
        self.stale = true;
    }
}
