//! Support of the tests: services to try things with, and scripts that read as a story.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Fleet;
use crate::ask::{Ask, Plan, plan};
use crate::event::{Answer, Change, ChangeKind, Effect, Event, News, Now, ProbeKind};
use crate::exit::Exit;
use crate::goal::{Verdict, judge};
use crate::incident::Mishap;
use crate::memory::Memory;
use crate::name::ServiceName;
use crate::spec::{
    Backoff, Check, Condition, Dependency, LogRules, Probe, Probes, Program, ServiceSpec, StopPolicy,
};
use crate::status::{Health, Holder, RunId, ServiceStatus, State};
use crate::time::{Mono, Wall};
use crate::wish::{Mode, Wish, Wishes};

pub(crate) const STARTUP: ProbeKind = ProbeKind::Startup;
pub(crate) const READINESS: ProbeKind = ProbeKind::Readiness;
pub(crate) const LIVENESS: ProbeKind = ProbeKind::Liveness;
/// The middle of the jitter.
const DRAW: u64 = 1 << 63;

pub(crate) fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A service without probes and without jitter.
pub(crate) fn svc(text: &str) -> ServiceSpec {
    ServiceSpec {
        name: name(text),
        program: Some(Program::Command(vec!["x".into()])),
        path: "/srv/x".into(),
        url: None,
        port: Some(5000),
        listen: Vec::new(),
        visible: true,
        admin_only: false,
        billing_or_admin_only: false,
        depends_on: Vec::new(),
        outside: Vec::new(),
        restart: Default::default(),
        backoff: Backoff { jitter: 0.0, ..Backoff::default() },
        stop: StopPolicy::default(),
        start_timeout: None,
        env_defaults: BTreeMap::new(),
        env_production: BTreeMap::new(),
        env_development: BTreeMap::new(),
        env_file: None,
        mode_flags: Vec::new(),
        env: BTreeMap::new(),
        probes: Probes::default(),
        limits: Default::default(),
        log: LogRules::default(),
    }
}

pub(crate) fn needs(spec: ServiceSpec, on: &[(&str, Condition)]) -> ServiceSpec {
    let depends_on = on.iter().map(|(on, condition)| Dependency { service: name(on), condition: *condition });
    ServiceSpec { depends_on: depends_on.collect(), ..spec }
}

pub(crate) fn probe(check: Check, successes: u32, failures: u32) -> Probe {
    Probe { check, interval: secs(15), timeout: secs(10), failures, successes, initial_delay: secs(0) }
}

pub(crate) fn http(path: &str) -> Check {
    Check::Http { url: format!("http://127.0.0.1:5000{path}"), fallback: Vec::new() }
}

/// With a readiness probe that counts at once.
pub(crate) fn probed(text: &str) -> ServiceSpec {
    with_probes(text, Probes { readiness: Some(probe(http("/health"), 1, 2)), ..Probes::default() })
}

pub(crate) fn with_probes(text: &str, probes: Probes) -> ServiceSpec {
    ServiceSpec { probes, ..svc(text) }
}

/// `start core#1`
pub(crate) fn show(effect: &Effect) -> Option<String> {
    let kind = |probe: &ProbeKind| format!("{probe:?}").to_lowercase();
    Some(match effect {
        Effect::Start { service, run, mode: Mode::Development } => format!("start {service}#{}", run.0),
        Effect::Start { service, run, mode: Mode::Production } => {
            format!("start {service}#{} production", run.0)
        }
        Effect::Stop { service, run } => format!("stop {service}#{}", run.0),
        Effect::Kill { service, run } => format!("kill {service}#{}", run.0),
        Effect::ProbeOn { service, run, probe } => format!("probe {service}#{} {}", run.0, kind(probe)),
        Effect::ProbeOff { service, probe } => format!("unprobe {service} {}", kind(probe)),
        Effect::WatchPort { service, run, .. } => format!("watch {service}#{}", run.0),
        Effect::UnwatchPort { service } => format!("unwatch {service}"),
        Effect::Retire { service } => format!("retire {service}"),
        Effect::Record(_) | Effect::Remember { .. } | Effect::Investigate(_) => return None,
    })
}

