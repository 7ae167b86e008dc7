//! Partitions and classes: what is on record, and how it changes.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgRow};

use super::{Shared, key, partition_of, read, table};
use crate::chain::Head;
use crate::commit::{ClassState, End, Position};
use crate::engine::EngineError;
use crate::id::{Instance, PartitionId};
use crate::once::{KEY_AGE, KEYS, Numbers, SENDER_AGE};
use crate::packed::Packed;
use crate::partition::{Class, Contents, Partition, PerLevel, Seal, level_slot};

pub(super) async fn classes(shared: &Shared, instance: Instance) -> Result<Vec<ClassState>, EngineError> {
    let fault = |e| shared.fault("reading where the log stands", e);
    // One moment for all of it; with the writer's rights, and behind whatever it does.
    shared
        .write("reading where the log stands", async |connection| {
            let mut step = connection.begin().await.map_err(fault)?;
            sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                .execute(&mut *step)
                .await
                .map_err(fault)?;
            let states = read_classes(&mut step, instance.0.cast_signed()).await.map_err(fault)??;
            step.commit().await.map_err(fault)?;
            Ok(states)
        })
        .await
}

/// instance, class, number, head, open
type EndRow = (i16, String, i64, Vec<u8>, Option<i64>);

/// Of all helmds that write here, and of what was taken over.
pub(super) async fn ends(shared: &Shared) -> Result<Vec<End>, EngineError> {
    let rows: Vec<EndRow> = sqlx::query_as("SELECT instance, class, number, head, open FROM class_state")
        .fetch_all(&shared.readers)
        .await
        .map_err(|e| shared.fault("reading where the log ends", e))?;
    let end = |(instance, class, number, bytes, open): EndRow| {
        Ok(End {
            instance: Instance(instance.cast_unsigned()),
            class: Class(class),
            number: number.cast_unsigned(),
            head: head(bytes)?,
            open: open.map(partition_of).transpose()?,
        })
    };
    rows.into_iter().map(end).collect()
}

pub(super) async fn read_classes(
    connection: &mut PgConnection,
    instance: i16,
) -> Result<Result<Vec<ClassState>, EngineError>, sqlx::Error> {
    let mut states = BTreeMap::new();
    let rows = sqlx::query(
        "SELECT class, number, head, arrived, open, queue FROM class_state WHERE instance = $1 ORDER BY class",
    )
    .bind(instance)
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        let class: String = row.try_get(0)?;
        let (head, open) =
            (head(row.try_get(2)?), row.try_get::<Option<i64>, _>(4)?.map(partition_of).transpose());
        let (head, open) = match (head, open) {
            (Ok(head), Ok(open)) => (head, open),
            (Err(e), _) | (_, Err(e)) => return Ok(Err(e)),
        };
        let state = ClassState {
            class: Class(class.clone()),
            number: row.try_get::<i64, _>(1)?.cast_unsigned(),
            head,
            arrived: row.try_get(3)?,
            open,
            cursors: BTreeMap::new(),
            senders: BTreeMap::new(),
            keys: Vec::new(),
            queue: row.try_get::<i64, _>(5)?.cast_unsigned(),
        };
        states.insert(class, state);
    }
    let cursors: Vec<(String, String, i64, i64)> =
        sqlx::query_as("SELECT class, service, segment, position FROM cursor WHERE instance = $1")
            .bind(instance)
            .fetch_all(&mut *connection)
            .await?;
    for (class, service, segment, offset) in cursors {
        if let Some(state) = states.get_mut(&class) {
            let at = Position { segment: segment.cast_unsigned(), offset: offset.cast_unsigned() };
            state.cursors.insert(service, at);
        }
    }
    let senders: Vec<(String, String, i64, i64, i64)> =
        sqlx::query_as("SELECT class, name, number, seen, at FROM sender WHERE instance = $1")
            .bind(instance)
            .fetch_all(&mut *connection)
            .await?;
    for (class, name, last, window, at) in senders {
        if let Some(state) = states.get_mut(&class) {
            let numbers = Numbers { last: last.cast_unsigned(), window: window.cast_unsigned(), at };
            state.senders.insert(name, numbers);
        }
    }
    for state in states.values_mut() {
        state.keys = keys(connection, instance, state).await?;
    }
    Ok(Ok(states.into_values().collect()))
}

