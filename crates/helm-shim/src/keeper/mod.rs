//! The keeper: one thread, one `poll` loop, no policy.
//!
//! A turn of the loop waits for something to happen, takes it in (first signals: ends of processes; last new orders),
//! and then settles: what follows from it is done before the next wait.

mod attach;
mod link;
mod notify;
mod run;
mod setup;
mod sockets;
mod spawn;
mod start;
mod tree;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use helm_core::name::ServiceName;
use helm_core::status::RunId;
use helm_core::time::Mono;
use helm_shim::rundir::ServiceDir;
use helm_shim::sys::{self, Waited};
use helm_shim::wire::{Attach, Ended, KeeperState, Order, Report};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::capture::Capture;
use crate::clock;
use link::Link;
use run::{DRAIN, Killing, Main, Run};

/// Datagrams of the service that are heard in one round.
const DATAGRAMS: usize = 16;
/// Runs the keeper of `name` until it is retired.
pub(crate) fn keep(home: &Path, name: &ServiceName, attach: Option<RunId>) -> Result<(), setup::SetupError> {
    let mut keeper = setup::set_up(home, name)?;
    // Before any order: the helmd that started us may be dead by now, and the output must be held by somebody.
    if let Some(run) = attach {
        keeper.attach(&Attach { run, known: Vec::new() });
        keeper.fresh = false;
    }
    while !keeper.done() {
        keeper.turn();
    }
    keeper.leave();
    Ok(())
}

/// What is needed of a start order for its error messages.
#[derive(Debug)]
struct Starting {
    argv0: String,
    cwd: String,
}

#[derive(Debug)]
pub(crate) struct Keeper {
    place: ServiceDir,
    /// Locked while we live.
    _lock: std::fs::File,
    link: Link,
    signals: OwnedFd,
    capture: Capture,
    run: Option<Run>,
    /// What is listened at for the service.
    sockets: sockets::Sockets,
    /// The start under way.
    starting: Option<Starting>,
    /// The record of the directory that waits for the next run.
    spare: Option<helm_shim::record::Slots>,
    /// When to tidy up and prepare the next start.
    housekeeping: Option<Mono>,
    /// The child could not exec; said when it has been reaped.
    failed: Option<start::Failure>,
    /// The one compressor, a child of ours that belongs to no run.
    compressor: Option<u32>,
    /// Not attached, and no order has come yet: the first may ask to attach.
    fresh: bool,
    retiring: bool,
    attach_failed: Option<String>,
    /// The trouble that helmd was told.
    told_trouble: String,
    oom: Option<Vec<u8>>,
    umask: u32,
}

/// What `poll` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Exec,
    Main,
    Member,
    Output,
    Notify,
    Peer,
    Listener,
}

impl Keeper {
    fn turn(&mut self) {
        for source in self.wait() {
            match source {
                Source::Signals => self.reap(),
                Source::Exec => self.exec_news(),
                Source::Main => self.look_for_exit(),
                Source::Member => self.look_again(),
                Source::Output => self.capture.pump(),
                Source::Notify => self.hear(),
                Source::Peer => {
                    self.link.flush();
                    for order in self.link.receive() {
                        self.obey(order);
                    }
                }
                Source::Listener => self.link.accept(),
            }
        }
        self.settle();
    }

    /// Waits; the sources that have news, in the order in which they are to be taken in.
    fn wait(&self) -> Vec<Source> {
        let mut sources = vec![Source::Signals];
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        if let Some(run) = self.run.as_ref().filter(|r| !r.over()) {
            match &run.main {
                Main::Starting(exec) => {
                    sources.push(Source::Exec);
                    fds.push(PollFd::new(exec, PollFlags::IN));
                }
                Main::Foreign(pidfd) => {
                    sources.push(Source::Main);
                    fds.push(PollFd::new(pidfd, PollFlags::IN));
                }
                // A dead process is readable for ever; the hang-up says that it has been reaped.
                Main::Leaving { pidfd: Some(pidfd), .. } => {
                    sources.push(Source::Main);
                    fds.push(PollFd::new(pidfd, PollFlags::empty()));
                }
                Main::Leaving { pidfd: None, .. } | Main::Child | Main::Gone => {}
            }
            for pidfd in &run.watched {
                sources.push(Source::Member);
                fds.push(PollFd::new(pidfd, PollFlags::IN));
            }
            if let Some(notify) = &run.notify {
                sources.push(Source::Notify);
                fds.push(PollFd::from_borrowed_fd(notify.fd(), PollFlags::IN));
            }
        }
        for pipe in self.capture.pipes() {
            sources.push(Source::Output);
            fds.push(PollFd::from_borrowed_fd(pipe, PollFlags::IN));
        }
        if let Some((peer, unsent)) = self.link.peer() {
            let flags = if unsent { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            sources.push(Source::Peer);
            fds.push(PollFd::from_borrowed_fd(peer, flags));
        }
        sources.push(Source::Listener);
        fds.push(PollFd::from_borrowed_fd(self.link.listener(), PollFlags::IN));
        let timeout = self.deadline().map(|at| timespec(at.since(clock::mono())));
        if poll(&mut fds, timeout.as_ref()).is_err() {
            // Interrupted: nothing is lost by another look.
            return Vec::new();
        }
        let mut news: Vec<Source> = sources
            .into_iter()
            .zip(&fds)
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(s, _)| s)
            .collect();
        news.dedup();
        news
    }

