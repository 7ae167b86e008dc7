//! The sampler: numbers of services, of helmd and of the host, at every interval.
//!
//! ```text
//!  /proc, cgroups --> look --> tree (whose) --> reckon (two readings) --> series --> helm_store::metrics
//!                                                    '--> the newest usage, in memory: status
//! ```
//!
//! One thread of its own: the looking is blocking work, and an idle helmd wakes once for it, where a timer of the runtime and
//! its pool would wake it a dozen times. While the store is not open, the newest numbers are shown and not kept.

pub mod host;
pub mod leaf;
pub mod look;
pub mod proc;
pub mod reckon;
pub mod series;
pub mod tree;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use helm_core::incident;
use helm_core::name::ServiceName;
use helm_core::spec::MetricSettings;
use helm_core::status::{RunId, ServiceStatus};
use helm_core::time::Wall;
use helm_store::metrics::block::Sample;
use helm_store::metrics::{Metrics, MetricsHandle, Retention};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::store::Store;
use crate::supervisor::{FleetView, Supervisor};
use crate::{cgroup, clock};
use look::{Found, Look, Subject};
use reckon::Usage;
use series::Known;

/// What the sampler needs.
#[derive(Debug)]
pub struct Sampling {
    /// Whom to look at.
    pub supervisor: Supervisor,
    /// Where numbers are kept.
    pub store: Store,
    /// How often, and how long.
    pub settings: MetricSettings,
    /// The tree of the leaves, where there is one.
    pub tree: Option<PathBuf>,
    /// The home.
    pub home: PathBuf,
    /// Where captured output lies.
    pub logs: PathBuf,
}

/// Usages by service, each of a certain run.
pub type Latest = BTreeMap<ServiceName, (RunId, Usage)>;

/// The last numbers of each service's newest run, oldest first.
type Trails = Arc<Mutex<BTreeMap<ServiceName, (RunId, VecDeque<incident::Sample>)>>>;

/// Handle to what was sampled.
#[derive(Debug, Clone)]
pub struct Sampler {
    latest: watch::Receiver<Arc<Latest>>,
    trails: Trails,
    metrics: watch::Receiver<Option<MetricsHandle>>,
}

impl Sampler {
    /// Begins.
    pub fn start(sampling: Sampling, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        let (tell, latest) = watch::channel(Arc::default());
        let (opened, metrics) = watch::channel(None);
        let retention = retention(&sampling.settings);
        tasks.spawn(keep(sampling.store.clone(), retention, opened, tasks.clone(), stop.clone()));
        let trails = Trails::default();
        let (kept, stop, tracked) = (metrics.clone(), stop.clone(), trails.clone());
        let (until, stopped) = std::sync::mpsc::sync_channel(0);
        let (done, ended) = oneshot::channel();
        let work = move || {
            run(sampling, &tell, &tracked, &kept, &stopped);
            // Whoever waited may have given up.
            let _ = done.send(());
        };
        match std::thread::Builder::new().name("sampler".into()).spawn(work) {
            Ok(_) => {
                tasks.spawn(async move {
                    stop.cancelled().await;
                    drop::<SyncSender<()>>(until);
                    let _ = ended.await;
                });
            }
            Err(e) => tracing::error!("nothing is sampled: the thread cannot be started: {e}"),
        }
        Self { latest, trails, metrics }
    }

    /// The newest usage of a service, if it is of the run that it has now.
    pub fn usage(&self, status: &ServiceStatus) -> Option<Usage> {
        let latest = self.latest.borrow();
        let (run, usage) = latest.get(status.name.as_str())?;
        (status.run == Some(*run) && status.pid.is_some()).then_some(*usage)
    }

    /// The last numbers of a run, oldest first, also when it has ended; none once its service was seen in another one.
    pub fn trail(&self, service: &ServiceName, run: RunId) -> Vec<incident::Sample> {
        let trails = self.trails.lock().unwrap_or_else(PoisonError::into_inner);
        trails
            .get(service)
            .filter(|(of, _)| *of == run)
            .map_or_else(Vec::new, |(_, trail)| trail.iter().copied().collect())
    }

    /// A way to wait for newer ones.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Latest>> {
        self.latest.clone()
    }

    /// Kept numbers; `None` until the store is open.
    pub fn metrics(&self) -> Option<MetricsHandle> {
        self.metrics.borrow().clone()
    }
}

