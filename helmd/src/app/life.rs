//! One life of helmd: adoption, fleet, API, by one configuration; and the end of it, which ends no service.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use helm_core::fleet::Fleet;
use helm_core::name::ServiceName;
use helm_core::spec::{Config, ServiceSpec};
use helm_core::status::RunId;
use rustix::process::Rlimit;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use helm_store::partition::RollPolicy;

use super::adopt::{adopt, removed, told};
use super::replace::Successor;
use super::{LEAVE_WITHIN, Process, StartError, context};
use crate::address::Bound;
use crate::changes::Changes;
use crate::drift::{Drift, InForce};
use crate::home::{self, Home, LockInfo};
use crate::incident::shelf::Shelf;
use crate::incident::{self, Recorder};
use crate::journal::Journal;
use crate::keeper::{Keeper, World};
use crate::leave::{Leave, Then};
use crate::memory::MemoryFile;
use crate::probe::{self, Prober, Probes};
use crate::reaper::Reaper;
use crate::reload::plan::Wants;
use crate::reload::{Accepted, Asked, Reloads};
use crate::rpc::{self, Api, Facts};
use crate::sample::{Sampler, Sampling};
use crate::signals::{Signals, Told};
use crate::store::capture::Capture;
use crate::store::history::History;
use crate::store::keep::{Retention, Rules};
use crate::store::{Store, Tuning};
use crate::supervisor::driver::{Driver, NewsSender};
use crate::supervisor::perform::Performer;
use crate::versions::{Author, Begun};
use crate::wishes::WishFile;
use crate::{cgroup, clock, config, programs, systemd};

/// News that may wait for the driver, beside one life's worth for each service. Producers wait when it is full.
const NEWS: usize = 1024;

