//! Random walks: a fleet in a simulated world whose news come late, out of order, twice, or from old runs.
//!
//! The world knows the truth (what really lives). After every step the invariants of the unit and the fleet are checked
//! against it; at the end the world behaves, and everything that is wanted and can run must run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;

use super::Fleet;
use super::testing::{http, name, now, probe, secs, svc, wall};
use crate::ask::{Ask, plan};
use crate::event::{Answer, ChangeKind, Effect, Event, News, ProbeKind};
use crate::exit::Exit;
use crate::memory::Memory;
use crate::name::ServiceName;
use crate::spec::{Backoff, Check, Condition, Dependency, Probes, RestartPolicy, ServiceSpec};
use crate::status::{Health, Holder, RunId, ServiceStatus, State};
use crate::time::Mono;
use crate::wish::{Mode, Wish, Wishes};

const MANY: usize = 5;

/// What the world, or an operator, does next. Indices are taken modulo what there is.
#[derive(Debug, Clone)]
enum Act {
    Adopted,
    /// A keeper that was silent at adoption says what it finds.
    Answered(usize),
    Deliver(Index),
    Again(Index),
    Answer(usize, StartAnswer),
    MainEnds(usize, Exit, bool),
    TreeEnds(usize),
    Probed(usize, ProbeKind, Health),
    Says(usize, bool),
    Watchdog(usize),
    Release(usize),
    /// helmd is killed, and the next one comes. What was to be remembered last may be lost.
    HelmdDies {
        forgets: bool,
        /// Whose keepers do not answer in time.
        silent: [bool; MANY],
    },
    Ask(AskKind, Vec<usize>),
    Wait(u64),
}

#[derive(Debug, Clone, Copy)]
enum StartAnswer {
    Runs { stubborn: bool },
    Fails { permanent: bool },
    NotInstalled,
    Occupied,
}

#[derive(Debug, Clone, Copy)]
enum AskKind {
    Start,
    Stop,
    Restart,
    Up,
    UpAll,
    UpAsWanted,
    Down,
    DownAll,
}

/// A run that really is there.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Life {
    /// Ordered and not answered.
    Ordered,
    Main {
        stubborn: bool,
    },
    /// Without its main process.
    Tree,
}

struct World {
    fleet: Fleet,
    /// Gets the same events, once written and read again.
    replica: Fleet,
    mono: Mono,
    wishes: Wishes,
    names: Vec<ServiceName>,
    live: BTreeMap<ServiceName, (RunId, Life)>,
    external: BTreeMap<ServiceName, RunId>,
    /// Not delivered yet.
    mail: Vec<(ServiceName, News)>,
    delivered: Vec<(ServiceName, News)>,
    adopted: bool,
    /// Keepers that have not answered this helmd yet.
    silent: BTreeSet<ServiceName>,
    newest: RunId,
    specs: Vec<ServiceSpec>,
    cap: u32,
    /// What is left to the next helmd, and what was before the last change.
    memories: BTreeMap<ServiceName, (Memory, Option<Memory>)>,
    /// The newest run that is over, of those whose program ran: how it ended, and when it was started and ended.
    past: BTreeMap<ServiceName, (RunId, Exit, Mono, Mono)>,
    /// When the live run was started, and how and when its main process ended.
    begun: BTreeMap<ServiceName, Mono>,
    ends: BTreeMap<ServiceName, (Exit, Mono)>,
    /// Runs whose end was told.
    told: BTreeMap<RunId, u32>,
    /// Runs whose unexpected end was to be investigated.
    investigated: BTreeSet<RunId>,
    /// A newer run than this one was asked for, and the ask was not taken back.
    renew: BTreeMap<ServiceName, RunId>,
    newest_of: BTreeMap<ServiceName, RunId>,
    forgot: bool,
}

