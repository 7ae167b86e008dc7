//! All partitions of a chain, one after another; a function of what was found in each.

use std::collections::BTreeMap;

use super::fault::{Fault, Kind, Named};
use super::partition::Checked;
use super::{Anchor, ChainReport, Report};
use crate::chain::Head;
use crate::commit::ClassState;
use crate::id::{EntryId, Instance, PartitionId};
use crate::partition::{Class, Partition};

/// Partitions of each chain, by number.
pub(super) type Chains = BTreeMap<(Instance, Class), Vec<Partition>>;

/// One chain while it is put together.
struct Join<'a> {
    instance: Instance,
    class: &'a Class,
    partitions: &'a [Partition],
    checked: &'a BTreeMap<PartitionId, Checked>,
    /// Removals on record.
    records: Vec<(u32, Head, Head)>,
    faults: Vec<Fault>,
}

/// `now`: the rows of each partition as they are on record after the walk.
pub(super) fn join(
    chains: &Chains,
    checked: BTreeMap<PartitionId, Checked>,
    states: Vec<ClassState>,
    own: Instance,
    now: &BTreeMap<PartitionId, u32>,
    anchors: Vec<Anchor>,
) -> Report {
    let mut report = Report { chains: Vec::new(), faults: Vec::new(), unproved: Vec::new() };
    let states: BTreeMap<Class, ClassState> = states.into_iter().map(|s| (s.class.clone(), s)).collect();
    let alone = states.keys().filter(|class| !chains.contains_key(&(own, (*class).clone())));
    let mut all: Vec<(Instance, &Class, &[Partition])> = alone.map(|class| (own, class, &[][..])).collect();
    all.extend(
        chains.iter().map(|((instance, class), partitions)| (*instance, class, partitions.as_slice())),
    );
    for (instance, class, partitions) in all {
        let found = partitions.iter().filter_map(|p| checked.get(&p.id));
        let records = found.clone().flat_map(|found| found.records.iter().copied()).collect();
        let mut join = Join { instance, class, partitions, checked: &checked, records, faults: Vec::new() };
        join.within(now);
        join.between();
        if let Some(state) = states.get(class).filter(|_| instance == own) {
            join.end(state);
        }
        let of_chain = anchors.iter().filter(|a| a.instance == instance && a.class == *class);
        for anchor in of_chain {
            if !join.anchor(anchor) {
                report.unproved.push(anchor.clone());
            }
        }
        let last = found.clone().rfind(|found| found.rows > 0);
        report.chains.push(ChainReport {
            instance,
            class: class.clone(),
            partitions: partitions.len(),
            rows: found.map(|found| u64::from(found.rows)).sum(),
            removed: join.records.len(),
            end: last.and_then(|found| {
                let id = found.last.as_ref()?.id;
                Some(Anchor { instance, class: class.clone(), id, head: found.end })
            }),
        });
        report.faults.append(&mut join.faults);
    }
    for anchor in anchors {
        let known = report.chains.iter().any(|c| c.instance == anchor.instance && c.class == anchor.class);
        if !known {
            // Not even an empty partition is left of it.
            let Anchor { instance, class, .. } = anchor;
            report.faults.push(Fault { instance, class, partition: None, entry: None, kind: Kind::Missing });
        }
    }
    report
}

