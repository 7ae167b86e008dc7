//! One life of helmd: put together from its [`super::parts`] by one configuration, run, and ended, which ends no service.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::adopt::{adopt, told};
use super::parts::{Ground, Kept, Past};
use super::{LEAVE_WITHIN, Process, StartError, context};
use crate::audit::{By, Deed, Outcome, Trail};
use crate::drift::{Drift, InForce};
use crate::home::LockInfo;
use crate::incident;
use crate::jobs::Jobs;
use crate::leave::{Leave, Then};
use crate::reload::plan::Wants;
use crate::reload::{Accepted, Asked, Reloads};
use crate::rpc::peer::Door;
use crate::rpc::{self, Api, Facts};
use crate::signals::{Signals, Told};
use crate::store::Store;
use crate::supervisor::driver::Unadopted;
use crate::systemd;
use crate::versions::{Author, Begun};

/// News that may wait for the driver, beside one life's worth for each service. Producers wait when it is full.
const NEWS: usize = 1024;

/// Runs until this life ends; answers what comes then, and until when it may take to have ended.
pub(super) async fn run(process: &mut Process, begun: Begun) -> Result<(Then, Instant), StartError> {
    let Begun { config, texts, since, mut warnings, alert, reading } = begun;
    let ground = Ground::of(process, config)?;
    let (news, heard) = mpsc::channel(NEWS + 16 * ground.specs.len());
    let keepers = ground.keepers(&news);
    let Past { wishes: file, memories, journal, writer, written } = Past::of(&ground);
    let dealt_with = |service: &_| told(service, &memories, &written);
    let (found, wishes) = adopt(&keepers, dealt_with, &file, &mut warnings).await;
    let journal_written = writer.start().map_err(context("the journal's thread cannot be started"))?;

    let kept = Kept::start(&ground, process);
    let (incidents, reports) = incident::reporter();
    let answers = incidents.answers.clone();
    let performer = ground.performer(keepers, news, (&journal, incidents), &kept.changes);
    let fleet = ground.fleet(&wishes, memories, written);
    let path = file.path().to_owned();
    let writer = file.writer().map_err(context("the thread that writes the wishes cannot be started"))?;
    let stop = ground.stop.clone();
    let unadopted =
        Unadopted::new(fleet, wishes, (path, writer), ground.mode, performer, heard, stop.clone());

    let doors = open_doors(process, &ground)?;
    let facts = ground.facts(process, warnings);
    announce(process, &facts)?;
    let (driver, supervisor) = unadopted.begin(found);
    let sampler = ground.sampler(&supervisor, &kept.store);
    ground.record(&journal, &sampler, reports);
    ground.tell_store(&journal, &supervisor, &sampler, &kept.store);
    let (in_force, first) = (InForce { texts, since }, (reading, alert));
    let drift = Arc::new(Drift::new(ground.world.clone(), kept.retention.clone(), in_force, first));
    let reloads = Reloads::new(&ground, drift.clone(), supervisor.clone());
    let carry_out = reloads.clone().carry_out(Arc::new(ground.world.config.clone()));
    let closing = kept.store.clone();
    let trail = Trail::start(&process.home, kept.store.clone(), &ground.tasks, stop.clone());
    let of_signals = trail.clone();
    let api = Api {
        supervisor,
        journal,
        changes: kept.changes,
        store: kept.store,
        retention: kept.retention,
        sampler,
        specs: ground.specs.clone(),
        answers,
        facts: Arc::new(facts),
        drift,
        tasks: ground.tasks.clone(),
        stop: stop.clone(),
        leave: ground.leave.clone(),
        reloads: reloads.clone(),
        successor: ground.successor(process),
        access: process.access.clone(),
        trail,
        jobs: Jobs::open(&process.home),
    };
    let services = ground.world.config.services.len();
    let socket = &api.facts.socket;
    tracing::info!(%socket, services, "helmd {} is up", env!("CARGO_PKG_VERSION"));
    let driving = tokio::spawn(driver.run());
    let jobs = api.clone().resume_jobs();
    let serving = tokio::spawn(rpc::serve(api, doors, stop));
    process.say_ready();
    ground.until_over(carry_out);
    ground.until_over(jobs);

    let until = until_left(process, &ground, &reloads, &of_signals, serving).await;
    ended(&ground, until, driving, closing, journal_written).await;
    Ok((ground.leave.then(), until))
}

fn open_doors(process: &mut Process, ground: &Ground) -> Result<Vec<Door>, StartError> {
    let group = ground.world.config.settings.peer_group.as_deref();
    process.sockets.open(&process.home, group).map_err(|e| StartError::Io {
        what: format!("the socket {} cannot be made", e.path.display()),
        source: e.source,
    })?;
    process.sockets.doors().map_err(context("the socket cannot be listened at"))
}

