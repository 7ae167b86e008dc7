//! Tampering, each way: `verify` finds it and names it.

use std::sync::Arc;

use helm_store::chain::{Chain, Head};
use helm_store::entry::{Entry, Source};
use helm_store::id::PartitionId;
use helm_store::partition::Contents;
use helm_store::verify::{Anchor, Fault, Kind, Options, Report, verify};
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

async fn anchors(engine: &Arc<Memory>) -> Vec<Anchor> {
    let report = proof(engine, Vec::new()).await;
    report.chains.into_iter().filter_map(|chain| chain.end).collect()
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

/// Where the chain stands behind its rows.
fn end_of(stored: &Stored) -> Head {
    let mut chain = Chain::from(stored.partition.before);
    stored.rows.iter().for_each(|entry| _ = chain.push(entry.id, &entry.body));
    chain.head()
}

/// What its rows come to.
fn contents_of(stored: &Stored) -> Contents {
    let mut contents = Contents::empty();
    stored.rows.iter().for_each(|entry| contents.add(&entry.body));
    contents
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

/// What a fault is, and the row that it names.
fn named(fault: &Fault) -> (Kind, Option<u32>) {
    (fault.kind.clone(), row_of(fault))
}

#[tokio::test]
async fn what_is_as_it_was_written_is_proved() {
    let engine = written().await;
    let kept = anchors(&engine).await;
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
    assert_eq!(named(&fault), (Kind::Altered, Some(2)));
    assert!(fault.to_string().contains("of service core"), "{fault}");
    let in_the_open = tampered(|world| parts(world)[3].rows[1].body.at += 1).await;
    assert_eq!(named(&in_the_open), (Kind::Altered, Some(1)));
}

#[tokio::test]
async fn a_flipped_digest_is_named() {
    let fault = tampered(|world| parts(world)[0].rows[4].digest ^= 1).await;
    assert_eq!(named(&fault), (Kind::Altered, Some(4)));
}

#[tokio::test]
async fn a_row_that_is_gone_is_named() {
    let fault = tampered(|world| drop(parts(world)[1].rows.remove(3))).await;
    let Kind::Removed(id) = fault.kind else { panic!("{fault}") };
    assert_eq!((id.row(), row_of(&fault)), (3, Some(2)));
    let last = tampered(|world| drop(parts(world)[1].rows.pop())).await;
    assert!(matches!(last.kind, Kind::CutOff(id) if id.row() == 4), "{last}");
    let renumbered = tampered(|world| {
        parts(world)[1].rows.remove(3);
        renumber(parts(world)[1]);
    })
    .await;
    assert!(matches!(renumbered.kind, Kind::Removed(id) if id.row() == 3), "{renumbered}");
    let of_the_open = tampered(|world| drop(parts(world)[3].rows.pop())).await;
    assert!(matches!(of_the_open.kind, Kind::CutOff(id) if id.row() == 2), "{of_the_open}");
}

#[tokio::test]
async fn an_altered_row_and_one_that_is_gone_behind_it_are_both_named() {
    let engine = written().await;
    engine.with(|world| {
        let rows = &mut parts(world)[1].rows;
        rows[1].body.message = "nothing happened".into();
        rows.remove(3);
    });
    let report = proof(&engine, Vec::new()).await;
    let [altered, removed] = &report.faults[..] else { panic!("{:?}", report.faults) };
    assert_eq!(named(altered), (Kind::Altered, Some(1)));
    let Kind::Removed(id) = removed.kind else { panic!("{removed}") };
    assert_eq!((id.row(), row_of(removed)), (3, Some(2)));
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
    assert_eq!(named(&between), (Kind::Inserted, Some(2)));
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
        assert_eq!(named(&after), (Kind::Inserted, Some(end.try_into().unwrap())));
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
    assert_eq!(open.kind, Kind::Rewritten, "the class's end is not met");
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
        let mut gone = None;
        let fault = tampered(|world| {
            gone = Some(parts(world)[at].partition.id);
            world.partitions.remove(&gone.unwrap());
        })
        .await;
        if at == 0 {
            assert_eq!(fault.kind, Kind::MissingBefore);
        } else {
            assert_eq!((fault.kind, fault.partition), (Kind::Missing(Vec::new()), gone), "{at}");
        }
    }
    let all = tampered(|world| world.partitions.retain(|_, p| p.partition.class != class("default"))).await;
    assert_eq!(all.kind, Kind::Missing(Vec::new()));
    let closed = tampered(|world| {
        let id = parts(world)[2].partition.id;
        let state = world.classes.get_mut(&class("default")).unwrap();
        (state.open, state.head) = (None, world.partitions[&id].partition.seal.unwrap().head);
        world.partitions.retain(|kept, p| *kept <= id || p.partition.class != class("default"));
    })
    .await;
    assert_eq!((closed.kind, closed.partition.map(|p| p.number)), (Kind::MissingAfter, Some(3)));
}

/// An entry that Helm wrote, and nobody else.
fn helms(entry: &mut Entry, record: &str) {
    entry.body.source = Source::Helm;
    entry.body.service = "helm".into();
    entry.body.context = Some(record.to_owned());
}

#[tokio::test]
async fn only_a_record_of_the_same_chain_and_from_behind_excuses_a_partition() {
    // What Helm would write of the partition that is gone: by a sender, into another class, and before it was there.
    let forge: [fn(&mut World, &str); 3] = [
        |world, record| {
            let stored = parts(world).pop().unwrap();
            helms(&mut stored.rows[0], record);
            stored.rows[0].body.source = Source::Sent;
            rechain(stored);
            let head = end_of(stored);
            world.classes.get_mut(&class("default")).unwrap().head = head;
        },
        |world, record| {
            let stored = world.partitions.values_mut().find(|p| p.partition.class == class("audit")).unwrap();
            helms(&mut stored.rows[0], record);
            rechain(stored);
            let head = end_of(stored);
            world.classes.get_mut(&class("audit")).unwrap().head = head;
        },
        |world, record| {
            let stored = parts(world).remove(0);
            helms(&mut stored.rows[0], record);
            rechain(stored);
        },
    ];
    for forge in forge {
        let engine = written().await;
        let gone = engine.with(|world| {
            let id = parts(world)[1].partition.id;
            let stored = world.partitions.remove(&id).unwrap().partition;
            let (before, head) = (stored.before.hex(), stored.seal.unwrap().head.hex());
            let record = format!(
                "{{\"removed\": {{\"partition\": {}, \"class\": \"default\", \"opened\": 0, \"closed\": 0, \"rows\": 5, \"before\": \"{before}\", \"head\": \"{head}\"}}}}",
                id.number
            );
            forge(world, &record);
            id
        });
        let faults = proof(&engine, Vec::new()).await.faults;
        let missing = faults.iter().any(|f| f.partition == Some(gone) && f.kind == Kind::Missing(Vec::new()));
        let broken = faults
            .iter()
            .any(|f| f.kind == Kind::Rewritten || f.kind == Kind::Misrecorded("the services and levels"));
        assert!(missing && broken, "{faults:?}");
    }
}

#[tokio::test]
async fn a_record_that_lies_about_a_partition_is_named() {
    let seal = tampered(|world| parts(world)[1].partition.seal = None).await;
    assert_eq!((seal.kind, seal.partition.map(|p| p.number)), (Kind::Unsealed, Some(2)));
    let times = tampered(|world| parts(world)[1].partition.contents.at = Some((1, 2))).await;
    assert_eq!((times.kind, times.partition.map(|p| p.number)), (Kind::Misrecorded("the times"), Some(2)));
    let services = tampered(|world| parts(world)[3].partition.contents.services.clear()).await;
    assert_eq!(services.kind, Kind::Misrecorded("the services and levels"));
    for at in 0..4 {
        let counts = tampered(|world| parts(world)[at].counts.clear()).await;
        assert_eq!(counts.kind, Kind::Misrecorded("the counts per minute"));
    }
    let end = tampered(|world| parts(world)[2].partition.seal.as_mut().unwrap().head = Head::GENESIS).await;
    assert_eq!(end.kind, Kind::Rewritten);
    let rows = tampered(|world| parts(world)[3].partition.contents.rows = 2).await;
    assert_eq!(rows.kind, Kind::Misrecorded("the number of entries"));
}

/// The record was raised with the rows that were put in; the class's own end was not.
#[tokio::test]
async fn rows_behind_the_classes_own_end_are_inserted() {
    let fault = tampered(|world| {
        let stored = &mut *parts(world)[3];
        for at in 0..2 {
            let forged = stored.rows[at].clone();
            stored.partition.contents.add(&forged.body);
            stored.rows.push(forged);
        }
        renumber(stored);
        rechain(stored);
    })
    .await;
    assert_eq!(named(&fault), (Kind::Inserted, Some(3)));
}

#[tokio::test]
async fn an_end_that_was_cut_off_with_all_records_needs_an_anchor() {
    let engine = written().await;
    let kept = anchors(&engine).await;
    engine.with(|world| {
        let stored = &mut *parts(world)[3];
        let gone = stored.rows.pop().unwrap().body;
        stored.partition.contents = contents_of(stored);
        *stored.counts.values_mut().next_back().unwrap() -= 1;
        assert_eq!((gone.service.as_str(), stored.counts.len()), ("core", 1));
        let head = end_of(stored);
        let state = world.classes.get_mut(&class("default")).unwrap();
        state.number -= 1;
        state.head = head;
    });
    assert!(proof(&engine, Vec::new()).await.ok(), "nothing here says that there was more");
    let report = proof(&engine, kept.clone()).await;
    assert_eq!(report.faults.len(), 1);
    assert_eq!(named(&report.faults[0]), (Kind::CutOff(kept[1].id), Some(1)));
    // And so does all of it written anew.
    engine.with(|world| {
        let stored = &mut *parts(world)[3];
        let more = Entry { id: kept[1].id, ..stored.rows[0].clone() };
        stored.rows.push(more);
        stored.partition.contents = contents_of(stored);
        *stored.counts.values_mut().next_back().unwrap() += 1;
        rechain(stored);
        let head = end_of(stored);
        world.classes.get_mut(&class("default")).unwrap().head = head;
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

/// What somebody does to one partition of a store.
#[derive(Debug, Clone, Copy)]
enum Tampering {
    Alter(u8),
    Flip,
    Remove,
    RemoveAndRenumber,
    Insert,
    Append,
    OlderCopy,
    TakeAway,
}

/// A store of `rows` entries in partitions of `size`, and a class beside.
async fn some_store(rows: usize, size: u32) -> Arc<Memory> {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(size));
    for n in 0..rows {
        let audit = Append { class: class("audit"), ..append(vec![line(&n.to_string())]) };
        writer.keep(vec![line(&n.to_string())]).await;
        writer.handle.append(audit).await.unwrap();
    }
    writer.end().await;
    engine
}

/// Does it to the `part`th partition of `default`, at one of its rows; tells what must be found: partition, kind, row.
fn tamper(world: &mut World, how: Tampering, part: usize, row: usize) -> (PartitionId, Kind, Option<u32>) {
    let mut all = parts(world);
    let part = part % all.len();
    let (open, stored) = (part + 1 == all.len(), &mut *all[part]);
    let (id, len) = (stored.partition.id, stored.rows.len());
    let row = row % len;
    let place = u32::try_from(row).unwrap();
    let removed = |row: usize| match row + 1 == len {
        true => (Kind::CutOff(id.entry(place)), place.checked_sub(1)),
        false => (Kind::Removed(id.entry(place)), place.checked_sub(1).or(Some(1))),
    };
    let (kind, row) = match how {
        Tampering::Alter(field) => {
            let body = &mut stored.rows[row].body;
            match field % 4 {
                0 => body.message.push(' '),
                1 => body.at -= 1,
                2 => body.service = "other".into(),
                _ => body.context = Some("{}".into()),
            }
            (Kind::Altered, Some(place))
        }
        Tampering::Flip => {
            stored.rows[row].digest ^= 1 << 40;
            (Kind::Altered, Some(place))
        }
        Tampering::Remove => {
            stored.rows.remove(row);
            removed(row)
        }
        Tampering::RemoveAndRenumber => {
            stored.rows.remove(row);
            renumber(stored);
            match removed(row) {
                // What is first now has the number of the one that is gone.
                (kind @ Kind::Removed(_), Some(1)) if row == 0 => (kind, Some(0)),
                other => other,
            }
        }
        Tampering::Insert => {
            let mut forged = stored.rows[row].clone();
            forged.body.message = "forged".into();
            stored.rows.insert(row, forged);
            renumber(stored);
            (Kind::Inserted, Some(place))
        }
        Tampering::Append => {
            let mut forged = stored.rows[row].clone();
            forged.body.message = "forged".into();
            stored.rows.push(forged);
            renumber(stored);
            rechain(stored);
            (Kind::Inserted, Some(u32::try_from(len).unwrap()))
        }
        Tampering::OlderCopy => {
            stored.rows.truncate(row);
            stored.partition.contents = contents_of(stored);
            stored.partition.seal = None;
            (if open { Kind::Rewritten } else { Kind::Replaced }, place.checked_sub(1))
        }
        Tampering::TakeAway => {
            world.partitions.remove(&id);
            match part {
                0 => (Kind::MissingBefore, None),
                _ => (Kind::Missing(Vec::new()), None),
            }
        }
    };
    (id, kind, row)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever is done to whatever store: the first finding is what was done, in its partition, at its row; and nothing is found before.
    #[test]
    fn whatever_is_done_is_named(rows in 3..24usize, size in 2..7u32, part: usize, row: usize, how in 0..8usize, field: u8) {
        let how = [
            Tampering::Alter(field), Tampering::Flip, Tampering::Remove, Tampering::RemoveAndRenumber, Tampering::Insert,
            Tampering::Append, Tampering::OlderCopy, Tampering::TakeAway,
        ][how];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let engine = some_store(rows, size).await;
            prop_assert_eq!(proof(&engine, Vec::new()).await.faults, []);
            // The only partition of a class has nothing before and behind it that could tell.
            let alone = engine.with(|world| parts(world).len()) == 1;
            prop_assume!(!(alone && matches!(how, Tampering::TakeAway)));
            let (partition, kind, row) = engine.with(|world| tamper(world, how, part, row));
            let faults = proof(&engine, Vec::new()).await.faults;
            let fault = &faults[0];
            prop_assert_eq!(&fault.kind, &kind, "{:?} {:?}", how, faults);
            // What is gone before the first is named beside it, and what is gone is named by its number.
            if !matches!(kind, Kind::MissingBefore) {
                prop_assert_eq!(fault.partition, Some(partition));
            }
            if !matches!(how, Tampering::TakeAway) {
                prop_assert_eq!(row_of(fault), row);
            }
            Ok(())
        })?;
    }
}
