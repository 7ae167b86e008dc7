//! Entries come back as they were given.

use helm_store::chain::{Chain, Head};
use helm_store::entry::{Level, NewEntry, Source, flag};
use helm_store::id::{EntryId, Instance, PartitionId};

use super::script::{Script, all_rows, entry, ids, some};
use super::{Database, INSTANCE};

/// All fields that may be absent, present and odd.
fn full(message: &str) -> NewEntry {
    NewEntry {
        at: i64::MAX,
        seen: i64::MIN,
        source: Source::Sent,
        stream: 2,
        flags: flag::TRUNCATED | flag::REPAIRED | 1 << 31,
        plain: Some("plain".into()),
        context: Some("{ \"z\": 1.0,\t\"a\":\"\\u00e9/\\/\" , \"a\" : null}".into()),
        trace: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        user: Some("ü".into()),
        hostname: Some("host".into()),
        process: Some(i32::MIN),
        ..entry("core", 0, Level::Critical, message)
    }
}

fn shapes() -> Vec<NewEntry> {
    let mut shapes = vec![full("all"), full(""), full("Zażółć 🦀 \u{202e}x\u{301} \u{feff}\u{fffd}")];
    shapes.push(full("tab\t, lines\r\n\n, \u{1b}[31mred\u{1b}[0m, bell \u{7}, quote ' \" \\ %_ $1 ?"));
    shapes.push(full(&"x".repeat(64 << 10)));
    shapes.extend(Level::ALL.map(|level| entry("nexus", -1, level, "level")));
    shapes.extend([Source::Captured, Source::Sent, Source::Helm, Source::Former].map(|source| NewEntry {
        source,
        ..entry("a service, with 'quotes' and ü", 0, Level::Info, "source")
    }));
    let none = NewEntry { at: 0, seen: 0, process: Some(0), ..entry("x", 0, Level::Debug, " ") };
    let empty = Some(String::new());
    shapes.push(NewEntry { plain: empty.clone(), ..none.clone() });
    shapes.push(NewEntry { context: Some("{}".into()), ..none.clone() });
    shapes.push(NewEntry { trace: empty.clone(), ..none.clone() });
    shapes.push(NewEntry { user: empty.clone(), ..none.clone() });
    shapes.push(NewEntry { hostname: empty, ..none.clone() });
    shapes.push(NewEntry { at: i64::MIN, seen: i64::MAX, process: Some(i32::MAX), ..none });
    shapes
}

pub(crate) async fn every_shape_comes_back_to_the_byte(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let written = script.write(shapes()).await;
    let (partition, head) = (script.open.id, script.head);
    assert_eq!(all_rows(&engine, partition).await, written);
    drop((engine, script));

    let engine = database.open(INSTANCE).await;
    let read = all_rows(&engine, partition).await;
    assert_eq!(read, written);
    let mut chain = Chain::from(Head::GENESIS);
    for entry in &read {
        assert_eq!(chain.push(entry.id, &entry.body).short(), entry.digest);
    }
    assert_eq!(chain.head(), head, "the chain can be proved from what is read");
}

pub(crate) async fn entries_are_found_by_id(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let mut written = script.write(shapes()).await;
    script.roll(1).await;
    written.extend(script.write(some(3)).await);
    for entry in &written {
        assert_eq!(engine.get(entry.id).await.unwrap().as_ref(), Some(entry));
    }
    let other = PartitionId { instance: Instance(8), number: 0 };
    for nothing in [EntryId(-1), EntryId(i64::MAX), EntryId(0), other.entry(0), script.open.id.entry(3)] {
        assert_eq!(engine.get(nothing).await.unwrap(), None, "{nothing}");
    }
}

pub(crate) async fn rows_come_in_order_and_in_pieces(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 4).await;
    // Times fall while ids rise.
    let falling = (0..5000).map(|i| entry("core", -i, Level::Info, &format!("line {i}"))).collect();
    let written = script.write(falling).await;
    let mut pieces = engine.rows(script.open.id, 1234);
    let mut read = Vec::new();
    while let Some(piece) = pieces.recv().await {
        let piece = piece.unwrap();
        assert!(!piece.is_empty() && piece.len() <= 2000, "pieces are bounded: {}", piece.len());
        read.extend(piece);
    }
    assert_eq!(ids(&read), ids(&written[1234..]));
    assert_eq!(engine.rows(script.open.id, 5000).recv().await.map(|p| p.unwrap().len()), None);
    let nothing = PartitionId { instance: INSTANCE, number: 99 };
    assert_eq!(engine.rows(nothing, 0).recv().await.map(|p| p.unwrap().len()), None);
}

pub(crate) async fn long_rows_come_in_small_pieces(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let short = entry("core", 0, Level::Info, "short");
    script.write(vec![short; 400]).await;
    let long = entry("core", 0, Level::Info, &"x".repeat(100_000));
    for _ in 0..4 {
        script.write(vec![long.clone(); 50]).await;
    }
    let (mut rows, mut pieces) = (0, engine.rows(script.open.id, 400));
    while let Some(piece) = pieces.recv().await {
        let piece = piece.unwrap();
        rows += piece.len();
        let weight: usize = piece.iter().map(|entry| entry.body.weight()).sum();
        assert!(weight < 5 << 20, "{} entries of {weight} bytes", piece.len());
    }
    assert_eq!(rows, 200);
}

pub(crate) async fn reading_rows_ends_when_nobody_listens(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    script.write(some(5000)).await;
    // More readers than an engine can have connections: each must give its own back.
    for _ in 0..40 {
        let mut pieces = engine.rows(script.open.id, 0);
        assert!(pieces.recv().await.is_some());
    }
    script.write(some(1)).await;
    let sealed = script.roll(1).await;
    engine.finish(sealed.id).await.unwrap();
    engine.remove(sealed.id, &sealed.class).await.unwrap();
}