/// The newest keys of a class: as many as are remembered, however many the table has.
async fn keys(
    connection: &mut PgConnection,
    instance: i16,
    state: &ClassState,
) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let mut keys: Vec<(String, i64)> = sqlx::query_as(
        "SELECT key, at FROM once_key WHERE instance = $1 AND class = $2 AND at >= $3 ORDER BY at DESC LIMIT $4",
    )
    .bind(instance)
    .bind(&state.class.0)
    .bind(state.arrived.saturating_sub(KEY_AGE))
    .bind(i64::try_from(KEYS).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    keys.reverse();
    Ok(keys)
}

fn head(bytes: Vec<u8>) -> Result<Head, EngineError> {
    Head::from_bytes(&bytes).ok_or_else(|| EngineError::Damaged("a digest has not 32 bytes".to_owned()))
}

pub(super) async fn partitions(shared: &Shared) -> Result<Vec<Partition>, EngineError> {
    let fault = |e| shared.fault("reading the partitions", e);
    // Statement by statement: a commit between them may only add to an open partition, whose numbers are taken last.
    let rows = sqlx::query(
        "SELECT id, class, opened, before, closed, head, rows, bytes, at_low, at_high, services,
                coalesce(disk, pg_total_relation_size(to_regclass(helm_partition_table(id))), 0)
         FROM partition ORDER BY id",
    )
    .fetch_all(&shared.readers)
    .await
    .map_err(fault)?;
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let (mut partition, services) = partition(&row).map_err(fault)??;
        partition.contents.services = match services {
            Some(json) => serde_json::from_str(&json)
                .map_err(|e| EngineError::Damaged(format!("services of partition {}: {e}", partition.id)))?,
            None => {
                let mut connection = shared.readers.acquire().await.map_err(fault)?;
                services_of(&mut connection, key(partition.id)).await.map_err(fault)??
            }
        };
        all.push(partition);
    }
    Ok(all)
}

fn partition(row: &PgRow) -> Result<Result<(Partition, Option<String>), EngineError>, sqlx::Error> {
    let id = partition_of(row.try_get(0)?);
    let before = head(row.try_get(3)?);
    let closed: Option<i64> = row.try_get(4)?;
    let end = row.try_get::<Option<Vec<u8>>, _>(5)?.map(head).transpose();
    let (id, before, end) = match (id, before, end) {
        (Ok(id), Ok(before), Ok(end)) => (id, before, end),
        (Err(e), _, _) | (_, Err(e), _) | (_, _, Err(e)) => return Ok(Err(e)),
    };
    let (low, high): (Option<i64>, Option<i64>) = (row.try_get(8)?, row.try_get(9)?);
    let contents = Contents {
        rows: row.try_get::<i32, _>(6)?.cast_unsigned(),
        bytes: row.try_get::<i64, _>(7)?.cast_unsigned(),
        at: low.zip(high),
        services: BTreeMap::new(),
    };
    let partition = Partition {
        id,
        class: Class(row.try_get(1)?),
        opened: row.try_get(2)?,
        before,
        seal: closed.zip(end).map(|(closed, head)| Seal { closed, head }),
        contents,
        disk: row.try_get::<i64, _>(11)?.cast_unsigned(),
    };
    Ok(Ok((partition, row.try_get(10)?)))
}

/// Entries of a partition by service and level, from its counts.
async fn services_of(
    connection: &mut PgConnection,
    partition: i64,
) -> Result<Result<BTreeMap<String, PerLevel>, EngineError>, sqlx::Error> {
    let rows: Vec<(String, i16, i64)> = sqlx::query_as(
        "SELECT s.name, c.level, c.n FROM
            (SELECT service, level, sum(n)::bigint AS n FROM count_minute WHERE partition = $1 GROUP BY service, level) c
         JOIN service s ON s.id = c.service",
    )
    .bind(partition)
    .fetch_all(connection)
    .await?;
    let mut services = BTreeMap::new();
    for (name, number, n) in rows {
        match read::level(number) {
            Ok(level) => services.entry(name).or_insert([0; 5])[level_slot(level)] += n.cast_unsigned(),
            Err(e) => return Ok(Err(e)),
        }
    }
    Ok(Ok(services))
}

pub(super) async fn open(
    shared: &Shared,
    new: &Partition,
    seal: Option<(PartitionId, Seal)>,
) -> Result<(), EngineError> {
    let fault = |e| shared.fault("opening a partition", e);
    shared
        .write("opening a partition", async |connection| {
            let mut step = connection.begin().await.map_err(fault)?;
            if let Some((id, seal)) = seal {
                end(shared, &mut step, id, seal).await?;
            }
            sqlx::query("SELECT helm_open_partition($1, $2, $3, $4)")
                .bind(key(new.id))
                .bind(&new.class.0)
                .bind(new.opened)
                .bind(new.before.0)
                .execute(&mut *step)
                .await
                .map_err(fault)?;
            step.commit().await.map_err(fault)
        })
        .await
}

