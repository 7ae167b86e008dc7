//! Which keeper speaks for a service: a new one, the one that a former helmd left, or one that takes over from a keeper that was
//! killed. The run goes on in each case.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use helm_core::event::News;
use helm_core::exit::Exit;
use helm_core::status::RunId;
use helm_shim::wire::{Attach, KeeperState, Order, Report, RunState};
use rustix::process::{Pid, Resource, Signal, prlimit};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Task, main_of};
use crate::clock;
use crate::keeper::link::Link;
use crate::keeper::live::Live;
use crate::keeper::records::{former_records, last_record};
use crate::keeper::silence::{Silence, signal_keeper};
use crate::limits;
use crate::work;

/// A keeper that does not answer `Hello` for this long is stuck; killing it costs the service nothing.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// Pauses between attempts to replace a keeper (no memory, no processes left).
const REPLACE_AFTER: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(5)];
/// Until the new one has taken over.
const KEEPER_GONE: &str = "its keeper was killed, or crashed; a new one takes over, the service goes on";
/// Until a record that could not be read is read again.
const RECORD_AGAIN: Duration = Duration::from_millis(500);

impl Task {
    // The process.

    /// Starts a keeper; its answer to `Hello` comes as a report.
    pub(super) async fn new_keeper(&self, attach: Option<Attach>) -> io::Result<Link> {
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

    pub(super) async fn kill_stuck(&self) {
        if self.signal_keeper(Signal::KILL).await {
            tracing::warn!(
                service.name = %self.name,
                "a keeper does not answer as it should and is killed; its service is not touched"
            );
        }
    }

    /// `false`: there is no keeper to be signalled.
    pub(super) async fn signal_keeper(&self, signal: Signal) -> bool {
        let (place, world, name) = (self.place.clone(), self.world.clone(), self.name.clone());
        let send = move || signal_keeper(&place, world.home.path(), name.as_str(), signal);
        work::KEEPERS.run_aside(send).await.unwrap_or(false)
    }

    // A killed keeper.

    /// The keeper is gone. If a run of it may live, a new keeper takes it over.
    pub(super) async fn keeper_gone(&mut self, why: &io::Error) {
        (self.link, self.silence) = (None, None);
        let Some(run) = self.live.as_ref().map(|live| live.run) else { return };
        tracing::warn!(service.name = %self.name, run.id = %run, "the keeper is gone ({why}); a new one takes over");
        self.tell(News::Warning { topic: "keeper".into(), text: KEEPER_GONE.to_owned() }).await;
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
    pub(super) async fn adopt(&mut self, told: Option<RunId>) -> Vec<News> {
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
        found.extend(self.renewed_limits().await);
        found
    }

    /// A live run is kept within the limits of today's definition, as far as that goes while it runs.
    async fn renewed_limits(&self) -> Option<News> {
        let live = self.live.as_ref().filter(|live| !live.ended && !self.spec.is_removed())?;
        let (run, main) = (live.run, live.main()?);
        let (world, spec) = (self.world.clone(), self.spec.clone());
        let renew = move || limits::renew(&world.cgroups, &spec, run, main);
        let text = work::KEEPERS.run_aside(renew).await.ok()?;
        (!text.is_empty()).then(|| News::Warning { topic: "limits".into(), text })
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
    pub(super) async fn reach(&mut self) -> io::Result<KeeperState> {
        let mut link = Link::connect(&self.place)?;
        let live = self.last_record().await?.filter(|record| !record.over);
        let attach = live.as_ref().map(|record| Attach { run: record.run, known: Vec::new() });
        link.send(&Order::Hello { log: self.spec.log.clone(), attach }).await?;
        match hello(&mut link).await {
            Ok(state) if live.is_some() && state.run.is_none() && state.attach_failed.is_none() => {
                self.kill_stuck().await;
                Err(io::Error::other("the keeper knows nothing of the run that lives"))
            }
            Ok(state) => {
                self.link = Some(link);
                Ok(state)
            }
            Err(e) => {
                if e.kind() == io::ErrorKind::TimedOut {
                    self.kill_stuck().await;
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
    pub(super) fn adopted(&mut self, state: &RunState) -> Option<News> {
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
