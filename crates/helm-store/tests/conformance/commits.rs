//! Transactions: all of it or nothing, once, and enough to go on.

use std::collections::BTreeMap;

use helm_store::commit::{ClassState, Position};
use helm_store::engine::{EngineError, LogEngine};
use helm_store::once::{Numbers, SENDER_AGE};
use helm_store::partition::Class;

use super::script::{START, Script, all_rows, ids, on_record, some};
use super::{Database, INSTANCE};

async fn state(engine: &dyn LogEngine, class: &str) -> ClassState {
    let classes = engine.classes().await.unwrap();
    classes.into_iter().find(|c| c.class.0 == class).unwrap()
}

pub(crate) async fn a_commit_is_all_or_nothing_and_numbered(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let mut commit = script.plan(some(3));
    commit.cursors.insert("core".into(), Position { segment: 1, offset: 10 });
    let again = commit.clone();
    let written = script.carry_out(commit).await.unwrap();
    let (before, record) = (state(&*engine, "default").await, on_record(&engine).await);

    // Its answer was lost, and it is asked again.
    let refused = engine.commit(&again).await.unwrap_err();
    assert!(matches!(refused, EngineError::NotNext { asked: 1, has: 1 }), "{refused}");
    // One is missing before it.
    let mut gap = script.plan(some(2));
    gap.number = 3;
    gap.cursors.insert("nexus".into(), Position { segment: 2, offset: 20 });
    gap.keys = vec!["k".into()];
    gap.queue = Some(9);
    let refused = engine.commit(&gap).await.unwrap_err();
    assert!(matches!(refused, EngineError::NotNext { asked: 3, has: 1 }), "{refused}");
    // Its entries are there already under these numbers: nothing of it may stay.
    let mut clash = script.plan(some(2));
    clash.cursors.insert("nexus".into(), Position { segment: 2, offset: 20 });
    clash.entries[1].id = written[2].id;
    engine.commit(&clash).await.unwrap_err();

    assert_eq!(ids(&all_rows(&engine, script.open.id).await), ids(&written));
    assert_eq!(on_record(&engine).await, record);
    assert_eq!(format!("{:?}", state(&*engine, "default").await), format!("{before:?}"));
    let more = script.write(some(1)).await;
    assert_eq!(engine.get(more[0].id).await.unwrap().as_ref(), Some(&more[0]));
}

pub(crate) async fn two_commits_with_one_number_are_one(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let script = Script::begin(&engine, "default", 0).await;
    let (one, two) = (script.plan(some(200)), script.plan(some(100)));
    let (first, second) = tokio::join!(engine.commit(&one), engine.commit(&two));
    let (kept, refused) = if first.is_ok() { (one, second) } else { (two, first) };
    let refused = refused.unwrap_err();
    assert!(matches!(refused, EngineError::NotNext { asked: 1, has: 1 }), "{refused}");
    assert_eq!(ids(&all_rows(&engine, script.open.id).await), ids(&kept.entries));
    assert_eq!(on_record(&engine).await[0].contents, kept.contents);
}

pub(crate) async fn a_commit_that_is_tried_leaves_nothing(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let written = script.write(some(3)).await;
    let (before, record) = (state(&*engine, "default").await, on_record(&engine).await);
    let mut commit = script.plan(some(2));
    commit.cursors.insert("nexus".into(), Position { segment: 2, offset: 20 });
    commit.keys = vec!["k".into()];
    engine.try_out(&commit).await.unwrap();
    let mut clash = commit.clone();
    clash.entries[1].id = written[2].id;
    engine.try_out(&clash).await.unwrap_err();
    assert_eq!(ids(&all_rows(&engine, script.open.id).await), ids(&written));
    assert_eq!(on_record(&engine).await, record);
    assert_eq!(format!("{:?}", state(&*engine, "default").await), format!("{before:?}"));
    script.carry_out(commit).await.unwrap();
}

pub(crate) async fn classes_are_written_side_by_side(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut default = Script::begin(&engine, "default", 0).await;
    let mut audit = Script::begin(&engine, "audit", 1).await;
    for _ in 0..5 {
        let (one, two) = (default.plan(some(50)), audit.plan(some(70)));
        let (one, two) = tokio::join!(default.carry_out(one), audit.carry_out(two));
        assert_eq!((one.unwrap().len(), two.unwrap().len()), (50, 70));
    }
    assert_eq!(all_rows(&engine, default.open.id).await.len(), 250);
    assert_eq!(all_rows(&engine, audit.open.id).await.len(), 350);
    let (one, two) = (state(&*engine, "default").await, state(&*engine, "audit").await);
    assert_eq!((one.number, one.head), (5, default.head));
    assert_eq!((two.number, two.head), (5, audit.head));
}

