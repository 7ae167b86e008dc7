//! The flight recorder: what the fleet wants investigated is looked into at once, written down, and told as an event.
//!
//! ```text
//! driver --Reporter--> Recorder: gather (run record, output, samples, kernel, what changed) --> shelf --> journal --> store
//! ```
//!
//! Supervision never waits for it. An incident lies in the home before its event is told, so that it is there while the
//! store is away; the store gets it whole, with the event ([`crate::store::history`]).

pub mod answers;
mod gather;
mod kernel;
pub mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use helm_core::event::{Change, ChangeKind};
use helm_core::incident::{Incident, Mishap, ProbeAnswer};
use helm_core::name::ServiceName;
use helm_core::spec::ServiceSpec;
use helm_core::time::Wall;
use tokio::sync::mpsc;

use crate::clock;
use crate::home::Home;
use crate::journal::Journal;
use crate::sample::Sampler;
use crate::work;
use answers::Answers;
use shelf::Shelf;

/// Mishaps that may wait to be looked into. More at once are told by their other events alone.
const QUEUE: usize = 256;

/// What the driver knows of a mishap.
#[derive(Debug)]
pub struct Report {
    mishap: Mishap,
    answers: Vec<ProbeAnswer>,
    /// What is printed later is of another run.
    seen: Wall,
}

/// The driver's end.
#[derive(Debug)]
pub struct Reporter {
    reports: mpsc::Sender<Report>,
    /// Reports that could not be taken since one last was.
    lost: u64,
    /// What probes found.
    pub answers: Answers,
}

/// A reporter, and what is reported.
pub fn reporter() -> (Reporter, mpsc::Receiver<Report>) {
    let (reports, reported) = mpsc::channel(QUEUE);
    (Reporter { reports, lost: 0, answers: Answers::default() }, reported)
}

impl Reporter {
    /// It is to be looked into. Never waits.
    pub fn report(&mut self, mishap: Mishap) {
        let answers = self.answers.of_run(&mishap.service, mishap.run);
        match self.reports.try_send(Report { mishap, answers, seen: clock::wall() }) {
            Ok(()) if self.lost > 0 => {
                tracing::warn!("{} unexpected ends left no incident: too many at once", self.lost);
                self.lost = 0;
            }
            Ok(()) => {}
            Err(_) => self.lost += 1,
        }
    }
}

/// What looks into them.
#[derive(Debug)]
pub struct Recorder {
    /// The home.
    pub home: Home,
    /// Where it is told, and what happened before.
    pub journal: Journal,
    /// Numbers.
    pub sampler: Sampler,
    /// Definitions.
    pub specs: Arc<Vec<Arc<ServiceSpec>>>,
    /// Limits of memory are kept by cgroups.
    pub cgroup: bool,
    /// The last number that was given: on a full disk the shelf does not know it.
    pub given: AtomicU64,
}

impl Recorder {
    /// Works until the reporter is gone and all that it reported is looked into.
    pub async fn run(self, mut reports: mpsc::Receiver<Report>) {
        let recorder = Arc::new(self);
        while let Some(report) = reports.recv().await {
            let (service, run) = (report.mishap.service.clone(), report.mishap.run);
            let work = recorder.clone();
            if let Err(e) = work::INCIDENTS.run(move || work.record(report)).await {
                tracing::error!(service.name = %service, run.id = %run, "an incident could not be written down: {e}");
            }
        }
    }

    /// One of them. Blocking.
    fn record(&self, report: Report) -> std::io::Result<()> {
        let evidence = gather::evidence(self, &report);
        let shelf = Shelf::of(&self.home);
        let newest = shelf.newest().unwrap_or_else(|| self.journal.newest());
        let number = newest.max(self.given.load(Ordering::Relaxed)) + 1;
        self.given.store(number, Ordering::Relaxed);
        let incident = Incident::new(number, report.mishap, evidence);
        let kept = shelf.keep(&incident);
        // It is told even where it could not be kept.
        self.journal.record(told(&incident));
        kept
    }
}

fn told(incident: &Incident) -> Change {
    let mishap = &incident.mishap;
    Change {
        at: mishap.at,
        service: mishap.service.clone(),
        kind: ChangeKind::Incident,
        from: String::new(),
        to: incident.number.to_string(),
        cause: incident.cause(),
        run: Some(mishap.run),
        pid: None,
        exit: mishap.exit(),
    }
}

/// All that a service needs, directly or not.
pub fn needs(specs: &[Arc<ServiceSpec>], name: &ServiceName) -> Vec<ServiceName> {
    let of: BTreeMap<&ServiceName, &Arc<ServiceSpec>> = specs.iter().map(|spec| (&spec.name, spec)).collect();
    reached(name, |name| {
        of.get(name).map_or_else(Vec::new, |spec| spec.depends_on.iter().map(|d| d.service.clone()).collect())
    })
}

/// All that need a service, directly or not.
pub fn dependents(specs: &[Arc<ServiceSpec>], name: &ServiceName) -> Vec<ServiceName> {
    let needing = |spec: &&Arc<ServiceSpec>, name: &ServiceName| {
        spec.depends_on.iter().any(|dependency| dependency.service == *name)
    };
    reached(name, |name| {
        specs.iter().filter(|spec| needing(spec, name)).map(|spec| spec.name.clone()).collect()
    })
}

/// What is reached from `name`, nearest first, without it.
fn reached(name: &ServiceName, next: impl Fn(&ServiceName) -> Vec<ServiceName>) -> Vec<ServiceName> {
    let (mut seen, mut found) = (BTreeSet::from([name.clone()]), vec![name.clone()]);
    let mut at = 0;
    while let Some(name) = found.get(at).cloned() {
        at += 1;
        found.extend(next(&name).into_iter().filter(|name| seen.insert(name.clone())));
    }
    found.remove(0);
    found
}
