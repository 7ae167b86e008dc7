//! The database goes away in the wrong moment, or was never there.

use std::sync::Arc;
use std::time::Duration;

use helm_store::engine::{EngineError, LogEngine};
use helm_store::postgres::{PgEngine, PgOptions};
use sqlx::PgConnection;

use crate::conformance::INSTANCE;
use crate::conformance::script::{Script, all_rows, some};
use crate::support::cluster::{Cluster, PASSWORD, execute, shared};
use crate::support::proxy::Proxy;
use crate::{engine, fresh, registration};

/// Waits until a session of helmd waits for a lock.
async fn until_a_commit_waits(admin: &mut PgConnection, user: &str) {
    let waiting = async {
        loop {
            let n: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock' AND application_name = 'helm'",
            )
            .bind(user)
            .fetch_one(&mut *admin)
            .await
            .unwrap();
            if n > 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("a commit waits for the lock");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_found_out() {
    let database = fresh().await;
    let proxy = Proxy::before(database.port).await;
    let options = database.options_at(&database.user, proxy.port);
    let engine = PgEngine::open(options, registration(INSTANCE)).await.unwrap();
    let engine: Arc<dyn LogEngine> = Arc::new(engine);
    let mut script = Script::begin(&engine, "default", 0).await;
    let mut written = script.write(some(10)).await;

    for _ in 0..3 {
        let commit = script.plan(some(1000));
        proxy.lose_next_answer();
        let error = engine.commit(&commit).await.unwrap_err();
        assert!(proxy.has_lost() && error.passes(), "{error}");
        let refused = engine.commit(&commit).await.unwrap_err();
        let EngineError::NotNext { asked, has } = refused else { panic!("{refused}") };
        assert_eq!((asked, has), (commit.number, commit.number), "it was carried out");
        (script.number, script.head) = (commit.number, commit.head);
        script.open.contents = commit.contents;
        written.extend(commit.entries);
    }
    written.extend(script.write(some(1)).await);
    assert_eq!(all_rows(&engine, script.open.id).await, written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_cut_off_leaves_nothing() {
    let database = fresh().await;
    let engine: Arc<dyn LogEngine> = Arc::new(engine(&database, INSTANCE).await);
    let mut script = Script::begin(&engine, "default", 0).await;
    let mut written = script.write(some(10)).await;
    let commit = script.plan(some(1000));

    // Somebody holds the class's row: the commit waits in its middle, and its session is ended there.
    let mut admin = shared().admin(&database.database).await;
    let mut watcher = shared().admin(&database.database).await;
    execute(&mut admin, "BEGIN; SELECT * FROM class_state FOR UPDATE").await;
    let asked = tokio::spawn({
        let (engine, commit) = (engine.clone(), commit.clone());
        async move { engine.commit(&commit).await }
    });
    until_a_commit_waits(&mut watcher, &database.user).await;
    let ended: bool = sqlx::query_scalar(
        "SELECT bool_and(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'",
    )
    .bind(&database.user)
    .fetch_one(&mut watcher)
    .await
    .unwrap();
    assert!(ended);
    let error = asked.await.unwrap().unwrap_err();
    assert!(matches!(error, EngineError::Away(_)), "{error}");
    execute(&mut admin, "ROLLBACK").await;

    assert_eq!(all_rows(&engine, script.open.id).await, written);
    written.extend(script.carry_out(commit).await.unwrap());
    assert_eq!(all_rows(&engine, script.open.id).await, written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_in_mid_transaction_is_gone_on_with() {
    let cluster = Cluster::start();
    let database = cluster.fresh().await;
    let engine: Arc<dyn LogEngine> = Arc::new(engine(&database, INSTANCE).await);
    let mut script = Script::begin(&engine, "default", 0).await;
    let mut written = script.write(some(10)).await;
    let commit = script.plan(some(500));

    let mut admin = cluster.admin(&database.database).await;
    let mut watcher = cluster.admin(&database.database).await;
    execute(&mut admin, "BEGIN; SELECT * FROM class_state FOR UPDATE").await;
    let asked = tokio::spawn({
        let (engine, commit) = (engine.clone(), commit.clone());
        async move { engine.commit(&commit).await }
    });
    until_a_commit_waits(&mut watcher, &database.user).await;
    cluster.stop();
    let error = asked.await.unwrap().unwrap_err();
    assert!(matches!(error, EngineError::Away(_)), "{error}");
    let error = engine.commit(&commit).await.unwrap_err();
    assert!(
        matches!(error, EngineError::Away(_)) && error.to_string().contains("is PostgreSQL running"),
        "{error}"
    );
    let error = engine.partitions().await.unwrap_err();
    assert!(error.passes(), "{error}");

    cluster.start_again();
    written.extend(script.carry_out(commit).await.unwrap());
    written.extend(script.write(some(5)).await);
    assert_eq!(all_rows(&engine, script.open.id).await, written);
}

async fn refusal(url: &str) -> EngineError {
    PgEngine::open(PgOptions::parse(url).unwrap(), registration(INSTANCE)).await.unwrap_err()
}

#[tokio::test]
async fn what_stands_in_the_way_is_said_with_what_to_do() {
    let database = fresh().await;
    let (user, port) = (&database.user, database.port);
    let right = "p%40ss%2Fw%25rd%3A1";
    let at = |password: &str, port: u16, database: &str| {
        format!("postgresql://{user}:{password}@127.0.0.1:{port}/{database}?client_encoding=utf8")
    };
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let cases = [
        (at("wrong-secret", port, &database.database), false, "check the password in instance/helm.conf"),
        (at(right, port, "nowhere_db"), false, "there is no database nowhere_db"),
        (at(right, free, &database.database), true, "cannot be reached"),
        (at(right, port, "postgres"), false, "lacks the right"),
        (format!("postgresql://{user}:{right}@no.such.host.invalid/{user}"), true, "cannot be reached"),
    ];
    for (url, passes, words) in cases {
        let error = refusal(&url).await;
        let said = error.to_string();
        assert!(said.contains(words), "{said}");
        assert_eq!(error.passes(), passes, "{said}");
        assert!(matches!(error, EngineError::Away(_) | EngineError::Denied(_)), "{error:?}");
        assert!(!said.contains(PASSWORD) && !said.contains("secret") && !said.contains(right), "{said}");
    }
    let mut admin = shared().admin("postgres").await;
    let latin = format!("{}_latin", database.database);
    execute(
        &mut admin,
        &format!("CREATE DATABASE {latin} ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"),
    )
    .await;
    let error = refusal(&at(right, port, &latin)).await.to_string();
    assert!(error.contains("ENCODING 'UTF8'"), "{error}");

    let right = PgOptions::parse(&at(right, port, &database.database)).unwrap();
    PgEngine::open(right, registration(INSTANCE)).await.expect("with all of it right, it opens");
}

#[tokio::test]
async fn a_partition_whose_counts_were_not_packed_is_not_finished() {
    let database = fresh().await;
    let engine: Arc<dyn LogEngine> = Arc::new(engine(&database, INSTANCE).await);
    let mut script = Script::begin(&engine, "default", 0).await;
    script.write(some(5)).await;
    let sealed = script.roll(1).await.id;
    let mut own = database.connection().await;
    execute(&mut own, "ALTER TABLE packed_counts ADD CONSTRAINT none_fits CHECK (false)").await;
    engine.finish(sealed).await.unwrap_err();
    assert_eq!(engine.unfinished(INSTANCE).await.unwrap(), [sealed]);
    execute(&mut own, "ALTER TABLE packed_counts DROP CONSTRAINT none_fits").await;
    engine.finish(sealed).await.unwrap();
    assert!(engine.packed(sealed).await.unwrap().is_some());
    assert_eq!(engine.unfinished(INSTANCE).await.unwrap(), []);
}
