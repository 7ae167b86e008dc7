//! One partition: the chain made anew, row by row. What it finds are facts; what they mean, [`super::join`] says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::fault::Named;
use crate::chain::{Chain, Head};
use crate::counts::minute_of;
use crate::engine::{Count, EngineError, Rows};
use crate::entry::{Entry, flag};
use crate::id::{EntryId, Instance, PartitionId};
use crate::packed::Packed;
use crate::partition::{Contents, Partition, level_slot};
use crate::retention::Record;

/// A removal on record in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Removed {
    /// Whose partition it was.
    pub(super) instance: Instance,
    pub(super) number: u32,
    /// The chain before and after it.
    pub(super) before: Head,
    pub(super) head: Head,
}

/// How an entry does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Its id is none of this partition's, or stands where another should.
    Id,
    /// Ids are left out before it; the first of them.
    Gap(EntryId),
    /// Its digest is not that of the chain.
    Digest,
}

/// The first entry that does not fit.
#[derive(Debug)]
pub(super) struct Mismatch {
    /// Its place, from 0.
    pub(super) row: u32,
    pub(super) wrong: Wrong,
    pub(super) entry: Named,
    /// The one before it.
    pub(super) last: Option<Named>,
}

/// What was found in one partition.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) id: PartitionId,
    /// Entries that are there.
    pub(super) rows: u32,
    /// The chain after them; not meant where there is a mismatch.
    pub(super) end: Head,
    pub(super) last: Option<Named>,
    /// The chain after as many entries as are on record.
    pub(super) on_record: Option<Head>,
    /// The first entry behind those on record.
    pub(super) beyond: Option<Named>,
    /// Where the class's own end was met: after so many entries, and the one behind it.
    pub(super) met: Option<(u32, Option<Named>)>,
    pub(super) records: Vec<Removed>,
    /// The chain after the entries that were asked for.
    pub(super) heads: BTreeMap<EntryId, Head>,
    pub(super) mismatch: Option<Mismatch>,
    /// Ids that are left out behind that: the first of them, and the entry before it.
    pub(super) gap: Option<(EntryId, Named)>,
    /// Why it was not read to its end.
    pub(super) unreadable: Option<String>,
    /// What the database itself finds wrong with how it is kept.
    pub(super) broken: Option<String>,
    pub(super) contents: Contents,
    /// Whether the counts per minute are those of the entries.
    pub(super) counted: bool,
}

/// What is asked of one partition.
pub(super) struct Asked {
    pub(super) partition: Partition,
    /// Entries after which the chain's place is wanted.
    pub(super) anchors: BTreeSet<EntryId>,
    /// Where the class ends, if this is its open partition.
    pub(super) end: Option<Head>,
    /// Counts per minute, as the database has them.
    pub(super) counts: Vec<Count>,
    /// The same as readers see them, where they are packed.
    pub(super) packed: Option<Vec<u8>>,
}

/// Entries by minute, service and level.
type Tally = HashMap<String, BTreeMap<i64, [u64; 5]>>;

struct Walk {
    asked: Asked,
    chain: Chain,
    tally: Tally,
    last: Option<Entry>,
    found: Checked,
}

/// `count` is told how many entries were looked at, and says whether to go on. Blocking.
pub(super) fn check(
    asked: Asked,
    mut rows: Rows,
    count: impl Fn(u64) -> bool,
) -> Result<Checked, EngineError> {
    let mut walk = Walk::begin(asked);
    while let Some(piece) = rows.blocking_recv() {
        match piece {
            Ok(piece) if count(piece.len() as u64) => piece.into_iter().for_each(|entry| walk.step(entry)),
            Ok(_) => break,
            Err(EngineError::Damaged(why)) => walk.found.unreadable = Some(why),
            Err(error) => return Err(error),
        }
    }
    Ok(walk.end())
}

impl Walk {
    fn begin(asked: Asked) -> Self {
        let before = asked.partition.before;
        let found = Checked {
            id: asked.partition.id,
            rows: 0,
            end: before,
            last: None,
            on_record: (asked.partition.contents.rows == 0).then_some(before),
            beyond: None,
            met: (asked.end == Some(before)).then_some((0, None)),
            records: Vec::new(),
            heads: BTreeMap::new(),
            mismatch: None,
            gap: None,
            unreadable: None,
            broken: None,
            contents: Contents::empty(),
            counted: true,
        };
        Self { asked, chain: Chain::from(before), tally: Tally::new(), last: None, found }
    }

