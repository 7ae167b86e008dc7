//! PostgreSQL: a table a partition.
//!
//! ```text
//!  LogEngine -+- commit   one connection: bookkeeping in one call, entries by binary COPY, one transaction
//!             +- state    partitions begin, end, go; what an instance needs to go on
//!             +- read     pages bounded by the counts per minute, single entries, counts, whole partitions
//!  beside ----+- numbers, history   a second connection: one call a batch
//!  open ------+- migrate, grave (an index, partition by partition), register
//!  apart -----+- protect  (roles), former (the Python Helm's rows)
//! ```

mod advice;
mod commit;
mod condition;
mod connect;
mod encode;
mod fault;
pub mod former;
mod grave;
mod history;
pub mod migrate;
mod names;
mod numbers;
mod page;
mod protect;
mod read;
mod register;
mod relay;
pub mod setup;
mod state;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::PgPool;
use tokio::sync::Mutex;

pub use connect::{OptionsError, PgOptions};
pub use fault::Asker;
pub use protect::{harden, harden_to};
pub use register::{Registered, Registration};

use crate::commit::{ClassState, Commit, End};
use crate::engine::{Answer, Count, EngineError, LogEngine, Rows, Scan};
use crate::entry::Entry;
use crate::id::{EntryId, Instance, PartitionId};
use crate::partition::{Class, Partition, Seal};
use crate::protection::Protection;
use connect::Writer;
use names::Names;

/// A transaction that has no answer by then is taken for lost: it is asked again, and its number tells.
const ANSWER: Duration = Duration::from_secs(45);

/// The log in a PostgreSQL database.
#[derive(Clone)]
pub struct PgEngine {
    instance: Instance,
    shared: Arc<Shared>,
}

type Slot = Mutex<Option<Writer>>;

struct Shared {
    options: PgOptions,
    readers: PgPool,
    /// Under which number this helmd writes, and who it is; `None` for somebody who only looks.
    claim: Option<(Instance, Registration)>,
    /// Empty after every failure: the next transaction begins on a new connection.
    writer: Slot,
    /// For numbers, states and events: the log never waits for them.
    keeper: Slot,
    names: Names,
}

impl PgEngine {
    /// Connects, brings the schema up to date and registers this helmd.
    pub async fn open(options: PgOptions, registration: Registration) -> Result<Self, EngineError> {
        let mut connection = options.worker().await?;
        migrate::up_to_date(&mut connection, &options, &migrate::ALL).await?;
        let instance = register::register(&mut connection, options.target(), &registration).await?;
        Ok(Self::with(options, instance, Some(registration)))
    }

    fn with(options: PgOptions, instance: Instance, who: Option<Registration>) -> Self {
        let claim = who.map(|who| (instance, who));
        let readers = options.readers();
        let (writer, keeper) = (Slot::default(), Slot::default());
        let shared = Shared { readers, options, claim, writer, keeper, names: Names::default() };
        Self { instance, shared: Arc::new(shared) }
    }

    /// All helmds that share the database, by number.
    pub async fn registered(&self) -> Result<Vec<Registered>, EngineError> {
        register::registered(&self.shared).await
    }

    /// What others than this helmd have there: partitions and entries. Changes when somebody else has written.
    pub async fn others(&self) -> Result<(i64, i64), EngineError> {
        register::others(&self.shared, self.instance).await
    }

    /// Version of the server, as `150018`.
    pub async fn server_version(&self) -> Result<i32, EngineError> {
        self.shared.version().await
    }
}

/// "PostgreSQL 15.18", of a [`PgEngine::server_version`].
pub fn version_in_words(number: i32) -> String {
    format!("PostgreSQL {}.{}", number / 10_000, number % 10_000)
}

impl Shared {
    fn fault(&self, what: &str, error: sqlx::Error) -> EngineError {
        fault::of(self.options.target(), what, error)
    }

    async fn version(&self) -> Result<i32, EngineError> {
        sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
            .fetch_one(&self.readers)
            .await
            .map_err(|e| self.fault("asking for the version", e))
    }

    /// Runs `work` on the writer's connection.
    async fn write<T>(
        &self,
        what: &str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.on(&self.writer, what, async |writer| {
            if !writer.claimed {
                self.names.forget();
                writer.claimed = match &self.claim {
                    Some((number, who)) => {
                        let target = self.options.target();
                        register::claim(&mut writer.connection, target, *number, who).await?
                    }
                    None => true,
                };
            }
            work(&mut writer.connection).await
        })
        .await
    }

