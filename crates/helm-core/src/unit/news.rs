//! What the world says to a unit.

use std::time::Duration;

use super::memory::Stand;
use super::phase::{Cause, Ending, External, Gate, Main, Phase, Rest, Run, Up, exit_words};
use super::watch::Watch;
use super::{SLOT_LIMIT, Turn, Unit};
use crate::event::{Answer, Change, ChangeKind, Effect, News, Now, ProbeKind};
use crate::exit::Exit;
use crate::incident::{Follows, Mishap, What};
use crate::policy::{self, Next, Streak};
use crate::status::{Holder, RunId};
use crate::time::{Mono, Wall};

/// An unexpected end, as far as the decision about the next run needs it.
struct End {
    run: RunId,
    what: What,
    story: String,
    failed: bool,
    proven: bool,
    /// Delays count from here.
    at: Mono,
    at_wall: Wall,
}

impl Unit {
    /// Takes news in. News of another run than the current one changes nothing.
    pub(crate) fn news(&mut self, news: News, turn: &mut Turn<'_>) {
        match news {
            News::Found { run, pid, started, started_wall, mode, ready, ended, definition } => {
                let outdated = self.spec.differs_from(&definition, mode);
                self.found(Run { id: run, mode, started, started_wall, outdated }, pid, ready, ended, turn);
            }
            News::FoundEnded { run, exit, started, ended, ended_wall, ready, mode: _ } => {
                self.found_ended(run, exit, started, (ended, ended_wall), ready, turn);
            }
            News::FoundFormer { run, exit, started, ended, ended_wall, ready } => {
                self.found_former(run, exit, started, (ended, ended_wall), ready, turn);
            }
            News::Silent => self.silent(),
            News::Answered => self.answered(turn),
            News::Started { run, pid } => self.started(run, pid, turn.now.mono, turn),
            News::StartFailed { run, reason, permanent } => self.start_failed(run, reason, permanent, turn),
            News::NotInstalled { run, reason } => {
                if self.is_launching(run) {
                    if self.wanted {
                        let what = What::NotInstalled { reason: reason.clone() };
                        self.investigate(run, what, Follows::Stays, turn.now.wall, turn);
                    }
                    self.rest(Rest::NotInstalled { why: reason }, turn);
                }
            }
            News::Occupied { run, holder } => self.occupied(run, holder, turn),
            News::Released => self.released(turn),
            News::Probed { run, probe, answer } => self.probed(run, probe, answer, turn),
            News::Notified { run, ready, stopping, status } => {
                self.notified(run, ready, stopping, status, turn)
            }
            News::WatchdogMissed { run } => {
                if self.up(run).is_some() {
                    self.end(Cause::Sick("did not feed its watchdog in time".into()), turn);
                }
            }
            News::Ended { run, exit, at } => self.ended(run, exit, at, turn),
            News::TreeEmpty { run, leftovers } => self.tree_empty(run, leftovers, turn),
            News::Warning { topic, text } => self.warn(&topic, &text, turn),
        }
        self.refresh(turn);
    }

    fn is_launching(&self, run: RunId) -> bool {
        matches!(&self.phase, Phase::Launching(launching) if launching.run == run)
    }

    fn up(&mut self, run: RunId) -> Option<&mut Up> {
        if let Phase::Up(up) = &mut self.phase { Some(&mut **up).filter(|up| up.run.id == run) } else { None }
    }

