//! Reads: whatever lies where, lists are the sorted list, counts are its counts, and followers get what was committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use helm_store::entry::{Entry, Level, NewEntry};
use helm_store::live::Places;
use helm_store::partition::Class;
use helm_store::query::{Cursor, Filter, Levels, Order, Page, Text, TextKind};
use helm_store::reader::matcher::Matcher;
use helm_store::reader::{Budget, End, Found, From, Item, Reader};
use helm_store::writer::Append;
use proptest::prelude::*;

use crate::support::{MINUTE, Memory, Running, T0, append, class, entry, line, options, twin};

const LONG: Duration = Duration::from_secs(60);

fn reader(engine: &Arc<Memory>, running: &Running) -> Reader {
    Reader::new(engine.clone(), running.handle.live().clone())
}

/// What a list must be.
fn expected(engine: &Memory, filter: &Filter, order: Order) -> Vec<Entry> {
    let matcher = Matcher::new(filter.clone()).unwrap();
    let mut all: Vec<Entry> = engine.all().into_iter().filter(|e| matcher.wants(e)).collect();
    all.sort_by_key(Cursor::of);
    if order == Order::Newest {
        all.reverse();
    }
    all
}

async fn pages(reader: &Reader, filter: &Filter, order: Order, limit: u32) -> Vec<Entry> {
    let mut page = Page { filter: filter.clone(), order, after: None, limit };
    let mut all = Vec::new();
    loop {
        let answer = reader.page(&page, LONG).await.unwrap();
        assert!(answer.entries.len() <= limit as usize);
        all.extend(answer.entries);
        match answer.next {
            Some(next) => page.after = Some(next),
            None => return all,
        }
    }
}

async fn searched(reader: &Reader, filter: &Filter, order: Order) -> Vec<Entry> {
    let mut search = reader.search(filter.clone(), order, None, Budget::default()).unwrap();
    let mut all: Vec<Entry> = Vec::new();
    let mut looked = None;
    while let Some(found) = search.next().await.unwrap() {
        match found {
            Found::Entries(entries) => {
                for entry in &entries {
                    if let Some(looked) = looked {
                        match order {
                            Order::Newest => assert!(entry.body.at < looked),
                            Order::Oldest => assert!(entry.body.at > looked),
                        }
                    }
                }
                all.extend(entries);
            }
            Found::Looked(to) => looked = Some(to),
            Found::End(end) => assert_eq!(end, End::Complete),
        }
    }
    all
}

