//! What wishes and time do to a unit.

use super::phase::{Cause, Ending, Launching, Main, Phase, Rest, Up};
use super::{Gate, KILL_AGAIN, LAUNCH_LIMIT, Turn, Unit};
use crate::event::{ChangeKind, Effect, Now};
use crate::name::ServiceName;
use crate::time::Mono;
use crate::wish::Wish;

impl Unit {
    /// Takes a new wish over. Nothing is started or stopped here: `advance` does that.
    pub(crate) fn wish(&mut self, wish: Wish, hold: bool, by: &str, turn: &mut Turn<'_>) {
        let wanted = wish.run && !hold;
        if wish == self.wish && wanted == self.wanted {
            return;
        }
        self.stale = true;
        self.wish = wish;
        if wanted == self.wanted {
            return;
        }
        self.wanted = wanted;
        self.by = by.into();
        // The newest ask is the cause: a restart that is told to stay down is a stop.
        if let Phase::Ending(ending) = &mut self.phase
            && !wanted
            && ending.cause == Cause::Restart
        {
            ending.cause = Cause::Asked;
        }
        let (from, to) = if wanted { ("stopped", "running") } else { ("running", "stopped") };
        let how = if hold { "the fleet is held down" } else { "asked" };
        self.record(turn, ChangeKind::Wish, from, to, format!("{how} by {by}"));
    }

    /// A person asked for it: backoff, failure and completion are forgotten.
    pub(crate) fn kick(&mut self, by: &str, turn: &mut Turn<'_>) {
        if !self.wanted {
            return;
        }
        if self.is_silent() {
            self.deferred.get_or_insert((false, by.into()));
            return;
        }
        self.by = by.into();
        self.streak = Default::default();
        match &mut self.phase {
            Phase::Rest(_) | Phase::Backoff { .. } => {
                self.restarts = 0;
                self.enter(Phase::Blocked(Gate::Unknown), format!("asked by {by}"));
            }
            // The end is not for the policy any more: it starts again at once.
            Phase::Ending(ending) => {
                ending.cause = Cause::Restart;
                self.restarts = 0;
            }
            Phase::Blocked(_) | Phase::Launching(_) | Phase::Up(_) | Phase::External(_) => {}
        }
        self.refresh(turn);
    }

    /// A person wants a new run, also where one is up.
    pub(crate) fn restart(&mut self, by: &str, turn: &mut Turn<'_>) {
        if !self.wanted {
            return;
        }
        if self.is_silent() {
            self.deferred = Some((true, by.into()));
            return;
        }
        match &mut self.phase {
            Phase::Launching(launching) => launching.restart = true,
            Phase::Up(up) => up.restart = true,
            Phase::Rest(_)
            | Phase::Blocked(_)
            | Phase::Backoff { .. }
            | Phase::Ending(_)
            | Phase::External(_) => {
                return self.kick(by, turn);
            }
        }
        self.by = by.into();
        self.streak = Default::default();
        self.restarts = 0;
        self.stale = true;
    }

    /// It would start now if its gate is open.
    pub(crate) fn is_due(&self, now: Mono) -> bool {
        self.wanted
            && !self.spec.is_removed()
            && match &self.phase {
                Phase::Blocked(gate) => *gate != Gate::Silent,
                Phase::Rest(Rest::Stopped { .. }) => true,
                Phase::Backoff { until, .. } => *until <= now,
                Phase::Rest(Rest::Done { .. } | Rest::Failed { .. } | Rest::NotInstalled { .. })
                | Phase::Launching(_)
                | Phase::Up(_)
                | Phase::Ending(_)
                | Phase::External(_) => false,
            }
    }

    /// Its run is asked to end, but was not told to yet.
    pub(crate) fn is_to_stop(&self) -> bool {
        match &self.phase {
            Phase::Launching(launching) => !self.wanted || launching.restart,
            Phase::Up(up) => !self.wanted || up.restart,
            Phase::Rest(_)
            | Phase::Blocked(_)
            | Phase::Backoff { .. }
            | Phase::Ending(_)
            | Phase::External(_) => false,
        }
    }

