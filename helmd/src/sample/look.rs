//! One look at everything that runs. Blocking.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use helm_core::name::ServiceName;
use helm_core::status::RunId;
use helm_shim::procs::Process;

use super::host::{Host, HostValue};
use super::reckon::{Counters, Reading, Usage, usage};
use super::tree::{Owner, Tree, trees};
use super::{leaf, proc};
use crate::clock;

/// How long it holds what part of its pages a tree of several processes shares: to find out is dear.
const SHARE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

/// A run to look at.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Service.
    pub name: ServiceName,
    /// Run.
    pub run: RunId,
    /// Its main process.
    pub main: u32,
    /// Since when it runs.
    pub age: Duration,
    /// Its leaf cgroup, where there may be one.
    pub leaf: Option<PathBuf>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// By service, with the run it is about.
    pub services: Vec<(ServiceName, RunId, Usage)>,
    /// helmd itself.
    pub helmd: Option<Usage>,
    /// The host.
    pub host: Vec<HostValue>,
    /// What it took.
    pub took: Duration,
}

/// What is remembered from look to look.
#[derive(Debug)]
pub struct Look {
    host: Host,
    runs: BTreeMap<RunId, Former>,
    own: Option<Reading>,
    /// A first reading counts from the start of runs that are no older.
    young: Duration,
    ticks: u64,
    page: u64,
}

#[derive(Debug)]
struct Former {
    reading: Reading,
    share: Share,
}

/// Part of the resident pages that is left when pages that several have are counted once.
#[derive(Debug, Clone, Copy)]
struct Share {
    part: f64,
    at: Duration,
    processes: u64,
}

impl Look {
    /// Nothing was seen yet. `interval`: from look to look.
    pub fn new(home: PathBuf, logs: PathBuf, interval: Duration) -> Self {
        Self {
            host: Host::new(home, logs),
            runs: BTreeMap::new(),
            own: None,
            young: interval * 2,
            ticks: rustix::param::clock_ticks_per_second(),
            page: u64::try_from(rustix::param::page_size()).unwrap_or(4096),
        }
    }

    /// Looks at these runs, at helmd, and at the host.
    pub fn look(&mut self, subjects: &[Subject]) -> Found {
        let begun = Instant::now();
        let at = clock::mono().0;
        let helmd = self.own(at);
        let services = if subjects.is_empty() { Vec::new() } else { self.services(subjects, at) };
        self.runs.retain(|run, _| subjects.iter().any(|s| s.run == *run));
        Found { services, helmd, host: self.host.look(), took: begun.elapsed() }
    }

    fn own(&mut self, at: Duration) -> Option<Usage> {
        let pid = std::process::id();
        let seen = proc::one(pid)?;
        // Orphans that fall to helmd were no work of helmd.
        let reading = self.reading(at, &[proc::Seen { children: 0, ..seen }], 0);
        let usage = usage(self.own.as_ref(), &reading, None, self.ticks);
        self.own = Some(reading);
        Some(usage)
    }

    fn services(&mut self, subjects: &[Subject], at: Duration) -> Vec<(ServiceName, RunId, Usage)> {
        let seen = proc::all();
        let mains = subjects.iter().enumerate().map(|(i, s)| (s.main, i)).collect();
        let trees = trees(&seen, &mains, &self.owners(subjects));
        let mut found = Vec::with_capacity(subjects.len());
        for (i, subject) in subjects.iter().enumerate() {
            // It has ended since; its end is news of others.
            let Some(Tree { keeper, members }) = trees.get(&i) else { continue };
            let members: Vec<proc::Seen> = members.iter().map(|place| seen[*place]).collect();
            let reaped = keeper.map_or(0, |place| seen[place].children);
            let mut reading = self.reading(at, &members, reaped);
            reading.leaf = subject.leaf.as_deref().and_then(leaf::read);
            let former = self.runs.get(&subject.run);
            let share = self.share(former.map(|f| f.share), &reading, &members);
            reading.memory = part(reading.memory, share.part);
            let young = Some(subject.age).filter(|age| *age <= self.young);
            let usage = usage(former.map(|f| &f.reading), &reading, young, self.ticks);
            self.runs.insert(subject.run, Former { reading, share });
            found.push((subject.name.clone(), subject.run, usage));
        }
        found
    }