/// A fleet, and what happened to it since the last expectation.
pub(crate) struct Script {
    pub(crate) fleet: Fleet,
    pub(crate) mono: Mono,
    wishes: Wishes,
    done: Vec<String>,
    changes: Vec<Change>,
    mishaps: Vec<Mishap>,
    runs: BTreeMap<String, RunId>,
    memories: BTreeMap<ServiceName, Memory>,
    begun: BTreeMap<String, ServiceStatus>,
    goals: Vec<(ServiceName, crate::goal::Goal)>,
}

impl Script {
    /// Nothing was wanted, and nothing was found.
    pub(crate) fn new(services: impl IntoIterator<Item = ServiceSpec>) -> Self {
        let mut script = Self::unadopted(services, &[], 99);
        script.event(Event::Adopted);
        script.expect(&[]);
        script
    }

    /// All of them are wanted, and start as the fleet allows.
    pub(crate) fn all(services: impl IntoIterator<Item = ServiceSpec>) -> Self {
        let mut script = Self::new(services);
        script.ask(Ask::Up { names: vec![], mode: None, as_wanted: false });
        script
    }

    pub(crate) fn unadopted(
        services: impl IntoIterator<Item = ServiceSpec>,
        wanted: &[&str],
        cap: u32,
    ) -> Self {
        let mono = Mono(secs(1_000));
        let wish = Wish { run: true, ..Wish::default() };
        let wishes = Wishes { hold: false, services: wanted.iter().map(|w| (name(w), wish)).collect() };
        let services = services.into_iter().collect();
        let fleet = Fleet::new(services, wishes.clone(), BTreeMap::new(), RunId(1), cap, now(mono));
        Self {
            fleet,
            mono,
            wishes,
            done: Vec::new(),
            changes: Vec::new(),
            mishaps: Vec::new(),
            runs: BTreeMap::new(),
            memories: BTreeMap::new(),
            begun: BTreeMap::new(),
            goals: Vec::new(),
        }
    }

    pub(crate) fn event(&mut self, event: Event) -> &mut Self {
        for effect in self.fleet.step(now(self.mono), event) {
            if let Effect::Start { service, run, .. } = &effect {
                self.runs.insert(service.to_string(), *run);
            }
            self.done.extend(show(&effect));
            if let Effect::Record(change) = effect {
                self.changes.push(change);
            } else if let Effect::Remember { service, memory } = effect {
                self.memories.insert(service, *memory);
            } else if let Effect::Investigate(mishap) = effect {
                self.mishaps.push(*mishap);
            }
        }
        let deadline = self.fleet.deadline();
        assert!(deadline.is_none_or(|(at, _)| at > self.mono), "{deadline:?} is not after {:?}", self.mono);
        self
    }

    /// A new helmd, which has read what the former one wrote, and has not asked the keepers yet.
    pub(crate) fn reborn(&mut self) -> &mut Self {
        self.reborn_at(100)
    }

    /// The same, by a clock that gives this id to the first run.
    pub(crate) fn reborn_at(&mut self, first: u64) -> &mut Self {
        let written = serde_json::to_string(&(&self.wishes, &self.memories)).unwrap();
        let (wishes, memories): (Wishes, _) = serde_json::from_str(&written).unwrap();
        let specs = self.fleet.specs().cloned().collect();
        self.fleet = Fleet::new(specs, wishes, memories, RunId(first), 99, now(self.mono));
        self
    }

    /// What was left to the next helmd is lost.
    pub(crate) fn forget(&mut self) -> &mut Self {
        self.memories.clear();
        self
    }

    pub(crate) fn ask(&mut self, ask: Ask) -> &mut Self {
        let Plan { wishes, restart, kick, goals, also: _ } =
            plan(&ask, &self.wishes, &self.fleet, Mode::Development).unwrap();
        self.wishes = wishes.clone();
        self.goals = goals;
        self.begun = self.fleet.status().map(|status| (status.name.to_string(), status.clone())).collect();
        self.event(Event::Wished { wishes, restart, kick, by: "uid 7".into() })
    }

    pub(crate) fn start(&mut self, whom: &str) -> &mut Self {
        self.ask(Ask::Start { names: vec![whom.into()], mode: None })
    }

