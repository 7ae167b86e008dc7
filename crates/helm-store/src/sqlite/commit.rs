//! Carrying out one transaction: few, large statements, for each costs a trip to the connection's thread.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Connection as _, SqliteConnection};

use crate::commit::{Commit, CountKey};
use crate::engine::EngineError;
use crate::entry::Entry;

/// Why a transaction was not carried out.
pub(super) enum Refused {
    /// It is not the next one.
    NotNext(EngineError),
    /// The database would not.
    Failed(sqlx::Error),
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        Refused::Failed(error)
    }
}

/// A statement that adds many rows, in some sizes, so that few different ones are prepared.
struct Many {
    columns: usize,
    sizes: Vec<(usize, Arc<str>)>,
}

impl Many {
    fn new(head: &str, columns: usize, tail: &str, sizes: &[usize]) -> Self {
        let row = format!("({})", vec!["?"; columns].join(","));
        let text = |rows: &usize| {
            let mut sql = format!("{head} VALUES ");
            for at in 0..*rows {
                // Writing into a String does not fail.
                let _infallible = write!(sql, "{}{row}", if at == 0 { "" } else { "," });
            }
            (*rows, Arc::from(sql + tail))
        };
        Self { columns, sizes: sizes.iter().map(text).collect() }
    }

    /// Adds items that change nothing, so that one statement takes what would be left for several small ones.
    fn pad<T>(&self, items: &mut Vec<T>, nothing: impl Fn(&T) -> T) {
        let most = self.sizes.first().map_or(1, |(size, _)| *size);
        let rest = items.len() % most;
        let size = self.sizes.iter().rev().map(|(size, _)| *size).find(|size| *size >= rest);
        if let (Some(last), Some(size)) = (items.last(), size.filter(|_| rest > 0)) {
            let nothings: Vec<T> = (rest..size).map(|_| nothing(last)).collect();
            items.extend(nothings);
        }
    }

    async fn run<T>(
        &self,
        connection: &mut SqliteConnection,
        mut items: &[T],
        bind: impl Fn(&mut SqliteArguments, &T) -> Result<(), sqlx::error::BoxDynError>,
    ) -> Result<(), sqlx::Error> {
        for (size, sql) in &self.sizes {
            while items.len() >= *size {
                let (now, later) = items.split_at(*size);
                let mut arguments = SqliteArguments::default();
                arguments.reserve(size * self.columns, 0);
                for item in now {
                    bind(&mut arguments, item).map_err(sqlx::Error::Encode)?;
                }
                sqlx::query_with(AssertSqlSafe(sql.clone()), arguments).execute(&mut *connection).await?;
                items = later;
            }
        }
        Ok(())
    }
}

static ENTRIES: LazyLock<Many> = LazyLock::new(|| {
    // FAIL: the transaction is rolled back whole, so no statement need be undone by itself.
    let head = "INSERT OR FAIL INTO entry (row, at, service, level, flags, source, stream, plain, message, context, trace, user, \
                hostname, process, seen, digest)";
    Many::new(head, 16, "", &[128, 64, 32, 16, 8, 4, 2, 1])
});
static SERVICES: LazyLock<Many> =
    LazyLock::new(|| Many::new("INSERT INTO service (id, name)", 2, "", &[16, 1]));
static COUNTS: LazyLock<Many> = LazyLock::new(|| {
    let tail = " ON CONFLICT DO UPDATE SET n = n + excluded.n";
    Many::new("INSERT INTO count (minute, service, level, n)", 4, tail, &[256, 64, 16, 4, 1])
});
static CURSORS: LazyLock<Many> = LazyLock::new(|| {
    let head = "INSERT OR REPLACE INTO cursor (service, segment, position)";
    Many::new(head, 3, "", &[64, 16, 4, 1])
});
static SENDERS: LazyLock<Many> = LazyLock::new(|| {
    let head = "INSERT OR REPLACE INTO sender (name, number, seen, kept)";
    Many::new(head, 4, "", &[64, 16, 4, 1])
});
static KEYS_KEPT: LazyLock<Many> =
    LazyLock::new(|| Many::new("INSERT OR REPLACE INTO key (key, kept)", 2, "", &[64, 16, 4, 1]));

/// Carries out one transaction; `services` gains the names that are new, once they are stored.
pub(super) async fn commit(
    connection: &mut SqliteConnection,
    services: &mut HashMap<String, i64>,
    commit: &Commit,
) -> Result<(), Refused> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let new = carry_out(&mut transaction, services, commit).await?;
    transaction.commit().await?;
    services.extend(new);
    Ok(())
}

/// The same, taken back at the end.
pub(super) async fn try_out(
    connection: &mut SqliteConnection,
    services: &HashMap<String, i64>,
    commit: &Commit,
) -> Result<(), Refused> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    carry_out(&mut transaction, services, commit).await?;
    Ok(transaction.rollback().await?)
}

