//! Helm beside its peers: the same services on the same machine in the same run. See docs/benches.md.

mod helm;
mod lines;
mod peers;
mod place;
mod procs;
mod report;
mod rows;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use clap::{Parser, ValueEnum};
use serde::Serialize;

use crate::peers::Peer;
use crate::report::{Column, Machine, Report};

/// Measures Helm and its peers, prints a table, and writes its JSON.
#[derive(Debug, Parser)]
struct Options {
    /// Few repetitions: shows that everything works, measures nothing well.
    #[arg(long)]
    quick: bool,
    /// Fewer repetitions, with as many services and lines: a table in eight minutes.
    #[arg(long, conflicts_with = "quick")]
    short: bool,
    /// Leave these supervisors out; a missing one is an error otherwise.
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// Measure only these supervisors.
    #[arg(long, value_delimiter = ',', conflicts_with = "without")]
    only: Vec<String>,
    /// Measure only these rows.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<Row>,
    /// Directory of helmd, helmctl and helm-shim [default: where this program is].
    #[arg(long)]
    helm: Option<PathBuf>,
    /// Where the JSON goes.
    #[arg(long, default_value = "benches/results/supervisors.json")]
    json: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Row {
    /// kill -9 to the successor.
    Restart,
    /// From the command to all running.
    Start,
    /// Memory, wake-ups, and Helm's own rows, with many services.
    Many,
    /// A flood of lines.
    Lines,
}

/// How much is measured.
#[derive(Debug, Clone, Serialize)]
struct Plan {
    /// Services of the row `restart`.
    victims: usize,
    /// Times that each of them is killed.
    rounds: usize,
    /// How long they are left alone before.
    healthy: Duration,
    /// Services of the other rows.
    services: usize,
    /// Repetitions of starts, floods and adoptions.
    times: usize,
    /// Time over which wake-ups are counted.
    idle: Duration,
    /// Lines of a flood.
    lines: u64,
    /// Status calls.
    calls: usize,
}

impl Plan {
    fn full() -> Self {
        let (healthy, idle) = (Duration::from_secs(11), Duration::from_secs(30));
        Self { victims: 10, rounds: 3, healthy, services: 100, times: 5, idle, lines: 1_000_000, calls: 5000 }
    }

    fn short() -> Self {
        Self { rounds: 2, times: 3, idle: Duration::from_secs(10), ..Self::full() }
    }

    fn quick() -> Self {
        let (healthy, idle) = (Duration::from_secs(11), Duration::from_secs(2));
        Self { victims: 2, rounds: 1, healthy, services: 10, times: 1, idle, lines: 10_000, calls: 100 }
    }
}

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{at}: {cause}")]
    Io { at: String, cause: io::Error },
    #[error("waited {bound:?} for {what}; it said:\n{said}")]
    Late { what: String, bound: Duration, said: String },
    #[error("{0}: install it, or leave it out by --without")]
    Absent(String),
    #[error("helm: {0}")]
    Helm(String),
    #[error("no figures")]
    Nothing,
}

impl Error {
    /// For `map_err`: names the place of an IO error.
    fn at(place: impl AsRef<std::ffi::OsStr>) -> impl FnOnce(io::Error) -> Self {
        let at = place.as_ref().to_string_lossy().into_owned();
        move |cause| Self::Io { at, cause }
    }
}

