//! Random walks: a fleet in a simulated world whose news come late, out of order, twice, or from old runs.
//!
//! The world knows the truth (what really lives). After every step the invariants of the unit and the fleet are checked
//! against it; at the end the world behaves, and everything that is wanted and can run must run.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;

use super::Fleet;
use super::testing::{http, name, now, probe, secs, svc, wall};
use crate::ask::{Ask, plan};
use crate::event::{Answer, Effect, Event, News, ProbeKind};
use crate::exit::Exit;
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
    Deliver(Index),
    Again(Index),
    Answer(usize, StartAnswer),
    MainEnds(usize, Exit, bool),
    TreeEnds(usize),
    Probed(usize, ProbeKind, Health),
    Says(usize, bool),
    Watchdog(usize),
    Release(usize),
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
    newest: RunId,
}

impl World {
    fn new(specs: Vec<ServiceSpec>, wanted: &[bool], cap: u32) -> Self {
        let names: Vec<_> = specs.iter().map(|spec| spec.name.clone()).collect();
        let wish = |run| Wish { run, mode: Mode::Development };
        let services = names.iter().cloned().zip(wanted.iter().map(|&run| wish(run))).collect();
        let wishes = Wishes { hold: false, services };
        let mono = Mono(secs(1_000));
        let fleet = || Fleet::new(specs.clone(), wishes.clone(), RunId(100), cap, now(mono));
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
            newest: RunId(99),
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
                    ended,
                }
            }
            _ => {
                let (ended, exit) = (self.mono - secs(2), Exit::Code(i32::from(found > 100)));
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
        self.step(Event::News(service, news));
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
            self.send(service, News::Ended { run, exit, at: self.mono });
        }
        if !leftovers {
            self.end_tree(service);
        }
    }

    fn end_tree(&mut self, service: &ServiceName) {
        if let Some(&(run, Life::Tree)) = self.live.get(service) {
            self.live.remove(service);
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
        self.step(Event::Wished {
            wishes: plan.wishes,
            restart: plan.restart,
            kick: plan.kick,
            by: "walk".into(),
        });
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
            consistent(status);
            let live = self.live.get(&status.name);
            assert!(live.is_none() || status.run == live.map(|(run, _)| *run), "{live:?} but {status:?}");
            assert!(status.revision <= self.fleet.revision());
            let wanted =
                self.wishes.services.get(&status.name).is_some_and(|wish| wish.run) && !self.wishes.hold;
            assert_eq!(status.wanted, wanted, "{}", status.name);
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
