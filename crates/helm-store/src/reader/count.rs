//! How many: histogram, facets and totals from the counts per minute; exact. The minutes at both ends that are not whole are looked at
//! entry by entry.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::matcher::{Matcher, is_counted};
use super::walk::Step;
use super::{ReadError, Reader};
use crate::counts::{MINUTE, Wanted, minute_of, minute_start};
use crate::engine::EngineError;
use crate::id::EntryId;
use crate::packed::Packed;
use crate::partition::{Partition, PerLevel, level_slot};
use crate::query::{Cursor, Filter, Order};

/// Most buckets of a histogram.
const BUCKETS: i64 = 10_000;
/// Where counts do not help, at most so many are counted; what is counted one by one takes at most so long.
const COUNTED: u64 = 1_000_000;
const TIME: Duration = Duration::from_secs(2);
/// The same for a total: it stands beside a page, which somebody waits for.
const TOTAL_COUNTED: u64 = 10_000;
const TOTAL_TIME: Duration = Duration::from_millis(200);

/// Entries by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    /// Nanoseconds of a bucket: what was asked for, in whole minutes.
    pub step: i64,
    /// Those that hold entries, by time.
    pub buckets: Vec<Bucket>,
    /// All were counted; else those of the newest only.
    pub exact: bool,
}

/// One bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Begins at this multiple of the step (nanoseconds since 1970).
    pub from: i64,
    /// Entries by level.
    pub counts: PerLevel,
}

/// Entries by service and level.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facets {
    /// By name.
    pub services: BTreeMap<String, PerLevel>,
    /// All were counted.
    pub exact: bool,
}

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// So many, or more if not exact.
    pub count: u64,
    /// All were counted.
    pub exact: bool,
}

/// How finely what is counted is told apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grain {
    /// By minute: whole partitions must be looked into.
    Minute,
    /// Not by time: a partition that lies in the range as a whole is known.
    Whole,
}

/// How much is counted one by one.
#[derive(Clone, Copy)]
struct Bound {
    deadline: Instant,
    /// Entries; the rest of the minutes at both ends of a range is counted without this bound.
    most: u64,
}

impl Bound {
    fn of_counts() -> Self {
        Self { deadline: Instant::now() + TIME, most: COUNTED }
    }

    fn of_time(self) -> Self {
        Self { most: u64::MAX, ..self }
    }
}

impl Reader {
    /// Entries from `from` (inclusive) to `to` (exclusive) in buckets that begin at multiples of `step`.
    pub async fn histogram(
        &self,
        filter: &Filter,
        from: i64,
        to: i64,
        step: i64,
    ) -> Result<Histogram, ReadError> {
        let filter = between(filter, from, to);
        let span = filter.until.unwrap_or(to).saturating_sub(filter.since.unwrap_or(from));
        let least = step.max(span / BUCKETS).max(1);
        let step = least.saturating_add(MINUTE - 1) / MINUTE * MINUTE;
        let mut buckets: BTreeMap<i64, PerLevel> = BTreeMap::new();
        // Many counts in a row are of one bucket.
        let mut latest = (i64::MIN, PerLevel::default());
        let exact = self
            .count(&filter, Grain::Minute, Bound::of_counts(), |at, _, counts| {
                let bucket = at.div_euclid(step);
                if bucket != latest.0 {
                    add(buckets.entry(latest.0).or_default(), &latest.1);
                    latest = (bucket, PerLevel::default());
                }
                add(&mut latest.1, counts);
            })
            .await?;
        add(buckets.entry(latest.0).or_default(), &latest.1);
        buckets.remove(&i64::MIN);
        let buckets =
            buckets.into_iter().map(|(at, counts)| Bucket { from: at.saturating_mul(step), counts });
        Ok(Histogram { step, buckets: buckets.collect(), exact })
    }

