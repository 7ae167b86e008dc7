//! What one helmd leaves to the next about a service, beside the run's record (what lives) and the wish (what is to).
//!
//! It is told as `Effect::Remember` whenever it has changed, and need not survive more than the boot: the times in it
//! are of this boot's clock. A new helmd that has lost it, or its last change, decides as if the service were new to
//! it; nothing that is true of a process is read from here.

use serde::{Deserialize, Serialize};

use super::phase::{Cause, Phase, Rest};
use super::watch::Seen;
use super::{Gate, Shown, Turn, Unit};
use crate::exit::Exit;
use crate::policy::Streak;
use crate::status::RunId;
use crate::time::Mono;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Newest run that was ordered or found.
    pub(super) run: Option<RunId>,
    /// Newest run whose end was told.
    pub(super) told: Option<RunId>,
    pub(super) last_exit: Option<Exit>,
    pub(super) restarts: u32,
    pub(super) streak: Streak,
    pub(super) shown: Shown,
    pub(super) stand: Stand,
}

/// What of the phase cannot be found out again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stand {
    Rest(Rest),
    Backoff {
        until: Mono,
        why: String,
    },
    Up(Seen),
    Ending {
        cause: Cause,
        proven: bool,
    },
    /// About to start, or run by somebody else: to be tried (again).
    Moving,
}

impl Memory {
    /// Newest run that was ordered or found.
    pub fn newest_run(&self) -> Option<RunId> {
        self.run
    }

    /// Newest run whose end was told.
    pub fn newest_told(&self) -> Option<RunId> {
        self.told
    }

    /// Of one that was up or ending, its run alone can tell how that went on.
    fn awaits_its_run(&self) -> bool {
        matches!(self.stand, Stand::Up(_) | Stand::Ending { .. })
    }

    /// The end of `run` was dealt with: what it led to is the stand.
    pub(super) fn is_past(&self, run: RunId) -> bool {
        self.run > Some(run) || self.told == Some(run) && !self.awaits_its_run()
    }
}

impl Unit {
    pub(super) fn memory(&self) -> Memory {
        let stand = match &self.phase {
            Phase::Rest(rest) => Stand::Rest(rest.clone()),
            Phase::Backoff { until, why } => Stand::Backoff { until: *until, why: why.clone() },
            Phase::Up(up) => Stand::Up(up.watch.seen()),
            Phase::Ending(ending) => Stand::Ending { cause: ending.cause.clone(), proven: ending.proven },
            Phase::Blocked(_) | Phase::Launching(_) | Phase::External(_) => Stand::Moving,
        };
        Memory {
            run: self.last_run,
            told: self.told,
            last_exit: self.last_exit,
            restarts: self.restarts,
            streak: self.streak,
            shown: self.shown.clone(),
            stand,
        }
    }

    /// What the former helmd left of this very run.
    pub(super) fn remembered_of(&self, run: RunId) -> Option<&Memory> {
        self.remembered.as_ref().filter(|memory| memory.run == Some(run))
    }

    /// All keepers were asked. Of what was not found, the memory alone is left.
    pub(crate) fn adopted(&mut self, turn: &mut Turn<'_>) {
        self.stale = true;
        if let Some(memory) = self.remembered.clone().filter(|_| self.is_unknown()) {
            self.resume(memory, turn);
        }
    }

    /// Nothing was found of it so far, and nothing was done.
    pub(super) fn is_unknown(&self) -> bool {
        self.last_run.is_none() && matches!(self.phase, Phase::Rest(Rest::Stopped { .. }))
    }

    /// Its keeper has still to say whether something of it lives.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.phase, Phase::Blocked(Gate::Silent))
    }

    /// Nothing is decided before its keeper has answered.
    pub(super) fn silent(&mut self) {
        if self.is_unknown() {
            let gate = Gate::Silent;
            let cause = gate.words();
            self.enter(Phase::Blocked(gate), cause);
        }
    }

    /// Its keeper has told what it found: now it is as adopted as the others, and what was asked meanwhile is done.
    pub(super) fn answered(&mut self, turn: &mut Turn<'_>) {
        if self.is_silent() {
            let why = "nothing of it was found when its keeper answered".into();
            self.enter(Phase::Rest(Rest::Stopped { why }), "its keeper has answered");
            self.adopted(turn);
        }
        match self.deferred.take() {
            Some((true, by)) if matches!(self.phase, Phase::Up(_)) => self.restart(&by, turn),
            Some((_, by)) => self.kick(&by, turn),
            None => {}
        }
    }

    /// Goes on where the former helmd was, after a run that is over. A start that failed is tried again: what a person
    /// had to mend may be mended, and a new helmd has read the configuration anew.
    pub(super) fn resume(&mut self, memory: Memory, turn: &mut Turn<'_>) {
        let ran = memory.told.is_some() && memory.told == memory.run;
        self.last_run = memory.run;
        match memory.stand {
            Stand::Rest(rest @ Rest::Done { .. }) => self.rest(rest, turn),
            Stand::Rest(rest) if !self.wanted => {
                self.rest(Rest::Stopped { why: rest.why().to_owned() }, turn);
            }
            Stand::Rest(rest @ Rest::Failed { .. }) if ran => self.rest(rest, turn),
            Stand::Backoff { until, why } => self.enter(Phase::Backoff { until, why: why.clone() }, why),
            // Where it is not wanted any more, it comes to rest from there.
            Stand::Rest(_) | Stand::Up(_) | Stand::Ending { .. } | Stand::Moving => {
                self.enter(Phase::Blocked(Gate::Unknown), "was to start when the former helmd left");
            }
        }
    }
}