impl World {
    fn new(specs: Vec<ServiceSpec>, wanted: &[bool], cap: u32) -> Self {
        let names: Vec<_> = specs.iter().map(|spec| spec.name.clone()).collect();
        let wish = |run| Wish { run, ..Wish::default() };
        let services = names.iter().cloned().zip(wanted.iter().map(|&run| wish(run))).collect();
        let wishes = Wishes { hold: false, services };
        let mono = Mono(secs(1_000));
        let fleet = || Fleet::new(specs.clone(), wishes.clone(), BTreeMap::new(), RunId(100), cap, now(mono));
        Self {
            fleet: fleet(),
            replica: fleet(),
            mono,
            wishes: wishes.clone(),
            names,
            live: BTreeMap::new(),
            external: BTreeMap::new(),
            mail: Vec::new(),
            delivered: Vec::new(),
            adopted: false,
            silent: BTreeSet::new(),
            newest: RunId(99),
            specs,
            cap,
            memories: BTreeMap::new(),
            past: BTreeMap::new(),
            begun: BTreeMap::new(),
            ends: BTreeMap::new(),
            told: BTreeMap::new(),
            investigated: BTreeSet::new(),
            renew: BTreeMap::new(),
            newest_of: BTreeMap::new(),
            forgot: false,
        }
    }

    /// What a new helmd finds of service `i`.
    fn find(&mut self, i: usize, found: u8) {
        let (service, run, mode) = (self.names[i].clone(), RunId(10 + i as u64), Mode::Production);
        let (started, pid) = (self.mono - secs(60), 10 + i as u32);
        let news = match found % 5 {
            0 | 1 => return,
            2 | 3 => {
                let ended = (found % 5 == 3).then_some(Exit::Code(1));
                self.begun.insert(service.clone(), started);
                self.ends.extend(ended.map(|exit| (service.clone(), (exit, self.mono - secs(1)))));
                self.live.insert(
                    service.clone(),
                    (run, if ended.is_some() { Life::Tree } else { Life::Main { stubborn: false } }),
                );
                News::Found {
                    run,
                    pid,
                    started,
                    started_wall: wall(started),
                    mode,
                    ready: found > 100,
                    ended: ended.map(|exit| (exit, self.mono - secs(1))),
                    definition: String::new(),
                }
            }
            _ => {
                let (ended, exit) = (self.mono - secs(2), Exit::Code(i32::from(found > 100)));
                self.past.insert(service.clone(), (run, exit, started, ended));
                News::FoundEnded {
                    run,
                    exit,
                    started,
                    ended,
                    ended_wall: wall(ended),
                    mode,
                    ready: found > 50,
                }
            }
        };
        if found.is_multiple_of(3) {
            return self.is_silent(i);
        }
        self.step(Event::News(service, news));
    }

    fn is_silent(&mut self, i: usize) {
        self.silent.insert(self.names[i].clone());
        self.step(Event::News(self.names[i].clone(), News::Silent));
    }

    fn answered(&mut self, i: usize) {
        if !self.adopted || !self.silent.remove(&self.names[i]) {
            return;
        }
        if let Some(news) = self.left(i) {
            self.step(Event::News(self.names[i].clone(), news));
        }
        self.step(Event::News(self.names[i].clone(), News::Answered));
    }