    fn step(&mut self, entry: Entry) {
        let row = self.found.rows;
        self.found.rows += 1;
        if row == self.asked.partition.contents.rows {
            self.found.beyond = Some(Named::of(&entry));
        }
        if let Some((_, behind @ None)) = self.found.met.as_mut().filter(|(met, _)| *met == row) {
            *behind = Some(Named::of(&entry));
        }
        if self.found.mismatch.is_some() {
            self.behind(entry);
            return;
        }
        let head = self.chain.push(entry.id, &entry.body);
        match self.wrong(row, &entry, head) {
            Some(wrong) => {
                let last = self.last.as_ref().map(Named::of);
                self.found.mismatch = Some(Mismatch { row, wrong, entry: Named::of(&entry), last });
            }
            None => self.take(row + 1, &entry, head),
        }
        self.last = Some(entry);
    }

    fn wrong(&self, row: u32, entry: &Entry, head: Head) -> Option<Wrong> {
        let partition = self.asked.partition.id;
        // The Python Helm left out ids as it pleased.
        let expected = match partition.instance {
            Instance::FORMER => entry.id,
            _ => partition.entry(row),
        };
        if entry.id.partition() != Some(partition) || entry.id < expected {
            Some(Wrong::Id)
        } else if entry.id > expected {
            Some(Wrong::Gap(expected))
        } else {
            (head.short() != entry.digest).then_some(Wrong::Digest)
        }
    }

    /// The chain leads no further, but ids still tell whether entries are gone.
    fn behind(&mut self, entry: Entry) {
        let left_out = self.last.as_ref().filter(|last| {
            self.found.id.instance != Instance::FORMER
                && entry.id.partition() == Some(self.found.id)
                && entry.id.0 > last.id.0 + 1
        });
        if let Some(last) = left_out.filter(|_| self.found.gap.is_none()) {
            self.found.gap = Some((EntryId(last.id.0 + 1), Named::of(last)));
        }
        self.last = Some(entry);
    }

    /// An entry that fits, the `rows`th.
    fn take(&mut self, rows: u32, entry: &Entry, head: Head) {
        let found = &mut self.found;
        if rows == self.asked.partition.contents.rows {
            found.on_record = Some(head);
        }
        if self.asked.end == Some(head) && found.met.is_none() {
            found.met = Some((rows, None));
        }
        if self.asked.anchors.contains(&entry.id) {
            found.heads.insert(entry.id, head);
        }
        found.records.extend(removed(entry));
        found.contents.add(&entry.body);
        if entry.body.flags & flag::TWIN != 0 {
            return;
        }
        if !self.tally.contains_key(&entry.body.service) {
            self.tally.insert(entry.body.service.clone(), BTreeMap::new());
        }
        if let Some(minutes) = self.tally.get_mut(&entry.body.service) {
            minutes.entry(minute_of(entry.body.at)).or_default()[level_slot(entry.body.level)] += 1;
        }
    }

    fn end(mut self) -> Checked {
        self.found.last = self.last.as_ref().map(Named::of);
        self.found.end = self.chain.head();
        let packed = self.asked.packed.as_ref();
        self.found.counted = tally(&self.asked.counts) == self.tally
            && packed.is_none_or(|packed| packed == Packed::of(&self.asked.counts).bytes());
        self.found
    }
}

fn tally(counts: &[Count]) -> Tally {
    let mut tally = Tally::new();
    for count in counts.iter().filter(|count| count.count > 0) {
        let minutes = tally.entry(count.service.to_string()).or_default();
        minutes.entry(count.minute).or_default()[level_slot(count.level)] += count.count;
    }
    tally
}

/// The removal that an entry puts on record. It comes behind what it tells of.
fn removed(entry: &Entry) -> Option<Removed> {
    let record = Record::read(entry)?;
    let (before, head) = record.heads()?;
    let own = entry.id.partition()?;
    let instance = record.instance.unwrap_or(own.instance);
    let behind = instance != own.instance || record.partition < own.number;
    behind.then_some(Removed { instance, number: record.partition, before, head })
}
