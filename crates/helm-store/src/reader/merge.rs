//! Entries of many partitions in one order. A partition is asked only when it could hold what comes next, and only for a piece at a time.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::matcher::Matcher;
use crate::engine::{EngineError, LogEngine, Scan};
use crate::entry::Entry;
use crate::id::{EntryId, PartitionId};
use crate::live::{Candidates, Live};
use crate::partition::Partition;
use crate::query::{Cursor, Filter, Order};

/// Entries in the first piece of a partition, and in the largest.
const PIECE: (u32, u32) = (128, 2048);
/// Weight of a piece, from the partition's average and the piece before.
const PIECE_BYTES: u64 = 4 << 20;
/// More rows than these are not looked up one by one.
const LOOKUP: usize = 20_000;

/// One answer.
#[derive(Debug)]
pub(super) enum Step {
    Entry(Box<Entry>),
    End,
    /// The time is over; [`Merge::reached`] says where to go on.
    Time,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Merge {
    engine: Arc<dyn LogEngine>,
    live: Arc<Live>,
    matcher: Arc<Matcher>,
    /// The matcher's, narrowed to a window of time.
    filter: Filter,
    order: Order,
    after: Option<Cursor>,
    /// By the time of what they could hold first.
    waiting: VecDeque<Arc<Partition>>,
    open: Vec<Stream>,
}

#[derive(Debug)]
struct Stream {
    id: PartitionId,
    rows: Option<Vec<u32>>,
    piece: u32,
    most: u32,
    buffer: VecDeque<Entry>,
    after: Option<Cursor>,
    /// Before anything was read: nothing lies before this place.
    edge: Cursor,
    done: bool,
}

impl Merge {
    pub(super) fn new(
        engine: Arc<dyn LogEngine>,
        live: Arc<Live>,
        matcher: Arc<Matcher>,
        window: (Option<i64>, Option<i64>),
        (order, after): (Order, Option<Cursor>),
        partitions: impl Iterator<Item = Arc<Partition>>,
    ) -> Self {
        let filter = Filter { since: window.0, until: window.1, ..matcher.filter().clone() };
        let overlaps = |p: &Arc<Partition>| {
            p.contents.at.is_some_and(|(low, high)| {
                window.0.is_none_or(|since| high >= since)
                    && window.1.is_none_or(|until| low < until)
                    && after.is_none_or(|after| match order {
                        Order::Newest => low <= after.at,
                        Order::Oldest => high >= after.at,
                    })
            })
        };
        let mut waiting: Vec<Arc<Partition>> = partitions.filter(overlaps).collect();
        waiting.sort_by(|a, b| first_in(order, edge(a, order), edge(b, order)));
        Self { engine, live, matcher, filter, order, after, waiting: waiting.into(), open: Vec::new() }
    }

    pub(super) async fn next(&mut self, deadline: Option<Instant>) -> Result<Step, EngineError> {
        loop {
            while let Some(at) = self.open.iter().position(|s| s.buffer.is_empty()) {
                if self.open[at].done {
                    self.open.swap_remove(at);
                    continue;
                }
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Ok(Step::Time);
                }
                self.fill(at).await?;
            }
            let order = self.order;
            let best = (0..self.open.len())
                .min_by(|a, b| first_in(order, self.open[*a].place(), self.open[*b].place()));
            let first = best.map(|at| self.open[at].place());
            let opens = self.waiting.front().is_some_and(|partition| {
                first.is_none_or(|first| first_in(order, edge(partition, order), first) != Ordering::Greater)
            });
            if opens {
                if let Some(partition) = self.waiting.pop_front() {
                    let stream = self.start(&partition, deadline).await;
                    self.open.push(stream);
                }
                continue;
            }
            let entry = best.and_then(|at| self.open[at].buffer.pop_front());
            return Ok(entry.map_or(Step::End, |entry| Step::Entry(Box::new(entry))));
        }
    }

    /// All that comes up to and with this place has been given or is not wanted.
    pub(super) fn reached(&self) -> Option<Cursor> {
        let open =
            self.open.iter().filter(|s| !(s.done && s.buffer.is_empty())).map(|s| s.reached(self.order));
        let waiting = self.waiting.front().map(|p| edge(p, self.order));
        let place = open.chain(waiting).min_by(|a, b| first_in(self.order, *a, *b))?;
        // What lies before the window, or was passed over, stays behind.
        let window = match self.order {
            Order::Newest => self.filter.until.map(|until| Cursor { at: until, id: EntryId(0) }),
            Order::Oldest => {
                self.filter.since.map(|since| Cursor { at: since.saturating_sub(1), id: EntryId(i64::MAX) })
            }
        };
        let places = [Some(place), self.after, window].into_iter().flatten();
        places.max_by(|a, b| first_in(self.order, *a, *b))
    }