    /// Runs `work` on the connection for what is not the log.
    async fn keep<T>(
        &self,
        what: &str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, EngineError> {
        self.on(&self.keeper, what, async |writer| {
            work(&mut writer.connection).await.map_err(|e| self.fault(what, e))
        })
        .await
    }

    /// Runs `work` on the connection in `slot`, which is kept only if the work succeeds within [`ANSWER`]. A caller that goes away takes
    /// the connection along: the server then rolls back.
    async fn on<T>(
        &self,
        slot: &Slot,
        what: &str,
        work: impl AsyncFnOnce(&mut Writer) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let mut slot = slot.lock().await;
        let mut writer = match slot.take() {
            Some(writer) => writer,
            None => self.options.writer().await?,
        };
        let done = tokio::time::timeout(ANSWER, work(&mut writer)).await.unwrap_or_else(|_| {
            Err(EngineError::Away(format!(
                "{} gave no answer to {what} within {} s",
                self.options.place(),
                ANSWER.as_secs()
            )))
        })?;
        *slot = Some(writer);
        Ok(done)
    }
}

/// PostgreSQL keeps no NUL in a text.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A partition's table. Made of numbers: safe in a statement.
fn table(id: PartitionId) -> String {
    format!("entry_{}_{}", id.instance.0, id.number)
}

/// A partition's number in the database: an entry's id without the row.
fn key(id: PartitionId) -> i64 {
    id.ids().0.0 >> 20
}

/// From [`key`].
fn partition_of(key: i64) -> Result<PartitionId, EngineError> {
    EntryId(key << 20)
        .partition()
        .ok_or_else(|| EngineError::Damaged(format!("{key} is no number of a partition")))
}

impl fmt::Debug for PgEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PgEngine({}, instance {})", self.shared.options, self.instance.0)
    }
}

impl LogEngine for PgEngine {
    fn instance(&self) -> Instance {
        self.instance
    }

    fn classes(&self) -> Answer<'_, Vec<ClassState>> {
        Box::pin(state::classes(&self.shared, self.instance))
    }

    fn ends(&self) -> Answer<'_, Vec<End>> {
        Box::pin(state::ends(&self.shared))
    }

    fn partitions(&self) -> Answer<'_, Vec<Partition>> {
        Box::pin(state::partitions(&self.shared))
    }

    fn open_partition<'a>(&'a self, new: &'a Partition, seal: Option<(PartitionId, Seal)>) -> Answer<'a, ()> {
        Box::pin(state::open(&self.shared, new, seal))
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> Answer<'a, ()> {
        Box::pin(commit::commit(&self.shared, commit))
    }

    fn try_out<'a>(&'a self, commit: &'a Commit) -> Answer<'a, ()> {
        Box::pin(commit::try_out(&self.shared, commit))
    }

    fn unfinished(&self, instance: Instance) -> Answer<'_, Vec<PartitionId>> {
        Box::pin(state::unfinished(&self.shared, instance))
    }

    fn finish(&self, partition: PartitionId) -> Answer<'_, ()> {
        Box::pin(state::finish(&self.shared, partition))
    }

    fn remove<'a>(&'a self, partition: PartitionId, class: &'a Class) -> Answer<'a, ()> {
        Box::pin(state::remove(&self.shared, partition, class))
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> Answer<'a, Vec<Entry>> {
        Box::pin(page::scan(&self.shared, scan))
    }

    fn get(&self, id: EntryId) -> Answer<'_, Option<Entry>> {
        Box::pin(read::get(&self.shared, id))
    }

    fn counts(&self, partition: PartitionId, from: i64, to: i64) -> Answer<'_, Vec<Count>> {
        Box::pin(read::counts(&self.shared, partition, from, to))
    }

    fn packed(&self, partition: PartitionId) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(read::packed(&self.shared, partition))
    }

    fn rows(&self, partition: PartitionId, from: u32) -> Rows {
        read::rows(self.shared.clone(), partition, from)
    }

    fn disk(&self, partition: PartitionId) -> Answer<'_, u64> {
        Box::pin(state::disk(&self.shared, partition))
    }

    fn protection(&self) -> Answer<'_, Protection> {
        Box::pin(protect::protection(&self.shared))
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async {
            self.shared.writer.lock().await.take();
            self.shared.keeper.lock().await.take();
            self.shared.readers.close().await;
            Ok(())
        })
    }
}