/// Runs until this life ends; answers what comes then, and until when it may take to have ended.
pub(super) async fn run(process: &mut Process, begun: Begun) -> Result<(Then, Instant), StartError> {
    let Begun { config, texts, since, mut warnings, alert, reading } = begun;
    let home = process.home.clone();
    let default_mode = process.options.default_mode.or(config.settings.default_mode).unwrap_or_default();
    let stop = CancellationToken::new();
    let leave = Leave::new(stop.clone());
    let tasks = TaskTracker::new();
    let reaper = Reaper::default();
    let successor = reaper.clone();
    tasks.spawn(watch_children(reaper.clone(), stop.clone()));

    let world = Arc::new(world(&home, config, process.nofile, reaper.clone())?);
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
    let settings = &world.config.settings;
    let roll = RollPolicy { rows: settings.partition_rows, ..RollPolicy::default() };
    let tuning = Tuning { roll, trigrams: settings.trigrams };
    let store = Store::start(home.clone(), tuning, &tasks, stop.clone());
    let retention = Retention::new(Rules::of(&world.config.settings));
    retention.start(store.clone(), &tasks, stop.clone());
    process.lines.clone().start(store.clone(), &tasks, stop.clone());
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
    let (incidents, reports) = incident::reporter();
    let answers = incidents.answers.clone();
    let performer = Performer {
        keepers,
        specs: runnable.iter().map(|s| (s.name.clone(), s.clone())).collect(),
        probes: Probes::new(prober),
        journal: journal.clone(),
        incidents,
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
    let specs = Arc::new(runnable);
    let recorder = Recorder {
        home: home.clone(),
        journal: journal.clone(),
        sampler: sampler.clone(),
        specs: specs.clone(),
        cgroup: world.cgroups.tree.is_some(),
    };
    // Ends with the driver, and what it reported is written down then.
    tasks.spawn(recorder.run(reports));
    let history = History {
        store: store.clone(),
        journal: journal.clone(),
        shelf: Shelf::of(&home),
        supervisor: supervisor.clone(),
        sampler: sampler.clone(),
        age: settings.retention.get("default").and_then(|keep| keep.age),
    };
    let over = stop.clone();
    tasks.spawn(async move { over.run_until_cancelled(history.run()).await });
    let (over, told, of) = (stop.clone(), journal.clone(), store.clone());
    tasks.spawn(async move { over.run_until_cancelled(of.tell(&told)).await });
    let socket = listening(process, settings.peer_group.as_deref())?;
    let listener = socket.listener().map_err(context("the socket cannot be listened at"))?;
    let (admission, address) = (socket.admission, socket.path.to_string_lossy().into_owned());
    let missing = Arc::new(OnceLock::new());
    tasks.spawn(look_for_programs(world.clone(), missing.clone(), stop.clone()));
    let facts = Facts {
        socket: address,
        boot_id: home::boot_id(),
        started: process.started,
        default_mode,
        containment_detail: world.cgroups.detail.clone(),
        cgroup: world.cgroups.tree.is_some(),
        warnings,
        missing,
        drift: Arc::new(Drift::new(
            world.clone(),
            retention.clone(),
            InForce { texts, since },
            (reading, alert),
        )),
        home,
    };
    let info = LockInfo {
        pid: std::process::id(),
        boot_id: facts.boot_id.clone(),
        socket: facts.socket.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: facts.started.0,
    };
    process.lock.announce(&info).map_err(context("the lock file cannot be written"))?;
    let drift = facts.drift.clone();
    let reloads = Reloads::new(facts.home.clone(), drift, supervisor.clone(), default_mode, leave.clone());
    let carry_out = reloads.clone().carry_out(Arc::new(world.config.clone()));
    let api = Api {
        supervisor,
        journal,
        changes,
        store,
        retention,
        sampler,
        specs,
        answers,
        facts: Arc::new(facts),
        tasks: tasks.clone(),
        stop: stop.clone(),
        leave: leave.clone(),
        reloads: reloads.clone(),
        successor: Successor {
            program: process.program.clone(),
            home: process.home.clone(),
            reaper: successor,
        },
    };
    tracing::info!(socket = %info.socket, services = world.config.services.len(), "helmd {} is up", env!("CARGO_PKG_VERSION"));
    let driving = tokio::spawn(driver.run(found));
    let serving = tokio::spawn(rpc::serve(api, listener, admission, stop.clone()));
    process.say_ready();
    let over = stop.clone();
    tasks.spawn(async move { over.run_until_cancelled(carry_out).await });

    let (served, until) = {
        let hear = hear(&mut process.signals, &leave, &reloads);
        let left = until_left(serving, &stop);
        tokio::pin!(left);
        tokio::select! {
            left = &mut left => left,
            () = hear => left.await,
        }
    };
    stop.cancel();
    if let Some(Ok(Err(e))) = served {
        tracing::error!("the API ended: {e}");
    }
    tasks.close();
    let ended = async {
        let _ = driving.await;
        tasks.wait().await;
    };
    if timeout_at(until, ended).await.is_err() {
        tracing::warn!("{} task(s) did not end within {LEAVE_WITHIN:?}", tasks.len());
    }
    // What is not closed in time, the next start reads from its journals.
    let _ = timeout_at(until, closing.close()).await;
    // The journal's senders are gone with the driver and the API: its thread has written everything.
    let _ = timeout_at(until, journal_written).await;
    let then = leave.then();
    match then {
        Then::Nothing => {
            systemd::leaving();
            tracing::info!("helmd has left; services stay");
        }
        Then::Again => tracing::info!("helmd begins again; services stay"),
        Then::Replace => tracing::info!("helmd gives way to the program on disk; services stay"),
    }
    Ok((then, until))
}

/// The socket of the process, made where there is none yet, or where another group is to use it.
fn listening<'p>(process: &'p mut Process, group: Option<&str>) -> Result<&'p Bound, StartError> {
    let kept = process.socket.take().filter(|socket| socket.serves(group));
    let socket = match (kept, process.inherited.take()) {
        (Some(socket), _) => Ok(socket),
        (None, Some(inherited)) => Bound::inherited(&process.home, group, inherited),
        (None, None) => Bound::new(&process.home, group),
    };
    let socket = socket.map_err(|e| StartError::Io {
        what: format!("the socket {} cannot be made", e.path.display()),
        source: e.source,
    })?;
    Ok(process.socket.insert(socket))
}

/// Until a signal ends this life.
async fn hear(signals: &mut Signals, leave: &Leave, reloads: &Reloads) {
    loop {
        match signals.next().await {
            Told::Leave(signal) => {
                tracing::info!("{signal}: helmd leaves, services stay");
                return leave.to(Then::Nothing);
            }
            Told::Reload => reload(reloads).await,
        }
    }
}

/// SIGHUP: there is nobody to be told but the log.
async fn reload(reloads: &Reloads) {
    let asked = Asked { wants: Wants { restart: true, start: true }, gate: None };
    let author = Author { by: "SIGHUP".to_owned(), why: "reload".to_owned() };
    match reloads.reload(asked, author).await {
        Ok(Accepted { plan, operation: None }) if plan.ok => {
            tracing::info!("SIGHUP: the configuration says what it said before");
        }
        Ok(Accepted { operation: Some(_), .. }) => {}
        Ok(Accepted { plan, operation: None }) => {
            tracing::error!(
                "SIGHUP: the configuration has faults (helmctl config check); nothing was changed"
            );
            plan.faults.iter().for_each(|fault| tracing::error!("{fault}"));
        }
        Err(e) => tracing::error!("SIGHUP: {e}"),
    }
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
pub(super) fn find_shim() -> Result<PathBuf, StartError> {
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

/// Run ids rise with the wall clock, so that they are new after every restart of helmd; the fleet counts on from here.
fn first_run() -> RunId {
    RunId(u64::try_from(clock::wall().0).unwrap_or(1))
}

async fn watch_children(reaper: Reaper, stop: CancellationToken) {
    if let Err(e) = reaper.run(stop).await {
        tracing::error!("orphans cannot be watched: {e}");
    }
}
