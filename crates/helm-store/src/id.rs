//! Numbers: of instances, partitions and entries.
//!
//! An entry's id says where it lies: `instance (9 bits) | partition (24 bits) | row (20 bits)`, 53 bits in all, so that every
//! JavaScript number holds it. Instance 0 holds what was there before Helm (ids of the Python Helm stay as they are).

use std::fmt;

use serde::{Deserialize, Serialize};

const ROW_BITS: u32 = 20;
const PARTITION_BITS: u32 = 24;

/// Rows that one partition can hold.
pub const ROWS_PER_PARTITION: u32 = 1 << ROW_BITS;

/// A helmd and its home, as a number in one database: 1 to 511; 0 is what was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instance(pub u16);

impl Instance {
    /// What was taken over from the Python Helm.
    pub const FORMER: Instance = Instance(0);
    /// Highest number.
    pub const MAX: u16 = 511;
}

/// A partition of one instance. Numbers rise with the time of opening, over all classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId {
    /// Whose.
    pub instance: Instance,
    /// Which, from 0.
    pub number: u32,
}

impl PartitionId {
    /// Highest number.
    pub const MAX: u32 = (1 << PARTITION_BITS) - 1;

    /// Id of the entry in `row`.
    pub fn entry(self, row: u32) -> EntryId {
        let partition = (i64::from(self.instance.0) << PARTITION_BITS) | i64::from(self.number);
        EntryId((partition << ROW_BITS) | i64::from(row))
    }

    /// Ids that belong to it: first and one past the last.
    pub fn ids(self) -> (EntryId, EntryId) {
        let first = self.entry(0);
        (first, EntryId(first.0 + i64::from(ROWS_PER_PARTITION)))
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.instance.0, self.number)
    }
}

/// An entry's number: unique in a database, below 2^53, never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryId(pub i64);

impl EntryId {
    /// Where it lies. `None` for a number that is no id.
    pub fn partition(self) -> Option<PartitionId> {
        let partition = self.0 >> ROW_BITS;
        let instance = u16::try_from(partition >> PARTITION_BITS).ok()?;
        let number = u32::try_from(partition & i64::from(PartitionId::MAX)).ok()?;
        (instance <= Instance::MAX).then_some(PartitionId { instance: Instance(instance), number })
    }

    /// Its place in the partition.
    pub fn row(self) -> u32 {
        u32::try_from(self.0 & i64::from(ROWS_PER_PARTITION - 1)).unwrap_or(0)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn old_ids_lie_in_the_instance_before_helm() {
        let id = EntryId(3_000_000);
        assert_eq!(id.partition(), Some(PartitionId { instance: Instance::FORMER, number: 2 }));
        assert_eq!(EntryId(-1).partition(), None);
        assert_eq!(EntryId(1 << 53).partition(), None);
    }

    proptest! {
        #[test]
        fn an_id_says_where_it_lies(instance in 0u16..=511, number in 0u32..=PartitionId::MAX, row in 0u32..ROWS_PER_PARTITION) {
            let partition = PartitionId { instance: Instance(instance), number };
            let id = partition.entry(row);
            prop_assert!(id.0 < 1 << 53);
            prop_assert_eq!(id.partition(), Some(partition));
            prop_assert_eq!(id.row(), row);
            let (first, end) = partition.ids();
            prop_assert!(first <= id && id < end);
        }
    }
}
