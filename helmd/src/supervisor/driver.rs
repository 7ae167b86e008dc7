//! The loop that owns the fleet: events in, effects out. Nothing in its body waits for a disk, a database or a child.
//!
//! A request is carried out in three steps: the wishes that follow from it are computed, they are written (on a thread
//! of their own, while news and deadlines go on), then the fleet is told. Requests wait for one another.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use helm_core::ask::{self, Ask, Plan};
use helm_core::event::{Change, ChangeKind, Effect, Event, News};
use helm_core::exit::signal_name;
use helm_core::fleet::Fleet;
use helm_core::name::ServiceName;
use helm_core::status::ServiceStatus;
use helm_core::time::Mono;
use helm_core::wish::{Mode, Wish, Wishes};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::perform::Performer;
use super::{ASK_QUEUE, Accepted, AskError, Call, FleetView, Pursuit, Request, Supervisor};
use crate::clock;
use crate::systemd::Watchdog;
use crate::wishes::{self, WishWriter};

/// News taken in before the status is published again and requests get their turn.
const BATCH: usize = 64;

/// News on its way to the fleet.
pub type NewsSender = mpsc::Sender<(ServiceName, News)>;
/// The driver's end of it.
pub type NewsReceiver = mpsc::Receiver<(ServiceName, News)>;

/// The task that owns the fleet.
pub struct Driver {
    fleet: Fleet,
    wishes: Wishes,
    /// The file says the same.
    saved: bool,
    /// What an operator must know of them, until they are written again.
    alert: Option<String>,
    /// Where the wishes were not known and the keeper was silent at adoption: what it finds is taken for wanted.
    unasked: BTreeSet<ServiceName>,
    /// Where the wishes are, for messages.
    path: PathBuf,
    writer: WishWriter,
    default_mode: Mode,
    performer: Performer,
    asks: mpsc::Receiver<Call>,
    news: NewsReceiver,
    view: watch::Sender<Arc<FleetView>>,
    watchdog: Watchdog,
    stop: CancellationToken,
}

/// A request whose wishes are being written.
struct Saving {
    plan: Plan,
    ask: Ask,
    by: String,
    reply: oneshot::Sender<Result<Accepted, AskError>>,
    write: oneshot::Receiver<std::io::Result<()>>,
}

/// A driver whose fleet knows nothing of the world yet. Nobody can have a handle to it: a fleet without services would be
/// seen, and a reload would find nothing to ask for.
pub struct Unadopted {
    driver: Driver,
    supervisor: Supervisor,
}

impl Unadopted {
    /// Puts the driver together.
    pub fn new(
        fleet: Fleet,
        loaded: wishes::Loaded,
        (path, writer): (PathBuf, WishWriter),
        default_mode: Mode,
        performer: Performer,
        news: NewsReceiver,
        stop: CancellationToken,
    ) -> Self {
        let (asks, asked) = mpsc::channel(ASK_QUEUE);
        let (view, seen) = watch::channel(Arc::new(FleetView::default()));
        let driver = Driver {
            fleet,
            wishes: loaded.wishes,
            saved: loaded.known,
            alert: loaded.warning,
            unasked: BTreeSet::new(),
            path,
            writer,
            default_mode,
            performer,
            asks: asked,
            news,
            view,
            watchdog: Watchdog::of_systemd(),
            stop,
        };
        Self { driver, supervisor: Supervisor { asks, view: seen } }
    }

    /// Tells the fleet what adoption found. The handle shows that from the first look on, and answers as soon as `run` is
    /// polled.
    pub fn begin(self, found: Vec<(ServiceName, News)>) -> (Driver, Supervisor) {
        let Self { mut driver, supervisor } = self;
        let known = driver.saved;
        for (name, news) in found {
            if matches!(news, News::Silent) && !known {
                driver.unasked.insert(name.clone());
            }
            driver.hear(name, news);
        }
        driver.step(Event::Adopted);
        driver.publish();
        (driver, supervisor)
    }
}

