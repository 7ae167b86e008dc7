//! How long what is written now will be kept, at the rate of the last days.

use std::collections::BTreeMap;

use super::{DAY, Policies, Policy, size};
use crate::id::Instance;
use crate::partition::{Class, Partition};

/// The rate is taken from so many nanoseconds.
const LATELY: i64 = 7 * DAY;

/// Of one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// What holds.
    pub policy: Policy,
    /// Partitions.
    pub partitions: usize,
    /// Entries.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// When the oldest partition was opened.
    pub oldest: i64,
    /// It is not a day old: what follows says little.
    pub young: bool,
    /// Bytes a day, lately.
    pub rate: u64,
    /// How long an entry will be kept at this rate, nanoseconds. `None`: for ever.
    pub keeps: Option<i64>,
    /// Bytes that it comes to at this rate. `None`: it grows without end.
    pub grows_to: Option<u64>,
}

/// By class.
pub fn forecast<'a>(
    partitions: impl IntoIterator<Item = &'a Partition>,
    instance: Instance,
    policies: &Policies,
    now: i64,
) -> BTreeMap<Class, Forecast> {
    let mut classes: BTreeMap<Class, Vec<&Partition>> = BTreeMap::new();
    for partition in partitions.into_iter().filter(|p| p.id.instance == instance) {
        classes.entry(partition.class.clone()).or_default().push(partition);
    }
    classes
        .into_iter()
        .map(|(class, partitions)| {
            let forecast = of_class(&partitions, policies.of(&class), now);
            (class, forecast)
        })
        .collect()
}

fn of_class(partitions: &[&Partition], policy: Policy, now: i64) -> Forecast {
    let oldest = partitions.iter().map(|p| p.opened).min().unwrap_or(now);
    let since = oldest.max(now.saturating_sub(LATELY));
    let lately: u64 = partitions.iter().map(|p| part_since(p, since, now)).sum();
    // Less than an hour says nothing about a day.
    let span = now.saturating_sub(since).max(DAY / 24);
    let rate = scaled(lately, DAY, span);
    let by_bytes = policy.bytes.filter(|_| rate > 0).map(|most| {
        i64::try_from(u128::from(most) * u128::from(DAY.unsigned_abs()) / u128::from(rate))
            .unwrap_or(i64::MAX)
    });
    let keeps = [policy.age, by_bytes].into_iter().flatten().min();
    let by_age = policy.age.map(|age| scaled(rate, age, DAY));
    Forecast {
        policy,
        partitions: partitions.len(),
        rows: partitions.iter().map(|p| u64::from(p.contents.rows)).sum(),
        bytes: partitions.iter().map(|p| size(p)).sum(),
        oldest,
        young: now.saturating_sub(oldest) < DAY,
        rate,
        keeps,
        grows_to: [by_age, policy.bytes].into_iter().flatten().min(),
    }
}

/// The bytes of a partition that came after `since`, if they came evenly.
fn part_since(partition: &Partition, since: i64, now: i64) -> u64 {
    let end = partition.seal.map_or(now, |seal| seal.closed);
    let whole = end.saturating_sub(partition.opened);
    let part = end.saturating_sub(partition.opened.max(since));
    if part <= 0 {
        0
    } else if whole <= part {
        size(partition)
    } else {
        scaled(size(partition), part, whole)
    }
}

fn scaled(value: u64, by: i64, of: i64) -> u64 {
    let of = u128::from(of.unsigned_abs()).max(1);
    u64::try_from(u128::from(value) * u128::from(by.unsigned_abs()) / of).unwrap_or(u64::MAX)
}
