//! The file of the queue. Durable at every commit.

use std::path::{Path, PathBuf};
use std::time::Instant;

use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _, SqliteConnection};

use crate::commit::Once;
use crate::engine::EngineError;
use crate::entry::NewEntry;
use crate::heavy::heavy;
use crate::partition::Class;
use crate::sqlite::error::engine_error;
use crate::sqlite::files;
use crate::sqlite::migrate::migrate;

const STEPS: &[&str] = &[
    include_str!("../../../../migrations/sqlite/queue/0001_queue.sql"),
    include_str!("../../../../migrations/sqlite/queue/0002_numbering.sql"),
];

/// An append to be stored.
#[derive(Debug)]
pub(super) struct NewRow<'a> {
    pub(super) class: &'a Class,
    pub(super) entries: &'a [NewEntry],
    pub(super) once: Option<&'a Once>,
    pub(super) weight: u64,
}

/// An append that is stored.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) n: u64,
    pub(super) class: Class,
    pub(super) entries: Vec<NewEntry>,
    pub(super) once: Option<Once>,
}

/// What the file holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    pub(super) appends: u64,
    pub(super) bytes: u64,
    /// When the oldest came.
    pub(super) oldest: Option<i64>,
}

/// What waits no more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) appends: u64,
    pub(super) bytes: u64,
}

impl Gone {
    fn add(&mut self, weight: i64) {
        self.appends += 1;
        self.bytes += weight.cast_unsigned();
    }
}

pub(super) struct QueueFile {
    connection: SqliteConnection,
    path: PathBuf,
    /// The file that it writes to, and when it was last seen under its name.
    inode: u64,
    seen: Instant,
}

impl QueueFile {
    pub(super) async fn open(path: &Path) -> Result<Self, EngineError> {
        let made = path.to_owned();
        files::off(move || files::make_file(&made)).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .auto_vacuum(SqliteAutoVacuum::Full)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("cache_size", "-1024")
            .pragma("journal_size_limit", "8388608")
            .disable_statement_logging();
        let mut connection =
            options.connect().await.map_err(|e| engine_error("could not open the local queue", path, e))?;
        migrate(&mut connection, path, STEPS).await?;
        Ok(Self { connection, path: path.to_owned(), inode: files::inode(path).await?, seen: Instant::now() })
    }

    /// Looks now and then.
    async fn is_in_place(&mut self) -> Result<(), EngineError> {
        if self.seen.elapsed() < files::LOOK {
            return Ok(());
        }
        self.seen = Instant::now();
        files::is_in_place(&self.path, self.inode).await
    }

    /// Reads the whole file: once, when it is opened.
    pub(super) async fn held(&mut self) -> Result<Held, EngineError> {
        let sql = "SELECT count(*), coalesce(sum(weight), 0), min(at) FROM waiting";
        let row = sqlx::query(sql).fetch_one(&mut self.connection).await;
        let read = row.and_then(|row| {
            let number = |at| row.try_get::<i64, _>(at).map(i64::cast_unsigned);
            Ok(Held { appends: number(0)?, bytes: number(1)?, oldest: row.try_get(2)? })
        });
        read.map_err(|e| engine_error("could not read the local queue", &self.path, e))
    }

    /// When the first that waits came.
    pub(super) async fn oldest(&mut self) -> Result<Option<i64>, EngineError> {
        let sql = "SELECT at FROM waiting ORDER BY n LIMIT 1";
        let read = sqlx::query_scalar(sql).fetch_optional(&mut self.connection).await;
        read.map_err(|e| engine_error("could not read the local queue", &self.path, e))
    }

    /// Appends that were acknowledged and cannot be read.
    pub(super) async fn bad(&mut self) -> Result<u64, EngineError> {
        let read = sqlx::query_scalar("SELECT count(*) FROM bad").fetch_one(&mut self.connection).await;
        read.map(i64::cast_unsigned)
            .map_err(|e| engine_error("could not read the local queue", &self.path, e))
    }

    /// All that make repetitions harmless, with their positions and classes.
    pub(super) async fn once(&mut self) -> Result<Vec<(u64, Class, Once)>, EngineError> {
        let sql = "SELECT n, class, once FROM waiting WHERE once IS NOT NULL ORDER BY n";
        let rows = sqlx::query(sql).fetch_all(&mut self.connection).await;
        let rows = rows.and_then(|rows| {
            // What cannot be read is put aside when its turn comes.
            let readable =
                rows.iter().filter_map(|row| Some((row, parse(&row.try_get::<String, _>(2).ok()?).ok()?)));
            readable
                .map(|(row, once)| {
                    Ok((row.try_get::<i64, _>(0)?.cast_unsigned(), Class(row.try_get(1)?), once))
                })
                .collect()
        });
        rows.map_err(|e| engine_error("could not read the local queue", &self.path, e))
    }

