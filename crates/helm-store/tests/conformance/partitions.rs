//! Partitions: begun, sealed, finished, taken away.

use helm_store::engine::{Count, EngineError, Scan};
use helm_store::entry::Level;
use helm_store::id::Instance;
use helm_store::packed::Packed;
use helm_store::partition::{Class, Seal};
use helm_store::query::{Filter, Order};

use super::script::{SECOND, START, Script, all_rows, entry, on_record, partition, some};
use super::{Database, INSTANCE};

pub(crate) async fn partitions_say_what_they_hold(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    assert!(engine.partitions().await.unwrap().is_empty());
    let mut default = Script::begin(&engine, "default", 0).await;
    let mut audit = Script::begin(&engine, "audit", 1).await;
    default.write(some(10)).await;
    default.write(vec![entry("nexus", -50, Level::Error, "late"), entry("core", 99, Level::Debug, "")]).await;
    audit.write(some(4)).await;
    let first = default.roll(2).await;
    default.write(some(1)).await;
    let second = default.roll(3).await;

    let expected = vec![first, audit.open.clone(), second, default.open.clone()];
    assert_eq!(on_record(&engine).await, expected);
    for partition in &expected {
        assert!(engine.disk(partition.id).await.unwrap() > 0);
    }
    drop((engine, default, audit));
    let engine = database.open(INSTANCE).await;
    assert_eq!(on_record(&engine).await, expected);
}

pub(crate) async fn a_partition_begins_once(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    script.write(some(3)).await;
    let seal = Seal { closed: START + 3600 * SECOND, head: script.head };
    let former = script.open.id;
    script.roll(1).await;
    // Its answer was lost, and it is asked again: before and after entries came.
    engine.open_partition(&script.open, Some((former, seal))).await.unwrap();
    script.write(some(2)).await;
    let record = on_record(&engine).await;
    let again = partition(&engine, "default", 1, seal.head);
    engine.open_partition(&again, Some((former, seal))).await.unwrap();
    assert_eq!(on_record(&engine).await, record);
    assert_eq!(all_rows(&engine, script.open.id).await.len(), 2);
    script.write(some(1)).await;
}

pub(crate) async fn a_partition_begins_only_where_the_chain_ends(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    script.write(some(3)).await;
    // A transaction that was given up is carried out after all: whoever closes the partition does not know it.
    let late = script.plan(some(2));
    engine.commit(&late).await.unwrap();
    let record = on_record(&engine).await;
    let seal = Seal { closed: START + 3600 * SECOND, head: script.head };
    let next = partition(&engine, "default", 1, script.head);
    for seal in [Some((script.open.id, seal)), None] {
        let error = engine.open_partition(&next, seal).await.unwrap_err();
        assert!(matches!(error, EngineError::Stale(_)), "whoever asks reads where it stands: {error}");
        assert_eq!(on_record(&engine).await, record);
    }
    (script.number, script.head, script.open.contents) = (late.number, late.head, late.contents);
    script.roll(1).await;
    script.write(some(1)).await;
}

pub(crate) async fn a_sealed_partition_takes_nothing(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    script.write(some(3)).await;
    let late = script.plan(some(1));
    let sealed = script.roll(1).await;
    engine.commit(&late).await.unwrap_err();
    assert_eq!(all_rows(&engine, sealed.id).await.len(), 3);
    assert_eq!(on_record(&engine).await[0], sealed);
}

pub(crate) async fn finishing_changes_no_answer(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let mut entries = some(300);
    for (i, entry) in entries.iter_mut().enumerate() {
        entry.trace = (i % 3 == 0).then(|| format!("trace-{}", i % 30));
        entry.user = (i % 7 == 0).then(|| "u".to_owned());
    }
    let written = script.write(entries).await;
    let sealed = script.roll(1).await;
    let scan = |filter| Scan {
        partition: sealed.id,
        filter,
        order: Order::Oldest,
        after: None,
        limit: 1000,
        rows: None,
    };
    let by_trace = scan(Filter { trace: Some("trace-3".into()), ..Filter::default() });
    let by_user = scan(Filter { user: Some("u".into()), ..Filter::default() });
    let before = (engine.scan(&by_trace).await.unwrap(), engine.scan(&by_user).await.unwrap());
    assert_eq!((before.0.len(), before.1.len()), (10, 43));
    for _ in 0..2 {
        engine.finish(sealed.id).await.unwrap();
        assert_eq!(engine.scan(&by_trace).await.unwrap(), before.0);
        assert_eq!(engine.scan(&by_user).await.unwrap(), before.1);
        assert_eq!(all_rows(&engine, sealed.id).await, written);
        assert_eq!(on_record(&engine).await[0], sealed);
    }
    drop(engine);
    let Script { open, engine, .. } = script;
    drop(engine);
    let engine = database.open(INSTANCE).await;
    engine.finish(sealed.id).await.unwrap();
    assert_eq!(all_rows(&engine, sealed.id).await, written);
    assert_eq!(on_record(&engine).await, [sealed, open]);
}

