//! What several helmds, other roles and other servers can do to one another, and how much is remembered of senders.

use std::sync::Arc;

use helm_store::engine::{EngineError, LogEngine};
use helm_store::once::KEYS;
use helm_store::postgres::{PgEngine, Registration, harden};

use crate::conformance::INSTANCE;
use crate::conformance::script::{Script, all_rows, some};
use crate::support::cluster::{execute, shared};
use crate::{engine, fresh, registration};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_copy_of_a_home_is_refused_while_the_other_writes() {
    let database = fresh().await;
    let open = |home: &str| {
        let who = Registration { home: home.into(), ..registration(INSTANCE) };
        PgEngine::open(database.options(), who)
    };
    let first = open("/srv/helm").await.unwrap();
    let engine: Arc<dyn LogEngine> = Arc::new(first.clone());
    let mut script = Script::begin(&engine, "default", 0).await;
    let error = open("/srv/copy").await.unwrap_err();
    assert!(matches!(error, EngineError::Denied(_)), "{error}");
    for words in [
        "home /srv/helm) writes",
        "instance 7",
        "first that of host host, home /srv/helm",
        "instance/store and logs",
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
    script.write(some(1)).await;

    // Nobody writes: a home may move. Then the one that stayed is the copy.
    first.close().await.unwrap();
    let mut sessions = shared().admin(&database.database).await;
    let moved = loop {
        // The server notices the end of the session in its own time.
        match open("/srv/copy").await {
            Ok(moved) => break moved,
            Err(error) => assert!(error.to_string().contains("another helmd"), "{error}"),
        }
        execute(&mut sessions, "SELECT pg_stat_clear_snapshot()").await;
    };
    moved.classes().await.unwrap();
    let error = engine.commit(&script.plan(some(1))).await.unwrap_err();
    for words in ["home /srv/copy) writes", "first that of host host, home /srv/helm"] {
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn names_are_learnt_anew_behind_a_new_connection() {
    let database = fresh().await;
    let engine: Arc<dyn LogEngine> = Arc::new(engine(&database, INSTANCE).await);
    let mut script = Script::begin(&engine, "default", 0).await;
    script.write(some(1)).await;
    // As on a standby that lacks the last transactions: the number now means something else.
    let mut admin = shared().admin(&database.database).await;
    for sql in [
        "SET session_replication_role = replica",
        "ALTER TABLE service DISABLE TRIGGER ALL",
        "UPDATE service SET name = 'other' WHERE name = 'core'",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'helm' AND datname = current_database()",
    ] {
        execute(&mut admin, sql).await;
    }
    let commit = script.plan(some(2));
    let mut tries = 0;
    while let Err(error) = engine.commit(&commit).await {
        tries += 1;
        assert!(error.passes() && tries < 10, "{error}");
    }
    let services: Vec<String> =
        all_rows(&engine, script.open.id).await.into_iter().map(|entry| entry.body.service).collect();
    assert_eq!(services, ["other", "core", "core"]);
}

#[tokio::test]
async fn what_another_role_plants_beside_the_tables_is_not_called() {
    let database = fresh().await;
    harden(&database.options_as("postgres"), &database.user).await.unwrap();
    let mut admin = shared().admin(&database.database).await;
    // A better match for what the functions ask than the system's own ones.
    let planted = "LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted'; END $$";
    for signature in
        ["format(text, bigint, bigint) RETURNS text", "format(text, text, bigint, bigint) RETURNS text"]
    {
        execute(&mut admin, &format!("CREATE FUNCTION public.{signature} {planted}")).await;
    }
    let engine: Arc<dyn LogEngine> = Arc::new(engine(&database, INSTANCE).await);
    let mut script = Script::begin(&engine, "default", 0).await;
    script.write(some(1)).await;
    let sealed = script.roll(1).await;
    engine.finish(sealed.id).await.unwrap();
    assert_eq!(engine.partitions().await.unwrap().len(), 2);
}

#[tokio::test]
async fn keys_are_bounded_in_memory_and_in_the_table() {
    let database = fresh().await;
    harden(&database.options_as("postgres"), &database.user).await.unwrap();
    let engine: Arc<dyn LogEngine> = Arc::new(engine(&database, INSTANCE).await);
    let mut script = Script::begin(&engine, "default", 0).await;
    script.write(some(1)).await;
    let more = KEYS + 12_000;
    let mut own = database.connection().await;
    let insert = format!(
        "INSERT INTO once_key SELECT 7, 'default', 'key ' || n, (SELECT arrived FROM class_state) - {more} + n FROM generate_series(1, {more}) n"
    );
    execute(&mut own, &insert).await;
    let classes = engine.classes().await.unwrap();
    assert_eq!(classes[0].keys.len(), KEYS);
    assert_eq!(classes[0].keys.last().unwrap().0, format!("key {more}"), "the newest");
    let sealed = script.roll(1).await;
    engine.finish(sealed.id).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM once_key").fetch_one(&mut own).await.unwrap();
    assert_eq!(left.cast_unsigned(), KEYS as u64 + 1, "those as old as the last one that fits stay");
}
