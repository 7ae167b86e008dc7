//! Tampering, each way: `verify` finds it and names it.

use std::sync::Arc;

use helm_store::chain::Chain;
use helm_store::entry::Entry;
use helm_store::verify::{Anchor, Fault, Kind, Options, Report, anchors, verify};
use helm_store::writer::Append;
use proptest::prelude::*;

use crate::support::{Memory, Running, Stored, World, append, class, line, options};

/// Three closed partitions of five entries, one open with three; another class beside.
async fn written() -> Arc<Memory> {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(5));
    for n in 0..18 {
        writer.keep(vec![line(&n.to_string())]).await;
        if n % 6 == 0 {
            let audit = Append { class: class("audit"), ..append(vec![line("audit")]) };
            writer.handle.append(audit).await.unwrap();
        }
    }
    writer.end().await;
    engine
}

async fn proof(engine: &Arc<Memory>, anchors: Vec<Anchor>) -> Report {
    verify(engine.clone(), Options { anchors, ..Options::default() }).await.unwrap()
}

/// The partitions of the class `default`, by number.
fn parts(world: &mut World) -> Vec<&mut Stored> {
    world.partitions.values_mut().filter(|p| p.partition.class == class("default")).collect()
}

/// Writes a partition anew, so that its digests fit each other.
fn rechain(stored: &mut Stored) {
    let mut chain = Chain::from(stored.partition.before);
    for entry in &mut stored.rows {
        entry.digest = chain.push(entry.id, &entry.body).short();
    }
}

/// Number the rows anew.
fn renumber(stored: &mut Stored) {
    for (row, entry) in stored.rows.iter_mut().enumerate() {
        entry.id = stored.partition.id.entry(u32::try_from(row).unwrap());
    }
}

async fn tampered(tamper: impl FnOnce(&mut World)) -> Fault {
    let engine = written().await;
    engine.with(tamper);
    let report = proof(&engine, Vec::new()).await;
    assert!(!report.ok());
    report.faults[0].clone()
}

fn row_of(fault: &Fault) -> Option<u32> {
    fault.entry.as_ref().map(|entry| entry.id.row())
}

#[tokio::test]
async fn what_is_as_it_was_written_is_proved() {
    let engine = written().await;
    let kept = anchors(engine.as_ref()).await.unwrap();
    let report = proof(&engine, kept.clone()).await;
    assert_eq!(report.faults, []);
    let figures: Vec<_> = report.chains.iter().map(|c| (c.class.0.as_str(), c.partitions, c.rows)).collect();
    assert_eq!(figures, [("audit", 1, 3), ("default", 4, 18)]);
    let ends: Vec<Anchor> = report.chains.into_iter().filter_map(|c| c.end).collect();
    assert_eq!(ends, kept);
    let text = kept[1].to_string();
    assert_eq!(text.parse::<Anchor>().as_ref(), Ok(&kept[1]));
    assert!("7/default/12".parse::<Anchor>().is_err());
    let progress = Options::default();
    verify(engine, progress.clone()).await.unwrap();
    assert_eq!(progress.progress.load(std::sync::atomic::Ordering::Relaxed), 21);
}

#[tokio::test]
async fn a_row_that_was_changed_is_named() {
    let fault = tampered(|world| parts(world)[1].rows[2].body.message = "nothing happened".into()).await;
    assert_eq!((fault.kind, row_of(&fault)), (Kind::Altered, Some(2)));
    assert!(fault.to_string().contains("of service core"), "{fault}");
    let in_the_open = tampered(|world| parts(world)[3].rows[1].body.at += 1).await;
    assert_eq!((in_the_open.kind, row_of(&in_the_open)), (Kind::Altered, Some(1)));
}

#[tokio::test]
async fn a_flipped_digest_is_named() {
    let fault = tampered(|world| parts(world)[0].rows[4].digest ^= 1).await;
    assert_eq!((fault.kind, row_of(&fault)), (Kind::Altered, Some(4)));
}

#[tokio::test]
async fn a_row_that_is_gone_is_named() {
    let fault = tampered(|world| drop(parts(world)[1].rows.remove(3))).await;
    let Kind::Removed(id) = fault.kind else { panic!("{fault}") };
    assert_eq!((id.row(), row_of(&fault)), (3, Some(2)));
    let last = tampered(|world| drop(parts(world)[1].rows.pop())).await;
    assert!(matches!(last.kind, Kind::Removed(id) if id.row() == 4), "{last}");
    let renumbered = tampered(|world| {
        parts(world)[1].rows.remove(3);
        renumber(parts(world)[1]);
    })
    .await;
    assert!(matches!(renumbered.kind, Kind::Removed(id) if id.row() == 3), "{renumbered}");
    let of_the_open = tampered(|world| drop(parts(world)[3].rows.pop())).await;
    assert!(matches!(of_the_open.kind, Kind::Removed(id) if id.row() == 2), "{of_the_open}");
}

