//! The writer over an engine that fails: what is acknowledged is there once, in order, in a chain that holds.

use std::time::Duration;

use crate::support::{Fault, Memory, Running, append, class, line, options};
use helm_store::chain::{Chain, Head};
use helm_store::commit::{Once, Position};
use helm_store::entry::Entry;
use helm_store::partition::Class;
use helm_store::writer::{Append, AppendError, Health, Receipt, Stall};
use proptest::prelude::*;

fn chain_holds(engine: &Memory, of: &Class) {
    let mut chain = Chain::from(Head::GENESIS);
    engine.with(|world| {
        for stored in world.partitions.values().filter(|p| p.partition.class == *of) {
            assert_eq!(stored.partition.before, chain.head());
            for entry in &stored.rows {
                assert_eq!(chain.push(entry.id, &entry.body).short(), entry.digest);
            }
            assert_eq!(stored.partition.contents.rows as usize, stored.rows.len());
            if let Some(seal) = stored.partition.seal {
                assert_eq!(seal.head, chain.head());
            }
        }
        if let Some(state) = world.classes.get(of) {
            assert_eq!(state.head, chain.head());
        }
    });
}

#[tokio::test]
async fn appends_that_wait_share_a_commit() {
    let engine = Memory::gated(1);
    let writer = Running::start(&engine, options(1000));
    let mut waiting = Vec::new();
    // The first takes the permit, or waits for the second; whatever comes meanwhile is one group.
    for n in 0..20 {
        let handle = writer.handle.clone();
        waiting.push(tokio::spawn(async move { handle.append(append(vec![line(&n.to_string())])).await }));
    }
    while writer.handle.live().manifest().is_empty() {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    engine.gate.add_permits(10);
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    assert!(engine.with(|w| w.commits) <= 3, "{} commits", engine.with(|w| w.commits));
    assert_eq!(engine.all().len(), 20);
    writer.end().await;
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_not_repeated() {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(3));
    for fault in [Fault::AwayAfter, Fault::AwayBefore, Fault::Full, Fault::RefusedAfter] {
        for n in 0..5 {
            engine.fail(&[fault, Fault::None, fault]);
            writer.keep(vec![line(&n.to_string()), line("and")]).await;
            engine.with(|world| world.faults.clear());
        }
    }
    assert_eq!(engine.all().len(), 40);
    chain_holds(&engine, &Class::default_class());
    writer.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_database_that_refuses_is_asked_again_and_says_so() {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(100));
    writer.keep(vec![line("a")]).await;
    engine.with(|world| world.poison = Some(""));
    let position = Position { segment: 1, offset: 10 };
    let captured = Append { cursors: vec![("core".into(), position)], ..append(vec![line("captured")]) };
    let handle = writer.handle.clone();
    let captured = tokio::spawn(async move { handle.append(captured).await });
    let mut health = writer.handle.health();
    let refused = |health: &Health| matches!(health, Health::Stalled { stall: Stall::Refused, why, .. } if why.contains("permission denied"));
    health.wait_for(refused).await.unwrap();
    let told = writer.handle.append(append(vec![line("sent")])).await.unwrap_err();
    assert!(
        matches!(told, AppendError::Later { ref why, .. } if why.contains("permission denied")),
        "{told}"
    );
    assert!(!captured.is_finished());
    engine.with(|world| world.poison = None);
    captured.await.unwrap().unwrap();
    health.wait_for(|health| *health == Health::Well).await.unwrap();
    let messages: Vec<String> = engine.all().into_iter().map(|e| e.body.message).collect();
    assert_eq!(messages, ["a", "captured"]);
    writer.end().await;
}

#[tokio::test]
async fn entries_that_are_refused_for_ever_are_put_on_record_and_hold_up_nobody() {
    let engine = Memory::gated(1);
    engine.with(|world| world.poison = Some("bad"));
    let writer = Running::start(&engine, options(100));
    writer.keep(vec![line("first")]).await;
    // Six appends that share a transaction; the second and the last hold what is refused.
    let appends: Vec<_> = (0..6)
        .map(|n| {
            let middle = if n == 1 || n == 5 { format!("bad \u{1}{n}") } else { format!("fine {n}") };
            let handle = writer.handle.clone();
            let entries =
                vec![line(&format!("before {n}")), line(""), line(&middle), line(&format!("after {n}"))];
            let mut entries = append(entries);
            // What is refused before it comes to the database has no place in it.
            entries.entries[1].service.clear();
            tokio::spawn(async move { handle.append(entries).await })
        })
        .collect();
    engine.gate.add_permits(100);
    for (n, append) in appends.into_iter().enumerate() {
        let receipt = append.await.unwrap().unwrap();
        let refused: Vec<usize> = receipt.refused.iter().map(|refusal| refusal.index).collect();
        assert_eq!(refused, if n == 1 || n == 5 { vec![1, 2] } else { vec![1] }, "append {n}");
    }
    let all = engine.all();
    assert_eq!(all.len(), 1 + 6 * 3);
    let records: Vec<&Entry> = all.iter().filter(|e| e.body.service == "helm").collect();
    assert_eq!(records.len(), 2, "one for each, in its place");
    assert!(
        records.iter().all(|e| e.body.message.contains("permission denied") && e.body.message.is_ascii())
    );
    assert!(records[0].body.message.contains("bad \\u{1}1"), "{}", records[0].body.message);
    assert_eq!(all.iter().filter(|e| e.body.message.starts_with("bad")).count(), 0);
    chain_holds(&engine, &Class::default_class());
    writer.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_damaged_makes_no_entry_look_bad() {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(100));
    writer.keep(vec![line("first")]).await;
    engine.with(|world| world.damaged = Some("here"));
    let position = Position { segment: 1, offset: 10 };
    let captured =
        Append { cursors: vec![("core".into(), position)], ..append(vec![line("before"), line("here")]) };
    let handle = writer.handle.clone();
    let captured = tokio::spawn(async move { handle.append(captured).await });
    let mut health = writer.handle.health();
    let told = health
        .wait_for(|health| matches!(health, Health::Stalled { why, .. } if why.contains("malformed page")));
    tokio::time::timeout(Duration::from_secs(60), told).await.expect("it waits, and says why").unwrap();
    engine.with(|world| world.damaged = None);
    assert_eq!(captured.await.unwrap().unwrap().refused, []);
    let messages: Vec<String> = engine.all().into_iter().map(|e| e.body.message).collect();
    assert_eq!(messages, ["first", "before", "here"]);
    chain_holds(&engine, &Class::default_class());
    writer.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_ever_is_put_on_record_also_behind_a_lost_connection() {
    for fault in [Fault::AwayBefore, Fault::Full] {
        let engine = Memory::new();
        engine.with(|world| world.poison = Some("bad"));
        let writer = Running::start(&engine, options(100));
        writer.keep(vec![line("first")]).await;
        engine.fail(&[fault]);
        let append = writer.handle.append(append(vec![line("fine"), line("bad")]));
        let receipt =
            tokio::time::timeout(Duration::from_secs(60), append).await.expect("it goes on").unwrap();
        let refused: Vec<usize> = receipt.refused.iter().map(|refusal| refusal.index).collect();
        assert_eq!(refused, [1]);
        writer.keep(vec![line("next")]).await;
        assert_eq!(engine.all().len(), 4);
        chain_holds(&engine, &Class::default_class());
        writer.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_database_is_away_senders_are_told_later_and_capture_waits() {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(100));
    writer.keep(vec![line("a")]).await;
    engine.with(|world| world.away = true);
    let position = Position { segment: 1, offset: 10 };
    let captured = Append { cursors: vec![("core".into(), position)], ..append(vec![line("captured")]) };
    let handle = writer.handle.clone();
    let captured = tokio::spawn(async move { handle.append(captured).await });
    let mut health = writer.handle.health();
    health.wait_for(|health| matches!(health, Health::Stalled { .. })).await.unwrap();
    let told = writer.handle.append(append(vec![line("sent")])).await.unwrap_err();
    assert!(matches!(told, AppendError::Later { ref why, .. } if why.contains("away")), "{told}");
    assert!(!captured.is_finished());
    engine.with(|world| world.away = false);
    captured.await.unwrap().unwrap();
    health.wait_for(|health| *health == Health::Well).await.unwrap();
    assert_eq!(writer.handle.cursor("core").await, Ok(Some(position)));
    let messages: Vec<String> = engine.all().into_iter().map(|e| e.body.message).collect();
    assert_eq!(messages, ["a", "captured"], "what was told later is not kept behind the sender's back");
    writer.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_in_doubt_is_said_to_be_so_unless_a_repetition_is_harmless() {
    let engine = Memory::gated(0);
    let writer = Running::start(&engine, options(100));
    let unclear = writer.handle.append(append(vec![line("a")])).await.unwrap_err();
    assert!(matches!(unclear, AppendError::Unclear { .. }), "{unclear}");
    engine.gate.add_permits(1);
    assert_eq!(writer.handle.cursor("x").await, Ok(None));
    let once = || Append { once: Some(Once::Key("k".into())), ..append(vec![line("b")]) };
    let later = writer.handle.append(once()).await.unwrap_err();
    assert!(matches!(later, AppendError::Later { .. }), "{later}");
    engine.gate.add_permits(10);
    assert!(writer.handle.append(once()).await.unwrap().duplicate);
    assert_eq!(engine.all().len(), 2);
    writer.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_says_later() {
    let engine = Memory::gated(0);
    let mut small = options(100);
    small.bytes = 4096;
    let writer = Running::start(&engine, small);
    let handles: Vec<_> = (0..20)
        .map(|_| {
            let handle = writer.handle.clone();
            tokio::spawn(async move { handle.append(append(vec![line(&"x".repeat(1000))])).await })
        })
        .collect();
    let mut later = 0;
    for handle in handles {
        match handle.await.unwrap() {
            Err(AppendError::Later { .. }) => later += 1,
            Err(AppendError::Unclear { .. }) => {}
            other => panic!("nothing can be written: {other:?}"),
        }
    }
    assert!(later >= 17, "{later}: at most three fit");
    let large = writer.handle.append(append(vec![line(&"x".repeat(5000))])).await.unwrap_err();
    assert!(matches!(large, AppendError::TooLarge { most: 4096, .. }), "{large}");
    engine.gate.add_permits(100);
    writer.end().await;
    assert!(engine.all().len() <= 3);
}

#[tokio::test]
async fn names_of_classes_cannot_leave_their_folder() {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(100));
    for name in ["../x", "", "Upper", "a b"] {
        let bad = Append { class: class(name), ..append(vec![line("x")]) };
        assert_eq!(writer.handle.append(bad).await, Err(AppendError::Class(name.into())));
    }
    writer.end().await;
}

#[tokio::test]
async fn a_seal_that_failed_is_asked_for_again() {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(2));
    writer.keep(vec![line("a"), line("b")]).await;
    engine.fail(&[Fault::HalfAway]);
    writer.keep(vec![line("c")]).await;
    let open = engine.with(|w| w.partitions.values().filter(|p| p.partition.seal.is_none()).count());
    assert_eq!(open, 1);
    chain_holds(&engine, &Class::default_class());
    writer.end().await;
}

#[tokio::test]
async fn all_closed_partitions_are_finished_also_after_a_restart() {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(2));
    for n in 0..6 {
        writer.keep(vec![line(&n.to_string()), line("and")]).await;
    }
    writer.kill().await;
    engine.with(|world| world.partitions.values_mut().for_each(|p| p.finished = false));
    let writer = Running::start(&engine, options(2));
    assert_eq!(writer.handle.roll(&Class::default_class()).await, Ok(true));
    assert_eq!(writer.handle.roll(&Class::default_class()).await, Ok(false), "an empty one stays");
    let finished = async {
        while engine.with(|w| w.partitions.values().filter(|p| p.finished).count()) < 6 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), finished).await.expect("all of them");
    writer.end().await;
}

#[derive(Debug, Clone)]
enum Act {
    /// Of one of three appenders, so many entries.
    Append(usize, usize),
    Fail(Fault),
    Kill,
    Roll,
}

fn act() -> impl Strategy<Value = Act> {
    // Not what is refused at random: an entry that is refused twice is one that the database does not take.
    let fault =
        prop_oneof![Just(Fault::AwayBefore), Just(Fault::AwayAfter), Just(Fault::Full), Just(Fault::None)];
    prop_oneof![
        6 => (0..3usize, 0..4usize).prop_map(|(who, rows)| Act::Append(who, rows)),
        3 => fault.prop_map(Act::Fail),
        1 => Just(Act::Kill),
        1 => Just(Act::Roll),
    ]
}

/// One appender: repeats each batch under its number until it is acknowledged, as a sender or a capture does.
async fn insist(running: &tokio::sync::RwLock<Option<Running>>, who: usize, number: u64, rows: usize) {
    let entries = (0..rows).map(|row| line(&format!("{who}/{number}/{row}"))).collect();
    let once = Some(Once::Sequence { sender: who.to_string(), number });
    let batch = Append { class: class(["default", "default", "audit"][who]), once, ..append(entries) };
    loop {
        let handle = running.read().await.as_ref().map(|r| r.handle.clone());
        let answer = match handle {
            Some(handle) => handle.append(batch.clone()).await,
            None => Err(AppendError::Closed),
        };
        match answer {
            Ok(Receipt { refused, .. }) => return assert!(refused.is_empty()),
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_entries_are_there_once_and_in_order(acts in prop::collection::vec(act(), 1..40), rows in 2u32..9) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let engine = Memory::new();
            let mut wanted = vec![Vec::new(); 3];
            let mut batches: Vec<Vec<usize>> = vec![Vec::new(); 3];
            let mut disturbances = Vec::new();
            for act in &acts {
                match act {
                    Act::Append(who, rows) => {
                        let number = batches[*who].len() as u64 + 1;
                        wanted[*who].extend((0..*rows).map(|row| format!("{who}/{number}/{row}")));
                        batches[*who].push(*rows);
                    }
                    Act::Fail(_) | Act::Kill | Act::Roll => disturbances.push(act.clone()),
                }
            }
            let running = std::sync::Arc::new(tokio::sync::RwLock::new(Some(Running::start(&engine, options(rows)))));
            let appenders: Vec<_> = batches.into_iter().enumerate().map(|(who, batches)| {
                let running = running.clone();
                tokio::spawn(async move {
                    for (at, rows) in batches.into_iter().enumerate() {
                        insist(&running, who, at as u64 + 1, rows).await;
                    }
                })
            }).collect();
            for disturbance in disturbances {
                match disturbance {
                    Act::Fail(fault) => engine.fail(&[fault]),
                    Act::Kill => {
                        let old = running.write().await.take();
                        if let Some(old) = old { old.kill().await; }
                        *running.write().await = Some(Running::start(&engine, options(rows)));
                    }
                    Act::Roll => {
                        let handle = running.read().await.as_ref().unwrap().handle.clone();
                        let _ = handle.roll(&Class::default_class()).await;
                    }
                    Act::Append(..) => {}
                }
                tokio::task::yield_now().await;
            }
            for appender in appenders {
                tokio::time::timeout(Duration::from_secs(60), appender).await.expect("it goes on").unwrap();
            }
            let running = running.write().await.take().unwrap();
            running.end().await;
            for (who, wanted) in wanted.into_iter().enumerate() {
                let prefix = format!("{who}/");
                let kept: Vec<String> = engine.all().into_iter().map(|e| e.body.message).filter(|m| m.starts_with(&prefix)).collect();
                assert_eq!(kept, wanted);
            }
            chain_holds(&engine, &class("default"));
            chain_holds(&engine, &class("audit"));
            let report = helm_store::verify::verify(engine.clone(), helm_store::verify::Options::default()).await.unwrap();
            assert!(report.ok(), "{:?}", report.faults);
        });
    }
}
