//! What an operator asks, as a function from wishes to wishes.

use std::collections::BTreeSet;

use crate::fleet::Fleet;
use crate::goal::Goal;
use crate::name::ServiceName;
use crate::spec::ServiceSpec;
use crate::status::{RunId, ServiceStatus, State};
use crate::wish::{Mode, Wish, Wishes};

/// One ask. Names are taken as the operator wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Start these, and what they depend on.
    Start {
        /// Whom.
        names: Vec<String>,
        /// `None`: as last time, else the default.
        mode: Option<Mode>,
    },
    /// Stop these, and nothing else.
    Stop {
        /// Whom.
        names: Vec<String>,
    },
    /// Stop and start these.
    Restart {
        /// Whom.
        names: Vec<String>,
        /// `None`: as last time, else the default.
        mode: Option<Mode>,
    },
    /// Lift the hold, and start these.
    Up {
        /// Whom; empty: every service.
        names: Vec<String>,
        /// `None`: as last time, else the default.
        mode: Option<Mode>,
        /// Leave alone what an operator stopped.
        as_wanted: bool,
    },
    /// Stop these.
    Down {
        /// Whom; empty: hold the fleet down, and leave the wishes as they are.
        names: Vec<String>,
    },
    /// Want no more what is configured no more: else it would be started by itself once it is configured again.
    Forget,
}

/// What follows from an ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The wishes as they are to be recorded.
    pub wishes: Wishes,
    /// For `Event::Wished`.
    pub restart: Vec<ServiceName>,
    /// For `Event::Wished`.
    pub kick: Vec<ServiceName>,
    /// What the asker waits for.
    pub goals: Vec<(ServiceName, Goal)>,
    /// What is started beside what was named, because that needs it, and does not run yet.
    pub also: Vec<ServiceName>,
}

/// Why an ask changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such service.
    #[error("there is no service `{name}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    UnknownService {
        /// As asked.
        name: String,
        /// The configured name that looks most like it.
        nearest: Option<ServiceName>,
    },
    /// A directory entry: an address without a program.
    #[error(
        "`{name}` is an entry of the directory: it has an address and no program that Helm could start or stop"
    )]
    NotRunnable {
        /// Whom.
        name: ServiceName,
    },
    /// It is configured no more.
    #[error(
        "`{name}` is not in the configuration in force: it can be stopped, not started. helmctl plan shows whether services.json has it, helmctl reload applies that"
    )]
    Removed {
        /// Whom.
        name: ServiceName,
    },
    /// An ask that needs names came without one.
    #[error("name at least one service")]
    NoNames,
}

/// Plans `ask`. Changes nothing by itself: the wishes are recorded first, then handed to the fleet.
pub fn plan(ask: &Ask, wishes: &Wishes, fleet: &Fleet, default_mode: Mode) -> Result<Plan, Refusal> {
    let as_wanted = matches!(ask, Ask::Up { as_wanted: true, .. });
    let planner = Planner { fleet, default_mode, as_wanted };
    match ask {
        Ask::Start { names, mode } => Ok(planner.start(&planner.configured(names)?, *mode, true, wishes)),
        Ask::Stop { names } => Ok(planner.stop(&planner.named(names)?, wishes)),
        Ask::Restart { names, mode } => Ok(planner.restart(&planner.configured(names)?, *mode, wishes)),
        Ask::Up { names, mode, as_wanted } => {
            let all = names.is_empty();
            let mut whom = if all { planner.runnable() } else { planner.configured(names)? };
            whom.retain(|spec| !spec.is_removed());
            if *as_wanted {
                whom.retain(|spec| wishes.services.get(&spec.name).is_none_or(|wish| wish.run));
            }
            let lifted = if all { Wishes { hold: false, ..wishes.clone() } } else { wishes.clone() };
            let mut plan = planner.start(&whom, *mode, !all, &lifted);
            if all {
                for (_, goal) in &mut plan.goals {
                    if let Goal::Up { if_installed, .. } = goal {
                        *if_installed = true;
                    }
                }
            }
            Ok(plan)
        }
        Ask::Down { names } if names.is_empty() => Ok(planner.hold(wishes)),
        Ask::Down { names } => Ok(planner.stop(&planner.named(names)?, wishes)),
        Ask::Forget => Ok(planner.forget(wishes)),
    }
}

