//! The SQLite engine beside a bare sqlx program with the same work: two indexes, triggers, a digest per row, durable at every commit.
//!
//! `cargo run --release -p helm-store --example sqlite_speed [DIR]`; a DIR on the disk that matters, not on tmpfs.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "an example prints, and ends at the first thing that goes wrong"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use helm_store::chain::{Chain, Head};
use helm_store::commit::{Commit, CountKey};
use helm_store::engine::{LogEngine as _, Scan};
use helm_store::entry::{Entry, Level, NewEntry, Source};
use helm_store::id::{Instance, PartitionId};
use helm_store::partition::{Class, Contents, Partition, Seal};
use helm_store::query::{Filter, Levels, Order, Text, TextKind};
use helm_store::sqlite::SqliteEngine;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, SqliteConnection};

const START: i64 = 1_700_000_000_000_000_000;
const ROWS: u32 = 1_000_000;
const PER_ROUND: u32 = 100_000;

/// The n-th line of 37 services over a day: about 100 bytes of message, 85 of context, a trace on three of five. One in 2000 is an error.
fn line(n: u32) -> NewEntry {
    let random =
        u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let service = (random >> 8) % 37;
    let message = if n == ROWS / 10 {
        "GET /api/needle/0042 200 in 17 ms, 4711 bytes to 10.0.0.17 by the user that nobody else ever was"
            .to_owned()
    } else {
        format!(
            "GET /api/v1/things/{:08x} 200 in {} ms, {} bytes to 10.0.{}.{} by a client of the usual kind",
            random,
            n % 97,
            n % 5000,
            n % 200,
            service
        )
    };
    NewEntry {
        service: format!("service-{service}"),
        at: START + i64::from(n) * 86_400_000,
        seen: START + i64::from(n) * 86_400_000 + 250_000,
        level: match random % 2000 {
            0 => Level::Error,
            1..=60 => Level::Warning,
            61..=400 => Level::Debug,
            _ => Level::Info,
        },
        source: Source::Captured,
        stream: 1,
        flags: 0,
        message,
        plain: None,
        context: Some(format!(
            r#"{{"method":"GET","status":200,"path":"/api/v1/things","worker":{},"request":{}}}"#,
            n % 8,
            n
        )),
        trace: (n % 5 < 3).then(|| format!("{random:016x}{:016x}", random.rotate_left(31))),
        user: None,
        hostname: None,
        process: Some(1000 + i32::try_from(service).unwrap()),
    }
}

/// Makes transactions, as the writer does.
struct Maker {
    open: Partition,
    chain: Chain,
    number: u64,
}

impl Maker {
    fn next(&mut self, lines: Vec<NewEntry>) -> Commit {
        let mut counts = BTreeMap::new();
        let mut entries = Vec::with_capacity(lines.len());
        for body in lines {
            let id = self.open.id.entry(self.open.contents.rows);
            let minute = body.at.div_euclid(60_000_000_000);
            *counts
                .entry(CountKey { minute, service: body.service.clone(), level: body.level })
                .or_insert(0) += 1;
            self.open.contents.add(&body);
            entries.push(Entry { id, digest: self.chain.push(id, &body).short(), body });
        }
        self.number += 1;
        Commit {
            class: self.open.class.clone(),
            partition: self.open.id,
            number: self.number,
            head: self.chain.head(),
            arrived: entries.last().map_or(0, |e| e.body.seen),
            contents: self.open.contents.clone(),
            counts,
            entries,
            cursors: BTreeMap::new(),
            senders: BTreeMap::new(),
            keys: Vec::new(),
            queue: None,
        }
    }
}

fn partition(number: u32, before: Head) -> Partition {
    Partition {
        id: PartitionId { instance: Instance(1), number },
        class: Class::default_class(),
        opened: START,
        before,
        seal: None,
        contents: Contents::empty(),
        disk: 0,
    }
}

/// Processor time of this process, in hundredths of a second.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn report(what: &str, rows: u32, mut times: Vec<Duration>, ticks: u64) -> f64 {
    let all: Duration = times.iter().sum();
    times.sort();
    let rate = f64::from(rows) / all.as_secs_f64();
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    println!(
        "{what:<44} {rate:>9.0} rows/s, {:>5.1} us of processor a row; commit: median {:.2} ms, p99 {:.2} ms, longest {:.2} ms",
        ticks as f64 * 1e4 / f64::from(rows),
        ms(times[times.len() / 2]),
        ms(times[times.len() * 99 / 100]),
        ms(times[times.len() - 1]),
    );
    rate
}

