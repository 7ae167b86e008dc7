//! Reading one segment: by row, by count, whole.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use tokio::sync::mpsc;

use super::connect::Readers;
use super::error::engine_error;
use super::segment::Segment;
use crate::engine::{Count, EngineError};
use crate::entry::{Entry, Level, NewEntry, Source};
use crate::id::{PartitionId, ROWS_PER_PARTITION};

/// What a whole entry is read from; `e` is the entry.
pub(super) const COLUMNS: &str = "e.row, e.at, (SELECT name FROM service WHERE id = e.service), e.level, e.flags, e.source, e.stream, \
     e.plain, e.message, e.context, e.trace, e.user, e.hostname, e.process, e.seen, e.digest";

/// Entries in one piece of `rows`, and its weight as far as the piece before tells.
const PIECE: usize = 1000;
const FIRST: usize = 32;
const PIECE_BYTES: usize = 4 << 20;

/// Makes an entry of a row that was selected by [`COLUMNS`].
pub(super) fn entry(row: &SqliteRow, partition: PartitionId) -> Result<Entry, sqlx::Error> {
    let (level, source): (u8, u8) = (row.try_get(3)?, row.try_get(5)?);
    let unknown = |what: &str| sqlx::Error::Decode(what.into());
    let number: i64 = row.try_get(0)?;
    let place = u32::try_from(number).ok().filter(|row| *row < ROWS_PER_PARTITION);
    let place =
        place.ok_or_else(|| unknown(&format!("Helm never gave the row {number}: it was inserted")))?;
    Ok(Entry {
        id: partition.entry(place),
        digest: row.try_get(15)?,
        body: NewEntry {
            at: row.try_get(1)?,
            service: row.try_get(2)?,
            level: Level::from_number(level).ok_or_else(|| unknown("there is no such level"))?,
            flags: row.try_get(4)?,
            source: Source::from_number(source).ok_or_else(|| unknown("there is no such source"))?,
            stream: row.try_get(6)?,
            plain: row.try_get(7)?,
            message: row.try_get(8)?,
            context: row.try_get(9)?,
            trace: row.try_get(10)?,
            user: row.try_get(11)?,
            hostname: row.try_get(12)?,
            process: row.try_get(13)?,
            seen: row.try_get(14)?,
        },
    })
}

/// What went wrong while entries were read. A value that nobody wrote is damage.
pub(super) fn failed(segment: &Segment, error: sqlx::Error) -> EngineError {
    if matches!(error, sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. }) {
        let place = segment.path.display();
        return EngineError::Damaged(format!("an entry in `{place}` holds what was never written: {error}"));
    }
    engine_error("could not read entries", &segment.path, error)
}

/// One entry.
pub(super) async fn get(
    readers: &Arc<Readers>,
    segment: &Arc<Segment>,
    partition: PartitionId,
    row: u32,
) -> Result<Option<Entry>, EngineError> {
    let mut reader = readers.get(segment).await?;
    let sql = format!("SELECT {COLUMNS} FROM entry e WHERE e.row = ?");
    let found = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(row)
        .fetch_optional(reader.ask()?)
        .await
        .and_then(|row| row.map(|row| entry(&row, partition)).transpose())
        .map_err(|e| failed(segment, e))?;
    reader.rest();
    Ok(found)
}

/// What SQLite finds wrong with the file: pages, order, indexes that do not lead to all rows.
pub(super) async fn examine(
    readers: &Arc<Readers>,
    segment: &Arc<Segment>,
) -> Result<Option<String>, EngineError> {
    let mut reader = readers.get(segment).await?;
    let found: Result<String, _> =
        sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(reader.ask()?).await;
    reader.rest();
    match found.map_err(|e| failed(segment, e)) {
        Ok(found) if found == "ok" => Ok(None),
        Ok(found) => Ok(Some(found.replace('\n', " "))),
        Err(EngineError::Damaged(why)) => Ok(Some(why)),
        Err(error) => Err(error),
    }
}

