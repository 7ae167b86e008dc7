//! Numbers over time. Written on a connection of their own: the log does not wait for them.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{PgEngine, without_nul};
use crate::engine::{Answer, EngineError};
use crate::metrics::engine::{
    Batch, Block, Cutoff, MetricEngine, PIECE, SeriesId, SeriesKey, Tier, Unrolled, tags_of, tags_text,
};
use crate::metrics::rollup::Rollup;

/// `(series, hour, bytes)`
type BlockRow = (i32, i64, Vec<u8>);
/// `(at, count, sum, min, max, last)`
type RollupRow = (i64, i32, f64, f64, f64, f64);

impl MetricEngine for PgEngine {
    fn series(&self) -> Answer<'_, Vec<(SeriesId, SeriesKey)>> {
        Box::pin(async {
            let rows: Vec<(i32, String, String, String)> = sqlx::query_as(
                "SELECT id, service, metric, tags FROM metric_series WHERE instance = $1 ORDER BY id",
            )
            .bind(self.number())
            .fetch_all(&self.shared.readers)
            .await
            .map_err(|e| self.shared.fault("reading the series of numbers", e))?;
            Ok(rows.into_iter().map(named).collect())
        })
    }

    fn unrolled(&self) -> Answer<'_, Unrolled> {
        Box::pin(async {
            let fault = |e| self.shared.fault("reading the latest numbers", e);
            // One look into the index for each series.
            let rolled: Option<i64> = sqlx::query_scalar(
                "SELECT max((SELECT max(at) FROM metric_hour h WHERE h.instance = s.instance AND h.series = s.id))
                 FROM metric_series s WHERE s.instance = $1",
            )
            .bind(self.number())
            .fetch_one(&self.shared.readers)
            .await
            .map_err(fault)?;
            let blocks: Vec<BlockRow> = sqlx::query_as(
                "SELECT series, hour, bytes FROM metric_block WHERE instance = $1 AND hour > $2 ORDER BY hour, series",
            )
            .bind(self.number())
            .bind(rolled.unwrap_or(i64::MIN))
            .fetch_all(&self.shared.readers)
            .await
            .map_err(fault)?;
            Ok(Unrolled { rolled, blocks: blocks.into_iter().map(block).collect() })
        })
    }

    fn put<'a>(&'a self, batch: &'a Batch) -> Answer<'a, ()> {
        let instance = self.number();
        Box::pin(self.shared.keep("keeping numbers", async move |connection| {
            let mut step = connection.begin().await?;
            put(&mut step, instance, batch).await?;
            step.commit().await
        }))
    }

    fn blocks(&self, series: SeriesId, from: i64, to: i64) -> Answer<'_, Vec<Block>> {
        Box::pin(async move {
            // Hour by hour through the index, past the other series.
            let rows: Vec<BlockRow> = sqlx::query_as(
                "WITH RECURSIVE h (hour) AS (
                     SELECT min(hour) FROM metric_block WHERE instance = $1 AND hour >= $2 AND hour < $3
                     UNION ALL
                     SELECT (SELECT min(hour) FROM metric_block b WHERE b.instance = $1 AND b.hour > h.hour AND b.hour < $3)
                     FROM h WHERE h.hour IS NOT NULL)
                 SELECT b.series, b.hour, b.bytes
                 FROM h JOIN metric_block b ON b.instance = $1 AND b.hour = h.hour AND b.series = $4 ORDER BY b.hour",
            )
            .bind(self.number())
            .bind(from)
            .bind(to)
            .bind(series.cast_signed())
            .fetch_all(&self.shared.readers)
            .await
            .map_err(|e| self.shared.fault("reading raw numbers", e))?;
            Ok(rows.into_iter().map(block).collect())
        })
    }

    fn rollups(&self, series: SeriesId, tier: Tier, from: i64, to: i64) -> Answer<'_, Vec<Rollup>> {
        Box::pin(async move {
            let rows: Vec<RollupRow> = sqlx::query_as(AssertSqlSafe(format!(
                "SELECT at, count, sum, min, max, last FROM {}
                 WHERE instance = $1 AND series = $2 AND at >= $3 AND at < $4 ORDER BY at",
                tier.table()
            )))
            .bind(self.number())
            .bind(series.cast_signed())
            .bind(from)
            .bind(to)
            .fetch_all(&self.shared.readers)
            .await
            .map_err(|e| self.shared.fault("reading numbers", e))?;
            Ok(rows.into_iter().map(rollup).collect())
        })
    }

    fn forget(&self, cutoff: Cutoff) -> Answer<'_, u64> {
        Box::pin(async move {
            let blocks = "DELETE FROM metric_block WHERE ctid = ANY (ARRAY(
                              SELECT ctid FROM metric_block WHERE instance = $1 AND hour < $2 LIMIT $3))";
            let mut gone = self.forget_all(blocks.into(), cutoff.raw).await?;
            for (tier, before) in [(Tier::Minute, cutoff.minutes), (Tier::Hour, cutoff.hours)] {
                let table = tier.table();
                // Series by series through the index: there is none by time alone.
                let sql = format!(
                    "DELETE FROM {table} WHERE ctid = ANY (ARRAY(
                         SELECT n.place FROM metric_series s CROSS JOIN LATERAL
                             (SELECT ctid AS place FROM {table} WHERE instance = $1 AND series = s.id AND at < $2 LIMIT $3) n
                         WHERE s.instance = $1 LIMIT $3))"
                );
                gone += self.forget_all(sql, before).await?;
            }
            Ok(gone)
        })
    }
}

