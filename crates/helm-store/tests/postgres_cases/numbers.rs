//! Numbers, states and events where several share a database, and where the Python Helm was before.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

use std::collections::BTreeMap;

use helm_store::history::{EventFilter, EventRow, HistoryEngine, StatusRow};
use helm_store::id::Instance;
use helm_store::metrics::engine::{Batch, Cutoff, MetricEngine, Tier};
use helm_store::metrics::rollup::{HOUR, Rollup};
use helm_store::postgres::harden;

use crate::conformance::history::status;
use crate::conformance::numbers::key;
use crate::conformance::{Database as _, INSTANCE};
use crate::support::cluster::execute;
use crate::{engine, fresh};

fn batch(value: f64) -> Batch {
    let rollup = Rollup { at: HOUR, count: 1, sum: value, min: value, max: value, last: value };
    Batch {
        series: vec![(1, key("core", "cpu", &[]))],
        minutes: vec![(1, rollup)],
        hours: vec![(1, rollup)],
        ..Batch::default()
    }
}

fn event(body: &str) -> EventRow {
    EventRow { id: 1, at: 5, service: "core".into(), kind: "exit".into(), body: body.into() }
}

#[tokio::test]
async fn two_helmds_in_one_database_keep_apart() {
    let database = fresh().await;
    let (one, two) = (engine(&database, INSTANCE).await, engine(&database, Instance(8)).await);
    for (engine, value) in [(&one, 1.0), (&two, 2.0)] {
        engine.put(&batch(value)).await.unwrap();
        engine.put_events(&[event(&value.to_string())]).await.unwrap();
        engine.put_status(&[status("core", "running")]).await.unwrap();
    }
    one.forget(Cutoff { raw: i64::MAX, minutes: i64::MAX, hours: HOUR }).await.unwrap();
    assert_eq!(one.rollups(1, Tier::Minute, 0, i64::MAX).await.unwrap(), []);
    assert_eq!(one.unrolled().await.unwrap().rolled, Some(HOUR));
    assert_eq!(two.rollups(1, Tier::Minute, 0, i64::MAX).await.unwrap()[0].sum, 2.0);
    assert_eq!(one.forget_events(10).await.unwrap(), 1);
    assert_eq!((one.last_event().await.unwrap(), two.last_event().await.unwrap()), (0, 1));
    let filter = EventFilter { limit: 9, ..EventFilter::default() };
    assert_eq!(two.events(&filter).await.unwrap(), [event("2")]);
    assert_eq!(database.look("SELECT service_name::text FROM service_status").await, ["core", "core"]);
    assert_eq!(database.look("SELECT metric_value::text FROM service_metrics ORDER BY 1").await, ["1", "2"]);
}

#[tokio::test]
async fn what_the_python_helm_left_is_shown_with_the_rest() {
    let database = fresh().await;
    let mut connection = database.connection().await;
    execute(&mut connection, super::former::SCHEMA).await;
    let old = "INSERT INTO service_status (service_name, status, last_checked, health_message) VALUES ('codex', 'stopped', '2024-01-01', 'old')";
    execute(&mut connection, old).await;
    let engine = engine(&database, INSTANCE).await;
    let shown = "SELECT service_name || ' ' || status || ' ' || coalesce(health_message, '-') FROM service_status ORDER BY id";
    assert_eq!(database.look(shown).await, ["codex stopped old", "core running -"]);
    let newer = StatusRow { checked_at: 1_800_000_000_000_000_000, ..status("codex", "running") };
    // Found before the Python Helm's last look: both are shown.
    let older = StatusRow { checked_at: 0, ..status("core", "error") };
    engine.put_status(&[newer, older]).await.unwrap();
    assert_eq!(database.look(shown).await, ["codex running -", "core error -", "core running -"]);

    engine.put(&batch(7.5)).await.unwrap();
    let values = "SELECT (id < 1000)::text || ' ' || metric_value FROM service_metrics ORDER BY metric_value";
    assert_eq!(database.look(values).await, ["true 1.5", "true 2.5", "false 7.5"]);
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns
         WHERE table_name IN ('service_status', 'service_metrics') ORDER BY 1, ordinal_position",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let mut views: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for (view, name, kind) in &columns {
        views.entry(view).or_default().push((name, kind));
    }
    let (varchar, double, timestamp) =
        ("character varying", "double precision", "timestamp without time zone");
    let metrics = [
        ("id", "bigint"),
        ("service_name", varchar),
        ("timestamp", timestamp),
        ("metric_name", varchar),
        ("metric_value", double),
        ("tags", "jsonb"),
    ];
    let states = [
        ("id", "integer"),
        ("service_name", varchar),
        ("status", varchar),
        ("pid", "integer"),
        ("port", "integer"),
        ("started_at", timestamp),
        ("last_checked", timestamp),
        ("health_status", varchar),
        ("health_message", "text"),
        ("cpu_percent", double),
        ("memory_mb", double),
    ];
    assert_eq!(views["service_metrics"], metrics);
    assert_eq!(views["service_status"], states);
}

#[tokio::test]
async fn a_text_with_nul_is_kept_without() {
    let database = fresh().await;
    let engine = engine(&database, INSTANCE).await;
    let odd = StatusRow { health_message: Some("a\0b".into()), ..status("core", "running") };
    engine.put_status(&[odd]).await.unwrap();
    assert_eq!(database.look("SELECT health_message FROM service_status").await, ["a\u{fffd}b"]);
    engine.put_events(&[event("a\0b")]).await.unwrap();
}

#[tokio::test]
async fn with_two_roles_too() {
    let database = fresh().await;
    harden(&database.options_as("postgres"), &database.user).await.unwrap();
    let engine = engine(&database, INSTANCE).await;
    engine.put(&batch(1.0)).await.unwrap();
    engine.put(&batch(2.0)).await.unwrap();
    engine.put_status(&[status("core", "running")]).await.unwrap();
    engine.put_events(&[event("{}")]).await.unwrap();
    assert_eq!(engine.forget_events(10).await.unwrap(), 1);
    assert_eq!(engine.forget(Cutoff { raw: 0, minutes: i64::MAX, hours: i64::MAX }).await.unwrap(), 2);
    assert_eq!(database.look("SELECT service_name::text FROM service_status").await, ["core"]);
}
