//! The start of a run: directory, pipes and record first, then the child at its gate, its pid into the record, the gate.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use helm_core::status::RunId;
use helm_shim::procs::{self, MARKER, RUN_VARIABLE};
use helm_shim::record::{RUN_SLOT, RunRecord, Slots};
use helm_shim::rundir::{Epoch, RunDir};
use helm_shim::wire::{CgroupLeaf, Containment, Report, RunState, StartOrder};
use rustix::fs::{CWD, Mode, OFlags};

use super::Keeper;
use super::notify::NotifySocket;
use super::run::{Main, Run};
use super::spawn::{ExecResult, Prepared, exec_result};
use crate::capture::PIPE_BYTES;
use crate::clock;

/// A pipe that cannot be made larger is made of another size than a new one has: a size tells an old pipe from a new.
const SMALL_PIPE: usize = 32 << 10;

/// Pause after a start before the keeper tidies up: long enough that a fleet's start is not disturbed, short enough for
/// a service that is killed again and again.
const HOUSEKEEPING_PAUSE: Duration = Duration::from_millis(200);

/// Records of former runs that are kept. While one helmd restarts a service so often, its journal has been written.
const FORMER_RECORDS: usize = 8;

/// Why a run could not be started.
#[derive(Debug)]
pub(crate) struct Failure {
    stage: &'static str,
    errno: i32,
    message: String,
    address: Option<SocketAddr>,
}

impl Failure {
    fn new(stage: &'static str, what: impl std::fmt::Display, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(0);
        Self { stage, errno, message: format!("{what}: {error}"), address: None }
    }

    pub(crate) fn report(self, run: RunId) -> Report {
        let Self { stage, errno, message, address } = self;
        Report::StartFailed { run, stage: stage.to_owned(), errno, message, address }
    }
}

impl Keeper {
    /// `Order::Start`
    pub(crate) fn start(&mut self, order: &StartOrder) {
        if let Some(run) = self.run.as_ref().filter(|r| !r.over()) {
            let message = format!("run {} of this service is not over", run.state().run);
            self.link.send(
                &Failure { stage: "record", errno: libc::EBUSY, message, address: None }.report(order.run),
            );
            return;
        }
        let former = self.run.take();
        match self.begin(order) {
            Ok(run) => self.run = Some(run),
            Err(failure) => {
                self.capture.end_run();
                let _ = fs::remove_dir_all(self.place.run(order.run).path());
                self.run = former;
                self.link.send(&failure.report(order.run));
            }
        }
    }

    fn begin(&mut self, order: &StartOrder) -> Result<Run, Failure> {
        let dir = self.place.run(order.run);
        let mut slots = self.make_dir(&dir)?;
        let mut record = new_record(order);
        slots.write(&record).map_err(|e| Failure::new("record", dir.record().display(), &e))?;
        let pipes = open_pipes(&dir, &mut record.pipe_sizes)?;
        let mut remarks = Vec::new();
        let leaf = match &order.cgroup {
            Some(leaf) => Some(make_leaf(leaf, &mut remarks)?),
            None => None,
        };
        let sockets = self.listen(order)?;
        let notify = match order.notify.then(|| NotifySocket::bind(&dir.notify(), order.run)).transpose() {
            Ok(notify) => notify,
            Err(e) => return Err(Failure::new("record", "cannot bind the notify socket", &e)),
        };
        record.state.notify = notify.as_ref().map(|n| n.address.clone());
        let extra = extra_env(order, &record.state, &dir, sockets.len());
        let prepared = Prepared::new(
            order,
            &extra,
            [&dir.pipe(0), &dir.pipe(1)],
            sockets,
            leaf,
            self.oom.clone(),
            self.umask,
        )
        .map_err(|_| Failure {
            stage: "exec",
            errno: libc::EINVAL,
            message: "a NUL byte in argv, environment or directory".into(),
            address: None,
        })?;
        self.capture
            .begin_run(order.run, pipes)
            .map_err(|e| Failure::new("record", self.place.capture().display(), &e))?;
        let waiting = prepared.fork().map_err(|e| Failure::new("fork", "cannot fork", &e))?;
        record.state.pid = waiting.pid;
        record.state.start_ticks = procs::stat(waiting.pid).map_or(0, |s| s.process.start_ticks);
        (record.state.started, record.state.started_wall) = (clock::mono(), clock::wall());
        // If it cannot be recorded the gate stays shut: the child sees the end of file when `waiting` goes.
        slots.write(&record).map_err(|e| Failure::new("record", dir.record().display(), &e))?;
        let exec = waiting.open_gate().map_err(|e| Failure::new("fork", "the child died at its gate", &e))?;
        let mut run = Run::new(dir, record, slots, Main::Starting(exec), true);
        run.notify = notify;
        run.remarks = remarks;
        Ok(run)
    }

