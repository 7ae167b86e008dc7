//! Rows into entries: one by its id, whole partitions in pieces, counts.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::mpsc;

use super::{Shared, encode, key, table};
use crate::engine::{Count, EngineError, Rows};
use crate::entry::{Entry, Level, NewEntry, Source};
use crate::id::{EntryId, PartitionId};

/// Rows of one piece at most, and the bytes it should have.
const PIECE: usize = 2000;
const FIRST: usize = 32;
const PIECE_BYTES: usize = 2 << 20;

/// Whether the error says that the table is not there: the partition was taken away.
pub(super) fn is_gone(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(e) if e.code().as_deref() == Some("42P01"))
}

pub(super) async fn get(shared: &Shared, id: EntryId) -> Result<Option<Entry>, EngineError> {
    let Some(partition) = id.partition() else { return Ok(None) };
    let sql = format!("SELECT {} FROM {} WHERE id = $1", encode::COLUMNS, table(partition));
    let rows = match sqlx::query(AssertSqlSafe(sql)).bind(id.0).fetch_all(&shared.readers).await {
        Err(e) if is_gone(&e) => return Ok(None),
        rows => rows.map_err(|e| shared.fault("reading an entry", e))?,
    };
    Ok(entries(shared, &rows).await?.pop())
}

pub(super) async fn counts(
    shared: &Shared,
    partition: PartitionId,
    from: i64,
    to: i64,
) -> Result<Vec<Count>, EngineError> {
    let fault = |e| shared.fault("reading counts", e);
    let rows: Vec<(i64, i32, i16, i64)> = sqlx::query_as(
        "SELECT minute, service, level, n FROM count_minute WHERE partition = $1 AND minute >= $2 AND minute < $3 ORDER BY minute",
    )
    .bind(key(partition))
    .bind(from)
    .bind(to)
    .fetch_all(&shared.readers)
    .await
    .map_err(fault)?;
    let services = rows.iter().map(|(_, service, _, _)| *service).collect();
    let names = shared.names.of(&shared.readers, &services).await.map_err(fault)?;
    let names: HashMap<i32, Arc<str>> = names.into_iter().map(|(id, name)| (id, name.into())).collect();
    rows.into_iter()
        .map(|(minute, service, number, n)| {
            let unnamed =
                || EngineError::Damaged(format!("a count has the service {service}, which has no name"));
            let service = names.get(&service).ok_or_else(unnamed)?.clone();
            Ok(Count { minute, service, level: level(number)?, count: n.cast_unsigned() })
        })
        .collect()
}

/// The counts of a finished partition, packed; `None` where it was finished before there was such a thing.
pub(super) async fn packed(shared: &Shared, partition: PartitionId) -> Result<Option<Vec<u8>>, EngineError> {
    sqlx::query_scalar("SELECT bytes FROM packed_counts WHERE partition = $1")
        .bind(key(partition))
        .fetch_optional(&shared.readers)
        .await
        .map_err(|e| shared.fault("reading counts", e))
}

/// Reads a partition to its end, or until nobody listens. A page at a time: no connection is held while the receiver thinks.
pub(super) fn rows(shared: Arc<Shared>, partition: PartitionId, from: u32) -> Rows {
    let (pieces, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let (mut next, end) = (partition.entry(0).0 + i64::from(from), partition.ids().1.0);
        let mut limit = FIRST;
        while !pieces.is_closed() && next < end {
            let piece = match piece(&shared, partition, next, limit).await {
                Ok(piece) => piece,
                Err(e) => {
                    // A receiver that is gone needs no error.
                    pieces.send(Err(e)).await.ok();
                    return;
                }
            };
            let Some(last) = piece.last() else { return };
            next = last.id.0 + 1;
            let bytes: usize = piece.iter().map(|entry| entry.body.weight()).sum();
            limit = (PIECE_BYTES * piece.len() / bytes.max(1)).clamp(20, PIECE);
            if pieces.send(Ok(piece)).await.is_err() {
                return;
            }
        }
    });
    receiver
}

async fn piece(
    shared: &Shared,
    partition: PartitionId,
    from: i64,
    limit: usize,
) -> Result<Vec<Entry>, EngineError> {
    let sql =
        format!("SELECT {} FROM {} WHERE id >= $1 ORDER BY id LIMIT $2", encode::COLUMNS, table(partition));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let query = sqlx::query(AssertSqlSafe(sql)).bind(from).bind(limit);
    let rows = match query.fetch_all(&shared.readers).await {
        Err(e) if is_gone(&e) => return Ok(Vec::new()),
        rows => rows.map_err(|e| shared.fault("reading a partition", e))?,
    };
    entries(shared, &rows).await
}

/// Entries of rows that have [`encode::COLUMNS`].
pub(super) async fn entries(shared: &Shared, rows: &[PgRow]) -> Result<Vec<Entry>, EngineError> {
    let fault = |e| shared.fault("reading entries", e);
    let mut services = BTreeSet::new();
    for row in rows {
        services.insert(row.try_get::<i32, _>(4).map_err(fault)?);
    }
    let names = shared.names.of(&shared.readers, &services).await.map_err(fault)?;
    rows.iter().map(|row| entry(row, &names).map_err(fault)?).collect()
}

fn entry(row: &PgRow, names: &HashMap<i32, String>) -> Result<Result<Entry, EngineError>, sqlx::Error> {
    let id: i64 = row.try_get(0)?;
    let (number, source, stream): (i16, i16, i16) = (row.try_get(7)?, row.try_get(8)?, row.try_get(9)?);
    let service = names.get(&row.try_get(4)?);
    let source = u8::try_from(source).ok().and_then(Source::from_number);
    let (Some(service), Some(source), Ok(level), Ok(stream)) =
        (service, source, level(number), u8::try_from(stream))
    else {
        return Ok(Err(EngineError::Damaged(format!("entry {id} has values that were never written"))));
    };
    let body = NewEntry {
        service: service.clone(),
        at: row.try_get(1)?,
        seen: row.try_get(2)?,
        level,
        source,
        stream,
        flags: row.try_get::<i32, _>(5)?.cast_unsigned(),
        message: row.try_get(10)?,
        plain: row.try_get(11)?,
        context: row.try_get(12)?,
        trace: row.try_get(13)?,
        user: row.try_get(14)?,
        hostname: row.try_get(15)?,
        process: row.try_get(6)?,
    };
    Ok(Ok(Entry { id: EntryId(id), digest: row.try_get(3)?, body }))
}

pub(super) fn level(number: i16) -> Result<Level, EngineError> {
    u8::try_from(number)
        .ok()
        .and_then(Level::from_number)
        .ok_or_else(|| EngineError::Damaged(format!("{number} is no level")))
}
