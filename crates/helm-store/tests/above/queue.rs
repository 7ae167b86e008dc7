//! The local queue over an engine that is away: what is acknowledged is there once, in order.

use std::path::Path;

use helm_store::commit::Once;
use helm_store::queue::{Lost, Queue, QueueOptions, QueueStatus};
use helm_store::writer::{Append, AppendError, Health};
use sqlx::Connection as _;
use tokio_util::sync::CancellationToken;

use crate::support::{Fault, Memory, Running, T0, append, class, clock, line, options};

/// A queue that runs in the test's runtime.
struct Waiting {
    queue: Queue,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Waiting {
    async fn open(dir: &Path, options: QueueOptions) -> Self {
        let stop = CancellationToken::new();
        let (queue, work) = Queue::open(&dir.join("queue.db"), options, stop.clone()).await.unwrap();
        assert_eq!(queue.status().lost, None);
        Self { queue, stop, task: tokio::spawn(work) }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    async fn keep(&self, append: Append) -> bool {
        let kept = self.queue.keep(append, None).await.unwrap();
        assert!(kept.queued && kept.receipt.refused.is_empty());
        kept.receipt.duplicate
    }

    async fn empty(&self) {
        self.queue.watch().wait_for(|status| status.appends == 0).await.unwrap();
    }
}

fn queue_options() -> QueueOptions {
    QueueOptions { retry: std::time::Duration::from_millis(1), ..QueueOptions::new(clock) }
}

fn numbered(number: u64) -> Append {
    let once = Some(Once::Sequence { sender: "s".into(), number });
    Append { once, ..append(vec![line(&number.to_string())]) }
}

fn messages(engine: &Memory) -> Vec<String> {
    engine.all().into_iter().map(|entry| entry.body.message).collect()
}

async fn drained(waiting: &Waiting, engine: &std::sync::Arc<Memory>) {
    let writer = Running::start(engine, options(100_000));
    tokio::select! {
        why = waiting.queue.drain(&writer.handle) => panic!("{why}"),
        () = waiting.empty() => {}
    }
    writer.end().await;
}

#[tokio::test]
async fn what_waits_comes_in_order_and_once_whatever_fails() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Memory::new();
    let waiting = Waiting::open(dir.path(), queue_options()).await;
    for n in 1..=30 {
        assert!(!waiting.keep(numbered(n)).await);
        assert!(waiting.keep(numbered(n)).await, "a repetition is recognised where it waits");
    }
    waiting.keep(append(vec![line("a"), line("b")])).await;
    let other = Append { class: class("audit"), ..append(vec![line("c")]) };
    waiting.keep(other).await;
    waiting.keep(append(vec![line("d")])).await;
    waiting.end().await;

    // Another process finds it, and knows what it has.
    let waiting = Waiting::open(dir.path(), queue_options()).await;
    assert_eq!(waiting.queue.status().appends, 33);
    assert!(waiting.keep(numbered(7)).await);
    engine.fail(&[Fault::AwayBefore, Fault::None, Fault::AwayAfter, Fault::RefusedAfter, Fault::Refused]);
    drained(&waiting, &engine).await;
    let default: Vec<String> =
        (1..=30).map(|n| n.to_string()).chain(["a", "b", "d"].map(str::to_owned)).collect();
    let (audit, rest): (Vec<String>, Vec<String>) = messages(&engine).into_iter().partition(|m| m == "c");
    assert_eq!((audit.len(), rest), (1, default));
    assert_eq!(waiting.queue.status(), QueueStatus::default());
    waiting.end().await;
}

#[tokio::test]
async fn a_crash_between_the_database_and_the_file_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Memory::new();
    let waiting = Waiting::open(dir.path(), queue_options()).await;
    waiting.keep(append(vec![line("first")])).await;
    drained(&waiting, &engine).await;
    waiting.keep(append(vec![line("a")])).await;
    // The file as it was before the draining: what a crash leaves that comes after the commit.
    let copy = tempfile::tempdir().unwrap();
    for name in ["queue.db", "queue.db-wal"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    drained(&waiting, &engine).await;
    waiting.end().await;
    let waiting = Waiting::open(copy.path(), queue_options()).await;
    assert_eq!(waiting.queue.status().appends, 1);
    waiting.keep(append(vec![line("b")])).await;
    drained(&waiting, &engine).await;
    assert_eq!(messages(&engine), ["first", "a", "b"]);
    waiting.end().await;

    // A new file goes on above the position that the database remembers.
    let fresh = tempfile::tempdir().unwrap();
    let waiting = Waiting::open(fresh.path(), queue_options()).await;
    for n in 0..5 {
        waiting.keep(append(vec![line(&n.to_string())])).await;
    }
    drop(waiting);
    assert!(engine.with(|world| world.classes.values().all(|state| state.queue > 1_600_000_000_000_000)));
}

#[tokio::test]
async fn an_append_whose_answer_is_late_waits_here_and_is_not_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Memory::gated(0);
    let waiting = Waiting::open(dir.path(), queue_options()).await;
    let mut patience = options(100);
    patience.patience = std::time::Duration::from_millis(30);
    let writer = Running::start(&engine, patience);
    writer.handle.health().wait_for(|health| *health == Health::Well).await.unwrap();
    let kept = waiting.queue.keep(numbered(1), Some(&writer.handle)).await.unwrap();
    assert!(kept.queued, "the database did not answer");
    let behind = waiting.queue.keep(append(vec![line("behind")]), Some(&writer.handle)).await.unwrap();
    assert!(behind.queued, "who comes later stays behind");
    engine.gate.add_permits(1_000);
    tokio::select! {
        why = waiting.queue.drain(&writer.handle) => panic!("{why}"),
        () = waiting.empty() => {}
    }
    assert_eq!(messages(&engine), ["1", "behind"]);
    let kept = waiting.queue.keep(append(vec![line("straight")]), Some(&writer.handle)).await.unwrap();
    assert!(!kept.queued && kept.receipt.ids.is_some());
    writer.end().await;
    waiting.end().await;
}

