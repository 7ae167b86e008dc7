//! How long a year of one metric takes, on both engines: `cargo run --release -p helm-store --example numbers_speed`.
//!
//! 100 series of 8,760 hours each, stored day by day as they would come, so that the rows of one series lie among the others' where an engine lets
//! them. PostgreSQL is a throw-away cluster, as in the tests. Also: what a flush of 800 series at the end of an hour costs.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement, not the product"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use helm_store::engine::LogEngine;
use helm_store::id::Instance;
use helm_store::metrics::block::Sample;
use helm_store::metrics::engine::{Batch, MetricEngine, SeriesKey};
use helm_store::metrics::rollup::{HOUR, Rollup};
use helm_store::metrics::{Metrics, MetricsHandle, Retention};
use helm_store::postgres::{PgEngine, Registration};
use helm_store::sqlite::SqliteEngine;
use tokio_util::sync::CancellationToken;

#[allow(dead_code, reason = "what the tests need of it is more")]
#[path = "../tests/support/cluster.rs"]
mod cluster;

const SERIES: u32 = 100;
const HOURS: i64 = 8_760;
const SECOND: i64 = 1_000_000_000;
/// The end of the year.
const NOW: i64 = 490_000 * HOUR;

fn key(n: u32) -> SeriesKey {
    SeriesKey {
        service: format!("service{}", n / 8),
        metric: format!("metric{}", n % 8),
        tags: BTreeMap::new(),
    }
}

fn rollup(at: i64) -> Rollup {
    let value = (at / HOUR % 97) as f64 + 0.25;
    Rollup { at, count: 720, sum: value * 720.0, min: value - 1.0, max: value + 1.0, last: value }
}

async fn fill(engine: &dyn MetricEngine) {
    let series = (0..SERIES).map(|n| (n + 1, key(n))).collect();
    engine.put(&Batch { series, ..Batch::default() }).await.unwrap();
    for day in 0..HOURS / 24 {
        let hours = (day * 24..(day + 1) * 24).map(|n| NOW - HOURS * HOUR + n * HOUR);
        let hours = hours.flat_map(|at| (1..=SERIES).map(move |id| (id, rollup(at)))).collect();
        engine.put(&Batch { hours, ..Batch::default() }).await.unwrap();
    }
}

async fn a_year(name: &str, handle: &MetricsHandle) {
    let mut times = Vec::new();
    for n in 0..40 {
        let begun = Instant::now();
        let curve = handle.query(&key(n * 2), NOW - HOURS * HOUR, NOW, 8_760).await;
        times.push(begun.elapsed());
        assert_eq!((curve.points.len(), curve.missing), (8_760, None));
    }
    let first = times[0];
    times.sort();
    println!(
        "{name}: a year (8,760 points): first {first:.1?}, median {:.1?}, most {:.1?}",
        times[20], times[39]
    );
}

/// 800 series, an hour of samples each 5 s, and what storing them costs at its end.
async fn an_hour(name: &str, handle: &MetricsHandle, clock: &AtomicI64) {
    let mut sampling = Duration::ZERO;
    for n in 0..720 {
        clock.store(NOW + n * 5 * SECOND, Ordering::SeqCst);
        let begun = Instant::now();
        for series in 0..800 {
            let sample =
                Sample { at: NOW + n * 5 * SECOND, value: f64::from(series) + (n % 13) as f64 * 0.1 };
            handle.sample(&key(series), sample).unwrap();
        }
        sampling += begun.elapsed();
        if n % 12 == 0 {
            handle.flush().await.unwrap();
        }
    }
    let begun = Instant::now();
    handle.flush().await.unwrap();
    println!(
        "{name}: 800 samples {:.1?}, the last flush of their hour {:.1?}",
        sampling / 720,
        begun.elapsed()
    );
    let begun = Instant::now();
    let curve = handle.query(&key(3), NOW, NOW + HOUR, 720).await;
    println!("{name}: an hour, raw ({} points): {:.1?}", curve.points.len(), begun.elapsed());
}

async fn measure(name: &str, engine: Arc<dyn MetricEngine>) {
    let begun = Instant::now();
    fill(&*engine).await;
    println!("{name}: {} hours filled in {:.1?}", i64::from(SERIES) * HOURS, begun.elapsed());
    let (clock, stop) = (Arc::new(AtomicI64::new(NOW)), CancellationToken::new());
    let told = clock.clone();
    let (handle, work) =
        Metrics::start(engine, Retention::default(), move || told.load(Ordering::SeqCst), stop.clone());
    let work = tokio::spawn(work);
    handle.flush().await.unwrap();
    a_year(name, &handle).await;
    an_hour(name, &handle, &clock).await;
    stop.cancel();
    work.await.unwrap();
}

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = Arc::new(SqliteEngine::open(dir.path(), Instance(1)).await.unwrap());
    measure("SQLite", sqlite.clone()).await;
    sqlite.close().await.unwrap();

    let cluster = cluster::Cluster::start();
    let database = cluster.fresh().await;
    let who = Registration {
        uuid: "speed".into(),
        host: "host".into(),
        home: "/srv/helm".into(),
        preferred: Instance(1),
    };
    let postgres = PgEngine::open(database.options(), who).await.unwrap();
    measure("PostgreSQL", Arc::new(postgres.clone())).await;
    postgres.close().await.unwrap();
}