    /// A run that lives. After adoption such news is a surprise; what runs already has the right to go on.
    fn found(&mut self, run: Run, pid: u32, ready: bool, ended: Option<(Exit, Mono)>, turn: &mut Turn<'_>) {
        if self.run() == Some(run.id) {
            return;
        }
        // What lives is known to its keeper, who refuses the start beside it: nothing is gained by its death.
        if matches!(&self.phase, Phase::Launching(launching) if run.id < launching.run) {
            return;
        }
        if matches!(self.phase, Phase::Launching(_) | Phase::Up(_) | Phase::Ending(_)) {
            turn.out.push(Effect::Kill { service: self.name().clone(), run: run.id });
            return;
        }
        self.leave_external(turn);
        self.last_run = Some(run.id);
        let now = turn.now.mono;
        let stand = self.remembered_of(run.id).map(|memory| memory.stand.clone());
        let watch = match &stand {
            Some(Stand::Up(seen)) => Watch::resumed(&self.spec.probes, seen, ready, now),
            Some(_) | None if ready => Watch::adopted_ready(&self.spec.probes, run.started),
            Some(_) | None => Watch::started(&self.spec.probes, now),
        };
        let restart = self.wanted && !self.spec.is_removed() && self.wish.newer_than >= Some(run.id);
        let up = Up { restart, ..self.newly_up(run, pid, watch, now) };
        self.enter(Phase::Up(Box::new(up)), "was running when helmd came");
        // The former helmd has asked it to end: this one goes on with that.
        if let Some(Stand::Ending { cause, proven }) = stand {
            self.begin_ending(Main::Lives { pid }, cause, turn);
            if let Phase::Ending(ending) = &mut self.phase {
                ending.proven = proven;
            }
        }
        match ended {
            Some((exit, at)) => self.ended(run.id, exit, at, turn),
            None => self.probes_changed(Vec::new(), run.id, turn),
        }
    }

    fn newly_up(&self, run: Run, pid: u32, watch: Watch, now: Mono) -> Up {
        Up {
            run,
            pid,
            watch,
            notify_status: None,
            ready_by: self.spec.start_timeout.map(|limit| now + limit),
            slot_until: now + SLOT_LIMIT,
            restart: false,
            held_by: Vec::new(),
        }
    }

    /// The last run ended while no helmd was there. Only the first thing known of a service can be that.
    fn found_ended(
        &mut self,
        run: RunId,
        exit: Exit,
        started: Mono,
        (at, at_wall): (Mono, Wall),
        ready: bool,
        turn: &mut Turn<'_>,
    ) {
        if !self.is_unknown() && !self.is_silent() {
            return;
        }
        let known = self.remembered.clone();
        if let Some(memory) = known.clone().filter(|memory| memory.is_past(run)) {
            return self.resume(memory, turn);
        }
        self.last_run = Some(run);
        self.last_exit = Some(exit);
        let ran = at.since(started);
        let story = format!("{} while helmd was away", exit_words(exit, ran));
        // Where nothing is remembered, the end of what is not wanted is old history.
        if self.wanted || known.is_some() {
            self.record_exit(run, None, exit, at_wall, story.clone(), turn);
        }
        let (cause, proven) = self.untold_end(run, ran, at, ready);
        // Told as of when it was: that is when the service came into the state that it is in.
        let then = Now { wall: at_wall, ..turn.now };
        let mut turn = Turn { now: then, out: &mut *turn.out, next_run: &mut *turn.next_run };
        let (what, failed) = (what(&cause, exit, ran), !exit.is_success());
        self.over(cause, End { run, what, story, failed, proven, at, at_wall }, &mut turn);
        self.refresh(&mut turn);
    }

    /// Why a run ended whose end no helmd came to tell, and whether it was proven.
    fn untold_end(&self, run: RunId, ran: Duration, at: Mono, ready: bool) -> (Cause, bool) {
        let rules = &self.spec.backoff;
        let long_enough = ready && ran >= rules.reset_after;
        let (cause, proven) = match self.remembered_of(run).map(|memory| &memory.stand) {
            Some(Stand::Ending { cause, proven }) => (cause.clone(), *proven),
            Some(Stand::Up(seen)) => {
                let watch = Watch::resumed(&self.spec.probes, seen, ready, at);
                (Cause::Own, long_enough || watch.is_proven(rules.reset_after, at))
            }
            Some(_) | None => (Cause::Own, long_enough),
        };
        let cause = match cause {
            Cause::Own | Cause::Sick(_) if self.wish.newer_than >= Some(run) => Cause::Restart,
            Cause::Asked | Cause::Restart | Cause::Own | Cause::Sick(_) => cause,
        };
        (cause, proven)
    }