#[tokio::test]
async fn what_there_is_no_room_for_is_refused_at_the_door() {
    let dir = tempfile::tempdir().unwrap();
    let small = QueueOptions { bytes: 4_000, ..queue_options() };
    let waiting = Waiting::open(dir.path(), small).await;
    let mut kept = 0;
    let error = loop {
        match waiting.queue.keep(append(vec![line("x")]), None).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 100);
    };
    assert!(matches!(&error, AppendError::Later { why, .. } if why.contains("full")), "{error}");
    assert!(waiting.queue.status().full.is_some());
    assert_eq!(waiting.queue.status().appends, kept, "nothing that waits is dropped");
    waiting.end().await;

    let week_later = QueueOptions { clock: || T0 + 8 * 86_400 * 1_000_000_000, ..queue_options() };
    let waiting = Waiting::open(dir.path(), week_later).await;
    let error = waiting.queue.keep(append(vec![line("x")]), None).await.unwrap_err();
    assert!(matches!(&error, AppendError::Later { why, .. } if why.contains("7 days")), "{error}");
    let engine = Memory::new();
    drained(&waiting, &engine).await;
    assert_eq!(engine.all().len() as u64, kept);

    let mut bad = line("x");
    bad.message = "NUL \0".into();
    let kept = waiting.queue.keep(append(vec![bad, line("y")]), None).await.unwrap();
    assert_eq!(kept.receipt.refused.first().map(|refusal| refusal.index), Some(0));
    drained(&waiting, &engine).await;
    assert_eq!(messages(&engine).last().unwrap(), "y");
    waiting.end().await;
}

#[tokio::test]
async fn of_two_batches_under_way_neither_is_lost_when_the_later_one_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Memory::new();
    let waiting = Waiting::open(dir.path(), queue_options()).await;
    let writer = Running::start(&engine, options(100));
    writer.handle.append(numbered(2)).await.unwrap();
    writer.end().await;
    // The writer had no time for the first one; it is acknowledged here.
    assert!(!waiting.keep(numbered(1)).await);
    assert!(!waiting.keep(numbered(70)).await);
    assert!(!waiting.keep(numbered(69)).await);
    assert!(waiting.keep(numbered(69)).await);
    let far = waiting.queue.keep(numbered(5), None).await.unwrap_err();
    assert_eq!(far, AppendError::Below { number: 5 });
    drained(&waiting, &engine).await;
    assert_eq!(messages(&engine), ["2", "1", "70", "69"]);
    waiting.end().await;
}

