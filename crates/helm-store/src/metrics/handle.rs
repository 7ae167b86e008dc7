//! Where samples go in and answers come out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::block::{Sample, unpack};
use super::engine::{Batch, MetricEngine, SeriesId, SeriesKey, Tier};
use super::keep::{Keep, MAX_SERIES, NotTaken, check, hour, minutes};
use super::pick::{Picked, Retention, pick};
use super::rollup::{MINUTE, Rollup, roll};
use super::task;
use super::waiting::{Dropped, Waiting};

/// Samples that wait for the first reading of the database; then the oldest go.
const EARLY: usize = 20_000;
/// How far ahead of the clock a sample may be.
const AHEAD: i64 = MINUTE;
/// Calls of `flush` that may wait.
const ASKS: usize = 8;

/// Keeps numbers in a [`MetricEngine`].
#[derive(Debug)]
pub struct Metrics;

impl Metrics {
    /// Begins; `clock` tells nanoseconds since 1970. The future that is returned is the work, and the caller's to run: it reads what is there,
    /// stores what is in hand every minute and once more after `stop`, and takes away what is too old. A database that is away keeps nobody from
    /// starting.
    pub fn start(
        engine: Arc<dyn MetricEngine>,
        retention: Retention,
        clock: impl Fn() -> i64 + Send + Sync + 'static,
        stop: CancellationToken,
    ) -> (MetricsHandle, impl Future<Output = ()> + Send + 'static) {
        let (asks, received) = mpsc::channel(ASKS);
        let shared = Arc::new(Shared {
            engine,
            retention,
            clock: Box::new(clock),
            state: Mutex::default(),
            awake: Notify::new(),
        });
        (MetricsHandle { shared: shared.clone(), asks }, task::run(shared, stop, received))
    }
}

pub(super) struct Shared {
    pub(super) engine: Arc<dyn MetricEngine>,
    pub(super) retention: Retention,
    pub(super) clock: Box<dyn Fn() -> i64 + Send + Sync>,
    state: Mutex<State>,
    /// There is something to store again.
    pub(super) awake: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// `None` until the database was read.
    pub(super) keep: Option<Keep>,
    /// What came before.
    pub(super) early: VecDeque<(SeriesKey, Sample)>,
    pub(super) latest: BTreeMap<SeriesKey, Sample>,
    pub(super) waiting: Waiting,
    /// Why storing failed last.
    pub(super) fault: Option<String>,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No value is half changed where a panic could come.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is something to do soon.
    pub(super) fn busy(&self) -> bool {
        let state = self.state();
        state.keep.as_ref().is_none_or(Keep::holds) || !state.waiting.is_empty()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl State {
    fn sample(&mut self, key: &SeriesKey, sample: Sample) -> Result<(), NotTaken> {
        let Some(keep) = &mut self.keep else {
            check(key, sample)?;
            if self.early.len() == EARLY {
                self.early.pop_front();
                self.waiting.dropped.samples += 1;
            }
            self.early.push_back((key.clone(), sample));
            self.remember(key, sample);
            return Ok(());
        };
        let mut done = Batch::default();
        let taken = keep.sample(key, sample, &mut done);
        let known = keep.id(key).is_some();
        self.waiting.take_in(done);
        // Of a known series, what comes last is the latest, even where the clock was set back.
        if known && matches!(taken, Ok(()) | Err(NotTaken::Late)) {
            self.remember(key, sample);
        }
        taken
    }

    fn remember(&mut self, key: &SeriesKey, sample: Sample) {
        if let Some(latest) = self.latest.get_mut(key) {
            *latest = sample;
        } else if self.latest.len() < MAX_SERIES {
            self.latest.insert(key.clone(), sample);
        }
    }

    /// Goes on with what the database has, and takes in what came before it was read.
    pub(super) fn loaded(&mut self, mut keep: Keep, now: i64) {
        keep.mind(now);
        self.keep = Some(keep);
        for (key, sample) in std::mem::take(&mut self.early) {
            // Whoever sent it was told that it was taken; only too many series can refuse it now.
            if let Err(why) = self.sample(&key, sample) {
                tracing::debug!(service.name = %key.service, metric = %key.metric, "a sample from before the database was read is lost: {why}");
                self.waiting.dropped.samples += 1;
            }
        }
    }

    /// What is in memory of a series.
    fn in_memory(&self, keep: &Keep, id: SeriesId, picked: Picked) -> InMemory {
        let hand = keep.in_hand(id);
        match picked.tier {
            None => {
                let mut hours = self.waiting.samples(id, hour(picked.from), picked.to);
                if let Some(first) = hand.first() {
                    hours.insert(hour(first.at), hand);
                }
                InMemory::Raw(hours)
            }
            Some(tier) => {
                let waiting = self.waiting.rollups(id, tier, picked.from, picked.to);
                let hand = roll(minutes(&hand), tier.step()).into_iter();
                InMemory::Rolled(tier, waiting.chain(hand).map(|r| (r.at, r)).collect())
            }
        }
    }
}

/// Takes the place of what is stored under the same time: it is the same or more.
enum InMemory {
    Raw(BTreeMap<i64, Vec<Sample>>),
    Rolled(Tier, BTreeMap<i64, Rollup>),
}

/// One point of an answer: what a step comes to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Beginning of the step, nanoseconds since 1970.
    pub at: i64,
    /// Average.
    pub avg: f64,
    /// Lowest.
    pub min: f64,
    /// Highest.
    pub max: f64,
    /// Latest.
    pub last: f64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Curve {
    /// Oldest first; steps without samples have none.
    pub points: Vec<Point>,
    /// Length of a step, nanoseconds.
    pub step: i64,
    /// Why older points may be missing: what is in memory is shown all the same.
    pub missing: Option<String>,
}

/// How the storing goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Rows that wait for the database.
    pub waiting: usize,
    /// What went because it was away for too long.
    pub dropped: Dropped,
    /// What it said last, if that was no good.
    pub fault: Option<String>,
}

/// Numbers are not stored yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("numbers wait in memory and are tried again every minute: {0}")]
pub struct NotStored(pub(super) String);

pub(super) type Ask = oneshot::Sender<Result<(), NotStored>>;

/// Samples in, answers out. A clone is another hand on the same.
#[derive(Debug, Clone)]
pub struct MetricsHandle {
    shared: Arc<Shared>,
    asks: mpsc::Sender<Ask>,
}

impl MetricsHandle {
    /// Takes a sample in; waits for nothing but others that do the same.
    pub fn sample(&self, key: &SeriesKey, sample: Sample) -> Result<(), NotTaken> {
        if sample.at > (self.shared.clock)().saturating_add(AHEAD) {
            return Err(NotTaken::Ahead);
        }
        let taken = self.shared.state().sample(key, sample);
        if taken.is_ok() {
            self.shared.awake.notify_one();
        }
        taken
    }

