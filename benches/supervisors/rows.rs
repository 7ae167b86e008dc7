//! The rows that every supervisor can be asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde::Serialize;

use crate::peers::Peer;
use crate::place::{Mark, Place, quiet};
use crate::procs;
use crate::{Plan, Result};

/// Longest wait for anything a supervisor should do by itself.
const BOUND: Duration = Duration::from_secs(60);

/// Figures of one kind, as they came.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    pub(crate) fn extend(&mut self, figures: impl IntoIterator<Item = f64>) {
        self.0.extend(figures);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Median and maximum.
    pub(crate) fn spread(&self) -> Option<(f64, f64)> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let most = *sorted.last()?;
        Some(((sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0, most))
    }
}

/// Memory of a supervisor's processes, the services left out.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Memory {
    pub(crate) pss_mb: f64,
    pub(crate) processes: usize,
    pub(crate) by_program: BTreeMap<String, Share>,
}

/// The processes of one program.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Share {
    pub(crate) processes: usize,
    pub(crate) pss_mb_each: f64,
}

/// Starts a supervisor with these services and waits until all of them run; gives the seconds that took.
pub(crate) fn started(peer: &dyn Peer, child: &Path, services: usize) -> Result<(Place, f64)> {
    let services = quiet(services);
    let mut place = Place::new(child)?;
    peer.lay_out(&place, &services)?;
    let before = place.start(peer.command(&place))?;
    let what = format!("{} to have {} services running", peer.name(), services.len());
    let marks = place.wait(&what, BOUND, |marks| marks.len() == services.len())?;
    let last = marks.values().map(|mark| mark.at).max().unwrap_or(before);
    Ok((place, seconds(before, last)))
}

/// Milliseconds from `kill -9` of services that have been well for a while to the `main` of their successors.
pub(crate) fn restart(peer: &dyn Peer, child: &Path, plan: &Plan) -> Result<Vec<f64>> {
    let (place, _) = started(peer, child, plan.victims)?;
    // Long enough for every supervisor to call them healthy (Helm: 10 s; runit, s6: 1 s).
    procs::pause(plan.healthy);
    place.marks().into_iter().map(|(name, victim)| kill(peer, &place, &name, victim)).collect()
}

fn kill(peer: &dyn Peer, place: &Place, name: &str, victim: Mark) -> Result<f64> {
    let before = procs::now();
    procs::signal(victim.pid, Signal::KILL);
    let what = format!("{} to restart {name}", peer.name());
    let marks =
        place.wait(&what, BOUND, |marks| marks.get(name).is_some_and(|mark| mark.pid != victim.pid))?;
    // Let what the restart set in motion come to rest before the next kill.
    procs::pause(Duration::from_millis(100));
    Ok(seconds(before, marks[name].at) * 1000.0)
}

/// PSS now.
pub(crate) fn memory(place: &Place) -> Memory {
    let mut by_program: BTreeMap<String, Share> = BTreeMap::new();
    for process in place.keepers() {
        let Some(kb) = procs::pss(process.pid) else { continue };
        let share = by_program.entry(process.name).or_default();
        share.processes += 1;
        share.pss_mb_each += kb as f64 / 1024.0;
    }
    let pss_mb = by_program.values().map(|share| share.pss_mb_each).sum();
    let processes = by_program.values().map(|share| share.processes).sum();
    for share in by_program.values_mut() {
        share.pss_mb_each /= share.processes as f64;
    }
    Memory { pss_mb, processes, by_program }
}

/// Wake-ups per second of all the supervisor's processes together, over `time`.
pub(crate) fn wakeups(place: &Place, time: Duration) -> f64 {
    let keepers = place.keepers();
    let before: BTreeMap<i32, u64> =
        keepers.iter().map(|process| (process.pid, procs::sleeps(process.pid))).collect();
    procs::pause(time);
    let after = keepers.iter().map(|process| procs::sleeps(process.pid).saturating_sub(before[&process.pid]));
    after.sum::<u64>() as f64 / time.as_secs_f64()
}

pub(crate) fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}
