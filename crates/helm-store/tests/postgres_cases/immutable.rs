//! The database itself refuses: by the role that helmd uses, and by anybody else who does not take the triggers away first.

use std::sync::Arc;

use helm_store::chain::Head;
use helm_store::engine::{EngineError, LogEngine};
use helm_store::entry::{Entry, Level, NewEntry, Source};
use helm_store::partition::Class;
use helm_store::postgres::{PgEngine, harden};
use helm_store::protection::Protection;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::conformance::script::{Script, all_rows, entry, some};
use crate::conformance::{INSTANCE, commits};
use crate::support::cluster::{Fresh, execute, shared};
use crate::{engine, fresh};

/// Every way to alter entries in place. `entry_7_0` is sealed, `entry_7_1` open.
const ALTERATIONS: [&str; 13] = [
    "UPDATE entry SET message = 'x'",
    "UPDATE entry SET message = 'x' WHERE false",
    "UPDATE entry_7_0 SET message = 'x'",
    "UPDATE entry_7_1 SET at = 1 WHERE id > 0",
    "DELETE FROM entry",
    "DELETE FROM entry_7_0 WHERE id > 0",
    "DELETE FROM entry_7_1",
    "TRUNCATE entry",
    "TRUNCATE entry_7_0",
    "TRUNCATE entry_7_1",
    "UPDATE service SET name = 'other'",
    "INSERT INTO entry_7_0 SELECT id + 100, at, seen, digest, service, flags, process_id, level, source, stream, message FROM entry_7_0 LIMIT 1",
    "INSERT INTO entry SELECT id + 100, at, seen, digest, service, flags, process_id, level, source, stream, message FROM entry_7_0 LIMIT 1",
];

/// A sealed partition and an open one, with entries in both.
async fn two_partitions(engine: &Arc<dyn LogEngine>) -> (Script, Vec<Entry>) {
    let mut script = Script::begin(engine, "default", 0).await;
    let mut written = script.write(some(20)).await;
    script.roll(1).await;
    written.extend(script.write(some(5)).await);
    (script, written)
}

async fn everything(engine: &Arc<dyn LogEngine>) -> Vec<Entry> {
    let mut all = Vec::new();
    for partition in engine.partitions().await.unwrap() {
        all.extend(all_rows(engine, partition.id).await);
    }
    all
}

/// SQLSTATE with which a statement is refused.
async fn refused(connection: &mut PgConnection, sql: &str) -> String {
    match sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await {
        Err(sqlx::Error::Database(e)) => e.code().unwrap().into_owned(),
        other => panic!("{sql}: {other:?}"),
    }
}

#[tokio::test]
async fn with_one_role_triggers_refuse_it_and_the_superuser() {
    let database = fresh().await;
    let one = engine(&database, INSTANCE).await;
    let engine: Arc<dyn LogEngine> = Arc::new(one.clone());
    let (_, written) = two_partitions(&engine).await;

    let mut own = database.connection().await;
    let mut admin = shared().admin(&database.database).await;
    // Even where triggers are told to keep still.
    execute(&mut admin, "SET session_replication_role = replica").await;
    for sql in ALTERATIONS {
        assert_eq!(refused(&mut own, sql).await, "HE001", "{sql}");
        assert_eq!(refused(&mut admin, sql).await, "HE001", "{sql}");
    }
    assert_eq!(everything(&engine).await, written);
    let Protection::TriggersOnly { why, how } = one.protection().await.unwrap() else { panic!("one role") };
    assert!(why.contains("owns the tables") && how.contains("helmctl db init"), "{why}; {how}");

    execute(&mut admin, "DROP TRIGGER helm_immutable ON entry_7_1").await;
    let Protection::Broken { tables, .. } = one.protection().await.unwrap() else {
        panic!("a trigger is gone")
    };
    assert_eq!(tables, ["entry_7_1"]);
}

