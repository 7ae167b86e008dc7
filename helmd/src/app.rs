//! Puts helmd together: home, lock, configuration, adoption, fleet, API; and takes it apart again.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use helm_core::event::News;
use helm_core::fleet::Fleet;
use helm_core::name::ServiceName;
use helm_core::spec::{Config, Fault, ServiceSpec, Severity};
use helm_core::status::RunId;
use helm_core::wish::{Mode, Wish};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use helm_shim::rundir::ServiceDir;
use helm_store::partition::RollPolicy;

use crate::changes::Changes;
use crate::drift::Drift;
use crate::home::{Home, HomeError, HomeLock, LockInfo};
use crate::journal::Journal;
use crate::keeper::{Command, Keeper, World};
use crate::memory::{Memories, MemoryFile};
use crate::probe::{self, Prober, Probes};
use crate::reaper::Reaper;
use crate::rpc::{self, Api, Facts};
use crate::sample::{Sampler, Sampling};
use crate::store::Store;
use crate::store::capture::Capture;
use crate::store::history::History;
use crate::store::keep::{Retention, Rules};
use crate::store::own::Lines;
use crate::supervisor::driver::{Driver, NewsSender};
use crate::supervisor::perform::Performer;
use crate::wishes::{self, WishFile};
use crate::{address, cgroup, clock, config, home, logging, programs, work};

/// Exit status when another helmd holds the home (the unit does not restart it then).
const HELD: u8 = 4;
/// All keepers are asked in parallel; one that does not answer within this is dealt with later.
const ADOPT_WITHIN: Duration = Duration::from_secs(15);
/// News that may wait for the driver, beside one life's worth for each service. Producers wait when it is full.
const NEWS: usize = 1024;
/// For ever, in a form that clocks can add.
const KEEP_THREADS: Duration = Duration::from_secs(u32::MAX as u64);
/// How long helmd takes to leave, whatever hangs.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// What the command line says.
#[derive(Debug)]
pub struct Options {
    /// The home.
    pub home: PathBuf,
    /// Mode of starts without one.
    pub default_mode: Option<Mode>,
    /// Log to stderr.
    pub foreground: bool,
}

/// Why helmd cannot run.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    #[error("the keeper's program helm-shim is not beside helmd ({0}) and not in PATH; build or install it")]
    NoShim(PathBuf),
    #[error("{what}")]
    Io { what: String, source: io::Error },
}

fn context(what: impl Into<String>) -> impl FnOnce(io::Error) -> StartError {
    let what = what.into();
    move |source| StartError::Io { what, source }
}

/// `helmd --check`
pub fn check(path: &Path, json: bool) -> ExitCode {
    let home = match Home::at(path) {
        Ok(home) => home,
        Err(e) => return fail(&e),
    };
    let (config, mut faults) = config::read(&home);
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
    let errors = faults.iter().filter(|f| f.severity == Severity::Error).count();
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

fn start(options: Options) -> Result<(), StartError> {
    // A store at work in a dozen threads would hold 10 MB of memory that is free.
    helm_shim::sys::few_heaps();
    let home = Home::open(&options.home)?;
    let mut lock = home.lock()?;
    let loaded = config::load(&home)?;
    let (_log, lines) =
        logging::init(&home, options.foreground).map_err(context("helmd's own log cannot be opened"))?;
    for warning in loaded.broken.iter().chain(&loaded.warnings) {
        tracing::warn!("{warning}");
    }
    // Orphans of killed keepers fall to us, with their exit codes.
    if let Err(e) = rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1)) {
        tracing::warn!("helmd cannot become a subreaper: {e}");
    }
    let nofile = raise_nofile();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(work::THREADS + loaded.config.services.len())
        // A thread that was made once stays: where there are no processes left, no new one can be made.
        .thread_keep_alive(KEEP_THREADS)
        .enable_all()
        .build()
        .map_err(context("the runtime cannot be started"))?;
    let result = runtime.block_on(run(options, home, &mut lock, loaded, nofile, lines));
    // A thread that hangs in a dead file system must not keep the lock.
    let left = result.as_ref().map_or(LEAVE_WITHIN, |until| until.saturating_duration_since(Instant::now()));
    runtime.shutdown_timeout(left);
    result.map(drop)
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