/// Clients find helmd by what its lock says.
fn announce(process: &mut Process, facts: &Facts) -> Result<(), StartError> {
    let info = LockInfo {
        pid: std::process::id(),
        boot_id: facts.boot_id.clone(),
        socket: facts.socket.clone(),
        web: process.sockets.web(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: facts.started.0,
    };
    process.lock.announce(&info).map_err(context("the lock file cannot be written"))
}

/// Until the API has ended, by itself or because this life ends; until when all may take to have ended.
async fn until_left<E: std::fmt::Display>(
    process: &mut Process,
    ground: &Ground,
    reloads: &Reloads,
    trail: &Trail,
    serving: JoinHandle<Result<(), E>>,
) -> Instant {
    let hear = hear(&mut process.signals, &ground.leave, reloads, trail);
    let left = served(serving, &ground.stop);
    tokio::pin!(left);
    let (served, until) = tokio::select! {
        left = &mut left => left,
        () = hear => left.await,
    };
    ground.stop.cancel();
    if let Some(Ok(Err(e))) = served {
        tracing::error!("the API ended: {e}");
    }
    until
}

/// Waits for all that runs, within the time.
async fn ended(
    ground: &Ground,
    until: Instant,
    driving: JoinHandle<()>,
    store: Store,
    journal_written: oneshot::Receiver<()>,
) {
    let tasks = &ground.tasks;
    tasks.close();
    let all = async {
        // A driver that panicked is told by its panic.
        let _ = driving.await;
        tasks.wait().await;
    };
    if timeout_at(until, all).await.is_err() {
        tracing::warn!("{} task(s) did not end within {LEAVE_WITHIN:?}", tasks.len());
    }
    // What is not closed in time, the next start reads from its journals.
    let _ = timeout_at(until, store.close()).await;
    // The journal's senders are gone with the driver and the API: its thread has written everything.
    let _ = timeout_at(until, journal_written).await;
    match ground.leave.then() {
        Then::Nothing => {
            systemd::leaving();
            tracing::info!("helmd has left; services stay");
        }
        Then::Again => tracing::info!("helmd begins again; services stay"),
        Then::Replace => tracing::info!("helmd gives way to the program on disk; services stay"),
    }
}

/// Until a signal ends this life.
async fn hear(signals: &mut Signals, leave: &Leave, reloads: &Reloads, trail: &Trail) {
    let signal = loop {
        match signals.next().await {
            Told::Leave(signal) => break signal,
            // Files that cannot be read just now keep no helmd that is told to leave.
            Told::Reload => tokio::select! {
                () = reload(reloads, trail) => {}
                signal = signals.leaving() => break signal,
            },
        }
    };
    tracing::info!("{signal}: helmd leaves, services stay");
    trail.note_now(by_signal(signal, "shutdown"), Outcome::Done, "helmd leaves, services stay").await;
    leave.to(Then::Nothing);
}

/// Who sent a signal is not told: it was somebody of this user, or root.
fn by_signal(signal: &str, what: &'static str) -> Deed {
    Deed { by: By { peer: signal.to_owned(), principal: None }, what, targets: Vec::new() }
}

/// SIGHUP: there is nobody to be told but the log and the audit trail.
async fn reload(reloads: &Reloads, trail: &Trail) {
    let asked = Asked { wants: Wants { restart: true, start: true }, gate: None };
    let author = Author { by: "SIGHUP".to_owned(), why: "reload".to_owned() };
    let intent = trail.intend(by_signal("SIGHUP", "reload")).await;
    let accepted = reloads.reload(asked, author).await;
    let (outcome, words) = rpc::config::came(&accepted);
    intent.came_now(outcome, &words).await;
    match accepted {
        Ok(Accepted { plan, operation: None }) if plan.ok => {
            tracing::info!("SIGHUP: the configuration says what it said before");
        }
        Ok(Accepted { operation: Some(_), .. }) => {}
        Ok(Accepted { plan, operation: None }) => {
            tracing::error!(
                "SIGHUP: the configuration has faults (helmctl config check); nothing was changed"
            );
            plan.faults.iter().for_each(|fault| tracing::error!("{fault}"));
        }
        Err(e) => tracing::error!("SIGHUP: {e}"),
    }
}

/// Waits for the end of the API. Once helmd leaves, a client that does not read keeps it no longer than a moment: half of
/// the time that helmd has to leave, whose end is the second answer.
async fn served<T>(
    mut serving: JoinHandle<T>,
    stop: &CancellationToken,
) -> (Option<Result<T, JoinError>>, Instant) {
    tokio::select! {
        served = &mut serving => return (Some(served), Instant::now() + LEAVE_WITHIN),
        () = stop.cancelled() => {}
    }
    let until = Instant::now() + LEAVE_WITHIN;
    match timeout_at(until - LEAVE_WITHIN / 2, &mut serving).await {
        Ok(served) => (Some(served), until),
        Err(_) => {
            serving.abort();
            (None, until)
        }
    }
}
