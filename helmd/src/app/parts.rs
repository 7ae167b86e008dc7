//! What a life of helmd is put together from: each part is made here, [`super::life`] connects them.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use helm_core::fleet::Fleet;
use helm_core::name::ServiceName;
use helm_core::spec::{Config, ServiceSpec};
use helm_core::status::RunId;
use helm_core::wish::Mode;
use helm_store::partition::RollPolicy;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::adopt::removed;
use super::replace::Successor;
use super::{Process, StartError, find_shim};
use crate::changes::Changes;
use crate::home;
use crate::incident::shelf::Shelf;
use crate::incident::{Recorder, Report, Reporter};
use crate::journal::{self, Journal};
use crate::keeper::{Keeper, World};
use crate::leave::Leave;
use crate::memory::{Memories, MemoryFile};
use crate::probe::{self, Prober, Probes};
use crate::reaper::Reaper;
use crate::rpc::Facts;
use crate::sample::{Sampler, Sampling};
use crate::store::capture::Capture;
use crate::store::history::History;
use crate::store::keep::{Retention, Rules};
use crate::store::{Store, Tuning};
use crate::supervisor::Supervisor;
use crate::supervisor::driver::NewsSender;
use crate::supervisor::perform::Performer;
use crate::wishes::{Loaded, WishFile};
use crate::{cgroup, clock, config, programs};

/// What all parts of a life stand on.
pub(crate) struct Ground {
    /// What keepers share, the configuration among it.
    pub(crate) world: Arc<World>,
    /// What is looked after: what is configured, and what is configured no more and still runs.
    pub(crate) specs: Arc<Vec<Arc<ServiceSpec>>>,
    /// Of starts without one.
    pub(crate) mode: Mode,
    /// Ends this life.
    pub(crate) leave: Leave,
    /// Told when it ends.
    pub(crate) stop: CancellationToken,
    /// All that it waits for then.
    pub(crate) tasks: TaskTracker,
}

impl Ground {
    /// For this configuration. Blocking.
    pub(super) fn of(process: &Process, config: Config) -> Result<Self, StartError> {
        let mode = process.options.default_mode.or(config.settings.default_mode).unwrap_or_default();
        let world = Arc::new(World {
            home: process.home.clone(),
            shim: find_shim()?,
            base_env: config::own_environment(),
            cgroups: cgroup::find(config.settings.cgroup_tree.as_deref()),
            config,
            nofile: process.nofile,
            reaper: Reaper::default(),
        });
        let stop = CancellationToken::new();
        let specs = Arc::new(services(&world));
        let leave = Leave::new(stop.clone());
        let ground = Self { world, specs, mode, leave, stop, tasks: TaskTracker::new() };
        ground.tasks.spawn(watch_children(ground.world.reaper.clone(), ground.stop.clone()));
        Ok(ground)
    }

