//! All partitions of a chain, one after another; a function of what was found in each.

use std::collections::{BTreeMap, BTreeSet};

use super::fault::{Fault, Kind, Named};
use super::judge::{OnRecord, also, beside, judge, next};
use super::look::{ChainKey, Look};
use super::partition::{Checked, Removed};
use super::{Anchor, ChainReport, Report};
use crate::chain::Head;
use crate::id::{Instance, PartitionId};
use crate::partition::{Class, Partition};

/// What was found in each partition.
pub(super) type Found = BTreeMap<PartitionId, Checked>;

/// One chain while it is put together.
struct Join<'a> {
    instance: Instance,
    class: &'a Class,
    partitions: &'a [Partition],
    found: &'a Found,
    first: &'a Look,
    last: &'a Look,
    /// Removals on record.
    records: Vec<Removed>,
    /// Partitions that went while they were looked at: the next proof tells whether rightly.
    going: Vec<Removed>,
    faults: Vec<Fault>,
}

/// Puts together the chains that are wanted.
pub(super) fn join(
    chains: &BTreeMap<ChainKey, Vec<Partition>>,
    found: &Found,
    first: &Look,
    last: &Look,
    anchors: Vec<Anchor>,
) -> Report {
    let mut report = Report { chains: Vec::new(), faults: Vec::new(), unproved: Vec::new() };
    for (key, partitions) in chains {
        let mut join = Join::of(key, partitions, found, first, last);
        join.within();
        join.before();
        join.between();
        join.end();
        for anchor in anchors.iter().filter(|a| (a.instance, &a.class) == (key.0, &key.1)) {
            if !join.anchor(anchor) {
                report.unproved.push(anchor.clone());
            }
        }
        join.beside();
        report.chains.push(join.report());
        join.faults.sort_by_key(|fault| fault.partition);
        report.faults.append(&mut join.faults);
    }
    for Anchor { instance, class, .. } in anchors {
        if !chains.contains_key(&(instance, class.clone())) {
            // Not even its end is on record.
            report.faults.push(Fault {
                instance,
                class,
                partition: None,
                entry: None,
                kind: Kind::Missing(Vec::new()),
            });
        }
    }
    report
}

impl<'a> Join<'a> {
    fn of(
        key: &'a ChainKey,
        partitions: &'a [Partition],
        found: &'a Found,
        first: &'a Look,
        last: &'a Look,
    ) -> Self {
        let (instance, class) = (key.0, &key.1);
        // What the Python Helm left has no helmd of its own: whoever removes it puts it on record.
        let recorded =
            |p: &&Partition| instance == Instance::FORMER || (p.id.instance, &p.class) == (instance, class);
        let records = first.partitions.values().filter(recorded).filter_map(|p| found.get(&p.id));
        let records = records.flat_map(|found| found.records.iter().cloned());
        let gone = partitions.iter().filter(|p| !last.partitions.contains_key(&p.id));
        let going = gone.filter_map(|p| {
            let (instance, number) = (p.id.instance, p.id.number);
            p.seal.map(|seal| Removed { instance, number, before: p.before, head: seal.head })
        });
        Self {
            instance,
            class,
            partitions,
            found,
            first,
            last,
            records: records.filter(|removed| removed.instance == instance).collect(),
            going: going.collect(),
            faults: Vec::new(),
        }
    }

    fn fault(&mut self, kind: Kind, partition: Option<PartitionId>, entry: Option<Named>) {
        if !partition.is_some_and(|id| self.has_fault(id)) {
            self.add(kind, partition, entry);
        }
    }

    fn add(&mut self, kind: Kind, partition: Option<PartitionId>, entry: Option<Named>) {
        let (instance, class) = (self.instance, self.class.clone());
        self.faults.push(Fault { instance, class, partition, entry, kind });
    }

    fn has_fault(&self, id: PartitionId) -> bool {
        self.faults.iter().any(|fault| fault.partition == Some(id))
    }

    fn last_of(&self, id: PartitionId) -> Option<Named> {
        self.found.get(&id).and_then(|found| found.last.clone())
    }

