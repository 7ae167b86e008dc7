//! The process: home, lock and log, and one life of helmd after another in it ([`life`]).
//!
//! A reload is a new life in the same process, by another configuration; a new program is a new life as well ([`replace`]).
//! What is kept over them is in [`Process`]: the lock, the listening socket, what signals asked for.

mod adopt;
mod life;
pub(crate) mod parts;
pub mod replace;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use helm_core::spec::Fault;
use helm_core::time::Wall;
use helm_core::wish::Mode;
use replace::Handover;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::access::Access;
use crate::address::{Left, Sockets};
use crate::home::{Home, HomeError, HomeLock};
use crate::leave::Then;
use crate::logging::Log;
use crate::signals::Signals;
use crate::store::own::Lines;
use crate::versions::{self, Begin, BeginError, Begun, Versions};
use crate::{beside, cgroup, clock, config, logging, programs, systemd, work};

/// Exit status when another helmd holds the home (the unit does not restart it then).
const HELD: u8 = 4;
/// For ever, in a form that clocks can add.
const KEEP_THREADS: Duration = Duration::from_secs(u32::MAX as u64);
/// How long helmd takes to leave, whatever hangs.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// Until a next life is tried again that could not begin: no memory, no processes left.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What the command line says.
#[derive(Debug)]
pub struct Options {
    /// The home.
    pub home: PathBuf,
    /// Mode of starts without one.
    pub default_mode: Option<Mode>,
    /// Log to stderr.
    pub foreground: bool,
    /// A former program in this process leaves this.
    pub handover: Option<Handover>,
}

/// Why helmd cannot run.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Config(#[from] BeginError),
    #[error("the keeper's program helm-shim is not beside helmd ({0}) and not in PATH; build or install it")]
    NoShim(PathBuf),
    #[error("{what}")]
    Io { what: String, source: io::Error },
}

fn context(what: impl Into<String>) -> impl FnOnce(io::Error) -> StartError {
    let what = what.into();
    move |source| StartError::Io { what, source }
}

/// `helmd --check`. `in_force`: not of the files, but of the configuration that is in force, as a helmd that takes the place of
/// another one would begin.
pub fn check(path: &Path, json: bool, in_force: bool) -> ExitCode {
    let home = match Home::at(path) {
        Ok(home) => home,
        Err(e) => return fail(&e),
    };
    if in_force && let Err(e) = find_shim() {
        return fail(&e);
    }
    let versions = Versions::of(&home);
    let current = versions.standing().current.filter(|_| in_force).and_then(|number| versions.read(number));
    let config::Read { config, mut faults, .. } = current.unwrap_or_else(|| config::read(&home));
    let ok = !config::faulty(&faults);
    if let Some(config) = config {
        faults.extend(programs::missing(&config, &config::own_environment()));
    }
    let code = if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let mut out = io::stdout().lock();
    if json {
        let _ = writeln!(
            out,
            "{}",
            serde_json::json!({ "ok": ok, "faults": faults.iter().map(fault_json).collect::<Vec<_>>() })
        );
        return code;
    }
    for fault in &faults {
        let _ = writeln!(out, "{fault}");
    }
    let errors = faults.iter().filter(|f| f.severity == helm_core::spec::Severity::Error).count();
    let _ = writeln!(out, "{errors} error(s), {} warning(s)", faults.len() - errors);
    code
}

fn fault_json(fault: &Fault) -> serde_json::Value {
    let f = helm_proto::convert::fault(fault);
    serde_json::json!({
        "file": f.file, "line": f.line, "column": f.column, "field": f.field,
        "severity": f.severity, "message": f.message, "hint": f.hint,
    })
}

/// Where the keeper's program should be, if it is nowhere.
pub(crate) fn shim_missing_at() -> Option<PathBuf> {
    match find_shim() {
        Err(StartError::NoShim(place)) => Some(place),
        Ok(_) | Err(_) => None,
    }
}

/// `helmd --hold-tree`
pub fn hold_tree() -> ExitCode {
    match cgroup::hold_tree() {
        Ok(never) => match never {},
        Err(e) => fail(&e),
    }
}

/// Runs helmd until it is told to leave.
pub fn main(options: Options) -> ExitCode {
    match start(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e @ StartError::Home(HomeError::Held { .. })) => {
            fail(&e);
            ExitCode::from(HELD)
        }
        Err(e) => fail(&e),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "helmd: {error}");
    let mut cause = error.source();
    while let Some(next) = cause {
        let _ = writeln!(err, "  cause: {next}");
        cause = next.source();
    }
    ExitCode::FAILURE
}

/// What outlives a life.
struct Process {
    options: Options,
    home: Home,
    lock: HomeLock,
    /// Where this program is found: what is there takes its place when that is asked for.
    program: PathBuf,
    /// Clients wait in their queues while one life follows another.
    sockets: Sockets,
    signals: Signals,
    /// Tokens, sessions and codes.
    access: Access,
    versions: Versions,
    /// helmd's own log, on its way into the store.
    lines: Lines,
    log: Log,
    /// The limit of open files that helmd was started with.
    nofile: Rlimit,
    /// When this program began.
    started: Wall,
    /// Whoever started it knows that it is ready.
    ready: bool,
}

