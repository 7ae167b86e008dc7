//! The task of one service's keeper.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use helm_core::event::News;
use helm_core::exit::Exit;
use helm_core::spec::ServiceSpec;
use helm_core::status::RunId;
use helm_core::wish::Mode;
use helm_shim::procs::Process;
use helm_shim::rundir::ServiceDir;
use helm_shim::wire::{Attach, Ended, KeeperState, Order, Report, RunState};
use rustix::process::{Pid, Resource, Signal, prlimit};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::launch::{Hindrance, prepare};
use super::link::Link;
use super::live::Live;
use super::records::{former_records, last_record};
use super::silence::{Due, Silence, signal_keeper};
use super::{Command, Name, World};
use crate::clock;
use crate::port;
use crate::supervisor::driver::NewsSender;
use crate::work;

/// A keeper that does not answer `Hello` for this long is stuck; killing it costs the service nothing.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// Pauses between attempts to replace a keeper (no memory, no processes left).
const REPLACE_AFTER: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(5)];
/// Until a record that could not be read is read again.
const RECORD_AGAIN: Duration = Duration::from_millis(500);
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
        if let Some(port) = self.spec.port
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

    /// Starts a keeper; its answer to `Hello` comes as a report.
    async fn new_keeper(&self, attach: Option<Attach>) -> io::Result<Link> {
        let (mut link, theirs) = Link::pair()?;
        let mut command = std::process::Command::new(&self.world.shim);
        command
            .arg("keep")
            .arg("--home")
            .arg(self.world.home.path())
            .arg("--service")
            .arg(self.name.as_str())
            // Not by the order alone: we may be killed before it is sent.
            .args(attach.iter().flat_map(|attach| ["--attach".to_owned(), attach.run.to_string()]))
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let world = self.world.clone();
        let started = work::KEEPERS.run_aside(move || {
            let pid = world.reaper.spawn_keeper(&mut command)?;
            // Services inherit the limit that helmd was started with, not the one it raised for itself.
            if let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = prlimit(Some(id), Resource::Nofile, world.nofile);
            }
            if let Some(tree) = &world.cgroups.tree {
                let _ = std::fs::write(tree.join("keepers/cgroup.procs"), pid.to_string());
            }
            Ok(())
        });
        started.await.flatten()?;
        link.send(&Order::Hello { log: self.spec.log.clone(), attach }).await?;
        Ok(link)
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
                signal_keeper(&self.place, self.name.as_str(), Signal::CONT);
                // Before it is asked: where that fails, a new keeper is there afterwards, and was not asked.
                self.silence = Some(Silence::Asked(Instant::now()));
                self.give(Order::Hello { log: self.spec.log.clone(), attach: None }).await;
            }
            // Its socket ends with it.
            Due::Replace => self.kill_stuck(),
        }
    }

    async fn heard(&mut self, report: Report) {
        let asked = matches!(self.silence.take(), Some(Silence::Asked(_)));
        // The answer to our question holds nothing that this connection has not told, or will tell.
        if !(asked && matches!(report, Report::Hello(_))) {
            self.report(report).await;
        }
    }

    fn kill_stuck(&self) {
        if signal_keeper(&self.place, self.name.as_str(), Signal::KILL) {
            tracing::warn!(
                service.name = %self.name,
                "a keeper does not answer as it should and is killed; its service is not touched"
            );
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
            Report::StartFailed { run, stage, errno, message } => {
                if self.live.as_ref().is_some_and(|live| live.run == run && live.started) {
                    // Told as up while its exec was still to come.
                    return self.vanished(run).await;
                }
                self.over(run);
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

    // A killed keeper.

    /// The keeper is gone. If a run of it may live, a new keeper takes it over.
    async fn keeper_gone(&mut self, why: &io::Error) {
        (self.link, self.silence) = (None, None);
        let Some(run) = self.live.as_ref().map(|live| live.run) else { return };
        tracing::warn!(service.name = %self.name, run.id = %run, "the keeper is gone ({why}); a new one takes over");
        let mut attempt = 0_usize;
        loop {
            sleep_until(Instant::now() + REPLACE_AFTER[attempt.min(REPLACE_AFTER.len() - 1)]).await;
            attempt += 1;
            let record = match self.record_of(run).await {
                Ok(record) => record,
                Err(e) => {
                    let text =
                        format!("its keeper was killed, and the record of its run cannot be read yet: {e}");
                    self.tell(News::Warning { topic: "keeper".into(), text }).await;
                    continue;
                }
            };
            let Some(record) = record else {
                if self.live.as_ref().is_some_and(|live| live.started) {
                    return self.vanished(run).await;
                }
                // It never came to the gate: the child saw the end of its pipe and left before exec.
                self.live = None;
                let reason = "its keeper was killed before the program was started".to_owned();
                return self.tell(News::StartFailed { run, reason, permanent: false }).await;
            };
            let dir = self.place.run(run);
            if let Some(live) = self.live.as_mut().filter(|live| !live.ended) {
                live.take_hold(&dir, main_of(&record));
                live.watch_exit(&self.world.reaper);
            }
            match self.replace(run).await {
                Ok(state) => {
                    self.greeted(state).await;
                    let pending = self.live.as_ref().and_then(|live| live.pending.clone());
                    if let (Some(order), Some(link)) = (pending, &mut self.link) {
                        let _ = link.send(&order).await;
                        self.silence = Some(Silence::begin());
                    }
                    return self.tell(News::Warning { topic: "keeper".into(), text: String::new() }).await;
                }
                Err(e) => {
                    self.link = None;
                    let text = format!("its keeper was killed and cannot be replaced yet: {e}");
                    self.tell(News::Warning { topic: "keeper".into(), text }).await;
                }
            }
        }
    }

    /// A new keeper for the run; its first answer. A helmd that was killed meanwhile may have started one already.
    async fn replace(&mut self, run: RunId) -> io::Result<KeeperState> {
        if let Ok(state) = self.reach().await {
            return Ok(state);
        }
        let attach = Attach { run, known: Vec::new() };
        let mut link = self.new_keeper(Some(attach)).await?;
        let state = hello(&mut link).await?;
        self.link = Some(link);
        Ok(state)
    }

    // Adoption.

    /// Finds what former helmds left, and says it as news. Within the caller's bound.
    async fn adopt(&mut self, told: Option<RunId>) -> Vec<News> {
        let record = self.last_record_surely().await;
        let mut found = self.former_ends(record.as_ref(), told).await;
        match self.reach().await {
            Ok(state) => {
                self.outdated = state.version != env!("CARGO_PKG_VERSION");
                found.push(News::Warning { topic: "output".into(), text: state.output_trouble.clone() });
                // What it could not take over is ended.
                let ended = state.attach_failed.and(record).map(|record| RunState { over: true, ..record });
                found.extend(state.run.or(ended).and_then(|run| self.adopted(&run)));
            }
            Err(_) => found.extend(self.adopt_without_keeper().await),
        }
        found
    }

    /// What the helmd that saw them end did not come to tell.
    async fn former_ends(&self, last: Option<&RunState>, told: Option<RunId>) -> Vec<News> {
        let Some((last, last_start)) = last.map(|last| (last.run, (last.started, last.started_wall))) else {
            return Vec::new();
        };
        let place = self.place.clone();
        let read = work::KEEPERS.run_aside(move || former_records(&place, last, told)).await.flatten();
        let former = read.unwrap_or_else(|e| {
            tracing::error!(service.name = %self.name, "the records of its former runs cannot be read: {e}");
            Vec::new()
        });
        let next_starts = former.iter().skip(1).map(|next| (next.started, next.started_wall));
        let next_starts: Vec<_> = next_starts.chain([last_start]).collect();
        let end = |(state, next): (&RunState, _)| {
            // Where nobody could note its end, it was over when the next one was started.
            let (ended, ended_wall) = state.ended.as_ref().map_or(next, |end| (end.at, end.at_wall));
            let exit = state.ended.as_ref().map_or(Exit::Unknown, |end| end.exit);
            let &RunState { run, started, ready, .. } = state;
            News::FoundFormer { run, exit, started, ended, ended_wall, ready }
        };
        former.iter().zip(next_starts).map(end).collect()
    }

    /// Connects to the keeper that should be there. One that holds the lock and does not answer is killed. One that was
    /// started for a live run by a helmd that died before it could say so is told now; others ignore it.
    async fn reach(&mut self) -> io::Result<KeeperState> {
        let mut link = Link::connect(&self.place)?;
        let live = self.last_record().await?.filter(|record| !record.over);
        let attach = live.as_ref().map(|record| Attach { run: record.run, known: Vec::new() });
        link.send(&Order::Hello { log: self.spec.log.clone(), attach }).await?;
        match hello(&mut link).await {
            Ok(state) if live.is_some() && state.run.is_none() && state.attach_failed.is_none() => {
                self.kill_stuck();
                Err(io::Error::other("the keeper knows nothing of the run that lives"))
            }
            Ok(state) => {
                self.link = Some(link);
                Ok(state)
            }
            Err(e) => {
                if e.kind() == io::ErrorKind::TimedOut {
                    self.kill_stuck();
                }
                Err(e)
            }
        }
    }

    async fn adopt_without_keeper(&mut self) -> Vec<News> {
        let Some(record) = self.last_record_surely().await else { return Vec::new() };
        if record.over {
            return self.adopted(&record).into_iter().collect();
        }
        self.live = Some(Live::new(record.run));
        match self.replace(record.run).await {
            Ok(state) if state.attach_failed.is_some() => {
                self.live = None;
                let ended = RunState { over: true, ..record };
                self.adopted(&ended).into_iter().collect()
            }
            Ok(state) => state.run.as_ref().and_then(|run| self.adopted(run)).into_iter().collect(),
            Err(e) => {
                // Told as running, so that nothing starts beside it; the task goes on trying.
                tracing::error!(service.name = %self.name, "its keeper is gone and cannot be replaced yet: {e}");
                self.keeperless = true;
                self.adopted(&record).into_iter().collect()
            }
        }
    }

    /// A run found at the start, as news; takes hold of it if it lives.
    fn adopted(&mut self, state: &RunState) -> Option<News> {
        let &RunState { run, mode, pid, started, started_wall, ready, .. } = state;
        if state.over {
            self.live = None;
            let ended = state.ended.as_ref();
            return Some(News::FoundEnded {
                run,
                exit: ended.map_or(Exit::Unknown, |e| e.exit),
                started,
                ended: ended.map_or_else(clock::mono, |e| e.at),
                ended_wall: ended.map_or_else(clock::wall, |e| e.at_wall),
                mode,
                ready,
            });
        }
        let mut live = Live::new(run);
        live.started = true;
        live.ended = state.ended.is_some();
        live.take_hold(&self.place.run(run), main_of(state));
        live.watch_exit(&self.world.reaper);
        self.live = Some(live);
        Some(News::Found {
            run,
            pid,
            started,
            started_wall,
            mode,
            ready,
            ended: state.ended.as_ref().map(|e| (e.exit, e.at)),
            definition: state.definition.as_ref().map(|d| d.fingerprint.clone()).unwrap_or_default(),
        })
    }

    // The run directory.

    async fn record_of(&self, run: RunId) -> io::Result<Option<RunState>> {
        Ok(self.last_record().await?.filter(|record| record.run == run))
    }

    async fn last_record(&self) -> io::Result<Option<RunState>> {
        let place = self.place.clone();
        work::KEEPERS.run_aside(move || last_record(&place)).await.flatten()
    }

    /// The record, where nothing may be decided without it: an error is no proof that there is none.
    async fn last_record_surely(&self) -> Option<RunState> {
        loop {
            match self.last_record().await {
                Ok(record) => return record,
                Err(e) => {
                    tracing::error!(service.name = %self.name, "the record of its run cannot be read yet: {e}")
                }
            }
            sleep_until(Instant::now() + RECORD_AGAIN).await;
        }
    }

    async fn tell(&self, news: News) {
        // The driver takes news before anything else; it is gone only when helmd leaves.
        let _ = self.news.send((self.name.clone(), news)).await;
    }
}

async fn hello(link: &mut Link) -> io::Result<KeeperState> {
    timeout(HELLO_WITHIN, async {
        loop {
            match link.next().await? {
                Report::Hello(state) => return Ok(*state),
                // A second keeper is refused by the first one's lock, and says so before it leaves.
                Report::Output { trouble } if !trouble.is_empty() => return Err(io::Error::other(trouble)),
                // Told again, if it still holds, by the state that Hello answers with.
                Report::Started { .. }
                | Report::StartFailed { .. }
                | Report::Ended(_)
                | Report::TreeEmpty { .. }
                | Report::Notify { .. }
                | Report::WatchdogMissed { .. }
                | Report::Output { .. } => {}
            }
        }
    })
    .await
    .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
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
