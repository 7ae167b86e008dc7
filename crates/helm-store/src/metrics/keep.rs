//! What is in hand before it is stored: the samples of the current hour. Pure: samples in, batches out.

use std::collections::BTreeMap;

use super::block::{Packer, Sample, unpack};
use super::engine::{Batch, Block, SeriesId, SeriesKey};
use super::rollup::{HOUR, MINUTE, Rollup, roll};

/// Series that one helmd keeps at most: each costs memory.
pub const MAX_SERIES: usize = 10_000;
/// Bytes that the name of a service or a metric has at most, and all tags of a series together.
pub const MAX_NAME: usize = 200;
/// Likewise, of the tags.
pub const MAX_TAGS: usize = 1_000;
/// A clock that was set back by less is waited for. One that was set back by more had been wrong before: what is stored under the hours that
/// it showed is replaced as they come.
const SET_BACK: i64 = 2 * HOUR;
const MILLI: i64 = 1_000_000;

/// Why a sample is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Too many series.
    #[error("there are {MAX_SERIES} series already; use fewer different tags")]
    TooMany,
    /// NaN or infinite.
    #[error("the value is not a finite number")]
    NotFinite,
    /// Not after the last one of its series, or of an hour that is rolled up.
    #[error("an older sample than the last one of its series, or than the hours that are rolled up")]
    Late,
    /// A name that cannot be.
    #[error(
        "names of services and metrics have 1 to {MAX_NAME} bytes, tags together at most {MAX_TAGS}, none of them control characters"
    )]
    Name,
    /// Ahead of the clock.
    #[error("the sample is of a time to come: set the clock of its sender")]
    Ahead,
}

/// Samples of the current hour, by series.
#[derive(Debug)]
pub struct Keep {
    ids: BTreeMap<SeriesKey, SeriesId>,
    hands: BTreeMap<SeriesId, Hand>,
    fresh: Vec<(SeriesId, SeriesKey)>,
    next: SeriesId,
    /// Samples before this belong to hours that are stored whole: taking them would write those hours anew.
    closed: i64,
    /// Of all samples.
    newest: i64,
}

/// One series: its current hour, packed, so that a thousand series fit into a megabyte.
#[derive(Debug, Default)]
struct Hand {
    block: Packer,
    /// Samples of minutes that are not rolled up yet.
    open: Vec<Sample>,
    /// What the minutes that are rolled up come to.
    rolled: Option<Rollup>,
    /// Something came since the block was stored.
    changed: bool,
}

impl Keep {
    /// Goes on with the series that are known.
    pub fn with(series: impl IntoIterator<Item = (SeriesId, SeriesKey)>) -> Keep {
        let ids: BTreeMap<SeriesKey, SeriesId> = series.into_iter().map(|(id, key)| (key, id)).collect();
        let next = ids.values().max().map_or(1, |last| last + 1);
        Keep { ids, next, hands: BTreeMap::new(), fresh: Vec::new(), closed: i64::MIN, newest: i64::MIN }
    }

    /// The hour that begins at `hour` is stored whole, and so are all before it.
    pub fn closed(&mut self, hour: i64) {
        self.closed = self.closed.max(hour.saturating_add(HOUR));
    }

    /// Goes on with a stored block that is in no hour yet. Of several of one series, the oldest first.
    pub fn resume(&mut self, series: SeriesId, samples: Vec<Sample>, done: &mut Batch) {
        self.newest = samples.last().map_or(self.newest, |last| self.newest.max(last.at));
        // Minutes that are over are stored, or rolled up again to the same.
        if let Some(mut older) = self.hands.insert(series, Hand::of(samples)) {
            older.close(series, done);
        }
    }

    /// Known series.
    pub fn series(&self) -> impl Iterator<Item = (&SeriesKey, SeriesId)> {
        self.ids.iter().map(|(key, id)| (key, *id))
    }

    /// Number of a series.
    pub fn id(&self, key: &SeriesKey) -> Option<SeriesId> {
        self.ids.get(key).copied()
    }

    /// Samples in hand of a series, oldest first.
    pub fn in_hand(&self, series: SeriesId) -> Vec<Sample> {
        self.hands.get(&series).and_then(|hand| unpack(&hand.block.bytes())).unwrap_or_default()
    }

    /// Whether something is still to be stored, now or when its hour is over.
    pub fn holds(&self) -> bool {
        !self.hands.is_empty() || !self.fresh.is_empty()
    }

    /// Takes a sample in; its time is kept in milliseconds, as it is stored. What completes an hour is returned, to be stored with the next flush.
    pub fn sample(&mut self, key: &SeriesKey, sample: Sample, done: &mut Batch) -> Result<(), NotTaken> {
        check(key, sample)?;
        let sample = Sample { at: sample.at - sample.at.rem_euclid(MILLI), ..sample };
        if sample.at < self.closed {
            return Err(NotTaken::Late);
        }
        let id = self.number(key)?;
        let hand = self.hands.entry(id).or_default();
        if hand.block.newest().is_some_and(|last| sample.at <= last) {
            return Err(NotTaken::Late);
        }
        if hand.hour().is_some_and(|begun| begun != hour(sample.at)) {
            hand.close(id, done);
        }
        hand.push(sample);
        hand.changed = true;
        self.newest = self.newest.max(sample.at);
        Ok(())
    }