#[tokio::test]
async fn a_new_file_is_brought_over_though_the_database_remembers_a_later_position() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Memory::new();
    let writer = Running::start(&engine, options(100));
    writer.keep(vec![line("before")]).await;
    writer.end().await;
    // The file before was made while the clock was ahead.
    let ahead = 5_000_000_000_000_000;
    engine.with(|world| world.classes.values_mut().for_each(|state| state.queue = ahead));
    let waiting = Waiting::open(dir.path(), queue_options()).await;
    for n in 1..=70 {
        waiting.keep(numbered(n)).await;
    }
    drained(&waiting, &engine).await;
    assert!(engine.with(|world| world.classes.values().all(|state| state.queue > ahead)));
    waiting.keep(append(vec![line("later")])).await;
    drained(&waiting, &engine).await;
    let wanted = (1..=70).map(|n| n.to_string());
    let wanted: Vec<String> =
        ["before".to_owned()].into_iter().chain(wanted).chain(["later".to_owned()]).collect();
    assert_eq!(messages(&engine), wanted);
    waiting.end().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_put_aside_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Memory::new();
    let waiting = Waiting::open(dir.path(), queue_options()).await;
    for n in 1..=3 {
        waiting.keep(numbered(n)).await;
    }
    waiting.end().await;
    let path = dir.path().join("queue.db");
    let mut file = sqlx::SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    let spoil = "UPDATE waiting SET entries = x'00' WHERE n = (SELECT min(n) + 1 FROM waiting)";
    sqlx::raw_sql(spoil).execute(&mut file).await.unwrap();
    file.close().await.unwrap();
    let waiting = Waiting::open(dir.path(), queue_options()).await;
    assert_eq!(waiting.queue.status().bad, 0);
    drained(&waiting, &engine).await;
    assert_eq!(messages(&engine), ["1", "3"]);
    let told = QueueStatus { bad: 1, ..QueueStatus::default() };
    assert_eq!(waiting.queue.status(), told);
    waiting.end().await;
    let waiting = Waiting::open(dir.path(), queue_options()).await;
    assert_eq!(waiting.queue.status(), told, "as long as it is there");
    waiting.end().await;
    let mut file = sqlx::SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    let bad: i64 = sqlx::query_scalar("SELECT count(*) FROM bad").fetch_one(&mut file).await.unwrap();
    assert_eq!(bad, 1);
}

#[tokio::test]
async fn names_of_services_are_bounded_though_the_queue_empties_in_between() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Memory::new();
    let waiting = Waiting::open(dir.path(), queue_options()).await;
    let names = |from: usize| {
        let named = |n| crate::support::entry(&format!("s{n}"), T0, helm_store::entry::Level::Info, "x");
        append((from..from + 1_500).map(named).collect())
    };
    waiting.keep(names(0)).await;
    drained(&waiting, &engine).await;
    let kept = waiting.queue.keep(names(1_500), None).await.unwrap();
    assert_eq!(kept.receipt.refused.len(), 1_000);
    waiting.end().await;
}

#[tokio::test]
async fn a_damaged_file_is_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("queue.db"), vec![7; 8192]).unwrap();
    let stop = CancellationToken::new();
    let (queue, _work) = Queue::open(&dir.path().join("queue.db"), queue_options(), stop).await.unwrap();
    assert!(queue.status().lost.unwrap().words.contains("queue.db.damaged-"));
    let names = std::fs::read_dir(dir.path()).unwrap().flatten();
    assert!(names.into_iter().any(|f| f.file_name().to_string_lossy().contains("damaged")));
}

/// Appends that fill more pages than are kept in memory.
fn large(number: u64) -> Append {
    let mut append = numbered(number);
    append.entries[0].message = format!("{number} {}", "x".repeat(100_000));
    append
}

