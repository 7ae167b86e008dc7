//! What only files can do: be locked, be damaged, be half made, be opened by others.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use helm_store::engine::{EngineError, LogEngine};
use helm_store::entry::{Level, NewEntry};
use helm_store::id::PartitionId;
use helm_store::sqlite::SqliteEngine;
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use crate::conformance::INSTANCE;
use crate::conformance::script::{START, Script, all_rows, entry, ids, on_record, partition, some};

async fn open(dir: &Path) -> (Arc<dyn LogEngine>, Vec<String>) {
    let engine = SqliteEngine::open(dir, INSTANCE).await.unwrap();
    let notes = [engine.lost(), engine.notes()].concat();
    (Arc::new(engine), notes)
}

fn segment(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("log/{number:08}-default.db"))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Opens a segment as anybody could who may write the file.
async fn by_hand(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(path.to_str().unwrap()).await.unwrap()
}

#[tokio::test]
async fn entries_refuse_to_be_changed_even_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = open(dir.path()).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let written = script.write(some(3)).await;
    let file = segment(dir.path(), 0);
    let mut connection = by_hand(&file).await;
    let attempts = [
        "UPDATE entry SET message = 'x'",
        "UPDATE entry SET message = 'x' WHERE row = 1",
        "DELETE FROM entry",
        "DELETE FROM entry WHERE row = 1",
        "REPLACE INTO entry SELECT * FROM entry WHERE row = 1",
        "INSERT INTO entry SELECT * FROM entry WHERE row = 1 ON CONFLICT DO UPDATE SET message = 'x'",
        "UPDATE service SET name = 'x'",
        "DELETE FROM service",
    ];
    for attempt in attempts {
        let refused = connection.execute(attempt).await.unwrap_err().to_string();
        assert!(
            refused.contains("log are not") || refused.contains("log entries are not"),
            "{attempt}: {refused}"
        );
    }
    // SQLite's own shell, where there is one.
    if Command::new("sqlite3").arg("--version").output().is_ok() {
        let said = Command::new("sqlite3").arg(&file).arg("DELETE FROM entry").output().unwrap();
        assert!(!said.status.success());
        assert!(String::from_utf8_lossy(&said.stderr).contains("log entries are not deleted"));
    }
    assert_eq!(all_rows(&engine, script.open.id).await, written);
}

#[tokio::test]
async fn whoever_looks_finds_the_columns_of_the_python_helm() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = open(dir.path()).await;
    let mut script = Script::begin(&engine, "default", 5).await;
    let context = r#"{"b": 1,  "a":2}"#;
    let first = NewEntry {
        at: START + 123_456_789,
        trace: Some("t".into()),
        user: Some("u".into()),
        hostname: Some("h".into()),
        process: Some(42),
        context: Some(context.into()),
        ..entry("core", 0, Level::Warning, "hello")
    };
    let written = script.write(vec![first, NewEntry { at: -1, ..entry("nexus", 0, Level::Info, "") }]).await;
    let mut connection = by_hand(&segment(dir.path(), 5)).await;
    type Row = (
        i64,
        String,
        String,
        String,
        String,
        Option<String>,
        Option<String>,
        Option<String>,
        Option<String>,
        Option<i64>,
    );
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, timestamp, service_name, level, message, context, trace_id, user_id, hostname, process_id \
         FROM log_entries ORDER BY id",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let text = |text: &str| text.to_owned();
    let some = |text: &str| Some(text.to_owned());
    let one = (
        written[0].id.0,
        text("2023-11-14T22:13:20.123456"),
        text("core"),
        text("WARNING"),
        text("hello"),
        some(context),
        some("t"),
        some("u"),
        some("h"),
        Some(42),
    );
    let two = (
        written[1].id.0,
        text("1969-12-31T23:59:59.999999"),
        text("nexus"),
        text("INFO"),
        text(""),
        None,
        None,
        None,
        None,
        None,
    );
    assert_eq!(rows, [one, two]);
}

#[tokio::test]
async fn a_second_helmd_is_told_who_has_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = open(dir.path()).await;
    let refused = SqliteEngine::open(dir.path(), INSTANCE).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
    drop(engine);
    open(dir.path()).await;
}

