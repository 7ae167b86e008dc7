//! Appends that wait for a database that is away: durable, bounded, in order.
//!
//! ```text
//!                 nothing waits
//!  append --gate--------------------> writer ---> database
//!             \   `- Later -.          ^
//!              '---------> file ------ drain      position and entries in one transaction
//! ```
//!
//! What is in the file was acknowledged: it leaves only when the database has it. What there is no room for is refused at the door.

mod book;
mod drain;
mod file;
mod gate;
mod keeper;
mod known;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::engine::EngineError;
use crate::entry::NewEntry;
use crate::writer::ledger::{self, SERVICES};
use crate::writer::{
    APPEND_ROWS, Append, AppendError, Health, Receipt, Refusal, WriterHandle, class_can_be, once_can_be,
    permits,
};
use gate::Gate;
use keeper::{Ask, Keeper, Push};

/// Pushes that wait for the next commit of the file.
const PUSHES: usize = 1024;
/// How long names of services are counted, nanoseconds.
const NAMES: i64 = 86_400 * 1_000_000_000;
/// When a sender comes again whom the full queue sent away.
const AGAIN: Duration = Duration::from_secs(30);

/// How the queue works.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    /// Bytes that may wait.
    pub bytes: u64,
    /// When the oldest has waited so long, nothing comes in any more; nanoseconds.
    pub age: i64,
    /// Nanoseconds since 1970.
    pub clock: fn() -> i64,
    /// The most that one append may weigh.
    pub append: usize,
    /// Bytes of appends that may be on their way into the file.
    pub coming: usize,
    /// How long an append waits for its turn there.
    pub patience: Duration,
    /// Pause between two tries to bring something to the database.
    pub retry: Duration,
}

impl QueueOptions {
    /// The defaults, with this clock.
    pub fn new(clock: fn() -> i64) -> Self {
        let week = 7 * 86_400 * 1_000_000_000;
        Self {
            bytes: 256 << 20,
            age: week,
            clock,
            append: 16 << 20,
            coming: 16 << 20,
            patience: Duration::from_secs(5),
            retry: Duration::from_millis(500),
        }
    }
}

/// What waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueStatus {
    /// Appends.
    pub appends: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest came, nanoseconds since 1970.
    pub oldest: Option<i64>,
    /// Why nothing comes in any more; `None`: there is room.
    pub full: Option<String>,
    /// Appends that were acknowledged and cannot be read (table `bad` of the file): in no view of the log.
    pub bad: u64,
    /// Files that turned bad and were moved aside.
    pub lost: Option<Lost>,
}

/// Files of the queue that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// How many, since the queue was opened.
    pub times: u64,
    /// Which, why, and what to do, of the last one.
    pub words: String,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The word of the writer; without ids where it is queued.
    pub receipt: Receipt,
    /// It is in the local queue; the database gets it later.
    pub queued: bool,
}

/// Names of services that came, and since when.
#[derive(Debug, Default)]
struct Names {
    known: HashSet<String>,
    since: i64,
}

/// The way to the queue; cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    asks: mpsc::Sender<Ask>,
    gate: Gate,
    /// Bytes that may be on their way into the file.
    room: Arc<Semaphore>,
    status: watch::Receiver<QueueStatus>,
    /// Names of services in a day, which is what a partition may last: no sender makes more than one would take.
    services: Arc<Mutex<Names>>,
    options: QueueOptions,
}

impl Queue {
    /// Opens the queue in `path`; the future is the work, and the caller's to run until `stop`. A file that cannot be read, now or later, is
    /// moved aside, and the status says so.
    pub async fn open(
        path: &Path,
        options: QueueOptions,
        stop: CancellationToken,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), EngineError> {
        let gate = Gate::new();
        let keeper = Keeper::open(path, options.clone(), gate.clone()).await?;
        let (asks, received) = mpsc::channel(PUSHES);
        let room = Arc::new(Semaphore::new(permits(options.coming.max(options.append)) as usize));
        let (tell, status) = watch::channel(QueueStatus::default());
        keeper.tell(&tell);
        let work = keeper.run(received, tell, stop);
        Ok((Self { asks, gate, room, status, services: Arc::default(), options }, work))
    }

    /// What waits.
    pub fn status(&self) -> QueueStatus {
        self.status.borrow().clone()
    }

    /// Follows what waits.
    pub fn watch(&self) -> watch::Receiver<QueueStatus> {
        self.status.clone()
    }

    /// Keeps what was sent: in the database where nothing waits and it answers, else here. An append in the air when the database goes away is
    /// [`AppendError::Unclear`] where it has neither sequence nor key: it is not acknowledged, for nobody could tell it from its repetition.
    pub async fn keep(&self, append: Append, writer: Option<&WriterHandle>) -> Result<Kept, AppendError> {
        let ticket = match self.gate.ticket().await {
            Some(ticket) => ticket,
            None => {
                if let Some(writer) = writer.filter(|writer| *writer.health().borrow() == Health::Well) {
                    match writer.append(append.clone()).await {
                        Err(AppendError::Later { .. }) => {}
                        answer => return answer.map(|receipt| Kept { receipt, queued: false }),
                    }
                }
                self.gate.forced()
            }
        };
        let (append, refused) = self.at_the_door(append)?;
        if append.entries.is_empty() && append.once.is_none() {
            return Ok(Kept { receipt: Receipt { ids: None, refused, duplicate: false }, queued: false });
        }
        let bytes = append.entries.iter().map(NewEntry::weight).sum::<usize>();
        let room = self.room.clone().acquire_many_owned(permits(bytes.max(1)));
        let room = tokio::time::timeout(self.options.patience, room).await.map_err(|_| self.busy())?;
        let room = room.map_err(|_| AppendError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let push = Push { append, ticket, answer, _room: room };
        self.asks.send(Ask::Push(Box::new(push))).await.map_err(|_| AppendError::Closed)?;
        let duplicate = answered.await.map_err(|_| AppendError::Closed)??;
        Ok(Kept { receipt: Receipt { ids: None, refused, duplicate }, queued: true })
    }

    fn busy(&self) -> AppendError {
        let why = "the disk of the local queue does not keep up with what is sent".to_owned();
        AppendError::Later { after: self.options.patience, why }
    }

    /// What the database would refuse later is refused now.
    fn at_the_door(&self, mut append: Append) -> Result<(Append, Vec<Refusal>), AppendError> {
        let rows = append.entries.len();
        let bytes = append.entries.iter().map(NewEntry::weight).sum();
        if rows > APPEND_ROWS || bytes > self.options.append {
            return Err(AppendError::TooLarge { rows, bytes, most: self.options.append });
        }
        if !class_can_be(&append.class) {
            return Err(AppendError::Class(append.class.0));
        }
        if append.once.as_ref().is_some_and(|once| !once_can_be(once)) {
            return Err(AppendError::Once);
        }
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.options.clock)();
        if !(services.since..services.since.saturating_add(NAMES)).contains(&now) {
            *services = Names { known: HashSet::new(), since: now };
        }
        let services = &mut services.known;
        let mut refused = Vec::new();
        let mut index = 0;
        append.entries.retain(|entry| {
            let known = services.contains(&entry.service);
            let many = || {
                (!known && services.len() >= SERVICES).then(|| {
                    format!("too many services while the database is away: {SERVICES} names already")
                })
            };
            let why = ledger::fault(entry).or_else(many);
            if why.is_none() && !known {
                services.insert(entry.service.clone());
            }
            index += 1;
            let fine = why.is_none();
            refused.extend(why.map(|reason| Refusal { index: index - 1, reason }));
            fine
        });
        Ok((append, refused))
    }
}