#[tokio::test]
async fn a_row_that_was_put_in_is_named() {
    let forged = |stored: &Stored, at: usize| {
        let mut entry: Entry = stored.rows[at - 1].clone();
        entry.body.message = "forged".into();
        entry
    };
    let between = tampered(|world| {
        let stored = &mut *parts(world)[1];
        let entry = forged(stored, 2);
        stored.rows.insert(2, entry);
        renumber(stored);
    })
    .await;
    assert_eq!((between.kind, row_of(&between)), (Kind::Inserted, Some(2)));
    for (part, end) in [(1, 5), (3, 3)] {
        // With a digest that fits: the end on record is another.
        let after = tampered(|world| {
            let stored = &mut *parts(world)[part];
            let entry = forged(stored, end);
            stored.rows.push(entry);
            renumber(stored);
            rechain(stored);
        })
        .await;
        assert_eq!((after.kind, row_of(&after)), (Kind::Inserted, Some(end.try_into().unwrap())));
    }
}

#[tokio::test]
async fn entries_that_were_written_anew_do_not_fit_the_seal() {
    let fault = tampered(|world| {
        let stored = &mut *parts(world)[2];
        stored.rows[0].body.message = "nothing happened".into();
        rechain(stored);
    })
    .await;
    assert_eq!(fault.kind, Kind::Rewritten);
    let open = tampered(|world| {
        let stored = &mut *parts(world)[3];
        stored.rows[0].body.message = "nothing happened".into();
        rechain(stored);
    })
    .await;
    assert_eq!(open.kind, Kind::CutOff, "the class's end is not met");
}

#[tokio::test]
async fn an_older_copy_of_a_partition_is_named() {
    let fault = tampered(|world| {
        let stored = &mut *parts(world)[1];
        stored.rows.truncate(3);
        stored.partition.contents.rows = 3;
        stored.partition.seal = None;
    })
    .await;
    assert_eq!((fault.kind, fault.partition.map(|p| p.number)), (Kind::Replaced, Some(2)));
}

#[tokio::test]
async fn a_partition_that_is_gone_without_a_record_is_named() {
    for at in 0..4 {
        let fault = tampered(|world| {
            let id = parts(world)[at].partition.id;
            world.partitions.remove(&id);
        })
        .await;
        assert_eq!(fault.kind, Kind::Missing, "{at}");
    }
    let all = tampered(|world| world.partitions.retain(|_, p| p.partition.class != class("default"))).await;
    assert_eq!(all.kind, Kind::Missing);
}

#[tokio::test]
async fn an_end_that_was_cut_off_with_all_records_needs_an_anchor() {
    let engine = written().await;
    let kept = anchors(engine.as_ref()).await.unwrap();
    engine.with(|world| {
        let stored = &mut *parts(world)[3];
        stored.rows.pop();
        stored.partition.contents.rows -= 1;
        let mut chain = Chain::from(stored.partition.before);
        stored.rows.iter().for_each(|entry| _ = chain.push(entry.id, &entry.body));
        let state = world.classes.get_mut(&class("default")).unwrap();
        state.number -= 1;
        state.head = chain.head();
    });
    assert!(proof(&engine, Vec::new()).await.ok(), "nothing here says that there was more");
    let report = proof(&engine, kept.clone()).await;
    assert_eq!(report.faults.len(), 1);
    assert_eq!((report.faults[0].kind, row_of(&report.faults[0])), (Kind::CutOff, Some(1)));
    // And so does all of it written anew.
    engine.with(|world| {
        let stored = &mut *parts(world)[3];
        let more = Entry { id: kept[1].id, ..stored.rows[0].clone() };
        stored.rows.push(more);
        stored.partition.contents.rows += 1;
        rechain(stored);
        let mut chain = Chain::from(stored.partition.before);
        stored.rows.iter().for_each(|entry| _ = chain.push(entry.id, &entry.body));
        world.classes.get_mut(&class("default")).unwrap().head = chain.head();
    });
    assert!(proof(&engine, Vec::new()).await.ok());
    assert_eq!(proof(&engine, kept).await.faults[0].kind, Kind::Rewritten);
}

#[tokio::test]
async fn what_is_appended_meanwhile_is_no_fault() {
    let engine = written().await;
    let writer = Running::start(&engine, options(5));
    let handle = writer.handle.clone();
    let busy = tokio::spawn(async move {
        for n in 0..200 {
            handle.append(append(vec![line(&n.to_string())])).await.unwrap();
        }
    });
    while !busy.is_finished() {
        let report = proof(&engine, Vec::new()).await;
        assert_eq!(report.faults, []);
    }
    busy.await.unwrap();
    writer.end().await;
}

#[tokio::test]
async fn what_was_not_read_to_the_end_is_not_proved() {
    let engine = written().await;
    let options = Options::default();
    options.stop.cancel();
    assert!(verify(engine.clone(), options).await.is_err());
    engine.with(|world| world.away = true);
    assert!(verify(engine, Options::default()).await.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_change_of_any_row_goes_unseen(part in 0..4usize, row in 0..5usize, change in 0..6u8) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fault = tampered(|world| {
                let stored = &mut *parts(world)[part];
                let row = row % stored.rows.len();
                let entry = &mut stored.rows[row];
                match change {
                    0 => entry.body.message.push(' '),
                    1 => entry.body.at -= 1,
                    2 => entry.body.service = "other".into(),
                    3 => entry.body.context = Some("{}".into()),
                    4 => entry.digest = entry.digest.wrapping_add(1),
                    _ => drop(stored.rows.remove(row)),
                }
            }).await;
            let removed = matches!(fault.kind, Kind::Removed(_));
            assert_eq!(removed, change > 4);
        });
    }
}
