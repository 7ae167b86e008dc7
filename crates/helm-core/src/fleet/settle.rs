//! Who may start, who must wait with stopping.

use super::Fleet;
use crate::event::{Effect, Now};
use crate::name::ServiceName;
use crate::status::Stuck;
use crate::time::Mono;
use crate::unit::{Gate, Turn, Unit, View};

impl Fleet {
    /// Settles and lets the units act, until nothing changes any more. It ends: without news a unit can only go on
    /// along Rest/Backoff -> Blocked -> Launching, or Up -> Ending, and each of these only once.
    pub(super) fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        while self.round(now, out) {}
        let stuck = self.stuck();
        for (unit, stuck) in self.units.iter_mut().zip(stuck) {
            unit.settled(stuck, &mut Turn { now, out, next_run: &mut self.next_run });
        }
    }

    fn round(&mut self, now: Now, out: &mut Vec<Effect>) -> bool {
        let views: Vec<View> = self.units.iter().map(Unit::view).collect();
        let slots: Vec<Mono> =
            self.units.iter().filter_map(Unit::slot).filter(|until| *until > now.mono).collect();
        let mut free = self.start_cap.saturating_sub(slots.len());
        let mut somebody_waits = false;
        let mut changed = false;
        for i in 0..self.units.len() {
            let mut gate = self.gate(i, &views, now.mono);
            if gate == Gate::Open {
                match free.checked_sub(1) {
                    Some(rest) => free = rest,
                    None => gate = Gate::Turn,
                }
            }
            somebody_waits |= gate == Gate::Turn;
            let held_by = self.held_by(i, &views);
            let mut turn = Turn { now, out, next_run: &mut self.next_run };
            changed |= self.units[i].advance(gate, held_by, &mut turn);
        }
        self.slot_free_at = if somebody_waits { slots.into_iter().min() } else { None };
        changed
    }

    /// May unit `i` start, as far as its dependencies are concerned?
    fn gate(&self, i: usize, views: &[View], now: Mono) -> Gate {
        let unit = &self.units[i];
        if !unit.is_due(now) {
            return Gate::Unknown;
        }
        let lacks = unit.spec().depends_on.iter().filter_map(|edge| {
            let view = self.graph.index(edge.service.as_str()).map(|on| &views[on]);
            match view {
                Some(view) if view.satisfies(edge.condition) => None,
                Some(view) => Some((edge.service.clone(), view.lack(edge.condition))),
                None => Some((edge.service.clone(), "not configured".into())),
            }
        });
        let lacks: Vec<(ServiceName, String)> = lacks.collect();
        if lacks.is_empty() { Gate::Open } else { Gate::Waits(lacks) }
    }

    /// For each unit, who at the root keeps it from ever starting by itself.
    fn stuck(&self) -> Vec<Option<Stuck>> {
        let mut looked = vec![None; self.units.len()];
        (0..self.units.len()).map(|i| self.stuck_of(i, &mut looked)).collect()
    }

    /// A failure is named before something that is only not installed. What is being looked at does not count: a cycle
    /// is refused by the reader, here it must only not hang.
    fn stuck_of(&self, i: usize, looked: &mut Vec<Option<Option<Stuck>>>) -> Option<Stuck> {
        if let Some(known) = &looked[i] {
            return known.clone();
        }
        looked[i] = Some(None);
        let mut found: Option<Stuck> = None;
        for (name, _) in self.units[i].lacks() {
            let Some(on) = self.graph.index(name.as_str()) else { continue };
            let root = self.units[on].dead_end().or_else(|| self.stuck_of(on, looked));
            let better = |root: &Stuck| found.as_ref().is_none_or(|old| old.absent && !root.absent);
            if let Some(root) = root.filter(better) {
                found = Some(root);
            }
        }
        looked[i] = Some(found.clone());
        found
    }

    /// Who must stop before unit `i` may: those that are to stop as well.
    fn held_by(&self, i: usize, views: &[View]) -> Vec<ServiceName> {
        if !self.units[i].is_to_stop() {
            return Vec::new();
        }
        let first = self.graph.stop_before(i).iter().filter(|&&d| views[d].leaving);
        first.map(|&d| self.units[d].spec().name.clone()).collect()
    }
}