    fn deadline(&self) -> Option<Mono> {
        self.run
            .as_ref()
            .and_then(Run::deadline)
            .into_iter()
            .chain(self.capture.deadline())
            .chain(self.housekeeping)
            .min()
    }

    /// SIGCHLD: takes dead children away until none is dead.
    fn reap(&mut self) {
        let mut bytes = [0; 128];
        while rustix::io::read(&self.signals, &mut bytes[..]).is_ok() {}
        while let Waited::Dead(dead) = sys::wait_any() {
            if self.compressor == Some(dead.pid) {
                self.compressor = None;
                if dead.exit.is_success() {
                    self.capture.compressed();
                }
            }
            self.look_again();
            let Some(run) = self.run.as_ref().filter(|r| r.own && r.state().pid == dead.pid) else {
                continue;
            };
            let (id, oom_kills) = (run.state().run, run.oom_kills());
            // exec has an outcome by now, and it is told before the end.
            self.exec_news();
            let ended = Ended {
                run: id,
                exit: dead.exit,
                at: clock::mono(),
                at_wall: clock::wall(),
                user: dead.user,
                system: dead.system,
                max_rss: dead.max_rss,
                oom_kills,
            };
            self.main_ended(ended);
        }
    }

    fn main_ended(&mut self, ended: Ended) {
        let Some(run) = self.run.as_mut().filter(|r| !matches!(r.main, Main::Gone)) else { return };
        run.end_main(ended.clone());
        if self.failed.is_none() {
            self.link.send(&Report::Ended(ended));
        }
    }

    /// The tree may have become smaller.
    fn look_again(&mut self) {
        if let Some(run) = &mut self.run {
            run.look = true;
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Hello { log, attach } => {
                self.capture.set_rules(log);
                if let Some(attach) = attach.filter(|_| self.fresh && self.run.is_none()) {
                    self.attach(&attach);
                }
                self.link.greeted();
                self.told_trouble = self.capture.trouble();
                let state = self.state();
                self.link.send(&Report::Hello(Box::new(state)));
            }
            Order::Start(order) => {
                self.starting = Some(Starting {
                    argv0: order.argv.first().cloned().unwrap_or_default(),
                    cwd: order.cwd.clone(),
                });
                self.start(&order);
            }
            Order::Signal { run, signal } => {
                let compressor = self.compressor;
                if let Some(run) = self.live(run) {
                    run.signal(signal, compressor);
                }
            }
            Order::Kill { run } => {
                let compressor = self.compressor;
                if let Some(run) = self.live(run) {
                    run.killing = Some(Killing::begin(clock::mono()));
                    run.kill_all(compressor);
                    run.look = true;
                }
            }
            Order::ExitKnown { run, exit } => {
                if self.live(run).is_some() {
                    self.foreign_ended(exit);
                }
            }
            Order::Retire => self.retiring = true,
        }
        self.fresh = false;
    }

    /// The run with this id, if it is the one we have and not over.
    fn live(&mut self, id: RunId) -> Option<&mut Run> {
        self.run.as_mut().filter(|r| r.state().run == id && !r.over())
    }

    fn state(&self) -> KeeperState {
        KeeperState {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            run: self.run.as_ref().map(|r| r.state().clone()),
            attach_failed: self.attach_failed.clone(),
            output_trouble: self.told_trouble.clone(),
        }
    }