#[tokio::test]
async fn files_are_their_owners_and_finished_ones_nobodys_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("store");
    let (engine, _) = open(&home).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    script.write(some(3)).await;
    assert_eq!((mode(&home), mode(&home.join("log"))), (0o700, 0o700));
    assert_eq!((mode(&home.join("main.db")), mode(&segment(&home, 0))), (0o600, 0o600));
    let sealed = script.roll(1).await;
    engine.finish(sealed.id).await.unwrap();
    assert_eq!((mode(&segment(&home, 0)), mode(&segment(&home, 1))), (0o440, 0o600));
    let left: Vec<_> = fs::read_dir(home.join("log"))
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("00000000"))
        .collect();
    assert_eq!(left, ["00000000-default.db"], "a finished partition is one file");
}

#[tokio::test]
async fn a_partition_whose_table_was_dropped_is_moved_aside_and_its_class_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = open(dir.path()).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    script.write(some(3)).await;
    drop((engine, script));
    let mut connection = by_hand(&segment(dir.path(), 0)).await;
    connection.execute("DROP TABLE entry").await.unwrap();
    connection.close().await.unwrap();
    let (engine, notes) = open(dir.path()).await;
    assert!(notes.join(" ").contains("moved to"), "{notes:?}");
    assert_eq!(engine.partitions().await.unwrap().len(), 1, "a fresh one");
}

#[tokio::test]
async fn room_is_held_back_and_given_up_until_something_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = open(dir.path()).await;
    let reserve = dir.path().join("reserve");
    let held = || fs::metadata(&reserve).map_or(0, |file| file.len());
    assert!(held() >= 16 << 20, "the disk of these tests has plenty");
    let mut script = Script::begin(&engine, "default", 0).await;
    script.write(some(3)).await;
    let sealed = script.roll(1).await;
    engine.make_room().await.unwrap();
    engine.make_room().await.unwrap();
    assert_eq!(held(), 0);
    engine.remove(sealed.id, &sealed.class).await.unwrap();
    assert!(held() >= 16 << 20);
}

#[tokio::test]
async fn a_store_keeps_its_number() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).await);
    let engine = SqliteEngine::open(dir.path(), helm_store::id::Instance(9)).await.unwrap();
    assert_eq!(engine.instance(), INSTANCE);
    let mut other =
        partition(&(Arc::new(engine) as Arc<dyn LogEngine>), "default", 0, helm_store::chain::Head::GENESIS);
    other.id.instance = helm_store::id::Instance(9);
    let (engine, _) = open(dir.path()).await;
    engine.open_partition(&other, None).await.unwrap_err();
}

#[tokio::test]
async fn a_newer_store_is_refused_and_left_as_it_is() {
    for file in ["main.db", "log/00000000-default.db"] {
        let dir = tempfile::tempdir().unwrap();
        let (engine, _) = open(dir.path()).await;
        let mut script = Script::begin(&engine, "default", 0).await;
        script.write(some(3)).await;
        drop((engine, script));
        let mut connection = by_hand(&dir.path().join(file)).await;
        connection.execute("PRAGMA user_version = 99").await.unwrap();
        connection.close().await.unwrap();
        let refused = SqliteEngine::open(dir.path(), INSTANCE).await.unwrap_err();
        assert!(matches!(refused, EngineError::Newer { has: 99, .. }), "{file}: {refused}");
        assert!(dir.path().join(file).exists());
    }
}

/// A crash after the new file got its name, before the old one was sealed.
#[tokio::test]
async fn a_partition_that_a_crash_left_open_is_sealed_at_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = open(dir.path()).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let written = script.write(some(30)).await;
    drop(engine);
    let Script { open: former, number, head, engine } = script;
    drop(engine);
    let (engine, _) = open(dir.path()).await;
    // As it was before the seal.
    let old = segment(dir.path(), 0);
    let kept = tempfile::tempdir().unwrap();
    let copy = kept.path().join("old.db");
    let mut connection = by_hand(&old).await;
    let into = format!("VACUUM INTO '{}'", copy.display());
    connection.execute(sqlx::AssertSqlSafe(into)).await.unwrap();
    connection.close().await.unwrap();
    let mut script = Script { engine: engine.clone(), open: former, number, head };
    let sealed = script.roll(1).await;
    let later = script.write(some(2)).await;
    drop(engine);
    let Script { open: newest, engine, .. } = script;
    drop(engine);
    for suffix in ["", "-wal", "-shm"] {
        let _may_be_gone = fs::remove_file(format!("{}{suffix}", old.display()));
    }
    fs::copy(&copy, &old).unwrap();
    // And half of a third one.
    fs::write(dir.path().join("log/.new-00000002-default.db"), b"half").unwrap();

    let (engine, notes) = open(dir.path()).await;
    assert_eq!(on_record(&engine).await, [sealed.clone(), newest.clone()]);
    assert!(notes.len() == 1 && notes[0].contains("was sealed"), "{notes:?}");
    assert_eq!(all_rows(&engine, sealed.id).await, written);
    assert_eq!(all_rows(&engine, newest.id).await, later);
    assert!(!dir.path().join("log/.new-00000002-default.db").exists());
    drop(engine);
    let (_, notes) = open(dir.path()).await;
    assert!(notes.is_empty(), "{notes:?}");
}

