//! Appends: numbers, chain and counts; concurrent ones share a transaction.
//!
//! ```text
//!  append --.                                  .-> answers, after the commit
//!  append ---> queue (rows, bytes) -> task --- engine.commit
//!  append --'                         ledger   '-> live: manifest, news, hot index
//! ```
//!
//! One task writes. While a transaction is on its way the next group gathers; nothing is delayed for its sake. A transaction whose answer
//! was lost is asked again as it was, until the database says whether it happened: nothing is repeated, nothing is missed. One that the
//! database refuses is looked into (`sift`): entries that it will never take are put on record in their place, and the rest goes through.

mod finisher;
pub mod ledger;
mod sift;
mod task;
mod twins;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::commit::{Once, Position};
use crate::engine::{EngineError, LogEngine};
use crate::entry::NewEntry;
use crate::id::EntryId;
use crate::live::Live;
use crate::partition::{Class, RollPolicy};

/// Entries in one append.
pub const APPEND_ROWS: usize = 10_000;
/// Entries and bytes after which a transaction takes no further append.
pub(crate) const GROUP: (usize, usize) = (5_000, 4 << 20);
/// Bytes of a key, and of the name of a sender.
pub const ONCE: usize = 255;
/// Classes of one instance.
pub use helm_core::name::CLASSES;

/// What is to be kept, all of it or nothing.
#[derive(Debug, Clone)]
pub struct Append {
    /// To which class.
    pub class: Class,
    /// In this order.
    pub entries: Vec<NewEntry>,
    /// Where the capture of services stands then, by name. Such an append waits as long as it takes. Whoever drops one asks
    /// [`WriterHandle::cursor`] where to go on.
    pub cursors: Vec<(String, Position)>,
    /// Makes a repetition harmless.
    pub once: Option<Once>,
    /// Where in the local queue it comes from; at or below the last position it is there already.
    pub queue: Option<Queued>,
}

/// Several appends from the local queue, one behind the other in one. They were acknowledged: no bound that has to do with names refuses them any more.
#[derive(Debug, Clone)]
pub struct Queued {
    /// Position of the last one.
    pub position: u64,
    /// What they were.
    pub parts: Vec<Part>,
}

/// One append among several.
#[derive(Debug, Clone)]
pub struct Part {
    /// How many of the entries are its.
    pub entries: usize,
    /// What makes its repetition harmless: it may have been written before it came into the queue.
    pub once: Option<Once>,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// First and last id; `None` if no entry was written.
    pub ids: Option<(EntryId, EntryId)>,
    /// Entries that could not be kept; all others are.
    pub refused: Vec<Refusal>,
    /// It was there already; nothing was written.
    pub duplicate: bool,
}

/// An entry that could not be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its place in the append.
    pub index: usize,
    /// Why.
    pub reason: String,
}

/// Why an append was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Nothing was kept (or a repetition is harmless, because it has a sequence or a key).
    #[error("not kept, {why}: send it again in {} s", after.as_secs().max(1))]
    Later {
        /// When to try again.
        after: Duration,
        /// Why.
        why: String,
    },
    /// It may or may not be kept.
    #[error(
        "{why} while this was being written: it may or may not be kept; with a sequence or a key it could safely be sent again"
    )]
    Unclear {
        /// What happened.
        why: String,
    },
    /// Too much at once.
    #[error(
        "{rows} entries of {bytes} bytes in one append, at most {APPEND_ROWS} and {most} bytes: send it in pieces"
    )]
    TooLarge {
        /// Entries.
        rows: usize,
        /// Their weight.
        bytes: usize,
        /// The limit of weight.
        most: usize,
    },
    /// The class cannot be.
    #[error(
        "no class of logs can be called `{0}`: 1 to 32 of a-z, 0-9, - and _, and at most {CLASSES} classes"
    )]
    Class(String),
    /// Too many senders with numbered batches.
    #[error("{most} senders with numbered batches are known already: send with a key, or without a sequence")]
    Senders {
        /// The limit.
        most: usize,
    },
    /// A key or the name of a sender that no database keeps.
    #[error("a key or the name of a sender has 1 to {ONCE} bytes, and no NUL")]
    Once,
    /// Too many keys at once. It is for the sender to wait: in the local queue it would only be remembered earlier.
    #[error(
        "not kept, {most} keys of the last ten minutes are remembered, and no more fit: send it again in {} s, or number the batches", after.as_secs().max(1)
    )]
    Keys {
        /// The limit.
        most: usize,
        /// When the next one fits.
        after: Duration,
    },
    /// A batch far below the last one of its sender.
    #[error(
        "batch {number} is 64 or more below the last one of this sender: whether it was kept is no longer known; give new batches higher numbers, or the sender another name"
    )]
    Below {
        /// Its number.
        number: u64,
    },
    /// The local queue cannot be used.
    #[error("not kept, {0}")]
    Failed(String),
    /// The writer ends.
    #[error("not kept, helmd is ending: send it again when it is back")]
    Closed,
}