    /// A run that was followed by another one. What its end led to is known by that; it is told and counted here, if
    /// the helmd that saw it died before that was written.
    fn found_former(
        &mut self,
        run: RunId,
        exit: Exit,
        started: Mono,
        (at, at_wall): (Mono, Wall),
        ready: bool,
        turn: &mut Turn<'_>,
    ) {
        if self.told >= Some(run) {
            return;
        }
        self.last_exit = Some(exit);
        let ran = at.since(started);
        let story = format!("{}; the helmd that saw it died before it was written", exit_words(exit, ran));
        self.record_exit(run, None, exit, at_wall, story, turn);
        let (cause, proven) = self.untold_end(run, ran, at, ready);
        let failed = match cause {
            Cause::Asked | Cause::Restart => return,
            Cause::Sick(_) => true,
            Cause::Own => !exit.is_success(),
        };
        let (restart, rules) = (self.spec.restart, &self.spec.backoff);
        let next = policy::after_end(restart, rules, &mut self.streak, failed, proven, turn.now.draw);
        if let Some(follows) = Follows::of(next) {
            self.investigate(run, what(&cause, exit, ran), follows, at_wall, turn);
        }
        match next {
            Next::Start | Next::Wait { .. } => self.restarts = self.restarts.saturating_add(1),
            // Only a person can have started it again.
            Next::Done | Next::Stay | Next::GiveUp { .. } => self.streak = Streak::default(),
        }
    }

    /// Nothing of a run is left: what now?
    fn over(&mut self, cause: Cause, end: End, turn: &mut Turn<'_>) {
        if !self.wanted {
            let why = format!("stopped by {}; {}", self.by, end.story);
            return self.rest(Rest::Stopped { why }, turn);
        }
        if self.spec.is_removed() {
            return self.rest(Rest::Stopped { why: end.story }, turn);
        }
        match cause {
            Cause::Asked => {
                let why = format!("{}; is wanted again by {}", end.story, self.by);
                self.enter(Phase::Blocked(Gate::Unknown), why);
            }
            Cause::Restart => self.enter(Phase::Blocked(Gate::Unknown), format!("restarted by {}", self.by)),
            Cause::Sick(_) => self.after_end(End { failed: true, ..end }, turn),
            Cause::Own => self.after_end(end, turn),
        }
    }

    fn started(&mut self, run: RunId, pid: u32, at: Mono, turn: &mut Turn<'_>) {
        let Phase::Launching(launching) = &self.phase else { return };
        if launching.run != run {
            return;
        }
        let (mode, restart, now) = (launching.mode, launching.restart, turn.now.mono);
        let started_wall = wall_at(at, turn.now);
        let process = Run { id: run, mode, started: at, started_wall, outdated: false };
        let up = self.newly_up(process, pid, Watch::started(&self.spec.probes, now), now);
        self.enter(Phase::Up(Box::new(Up { restart, ..up })), "its program runs");
        self.probes_changed(Vec::new(), run, turn);
    }

    fn start_failed(&mut self, run: RunId, reason: String, permanent: bool, turn: &mut Turn<'_>) {
        if !self.is_launching(run) {
            return;
        }
        let story = format!("could not be started: {reason}");
        if !self.wanted {
            let why = format!("stopped by {}; {story}", self.by);
            self.rest(Rest::Stopped { why }, turn);
        } else if permanent {
            self.investigate(run, What::NotStarted { reason }, Follows::Stays, turn.now.wall, turn);
            self.rest(Rest::Failed { why: story }, turn);
        } else {
            // It never ran: whether it is to run again is not a question for the restart policy.
            let next = self.streak.fail(&self.spec.backoff, false, policy::mix(turn.now.draw, self.name()));
            let (what, at, at_wall) = (What::NotStarted { reason }, turn.now.mono, turn.now.wall);
            self.follow(next, End { run, what, story, failed: true, proven: false, at, at_wall }, turn);
        }
    }

    fn occupied(&mut self, run: RunId, holder: Holder, turn: &mut Turn<'_>) {
        if !self.is_launching(run) {
            return;
        }
        let watch = Watch::external(&self.spec.probes, turn.now.mono);
        let external = External { run, holder: holder.clone(), watch };
        // What runs now was started by somebody else, and never again by us.
        self.restarts = 0;
        let cause = external.words(self.spec.port);
        self.enter(Phase::External(Box::new(external)), cause);
        self.refresh(turn);
        turn.out.push(Effect::WatchPort { service: self.name().clone(), run, holder });
        self.probes_changed(Vec::new(), run, turn);
    }

