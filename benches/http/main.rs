//! helm-web under load, beside what helmd takes over gRPC in the same run. See docs/benches.md.

mod ingest;
mod load;
mod pages;
mod small;
mod status;
mod streams;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Parser, ValueEnum};
use shared::report::{Report, Row, progress};
use shared::{Engine, Error, Result};

use crate::world::World;

/// Measures helm-web, prints a table, and writes its JSON. The exit code is 1 if a row was missed.
#[derive(Debug, Parser)]
struct Options {
    /// Entries that the store holds when pages of the log are asked for; several with commas, rising.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000_000, 10_000_000])]
    rows: Vec<u64>,
    /// Which database.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [Engines::Sqlite, Engines::Postgres])]
    engine: Vec<Engines>,
    /// Only these rows.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<What>,
    /// Shorter floods and fewer questions: shows that everything works.
    #[arg(long)]
    short: bool,
    /// Where the JSON goes.
    #[arg(long, default_value = "benches/results/http.json")]
    json: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engines {
    Sqlite,
    Postgres,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// PSS of a helm-web that has nothing to do.
    Idle,
    /// 8 clients with batches of 10, 100, 1,000, beside gRPC.
    Ingest,
    /// One client with one entry.
    One,
    /// The states of 8 services, 5,000 times a second.
    Status,
    /// 200 streams.
    Streams,
    /// The newest 100 of the log, by each kind of filter.
    Pages,
}

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// How long each load lasts.
    round: Duration,
    /// Pairs of loads by turns.
    rounds: usize,
    /// How long states are asked for.
    status: Duration,
    /// How long lines are printed.
    streams: Duration,
    /// Questions of a kind.
    questions: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let measured = runtime.map_err(Error::from).and_then(|runtime| run(&options, &runtime));
    match measured {
        Ok(report) if report.met() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            progress(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, runtime: &tokio::runtime::Runtime) -> Result<Report> {
    let seconds = |long, short| Duration::from_secs(if options.short { short } else { long });
    let plan = Plan {
        round: seconds(2, 1),
        rounds: if options.short { 1 } else { 5 },
        status: seconds(30, 3),
        streams: seconds(30, 5),
        questions: if options.short { 50 } else { 300 },
    };
    let unix_time =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut report = Report {
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        unix_time,
        entries: options.rows.last().copied().unwrap_or(0),
        rows: Vec::new(),
        failed: BTreeMap::new(),
    };
    for engine in &options.engine {
        let engine = match engine {
            Engines::Sqlite => Engine::Sqlite,
            Engines::Postgres => Engine::Postgres,
        };
        progress(&format!("{engine}: begins"));
        // Not within the runtime: the harness has one of its own.
        let world = World::begin(engine);
        let mut bench = Bench { world: &world, plan: &plan, options, report: &mut report };
        runtime.block_on(bench.all());
    }
    report.print();
    report.write(&options.json)?;
    Ok(report)
}

/// The rows of one engine.
struct Bench<'a> {
    world: &'a World,
    plan: &'a Plan,
    options: &'a Options,
    report: &'a mut Report,
}

impl Bench<'_> {
    async fn all(&mut self) {
        let (world, plan) = (self.world, self.plan);
        if self.wants(What::Idle) {
            self.add(What::Idle, small::idle(world).await);
        }
        if self.wants(What::Status) {
            self.add(What::Status, status::states(world, plan).await);
        }
        if self.wants(What::One) {
            self.add(What::One, small::one(world, plan).await);
        }
        if self.wants(What::Streams) {
            self.add(What::Streams, streams::streams(world, plan).await);
        }
        if self.wants(What::Pages) {
            let rows = self.options.rows.clone();
            match pages::Filled::new(rows.last().copied().unwrap_or(0)) {
                Err(error) => self.add(What::Pages, Err(error)),
                Ok(mut filled) => {
                    for rows in rows {
                        let pages = pages::pages(world, plan, &mut filled, rows).await;
                        self.add(What::Pages, pages);
                    }
                }
            }
        }
        if self.wants(What::Ingest) {
            self.add(What::Ingest, ingest::ingest(world, plan).await);
        }
    }

    fn wants(&self, what: What) -> bool {
        self.options.only.is_empty() || self.options.only.contains(&what)
    }

    /// Takes in what came of a row, or why nothing did: the others are measured all the same.
    fn add(&mut self, what: What, rows: Result<Vec<Row>>) {
        match rows {
            Ok(rows) => self.report.add(rows),
            Err(error) => {
                progress(&format!("{what:?} failed: {error}"));
                self.report.failed.insert(format!("{}, {what:?}", self.world.engine), error.to_string());
            }
        }
    }
}