fn entries() -> impl Strategy<Value = Vec<NewEntry>> {
    // Times in few minutes with late ones and equal ones; seldom one of another age.
    let at = prop_oneof![9 => (0i64..6, 0i64..4).prop_map(|(m, q)| T0 + m * MINUTE + q * MINUTE / 4), 1 => Just(T0 - 90_000 * MINUTE)];
    let one = (at, 0..3usize, 0..5usize, 0..4usize, 0..10u8).prop_map(|(at, service, level, word, other)| {
        let words = ["red fox", "Red herring", "blue", "refox"];
        let mut new = entry(["core", "nexus", "codex"][service], at, Level::ALL[level], words[word]);
        new.trace = (other == 1).then(|| "trace".to_owned());
        new.user = (other < 3).then(|| format!("u{other}"));
        new.context = (other == 2).then(|| r#"{"a":{"b":1}}"#.to_owned());
        if other == 9 { twin(new) } else { new }
    });
    prop::collection::vec(one, 0..120)
}

fn filter() -> impl Strategy<Value = Filter> {
    let text = |pattern: &str, kind, not| Text { pattern: pattern.into(), kind, case: false, not };
    let texts = prop_oneof![
        3 => Just(vec![]),
        1 => Just(vec![text("RED", TextKind::Substring, false)]),
        1 => Just(vec![text("fox", TextKind::Word, false), text("blue", TextKind::Substring, true)]),
        1 => Just(vec![text("^re[df]", TextKind::Regex, false)]),
    ];
    let levels = prop_oneof![
        2 => Just(None),
        1 => Just(Some(Levels::AtLeast(Level::Warning))),
        1 => Just(Some(Levels::Exactly(Level::Info))),
    ];
    let time = prop::option::of((-2i64..28).prop_map(|quarter| T0 + quarter * MINUTE / 4));
    (
        prop::sample::subsequence(vec!["core", "nexus", "nobody"], 0..3),
        (levels, time.clone(), time, any::<bool>()),
        (
            prop::option::weighted(0.15, Just("trace".to_owned())),
            prop::option::weighted(0.15, Just("u1".to_owned())),
        ),
        texts,
    )
        .prop_map(|(services, (levels, since, until, twins), (trace, user), texts)| Filter {
            services: services.into_iter().map(str::to_owned).collect(),
            levels,
            since,
            until,
            trace,
            user,
            twins,
            texts,
            ..Filter::default()
        })
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn lists_are_the_sorted_list_whatever_lies_where(
        entries in entries(), filter in filter(), rows in 1u32..40, limit in 1u32..30, restart in any::<bool>(), offset in 0u64..50,
    ) {
        block_on(async {
            let engine = Memory::new();
            let mut writer = Running::start(&engine, options(rows));
            for (at, batch) in entries.chunks(7).enumerate() {
                if restart && at == 3 {
                    writer.kill().await;
                    writer = Running::start(&engine, options(rows));
                }
                let class = class(if at % 3 == 0 { "audit" } else { "default" });
                writer.handle.append(Append { class, ..append(batch.to_vec()) }).await.unwrap();
            }
            assert!(writer.handle.cursor("none").await.unwrap().is_none());
            let reader = reader(&engine, &writer);
            for order in [Order::Newest, Order::Oldest] {
                let wanted = expected(&engine, &filter, order);
                assert_eq!(pages(&reader, &filter, order, limit).await, wanted);
                assert_eq!(searched(&reader, &filter, order).await, wanted);
                let page = Page { filter: filter.clone(), order, after: None, limit };
                let skipped = reader.offset(&page, offset, LONG).await.unwrap().entries;
                let rest: Vec<Entry> = wanted.iter().skip(offset as usize).take(limit as usize).cloned().collect();
                assert_eq!(skipped, rest);
            }
            let wanted = expected(&engine, &filter, Order::Oldest);
            let total = reader.total(&filter).await.unwrap();
            assert_eq!((total.count, total.exact), (wanted.len() as u64, true));
            // Counts by service, and by time, in a range whose ends are no whole minutes.
            let (from, to) = (T0 + MINUTE / 4, T0 + 3 * MINUTE + MINUTE / 2);
            let inside: Vec<&Entry> = wanted.iter().filter(|e| (from..to).contains(&e.body.at)).collect();
            let facets = reader.facets(&filter, from, to).await.unwrap();
            let mut by_service: BTreeMap<String, u64> = BTreeMap::new();
            let mut by_time: BTreeMap<i64, u64> = BTreeMap::new();
            for entry in &inside {
                *by_service.entry(entry.body.service.clone()).or_default() += 1;
                *by_time.entry(entry.body.at.div_euclid(2 * MINUTE) * 2 * MINUTE).or_default() += 1;
            }
            let sums = facets.services.into_iter().map(|(name, counts)| (name, counts.iter().sum::<u64>()));
            assert_eq!(sums.collect::<BTreeMap<_, _>>(), by_service);
            let histogram = reader.histogram(&filter, from, to, 2 * MINUTE - 5).await.unwrap();
            assert!(histogram.exact && histogram.step == 2 * MINUTE);
            let sums = histogram.buckets.into_iter().map(|b| (b.from, b.counts.iter().sum::<u64>()));
            assert_eq!(sums.filter(|(_, sum)| *sum > 0).collect::<BTreeMap<_, _>>(), by_time);
            writer.end().await;
        });
    }

    #[test]
    fn followers_get_what_was_committed(
        batches in prop::collection::vec((1..5usize, any::<bool>(), any::<bool>()), 1..60), rows in 2u32..20, begin in 0..60usize,
    ) {
        block_on(async {
            let engine = Memory::new();
            let writer = Running::start(&engine, options(rows));
            let reader = reader(&engine, &writer);
            let filter = Filter::default();
            let mut follow = None;
            let mut got: BTreeMap<Class, Vec<Entry>> = BTreeMap::new();
            for (at, (count, audit, read)) in batches.iter().enumerate() {
                if at == begin.min(batches.len() - 1) {
                    follow = Some(reader.follow(filter.clone(), From::After(Places::new())).unwrap());
                }
                let class = class(if *audit { "audit" } else { "default" });
                let entries = (0..*count).map(|n| line(&format!("{at}/{n}"))).collect();
                writer.handle.append(Append { class, ..append(entries) }).await.unwrap();
                if let (Some(follow), true) = (&mut follow, *read) {
                    take(&reader, follow, &mut got).await;
                }
            }
            let mut follow = follow.unwrap();
            let end = writer.handle.live().places(engine.instance);
            while *follow.places() != end {
                take(&reader, &mut follow, &mut got).await;
            }
            // Gaps move the places before they are given.
            writer.keep(vec![line("last")]).await;
            while got.get(&class("default")).and_then(|g| g.last()).is_none_or(|e| e.body.message != "last") {
                take(&reader, &mut follow, &mut got).await;
            }
            let mut committed: BTreeMap<Class, Vec<Entry>> = BTreeMap::new();
            engine.with(|world| for stored in world.partitions.values().filter(|s| !s.rows.is_empty()) {
                committed.entry(stored.partition.class.clone()).or_default().extend(stored.rows.clone());
            });
            assert_eq!(got, committed);
            writer.end().await;
        });
    }
}

async fn take(
    reader: &Reader,
    follow: &mut helm_store::reader::Follow,
    got: &mut BTreeMap<Class, Vec<Entry>>,
) {
    match follow.next().await.unwrap().expect("the writer lives") {
        Item::Entries(class, entries) => got.entry(class).or_default().extend(entries),
        Item::Gap(gap) => {
            let mut range = reader.range(Filter::default(), gap.clone()).unwrap();
            while let Some(entries) = range.next().await.unwrap() {
                got.entry(gap.class.clone()).or_default().extend(entries);
            }
        }
    }
}

#[tokio::test]
async fn a_follower_that_lags_is_told_which_entries_it_missed() {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(1000));
    writer.keep(vec![line("before")]).await;
    let reader = reader(&engine, &writer);
    let mut follow = reader.follow(Filter::default(), From::Now).unwrap();
    for n in 0..40 {
        writer.keep(vec![line(&n.to_string())]).await;
    }
    let Some(Item::Gap(gap)) = follow.next().await.unwrap() else { panic!("it lags") };
    assert_eq!((gap.from.row(), gap.to.row()), (1, 40));
    writer.keep(vec![line("after")]).await;
    let Some(Item::Entries(_, entries)) = follow.next().await.unwrap() else { panic!("it goes on") };
    assert_eq!(entries[0].body.message, "after");
    writer.end().await;
}

