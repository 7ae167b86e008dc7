//! Appends on PostgreSQL beside their limit: psql's `\copy` of the same rows into a partition with the same indexes, in committed batches of the
//! same size. Starts a server of its own, with everything durable.
//!
//! `cargo run --release -p helm-store --example postgres_copy [BATCHES]`

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement, run by hand"
)]
#![allow(missing_docs, dead_code, reason = "shares the tests' server")]

#[path = "../tests/support/cluster.rs"]
mod cluster;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use helm_store::chain::{Chain, Head};
use helm_store::commit::{Commit, CountKey};
use helm_store::engine::{LogEngine, Scan};
use helm_store::entry::{Entry, Level, NewEntry, Source};
use helm_store::id::{Instance, PartitionId};
use helm_store::partition::{Class, Contents, Partition, Seal};
use helm_store::postgres::{PgEngine, Registration};
use helm_store::query::{Filter, Levels, Order, Text, TextKind};

const ROWS: usize = 1000;
const ROUNDS: usize = 5;
const START: i64 = 1_764_000_000_000_000_000;
const COLUMNS: &str = "id, at, seen, digest, service, flags, process_id, level, source, stream, message, plain, context, trace_id, user_id, hostname";

/// About 230 bytes, as the survey's: 37 services, a trace on 60 %.
fn entry(i: u64) -> NewEntry {
    let mixed = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (i >> 7);
    let levels = [
        Level::Info,
        Level::Info,
        Level::Info,
        Level::Debug,
        Level::Info,
        Level::Warning,
        Level::Info,
        Level::Error,
    ];
    let at = START + i.cast_signed() * 3_000_000;
    NewEntry {
        service: format!("service-{}", mixed % 37),
        at,
        seen: at + 1000,
        level: levels[(mixed >> 9) as usize % levels.len()],
        source: Source::Captured,
        stream: 1,
        flags: 0,
        message: format!(
            "GET /api/items/{} answered 200 in {} ms for session {mixed:016x}, cache hit, region eu-central",
            mixed % 100_000,
            mixed % 977
        ),
        plain: None,
        context: Some(format!(
            r#"{{"status":200,"path":"/api/items/{}","duration_ms":{},"worker":{}}}"#,
            mixed % 100_000,
            mixed % 977,
            mixed % 16
        )),
        trace: (mixed % 10 < 6).then(|| format!("{:032x}", u128::from(mixed) << 40)),
        user: (mixed % 10 < 3).then(|| format!("user-{}", mixed % 500)),
        hostname: None,
        process: Some(4242),
    }
}

/// A class's writer, as small as can be.
struct Writer {
    partition: Partition,
    chain: Chain,
    contents: Contents,
    number: u64,
}

impl Writer {
    fn commit(&mut self, first: u64, rows: usize) -> Commit {
        let mut counts = BTreeMap::new();
        let mut entries = Vec::with_capacity(rows);
        for i in first..first + rows as u64 {
            let body = entry(i);
            let id = self.partition.id.entry(self.contents.rows);
            let minute = body.at.div_euclid(60_000_000_000);
            *counts
                .entry(CountKey { minute, service: body.service.clone(), level: body.level })
                .or_insert(0) += 1;
            self.contents.add(&body);
            entries.push(Entry { id, digest: self.chain.push(id, &body).short(), body });
        }
        self.number += 1;
        Commit {
            class: self.partition.class.clone(),
            partition: self.partition.id,
            number: self.number,
            head: self.chain.head(),
            arrived: START,
            contents: self.contents.clone(),
            counts,
            entries,
            cursors: BTreeMap::new(),
            once: Vec::new(),
            queue: None,
        }
    }
}

async fn opened(engine: &PgEngine, class: &str, number: u32) -> Writer {
    let id = PartitionId { instance: engine.instance(), number };
    let partition = Partition {
        id,
        class: Class(class.into()),
        opened: START,
        before: Head::GENESIS,
        seal: None,
        contents: Contents::empty(),
        disk: 0,
    };
    engine.open_partition(&partition, None).await.unwrap();
    Writer { partition, chain: Chain::from(Head::GENESIS), contents: Contents::empty(), number: 0 }
}

