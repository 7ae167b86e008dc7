//! Lists: filters, orders, pages.

use std::sync::Arc;

use helm_store::engine::{LogEngine, Scan};
use helm_store::entry::{Entry, Level, NewEntry, Source, flag};
use helm_store::id::PartitionId;
use helm_store::query::{ContextIs, Cursor, Filter, Levels, Order, Text, TextKind};

use super::model::wanted;
use super::script::{SECOND, START, Script, entry, ids};
use super::{Database, INSTANCE};

/// Entries of all sorts, their times out of order and often equal.
fn sorts() -> Vec<NewEntry> {
    let services = ["core", "nexus", "ledger", "o'brien"];
    let sources = [Source::Captured, Source::Sent, Source::Helm];
    let messages = [
        "all is well",
        "Connection TIMEOUT after 30s",
        "100% of a_b",
        "größe ÄNDERT sich",
        "x",
        "a\nsecond LINE\nb",
    ];
    (0..400_usize)
        .map(|i| {
            let seconds = i64::try_from(i * 37 % 101).unwrap() * 10;
            let mut e = entry(services[i * i % 4], seconds, Level::ALL[i % 7 % 5], messages[i % 6]);
            e.source = sources[i % 3];
            e.trace = (i % 4 == 0).then(|| format!("t{}", i % 12));
            e.user = (i % 5 == 0).then(|| format!("u{}", i % 15));
            e.flags = if i % 11 == 0 { flag::TWIN | flag::MULTILINE } else { 0 };
            e.plain = (i % 13 == 0).then(|| "the plain Text".to_owned());
            e.context = match i % 6 {
                0 => Some(format!(r#"{{"n":{},"ok":true,"who":{{"name":"a\"b","id":"7"}}}}"#, i % 4)),
                1 => Some(r#"{"n":"1","ok":"true","r":1.50,"path":"a\/b"}"#.into()),
                2 => Some(r#"{"word":"\u0074wo"}"#.into()),
                3 => Some(
                    r#"{"log.level":"warn","a.b":{"c.d":5,"c":{"d":"x"}},"o\"d.d":{"k.k":"odd"}}"#.into(),
                ),
                _ => None,
            };
            e
        })
        .collect()
}

async fn filled(database: &impl Database) -> (Arc<dyn LogEngine>, PartitionId, Vec<Entry>) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let mut entries = sorts();
    let rest = entries.split_off(150);
    let mut all = script.write(entries).await;
    all.extend(script.write(rest).await);
    (engine, script.open.id, all)
}

fn text(pattern: &str, kind: TextKind) -> Text {
    Text { pattern: pattern.into(), kind, case: false, not: false }
}

fn is(key: &str, value: &str) -> ContextIs {
    ContextIs { key: key.into(), value: value.into() }
}

/// Filters with one condition each.
fn conditions() -> Vec<Filter> {
    let base = || Filter { twins: true, ..Filter::default() };
    let services = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let mut all = vec![Filter::default(), base()];
    for names in [&["core"][..], &["nexus", "ledger"], &["o'brien"], &["nobody"], &["nobody", "core"]] {
        all.push(Filter { services: services(names), ..base() });
    }
    for level in Level::ALL {
        all.push(Filter { levels: Some(Levels::AtLeast(level)), ..base() });
        all.push(Filter { levels: Some(Levels::Exactly(level)), ..base() });
    }
    for seconds in [-1, 0, 500, 1000, 1001] {
        all.push(Filter { since: Some(START + seconds * SECOND), ..base() });
        all.push(Filter { until: Some(START + seconds * SECOND), ..base() });
    }
    for value in ["t4", "t", "T4", "u0", "nobody"] {
        all.push(Filter { trace: Some(value.into()), ..base() });
        all.push(Filter { user: Some(value.into()), ..base() });
    }
    for source in [Source::Captured, Source::Sent, Source::Helm, Source::Former] {
        all.push(Filter { source: Some(source), ..base() });
    }
    let values = [
        is("n", "1"),
        is("n", "0"),
        is("ok", "true"),
        is("who.name", "a\"b"),
        is("who.id", "7"),
        is("who.nothing", "7"),
        is("path", "a/b"),
        is("word", "two"),
        is("nothing", ""),
        is("log.level", "warn"),
        is("log.level", "info"),
        is("a.b.c.d", "5"),
        is("a.b.c.d", "x"),
        is("a.b", "5"),
        is("o\"d.d.k.k", "odd"),
    ];
    all.extend(values.map(|value| Filter { context: vec![value], ..base() }));
    let patterns = [
        "timeout",
        "TIMEOUT",
        "x",
        "100%",
        "a_b",
        "plain text",
        "well",
        "größe",
        "ÄNDERT",
        "änDert",
        ".*",
        "Zebra",
    ];
    for pattern in patterns {
        for (case, not) in [(false, false), (true, false), (false, true), (true, true)] {
            let text = Text { case, not, ..text(pattern, TextKind::Substring) };
            all.push(Filter { texts: vec![text], ..base() });
        }
    }
    all
}

/// Both conditions.
fn both(one: &Filter, two: &Filter) -> Filter {
    let mut both = one.clone();
    if both.services.is_empty() {
        both.services.clone_from(&two.services);
    }
    both.levels = both.levels.or(two.levels);
    both.since = both.since.or(two.since);
    both.until = both.until.or(two.until);
    both.trace = both.trace.or_else(|| two.trace.clone());
    both.user = both.user.or_else(|| two.user.clone());
    both.source = both.source.or(two.source);
    both.context.extend(two.context.clone());
    both.texts.extend(two.texts.clone());
    both.twins &= two.twins;
    both
}

pub(crate) async fn each_filter_holds_alone_and_with_others(database: &impl Database) {
    let (engine, partition, all) = filled(database).await;
    let single = conditions();
    let mut filters = single.clone();
    // Pairs that are spread over the whole: not all of them, for time's sake.
    for (i, one) in single.iter().enumerate() {
        filters.push(both(one, &single[(i * 29 + 7) % single.len()]));
        filters.push(both(one, &single[(i * 31 + 17) % single.len()]));
    }
    let mut some = 0;
    for (i, filter) in filters.into_iter().enumerate() {
        let order = if i % 2 == 0 { Order::Newest } else { Order::Oldest };
        let limit = if i % 3 == 0 { 20 } else { 1000 };
        let scan = Scan { partition, filter, order, after: None, limit, rows: None };
        let found = engine.scan(&scan).await.unwrap();
        let expected = wanted(&all, &scan.filter, order, None, limit as usize);
        assert_eq!(ids(&found), ids(&expected), "{:?} {order:?} {limit}", scan.filter);
        assert_eq!(found, expected, "entries come whole");
        some += usize::from(!expected.is_empty());
    }
    assert!(some > 100, "the filters find something: {some}");
}

pub(crate) async fn pages_follow_one_another_without_loss_or_doubling(database: &impl Database) {
    let (engine, partition, all) = filled(database).await;
    let errors = Filter {
        services: vec!["core".into(), "nexus".into()],
        levels: Some(Levels::AtLeast(Level::Warning)),
        ..Filter::default()
    };
    let worded = Filter { texts: vec![text("WELL", TextKind::Substring)], ..Filter::default() };
    for filter in [Filter { twins: true, ..Filter::default() }, errors, worded] {
        for order in [Order::Newest, Order::Oldest] {
            let mut scan =
                Scan { partition, filter: filter.clone(), order, after: None, limit: 17, rows: None };
            let mut read = Vec::new();
            loop {
                let page = engine.scan(&scan).await.unwrap();
                assert!(page.len() <= 17);
                let Some(last) = page.last() else { break };
                scan.after = Some(Cursor::of(last));
                read.extend(page);
                assert!(read.len() <= all.len(), "pages end");
            }
            let expected = wanted(&all, &filter, order, None, usize::MAX);
            assert!(expected.len() > 17);
            assert_eq!(ids(&read), ids(&expected), "{filter:?} {order:?}");
        }
    }
    // A place where no entry is, and one in a time that has many.
    let among = wanted(&all, &Filter::default(), Order::Oldest, None, usize::MAX)[50].id;
    let places = [
        Cursor { at: START + 505 * SECOND, id: partition.entry(0) },
        Cursor { at: START + 500 * SECOND, id: among },
        Cursor { at: START + 500 * SECOND, id: helm_store::id::EntryId(i64::MAX) },
        Cursor { at: START + 500 * SECOND, id: helm_store::id::EntryId(0) },
        Cursor { at: i64::MIN, id: among },
        Cursor { at: i64::MAX, id: among },
    ];
    for after in places.map(Some) {
        for order in [Order::Newest, Order::Oldest] {
            let scan = Scan { partition, filter: Filter::default(), order, after, limit: 1000, rows: None };
            let expected = wanted(&all, &scan.filter, order, after, usize::MAX);
            assert_eq!(ids(&engine.scan(&scan).await.unwrap()), ids(&expected), "{after:?} {order:?}");
        }
    }
}

pub(crate) async fn equal_times_are_ordered_by_id(database: &impl Database) {
    let engine = database.open(INSTANCE).await;
    let mut script = Script::begin(&engine, "default", 0).await;
    let services = ["core", "nexus", "ledger"];
    let entries = (0..90).map(|i| entry(services[i % 3], 0, Level::ALL[i % 5], "same time")).collect();
    let written = ids(&script.write(entries).await);
    let mut scan = Scan {
        partition: script.open.id,
        filter: Filter::default(),
        order: Order::Oldest,
        after: None,
        limit: 90,
        rows: None,
    };
    assert_eq!(ids(&engine.scan(&scan).await.unwrap()), written);
    scan.order = Order::Newest;
    let newest: Vec<_> = written.iter().rev().copied().collect();
    assert_eq!(ids(&engine.scan(&scan).await.unwrap()), newest);
    scan.filter.services = services.map(str::to_owned).to_vec();
    scan.filter.levels = Some(Levels::AtLeast(Level::Debug));
    assert_eq!(ids(&engine.scan(&scan).await.unwrap()), newest);
    scan.after = Some(Cursor { at: START, id: newest[30] });
    scan.limit = 10;
    assert_eq!(ids(&engine.scan(&scan).await.unwrap()), newest[31..41]);
}

pub(crate) async fn only_the_rows_that_are_named(database: &impl Database) {
    let (engine, partition, all) = filled(database).await;
    let mut scan = Scan {
        partition,
        filter: Filter { twins: true, ..Filter::default() },
        order: Order::Newest,
        after: None,
        limit: 1000,
        rows: Some(vec![5, 399, 0, 77, 12, 4000]),
    };
    let named: Vec<Entry> = [5, 399, 0, 77, 12].map(|row: usize| all[row].clone()).to_vec();
    let expected = |scan: &Scan| wanted(&named, &scan.filter, scan.order, scan.after, scan.limit as usize);
    assert_eq!(engine.scan(&scan).await.unwrap(), expected(&scan));
    scan.filter.services = vec!["core".into()];
    scan.order = Order::Oldest;
    assert_eq!(engine.scan(&scan).await.unwrap(), expected(&scan));
    scan.limit = 1;
    assert_eq!(engine.scan(&scan).await.unwrap(), expected(&scan));
    scan.rows = Some(Vec::new());
    assert!(engine.scan(&scan).await.unwrap().is_empty());
    // Far more than a statement can have values.
    scan.limit = 1000;
    scan.rows = Some((0..100_000).collect());
    assert_eq!(engine.scan(&scan).await.unwrap(), wanted(&all, &scan.filter, scan.order, None, 1000));
}

pub(crate) async fn patterns_never_give_too_little(database: &impl Database) {
    let (engine, partition, all) = filled(database).await;
    let core = Filter { services: vec!["core".into(), "nexus".into()], ..Filter::default() };
    // Pattern, its kind, what its entries are known by, and whether they are wanted or all others.
    let cases = [
        ("time(out|less)", TextKind::Regex, "TIMEOUT"),
        ("^x$", TextKind::Regex, "x"),
        (r"\d+s\b", TextKind::Regex, "30s"),
        ("äNDert", TextKind::Regex, "ÄNDERT"),
        ("^second line$", TextKind::Regex, "\nsecond LINE\n"),
        ("well", TextKind::Word, "well"),
        ("after 30S", TextKind::Word, "after 30s"),
        ("ändert", TextKind::Word, "ÄNDERT"),
        ("-", TextKind::Word, "no entry has it"),
    ];
    for (pattern, kind, known_by) in cases {
        for not in [false, true] {
            let texts = vec![Text { not, ..text(pattern, kind) }];
            let filter = Filter { texts, ..core.clone() };
            let scan = Scan { partition, filter, order: Order::Newest, after: None, limit: 1000, rows: None };
            let found = ids(&engine.scan(&scan).await.unwrap());
            let others = wanted(&all, &core, Order::Newest, None, usize::MAX);
            let is = |e: &Entry| {
                let searched = e.body.searched();
                if known_by == "x" { searched == "x" } else { searched.contains(known_by) }
            };
            let must: Vec<Entry> = others.iter().filter(|e| is(e) != not).cloned().collect();
            assert!(ids(&must).iter().all(|id| found.contains(id)), "{pattern} {not}");
            assert!(found.iter().all(|id| ids(&others).contains(id)), "the other conditions hold");
        }
    }
}

pub(crate) async fn nothing_in_a_filter_is_taken_for_a_command(database: &impl Database) {
    let (engine, partition, all) = filled(database).await;
    for evil in ["'; DROP TABLE entry; --", "\" OR 1=1 --", "$.*", "a'b\"c\\", "%", "$1", "?1", "[0]", "}"] {
        let filters = [
            Filter { services: vec![evil.into()], ..Filter::default() },
            Filter { trace: Some(evil.into()), ..Filter::default() },
            Filter { user: Some(evil.into()), ..Filter::default() },
            Filter { context: vec![is(evil, evil)], ..Filter::default() },
            Filter { context: vec![is("who", evil)], ..Filter::default() },
            Filter { texts: vec![text(evil, TextKind::Substring)], ..Filter::default() },
            Filter {
                texts: vec![Text { case: true, ..text(evil, TextKind::Substring) }],
                ..Filter::default()
            },
        ];
        for filter in filters {
            let scan = Scan { partition, filter, order: Order::Newest, after: None, limit: 1000, rows: None };
            let expected = wanted(&all, &scan.filter, Order::Newest, None, 1000);
            assert_eq!(ids(&engine.scan(&scan).await.unwrap()), ids(&expected), "{:?}", scan.filter);
        }
    }
    let everything = Filter { twins: true, ..Filter::default() };
    let scan =
        Scan { partition, filter: everything, order: Order::Oldest, after: None, limit: 1000, rows: None };
    assert_eq!(engine.scan(&scan).await.unwrap().len(), all.len());
}
