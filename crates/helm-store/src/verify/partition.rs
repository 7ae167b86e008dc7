//! One partition: the chain made anew, row by row.

use std::collections::BTreeMap;

use super::fault::{Kind, Named};
use crate::chain::{Chain, Head};
use crate::engine::{EngineError, Rows};
use crate::entry::Entry;
use crate::id::{EntryId, PartitionId};
use crate::partition::Partition;
use crate::retention::Record;

/// What was found in one partition.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) id: PartitionId,
    /// Entries that are there.
    pub(super) rows: u32,
    /// The chain after them; not meant where there is a fault.
    pub(super) end: Head,
    pub(super) last: Option<Named>,
    /// Removals on record: number, and the chain before and after.
    pub(super) records: Vec<(u32, Head, Head)>,
    /// The chain after the entries that were asked for.
    pub(super) heads: BTreeMap<EntryId, Head>,
    /// Whether the class's own end was met.
    pub(super) met: bool,
    pub(super) fault: Option<(Kind, Option<Named>)>,
}

/// `count` is told how many entries were looked at, and says whether to go on.
pub(super) fn check(
    partition: &Partition,
    mut rows: Rows,
    anchors: Vec<EntryId>,
    end: Option<Head>,
    count: impl Fn(u64) -> bool,
) -> Result<Checked, EngineError> {
    let mut chain = Chain::from(partition.before);
    let mut checked = Checked {
        id: partition.id,
        rows: 0,
        end: partition.before,
        last: None,
        records: Vec::new(),
        heads: BTreeMap::new(),
        met: end.is_none_or(|end| end == partition.before),
        fault: None,
    };
    let mut last: Option<Entry> = None;
    while let Some(piece) = rows.blocking_recv() {
        let mut piece = piece?;
        if !count(piece.len() as u64) {
            break;
        }
        for (at, entry) in piece.iter().enumerate() {
            if checked.fault.is_none() {
                let before = at.checked_sub(1).map_or(last.as_ref(), |before| piece.get(before));
                checked.step(partition, &mut chain, entry, before);
                if anchors.contains(&entry.id) {
                    checked.heads.insert(entry.id, chain.head());
                }
                checked.met |= end == Some(chain.head());
                let record = Record::read(entry).and_then(|r| Some((r.partition, r.heads()?)));
                checked.records.extend(record.map(|(number, (before, head))| (number, before, head)));
            }
            checked.rows += 1;
        }
        last = piece.pop().or(last);
    }
    checked.last = last.as_ref().map(Named::of);
    checked.end = chain.head();
    checked.close(partition);
    Ok(checked)
}

impl Checked {
    fn step(&mut self, partition: &Partition, chain: &mut Chain, entry: &Entry, last: Option<&Entry>) {
        let expected = partition.id.entry(self.rows);
        let head = chain.push(entry.id, &entry.body);
        self.fault = if entry.id > expected {
            // The nearest entry before it is the one that can be looked at.
            Some((Kind::Removed(expected), last.or(Some(entry)).map(Named::of)))
        } else if entry.id < expected {
            Some((Kind::Inserted, Some(Named::of(entry))))
        } else if head.short() == entry.digest {
            None
        } else if self.rows >= partition.contents.rows && partition.seal.is_some() {
            Some((Kind::Inserted, Some(Named::of(entry))))
        } else {
            Some((Kind::Altered, Some(Named::of(entry))))
        };
    }

    /// What the whole says: how many rows there are to be, and the seal.
    fn close(&mut self, partition: &Partition) {
        let rows = partition.contents.rows;
        match (&mut self.fault, partition.seal) {
            (Some((kind @ Kind::Altered, _)), Some(_)) if self.rows > rows => *kind = Kind::Inserted,
            (Some((kind @ Kind::Altered, Some(entry))), _) if self.rows < rows => {
                *kind = Kind::Removed(entry.id)
            }
            (Some(_), _) => {}
            (None, _) if self.rows < rows => {
                self.fault = Some((Kind::Removed(partition.id.entry(self.rows)), self.last.clone()));
            }
            (None, Some(_)) if self.rows > rows => self.fault = Some((Kind::Inserted, self.last.clone())),
            (None, Some(seal)) if seal.head != self.end => {
                self.fault = Some((Kind::Rewritten, self.last.clone()))
            }
            (None, _) => {}
        }
    }
}