impl PgEngine {
    pub(super) fn number(&self) -> i16 {
        self.instance.0.cast_signed()
    }

    /// Takes rows away in pieces; between two of them others may write.
    pub(super) async fn forget_all(&self, sql: String, before: i64) -> Result<u64, EngineError> {
        let mut gone = 0;
        loop {
            let rows = self
                .shared
                .keep("taking away what is too old", async |connection| {
                    let statement = sqlx::query(AssertSqlSafe(sql.as_str()));
                    let done =
                        statement.bind(self.number()).bind(before).bind(i64::from(PIECE)).execute(connection);
                    Ok(done.await?.rows_affected())
                })
                .await?;
            gone += rows;
            if rows < u64::from(PIECE) {
                return Ok(gone);
            }
        }
    }
}

fn named((id, service, metric, tags): (i32, String, String, String)) -> (SeriesId, SeriesKey) {
    (id.cast_unsigned(), SeriesKey { service, metric, tags: tags_of(&tags) })
}

fn block((series, hour, bytes): BlockRow) -> Block {
    Block { series: series.cast_unsigned(), hour, bytes }
}

fn rollup((at, count, sum, min, max, last): RollupRow) -> Rollup {
    Rollup { at, count: count.cast_unsigned(), sum, min, max, last }
}

/// The last of those with one key: a statement must not touch a row twice.
fn last_of_each<T, K: Ord>(items: &[T], key: impl Fn(&T) -> K) -> Vec<&T> {
    items.iter().map(|item| (key(item), item)).collect::<BTreeMap<_, _>>().into_values().collect()
}

async fn put(connection: &mut PgConnection, instance: i16, batch: &Batch) -> Result<(), sqlx::Error> {
    let series = last_of_each(&batch.series, |(id, _)| *id);
    if !series.is_empty() {
        let column =
            |text: fn(&SeriesKey) -> String| series.iter().map(|(_, key)| text(key)).collect::<Vec<_>>();
        sqlx::query(
            "INSERT INTO metric_series SELECT $1, u.* FROM unnest($2::integer[], $3::text[], $4::text[], $5::text[]) u
             ON CONFLICT (instance, id) DO UPDATE SET service = excluded.service, metric = excluded.metric, tags = excluded.tags",
        )
        .bind(instance)
        .bind(series.iter().map(|(id, _)| id.cast_signed()).collect::<Vec<_>>())
        .bind(column(|key| without_nul(&key.service)))
        .bind(column(|key| without_nul(&key.metric)))
        .bind(column(|key| tags_text(&key.tags)))
        .execute(&mut *connection)
        .await?;
    }
    let blocks = last_of_each(&batch.blocks, |block| (block.hour, block.series));
    if !blocks.is_empty() {
        sqlx::query(
            "INSERT INTO metric_block (instance, hour, series, bytes) SELECT $1, u.* FROM unnest($2::bigint[], $3::integer[], $4::bytea[]) u
             ON CONFLICT (instance, hour, series) DO UPDATE SET bytes = excluded.bytes",
        )
        .bind(instance)
        .bind(blocks.iter().map(|b| b.hour).collect::<Vec<_>>())
        .bind(blocks.iter().map(|b| b.series.cast_signed()).collect::<Vec<_>>())
        .bind(blocks.iter().map(|b| b.bytes.as_slice()).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    }
    put_rollups(connection, instance, Tier::Minute, &batch.minutes).await?;
    put_rollups(connection, instance, Tier::Hour, &batch.hours).await
}

async fn put_rollups(
    connection: &mut PgConnection,
    instance: i16,
    tier: Tier,
    rows: &[(SeriesId, Rollup)],
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows = last_of_each(rows, |(series, rollup)| (*series, rollup.at));
    let column = |value: fn(&Rollup) -> f64| rows.iter().map(|(_, r)| value(r)).collect::<Vec<_>>();
    sqlx::query(AssertSqlSafe(format!(
        "INSERT INTO {} (instance, series, at, count, sum, min, max, last)
         SELECT $1, u.* FROM unnest($2::integer[], $3::bigint[], $4::integer[], $5::float8[], $6::float8[], $7::float8[], $8::float8[]) u
         ON CONFLICT (instance, series, at) DO UPDATE
         SET count = excluded.count, sum = excluded.sum, min = excluded.min, max = excluded.max, last = excluded.last",
        tier.table()
    )))
    .bind(instance)
    .bind(rows.iter().map(|(series, _)| series.cast_signed()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, r)| r.at).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, r)| r.count.cast_signed()).collect::<Vec<_>>())
    .bind(column(|r| r.sum))
    .bind(column(|r| r.min))
    .bind(column(|r| r.max))
    .bind(column(|r| r.last))
    .execute(connection)
    .await?;
    Ok(())
}
