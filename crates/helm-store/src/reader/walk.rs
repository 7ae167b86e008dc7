//! A way through the log in windows of time, each longer than the one before as long as that is quick: the first hit comes at once, memory
//! stays flat, and it is always known how far one has looked.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::matcher::{Matcher, is_direct};
use super::merge::{self, Merge};
use crate::counts::MINUTE;
use crate::engine::{EngineError, LogEngine};
use crate::entry::Entry;
use crate::id::EntryId;
use crate::live::Live;
use crate::partition::Partition;
use crate::query::{Cursor, Order};

/// The first window is as long as the partition where it begins takes for so many entries, within these bounds.
const FIRST: i64 = 16_000;
const SHORTEST: i64 = 1_000_000_000;
const LONGEST: i64 = 24 * 60 * MINUTE;
/// A window that took less is followed by a longer one, one that took more by a shorter one: each has a cost of its own.
const BRISK: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(super) enum Step {
    Entry(Box<Entry>),
    /// A window is through: everything newer (or older) than this time has been looked at.
    Looked(i64),
    End,
    /// The time is over; go on after this place.
    Time(Option<Cursor>),
}

#[derive(Debug)]
pub(super) struct Walk {
    engine: Arc<dyn LogEngine>,
    live: Arc<Live>,
    matcher: Arc<Matcher>,
    order: Order,
    after: Option<Cursor>,
    partitions: Vec<Arc<Partition>>,
    /// What is left of the range, `from` inclusive, `to` exclusive.
    left: (i64, i64),
    length: i64,
    window: Option<(Merge, Instant)>,
}

impl Walk {
    pub(super) fn new(
        engine: Arc<dyn LogEngine>,
        live: Arc<Live>,
        matcher: Arc<Matcher>,
        order: Order,
        after: Option<Cursor>,
    ) -> Self {
        let filter = matcher.filter();
        let (mut from, mut to) = (filter.since.unwrap_or(i64::MIN), filter.until.unwrap_or(i64::MAX));
        match (after, order) {
            (Some(after), Order::Newest) => to = to.min(after.at.saturating_add(1)),
            (Some(after), Order::Oldest) => from = from.max(after.at),
            (None, _) => {}
        }
        let manifest = live.manifest();
        let partitions: Vec<_> = manifest.values().filter(|p| matcher.may_be_in(p)).cloned().collect();
        let length = if is_direct(filter) { i64::MAX } else { first_window(&partitions, order, (from, to)) };
        Self { engine, live, matcher, order, after, partitions, left: (from, to), length, window: None }
    }

    pub(super) async fn next(&mut self, deadline: Option<Instant>) -> Result<Step, EngineError> {
        loop {
            let Some((merge, begun)) = &mut self.window else {
                let Some((from, to)) = self.narrow() else { return Ok(Step::End) };
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Ok(Step::Time(Some(self.edge())));
                }
                self.open(from, to);
                continue;
            };
            match merge.next(deadline).await? {
                merge::Step::Entry(entry) => return Ok(Step::Entry(entry)),
                merge::Step::Time => return Ok(Step::Time(merge.reached())),
                merge::Step::End => {
                    let took = begun.elapsed();
                    self.window = None;
                    if took < BRISK {
                        self.length = self.length.saturating_mul(4);
                    } else if took > SLOW {
                        self.length = (self.length / 2).max(SHORTEST);
                    }
                    return Ok(Step::Looked(self.edge().at));
                }
            }
        }
    }

    /// Leaves out the time before the first partition that can hold something. `None`: nothing is left.
    fn narrow(&mut self) -> Option<(i64, i64)> {
        let (from, to) = self.left;
        let held = self
            .partitions
            .iter()
            .filter_map(|p| p.contents.at)
            .filter(|(low, high)| *low < to && *high >= from)
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        self.left = (from.max(held.0), to.min(held.1.saturating_add(1)));
        // From the side where the next window begins the range is exact; the other may have holes, which later windows leave out.
        (self.left.0 < self.left.1).then_some(self.left)
    }

    fn open(&mut self, from: i64, to: i64) {
        let window = match self.order {
            Order::Newest => (from.max(to.saturating_sub(self.length)), to),
            Order::Oldest => (from, to.min(from.saturating_add(self.length))),
        };
        match self.order {
            Order::Newest => self.left.1 = window.0,
            Order::Oldest => self.left.0 = window.1,
        }
        let merge = Merge::new(
            self.engine.clone(),
            self.live.clone(),
            self.matcher.clone(),
            (Some(window.0), Some(window.1)),
            (self.order, self.after),
            self.partitions.iter().cloned(),
        );
        self.window = Some((merge, Instant::now()));
    }

    /// Everything before this place has been looked at.
    fn edge(&self) -> Cursor {
        match self.order {
            Order::Newest => Cursor { at: self.left.1, id: EntryId(0) },
            Order::Oldest => Cursor { at: self.left.0.saturating_sub(1), id: EntryId(i64::MAX) },
        }
    }
}

/// How long the first window of a range is.
fn first_window(partitions: &[Arc<Partition>], order: Order, (from, to): (i64, i64)) -> i64 {
    let held = partitions.iter().filter_map(|p| {
        let (low, high) = p.contents.at?;
        (low < to && high >= from).then_some((low, high, p.contents.rows))
    });
    let first = match order {
        Order::Newest => held.max_by_key(|(_, high, _)| *high),
        Order::Oldest => held.min_by_key(|(low, _, _)| *low),
    };
    let Some((low, high, rows)) = first else { return SHORTEST };
    (high.saturating_sub(low) / i64::from(rows.max(1))).saturating_mul(FIRST).clamp(SHORTEST, LONGEST)
}