    /// The sockets of a run.
    fn listen(&mut self, order: &StartOrder) -> Result<Vec<OwnedFd>, Failure> {
        self.sockets.hold(&order.listen).map_err(|(address, error)| {
            let failure = Failure::new("listen", format_args!("cannot listen at {address}"), &error);
            Failure { address: Some(address), ..failure }
        })?;
        let own = |socket: std::os::fd::BorrowedFd<'_>| socket.try_clone_to_owned();
        let sockets = self.sockets.all().map(own).collect::<io::Result<_>>();
        sockets.map_err(|e| Failure::new("listen", "cannot hand the sockets over", &e))
    }

    /// The directory of a run: the spare one under its name, or a new one.
    fn make_dir(&mut self, dir: &RunDir) -> Result<Slots, Failure> {
        if let Some(slots) = self.spare.take()
            && fs::rename(self.place.spare().path(), dir.path()).is_ok()
        {
            return Ok(slots);
        }
        furnish(dir)
    }

    /// Makes the directory of the next run ahead of it: four new files are most of what a start costs.
    fn make_spare(&mut self) {
        if self.spare.is_none() {
            let spare = self.place.spare();
            let _ = fs::remove_dir_all(spare.path());
            self.spare = furnish(&spare).ok();
        }
    }

    /// The exec pipe has news (or main has ended, which it must have had before).
    pub(crate) fn exec_news(&mut self) {
        let Some(run) = &mut self.run else { return };
        let Main::Starting(exec) = &run.main else { return };
        match exec_result(exec) {
            ExecResult::Done => self.started(),
            ExecResult::Failed { stage, errno } => {
                let error = io::Error::from_raw_os_error(errno);
                let argv0 = self.starting.as_ref().map(|o| o.argv0.as_str()).unwrap_or_default();
                let cwd = self.starting.as_ref().map(|o| o.cwd.as_str()).unwrap_or_default();
                let what = match stage {
                    "exec" => format!("cannot execute {argv0}"),
                    "chdir" => format!("cannot enter {cwd}"),
                    _ => format!("cannot set up the process ({stage})"),
                };
                self.failed = Some(Failure::new(stage, what, &error));
                run.main = Main::Child;
            }
            ExecResult::Unknown => {}
        }
    }

    fn started(&mut self) {
        let Some(run) = &mut self.run else { return };
        run.main = Main::Child;
        run.restart_watchdog(clock::mono());
        let state = run.state();
        self.link.send(&Report::Started {
            run: state.run,
            pid: state.pid,
            start_ticks: state.start_ticks,
            at: state.started,
            containment: state.containment,
            remarks: run.remarks.clone(),
        });
        self.starting = None;
        self.housekeeping.get_or_insert_with(|| clock::mono() + HOUSEKEEPING_PAUSE);
    }

    /// What has to be done for the next start and after the last one, when nobody waits for it.
    pub(crate) fn keep_house(&mut self) {
        self.housekeeping = None;
        self.tidy_runs();
        self.make_spare();
    }

    /// Of runs that are over the records stay, of the newest few: the helmd that was told of their ends may die before
    /// it has written them down. Those of former boots go first, whatever the clock was then.
    pub(crate) fn tidy_runs(&self) {
        let current = self.run.as_ref().map(|r| r.state().run);
        let mut former = self.place.runs().unwrap_or_default();
        former.retain(|run| Some(*run) != current);
        // Stable: within a boot the order of the ids stays.
        former.sort_by_cached_key(|run| {
            RunRecord::read(&self.place.run(*run).record()).is_ok_and(|record| record.is_some())
        });
        let (old, kept) = former.split_at(former.len().saturating_sub(FORMER_RECORDS));
        for run in old {
            let _ = fs::remove_dir_all(self.place.run(*run).path());
        }
        for run in kept {
            let dir = self.place.run(*run);
            for file in [dir.pipe(0), dir.pipe(1), dir.notify()] {
                let _ = fs::remove_file(file);
            }
        }
    }
}