pub(crate) async fn what_is_sealed_is_unfinished_until_it_is_finished(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let mut sealed = Vec::new();
    for number in 1..4 {
        script.write(some(3)).await;
        sealed.push(script.roll(number).await.id);
    }
    assert_eq!(engine.unfinished(INSTANCE).await.unwrap(), sealed);
    assert_eq!(engine.unfinished(Instance(INSTANCE.0 + 1)).await.unwrap(), []);
    engine.finish(sealed.remove(1)).await.unwrap();
    assert_eq!(engine.unfinished(INSTANCE).await.unwrap(), sealed);
    drop((engine, script));
    let engine = database.open(INSTANCE).await;
    for id in &sealed {
        engine.finish(*id).await.unwrap();
    }
    assert_eq!(engine.unfinished(INSTANCE).await.unwrap(), []);
}

pub(crate) async fn only_sealed_partitions_are_taken_away(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let mut other = Script::begin(&engine, "audit", 1).await;
    let gone = script.write(some(5)).await;
    let kept = other.write(some(6)).await;
    let class = Class::default_class();
    let first = script.open.id;
    engine.remove(first, &class).await.unwrap_err();
    assert_eq!(all_rows(&engine, first).await, gone);

    script.roll(2).await;
    let newer = script.write(some(7)).await;
    engine.remove(first, &class).await.unwrap();
    for _ in 0..2 {
        assert!(all_rows(&engine, first).await.is_empty());
        assert_eq!(engine.get(gone[0].id).await.unwrap(), None);
        let all = Scan {
            partition: first,
            filter: Filter::default(),
            order: Order::Newest,
            after: None,
            limit: 10,
            rows: None,
        };
        assert!(engine.scan(&all).await.unwrap().is_empty());
        assert!(engine.counts(first, i64::MIN, i64::MAX).await.unwrap().is_empty());
        assert_eq!(on_record(&engine).await, [other.open.clone(), script.open.clone()]);
        // Its answer was lost, and it is asked again.
        engine.remove(first, &class).await.unwrap();
    }
    assert_eq!(all_rows(&engine, script.open.id).await, newer);
    assert_eq!(all_rows(&engine, other.open.id).await, kept);
    script.write(some(1)).await;
}

pub(crate) async fn counts_are_per_minute_service_and_level(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let minute = START / (60 * SECOND);
    // START lies 20 seconds into its minute.
    script.write(vec![entry("core", 0, Level::Info, "a"), entry("core", 39, Level::Info, "b")]).await;
    script.write(vec![entry("core", 40, Level::Info, "c"), entry("core", 1, Level::Error, "d")]).await;
    script.write(vec![entry("nexus", 2, Level::Info, "e"), entry("core", -80, Level::Info, "f")]).await;
    let count = |minutes: i64, service: &str, level, count| Count {
        minute: minute + minutes,
        service: service.into(),
        level,
        count,
    };
    let counts = |from: i64, to: i64| {
        let engine = &engine;
        let partition = script.open.id;
        async move {
            let counts = engine.counts(partition, from, to).await.unwrap();
            assert!(counts.is_sorted_by_key(|c| c.minute));
            let mut counts = counts;
            counts.sort_by(|a, b| (a.minute, &a.service, a.level).cmp(&(b.minute, &b.service, b.level)));
            counts
        }
    };
    let first = count(-1, "core", Level::Info, 1);
    let middle = [
        count(0, "core", Level::Info, 2),
        count(0, "core", Level::Error, 1),
        count(0, "nexus", Level::Info, 1),
    ];
    let last = count(1, "core", Level::Info, 1);
    assert_eq!(counts(minute, minute + 1).await, middle);
    assert_eq!(counts(minute - 1, minute).await, std::slice::from_ref(&first));
    let all = [vec![first], middle.to_vec(), vec![last]].concat();
    assert_eq!(counts(i64::MIN, i64::MAX).await, all);
    assert_eq!(counts(minute + 2, i64::MAX).await, []);
}

pub(crate) async fn a_finished_partition_has_its_counts_packed(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    script.write(some(90)).await;
    script.write(vec![entry("nexus", 7, Level::Error, "e")]).await;
    let first = script.open.id;
    script.roll(1).await;
    assert_eq!(engine.packed(first).await.unwrap(), None);
    engine.finish(first).await.unwrap();
    let counts = engine.counts(first, i64::MIN, i64::MAX).await.unwrap();
    assert_eq!(engine.packed(first).await.unwrap().as_deref(), Some(Packed::of(&counts).bytes()));
    engine.remove(first, &Class::default_class()).await.unwrap();
    assert_eq!(engine.packed(first).await.unwrap(), None);
}