/// Runs until helmd leaves; answers until when it may take to have left.
async fn run(
    options: Options,
    home: Home,
    lock: &mut HomeLock,
    loaded: config::Loaded,
    nofile: Rlimit,
    lines: Lines,
) -> Result<Instant, StartError> {
    let config::Loaded { config, mut warnings, broken, reading } = loaded;
    let default_mode = options.default_mode.or(config.settings.default_mode).unwrap_or_default();
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let reaper = Reaper::default();
    tasks.spawn(watch_children(reaper.clone(), stop.clone()));

    let world = Arc::new(world(&home, config, nofile, reaper.clone())?);
    let removed = removed(&world);
    // An entry that names no program any more stands back until what runs under its name has ended.
    let stays = |spec: &&ServiceSpec| removed.iter().all(|gone| gone.name != spec.name);
    let services: Vec<ServiceSpec> =
        world.config.services.iter().filter(stays).chain(&removed).cloned().collect();
    let runnable: Vec<Arc<ServiceSpec>> = services.iter().cloned().map(Arc::new).collect();
    let (news, heard) = mpsc::channel(NEWS + 16 * runnable.len());
    let keepers = spawn_keepers(&runnable, &world, &news, &tasks, &stop);
    let file = WishFile::of(&home);
    let (memory, memories) = MemoryFile::open(&home);
    let kept = usize::try_from(world.config.settings.events_kept).unwrap_or(usize::MAX);
    let (journal, writer) = Journal::open(&home, kept, memory);
    let written = journal.ends();
    let told = |service: &ServiceName| told(service, &memories, &written);
    let (found, wishes) = adopt(&keepers, told, &file, &mut warnings).await;

    let journal_written = writer.start().map_err(context("the journal's thread cannot be started"))?;
    let changes = Changes::new(tasks.clone(), stop.clone());
    let roll = RollPolicy { rows: world.config.settings.partition_rows, ..RollPolicy::default() };
    let store = Store::start(home.clone(), roll, &tasks, stop.clone());
    let retention = Retention::new(Rules::of(&world.config.settings));
    retention.start(store.clone(), &tasks, stop.clone());
    lines.start(store.clone(), &tasks, stop.clone());
    let capture = Capture {
        store: store.clone(),
        changes: changes.clone(),
        logs: home.logs(),
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    runnable.iter().filter(|spec| spec.program.is_some()).for_each(|spec| capture.follow(spec));
    let base_env = Arc::new(world.base_env.clone());
    let prober = Prober {
        news: news.clone(),
        cap: Arc::new(Semaphore::new(usize::try_from(world.config.settings.probe_cap).unwrap_or(64).max(1))),
        reaper,
        shim: world.shim.clone(),
        base_env,
        logs: home.logs(),
        changes: changes.clone(),
        tls: probe::tls(),
        tasks: tasks.clone(),
    };
    let performer = Performer {
        keepers,
        specs: runnable.iter().map(|s| (s.name.clone(), s.clone())).collect(),
        probes: Probes::new(prober),
        journal: journal.clone(),
        news,
        tasks: tasks.clone(),
        stop: stop.clone(),
        watches: BTreeMap::new(),
        begun: BTreeMap::new(),
    };
    let mut fleet = Fleet::new(
        services,
        wishes.wishes.clone(),
        memories,
        first_run(),
        world.config.settings.start_cap,
        clock::now(),
    );
    fleet.ends_written(written);
    let path = file.path().to_owned();
    let writer = file.writer().map_err(context("the thread that writes the wishes cannot be started"))?;
    let (driver, supervisor) =
        Driver::new(fleet, wishes, (path, writer), default_mode, performer, heard, stop.clone());

    let settings = &world.config.settings;
    let sampling = Sampling {
        supervisor: supervisor.clone(),
        store: store.clone(),
        settings: settings.metrics.clone(),
        tree: world.cgroups.tree.clone(),
        home: home.path().to_owned(),
        logs: home.logs(),
    };
    let closing = store.clone();
    let sampler = Sampler::start(sampling, &tasks, &stop);
    let history = History {
        store: store.clone(),
        journal: journal.clone(),
        supervisor: supervisor.clone(),
        sampler: sampler.clone(),
        age: settings.retention.get("default").and_then(|keep| keep.age),
    };
    let leave = stop.clone();
    tasks.spawn(async move { leave.run_until_cancelled(history.run()).await });
    let socket = address::bind(&home, settings.peer_group.as_deref()).map_err(|e| StartError::Io {
        what: format!("the socket {} cannot be made", e.path.display()),
        source: e.source,
    })?;
    let missing = Arc::new(OnceLock::new());
    tasks.spawn(look_for_programs(world.clone(), missing.clone(), stop.clone()));
    let facts = Facts {
        socket: socket.path.to_string_lossy().into_owned(),
        boot_id: home::boot_id(),
        started: clock::wall(),
        default_mode,
        containment_detail: world.cgroups.detail.clone(),
        cgroup: world.cgroups.tree.is_some(),
        warnings,
        missing,
        drift: Arc::new(Drift::new(world.clone(), retention.clone(), reading, broken)),
        home,
    };
    let info = LockInfo {
        pid: std::process::id(),
        boot_id: facts.boot_id.clone(),
        socket: facts.socket.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: facts.started.0,
    };
    lock.announce(&info).map_err(context("the lock file cannot be written"))?;
    let api = Api {
        supervisor,
        journal,
        changes,
        store,
        retention,
        sampler,
        specs: Arc::new(runnable),
        facts: Arc::new(facts),
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    tracing::info!(socket = %socket.path.display(), services = world.config.services.len(), "helmd {} is up", env!("CARGO_PKG_VERSION"));
    let signals = tokio::spawn(leave_on_signals(stop.clone()));
    let driving = tokio::spawn(driver.run(found));
    let serving = tokio::spawn(rpc::serve(api, socket.listener, socket.admission, stop.clone()));
    logging::announce_ready(options.foreground);

    let (served, until) = until_left(serving, &stop).await;
    stop.cancel();
    if let Some(Ok(Err(e))) = served {
        tracing::error!("the API ended: {e}");
    }
    tasks.close();
    let ended = async {
        let _ = driving.await;
        let _ = signals.await;
        tasks.wait().await;
    };
    if timeout_at(until, ended).await.is_err() {
        tracing::warn!("{} task(s) did not end within {LEAVE_WITHIN:?}", tasks.len());
    }
    // What is not closed in time, the next start reads from its journals.
    let _ = timeout_at(until, closing.close()).await;
    // The journal's senders are gone with the driver and the API: its thread has written everything.
    let _ = timeout_at(until, journal_written).await;
    tracing::info!("helmd has left; services stay");
    Ok(until)
}

fn world(home: &Home, config: Config, nofile: Rlimit, reaper: Reaper) -> Result<World, StartError> {
    Ok(World {
        home: home.clone(),
        shim: find_shim()?,
        base_env: config::own_environment(),
        cgroups: cgroup::find(config.settings.cgroup_tree.as_deref()),
        config,
        nofile,
        reaper,
    })
}

/// After the start: nobody waits for the directories of services.
async fn look_for_programs(world: Arc<World>, missing: Arc<OnceLock<Vec<String>>>, stop: CancellationToken) {
    let base_env = Arc::new(world.base_env.clone());
    let look = programs::looked_for(Arc::new(world.config.clone()), base_env);
    let Some(faults) = stop.run_until_cancelled(look).await else { return };
    let warnings: Vec<String> = faults.iter().map(ToString::to_string).collect();
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    // The only one who says it.
    let _ = missing.set(warnings);
}

/// Beside helmd first: the versions belong together.
fn find_shim() -> Result<PathBuf, StartError> {
    let own = std::env::current_exe().map_err(context("helmd cannot find itself"))?;
    let beside = own.with_file_name("helm-shim");
    if beside.is_file() {
        return Ok(beside);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|d| d.join("helm-shim"))
        .find(|p| p.is_file())
        .ok_or(StartError::NoShim(beside))
}

fn spawn_keepers(
    specs: &[Arc<ServiceSpec>],
    world: &Arc<World>,
    news: &NewsSender,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> BTreeMap<ServiceName, Keeper> {
    let runnable = specs.iter().filter(|spec| spec.program.is_some());
    let spawn = |spec: &Arc<ServiceSpec>| {
        Keeper::spawn(spec.clone(), world.clone(), news.clone(), tasks, stop.clone())
    };
    runnable.map(|spec| (spec.name.clone(), spawn(spec))).collect()
}

/// Waits for the end of the API. Once helmd leaves, a client that does not read keeps it no longer than a moment: half of
/// the time that helmd has to leave, whose end is the second answer.
async fn until_left<T>(
    mut serving: tokio::task::JoinHandle<T>,
    stop: &CancellationToken,
) -> (Option<Result<T, tokio::task::JoinError>>, Instant) {
    tokio::select! {
        served = &mut serving => return (Some(served), Instant::now() + LEAVE_WITHIN),
        () = stop.cancelled() => {}
    }
    let until = Instant::now() + LEAVE_WITHIN;
    match timeout_at(until - LEAVE_WITHIN / 2, &mut serving).await {
        Ok(served) => (Some(served), until),
        Err(_) => {
            serving.abort();
            (None, until)
        }
    }
}

/// The newest run of a service whose end the former helmd has dealt with. Where it has left nothing, what was told in the
/// events is history.
fn told(service: &ServiceName, memories: &Memories, written: &BTreeMap<ServiceName, RunId>) -> Option<RunId> {
    match memories.get(service) {
        Some(memory) => memory.newest_told(),
        None => written.get(service).copied(),
    }
}

/// Asks all keepers in parallel; what they answer is told to the fleet before it acts. Also the wishes.
async fn adopt(
    keepers: &BTreeMap<ServiceName, Keeper>,
    told: impl Fn(&ServiceName) -> Option<RunId>,
    file: &WishFile,
    warnings: &mut Vec<String>,
) -> (Vec<(ServiceName, News)>, wishes::Loaded) {
    let asked: Vec<_> = keepers
        .iter()
        .map(|(name, keeper)| {
            let (reply, answer) = oneshot::channel();
            (name.clone(), keeper.order(Command::Adopt { told: told(name), reply }), answer)
        })
        .collect();
    let until = Instant::now() + ADOPT_WITHIN;
    let mut found = Vec::new();
    for (name, ordered, mut answer) in asked {
        let in_time = timeout_at(until, &mut answer).await;
        // From here on the keeper's task sees that it is late, and tells it as news.
        answer.close();
        let answered = in_time.ok().and_then(Result::ok).or_else(|| answer.try_recv().ok());
        match (ordered, answered) {
            (Ok(()), Some(news)) => found.extend(news.into_iter().map(|n| (name.clone(), n))),
            _ => {
                warnings.push(format!(
                    "{name}: its keeper did not answer within {ADOPT_WITHIN:?}; see `helmctl status {name}`"
                ));
                found.push((name, News::Silent));
            }
        }
    }
    let mut loaded = file.load();
    if let Some(warning) = &loaded.warning {
        tracing::error!("{warning}");
    }
    if !loaded.known {
        // What runs is taken for what is wanted.
        for (name, news) in &found {
            if let News::Found { mode, .. } = news {
                let wish = Wish { run: true, mode: *mode, ..Wish::default() };
                loaded.wishes.services.insert(name.clone(), wish);
            }
        }
    }
    (found, loaded)
}

/// Services that are configured no more and of which something lives: they are seen, can be stopped, and never start.
fn removed(world: &World) -> Vec<ServiceSpec> {
    let known = helm_shim::rundir::services(world.home.path()).unwrap_or_default();
    let lives = |name: ServiceName| {
        let record = crate::keeper::last_record(&ServiceDir::new(world.home.path(), &name)).ok().flatten();
        let state = record.filter(|state| !state.over)?;
        tracing::warn!(service.name = %name, process.pid = state.pid, "no longer in services.json, and runs");
        Some(ServiceSpec::removed(name, state.definition.unwrap_or_default()))
    };
    let runs = |name: &ServiceName| world.config.service(name.as_str()).is_some_and(|s| s.program.is_some());
    known.into_iter().filter(|name| !runs(name)).filter_map(lives).collect()
}

/// Run ids rise with the wall clock, so that they are new after every restart of helmd; the fleet counts on from here.
fn first_run() -> RunId {
    RunId(u64::try_from(clock::wall().0).unwrap_or(1))
}

async fn watch_children(reaper: Reaper, stop: CancellationToken) {
    if let Err(e) = reaper.run(stop).await {
        tracing::error!("orphans cannot be watched: {e}");
    }
}

/// SIGTERM, SIGINT: helmd leaves, services stay.
async fn leave_on_signals(stop: CancellationToken) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be watched");
        return;
    };
    tokio::select! {
        () = stop.cancelled() => return,
        _ = term.recv() => tracing::info!("SIGTERM: helmd leaves, services stay"),
        _ = int.recv() => tracing::info!("SIGINT: helmd leaves, services stay"),
    }
    stop.cancel();
}