/// The goal of a start.
const UP: Goal = Goal::Up { fresh_since: None, if_installed: false };

struct Planner<'a> {
    fleet: &'a Fleet,
    default_mode: Mode,
    /// What an operator stopped stays so, also where others need it: they wait, and say for whom.
    as_wanted: bool,
}

impl<'a> Planner<'a> {
    fn runnable(&self) -> Vec<&'a ServiceSpec> {
        self.fleet.specs().filter(|spec| spec.program.is_some()).collect()
    }

    /// The named services, each once, in the order asked.
    fn named(&self, names: &[String]) -> Result<Vec<&'a ServiceSpec>, Refusal> {
        if names.is_empty() {
            return Err(Refusal::NoNames);
        }
        let mut found: Vec<&ServiceSpec> = Vec::new();
        for name in names {
            let spec = self.find(name).ok_or_else(|| self.unknown(name))?;
            if spec.program.is_none() {
                return Err(Refusal::NotRunnable { name: spec.name.clone() });
            }
            if !found.iter().any(|known| known.name == spec.name) {
                found.push(spec);
            }
        }
        Ok(found)
    }

    /// The same, of services that can be started.
    fn configured(&self, names: &[String]) -> Result<Vec<&'a ServiceSpec>, Refusal> {
        let named = self.named(names)?;
        match named.iter().find(|spec| spec.is_removed()) {
            Some(spec) => Err(Refusal::Removed { name: spec.name.clone() }),
            None => Ok(named),
        }
    }

    fn find(&self, name: &str) -> Option<&'a ServiceSpec> {
        self.fleet.specs().find(|spec| spec.name.as_str() == name)
    }

    fn unknown(&self, name: &str) -> Refusal {
        let alike =
            |spec: &&ServiceSpec| strsim::damerau_levenshtein(&name.to_lowercase(), spec.name.as_str());
        let nearest =
            self.fleet.specs().min_by_key(alike).filter(|spec| alike(spec) <= 1 + name.chars().count() / 3);
        Refusal::UnknownService { name: name.into(), nearest: nearest.map(|spec| spec.name.clone()) }
    }

    fn status(&self, name: &ServiceName) -> Option<&'a ServiceStatus> {
        self.fleet.status_of(name.as_str())
    }

    fn run(&self, name: &ServiceName) -> Option<RunId> {
        self.status(name).and_then(|status| status.run)
    }

    /// A one-shot that is done need not be done again, unless it is named. One that is wanted and ends may be one that
    /// has just been done: its policy decides.
    fn is_left_alone(&self, name: &ServiceName) -> bool {
        self.status(name)
            .is_some_and(|status| status.completed || status.wanted && status.state == State::Stopping)
    }

    fn start(&self, whom: &[&ServiceSpec], mode: Option<Mode>, named: bool, wishes: &Wishes) -> Plan {
        let mut wishes = lift(wishes);
        for spec in whom {
            self.want(&spec.name, mode, named, &mut wishes);
        }
        let asked = whom.iter().map(|spec| &spec.name).filter(|name| named || !self.is_left_alone(name));
        let mut kick: Vec<ServiceName> = asked.cloned().collect();
        let mut also = Vec::new();
        for name in self.needed(whom) {
            let status = self.status(&name);
            let wish = wishes.services.get(&name);
            if self.as_wanted && wish.is_some_and(|wish| !wish.run) {
                continue;
            }
            let wanted = wish.is_some_and(|wish| wish.run);
            if !wanted && status.is_none_or(|status| status.state != State::External) {
                self.want(&name, mode, false, &mut wishes);
            }
            if !self.is_left_alone(&name) {
                also.extend(status.is_none_or(|status| !is_there(status)).then(|| name.clone()));
                kick.push(name);
            }
        }
        let goals = whom.iter().map(|spec| (spec.name.clone(), UP)).collect();
        Plan { wishes, restart: Vec::new(), kick, goals, also }
    }

    fn restart(&self, whom: &[&ServiceSpec], mode: Option<Mode>, wishes: &Wishes) -> Plan {
        let plan = self.start(whom, mode, true, wishes);
        let fresh = |name: &ServiceName| {
            // Any run of ours is newer than what Helm does not run; while that stays, nothing is restarted.
            let external = self.status(name).is_some_and(|status| status.state == State::External);
            let fresh_since = if external { Some(RunId(0)) } else { self.run(name) };
            Goal::Up { fresh_since, if_installed: false }
        };
        let names = || whom.iter().map(|spec| spec.name.clone());
        let mut wishes = plan.wishes;
        for name in names() {
            if let (Some(run), Some(wish)) = (self.run(&name), wishes.services.get_mut(&name)) {
                wish.newer_than = Some(run);
            }
        }
        Plan {
            wishes,
            restart: names().collect(),
            goals: names().map(|name| (name.clone(), fresh(&name))).collect(),
            ..plan
        }
    }

    fn stop(&self, whom: &[&ServiceSpec], wishes: &Wishes) -> Plan {
        let mut wishes = wishes.clone();
        for spec in whom {
            let mode = self.mode(&spec.name, None, &wishes);
            wishes.services.insert(spec.name.clone(), Wish { run: false, mode, newer_than: None });
        }
        let goals = whom.iter().map(|spec| (spec.name.clone(), Goal::Stopped)).collect();
        Plan { wishes, goals, ..Plan::default() }
    }

    /// What was stopped stays so, whenever it is configured again.
    fn forget(&self, wishes: &Wishes) -> Plan {
        let mut wishes = wishes.clone();
        wishes.services.retain(|name, wish| !wish.run || self.find(name.as_str()).is_some());
        Plan { wishes, ..Plan::default() }
    }

    /// What Helm does not run is left as it is, and not waited for.
    fn hold(&self, wishes: &Wishes) -> Plan {
        let goal = |spec: &&ServiceSpec| {
            let external = self.status(&spec.name)?.state == State::External;
            Some((spec.name.clone(), if external { Goal::LeftAlone } else { Goal::Stopped }))
        };
        let goals = self.runnable().iter().filter_map(goal).collect();
        Plan { wishes: Wishes { hold: true, ..wishes.clone() }, goals, ..Plan::default() }
    }

    fn want(&self, name: &ServiceName, mode: Option<Mode>, named: bool, wishes: &mut Wishes) {
        let mode = self.mode(name, mode, wishes);
        // What is ending already ends, and another run follows: the same as a restart.
        let ending = self.status(name).filter(|status| status.state == State::Stopping);
        let ending = ending.filter(|_| named || !self.is_left_alone(name));
        let asked = wishes.services.get(name).and_then(|wish| wish.newer_than);
        let newer_than = ending.and_then(|status| status.run).max(asked);
        wishes.services.insert(name.clone(), Wish { run: true, mode, newer_than });
    }

    fn mode(&self, name: &ServiceName, asked: Option<Mode>, wishes: &Wishes) -> Mode {
        let remembered = wishes.services.get(name).map(|wish| wish.mode);
        asked.or(remembered).unwrap_or(self.default_mode)
    }

    /// Everything that `whom` depends on, also through others, without `whom`.
    fn needed(&self, whom: &[&ServiceSpec]) -> BTreeSet<ServiceName> {
        let mut needed = BTreeSet::new();
        let mut todo: Vec<&ServiceSpec> = whom.to_vec();
        while let Some(spec) = todo.pop() {
            for edge in &spec.depends_on {
                if let Some(on) = self.find(edge.service.as_str()).filter(|on| on.program.is_some())
                    && needed.insert(on.name.clone())
                {
                    todo.push(on);
                }
            }
        }
        needed.retain(|name| whom.iter().all(|spec| spec.name != *name));
        needed
    }
}

/// It runs, or is on its way already.
fn is_there(status: &ServiceStatus) -> bool {
    match status.state {
        State::Starting | State::Running | State::External => true,
        State::Stopped
        | State::Blocked
        | State::Stopping
        | State::Backoff
        | State::Failed
        | State::NotInstalled => false,
    }
}

/// Starting something while the fleet is held down lifts the hold for it alone: what the hold keeps down becomes
/// "never asked for", so that it stays down now, and `up --as-wanted` brings it up again.
fn lift(wishes: &Wishes) -> Wishes {
    let mut wishes = wishes.clone();
    if std::mem::replace(&mut wishes.hold, false) {
        wishes.services.retain(|_, wish| !wish.run);
    }
    wishes
}