fn psql(database: &cluster::Fresh, script: &str) -> Duration {
    let mut command = Command::new("psql");
    command.args(["-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &database.port.to_string()]);
    command
        .args(["-U", &database.user, "-d", &database.database, "-f", "-"])
        .env("PGPASSWORD", cluster::PASSWORD);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("psql is installed");
    let begun = Instant::now();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    begun.elapsed()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

#[tokio::main]
async fn main() {
    let batches: usize = std::env::args().nth(1).map_or(100, |n| n.parse().expect("a number of batches"));
    let server = cluster::Cluster::start_with("on");
    let database = server.fresh().await;
    let who =
        Registration { uuid: "bench".into(), host: "h".into(), home: "/h".into(), preferred: Instance(1) };
    let engine = PgEngine::open(database.options(), who).await.unwrap();
    let mut helm = opened(&engine, "default", 0).await;
    opened(&engine, "limit", 1).await;
    let files = tempfile::tempdir().unwrap();
    let per_round = batches * ROWS;

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let first = (round * per_round) as u64;
        let commits: Vec<Commit> =
            (0..batches).map(|b| helm.commit(first + (b * ROWS) as u64, ROWS)).collect();
        let begun = Instant::now();
        for commit in &commits {
            engine.commit(commit).await.unwrap();
        }
        ours.push(per_round as f64 / begun.elapsed().as_secs_f64());

        // The same rows, with ids of the other partition.
        let (mut export, mut import) = (String::new(), String::new());
        for batch in 0..batches {
            let from = helm.partition.id.entry(0).0 + (round * per_round + batch * ROWS) as i64;
            let file = files.path().join(format!("{batch}")).display().to_string();
            let columns = COLUMNS.replacen("id", "id + 1048576", 1);
            let (to, other) = (from + ROWS as i64, "entry_1_1");
            writeln!(export, "\\copy (SELECT {columns} FROM entry_1_0 WHERE id >= {from} AND id < {to} ORDER BY id) TO '{file}' WITH (FORMAT binary)").unwrap();
            writeln!(import, "\\copy {other} ({COLUMNS}) FROM '{file}' WITH (FORMAT binary)").unwrap();
        }
        psql(&database, &export);
        theirs.push(per_round as f64 / psql(&database, &import).as_secs_f64());
        println!("round {round}: helm {:.0} rows/s, \\copy {:.0} rows/s", ours[round], theirs[round]);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "commits of {ROWS} rows, median of {ROUNDS}: helm {ours:.0} rows/s, \\copy {theirs:.0} rows/s, {:.0} %",
        100.0 * ours / theirs
    );

    let mut next = (ROUNDS * per_round) as u64;
    for rows in [1, 64, 256] {
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..300 {
            let commit = helm.commit(next, rows);
            next += rows as u64;
            let begun = Instant::now();
            engine.commit(&commit).await.unwrap();
            times.push(begun.elapsed());
        }
        times.sort();
        let rate = rows as f64 / times[150].as_secs_f64();
        println!("commits of {rows} rows: median {:?}, p99 {:?}, {rate:.0} rows/s", times[150], times[297]);
    }
    let rows = f64::from(helm.contents.rows);
    println!(
        "bytes an entry on disk, open: {:.0}",
        engine.disk(helm.partition.id).await.unwrap() as f64 / rows
    );
    reads(&engine, &helm).await;
    engine.close().await.unwrap();
}

/// Pages of what was written, in the open partition; then, sealed and finished, by trace.
async fn reads(engine: &PgEngine, helm: &Writer) {
    let scan = |filter, limit| Scan {
        partition: helm.partition.id,
        filter,
        order: Order::Newest,
        after: None,
        limit,
        rows: None,
    };
    let all = || Filter { twins: true, ..Filter::default() };
    let text =
        |pattern: &str| Text { pattern: pattern.into(), kind: TextKind::Substring, case: false, not: false };
    let errors = Some(Levels::AtLeast(Level::Error));
    let rare = format!("session {:016x}", 4242u64.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (4242 >> 7));
    let pages = [
        ("newest 100", scan(all(), 100), 100),
        (
            "newest 100 of a service from ERROR on",
            scan(Filter { services: vec!["service-5".into()], levels: errors, ..all() }, 100),
            100,
        ),
        ("newest 100 from ERROR on", scan(Filter { levels: errors, ..all() }, 100), 100),
        ("a common word, 100", scan(Filter { texts: vec![text("cache HIT")], ..all() }, 100), 50),
        ("a rare word, to the end", scan(Filter { texts: vec![text(&rare)], ..all() }, 100), 5),
    ];
    for (what, scan, times) in pages {
        timed(what, times, async || engine.scan(&scan).await.unwrap().len()).await;
    }
    let (first, end) = helm.contents.at.unwrap();
    let minutes = (first.div_euclid(60_000_000_000), end.div_euclid(60_000_000_000) + 1);
    timed("counts of all minutes", 20, async || {
        engine.counts(helm.partition.id, minutes.0, minutes.1).await.unwrap().len()
    })
    .await;

    let next = Partition {
        id: PartitionId { instance: engine.instance(), number: 2 },
        before: helm.chain.head(),
        ..helm.partition.clone()
    };
    let seal = Seal { closed: START + 1, head: helm.chain.head() };
    engine.open_partition(&next, Some((helm.partition.id, seal))).await.unwrap();
    let begun = Instant::now();
    engine.finish(helm.partition.id).await.unwrap();
    println!("finish: {:?}", begun.elapsed());
    let trace = (0..).map(entry).find_map(|e| e.trace);
    let by_trace = scan(Filter { trace, ..all() }, 100);
    timed("a trace, finished", 100, async || engine.scan(&by_trace).await.unwrap().len()).await;
    let rows = f64::from(helm.contents.rows);
    println!(
        "bytes an entry on disk, finished: {:.0}",
        engine.disk(helm.partition.id).await.unwrap() as f64 / rows
    );
}

async fn timed(what: &str, times: usize, work: impl AsyncFn() -> usize) {
    let mut took = Vec::new();
    let mut found = 0;
    for _ in 0..times {
        let begun = Instant::now();
        found = work().await;
        took.push(begun.elapsed());
    }
    took.sort();
    println!("{what}: {found} found, median {:?}, slowest {:?}", took[times / 2], took[times - 1]);
}