/// Writes what has to be remembered of everything.
async fn remember(script: &mut Script) -> BTreeMap<String, Position> {
    let mut first = script.plan(some(2));
    first.cursors = BTreeMap::from([
        ("core".to_owned(), Position { segment: 1, offset: 1 }),
        ("nexus".to_owned(), Position { segment: 3, offset: u64::from(u32::MAX) + 7 }),
    ]);
    first.senders = BTreeMap::from([
        ("a".to_owned(), Numbers { last: 4, window: 0b101, at: first.arrived }),
        ("b".to_owned(), Numbers { last: 1 << 40, window: u64::MAX, at: first.arrived }),
    ]);
    first.keys = vec!["one".into()];
    first.queue = Some(100);
    script.carry_out(first).await.unwrap();
    // Nothing but a cursor and a sequence: a silent service goes on too.
    let mut second = script.plan(Vec::new());
    second.cursors.insert("core".into(), Position { segment: 2, offset: 0 });
    let numbers = Numbers { last: 5, window: 1 << 63 | 1, at: second.arrived };
    second.senders = BTreeMap::from([("a".to_owned(), numbers)]);
    second.keys = vec!["two".into()];
    script.carry_out(second).await.unwrap();
    BTreeMap::from([
        ("core".to_owned(), Position { segment: 2, offset: 0 }),
        ("nexus".to_owned(), Position { segment: 3, offset: u64::from(u32::MAX) + 7 }),
    ])
}

fn assert_remembered(state: &ClassState, script: &Script, cursors: &BTreeMap<String, Position>) {
    assert_eq!((state.number, state.head, state.arrived), (2, script.head, START + 2));
    assert_eq!(state.open, Some(script.open.id));
    assert_eq!(&state.cursors, cursors);
    let senders = BTreeMap::from([
        ("a".to_owned(), Numbers { last: 5, window: 1 << 63 | 1, at: START + 2 }),
        ("b".to_owned(), Numbers { last: 1 << 40, window: u64::MAX, at: START + 1 }),
    ]);
    assert_eq!(state.senders, senders);
    assert_eq!(state.keys, [("one".to_owned(), START + 1), ("two".to_owned(), START + 2)]);
    assert_eq!(state.queue, 100);
}

pub(crate) async fn what_is_needed_to_go_on_is_there_after_a_reopen(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    assert!(engine.classes().await.unwrap().is_empty());
    let mut script = Script::begin(&engine, "default", 0).await;
    let cursors = remember(&mut script).await;
    assert_remembered(&state(&*engine, "default").await, &script, &cursors);
    drop(engine);
    let Script { open, number, head, engine } = script;
    drop(engine);

    let engine = database.open(INSTANCE).await;
    assert_eq!(engine.classes().await.unwrap().len(), 1);
    let mut script = Script { engine: engine.clone(), open, number, head };
    assert_remembered(&state(&*engine, "default").await, &script, &cursors);
    script.write(some(1)).await;
    assert_eq!(all_rows(&engine, script.open.id).await.len(), 3);
}

pub(crate) async fn what_is_needed_to_go_on_moves_into_the_next_partition(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let cursors = remember(&mut script).await;
    let sealed = script.roll(1).await;
    assert_remembered(&state(&*engine, "default").await, &script, &cursors);
    engine.finish(sealed.id).await.unwrap();
    engine.remove(sealed.id, &Class::default_class()).await.unwrap();
    drop(engine);
    let Script { open, number, head, engine } = script;
    drop(engine);

    let engine = database.open(INSTANCE).await;
    let mut script = Script { engine: engine.clone(), open, number, head };
    assert_remembered(&state(&*engine, "default").await, &script, &cursors);
    let written = script.write(some(1)).await;
    assert_eq!(all_rows(&engine, script.open.id).await, written);
}

pub(crate) async fn what_is_old_is_forgotten_behind_a_change_of_partition(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    remember(&mut script).await;
    let mut late = script.plan(some(1));
    late.arrived = START + SENDER_AGE + 2;
    late.keys = vec!["three".into()];
    script.carry_out(late.clone()).await.unwrap();
    let sealed = script.roll_at(1, late.arrived).await;
    engine.finish(sealed.id).await.unwrap();
    let state = state(&*engine, "default").await;
    assert_eq!(state.senders.keys().collect::<Vec<_>>(), ["a"], "the other sent nothing for too long");
    assert_eq!(state.keys, [("three".to_owned(), late.arrived)]);
    assert_eq!((state.cursors.len(), state.queue), (2, 100), "where capture stands is never forgotten");
}

/// A key that was forgotten above is kept once more: below it must not stay as old as it was, or the next start would forget it again.
pub(crate) async fn a_key_that_comes_again_counts_from_then_on(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    for arrived in [START, START + SENDER_AGE] {
        let mut commit = script.plan(some(1));
        (commit.arrived, commit.keys) = (arrived, vec!["key".into()]);
        script.carry_out(commit).await.unwrap();
        assert_eq!(state(&*engine, "default").await.keys, [("key".to_owned(), arrived)]);
    }
}

pub(crate) async fn a_class_without_entries_can_be_gone_on_with(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let script = Script::begin(&engine, "audit", 3).await;
    drop(engine);
    let Script { open, engine, .. } = script;
    drop(engine);
    let engine = database.open(INSTANCE).await;
    let state = state(&*engine, "audit").await;
    assert_eq!((state.number, state.head, state.open), (0, open.before, Some(open.id)));
    assert!(state.cursors.is_empty() && state.senders.is_empty() && state.keys.is_empty());
}