/// How a writer works.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// When a partition is full.
    pub roll: RollPolicy,
    /// Nanoseconds since 1970.
    pub clock: fn() -> i64,
    /// Appends that may wait.
    pub waiting: usize,
    /// Their weight in bytes; also the most that one append may have.
    pub bytes: usize,
    /// How long an append waits, once for its turn and once for its commit.
    pub patience: Duration,
    /// First and longest pause between two tries while the database is away.
    pub retry: (Duration, Duration),
}

impl WriterOptions {
    /// The defaults, with this clock.
    pub fn new(clock: fn() -> i64) -> Self {
        Self {
            roll: RollPolicy::default(),
            clock,
            waiting: 4096,
            bytes: 16 << 20,
            patience: Duration::from_secs(5),
            retry: (Duration::from_millis(100), Duration::from_secs(5)),
        }
    }
}

/// How the writing goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The database has not been read yet.
    Starting,
    /// It does.
    Well,
    /// It waits for the database.
    Stalled {
        /// Since when, nanoseconds since 1970.
        since: i64,
        /// In what way.
        stall: Stall,
        /// What the database said last.
        why: String,
    },
}

/// What keeps a writer waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    /// The database cannot be reached.
    Away,
    /// Its disk is full.
    Full,
    /// It answers, and takes nothing.
    Refused,
}

impl Stall {
    /// "away", "full", "refused"
    pub fn word(self) -> &'static str {
        match self {
            Stall::Away => "away",
            Stall::Full => "full",
            Stall::Refused => "refused",
        }
    }

    fn of(error: &EngineError) -> Self {
        match error {
            EngineError::Away(_) => Stall::Away,
            EngineError::Full(_) => Stall::Full,
            EngineError::NotNext { .. }
            | EngineError::Newer { .. }
            | EngineError::Denied(_)
            | EngineError::Damaged(_)
            | EngineError::Stale(_)
            | EngineError::Other { .. } => Stall::Refused,
        }
    }
}

/// Writes through `engine` until `stop`; the future that is returned is the work, and the caller's to run.
#[derive(Debug)]
pub struct Writer;

impl Writer {
    /// Begins. What the database has is read by the work itself, so that a database that is away keeps nobody from starting.
    pub fn start(
        engine: Arc<dyn LogEngine>,
        options: WriterOptions,
        stop: CancellationToken,
    ) -> (WriterHandle, impl Future<Output = ()> + Send + 'static) {
        let (asks, received) = mpsc::channel(options.waiting.max(1));
        let (health, watched) = watch::channel(Health::Starting);
        let live = Arc::new(Live::default());
        let handle = WriterHandle {
            asks,
            room: Arc::new(Semaphore::new(permits(options.bytes) as usize)),
            bytes: options.bytes,
            patience: options.patience,
            health: watched,
            live: live.clone(),
        };
        (handle, task::run(engine, options, stop, received, health, live))
    }
}

/// A permit stands for 64 bytes, so that the number of them fits wherever one is counted.
pub(crate) fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(64)).unwrap_or(u32::MAX >> 4)
}

/// Asks of the task.
#[derive(Debug)]
enum Ask {
    Append(Box<Pending>),
    Cursor(String, oneshot::Sender<Option<Position>>),
    Queue(oneshot::Sender<u64>),
    Roll(Class, oneshot::Sender<Result<bool, AppendError>>),
}

/// An append that waits for its turn.
#[derive(Debug)]
struct Pending {
    append: Append,
    /// Set by whoever comes first: the task that takes it, or the caller who leaves.
    claimed: Arc<AtomicBool>,
    answer: oneshot::Sender<Result<Receipt, AppendError>>,
    /// Gives the room back when the append is dealt with.
    _room: OwnedSemaphorePermit,
}

