//! A directory in which one supervisor runs its services, and the processes that belong to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::procs::{self, Process};
use crate::{Error, Result};

/// One service of a measurement.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) name: String,
    /// Lines it writes to its stdout after its start.
    pub(crate) lines: u64,
}

/// `n` quiet services.
pub(crate) fn quiet(n: usize) -> Vec<Service> {
    (0..n).map(|i| Service { name: format!("svc-{i:03}"), lines: 0 }).collect()
}

/// When a service reached its `main`, as it noted itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) pid: i32,
    /// CLOCK_MONOTONIC in nanoseconds.
    pub(crate) at: u64,
}

/// A fresh directory, the command that was started in it, and everything that came of it. All of it ends on drop.
#[derive(Debug)]
pub(crate) struct Place {
    dir: tempfile::TempDir,
    child: PathBuf,
    started: Option<Child>,
}

impl Place {
    /// An empty place for services that run `child`, beside it. What is in it stays until the end of the whole run: for
    /// five seconds after many files were removed, ext4 makes new ones very slowly, and the next measurement would pay.
    pub(crate) fn new(child: &Path) -> Result<Self> {
        let root = child.parent().unwrap_or(Path::new("/tmp"));
        let made = tempfile::Builder::new().prefix("place-").disable_cleanup(true).tempdir_in(root);
        Ok(Self { dir: made.map_err(Error::at(root))?, child: child.to_owned(), started: None })
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn child(&self) -> &Path {
        &self.child
    }

    /// Arguments of the child that is `service`.
    pub(crate) fn args(&self, service: &Service) -> Vec<String> {
        let marks = self.dir().join("marks").to_string_lossy().into_owned();
        let mut args = vec![marks, service.name.clone()];
        if service.lines > 0 {
            args.extend(["lines".to_owned(), service.lines.to_string()]);
        }
        args
    }

    /// Starts the supervisor; returns the moment before.
    pub(crate) fn start(&mut self, mut command: Command) -> Result<u64> {
        let log = self.dir().join("supervisor.log");
        let log = std::fs::File::create(&log).map_err(Error::at(log))?;
        let copy = log.try_clone().map_err(Error::at("supervisor.log"))?;
        let program = command.get_program().to_owned();
        command.stdin(Stdio::null()).stdout(log).stderr(copy).current_dir(self.dir());
        let before = procs::now();
        self.started = Some(command.spawn().map_err(Error::at(program))?);
        Ok(before)
    }

    /// The latest mark of each service.
    pub(crate) fn marks(&self) -> BTreeMap<String, Mark> {
        let text = std::fs::read_to_string(self.dir().join("marks")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().filter_map(mark).collect()
    }

    /// Waits until `enough` says so about the marks, looking every half millisecond.
    pub(crate) fn wait(
        &self,
        what: &str,
        bound: Duration,
        enough: impl Fn(&BTreeMap<String, Mark>) -> bool,
    ) -> Result<BTreeMap<String, Mark>> {
        let begin = Instant::now();
        loop {
            let marks = self.marks();
            if enough(&marks) {
                return Ok(marks);
            }
            if begin.elapsed() > bound {
                return Err(Error::Late { what: what.to_owned(), bound, said: self.said() });
            }
            procs::pause(Duration::from_micros(500));
        }
    }

    /// What the supervisor wrote, for error messages.
    fn said(&self) -> String {
        let text = std::fs::read(self.dir().join("supervisor.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Processes of the supervisor: all that belong to this place but the services.
    pub(crate) fn keepers(&self) -> Vec<Process> {
        procs::of_directory(self.dir()).into_iter().filter(|process| process.exe != self.child).collect()
    }

    /// Ends everything that belongs here: the supervisors first, so that none starts anything again.
    fn clear(&mut self) {
        let begin = Instant::now();
        loop {
            let keepers = self.keepers();
            let left = if keepers.is_empty() { procs::of_directory(self.dir()) } else { keepers };
            if left.is_empty() || begin.elapsed() > Duration::from_secs(20) {
                break;
            }
            for process in &left {
                procs::signal(process.pid, Signal::STOP);
            }
            for process in left {
                procs::signal(process.pid, Signal::KILL);
            }
            procs::pause(Duration::from_millis(5));
        }
        if let Some(mut started) = self.started.take() {
            // Killed above, or a command that has ended; either way this only reaps it.
            let _ = started.wait();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}

fn mark(line: &str) -> Option<(String, Mark)> {
    let mut words = line.split(' ');
    let name = words.next()?.to_owned();
    Some((name, Mark { pid: words.next()?.parse().ok()?, at: words.next()?.parse().ok()? }))
}