fn spoil(path: &Path) {
    for suffix in ["", "-wal"] {
        let file = format!("{}{suffix}", path.display());
        if let Ok(there) = std::fs::metadata(&file) {
            std::fs::write(&file, vec![b'x'; usize::try_from(there.len()).unwrap()]).unwrap();
        }
    }
}

fn said(lost: &Lost, words: &[&str]) {
    for words in words {
        assert!(lost.words.contains(words), "{words}: {}", lost.words);
    }
}

#[tokio::test]
async fn a_file_that_turns_bad_in_use_is_left_behind_and_all_that_comes_later_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Memory::new();
    let waiting = Waiting::open(dir.path(), queue_options()).await;
    for n in 1..=30 {
        waiting.keep(large(n)).await;
    }
    spoil(&dir.path().join("queue.db"));
    drained(&waiting, &engine).await;
    let lost = waiting.queue.status().lost.unwrap();
    assert_eq!(lost.times, 1);
    said(&lost, &["queue.db.damaged-", "nothing was deleted", "of 30 appends", ".recover"]);
    let names = std::fs::read_dir(dir.path()).unwrap().flatten().map(|f| f.file_name());
    assert!(names.into_iter().any(|name| name.to_string_lossy().starts_with("queue.db.damaged-")));
    // Nothing waits any more: who comes when the database is back is held up by nobody.
    let writer = Running::start(&engine, options(100));
    writer.handle.health().wait_for(|health| *health == Health::Well).await.unwrap();
    let kept = waiting.queue.keep(numbered(100), Some(&writer.handle)).await.unwrap();
    assert!(!kept.queued);
    writer.end().await;
    // And where it is away again, the fresh file takes what comes.
    assert!(!waiting.keep(numbered(7)).await, "what went with the file is no repetition");
    waiting.keep(numbered(101)).await;
    drained(&waiting, &engine).await;
    assert_eq!(messages(&engine), ["100", "7", "101"]);
    waiting.end().await;
}

#[tokio::test]
async fn a_file_that_is_deleted_in_use_is_missed_by_who_writes_next() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Memory::new();
    let waiting = Waiting::open(dir.path(), queue_options()).await;
    waiting.keep(numbered(1)).await;
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(dir.path().join(format!("queue.db{suffix}"))).unwrap();
    }
    let mut met = 1;
    let found_out = async {
        while waiting.queue.status().lost.is_none() {
            met += 1;
            waiting.keep(numbered(met)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), found_out).await.expect("it looks now and then");
    said(&waiting.queue.status().lost.unwrap(), &["was moved or deleted while it was written"]);
    // Another process finds what came from then on, beginning with what met the damage.
    waiting.keep(numbered(met + 1)).await;
    waiting.end().await;
    let waiting = Waiting::open(dir.path(), queue_options()).await;
    drained(&waiting, &engine).await;
    assert_eq!(messages(&engine), [met.to_string(), (met + 1).to_string()]);
    waiting.end().await;
}

#[tokio::test]
async fn what_is_on_its_way_into_the_file_is_bounded_in_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let patience = std::time::Duration::from_millis(10);
    let tight = QueueOptions { append: 150_000, coming: 150_000, patience, ..queue_options() };
    let stop = CancellationToken::new();
    let (queue, work) = Queue::open(&dir.path().join("queue.db"), tight, stop.clone()).await.unwrap();
    // The disk does nothing: the work does not run yet.
    let mut first = std::pin::pin!(queue.keep(large(1), None));
    tokio::select! {
        biased;
        kept = &mut first => panic!("nobody writes: {kept:?}"),
        () = std::future::ready(()) => {}
    }
    let refused = queue.keep(large(2), None).await.unwrap_err();
    assert!(
        matches!(&refused, AppendError::Later { why, .. } if why.contains("does not keep up")),
        "{refused}"
    );
    let work = tokio::spawn(work);
    assert!(first.await.unwrap().queued);
    assert!(queue.keep(large(2), None).await.unwrap().queued, "there is room again");
    stop.cancel();
    work.await.unwrap();
}
