//! The run that a keeper's task looks after, and what helmd holds of it so that it survives its keeper.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;

use helm_core::exit::Exit;
use helm_core::status::RunId;
use helm_shim::procs::{self, Process};
use helm_shim::rundir::RunDir;
use helm_shim::sys;
use helm_shim::wire::Order;
use rustix::fs::{Mode, OFlags};

use crate::readable::Readable;
use crate::reaper::Reaper;

/// A run that is not over.
pub(super) struct Live {
    /// Its id.
    pub(super) run: RunId,
    /// `Started` was told.
    pub(super) started: bool,
    /// `Ended` was told.
    pub(super) ended: bool,
    /// The last signal or kill: given again to a new keeper.
    pub(super) pending: Option<Order>,
    /// Read ends of its pipes, held since before it was ordered: its keeper may die before it has told of the start.
    ahead: Vec<OwnedFd>,
    /// What is held of its main process.
    hold: Option<Hold>,
    /// Once its keeper was replaced: the exit, as far as helmd can learn it.
    pub(super) exit: Option<Pin<Box<dyn Future<Output = Exit> + Send + Sync>>>,
}

/// Read ends of its pipes, unread: what is in them outlives the service and its keeper. And its main process.
struct Hold {
    pid: u32,
    process: OwnedFd,
    _pipes: Vec<OwnedFd>,
}

impl Live {
    /// A run that has been ordered.
    pub(super) fn new(run: RunId) -> Self {
        Self { run, started: false, ended: false, pending: None, ahead: Vec::new(), hold: None, exit: None }
    }

    /// Takes hold of the pipes that were made ahead and become those of the run. A first run has none.
    pub(super) fn hold_ahead(&mut self, spare: &RunDir) {
        self.ahead = pipes(spare).unwrap_or_default();
    }

    /// Takes hold of the main process and the pipes, once. Where that fails the run goes on with less protection.
    pub(super) fn take_hold(&mut self, dir: &RunDir, main: Process) {
        if self.hold.is_some() {
            return;
        }
        match hold(dir, main) {
            Ok(hold) => {
                self.hold = Some(hold);
                self.ahead = Vec::new();
            }
            Err(e) => {
                tracing::debug!(run.id = %self.run, process.pid = main.pid, "no hold of the main process: {e}")
            }
        }
    }

    /// Its main process, where that is held: its pid is nobody else's.
    pub(super) fn main(&self) -> Option<u32> {
        self.hold.as_ref().map(|hold| hold.pid)
    }

    /// Begins to look for the exit beside the new keeper, which is not the parent.
    pub(super) fn watch_exit(&mut self, reaper: &Reaper) {
        let Some(hold) = &self.hold else { return };
        let orphan = reaper.expect(hold.pid);
        let process = hold.process.try_clone().and_then(Readable::new);
        self.exit = Some(Box::pin(async move {
            let seen = async {
                match process {
                    Ok(process) => reaped(process).await,
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                Ok(exit) = orphan => exit,
                exit = seen => exit,
            }
        }));
    }
}

/// The exit as the kernel keeps it in a pidfd (Linux 6.15). It is there once somebody has reaped the process, which the
/// descriptor shows by POLLHUP after POLLIN: each is an edge. Never completes on older kernels.
async fn reaped(process: Readable) -> Exit {
    match process.until(|fd| sys::pidfd_exit(fd)).await {
        Ok(exit) => exit,
        Err(_) => std::future::pending().await,
    }
}

fn hold(dir: &RunDir, main: Process) -> io::Result<Hold> {
    let process = procs::open(main)?.ok_or_else(|| io::Error::other("the process is gone"))?;
    Ok(Hold { pid: main.pid, process, _pipes: pipes(dir)? })
}

fn pipes(dir: &RunDir) -> io::Result<Vec<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = |stream| rustix::fs::open(dir.pipe(stream), flags, Mode::empty());
    Ok([0, 1].map(open).into_iter().collect::<Result<_, _>>()?)
}
