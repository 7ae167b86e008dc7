//! Files that turn bad while the store is open: told, moved aside, and gone on without.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use helm_store::engine::{EngineError, LogEngine, Scan};
use helm_store::history::{EventFilter, EventRow, HistoryEngine};
use helm_store::partition::Seal;
use helm_store::query::{Filter, Order};
use helm_store::sqlite::SqliteEngine;

use crate::conformance::INSTANCE;
use crate::conformance::script::{Script, all_rows, ids, partition, some};

async fn open(dir: &Path) -> (Arc<SqliteEngine>, Arc<dyn LogEngine>) {
    let engine = Arc::new(SqliteEngine::open(dir, INSTANCE).await.unwrap());
    (engine.clone(), engine)
}

/// What lies where the database was, and what SQLite keeps beside it.
fn spoil(path: &Path) {
    for suffix in ["", "-wal"] {
        let file = format!("{}{suffix}", path.display());
        if let Ok(there) = fs::metadata(&file) {
            fs::write(&file, vec![b'x'; usize::try_from(there.len()).unwrap()]).unwrap();
        }
    }
}

fn aside(dir: &Path) -> usize {
    let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".db.damaged-")).count()
}

#[tokio::test]
async fn an_open_partition_that_turns_bad_is_told_and_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (store, engine) = open(dir.path()).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let kept = script.write(some(5)).await;
    let closed = script.open.id;
    script.roll(1).await;
    script.write(some(4)).await;
    spoil(&dir.path().join("log/00000001-default.db"));
    // A reader that comes now sees it first.
    let everything = Scan {
        partition: script.open.id,
        filter: Filter::default(),
        order: Order::Newest,
        after: None,
        limit: 10,
        rows: None,
    };
    let error = engine.scan(&everything).await.unwrap_err();
    assert!(matches!(error, EngineError::Damaged(_)), "{error}");
    assert!(store.damaged().await.contains("00000001-default.db"));

    // Whoever still holds the old opening keeps nobody from the new one.
    store.let_go();
    let (again, engine) = open(dir.path()).await;
    assert!(again.lost()[0].contains(".damaged-"), "{:?}", again.lost());
    assert_eq!(aside(&dir.path().join("log")), 1, "nothing is deleted");
    assert_eq!(ids(&all_rows(&engine, closed).await), ids(&kept));
    let state = engine.classes().await.unwrap();
    assert_eq!(state[0].open.unwrap().number, 2, "no number is given twice");
    // The next opening finds all well.
    again.let_go();
    let (last, _) = open(dir.path()).await;
    assert_eq!((last.lost().len(), last.notes().len()), (0, 0), "{:?}{:?}", last.lost(), last.notes());
}

#[tokio::test]
async fn whoever_meets_the_damage_first_tells_of_it() {
    for rolls in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (_, engine) = open(dir.path()).await;
        let mut script = Script::begin(&engine, "default", 0).await;
        script.write(some(5)).await;
        engine.close().await.unwrap();
        let (store, engine) = open(dir.path()).await;
        spoil(&dir.path().join("log/00000000-default.db"));
        let error = if rolls {
            let next = partition(&engine, "default", 1, script.head);
            let seal = Seal { closed: next.opened, head: script.head };
            engine.open_partition(&next, Some((script.open.id, seal))).await.unwrap_err()
        } else {
            engine.try_out(&script.plan(some(1))).await.unwrap_err()
        };
        assert!(matches!(error, EngineError::Damaged(_)), "{error}");
        let told = tokio::time::timeout(Duration::from_secs(30), store.damaged()).await;
        assert!(told.is_ok_and(|why| why.contains("00000000-default.db")), "rolls: {rolls}");
    }
}

#[tokio::test]
async fn a_main_database_that_turns_bad_is_told_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, engine) = open(dir.path()).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    script.write(some(5)).await;
    let event = EventRow { id: 1, at: 1, service: "core".into(), kind: "state".into(), body: "{}".into() };
    store.put_events(&[event]).await.unwrap();
    spoil(&dir.path().join("main.db"));
    let filter = EventFilter { limit: 10, ..EventFilter::default() };
    let error = store.events(&filter).await.unwrap_err();
    assert!(matches!(error, EngineError::Damaged(_)), "{error}");
    assert!(store.damaged().await.contains("main.db"));
    store.let_go();
    let (again, engine) = open(dir.path()).await;
    assert_eq!((again.lost().len(), aside(dir.path())), (1, 1));
    assert_eq!(engine.instance(), INSTANCE, "the log knows its number");
    assert_eq!(again.events(&filter).await.unwrap(), []);
    assert_eq!(all_rows(&engine, script.open.id).await.len(), 5);
}

#[tokio::test]
async fn a_mark_on_a_sound_file_goes_away_and_the_file_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (store, engine) = open(dir.path()).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    script.write(some(5)).await;
    store.let_go();
    let mark = dir.path().join("log/00000000-default.db.suspect");
    fs::write(&mark, "").unwrap();
    let (again, engine) = open(dir.path()).await;
    assert_eq!((again.lost().len(), mark.exists()), (0, false));
    assert_eq!(all_rows(&engine, script.open.id).await.len(), 5);
}
