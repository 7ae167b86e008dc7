//! Counts per minute, service and level in memory: what histograms, facets and totals are made of.
//!
//! Twins (see [`crate::entry::flag::TWIN`]) are not counted: lists do not show them unless asked to.

use std::collections::{BTreeMap, HashMap};

use crate::engine::Count;
use crate::entry::Level;
use crate::partition::{PerLevel, level_slot};
use crate::query::{Levels, names};

/// Nanoseconds of a minute.
pub const MINUTE: i64 = 60 * 1_000_000_000;

/// The minute (since 1970) in which a time lies.
pub fn minute_of(at: i64) -> i64 {
    at.div_euclid(MINUTE)
}

/// When a minute begins, in nanoseconds since 1970.
pub fn minute_start(minute: i64) -> i64 {
    minute.saturating_mul(MINUTE)
}

/// The counts of one partition.
#[derive(Debug, Clone, Default)]
pub struct Minutes {
    names: Vec<String>,
    numbers: HashMap<String, u16>,
    minutes: BTreeMap<i64, Vec<(u16, [u32; 5])>>,
}

impl Minutes {
    /// From what an engine has.
    pub fn of(counts: &[Count]) -> Self {
        let mut minutes = Minutes::default();
        for count in counts {
            minutes.add(count.minute, &count.service, count.level, count.count);
        }
        minutes
    }

    /// Adds `count` entries. A partition has at most 2^20 entries, so no sum overflows.
    pub fn add(&mut self, minute: i64, service: &str, level: Level, count: u64) {
        let Some(number) = self.number(service) else { return };
        let row = self.minutes.entry(minute).or_default();
        let at = row.iter().position(|(n, _)| *n == number).unwrap_or_else(|| {
            row.push((number, [0; 5]));
            row.len() - 1
        });
        let slot = &mut row[at].1[level_slot(level)];
        *slot = slot.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn number(&mut self, service: &str) -> Option<u16> {
        if let Some(number) = self.numbers.get(service) {
            return Some(*number);
        }
        // A partition has at most 2,000 services: the writer refuses more.
        let number = u16::try_from(self.names.len()).ok()?;
        self.names.push(service.to_owned());
        self.numbers.insert(service.to_owned(), number);
        Some(number)
    }

    /// Bytes in memory, roughly.
    pub fn weight(&self) -> usize {
        let names: usize = self.names.iter().map(|name| 2 * name.len() + 80).sum();
        let rows: usize = self.minutes.values().map(|row| 64 + row.capacity() * 24).sum();
        names + rows
    }

    /// Gives the sums of the minutes `from` (inclusive) to `to` (exclusive) whose service and level are wanted to `take`: service, counts by
    /// level (0 where the level is not wanted).
    pub fn sums(&self, wanted: &Wanted<'_>, from: i64, to: i64, take: impl FnMut(&str, &PerLevel)) {
        let mut sums = Sums::new(self.names.len());
        if from < to {
            for (number, counts) in self.minutes.range(from..to).flat_map(|(_, row)| row) {
                sums.add(usize::from(*number), &counts.map(u64::from));
            }
        }
        sums.give(&self.names, wanted, take);
    }

    /// Gives every count of the minutes `from` (inclusive) to `to` (exclusive) whose service and level are wanted to `take`: minute,
    /// service, counts by level (0 where the level is not wanted).
    pub fn visit(&self, wanted: &Wanted<'_>, from: i64, to: i64, mut take: impl FnMut(i64, &str, &PerLevel)) {
        if from >= to {
            return;
        }
        let services: Vec<bool> = self.names.iter().map(|name| wanted.service(name)).collect();
        let levels: [u64; 5] = Level::ALL.map(|level| u64::from(wanted.level(level)));
        for (minute, row) in self.minutes.range(from..to) {
            for (number, counts) in row {
                let number = usize::from(*number);
                if services[number] {
                    let mut kept = counts.map(u64::from);
                    kept.iter_mut().zip(levels).for_each(|(count, keep)| *count *= keep);
                    take(*minute, &self.names[number], &kept);
                }
            }
        }
    }
}

/// Counts by the number of a service.
pub(crate) struct Sums(Vec<PerLevel>);

impl Sums {
    pub(crate) fn new(services: usize) -> Self {
        Self(vec![PerLevel::default(); services])
    }

    pub(crate) fn add(&mut self, service: usize, counts: &PerLevel) {
        if let Some(sum) = self.0.get_mut(service) {
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }

    pub(crate) fn give(self, names: &[String], wanted: &Wanted<'_>, mut take: impl FnMut(&str, &PerLevel)) {
        for (name, sum) in names.iter().zip(&self.0) {
            if let Some(sum) = wanted.of(name, sum) {
                take(name, &sum);
            }
        }
    }
}

/// Which services and levels are counted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Empty: all.
    pub services: &'a [String],
    /// `None`: all.
    pub levels: Option<Levels>,
}

impl Wanted<'_> {
    /// The counts of a service as far as they are wanted.
    pub(crate) fn of(&self, service: &str, counts: &PerLevel) -> Option<PerLevel> {
        self.service(service).then(|| {
            let mut kept = *counts;
            let unwanted = Level::ALL.into_iter().filter(|level| !self.level(*level));
            unwanted.for_each(|level| kept[level_slot(level)] = 0);
            kept
        })
    }

    pub(crate) fn service(&self, name: &str) -> bool {
        names(self.services, name)
    }

    pub(crate) fn level(&self, level: Level) -> bool {
        self.levels.is_none_or(|levels| levels.has(level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_kept_by_minute_service_and_level() {
        let mut minutes = Minutes::default();
        minutes.add(1, "core", Level::Info, 2);
        minutes.add(1, "core", Level::Info, 1);
        minutes.add(2, "core", Level::Error, 5);
        minutes.add(2, "nexus", Level::Error, 7);
        let mut seen = Vec::new();
        let core = ["core".to_owned()];
        minutes.visit(&Wanted { services: &core, levels: None }, 0, 3, |minute, service, counts| {
            seen.push((minute, service.to_owned(), counts.iter().sum::<u64>()));
        });
        assert_eq!(seen, [(1, "core".to_owned(), 3), (2, "core".to_owned(), 5)]);
        let mut errors = 0;
        let graver = Wanted { services: &[], levels: Some(Levels::AtLeast(Level::Warning)) };
        minutes.visit(&graver, 0, 3, |_, _, counts| errors += counts.iter().sum::<u64>());
        assert_eq!(errors, 12);
    }

    #[test]
    fn times_before_1970_have_minutes_too() {
        assert_eq!(minute_of(-1), -1);
        assert_eq!(minute_start(minute_of(-1)), -MINUTE);
    }
}