#[tokio::test]
async fn a_damaged_open_partition_is_moved_aside_and_its_class_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = open(dir.path()).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let kept = script.write(some(5)).await;
    let sealed = script.roll(1).await;
    script.write(some(50)).await;
    let mut audit = Script::begin(&engine, "audit", 2).await;
    let audited = audit.write(some(4)).await;
    drop((engine, script));
    let Script { engine, .. } = audit;
    drop(engine);
    for suffix in ["-wal", "-shm"] {
        let _may_be_gone = fs::remove_file(format!("{}{suffix}", segment(dir.path(), 1).display()));
    }
    fs::write(segment(dir.path(), 1), b"this was a database once".repeat(1000)).unwrap();

    let (engine, notes) = open(dir.path()).await;
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].contains(".damaged-") && notes[0].contains("nothing of it deleted"), "{notes:?}");
    let aside = fs::read_dir(dir.path().join("log"))
        .unwrap()
        .map(|f| f.unwrap().path())
        .find(|p| p.display().to_string().contains(".damaged-"))
        .unwrap();
    assert!(fs::read(aside).unwrap().starts_with(b"this was a database once"));

    // It goes on where the former one ended, under a number that was never given.
    let classes = engine.classes().await.unwrap();
    let state = classes.iter().find(|c| c.class.0 == "default").unwrap();
    let fresh = PartitionId { instance: INSTANCE, number: 3 };
    assert_eq!((state.open, state.number, state.head), (Some(fresh), 1, sealed.seal.unwrap().head));
    let record = on_record(&engine).await;
    assert_eq!(record.iter().map(|p| p.id.number).collect::<Vec<_>>(), [0, 2, 3]);
    let mut script = Script { engine: engine.clone(), open: record[2].clone(), number: 1, head: state.head };
    let more = script.write(some(6)).await;
    assert_eq!(ids(&all_rows(&engine, fresh).await), ids(&more));
    assert_eq!(all_rows(&engine, sealed.id).await, kept);
    assert_eq!(all_rows(&engine, PartitionId { instance: INSTANCE, number: 2 }).await, audited);
    drop((engine, script));
    let (_, notes) = open(dir.path()).await;
    assert!(notes.is_empty(), "{notes:?}");
}

#[tokio::test]
async fn a_damaged_main_database_keeps_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = open(dir.path()).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let written = script.write(some(5)).await;
    drop(engine);
    let Script { engine, .. } = script;
    drop(engine);
    for suffix in ["-wal", "-shm"] {
        let _may_be_gone = fs::remove_file(dir.path().join(format!("main.db{suffix}")));
    }
    fs::write(dir.path().join("main.db"), b"x".repeat(9000)).unwrap();
    // The number that is drawn for what seems a new store is another: the log knows the old one.
    let engine = SqliteEngine::open(dir.path(), helm_store::id::Instance(9)).await.unwrap();
    assert_eq!((engine.instance(), engine.lost().len()), (INSTANCE, 1));
    let engine: Arc<dyn LogEngine> = Arc::new(engine);
    let first = PartitionId { instance: INSTANCE, number: 0 };
    assert_eq!(all_rows(&engine, first).await, written);
}

