//! The store beside its limits: each row against what plain tools reach on the same machine in the same run. See docs/benches.md.

mod append;
mod daemon;
mod fill;
mod limits;
mod numbers;
mod reads;
mod retention;
mod site;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Parser, ValueEnum};
use harness::postgres::Cluster;

use shared::{Error, Result};

use crate::fill::Filled;
use crate::site::{Ground, Site};
use shared::report::{Report, Row, progress};

/// Measures the store, prints a table, and writes its JSON. The exit code is 1 if a row was missed.
#[derive(Debug, Parser)]
struct Options {
    /// Entries to fill the store with before it is asked anything.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Which database.
    #[arg(long, value_enum, default_value_t = Engines::Both)]
    engine: Engines,
    /// Only these rows.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<What>,
    /// Fewer questions and shorter floods: shows that everything works.
    #[arg(long)]
    short: bool,
    /// Seconds that the fifty services print.
    #[arg(long, default_value_t = 60)]
    capture_seconds: u64,
    /// A directory for the stores, on the disk that matters. What is there is gone on with, and stays [default: a temporary one].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A database of a PostgreSQL that runs already, by its connection string; it is gone on with, and stays [default: a server of its own].
    #[arg(long)]
    postgres: Option<String>,
    /// Where the JSON goes.
    #[arg(long, default_value = "benches/results/store.json")]
    json: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engines {
    Sqlite,
    Postgres,
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Batches of 1,000 beside the limit.
    Batches,
    /// 1, 8, 64, 256 clients with one entry each.
    Clients,
    /// What an append and the first page cost while the store grows; bytes on disk.
    Growth,
    /// Newest 100, trace and user look-ups.
    Pages,
    /// A rare substring.
    Rare,
    /// Histogram and facets.
    Counts,
    /// A year of one metric.
    Year,
    /// Questions and appends over gRPC.
    Grpc,
    /// Fifty services captured by a real helmd, and its memory.
    Capture,
    /// Retention; takes entries away.
    Retention,
}

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    rows: u64,
    /// Batches of a round.
    batches: usize,
    /// Questions of a kind.
    questions: u64,
    /// How long clients append.
    flood: Duration,
    capture: Duration,
}

fn main() -> ExitCode {
    let options = Options::parse();
    // As helmd has it.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let measured = runtime.map_err(Error::from).and_then(|runtime| runtime.block_on(run(&options)));
    match measured {
        Ok(report) if report.met() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            progress(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<Report> {
    let temporary = tempfile::tempdir()?;
    let dir = options.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&dir)?;
    let plan = Plan {
        rows: options.rows,
        batches: if options.short { 20 } else { 100 },
        questions: if options.short { 50 } else { 300 },
        flood: Duration::from_secs(if options.short { 2 } else { 6 }),
        capture: Duration::from_secs(options.capture_seconds.max(10)),
    };
    let unix_time =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut report = Report {
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        unix_time,
        entries: options.rows,
        rows: Vec::new(),
        failed: BTreeMap::new(),
    };
    if options.engine != Engines::Postgres {
        let ground = Ground::Sqlite(dir.join("home/instance/store"));
        Bench { ground, dir: &dir, plan: &plan, only: &options.only, report: &mut report }.measure().await;
    }
    if options.engine != Engines::Sqlite {
        let own = options.postgres.is_none().then(|| Cluster::start("trust"));
        let url = match (&own, &options.postgres) {
            (Some(cluster), _) => fresh(cluster)?,
            (None, url) => url.clone().unwrap_or_default(),
        };
        let ground = Ground::Postgres(url);
        Bench { ground, dir: &dir, plan: &plan, only: &options.only, report: &mut report }.measure().await;
    }
    report.print();
    report.write(&options.json)?;
    Ok(report)
}

/// A database in a server of the bench's own; everything is durable there.
fn fresh(cluster: &Cluster) -> Result<String> {
    let said = cluster.sql("postgres", "postgres", "postgres", "CREATE DATABASE helm_db");
    if said.code != 0 {
        return Err(said.err.into());
    }
    Ok(format!("postgresql://postgres:postgres@127.0.0.1:{}/helm_db", cluster.port))
}

/// The rows of one engine.
struct Bench<'a> {
    ground: Ground,
    dir: &'a Path,
    plan: &'a Plan,
    only: &'a [What],
    report: &'a mut Report,
}

impl Bench<'_> {
    fn wants(&self, what: What) -> bool {
        self.only.is_empty() || self.only.contains(&what)
    }

    /// Takes in what came of a row, or why nothing did: the others are measured all the same.
    fn add(&mut self, what: What, rows: Result<Vec<Row>>) {
        match rows {
            Ok(rows) => self.report.add(rows),
            Err(error) => {
                progress(&format!("{what:?} failed: {error}"));
                self.report.failed.insert(format!("{}, {what:?}", self.ground.engine()), error.to_string());
            }
        }
    }

    async fn measure(&mut self) {
        if let Err(error) = self.all().await {
            progress(&format!("error: {error}"));
            self.report.failed.insert(self.ground.engine().to_string(), error.to_string());
        }
    }

    async fn all(&mut self) -> Result<()> {
        progress(&format!("{}: begins", self.ground.engine()));
        if self.wants(What::Batches) || self.wants(What::Clients) {
            // In a store of their own: the other one holds what is known.
            let scratch = self.ground.scratch(self.dir)?;
            let site = Site::open(&scratch).await?;
            self.appends(&site).await;
            site.close().await?;
            scratch.clear(&self.ground)?;
        }
        let site = Site::open(&self.ground).await?;
        let (filled, growth) = fill::fill(&site, self.dir, self.plan).await?;
        if self.wants(What::Growth) {
            self.report.add(growth);
        }
        site.close().await?;
        // Opened anew: nothing of what was written is in this process's memory.
        let site = Site::open(&self.ground).await?;
        self.questions(&site, &filled).await;
        site.close().await?;
        if self.wants(What::Grpc) {
            let rows = daemon::over_grpc(&self.ground, self.dir, &filled, self.plan).await;
            self.add(What::Grpc, rows);
        }
        if self.wants(What::Capture) {
            let rows = daemon::capture(&self.ground, self.dir, &filled, self.plan).await;
            self.add(What::Capture, rows);
        }
        if self.wants(What::Retention) {
            let site = Site::open(&self.ground).await?;
            let rows = retention::retention(&site, self.dir).await;
            self.add(What::Retention, rows);
            site.close().await?;
        }
        Ok(())
    }

    async fn appends(&mut self, site: &Site) {
        if self.wants(What::Batches) {
            let rows = append::batches(site, self.dir, self.plan).await;
            self.add(What::Batches, rows);
        }
        if self.wants(What::Clients) {
            let rows = append::clients(site, self.dir, self.plan).await;
            self.add(What::Clients, rows);
        }
    }

    async fn questions(&mut self, site: &Site, filled: &Filled) {
        if self.wants(What::Growth) {
            let rows = fill::disk(site).await;
            self.add(What::Growth, rows);
        }
        if self.wants(What::Pages) {
            let rows = reads::pages(site, filled, self.plan).await;
            self.add(What::Pages, rows);
        }
        if self.wants(What::Counts) {
            let rows = reads::counts(site, filled, self.plan).await;
            self.add(What::Counts, rows);
        }
        if self.wants(What::Rare) {
            let rows = reads::rare(site, self.dir, filled).await;
            self.add(What::Rare, rows);
        }
        if self.wants(What::Year) {
            let rows = numbers::a_year(site, self.plan).await;
            self.add(What::Year, rows);
        }
    }
}