#[tokio::test]
async fn with_two_roles_the_writer_has_no_right_to_it() {
    let database = fresh().await;
    let admin = database.options_as("postgres");
    let owner = harden(&admin, &database.user).await.unwrap();
    let one = engine(&database, INSTANCE).await;
    let engine: Arc<dyn LogEngine> = Arc::new(one.clone());
    let (_, written) = two_partitions(&engine).await;

    let expected = Protection::RolesAndTriggers { owner: owner.clone(), writer: database.user.clone() };
    assert_eq!(one.protection().await.unwrap(), expected);
    let mut own = database.connection().await;
    for sql in ALTERATIONS.iter().filter(|sql| !sql.starts_with("INSERT")) {
        assert_eq!(refused(&mut own, sql).await, "42501", "{sql}");
    }
    for sql in [
        "DROP TABLE entry",
        "DROP TABLE entry_7_0",
        "ALTER TABLE entry DISABLE TRIGGER ALL",
        "DROP TRIGGER helm_immutable ON entry_7_0",
        "DROP TRIGGER helm_closed ON entry_7_0",
        "ALTER TABLE entry DETACH PARTITION entry_7_0",
        "CREATE TABLE mine (id int)",
        "CREATE OR REPLACE FUNCTION helm_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "UPDATE partition SET head = ''",
        "DELETE FROM partition",
        "INSERT INTO partition (id, class, opened, before) VALUES (1, 'x', 0, '')",
        "SELECT helm_grant_writer('public')",
        "DROP SCHEMA public CASCADE",
    ] {
        assert_eq!(refused(&mut own, sql).await, "42501", "{sql}");
    }
    assert_eq!(refused(&mut own, &format!("SET ROLE {owner}")).await, "42501");
    // Nobody logs in as the owner.
    let mut postgres = shared().admin(&database.database).await;
    let may: bool = sqlx::query_scalar("SELECT rolcanlogin FROM pg_roles WHERE rolname = $1")
        .bind(&owner)
        .fetch_one(&mut postgres)
        .await
        .unwrap();
    assert!(!may);
    assert_eq!(everything(&engine).await, written);
}

#[tokio::test]
async fn a_database_in_use_can_be_hardened_and_hardened_again() {
    let database = fresh().await;
    let engine: Arc<dyn LogEngine> = Arc::new(engine(&database, INSTANCE).await);
    let (mut script, mut written) = two_partitions(&engine).await;
    let admin = database.options_as("postgres");
    for number in 2..4 {
        harden(&admin, &database.user).await.unwrap();
        written.extend(script.write(some(3)).await);
        let sealed = script.roll(number).await;
        engine.finish(sealed.id).await.unwrap();
        written.extend(script.write(some(3)).await);
        assert_eq!(everything(&engine).await, written);
        let one = PgEngine::open(database.options(), crate::registration(INSTANCE)).await.unwrap();
        assert!(matches!(one.protection().await.unwrap(), Protection::RolesAndTriggers { .. }));
    }
}

#[tokio::test]
async fn with_two_roles_the_writer_may_still_do_all_that_it_must() {
    let database = fresh().await;
    harden(&database.options_as("postgres"), &database.user).await.unwrap();
    commits::a_key_that_comes_again_counts_from_then_on(&database).await;
}

/// What retention writes before it takes a partition away.
fn removal(of: u32, head: Head) -> NewEntry {
    let context = format!(r#"{{"removed":{{"partition":{of},"class":"default","head":"{}"}}}}"#, head.hex());
    NewEntry { source: Source::Helm, context: Some(context), ..entry("helm", 0, Level::Info, "removed") }
}

async fn removable(database: &Fresh) -> (Arc<dyn LogEngine>, Script) {
    harden(&database.options_as("postgres"), &database.user).await.unwrap();
    let engine: Arc<dyn LogEngine> = Arc::new(engine(database, INSTANCE).await);
    let (script, _) = two_partitions(&engine).await;
    (engine, script)
}

#[tokio::test]
async fn only_the_oldest_goes_and_only_if_it_is_on_record() {
    let database = fresh().await;
    let (engine, mut script) = removable(&database).await;
    let class = Class::default_class();
    let second = script.roll(2).await;
    let parts = engine.partitions().await.unwrap();
    let first = parts[0].clone();
    for (partition, words) in [(&first, "not on record"), (&second, "not the oldest"), (&parts[2], "is open")]
    {
        let error = engine.remove(partition.id, &class).await.unwrap_err();
        assert!(matches!(error, EngineError::Denied(_)) && error.to_string().contains(words), "{error}");
    }
    // A forged record, by a service that is not helm, does not do.
    let forged = NewEntry { service: "core".into(), ..removal(0, first.seal.unwrap().head) };
    script.write(vec![forged, removal(0, Head::GENESIS)]).await;
    engine.remove(first.id, &class).await.unwrap_err();
    script.write(vec![removal(0, first.seal.unwrap().head)]).await;
    engine.remove(first.id, &class).await.unwrap();
    assert_eq!(engine.partitions().await.unwrap()[0].id, second.id);
    assert_eq!(engine.disk(first.id).await.unwrap(), 0);
}
