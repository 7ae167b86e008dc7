//! What is to be stored and is not yet: bounded, the oldest goes first. Pure.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::block::{Sample, unpack};
use super::engine::{Batch, Block, SeriesId, SeriesKey, Tier};
use super::keep::hour;
use super::rollup::{HOUR, Rollup};

/// Bytes of blocks: four hours of 800 series (100 services), two days of 80.
const BLOCKS: usize = 4 << 20;
/// Minutes: five hours of 800 series, two days of 80.
const MINUTES: usize = 250_000;
/// Hours: five days of 800 series, fifty of 80.
const HOURS: usize = 100_000;

/// What went because the database was away for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Blocks of raw samples.
    pub blocks: u64,
    /// Minutes.
    pub minutes: u64,
    /// Hours.
    pub hours: u64,
    /// Samples that came before the database could be read for the first time.
    pub samples: u64,
}

type Rollups = BTreeMap<(i64, SeriesId), Rollup>;

/// By time, so that the oldest is stored first and dropped first; a block that is written anew takes its former place.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    series: BTreeMap<SeriesId, SeriesKey>,
    blocks: BTreeMap<(i64, SeriesId), Vec<u8>>,
    bytes: usize,
    minutes: Rollups,
    hours: Rollups,
    pub(super) dropped: Dropped,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// Rows that wait.
    pub(super) fn rows(&self) -> usize {
        self.series.len() + self.blocks.len() + self.minutes.len() + self.hours.len()
    }

    /// Puts a batch behind the others.
    pub(super) fn take_in(&mut self, batch: Batch) {
        self.series.extend(batch.series);
        for block in batch.blocks {
            self.bytes += block.bytes.len();
            if let Some(former) = self.blocks.insert((block.hour, block.series), block.bytes) {
                self.bytes -= former.len();
            }
        }
        self.minutes.extend(batch.minutes.into_iter().map(|(series, r)| ((r.at, series), r)));
        self.hours.extend(batch.hours.into_iter().map(|(series, r)| ((r.at, series), r)));
        while self.bytes > BLOCKS
            && let Some((_, block)) = self.blocks.pop_first()
        {
            self.bytes -= block.len();
            self.dropped.blocks += 1;
        }
        self.dropped.minutes += shorten(&mut self.minutes, MINUTES);
        self.dropped.hours += shorten(&mut self.hours, HOURS);
    }

    /// What is to be stored next, in one transaction: all of the oldest hour. In this order the newest hour that is stored tells that all before
    /// it are, too.
    pub(super) fn next(&self) -> Option<Batch> {
        if self.is_empty() {
            return None;
        }
        let first = [
            self.blocks.keys().next().map(|(at, _)| *at),
            self.minutes.keys().next().map(|(at, _)| hour(*at)),
            self.hours.keys().next().map(|(at, _)| *at),
        ];
        let end = (first.into_iter().flatten().min().unwrap_or(0).saturating_add(HOUR), 0);
        let until = |rows: &Rollups| rows.range(..end).map(|((_, series), r)| (*series, *r)).collect();
        let block = |((hour, series), bytes): (&(i64, SeriesId), &Vec<u8>)| Block {
            series: *series,
            hour: *hour,
            bytes: bytes.clone(),
        };
        Some(Batch {
            series: self.series.iter().map(|(id, key)| (*id, key.clone())).collect(),
            blocks: self.blocks.range(..end).map(block).collect(),
            minutes: until(&self.minutes),
            hours: until(&self.hours),
        })
    }

    /// The batch is stored. What took its place meanwhile still waits.
    pub(super) fn stored(&mut self, batch: &Batch) {
        for (id, _) in &batch.series {
            self.series.remove(id);
        }
        for block in &batch.blocks {
            let key = (block.hour, block.series);
            if self.blocks.get(&key).is_some_and(|bytes| *bytes == block.bytes) {
                self.blocks.remove(&key);
                self.bytes -= block.bytes.len();
            }
        }
        for (rows, stored) in [(&mut self.minutes, &batch.minutes), (&mut self.hours, &batch.hours)] {
            for (series, rollup) in stored {
                let key = (rollup.at, *series);
                if rows.get(&key) == Some(rollup) {
                    rows.remove(&key);
                }
            }
        }
    }

    /// Samples of a series, hour by hour, that wait.
    pub(super) fn samples(&self, series: SeriesId, from: i64, to: i64) -> BTreeMap<i64, Vec<Sample>> {
        let blocks = self.blocks.range((from, 0)..(to, 0)).filter(|((_, id), _)| *id == series);
        blocks.filter_map(|((hour, _), bytes)| Some((*hour, unpack(bytes)?))).collect()
    }

    /// Roll-ups of a series that wait.
    pub(super) fn rollups(
        &self,
        series: SeriesId,
        tier: Tier,
        from: i64,
        to: i64,
    ) -> impl Iterator<Item = Rollup> + '_ {
        let rows = match tier {
            Tier::Minute => &self.minutes,
            Tier::Hour => &self.hours,
        };
        let range = (Bound::Included((from, 0)), Bound::Excluded((to, 0)));
        rows.range(range).filter(move |((_, id), _)| *id == series).map(|(_, rollup)| *rollup)
    }
}

