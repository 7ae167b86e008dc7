//! What the database has on record: before the walk, and after it.

use std::collections::{BTreeMap, BTreeSet};

use crate::commit::End;
use crate::engine::{EngineError, LogEngine};
use crate::id::{Instance, PartitionId};
use crate::partition::{Class, Partition};

/// Looks at a database in which somebody writes, until one is undisturbed.
const TRIES: usize = 4;

/// A chain: an instance's class.
pub(super) type ChainKey = (Instance, Class);

/// What is on record.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) partitions: BTreeMap<PartitionId, Partition>,
    pub(super) ends: BTreeMap<ChainKey, End>,
    /// Chains in which nothing was written while the look was taken: their end and their partitions belong together.
    settled: BTreeSet<ChainKey>,
}

impl Look {
    /// Ends first: what they say is then in the partitions.
    pub(super) async fn take(engine: &dyn LogEngine) -> Result<Self, EngineError> {
        let mut look = Look::default();
        for _ in 0..TRIES {
            let ends = ends(engine).await?;
            let partitions = engine.partitions().await?;
            let after = self::ends(engine).await?;
            let same = |(key, end): &(&ChainKey, &End)| {
                after.get(key).is_some_and(|now| (now.number, now.open) == (end.number, end.open))
            };
            look = Look {
                partitions: partitions.into_iter().map(|p| (p.id, p)).collect(),
                settled: ends.iter().filter(same).map(|(key, _)| key.clone()).collect(),
                ends,
            };
            if look.settled.len() == look.ends.len() {
                break;
            }
        }
        Ok(look)
    }

    /// The end of a chain, and whether it belongs together with what is on record of its partitions.
    pub(super) fn end(&self, chain: &ChainKey) -> Option<(&End, bool)> {
        self.ends.get(chain).map(|end| (end, self.settled.contains(chain)))
    }

    /// Partitions of each chain, by number.
    pub(super) fn chains(&self) -> BTreeMap<ChainKey, Vec<Partition>> {
        let mut chains: BTreeMap<ChainKey, Vec<Partition>> =
            self.ends.keys().map(|key| (key.clone(), Vec::new())).collect();
        for partition in self.partitions.values() {
            let key = (partition.id.instance, partition.class.clone());
            chains.entry(key).or_default().push(partition.clone());
        }
        chains
    }
}

async fn ends(engine: &dyn LogEngine) -> Result<BTreeMap<ChainKey, End>, EngineError> {
    let ends = engine.ends().await?;
    Ok(ends.into_iter().map(|end| ((end.instance, end.class.clone()), end)).collect())
}