    /// Work that ends with this life, wherever it is then.
    pub(super) fn until_over(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(work).await });
    }

    /// A task for each that runs something.
    pub(super) fn keepers(&self, news: &NewsSender) -> BTreeMap<ServiceName, Keeper> {
        let runnable = self.specs.iter().filter(|spec| spec.program.is_some());
        let spawn = |spec: &Arc<ServiceSpec>| {
            Keeper::spawn(spec.clone(), self.world.clone(), news.clone(), &self.tasks, self.stop.clone())
        };
        runnable.map(|spec| (spec.name.clone(), spawn(spec))).collect()
    }

    /// What the fleet decides is done by it.
    pub(super) fn performer(
        &self,
        keepers: BTreeMap<ServiceName, Keeper>,
        news: NewsSender,
        (journal, incidents): (&Journal, Reporter),
        changes: &Changes,
    ) -> Performer {
        let probes = usize::try_from(self.world.config.settings.probe_cap).unwrap_or(64).max(1);
        let prober = Prober {
            news: news.clone(),
            cap: Arc::new(Semaphore::new(probes)),
            reaper: self.world.reaper.clone(),
            shim: self.world.shim.clone(),
            base_env: Arc::new(self.world.base_env.clone()),
            logs: self.world.home.logs(),
            changes: changes.clone(),
            tls: probe::tls(),
            tasks: self.tasks.clone(),
        };
        Performer {
            keepers,
            specs: self.specs.iter().map(|s| (s.name.clone(), s.clone())).collect(),
            probes: Probes::new(prober),
            journal: journal.clone(),
            incidents,
            news,
            tasks: self.tasks.clone(),
            stop: self.stop.clone(),
            watches: BTreeMap::new(),
            begun: BTreeMap::new(),
        }
    }

    /// The one that decides.
    pub(super) fn fleet(
        &self,
        wishes: &Loaded,
        memories: Memories,
        written: BTreeMap<ServiceName, RunId>,
    ) -> Fleet {
        let services = self.specs.iter().map(|spec| ServiceSpec::clone(spec)).collect();
        let start_cap = self.world.config.settings.start_cap;
        let mut fleet =
            Fleet::new(services, wishes.wishes.clone(), memories, first_run(), start_cap, clock::now());
        fleet.ends_written(written);
        fleet
    }

    /// Numbers.
    pub(super) fn sampler(&self, supervisor: &Supervisor, store: &Store) -> Sampler {
        let sampling = Sampling {
            supervisor: supervisor.clone(),
            store: store.clone(),
            settings: self.world.config.settings.metrics.clone(),
            tree: self.world.cgroups.tree.clone(),
            home: self.world.home.path().to_owned(),
            logs: self.world.home.logs(),
        };
        Sampler::start(sampling, &self.tasks, &self.stop)
    }

    /// Unexpected ends are looked into. Ends with the driver, and what that reported is written down then.
    pub(super) fn record(&self, journal: &Journal, sampler: &Sampler, reports: mpsc::Receiver<Report>) {
        let recorder = Recorder {
            home: self.world.home.clone(),
            journal: journal.clone(),
            sampler: sampler.clone(),
            specs: self.specs.clone(),
            cgroup: self.world.cgroups.tree.is_some(),
            given: AtomicU64::default(),
        };
        self.tasks.spawn(recorder.run(reports));
    }

    /// Events and states go into the store; what becomes of the store itself is an event.
    pub(super) fn tell_store(
        &self,
        journal: &Journal,
        supervisor: &Supervisor,
        sampler: &Sampler,
        store: &Store,
    ) {
        let retention = &self.world.config.settings.retention;
        let history = History {
            store: store.clone(),
            journal: journal.clone(),
            shelf: Shelf::of(&self.world.home),
            supervisor: supervisor.clone(),
            sampler: sampler.clone(),
            age: retention.get("default").and_then(|keep| keep.age),
        };
        self.until_over(history.run());
        let (store, journal) = (store.clone(), journal.clone());
        self.until_over(async move { store.tell(&journal).await });
    }

    /// What does not change in this life.
    pub(super) fn facts(&self, process: &Process, warnings: Vec<String>) -> Facts {
        let missing = Arc::new(OnceLock::new());
        self.until_over(look_for_programs(self.world.clone(), missing.clone()));
        Facts {
            socket: process.sockets.address(),
            boot_id: home::boot_id(),
            started: process.started,
            default_mode: self.mode,
            cgroups: self.world.cgroups.clone(),
            warnings,
            missing,
            rules: Arc::new(self.world.config.settings.rules()),
            web: self.world.config.settings.web.clone(),
            home: self.world.home.clone(),
        }
    }

    /// The program that may take over.
    pub(super) fn successor(&self, process: &Process) -> Successor {
        Successor {
            program: process.program.clone(),
            home: process.home.clone(),
            reaper: self.world.reaper.clone(),
        }
    }
}

/// What former lives left.
pub(super) struct Past {
    pub(super) wishes: WishFile,
    pub(super) memories: Memories,
    pub(super) journal: Journal,
    pub(super) writer: journal::Writer,
    /// The newest run of each service whose end stands in the journal.
    pub(super) written: BTreeMap<ServiceName, RunId>,
}

impl Past {
    /// Blocking.
    pub(super) fn of(ground: &Ground) -> Self {
        let World { home, config, .. } = &*ground.world;
        let (memory, memories) = MemoryFile::open(home);
        let kept = usize::try_from(config.settings.events_kept).unwrap_or(usize::MAX);
        let (journal, writer) = Journal::open(home, kept, memory);
        let written = journal.ends();
        Self { wishes: WishFile::of(home), memories, journal, writer, written }
    }
}

/// What is kept, and for how long.
pub(super) struct Kept {
    pub(super) store: Store,
    pub(super) retention: Retention,
    pub(super) changes: Changes,
}

impl Kept {
    /// Begins to keep what services print, and helmd's own log.
    pub(super) fn start(ground: &Ground, process: &Process) -> Self {
        let Ground { tasks, stop, world, .. } = ground;
        let settings = &world.config.settings;
        let roll = RollPolicy { rows: settings.partition_rows, ..RollPolicy::default() };
        let tuning = Tuning { roll, trigrams: settings.trigrams };
        let store = Store::start(world.home.clone(), tuning, tasks, stop.clone());
        let retention = Retention::new(Rules::of(settings));
        retention.start(store.clone(), tasks, stop.clone());
        process.lines.clone().start(store.clone(), tasks, stop.clone());
        let changes = Changes::new(tasks.clone(), stop.clone());
        let capture = Capture {
            store: store.clone(),
            changes: changes.clone(),
            logs: world.home.logs(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        ground.specs.iter().filter(|spec| spec.program.is_some()).for_each(|spec| capture.follow(spec));
        Self { store, retention, changes }
    }
}

/// An entry that names no program any more stands back until what runs under its name has ended.
fn services(world: &World) -> Vec<Arc<ServiceSpec>> {
    let removed = removed(world);
    let stays = |spec: &&ServiceSpec| removed.iter().all(|gone| gone.name != spec.name);
    world.config.services.iter().filter(stays).chain(&removed).cloned().map(Arc::new).collect()
}

/// After the start: nobody waits for the directories of services.
async fn look_for_programs(world: Arc<World>, missing: Arc<OnceLock<Vec<String>>>) {
    let base_env = Arc::new(world.base_env.clone());
    let faults = programs::looked_for(Arc::new(world.config.clone()), base_env).await;
    let warnings: Vec<String> = faults.iter().map(ToString::to_string).collect();
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    // The only one who says it.
    let _ = missing.set(warnings);
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
