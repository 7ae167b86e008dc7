//! What a database must be able to do: the one trait, behind which SQLite and PostgreSQL stand.
//!
//! An engine carries out; it decides nothing. Numbers, chain, counts and partitions are made by [`crate::writer`], order and merging by
//! [`crate::reader`], so that both engines are thin and cannot disagree.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::commit::{ClassState, Commit, End};
use crate::entry::Entry;
use crate::id::{EntryId, Instance, PartitionId};
use crate::partition::{Class, Partition, Seal};
use crate::protection::Protection;
use crate::query::{Cursor, Filter, Order};

/// Why an engine could not do it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The database cannot be reached, or went away; what was asked may or may not have happened. Try again.
    #[error("the database is away: {0}")]
    Away(String),
    /// No room on the disk. Try again when there is.
    #[error("the disk of the database is full: {0}")]
    Full(String),
    /// The commit is not the next one: it was carried out before (its answer was lost), or another helmd writes under this instance.
    #[error("transaction {asked} was asked for, the database has {has}")]
    NotNext {
        /// Number that was asked for.
        asked: u64,
        /// Number of the last one that the database has.
        has: u64,
    },
    /// The database is newer than this program.
    #[error(
        "the database has version {has}, this helmd knows {knows}: install the newer helmd, or restore an older database"
    )]
    Newer {
        /// What it has.
        has: i64,
        /// What is known here.
        knows: i64,
    },
    /// A right is missing.
    #[error("the database refuses: {0}")]
    Denied(String),
    /// What was read is not what was written.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// What was asked for does not fit what the database has by now: whoever asks reads where it stands, and asks anew.
    #[error("not what the database has: {0}")]
    Stale(String),
    /// Anything else.
    #[error("{what}: {source}")]
    Other {
        /// What was tried.
        what: String,
        /// What the database said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl EngineError {
    /// Whether the same call may go through later.
    pub fn passes(&self) -> bool {
        matches!(self, EngineError::Away(_) | EngineError::Full(_))
    }
}

/// Answer of an engine.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send + 'a>>;

/// What to look for in one partition.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Where.
    pub partition: PartitionId,
    /// Which. What an engine cannot express in its own language (regular expressions, words) is tested by the reader again: an engine may
    /// return too much, never too little.
    pub filter: Filter,
    /// In which order.
    pub order: Order,
    /// Only what comes after this place in this order.
    pub after: Option<Cursor>,
    /// At most so many (before the reader's own tests).
    pub limit: u32,
    /// Only these rows, where they are known (a look-up in the hot index).
    pub rows: Option<Vec<u32>>,
}

/// A count per minute, as it stands in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Minutes since 1970.
    pub minute: i64,
    /// Name of the service; shared, for there are many thousands of counts.
    pub service: Arc<str>,
    /// Level.
    pub level: crate::entry::Level,
    /// Entries.
    pub count: u64,
}

/// A row that is read to prove the chain or to fill the hot index: in the order of ids.
pub type Rows = mpsc::Receiver<Result<Vec<Entry>, EngineError>>;

/// A database of log entries.
pub trait LogEngine: Send + Sync + std::fmt::Debug {
    /// Under which number this helmd writes.
    fn instance(&self) -> Instance;
    /// What is needed to go on in every class of this instance.
    fn classes(&self) -> Answer<'_, Vec<ClassState>>;
    /// Where the classes of all instances end.
    fn ends(&self) -> Answer<'_, Vec<End>> {
        Box::pin(async {
            let instance = self.instance();
            Ok(self.classes().await?.into_iter().map(|state| state.end(instance)).collect())
        })
    }
    /// What the database itself finds wrong with how a partition is kept, beside its rows; `None`: nothing.
    fn examine(&self, _partition: PartitionId) -> Answer<'_, Option<String>> {
        Box::pin(std::future::ready(Ok(None)))
    }
    /// All partitions of all instances, by instance and number.
    fn partitions(&self) -> Answer<'_, Vec<Partition>>;
    /// Begins a partition, and seals the one before of the same class in the same transaction.
    fn open_partition<'a>(&'a self, new: &'a Partition, seal: Option<(PartitionId, Seal)>) -> Answer<'a, ()>;
    /// Carries out one transaction. [`EngineError::NotNext`] with `has == commit.number` means that it was carried out before.
    fn commit<'a>(&'a self, commit: &'a Commit) -> Answer<'a, ()>;
    /// Whether the database would carry it out; leaves nothing. Number, contents and head need not fit the entries.
    fn try_out<'a>(&'a self, commit: &'a Commit) -> Answer<'a, ()>;
    /// Sealed partitions of an instance that [`LogEngine::finish`] has not gone through with, by number.
    fn unfinished(&self, instance: Instance) -> Answer<'_, Vec<PartitionId>>;
    /// Builds the dear indexes of a sealed partition and whatever else makes it cheaper; may be called again.
    fn finish(&self, partition: PartitionId) -> Answer<'_, ()>;
    /// Takes a sealed partition away, whole.
    fn remove<'a>(&'a self, partition: PartitionId, class: &'a Class) -> Answer<'a, ()>;
    /// Gives up what is held back for a full disk, so that a removal can be put on record; [`LogEngine::remove`] holds it back again.
    fn make_room(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
    /// Entries of one partition, in order.
    fn scan<'a>(&'a self, scan: &'a Scan) -> Answer<'a, Vec<Entry>>;
    /// One entry.
    fn get(&self, id: EntryId) -> Answer<'_, Option<Entry>>;
    /// Counts of one partition, minutes from `from` (inclusive) to `to` (exclusive), by minute.
    fn counts(&self, partition: PartitionId, from: i64, to: i64) -> Answer<'_, Vec<Count>>;
    /// The counts of a finished partition as [`crate::packed::Packed`] has them; `None` where none are kept: then [`LogEngine::counts`] has them.
    fn packed(&self, partition: PartitionId) -> Answer<'_, Option<Vec<u8>>>;
    /// All entries of a partition in the order of ids, in pieces of bounded size; the reading ends when the receiver is dropped.
    fn rows(&self, partition: PartitionId, from: u32) -> Rows;
    /// Bytes on disk of one partition.
    fn disk(&self, partition: PartitionId) -> Answer<'_, u64>;
    /// What keeps entries from being altered, and what is missing.
    fn protection(&self) -> Answer<'_, Protection>;
    /// Waits for what still reads, and closes what is open: no journal is left that had to be read at the next start.
    fn close(&self) -> Answer<'_, ()>;
}