    /// A series from `from` (inclusive) to `to` (exclusive) in whole steps, at most `points` of them (at least 2): from the tier that is fine
    /// enough and still kept at `from`, rolled up to a multiple of its step.
    pub async fn query(&self, key: &SeriesKey, from: i64, to: i64, points: u32) -> Curve {
        let Some(picked) = pick(from, to, points, (self.shared.clock)(), self.shared.retention) else {
            return Curve::default();
        };
        let Picked { step, from, to, .. } = picked;
        let none = Curve { step, ..Curve::default() };
        // Memory first: what is stored meanwhile is then seen twice, and not never.
        let (id, memory) = {
            let state = self.shared.state();
            let Some(keep) = &state.keep else {
                let why = state.fault.as_deref().unwrap_or("helmd has just been started");
                return Curve {
                    missing: Some(format!("numbers have not been read from the database yet: {why}")),
                    ..none
                };
            };
            let Some(id) = keep.id(key) else { return none };
            (id, state.in_memory(keep, id, picked))
        };
        let mut missing = None;
        let rolled = match memory {
            InMemory::Raw(hours) => roll(
                self.raw(id, picked, hours, &mut missing).await.into_iter().map(|s| Rollup::of(s, step)),
                step,
            ),
            InMemory::Rolled(tier, memory) => {
                let stored = self.shared.engine.rollups(id, tier, from, to).await;
                let stored = stored.unwrap_or_else(|error| {
                    missing = Some(error.to_string());
                    Vec::new()
                });
                let mut all: BTreeMap<i64, Rollup> = stored.into_iter().map(|r| (r.at, r)).collect();
                all.extend(memory);
                roll(all.into_values().filter(|r| (from..to).contains(&r.at)), step)
            }
        };
        let point = |r: Rollup| Point { at: r.at, avg: r.avg(), min: r.min, max: r.max, last: r.last };
        Curve { points: rolled.into_iter().map(point).collect(), missing, ..none }
    }

    async fn raw(
        &self,
        id: SeriesId,
        picked: Picked,
        memory: BTreeMap<i64, Vec<Sample>>,
        missing: &mut Option<String>,
    ) -> Vec<Sample> {
        let Picked { from, to, .. } = picked;
        let mut hours = BTreeMap::new();
        match self.shared.engine.blocks(id, hour(from), to).await {
            Ok(blocks) => {
                for block in blocks {
                    match unpack(&block.bytes) {
                        Some(samples) => drop(hours.insert(block.hour, samples)),
                        None => *missing = Some("a block of raw samples in the database is damaged".into()),
                    }
                }
            }
            Err(error) => *missing = Some(error.to_string()),
        }
        hours.extend(memory);
        hours.into_values().flatten().filter(|s| (from..to).contains(&s.at)).collect()
    }

    /// The latest sample of each series of a service, from memory.
    pub fn latest(&self, service: &str) -> Vec<(SeriesKey, Sample)> {
        let first = SeriesKey { service: service.to_owned(), metric: String::new(), tags: BTreeMap::new() };
        let state = self.shared.state();
        let all = state.latest.range(first..).take_while(|(key, _)| key.service == service);
        all.map(|(key, sample)| (key.clone(), *sample)).collect()
    }

    /// Names of all services that have series.
    pub fn services(&self) -> BTreeSet<String> {
        let state = self.shared.state();
        let known = state.keep.iter().flat_map(Keep::series).map(|(key, _)| key);
        known.chain(state.latest.keys()).map(|key| key.service.clone()).collect()
    }

    /// All series of a service that are known, whether or not they still get samples.
    pub fn list(&self, service: &str) -> Vec<SeriesKey> {
        let state = self.shared.state();
        let known = state.keep.iter().flat_map(Keep::series).map(|(key, _)| key);
        known.filter(|key| key.service == service).cloned().collect()
    }

    /// How the storing goes.
    pub fn standing(&self) -> Standing {
        let state = self.shared.state();
        let Waiting { dropped, .. } = state.waiting;
        Standing { waiting: state.waiting.rows(), dropped, fault: state.fault.clone() }
    }

    /// Stores what is in hand now, not only at the next minute.
    pub async fn flush(&self) -> Result<(), NotStored> {
        let (ask, answer) = oneshot::channel();
        let ended = || NotStored("helmd is ending".into());
        self.asks.send(ask).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}
