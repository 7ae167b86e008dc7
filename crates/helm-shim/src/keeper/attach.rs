//! Taking over the run of a dead keeper.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use helm_core::exit::Exit;
use helm_shim::procs::{self, Process};
use helm_shim::record::{RUN_SLOT, RunRecord, Slots};
use helm_shim::rundir::{Epoch, RunDir};
use helm_shim::sys;
use helm_shim::wire::{Attach, Containment, Ended};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Keeper;
use super::notify::NotifySocket;
use super::run::{Main, Run};
use super::start::open_pipe;
use crate::clock;

/// How long the exit of a dead process is awaited: PID 1 may take over a second to reap it.
pub(crate) const EXIT_WAIT: Duration = Duration::from_secs(5);
/// The same where we have no pidfd: only helmd can know then, and it tells at once if it does.
const TOLD_WAIT: Duration = Duration::from_secs(1);
/// Attempts to get a pidfd where that fails for want of descriptors or memory, and the pause between two.
const OPEN_ATTEMPTS: usize = 100;
const OPEN_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// Attempts to end what is left of a run that cannot be attached to, and the pause between two.
const SWEEPS: usize = 100;
const SWEEP_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

impl Keeper {
    /// The first order of a new keeper asked for it.
    pub(crate) fn attach(&mut self, order: &Attach) {
        let dir = self.place.run(order.run);
        let known: Vec<Process> = order
            .known
            .iter()
            .map(|(pid, start_ticks)| Process { pid: *pid, start_ticks: *start_ticks })
            .collect();
        match self.take_over(&dir, order) {
            Ok(mut run) => {
                run.known = known;
                self.run = Some(run);
            }
            Err(why) => {
                sweep(&dir, &known);
                self.capture.lost();
                self.attach_failed = Some(why);
                let _ = fs::remove_dir_all(dir.path());
            }
        }
    }

    fn take_over(&mut self, dir: &RunDir, order: &Attach) -> Result<Run, String> {
        let path = dir.record();
        let (slots, record) = Slots::open::<RunRecord>(&path, RUN_SLOT)
            .map_err(|e| format!("cannot read the record {}: {e}", path.display()))?;
        let mut record =
            record.ok_or_else(|| format!("the record {} holds nothing whole", path.display()))?;
        if record.epoch != Epoch::current() {
            return Err(format!("the run of {} was in another boot or pid namespace", path.display()));
        }
        if record.state.run != order.run {
            return Err(format!("the record {} is of run {}", path.display(), record.state.run));
        }
        if record.state.pid == 0 {
            return Err("the run had not been started when its keeper was killed".into());
        }
        if record.state.over {
            return Ok(Run::new(dir.clone(), record, slots, Main::Gone, false));
        }
        if record.state.containment == Containment::Subreaper {
            record.state.containment = Containment::Session;
        }
        self.reconnect(dir, &record)?;
        let main = find_main(&record);
        let mut run = Run::new(dir.clone(), record, slots, main, false);
        if let Some(address) = &run.state().notify {
            run.notify = NotifySocket::bind_at(address).ok();
        }
        run.restart_watchdog(clock::mono());
        let _ = run.save();
        Ok(run)
    }

    /// Opens the pipes again. A pipe of another size than recorded is a new one: the old one went with its last holder.
    fn reconnect(&mut self, dir: &RunDir, record: &RunRecord) -> Result<(), String> {
        let mut pipes = Vec::new();
        let mut renewed = false;
        for i in 0..2 {
            let pipe =
                open_pipe(&dir.pipe(i)).map_err(|e| format!("cannot open {}: {e}", dir.pipe(i).display()))?;
            renewed |= rustix::pipe::fcntl_getpipe_size(&pipe).is_ok_and(|size| size != record.pipe_sizes[i]);
            pipes.push(pipe);
        }
        if renewed {
            self.capture.lost();
        }
        let pipes = pipes.try_into().map_err(|_| "two pipes are needed".to_owned())?;
        self.capture
            .begin_run(record.state.run, pipes)
            .map_err(|e| format!("cannot go on with the output: {e}"))
    }

    /// A dead main process whose exit is looked for: the record was asked first, helmd may tell any time, the kernel
    /// knows once it is reaped.
    pub(crate) fn look_for_exit(&mut self) {
        let Some(run) = &mut self.run else { return };
        if let Main::Foreign(pidfd) = &run.main
            && let Ok(pidfd) = pidfd.try_clone()
        {
            run.main = Main::Leaving { pidfd: Some(pidfd), until: clock::mono() + EXIT_WAIT };
        }
        let Main::Leaving { pidfd, until } = &run.main else { return };
        let known = pidfd.as_ref().and_then(sys::pidfd_exit);
        if let Some(exit) = known.or((*until <= clock::mono()).then_some(Exit::Unknown)) {
            self.foreign_ended(exit);
        }
    }

    /// `Order::ExitKnown`, or what we found ourselves.
    pub(crate) fn foreign_ended(&mut self, exit: Exit) {
        let Some(run) =
            self.run.as_mut().filter(|r| matches!(r.main, Main::Foreign(_) | Main::Leaving { .. }))
        else {
            return;
        };
        let ended = Ended {
            run: run.state().run,
            exit,
            at: clock::mono(),
            at_wall: clock::wall(),
            user: Duration::ZERO,
            system: Duration::ZERO,
            max_rss: 0,
            oom_kills: run.oom_kills(),
        };
        self.main_ended(ended);
    }
}

fn find_main(record: &RunRecord) -> Main {
    if record.state.ended.is_some() {
        return Main::Gone;
    }
    let process = Process { pid: record.state.pid, start_ticks: record.state.start_ticks };
    for _ in 0..OPEN_ATTEMPTS {
        match procs::open(process) {
            Ok(Some(pidfd)) => return Main::Foreign(pidfd),
            Ok(None) => break,
            // No descriptor or no memory left: that says nothing about the process.
            Err(_) => {
                let none: &mut [PollFd<'_>] = &mut [];
                let _ = poll(none, Some(&OPEN_PAUSE));
            }
        }
    }
    Main::Leaving { pidfd: None, until: clock::mono() + TOLD_WAIT }
}

/// Ends what can be recognised of a run that nobody can attach to.
fn sweep(dir: &RunDir, known: &[Process]) {
    for _ in 0..SWEEPS {
        let all = procs::all();
        let own = std::process::id();
        let mut found: BTreeSet<Process> = all
            .iter()
            .map(|s| s.process)
            .filter(|p| p.pid != own && (known.contains(p) || procs::has_marker(p.pid, dir)))
            .collect();
        let roots: Vec<u32> = found.iter().map(|p| p.pid).collect();
        found.extend(procs::below(&all, &roots));
        found.retain(|p| p.pid != own);
        if found.is_empty() {
            return;
        }
        for number in [libc::SIGSTOP, libc::SIGKILL] {
            for process in &found {
                procs::signal(*process, number);
            }
        }
        // Wait for the end of one of them, or a moment.
        let pidfd = found.iter().find_map(|p| procs::open(*p).ok().flatten());
        let mut fds: Vec<PollFd<'_>> = pidfd.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let _ = poll(&mut fds, Some(&SWEEP_PAUSE));
    }
}