    /// Entries from `from` (inclusive) to `to` (exclusive) by service and level.
    pub async fn facets(&self, filter: &Filter, from: i64, to: i64) -> Result<Facets, ReadError> {
        let mut services: BTreeMap<String, PerLevel> = BTreeMap::new();
        let exact = self
            .count(&between(filter, from, to), Grain::Whole, Bound::of_counts(), |_, service, counts| {
                if counts.iter().any(|count| *count > 0) {
                    match services.get_mut(service) {
                        Some(sums) => add(sums, counts),
                        None => drop(services.insert(service.to_owned(), *counts)),
                    }
                }
            })
            .await?;
        Ok(Facets { services, exact })
    }

    /// How many entries there are: exact where counts give it, else at most 10,000 are counted for at most 200 ms.
    pub async fn total(&self, filter: &Filter) -> Result<Total, ReadError> {
        let bound = Bound { deadline: Instant::now() + TOTAL_TIME, most: TOTAL_COUNTED };
        self.total_within(filter, bound).await
    }

    async fn total_within(&self, filter: &Filter, bound: Bound) -> Result<Total, ReadError> {
        let mut count = 0;
        let sum = |_, _: &str, counts: &PerLevel| count += counts.iter().sum::<u64>();
        let exact = self.count(filter, Grain::Whole, bound, sum).await?;
        Ok(Total { count, exact })
    }

    /// Gives counts to `take`: a time in the minute, service, counts by level. Whether all were counted.
    async fn count(
        &self,
        filter: &Filter,
        grain: Grain,
        bound: Bound,
        mut take: impl FnMut(i64, &str, &PerLevel),
    ) -> Result<bool, ReadError> {
        let matcher = Matcher::new(filter.clone())?;
        let (from, to) = (filter.since.unwrap_or(i64::MIN), filter.until.unwrap_or(i64::MAX));
        if from >= to {
            return Ok(true);
        }
        if !is_counted(filter) {
            return self.count_each(filter, bound, &mut take).await;
        }
        let manifest = self.live.manifest();
        let partitions: Vec<&Arc<Partition>> = manifest.values().filter(|p| matcher.may_be_in(p)).collect();
        let held =
            partitions.iter().filter_map(|p| p.contents.at).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let Some((low, high)) = held else { return Ok(true) };
        // Minutes that lie in the range as far as they hold anything.
        let first = if from <= low { minute_of(low) } else { minute_of(from.saturating_add(MINUTE - 1)) };
        let end = if to > high { minute_of(high) + 1 } else { minute_of(to) };
        if first >= end {
            return self.count_each(filter, bound.of_time(), &mut take).await;
        }
        let mut exact = true;
        for (from, to) in [(from, minute_start(first)), (minute_start(end), to)] {
            if from < to && low < to && high >= from {
                let edge = Filter { since: Some(from), until: Some(to), ..filter.clone() };
                exact &= self.count_each(&edge, bound.of_time(), &mut take).await?;
            }
        }
        let wanted = Wanted { services: &filter.services, levels: filter.levels };
        for partition in partitions {
            self.count_one(partition, grain, &wanted, (first, end), &mut take).await?;
        }
        Ok(exact)
    }

    async fn count_one(
        &self,
        partition: &Partition,
        grain: Grain,
        wanted: &Wanted<'_>,
        (first, end): (i64, i64),
        take: &mut impl FnMut(i64, &str, &PerLevel),
    ) -> Result<(), ReadError> {
        let contents = &partition.contents;
        let whole = contents.at.filter(|(low, high)| minute_of(*low) >= first && minute_of(*high) < end);
        if let (Grain::Whole, Some((low, _))) = (grain, whole) {
            for (service, counts) in &contents.services {
                if let Some(counts) = wanted.of(service, counts) {
                    take(low, service, &counts);
                }
            }
            return Ok(());
        }
        let mut taken =
            |minute, service: &str, counts: &PerLevel| take(minute_start(minute), service, counts);
        let in_memory =
            self.live.minutes(partition.id, |minutes| minutes.visit(wanted, first, end, &mut taken));
        if in_memory.is_none() {
            self.packed(partition).await?.visit(wanted, first, end, taken);
        }
        Ok(())
    }