/// The bare program: what SQLite and sqlx give, without anything of Helm but the digest.
struct Bare {
    connection: SqliteConnection,
    chain: Chain,
    row: u32,
    sql: BTreeMap<usize, String>,
}

impl Bare {
    async fn open(path: &Path) -> Bare {
        let mut connection = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .page_size(8192)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", "4096")
            .disable_statement_logging()
            .connect()
            .await
            .unwrap();
        connection
            .execute(
                "CREATE TABLE entry (row INTEGER PRIMARY KEY, at INTEGER NOT NULL, service INTEGER NOT NULL, level INTEGER NOT NULL,
                     message TEXT NOT NULL, context TEXT, trace TEXT, process INTEGER, digest INTEGER NOT NULL) STRICT;
                 CREATE INDEX a ON entry (service, at);
                 CREATE INDEX b ON entry (at);
                 CREATE TRIGGER u BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'no'); END;
                 CREATE TRIGGER d BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'no'); END;",
            )
            .await
            .unwrap();
        Bare { connection, chain: Chain::from(Head::GENESIS), row: 0, sql: BTreeMap::new() }
    }

    async fn commit(&mut self, lines: Vec<NewEntry>) {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
        for lines in lines.chunks(100) {
            let sql = self.sql.entry(lines.len()).or_insert_with(|| {
                format!("INSERT INTO entry VALUES {}", vec!["(?,?,?,?,?,?,?,?,?)"; lines.len()].join(","))
            });
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql.clone()));
            for line in lines {
                let id = PartitionId { instance: Instance(1), number: 0 }.entry(self.row);
                let digest = self.chain.push(id, line).short();
                let service: i64 = line.service[8..].parse().unwrap();
                query = query
                    .bind(self.row)
                    .bind(line.at)
                    .bind(service)
                    .bind(line.level.number())
                    .bind(line.message.clone())
                    .bind(line.context.clone())
                    .bind(line.trace.clone())
                    .bind(line.process)
                    .bind(digest);
                self.row += 1;
            }
            query.execute(&mut *transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
    }
}

async fn append(dir: &Path, batch: u32, rounds: u32) {
    let engine = SqliteEngine::open(&dir.join(format!("helm-{batch}")), Instance(1)).await.unwrap();
    let mut maker = Maker { open: partition(0, Head::GENESIS), chain: Chain::from(Head::GENESIS), number: 0 };
    engine.open_partition(&maker.open, None).await.unwrap();
    let mut bare = Bare::open(&dir.join(format!("bare-{batch}.db"))).await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut spent = [0, 0];
    let per_round = if batch < 1000 { PER_ROUND / 10 } else { PER_ROUND };
    // By turns, so that both meet the same noise.
    for round in 0..rounds {
        for of_helm in [true, false] {
            let before = ticks();
            for from in (0..per_round).step_by(batch as usize) {
                let from = round * per_round + from;
                let lines: Vec<_> = (from..from + batch).map(line).collect();
                let begin = Instant::now();
                if of_helm {
                    let commit = maker.next(lines);
                    engine.commit(&commit).await.unwrap();
                    ours.push(begin.elapsed());
                } else {
                    bare.commit(lines).await;
                    theirs.push(begin.elapsed());
                }
            }
            spent[usize::from(of_helm)] += ticks() - before;
        }
    }
    let rows = |times: &Vec<Duration>| u32::try_from(times.len()).unwrap() * batch;
    let ours = report(&format!("Helm, {batch} rows a commit"), rows(&ours), ours, spent[1]);
    let theirs =
        report(&format!("bare sqlx program, {batch} rows a commit"), rows(&theirs), theirs, spent[0]);
    println!("{:<44} {:>8.0} %", "Helm of the bare program", 100.0 * ours / theirs);
    engine.close().await.unwrap();
}

