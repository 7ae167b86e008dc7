//! What may go: by age, by bytes, by free disk.
//!
//! Whole partitions go, the oldest first, never an open one. Decisions are functions of values; [`carry_out`] writes into the chain what
//! goes, and only then takes it away. Both may be repeated after a crash in between.

mod carry_out;
mod forecast;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use carry_out::{Carried, Record, RetentionError, carry_out};
pub use forecast::{Forecast, forecast};

use crate::id::{Instance, PartitionId};
use crate::partition::{Class, Partition};

/// Nanoseconds of a day.
pub const DAY: i64 = 86_400 * 1_000_000_000;

/// Nothing was written by this Helm before: the first of 2025. A clock that says an earlier time has not been set yet.
const SINCE: i64 = 20_089 * DAY;

/// How long a class is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Nanoseconds since the last entry of a partition arrived. `None`: for ever.
    pub age: Option<i64>,
    /// Bytes of all partitions of the class. `None`: without a limit.
    pub bytes: Option<u64>,
    /// It may be taken to keep the disk from filling up.
    pub yields: bool,
}

impl Default for Policy {
    /// Ninety days, as the Python Helm has it.
    fn default() -> Self {
        Self { age: Some(90 * DAY), bytes: None, yields: true }
    }
}

/// Policies of all classes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Policies {
    /// For classes that are not named.
    pub default: Policy,
    /// By class.
    pub classes: BTreeMap<Class, Policy>,
}

impl Policies {
    /// What holds for a class.
    pub fn of(&self, class: &Class) -> Policy {
        self.classes.get(class).copied().unwrap_or(self.default)
    }
}

/// Room on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disk {
    /// Bytes that are free.
    pub free: u64,
    /// Bytes that are to be free. 0: no matter.
    pub floor: u64,
}

/// Why a partition goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is older than its class is kept.
    Age,
    /// Its class has too many bytes.
    Bytes,
    /// The disk has too little room.
    Disk,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Age => "older than its class is kept",
            Reason::Bytes => "its class has too many bytes",
            Reason::Disk => "the disk has too little room",
        })
    }
}

/// A partition that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Which.
    pub partition: PartitionId,
    /// Why.
    pub reason: Reason,
}

/// What a partition takes: on the disk, where that is known.
pub fn size(partition: &Partition) -> u64 {
    if partition.disk > 0 { partition.disk } else { partition.contents.bytes }
}

/// What goes now, of the partitions of `instance`; in the order in which it is to go.
pub fn decide<'a>(
    partitions: impl IntoIterator<Item = &'a Partition>,
    instance: Instance,
    policies: &Policies,
    disk: Disk,
    now: i64,
) -> Vec<Removal> {
    let mut own: Vec<&Partition> = partitions.into_iter().filter(|p| p.id.instance == instance).collect();
    let ends = ends(&own, now);
    let end = |partition: &Partition| ends.get(&partition.id).copied().unwrap_or(i64::MAX);
    own.sort_by_key(|p| (end(p), p.id));
    let mut bytes: BTreeMap<&Class, u64> = BTreeMap::new();
    for partition in &own {
        *bytes.entry(&partition.class).or_default() += size(partition);
    }
    let mut removals = Vec::new();
    let mut free = disk.free;
    let mut stays = Vec::new();
    for partition in own.into_iter().filter(|p| p.seal.is_some()) {
        let policy = policies.of(&partition.class);
        let held = bytes.entry(&partition.class).or_default();
        let old = policy.age.is_some_and(|age| end(partition) < now.saturating_sub(age));
        let reason = if old {
            Reason::Age
        } else if policy.bytes.is_some_and(|most| *held > most) {
            Reason::Bytes
        } else {
            stays.push(partition);
            continue;
        };
        *held -= size(partition);
        free = free.saturating_add(size(partition));
        removals.push(Removal { partition: partition.id, reason });
    }
    for partition in stays.into_iter().filter(|p| policies.of(&p.class).yields) {
        if free >= disk.floor {
            break;
        }
        free = free.saturating_add(size(partition));
        removals.push(Removal { partition: partition.id, reason: Reason::Disk });
    }
    removals
}

/// Classes whose open partition holds entries that are older than they are kept: to be closed first, so that it can go.
pub fn rolls<'a>(
    partitions: impl IntoIterator<Item = &'a Partition>,
    instance: Instance,
    policies: &Policies,
    now: i64,
) -> Vec<Class> {
    let old = |p: &&Partition| {
        p.id.instance == instance
            && p.seal.is_none()
            && p.contents.rows > 0
            && policies.of(&p.class).age.is_some_and(|age| p.opened < now.saturating_sub(age))
    };
    partitions.into_iter().filter(old).map(|p| p.class.clone()).collect()
}

/// When the last entry of each sealed partition arrived. In truth they follow one another; what a wrong clock noted is mended from its neighbours:
/// one that ends in the future, or before there was a Helm, ended when the next one with a time that can be true began, and none ended before the
/// one before it.
fn ends(partitions: &[&Partition], now: i64) -> BTreeMap<PartitionId, i64> {
    let mut sorted = partitions.to_vec();
    sorted.sort_by_key(|p| (&p.class, p.id));
    let mut ends = BTreeMap::new();
    // Rows of the Python Helm have their own times, however old.
    let can_be = |partition: &Partition, at: i64| {
        at <= now && (at >= SINCE || now < SINCE || partition.id.instance == Instance::FORMER)
    };
    for of_class in sorted.chunk_by(|a, b| a.class == b.class) {
        let mut before = i64::MIN;
        for (at, partition) in of_class.iter().enumerate() {
            let Some(seal) = partition.seal else { continue };
            let mut later = of_class[at + 1..].iter();
            let mut next = || later.find(|later| can_be(later, later.opened)).map(|later| later.opened);
            let closed = if can_be(partition, seal.closed) { seal.closed } else { next().unwrap_or(now) };
            before = before.max(closed);
            ends.insert(partition.id, before);
        }
    }
    ends
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
