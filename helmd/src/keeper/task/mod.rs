//! The task of one service's keeper: orders to it, reports of it, its silence. Which keeper that is, is the job of
//! `takeover`.

mod sockets;
mod takeover;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use helm_core::event::News;
use helm_core::exit::Exit;
use helm_core::spec::ServiceSpec;
use helm_core::status::RunId;
use helm_core::wish::Mode;
use helm_shim::procs::Process;
use helm_shim::rundir::ServiceDir;
use helm_shim::wire::{Ended, KeeperState, Order, Report, RunState};
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::launch::{Hindrance, prepare};
use super::link::Link;
use super::live::Live;
use super::silence::{Due, Silence};
use super::{Command, Name, World};
use crate::clock;
use crate::port;
use crate::supervisor::driver::NewsSender;
use crate::work;

/// errno of failures at exec that a later try cannot mend: EPERM, ENOENT, EACCES, ENOEXEC, ENOTDIR, ELOOP, ENAMETOOLONG.
const FINAL_ERRNO: [i32; 7] = [1, 2, 13, 8, 20, 40, 36];

pub(super) struct Task {
    name: Name,
    spec: Arc<ServiceSpec>,
    world: Arc<World>,
    place: ServiceDir,
    news: NewsSender,
    commands: mpsc::Receiver<Command>,
    link: Option<Link>,
    live: Option<Live>,
    /// The keeper is of another version: it is replaced once its run is over.
    outdated: bool,
    /// Adoption found a run whose keeper could not be replaced yet.
    keeperless: bool,
    /// A live run that was found when another one was to start.
    stray: Option<RunState>,
    /// Nothing was heard of the keeper since an order.
    silence: Option<Silence>,
}