    /// Datagrams of the service.
    fn hear(&mut self) {
        let now = clock::mono();
        let Some(run) = &mut self.run else { return };
        // A service that never stops talking must not keep us from its end: the rest is heard in the next round.
        for _ in 0..DATAGRAMS {
            let Some((sender, said)) = run.notify.as_ref().and_then(notify::NotifySocket::receive) else {
                break;
            };
            let ours = sender.uid == rustix::process::geteuid() || sender.uid.is_root();
            let pid = sender.pid.as_raw_nonzero().get().unsigned_abs();
            // A service may change its user: then it has to be alive and found in the tree.
            let alive = helm_shim::procs::stat(pid).is_some();
            if !(ours || alive) || !run.contains(pid) {
                continue;
            }
            if let Some(interval) = said.watchdog {
                run.state_mut().watchdog = Some(interval);
            }
            if said.alive || said.watchdog.is_some() {
                run.restart_watchdog(now);
            }
            if !(said.ready || said.stopping || said.status.is_some()) {
                continue;
            }
            run.state_mut().ready |= said.ready;
            if said.status.is_some() {
                run.state_mut().status = said.status.clone();
            }
            let _ = run.save();
            let run = run.state().run;
            let report =
                Report::Notify { run, ready: said.ready, stopping: said.stopping, status: said.status };
            self.link.send(&report);
        }
    }

    /// Everything that follows from what has happened, and from the time.
    fn settle(&mut self) {
        let now = clock::mono();
        self.capture.tick(now);
        self.settle_run(now);
        if self.housekeeping.is_some_and(|at| at <= now) {
            self.keep_house();
        }
        let trouble = self.capture.trouble();
        if trouble != self.told_trouble {
            self.told_trouble.clone_from(&trouble);
            self.link.send(&Report::Output { trouble });
        }
        if self.compressor.is_none()
            && let Some(file) = self.capture.after_rotation()
        {
            self.compressor = setup::spawn_compressor(&file);
        }
    }

    fn settle_run(&mut self, now: Mono) {
        let Some(run) = self.run.as_mut().filter(|r| !r.over()) else { return };
        if run.watchdog_due.is_some_and(|due| due <= now) {
            run.watchdog_due = None;
            let run = run.state().run;
            self.link.send(&Report::WatchdogMissed { run });
        }
        self.look_for_exit_in_time(now);
        let compressor = self.compressor;
        let Some(run) = &mut self.run else { return };
        if let Some(killing) = run.killing.as_mut().filter(|k| k.due <= now) {
            killing.again(now);
            run.kill_all(compressor);
            run.look = true;
        }
        if matches!(run.main, Main::Gone) && run.drain_until.is_none() && std::mem::take(&mut run.look) {
            self.look_at_tree(now);
        }
        self.finish_if_drained(now);
    }

    fn look_for_exit_in_time(&mut self, now: Mono) {
        let due =
            self.run.as_ref().is_some_and(|r| matches!(r.main, Main::Leaving { until, .. } if until <= now));
        if due {
            self.look_for_exit();
        }
    }

    /// Main is gone: is anything left?
    fn look_at_tree(&mut self, now: Mono) {
        let compressor = self.compressor;
        let Some(run) = &mut self.run else { return };
        let empty = if run.own { run.is_childless(compressor) } else { run.watch_members(compressor) };
        if empty {
            run.watched.clear();
            run.killing = None;
            run.drain_until = Some(now + DRAIN);
        } else if run.killing.is_some() && !run.own {
            // What was born since the last attempt must not wait for the next one.
            run.kill_all(compressor);
        }
    }

    /// The tree is empty: once the output is in, the run is over.
    fn finish_if_drained(&mut self, now: Mono) {
        let Some(until) = self.run.as_ref().and_then(|r| r.drain_until) else { return };
        if !self.capture.drained() {
            self.capture.pump();
            if !self.capture.drained() && now < until {
                return;
            }
        }
        self.capture.end_run();
        let failed = self.failed.take();
        let Some(run) = &mut self.run else { return };
        run.drain_until = None;
        run.notify = None;
        run.state_mut().over = true;
        let _ = run.save();
        run.remove_cgroup();
        let (id, leftovers) = (run.state().run, run.state().leftovers);
        match failed {
            Some(failure) => {
                let _ = std::fs::remove_dir_all(run.dir.path());
                self.run = None;
                self.link.send(&failure.report(id));
            }
            None => self.link.send(&Report::TreeEmpty { run: id, leftovers }),
        }
    }

    /// Retired, and nothing is alive.
    fn done(&self) -> bool {
        self.retiring && self.run.as_ref().is_none_or(Run::over)
    }

    /// The records of the last runs stay: a later helmd reads there that a one-shot is done.
    fn leave(self) {
        self.tidy_runs();
        let _ = std::fs::remove_dir_all(self.place.spare().path());
        let _ = std::fs::remove_file(self.place.socket());
    }
}

fn timespec(d: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(d.subsec_nanos()) }
}
