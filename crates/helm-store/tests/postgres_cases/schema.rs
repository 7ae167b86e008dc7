//! The schema: made from empty and from every earlier state, once, by one of many; and as the seed had it, for whoever looks.

use std::collections::BTreeSet;

use helm_store::engine::{EngineError, LogEngine};
use helm_store::entry::{Level, NewEntry};
use helm_store::id::Instance;
use helm_store::postgres::migrate::{self, Migration};
use helm_store::postgres::{PgEngine, PgOptions, Registration};
use sqlx::PgConnection;

use crate::conformance::INSTANCE;
use crate::conformance::script::{Script, all_rows, entry, some};
use crate::support::cluster::{Fresh, execute, shared};
use crate::{engine, fresh, registration};

async fn versions(connection: &mut PgConnection) -> Vec<i64> {
    sqlx::query_scalar("SELECT version FROM helm_version ORDER BY version")
        .fetch_all(connection)
        .await
        .unwrap()
}

fn all() -> Vec<i64> {
    migrate::ALL.iter().map(|m| m.version).collect()
}

#[tokio::test]
async fn every_earlier_state_is_brought_up_to_date_and_a_second_run_does_nothing() {
    for known in 0..=migrate::ALL.len() {
        let database = fresh().await;
        let mut connection = database.connection().await;
        migrate::run(&mut connection, &database.options(), &migrate::ALL[..known]).await.unwrap();
        for _ in 0..2 {
            engine(&database, INSTANCE).await;
            assert_eq!(versions(&mut connection).await, all());
        }
    }
}

#[tokio::test]
async fn a_socket_leads_there_too() {
    let database = fresh().await;
    let mut admin = shared().admin("postgres").await;
    let directory: String = sqlx::query_scalar("SELECT current_setting('unix_socket_directories')")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let Fresh { port, user, database: name } = &database;
    let url = format!(
        "postgresql+psycopg://{user}:p%40ss%2Fw%25rd%3A1@/{name}?host={directory}&port={port}&client_encoding=utf8"
    );
    let options = PgOptions::parse(&url).unwrap();
    assert!(options.place().starts_with(&directory), "{options}");
    let engine: std::sync::Arc<dyn LogEngine> =
        std::sync::Arc::new(PgEngine::open(options, registration(INSTANCE)).await.unwrap());
    let mut script = Script::begin(&engine, "default", 0).await;
    let written = script.write(some(10)).await;
    assert_eq!(all_rows(&engine, script.open.id).await, written);
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let database = fresh().await;
    engine(&database, INSTANCE).await;
    let mut connection = database.connection().await;
    execute(&mut connection, "INSERT INTO helm_version (version, name) VALUES (999, 'of tomorrow')").await;
    let error = PgEngine::open(database.options(), registration(INSTANCE)).await.unwrap_err();
    assert!(matches!(error, EngineError::Newer { has: 999, .. }), "{error}");
    assert!(error.to_string().contains("install the newer helmd"), "{error}");
}

#[tokio::test]
async fn a_migration_that_fails_half_way_leaves_nothing() {
    let database = fresh().await;
    let options = database.options();
    let mut connection = database.connection().await;
    let next = migrate::ALL.last().unwrap().version + 1;
    let with = |sql| {
        let mut migrations = migrate::ALL.to_vec();
        migrations.push(Migration { version: next, name: "half", sql });
        migrations
    };
    let bad = with("CREATE TABLE half (id int); INSERT INTO half VALUES (1); SELECT 1 / 0");
    let error = migrate::run(&mut connection, &options, &bad).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("(half)") && said.contains("rolled back"), "{said}");
    assert_eq!(versions(&mut connection).await, all());
    let half: Option<String> =
        sqlx::query_scalar("SELECT to_regclass('half')::text").fetch_one(&mut connection).await.unwrap();
    assert_eq!(half, None);
    engine(&database, INSTANCE).await;
    migrate::run(&mut connection, &options, &with("CREATE TABLE half (id int)")).await.unwrap();
    assert_eq!(versions(&mut connection).await.last(), Some(&next));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_helmds_at_once_prepare_it_once_and_get_numbers_of_their_own() {
    let database = fresh().await;
    let mut starting = tokio::task::JoinSet::new();
    for i in 0..6 {
        let options = database.options();
        let who =
            Registration { uuid: format!("home {i}"), preferred: Instance(511), ..registration(INSTANCE) };
        starting.spawn(async move { PgEngine::open(options, who).await.unwrap().instance().0 });
    }
    let numbers: BTreeSet<u16> = starting.join_all().await.into_iter().collect();
    // The preferred one, and then on from 1.
    assert_eq!(numbers, BTreeSet::from([511, 1, 2, 3, 4, 5]));
    let mut connection = database.connection().await;
    assert_eq!(versions(&mut connection).await, all());
    // Who comes again keeps its number, whatever it would like now and wherever it lives.
    let again = Registration {
        uuid: "home 3".into(),
        host: "moved".into(),
        home: "/elsewhere".into(),
        preferred: Instance(77),
    };
    let number = PgEngine::open(database.options(), again).await.unwrap().instance().0;
    let (host, kept): (String, i16) =
        sqlx::query_as("SELECT host, number FROM instance WHERE uuid = 'home 3'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!((host.as_str(), kept.cast_unsigned()), ("moved", number));
    assert!(numbers.contains(&number));
}

#[tokio::test]
async fn log_entries_looks_as_the_seed_had_it() {
    let database = fresh().await;
    let engine: std::sync::Arc<dyn LogEngine> = std::sync::Arc::new(engine(&database, INSTANCE).await);
    let mut script = Script::begin(&engine, "default", 0).await;
    let full = NewEntry {
        context: Some(r#"{"b":1,"a":[true]}"#.into()),
        trace: Some("t".into()),
        user: Some("u".into()),
        hostname: Some("h".into()),
        process: Some(9),
        ..entry("core", 1, Level::Warning, "hello")
    };
    let broken =
        NewEntry { context: Some("{\"nul\":\"\\u0000\"}".into()), ..entry("core", 2, Level::Info, "odd") };
    script.write(vec![full, broken]).await;

    let mut connection = database.connection().await;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT column_name::text, data_type::text FROM information_schema.columns WHERE table_name = 'log_entries' ORDER BY ordinal_position",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let columns: Vec<_> = columns.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
    let varchar = "character varying";
    let expected = [
        ("id", "bigint"),
        ("timestamp", "timestamp without time zone"),
        ("service_name", varchar),
        ("level", varchar),
        ("message", "text"),
        ("context", "jsonb"),
        ("trace_id", varchar),
        ("user_id", varchar),
        ("hostname", varchar),
        ("process_id", "integer"),
    ];
    assert_eq!(columns, expected);
    let rows: Vec<String> = sqlx::query_scalar("SELECT row_to_json(l)::text FROM log_entries l ORDER BY id")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let first: serde_json::Value = serde_json::from_str(&rows[0]).unwrap();
    assert_eq!(first["timestamp"], "2023-11-14T22:13:21");
    assert_eq!((&first["level"], &first["context"]["a"][0]), (&"WARNING".into(), &true.into()));
    assert!(rows[1].contains("nul"), "what is no jsonb is shown all the same: {}", rows[1]);
}
