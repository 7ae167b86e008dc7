//! From one engine into another: as it was, however often it is interrupted.

use std::collections::BTreeMap;

use helm_store::commit::Position;
use helm_store::engine::LogEngine;
use helm_store::id::Instance;
use helm_store::metrics::engine::{Batch, MetricEngine, SeriesKey};
use helm_store::sqlite::SqliteEngine;
use helm_store::transfer::{Brought, TransferError, history, numbers, transfer};
use helm_store::verify::{Options, verify};
use helm_store::writer::Append;

use crate::support::{Fault, Memory, Running, class, line, options};

/// Two classes that take turns, with a cursor.
async fn filled() -> std::sync::Arc<Memory> {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(4));
    for n in 0..23 {
        let append = Append {
            class: class(if n % 3 == 0 { "audit" } else { "default" }),
            entries: vec![line(&n.to_string())],
            cursors: vec![("core.out".into(), Position { segment: 1, offset: n })],
            once: None,
            queue: None,
        };
        writer.handle.append(append).await.unwrap();
    }
    writer.end().await;
    engine
}

async fn same(from: &Memory, to: &std::sync::Arc<Memory>) {
    assert_eq!(from.all(), to.all());
    let (had, has) = (from.partitions().await.unwrap(), to.partitions().await.unwrap());
    let facts = |all: &[helm_store::partition::Partition]| -> Vec<_> {
        all.iter().map(|p| (p.id, p.class.clone(), p.opened, p.before, p.seal, p.contents.clone())).collect()
    };
    assert_eq!(facts(&had), facts(&has));
    let ends = |all: Vec<helm_store::commit::ClassState>| -> BTreeMap<_, _> {
        all.into_iter().map(|s| (s.class, (s.head, s.arrived, s.open, s.cursors))).collect()
    };
    assert_eq!(ends(from.classes().await.unwrap()), ends(to.classes().await.unwrap()));
    assert_eq!(from.with(|w| counts(w)), to.with(|w| counts(w)));
    assert_eq!(verify(to.clone(), Options::default()).await.unwrap().faults, []);
}

fn counts(world: &crate::support::World) -> Vec<BTreeMap<(i64, String, helm_store::entry::Level), u64>> {
    world.partitions.values().map(|stored| stored.counts.clone()).collect()
}

#[tokio::test]
async fn everything_comes_over_as_it_was_and_the_writer_goes_on() {
    let (from, to) = (filled().await, Memory::new());
    let mut last = None;
    let done = transfer(&*from, &*to, |progress| last = Some(progress)).await.unwrap();
    assert_eq!((done.entries, done.partitions, last), (23, done.of, Some(done)));
    same(&from, &to).await;
    let writer = Running::start(&to, options(4));
    let cursor = writer.handle.cursor("core.out").await.unwrap();
    assert_eq!(cursor, Some(Position { segment: 1, offset: 22 }));
    writer.keep(vec![line("after")]).await;
    writer.end().await;
    assert_eq!(verify(to.clone(), Options::default()).await.unwrap().faults, []);
    // What went on by itself is not written over.
    let refused = transfer(&*from, &*to, |_| ()).await.unwrap_err();
    assert!(matches!(refused, TransferError::Differs(_)), "{refused}");
}

#[tokio::test]
async fn whatever_call_fails_the_next_run_goes_on() {
    let from = filled().await;
    for at in 0..40 {
        for fault in [Fault::AwayBefore, Fault::AwayAfter] {
            let to = Memory::new();
            let mut faults = vec![Fault::None; at];
            faults.push(fault);
            to.fail(&faults);
            // Beyond the last call nothing fails.
            let _ = transfer(&*from, &*to, |_| ()).await;
            to.with(|world| world.faults.clear());
            transfer(&*from, &*to, |_| ()).await.unwrap();
            same(&from, &to).await;
        }
    }
}

#[tokio::test]
async fn an_altered_source_is_refused() {
    let (from, to) = (filled().await, Memory::new());
    from.with(|world| {
        let stored = world.partitions.values_mut().nth(1).unwrap();
        stored.rows[1].body.message = "altered".into();
    });
    let refused = transfer(&*from, &*to, |_| ()).await.unwrap_err();
    assert!(matches!(refused, TransferError::Chain { place: "in the source", .. }), "{refused}");
}

#[tokio::test]
async fn a_source_whose_numbers_were_put_aside_already_brings_none() {
    let (had, has) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let from = SqliteEngine::open(had.path(), Instance(7)).await.unwrap();
    let to = SqliteEngine::open(has.path(), Instance(7)).await.unwrap();
    let key = SeriesKey { service: "core".into(), metric: "cpu".into(), tags: BTreeMap::new() };
    to.put(&Batch { series: vec![(1, key.clone())], ..Batch::default() }).await.unwrap();
    assert_eq!(numbers(&from, &to).await.unwrap(), Brought::default());
    assert_eq!(history(&from, &to).await.unwrap(), 0);
    assert_eq!(to.series().await.unwrap(), [(1, key)]);
}
