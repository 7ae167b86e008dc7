//! Counts of partitions that were read lately; those of sealed ones never change.

use std::collections::HashMap;
use std::sync::Arc;

use crate::id::PartitionId;
use crate::packed::Packed;

/// Memory that it may take.
const BYTES: usize = 6 << 20;

#[derive(Debug, Default)]
pub(super) struct Cache {
    held: HashMap<PartitionId, Held>,
    bytes: usize,
    clock: u64,
}

#[derive(Debug)]
struct Held {
    minutes: Arc<Packed>,
    /// Of the partition when they were read: another number is another state.
    rows: u32,
    used: u64,
}

impl Cache {
    pub(super) fn get(&mut self, id: PartitionId, rows: u32) -> Option<Arc<Packed>> {
        self.clock += 1;
        let held = self.held.get_mut(&id).filter(|held| held.rows == rows)?;
        held.used = self.clock;
        Some(held.minutes.clone())
    }

    pub(super) fn put(&mut self, id: PartitionId, rows: u32, minutes: Arc<Packed>) {
        self.clock += 1;
        self.bytes += minutes.weight();
        if let Some(old) = self.held.insert(id, Held { minutes, rows, used: self.clock }) {
            self.bytes -= old.minutes.weight();
        }
        while self.bytes > BYTES && self.held.len() > 1 {
            let Some(oldest) = self.held.iter().min_by_key(|(_, held)| held.used).map(|(id, _)| *id) else {
                break;
            };
            if let Some(old) = self.held.remove(&oldest) {
                self.bytes -= old.minutes.weight();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Count;
    use crate::entry::Level;
    use crate::id::Instance;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let id = |number| PartitionId { instance: Instance(1), number };
        let count = |minute| Count { minute, service: "core".into(), level: Level::Info, count: 1 };
        let minutes = Arc::new(Packed::of(&(0..200_000).map(count).collect::<Vec<_>>()));
        let fits = u32::try_from(BYTES / minutes.weight()).unwrap();
        assert!(fits >= 1);
        let mut cache = Cache::default();
        (0..fits).for_each(|n| cache.put(id(n), 1, minutes.clone()));
        assert!(cache.get(id(0), 1).is_some());
        cache.put(id(fits), 1, minutes.clone());
        assert!(cache.get(id(fits), 1).is_some());
        assert!(cache.bytes <= BYTES);
        assert_eq!(cache.get(id(0), 1).is_some(), fits > 1);
        assert!(cache.get(id(fits), 2).is_none(), "another state");
    }
}