    /// Whose each known process was.
    fn owners(&self, subjects: &[Subject]) -> BTreeMap<Process, Owner> {
        let known = subjects.iter().enumerate().filter_map(|(i, s)| Some((i, self.runs.get(&s.run)?)));
        known
            .flat_map(|(i, former)| former.reading.counters.keys().map(move |process| (*process, i)))
            .collect()
    }

    fn reading(&self, at: Duration, members: &[proc::Seen], reaped: u64) -> Reading {
        let mut reading = Reading { at, reaped, ..Reading::default() };
        for seen in members {
            let details = if seen.dead { proc::Details::default() } else { proc::details(seen.process.pid) };
            let io = details.io.unwrap_or_default();
            let counters = Counters { own: seen.own, children: seen.children, io };
            reading.counters.insert(seen.process, counters);
            if !seen.dead {
                reading.processes += 1;
                reading.threads += seen.threads;
                reading.memory += seen.rss * self.page;
            }
            reading.fds = details.fds.map(|n| n + reading.fds.unwrap_or(0)).or(reading.fds);
            reading.io |= details.io.is_some();
        }
        reading
    }

    /// Found out again once a minute, and earlier where processes came or went.
    fn share(&self, former: Option<Share>, now: &Reading, members: &[proc::Seen]) -> Share {
        let (soonest, latest) = SHARE;
        let processes = now.processes;
        if processes < 2 || now.leaf.is_some_and(|leaf| leaf.memory.is_some()) {
            return Share { part: 1.0, at: now.at, processes };
        }
        if let Some(share) = former {
            let age = now.at.saturating_sub(share.at);
            if age < soonest || (age < latest && share.processes == processes) {
                // A tree that was one process a moment ago is looked at now.
                if share.processes > 1 {
                    return share;
                }
            }
        }
        let (mut pss, mut rss) = (0, 0);
        for seen in members.iter().filter(|seen| !seen.dead) {
            if let Some(bytes) = proc::pss(seen.process.pid) {
                pss += bytes;
                rss += seen.rss * self.page;
            }
        }
        Share { part: if rss == 0 { 1.0 } else { ratio(pss, rss).min(1.0) }, at: now.at, processes }
    }
}

#[allow(clippy::cast_precision_loss, reason = "bytes of memory stay far below 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bytes of memory stay far below 2^53, and the part lies between 0 and 1"
)]
fn part(whole: u64, part: f64) -> u64 {
    (whole as f64 * part) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_seen_with_what_it_forked() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "echo; sleep 60 & sleep 60 & wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let subject = Subject {
            name: ServiceName::new("web").unwrap(),
            run: RunId(1),
            main: child.id(),
            age: Duration::from_millis(500),
            leaf: None,
        };
        let mut look = Look::new(dir.path().into(), dir.path().into(), Duration::from_secs(5));
        let usage = loop {
            let found = look.look(std::slice::from_ref(&subject));
            assert!(found.helmd.unwrap().memory_bytes > 0 && !found.host.is_empty());
            let usage = found.services[0].2;
            if usage.processes == 3 {
                break usage;
            }
        };
        for process in helm_shim::procs::descendants(&[child.id()]) {
            helm_shim::procs::signal(process, 9);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(usage.cpu_percent.is_some_and(|p| p >= 0.0), "{usage:?}");
        assert!(usage.memory_bytes > 0 && usage.threads == 3 && usage.fds.unwrap() >= 9, "{usage:?}");
        assert!(look.look(&[subject]).services.is_empty(), "it has ended");
    }
}