impl Task {
    pub(super) fn new(
        spec: Arc<ServiceSpec>,
        world: Arc<World>,
        news: NewsSender,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let name = spec.name.clone();
        let place = ServiceDir::new(world.home.path(), &name);
        Self {
            name,
            spec,
            world,
            place,
            news,
            commands,
            link: None,
            live: None,
            outdated: false,
            keeperless: false,
            stray: None,
            silence: None,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            if std::mem::take(&mut self.keeperless) {
                self.keeper_gone(&io::ErrorKind::NotFound.into()).await;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                report = next_report(&mut self.link) => match report {
                    Ok(report) => self.heard(report).await,
                    Err(e) => self.keeper_gone(&e).await,
                },
                (run, exit) = next_exit(&mut self.live) => self.give(Order::ExitKnown { run, exit }).await,
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command).await,
                    None => return,
                },
                due = Silence::due(self.silence), if self.link.is_some() => self.break_silence(due).await,
            }
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Adopt { told, reply } => {
                let found = self.adopt(told).await;
                // Too late for the others: it is told as news.
                if let Err(late) = reply.send(found) {
                    for news in late.into_iter().chain([News::Answered]) {
                        self.tell(news).await;
                    }
                }
            }
            Command::Start { run, mode } => self.start(run, mode).await,
            Command::Signal { run, signal } => self.give_pending(run, Order::Signal { run, signal }).await,
            Command::Nudge { run, signal } => {
                if self.live.as_ref().is_some_and(|live| live.run == run && !live.ended) {
                    self.give(Order::Signal { run, signal }).await;
                }
            }
            Command::Kill { run } => self.give_pending(run, Order::Kill { run }).await,
            Command::Retire => {
                if let Some(mut link) = self.link.take() {
                    let _ = link.send(&Order::Retire).await;
                }
            }
        }
    }

    // Starting.

    async fn start(&mut self, run: RunId, mode: Mode) {
        if let Err(news) = self.try_start(run, mode).await {
            self.over(run);
            self.tell(news).await;
            // A run that nobody here knew of lives: it is taken over instead.
            let found = self.stray.take().and_then(|stray| self.adopted(&stray));
            if let Some(found) = found {
                self.tell(found).await;
            }
        }
    }

    async fn try_start(&mut self, run: RunId, mode: Mode) -> Result<(), News> {
        // What the keeper itself listens at it finds taken, or it is its own.
        if let Some(port) = self.spec.port.filter(|port| !self.listens_at(*port))
            && let Some(holder) = port::holder(port).await
        {
            return Err(News::Occupied { run, holder });
        }
        let failed = |permanent, reason| News::StartFailed { run, reason, permanent };
        if let Some(live) = &self.live {
            return Err(failed(false, format!("run {} of it is not over", live.run)));
        }
        if self.link.is_none()
            && let Ok(state) = self.reach().await
            && let Some(stray) = state.run.filter(|stray| !stray.over)
        {
            let reason = format!("run {} of it lives, pid {}, and is taken over", stray.run, stray.pid);
            self.stray = Some(stray);
            return Err(failed(false, reason));
        }
        let (world, spec) = (self.world.clone(), self.spec.clone());
        let prepared = work::KEEPERS.run_aside(move || prepare(&world, &spec, run, mode)).await;
        let order = match prepared.map_err(|e| failed(false, e.to_string()))? {
            Ok(order) => order,
            Err(Hindrance::NotInstalled(reason)) => return Err(News::NotInstalled { run, reason }),
            Err(Hindrance::Permanent(reason)) => return Err(failed(true, reason)),
            Err(Hindrance::Transient(reason)) => return Err(failed(false, reason)),
        };
        if self.link.is_none() {
            let link = self.new_keeper(None).await;
            self.link =
                Some(link.map_err(|e| failed(false, format!("the keeper could not be started: {e}")))?);
        }
        let mut live = Live::new(run);
        live.hold_ahead(&self.place.spare());
        self.live = Some(live);
        self.give(Order::Start(Box::new(order))).await;
        Ok(())
    }

    // Orders and reports.

    async fn give(&mut self, order: Order) {
        let Some(link) = &mut self.link else { return };
        if let Err(e) = link.send(&order).await {
            return self.keeper_gone(&e).await;
        }
        self.silence.get_or_insert_with(Silence::begin);
    }

    /// The keeper did not say a word since an order.
    async fn break_silence(&mut self, due: Due) {
        self.silence = None;
        match due {
            Due::Ask => {
                self.signal_keeper(Signal::CONT).await;
                // Before it is asked: where that fails, a new keeper is there afterwards, and was not asked.
                self.silence = Some(Silence::Asked(Instant::now()));
                self.give(Order::Hello { log: self.spec.log.clone(), attach: None }).await;
            }
            // Its socket ends with it.
            Due::Replace => self.kill_stuck().await,
        }
    }

    async fn heard(&mut self, report: Report) {
        let asked = matches!(self.silence.take(), Some(Silence::Asked(_)));
        // The answer to our question holds nothing that this connection has not told, or will tell.
        if !(asked && matches!(report, Report::Hello(_))) {
            self.report(report).await;
        }
    }

    async fn give_pending(&mut self, run: RunId, order: Order) {
        if let Some(live) = self.live.as_mut().filter(|live| live.run == run) {
            live.pending = Some(order.clone());
            self.give(order).await;
        } else if matches!(order, Order::Kill { .. }) && self.live.is_none() {
            // Whoever waits for the end of a run that is not there is told that it is over.
            self.tell(News::TreeEmpty { run, leftovers: 0 }).await;
        }
    }

    async fn report(&mut self, report: Report) {
        match report {
            Report::Hello(state) => self.greeted(*state).await,
            Report::Started { run, pid, start_ticks, remarks, .. } => {
                self.started(run, Process { pid, start_ticks }).await;
                let text = remarks.join("; ");
                self.tell(News::Warning { topic: "limits".into(), text }).await;
            }
            Report::StartFailed { run, stage, errno, message, address } => {
                if self.live.as_ref().is_some_and(|live| live.run == run && live.started) {
                    // Told as up while its exec was still to come.
                    return self.vanished(run).await;
                }
                self.over(run);
                if let Some(taken) = self.taken(run, address, errno).await {
                    return self.tell(taken).await;
                }
                let permanent = matches!(stage.as_str(), "exec" | "chdir") && FINAL_ERRNO.contains(&errno);
                self.tell(News::StartFailed { run, reason: message, permanent }).await;
            }
            Report::Ended(ended) => self.ended(&ended).await,
            Report::TreeEmpty { run, leftovers } => self.tree_empty(run, leftovers).await,
            Report::Notify { run, ready, stopping, status } => {
                self.tell(News::Notified { run, ready, stopping, status }).await;
            }
            Report::WatchdogMissed { run } => self.tell(News::WatchdogMissed { run }).await,
            Report::Output { trouble } => {
                self.tell(News::Warning { topic: "output".into(), text: trouble }).await;
            }
        }
    }

    /// The whole state of a keeper, told at the begin of a connection: what was not told yet becomes news.
    async fn greeted(&mut self, state: KeeperState) {
        self.outdated = state.version != env!("CARGO_PKG_VERSION");
        self.tell(News::Warning { topic: "output".into(), text: state.output_trouble }).await;
        let Some(run) = self.live.as_ref().map(|live| live.run) else { return };
        if let Some(why) = state.attach_failed {
            tracing::error!(service.name = %self.name, "a new keeper could not attach, the tree was ended: {why}");
            return self.vanished(run).await;
        }
        let Some(seen) = state.run.filter(|seen| seen.run == run) else { return };
        self.started(run, main_of(&seen)).await;
        if let Some(ended) = &seen.ended {
            self.ended(ended).await;
        }
        if seen.over {
            self.tree_empty(run, seen.leftovers).await;
        }
    }

    /// Nothing of the run is left, and nobody knows how it ended.
    async fn vanished(&mut self, run: RunId) {
        let ended = Ended {
            run,
            exit: Exit::Unknown,
            at: clock::mono(),
            at_wall: clock::wall(),
            user: Duration::ZERO,
            system: Duration::ZERO,
            max_rss: 0,
            oom_kills: None,
        };
        self.ended(&ended).await;
        self.tree_empty(run, 0).await;
    }

    async fn started(&mut self, run: RunId, main: Process) {
        let Some(live) = self.live.as_mut().filter(|live| live.run == run && !live.started) else { return };
        live.started = true;
        live.take_hold(&self.place.run(run), main);
        self.tell(News::Started { run, pid: main.pid }).await;
    }

    async fn ended(&mut self, ended: &Ended) {
        let Some(live) = self.live.as_mut().filter(|live| live.run == ended.run && !live.ended) else {
            return;
        };
        live.ended = true;
        live.exit = None;
        self.tell(News::Ended { run: ended.run, exit: ended.exit, at: ended.at }).await;
    }

    async fn tree_empty(&mut self, run: RunId, leftovers: u32) {
        if !self.over(run) {
            return;
        }
        if self.outdated
            && let Some(mut old) = self.link.take()
        {
            let _ = old.send(&Order::Retire).await;
        }
        self.tell(News::TreeEmpty { run, leftovers }).await;
    }

    fn over(&mut self, run: RunId) -> bool {
        let ours = self.live.as_ref().is_some_and(|live| live.run == run);
        if ours {
            self.live = None;
        }
        ours
    }

    async fn tell(&self, news: News) {
        // The driver takes news before anything else; it is gone only when helmd leaves.
        let _ = self.news.send((self.name.clone(), news)).await;
    }
}

fn main_of(state: &RunState) -> Process {
    Process { pid: state.pid, start_ticks: state.start_ticks }
}

async fn next_report(link: &mut Option<Link>) -> io::Result<Report> {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}

async fn next_exit(live: &mut Option<Live>) -> (RunId, Exit) {
    if let Some(live) = live
        && let Some(exit) = &mut live.exit
    {
        let known = exit.await;
        live.exit = None;
        return (live.run, known);
    }
    std::future::pending().await
}