/// Returns the names that are new.
async fn carry_out(
    transaction: &mut SqliteConnection,
    services: &HashMap<String, i64>,
    commit: &Commit,
) -> Result<HashMap<String, i64>, Refused> {
    advance(transaction, commit).await?;
    let new = name_services(transaction, services, commit).await?;
    let number = |name: &str| services.get(name).or_else(|| new.get(name)).copied().unwrap_or(0);
    ENTRIES
        .run(transaction, &commit.entries, |to, entry| bind(to, entry, number(&entry.body.service)))
        .await?;
    let mut counts: Vec<(&CountKey, u64)> = commit.counts.iter().map(|(key, n)| (key, *n)).collect();
    COUNTS.pad(&mut counts, |(key, _)| (*key, 0));
    COUNTS
        .run(transaction, &counts, |to, (key, n)| {
            to.add(key.minute)?;
            to.add(number(&key.service))?;
            to.add(key.level.number())?;
            to.add(n.cast_signed())
        })
        .await?;
    remember(transaction, commit).await?;
    Ok(new)
}

/// Moves the class's state on, if this is its next transaction.
async fn advance(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), Refused> {
    let (low, high) = commit.contents.at.unzip();
    let moved = sqlx::query(
        "UPDATE state SET number = ?1, head = ?2, arrived = ?3, queue = coalesce(?4, queue), rows = ?5, bytes = ?6, low = ?7, \
         high = ?8 WHERE number = ?1 - 1",
    )
    .bind(commit.number.cast_signed())
    .bind(&commit.head.0[..])
    .bind(commit.arrived)
    .bind(commit.queue.map(u64::cast_signed))
    .bind(commit.contents.rows)
    .bind(commit.contents.bytes.cast_signed())
    .bind(low)
    .bind(high)
    .execute(&mut *connection)
    .await?;
    if moved.rows_affected() == 1 {
        return Ok(());
    }
    let has: i64 = sqlx::query_scalar("SELECT number FROM state").fetch_one(connection).await?;
    Err(Refused::NotNext(EngineError::NotNext { asked: commit.number, has: has.cast_unsigned() }))
}

/// Gives numbers to names that have none.
async fn name_services(
    connection: &mut SqliteConnection,
    known: &HashMap<String, i64>,
    commit: &Commit,
) -> Result<HashMap<String, i64>, sqlx::Error> {
    let mut new: HashMap<String, i64> = HashMap::new();
    let mut next = i64::try_from(known.len()).unwrap_or(i64::MAX) + 1;
    for entry in &commit.entries {
        let name = &entry.body.service;
        if !known.contains_key(name) && !new.contains_key(name) {
            new.insert(name.clone(), next);
            next += 1;
        }
    }
    let rows: Vec<(&String, &i64)> = new.iter().collect();
    SERVICES
        .run(connection, &rows, |to, (name, id)| {
            to.add(**id)?;
            to.add(name.as_str())
        })
        .await?;
    Ok(new)
}

fn bind(to: &mut SqliteArguments, entry: &Entry, service: i64) -> Result<(), sqlx::error::BoxDynError> {
    let body = &entry.body;
    to.add(entry.id.row())?;
    to.add(body.at)?;
    to.add(service)?;
    to.add(body.level.number())?;
    to.add(body.flags)?;
    to.add(body.source as u8)?;
    to.add(body.stream)?;
    to.add(body.plain.as_deref())?;
    to.add(body.message.as_str())?;
    to.add(body.context.as_deref())?;
    to.add(body.trace.as_deref())?;
    to.add(body.user.as_deref())?;
    to.add(body.hostname.as_deref())?;
    to.add(body.process)?;
    to.add(body.seen)?;
    to.add(entry.digest)
}

/// Cursors, and what senders sent. What need no longer be remembered goes with the partition: the next one begins without it.
async fn remember(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), sqlx::Error> {
    let cursors: Vec<_> = commit.cursors.iter().collect();
    CURSORS
        .run(connection, &cursors, |to, (service, position)| {
            to.add(service.as_str())?;
            to.add(position.segment.cast_signed())?;
            to.add(position.offset.cast_signed())
        })
        .await?;
    let senders: Vec<_> = commit.senders.iter().collect();
    SENDERS
        .run(connection, &senders, |to, (sender, numbers)| {
            to.add(sender.as_str())?;
            to.add(numbers.last.cast_signed())?;
            to.add(numbers.window.cast_signed())?;
            to.add(numbers.at)
        })
        .await?;
    KEYS_KEPT
        .run(connection, &commit.keys, |to, key| {
            to.add(key.as_str())?;
            to.add(commit.arrived)
        })
        .await
}
