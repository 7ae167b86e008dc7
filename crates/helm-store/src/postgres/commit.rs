//! One transaction: the bookkeeping in one call, then the entries by binary COPY, straight into the partition.
//!
//! Five round trips, whatever is in it: BEGIN, call, COPY, its data, COMMIT. The call comes first: it takes the lock of the class's row, so that
//! a transaction that is not the next one sends no data.

use std::collections::{BTreeSet, HashMap};

use sqlx::{Connection, PgConnection};

use super::{Shared, encode, key, table};
use crate::commit::Commit;
use crate::engine::EngineError;
use crate::heavy::heavy;

const CALL: &str = "SELECT helm_commit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)";

pub(super) async fn commit(shared: &Shared, commit: &Commit) -> Result<(), EngineError> {
    shared
        .write("a commit", async |connection| {
            let numbers = numbers(shared, connection, commit).await?;
            transaction(shared, connection, commit, &numbers).await
        })
        .await
}

/// The same, taken back at the end: only names of services stay in their dictionary.
pub(super) async fn try_out(shared: &Shared, commit: &Commit) -> Result<(), EngineError> {
    let fault = |e| shared.fault("trying a commit", e);
    shared
        .write("trying a commit", async |connection| {
            let numbers = numbers(shared, connection, commit).await?;
            let mut step = connection.begin().await.map_err(fault)?;
            carry_out(shared, &mut step, commit, &numbers).await?;
            // What would be looked at only when it is committed.
            sqlx::query("SET CONSTRAINTS ALL IMMEDIATE").execute(&mut *step).await.map_err(fault)?;
            step.rollback().await.map_err(fault)
        })
        .await
}

async fn numbers(
    shared: &Shared,
    connection: &mut PgConnection,
    commit: &Commit,
) -> Result<HashMap<String, i32>, EngineError> {
    let services: BTreeSet<&str> = commit
        .entries
        .iter()
        .map(|entry| entry.body.service.as_str())
        .chain(commit.counts.keys().map(|count| count.service.as_str()))
        .collect();
    shared.names.numbers(connection, &services).await.map_err(|e| shared.fault("naming services", e))
}

pub(super) async fn transaction(
    shared: &Shared,
    connection: &mut PgConnection,
    commit: &Commit,
    services: &HashMap<String, i32>,
) -> Result<(), EngineError> {
    let fault = |e| shared.fault("a commit", e);
    let mut step = connection.begin().await.map_err(fault)?;
    carry_out(shared, &mut step, commit, services).await?;
    step.commit().await.map_err(fault)
}

async fn carry_out(
    shared: &Shared,
    step: &mut PgConnection,
    commit: &Commit,
    services: &HashMap<String, i32>,
) -> Result<(), EngineError> {
    let fault = |e| shared.fault("a commit", e);
    let unnamed = |name: String| EngineError::Damaged(format!("the dictionary has no service `{name}`"));
    let bytes = commit.entries.iter().map(|entry| entry.body.weight()).sum();
    let data = heavy(bytes, || encode::rows(&commit.entries, services)).map_err(unnamed)?;
    if let Some(has) = call(step, commit, services).await.map_err(fault)? {
        return Err(EngineError::NotNext { asked: commit.number, has: has.cast_unsigned() });
    }
    if !commit.entries.is_empty() {
        let statement =
            format!("COPY {} ({}) FROM STDIN WITH (FORMAT binary)", table(commit.partition), encode::COLUMNS);
        let mut copy = step.copy_in_raw(&statement).await.map_err(fault)?;
        copy.send(data).await.map_err(fault)?;
        copy.finish().await.map_err(fault)?;
    }
    Ok(())
}

/// The number that the database has, if this one is not the next.
async fn call(
    connection: &mut PgConnection,
    commit: &Commit,
    services: &HashMap<String, i32>,
) -> Result<Option<i64>, sqlx::Error> {
    let (mut minutes, mut numbers, mut levels, mut counts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (count, n) in &commit.counts {
        // Every name of the counts was looked up with the entries'.
        let Some(id) = services.get(&count.service) else { continue };
        minutes.push(count.minute);
        numbers.push(*id);
        levels.push(i16::from(count.level.number()));
        counts.push(n.cast_signed());
    }
    let senders: Vec<&str> = commit.senders.keys().map(String::as_str).collect();
    let sequences: Vec<i64> = commit.senders.values().map(|numbers| numbers.last.cast_signed()).collect();
    let windows: Vec<i64> = commit.senders.values().map(|numbers| numbers.window.cast_signed()).collect();
    let cursors: Vec<&str> = commit.cursors.keys().map(String::as_str).collect();
    let segments: Vec<i64> = commit.cursors.values().map(|at| at.segment.cast_signed()).collect();
    let offsets: Vec<i64> = commit.cursors.values().map(|at| at.offset.cast_signed()).collect();
    sqlx::query_scalar(CALL)
        .bind(commit.partition.instance.0.cast_signed())
        .bind(&commit.class.0)
        .bind(commit.number.cast_signed())
        .bind(key(commit.partition))
        .bind(commit.head.0)
        .bind(commit.arrived)
        .bind(commit.queue.map(u64::cast_signed))
        .bind(commit.contents.rows.cast_signed())
        .bind(commit.contents.bytes.cast_signed())
        .bind(commit.contents.at.map(|(low, _)| low))
        .bind(commit.contents.at.map(|(_, high)| high))
        .bind(minutes)
        .bind(numbers)
        .bind(levels)
        .bind(counts)
        .bind(cursors)
        .bind(segments)
        .bind(offsets)
        .bind(senders)
        .bind(sequences)
        .bind(windows)
        .bind(&commit.keys)
        .fetch_one(connection)
        .await
}