async fn ask(engine: &SqliteEngine, what: &str, filter: Filter, limit: u32) {
    let id = PartitionId { instance: Instance(1), number: 0 };
    let scan = Scan { partition: id, filter, order: Order::Newest, after: None, limit, rows: None };
    let mut times = Vec::new();
    let mut found = 0;
    for _ in 0..if limit > 100 { 5 } else { 101 } {
        let begin = Instant::now();
        found = engine.scan(&scan).await.unwrap().len();
        times.push(begin.elapsed());
    }
    times.sort();
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    println!(
        "{what:<64} {found:>5} found   median {:>7.2} ms, p99 {:>7.2} ms",
        ms(times[times.len() / 2]),
        ms(times[times.len() * 99 / 100])
    );
}

async fn questions(dir: &Path) {
    let dir = dir.join("helm-1000");
    let engine = SqliteEngine::open(&dir, Instance(1)).await.unwrap();
    let id = PartitionId { instance: Instance(1), number: 0 };
    let bytes = engine.disk(id).await.unwrap();
    println!("{} rows, {} bytes a row on disk while open", ROWS, bytes / u64::from(ROWS));
    let one = || vec!["service-7".to_owned()];
    let text =
        |pattern: &str, case| Text { pattern: pattern.into(), kind: TextKind::Substring, case, not: false };
    for sealed in [false, true] {
        if sealed {
            let state = engine.classes().await.unwrap().remove(0);
            let begin = Instant::now();
            let seal = Seal { closed: START, head: state.head };
            engine.open_partition(&partition(1, state.head), Some((id, seal))).await.unwrap();
            let opened = begin.elapsed();
            engine.finish(id).await.unwrap();
            println!("\nnext partition opened in {opened:?}, the former finished in {:?}", begin.elapsed());
            println!("{} bytes a row on disk, finished", engine.disk(id).await.unwrap() / u64::from(ROWS));
        }
        ask(&engine, "newest 100", Filter::default(), 100).await;
        ask(&engine, "newest 100 of a service", Filter { services: one(), ..Filter::default() }, 100).await;
        let exactly =
            |level| Filter { services: one(), levels: Some(Levels::Exactly(level)), ..Filter::default() };
        let at_least = |level| Filter {
            services: Vec::new(),
            levels: Some(Levels::AtLeast(level)),
            ..Filter::default()
        };
        ask(&engine, "newest 100 of a service, INFO", exactly(Level::Info), 100).await;
        ask(&engine, "newest 100 of a service, ERROR (1 in 2000)", exactly(Level::Error), 100).await;
        ask(&engine, "newest 100, ERROR and above", at_least(Level::Error), 100).await;
        ask(&engine, "newest 100, WARNING and above", at_least(Level::Warning), 100).await;
        let trace = line(ROWS / 2).trace;
        if sealed {
            ask(&engine, "a trace", Filter { trace, ..Filter::default() }, 100).await;
        }
        for (what, case) in [("", false), (", case counts", true)] {
            let rare = Filter { texts: vec![text("needle/0042", case)], ..Filter::default() };
            ask(&engine, &format!("rare substring over all{what}"), rare, 1000).await;
            let common = Filter { texts: vec![text("usual kind", case)], ..Filter::default() };
            ask(&engine, &format!("common substring{what}"), common, 100).await;
        }
        let both = Filter { services: one(), texts: vec![text("needle/0042", false)], ..Filter::default() };
        ask(&engine, "rare substring in one service of 37", both, 1000).await;
        let context = vec![helm_store::query::ContextIs { key: "request".into(), value: "4711".into() }];
        ask(&engine, "value of the context over all", Filter { context, ..Filter::default() }, 1000).await;
        let begin = Instant::now();
        let counts = engine.counts(id, i64::MIN, i64::MAX).await.unwrap().len();
        println!("{counts} counts of a day in {:?}", begin.elapsed());
        let begin = Instant::now();
        let (mut rows, mut read) = (engine.rows(id, 0), 0);
        while let Some(piece) = rows.recv().await {
            read += piece.unwrap().len();
        }
        println!("{read} rows streamed in {:?}", begin.elapsed());
    }
    engine.close().await.unwrap();
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let parent = std::env::args().nth(1).unwrap_or_else(|| "/var/tmp".into());
    let dir = tempfile::tempdir_in(parent).unwrap();
    append(dir.path(), 1000, ROWS / PER_ROUND).await;
    append(dir.path(), 64, 5).await;
    if std::env::args().nth(2).is_none() {
        questions(dir.path()).await;
    }
}