#[tokio::test]
async fn a_follower_gets_what_another_writer_committed_in_between_and_what_is_large() {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(1000));
    writer.keep(vec![line("before")]).await;
    let reader = reader(&engine, &writer);
    let mut follow = reader.follow(Filter::default(), From::Now).unwrap();
    let other = Running::start(&engine, options(1000));
    other.keep(vec![line("late")]).await;
    other.end().await;
    // The first one finds that out, and says so to its sender.
    while writer.handle.append(append(vec![line("next")])).await.is_err() {}
    let large = "x".repeat(600_000);
    writer.keep(vec![line(&large)]).await;
    let mut got = BTreeMap::new();
    while got.values().map(Vec::len).sum::<usize>() < 3 {
        take(&reader, &mut follow, &mut got).await;
    }
    let messages: Vec<&str> = got.values().flatten().map(|entry| entry.body.message.as_str()).collect();
    assert_eq!(messages, ["late", "next", large.as_str()]);
    writer.end().await;
}

#[tokio::test]
async fn a_follower_passes_over_what_is_gone() {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(1000));
    writer.keep(vec![line("a"), line("gone")]).await;
    engine.with(|world| world.partitions.values_mut().for_each(|stored| drop(stored.rows.pop())));
    let reader = reader(&engine, &writer);
    let mut follow = reader.follow(Filter::default(), From::After(Places::new())).unwrap();
    let mut got = BTreeMap::new();
    take(&reader, &mut follow, &mut got).await;
    assert_eq!(writer.handle.roll(&Class::default_class()).await, Ok(true));
    writer.keep(vec![line("b")]).await;
    tokio::time::timeout(LONG, take(&reader, &mut follow, &mut got)).await.expect("it goes on");
    let messages: Vec<&str> = got.values().flatten().map(|entry| entry.body.message.as_str()).collect();
    assert_eq!(messages, ["a", "b"]);
    writer.end().await;
}

#[tokio::test]
async fn what_was_there_before_the_start_is_read_once_whoever_asks_for_a_trace() {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(1000));
    let traced = |n: u32| NewEntry { trace: Some(format!("t{}", n % 50)), ..line(&n.to_string()) };
    writer.keep((0..300).map(traced).collect()).await;
    writer.end().await;
    let writer = Running::start(&engine, options(1000));
    assert_eq!(writer.handle.cursor("x").await, Ok(None), "it has read what is there");
    let reader = reader(&engine, &writer);
    let filter = Filter { trace: Some("t7".into()), ..Filter::default() };
    let (one, two) = tokio::join!(
        pages(&reader, &filter, Order::Newest, 100),
        pages(&reader, &filter, Order::Newest, 100)
    );
    let wanted = expected(&engine, &filter, Order::Newest);
    assert_eq!((wanted.len(), &one, &two), (6, &wanted, &wanted));
    assert_eq!(engine.with(|world| world.read), 1);
    writer.end().await;
}