/// What a caller gives up half-way is either done or not, and what is known of the partition is true either way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_given_up_leave_nothing_half_done() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = open(dir.path()).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let mut number = 0;
    for round in 0..12 {
        let commit =
            script.plan((0..500).map(|i| entry(&format!("s{round}"), i, Level::Info, "x")).collect());
        {
            // Polled a few times, then dropped: somewhere in the transaction.
            let mut call = engine.commit(&commit);
            for _ in 0..round {
                let once = std::future::poll_fn(|cx| {
                    let polled = call.as_mut().poll(cx);
                    std::task::Poll::Ready(polled.is_ready())
                });
                if once.await {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        match engine.commit(&commit).await {
            Ok(()) | Err(EngineError::NotNext { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        (script.number, script.head, script.open.contents) = (commit.number, commit.head, commit.contents);
        assert_eq!(on_record(&engine).await.last().unwrap().contents, script.open.contents, "round {round}");

        number += 1;
        let seal = helm_store::partition::Seal { closed: START, head: script.head };
        let next = partition(&engine, "default", number, script.head);
        {
            let mut call = engine.open_partition(&next, Some((script.open.id, seal)));
            for _ in 0..round * 3 {
                let once = std::future::poll_fn(|cx| {
                    let polled = call.as_mut().poll(cx);
                    std::task::Poll::Ready(polled.is_ready())
                });
                if once.await {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        engine.open_partition(&next, Some((script.open.id, seal))).await.unwrap();
        let record = on_record(&engine).await;
        assert_eq!(record.len(), number as usize + 1);
        assert!(record[..number as usize].iter().all(|p| p.seal.is_some()), "round {round}");
        script.open = next;
    }
}

#[tokio::test]
async fn copies_of_partitions_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = open(dir.path()).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let mut written = script.write(some(3)).await;
    drop(engine);
    let Script { open: partition, number, head, engine } = script;
    drop(engine);
    let file = segment(dir.path(), 0);
    let copies =
        ["00000000-default.old.db", "00000000-default-copy.db", "00000007-default.db", "00000000 copy.db"];
    let copies: Vec<PathBuf> = copies.iter().map(|name| file.with_file_name(name)).collect();
    for copy in &copies {
        fs::copy(&file, copy).unwrap();
    }
    let before: Vec<Vec<u8>> = copies.iter().map(|copy| fs::read(copy).unwrap()).collect();

    let (engine, notes) = open(dir.path()).await;
    assert_eq!(notes.iter().filter(|note| note.contains("left alone")).count(), 3, "{notes:?}");
    let mut script = Script { engine: engine.clone(), open: partition, number, head };
    written.extend(script.write(some(2)).await);
    assert_eq!(all_rows(&engine, script.open.id).await, written);
    assert_eq!(engine.partitions().await.unwrap().len(), 1);
    let after: Vec<Vec<u8>> = copies.iter().map(|copy| fs::read(copy).unwrap()).collect();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_partition_that_was_begun_in_vain_is_begun_anew() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // What a call leaves that failed after it had given the file its name.
    let (elsewhere, _) = open(other.path()).await;
    let mut twin = Script::begin(&elsewhere, "default", 0).await;
    twin.write(some(2)).await;
    twin.roll_at(1, START + 5).await;
    drop((elsewhere, twin));
    let (engine, _) = open(dir.path()).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    script.write(some(2)).await;
    fs::copy(segment(other.path(), 1), segment(dir.path(), 1)).unwrap();

    script.roll_at(1, START + 9).await;
    let written = script.write(some(1)).await;
    assert_eq!(all_rows(&engine, script.open.id).await, written);
    assert_eq!(engine.partitions().await.unwrap()[1].opened, START + 9);
}

/// A log that is written without pause is never wholly moved beside the commits, and one that is not begins anew nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_stays_short_while_commits_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = open(dir.path()).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let log = segment(dir.path(), 0).with_extension("db-wal");
    let (mut written, mut longest) = (0, 0);
    while written < 96 << 20 {
        let long = "x".repeat(4000);
        let entries = (0..500).map(|i| entry("core", i, Level::Info, &long)).collect();
        written += script.write(entries).await.iter().map(|entry| entry.body.weight()).sum::<usize>();
        longest = longest.max(fs::metadata(&log).unwrap().len());
    }
    // SQLite itself would begin to move it at 64 MiB.
    assert!(longest < 24 << 20, "the write-ahead log grew to {longest} bytes");
}