/// Takes the oldest away until at most `most` are there; tells how many went.
fn shorten(rows: &mut Rollups, most: usize) -> u64 {
    let mut gone = 0;
    while rows.len() > most {
        rows.pop_first();
        gone += 1;
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::super::block::pack;
    use super::super::rollup::MINUTE;
    use super::*;

    fn batch(n: i64, bytes: usize) -> Batch {
        let rollup = |at| Rollup { at, count: 1, sum: 1.0, min: 1.0, max: 1.0, last: 1.0 };
        Batch {
            series: vec![],
            blocks: vec![Block { series: 1, hour: n * HOUR, bytes: vec![0; bytes] }],
            minutes: (0..60).map(|m| (1, rollup(n * HOUR + m * MINUTE))).collect(),
            hours: vec![(1, rollup(n * HOUR))],
        }
    }

    #[test]
    fn hours_are_stored_in_order_and_each_whole() {
        let mut waiting = Waiting::default();
        for n in [2, 1] {
            waiting.take_in(batch(n, 10));
        }
        for n in [1, 2] {
            let next = waiting.next().unwrap();
            assert_eq!(next, batch(n, 10));
            waiting.stored(&next);
        }
        assert_eq!((waiting.next(), waiting.bytes), (None, 0));
    }

    #[test]
    fn what_changed_while_it_was_stored_still_waits() {
        let mut waiting = Waiting::default();
        waiting.take_in(batch(1, 10));
        let storing = waiting.next().unwrap();
        waiting.take_in(batch(1, 20));
        waiting.stored(&storing);
        let rest = waiting.next().unwrap();
        assert_eq!((rest.blocks[0].bytes.len(), rest.minutes.len()), (20, 0));
    }

    #[test]
    fn the_oldest_blocks_go_first_and_minutes_and_hours_stay_longer() {
        let mut waiting = Waiting::default();
        let bytes = BLOCKS / 10;
        for n in 0..12 {
            waiting.take_in(batch(n, bytes));
        }
        assert_eq!(waiting.dropped, Dropped { blocks: 2, ..Dropped::default() });
        let oldest = waiting.next().unwrap();
        assert_eq!((oldest.blocks.len(), oldest.minutes.len(), oldest.hours.len()), (0, 60, 1));
        for n in 12..12 + i64::try_from(MINUTES).unwrap() / 60 {
            waiting.take_in(Batch { blocks: vec![], ..batch(n, 0) });
        }
        assert_eq!((waiting.minutes.len(), waiting.dropped.hours), (MINUTES, 0));
        assert!(waiting.dropped.minutes > 0);
    }

    #[test]
    fn what_waits_can_be_read() {
        let mut waiting = Waiting::default();
        let sample = Sample { at: HOUR, value: 3.0 };
        let blocks = vec![Block { series: 1, hour: HOUR, bytes: pack(&[sample]) }];
        waiting.take_in(Batch { blocks, ..batch(1, 0) });
        assert_eq!(waiting.samples(1, 0, 2 * HOUR), BTreeMap::from([(HOUR, vec![sample])]));
        assert!(waiting.samples(2, 0, 2 * HOUR).is_empty());
        assert_eq!(waiting.rollups(1, Tier::Minute, HOUR, HOUR + 2 * MINUTE).count(), 2);
    }
}
