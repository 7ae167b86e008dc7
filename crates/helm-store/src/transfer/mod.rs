//! Everything of one instance from one database into another: partitions with their ids, chain and seals as they are.
//!
//! Batches are ordinary numbered transactions, so that a kill loses and doubles nothing: the next run goes on behind the last row that is there. What is
//! read is proved against the chain on the way, and what was written is read back and proved again.

mod numbers;

use std::collections::BTreeMap;

pub use numbers::{Brought, history, numbers};

use crate::chain::{Chain, Head};
use crate::commit::{ClassState, Commit};
use crate::engine::{EngineError, LogEngine};
use crate::entry::Entry;
use crate::id::{Instance, PartitionId};
use crate::partition::{Class, Contents, Partition, Seal};
use crate::writer::ledger::count;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Partitions that are there and proved.
    pub partitions: usize,
    /// Of so many.
    pub of: usize,
    /// Entries of these.
    pub entries: u64,
}

/// Why it did not come to its end. What was brought over stays, and the next run goes on behind it.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Ids would change.
    #[error(
        "the entries are those of instance {from}, the target has this helmd as instance {to}: permalinks would change, nothing was moved"
    )]
    Instance {
        /// In the source.
        from: u16,
        /// In the target.
        to: u16,
    },
    /// The target has something else under the same number.
    #[error(
        "the target has other entries of this helmd already (partition {0}): move before helmd writes there"
    )]
    Differs(PartitionId),
    /// What was read does not end where its chain does.
    #[error(
        "partition {partition} does not fit its chain {place}: run `helmctl logs verify` on the source; nothing of it was removed"
    )]
    Chain {
        /// Which.
        partition: PartitionId,
        /// "in the source", "in the target"
        place: &'static str,
    },
    /// What is beside the log.
    #[error("the target {0}")]
    Numbers(&'static str),
    /// A database.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Brings it over, and tells how far it is.
pub async fn transfer(
    from: &dyn LogEngine,
    to: &dyn LogEngine,
    mut told: impl FnMut(Progress),
) -> Result<Progress, TransferError> {
    let own = from.instance();
    if to.instance() != own {
        return Err(TransferError::Instance { from: own.0, to: to.instance().0 });
    }
    let partitions = of(from, own).await?;
    let states: BTreeMap<Class, ClassState> = by_class(from.classes().await?);
    let mut work = Work {
        from,
        to,
        there: of(to, own).await?.into_iter().map(|p| (p.id, p)).collect(),
        numbers: to.classes().await?.into_iter().map(|state| (state.class, state.number)).collect(),
        sealed: BTreeMap::new(),
    };
    work.refuse_others(&partitions)?;
    let mut progress = Progress { of: partitions.len(), ..Progress::default() };
    for partition in &partitions {
        let state = states.get(&partition.class);
        let head = partition.seal.map(|seal| seal.head).or(state.map(|state| state.head));
        let head = head.ok_or(TransferError::Chain { partition: partition.id, place: "in the source" })?;
        work.bring(partition, head, state.map_or(partition.opened, |state| state.arrived)).await?;
        progress.partitions += 1;
        progress.entries += u64::from(partition.contents.rows);
        told(progress);
    }
    for state in states.values() {
        let last = partitions.iter().rev().find(|p| p.class == state.class);
        if let Some(last) = last {
            work.end(state, last).await?;
        }
    }
    Ok(progress)
}

async fn of(engine: &dyn LogEngine, own: Instance) -> Result<Vec<Partition>, EngineError> {
    let mut partitions = engine.partitions().await?;
    partitions.retain(|p| p.id.instance == own);
    partitions.sort_by_key(|p| p.id);
    Ok(partitions)
}

fn by_class(states: Vec<ClassState>) -> BTreeMap<Class, ClassState> {
    states.into_iter().map(|state| (state.class.clone(), state)).collect()
}

struct Work<'a> {
    from: &'a dyn LogEngine,
    to: &'a dyn LogEngine,
    there: BTreeMap<PartitionId, Partition>,
    numbers: BTreeMap<Class, u64>,
    /// The partition of each class that was brought last, and its seal: it is closed when the next one is opened.
    sealed: BTreeMap<Class, (PartitionId, Seal)>,
}