    /// What is to be stored at `now`: blocks that changed, minutes and hours that are over.
    pub fn flush(&mut self, now: i64, done: &mut Batch) {
        done.series.append(&mut self.fresh);
        self.mind(now);
        // Hours are closed in order, whatever the clock says meanwhile.
        let now = now.max(self.newest);
        for (id, hand) in &mut self.hands {
            if hand.hour().is_some_and(|begun| begun != hour(now)) {
                hand.close(*id, done);
            } else {
                hand.store(*id, now, done);
            }
        }
        self.hands.retain(|_, hand| !hand.block.is_empty());
        self.closed = self.closed.max(hour(now));
    }

    /// Looks whether the clock was set back.
    pub fn mind(&mut self, now: i64) {
        if self.newest.max(self.closed) > now.saturating_add(SET_BACK) {
            (self.newest, self.closed) = (now, i64::MIN);
        }
    }

    fn number(&mut self, key: &SeriesKey) -> Result<SeriesId, NotTaken> {
        if let Some(id) = self.ids.get(key) {
            return Ok(*id);
        }
        if self.ids.len() >= MAX_SERIES {
            return Err(NotTaken::TooMany);
        }
        let id = self.next;
        self.next += 1;
        self.ids.insert(key.clone(), id);
        self.fresh.push((id, key.clone()));
        Ok(id)
    }
}

impl Hand {
    /// Of what is stored as a block: its minutes are rolled up again, to the same.
    fn of(samples: Vec<Sample>) -> Hand {
        let mut hand = Hand::default();
        samples.into_iter().for_each(|sample| hand.push(sample));
        hand
    }

    fn push(&mut self, sample: Sample) {
        self.block.push(sample);
        self.open.push(sample);
    }

    /// Beginning of the hour that is in hand: all samples are of one.
    fn hour(&self) -> Option<i64> {
        self.block.newest().map(hour)
    }

    /// Block, and the minutes that are over at `now`.
    fn store(&mut self, id: SeriesId, now: i64, done: &mut Batch) {
        let Some(hour) = self.hour() else { return };
        if self.changed {
            done.blocks.push(Block { series: id, hour, bytes: self.block.bytes() });
            self.changed = false;
        }
        let open = now - now.rem_euclid(MINUTE);
        let over = self.open.partition_point(|sample| sample.at < open);
        for minute in minutes(self.open.drain(..over).as_slice()) {
            self.rolled =
                Some(self.rolled.map_or(Rollup { at: hour, ..minute }, |so_far| so_far.with(minute)));
            done.minutes.push((id, minute));
        }
    }

    /// The hour is over: everything is stored, nothing stays in hand.
    fn close(&mut self, id: SeriesId, done: &mut Batch) {
        self.store(id, i64::MAX, done);
        done.hours.extend(self.rolled.map(|rollup| (id, rollup)));
        *self = Hand::default();
    }
}

/// What can be said of a sample without knowing any other.
pub(super) fn check(key: &SeriesKey, sample: Sample) -> Result<(), NotTaken> {
    match (sample.value.is_finite(), may_be(key)) {
        (false, _) => Err(NotTaken::NotFinite),
        (true, false) => Err(NotTaken::Name),
        (true, true) => Ok(()),
    }
}

/// Whether a series may be called so.
fn may_be(key: &SeriesKey) -> bool {
    let name = |text: &str| (1..=MAX_NAME).contains(&text.len());
    let tags = || key.tags.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    name(&key.service)
        && name(&key.metric)
        && tags().map(str::len).sum::<usize>() <= MAX_TAGS
        && !tags()
            .chain([key.service.as_str(), key.metric.as_str()])
            .any(|text| text.contains(char::is_control))
}

/// Samples, rolled up by the minute.
pub(super) fn minutes(samples: &[Sample]) -> Vec<Rollup> {
    roll(samples.iter().map(|sample| Rollup::of(*sample, MINUTE)), MINUTE)
}