fn start(options: Options) -> Result<(), StartError> {
    // A store at work in a dozen threads would hold 10 MB of memory that is free.
    helm_shim::sys::few_heaps();
    let home = Home::open(&options.home)?;
    let program = replace::own_program().map_err(context("helmd cannot find itself"))?;
    let (lock, left, how) = match options.handover {
        Some(handover) => {
            let handed = context("what the former program handed over cannot be used");
            let (lock, left) = handover.take().map_err(handed)?;
            let lock = HomeLock::inherited(&home, lock).map_err(context("the lock was not handed over"))?;
            (lock, left, Begin::InForce)
        }
        None => {
            let given = systemd::listener()
                .map_err(context("the socket of systemd (helmd.socket) cannot be used"))?;
            let of_systemd = given.is_some();
            (home.lock()?, Left { own: given, of_systemd, ..Left::default() }, Begin::Files)
        }
    };
    let versions = Versions::of(&home);
    let begun = versions::begin(&home, &versions, how)?;
    let signals = Signals::listen().map_err(context("signals cannot be heard"))?;
    let (log, lines) =
        logging::init(&home, options.foreground).map_err(context("helmd's own log cannot be opened"))?;
    // Orphans of killed keepers fall to us, with their exit codes.
    if let Err(e) = rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1)) {
        tracing::warn!("helmd cannot become a subreaper: {e}");
    }
    let own = raise_nofile();
    let nofile = options.handover.map_or(own, |handover| handover.nofile(own));
    let access = Access::open(&home);
    let started = clock::wall();
    let process = Process {
        options,
        home,
        lock,
        program,
        sockets: Sockets::after(left),
        signals,
        access,
        versions,
        lines,
        nofile,
        started,
        log,
        ready: false,
    };
    process.live(begun)
}

impl Process {
    /// Until helmd leaves, and its sockets with it.
    fn live(mut self, first: Begun) -> Result<(), StartError> {
        let ended = self.lives(first);
        self.sockets.remove();
        ended
    }

    /// One life after another, until helmd leaves.
    fn lives(&mut self, first: Begun) -> Result<(), StartError> {
        let runtime = runtime(&first)?;
        let mut then = self.life(first, runtime)?;
        loop {
            match then {
                Then::Nothing => return Ok(()),
                Then::Again => {}
                // A signal that came meanwhile is more.
                Then::Replace if self.signals.leaves() => return Ok(()),
                Then::Replace => {
                    self.log.flush();
                    let e = self.give_way();
                    tracing::error!(
                        "{} could not take over, the former program goes on: {e}",
                        self.program.display()
                    );
                }
            }
            then = match self.next_life() {
                Ok(then) => then,
                Err(e) if self.signals.leaves() => return Err(e),
                Err(e) => {
                    // Services stay, and the lock is held: what is missing now may be there in a moment.
                    tracing::error!("helmd cannot go on yet: {e}");
                    std::thread::park_timeout(AGAIN_AFTER);
                    Then::Again
                }
            };
        }
    }

    /// Once: what whoever started us waits for.
    fn say_ready(&mut self) {
        if !std::mem::replace(&mut self.ready, true) {
            logging::announce_ready(self.options.foreground);
            systemd::ready();
        }
    }

    fn next_life(&mut self) -> Result<Then, StartError> {
        let begun = versions::begin(&self.home, &self.versions, Begin::InForce)?;
        let runtime = runtime(&begun)?;
        self.life(begun, runtime)
    }

    fn life(&mut self, begun: Begun, runtime: Runtime) -> Result<Then, StartError> {
        for warning in begun.alert.iter().chain(&begun.warnings) {
            tracing::warn!("{warning}");
        }
        let ended = runtime.block_on(life::run(self, begun));
        // A thread that hangs in a dead file system must not keep the lock, or the next life.
        let left =
            ended.as_ref().map_or(LEAVE_WITHIN, |(_, until)| until.saturating_duration_since(Instant::now()));
        runtime.shutdown_timeout(left);
        ended.map(|(then, _)| then)
    }
}

/// Each life has a runtime of its own: no task of one reaches into the next.
fn runtime(begun: &Begun) -> Result<Runtime, StartError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(work::THREADS + begun.config.services.len())
        // A thread that was made once stays: where there are no processes left, no new one can be made.
        .thread_keep_alive(KEEP_THREADS)
        .enable_all()
        .build()
        .map_err(context("the runtime cannot be started"))
}

/// The keeper's program.
fn find_shim() -> Result<PathBuf, StartError> {
    beside::find("helm-shim").map_err(context("helmd cannot find itself"))?.map_err(StartError::NoShim)
}

/// helmd needs about four descriptors for each service.
fn raise_nofile() -> Rlimit {
    let own = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: own.maximum, maximum: own.maximum };
    if let Err(e) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the limit of open files cannot be raised: {e}");
    }
    own
}