    fn released(&mut self, turn: &mut Turn<'_>) {
        if !matches!(self.phase, Phase::External(_)) {
            return;
        }
        self.leave_external(turn);
        let why = "who held its port is gone";
        if self.wanted {
            self.enter(Phase::Blocked(Gate::Unknown), why);
        } else {
            self.rest(Rest::Stopped { why: why.into() }, turn);
        }
    }

    fn leave_external(&self, turn: &mut Turn<'_>) {
        let Phase::External(external) = &self.phase else { return };
        turn.out.push(Effect::UnwatchPort { service: self.name().clone() });
        self.probes_off(&external.watch.asked(), turn);
    }

    fn watch(&mut self, run: RunId) -> Option<&mut Watch> {
        match &mut self.phase {
            Phase::Up(up) if up.run.id == run => Some(&mut up.watch),
            Phase::External(external) if external.run == run => Some(&mut external.watch),
            Phase::Rest(_)
            | Phase::Blocked(_)
            | Phase::Backoff { .. }
            | Phase::Launching(_)
            | Phase::Up(_)
            | Phase::Ending(_)
            | Phase::External(_) => None,
        }
    }

    fn probed(&mut self, run: RunId, probe: ProbeKind, answer: Answer, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        let Some(watch) = self.watch(run) else { return };
        let before = watch.asked();
        let sick = watch.answered(probe, answer, now);
        self.watched(before, run, turn);
        if let Some(why) = sick {
            self.end(Cause::Sick(why), turn);
        }
    }

    fn notified(
        &mut self,
        run: RunId,
        ready: bool,
        stopping: bool,
        status: Option<String>,
        turn: &mut Turn<'_>,
    ) {
        let now = turn.now.mono;
        let Some(up) = self.up(run) else { return };
        up.notify_status = status.or(up.notify_status.take());
        let before = up.watch.asked();
        up.watch.notified(ready, stopping, now);
        self.watched(before, run, turn);
    }

    /// After the watch has learnt something.
    fn watched(&mut self, before: Vec<ProbeKind>, run: RunId, turn: &mut Turn<'_>) {
        self.cause = "is ready".into();
        self.refresh(turn);
        self.probes_changed(before, run, turn);
    }

    /// Tells the shell which probes it is to ask from now on.
    fn probes_changed(&mut self, before: Vec<ProbeKind>, run: RunId, turn: &mut Turn<'_>) {
        let Some(now) = self.watch(run).map(|watch| watch.asked()) else { return };
        let (service, over) = (self.name().clone(), before.iter().filter(|probe| !now.contains(probe)));
        self.probes_off(&over.copied().collect::<Vec<_>>(), turn);
        let new = now.iter().filter(|probe| !before.contains(probe));
        turn.out.extend(new.map(|&probe| Effect::ProbeOn { service: service.clone(), run, probe }));
    }

    /// The main process ended. What is left of its tree gets the stop signal, and the kill after the grace time.
    fn ended(&mut self, run: RunId, exit: Exit, at: Mono, turn: &mut Turn<'_>) {
        if self.run() != Some(run) {
            return;
        }
        // It ended before it was told to run.
        if let Phase::Launching(launching) = &self.phase {
            let since = launching.since;
            self.started(run, 0, since, turn);
        }
        let main = Main::Gone { exit, at };
        let wall = wall_at(at, turn.now);
        let (process, pid) = match &self.phase {
            Phase::Up(up) => (up.run, up.pid),
            Phase::Ending(Ending { run, main: Main::Lives { pid }, .. }) => (*run, *pid),
            Phase::Ending(Ending { main: Main::Gone { .. }, .. }) => return,
            Phase::Rest(_)
            | Phase::Blocked(_)
            | Phase::Backoff { .. }
            | Phase::Launching(_)
            | Phase::External(_) => return,
        };
        self.last_exit = Some(exit);
        self.record_exit(
            run,
            Some(pid).filter(|pid| *pid != 0),
            exit,
            wall,
            exit_words(exit, at.since(process.started)),
            turn,
        );
        if let Phase::Ending(ending) = &mut self.phase {
            ending.main = main;
            if ending.kills == 0 {
                turn.out.push(Effect::Stop { service: self.name().clone(), run });
            }
        } else {
            self.begin_ending(main, Cause::Own, turn);
        }
    }

