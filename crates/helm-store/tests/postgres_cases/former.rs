//! A database that the Python Helm made is taken over without losing a row.

use std::sync::Arc;
use std::time::Duration;

use helm_store::chain::{Chain, Head};
use helm_store::engine::{EngineError, LogEngine};
use helm_store::entry::{Level, Source, flag};
use helm_store::id::{EntryId, Instance, PartitionId};
use helm_store::partition::Class;
use helm_store::postgres::PgEngine;
use helm_store::postgres::former::Former;
use tokio_util::sync::CancellationToken;

use crate::conformance::INSTANCE;
use crate::conformance::script::{Script, all_rows, some};
use crate::support::cluster::{Fresh, execute};
use crate::{engine, fresh};

/// As SQLAlchemy made it (contract 5.5). Ids begin where they cross into a second partition.
pub(super) const SCHEMA: &str = r#"
CREATE TABLE log_entries (id bigserial PRIMARY KEY, timestamp timestamp NOT NULL, service_name varchar(50) NOT NULL, level varchar(20) NOT NULL,
    message text NOT NULL, context jsonb, trace_id varchar(36), user_id varchar(100), hostname varchar(255), process_id int);
CREATE INDEX ix_log_entries_timestamp ON log_entries (timestamp);
CREATE INDEX ix_log_entries_service_name ON log_entries (service_name);
CREATE INDEX idx_log_service_timestamp ON log_entries (service_name, timestamp);
CREATE INDEX idx_log_level_timestamp ON log_entries (level, timestamp);
CREATE TABLE service_status (id serial PRIMARY KEY, service_name varchar(50) UNIQUE NOT NULL, status varchar(20) NOT NULL, pid int, port int,
    started_at timestamp, last_checked timestamp NOT NULL, health_status varchar(20), health_message text, cpu_percent double precision, memory_mb double precision);
CREATE TABLE service_metrics (id bigserial PRIMARY KEY, service_name varchar(50) NOT NULL, timestamp timestamp NOT NULL, metric_name varchar(100) NOT NULL,
    metric_value double precision NOT NULL, tags jsonb);
INSERT INTO service_status (service_name, status, last_checked) VALUES ('core', 'running', now());
INSERT INTO service_metrics (service_name, timestamp, metric_name, metric_value) VALUES ('core', now(), 'cpu', 1.5), ('core', now(), 'cpu', 2.5);
"#;
const ROWS: &str = r#"
INSERT INTO log_entries (id, timestamp, service_name, level, message, context, trace_id, user_id, hostname, process_id)
SELECT 1000000 + i * 2 - i % 2, timestamp '2025-03-01 00:00:00' + i * interval '1.25 second', (ARRAY['core','nexus','codex'])[1 + i % 3],
       (ARRAY['DEBUG','INFO','WARNING','ERROR','CRITICAL','warn','LOUD'])[1 + i % 7], 'line ' || i, jsonb_build_object('n', i, 'ok', true),
       CASE WHEN i % 2 = 0 THEN 'trace-' || i % 100 END, NULL, 'host', i
FROM generate_series(1, 100000) AS i;
"#;

async fn python(rows: &str) -> Fresh {
    let database = fresh().await;
    let mut connection = database.connection().await;
    execute(&mut connection, SCHEMA).await;
    execute(&mut connection, rows).await;
    database
}

