//! Who was dead when: the kills, by the one who sent them; the successors, as soon as they are there; and the orphans, which
//! the test reaps itself (it is their subreaper), some of them late, as an init may.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use harness::fixture::monotonic;
use harness::home::Home;
use harness::procs::{self, Process};
use harness::wait::pause;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// Between two looks.
const TICK: Duration = Duration::from_millis(5);
/// A successor that was seen has its pipes and pidfds open soon after; a life that notes its end ends soon after.
const EDGE: u64 = 50_000_000;
/// Who knows of an end records it, who has a pipe empties it: on a busy machine this takes so long at most. A keeper that was
/// killed earlier after the end could not.
const HANDLED: u64 = 200_000_000;
/// Longest delay of the test as an init.
const LATE: u64 = 1_000_000_000;

/// Somebody was not there.
#[derive(Debug, Clone, Copy)]
struct Gap {
    from: u64,
    to: Option<u64>,
}

impl Gap {
    fn to(self) -> u64 {
        self.to.map_or(u64::MAX, |to| to + EDGE)
    }
}

#[derive(Debug, Default)]
struct Notes {
    helmd: Vec<Gap>,
    keepers: BTreeMap<String, Vec<Gap>>,
    /// The last keepers that were killed: a dying process is still to be seen for a moment.
    killed: BTreeMap<String, Process>,
    /// When an orphan was reaped by us.
    reaped: BTreeMap<u32, u64>,
    /// By how much our own thread came too late, and when: on a busy machine everybody does.
    late: Vec<(u64, u64)>,
    /// Orphans that are left a zombie for a while.
    later: BTreeMap<u32, u64>,
}

fn close(gaps: &mut [Gap]) {
    if let Some(gap) = gaps.last_mut() {
        gap.to.get_or_insert(monotonic());
    }
}

fn open(gaps: &mut Vec<Gap>, from: u64) {
    if gaps.last().is_none_or(|gap| gap.to.is_some()) {
        gaps.push(Gap { from, to: None });
    }
}

fn is_open(gaps: &[Gap]) -> bool {
    gaps.last().is_some_and(|gap| gap.to.is_none())
}

/// The diary, kept by a thread that looks for successors and orphans.
pub(crate) struct Diary<'a> {
    home: &'a Home,
    notes: Arc<Mutex<Notes>>,
    stop: Arc<AtomicBool>,
    init: Option<JoinHandle<()>>,
    /// The kernel tells an exit to every holder of a pidfd (PIDFD_INFO_EXIT, Linux 6.15).
    exit_by_pidfd: bool,
}

