//! Numbers over time: what is put is read, in ranges, and goes when it is too old.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

use helm_store::metrics::block::{Sample, pack};
use helm_store::metrics::engine::{Batch, Block, Cutoff, SeriesId, SeriesKey, Tier};
use helm_store::metrics::rollup::{HOUR, MINUTE, Rollup};

use super::{Database, INSTANCE};

/// 2023-11-14 22:00:00 UTC
const T0: i64 = 1_699_999_200_000_000_000;

pub(crate) fn key(service: &str, metric: &str, tags: &[(&str, &str)]) -> SeriesKey {
    let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    SeriesKey { service: service.into(), metric: metric.into(), tags }
}

fn rollup(at: i64, value: f64) -> Rollup {
    Rollup { at, count: 2, sum: value * 2.0, min: value - 1.0, max: value + 1.0, last: value + 0.5 }
}

fn block(series: SeriesId, hour: i64, value: f64) -> Block {
    Block { series, hour, bytes: pack(&[Sample { at: hour, value }]) }
}

fn minutes(series: SeriesId, from: i64, count: i64) -> Vec<(SeriesId, Rollup)> {
    (0..count).map(|n| (series, rollup(from + n * MINUTE, 0.5))).collect()
}

pub(crate) async fn numbers_come_back_and_a_repetition_changes_nothing(database: &dyn Database) {
    let engine = database.open_beside(INSTANCE).await;
    let series = vec![
        (1, key("core", "cpu_percent", &[])),
        (2, key("core", "requests", &[("path", "/a'b\"\\"), ("código", "200")])),
    ];
    let batch = Batch {
        series: series.clone(),
        blocks: (0..3).flat_map(|n| [block(1, T0 + n * HOUR, 1.0), block(2, T0 + n * HOUR, 2.0)]).collect(),
        minutes: [minutes(1, T0, 900), minutes(2, T0, 3)].concat(),
        hours: vec![(1, rollup(T0, -1.0e300)), (1, rollup(T0 + HOUR, 3.25))],
    };
    for _ in 0..2 {
        engine.put(&batch).await.unwrap();
        assert_eq!(engine.series().await.unwrap(), series);
        let inside = engine.blocks(1, T0, T0 + 2 * HOUR).await.unwrap();
        assert_eq!(inside, [block(1, T0, 1.0), block(1, T0 + HOUR, 1.0)], "the end is exclusive");
        assert_eq!(engine.blocks(2, i64::MIN, i64::MAX).await.unwrap().len(), 3);
        assert_eq!(engine.blocks(3, i64::MIN, i64::MAX).await.unwrap(), []);
        let few = engine.rollups(1, Tier::Minute, T0 + MINUTE, T0 + 3 * MINUTE).await.unwrap();
        assert_eq!(few, [rollup(T0 + MINUTE, 0.5), rollup(T0 + 2 * MINUTE, 0.5)]);
        assert_eq!(engine.rollups(1, Tier::Minute, i64::MIN, i64::MAX).await.unwrap().len(), 900);
        let hours = engine.rollups(1, Tier::Hour, i64::MIN, i64::MAX).await.unwrap();
        assert_eq!(hours, [rollup(T0, -1.0e300), rollup(T0 + HOUR, 3.25)]);
    }
    drop(engine);
    let again = database.open_beside(INSTANCE).await;
    assert_eq!(again.rollups(2, Tier::Minute, i64::MIN, i64::MAX).await.unwrap().len(), 3);
    again.put(&Batch::default()).await.unwrap();
}

pub(crate) async fn the_last_of_two_under_one_key_stays(database: &dyn Database) {
    let engine = database.open_beside(INSTANCE).await;
    let batch = |value: f64| Batch {
        series: vec![(1, key("core", "old", &[])), (1, key("core", "new", &[]))],
        blocks: vec![block(1, T0, 0.0), block(1, T0, value)],
        minutes: vec![(1, rollup(T0, 0.0)), (1, rollup(T0, value))],
        hours: vec![(1, rollup(T0, 0.0)), (1, rollup(T0, value))],
    };
    for value in [5.0, 6.0] {
        engine.put(&batch(value)).await.unwrap();
        assert_eq!(engine.series().await.unwrap(), [(1, key("core", "new", &[]))]);
        assert_eq!(engine.blocks(1, T0, T0 + 1).await.unwrap(), [block(1, T0, value)]);
        for tier in [Tier::Minute, Tier::Hour] {
            assert_eq!(engine.rollups(1, tier, T0, T0 + 1).await.unwrap(), [rollup(T0, value)]);
        }
    }
}