    /// Partitions with what is on record of them; without those that went meanwhile.
    fn looked_at(&self) -> impl Iterator<Item = (OnRecord<'a>, &'a Checked)> + use<'a> {
        let (partitions, found, before, after) = (self.partitions, self.found, self.first, self.last);
        let key = (self.instance, self.class.clone());
        let number = |look: &Look| look.end(&key).map(|(end, _)| end.number);
        let quiet = number(before) == number(after);
        partitions.iter().filter_map(move |first| {
            let now = after.partitions.get(&first.id)?;
            let end = before.end(&key).filter(|(end, _)| end.open == Some(first.id));
            Some((OnRecord { first, now, end, quiet }, found.get(&first.id)?))
        })
    }

    fn within(&mut self) {
        for (on_record, found) in self.looked_at() {
            if let Some((kind, entry)) = judge(&on_record, found) {
                self.fault(kind, Some(found.id), entry);
            }
            if let Some((kind, entry)) = also(&on_record, found) {
                self.add(kind, Some(found.id), entry);
            }
        }
    }

    /// Last: whoever cuts off entries rarely thinks of the counts.
    fn beside(&mut self) {
        for (on_record, found) in self.looked_at() {
            if let Some(kind) = beside(&on_record, found) {
                self.fault(kind, Some(found.id), None);
            }
        }
    }

    /// Whether records of removals lead from one point of the chain to another.
    fn removed_between(&self, from: Head, to: Head) -> bool {
        let records = || self.records.iter().chain(&self.going);
        let mut at = from;
        for _ in 0..=records().count() {
            if at == to {
                return true;
            }
            match records().find(|removed| removed.before == at) {
                Some(removed) if removed.head != at => at = removed.head,
                // An empty partition leads nowhere.
                Some(_) | None => return false,
            }
        }
        false
    }

    /// What went before the first is on record in a later one; the records of what went long before have gone with theirs.
    fn before(&mut self) {
        let Some(first) = self.partitions.first() else { return };
        let recorded = self.records.iter().any(|r| r.number < first.id.number && r.head == first.before);
        if first.before != Head::GENESIS && !recorded && !self.records_may_be_gone() {
            self.fault(Kind::MissingBefore, Some(first.id), None);
        }
    }

    /// Removals of what the Python Helm left are on record in another chain, of which retention takes away what is old as well.
    fn records_may_be_gone(&self) -> bool {
        let mut others = self.first.partitions.values().filter(|p| p.id.instance != Instance::FORMER);
        let mut seen = BTreeSet::new();
        self.instance == Instance::FORMER
            && others.any(|p| seen.insert((p.id.instance, &p.class)) && p.before != Head::GENESIS)
    }

    fn between(&mut self) {
        for pair in self.partitions.windows(2) {
            let (partition, next) = (&pair[0], &pair[1]);
            let Some(found) = self.found.get(&partition.id) else { continue };
            let gone = !self.last.partitions.contains_key(&partition.id);
            // Where the chain does not hold inside, the record says where it was to end.
            let end = match partition.seal {
                Some(seal) if gone || self.has_fault(partition.id) => seal.head,
                None if gone || self.has_fault(partition.id) => continue,
                _ => found.end,
            };
            if self.removed_between(end, next.before) {
                let sealed =
                    |look: &Look| look.partitions.get(&partition.id).is_some_and(|p| p.seal.is_some());
                if !gone && !sealed(self.first) && !sealed(self.last) {
                    self.fault(Kind::Unsealed, Some(partition.id), None);
                }
                continue;
            }
            let mut missing = self.numbers_left_out(partition.id, next.id).into_iter();
            match missing.next() {
                Some(number) => {
                    let id = PartitionId { number, ..partition.id };
                    self.fault(Kind::Missing(missing.collect()), Some(id), self.last_of(partition.id));
                }
                None => self.fault(Kind::Replaced, Some(partition.id), self.last_of(partition.id)),
            }
        }
    }

    /// Numbers between two that no partition of any class has: numbers are given over all classes.
    fn numbers_left_out(&self, from: PartitionId, to: PartitionId) -> Vec<u32> {
        let taken = |number: &u32| {
            let id = PartitionId { number: *number, ..from };
            self.first.partitions.contains_key(&id)
        };
        // More than a few are no help.
        (from.number + 1..to.number).filter(|number| !taken(number)).take(8).collect()
    }

    /// What the class says of its end.
    fn end(&mut self) {
        let Some((end, _)) = self.first.end(&(self.instance, self.class.clone())) else { return };
        let Some(last) = self.partitions.last() else {
            let recorded = self.removed_between(Head::GENESIS, end.head) || self.records_may_be_gone();
            if !recorded {
                self.fault(Kind::Missing(Vec::new()), end.open, None);
            }
            return;
        };
        let entry = self.last_of(last.id);
        match (end.open, last.seal) {
            (Some(open), _) if open > last.id => self.fault(Kind::Missing(Vec::new()), Some(open), entry),
            // Opened while the look was taken.
            (Some(open), _) if open < last.id => {}
            // What the Python Helm left comes to an end; every other chain goes on.
            (None, Some(seal)) if self.instance == Instance::FORMER && seal.head == end.head => {}
            (None, _) | (Some(_), Some(_)) => self.fault(Kind::MissingAfter, Some(last.id), entry),
            // Its end was held against the class's.
            (Some(_), None) => {}
        }
    }

    /// `false`: its entry is removed, rightly.
    fn anchor(&mut self, anchor: &Anchor) -> bool {
        let Some(id) = anchor.id.partition() else { return true };
        let Some(found) = self.found.get(&id).filter(|_| self.partitions.iter().any(|p| p.id == id)) else {
            let on_record = self.records.iter().any(|removed| removed.number == id.number);
            let before_all = self.partitions.first().is_some_and(|first| id < first.id);
            let rightly = on_record || before_all;
            if !rightly {
                let entry = self.partitions.iter().rfind(|p| p.id < id).and_then(|p| self.last_of(p.id));
                self.fault(Kind::Missing(Vec::new()), Some(id), entry);
            }
            return !rightly;
        };
        if !self.last.partitions.contains_key(&id) {
            return false;
        }
        match found.heads.get(&anchor.id) {
            Some(head) if *head == anchor.head => {}
            // All that fits inside was made anew, or is not there any more.
            Some(_) => self.fault(Kind::Rewritten, Some(id), found.last.clone()),
            None => self.fault(Kind::CutOff(next(found)), Some(id), found.last.clone()),
        }
        true
    }

    fn report(&self) -> ChainReport {
        let found = || self.partitions.iter().filter_map(|p| self.found.get(&p.id));
        let end = found().rfind(|found| found.rows > 0).and_then(|found| {
            let (instance, class) = (self.instance, self.class.clone());
            Some(Anchor { instance, class, id: found.last.as_ref()?.id, head: found.end })
        });
        ChainReport {
            instance: self.instance,
            class: self.class.clone(),
            partitions: self.partitions.len(),
            rows: found().map(|found| u64::from(found.rows)).sum(),
            removed: self.records.len(),
            end,
        }
    }
}