    pub(crate) fn stop(&mut self, whom: &str) -> &mut Self {
        self.ask(Ask::Stop { names: vec![whom.into()] })
    }

    pub(crate) fn restart(&mut self, whom: &[&str]) -> &mut Self {
        self.ask(Ask::Restart { names: whom.iter().map(|w| w.to_string()).collect(), mode: None })
    }

    pub(crate) fn down(&mut self) -> &mut Self {
        self.ask(Ask::Down { names: vec![] })
    }

    pub(crate) fn up(&mut self) -> &mut Self {
        self.ask(Ask::Up { names: vec![], mode: None, as_wanted: false })
    }

    /// What the last asker would be told of this service.
    pub(crate) fn verdict(&self, whom: &str) -> Verdict {
        let goal = self.goals.iter().find(|(name, _)| name.as_str() == whom).unwrap();
        judge(&goal.1, self.status(whom), &self.begun[whom])
    }

    pub(crate) fn done(&self, whom: &str) -> String {
        match self.verdict(whom) {
            Verdict::Done(word) => word,
            other @ (Verdict::Pending(_) | Verdict::Failed(_) | Verdict::Skipped(_)) => {
                panic!("{whom}: {other:?}")
            }
        }
    }

    pub(crate) fn news(&mut self, whom: &str, news: News) -> &mut Self {
        self.event(Event::News(name(whom), news))
    }

    pub(crate) fn run(&self, whom: &str) -> RunId {
        self.runs[whom]
    }

    pub(crate) fn started(&mut self, whom: &str) -> &mut Self {
        let run = self.run(whom);
        self.news(whom, News::Started { run, pid: 1_000 + run.0 as u32 })
    }

    pub(crate) fn start_failed(&mut self, whom: &str, permanent: bool) -> &mut Self {
        let run = self.run(whom);
        self.news(whom, News::StartFailed { run, reason: "no such file".into(), permanent })
    }

    pub(crate) fn not_installed(&mut self, whom: &str) -> &mut Self {
        let run = self.run(whom);
        self.news(whom, News::NotInstalled { run, reason: "the directory is not there".into() })
    }

    pub(crate) fn ended(&mut self, whom: &str, exit: Exit) -> &mut Self {
        let (run, at) = (self.run(whom), self.mono);
        self.news(whom, News::Ended { run, exit, at })
    }

    pub(crate) fn empty(&mut self, whom: &str) -> &mut Self {
        let run = self.run(whom);
        self.news(whom, News::TreeEmpty { run, leftovers: 0 })
    }

    /// The main process and its whole tree.
    pub(crate) fn died(&mut self, whom: &str, exit: Exit) -> &mut Self {
        self.ended(whom, exit).empty(whom)
    }

    pub(crate) fn answer(&mut self, whom: &str, probe: ProbeKind, health: Health) -> &mut Self {
        let run = self.run(whom);
        let answer = Answer {
            health,
            message: format!("says {}", health.as_str()),
            latency: Duration::from_millis(3),
        };
        self.news(whom, News::Probed { run, probe, answer })
    }

    pub(crate) fn says(
        &mut self,
        whom: &str,
        ready: bool,
        stopping: bool,
        status: Option<&str>,
    ) -> &mut Self {
        let run = self.run(whom);
        self.news(whom, News::Notified { run, ready, stopping, status: status.map(Into::into) })
    }

    pub(crate) fn occupied(&mut self, whom: &str) -> &mut Self {
        let run = self.run(whom);
        let holder = Holder { pid: Some(123), command: Some("java".into()), uid: Some(0) };
        self.news(whom, News::Occupied { run, holder })
    }

    /// A run that was found alive when helmd came.
    pub(crate) fn found(&mut self, whom: &str, run: u64, ready: bool, ended: Option<Exit>) -> &mut Self {
        self.found_of("", whom, run, ready, ended)
    }

