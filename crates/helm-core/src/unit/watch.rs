//! What the probes and sd_notify have said about one run.
//!
//! ```text
//!   Startup --(startup succeeded, or there is none)--> Serving
//! ```
//!
//! In `Startup` only the startup probe is asked; in `Serving` readiness and liveness are. A startup probe never ends a
//! run by failing: the start timeout does.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{Answer, ProbeKind};
use crate::spec::{Check, Probe, Probes};
use crate::status::Health;
use crate::time::Mono;

/// Answers of one probe in a row.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    good: u32,
    bad: u32,
}

impl Tally {
    fn count(&mut self, good: bool) {
        *self = if good {
            Self { good: self.good.saturating_add(1), bad: 0 }
        } else {
            Self { good: 0, bad: self.bad.saturating_add(1) }
        };
    }

    fn succeeded(self, probe: &Probe) -> bool {
        self.good >= probe.successes.max(1)
    }

    fn failed(self, probe: &Probe) -> bool {
        self.bad >= probe.failures.max(1)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Startup,
    Serving,
}

/// The newest answer worth showing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub(super) health: Health,
    pub(super) message: String,
    pub(super) latency: Option<Duration>,
}

impl Reading {
    const NONE: Self = Self { health: Health::Unknown, message: String::new(), latency: None };

    /// There is nobody to ask.
    pub(super) fn none() -> &'static Self {
        static NONE: Reading = Reading::NONE;
        &NONE
    }
}

/// What of a watch the next helmd cannot find out by asking. Answers in a row are counted anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Seen {
    came_up: bool,
    said_ready: bool,
    leaving: bool,
    ready_since: Option<Mono>,
    has_been_ready: bool,
    longest: Duration,
    health: Health,
    message: String,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    probes: Probes,
    stage: Stage,
    startup: Tally,
    readiness: Tally,
    liveness: Tally,
    /// It said `READY=1`.
    said_ready: bool,
    /// It said `STOPPING=1`: it is not ready any more, whatever the probes say.
    leaving: bool,
    ready_since: Option<Mono>,
    has_been_ready: bool,
    /// Longest time that it was ready, of those that are over.
    longest: Duration,
    reading: Reading,
}

impl Watch {
    /// Of a run that has just started.
    pub(super) fn started(probes: &Probes, now: Mono) -> Self {
        let stage = if probes.startup.is_some() { Stage::Startup } else { Stage::Serving };
        let asked = probes.startup.is_some() || probes.readiness.is_some();
        let health = if asked { Health::Starting } else { Health::Unknown };
        let mut watch = Self {
            probes: probes.clone(),
            stage,
            startup: Tally::default(),
            readiness: Tally::default(),
            liveness: Tally::default(),
            said_ready: false,
            leaving: false,
            ready_since: None,
            has_been_ready: false,
            longest: Duration::ZERO,
            reading: Reading { health, ..Reading::NONE },
        };
        watch.consider(now);
        watch
    }

    /// Of a run that was ready before this helmd came: ready since its start, until a probe says otherwise.
    pub(super) fn adopted_ready(probes: &Probes, started: Mono) -> Self {
        let message = if probes.readiness.is_some() { "was ready; not asked again yet" } else { "" };
        Self {
            stage: Stage::Serving,
            said_ready: true,
            ready_since: Some(started),
            has_been_ready: true,
            reading: Reading { message: message.into(), ..Reading::NONE },
            ..Self::started(probes, started)
        }
    }

    /// What the next helmd is left.
    pub(super) fn seen(&self) -> Seen {
        Seen {
            came_up: self.stage == Stage::Serving,
            said_ready: self.said_ready,
            leaving: self.leaving,
            ready_since: self.ready_since,
            has_been_ready: self.has_been_ready,
            longest: self.longest,
            health: self.reading.health,
            message: self.reading.message.clone(),
        }
    }

    /// Of a run that a former helmd has watched. `said_ready`: it has said so, maybe meanwhile.
    pub(super) fn resumed(probes: &Probes, seen: &Seen, said_ready: bool, now: Mono) -> Self {
        let fresh = Self::started(probes, now);
        let mut watch = Self {
            stage: if seen.came_up { Stage::Serving } else { fresh.stage },
            said_ready: seen.said_ready || said_ready,
            leaving: seen.leaving,
            ready_since: seen.ready_since,
            has_been_ready: seen.has_been_ready,
            longest: seen.longest,
            reading: Reading { health: seen.health, message: seen.message.clone(), latency: None },
            ..fresh
        };
        watch.consider(now);
        watch
    }

