//! One run as its keeper holds it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use helm_core::time::Mono;
use helm_shim::procs::Process;
use helm_shim::record::{RunRecord, Slots};
use helm_shim::rundir::RunDir;
use helm_shim::wire::{Ended, RunState};

use super::notify::NotifySocket;

/// First pause between two attempts to kill what does not die, and the longest.
const KILL_PAUSE: Duration = Duration::from_millis(100);
const KILL_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long output is awaited that somebody outside the tree might still write.
pub(crate) const DRAIN: Duration = Duration::from_secs(2);

/// ```text
/// own:       Starting --exec ok--> Child ----SIGCHLD----> Gone
///               `-----exec failed------------------------> Gone
/// attached:  Foreign --pidfd--> Leaving --exit known or out of time--> Gone
/// ```
#[derive(Debug)]
pub(crate) enum Main {
    /// Forked; the pipe will say whether exec succeeded.
    Starting(OwnedFd),
    /// Our child.
    Child,
    /// Somebody else's child (its keeper was killed).
    Foreign(OwnedFd),
    /// Dead, and how is not known yet. Without a pidfd only helmd can know.
    Leaving { pidfd: Option<OwnedFd>, until: Mono },
    /// Its end is recorded.
    Gone,
}

/// A kill that is not done yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Killing {
    pub(crate) due: Mono,
    pub(crate) pause: Duration,
}

impl Killing {
    pub(crate) fn begin(now: Mono) -> Self {
        Self { due: now + KILL_PAUSE, pause: KILL_PAUSE }
    }

    pub(crate) fn again(&mut self, now: Mono) {
        self.pause = (self.pause * 2).min(KILL_PAUSE_MAX);
        self.due = now + self.pause;
    }
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) dir: RunDir,
    pub(crate) record: RunRecord,
    slots: Slots,
    pub(crate) main: Main,
    /// We started it: everything of it is below us, and ECHILD proves that nothing is.
    pub(crate) own: bool,
    /// Known to have belonged to it (attached runs only).
    pub(crate) known: Vec<Process>,
    /// Whose end is awaited before the tree is looked at again (attached runs only).
    pub(crate) watched: Vec<OwnedFd>,
    pub(crate) notify: Option<NotifySocket>,
    pub(crate) watchdog_due: Option<Mono>,
    pub(crate) killing: Option<Killing>,
    /// The tree is empty; output is awaited until then.
    pub(crate) drain_until: Option<Mono>,
    /// Something may have left the tree since it was looked at.
    pub(crate) look: bool,
    /// Leftovers were counted.
    pub(crate) counted: bool,
    pub(crate) remarks: Vec<String>,
}

impl Run {
    pub(crate) fn new(dir: RunDir, record: RunRecord, slots: Slots, main: Main, own: bool) -> Self {
        Self {
            dir,
            record,
            slots,
            main,
            own,
            known: Vec::new(),
            watched: Vec::new(),
            notify: None,
            watchdog_due: None,
            killing: None,
            drain_until: None,
            look: true,
            counted: false,
            remarks: Vec::new(),
        }
    }

    pub(crate) fn state(&self) -> &RunState {
        &self.record.state
    }

    pub(crate) fn state_mut(&mut self) -> &mut RunState {
        &mut self.record.state
    }

    /// Writes the record: before anybody is told.
    pub(crate) fn save(&mut self) -> io::Result<()> {
        self.slots.write(&self.record)
    }

    pub(crate) fn over(&self) -> bool {
        self.state().over
    }

    pub(crate) fn main_process(&self) -> Process {
        Process { pid: self.state().pid, start_ticks: self.state().start_ticks }
    }

    /// The main process has ended: into the record.
    pub(crate) fn end_main(&mut self, ended: Ended) {
        self.main = Main::Gone;
        self.look = true;
        self.watchdog_due = None;
        self.state_mut().ended = Some(ended);
        // The slot is preallocated; if the disk itself fails, the report still goes out.
        let _ = self.save();
    }

    pub(crate) fn restart_watchdog(&mut self, now: Mono) {
        self.watchdog_due = self.state().watchdog.map(|interval| now + interval);
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let leaving = match &self.main {
            Main::Leaving { until, .. } => Some(*until),
            Main::Starting(_) | Main::Child | Main::Foreign(_) | Main::Gone => None,
        };
        if self.over() {
            return None;
        }
        [leaving, self.watchdog_due, self.killing.map(|k| k.due), self.drain_until]
            .into_iter()
            .flatten()
            .min()
    }
}