    /// Acts on wishes and passed deadlines. `gate` is looked at where `is_due`, `held_by` (dependents that must stop
    /// first) where `is_to_stop`. Returns whether anything changed.
    pub(crate) fn advance(&mut self, gate: Gate, held_by: Vec<ServiceName>, turn: &mut Turn<'_>) -> bool {
        let now = turn.now.mono;
        if self.is_due(now) {
            return self.try_start(gate, turn);
        }
        match &mut self.phase {
            Phase::Blocked(Gate::Silent) => false,
            Phase::Rest(Rest::Failed { .. } | Rest::NotInstalled { .. })
            | Phase::Blocked(_)
            | Phase::Backoff { .. }
                if !self.wanted || self.spec.is_removed() =>
            {
                let why = self.stood_down();
                self.rest(Rest::Stopped { why }, turn);
                true
            }
            Phase::Rest(_) | Phase::Blocked(_) | Phase::Backoff { .. } | Phase::External(_) => false,
            Phase::Launching(launching) if launching.kill_at <= now => {
                launching.kill_at = now + KILL_AGAIN;
                let run = launching.run;
                turn.out.push(Effect::Kill { service: self.name().clone(), run });
                self.stale = true;
                true
            }
            Phase::Ending(ending) if ending.kill_at <= now => {
                ending.kill_at = now + KILL_AGAIN;
                ending.kills = ending.kills.saturating_add(1);
                let run = ending.run.id;
                turn.out.push(Effect::Kill { service: self.name().clone(), run });
                self.stale = true;
                true
            }
            Phase::Launching(_) | Phase::Ending(_) => false,
            Phase::Up(up) => match up.overdue(now) {
                Some(why) => {
                    self.end(Cause::Sick(why), turn);
                    true
                }
                None => self.try_stop(held_by, turn),
            },
        }
    }

    /// Why it rests from now on, and what was wrong before: that is worth knowing afterwards as well.
    fn stood_down(&self) -> String {
        let why =
            if self.wanted { "is not started again".to_owned() } else { format!("stopped by {}", self.by) };
        match &self.phase {
            Phase::Rest(Rest::Failed { why: before }) | Phase::Backoff { why: before, .. } => {
                format!("{why}; before: {before}")
            }
            Phase::Rest(Rest::Stopped { .. } | Rest::Done { .. } | Rest::NotInstalled { .. })
            | Phase::Blocked(_)
            | Phase::Launching(_)
            | Phase::Up(_)
            | Phase::Ending(_)
            | Phase::External(_) => why,
        }
    }

    fn try_start(&mut self, gate: Gate, turn: &mut Turn<'_>) -> bool {
        if gate == Gate::Open {
            self.launch(turn);
            return true;
        }
        if matches!(&self.phase, Phase::Blocked(old) if *old == gate) {
            return false;
        }
        let cause = gate.words();
        self.enter(Phase::Blocked(gate), cause);
        true
    }

    fn launch(&mut self, turn: &mut Turn<'_>) {
        let run = *turn.next_run;
        turn.next_run.0 += 1;
        let (mode, since) = (self.mode(), turn.now.mono);
        self.last_run = Some(run);
        let cause = match &self.phase {
            Phase::Blocked(Gate::Unknown) => self.cause.clone(),
            Phase::Backoff { why, .. } => format!("{why}; the delay is over"),
            Phase::Blocked(_) => "what it waited for is there".into(),
            Phase::Rest(_) | Phase::Launching(_) | Phase::Up(_) | Phase::Ending(_) | Phase::External(_) => {
                format!("wanted by {}", self.by)
            }
        };
        let launching = Launching { run, mode, since, kill_at: since + LAUNCH_LIMIT, restart: false };
        self.enter(Phase::Launching(launching), cause);
        self.refresh(turn);
        turn.out.push(Effect::Start { service: self.name().clone(), run, mode });
    }

    fn try_stop(&mut self, held_by: Vec<ServiceName>, turn: &mut Turn<'_>) -> bool {
        let asked = self.is_to_stop();
        let Phase::Up(up) = &mut self.phase else { return false };
        if asked && held_by.is_empty() {
            let cause = if self.wanted { Cause::Restart } else { Cause::Asked };
            self.end(cause, turn);
            return true;
        }
        let held_by = if asked { held_by } else { Vec::new() };
        let changed = up.held_by != held_by;
        up.held_by = held_by;
        self.stale |= changed;
        changed
    }

