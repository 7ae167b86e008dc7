//! Taking over what the Python Helm wrote (contract 5.5): its rows become entries of instance 0, under the ids that they had.
//!
//! Its table was renamed to `log_entries_python` by the first migration and is only read here; it stays until the operator drops it. Batches are
//! ordinary transactions (numbered, chained, counted), so that a kill in the middle loses and doubles nothing: the next run goes on behind the
//! last id that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::{Connection, PgConnection};
use tokio_util::sync::CancellationToken;

use super::{PgEngine, Shared, commit, key, state};
use crate::chain::{Chain, Head};
use crate::commit::Commit;
use crate::engine::EngineError;
use crate::entry::{Entry, Level, NewEntry, Source, flag};
use crate::id::{EntryId, Instance, PartitionId};
use crate::partition::{Class, Contents, Seal};
use crate::writer::ledger::count;

/// Rows of one transaction.
const BATCH: i64 = 5000;
/// Rows that are here.
const TAKEN: &str = "SELECT coalesce(sum(rows), 0)::bigint FROM partition WHERE id < 1 << 24";
/// Key of the lock in the database ("form" in ASCII): one helmd takes over, the others let it.
const LOCK: i64 = 0x666f_726d;
/// First id of instance 1.
const END: i64 = 1 << 44;

/// What there was to take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Former {
    /// Nothing: the Python Helm never wrote here.
    None,
    /// All rows are here, and counted.
    Complete {
        /// How many.
        rows: u64,
    },
    /// Stopped before the end; to be called again.
    Stopped {
        /// How many are here.
        rows: u64,
    },
    /// Another helmd is at it.
    Elsewhere,
}

impl PgEngine {
    /// How many rows of the Python Helm are here, while they are being taken over; `None`: it is done, or there are none.
    pub async fn taking_over(&self) -> Result<Option<u64>, EngineError> {
        let fault = |e| self.shared.fault("asking for the rows of the Python Helm", e);
        let under_way: bool = sqlx::query_scalar(
            "SELECT to_regclass('log_entries_python') IS NOT NULL AND NOT EXISTS (SELECT 1 FROM former)",
        )
        .fetch_one(&self.shared.readers)
        .await
        .map_err(fault)?;
        if !under_way {
            return Ok(None);
        }
        let rows: i64 = sqlx::query_scalar(TAKEN).fetch_one(&self.shared.readers).await.map_err(fault)?;
        Ok(Some(rows.cast_unsigned()))
    }

    /// Takes over the rows of the Python Helm, in batches, until all are here or `stop` is cancelled. To be called at every start, beside
    /// everything else: it may take minutes, is gone on with after a kill, and does nothing once it is complete. Afterwards the operator may
    /// drop `log_entries_python`.
    pub async fn take_over(&self, stop: &CancellationToken) -> Result<Former, EngineError> {
        let shared = &*self.shared;
        let fault = |e| shared.fault("taking over the rows of the Python Helm", e);
        let mut connection = shared.options.worker().await?;
        let there: bool = sqlx::query_scalar("SELECT to_regclass('log_entries_python') IS NOT NULL")
            .fetch_one(&mut connection)
            .await
            .map_err(fault)?;
        let done: Option<i64> = sqlx::query_scalar("SELECT rows FROM former")
            .fetch_optional(&mut connection)
            .await
            .map_err(fault)?;
        if let Some(rows) = done {
            return Ok(Former::Complete { rows: rows.cast_unsigned() });
        }
        if !there {
            return Ok(Former::None);
        }
        // The lock ends with the connection.
        let mine: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut connection)
            .await
            .map_err(fault)?;
        if !mine {
            return Ok(Former::Elsewhere);
        }
        let mut taker = Taker::begin(shared, connection).await?;
        let complete = taker.run(stop).await?;
        let rows = taker.total().await?;
        taker.connection.close().await.map_err(fault)?;
        Ok(if complete { Former::Complete { rows } } else { Former::Stopped { rows } })
    }
}

