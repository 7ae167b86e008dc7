//! Effects into work. Returns at once: keepers, probes and watchers are tasks whose results come back as news.

use std::collections::BTreeMap;
use std::sync::Arc;

use helm_core::event::Effect;
use helm_core::name::ServiceName;
use helm_core::spec::ServiceSpec;
use helm_core::status::RunId;
use helm_core::time::Wall;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::driver::NewsSender;
use crate::clock;
use crate::incident::Reporter;
use crate::journal::Journal;
use crate::keeper::{Command, Keeper};
use crate::port;
use crate::probe::Probes;

/// Holds the handles through which effects reach the world.
pub struct Performer {
    /// One per runnable service.
    pub keepers: BTreeMap<ServiceName, Keeper>,
    /// The definitions.
    pub specs: BTreeMap<ServiceName, Arc<ServiceSpec>>,
    /// Running probes.
    pub probes: Probes,
    /// Events for clients.
    pub journal: Journal,
    /// What looks into unexpected ends.
    pub incidents: Reporter,
    /// Where results go.
    pub news: NewsSender,
    /// All tasks below this one.
    pub tasks: TaskTracker,
    /// Told when helmd leaves.
    pub stop: CancellationToken,
    /// Watchers of foreign port holders.
    pub watches: BTreeMap<ServiceName, CancellationToken>,
    /// When the current run of each service was begun: output from then on is its own.
    pub begun: BTreeMap<ServiceName, Wall>,
}

impl Performer {
    /// Does one thing.
    pub fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Start { service, run, mode } => {
                self.order(&service, Command::Start { run, mode });
                self.begun.insert(service, clock::wall());
            }
            Effect::Stop { service, run } => {
                let signal = self.specs.get(&service).map_or(15, |spec| spec.stop.signal);
                self.order(&service, Command::Signal { run, signal });
            }
            Effect::Kill { service, run } => self.order(&service, Command::Kill { run }),
            Effect::Retire { service } => self.order(&service, Command::Retire),
            Effect::ProbeOn { service, run, probe } => {
                if let Some(spec) = self.specs.get(&service) {
                    let begun = self.begun.get(&service).copied().unwrap_or_default();
                    self.probes.on(spec.clone(), run, probe, begun);
                }
            }
            Effect::ProbeOff { service, probe } => self.probes.off(&service, probe),
            Effect::WatchPort { service, holder, .. } => {
                let Some(port) = self.specs.get(&service).and_then(|spec| spec.port) else { return };
                let stop = self.stop.child_token();
                let watch = port::watch(service.clone(), port, holder, self.news.clone());
                let ended = stop.clone();
                self.tasks.spawn(async move { ended.run_until_cancelled(watch).await });
                self.stop_watching(&service);
                self.watches.insert(service, stop);
            }
            Effect::UnwatchPort { service } => self.stop_watching(&service),
            Effect::Remember { service, memory } => self.journal.remember(service, memory),
            Effect::Investigate(mishap) => self.incidents.report(*mishap),
            Effect::Record(change) => self.journal.record(change),
        }
    }

    /// Passes a signal on; why not, if it cannot be.
    pub fn nudge(&self, service: &ServiceName, run: RunId, signal: i32) -> Result<(), String> {
        let keeper = self.keepers.get(service).ok_or_else(|| format!("{service} has no keeper"))?;
        keeper.order(Command::Nudge { run, signal })
    }

    /// helmd leaves: everything below is told; whoever owns the tasks waits for them. Services stay.
    pub fn leave(self) {
        self.stop.cancel();
    }

    fn order(&self, service: &ServiceName, command: Command) {
        let sent = match self.keepers.get(service) {
            Some(keeper) => keeper.order(command),
            None => Err(format!("no keeper for {service}")),
        };
        if let Err(e) = sent {
            // The queue holds far more than one life needs; the fleet repeats kills by itself.
            tracing::error!(service.name = %service, "an order could not be given: {e}");
        }
    }

    fn stop_watching(&mut self, service: &ServiceName) {
        if let Some(watch) = self.watches.remove(service) {
            watch.cancel();
        }
    }
}
