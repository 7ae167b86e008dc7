//! A year of one metric: 100 series of 8,760 hours each, stored day by day as they would come.

use std::collections::BTreeMap;
use std::time::Instant;

use helm_store::metrics::engine::{Batch, SeriesKey};
use helm_store::metrics::rollup::{HOUR, Rollup};
use helm_store::metrics::{Metrics, Retention};
use tokio_util::sync::CancellationToken;

use crate::Plan;
use crate::site::{Site, now};
use shared::Result;
use shared::figures::Times;
use shared::report::Row;

const SERIES: u32 = 100;
const HOURS: i64 = 8_760;

fn key(n: u32) -> SeriesKey {
    let (service, metric) = (format!("service-{}", n / 8), format!("metric-{}", n % 8));
    SeriesKey { service, metric, tags: BTreeMap::new() }
}

fn rollup(at: i64) -> Rollup {
    let value = (at / HOUR % 97) as f64 + 0.25;
    Rollup { at, count: 720, sum: value * 720.0, min: value - 1.0, max: value + 1.0, last: value }
}

pub(crate) async fn a_year(site: &Site, plan: &Plan) -> Result<Vec<Row>> {
    let end = now().div_euclid(HOUR) * HOUR;
    let series = (0..SERIES).map(|n| (n + 1, key(n))).collect();
    site.numbers.put(&Batch { series, ..Batch::default() }).await?;
    for day in 0..HOURS / 24 {
        let hours = (day * 24..(day + 1) * 24).map(|n| end - HOURS * HOUR + n * HOUR);
        let hours = hours.flat_map(|at| (1..=SERIES).map(move |id| (id, rollup(at)))).collect();
        site.numbers.put(&Batch { hours, ..Batch::default() }).await?;
    }
    let stop = CancellationToken::new();
    let (handle, work) =
        Metrics::start(site.numbers.clone(), Retention::default(), move || end, stop.clone());
    let work = tokio::spawn(work);
    handle.flush().await?;
    let mut times = Vec::new();
    for n in 0..plan.questions {
        let series = key((n % u64::from(SERIES)) as u32);
        let asked = Instant::now();
        let curve = handle.query(&series, end - HOURS * HOUR, end, 8_760).await;
        times.push(asked.elapsed());
        if curve.points.len() != 8_760 || curve.missing.is_some() {
            return Err(format!("a year has {} points", curve.points.len()).into());
        }
    }
    stop.cancel();
    work.await?;
    let times = Times::of(times);
    let row = Row::new(site.engine, "a year of one metric (8,760 points)")
        .helm(format!("{} of {}", times.said(), times.many()))
        .asked("p99 below 50 ms", times.p99() < 50.0)
        .figure("p50_ms", times.p50())
        .figure("p99_ms", times.p99());
    Ok(vec![row])
}
