//! What one transaction holds. Made by the writer, carried out by an engine: all of it or nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chain::Head;
use crate::entry::{Entry, Level};
use crate::id::{Instance, PartitionId};
use crate::once::Numbers;
use crate::partition::{Class, Contents};

/// Where the capture of one service stands: a segment of its log files and an offset in plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Position {
    /// Number of the segment.
    pub segment: u64,
    /// Plain bytes into it that are stored.
    pub offset: u64,
}

/// What makes a repeated append harmless.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Once {
    /// The sender numbers its batches. Up to 64 of them may be under way at once, and are told apart (see [`Numbers`]).
    Sequence {
        /// Who sends.
        sender: String,
        /// The batch's number.
        number: u64,
    },
    /// A key of the sender's choice (see [`crate::once::KEYS`] for how long it is remembered).
    Key(String),
}

/// One minute of one service at one level.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CountKey {
    /// Minutes since 1970 of the entries' own time.
    pub minute: i64,
    /// Name of the service.
    pub service: String,
    /// Level.
    pub level: Level,
}

/// One transaction on one class of one instance.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Which class.
    pub class: Class,
    /// The partition that takes the entries.
    pub partition: PartitionId,
    /// Number of this transaction in its class, rising by one: an engine refuses any other than the next, so that a repeated commit whose
    /// answer was lost is found out.
    pub number: u64,
    /// The entries, in the order of the chain.
    pub entries: Vec<Entry>,
    /// The chain after them.
    pub head: Head,
    /// Latest time of arrival given, nanoseconds since 1970.
    pub arrived: i64,
    /// The partition's contents after them.
    pub contents: Contents,
    /// What they add to the counts per minute.
    pub counts: BTreeMap<CountKey, u64>,
    /// Cursors of captured services after them, by name.
    pub cursors: BTreeMap<String, Position>,
    /// Senders of numbered batches after them, by name.
    pub senders: BTreeMap<String, Numbers>,
    /// Keys that are to be remembered.
    pub keys: Vec<String>,
    /// Position of the local queue after them, where they come from there.
    pub queue: Option<u64>,
}

impl Commit {
    /// The same without entries and their counts, which are dear to copy.
    pub(crate) fn clone_without_entries(&self) -> Self {
        Self {
            class: self.class.clone(),
            partition: self.partition,
            number: self.number,
            entries: Vec::new(),
            head: self.head,
            arrived: self.arrived,
            contents: self.contents.clone(),
            counts: BTreeMap::new(),
            cursors: self.cursors.clone(),
            senders: self.senders.clone(),
            keys: self.keys.clone(),
            queue: self.queue,
        }
    }
}

/// What an instance needs to know to go on in one class.
#[derive(Debug, Clone)]
pub struct ClassState {
    /// Which class.
    pub class: Class,
    /// Number of the last transaction.
    pub number: u64,
    /// The chain's end.
    pub head: Head,
    /// Latest time of arrival given.
    pub arrived: i64,
    /// The open partition, if there is one.
    pub open: Option<PartitionId>,
    /// Cursors, by name.
    pub cursors: BTreeMap<String, Position>,
    /// Senders of numbered batches, by name.
    pub senders: BTreeMap<String, Numbers>,
    /// Keys that are remembered, and when they came, the oldest first.
    pub keys: Vec<(String, i64)>,
    /// Position of the local queue.
    pub queue: u64,
}

/// Where a class of an instance ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Whose.
    pub instance: Instance,
    /// Which class.
    pub class: Class,
    /// Number of the last transaction.
    pub number: u64,
    /// The chain's end.
    pub head: Head,
    /// The open partition, if there is one.
    pub open: Option<PartitionId>,
}

impl ClassState {
    /// Its end alone.
    pub fn end(self, instance: Instance) -> End {
        let ClassState { class, number, head, open, .. } = self;
        End { instance, class, number, head, open }
    }
}