    fn step(&mut self, event: Event) {
        let effects = self.fleet.step(now(self.mono), event.clone());
        let written = serde_json::to_string(&event).unwrap();
        let again = self.replica.step(now(self.mono), serde_json::from_str(&written).unwrap());
        assert_eq!(effects, again, "the same events have the same effects");
        self.adopted |= event == Event::Adopted;
        assert!(self.adopted || effects.is_empty(), "nothing is decided before adoption: {effects:?}");
        for effect in effects {
            self.perform(effect);
        }
        self.check();
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Start { service, run, .. } => {
                assert_eq!(self.live.get(&service), None, "{service}: a second live run");
                assert!(run > self.newest, "run ids only grow");
                self.newest = run;
                self.newest_of.insert(service.clone(), run);
                self.live.insert(service, (run, Life::Ordered));
            }
            Effect::Stop { service, run } => match self.live.get(&service) {
                Some((live, Life::Main { stubborn: false })) if *live == run => {
                    self.end_main(&service, Exit::Signal(15), false);
                }
                Some((live, Life::Tree)) if *live == run => self.end_tree(&service),
                Some((_, Life::Ordered | Life::Main { .. } | Life::Tree)) | None => {}
            },
            Effect::Kill { service, run } => match self.live.get(&service) {
                Some((live, life)) if *live == run => {
                    if *life == Life::Ordered {
                        self.answer_start(&service, StartAnswer::Fails { permanent: false });
                    } else {
                        self.end_main(&service, Exit::Signal(9), false);
                    }
                }
                Some(_) | None => {}
            },
            Effect::UnwatchPort { service } => {
                self.external.remove(&service);
            }
            Effect::Retire { service } => {
                assert_eq!(self.live.get(&service), None, "{service}: its keeper is needed")
            }
            Effect::ProbeOn { service, run, .. } => {
                let known =
                    self.live.get(&service).map(|(run, _)| *run).or(self.external.get(&service).copied());
                assert!(known.is_none_or(|known| known == run), "{service}: a probe of another run");
            }
            // Only from here on the world can tell that the port is free again.
            Effect::WatchPort { service, run, .. } => {
                self.external.insert(service, run);
            }
            Effect::Record(change) if change.kind == ChangeKind::Exit => {
                let times = self.told.entry(change.run.unwrap()).or_default();
                *times += 1;
                assert!(*times == 1 || self.forgot, "told again: {change:?}");
            }
            Effect::Remember { service, memory } => {
                let former = self.memories.remove(&service).map(|(former, _)| former);
                self.memories.insert(service, (*memory, former));
            }
            Effect::Investigate(mishap) => {
                let first = self.investigated.insert(mishap.run);
                assert!(first || self.forgot, "investigated again: {mishap:?}");
            }
            Effect::ProbeOff { .. } | Effect::Record(_) => {}
        }
    }

    fn send(&mut self, service: &ServiceName, news: News) {
        self.mail.push((service.clone(), news));
    }

    fn answer_start(&mut self, service: &ServiceName, answer: StartAnswer) {
        let Some(&(run, Life::Ordered)) = self.live.get(service) else { return };
        self.live.remove(service);
        let holder = Holder { pid: Some(1), command: None, uid: None };
        let news = match answer {
            StartAnswer::Runs { stubborn } => {
                self.live.insert(service.clone(), (run, Life::Main { stubborn }));
                self.begun.insert(service.clone(), self.mono);
                News::Started { run, pid: run.0 as u32 }
            }
            StartAnswer::Fails { permanent } => News::StartFailed { run, reason: "no".into(), permanent },
            StartAnswer::NotInstalled => News::NotInstalled { run, reason: "no".into() },
            StartAnswer::Occupied => News::Occupied { run, holder },
        };
        self.send(service, news);
    }

    fn end_main(&mut self, service: &ServiceName, exit: Exit, leftovers: bool) {
        if let Some(&(run, Life::Main { .. })) = self.live.get(service) {
            self.live.insert(service.clone(), (run, Life::Tree));
            self.ends.insert(service.clone(), (exit, self.mono));
            self.send(service, News::Ended { run, exit, at: self.mono });
        }
        if !leftovers {
            self.end_tree(service);
        }
    }

    fn end_tree(&mut self, service: &ServiceName) {
        if let Some(&(run, Life::Tree)) = self.live.get(service) {
            self.live.remove(service);
            let (exit, at) = self.ends.remove(service).unwrap();
            self.past.insert(service.clone(), (run, exit, self.begun[service], at));
            self.send(service, News::TreeEmpty { run, leftovers: 1 });
        }
    }

    /// The run that probes and notifications are about.
    fn spoken_of(&self, service: &ServiceName) -> Option<RunId> {
        let live = self.live.get(service).filter(|(_, life)| matches!(life, Life::Main { .. }));
        live.map(|(run, _)| *run).or(self.external.get(service).copied())
    }

    fn act(&mut self, act: Act) {
        let who = |i: usize, names: &[ServiceName]| names[i % names.len()].clone();
        match act {
            Act::Adopted => self.step(Event::Adopted),
            Act::Answered(i) => self.answered(i % self.names.len()),
            Act::Deliver(_) if self.mail.is_empty() => {}
            Act::Deliver(i) => self.deliver(i.index(self.mail.len())),
            Act::Again(_) if self.delivered.is_empty() => {}
            Act::Again(i) => {
                let (service, news) = i.get(&self.delivered).clone();
                self.step(Event::News(service, news));
            }
            Act::Answer(i, answer) => self.answer_start(&who(i, &self.names), answer),
            Act::MainEnds(i, exit, leftovers) => self.end_main(&who(i, &self.names), exit, leftovers),
            Act::TreeEnds(i) => self.end_tree(&who(i, &self.names)),
            Act::Probed(i, probe, health) => {
                let service = who(i, &self.names);
                if let Some(run) = self.spoken_of(&service) {
                    let answer = Answer { health, message: "said".into(), latency: Duration::ZERO };
                    self.send(&service, News::Probed { run, probe, answer });
                }
            }
            Act::Says(i, ready) => {
                let service = who(i, &self.names);
                if let Some(run) = self.spoken_of(&service) {
                    self.send(&service, News::Notified { run, ready, stopping: false, status: None });
                }
            }
            Act::Watchdog(i) => {
                let service = who(i, &self.names);
                if let Some(run) = self.spoken_of(&service) {
                    self.send(&service, News::WatchdogMissed { run });
                }
            }
            Act::Release(i) => {
                let service = who(i, &self.names);
                if self.external.remove(&service).is_some() {
                    self.send(&service, News::Released);
                }
            }
            Act::HelmdDies { forgets, silent } => self.helmd_dies(forgets, silent),
            Act::Ask(kind, whom) => self.ask(kind, &whom),
            Act::Wait(ms) => self.wait(Duration::from_millis(ms)),
        }
    }

    fn deliver(&mut self, i: usize) {
        let (service, news) = self.mail.remove(i);
        self.delivered.push((service.clone(), news.clone()));
        self.step(Event::News(service, news));
    }

    fn ask(&mut self, kind: AskKind, whom: &[usize]) {
        let names: Vec<String> = whom.iter().map(|i| self.names[i % self.names.len()].to_string()).collect();
        let ask = match kind {
            AskKind::Start => Ask::Start { names, mode: None },
            AskKind::Stop => Ask::Stop { names },
            AskKind::Restart => Ask::Restart { names, mode: Some(Mode::Production) },
            AskKind::Up => Ask::Up { names, mode: None, as_wanted: false },
            AskKind::UpAll => Ask::Up { names: vec![], mode: None, as_wanted: false },
            AskKind::UpAsWanted => Ask::Up { names: vec![], mode: None, as_wanted: true },
            AskKind::Down => Ask::Down { names },
            AskKind::DownAll => Ask::Down { names: vec![] },
        };
        let plan = plan(&ask, &self.wishes, &self.fleet, Mode::Development).unwrap();
        self.wishes = plan.wishes.clone();
        self.keep_asks(&ask);
        self.step(Event::Wished {
            wishes: plan.wishes,
            restart: plan.restart,
            kick: plan.kick,
            by: "walk".into(),
        });
    }

    /// Remembers which runs are to be followed by newer ones.
    fn keep_asks(&mut self, ask: &Ask) {
        match ask {
            Ask::Restart { names, .. } => {
                let known = names.iter().filter_map(|named| self.fleet.status_of(named));
                self.renew.extend(known.filter_map(|status| Some((status.name.clone(), status.run?))));
            }
            Ask::Stop { names } | Ask::Down { names } => {
                self.renew.retain(|service, _| !names.iter().any(|named| named == service.as_str()));
            }
            Ask::Start { .. } | Ask::Up { .. } | Ask::Forget => {}
        }
        if self.wishes.hold {
            self.renew.clear();
        }
    }

    /// Nothing of helmd is left: no news that was under way, no holder of a port that was known. What runs goes on;
    /// of starts that were ordered, every other one came to its exec.
    fn helmd_dies(&mut self, forgets: bool, silent: [bool; MANY]) {
        if !self.adopted {
            return;
        }
        let before: Vec<ServiceStatus> = self.fleet.status().cloned().collect();
        let unheard: Vec<ServiceName> = self.mail.drain(..).map(|(service, _)| service).collect();
        self.delivered.clear();
        self.external.clear();
        self.silent.clear();
        self.forgot |= forgets;
        if forgets {
            let former = std::mem::take(&mut self.memories).into_iter();
            self.memories =
                former.filter_map(|(service, (_, former))| Some((service, (former?, None)))).collect();
        }
        let memories = || {
            let kept: BTreeMap<_, _> =
                self.memories.iter().map(|(service, (memory, _))| (service, memory)).collect();
            let written = serde_json::to_string(&kept).unwrap();
            serde_json::from_str::<BTreeMap<ServiceName, Memory>>(&written).unwrap()
        };
        let written = serde_json::to_string(&self.wishes).unwrap();
        self.wishes = serde_json::from_str(&written).unwrap();
        let fleet = || {
            let first = RunId(self.newest.0 + 1);
            Fleet::new(self.specs.clone(), self.wishes.clone(), memories(), first, self.cap, now(self.mono))
        };
        (self.fleet, self.replica) = (fleet(), fleet());
        self.adopted = false;
        for (i, silent) in silent.into_iter().enumerate() {
            let quiet = News::Warning { topic: "output".into(), text: String::new() };
            self.step(Event::News(self.names[i].clone(), quiet));
            if silent {
                self.is_silent(i);
            } else if let Some(news) = self.left(i) {
                self.step(Event::News(self.names[i].clone(), news));
            }
        }
        self.step(Event::Adopted);
        let heard = |before: &&ServiceStatus| {
            !forgets && !unheard.contains(&before.name) && !self.silent.contains(&before.name)
        };
        for before in before.iter().filter(heard) {
            self.check_known(before);
        }
    }

    /// What a keeper answers to the next helmd.
    fn left(&mut self, i: usize) -> Option<News> {
        let service = self.names[i].clone();
        if let Some(&(run, Life::Ordered)) = self.live.get(&service) {
            self.live.remove(&service);
            if run.0 % 2 == 0 {
                self.live.insert(service.clone(), (run, Life::Main { stubborn: false }));
                self.begun.insert(service.clone(), self.mono);
            }
        }
        let (mode, ready) = (Mode::Development, false);
        if let Some((run, _)) = self.live.get(&service) {
            let (started, ended) = (self.begun[&service], self.ends.get(&service).copied());
            let (pid, started_wall) = (run.0 as u32, wall(started));
            let (run, definition) = (*run, String::new());
            return Some(News::Found { run, pid, started, started_wall, mode, ready, ended, definition });
        }
        let &(run, exit, started, ended) = self.past.get(&service)?;
        Some(News::FoundEnded { run, exit, started, ended, ended_wall: wall(ended), mode, ready })
    }

    /// The next helmd knows what the former one knew of a process that lives, and of one that was done with.
    fn check_known(&self, before: &ServiceStatus) {
        let after = self.fleet.status_of(before.name.as_str()).unwrap();
        let lives =
            matches!(self.live.get(&before.name), Some((run, Life::Main { .. })) if Some(*run) == before.run);
        let known = |s: &ServiceStatus| (s.state, s.since, s.ready, s.health, s.health_message.clone());
        let counts = |s: &ServiceStatus| (s.restarts, s.last_exit);
        if lives && before.pid.is_some() {
            assert_eq!(counts(after), counts(before));
            assert!(
                after.state == State::Stopping || known(after) == known(before),
                "{before:?}, then {after:?}"
            );
        }
        let done = matches!(before.state, State::Stopped | State::Backoff);
        if done && before.waits_for.is_empty() {
            assert_eq!((known(after), counts(after)), (known(before), counts(before)));
            assert_eq!((after.completed, after.next_start), (before.completed, before.next_start));
        }
    }

    /// Time passes; ticks come when they were asked for.
    fn wait(&mut self, time: Duration) {
        let until = self.mono + time;
        while let Some((at, _)) = self.fleet.deadline().filter(|(at, _)| *at <= until) {
            self.mono = at;
            self.step(Event::Tick);
        }
        self.mono = until;
    }

    fn check(&self) {
        let deadline = self.fleet.deadline();
        assert!(deadline.is_none_or(|(at, _)| at > self.mono), "{deadline:?} at {:?}", self.mono);
        assert_eq!(deadline, self.replica.deadline());
        assert!(self.fleet.status().eq(self.replica.status()));
        for status in self.fleet.status().filter(|_| self.adopted) {
            if self.silent.contains(&status.name) {
                assert_eq!((status.state, status.run), (State::Blocked, None), "{status:?}");
                continue;
            }
            consistent(status);
            let live = self.live.get(&status.name);
            assert!(live.is_none() || status.run == live.map(|(run, _)| *run), "{live:?} but {status:?}");
            assert!(status.revision <= self.fleet.revision());
            let wanted =
                self.wishes.services.get(&status.name).is_some_and(|wish| wish.run) && !self.wishes.hold;
            assert_eq!(status.wanted, wanted, "{}", status.name);
            self.check_stuck(status);
        }
    }

    /// Who is called stuck waits, directly or through others, for one that does nothing by itself.
    fn check_stuck(&self, status: &ServiceStatus) {
        let waited = status.waits_for.iter().map(|on| self.fleet.status_of(on.as_str()).unwrap());
        let roots: Vec<&ServiceStatus> = waited
            .filter_map(|on| {
                let through = on.stuck.as_ref().map(|stuck| stuck.root.as_str());
                self.fleet.status_of(through.unwrap_or(on.name.as_str()))
            })
            .filter(|on| is_dead_end(on))
            .collect();
        let blocked = status.state == State::Blocked;
        assert_eq!(status.stuck.is_some(), blocked && !roots.is_empty(), "{status:?}");
        if let Some(stuck) = &status.stuck {
            assert!(roots.iter().any(|root| root.name == stuck.root), "{status:?}");
            assert_eq!(
                stuck.absent,
                roots.iter().all(|root| root.state == State::NotInstalled),
                "{status:?}"
            );
        }
    }

    /// From now on the world does what it is asked for, and does not fail any more.
    fn behave(&mut self) {
        if !self.adopted {
            self.step(Event::Adopted);
        }
        for _ in 0..200 {
            let revision = self.fleet.revision();
            // Probes are many times faster than any timeout.
            for _ in 0..8 {
                self.answer_all();
            }
            match self.fleet.deadline() {
                Some((at, _)) => self.wait(at.since(self.mono)),
                None if self.fleet.revision() == revision => return,
                None => {}
            }
        }
        panic!("the fleet does not come to rest: {:#?}", self.fleet.status().collect::<Vec<_>>());
    }

    fn answer_all(&mut self) {
        for i in 0..self.names.len() {
            self.answered(i);
            self.act(Act::Answer(i, StartAnswer::Runs { stubborn: false }));
            self.act(Act::TreeEnds(i));
            self.act(Act::Release(i));
            self.act(Act::Says(i, true));
            for kind in [ProbeKind::Startup, ProbeKind::Readiness, ProbeKind::Liveness] {
                self.act(Act::Probed(i, kind, Health::Healthy));
            }
        }
        while !self.mail.is_empty() {
            self.deliver(0);
        }
    }

    /// Everything that is wanted and can run runs; nothing else does.
    fn check_rest(&self) {
        for (status, spec) in self.fleet.status().zip(self.fleet.specs()) {
            let name = &status.name;
            if !status.wanted {
                assert_eq!((status.state, self.live.get(name)), (State::Stopped, None), "{status:?}");
                continue;
            }
            // A run whose program never ran is followed by nothing: its start has failed.
            let never_ran = |old: &RunId| self.past.get(name).is_none_or(|(run, ..)| run < old);
            let failed = matches!(status.state, State::Failed | State::NotInstalled);
            let due = |old: &&RunId| status.state != State::Blocked && !(failed && never_ran(old));
            if let Some(old) = self.renew.get(name).filter(due) {
                assert!(self.newest_of.get(name) > Some(old), "{status:?}: a restart was forgotten");
            }
            match status.state {
                State::Running => assert!(status.ready && self.live.contains_key(name), "{status:?}"),
                State::Blocked => {
                    let lacks = spec.depends_on.iter().any(|edge| !self.holds(edge));
                    assert!(lacks && !status.waits_for.is_empty(), "{status:?} waits for nothing");
                }
                State::Failed | State::NotInstalled => {}
                State::Stopped => assert!(status.completed, "{status:?}"),
                State::Starting | State::Stopping | State::Backoff | State::External => panic!("{status:?}"),
            }
        }
    }

    /// The condition, read from the statuses alone.
    fn holds(&self, edge: &Dependency) -> bool {
        let on = self.fleet.status_of(edge.service.as_str()).unwrap();
        on.completed
            || match edge.condition {
                Condition::Started => on.pid.is_some(),
                Condition::Ready => on.ready,
                Condition::Healthy => on.ready && on.health == Health::Healthy,
                Condition::Completed => false,
            }
    }
}

