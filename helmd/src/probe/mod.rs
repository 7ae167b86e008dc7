//! Probes: tasks that ask and tell the answer as news. They run concurrently under one cap, the first one after a random
//! share of its interval, so that one hanging service delays nobody and a restarted helmd asks nobody at once with all.

mod connect;
mod exec;
mod http;
mod log;
mod tcp;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use helm_core::event::{Answer, News, ProbeKind};
use helm_core::name::ServiceName;
use helm_core::spec::{Check, Probe, ServiceSpec};
use helm_core::status::{Health, RunId};
use helm_core::time::Wall;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::changes::Changes;
use crate::clock;
use crate::reaper::{Reaper, RuntimeChild};
use crate::supervisor::driver::NewsSender;
use connect::Dialer;

/// What all probes share.
#[derive(Clone)]
pub struct Prober {
    /// Where answers go.
    pub news: NewsSender,
    /// Probes that may ask at the same time.
    pub cap: Arc<Semaphore>,
    /// Waits for the programs of exec probes.
    pub reaper: Reaper,
    /// helm-shim, which starts the programs of exec probes.
    pub shim: PathBuf,
    /// Environment that services begin with.
    pub base_env: Arc<BTreeMap<String, String>>,
    /// `logs/`
    pub logs: PathBuf,
    /// Tells of new output.
    pub changes: Changes,
    /// TLS without verification, for loopback only.
    pub tls: http::Tls,
    /// Owns the tasks.
    pub tasks: TaskTracker,
}

/// All running probes.
pub struct Probes {
    prober: Prober,
    running: BTreeMap<(ServiceName, ProbeKind), CancellationToken>,
    /// The run of each service whose startup was asked for.
    came_up: BTreeMap<ServiceName, RunId>,
}

/// TLS for probes.
pub fn tls() -> http::Tls {
    http::Tls::new()
}

impl Probes {
    /// None run yet.
    pub fn new(prober: Prober) -> Self {
        Self { prober, running: BTreeMap::new(), came_up: BTreeMap::new() }
    }

    /// Begins a probe of a run that was begun at `begun`; one of the same kind is replaced.
    pub fn on(&mut self, spec: Arc<ServiceSpec>, run: RunId, kind: ProbeKind, begun: Wall) {
        let probes = &spec.probes;
        let wanted = match kind {
            ProbeKind::Startup => probes.startup.as_ref(),
            // An external service without a readiness probe is asked what shows that it has come up.
            ProbeKind::Readiness => probes.readiness.as_ref().or(probes.startup.as_ref()),
            ProbeKind::Liveness => probes.liveness.as_ref(),
        };
        let Some(probe) = wanted.cloned() else { return };
        if kind == ProbeKind::Startup {
            self.came_up.insert(spec.name.clone(), run);
        }
        let came_up = self.came_up.get(&spec.name) == Some(&run);
        let key = (spec.name.clone(), kind);
        let stop = CancellationToken::new();
        if let Some(former) = self.running.insert(key, stop.clone()) {
            former.cancel();
        }
        let asking = Asking {
            prober: self.prober.clone(),
            spec,
            run,
            kind,
            probe,
            begun,
            came_up,
            dialer: Dialer::new(),
        };
        self.prober.tasks.spawn(async move {
            stop.run_until_cancelled(asking.go_on()).await;
        });
    }

    /// Ends a probe.
    pub fn off(&mut self, service: &ServiceName, kind: ProbeKind) {
        if let Some(stop) = self.running.remove(&(service.clone(), kind)) {
            stop.cancel();
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        for stop in self.running.values() {
            stop.cancel();
        }
    }
}

/// One probe of one run.
struct Asking {
    prober: Prober,
    spec: Arc<ServiceSpec>,
    run: RunId,
    kind: ProbeKind,
    probe: Probe,
    begun: Wall,
    /// A startup probe of this run was asked before.
    came_up: bool,
    dialer: Dialer,
}

impl Asking {
    async fn go_on(self) {
        // sd_notify reaches the fleet from the keeper; there is nobody to ask.
        if self.probe.check == Check::Notify {
            return;
        }
        if let Check::Log { pattern } = &self.probe.check {
            loop {
                let answer = log::wait_for(
                    &self.prober.logs,
                    &self.prober.changes,
                    &self.spec.name,
                    self.begun,
                    pattern,
                )
                .await;
                let found = answer.health == Health::Healthy;
                self.tell(answer).await;
                if found {
                    return;
                }
                pause(self.probe.interval).await;
            }
        }
        pause(self.first_delay()).await;
        let mut slow = 0;
        loop {
            let (answer, killed) = {
                // The semaphore is never closed.
                let Ok(_turn) = self.prober.cap.acquire().await else { return };
                self.ask(&mut slow).await
            };
            self.tell(answer).await;
            // Never two of them at once; and without a turn, so that others go on.
            if let Some(mut killed) = killed {
                let _ = killed.child.wait().await;
            }
            pause(self.probe.interval).await;
        }
    }

    /// Somebody waits for the first answer, unless it is known already: then asking is spread over the interval, so that
    /// a restarted helmd does not ask everybody at once.
    fn first_delay(&self) -> Duration {
        let known = match self.kind {
            ProbeKind::Startup => false,
            // The success of an equal startup check of this run counted as the first one.
            ProbeKind::Readiness => {
                let startup = self.spec.probes.startup.as_ref();
                self.came_up && startup.is_some_and(|s| s.check == self.probe.check)
            }
            ProbeKind::Liveness => true,
        };
        let share = f64::from(u32::try_from(clock::draw() >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        let spread = if known { self.probe.interval.mul_f64(share) } else { Duration::ZERO };
        self.probe.initial_delay + spread
    }

    async fn ask(&self, slow: &mut u32) -> (Answer, Option<RuntimeChild>) {
        let began = Instant::now();
        let timeout = self.probe.timeout;
        let mut killed = None;
        let (health, message) = match &self.probe.check {
            Check::Http { url, fallback } => {
                let seen = http::ask((&self.prober.tls, &self.dialer), url, fallback, timeout).await;
                *slow = if seen.timed_out { *slow + 1 } else { 0 };
                // The port answers and HTTP does not: slow at first, then it counts (contract 8.3).
                let stuck = seen.timed_out && *slow >= self.probe.failures;
                (if stuck { Health::Unhealthy } else { seen.health }, seen.message)
            }
            Check::Tcp { host, port } => tcp::ask(&self.dialer, host, *port, timeout).await,
            Check::Exec { command } => {
                let (health, message, left) = exec::ask(&self.prober, &self.spec, command, timeout).await;
                killed = left;
                (health, message)
            }
            Check::Log { .. } | Check::Notify => (Health::Unknown, String::new()),
        };
        (Answer { health, message, latency: began.elapsed() }, killed)
    }

    async fn tell(&self, answer: Answer) {
        let news = News::Probed { run: self.run, probe: self.kind, answer };
        let _ = self.prober.news.send((self.spec.name.clone(), news)).await;
    }
}

async fn pause(time: Duration) {
    sleep_until(Instant::now() + time).await;
}