    /// Of a process that Helm did not start: only readiness is asked (by the startup probe where there is no other).
    pub(super) fn external(probes: &Probes, now: Mono) -> Self {
        let readiness = probes.readiness.clone().or_else(|| probes.startup.clone());
        // A foreign process says nothing to us by sd_notify, and its output is not ours to read.
        let readable = |probe: &Probe| !matches!(probe.check, Check::Notify | Check::Log { .. });
        Self::started(&Probes { startup: None, readiness: readiness.filter(readable), liveness: None }, now)
    }

    /// The probes that the shell is to ask now. `Notify` is not asked: it speaks.
    pub(super) fn asked(&self) -> Vec<ProbeKind> {
        let kinds: &[ProbeKind] = match self.stage {
            Stage::Startup => &[ProbeKind::Startup],
            Stage::Serving => &[ProbeKind::Readiness, ProbeKind::Liveness],
        };
        let askable = |kind: &ProbeKind| self.probe(*kind).is_some_and(|probe| probe.check != Check::Notify);
        kinds.iter().copied().filter(askable).collect()
    }

    fn probe(&self, kind: ProbeKind) -> Option<&Probe> {
        match kind {
            ProbeKind::Startup => self.probes.startup.as_ref(),
            ProbeKind::Readiness => self.probes.readiness.as_ref(),
            ProbeKind::Liveness => self.probes.liveness.as_ref(),
        }
    }

    /// Takes an answer in. Returns why the run must be ended, if it must. Answers of probes that are not asked now
    /// (late ones) are dropped.
    pub(super) fn answered(&mut self, kind: ProbeKind, answer: Answer, now: Mono) -> Option<String> {
        let probe = self.probe(kind).filter(|_| self.asked().contains(&kind))?.clone();
        let good = matches!(answer.health, Health::Healthy | Health::Degraded);
        let tally = match kind {
            ProbeKind::Startup => &mut self.startup,
            ProbeKind::Readiness => &mut self.readiness,
            ProbeKind::Liveness => &mut self.liveness,
        };
        tally.count(good);
        let failures = tally.bad;
        let sick = kind == ProbeKind::Liveness && tally.failed(&probe);
        let why =
            sick.then(|| format!("its liveness probe failed {failures} times in a row: {}", answer.message));
        self.show(kind, answer, good);
        self.consider(now);
        why
    }

    /// The newest readiness answer is shown; else the startup one; liveness only where there is no other probe.
    /// Failures before the startup probe succeeded are still `starting`.
    fn show(&mut self, kind: ProbeKind, answer: Answer, good: bool) {
        let shown = match kind {
            ProbeKind::Startup | ProbeKind::Readiness => true,
            ProbeKind::Liveness => self.probes.readiness.is_none(),
        };
        if shown {
            let early = kind == ProbeKind::Startup && !good;
            let health = if early { Health::Starting } else { answer.health };
            self.reading = Reading { health, message: answer.message, latency: Some(answer.latency) };
        }
    }

    /// Takes in what the service says of itself.
    pub(super) fn notified(&mut self, ready: bool, stopping: bool, now: Mono) {
        self.said_ready |= ready;
        self.leaving |= stopping;
        self.consider(now);
    }

    /// Draws the conclusions: has it come up, is it ready?
    fn consider(&mut self, now: Mono) {
        if self.stage == Stage::Startup && self.has_come_up() {
            self.stage = Stage::Serving;
            // The same question need not be answered twice before the first dependent may start.
            if let (Some(startup), Some(readiness)) = (&self.probes.startup, &self.probes.readiness)
                && startup.check == readiness.check
            {
                self.readiness.count(true);
            }
        }
        let ready = self.is_ready_now();
        match (self.ready_since, ready) {
            (None, true) => {
                self.ready_since = Some(now);
                self.has_been_ready = true;
            }
            (Some(since), false) => {
                self.longest = self.longest.max(now.since(since));
                self.ready_since = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    fn has_come_up(&self) -> bool {
        match &self.probes.startup {
            None => true,
            Some(probe) if probe.check == Check::Notify => self.said_ready,
            Some(probe) => self.startup.succeeded(probe),
        }
    }

    /// Between its two thresholds readiness stays what it was.
    fn is_ready_now(&self) -> bool {
        if self.leaving || self.stage == Stage::Startup {
            return false;
        }
        match &self.probes.readiness {
            None => true,
            Some(probe) if probe.check == Check::Notify => self.said_ready,
            Some(probe) if self.ready_since.is_some() => !self.readiness.failed(probe),
            Some(probe) => self.readiness.succeeded(probe),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    pub(super) fn has_been_ready(&self) -> bool {
        self.has_been_ready
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }

    pub(super) fn reading(&self) -> &Reading {
        &self.reading
    }

    /// It was ready for `reset_after` without a break.
    pub(super) fn is_proven(&self, reset_after: Duration, now: Mono) -> bool {
        let present = self.ready_since.map_or(Duration::ZERO, |since| now.since(since));
        self.has_been_ready && self.longest.max(present) >= reset_after
    }
}
