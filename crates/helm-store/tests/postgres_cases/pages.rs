//! Pages of a partition that has far more than a page: minutes that are dense, words that are rare.

use std::sync::Arc;

use helm_store::engine::{LogEngine, Scan};
use helm_store::entry::{Level, NewEntry};
use helm_store::query::{Cursor, Filter, Levels, Order, Text, TextKind};

use crate::conformance::INSTANCE;
use crate::conformance::model::wanted;
use crate::conformance::script::{Script, entry, ids};
use crate::{engine, fresh};

/// 62,000 entries: most of them in one second of one minute, the others over two hours, by many services.
fn many() -> Vec<NewEntry> {
    (0..62_000_i64)
        .map(|i| {
            let level = if i % 997 == 0 { Level::Critical } else { Level::Info };
            let seconds = if i % 3 == 0 { i % 7200 } else { 3600 };
            let message = if i % 20_011 == 5 { "a Rare thing" } else { "a common thing" };
            let at_odds = i * 7919 % 1_000_000;
            let mut entry = entry(&format!("service {}", i % 23), seconds, level, message);
            entry.at += at_odds;
            entry
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dense_minutes_and_rare_words_are_found_whole() {
    let database = fresh().await;
    let engine: Arc<dyn LogEngine> = Arc::new(engine(&database, INSTANCE).await);
    let mut script = Script::begin(&engine, "default", 0).await;
    let mut all = Vec::new();
    for batch in many().chunks(4000) {
        all.extend(script.write(batch.to_vec()).await);
    }
    let text =
        |pattern: &str| Text { pattern: pattern.into(), kind: TextKind::Substring, case: false, not: false };
    let filters = [
        Filter::default(),
        Filter { levels: Some(Levels::AtLeast(Level::Error)), ..Filter::default() },
        Filter { services: vec!["service 3".into(), "service 22".into()], ..Filter::default() },
        Filter { texts: vec![text("RARE")], ..Filter::default() },
        Filter { texts: vec![text("common")], services: vec!["service 4".into()], ..Filter::default() },
        Filter { texts: vec![text("nowhere")], ..Filter::default() },
    ];
    for filter in filters {
        for order in [Order::Newest, Order::Oldest] {
            let mut scan = Scan {
                partition: script.open.id,
                filter: filter.clone(),
                order,
                after: None,
                limit: 70,
                rows: None,
            };
            let expected = wanted(&all, &filter, order, None, 70 * 5);
            let mut read = Vec::new();
            // Five pages: into the dense minute and through it.
            for _ in 0..5 {
                let page = engine.scan(&scan).await.unwrap();
                scan.after = page.last().map(Cursor::of).or(scan.after);
                read.extend(page);
            }
            assert_eq!(ids(&read), ids(&expected), "{filter:?} {order:?}");
        }
    }
    // All of the dense second at once.
    let dense = Filter { levels: Some(Levels::Exactly(Level::Info)), ..Filter::default() };
    let scan = Scan {
        partition: script.open.id,
        filter: dense.clone(),
        order: Order::Newest,
        after: None,
        limit: 50_000,
        rows: None,
    };
    let found = engine.scan(&scan).await.unwrap();
    assert_eq!(ids(&found), ids(&wanted(&all, &dense, Order::Newest, None, 50_000)));
}