impl Join<'_> {
    fn fault(&mut self, kind: Kind, partition: Option<PartitionId>, entry: Option<Named>) {
        let twice = self.faults.iter().any(|f| f.partition == partition && partition.is_some());
        if !twice {
            let (instance, class) = (self.instance, self.class.clone());
            self.faults.push(Fault { instance, class, partition, entry, kind });
        }
    }

    fn last_of(&self, id: PartitionId) -> Option<Named> {
        self.checked.get(&id).and_then(|found| found.last.clone())
    }

    fn within(&mut self, now: &BTreeMap<PartitionId, u32>) {
        for partition in self.partitions {
            let Some(found) = self.checked.get(&partition.id) else { continue };
            if let Some((kind, entry)) = &found.fault {
                self.fault(*kind, Some(partition.id), entry.clone());
            } else if partition.seal.is_none()
                && now.get(&partition.id).is_some_and(|rows| found.rows > *rows)
            {
                self.fault(Kind::Inserted, Some(partition.id), found.last.clone());
            }
        }
    }

    /// Whether records of removals lead from one point of the chain to another.
    fn removed_between(&self, from: Head, to: Head) -> bool {
        let mut at = from;
        for _ in 0..=self.records.len() {
            if at == to {
                return true;
            }
            match self.records.iter().find(|(_, before, _)| *before == at) {
                Some((_, _, head)) if *head != at => at = *head,
                // An empty partition leads nowhere.
                Some(_) | None => return false,
            }
        }
        false
    }

    fn between(&mut self) {
        let Some(first) = self.partitions.first() else { return };
        // What went before the first is on record in a later one; the records of what went long before have gone with theirs.
        let recorded =
            self.records.iter().any(|(number, _, head)| *number < first.id.number && *head == first.before);
        if first.before != Head::GENESIS && !recorded {
            self.fault(Kind::Missing, Some(first.id), None);
        }
        for pair in self.partitions.windows(2) {
            let (partition, next) = (&pair[0], &pair[1]);
            let Some(found) = self.checked.get(&partition.id) else { continue };
            // Where the chain does not hold inside, the record says where it was to end.
            let end = match (&found.fault, partition.seal) {
                (Some(_), Some(seal)) => seal.head,
                (Some(_), None) => continue,
                (None, _) => found.end,
            };
            if self.removed_between(end, next.before) {
                continue;
            }
            let kind = if partition.seal.is_none() { Kind::Replaced } else { Kind::Missing };
            let last = self.last_of(partition.id);
            self.fault(kind, Some(partition.id), last);
        }
    }

    /// What the class says of its end.
    fn end(&mut self, state: &ClassState) {
        let Some(last) = self.partitions.last() else {
            if state.head != Head::GENESIS {
                self.fault(Kind::Missing, None, None);
            }
            return;
        };
        let (id, sealed) = (last.id, last.seal.is_some());
        let entry = self.last_of(id);
        match state.open {
            // Opened while the walk began: there is nothing in it that was asked for.
            Some(open) if open < id => {}
            Some(open) if open > id || sealed => self.fault(Kind::Missing, Some(id), entry),
            Some(_) | None => {
                if self.checked.get(&id).is_some_and(|found| found.fault.is_none() && !found.met) {
                    self.fault(Kind::CutOff, Some(id), entry);
                }
            }
        }
    }

    /// `false`: its entry is removed, rightly.
    fn anchor(&mut self, anchor: &Anchor) -> bool {
        let Some(id) = anchor.id.partition() else { return true };
        let Some(last) = self.partitions.last().map(|p| p.id) else {
            self.fault(Kind::Missing, None, None);
            return true;
        };
        let Some(found) = self.checked.get(&id) else {
            if id > last {
                let entry = self.last_of(last);
                self.fault(Kind::CutOff, Some(last), entry);
                return true;
            }
            let on_record = self.records.iter().any(|(number, ..)| *number == id.number);
            let before_all = self.partitions.first().is_some_and(|first| id < first.id);
            if !on_record && !before_all {
                self.fault(Kind::Missing, None, None);
            }
            return false;
        };
        match found.heads.get(&anchor.id) {
            Some(head) if *head == anchor.head => {}
            // All that fits inside was made anew.
            Some(_) if found.fault.is_none() => {
                let entry = found.last.clone();
                self.fault(Kind::Rewritten, Some(id), entry);
            }
            Some(_) => {}
            None if found.fault.is_none() => {
                let entry = found.last.clone();
                let kind = if id == last { Kind::CutOff } else { Kind::Removed(EntryId(anchor.id.0)) };
                self.fault(kind, Some(id), entry);
            }
            None => {}
        }
        true
    }
}