/// Directory, record and pipes.
fn furnish(dir: &RunDir) -> Result<Slots, Failure> {
    let failed = |what: &Path, e: &io::Error| Failure::new("record", what.display(), e);
    DirBuilder::new().mode(0o700).create(dir.path()).map_err(|e| failed(dir.path(), &e))?;
    let slots = Slots::create(&dir.record(), RUN_SLOT).map_err(|e| failed(&dir.record(), &e))?;
    for i in 0..2 {
        rustix::fs::mkfifoat(CWD, dir.pipe(i), Mode::RUSR | Mode::WUSR)
            .map_err(|e| Failure::new("pipe", dir.pipe(i).display(), &e.into()))?;
    }
    Ok(slots)
}

fn new_record(order: &StartOrder) -> RunRecord {
    RunRecord {
        epoch: Epoch::current(),
        state: RunState {
            run: order.run,
            mode: order.mode,
            pid: 0,
            start_ticks: 0,
            started: clock::mono(),
            started_wall: clock::wall(),
            ready: false,
            status: None,
            ended: None,
            over: false,
            leftovers: 0,
            containment: if order.cgroup.is_some() { Containment::Cgroup } else { Containment::Subreaper },
            cgroup: order.cgroup.as_ref().map(|c| c.dir.clone()),
            notify: None,
            watchdog: order.watchdog,
            definition: order.definition.clone(),
        },
        pipe_sizes: [0; 2],
    }
}

fn extra_env(
    order: &StartOrder,
    state: &RunState,
    dir: &RunDir,
    listened: usize,
) -> Vec<(&'static str, String)> {
    let mut extra =
        vec![(RUN_VARIABLE, order.run.to_string()), (MARKER, dir.path().to_string_lossy().into_owned())];
    if let Some(address) = &state.notify {
        extra.push(("NOTIFY_SOCKET", address.clone()));
    }
    if !order.listen.is_empty() {
        extra.push(("LISTEN_FDS", listened.to_string()));
    }
    if let Some(interval) = order.watchdog {
        extra.push(("WATCHDOG_USEC", interval.as_micros().to_string()));
    }
    extra
}

/// Opens our ends of the pipes, and makes them large.
fn open_pipes(dir: &RunDir, sizes: &mut [usize; 2]) -> Result<[OwnedFd; 2], Failure> {
    let open = |i: usize| -> io::Result<(OwnedFd, usize)> {
        let fd = open_pipe(&dir.pipe(i))?;
        let size = rustix::pipe::fcntl_setpipe_size(&fd, PIPE_BYTES)
            .or_else(|_| rustix::pipe::fcntl_setpipe_size(&fd, SMALL_PIPE))
            .or_else(|_| rustix::pipe::fcntl_getpipe_size(&fd))?;
        Ok((fd, size))
    };
    let failed = |i: usize| move |e: io::Error| Failure::new("pipe", dir.pipe(i).display(), &e);
    let (out, out_size) = open(0).map_err(failed(0))?;
    let (err, err_size) = open(1).map_err(failed(1))?;
    *sizes = [out_size, err_size];
    Ok([out, err])
}

/// The keeper's end of a pipe.
pub(crate) fn open_pipe(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?)
}

/// Creates the leaf, writes its values, and opens its `cgroup.procs`.
fn make_leaf(leaf: &CgroupLeaf, remarks: &mut Vec<String>) -> Result<OwnedFd, Failure> {
    let dir = Path::new(&leaf.dir);
    let failed = |e: &io::Error| Failure::new("cgroup", dir.display(), e);
    fs::create_dir_all(dir).map_err(|e| failed(&e))?;
    for (name, value) in &leaf.values {
        let file = dir.join(name);
        if let Err(e) = OpenOptions::new()
            .write(true)
            .open(&file)
            .and_then(|mut f| io::Write::write_all(&mut f, value.as_bytes()))
        {
            remarks.push(format!("{}: {value} was not set: {e}", file.display()));
        }
    }
    let procs = dir.join("cgroup.procs");
    let file = OpenOptions::new().write(true).custom_flags(libc::O_CLOEXEC).open(&procs);
    file.map(OwnedFd::from).map_err(|e| Failure::new("cgroup", procs.display(), &e))
}