fn is_dead_end(status: &ServiceStatus) -> bool {
    matches!(status.state, State::Failed | State::NotInstalled)
        || status.state == State::Stopped && !status.wanted && !status.completed
}

/// A status does not contradict itself.
fn consistent(status: &ServiceStatus) {
    let process = matches!(status.state, State::Starting | State::Running | State::Stopping);
    let external = status.state == State::External;
    assert_eq!(status.run.is_some(), process, "{status:?}");
    assert!(status.pid.is_none() || process || external, "{status:?}");
    assert!(status.state != State::Running || status.pid.is_some(), "{status:?}");
    assert!(!status.ready || status.state == State::Running || external, "{status:?}");
    assert!(status.health == Health::Unknown || process || external, "{status:?}");
    assert_eq!(status.next_start.is_some(), status.state == State::Backoff, "{status:?}");
    assert_eq!(status.holder.is_some(), external, "{status:?}");
    assert!(!status.completed || status.state == State::Stopped, "{status:?}");
    assert!(
        status.waits_for.is_empty()
            || matches!(status.state, State::Blocked | State::Starting | State::Running)
    );
    assert!(!status.reason.is_empty(), "{status:?}");
    let planned = matches!(status.state, State::Blocked | State::Backoff);
    assert!(!planned || status.wanted, "{status:?}");
}

