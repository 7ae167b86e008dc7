//! Retention over an engine that fails: what goes is on record first, and the chain still holds.

use helm_store::query::Filter;
use helm_store::reader::Reader;
use helm_store::retention::{
    Disk, Policies, Policy, Reason, Removal, RetentionError, carry_out, decide, rolls,
};
use helm_store::verify::{Anchor, Kind, Options, verify};
use helm_store::writer::Append;

use crate::support::{Fault, Memory, Running, T0, append, class, line, options};

fn decided(running: &Running, engine: &Memory, bytes: u64) -> Vec<Removal> {
    let policies =
        Policies { default: Policy { bytes: Some(bytes), ..Policy::default() }, ..Policies::default() };
    let manifest = running.handle.live().manifest();
    decide(manifest.values().map(|p| &**p), engine.instance, &policies, Disk::default(), T0)
}

/// Bytes that were given back, or the first fault.
async fn carried(
    engine: &Memory,
    writer: &Running,
    removals: &[Removal],
    now: i64,
) -> Result<u64, RetentionError> {
    let carried = carry_out(engine, &writer.handle, removals, now).await;
    match carried.failed.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(carried.gone.iter().map(|(_, bytes)| bytes).sum()),
    }
}

async fn filled() -> (std::sync::Arc<Memory>, Running) {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(4));
    for n in 0..18 {
        writer.keep(vec![line(&n.to_string())]).await;
    }
    (engine, writer)
}

#[tokio::test]
async fn what_is_removed_is_on_record_and_the_rest_is_proved() {
    let (engine, writer) = filled().await;
    let report = verify(engine.clone(), Options::default()).await.unwrap();
    let kept: Vec<Anchor> = report.chains.into_iter().filter_map(|chain| chain.end).collect();
    for bytes in [3_000, 2_500, 2_000] {
        let removals = decided(&writer, &engine, bytes);
        let given_back = carried(&engine, &writer, &removals, T0).await.unwrap();
        assert_eq!(given_back > 0, !removals.is_empty());
        let report =
            verify(engine.clone(), Options { anchors: kept.clone(), ..Options::default() }).await.unwrap();
        assert_eq!(report.faults, []);
    }
    assert!(engine.with(|w| w.partitions.len()) < 5);
    // Also what was on record in a partition that is gone itself.
    writer.handle.roll(&class("default")).await.unwrap();
    let removals = decided(&writer, &engine, 0);
    carried(&engine, &writer, &removals, T0).await.unwrap();
    let report =
        verify(engine.clone(), Options { anchors: kept.clone(), ..Options::default() }).await.unwrap();
    assert_eq!((report.faults, report.unproved), (vec![], kept));
    let reader = Reader::new(engine.clone(), writer.handle.live().clone());
    let records = removals.len() as u64;
    assert_eq!(reader.total(&Filter::default()).await.unwrap().count, records, "only the records are left");
    writer.end().await;
}

#[tokio::test]
async fn a_crash_between_record_and_removal_is_mended() {
    let (engine, writer) = filled().await;
    let removals = decided(&writer, &engine, 2_500);
    let first = removals[0].partition;
    engine.fail(&[Fault::None, Fault::AwayBefore]);
    let error = carried(&engine, &writer, &removals, T0).await.unwrap_err();
    assert!(matches!(error, RetentionError::Remove { partition, .. } if partition == first), "{error}");
    writer.kill().await;
    let writer = Running::start(&engine, options(4));
    assert!(writer.handle.cursor("x").await.unwrap().is_none());
    let again = decided(&writer, &engine, 2_500);
    assert_eq!(again[0], Removal { partition: first, reason: Reason::Bytes });
    carried(&engine, &writer, &again, T0).await.unwrap();
    let about_first = format!("partition {} of", first.number);
    assert_eq!(engine.all().iter().filter(|e| e.body.message.starts_with(&about_first)).count(), 1);
    assert_eq!(verify(engine.clone(), Options::default()).await.unwrap().faults, []);
    writer.end().await;
}

#[tokio::test]
async fn a_class_whose_partition_stays_does_not_hold_up_another() {
    let (engine, writer) = filled().await;
    for n in 0..10 {
        let entries = vec![line(&n.to_string())];
        writer.handle.append(Append { class: class("audit"), ..append(entries) }).await.unwrap();
    }
    let removals = decided(&writer, &engine, 1);
    let of_class = |name: &str| {
        let manifest = writer.handle.live().manifest();
        removals.iter().filter(|r| manifest[&r.partition].class == class(name)).count()
    };
    let (default, audit) = (of_class("default"), of_class("audit"));
    assert!(default > 1 && audit > 1);
    // The record is written, the partition cannot go.
    engine.fail(&[Fault::None, Fault::Refused]);
    let carried = carry_out(engine.as_ref(), &writer.handle, &removals, T0).await;
    assert_eq!((carried.gone.len(), carried.failed.len()), (audit, 1));
    writer.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_record_nothing_goes() {
    let (engine, writer) = filled().await;
    let removals = decided(&writer, &engine, 1_500);
    engine.with(|world| world.poison = Some(""));
    let error = carried(&engine, &writer, &removals, T0).await.unwrap_err();
    assert!(matches!(error, RetentionError::Record { .. }), "{error}");
    assert_eq!(engine.with(|w| w.partitions.len()), 5);
    engine.with(|world| world.poison = None);
    // And a record alone makes no forgery: one partition more than is on record is found.
    carried(&engine, &writer, &removals[..1], T0).await.unwrap();
    engine.with(|world| world.partitions.remove(&removals[1].partition));
    let report = verify(engine.clone(), Options::default()).await.unwrap();
    assert_eq!(report.faults[0].kind, Kind::MissingBefore);
    writer.end().await;
}

#[tokio::test]
async fn an_old_open_partition_is_closed_and_goes() {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(100));
    writer.keep(vec![line("old")]).await;
    let policies = Policies { default: Policy { age: Some(0), ..Policy::default() }, ..Policies::default() };
    let manifest = || writer.handle.live().manifest();
    let now = T0 + 5;
    for class in rolls(manifest().values().map(|p| &**p), engine.instance, &policies, now) {
        assert_eq!(writer.handle.roll(&class).await, Ok(true));
    }
    let removals =
        decide(manifest().values().map(|p| &**p), engine.instance, &policies, Disk::default(), now);
    assert_eq!(removals.len(), 1);
    carried(&engine, &writer, &removals, now).await.unwrap();
    assert!(engine.all().iter().all(|e| e.body.message != "old"));
    assert_eq!(verify(engine.clone(), Options::default()).await.unwrap().faults, []);
    writer.end().await;
}
