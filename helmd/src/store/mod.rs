//! The store of this helmd: opened in the background, so that a database that is away, slow or damaged keeps no service from starting.
//!
//! ```text
//!  logs/<service>/ --> capture --.                 .-- rpc::logs (queries, follow, export, verify)
//!                                 writer  engine  reader
//!  rpc::logs --> append ----------'                 '-- retention
//!                      `-> queue.db (while PostgreSQL is away)
//! ```

pub mod append;
pub mod capture;
pub mod dropped;
pub mod entry;
mod former;
pub mod gap;
pub mod history;
pub mod identity;
pub mod keep;
pub mod lag;
mod lost;
mod open;
mod others;
pub mod own;
pub mod place;
mod queue;
pub mod told;

use std::sync::Arc;
use std::time::Duration;

use helm_store::engine::LogEngine;
use helm_store::history::HistoryEngine;
use helm_store::metrics::engine::MetricEngine;
use helm_store::partition::RollPolicy;
use helm_store::postgres::PgEngine;
use helm_store::queue::{Queue, QueueStatus};
use helm_store::reader::Reader;
use helm_store::writer::{Health, WriterHandle};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::home::Home;
use lost::Lost;
pub(crate) use open::in_words;
use place::Place;

/// First and longest pause between two tries to open the store.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// How long somebody who asks waits for a store that is just being opened.
const MOMENT: Duration = Duration::from_secs(5);

/// Handle; clones share the store.
#[derive(Debug, Clone)]
pub struct Store {
    state: watch::Receiver<State>,
    queue: watch::Receiver<Local>,
    stored: lag::Stored,
    dropped: dropped::Dropped,
}

/// The local queue.
#[derive(Debug, Clone)]
enum Local {
    /// It is not open yet: what was acknowledged before may wait in it.
    Closed,
    /// There is none: the store is SQLite.
    Needless,
    /// It is.
    Open(Arc<Queue>),
}

/// How far it is.
#[derive(Debug, Clone)]
pub enum State {
    /// It is not open.
    Closed {
        /// Since when, nanoseconds since 1970.
        since: i64,
        /// Why, in words; `None`: it is being opened for the first time.
        why: Option<String>,
    },
    /// It is.
    Open(Arc<Opened>),
}

/// An open store.
#[derive(Debug)]
pub struct Opened {
    /// Where it lies.
    pub place: Place,
    /// Name and version of the database.
    pub version: String,
    /// The database of the log.
    pub engine: Arc<dyn LogEngine>,
    /// The same, where it is PostgreSQL.
    pub postgres: Option<Arc<PgEngine>>,
    /// The way to write.
    pub writer: WriterHandle,
    /// The way to read.
    pub reader: Reader,
    /// The database of numbers.
    pub numbers: Arc<dyn MetricEngine>,
    /// The database of states and events.
    pub history: Arc<dyn HistoryEngine>,
    /// What the operator must be told of the opening.
    pub notes: Vec<String>,
    /// Files that were damaged and moved aside.
    pub lost: Lost,
    /// Cancelled when it is closed again: one of its files turned bad, and it is opened anew.
    pub ended: CancellationToken,
}

/// What of a store is configured.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// When a partition is closed.
    pub roll: RollPolicy,
    /// Closed partitions in PostgreSQL get a trigram index for texts.
    pub trigrams: bool,
}

impl Store {
    /// Begins to open the store of `home`; tries again until it is open or helmd leaves. What runs belongs to `tasks`.
    pub fn start(home: Home, tuning: Tuning, tasks: &TaskTracker, stop: CancellationToken) -> Self {
        let (tell, state) = watch::channel(State::Closed { since: crate::clock::wall().0, why: None });
        let (tell_queue, queue) = watch::channel(Local::Closed);
        let store =
            Self { state, queue, stored: lag::Stored::default(), dropped: dropped::Dropped::default() };
        let waits = queue::run(home.clone(), store.clone(), tell_queue, tasks.clone(), stop.clone());
        tasks.spawn(waits);
        let (looking, leave) = (store.clone(), stop.clone());
        tasks.spawn(async move { leave.run_until_cancelled(others::watch(looking)).await });
        let keep = tasks.clone();
        tasks.spawn(async move { open::keep_open(home, tuning, tell, keep, stop).await });
        store
    }