fn checks() -> impl Strategy<Value = Option<Check>> {
    prop_oneof![2 => Just(None), 2 => Just(Some(http("/health"))), 1 => Just(Some(Check::Notify)),
        1 => Just(Some(Check::Tcp { host: "localhost".into(), port: 1 }))]
}

fn probes() -> impl Strategy<Value = Probes> {
    (checks(), checks(), checks(), 1..3u32, 1..3u32).prop_map(|(startup, readiness, liveness, good, bad)| {
        let make = |check: Option<Check>| check.map(|check| probe(check, good, bad));
        Probes { startup: make(startup), readiness: make(readiness), liveness: make(liveness) }
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        Just(Condition::Started),
        Just(Condition::Ready),
        Just(Condition::Healthy),
        Just(Condition::Completed)
    ]
}

/// Service `i` may depend on those before it: there is no cycle.
fn spec(i: usize) -> impl Strategy<Value = ServiceSpec> {
    let edges = proptest::collection::btree_map(0..i.max(1), condition(), 0..3usize);
    let policy = prop_oneof![
        2 => Just(RestartPolicy::Always), 1 => Just(RestartPolicy::OnFailure), 1 => Just(RestartPolicy::Never)
    ];
    let limits = (proptest::option::of(1..4u32), proptest::option::of(1..20u64));
    (edges, policy, probes(), limits).prop_map(move |(edges, restart, probes, (limit, start_timeout))| {
        let edge =
            |(on, condition): (usize, Condition)| Dependency { service: name(&format!("s{on}")), condition };
        ServiceSpec {
            depends_on: if i == 0 { Vec::new() } else { edges.into_iter().map(edge).collect() },
            restart,
            probes,
            backoff: Backoff { limit, ..Backoff::default() },
            start_timeout: start_timeout.map(secs),
            ..svc(&format!("s{i}"))
        }
    })
}

/// Backwards in the list as often as forwards: the order of the file must not matter.
fn specs() -> impl Strategy<Value = Vec<ServiceSpec>> {
    ((spec(0), spec(1), spec(2), spec(3), spec(4)), any::<bool>()).prop_map(|((a, b, c, d, e), backwards)| {
        let mut all = vec![a, b, c, d, e];
        if backwards {
            all.reverse();
        }
        all
    })
}

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![Just(Exit::Code(0)), Just(Exit::Code(1)), Just(Exit::Signal(9)), Just(Exit::Unknown)]
}