    /// Sends the stop signal to a run that is up.
    pub(super) fn end(&mut self, cause: Cause, turn: &mut Turn<'_>) {
        let Phase::Up(up) = &self.phase else { return };
        let main = Main::Lives { pid: up.pid };
        self.begin_ending(main, cause, turn);
    }

    /// From `Up` to `Ending`: probes off, the stop signal to what lives, and a deadline for the kill. An end that was
    /// asked for stays one, whatever else happens to the run before its turn to stop comes.
    pub(super) fn begin_ending(&mut self, main: Main, cause: Cause, turn: &mut Turn<'_>) {
        let Phase::Up(up) = &self.phase else { return };
        let cause = match cause {
            Cause::Own | Cause::Sick(_) if !self.wanted => Cause::Asked,
            Cause::Own | Cause::Sick(_) if up.restart => Cause::Restart,
            Cause::Asked | Cause::Restart | Cause::Own | Cause::Sick(_) => cause,
        };
        let (run, asked) = (up.run, up.watch.asked());
        let proven = up.watch.is_proven(self.spec.backoff.reset_after, main.ended_at(turn.now));
        self.probes_off(&asked, turn);
        let ending =
            Ending { run, main, cause, proven, kill_at: turn.now.mono + self.spec.stop.grace, kills: 0 };
        let story = match (&ending.cause, main) {
            (Cause::Asked, Main::Lives { .. }) => format!("stopped by {}", self.by),
            (Cause::Restart, Main::Lives { .. }) => format!("restarted by {}", self.by),
            (Cause::Asked | Cause::Restart | Cause::Sick(_) | Cause::Own, _) => ending.story(),
        };
        self.enter(Phase::Ending(ending), story);
        self.refresh(turn);
        turn.out.push(Effect::Stop { service: self.name().clone(), run: run.id });
    }

    pub(super) fn probes_off(&self, probes: &[crate::event::ProbeKind], turn: &mut Turn<'_>) {
        turn.out.extend(probes.iter().map(|&probe| Effect::ProbeOff { service: self.name().clone(), probe }));
    }

    /// When `advance` must be called next, and what for.
    pub(crate) fn deadline(&self) -> Option<(Mono, &'static str)> {
        match &self.phase {
            Phase::Rest(_) | Phase::Blocked(_) | Phase::External(_) => None,
            Phase::Backoff { until, .. } => Some((*until, "the next start after a failure")),
            Phase::Launching(launching) => Some((launching.kill_at, "a start without an answer")),
            Phase::Up(up) => up.ready_by().map(|at| (at, "the start timeout")),
            Phase::Ending(ending) => Some((ending.kill_at, "the end of the grace time")),
        }
    }

    /// Until when it holds a place among the starting ones.
    pub(crate) fn slot(&self) -> Option<Mono> {
        match &self.phase {
            Phase::Launching(launching) => Some(launching.since + LAUNCH_LIMIT),
            Phase::Up(up) => up.slot(),
            Phase::Rest(_)
            | Phase::Blocked(_)
            | Phase::Backoff { .. }
            | Phase::Ending(_)
            | Phase::External(_) => None,
        }
    }
}

impl Up {
    fn ready_by(&self) -> Option<Mono> {
        self.ready_by.filter(|_| !self.watch.has_been_ready())
    }

    fn overdue(&self, now: Mono) -> Option<String> {
        self.ready_by().filter(|at| *at <= now)?;
        let after = super::phase::span(now.since(self.run.started));
        let reading = self.watch.reading();
        let said = if reading.message.is_empty() { "no probe has answered yet" } else { &reading.message };
        Some(format!("was not ready after {after}: {said}"))
    }
}

impl Main {
    fn ended_at(self, now: Now) -> Mono {
        match self {
            Main::Lives { .. } => now.mono,
            Main::Gone { at, .. } => at,
        }
    }
}