pub(crate) async fn a_restart_is_told_what_is_in_no_hour_yet(database: &dyn Database) {
    let engine = database.open_beside(INSTANCE).await;
    let found = engine.unrolled().await.unwrap();
    assert_eq!((found.rolled, found.blocks.len()), (None, 0));
    let blocks = (0..3).flat_map(|n| [block(1, T0 + n * HOUR, 1.0), block(2, T0 + n * HOUR, 2.0)]).collect();
    let series = vec![(1, key("a", "m", &[])), (2, key("b", "m", &[]))];
    engine.put(&Batch { series, blocks, ..Batch::default() }).await.unwrap();
    let found = engine.unrolled().await.unwrap();
    assert_eq!((found.rolled, found.blocks.len()), (None, 6));
    let hours = vec![(1, rollup(T0, 1.0)), (2, rollup(T0, 1.0)), (2, rollup(T0 + HOUR, 1.0))];
    engine.put(&Batch { hours, ..Batch::default() }).await.unwrap();
    let found = engine.unrolled().await.unwrap();
    assert_eq!(found.rolled, Some(T0 + HOUR));
    assert_eq!(found.blocks, [block(1, T0 + 2 * HOUR, 1.0), block(2, T0 + 2 * HOUR, 2.0)]);
}

pub(crate) async fn what_is_too_old_goes_and_nothing_else(database: &dyn Database) {
    let engine = database.open_beside(INSTANCE).await;
    let series = (1..=3).map(|id| (id, key("core", &format!("m{id}"), &[]))).collect();
    let many = 3_000;
    let batch = Batch {
        series,
        blocks: (1..=3).flat_map(|id| (0..4).map(move |n| block(id, T0 + n * HOUR, 1.0))).collect(),
        minutes: (1..=3).flat_map(|id| minutes(id, T0, many)).collect(),
        hours: (1..=3).flat_map(|id| (0..50).map(move |n| (id, rollup(T0 + n * HOUR, 1.0)))).collect(),
    };
    engine.put(&batch).await.unwrap();
    let cutoff = Cutoff { raw: T0 + 2 * HOUR, minutes: T0 + (many - 10) * MINUTE, hours: T0 + HOUR };
    // Others write meanwhile.
    let later = Batch { minutes: minutes(1, T0 + many * MINUTE, 1), ..Batch::default() };
    let (gone, put) = tokio::join!(engine.forget(cutoff), engine.put(&later));
    put.unwrap();
    assert_eq!(gone.unwrap(), 3 * 2 + 3 * 2_990 + 3);
    let hours: Vec<i64> =
        engine.blocks(2, i64::MIN, i64::MAX).await.unwrap().iter().map(|b| b.hour).collect();
    assert_eq!(hours, [T0 + 2 * HOUR, T0 + 3 * HOUR]);
    assert_eq!(engine.rollups(1, Tier::Minute, i64::MIN, i64::MAX).await.unwrap().len(), 11);
    assert_eq!(engine.rollups(3, Tier::Minute, i64::MIN, i64::MAX).await.unwrap().len(), 10);
    assert_eq!(engine.rollups(3, Tier::Hour, i64::MIN, i64::MAX).await.unwrap().len(), 49);
    assert_eq!(engine.forget(cutoff).await.unwrap(), 0);
    assert_eq!(engine.series().await.unwrap().len(), 3);
}

pub(crate) async fn service_metrics_looks_as_the_seed_had_it(database: &dyn Database) {
    let engine = database.open_beside(INSTANCE).await;
    let batch = Batch {
        series: vec![(1, key("core", "cpu", &[])), (2, key("nexus", "requests", &[("path", "/x")]))],
        // The minutes of the first hour are gone.
        minutes: vec![(1, rollup(T0 + HOUR, 2.5)), (2, rollup(T0 + HOUR + MINUTE, 3.5))],
        hours: vec![(1, rollup(T0, 1.5)), (1, rollup(T0 + HOUR, 2.25)), (2, rollup(T0 + HOUR, 3.25))],
        ..Batch::default()
    };
    engine.put(&batch).await.unwrap();
    drop(engine);
    let rows = database
        .look(
            "SELECT service_name || ' ' || metric_name || ' ' || CAST(metric_value AS text) || ' ' || CAST(timestamp AS text)
                    || ' ' || coalesce(CAST(tags AS text), '-')
             FROM service_metrics ORDER BY service_name, timestamp",
        )
        .await;
    let rows: Vec<String> = rows.iter().map(|row| row.replace('T', " ").replace("\": \"", "\":\"")).collect();
    let expected = [
        "core cpu 1.5 2023-11-14 22:00:00 -",
        "core cpu 2.5 2023-11-14 23:00:00 -",
        "nexus requests 3.5 2023-11-14 23:01:00 {\"path\":\"/x\"}",
    ];
    assert_eq!(rows, expected);
    let ids = database.look("SELECT CAST(id AS text) FROM service_metrics").await;
    let ids: Vec<i64> = ids.iter().map(|id| id.parse().unwrap()).collect();
    assert!(ids.iter().all(|id| (1 << 31..1 << 53).contains(id)), "{ids:?}");
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
}