    /// All of them, or none. Answers with their positions.
    pub(super) async fn add(&mut self, rows: &[NewRow<'_>], now: i64) -> Result<Vec<u64>, EngineError> {
        self.is_in_place().await?;
        let added = async {
            let mut transaction = self.connection.begin().await?;
            let mut positions = Vec::with_capacity(rows.len());
            let sql =
                "INSERT INTO waiting (at, class, entries, once, weight) VALUES (?, ?, ?, ?, ?) RETURNING n";
            for row in rows {
                let weight = usize::try_from(row.weight).unwrap_or(usize::MAX);
                let entries = heavy(weight, || serde_json::to_vec(row.entries))
                    .map_err(|e| sqlx::Error::Encode(e.into()))?;
                let once = row.once.map(serde_json::to_string).transpose();
                let n: i64 = sqlx::query_scalar(sql)
                    .bind(now)
                    .bind(&row.class.0)
                    .bind(entries)
                    .bind(once.map_err(|e| sqlx::Error::Encode(e.into()))?)
                    .bind(row.weight.cast_signed())
                    .fetch_one(&mut *transaction)
                    .await?;
                positions.push(n.cast_unsigned());
            }
            transaction.commit().await?;
            Ok(positions)
        };
        added.await.map_err(|e| engine_error("could not write the local queue", &self.path, e))
    }

    /// Before the first of this file is brought to a database that has `position`: raises what waits above it, once. `true`: positions changed.
    pub(super) async fn join(&mut self, position: u64) -> Result<bool, EngineError> {
        let joined = async {
            let mut transaction = self.connection.begin().await?;
            let (joined, first): (bool, Option<i64>) =
                sqlx::query_as("SELECT joined, (SELECT min(n) FROM waiting) FROM numbering")
                    .fetch_one(&mut *transaction)
                    .await?;
            if joined {
                return Ok(false);
            }
            let position = position.cast_signed();
            let raise = first.map_or(0, |first| (position + 1 - first).max(0));
            if raise > 0 {
                // By way of what no row has: one after the other must not meet one that waits for its turn.
                transaction.execute("UPDATE waiting SET n = -n").await?;
                sqlx::query("UPDATE waiting SET n = ? - n").bind(raise).execute(&mut *transaction).await?;
            }
            sqlx::query("UPDATE sqlite_sequence SET seq = max(seq + ?, ?) WHERE name = 'waiting'")
                .bind(raise)
                .bind(position)
                .execute(&mut *transaction)
                .await?;
            transaction.execute("UPDATE numbering SET joined = 1").await?;
            transaction.commit().await?;
            Ok(raise > 0)
        };
        joined.await.map_err(|e| engine_error("could not number the local queue", &self.path, e))
    }

    /// The first ones behind a position, of one class, up to so many entries and bytes; at least one. What cannot be read is put aside, and added
    /// to `aside`.
    pub(super) async fn next(
        &mut self,
        mut behind: u64,
        (most, bytes): (usize, usize),
        aside: &mut Gone,
    ) -> Result<Vec<Row>, EngineError> {
        let read = async {
            let mut rows: Vec<Row> = Vec::new();
            let (mut entries, mut room) = (0, bytes as u64);
            loop {
                // Their sizes first: of large ones few are fetched.
                let heads = heads(&mut self.connection, behind).await?;
                let class = rows.first().map(|row| &row.class);
                let Some((upto, weight)) = reach(&heads, class, room) else { return Ok(rows) };
                let sql = "SELECT n, class, entries, once FROM waiting WHERE n > ? AND n <= ? ORDER BY n";
                let found = sqlx::query(sql).bind(behind.cast_signed()).bind(upto.cast_signed());
                for found in found.fetch_all(&mut self.connection).await? {
                    let n = found.try_get::<i64, _>(0)?.cast_unsigned();
                    let row = match row(n, &found) {
                        Ok(row) => row,
                        Err(error) => {
                            aside.add(put_aside(&mut self.connection, n, &error).await?);
                            continue;
                        }
                    };
                    entries += row.entries.len();
                    if entries > most && !rows.is_empty() {
                        return Ok(rows);
                    }
                    rows.push(row);
                }
                (behind, room) = (upto, room.saturating_sub(weight));
            }
        };
        read.await.map_err(|e| engine_error("could not read the local queue", &self.path, e))
    }

    /// What fails now was met before.
    pub(super) async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "the file of the local queue was not closed as it should be");
        }
    }

    /// Takes away what the database has.
    pub(super) async fn forget(&mut self, position: u64) -> Result<Gone, EngineError> {
        let sql = "DELETE FROM waiting WHERE n <= ? RETURNING weight";
        let weights: Result<Vec<i64>, _> =
            sqlx::query_scalar(sql).bind(position.cast_signed()).fetch_all(&mut self.connection).await;
        let weights = weights.map_err(|e| engine_error("could not clear the local queue", &self.path, e))?;
        let mut gone = Gone::default();
        weights.into_iter().for_each(|weight| gone.add(weight));
        Ok(gone)
    }
}

