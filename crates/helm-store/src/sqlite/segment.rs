//! One segment: a partition in its file, how it is made, read and closed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::sqlite::{SqliteJournalMode, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _, SqliteConnection};
use tokio::sync::RwLock;

use super::error::engine_error;
use super::{connect, files, migrate};
use crate::chain::Head;
use crate::commit::{ClassState, Position};
use crate::engine::EngineError;
use crate::entry::Level;
use crate::id::{Instance, PartitionId};
use crate::once::{KEY_AGE, KEYS, Numbers, SENDER_AGE};
use crate::partition::{Class, Contents, Partition, Seal, level_slot};
use crate::writer::ledger::SENDERS;

/// A partition and its file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    record: Mutex<Partition>,
    /// Held by readers; wholly by who changes how the file is kept.
    pub(super) using: Arc<RwLock<()>>,
    /// Whether it has the dear indexes and is read-only.
    pub(super) finished: AtomicBool,
    /// Whether it was taken away.
    pub(super) retired: AtomicBool,
}

impl Segment {
    pub(super) fn new(path: PathBuf, record: Partition, finished: bool) -> Arc<Self> {
        Arc::new(Self {
            path,
            record: Mutex::new(record),
            using: Arc::default(),
            finished: AtomicBool::new(finished),
            retired: AtomicBool::new(false),
        })
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// What is known of it.
    pub(super) fn record(&self) -> Partition {
        self.with(|record| record.clone())
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Partition) -> T) -> T {
        look(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a segment says of itself.
pub(super) struct Loaded {
    pub(super) record: Partition,
    pub(super) former: Option<(u32, i64)>,
    pub(super) finished: bool,
    /// Whether its entries are those that it says it has.
    pub(super) torn: bool,
    /// Where the class stood when the last of them was written.
    pub(super) head: Head,
}

fn head(row: &SqliteRow, column: &str) -> Result<Head, sqlx::Error> {
    let bytes: Vec<u8> = row.try_get(column)?;
    Head::from_bytes(&bytes).ok_or_else(|| sqlx::Error::Decode(format!("`{column}` is not 32 bytes").into()))
}

/// Reads what a segment says of itself.
pub(super) async fn load(path: &Path) -> Result<Loaded, EngineError> {
    let mut connection = connect::reader(path).await?;
    migrate::version(&mut connection, path, migrate::SEGMENT).await?;
    let loaded = load_from(&mut connection).await.map_err(|e| unreadable(path, e));
    drop(connection.close().await);
    loaded
}

/// Reads what an open segment holds.
pub(super) async fn contents(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<Contents, EngineError> {
    Ok(load_from(connection).await.map_err(|e| unreadable(path, e))?.record.contents)
}

fn unreadable(path: &Path, error: sqlx::Error) -> EngineError {
    // Tables or rows are missing, or hold what was never written.
    use sqlx::Error::{ColumnDecode, Decode, RowNotFound};
    let missing = error.as_database_error().is_some_and(|e| e.message().starts_with("no such"));
    if missing || matches!(error, RowNotFound | Decode(_) | ColumnDecode { .. }) {
        let place = path.display();
        return EngineError::Damaged(format!("`{place}` does not hold what a partition holds: {error}"));
    }
    engine_error("could not read the partition", path, error)
}

async fn load_from(connection: &mut SqliteConnection) -> Result<Loaded, sqlx::Error> {
    let row = sqlx::query(
        "SELECT p.*, s.head, s.rows, s.bytes, s.low, s.high, (SELECT max(row) FROM entry) AS last, \
         EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'entry_trace') AS finished \
         FROM partition p CROSS JOIN state s",
    )
    .fetch_one(&mut *connection)
    .await?;
    let rows: u32 = row.try_get("rows")?;
    let last: Option<i64> = row.try_get("last")?;
    let seal = match row.try_get::<Option<i64>, _>("closed")? {
        Some(closed) => Some(Seal { closed, head: head(&row, "sealed_head")? }),
        None => None,
    };
    let contents = match row.try_get::<Option<&str>, _>("contents")? {
        Some(json) => serde_json::from_str(json).map_err(|e| sqlx::Error::Decode(e.into()))?,
        None => Contents {
            rows,
            bytes: row.try_get::<i64, _>("bytes")?.cast_unsigned(),
            at: row.try_get::<Option<i64>, _>("low")?.zip(row.try_get("high")?),
            services: services(connection).await?,
        },
    };
    let instance = Instance(row.try_get("instance")?);
    Ok(Loaded {
        former: row.try_get::<Option<u32>, _>("former")?.zip(row.try_get("former_closed")?),
        finished: row.try_get("finished")?,
        torn: last.map_or(0, |last| last.saturating_add(1)) != i64::from(rows),
        head: head(&row, "head")?,
        record: Partition {
            id: PartitionId { instance, number: row.try_get("number")? },
            class: Class(row.try_get("class")?),
            opened: row.try_get("opened")?,
            before: head(&row, "before")?,
            seal,
            contents,
            disk: 0,
        },
    })
}

/// Entries by service and level, from the counts.
async fn services(connection: &mut SqliteConnection) -> Result<BTreeMap<String, [u64; 5]>, sqlx::Error> {
    let sums = "SELECT s.name, c.level, sum(c.n) FROM count c JOIN service s ON s.id = c.service GROUP BY c.service, c.level";
    let mut services: BTreeMap<String, [u64; 5]> = BTreeMap::new();
    for (name, level, n) in sqlx::query_as::<_, (String, u8, i64)>(sums).fetch_all(connection).await? {
        let Some(level) = Level::from_number(level) else {
            return Err(sqlx::Error::Decode(format!("there is no level {level}").into()));
        };
        services.entry(name).or_default()[level_slot(level)] += n.cast_unsigned();
    }
    Ok(services)
}

/// Reads where a class stands, from its newest segment.
pub(super) async fn state(
    connection: &mut SqliteConnection,
    class: &Class,
    open: Option<PartitionId>,
) -> Result<ClassState, sqlx::Error> {
    let row =
        sqlx::query("SELECT number, head, arrived, queue FROM state").fetch_one(&mut *connection).await?;
    let cursors = sqlx::query_as::<_, (String, i64, i64)>("SELECT service, segment, position FROM cursor")
        .fetch_all(&mut *connection)
        .await?;
    let seen = seen(connection, "main").await?;
    let senders = AssertSqlSafe(format!("SELECT name, number, {seen}, kept FROM sender"));
    let senders: Vec<(String, i64, i64, i64)> = sqlx::query_as(senders).fetch_all(&mut *connection).await?;
    let mut keys: Vec<(String, i64)> =
        sqlx::query_as("SELECT key, kept FROM key ORDER BY kept DESC, key DESC LIMIT ?")
            .bind(most(KEYS))
            .fetch_all(&mut *connection)
            .await?;
    keys.reverse();
    let position = |segment: i64, offset: i64| Position {
        segment: segment.cast_unsigned(),
        offset: offset.cast_unsigned(),
    };
    Ok(ClassState {
        class: class.clone(),
        number: row.try_get::<i64, _>("number")?.cast_unsigned(),
        head: head(&row, "head")?,
        arrived: row.try_get("arrived")?,
        open,
        cursors: cursors.into_iter().map(|(service, s, o)| (service, position(s, o))).collect(),
        senders: senders
            .into_iter()
            .map(|(name, last, window, at)| {
                (name, Numbers { last: last.cast_unsigned(), window: window.cast_unsigned(), at })
            })
            .collect(),
        keys,
        queue: row.try_get::<i64, _>("queue")?.cast_unsigned(),
    })
}

/// Which of a sender's batches were kept, in SQL. A segment that was sealed before that was noted knows the last one: all up to it count as kept.
async fn seen(connection: &mut SqliteConnection, schema: &str) -> Result<&'static str, sqlx::Error> {
    let noted: bool =
        sqlx::query_scalar("SELECT count(*) > 0 FROM pragma_table_info('sender', ?) WHERE name = 'seen'")
            .bind(schema)
            .fetch_one(connection)
            .await?;
    Ok(if noted { "seen" } else { "-1" })
}

/// As a number in a statement.
fn most(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Makes the file of a new partition whole, and only then gives it its name. `from` is the segment that the class's state is copied from.
pub(super) async fn create(
    path: &Path,
    new: &Partition,
    former_closed: Option<(PartitionId, i64)>,
    from: Option<&Path>,
) -> Result<(), EngineError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let half = path.with_file_name(format!(".new-{name}"));
    let made = half.clone();
    files::off(move || {
        files::remove(&made)?;
        files::make_file(&made)
    })
    .await?;
    // The journal of a file that has no name yet protects nothing.
    let mut connection = connect::writer(&half, SqliteJournalMode::Off).await?;
    migrate::migrate(&mut connection, &half, migrate::SEGMENT).await?;
    fill(&mut connection, new, former_closed, from)
        .await
        .map_err(|e| engine_error("could not begin the partition", &half, e))?;
    connection.close().await.map_err(|e| engine_error("could not write", &half, e))?;
    let path = path.to_owned();
    files::off(move || files::rename(&half, &path)).await
}

async fn fill(
    connection: &mut SqliteConnection,
    new: &Partition,
    former: Option<(PartitionId, i64)>,
    from: Option<&Path>,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO partition (one, instance, number, class, opened, before, former, former_closed) VALUES (1, ?, ?, ?, ?, ?, ?, ?)")
        .bind(new.id.instance.0)
        .bind(new.id.number)
        .bind(&new.class.0)
        .bind(new.opened)
        .bind(&new.before.0[..])
        .bind(former.map(|(id, _)| id.number))
        .bind(former.map(|(_, closed)| closed))
        .execute(&mut *connection)
        .await?;
    let Some(from) = from else {
        let fresh =
            "INSERT INTO state (one, number, head, arrived, queue, rows, bytes) VALUES (1, 0, ?, ?, 0, 0, 0)";
        sqlx::query(fresh).bind(&new.before.0[..]).bind(new.opened).execute(&mut *connection).await?;
        return Ok(());
    };
    let Some(from) = from.to_str() else {
        return Err(sqlx::Error::Configuration("the path of the store is not UTF-8".into()));
    };
    sqlx::query("ATTACH ? AS former").bind(from).execute(&mut *connection).await?;
    sqlx::query(
        "INSERT INTO state (one, number, head, arrived, queue, rows, bytes) \
         SELECT 1, number, ?, min(arrived, ?), queue, 0, 0 FROM former.state",
    )
    .bind(&new.before.0[..])
    .bind(new.opened)
    .execute(&mut *connection)
    .await?;
    connection.execute("INSERT INTO cursor SELECT * FROM former.cursor").await?;
    let seen = seen(connection, "former").await?;
    let senders = format!(
        "INSERT INTO sender (name, number, seen, kept) SELECT name, number, {seen}, kept FROM former.sender WHERE kept >= ? \
         ORDER BY kept DESC LIMIT ?"
    );
    sqlx::query(AssertSqlSafe(senders))
        .bind(new.opened.saturating_sub(SENDER_AGE))
        .bind(most(SENDERS))
        .execute(&mut *connection)
        .await?;
    let keys = "INSERT INTO key SELECT * FROM former.key WHERE kept >= ? ORDER BY kept DESC LIMIT ?";
    sqlx::query(keys)
        .bind(new.opened.saturating_sub(KEY_AGE))
        .bind(most(KEYS))
        .execute(&mut *connection)
        .await?;
    connection.execute("DETACH former").await?;
    Ok(())
}

/// Writes a partition's end into it. May be done again.
pub(super) async fn seal(
    connection: &mut SqliteConnection,
    segment: &Segment,
    seal: Seal,
) -> Result<(), EngineError> {
    let contents = segment.with(|record| serde_json::to_string(&record.contents));
    let contents =
        contents.map_err(|e| EngineError::Other { what: "could not sum up".into(), source: e.into() })?;
    sqlx::query("UPDATE partition SET closed = ?, sealed_head = ?, contents = ? WHERE closed IS NULL")
        .bind(seal.closed)
        .bind(&seal.head.0[..])
        .bind(contents)
        .execute(connection)
        .await
        .map_err(|e| engine_error("could not seal the partition", &segment.path, e))?;
    segment.with(|record| record.seal = record.seal.or(Some(seal)));
    Ok(())
}
