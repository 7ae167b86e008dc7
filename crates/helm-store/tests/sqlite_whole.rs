//! Writer, reader, proof and retention over SQLite: what the tests over memory show holds in files too.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, too")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use helm_store::commit::Once;
use helm_store::engine::LogEngine;
use helm_store::entry::{Entry, Level, NewEntry, Source, flag};
use helm_store::id::Instance;
use helm_store::partition::Class;
use helm_store::query::{Cursor, Filter, Levels, Order, Page, Text, TextKind};
use helm_store::reader::Reader;
use helm_store::reader::matcher::Matcher;
use helm_store::retention::{Disk, Policies, Policy, carry_out, decide};
use helm_store::sqlite::SqliteEngine;
use helm_store::verify::{Options, verify};
use helm_store::writer::{Append, Writer, WriterHandle, WriterOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const MINUTE: i64 = 60 * 1_000_000_000;
const T0: i64 = 28_333_333 * MINUTE;

fn entry(n: i64) -> NewEntry {
    // Every tenth comes late, every thirteenth is a twin.
    let late = if n % 10 == 0 { 3 * MINUTE } else { 0 };
    NewEntry {
        // One service has nothing but twins.
        service: if n % 13 == 0 {
            "echo"
        } else {
            ["core", "nexus", "codex"][usize::try_from(n % 3).unwrap()]
        }
        .into(),
        at: T0 + n * MINUTE / 7 - late,
        seen: T0 + n * MINUTE / 7,
        level: Level::ALL[usize::try_from(n % 5).unwrap()],
        source: Source::Captured,
        stream: 1,
        flags: if n % 13 == 0 { flag::TWIN } else { 0 },
        message: format!("Request {n} answered{}", if n % 17 == 0 { " slowly" } else { "" }),
        plain: None,
        context: None,
        trace: (n % 19 == 0).then(|| format!("trace-{}", n % 38)),
        user: (n % 7 == 0).then(|| "ann".to_owned()),
        hostname: None,
        process: None,
    }
}

struct Store {
    engine: Arc<SqliteEngine>,
    handle: WriterHandle,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Store {
    async fn open(home: &Path) -> Self {
        Self::over(Arc::new(SqliteEngine::open(home, Instance(5)).await.unwrap())).await
    }

    async fn over(engine: Arc<SqliteEngine>) -> Self {
        let mut options = WriterOptions::new(|| T0);
        options.roll.rows = 150;
        let stop = CancellationToken::new();
        let (handle, work) = Writer::start(engine.clone(), options, stop.clone());
        let task = tokio::spawn(work);
        assert!(handle.cursor("none").await.unwrap().is_none());
        Self { engine, handle, stop, task }
    }

    async fn close(self) {
        self.stop.cancel();
        self.task.await.unwrap();
        self.engine.close().await.unwrap();
    }

    fn reader(&self) -> Reader {
        Reader::new(self.engine.clone(), self.handle.live().clone())
    }
}

async fn all(engine: &dyn LogEngine) -> Vec<Entry> {
    let mut all = Vec::new();
    for partition in engine.partitions().await.unwrap() {
        let mut rows = engine.rows(partition.id, 0);
        while let Some(piece) = rows.recv().await {
            all.extend(piece.unwrap());
        }
    }
    all
}

fn filters() -> Vec<Filter> {
    let text = |pattern: &str, kind, not| Text { pattern: pattern.into(), kind, case: false, not };
    let base = Filter::default;
    vec![
        base(),
        Filter { twins: true, ..base() },
        Filter { services: vec!["nexus".into()], levels: Some(Levels::AtLeast(Level::Error)), ..base() },
        Filter { since: Some(T0 + 20 * MINUTE + 7), until: Some(T0 + 61 * MINUTE), ..base() },
        Filter { trace: Some("trace-19".into()), ..base() },
        Filter { user: Some("ann".into()), services: vec!["core".into()], ..base() },
        Filter { texts: vec![text("SLOWLY", TextKind::Word, false)], ..base() },
        Filter {
            texts: vec![
                text(r"request \d1 ", TextKind::Regex, false),
                text("slow", TextKind::Substring, true),
            ],
            ..base()
        },
    ]
}

async fn check(store: &Store) {
    let reader = store.reader();
    let stored = all(store.engine.as_ref()).await;
    for filter in filters() {
        let matcher = Matcher::new(filter.clone()).unwrap();
        let mut wanted: Vec<Entry> = stored.iter().filter(|e| matcher.wants(e)).cloned().collect();
        wanted.sort_by_key(Cursor::of);
        assert!(!wanted.is_empty(), "{filter:?}");
        assert_eq!(reader.total(&filter).await.unwrap().count, wanted.len() as u64, "{filter:?}");
        wanted.reverse();
        let mut page = Page { filter, order: Order::Newest, after: None, limit: 37 };
        let mut got = Vec::new();
        loop {
            let answer = reader.page(&page, Duration::from_secs(60)).await.unwrap();
            got.extend(answer.entries);
            match answer.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        assert_eq!(got, wanted, "{:?}", page.filter);
    }
}

#[tokio::test]
async fn what_is_written_is_read_proved_and_removed() {
    let home = tempfile::tempdir().unwrap();
    let mut store = Store::open(home.path()).await;
    for batch in 0..100 {
        if batch == 60 {
            store.close().await;
            store = Store::open(home.path()).await;
        }
        let entries = (batch * 8..batch * 8 + 8).map(entry).collect();
        let append =
            Append { class: Class::default_class(), entries, cursors: Vec::new(), once: None, queue: None };
        assert!(store.handle.append(append).await.unwrap().refused.is_empty());
    }
    check(&store).await;
    let first = verify(store.engine.clone(), Options::default()).await.unwrap();
    let kept: Vec<_> = first.chains.into_iter().filter_map(|chain| chain.end).collect();
    let options = || Options { anchors: kept.clone(), ..Options::default() };
    let report = verify(store.engine.clone(), options()).await.unwrap();
    assert_eq!((report.faults, report.chains[0].rows), (vec![], 800));
    store.close().await;

    let store = Store::open(home.path()).await;
    check(&store).await;
    let policies =
        Policies { default: Policy { bytes: Some(1), ..Policy::default() }, ..Policies::default() };
    let manifest = store.handle.live().manifest();
    let removals =
        decide(manifest.values().map(|p| &**p), store.engine.instance(), &policies, Disk::default(), T0);
    assert_eq!(removals.len(), manifest.len() - 1);
    let carried = carry_out(store.engine.as_ref(), &store.handle, &removals, T0).await;
    assert!(carried.failed.is_empty(), "{:?}", carried.failed);
    let report = verify(store.engine.clone(), options()).await.unwrap();
    assert_eq!((report.faults, report.chains[0].removed), (vec![], removals.len()));
    store.close().await;
}

/// Repeats each batch under its number until it is acknowledged, as senders and captures do.
async fn insist(handles: watch::Receiver<WriterHandle>, who: usize, batches: u64) {
    for number in 1..=batches {
        let entries =
            (0..3).map(|row| NewEntry { message: format!("{who}/{number}/{row}"), ..entry(1) }).collect();
        let once = Some(Once::Sequence { sender: who.to_string(), number });
        let class = Class(if who == 0 { "audit" } else { "default" }.to_owned());
        let batch = Append { class, entries, cursors: Vec::new(), once, queue: None };
        loop {
            let handle = handles.borrow().clone();
            if handle.append(batch.clone()).await.is_ok() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_killed_at_any_moment_loses_and_doubles_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut store = Store::open(home.path()).await;
    let (handles, watched) = watch::channel(store.handle.clone());
    let mut appenders: Vec<JoinHandle<()>> =
        (0..4).map(|who| tokio::spawn(insist(watched.clone(), who, 60))).collect();
    let mut kills = 0;
    while !appenders.iter().all(JoinHandle::is_finished) {
        // Some commits later, wherever it is then.
        let mut news = store.handle.live().subscribe();
        for _ in 0..kills % 5 + 1 {
            if tokio::time::timeout(Duration::from_millis(200), news.recv()).await.is_err() {
                break;
            }
        }
        store.task.abort();
        let _ = store.task.await;
        kills += 1;
        if kills % 4 == 0 {
            store.engine.close().await.unwrap();
            drop(store.engine);
            store = Store::open(home.path()).await;
        } else {
            store = Store::over(store.engine).await;
        }
        handles.send_replace(store.handle.clone());
    }
    for appender in appenders.drain(..) {
        appender.await.unwrap();
    }
    assert!(kills > 3, "{kills}");
    let stored = all(store.engine.as_ref()).await;
    for who in 0..4 {
        let wanted: Vec<String> =
            (1..=60).flat_map(|n| (0..3).map(move |row| format!("{who}/{n}/{row}"))).collect();
        let prefix = format!("{who}/");
        let kept: Vec<&String> =
            stored.iter().map(|e| &e.body.message).filter(|m| m.starts_with(&prefix)).collect();
        assert_eq!(kept, wanted.iter().collect::<Vec<_>>());
    }
    let report = verify(store.engine.clone(), Options::default()).await.unwrap();
    assert_eq!(report.faults, []);
    store.close().await;
}