    /// The local queue, where there is one; a helmd that has just begun is given a moment. Nothing may pass what waits in it: what a
    /// sender repeats would be kept twice, and one that is far ahead would make the batch that waits too old to be told from a repetition.
    async fn queue(&self) -> Result<Option<Arc<Queue>>, String> {
        let mut queue = self.queue.clone();
        let known = queue.wait_for(|queue| !matches!(queue, Local::Closed));
        match tokio::time::timeout(MOMENT, known).await.map(|known| known.map(|known| known.clone())) {
            Ok(Ok(Local::Open(queue))) => Ok(Some(queue)),
            Ok(Ok(Local::Needless)) => Ok(None),
            Ok(Ok(Local::Closed) | Err(_)) | Err(_) => {
                Err("the local queue (instance/store/queue.db) is not open; if it stays so, logs/helmd.log says why".to_owned())
            }
        }
    }

    /// What waits locally for the database; `None` where there is no local queue: the store is SQLite.
    pub fn waiting(&self) -> Option<QueueStatus> {
        match &*self.queue.borrow() {
            Local::Open(queue) => Some(queue.status()),
            Local::Closed | Local::Needless => None,
        }
    }

    /// Up to where the services' output is stored.
    pub fn stored(&self) -> &lag::Stored {
        &self.stored
    }

    /// What is counted instead of stored.
    pub fn dropped(&self) -> &dropped::Dropped {
        &self.dropped
    }

    /// As it is now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// The store, if it is open; else why not, in words.
    pub fn opened(&self) -> Result<Arc<Opened>, String> {
        match &*self.state.borrow() {
            State::Open(opened) => Ok(opened.clone()),
            State::Closed { why: Some(why), .. } => Err(why.clone()),
            State::Closed { why: None, .. } => Err("the store is being opened".to_owned()),
        }
    }

    /// The store, once it is open and its contents are known: a helmd that has just begun is given a moment. Else why not, in words.
    pub async fn ready(&self) -> Result<Arc<Opened>, String> {
        if matches!(self.state(), State::Closed { why: None, .. }) {
            let mut state = self.state.clone();
            let told = |state: &State| !matches!(state, State::Closed { why: None, .. });
            // Whatever came of it is asked for below.
            let _ = tokio::time::timeout(MOMENT, state.wait_for(told)).await;
        }
        let opened = self.opened()?;
        let mut health = opened.writer.health();
        let known = tokio::time::timeout(MOMENT, health.wait_for(|health| *health != Health::Starting));
        match known.await.map(|known| known.map(|health| health.clone())) {
            Err(_) => Err("the database has not been read yet".to_owned()),
            Ok(Ok(Health::Stalled { why, .. })) if opened.writer.live().manifest().is_empty() => Err(why),
            Ok(_) => Ok(opened),
        }
    }

    /// Does `work` with the store whenever it is open. Work with a store that is closed is dropped, and begun anew with the next.
    pub async fn while_open<W: Future<Output = ()> + Send>(&self, mut work: impl FnMut(Arc<Opened>) -> W) {
        while let Some(opened) = self.open().await {
            opened.ended.run_until_cancelled(work(opened.clone())).await;
            opened.ended.cancelled().await;
        }
    }

    /// Closes it, when everything that uses it has ended.
    pub async fn close(&self) {
        if let State::Open(opened) = self.state()
            && let Err(e) = opened.engine.close().await
        {
            tracing::warn!(
                "the store was not closed; the next start finishes its journals: {}",
                in_words(&e)
            );
        }
    }

    /// Waits until it is open; `None`: helmd leaves before.
    pub async fn open(&self) -> Option<Arc<Opened>> {
        let mut state = self.state.clone();
        let open = state.wait_for(|state| matches!(state, State::Open(_))).await.ok()?;
        match &*open {
            State::Open(opened) => Some(opened.clone()),
            State::Closed { .. } => None,
        }
    }
}