    async fn start(&self, partition: &Partition, deadline: Option<Instant>) -> Stream {
        let contents = &partition.contents;
        let average = (contents.bytes / u64::from(contents.rows.max(1))).max(1);
        let most = u32::try_from(PIECE_BYTES / average).unwrap_or(u32::MAX).clamp(8, PIECE.1);
        let rows = self.candidates(partition.id, deadline).await;
        let done = rows.as_ref().is_some_and(Vec::is_empty);
        Stream {
            id: partition.id,
            rows: rows.filter(|rows| rows.len() <= LOOKUP),
            piece: PIECE.0.min(most),
            most,
            buffer: VecDeque::new(),
            after: None,
            edge: edge(partition, self.order),
            done,
        }
    }

    /// Rows of a partition that is not indexed yet.
    async fn candidates(&self, id: PartitionId, deadline: Option<Instant>) -> Option<Vec<u32>> {
        let (trace, user) = (self.filter.trace.as_deref(), self.filter.user.as_deref());
        if trace.is_none() && user.is_none() {
            return None;
        }
        if let Candidates::Read(end) = self.live.candidates(id, trace, user)
            && let Some(mut reading) = self.live.read_early(&self.engine, id, end)
        {
            // Nothing is ever told but the end.
            let ended = async { while reading.changed().await.is_ok() {} };
            match deadline {
                Some(deadline) => drop(tokio::time::timeout_at(deadline, ended).await),
                None => ended.await,
            }
        }
        match self.live.candidates(id, trace, user) {
            Candidates::Rows(rows) => Some(rows),
            Candidates::Ask | Candidates::Read(_) => None,
        }
    }

    async fn fill(&mut self, at: usize) -> Result<(), EngineError> {
        let stream = &self.open[at];
        let scan = Scan {
            partition: stream.id,
            filter: self.filter.clone(),
            order: self.order,
            after: stream.after.or(self.after),
            limit: stream.piece,
            rows: stream.rows.clone(),
        };
        let found = match self.engine.scan(&scan).await {
            Ok(found) => found,
            // Retention took it away meanwhile.
            Err(_) if !self.live.manifest().contains_key(&scan.partition) => Vec::new(),
            Err(error) => return Err(error),
        };
        let stream = &mut self.open[at];
        stream.done = found.len() < scan.limit as usize;
        stream.after = found.last().map(Cursor::of).or(stream.after);
        stream.piece = (stream.piece * 2).min(stream.most).min(fitting(&found));
        stream.buffer.extend(found.into_iter().filter(|entry| self.matcher.wants(entry)));
        Ok(())
    }
}

impl Stream {
    /// Of the next entry; only asked of streams that have one.
    fn place(&self) -> Cursor {
        self.buffer.front().map_or(self.edge, Cursor::of)
    }

    /// All before this place is dealt with.
    fn reached(&self, order: Order) -> Cursor {
        let Some(entry) = self.buffer.front() else { return self.after.unwrap_or(self.edge) };
        // The entry itself is still to come: its neighbour on the side that is done.
        let step = if order == Order::Newest { 1 } else { -1 };
        Cursor { at: entry.body.at, id: EntryId(entry.id.0 + step) }
    }
}

/// How many more like these weigh as much as a piece may: one service's entries may be far from the partition's average.
fn fitting(found: &[Entry]) -> u32 {
    let weight: usize = found.iter().map(|entry| entry.body.weight()).sum();
    let fits = PIECE_BYTES * found.len() as u64 / (weight as u64).max(1);
    u32::try_from(fits).unwrap_or(u32::MAX).max(8)
}

/// Which place comes first in an order.
fn first_in(order: Order, a: Cursor, b: Cursor) -> Ordering {
    match order {
        Order::Newest => b.cmp(&a),
        Order::Oldest => a.cmp(&b),
    }
}

/// A place before all that a partition holds.
fn edge(partition: &Partition, order: Order) -> Cursor {
    let (low, high) = partition.contents.at.unwrap_or_default();
    match order {
        Order::Newest => Cursor { at: high, id: EntryId(i64::MAX) },
        Order::Oldest => Cursor { at: low, id: EntryId(-1) },
    }
}