/// Seals a partition, in the transaction that `connection` is in.
pub(super) async fn end(
    shared: &Shared,
    connection: &mut PgConnection,
    id: PartitionId,
    seal: Seal,
) -> Result<(), EngineError> {
    let fault = |e| shared.fault("closing a partition", e);
    let services = services_of(connection, key(id)).await.map_err(fault)??;
    let services = serde_json::to_string(&services)
        .map_err(|e| EngineError::Other { what: "writing down services".to_owned(), source: Box::new(e) })?;
    sqlx::query("SELECT helm_seal_partition($1, $2, $3, $4)")
        .bind(key(id))
        .bind(seal.closed)
        .bind(seal.head.0)
        .bind(services)
        .execute(connection)
        .await
        .map_err(fault)?;
    Ok(())
}

pub(super) async fn finish(shared: &Shared, partition: PartitionId) -> Result<(), EngineError> {
    let what = format!("indexing partition {partition}");
    let fault = |e| shared.fault(&what, e);
    let mut connection = shared.options.worker().await?;
    let counts = read::counts(shared, partition, i64::MIN, i64::MAX).await?;
    sqlx::query(
        "INSERT INTO packed_counts SELECT id, $2::bytea FROM partition WHERE id = $1 AND closed IS NOT NULL ON CONFLICT DO NOTHING",
    )
    .bind(key(partition))
    .bind(Packed::of(&counts).bytes())
    .execute(&mut connection)
    .await
    .map_err(fault)?;
    // Last of what must be: by it a finished partition is known.
    sqlx::query("SELECT helm_finish_partition($1, $2)")
        .bind(key(partition))
        .bind(shared.options.trigrams())
        .execute(&mut connection)
        .await
        .map_err(fault)?;
    // Only who owns a table may clean it; the server does it in its own time otherwise.
    let owns: Option<bool> =
        sqlx::query_scalar("SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass($1)")
            .bind(table(partition))
            .fetch_optional(&mut connection)
            .await
            .map_err(fault)?;
    if owns == Some(true) {
        let sql = format!("VACUUM (FREEZE) {}", table(partition));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.map_err(fault)?;
    }
    forget(&mut connection, partition.instance).await.map_err(fault)?;
    connection.close().await.map_err(fault)
}

/// Closed partitions that have no dear indexes yet.
pub(super) async fn unfinished(shared: &Shared, instance: Instance) -> Result<Vec<PartitionId>, EngineError> {
    let keys: Vec<i64> = sqlx::query_scalar(
        "SELECT id FROM partition WHERE id >> 24 = $1 AND closed IS NOT NULL AND disk IS NULL ORDER BY id",
    )
    .bind(i64::from(instance.0))
    .fetch_all(&shared.readers)
    .await
    .map_err(|e| shared.fault("looking for partitions without indexes", e))?;
    keys.into_iter().map(partition_of).collect()
}

/// Forgets senders and keys that need no longer be remembered, a few thousand at a time: a commit never waits for it.
async fn forget(connection: &mut PgConnection, instance: Instance) -> Result<(), sqlx::Error> {
    loop {
        let gone: i64 = sqlx::query_scalar("SELECT helm_forget($1, $2, $3, $4)")
            .bind(instance.0.cast_signed())
            .bind(KEY_AGE)
            .bind(i64::try_from(KEYS).unwrap_or(i64::MAX))
            .bind(SENDER_AGE)
            .fetch_one(&mut *connection)
            .await?;
        if gone == 0 {
            return Ok(());
        }
    }
}

pub(super) async fn remove(
    shared: &Shared,
    partition: PartitionId,
    class: &Class,
) -> Result<(), EngineError> {
    let what = format!("removing partition {partition}");
    let mut connection = shared.options.worker().await?;
    sqlx::query("SELECT helm_remove_partition($1, $2)")
        .bind(key(partition))
        .bind(&class.0)
        .execute(&mut connection)
        .await
        .map_err(|e| shared.fault(&what, e))?;
    connection.close().await.map_err(|e| shared.fault(&what, e))
}

pub(super) async fn disk(shared: &Shared, partition: PartitionId) -> Result<u64, EngineError> {
    let bytes: Option<i64> = sqlx::query_scalar("SELECT pg_total_relation_size(to_regclass($1))")
        .bind(table(partition))
        .fetch_one(&shared.readers)
        .await
        .map_err(|e| shared.fault("asking for the size of a partition", e))?;
    Ok(bytes.unwrap_or(0).cast_unsigned())
}
