//! Orphans that fall to helmd, the subreaper of the keepers it started itself.
//!
//! A killed keeper leaves its service to the nearest subreaper above it. helmd learns the exit of such a main process by
//! `waitid` on its pid, and takes every other orphan away so that no zombie stays. Never `waitpid(-1)`: probes are
//! children of the runtime, which waits for them itself; they are known by pid and left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::process::{Child as StdChild, Command as StdCommand};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use helm_core::exit::Exit;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Knows whose children are whose.
#[derive(Debug, Clone, Default)]
pub struct Reaper(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Children that the runtime waits for.
    of_runtime: BTreeSet<u32>,
    /// Main processes whose end somebody wants to know.
    expected: BTreeMap<u32, oneshot::Sender<Exit>>,
}

/// A child of the runtime, known to the reaper while it lives.
#[derive(Debug)]
pub struct RuntimeChild {
    /// The child.
    pub child: Child,
    pid: u32,
    reaper: Reaper,
}

impl Drop for RuntimeChild {
    fn drop(&mut self) {
        // Only a child that was waited for may be forgotten; one that was not is waited for by the runtime's own
        // orphan queue, so it stays known (its pid cannot be used again before that).
        if self.child.id().is_none() {
            self.reaper.lock().of_runtime.remove(&self.pid);
        }
    }
}

impl Reaper {
    /// Starts a child that the runtime waits for.
    pub fn spawn(&self, command: &mut Command) -> io::Result<RuntimeChild> {
        let mut known = self.lock();
        let child = command.spawn()?;
        let pid = child.id().unwrap_or(0);
        known.of_runtime.insert(pid);
        Ok(RuntimeChild { child, pid, reaper: self.clone() })
    }

    /// Starts a keeper. Nobody waits for it: its end is seen on its socket, its zombie is taken away here.
    pub fn spawn_keeper(&self, command: &mut StdCommand) -> io::Result<u32> {
        // A later process may have the pid of a forgotten probe.
        let mut known = self.lock();
        let child: StdChild = command.spawn()?;
        known.of_runtime.remove(&child.id());
        Ok(child.id())
    }

    /// The end of the process `pid`, should it become our orphan. A newer expectation replaces an older one.
    pub fn expect(&self, pid: u32) -> oneshot::Receiver<Exit> {
        let (tell, told) = oneshot::channel();
        self.lock().expected.insert(pid, tell);
        told
    }

    /// Takes orphans away until helmd leaves.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let mut child_ended = signal(SignalKind::child())?;
        loop {
            self.sweep();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = child_ended.recv() => {}
            }
        }
    }

    /// One look at all our zombies.
    fn sweep(&self) {
        let mut known = self.lock();
        known.expected.retain(|_, tell| !tell.is_closed());
        for pid in children() {
            if known.of_runtime.contains(&pid) {
                continue;
            }
            let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
            if let Ok(Some(status)) = waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
                && let Some(tell) = known.expected.remove(&pid)
            {
                let exit = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Exit::Code(code),
                    (None, Some(signal)) => Exit::Signal(signal),
                    (None, None) => Exit::Unknown,
                };
                let _ = tell.send(exit);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Our children, of every thread (orphans fall to any of them).
fn children() -> Vec<u32> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let lists = threads.flatten().filter_map(|t| fs::read_to_string(t.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<u32>>())
        .collect()
}