type Result<T> = std::result::Result<T, Error>;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(report) if report.peers.iter().all(|column| column.failed.is_empty()) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            report::failure(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<Report> {
    let plan = match (options.quick, options.short) {
        (true, _) => Plan::quick(),
        (false, true) => Plan::short(),
        (false, false) => Plan::full(),
    };
    let own = std::env::current_exe().map_err(Error::at("this program"))?;
    let beside = own.parent().unwrap_or(Path::new(".")).to_owned();
    let mut peers = peers::all(options.helm.as_deref().unwrap_or(&beside));
    peers.retain(|peer| {
        let named = |names: &[String]| names.iter().any(|name| name == peer.name());
        if options.only.is_empty() { !named(&options.without) } else { named(&options.only) }
    });
    let tools = tempfile::tempdir().map_err(Error::at("a temporary directory"))?;
    let child = compile(tools.path())?;
    let mut bench = Bench { plan, child, columns: Vec::new(), load: BTreeMap::new() };
    for peer in &peers {
        let (name, note) = (peer.name().to_owned(), peer.note().to_owned());
        bench.columns.push(Column { name, version: peer.version()?, note, ..Column::default() });
    }
    let wanted = |row: Row| options.rows.is_empty() || options.rows.contains(&row);
    for row in [Row::Restart, Row::Start, Row::Many, Row::Lines] {
        if wanted(row) {
            bench.row(row, &peers);
        }
    }
    let report = bench.report(options.without.clone());
    report::table(&report);
    report::write(&report, &options.json)?;
    Ok(report)
}

/// A run in progress.
struct Bench {
    plan: Plan,
    child: PathBuf,
    columns: Vec<Column>,
    load: BTreeMap<String, String>,
}

/// One measurement of one supervisor; its last argument is the repetition.
type Measure = fn(&mut Bench, &dyn Peer, usize) -> Result<()>;

impl Bench {
    /// One row for all. Each repetition is made with every supervisor before the next one: what else happens on the
    /// machine happens to all of them.
    fn row(&mut self, row: Row, peers: &[Box<dyn Peer>]) {
        let name = format!("{row:?}").to_lowercase();
        self.load.insert(name.clone(), procs::load());
        let (measure, times): (Measure, usize) = match row {
            Row::Restart => (Self::restart, self.plan.rounds),
            Row::Start => (Self::start, self.plan.times),
            Row::Many => (Self::many, 1),
            Row::Lines => (Self::lines, self.plan.times),
        };
        for time in 0..times {
            for (at, peer) in peers.iter().enumerate() {
                report::progress(&name, peer.name());
                if let Err(error) = measure(self, peer.as_ref(), at) {
                    report::failure(&error);
                    self.columns[at].failed.insert(format!("{name}, time {time}"), error.to_string());
                }
            }
        }
    }

    fn restart(&mut self, peer: &dyn Peer, at: usize) -> Result<()> {
        let figures = rows::restart(peer, &self.child, &self.plan)?;
        self.columns[at].restart_ms.extend(figures);
        Ok(())
    }

    fn start(&mut self, peer: &dyn Peer, at: usize) -> Result<()> {
        let (_, seconds) = rows::started(peer, &self.child, self.plan.services)?;
        self.columns[at].start_s.extend([seconds]);
        Ok(())
    }

    fn many(&mut self, peer: &dyn Peer, at: usize) -> Result<()> {
        let column = &mut self.columns[at];
        let (place, _) = rows::started(peer, &self.child, self.plan.services)?;
        // Past every start-up period (supervisord: 1 s, Helm: 10 s).
        procs::pause(self.plan.healthy);
        column.wakeups_per_s = Some(rows::wakeups(&place, self.plan.idle));
        column.memory = Some(rows::memory(&place));
        if let Some(daemon) = peer.daemon() {
            let helm = helm::Helm::of(&place)?;
            let (p50, p99) = helm.status(self.plan.calls)?;
            (column.status_p50_ms, column.status_p99_ms) = (Some(p50), Some(p99));
            column.adopt_s.extend(helm.adopt(&daemon, self.plan.times)?);
        }
        Ok(())
    }

    fn lines(&mut self, peer: &dyn Peer, at: usize) -> Result<()> {
        let flood = lines::flood(peer, &self.child, self.plan.lines)?;
        let column = &mut self.columns[at];
        column.lines_s.extend([flood.seconds]);
        *column.lines_lost.get_or_insert(0) += flood.lost;
        *column.lines_doubled.get_or_insert(0) += flood.doubled;
        Ok(())
    }

    fn report(self, without: Vec<String>) -> Report {
        let unix_time =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let kernel =
            std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let machine = Machine { kernel, processors, unix_time, load: self.load };
        Report { machine, plan: self.plan, peers: self.columns, without }
    }
}

/// Builds the service that all of them run.
fn compile(dir: &Path) -> Result<PathBuf> {
    let (source, child) = (dir.join("child.c"), dir.join("child"));
    std::fs::write(&source, include_str!("child.c")).map_err(Error::at(&source))?;
    let status = Command::new("cc").args(["-O2", "-static", "-o"]).arg(&child).arg(&source).status();
    match status.map_err(Error::at("cc"))? {
        status if status.success() => Ok(child),
        status => {
            Err(Error::Absent(format!("cc ended with {status}; a C compiler with a static libc is needed")))
        }
    }
}