/// Where the work stands.
struct Taker<'a> {
    shared: &'a Shared,
    connection: PgConnection,
    number: u64,
    chain: Chain,
    arrived: i64,
    open: Option<PartitionId>,
    contents: Contents,
    /// Last id that is here.
    last: i64,
}

impl<'a> Taker<'a> {
    async fn begin(shared: &'a Shared, mut connection: PgConnection) -> Result<Taker<'a>, EngineError> {
        let fault = |e| shared.fault("taking over the rows of the Python Helm", e);
        let strange: i64 =
            sqlx::query_scalar("SELECT count(*) FROM log_entries_python WHERE id < 0 OR id >= $1")
                .bind(END)
                .fetch_one(&mut connection)
                .await
                .map_err(fault)?;
        if strange > 0 {
            return Err(EngineError::Damaged(format!(
                "log_entries_python has {strange} rows with ids that the Python Helm never gave (below 0 or from {END} on): move them out of the table"
            )));
        }
        let states = state::read_classes(&mut connection, 0).await.map_err(fault)??;
        let state = states.into_iter().find(|state| state.class == Class::default_class());
        let open = state.as_ref().and_then(|state| state.open);
        let contents = match open {
            Some(open) => contents_of(&mut connection, open).await.map_err(fault)?,
            None => Contents::empty(),
        };
        let last: i64 = sqlx::query_scalar("SELECT coalesce(max(id), -1) FROM entry WHERE id < $1")
            .bind(END)
            .fetch_one(&mut connection)
            .await
            .map_err(fault)?;
        // Where retention has taken what lay before an open partition that is still empty, it does not begin anew.
        let last = open.map_or(last, |open| last.max(open.entry(0).0 - 1));
        Ok(Self {
            shared,
            connection,
            number: state.as_ref().map_or(0, |state| state.number),
            chain: Chain::from(state.as_ref().map_or(Head::GENESIS, |state| state.head)),
            arrived: state.as_ref().map_or(i64::MIN, |state| state.arrived),
            open,
            contents,
            last,
        })
    }

    /// Whether it came to the end.
    async fn run(&mut self, stop: &CancellationToken) -> Result<bool, EngineError> {
        while !stop.is_cancelled() {
            let rows = self.read().await?;
            if rows.is_empty() {
                self.end().await?;
                return Ok(true);
            }
            self.write(rows).await?;
        }
        Ok(false)
    }

    async fn read(&mut self) -> Result<Vec<(EntryId, NewEntry)>, EngineError> {
        // The columns by text: whatever was done to their types by hand, they can be read.
        let rows: Vec<PythonRow> = sqlx::query_as(
            r#"SELECT id::bigint AS id,
                      CASE WHEN "timestamp" > '1678-01-01' AND "timestamp" < '2262-01-01'
                           THEN (extract(epoch FROM "timestamp") * 1000000)::bigint END AS micros,
                      "timestamp"::text AS stamp, service_name::text AS service, level::text AS level, message::text AS message, context::text AS context,
                      trace_id::text AS trace, user_id::text AS user_id, hostname::text AS hostname, process_id::int AS process
               FROM log_entries_python WHERE id > $1 ORDER BY id LIMIT $2"#,
        )
        .bind(self.last)
        .bind(BATCH)
        .fetch_all(&mut self.connection)
        .await
        .map_err(|e| self.shared.fault("reading the rows of the Python Helm", e))?;
        Ok(rows.into_iter().map(entry).collect())
    }

    /// One transaction for each partition that the rows belong to.
    async fn write(&mut self, rows: Vec<(EntryId, NewEntry)>) -> Result<(), EngineError> {
        let mut rows = rows.into_iter().peekable();
        while let Some((id, _)) = rows.peek() {
            let partition =
                PartitionId { instance: Instance::FORMER, number: u32::try_from(id.0 >> 20).unwrap_or(0) };
            let mut batch = Vec::new();
            while let Some(row) = rows.next_if(|(id, _)| id.partition() == Some(partition)) {
                batch.push(row);
            }
            self.commit(partition, batch).await?;
        }
        Ok(())
    }

    async fn commit(
        &mut self,
        partition: PartitionId,
        batch: Vec<(EntryId, NewEntry)>,
    ) -> Result<(), EngineError> {
        let shared = self.shared;
        let now = now();
        // What says that it comes from the future tells nothing of when it came, and must not be kept until then.
        let came = |body: &NewEntry| if body.at <= now { body.at } else { i64::MIN };
        let first = batch.first().map_or(0, |(_, body)| came(body)).max(self.arrived);
        if self.open != Some(partition) {
            self.roll(partition, first).await?;
        }
        let mut entries = Vec::with_capacity(batch.len());
        for (id, body) in batch {
            self.contents.add(&body);
            self.arrived = self.arrived.max(came(&body));
            self.last = id.0;
            entries.push(Entry { id, digest: self.chain.push(id, &body).short(), body });
        }
        let services: BTreeSet<&str> = entries.iter().map(|entry| entry.body.service.as_str()).collect();
        let numbers = shared.names.numbers(&mut self.connection, &services).await;
        let numbers = numbers.map_err(|e| shared.fault("naming services", e))?;
        self.number += 1;
        let commit = Commit {
            class: Class::default_class(),
            partition,
            number: self.number,
            counts: count(&entries),
            entries,
            head: self.chain.head(),
            arrived: self.arrived,
            contents: self.contents.clone(),
            cursors: BTreeMap::new(),
            senders: BTreeMap::new(),
            keys: Vec::new(),
            queue: None,
        };
        commit::transaction(shared, &mut self.connection, &commit, &numbers).await
    }

    /// Seals the open partition and opens the next.
    async fn roll(&mut self, next: PartitionId, opened: i64) -> Result<(), EngineError> {
        let fault = |e| self.shared.fault("opening a partition", e);
        let seal = self.seal();
        let mut step = self.connection.begin().await.map_err(fault)?;
        if let Some(open) = self.open {
            state::end(self.shared, &mut step, open, seal).await?;
        }
        sqlx::query("SELECT helm_open_partition($1, $2, $3, $4)")
            .bind(key(next))
            .bind(Class::DEFAULT)
            .bind(opened)
            .bind(self.chain.head().0)
            .execute(&mut *step)
            .await
            .map_err(fault)?;
        step.commit().await.map_err(fault)?;
        (self.open, self.contents) = (Some(next), Contents::empty());
        Ok(())
    }

    /// Where the open partition ends: when its last row came, as far as its rows tell.
    fn seal(&self) -> Seal {
        let now = now();
        let tells = self.contents.at.is_some_and(|(low, _)| low <= now);
        let closed = if tells { self.arrived } else { self.arrived.max(now) };
        Seal { closed, head: self.chain.head() }
    }

    async fn total(&mut self) -> Result<u64, EngineError> {
        let rows: i64 = sqlx::query_scalar(TAKEN)
            .fetch_one(&mut self.connection)
            .await
            .map_err(|e| self.shared.fault("counting what was taken over", e))?;
        Ok(rows.cast_unsigned())
    }

    /// Seals the last partition, and proves by counting that nothing is missing of what is here. Retention waits for this; what an earlier Helm's
    /// took meanwhile were the oldest, whole partitions.
    async fn end(&mut self) -> Result<(), EngineError> {
        let fault = |e| self.shared.fault("ending the taking over", e);
        let seal = self.seal();
        let mut step = self.connection.begin().await.map_err(fault)?;
        if let Some(open) = self.open {
            state::end(self.shared, &mut step, open, seal).await?;
        }
        let (theirs, ours): (i64, i64) = sqlx::query_as(
            "WITH first AS (SELECT coalesce(min(id), 0) << 20 AS id FROM partition WHERE id < 1 << 24)
             SELECT (SELECT count(*) FROM log_entries_python WHERE id >= (SELECT id FROM first)), (SELECT count(*) FROM entry WHERE id < $1)",
        )
        .bind(END)
        .fetch_one(&mut *step)
        .await
        .map_err(fault)?;
        if theirs != ours {
            return Err(EngineError::Damaged(format!(
                "log_entries_python has {theirs} rows, {ours} were taken over: keep the table, and report this"
            )));
        }
        sqlx::query("INSERT INTO former (rows) VALUES ($1)")
            .bind(ours)
            .execute(&mut *step)
            .await
            .map_err(fault)?;
        step.commit().await.map_err(fault)?;
        tracing::info!(
            rows = ours,
            "the log of the Python Helm is here; its table log_entries_python may be dropped (service_status_python and service_metrics_python may not: service_status and service_metrics show them)"
        );
        Ok(())
    }
}

/// Nanoseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

async fn contents_of(connection: &mut PgConnection, open: PartitionId) -> Result<Contents, sqlx::Error> {
    let (rows, bytes, low, high): (i32, i64, Option<i64>, Option<i64>) =
        sqlx::query_as("SELECT rows, bytes, at_low, at_high FROM partition WHERE id = $1")
            .bind(key(open))
            .fetch_one(connection)
            .await?;
    // Which services are in it, the counts in the database say.
    let contents = Contents::empty();
    Ok(Contents { rows: rows.cast_unsigned(), bytes: bytes.cast_unsigned(), at: low.zip(high), ..contents })
}

/// id, microseconds (where nanoseconds since 1970 can say them), time as text, service, level, message, context, trace, user, hostname, process
type PythonRow = (
    i64,
    Option<i64>,
    String,
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i32>,
);

fn entry(row: PythonRow) -> (EntryId, NewEntry) {
    let (id, micros, stamp, service, word, message, context, trace, user, hostname, process) = row;
    let (level, context, mut flags) = match fold(&word) {
        Some(level) => (level, context, 0),
        None => (Level::Info, with_original(context, "original_level", &word), flag::REPAIRED),
    };
    let (at, context) = match micros {
        Some(micros) => (micros.saturating_mul(1000), context),
        // Infinite, or centuries away.
        None => {
            flags |= flag::REPAIRED;
            (0, with_original(context, "original_timestamp", &stamp))
        }
    };
    let body = NewEntry {
        service,
        at,
        seen: at,
        level,
        source: Source::Former,
        stream: 0,
        flags,
        message,
        plain: None,
        context,
        trace,
        user,
        hostname,
        process,
    };
    (EntryId(id), body)
}

/// The level that a word means.
fn fold(word: &str) -> Option<Level> {
    let word = word.trim();
    Level::from_word(word).or_else(|| match word.to_ascii_uppercase().as_str() {
        "WARN" => Some(Level::Warning),
        "FATAL" => Some(Level::Critical),
        "ERR" => Some(Level::Error),
        "TRACE" | "NOTSET" => Some(Level::Debug),
        "NOTICE" => Some(Level::Info),
        _ => None,
    })
}

/// The context with what could not be kept as it was. A context that is no object is kept under `context`.
fn with_original(context: Option<String>, key: &str, original: &str) -> Option<String> {
    let value = context.and_then(|context| serde_json::from_str::<serde_json::Value>(&context).ok());
    let mut object = match value {
        None | Some(serde_json::Value::Null) => serde_json::Map::new(),
        Some(serde_json::Value::Object(object)) => object,
        Some(other) => serde_json::Map::from_iter([("context".to_owned(), other)]),
    };
    object.insert(key.to_owned(), original.into());
    Some(serde_json::Value::Object(object).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_folded_and_what_is_none_is_kept_in_the_context() {
        for (word, level) in
            [("warn", Level::Warning), ("Critical", Level::Critical), (" FATAL", Level::Critical)]
        {
            assert_eq!(fold(word), Some(level));
        }
        assert_eq!(fold("LOUD"), None);
        let with_level = |context, word| with_original(context, "original_level", word).unwrap();
        assert_eq!(with_level(None, "LOUD"), r#"{"original_level":"LOUD"}"#);
        let kept = with_level(Some("[1]".into()), "x");
        assert_eq!(kept, r#"{"context":[1],"original_level":"x"}"#);
    }
}