/// Waits until an earlier session has let go, and takes over.
async fn taken(engine: &PgEngine) -> Result<Former, EngineError> {
    let taken = async {
        loop {
            match engine.take_over(&CancellationToken::new()).await {
                Ok(Former::Elsewhere) => tokio::task::yield_now().await,
                other => return other,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), taken).await.expect("it ends")
}

async fn complete(engine: &PgEngine) -> Former {
    taken(engine).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_rows_keep_their_ids_over_a_kill_in_the_middle() {
    let database = python(ROWS).await;
    let one = engine(&database, INSTANCE).await;
    let stopped = CancellationToken::new();
    stopped.cancel();
    assert_eq!(one.take_over(&stopped).await.unwrap(), Former::Stopped { rows: 0 });

    // Killed when some are there; new entries come in meanwhile.
    let killed = tokio::spawn({
        let one = one.clone();
        async move { one.take_over(&CancellationToken::new()).await }
    });
    let dynamic: Arc<dyn LogEngine> = Arc::new(one.clone());
    let mut script = Script::begin(&dynamic, "default", 0).await;
    let some_there = async {
        loop {
            let partitions = one.partitions().await.unwrap();
            if partitions.iter().any(|p| p.id.instance == Instance::FORMER && p.contents.rows > 0) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), some_there).await.expect("rows arrive");
    killed.abort();
    assert!(killed.await.is_err(), "it was killed before its end");
    script.write(some(3)).await;

    assert_eq!(complete(&one).await, Former::Complete { rows: 100_000 });
    assert_eq!(complete(&one).await, Former::Complete { rows: 100_000 }, "a second time, nothing is done");

    let mut chain = Chain::from(Head::GENESIS);
    let mut read = Vec::new();
    for partition in one.partitions().await.unwrap().iter().filter(|p| p.id.instance == Instance::FORMER) {
        assert_eq!(partition.before, chain.head());
        let entries = all_rows(&dynamic, partition.id).await;
        assert_eq!(entries.len() as u32, partition.contents.rows);
        for entry in &entries {
            assert_eq!(chain.push(entry.id, &entry.body).short(), entry.digest);
        }
        assert_eq!(partition.seal.unwrap().head, chain.head());
        let counted: u64 = partition.contents.services.values().flatten().sum();
        assert_eq!(counted, entries.len() as u64);
        read.extend(entries);
    }
    let expected: Vec<EntryId> = (1..=100_000).map(|i| EntryId(1_000_000 + i * 2 - i % 2)).collect();
    assert_eq!(read.iter().map(|e| e.id).collect::<Vec<_>>(), expected);
    let body = &read[4].body;
    assert_eq!(
        (body.service.as_str(), body.message.as_str(), body.level),
        ("codex", "line 5", Level::Warning)
    );
    // 2025-03-01 00:00:06.25 UTC
    assert_eq!((body.at, body.source, body.process), (1_740_787_206_250_000_000, Source::Former, Some(5)));
    assert_eq!(body.context.as_deref(), Some(r#"{"n": 5, "ok": true}"#));
    let loud = &read[5].body;
    assert_eq!(
        (loud.level, loud.flags, loud.trace.as_deref()),
        (Level::Info, flag::REPAIRED, Some("trace-6"))
    );
    assert!(loud.context.as_deref().unwrap().contains("LOUD"));
    assert_eq!(one.get(EntryId(1_000_001)).await.unwrap().unwrap().body.message, "line 1");

    let mut connection = database.connection().await;
    let kept: (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM log_entries_python), (SELECT count(*) FROM service_status_python),
                (SELECT count(*) FROM service_metrics_python), (SELECT count(*) FROM log_entries)",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(kept, (100_000, 1, 2, 100_003));
}

/// What an older helmd's retention did: the first partition was old, and went while the next one was being filled.
#[tokio::test]
async fn it_ends_though_retention_took_the_oldest_rows_meanwhile() {
    let rows = "INSERT INTO log_entries (id, timestamp, service_name, level, message) SELECT i << 19, now(), 'core', 'INFO', 'line ' || i FROM generate_series(1::bigint, 6) i";
    let database = python(rows).await;
    let engine = engine(&database, INSTANCE).await;
    assert_eq!(complete(&engine).await, Former::Complete { rows: 6 });
    let first = PartitionId { instance: Instance::FORMER, number: 0 };
    engine.remove(first, &Class::default_class()).await.unwrap();
    let mut connection = database.connection().await;
    execute(&mut connection, "DELETE FROM former").await;
    assert_eq!(complete(&engine).await, Former::Complete { rows: 5 });

    // A row that is missing among those that are here is still noticed.
    execute(&mut connection, "DELETE FROM former; ALTER TABLE log_entries_python DISABLE TRIGGER ALL").await;
    execute(&mut connection, "INSERT INTO log_entries_python (id, timestamp, service_name, level, message) VALUES ((2 << 19) + 1, now(), 'core', 'INFO', 'late')").await;
    let words = taken(&engine).await.unwrap_err().to_string();
    assert!(words.contains("6 rows, 5 were taken over"), "{words}");
}

#[tokio::test]
async fn an_empty_table_and_none_at_all() {
    let database = python("").await;
    assert_eq!(complete(&engine(&database, INSTANCE).await).await, Former::Complete { rows: 0 });
    assert_eq!(complete(&engine(&fresh().await, INSTANCE).await).await, Former::None);
}

#[tokio::test]
async fn with_two_roles_too() {
    let rows = "INSERT INTO log_entries (timestamp, service_name, level, message) SELECT now(), 'core', 'INFO', 'line ' || i FROM generate_series(1, 50) i";
    let database = python(rows).await;
    helm_store::postgres::harden(&database.options_as("postgres"), &database.user).await.unwrap();
    assert_eq!(complete(&engine(&database, INSTANCE).await).await, Former::Complete { rows: 50 });
}