impl<'a> Diary<'a> {
    /// Begins, and becomes the subreaper of everything that this process starts.
    pub(crate) fn begin(home: &'a Home) -> Self {
        let own = Pid::from_raw(1);
        rustix::process::set_child_subreaper(own).unwrap_or_else(|e| panic!("no subreaper: {e}"));
        let notes = Arc::new(Mutex::new(Notes::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (in_thread, stopped) = (notes.clone(), stop.clone());
        let init = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let before = monotonic();
                pause(TICK);
                let mut notes = lock(&in_thread);
                let late = (monotonic() - before).saturating_sub(2 * TICK.as_nanos() as u64);
                if late > 0 {
                    notes.late.push((before, late));
                }
                reap(&mut notes);
            }
        });
        Self { home, notes, stop, init: Some(init), exit_by_pidfd: kernel() >= (6, 15) }
    }

    /// helmd is about to be killed.
    pub(crate) fn helmd_dies(&self) {
        open(&mut lock(&self.notes).helmd, monotonic());
    }

    /// This keeper is about to be killed.
    pub(crate) fn keeper_dies(&self, service: &str, keeper: Process) {
        let mut notes = lock(&self.notes);
        notes.killed.insert(service.to_owned(), keeper);
        let gaps = notes.keepers.entry(service.to_owned()).or_default();
        // It lived, or it could not be chosen.
        close(gaps);
        open(gaps, monotonic());
    }

    /// Looks who is there again.
    pub(crate) fn look(&self) {
        let mut notes = lock(&self.notes);
        // The lock names a helmd once it has adopted what it found.
        if is_open(&notes.helmd) && self.home.helmd().is_some() {
            close(&mut notes.helmd);
        }
        let Notes { keepers, killed, .. } = &mut *notes;
        for (service, gaps) in keepers {
            let successor = || self.home.keeper(service).filter(|keeper| killed.get(service) != Some(keeper));
            if is_open(gaps) && successor().is_some() {
                close(gaps);
            }
        }
    }

    /// Passes time, and looks.
    pub(crate) fn pass(&self, time: Duration) {
        let end = monotonic() + u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        loop {
            self.look();
            let left = end.saturating_sub(monotonic());
            if left == 0 {
                return;
            }
            pause(TICK.min(Duration::from_nanos(left)));
        }
    }

    /// Could nobody know how this life ended? Its keeper was dead before it could record it (the reaping counts, after
    /// which nobody learns anything any more), and before a new one was there, helmd was dead as well.
    pub(crate) fn unknowable(&self, service: &str, pid: u32, began: u64, ended: u64) -> bool {
        let notes = lock(&self.notes);
        let reaped = notes.reaped.get(&pid).copied().filter(|at| *at + EDGE >= ended);
        let until = handled(&notes, reaped.unwrap_or(ended));
        // An older kernel tells an exit to the parent alone, and that is the test, once the first keeper is dead.
        let orphaned = || {
            let gaps = notes.keepers.get(service).map_or(&[][..], Vec::as_slice);
            reaped.is_some() && gaps.iter().any(|gap| (began..=until).contains(&gap.from))
        };
        all_dead(&notes, service, ended, until) || (!self.exit_by_pidfd && orphaned())
    }

    /// Could output be lost that was in the pipe at the end of this life? Its keeper was dead before it could take it out, and
    /// before a new one was there, helmd, which holds the pipe as well, was dead too.
    pub(crate) fn unheard(&self, service: &str, ended: u64) -> bool {
        let notes = lock(&self.notes);
        all_dead(&notes, service, ended, handled(&notes, ended))
    }

    /// Services that nobody watched for a moment.
    pub(crate) fn unwatched(&self) -> usize {
        let notes = lock(&self.notes);
        let meets =
            |gap: &Gap| notes.helmd.iter().any(|other| other.from < gap.to() && gap.from < other.to());
        notes.keepers.values().flatten().filter(|gap| meets(gap)).count()
    }
}

impl Drop for Diary<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(init) = self.init.take() {
            let _ = init.join();
        }
    }
}

/// When whoever was there has dealt with what happened at `at`: later by what our own thread was late in that second.
fn handled(notes: &Notes, at: u64) -> u64 {
    let near = notes.late.iter().filter(|(when, _)| (at.saturating_sub(EDGE)..=at + LATE).contains(when));
    at + HANDLED + near.map(|(_, late)| late).max().unwrap_or(&0)
}

/// At some moment after `ended` keeper and helmd were both dead, and the keeper's absence had begun by `until`.
fn all_dead(notes: &Notes, service: &str, ended: u64, until: u64) -> bool {
    let ended = ended.saturating_sub(EDGE);
    let gaps = notes.keepers.get(service).map_or(&[][..], Vec::as_slice);
    gaps.iter().filter(|gap| gap.from <= until && gap.to() >= ended).any(|keeper| {
        notes.helmd.iter().any(|helmd| {
            let (from, to) = (keeper.from.max(helmd.from).max(ended), keeper.to().min(helmd.to()));
            from <= to
        })
    })
}

/// Takes away the dead that fell to us: services, and keepers. What the test itself started is waited for by whoever did.
fn reap(notes: &mut Notes) {
    let now = monotonic();
    for orphan in procs::children(std::process::id()) {
        let name = fs::read_to_string(format!("/proc/{}/comm", orphan.pid)).unwrap_or_default();
        if orphan.alive() || matches!(name.trim(), "helmd" | "helmctl") {
            continue;
        }
        // Every fourth is left a zombie for a while.
        let delay = if orphan.pid % 4 == 0 { u64::from(orphan.pid) * 7_919_000 % LATE } else { 0 };
        let due = *notes.later.entry(orphan.pid).or_insert(now + delay);
        let Some(pid) = i32::try_from(orphan.pid).ok().and_then(Pid::from_raw).filter(|_| due <= now) else {
            continue;
        };
        notes.later.remove(&orphan.pid);
        if matches!(waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG), Ok(Some(_))) {
            notes.reaped.insert(orphan.pid, monotonic());
        }
    }
}

/// Major and minor version of the kernel.
fn kernel() -> (u32, u32) {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn lock(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}