fn health() -> impl Strategy<Value = Health> {
    prop_oneof![3 => Just(Health::Healthy), 1 => Just(Health::Degraded), 1 => Just(Health::Unhealthy), 1 => Just(Health::Unreachable)]
}

fn kind() -> impl Strategy<Value = ProbeKind> {
    prop_oneof![Just(ProbeKind::Startup), Just(ProbeKind::Readiness), Just(ProbeKind::Liveness)]
}

fn start_answer() -> impl Strategy<Value = StartAnswer> {
    prop_oneof![
        8 => any::<bool>().prop_map(|stubborn| StartAnswer::Runs { stubborn }),
        1 => any::<bool>().prop_map(|permanent| StartAnswer::Fails { permanent }),
        1 => Just(StartAnswer::NotInstalled),
        1 => Just(StartAnswer::Occupied),
    ]
}

fn ask_kind() -> impl Strategy<Value = AskKind> {
    prop_oneof![
        4 => Just(AskKind::Start), 2 => Just(AskKind::Stop), 3 => Just(AskKind::Restart), 1 => Just(AskKind::Up),
        2 => Just(AskKind::UpAll), 1 => Just(AskKind::UpAsWanted), 1 => Just(AskKind::Down), 1 => Just(AskKind::DownAll),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let who = || 0..MANY;
    prop_oneof![
        1 => Just(Act::Adopted),
        20 => any::<Index>().prop_map(Act::Deliver),
        2 => any::<Index>().prop_map(Act::Again),
        10 => (who(), start_answer()).prop_map(|(i, answer)| Act::Answer(i, answer)),
        4 => (who(), exit(), any::<bool>()).prop_map(|(i, exit, left)| Act::MainEnds(i, exit, left)),
        2 => who().prop_map(Act::TreeEnds),
        10 => (who(), kind(), health()).prop_map(|(i, kind, health)| Act::Probed(i, kind, health)),
        3 => (who(), any::<bool>()).prop_map(|(i, ready)| Act::Says(i, ready)),
        1 => who().prop_map(Act::Watchdog),
        1 => who().prop_map(Act::Release),
        2 => (proptest::bool::weighted(0.3), proptest::array::uniform5(proptest::bool::weighted(0.2)))
            .prop_map(|(forgets, silent)| Act::HelmdDies { forgets, silent }),
        2 => who().prop_map(Act::Answered),
        6 => (ask_kind(), proptest::collection::vec(who(), 1..3)).prop_map(|(kind, whom)| Act::Ask(kind, whom)),
        6 => prop_oneof![0..50u64, 500..20_000u64].prop_map(Act::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::SourceParallel("proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn invariants_hold_in_any_world(
        specs in specs(),
        wanted in proptest::collection::vec(any::<bool>(), MANY),
        found in proptest::collection::vec(any::<u8>(), MANY),
        cap in 1..4u32,
        acts in proptest::collection::vec(act(), 0..150),
    ) {
        let mut world = World::new(specs, &wanted, cap);
        for (i, found) in found.into_iter().enumerate() {
            world.find(i, found);
        }
        for act in acts {
            world.act(act);
        }
        world.behave();
        world.check_rest();
        let news = world.fleet.revision();
        world.wait(secs(3_600));
        prop_assert_eq!(world.fleet.revision(), news, "at rest nothing moves");

        world.ask(AskKind::DownAll, &[]);
        world.behave();
        prop_assert!(world.live.is_empty(), "a stop always ends: {:?}", world.live);
        world.check_rest();
    }
}