impl Work<'_> {
    /// Before anything is written: what is there must be the beginning of what is brought.
    fn refuse_others(&self, partitions: &[Partition]) -> Result<(), TransferError> {
        for there in self.there.values() {
            let same = |p: &&Partition| {
                p.id == there.id
                    && p.class == there.class
                    && (p.opened, p.before) == (there.opened, there.before)
                    && there.contents.rows <= p.contents.rows
            };
            if !partitions.iter().any(|p| same(&p)) {
                return Err(TransferError::Differs(there.id));
            }
        }
        Ok(())
    }

    async fn bring(&mut self, partition: &Partition, head: Head, arrived: i64) -> Result<(), TransferError> {
        let (id, class) = (partition.id, &partition.class);
        if !self.there.contains_key(&id) {
            let empty = Partition { seal: None, contents: Contents::empty(), disk: 0, ..partition.clone() };
            self.to.open_partition(&empty, self.sealed.remove(class)).await?;
        }
        let has = self.there.get(&id).map_or(0, |there| there.contents.rows);
        let arrived = partition.seal.map_or(arrived, |seal| seal.closed);
        let mut chain = Chain::from(partition.before);
        let mut contents = Contents::empty();
        let mut rows = self.from.rows(id, 0);
        while let Some(piece) = rows.recv().await {
            let mut fresh = Vec::new();
            for entry in piece? {
                let digest = chain.push(entry.id, &entry.body).short();
                if digest != entry.digest {
                    return Err(TransferError::Chain { partition: id, place: "in the source" });
                }
                contents.add(&entry.body);
                if contents.rows > has {
                    fresh.push(entry);
                }
            }
            if !fresh.is_empty() {
                let commit = self.commit(class, id, fresh, chain.head(), arrived, contents.clone());
                self.to.commit(&commit).await?;
                self.numbers.insert(class.clone(), commit.number);
            }
        }
        if chain.head() != head {
            return Err(TransferError::Chain { partition: id, place: "in the source" });
        }
        self.prove(partition, head).await?;
        if let Some(seal) = partition.seal.filter(|_| self.there.get(&id).is_none_or(|p| p.seal.is_none())) {
            self.sealed.insert(class.clone(), (id, seal));
        }
        Ok(())
    }

    fn commit(
        &self,
        class: &Class,
        partition: PartitionId,
        entries: Vec<Entry>,
        head: Head,
        arrived: i64,
        contents: Contents,
    ) -> Commit {
        Commit {
            class: class.clone(),
            partition,
            number: self.numbers.get(class).copied().unwrap_or(0) + 1,
            counts: count(&entries),
            entries,
            head,
            arrived,
            contents,
            cursors: BTreeMap::new(),
            senders: BTreeMap::new(),
            keys: Vec::new(),
            queue: None,
        }
    }

    /// Reads back what the target has.
    async fn prove(&self, partition: &Partition, head: Head) -> Result<(), TransferError> {
        let wrong = TransferError::Chain { partition: partition.id, place: "in the target" };
        let mut chain = Chain::from(partition.before);
        let mut count = 0;
        let mut rows = self.to.rows(partition.id, 0);
        while let Some(piece) = rows.recv().await {
            for entry in piece? {
                count += 1;
                if chain.push(entry.id, &entry.body).short() != entry.digest {
                    return Err(wrong);
                }
            }
        }
        if chain.head() == head && count == partition.contents.rows { Ok(()) } else { Err(wrong) }
    }

    /// What the writer needs to go on: where capture stands, what senders sent.
    async fn end(&mut self, state: &ClassState, last: &Partition) -> Result<(), TransferError> {
        let arrived = last.seal.map_or(state.arrived, |seal| seal.closed.max(state.arrived));
        let (class, contents) = (&state.class, last.contents.clone());
        let mut commit = self.commit(class, last.id, Vec::new(), state.head, arrived, contents);
        commit.cursors = state.cursors.clone();
        commit.senders = state.senders.clone();
        commit.keys = state.keys.iter().map(|(key, _)| key.clone()).collect();
        commit.queue = Some(state.queue).filter(|queue| *queue > 0);
        self.to.commit(&commit).await?;
        self.numbers.insert(class.clone(), commit.number);
        Ok(())
    }
}
