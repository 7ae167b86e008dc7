//! Numbers over a database that is away, is killed, or is slow: what was flushed is there, what was sampled is shown.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use helm_store::engine::LogEngine;
use helm_store::engine::{Answer, EngineError};
use helm_store::id::Instance;
use helm_store::metrics::block::Sample;
use helm_store::metrics::engine::{Batch, Block, Cutoff, MetricEngine, SeriesId, SeriesKey, Tier, Unrolled};
use helm_store::metrics::keep::NotTaken;
use helm_store::metrics::rollup::{HOUR, MINUTE, Rollup, roll};
use helm_store::metrics::{Dropped, Metrics, MetricsHandle, Point, Retention};
use helm_store::sqlite::SqliteEngine;
use proptest::prelude::*;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SECOND: i64 = 1_000_000_000;
/// The beginning of an hour.
const T0: i64 = 1_699_999_200 * SECOND;

/// In memory, and away when it is told to.
#[derive(Debug, Default)]
struct Memory {
    away: AtomicBool,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    series: BTreeMap<SeriesId, SeriesKey>,
    blocks: BTreeMap<(i64, SeriesId), Block>,
    minutes: BTreeMap<(SeriesId, i64), Rollup>,
    hours: BTreeMap<(SeriesId, i64), Rollup>,
    puts: usize,
    forgotten: Vec<Cutoff>,
}

impl Memory {
    fn with<T: Send + 'static>(&self, look: impl FnOnce(&mut Rows) -> T) -> Answer<'static, T> {
        let away = self.away.load(Ordering::SeqCst);
        let found = (!away).then(|| look(&mut self.rows.lock().unwrap()));
        Box::pin(std::future::ready(found.ok_or_else(|| EngineError::Away("stopped by the test".into()))))
    }
}

impl MetricEngine for Memory {
    fn series(&self) -> Answer<'_, Vec<(SeriesId, SeriesKey)>> {
        self.with(|rows| rows.series.clone().into_iter().collect())
    }

    fn unrolled(&self) -> Answer<'_, Unrolled> {
        self.with(|rows| {
            let rolled = rows.hours.keys().map(|(_, at)| *at).max();
            let newer = rows.blocks.values().filter(|block| rolled.is_none_or(|rolled| block.hour > rolled));
            Unrolled { rolled, blocks: newer.cloned().collect() }
        })
    }

    fn put<'a>(&'a self, batch: &'a Batch) -> Answer<'a, ()> {
        self.with(|rows| {
            rows.puts += 1;
            rows.series.extend(batch.series.clone());
            rows.blocks.extend(batch.blocks.iter().map(|b| ((b.hour, b.series), b.clone())));
            rows.minutes.extend(batch.minutes.iter().map(|(id, r)| ((*id, r.at), *r)));
            rows.hours.extend(batch.hours.iter().map(|(id, r)| ((*id, r.at), *r)));
        })
    }

    fn blocks(&self, series: SeriesId, from: i64, to: i64) -> Answer<'_, Vec<Block>> {
        self.with(|rows| {
            let range = rows.blocks.range((from, 0)..(to, 0));
            range.filter(|((_, id), _)| *id == series).map(|(_, block)| block.clone()).collect()
        })
    }

    fn rollups(&self, series: SeriesId, tier: Tier, from: i64, to: i64) -> Answer<'_, Vec<Rollup>> {
        self.with(|rows| {
            let rows = match tier {
                Tier::Minute => &rows.minutes,
                Tier::Hour => &rows.hours,
            };
            rows.range((series, from)..(series, to)).map(|(_, rollup)| *rollup).collect()
        })
    }

    fn forget(&self, cutoff: Cutoff) -> Answer<'_, u64> {
        self.with(|rows| {
            rows.forgotten.push(cutoff);
            0
        })
    }
}

fn key(metric: &str) -> SeriesKey {
    SeriesKey { service: "core".into(), metric: metric.into(), tags: BTreeMap::new() }
}

const FOR_EVER: Retention = Retention { raw: 9_000 * HOUR, minutes: 9_000 * HOUR, hours: 9_000 * HOUR };

struct Running {
    handle: MetricsHandle,
    clock: Arc<AtomicI64>,
    stop: CancellationToken,
    work: JoinHandle<()>,
}

impl Running {
    fn start(engine: Arc<dyn MetricEngine>, now: i64, retention: Retention) -> Running {
        let (clock, stop) = (Arc::new(AtomicI64::new(now)), CancellationToken::new());
        let told = clock.clone();
        let (handle, work) =
            Metrics::start(engine, retention, move || told.load(Ordering::SeqCst), stop.clone());
        Running { handle, clock, stop, work: tokio::spawn(work) }
    }

    fn now(&self) -> i64 {
        self.clock.load(Ordering::SeqCst)
    }

    fn set(&self, now: i64) {
        self.clock.store(now, Ordering::SeqCst);
    }

    fn sample(&self, metric: &str, value: f64) -> Result<(), NotTaken> {
        self.handle.sample(&key(metric), Sample { at: self.now(), value })
    }