/// The way to a writer; cheap to clone.
#[derive(Debug, Clone)]
pub struct WriterHandle {
    asks: mpsc::Sender<Ask>,
    room: Arc<Semaphore>,
    bytes: usize,
    patience: Duration,
    health: watch::Receiver<Health>,
    live: Arc<Live>,
}

/// Leaves the queue when the caller does.
struct Leave(Arc<AtomicBool>);

impl Leave {
    /// Whether it left before its turn.
    fn leave(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.leave();
    }
}

impl WriterHandle {
    /// Keeps `append`; answers after the commit that holds it. Dropping the future before its turn takes it out of the queue.
    pub async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        let rows = append.entries.len();
        let bytes = append.entries.iter().map(NewEntry::weight).sum();
        if rows > APPEND_ROWS || bytes > self.bytes {
            return Err(AppendError::TooLarge { rows, bytes, most: self.bytes });
        }
        if !class_can_be(&append.class) {
            return Err(AppendError::Class(append.class.0));
        }
        if append.once.as_ref().is_some_and(|once| !once_can_be(once)) {
            return Err(AppendError::Once);
        }
        let waits = !append.cursors.is_empty();
        let harmless = append.once.is_some() || append.queue.is_some();
        let turn = (!waits).then(|| Instant::now() + self.patience);
        let full = || self.later("the queue of the log is full");
        let room = within(turn, self.room.clone().acquire_many_owned(permits(bytes.max(1)))).await;
        let room = room.ok_or_else(full)?.map_err(|_| AppendError::Closed)?;
        let place = within(turn, self.asks.reserve()).await;
        let place = place.ok_or_else(full)?.map_err(|_| AppendError::Closed)?;
        let (answer, mut answered) = oneshot::channel();
        let leave = Leave(Arc::default());
        place.send(Ask::Append(Box::new(Pending { append, claimed: leave.0.clone(), answer, _room: room })));

        if let Some(answer) = within(turn, &mut answered).await {
            return answer.unwrap_or(Err(AppendError::Closed));
        }
        if leave.leave() {
            return Err(self.later("the database does not keep up"));
        }
        match within(turn.map(|_| Instant::now() + self.patience), answered).await {
            Some(answer) => answer.unwrap_or(Err(AppendError::Closed)),
            None if harmless => Err(self.later("the database does not answer")),
            None => Err(AppendError::Unclear { why: self.why("the database does not answer") }),
        }
    }

    fn later(&self, otherwise: &str) -> AppendError {
        AppendError::Later { after: self.patience, why: self.why(otherwise) }
    }

    fn why(&self, otherwise: &str) -> String {
        match &*self.health.borrow() {
            Health::Stalled { why, .. } => why.clone(),
            Health::Starting => "the database has not been opened yet".to_owned(),
            Health::Well => otherwise.to_owned(),
        }
    }

    /// Where the capture of a service stands, after all that was appended before.
    pub async fn cursor(&self, service: &str) -> Result<Option<Position>, AppendError> {
        self.ask(|answer| Ask::Cursor(service.to_owned(), answer)).await
    }

    /// The position in the local queue up to which everything is kept, after all that was appended before.
    pub async fn queue(&self) -> Result<u64, AppendError> {
        self.ask(Ask::Queue).await
    }

    /// Closes the open partition of a class and begins another, so that retention can take the closed one. `false`: there was nothing in it.
    pub async fn roll(&self, class: &Class) -> Result<bool, AppendError> {
        self.ask(|answer| Ask::Roll(class.clone(), answer)).await?
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, AppendError> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(ask(answer)).await.map_err(|_| AppendError::Closed)?;
        answered.await.map_err(|_| AppendError::Closed)
    }

    /// The most that one append may weigh.
    pub fn most(&self) -> usize {
        self.bytes
    }

    /// How the writing goes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// What a reader needs.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }
}

async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}

/// One that the database refuses would hold up all that share its transaction.
pub(crate) fn once_can_be(once: &Once) -> bool {
    let (Once::Sequence { sender: name, .. } | Once::Key(name)) = once;
    (1..=ONCE).contains(&name.len()) && !name.contains('\0')
}

/// Names of classes are parts of file names.
pub(crate) fn class_can_be(class: &Class) -> bool {
    helm_core::name::class(&class.0).is_ok()
}
