//! What probes found lately, by service.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use helm_core::event::{Answer, ProbeKind};
use helm_core::incident::{ANSWERS, ProbeAnswer};
use helm_core::name::ServiceName;
use helm_core::status::RunId;

use crate::clock;

/// The newest answers of each service.
#[derive(Debug, Clone, Default)]
pub struct Answers(Arc<Mutex<BTreeMap<ServiceName, VecDeque<ProbeAnswer>>>>);

impl Answers {
    /// One more.
    pub fn heard(&self, service: &ServiceName, run: RunId, probe: ProbeKind, answer: &Answer) {
        let heard = ProbeAnswer {
            at: clock::wall(),
            run,
            probe,
            health: answer.health,
            message: answer.message.clone(),
            latency: answer.latency,
        };
        let mut all = self.lock();
        let known = all.entry(service.clone()).or_default();
        if known.len() >= ANSWERS {
            known.pop_front();
        }
        known.push_back(heard);
    }

    /// Those about a run, oldest first.
    pub fn of_run(&self, service: &ServiceName, run: RunId) -> Vec<ProbeAnswer> {
        let all = self.lock();
        let known = all.get(service).into_iter().flatten();
        known.filter(|answer| answer.run == run).cloned().collect()
    }

    /// Those about its newest run, oldest first.
    pub fn newest(&self, service: &ServiceName) -> Vec<ProbeAnswer> {
        let run = self.lock().get(service).and_then(|known| known.back()).map(|answer| answer.run);
        run.map_or_else(Vec::new, |run| self.of_run(service, run))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ServiceName, VecDeque<ProbeAnswer>>> {
        // Changes are single steps: a panic between them leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
