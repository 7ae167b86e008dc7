//! Partitions: what is known of each, and when a new one begins.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chain::Head;
use crate::entry::{Level, NewEntry};
use crate::id::{PartitionId, ROWS_PER_PARTITION};

/// A class of retention, such as `default`, `audit` or `debug`. Each has its own partitions and its own chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Class(pub String);

impl Class {
    /// Where a service belongs that names none.
    pub const DEFAULT: &str = "default";

    /// The class of services that name none.
    pub fn default_class() -> Class {
        Class(Self::DEFAULT.to_owned())
    }
}

/// Entries by level, in the order of [`Level::ALL`].
pub type PerLevel = [u64; 5];

/// What is known of a partition without looking into it: enough to pass it over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Entries.
    pub rows: u32,
    /// Weight of the entries in bytes (see [`NewEntry::weight`]).
    pub bytes: u64,
    /// Range of the entries' own times; `None` while it is empty.
    pub at: Option<(i64, i64)>,
    /// Entries by service and level. Twins (see [`crate::entry::flag::TWIN`]) are not counted; a service that has
    /// only twins may be missing.
    pub services: BTreeMap<String, PerLevel>,
}

impl Contents {
    /// Nothing.
    pub fn empty() -> Self {
        Self { rows: 0, bytes: 0, at: None, services: BTreeMap::new() }
    }

    /// Takes in one entry.
    pub fn add(&mut self, entry: &NewEntry) {
        self.rows += 1;
        self.bytes += entry.weight() as u64;
        let (low, high) = self.at.unwrap_or((entry.at, entry.at));
        self.at = Some((low.min(entry.at), high.max(entry.at)));
        if !self.services.contains_key(&entry.service) {
            self.services.insert(entry.service.clone(), [0; 5]);
        }
        let counts = entry.flags & crate::entry::flag::TWIN == 0;
        if let Some(levels) = self.services.get_mut(&entry.service).filter(|_| counts) {
            levels[level_slot(entry.level)] += 1;
        }
    }
}

/// Place of a level in [`PerLevel`].
pub fn level_slot(level: Level) -> usize {
    Level::ALL.iter().position(|l| *l == level).unwrap_or(0)
}

/// A partition as it is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number.
    pub id: PartitionId,
    /// Its class.
    pub class: Class,
    /// When its first entry arrived, nanoseconds since 1970; never before the end of the one before, unless the clock had been far ahead then.
    pub opened: i64,
    /// The chain before its first entry.
    #[serde(skip, default = "genesis")]
    pub before: Head,
    /// Set when it is closed for good.
    pub seal: Option<Seal>,
    /// What it holds.
    pub contents: Contents,
    /// Bytes on disk, indexes included, as far as known.
    pub disk: u64,
}

fn genesis() -> Head {
    Head::GENESIS
}

/// The end of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// When it was closed, nanoseconds since 1970: no later entry arrived in it.
    pub closed: i64,
    /// The chain after its last entry.
    #[serde(skip, default = "genesis")]
    pub head: Head,
}

/// When a partition is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollPolicy {
    /// Entries; at most [`ROWS_PER_PARTITION`].
    pub rows: u32,
    /// Weight of the entries, bytes.
    pub bytes: u64,
    /// Nanoseconds since its opening: retention by age takes whole partitions.
    pub age: i64,
}

impl Default for RollPolicy {
    fn default() -> Self {
        Self { rows: ROWS_PER_PARTITION, bytes: 512 << 20, age: 86_400 * 1_000_000_000 }
    }
}

impl RollPolicy {
    /// Whether a partition opened at `opened` takes `more` further entries at `now`.
    pub fn takes(&self, opened: i64, contents: &Contents, more: u32, now: i64) -> bool {
        contents.rows == 0
            || (contents.rows.saturating_add(more) <= self.rows.min(ROWS_PER_PARTITION)
                && contents.bytes < self.bytes
                && now.saturating_sub(opened) < self.age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::tests::sample;

    #[test]
    fn contents_know_times_services_and_levels() {
        let mut contents = Contents::empty();
        for (at, level) in [(5, Level::Info), (3, Level::Error), (9, Level::Error)] {
            contents.add(&NewEntry { at, level, ..sample("x") });
        }
        assert_eq!((contents.rows, contents.at), (3, Some((3, 9))));
        assert_eq!(contents.services["core"], [0, 1, 0, 2, 0]);
    }

    #[test]
    fn a_partition_is_full_by_rows_bytes_or_age() {
        let policy = RollPolicy { rows: 10, bytes: 1000, age: 100 };
        let with = |rows, bytes| Contents { rows, bytes, ..Contents::empty() };
        assert!(policy.takes(0, &with(8, 0), 2, 0));
        assert!(!policy.takes(0, &with(8, 0), 3, 0));
        assert!(!policy.takes(0, &with(1, 1000), 1, 0));
        assert!(!policy.takes(0, &with(1, 0), 1, 100));
        assert!(
            policy.takes(0, &Contents::empty(), 1, 1000),
            "an empty one takes the first batch whatever its age"
        );
    }
}
