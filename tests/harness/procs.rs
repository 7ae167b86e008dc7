//! Processes by pid *and* start time: a pid alone may be somebody else's by now.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process, as it was when it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    ticks: u64,
}

impl Process {
    /// The process that has this pid now.
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, ticks: stat(pid)?.ticks })
    }

    /// It runs. A zombie does not.
    pub fn alive(self) -> bool {
        stat(self.pid).is_some_and(|s| s.ticks == self.ticks && s.state != 'Z' && s.state != 'X')
    }

    /// Gone, and its exit was taken by its parent (PID 1 may need seconds for that).
    pub fn reaped(self) -> bool {
        stat(self.pid).is_none_or(|s| s.ticks != self.ticks)
    }

    /// Sends the signal, unless it is gone.
    pub fn signal(self, signal: Signal) {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return };
        let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        if self.alive() {
            // It may end in this moment.
            let _ = pidfd_send_signal(fd, signal);
        }
    }

    /// `kill -9`
    pub fn kill(self) {
        self.signal(Signal::KILL);
    }

    /// Stopped by SIGSTOP.
    pub fn frozen(self) -> bool {
        stat(self.pid).is_some_and(|s| s.ticks == self.ticks && s.state == 'T')
    }

    /// Its parent.
    pub fn parent(self) -> Option<u32> {
        stat(self.pid).filter(|s| s.ticks == self.ticks).map(|s| s.parent)
    }

    /// Its command line, for messages.
    pub fn command(self) -> String {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_owned()
    }
}

/// All living processes that have `marker` in their environment or as a word of their command line.
pub fn marked(marker: &str) -> BTreeSet<Process> {
    let has = |pid: u32, file: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        bytes.split(|b| *b == 0).any(|word| word == marker.as_bytes())
    };
    pids()
        .filter(|pid| has(*pid, "environ") || has(*pid, "cmdline"))
        .filter_map(Process::of)
        .filter(|p| p.alive())
        .collect()
}

/// Children of a process.
pub fn children(of: u32) -> BTreeSet<Process> {
    pids().filter(|pid| stat(*pid).is_some_and(|s| s.parent == of)).filter_map(Process::of).collect()
}

/// Everything below a process.
pub fn descendants(of: u32) -> BTreeSet<Process> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![of];
    while let Some(pid) = ahead.pop() {
        for child in children(pid) {
            if found.insert(child) {
                ahead.push(child.pid);
            }
        }
    }
    found
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok())
}

struct Stat {
    state: char,
    parent: u32,
    ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command may hold spaces and parentheses; the fields begin after the last one.
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    Some(Stat {
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        ticks: fields.nth(17)?.parse().ok()?,
    })
}