    /// The end of a run is told once ever.
    fn record_exit(
        &mut self,
        run: RunId,
        pid: Option<u32>,
        exit: Exit,
        at: Wall,
        cause: String,
        turn: &mut Turn<'_>,
    ) {
        if self.told >= Some(run) {
            return;
        }
        self.told = Some(run);
        if self.written >= Some(run) {
            return;
        }
        turn.out.push(Effect::Record(Change {
            at,
            service: self.name().clone(),
            kind: ChangeKind::Exit,
            from: String::new(),
            to: exit.to_string(),
            cause,
            run: Some(run),
            pid,
            exit: Some(exit),
        }));
    }

    /// Nothing of the run is left. Where its end was not told before, nobody knows how it ended.
    fn tree_empty(&mut self, run: RunId, leftovers: u32, turn: &mut Turn<'_>) {
        if self.run() != Some(run) {
            return;
        }
        self.ended(run, Exit::Unknown, turn.now.mono, turn);
        let Phase::Ending(ending) = self.phase.clone() else { return };
        let Main::Gone { exit, at } = ending.main else { return };
        let story = ending.story();
        let daemonised = leftovers > 0 && exit.is_success() && matches!(ending.cause, Cause::Own);
        self.warn("leftovers", &if daemonised { leftover_words(leftovers) } else { String::new() }, turn);
        let what = what(&ending.cause, exit, at.since(ending.run.started));
        let (failed, proven, at_wall) = (!exit.is_success(), ending.proven, wall_at(at, turn.now));
        self.over(ending.cause, End { run, what, story, failed, proven, at, at_wall }, turn);
    }

    /// It is to be found out why.
    fn investigate(&self, run: RunId, what: What, follows: Follows, at: Wall, turn: &mut Turn<'_>) {
        let mishap = Mishap { service: self.name().clone(), run, at, what, follows };
        turn.out.push(Effect::Investigate(Box::new(mishap)));
    }

    fn after_end(&mut self, end: End, turn: &mut Turn<'_>) {
        let draw = policy::mix(turn.now.draw, self.name());
        let (restart, rules) = (self.spec.restart, &self.spec.backoff);
        let next = policy::after_end(restart, rules, &mut self.streak, end.failed, end.proven, draw);
        self.follow(next, end, turn);
    }

    fn follow(&mut self, next: Next, end: End, turn: &mut Turn<'_>) {
        let End { run, what, story, failed, at, at_wall, .. } = end;
        if let Some(follows) = Follows::of(next) {
            self.investigate(run, what, follows, at_wall, turn);
        }
        match next {
            Next::Done => self.rest(Rest::Done { why: format!("completed: {story}") }, turn),
            Next::Stay => {
                self.rest(Rest::Failed { why: format!("{story}; it is never restarted by itself") }, turn)
            }
            Next::GiveUp { failures } => {
                self.rest(
                    Rest::Failed { why: format!("{story}; gave up after {failures} failures in a row") },
                    turn,
                );
            }
            Next::Start => {
                self.restarts = self.restarts.saturating_add(1);
                self.enter(Phase::Blocked(Gate::Unknown), format!("{story}; starts again at once"));
            }
            Next::Wait { delay, number } => {
                self.restarts = self.restarts.saturating_add(1);
                // Only what is always restarted waits after a success: it may well be a task, not a service.
                let why = if failed {
                    format!("{story}; waits in backoff {number}")
                } else {
                    format!("{story}; if done, set \"restart\": \"on-failure\"")
                };
                self.enter(Phase::Backoff { until: at + delay, why: why.clone() }, why);
            }
        }
    }
}

/// How it ended, as somebody asks who did not want that.
fn what(cause: &Cause, exit: Exit, ran: Duration) -> What {
    match cause {
        Cause::Sick(why) => What::Unwell { why: why.clone(), exit, ran },
        Cause::Own | Cause::Asked | Cause::Restart => What::Ended { exit, ran },
    }
}

/// What the wall clock showed at `at`, as far as can be told now.
fn wall_at(at: Mono, now: Now) -> Wall {
    Wall(now.wall.0.saturating_sub(i64::try_from(now.mono.since(at).as_nanos()).unwrap_or(0)))
}

fn leftover_words(count: u32) -> String {
    let processes = if count == 1 { "1 process".into() } else { format!("{count} processes") };
    format!(
        "{processes} outlived its main process, which ended with code 0: does it daemonise? run it in the foreground"
    )
}
