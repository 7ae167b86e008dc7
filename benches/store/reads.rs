//! Questions: pages, look-ups, a rare text, counts. At points drawn at random, and each answer is held against what was stored.

use std::time::{Duration, Instant};

use helm_store::entry::Level;
use helm_store::query::{Filter, Levels, Order, Page, Text, TextKind};
use helm_store::reader::{Budget, End, Found};
use tokio_util::sync::CancellationToken;

use crate::append::beside;
use crate::fill::Filled;
use crate::site::Site;
use crate::{Plan, limits};
use shared::figures::Times;
use shared::report::Row;
use shared::{Result, lines};

/// Nobody waits longer.
const TIME: Duration = Duration::from_secs(30);
const DAY: i64 = 86_400_000_000_000;
const MILLION: u64 = 1_000_000;

async fn page(site: &Site, filter: Filter) -> Result<(Duration, usize)> {
    let page = Page { filter, order: Order::Newest, after: None, limit: 100 };
    let asked = Instant::now();
    let found = site.reader.page(&page, TIME).await?.entries.len();
    Ok((asked.elapsed(), found))
}

/// A question for `n`, and how many entries the answer must have, where that is known.
type Question = fn(&Filled, u64) -> (Filter, Option<usize>);

fn of_a_service(filled: &Filled, n: u64) -> (Filter, Option<usize>) {
    let random = lines::mixed(n);
    let levels = [
        Levels::AtLeast(Level::Warning),
        Levels::Exactly(Level::Error),
        Levels::Exactly(Level::Info),
        Levels::AtLeast(Level::Error),
        Levels::Exactly(Level::Debug),
    ];
    let filter = Filter {
        services: vec![format!("service-{}", random % lines::SERVICES)],
        levels: Some(levels[(random >> 8) as usize % levels.len()]),
        // One in three from somewhere in the second half back.
        until: n.is_multiple_of(3).then(|| filled.at(filled.rows / 2 + (random >> 16) % (filled.rows / 2))),
        ..Filter::default()
    };
    // Errors are rare: only of all that is there is it certain that there are enough.
    let certain = filled.rows >= 10 * MILLION && filter.until.is_none();
    (filter, certain.then_some(100))
}

fn by_trace(filled: &Filled, n: u64) -> (Filter, Option<usize>) {
    let entry = lines::mixed(n) % (filled.rows - 8) / 8 * 8;
    let carry = (entry..entry + 8).filter(|n| n % 5 < 3).count();
    (Filter { trace: Some(lines::trace(entry)), ..Filter::default() }, Some(carry))
}

fn by_user(_: &Filled, n: u64) -> (Filter, Option<usize>) {
    (Filter { user: Some(lines::user(lines::mixed(n))), ..Filter::default() }, None)
}

/// The first time that anything is asked, then the same kinds of questions at other points.
pub(crate) async fn pages(site: &Site, filled: &Filled, plan: &Plan) -> Result<Vec<Row>> {
    let known = match site.engine {
        shared::Engine::Sqlite => "known 0.7 ms",
        shared::Engine::Postgres => "known 5 ms at 1 M",
    };
    let questions: [(&str, &str, Question); 3] = [
        ("newest 100 with service and level", known, of_a_service),
        ("trace look-up", "", by_trace),
        ("user look-up", "", by_user),
    ];
    let mut rows = Vec::new();
    for (what, known, question) in questions {
        let first = page(site, question(filled, 0).0).await?.0;
        let mut times = Vec::new();
        for n in 1..=plan.questions {
            let (filter, expected) = question(filled, n);
            let (took, found) = page(site, filter.clone()).await?;
            if expected.is_some_and(|expected| expected != found) {
                return Err(format!("{filter:?} gives {found} entries, not {expected:?}").into());
            }
            times.push(took);
        }
        let times = Times::of(times);
        let row = Row::new(site.engine, what)
            .limit(known)
            .helm(format!(
                "{} of {}; the very first {:.1} ms",
                times.said(),
                times.many(),
                first.as_secs_f64() * 1e3
            ))
            .asked("p99 below 20 ms", times.p99() < 20.0)
            .figure("p50_ms", times.p50())
            .figure("p99_ms", times.p99())
            .figure("first_ms", first.as_secs_f64() * 1e3);
        rows.push(row);
    }
    Ok(rows)
}