impl Driver {
    /// Runs until helmd leaves.
    pub async fn run(mut self) {
        let mut saving: Option<Saving> = None;
        loop {
            let deadline = self.fleet.deadline().map(|(at, _)| at);
            // Without a fixed order: news that never ends must not keep deadlines and requests waiting.
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some((name, news)) = self.news.recv() => self.take_news(name, news),
                () = until(deadline) => self.step(Event::Tick),
                () = self.watchdog.hungry() => self.watchdog.feed(),
                written = written(&mut saving) => if let Some(done) = saving.take() { self.recorded(done, written) },
                Some(call) = self.asks.recv(), if saving.is_none() => saving = self.called(call),
            }
            self.publish();
        }
        if let Some(last) = saving {
            let _ = last.write.await;
        }
        self.performer.leave();
    }

    fn take_news(&mut self, name: ServiceName, news: News) {
        self.hear(name, news);
        for _ in 1..BATCH {
            let Ok((name, news)) = self.news.try_recv() else { break };
            self.hear(name, news);
        }
    }

    fn hear(&mut self, name: ServiceName, news: News) {
        if let News::Found { started_wall, mode, .. } = &news {
            self.performer.begun.insert(name.clone(), *started_wall);
            if self.unasked.remove(&name) && !self.wishes.services.contains_key(&name) {
                self.wishes.services.insert(name.clone(), Wish { run: true, mode: *mode, ..Wish::default() });
                self.saved = false;
                let (wishes, by) = (self.wishes.clone(), "an operator, earlier".to_owned());
                self.step(Event::Wished { wishes, restart: Vec::new(), kick: Vec::new(), by });
            }
        }
        if let News::Probed { run, probe, answer } = &news {
            self.performer.incidents.answers.heard(&name, *run, *probe, answer);
        }
        self.step(Event::News(name, news));
    }

    fn step(&mut self, event: Event) {
        for effect in self.fleet.step(clock::now(), event) {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        self.performer.perform(effect);
    }

    fn called(&mut self, call: Call) -> Option<Saving> {
        match call {
            Call::Ask(request) => self.admit(request),
            Call::Signal { service, signal, by, reply } => {
                // Whoever asked may have left.
                let _ = reply.send(self.signal(&service, signal, &by));
                None
            }
        }
    }

    /// To the run that is there now.
    fn signal(&self, service: &ServiceName, signal: i32, by: &str) -> Result<u32, AskError> {
        let status = self.fleet.status_of(service.as_str());
        let Some((status, run, pid)) = status.and_then(|s| Some((s, s.run?, s.pid?))) else {
            let state = status.map_or("not known", |s| s.state.as_str());
            return Err(AskError::NotRunning(format!(
                "{service} has no process that could get a signal: it is {state}"
            )));
        };
        self.performer.nudge(&status.name, run, signal).map_err(AskError::NotRunning)?;
        self.performer.journal.record(Change {
            at: clock::wall(),
            service: status.name.clone(),
            kind: ChangeKind::Signal,
            from: String::new(),
            to: signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned),
            cause: format!("sent by {by}"),
            run: Some(run),
            pid: Some(pid),
            exit: None,
        });
        Ok(pid)
    }

    /// Works out what a request means, and begins to write it down.
    fn admit(&mut self, request: Request) -> Option<Saving> {
        let Request { ask, by, reply } = request;
        let plan = match ask::plan(&ask, &self.wishes, &self.fleet, self.default_mode) {
            Ok(plan) => plan,
            Err(refusal) => {
                let _ = reply.send(Err(refusal.into()));
                return None;
            }
        };
        let write = if self.saved && plan.wishes == self.wishes {
            let (done, written) = oneshot::channel();
            let _ = done.send(Ok(()));
            written
        } else {
            self.writer.save(plan.wishes.clone())
        };
        Some(Saving { plan, ask, by, reply, write })
    }

    /// The wishes are written (or could not be): tell the fleet, then the caller.
    fn recorded(&mut self, saving: Saving, written: std::io::Result<()>) {
        let Saving { plan, ask, by, reply, .. } = saving;
        let mut warning = None;
        self.saved = written.is_ok();
        if let Err(e) = written {
            let path = self.path.display().to_string();
            let stops = matches!(ask, Ask::Stop { .. } | Ask::Down { .. });
            if !stops {
                let _ = reply.send(Err(AskError::NotRecorded { path, cause: e.to_string() }));
                return;
            }
            // A stop is carried out even when it cannot be written down.
            tracing::error!(%path, "the wish to stop could not be recorded: {e}");
            warning = Some(format!(
                "the wish could not be recorded in {path} ({e}): after a restart of helmd the services may run again"
            ));
        }
        self.alert.clone_from(&warning);
        let goals = plan
            .goals
            .into_iter()
            .filter_map(|(name, goal)| {
                let at_begin = Arc::new(self.fleet.status_of(name.as_str())?.clone());
                Some(Pursuit { name, goal, at_begin })
            })
            .collect();
        self.wishes = plan.wishes.clone();
        self.step(Event::Wished { wishes: plan.wishes, restart: plan.restart, kick: plan.kick, by });
        self.publish();
        let _ = reply.send(Ok(Accepted { goals, also: plan.also, warning }));
    }

    /// Shows the fleet to the readers, if it has changed. Unchanged records are shared with the former view.
    fn publish(&mut self) {
        let revision = self.fleet.revision();
        let former = self.view.borrow().clone();
        if former.revision == revision && former.alert == self.alert && !former.services.is_empty() {
            return;
        }
        let services = self
            .fleet
            .status()
            .enumerate()
            .map(|(i, now)| match former.services.get(i) {
                Some(old) if same_record(old, now) => old.clone(),
                Some(_) | None => Arc::new(now.clone()),
            })
            .collect();
        let (hold, alert) = (self.fleet.hold(), self.alert.clone());
        self.view.send_replace(Arc::new(FleetView { hold, alert, revision, services }));
    }
}

fn same_record(old: &ServiceStatus, now: &ServiceStatus) -> bool {
    old.revision == now.revision && old.name == now.name
}

/// Completes at the deadline; never without one.
async fn until(deadline: Option<Mono>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(clock::instant(at)).await,
        None => std::future::pending().await,
    }
}

/// Completes when the wishes are written; never if none are being written.
async fn written(saving: &mut Option<Saving>) -> std::io::Result<()> {
    match saving {
        Some(saving) => (&mut saving.write).await.unwrap_or_else(|e| Err(std::io::Error::other(e))),
        None => std::future::pending().await,
    }
}
