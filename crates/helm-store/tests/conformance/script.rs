//! A writer for tests: makes transactions from plain entries, one at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use helm_store::chain::{Chain, Head};
use helm_store::commit::{Commit, CountKey};
use helm_store::engine::{EngineError, LogEngine};
use helm_store::entry::{Entry, Level, NewEntry, Source};
use helm_store::id::{EntryId, PartitionId};
use helm_store::partition::{Class, Contents, Partition, Seal};

/// 2023-11-14 22:13:20 UTC, in nanoseconds.
pub(crate) const START: i64 = 1_700_000_000_000_000_000;
/// One second.
pub(crate) const SECOND: i64 = 1_000_000_000;

/// A plain entry at `START` plus so many seconds.
pub(crate) fn entry(service: &str, seconds: i64, level: Level, message: &str) -> NewEntry {
    NewEntry {
        service: service.into(),
        at: START + seconds * SECOND,
        seen: START + seconds * SECOND + 5,
        level,
        source: Source::Captured,
        stream: 1,
        flags: 0,
        message: message.into(),
        plain: None,
        context: None,
        trace: None,
        user: None,
        hostname: None,
        process: None,
    }
}

/// `n` entries of one service, one a second.
pub(crate) fn some(n: i64) -> Vec<NewEntry> {
    (0..n).map(|i| entry("core", i, Level::Info, &format!("line {i}"))).collect()
}

/// Writes in one class.
pub(crate) struct Script {
    pub(crate) engine: Arc<dyn LogEngine>,
    pub(crate) open: Partition,
    pub(crate) number: u64,
    pub(crate) head: Head,
}

impl Script {
    /// Opens the first partition of a class.
    pub(crate) async fn begin(engine: &Arc<dyn LogEngine>, class: &str, number: u32) -> Script {
        let open = partition(engine, class, number, Head::GENESIS);
        engine.open_partition(&open, None).await.unwrap();
        Script { engine: engine.clone(), open, number: 0, head: Head::GENESIS }
    }

    /// The next transaction, not carried out.
    pub(crate) fn plan(&self, entries: Vec<NewEntry>) -> Commit {
        let (mut chain, mut contents) = (Chain::from(self.head), self.open.contents.clone());
        let mut counts = BTreeMap::new();
        let mut stored = Vec::new();
        for body in entries {
            let id = self.open.id.entry(contents.rows);
            let key = CountKey {
                minute: body.at.div_euclid(60 * SECOND),
                service: body.service.clone(),
                level: body.level,
            };
            *counts.entry(key).or_insert(0) += 1;
            contents.add(&body);
            stored.push(Entry { id, digest: chain.push(id, &body).short(), body });
        }
        Commit {
            class: self.open.class.clone(),
            partition: self.open.id,
            number: self.number + 1,
            head: chain.head(),
            arrived: START + i64::try_from(self.number).unwrap() + 1,
            contents,
            counts,
            entries: stored,
            cursors: BTreeMap::new(),
            senders: BTreeMap::new(),
            keys: Vec::new(),
            queue: None,
        }
    }

    /// Carries a transaction out, and goes on behind it.
    pub(crate) async fn carry_out(&mut self, commit: Commit) -> Result<Vec<Entry>, EngineError> {
        self.engine.commit(&commit).await?;
        (self.number, self.head) = (commit.number, commit.head);
        self.open.contents = commit.contents;
        Ok(commit.entries)
    }

    /// Stores entries, and returns them as they must come back.
    pub(crate) async fn write(&mut self, entries: Vec<NewEntry>) -> Vec<Entry> {
        let commit = self.plan(entries);
        self.carry_out(commit).await.unwrap()
    }

    /// Seals the open partition and opens another; returns the sealed one as it must be on record, but for its bytes on disk.
    pub(crate) async fn roll(&mut self, number: u32) -> Partition {
        self.roll_at(number, START + i64::from(number) * SECOND).await
    }

    /// The same, at this time.
    pub(crate) async fn roll_at(&mut self, number: u32, opened: i64) -> Partition {
        let seal = Seal { closed: START + 3600 * SECOND, head: self.head };
        let next = Partition { opened, ..partition(&self.engine, &self.open.class.0, number, self.head) };
        self.engine.open_partition(&next, Some((self.open.id, seal))).await.unwrap();
        let mut sealed = std::mem::replace(&mut self.open, next);
        sealed.seal = Some(seal);
        sealed
    }
}

/// An empty partition.
pub(crate) fn partition(engine: &Arc<dyn LogEngine>, class: &str, number: u32, before: Head) -> Partition {
    Partition {
        id: PartitionId { instance: engine.instance(), number },
        class: Class(class.into()),
        opened: START + i64::from(number) * SECOND,
        before,
        seal: None,
        contents: Contents::empty(),
        disk: 0,
    }
}

/// Partitions on record, without their bytes on disk (which grow as they like).
pub(crate) async fn on_record(engine: &Arc<dyn LogEngine>) -> Vec<Partition> {
    let mut all = engine.partitions().await.unwrap();
    all.iter_mut().for_each(|p| p.disk = 0);
    all
}

/// Everything that a partition holds, by `rows`.
pub(crate) async fn all_rows(engine: &Arc<dyn LogEngine>, partition: PartitionId) -> Vec<Entry> {
    let mut pieces = engine.rows(partition, 0);
    let mut all = Vec::new();
    while let Some(piece) = pieces.recv().await {
        all.extend(piece.unwrap());
    }
    all
}

/// Numbers of entries.
pub(crate) fn ids(entries: &[Entry]) -> Vec<EntryId> {
    entries.iter().map(|e| e.id).collect()
}