    /// In two points.
    async fn values(&self, from: i64, to: i64) -> Vec<(i64, f64)> {
        let curve = self.handle.query(&key("m"), from, to, 2).await;
        assert_eq!(curve.missing, None);
        curve.points.iter().map(|p| (p.at - T0, p.avg)).collect()
    }

    async fn end(self) {
        self.stop.cancel();
        self.work.await.unwrap();
    }

    async fn kill(self) {
        self.work.abort();
        self.work.await.unwrap_err();
    }
}

/// Time, which stands still otherwise, passes until it comes to that.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if condition() {
            return;
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    panic!("it does not come to that");
}

#[tokio::test(start_paused = true)]
async fn every_minute_what_is_in_hand_is_stored_and_an_idle_one_sleeps() {
    let engine = Arc::new(Memory::default());
    let puts = || engine.rows.lock().unwrap().puts;
    let running = Running::start(engine.clone(), T0, FOR_EVER);
    running.handle.flush().await.unwrap();
    tokio::time::advance(Duration::from_secs(600)).await;
    tokio::task::yield_now().await;
    assert_eq!(puts(), 0, "nothing to store");
    running.sample("m", 1.0).unwrap();
    until(|| puts() == 1).await;
    running.set(T0 + 2 * HOUR);
    // The hour is over: it is closed without another sample.
    until(|| !engine.rows.lock().unwrap().hours.is_empty()).await;
    assert!(!engine.rows.lock().unwrap().forgotten.is_empty());
    running.end().await;
}

#[tokio::test]
async fn the_last_minute_is_stored_at_the_end_and_gone_on_with() {
    let engine = Arc::new(Memory::default());
    let running = Running::start(engine.clone(), T0, FOR_EVER);
    running.sample("m", 1.0).unwrap();
    running.set(T0 + 5 * SECOND);
    running.sample("m", 3.0).unwrap();
    running.end().await;
    let again = Running::start(engine.clone(), T0 + 10 * SECOND, FOR_EVER);
    again.handle.flush().await.unwrap();
    assert_eq!(again.handle.latest("core"), [(key("m"), Sample { at: T0 + 5 * SECOND, value: 3.0 })]);
    assert_eq!(again.handle.list("core"), [key("m")]);
    assert_eq!(again.handle.list("cor"), []);
    again.sample("m", 5.0).unwrap();
    assert_eq!(again.values(T0, T0 + 2 * MINUTE).await, [(0, 3.0)]);
    // An hour that ended while nobody was there is closed, too.
    again.end().await;
    let later = Running::start(engine.clone(), T0 + 3 * HOUR, FOR_EVER);
    later.handle.flush().await.unwrap();
    let hours: Vec<_> = engine.rows.lock().unwrap().hours.values().map(|r| (r.at, r.count)).collect();
    assert_eq!(hours, [(T0, 3)]);
    later.end().await;
}

#[tokio::test]
async fn a_database_that_is_away_keeps_nobody_from_sampling_or_looking() {
    let engine = Arc::new(Memory::default());
    engine.away.store(true, Ordering::SeqCst);
    let running = Running::start(engine.clone(), T0, FOR_EVER);
    running.sample("m", 1.0).unwrap();
    let error = running.handle.flush().await.unwrap_err();
    assert!(error.to_string().contains("stopped by the test"), "{error}");
    assert_eq!(running.handle.latest("core").len(), 1);
    let early = running.handle.query(&key("m"), T0, T0 + MINUTE, 60).await;
    assert!(early.missing.unwrap().contains("stopped by the test"));

    // Read once, then away for hours.
    engine.away.store(false, Ordering::SeqCst);
    running.handle.flush().await.unwrap();
    assert_eq!(running.handle.standing().fault, None);
    engine.away.store(true, Ordering::SeqCst);
    for n in 1..=180 {
        running.set(T0 + n * MINUTE);
        running.sample("m", 1.0).unwrap();
        running.handle.flush().await.unwrap_err();
    }
    for (points, expected) in [(20_000, 181), (181, 181), (4, 4)] {
        let curve = running.handle.query(&key("m"), T0, running.now() + 1, points).await;
        // All that the database does not have is in memory.
        assert!(curve.missing.is_some());
        assert_eq!(curve.points.len(), expected, "{points} points");
    }
    let standing = running.handle.standing();
    assert!(standing.waiting > 180 && standing.dropped == Dropped::default(), "{standing:?}");
    engine.away.store(false, Ordering::SeqCst);
    running.handle.flush().await.unwrap();
    assert_eq!(running.handle.standing().waiting, 0);
    let stored = {
        let rows = engine.rows.lock().unwrap();
        (rows.blocks.len(), rows.minutes.len(), rows.hours.len())
    };
    assert_eq!(stored, (4, 180, 3));
    running.end().await;
}