fn retention(settings: &MetricSettings) -> Retention {
    let nanos = |age: Duration| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
    Retention { raw: nanos(settings.raw), minutes: nanos(settings.minutes), hours: nanos(settings.hours) }
}

/// Keeps numbers whenever the store is open.
async fn keep(
    store: Store,
    retention: Retention,
    metrics: watch::Sender<Option<MetricsHandle>>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let work = store.while_open(|opened| {
        let over = stop.child_token();
        let (handle, work) =
            Metrics::start(opened.numbers.clone(), retention, || clock::wall().0, over.clone());
        tasks.spawn(work);
        metrics.send_replace(Some(handle));
        async move {
            let _over = over.drop_guard();
            opened.ended.cancelled().await;
        }
    });
    stop.run_until_cancelled(work).await;
}

/// Looks at every interval until the sender of `stopped` is dropped. Blocking.
fn run(
    sampling: Sampling,
    tell: &watch::Sender<Arc<Latest>>,
    trails: &Trails,
    metrics: &watch::Receiver<Option<MetricsHandle>>,
    stopped: &Receiver<()>,
) {
    let Sampling { supervisor, settings, tree, home, logs, .. } = sampling;
    let mut look = Look::new(home, logs, settings.interval);
    loop {
        let begin = Instant::now();
        let (view, at) = (supervisor.view(), clock::wall());
        let found = look.look(&subjects(&view, tree.as_deref(), at));
        let handle = metrics.borrow().clone();
        if let Some(handle) = handle {
            store(&handle, &found, &known(&view, at), at);
        }
        track(trails, &found, at);
        let latest = found.services.into_iter().map(|(name, run, usage)| (name, (run, usage))).collect();
        tell.send_replace(Arc::new(latest));
        let left = settings.interval.saturating_sub(begin.elapsed());
        if stopped.recv_timeout(left) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Adds to the trails.
fn track(trails: &Trails, found: &Found, at: Wall) {
    // Each change is a single step: a panic between them leaves nothing half done.
    let mut trails = trails.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, run, usage) in &found.services {
        let sample = incident::Sample { at, memory: usage.memory_bytes, cpu_percent: usage.cpu_percent };
        let (of, trail) = trails.entry(name.clone()).or_insert_with(|| (*run, VecDeque::new()));
        if std::mem::replace(of, *run) != *run {
            trail.clear();
        }
        if trail.len() >= incident::SAMPLES {
            trail.pop_front();
        }
        trail.push_back(sample);
    }
}

fn store(metrics: &MetricsHandle, found: &Found, known: &[Known], at: Wall) {
    for (key, value) in series::samples(found, known) {
        if let Err(why) = metrics.sample(&key, Sample { at: at.0, value }) {
            tracing::debug!(service.name = %key.service, metric = %key.metric, "a sample is not taken: {why}");
        }
    }
}

fn subjects(view: &FleetView, tree: Option<&std::path::Path>, now: Wall) -> Vec<Subject> {
    let subject = |s: &Arc<ServiceStatus>| {
        let run = s.run?;
        Some(Subject {
            name: s.name.clone(),
            run,
            main: s.pid?,
            age: uptime(s, now).unwrap_or(Duration::MAX),
            leaf: tree.map(|tree| cgroup::leaf(tree, &s.name, run)),
        })
    };
    view.services.iter().filter_map(subject).collect()
}

/// Time since the current run began, while it runs. A clock that was set back says nothing.
pub fn uptime(status: &ServiceStatus, now: Wall) -> Option<Duration> {
    status.pid?;
    u64::try_from(now.0 - status.started_at?.0).ok().map(Duration::from_nanos)
}

/// Of all that run or are to run.
fn known(view: &FleetView, now: Wall) -> Vec<Known> {
    let involved = view.services.iter().filter(|s| s.wanted || s.pid.is_some());
    let known = |s: &Arc<ServiceStatus>| Known {
        service: s.name.to_string(),
        restarts: s.restarts,
        uptime: uptime(s, now).map(|up| up.as_secs_f64()),
        latency: s.health_latency_us.map(|us| Duration::from_micros(us).as_secs_f64() * 1000.0),
    };
    involved.map(known).collect()
}