/// Counts per minute.
pub(super) async fn counts(
    readers: &Arc<Readers>,
    segment: &Arc<Segment>,
    from: i64,
    to: i64,
) -> Result<Vec<Count>, EngineError> {
    let mut reader = readers.get(segment).await?;
    let counts = counts_from(reader.ask()?, segment, from, to).await?;
    reader.rest();
    Ok(counts)
}

/// The same through a connection that is there.
pub(super) async fn counts_from(
    connection: &mut SqliteConnection,
    segment: &Segment,
    from: i64,
    to: i64,
) -> Result<Vec<Count>, EngineError> {
    let failed = |e| failed(segment, e);
    let names: HashMap<i64, Arc<str>> = sqlx::query_as::<_, (i64, String)>("SELECT id, name FROM service")
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?
        .into_iter()
        .map(|(id, name)| (id, name.into()))
        .collect();
    let rows = sqlx::query_as::<_, (i64, i64, u8, i64)>(
        "SELECT minute, service, level, n FROM count WHERE minute >= ? AND minute < ? ORDER BY minute",
    )
    .bind(from)
    .bind(to)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    let count = |(minute, service, level, n): (i64, i64, u8, i64)| match (
        names.get(&service),
        Level::from_number(level),
    ) {
        (Some(name), Some(level)) => {
            Ok(Count { minute, service: name.clone(), level, count: n.cast_unsigned() })
        }
        _ => {
            let place = segment.path.display();
            Err(EngineError::Damaged(format!(
                "a count in `{place}` has the service {service} and the level {level}"
            )))
        }
    };
    rows.into_iter().map(count).collect()
}

/// The counts of a finished segment, packed; `None` in one that was finished before there was such a thing.
pub(super) async fn packed(
    readers: &Arc<Readers>,
    segment: &Arc<Segment>,
) -> Result<Option<Vec<u8>>, EngineError> {
    let mut reader = readers.get(segment).await?;
    let failed = |e| failed(segment, e);
    let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'packed')")
        .fetch_one(reader.ask()?)
        .await
        .map_err(failed)?;
    let kept = match there {
        true => sqlx::query_scalar("SELECT bytes FROM packed").fetch_optional(reader.ask()?).await,
        false => Ok(None),
    };
    let kept = kept.map_err(failed)?;
    reader.rest();
    Ok(kept)
}

/// Sends all entries in the order of rows, piece by piece, until nobody listens.
pub(super) async fn send_rows(
    readers: Arc<Readers>,
    segment: Arc<Segment>,
    partition: PartitionId,
    from: u32,
    to: mpsc::Sender<Result<Vec<Entry>, EngineError>>,
) {
    // Rows below the first were put in by hand: they are met, too.
    let mut from = if from == 0 { i64::MIN } else { i64::from(from) };
    let mut limit = FIRST;
    loop {
        // Nothing is lent while the other side thinks.
        let Ok(place) = to.reserve().await else { return };
        let piece = tokio::select! {
            piece = read_piece(&readers, &segment, partition, from, limit) => piece,
            () = to.closed() => return,
        };
        match piece {
            Ok(piece) if piece.is_empty() => return,
            Ok(piece) => {
                from = piece.last().map_or(from, |last| i64::from(last.id.row()) + 1);
                let bytes: usize = piece.iter().map(|entry| entry.body.weight()).sum();
                limit = (PIECE_BYTES * piece.len() / bytes.max(1)).clamp(20, PIECE);
                place.send(Ok(piece));
            }
            Err(error) => {
                place.send(Err(error));
                return;
            }
        }
    }
}

async fn read_piece(
    readers: &Arc<Readers>,
    segment: &Arc<Segment>,
    partition: PartitionId,
    from: i64,
    limit: usize,
) -> Result<Vec<Entry>, EngineError> {
    let mut reader = readers.get(segment).await?;
    let sql = format!("SELECT {COLUMNS} FROM entry e WHERE e.row >= ? ORDER BY e.row LIMIT {limit}");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(from)
        .fetch_all(reader.ask()?)
        .await
        .map_err(|e| failed(segment, e))?;
    reader.rest();
    rows.iter().map(|row| entry(row, partition).map_err(|e| failed(segment, e))).collect()
}