#[tokio::test]
async fn a_clock_that_jumps_alters_nothing_that_is_stored() {
    let engine = Arc::new(Memory::default());
    let running = Running::start(engine.clone(), T0 + HOUR, FOR_EVER);
    running.sample("m", 1.0).unwrap();
    running.handle.flush().await.unwrap();
    let ahead = Sample { at: running.now() + 2 * MINUTE, value: 1.0 };
    assert_eq!(running.handle.sample(&key("m"), ahead), Err(NotTaken::Ahead));
    running.set(T0);
    assert_eq!(running.sample("m", 2.0), Err(NotTaken::Late));
    assert_eq!(running.handle.latest("core")[0].1.value, 2.0, "dashboards show it all the same");
    running.handle.flush().await.unwrap();
    running.end().await;
    let again = Running::start(engine, T0 + MINUTE, FOR_EVER);
    again.handle.flush().await.unwrap();
    assert_eq!(again.sample("m", 3.0), Err(NotTaken::Late));
    again.set(T0 + HOUR + MINUTE);
    again.sample("m", 5.0).unwrap();
    assert_eq!(again.values(T0 + HOUR, T0 + 2 * HOUR).await, [(HOUR, 3.0)], "both samples of the hour");
    again.end().await;
}

/// What is done to it.
#[derive(Debug, Clone)]
enum Op {
    /// Time passes, and a series gets a sample.
    Sample(u8, i64, i16),
    Pass(i64),
    Flush,
    Restart,
    Kill,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => (0u8..3, 1i64..900, any::<i16>()).prop_map(|(series, pass, value)| Op::Sample(series, pass, value)),
        1 => (0i64..3 * 3600).prop_map(Op::Pass),
        4 => Just(Op::Flush),
        1 => Just(Op::Restart),
        1 => Just(Op::Kill),
    ];
    prop::collection::vec(op, 1..80)
}

type Model = BTreeMap<u8, Vec<Sample>>;

/// Any sequence of these: each tier then tells what the samples say.
async fn each_tier_tells_what_the_samples_say(engine: Arc<dyn MetricEngine>, ops: &[Op]) {
    let start = || Running::start(engine.clone(), T0, FOR_EVER);
    let (mut model, mut durable) = (Model::new(), Model::new());
    let mut running = start();
    for op in ops {
        let now = running.now();
        match op {
            Op::Sample(series, pass, value) => {
                // Not a whole number of milliseconds.
                running.set(now + pass * SECOND + 123_456);
                running.sample(&format!("m{series}"), f64::from(*value)).unwrap();
                let at = running.now() - running.now() % 1_000_000;
                model.entry(*series).or_default().push(Sample { at, value: f64::from(*value) });
                continue;
            }
            Op::Pass(seconds) => {
                running.set(now + seconds * SECOND);
                continue;
            }
            Op::Flush => {
                running.handle.flush().await.unwrap();
                durable = model.clone();
                continue;
            }
            Op::Restart => running.end().await,
            Op::Kill => {
                running.kill().await;
                model = durable.clone();
            }
        }
        running = Running::start(engine.clone(), now, FOR_EVER);
        // Read before anything is killed again: what comes before that is not stored by a flush.
        running.handle.flush().await.unwrap();
        durable = model.clone();
    }
    // In hand and stored; and then all stored.
    for _ in 0..2 {
        running.handle.flush().await.unwrap();
        for (series, samples) in &model {
            check(&running, &format!("m{series}"), samples).await;
        }
        running.set(running.now() + HOUR);
    }
    running.end().await;
}

async fn check(running: &Running, metric: &str, samples: &[Sample]) {
    let now = running.now();
    for from in [T0, T0 + (now - T0) / 3] {
        let seconds = (now - from) / SECOND;
        for points in [20_000, seconds / 7, seconds / 60, seconds / 3_000, 2] {
            let curve = running.handle.query(&key(metric), from, now, u32::try_from(points).unwrap()).await;
            assert_eq!(curve.missing, None);
            assert!(curve.points.len() <= usize::try_from(points.clamp(2, 20_000)).unwrap());
            let first = from - from % curve.step.max(1);
            let parts = samples.iter().filter(|s| s.at >= first).map(|s| Rollup::of(*s, curve.step));
            let wanted: Vec<Point> = roll(parts, curve.step)
                .iter()
                .map(|r| Point { at: r.at, avg: r.avg(), min: r.min, max: r.max, last: r.last })
                .collect();
            assert_eq!(curve.points, wanted, "step {} s", curve.step / SECOND);
        }
    }
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn any_sequence_of_samples_flushes_and_restarts(ops in ops()) {
        block_on(each_tier_tells_what_the_samples_say(Arc::new(Memory::default()), &ops));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn any_sequence_of_them_over_sqlite(ops in ops()) {
        let dir = tempfile::tempdir().unwrap();
        block_on(async {
            let engine = Arc::new(SqliteEngine::open(dir.path(), Instance(1)).await.unwrap());
            each_tier_tells_what_the_samples_say(engine.clone(), &ops).await;
            engine.close().await.unwrap();
        });
    }
}