/// Beginning of the hour.
pub(super) fn hour(at: i64) -> i64 {
    at - at.rem_euclid(HOUR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(metric: &str) -> SeriesKey {
        SeriesKey { service: "core".into(), metric: metric.into(), tags: BTreeMap::new() }
    }

    fn sample(second: i64, value: f64) -> Sample {
        Sample { at: second * 1_000_000_000, value }
    }

    #[test]
    fn an_hour_of_samples_becomes_a_block_sixty_minutes_and_an_hour() {
        let (mut keep, mut done) = (Keep::with([]), Batch::default());
        let mut all = Vec::new();
        for n in 0..=720 {
            let s = sample(n * 5, 1.0);
            if n < 720 {
                all.push(s);
            }
            keep.sample(&key("cpu_percent"), s, &mut done).unwrap();
            if n % 12 == 0 {
                keep.flush(s.at, &mut done);
            }
        }
        assert_eq!(done.series.len(), 1);
        assert_eq!(done.minutes.len(), 60, "each minute once");
        assert_eq!(done.hours.iter().map(|(_, r)| (r.at, r.count)).collect::<Vec<_>>(), [(0, 720)]);
        let whole = done.blocks.iter().rfind(|b| b.hour == 0).unwrap();
        assert_eq!(unpack(&whole.bytes), Some(all));
        assert_eq!(keep.in_hand(1).len(), 1);
    }

    #[test]
    fn what_is_resumed_is_rolled_up_to_the_same() {
        let (mut first, mut second) = (Keep::with([]), Keep::with([]));
        let (mut one, mut two) = (Batch::default(), Batch::default());
        for n in 0..20 {
            first.sample(&key("m"), sample(n * 5, f64::from(i32::try_from(n).unwrap())), &mut one).unwrap();
        }
        first.flush(100 * 1_000_000_000, &mut one);
        second.ids = first.ids.clone();
        second.next = first.next;
        second.resume(1, unpack(&one.blocks[0].bytes).unwrap(), &mut two);
        second.flush(100 * 1_000_000_000, &mut two);
        assert_eq!(one.minutes, two.minutes);
        assert!(two.blocks.is_empty(), "nothing new: no block");
    }

    #[test]
    fn what_is_no_sample_is_refused() {
        let (mut keep, mut done) = (Keep::with([]), Batch::default());
        let mut take = |keep: &mut Keep, metric: &str, s| keep.sample(&key(metric), s, &mut done);
        assert_eq!(take(&mut keep, "a", sample(1, f64::NAN)), Err(NotTaken::NotFinite));
        assert_eq!(take(&mut keep, "a", sample(1, 1.0)), Ok(()));
        assert_eq!(take(&mut keep, "a", sample(1, 1.0)), Err(NotTaken::Late));
        for n in 1..MAX_SERIES {
            take(&mut keep, &format!("m{n}"), sample(1, 1.0)).unwrap();
        }
        assert_eq!(take(&mut keep, "one more", sample(1, 1.0)), Err(NotTaken::TooMany));
    }

    #[test]
    fn a_series_that_ended_is_closed_when_its_hour_is_over() {
        let (mut keep, mut done) = (Keep::with([]), Batch::default());
        keep.sample(&key("m"), sample(10, 2.0), &mut done).unwrap();
        keep.flush(HOUR, &mut done);
        assert_eq!((done.blocks.len(), done.minutes.len(), done.hours.len()), (1, 1, 1));
        assert!(keep.in_hand(1).is_empty() && !keep.holds());
    }

    #[test]
    fn an_hour_that_is_stored_is_not_written_anew() {
        let (mut keep, mut done) = (Keep::with([]), Batch::default());
        keep.sample(&key("m"), sample(10, 2.0), &mut done).unwrap();
        keep.flush(HOUR, &mut done);
        let old = keep.sample(&key("m"), sample(20, 3.0), &mut done);
        assert_eq!(old, Err(NotTaken::Late), "the clock was set back by some minutes");
        keep.sample(&key("m"), sample(3600, 4.0), &mut done).unwrap();

        // Nor after a restart with a clock that was set back.
        let mut again = Keep::with([(1, key("m"))]);
        again.closed(0);
        assert_eq!(again.sample(&key("n"), sample(20, 3.0), &mut done), Err(NotTaken::Late));
        assert_eq!(again.sample(&key("n"), sample(3600, 3.0), &mut done), Ok(()));
    }

    #[test]
    fn a_clock_that_was_days_ahead_is_not_waited_for() {
        let (mut keep, mut done) = (Keep::with([]), Batch::default());
        let days = 10 * 24 * 3600;
        keep.sample(&key("m"), sample(days, 2.0), &mut done).unwrap();
        keep.flush(days * 1_000_000_000, &mut done);
        keep.flush(60 * 1_000_000_000, &mut done);
        assert_eq!(keep.sample(&key("m"), sample(61, 3.0), &mut done), Ok(()));
        assert_eq!(done.hours.len(), 1, "what it showed is stored");
    }

    #[test]
    fn names_that_no_database_could_keep_are_refused() {
        let (mut keep, mut done) = (Keep::with([]), Batch::default());
        for metric in ["", "a\0b", &"x".repeat(MAX_NAME + 1)] {
            assert_eq!(keep.sample(&key(metric), sample(1, 1.0), &mut done), Err(NotTaken::Name), "{metric}");
        }
        let tags = BTreeMap::from([("path".to_owned(), "x".repeat(MAX_TAGS))]);
        let wide = SeriesKey { tags, ..key("m") };
        assert_eq!(keep.sample(&wide, sample(1, 1.0), &mut done), Err(NotTaken::Name));
    }
}