/// What is known of an append without its entries.
#[derive(Debug)]
struct HeadOf {
    n: u64,
    class: Class,
    weight: u64,
}

async fn heads(connection: &mut SqliteConnection, behind: u64) -> Result<Vec<HeadOf>, sqlx::Error> {
    let sql = "SELECT n, class, weight FROM waiting WHERE n > ? ORDER BY n LIMIT 64";
    let rows: Vec<(i64, String, i64)> =
        sqlx::query_as(sql).bind(behind.cast_signed()).fetch_all(connection).await?;
    let head = |(n, class, weight): (i64, String, i64)| HeadOf {
        n: n.cast_unsigned(),
        class: Class(class),
        weight: weight.cast_unsigned(),
    };
    Ok(rows.into_iter().map(head).collect())
}

/// The last one that is of the same class and has room with those before it, and what they weigh; where there is none yet, the first one in any case.
fn reach(heads: &[HeadOf], class: Option<&Class>, room: u64) -> Option<(u64, u64)> {
    let (mut class, mut reached, mut weight) = (class, None, 0);
    for head in heads {
        let first = class.is_none();
        weight += head.weight;
        if !first && (class != Some(&head.class) || weight > room) {
            break;
        }
        class = Some(&head.class);
        reached = Some((head.n, weight));
    }
    reached
}

fn row(n: u64, found: &SqliteRow) -> Result<Row, sqlx::Error> {
    let body = found.try_get::<Vec<u8>, _>(2)?;
    let entries = heavy(body.len(), || parse(&body))?;
    let once = found.try_get::<Option<String>, _>(3)?.map(|text| parse(&text)).transpose()?;
    Ok(Row { n, class: Class(found.try_get(1)?), entries, once })
}

/// Answers with its weight.
async fn put_aside(connection: &mut SqliteConnection, n: u64, why: &sqlx::Error) -> Result<i64, sqlx::Error> {
    tracing::error!(
        "an append in the local queue cannot be read and is put aside (table `bad` of queue.db, {n}): {why}"
    );
    let mut transaction = connection.begin().await?;
    sqlx::query("INSERT INTO bad SELECT n, at, class, entries, once, weight, ?2 FROM waiting WHERE n = ?1")
        .bind(n.cast_signed())
        .bind(why.to_string())
        .execute(&mut *transaction)
        .await?;
    let weight = sqlx::query_scalar("DELETE FROM waiting WHERE n = ? RETURNING weight")
        .bind(n.cast_signed())
        .fetch_one(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(weight)
}

fn parse<T: serde::de::DeserializeOwned>(text: &(impl AsRef<[u8]> + ?Sized)) -> Result<T, sqlx::Error> {
    serde_json::from_slice(text.as_ref()).map_err(|e| sqlx::Error::Decode(e.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_at_once_is_bounded_in_bytes_and_of_one_class() {
        let heads: Vec<HeadOf> = [(1, "a", 5), (2, "a", 5), (3, "a", 6), (4, "b", 1)]
            .map(|(n, class, weight)| HeadOf { n, class: Class(class.into()), weight })
            .into();
        let a = Class("a".into());
        assert_eq!(reach(&heads, None, 10), Some((2, 10)));
        assert_eq!(reach(&heads, None, 0), Some((1, 5)), "one at least");
        assert_eq!(reach(&heads, None, 100), Some((3, 16)), "the next one is of another class");
        assert_eq!(reach(&heads, Some(&a), 4), None, "there are some already");
        assert_eq!(reach(&heads[3..], Some(&a), 100), None);
        assert_eq!(reach(&[], None, 100), None);
    }
}