    /// By whom it was started: the fingerprint of the definition.
    pub(crate) fn found_of(
        &mut self,
        definition: &str,
        whom: &str,
        run: u64,
        ready: bool,
        ended: Option<Exit>,
    ) -> &mut Self {
        let definition = definition.to_owned();
        self.runs.insert(whom.into(), RunId(run));
        let started = self.mono - secs(100);
        let (pid, started_wall, mode) = (1_000 + run as u32, wall(started), Mode::Production);
        let ended = ended.map(|exit| (exit, self.mono));
        let run = RunId(run);
        self.news(whom, News::Found { run, pid, started, started_wall, mode, ready, ended, definition })
    }

    /// A run that ended `ago` while no helmd was there, after `lived`.
    pub(crate) fn found_ended(
        &mut self,
        whom: &str,
        exit: Exit,
        lived: u64,
        ago: u64,
        ready: bool,
    ) -> &mut Self {
        self.found_ended_of(whom, 50, exit, lived, ago, ready)
    }

    pub(crate) fn found_ended_of(
        &mut self,
        whom: &str,
        run: u64,
        exit: Exit,
        lived: u64,
        ago: u64,
        ready: bool,
    ) -> &mut Self {
        let ended = self.mono - secs(ago);
        let started = ended - secs(lived);
        let (run, mode, ended_wall) = (RunId(run), Mode::Development, wall(ended));
        self.news(whom, News::FoundEnded { run, exit, started, ended, ended_wall, mode, ready })
    }

    /// The newest run whose end the next helmd need not ask for.
    pub(crate) fn told(&self, whom: &str) -> Option<RunId> {
        self.memories[whom].newest_told()
    }

    /// The end of this run stands in the events.
    pub(crate) fn written(&mut self, whom: &str, run: u64) -> &mut Self {
        let service = crate::name::ServiceName::new(whom).unwrap();
        self.fleet.ends_written([(service, RunId(run))].into());
        self
    }

    /// A run that another one followed.
    pub(crate) fn found_former(
        &mut self,
        whom: &str,
        run: u64,
        exit: Exit,
        lived: u64,
        ago: u64,
    ) -> &mut Self {
        let ended = self.mono - secs(ago);
        let (run, started, ended_wall) = (RunId(run), ended - secs(lived), wall(ended));
        self.news(whom, News::FoundFormer { run, exit, started, ended, ended_wall, ready: true })
    }

    /// Time passes; ticks come when the fleet asked for them.
    pub(crate) fn after(&mut self, time: Duration) -> &mut Self {
        let until = self.mono + time;
        while let Some((at, _)) = self.fleet.deadline().filter(|(at, _)| *at <= until) {
            self.mono = at;
            self.event(Event::Tick);
        }
        self.mono = until;
        self
    }

    /// All that was to be done since the last expectation, in order.
    #[track_caller]
    pub(crate) fn expect(&mut self, effects: &[&str]) -> &mut Self {
        assert_eq!(std::mem::take(&mut self.done), effects);
        self
    }

    /// Forget what was done so far.
    pub(crate) fn done_so_far(&mut self) {
        self.done.clear();
    }

    /// All changes of a kind since the last look: `core stopped -> starting: asked by uid 7`
    #[track_caller]
    pub(crate) fn expect_changes(&mut self, kind: ChangeKind, lines: &[&str]) -> &mut Self {
        let changes = std::mem::take(&mut self.changes);
        let line = |c: &Change| format!("{} {} -> {}: {}", c.service, c.from, c.to, c.cause);
        let got: Vec<String> = changes.iter().filter(|change| change.kind == kind).map(line).collect();
        assert_eq!(got, lines);
        self
    }

    pub(crate) fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// All that was to be investigated.
    pub(crate) fn mishaps(&self) -> &[Mishap] {
        &self.mishaps
    }

    pub(crate) fn status(&self, whom: &str) -> &ServiceStatus {
        self.fleet.status_of(whom).unwrap()
    }

    #[track_caller]
    pub(crate) fn is(&mut self, whom: &str, state: State, reason: &str) -> &mut Self {
        let status = self.status(whom);
        assert_eq!((status.state, status.reason.as_str()), (state, reason), "{whom}");
        self
    }
}

pub(crate) fn wall(mono: Mono) -> Wall {
    Wall(1_700_000_000_000_000_000 + mono.0.as_nanos() as i64)
}

pub(crate) fn now(mono: Mono) -> Now {
    Now { mono, wall: wall(mono), draw: DRAW }
}
