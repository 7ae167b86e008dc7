//! All services of a home. `step` takes one event in and says what is to be done.
//!
//! A step has two phases, repeated until nothing changes: first the fleet looks at all units and settles who may start
//! (conditions, then a place among the starting ones) and who must wait with stopping; then the units act on it. A unit
//! never looks at another unit.
//!
//! Before `Event::Adopted` events are only kept: what runs is not known yet, so nothing may be decided. What was found
//! is taken in first then.
//!
//! Same events, same effects: there is no map with a random order, no clock, and one draw per step.

mod graph;
mod settle;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;

use std::collections::BTreeMap;

use crate::event::{Effect, Event, News, Now};
use crate::memory::Memory;
use crate::name::ServiceName;
use crate::spec::ServiceSpec;
use crate::status::{RunId, ServiceStatus};
use crate::time::Mono;
use crate::unit::{Turn, Unit};
use crate::wish::Wishes;

use graph::Graph;

/// See the module.
#[derive(Debug)]
pub struct Fleet {
    /// In the order of services.json; directory entries included.
    units: Vec<Unit>,
    graph: Graph,
    wishes: Wishes,
    next_run: RunId,
    start_cap: usize,
    /// When the first of the starting ones gives its place up, if somebody waits for one.
    slot_free_at: Option<Mono>,
    revision: u64,
    /// What happened before the fleet was complete; `None` once it is.
    early: Option<Vec<Event>>,
}

impl Fleet {
    /// A fleet of which nothing is known yet. Run ids are given out from `first_run` on, and above all that is known of
    /// earlier runs; at most `start_cap` services (at least one) start at the same time. `memories` are
    /// what a former helmd of this boot left.
    pub fn new(
        services: Vec<ServiceSpec>,
        wishes: Wishes,
        mut memories: BTreeMap<ServiceName, Memory>,
        first_run: RunId,
        start_cap: u32,
        now: Now,
    ) -> Self {
        let graph = Graph::new(&services);
        let wish = |spec: &ServiceSpec| wishes.services.get(&spec.name).copied().unwrap_or_default();
        // Of former boots as well, whose clock may have been ahead: new runs are newer than all that is known.
        let asked = wishes.services.values().filter_map(|wish| wish.newer_than);
        let known = memories.values().filter_map(Memory::newest_run).chain(asked);
        let next_run = known.map(after).fold(first_run, RunId::max);
        let units = services.into_iter().map(|spec| {
            let (wish, memory) = (wish(&spec), memories.remove(&spec.name));
            Unit::new(spec, wish, wishes.hold, memory, now)
        });
        let mut fleet = Self {
            units: units.collect(),
            graph,
            wishes,
            next_run,
            start_cap: start_cap.max(1) as usize,
            slot_free_at: None,
            revision: 0,
            early: Some(Vec::new()),
        };
        fleet.publish();
        fleet
    }

    /// The newest run of each service whose end stands in the events already: a helmd may die between writing an event
    /// and writing what it leaves to the next.
    pub fn ends_written(&mut self, mut ends: BTreeMap<ServiceName, RunId>) {
        self.next_run = ends.values().copied().map(after).fold(self.next_run, RunId::max);
        for unit in &mut self.units {
            unit.end_written(ends.remove(&unit.spec().name));
        }
    }

    /// Takes one event in. The effects are to be performed in order.
    pub fn step(&mut self, now: Now, event: Event) -> Vec<Effect> {
        let mut out = Vec::new();
        match (&mut self.early, event) {
            (Some(early), Event::Adopted) => {
                let (found, rest): (Vec<_>, Vec<_>) = std::mem::take(early).into_iter().partition(is_finding);
                self.early = None;
                for event in found {
                    self.take(now, event, &mut out);
                }
                for unit in &mut self.units {
                    unit.adopted(&mut Turn { now, out: &mut out, next_run: &mut self.next_run });
                }
                for event in rest {
                    self.take(now, event, &mut out);
                }
            }
            (Some(_), Event::Tick) => {}
            (Some(early), event) => early.push(event),
            (None, event) => self.take(now, event, &mut out),
        }
        if self.early.is_none() {
            self.settle(now, &mut out);
        }
        self.publish();
        out
    }

    fn take(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Adopted | Event::Tick => {}
            Event::Wished { wishes, restart, kick, by } => {
                self.wished(now, wishes, &restart, &kick, &by, out)
            }
            Event::News(service, news) => {
                if let News::Found { run, .. }
                | News::FoundEnded { run, .. }
                | News::FoundFormer { run, .. } = &news
                {
                    self.next_run = self.next_run.max(after(*run));
                }
                if let Some(i) = self.graph.index(service.as_str()) {
                    self.units[i].news(news, &mut Turn { now, out, next_run: &mut self.next_run });
                }
            }
        }
    }

    fn wished(
        &mut self,
        now: Now,
        wishes: Wishes,
        restart: &[ServiceName],
        kick: &[ServiceName],
        by: &str,
        out: &mut Vec<Effect>,
    ) {
        if wishes.hold != self.wishes.hold {
            self.revision += 1;
        }
        let mut turn = Turn { now, out, next_run: &mut self.next_run };
        for unit in &mut self.units {
            let name = &unit.spec().name;
            let wish = wishes.services.get(name).copied().unwrap_or_default();
            let (anew, kicked) = (restart.contains(name), kick.contains(name));
            unit.wish(wish, wishes.hold, by, &mut turn);
            if anew {
                unit.restart(by, &mut turn);
            } else if kicked {
                unit.kick(by, &mut turn);
            }
        }
        self.wishes = wishes;
    }

    /// When `Event::Tick` must come, and what for. `None`: only news or wishes can change anything.
    pub fn deadline(&self) -> Option<(Mono, &'static str)> {
        if self.early.is_some() {
            return None;
        }
        let slot = self.slot_free_at.map(|at| (at, "a place among the starting ones"));
        self.units.iter().filter_map(Unit::deadline).chain(slot).min()
    }

    /// The status of every service, in the order of services.json.
    pub fn status(&self) -> impl Iterator<Item = &ServiceStatus> {
        self.units.iter().map(Unit::status)
    }

    /// The status of one service.
    pub fn status_of(&self, name: &str) -> Option<&ServiceStatus> {
        self.graph.index(name).map(|i| self.units[i].status())
    }

    /// The configured services, in the order of services.json.
    pub fn specs(&self) -> impl Iterator<Item = &ServiceSpec> {
        self.units.iter().map(Unit::spec)
    }

    /// Counts every change of any status, and of the hold.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The fleet is held down.
    pub fn hold(&self) -> bool {
        self.wishes.hold
    }

    fn publish(&mut self) {
        for unit in &mut self.units {
            unit.publish(&mut self.revision);
        }
    }
}

fn after(run: RunId) -> RunId {
    RunId(run.0.saturating_add(1))
}

/// What was found when helmd came: to be known before anything else is decided.
fn is_finding(event: &Event) -> bool {
    let Event::News(_, news) = event else { return false };
    matches!(news, News::Found { .. } | News::FoundEnded { .. } | News::FoundFormer { .. } | News::Silent)
}