/// A text that five of a million entries have: the first hit, all of them, and appends meanwhile.
pub(crate) async fn rare(site: &Site, dir: &std::path::Path, filled: &Filled) -> Result<Vec<Row>> {
    let commit = limits::disk(dir, 200)?;
    // Searched once before: what is measured is not the disk.
    search(site, filled).await?;
    let (mut firsts, mut alls) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        let (first, all) = search(site, filled).await?;
        firsts.push(first);
        alls.push(all);
    }
    let (firsts, alls) = (Times::of(firsts), Times::of(alls));
    let quiet = while_appending(site, async {
        shared::pause(Duration::from_secs(4)).await;
        Ok(())
    })
    .await?;
    let busy = while_appending(site, async {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(4) {
            search(site, filled).await?;
        }
        Ok(())
    })
    .await?;
    let known = match site.engine {
        shared::Engine::Sqlite => "known 327 ms",
        shared::Engine::Postgres => "known 2,026 ms",
    };
    let most = 3.0 * commit.mean() + 10.0 + quiet.p99();
    let search = Row::new(site.engine, "rare substring over 1 M entries")
        .limit(known)
        .helm(format!("all {:.0} ms (most {:.0}), first hit {:.0} ms", alls.p50(), alls.most(), firsts.p50()))
        .asked("below 300 ms", alls.p50() < 300.0)
        .figure("all_p50_ms", alls.p50())
        .figure("all_most_ms", alls.most())
        .figure("first_p50_ms", firsts.p50());
    let appends = Row::new(site.engine, "appends of 100 beside searches without pause")
        .limit(format!("without a search {}", quiet.said()))
        .helm(busy.said())
        .asked(format!("p99 below {most:.0} ms: without a search, 3 commits and 10 ms"), busy.p99() < most)
        .figure("quiet_p99_ms", quiet.p99())
        .figure("busy_p99_ms", busy.p99());
    Ok(vec![search, appends])
}

/// What appends take while `work` is done.
pub(crate) async fn while_appending(site: &Site, work: impl Future<Output = Result<()>>) -> Result<Times> {
    let stop = CancellationToken::new();
    let appends = tokio::spawn(beside(site.writer.clone(), stop.clone()));
    let done = work.await;
    stop.cancel();
    let times = appends.await??;
    done.map(|()| times)
}

/// Looks through the newest million; the time to the first hit, and to the end.
async fn search(site: &Site, filled: &Filled) -> Result<(Duration, Duration)> {
    let from = filled.rows.saturating_sub(MILLION);
    let text = Text { pattern: "api/NEEDLE".into(), kind: TextKind::Substring, case: false, not: false };
    let filter = Filter {
        texts: vec![text],
        since: Some(filled.at(from)),
        until: Some(filled.end()),
        ..Filter::default()
    };
    let asked = Instant::now();
    let mut search = site.reader.search(filter, Order::Newest, None, Budget::default())?;
    let (mut first, mut hits, mut whole) = (None, 0, false);
    while let Some(found) = search.next().await? {
        match found {
            Found::Entries(entries) => {
                first.get_or_insert_with(|| asked.elapsed());
                hits += entries.len() as u64;
            }
            Found::Looked(_) => {}
            Found::End(end) => whole = end == End::Complete,
        }
    }
    let all = asked.elapsed();
    let expected = (from..filled.rows).filter(|n| n % lines::NEEDLES == lines::NEEDLES / 2).count() as u64;
    match first {
        Some(first) if whole && hits == expected => Ok((first, all)),
        _ => Err(format!("{hits} needles found, {expected} are there").into()),
    }
}

/// Histogram and facets of a day, its end anywhere; some of one service, some of grave levels.
pub(crate) async fn counts(site: &Site, filled: &Filled, plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let (mut first, mut histograms, mut facets) = (None, Vec::new(), Vec::new());
    let span = u64::try_from(filled.end() - filled.begin).unwrap_or(0) / 60_000_000_000;
    for n in 0..plan.questions {
        let random = lines::mixed(n);
        let end = filled.end() - (random % span).cast_signed() * 60_000_000_000 / 2;
        let mut filter = Filter::default();
        if n % 4 == 1 {
            filter.services = vec![format!("service-{}", random % lines::SERVICES)];
        }
        if n % 4 == 2 {
            filter.levels = Some(Levels::AtLeast(Level::Warning));
        }
        let asked = Instant::now();
        let histogram = site.reader.histogram(&filter, end - DAY, end, 300_000_000_000).await?;
        let took = asked.elapsed();
        first.get_or_insert(took);
        histograms.push(took);
        let asked = Instant::now();
        let by_service = site.reader.facets(&filter, end - DAY, end).await?;
        facets.push(asked.elapsed());
        let counted: u64 = histogram.buckets.iter().flat_map(|bucket| bucket.counts).sum();
        let faceted: u64 = by_service.services.values().flatten().sum();
        if counted != faceted || counted == 0 || !histogram.exact {
            return Err(
                format!("a day has {counted} entries in its histogram, {faceted} in its facets").into()
            );
        }
    }
    let first = first.unwrap_or_default().as_secs_f64() * 1e3;
    for (what, times) in [("histogram of 24 h", Times::of(histograms)), ("facets of 24 h", Times::of(facets))]
    {
        let row = Row::new(site.engine, what)
            .limit("known: counting 1 M 1,051 ms")
            .helm(format!("{} of {}; the very first {first:.1} ms", times.said(), times.many()))
            .asked("p99 below 20 ms", times.p99() < 20.0)
            .figure("p50_ms", times.p50())
            .figure("p99_ms", times.p99());
        rows.push(row);
    }
    Ok(rows)
}