#[tokio::test]
async fn a_page_asks_only_the_partitions_that_can_hold_something() {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(10));
    for n in 0..100 {
        writer.keep((0..10).map(|m| entry("core", T0 + n * MINUTE + m, Level::Info, "x")).collect()).await;
    }
    let reader = reader(&engine, &writer);
    engine.with(|world| world.scans = 0);
    let page = Page { filter: Filter::default(), order: Order::Newest, after: None, limit: 15 };
    assert_eq!(reader.page(&page, LONG).await.unwrap().entries.len(), 15);
    assert!(engine.with(|w| w.scans) <= 3, "{}", engine.with(|w| w.scans));
    let old = Filter { services: vec!["nobody".into()], ..Filter::default() };
    engine.with(|world| world.scans = 0);
    assert!(reader.page(&Page { filter: old, ..page.clone() }, LONG).await.unwrap().entries.is_empty());
    let far = reader.offset(&Page { limit: 1, ..page }, 999, LONG).await.unwrap();
    assert_eq!(far.entries[0].body.at, T0);
    assert!(far.next.is_none());
    writer.end().await;
}

#[tokio::test]
async fn a_far_offset_is_reached_by_counts() {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(500));
    for n in 0..60 {
        writer
            .keep(
                (0..100)
                    .map(|m| entry("core", T0 + n * MINUTE + m, Level::Info, &format!("{n}/{m}")))
                    .collect(),
            )
            .await;
    }
    let reader = reader(&engine, &writer);
    for (order, first) in [(Order::Newest, "5/49"), (Order::Oldest, "54/50")] {
        engine.with(|world| world.scans = 0);
        let page = Page { filter: Filter::default(), order, after: None, limit: 3 };
        let far = reader.offset(&page, 5450, LONG).await.unwrap();
        assert_eq!(far.entries[0].body.message, first);
        assert!(engine.with(|w| w.scans) < 6, "{}", engine.with(|w| w.scans));
    }
    writer.end().await;
}

#[tokio::test]
async fn a_search_without_time_says_where_to_go_on() {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(10));
    for n in 0..50 {
        writer
            .keep(vec![entry("core", T0 + n * MINUTE, Level::Info, if n % 10 == 0 { "hit" } else { "miss" })])
            .await;
    }
    let reader = reader(&engine, &writer);
    let filter = Filter {
        texts: vec![Text { pattern: "hit".into(), kind: TextKind::Word, case: false, not: false }],
        ..Filter::default()
    };
    // Each try has no time at all but for one look; together they see everything once.
    let mut page = Page { filter: filter.clone(), order: Order::Newest, after: None, limit: 2 };
    let none = reader.page(&page, Duration::ZERO).await.unwrap();
    assert!(none.entries.is_empty());
    let next = none.next.expect("there is more");
    assert_eq!(Some(next.at), none.looked_to);
    page.after = Some(next);
    let mut search =
        reader.search(filter, Order::Newest, Some(next), Budget { time: None, limit: Some(3) }).unwrap();
    let mut hits = Vec::new();
    let end = loop {
        match search.next().await.unwrap().unwrap() {
            Found::Entries(entries) => hits.extend(entries.into_iter().map(|e| (e.body.at - T0) / MINUTE)),
            Found::Looked(_) => {}
            Found::End(end) => break end,
        }
    };
    assert_eq!(hits, [40, 30, 20]);
    let End::Limit(place) = end else { panic!("{end:?}") };
    assert_eq!(place.at, T0 + 20 * MINUTE);
    assert!(search.next().await.unwrap().is_none());
    writer.end().await;
}

#[tokio::test]
async fn context_is_of_the_same_service() {
    let engine = Memory::new();
    let writer = Running::start(&engine, options(3));
    for n in 0..20 {
        let service = if n % 2 == 0 { "core" } else { "nexus" };
        writer.keep(vec![entry(service, T0 + n, Level::Info, &n.to_string())]).await;
    }
    let reader = reader(&engine, &writer);
    let id = engine.all()[10].id;
    let (around, place) = reader.context_around(id, 2, 3).await.unwrap().unwrap();
    let messages: Vec<&str> = around.iter().map(|e| e.body.message.as_str()).collect();
    assert_eq!(messages, ["6", "8", "10", "12", "14", "16"]);
    assert_eq!(around[place].id, id);
    writer.end().await;
}
