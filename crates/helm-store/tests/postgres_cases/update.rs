//! A database of an earlier Helm is brought up to date while others use it, or where its tables belong to another role.

use std::sync::Arc;
use std::time::Duration;

use helm_store::engine::{EngineError, LogEngine};
use helm_store::id::Instance;
use helm_store::postgres::migrate::{self, ALL};
use helm_store::postgres::{PgEngine, harden, harden_to, setup};
use helm_store::protection::Protection;
use sqlx::PgConnection;

use crate::conformance::INSTANCE;
use crate::conformance::script::{Script, all_rows, some};
use crate::support::cluster::{execute, shared};
use crate::{engine, fresh, registration};

/// A partition without entries, begun by hand: of the helmd with this number.
async fn begin(connection: &mut PgConnection, instance: u16) {
    let sql = format!(
        "SELECT helm_open_partition({instance}::bigint << 24, 'default', 0, decode(repeat('00', 32), 'hex'))"
    );
    execute(connection, &sql).await;
}

/// Whether the index of warnings is whole, and in how many partitions it is.
async fn index(connection: &mut PgConnection) -> (bool, i64) {
    sqlx::query_as(
        "SELECT indisvalid, (SELECT count(*) FROM pg_inherits WHERE inhparent = indexrelid)
         FROM pg_index WHERE indexrelid = 'entry_grave'::regclass",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

#[tokio::test]
async fn an_update_waits_for_nobody_who_writes_and_indexes_each_partition_by_itself() {
    let database = fresh().await;
    let (mut own, mut writing) = (database.connection().await, database.connection().await);
    migrate::run(&mut own, &database.options(), &ALL[..5]).await.unwrap();
    begin(&mut own, 9).await;
    let insert =
        "BEGIN; INSERT INTO entry_9_0 (id, at, seen, digest, service, flags, level, source, stream, message)
                  VALUES (9::bigint << 44, 0, 0, 0, 1, 0, 17, 1, 1, 'grave')";
    execute(&mut writing, insert).await;
    let options = database.options();
    let update = migrate::run(&mut own, &options, &ALL);
    tokio::time::timeout(Duration::from_secs(20), update).await.expect("nobody is waited for").unwrap();
    execute(&mut writing, "COMMIT").await;
    assert_eq!(index(&mut own).await.1, 0);

    let engine: Arc<dyn LogEngine> = Arc::new(engine(&database, INSTANCE).await);
    assert_eq!(index(&mut own).await, (true, 1), "what was there before");
    let mut script = Script::begin(&engine, "default", 0).await;
    script.write(some(1)).await;
    assert_eq!(index(&mut own).await, (true, 2), "and what comes");
}

#[tokio::test]
async fn a_helmd_of_before_writes_on_beside_the_one_that_was_updated() {
    let database = fresh().await;
    engine(&database, INSTANCE).await;
    let mut own = database.connection().await;
    begin(&mut own, 8).await;
    // The call of schema 4, as a helmd sends it that has not been started anew since.
    let done: bool = sqlx::query_scalar(
        "SELECT helm_commit(8::smallint, 'default', 1, 8::bigint << 24, decode(repeat('01', 32), 'hex'), 77, NULL, 0, 0, NULL, NULL,
                            '{}', '{}', '{}', '{}', '{core}', '{1}', '{10}', '{sender}', '{5}', '{key}') IS NULL",
    )
    .fetch_one(&mut own)
    .await
    .unwrap();
    assert!(done);
    let updated = engine(&database, Instance(8)).await;
    let state = updated.classes().await.unwrap().remove(0);
    let sender = &state.senders["sender"];
    assert_eq!((sender.last, sender.window, sender.at), (5, u64::MAX, 77), "all that came before were kept");
    assert_eq!((state.number, state.keys[0].0.as_str(), state.cursors["core"].offset), (1, "key", 10));
}

#[tokio::test]
async fn a_hardened_database_is_brought_up_to_date_by_an_administrator() {
    let database = fresh().await;
    let admin = database.options_as("postgres");
    let owner = harden_to(&admin, &database.user, &ALL[..4]).await.unwrap();
    begin(&mut shared().admin(&database.database).await, 9).await;
    let options = database.options();
    for error in [
        PgEngine::open(database.options(), registration(INSTANCE)).await.unwrap_err(),
        setup::bring_up_to_date(&options).await.unwrap_err(),
    ] {
        let said = error.to_string();
        assert!(matches!(error, EngineError::Denied(_)), "{said}");
        for words in ["version 4", owner.as_str(), "`helmctl db init` with the rights of an administrator"] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
    let look = setup::look(&options).await.unwrap();
    assert!(look.schema == 4 && !look.may_update, "{look:?}");

    harden(&admin, &database.user).await.unwrap();
    assert_eq!(index(&mut database.connection().await).await, (true, 1));
    let one = engine(&database, INSTANCE).await;
    assert!(matches!(one.protection().await.unwrap(), Protection::RolesAndTriggers { .. }));
    let engine: Arc<dyn LogEngine> = Arc::new(one);
    let mut script = Script::begin(&engine, "default", 0).await;
    let written = script.write(some(5)).await;
    let sealed = script.roll(1).await;
    engine.finish(sealed.id).await.unwrap();
    assert_eq!(all_rows(&engine, sealed.id).await, written);
}
