//! Connections: one that writes for each open segment, and a few that read, kept by how lately they were used.
//!
//! A connection of sqlx has a thread of its own and SQLite's page cache: both are kept small, for many segments may be read.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{OwnedRwLockReadGuard, OwnedSemaphorePermit, Semaphore};

use super::error::engine_error;
use super::segment::Segment;
use crate::engine::EngineError;

/// Readers at the same time; more wait.
const READERS: usize = 8;
/// Readers kept open for the next question.
const IDLE: usize = 16;
/// Page cache of a reader and of a writer, KiB.
const READER_CACHE: u32 = 512;
const WRITER_CACHE: u32 = 4096;
/// Pages in the write-ahead log before SQLite itself moves them into the file, within a commit: 32 MiB. The log of entries is moved beside commits
/// ([`super::checkpoint`]) long before.
const CHECKPOINT: u32 = 4096;
/// The same for entries, where somebody must have failed to move it.
const LATE: u32 = 4 * CHECKPOINT;
/// Steps of SQLite's machine between two looks whether anybody still waits.
const STEPS: i32 = 20_000;
/// How long another connection's lock is waited for.
const BUSY: Duration = Duration::from_secs(5);

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        .disable_statement_logging()
        .pragma("trusted_schema", "OFF")
}

/// Opens for writing; the file must be there. Durable at every commit.
pub(super) async fn writer(path: &Path, journal: SqliteJournalMode) -> Result<SqliteConnection, EngineError> {
    writing(path, journal, SqliteSynchronous::Full, LATE).await
}

/// Opens for moving the write-ahead log, which is there.
pub(super) async fn mover(path: &Path) -> Result<SqliteConnection, EngineError> {
    let options = options(path).synchronous(SqliteSynchronous::Full).pragma("cache_size", "-64");
    options.connect().await.map_err(|e| engine_error("could not open the database", path, e))
}

/// Opens for writing numbers, states, events. A power cut may take the last seconds of them, never what the file holds: that is enough for
/// what is measured anew, and spares the disk.
pub(super) async fn lenient_writer(path: &Path) -> Result<SqliteConnection, EngineError> {
    writing(path, SqliteJournalMode::Wal, SqliteSynchronous::Normal, CHECKPOINT).await
}

async fn writing(
    path: &Path,
    journal: SqliteJournalMode,
    synchronous: SqliteSynchronous,
    checkpoint: u32,
) -> Result<SqliteConnection, EngineError> {
    options(path)
        .page_size(8192)
        .journal_mode(journal)
        .synchronous(synchronous)
        .pragma("cache_size", format!("-{WRITER_CACHE}"))
        .pragma("wal_autocheckpoint", checkpoint.to_string())
        .pragma("journal_size_limit", (CHECKPOINT * 8192).to_string())
        .connect()
        .await
        .map_err(|e| engine_error("could not open the database", path, e))
}

/// Opens for reading.
pub(super) async fn reader(path: &Path) -> Result<SqliteConnection, EngineError> {
    options(path)
        .read_only(true)
        .with_regexp()
        .pragma("cache_size", format!("-{READER_CACHE}"))
        .pragma("query_only", "ON")
        .connect()
        .await
        .map_err(|e| engine_error("could not open the database for reading", path, e))
}

struct Idle {
    segment: Arc<Segment>,
    connection: SqliteConnection,
    abandoned: Arc<AtomicBool>,
}

/// Connections that read.
pub(super) struct Readers {
    idle: Mutex<VecDeque<Idle>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { idle: Mutex::default(), permits: Arc::new(Semaphore::new(READERS)) })
    }

    /// A connection to a segment; waits for its turn.
    pub(super) async fn get(self: &Arc<Self>, segment: &Arc<Segment>) -> Result<Reader, EngineError> {
        let Ok(permit) = self.permits.clone().acquire_owned().await else {
            return Err(EngineError::Away("the store is being closed".into()));
        };
        let using = segment.using.clone().read_owned().await;
        self.lend(segment, permit, using).await
    }

    /// A further connection for somebody who has one; `None`: others may want it. Waits for nothing that others hold, or they would wait for each
    /// other.
    pub(super) async fn second(
        self: &Arc<Self>,
        segment: &Arc<Segment>,
    ) -> Result<Option<Reader>, EngineError> {
        let (permit, using) =
            (self.permits.clone().try_acquire_owned(), segment.using.clone().try_read_owned());
        match (permit, using) {
            (Ok(permit), Ok(using)) if self.permits.available_permits() >= READERS / 2 => {
                self.lend(segment, permit, using).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn lend(
        self: &Arc<Self>,
        segment: &Arc<Segment>,
        permit: OwnedSemaphorePermit,
        using: OwnedRwLockReadGuard<()>,
    ) -> Result<Reader, EngineError> {
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let at = idle.iter().position(|i| Arc::ptr_eq(&i.segment, segment));
            at.and_then(|at| idle.remove(at))
        };
        let lent = match idle {
            Some(idle) => idle,
            None => self.connect(segment.clone()).await?,
        };
        Ok(Reader { lent: Some(lent), at_rest: false, pool: self.clone(), _using: using, _permit: permit })
    }

    async fn connect(&self, segment: Arc<Segment>) -> Result<Idle, EngineError> {
        let mut connection = reader(&segment.path).await?;
        let abandoned = Arc::new(AtomicBool::new(false));
        let seen = abandoned.clone();
        connection
            .lock_handle()
            .await
            .map_err(|e| engine_error("could not prepare reading", &segment.path, e))?
            .set_progress_handler(STEPS, move || !seen.load(Ordering::Relaxed));
        Ok(Idle { segment, connection, abandoned })
    }

    /// Closes what is open on a segment and not in use.
    pub(super) async fn forget(&self, segment: &Arc<Segment>) {
        let gone: VecDeque<Idle> = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let (gone, kept) = idle.drain(..).partition(|i| Arc::ptr_eq(&i.segment, segment));
            *idle = kept;
            gone
        };
        for idle in gone {
            // What was only read needs no farewell.
            drop(idle.connection.close().await);
        }
    }
}

/// A connection that reads, lent. One that is dropped before its answer is complete is interrupted and closed.
pub(super) struct Reader {
    lent: Option<Idle>,
    at_rest: bool,
    pool: Arc<Readers>,
    _using: OwnedRwLockReadGuard<()>,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    /// To ask something. The answer is complete when `rest` is called.
    pub(super) fn ask(&mut self) -> Result<&mut SqliteConnection, EngineError> {
        self.at_rest = false;
        match &mut self.lent {
            Some(lent) => Ok(&mut lent.connection),
            None => Err(EngineError::Away("the reader was given back".into())),
        }
    }

    /// The answer is complete: others may have the connection.
    pub(super) fn rest(&mut self) {
        self.at_rest = true;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(lent) = self.lent.take() else { return };
        if !self.at_rest || lent.segment.retired.load(Ordering::Acquire) {
            lent.abandoned.store(true, Ordering::Relaxed);
            return;
        }
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push_back(lent);
        if idle.len() > IDLE {
            idle.pop_front();
        }
    }
}

/// What SQLite says of itself.
pub(super) async fn version() -> Result<String, sqlx::Error> {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await?;
    let version = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(version)
}