    /// The counts of a partition, from the cache or the engine.
    async fn packed(&self, partition: &Partition) -> Result<Arc<Packed>, ReadError> {
        let (id, rows) = (partition.id, partition.contents.rows);
        let known = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(id, rows);
        if let Some(packed) = known {
            return Ok(packed);
        }
        let kept = if partition.seal.is_some() { self.engine.packed(id).await? } else { None };
        let packed = match kept {
            Some(bytes) => Packed::read(bytes).ok_or_else(|| {
                EngineError::Damaged(format!(
                    "the packed counts of partition {id} hold what was never written"
                ))
            })?,
            None => Packed::of(&self.engine.counts(id, i64::MIN, i64::MAX).await?),
        };
        let packed = Arc::new(packed);
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).put(id, rows, packed.clone());
        Ok(packed)
    }

    /// One by one, newest first; whether these were all.
    async fn count_each(
        &self,
        filter: &Filter,
        bound: Bound,
        take: &mut impl FnMut(i64, &str, &PerLevel),
    ) -> Result<bool, ReadError> {
        let mut walk = self.walk(Matcher::new(filter.clone())?, Order::Newest, None);
        let mut left = bound.most;
        loop {
            match walk.next(Some(bound.deadline)).await? {
                Step::Entry(entry) => {
                    let mut one = PerLevel::default();
                    one[level_slot(entry.body.level)] = 1;
                    take(entry.body.at, &entry.body.service, &one);
                    left -= 1;
                    if left == 0 {
                        return Ok(false);
                    }
                }
                Step::Looked(_) => {}
                Step::End => return Ok(true),
                Step::Time(_) => return Ok(false),
            }
        }
    }

    /// Passes over as many entries as it can by their counts: where to go on, and how many are left to pass over.
    pub(super) async fn pass(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<Cursor>,
        offset: u64,
        deadline: Instant,
    ) -> Result<(Option<Cursor>, u64), ReadError> {
        let matcher = Matcher::new(filter.clone())?;
        let manifest = self.live.manifest();
        let ranges: Vec<(i64, i64)> =
            manifest.values().filter(|p| matcher.may_be_in(p)).filter_map(|p| p.contents.at).collect();
        if after.is_some() || offset < 1_000 || !is_counted(filter) || ranges.is_empty() {
            return Ok((after, offset));
        }
        let low = ranges.iter().map(|r| r.0).fold(i64::MAX, i64::min).max(filter.since.unwrap_or(i64::MIN));
        let high = ranges
            .iter()
            .map(|r| r.1)
            .fold(i64::MIN, i64::max)
            .min(filter.until.unwrap_or(i64::MAX).saturating_sub(1));
        let (mut low, mut high) = (low, high.saturating_add(1));
        let mut left = offset;
        'passing: for step in [30 * 1440 * MINUTE, 1440 * MINUTE, 60 * MINUTE, MINUTE] {
            while low < high {
                // Piece by piece from the side where the list begins, in whole multiples of the step.
                let piece = match order {
                    Order::Newest => (low.max((high - 1).div_euclid(step).saturating_mul(step)), high),
                    Order::Oldest => (low, high.min((low.div_euclid(step) + 1).saturating_mul(step))),
                };
                if ranges.iter().any(|r| r.0 < piece.1 && r.1 >= piece.0) {
                    let total = self
                        .total_within(&between(filter, piece.0, piece.1), Bound { deadline, most: COUNTED })
                        .await?;
                    if !total.exact {
                        break 'passing;
                    }
                    if total.count > left {
                        break;
                    }
                    left -= total.count;
                }
                match order {
                    Order::Newest => high = piece.0,
                    Order::Oldest => low = piece.1,
                }
            }
        }
        let edge = match order {
            Order::Newest => Cursor { at: high, id: EntryId(0) },
            Order::Oldest => Cursor { at: low.saturating_sub(1), id: EntryId(i64::MAX) },
        };
        Ok((Some(edge), left))
    }
}

fn add(sums: &mut PerLevel, counts: &PerLevel) {
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
}

/// The filter, narrowed to a range of time.
fn between(filter: &Filter, from: i64, to: i64) -> Filter {
    Filter {
        since: Some(filter.since.map_or(from, |since| since.max(from))),
        until: Some(filter.until.map_or(to, |until| until.min(to))),
        ..filter.clone()
    }
}
