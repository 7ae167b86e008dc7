//! Numbers over time in `main.db`.

use sqlx::{AssertSqlSafe, Connection as _, QueryBuilder, Sqlite, SqliteConnection};

use super::SqliteEngine;
use crate::engine::Answer;
use crate::metrics::engine::{
    Batch, Block, Cutoff, MetricEngine, PIECE, SeriesId, SeriesKey, Tier, Unrolled, tags_of, tags_text,
};
use crate::metrics::rollup::Rollup;

/// Rows of one statement: few trips to the connection's thread, and far from the limit of variables.
const ROWS: usize = 200;

impl MetricEngine for SqliteEngine {
    fn series(&self) -> Answer<'_, Vec<(SeriesId, SeriesKey)>> {
        Box::pin(self.main.read("could not read the series of numbers", async |connection| {
            let rows: Vec<(SeriesId, String, String, String)> =
                sqlx::query_as("SELECT id, service, metric, tags FROM metric_series ORDER BY id")
                    .fetch_all(connection)
                    .await?;
            Ok(rows
                .into_iter()
                .map(|(id, service, metric, tags)| (id, SeriesKey { service, metric, tags: tags_of(&tags) }))
                .collect())
        }))
    }

    fn unrolled(&self) -> Answer<'_, Unrolled> {
        Box::pin(self.main.read("could not read the latest numbers", async |connection| {
            // One look into the index for each series.
            let rolled: Option<i64> = sqlx::query_scalar(
                "SELECT max((SELECT max(at) FROM metric_hour h WHERE h.series = s.id)) FROM metric_series s",
            )
            .fetch_one(&mut *connection)
            .await?;
            let blocks = sqlx::query_as(
                "SELECT series, hour, bytes FROM metric_block WHERE hour > ? ORDER BY hour, series",
            )
            .bind(rolled.unwrap_or(i64::MIN))
            .fetch_all(connection)
            .await?;
            Ok(Unrolled { rolled, blocks: blocks.into_iter().map(block).collect() })
        }))
    }

    fn put<'a>(&'a self, batch: &'a Batch) -> Answer<'a, ()> {
        Box::pin(self.main.write("could not keep numbers", async |connection| {
            let mut step = connection.begin_with("BEGIN IMMEDIATE").await?;
            put(&mut step, batch).await?;
            step.commit().await
        }))
    }

    fn blocks(&self, series: SeriesId, from: i64, to: i64) -> Answer<'_, Vec<Block>> {
        Box::pin(self.main.read("could not read raw numbers", async move |connection| {
            // Hour by hour through the index, past the other series.
            let rows = sqlx::query_as(
                "WITH RECURSIVE h (hour) AS (
                     SELECT min(hour) FROM metric_block WHERE hour >= ?1 AND hour < ?2
                     UNION ALL
                     SELECT (SELECT min(hour) FROM metric_block b WHERE b.hour > h.hour AND b.hour < ?2) FROM h WHERE h.hour IS NOT NULL)
                 SELECT b.series, b.hour, b.bytes FROM h CROSS JOIN metric_block b ON b.hour = h.hour AND b.series = ?3",
            )
            .bind(from)
            .bind(to)
            .bind(series)
            .fetch_all(connection)
            .await?;
            Ok(rows.into_iter().map(block).collect())
        }))
    }

    fn rollups(&self, series: SeriesId, tier: Tier, from: i64, to: i64) -> Answer<'_, Vec<Rollup>> {
        Box::pin(self.main.read("could not read numbers", async move |connection| {
            let rows: Vec<(i64, u32, f64, f64, f64, f64)> = sqlx::query_as(AssertSqlSafe(format!(
                "SELECT at, count, sum, min, max, last FROM {} WHERE series = ? AND at >= ? AND at < ? ORDER BY at",
                tier.table()
            )))
            .bind(series)
            .bind(from)
            .bind(to)
            .fetch_all(connection)
            .await?;
            Ok(rows.into_iter().map(|(at, count, sum, min, max, last)| Rollup { at, count, sum, min, max, last }).collect())
        }))
    }

    fn forget(&self, cutoff: Cutoff) -> Answer<'_, u64> {
        Box::pin(async move {
            let mut gone = 0;
            let blocks = "DELETE FROM metric_block WHERE (hour, series) IN (SELECT hour, series FROM metric_block WHERE hour < ? LIMIT ?)";
            gone += self.forget_all(blocks.into(), cutoff.raw).await?;
            for (tier, before) in [(Tier::Minute, cutoff.minutes), (Tier::Hour, cutoff.hours)] {
                let table = tier.table();
                let sql = format!(
                    "DELETE FROM {table} WHERE (series, at) IN
                     (SELECT n.series, n.at FROM metric_series s CROSS JOIN {table} n ON n.series = s.id AND n.at < ? LIMIT ?)"
                );
                gone += self.forget_all(sql, before).await?;
            }
            Ok(gone)
        })
    }
}

impl SqliteEngine {
    /// Takes rows away in pieces; between two of them others may write.
    pub(super) async fn forget_all(
        &self,
        sql: String,
        before: i64,
    ) -> Result<u64, crate::engine::EngineError> {
        let mut gone = 0;
        loop {
            let rows = self
                .main
                .write("could not take away what is too old", async |connection| {
                    let statement = AssertSqlSafe(sql.as_str());
                    Ok(sqlx::query(statement)
                        .bind(before)
                        .bind(PIECE)
                        .execute(connection)
                        .await?
                        .rows_affected())
                })
                .await?;
            gone += rows;
            if rows < u64::from(PIECE) {
                return Ok(gone);
            }
            tokio::task::yield_now().await;
        }
    }
}

fn block((series, hour, bytes): (SeriesId, i64, Vec<u8>)) -> Block {
    Block { series, hour, bytes }
}

async fn put(connection: &mut SqliteConnection, batch: &Batch) -> Result<(), sqlx::Error> {
    for rows in batch.series.chunks(ROWS) {
        let mut sql = insert("INSERT OR REPLACE INTO metric_series (id, service, metric, tags) ");
        sql.push_values(rows, |mut row, (id, key)| {
            row.push_bind(id).push_bind(&key.service).push_bind(&key.metric).push_bind(tags_text(&key.tags));
        });
        sql.build().execute(&mut *connection).await?;
    }
    for rows in batch.blocks.chunks(ROWS) {
        let mut sql = insert("INSERT OR REPLACE INTO metric_block (hour, series, bytes) ");
        sql.push_values(rows, |mut row, block| {
            row.push_bind(block.hour).push_bind(block.series).push_bind(&block.bytes);
        });
        sql.build().execute(&mut *connection).await?;
    }
    for (tier, rows) in [(Tier::Minute, &batch.minutes), (Tier::Hour, &batch.hours)] {
        for rows in rows.chunks(ROWS) {
            let mut sql = insert(&format!(
                "INSERT OR REPLACE INTO {} (series, at, count, sum, min, max, last) ",
                tier.table()
            ));
            sql.push_values(rows, |mut row, (series, r)| {
                row.push_bind(series).push_bind(r.at).push_bind(r.count);
                row.push_bind(r.sum).push_bind(r.min).push_bind(r.max).push_bind(r.last);
            });
            sql.build().execute(&mut *connection).await?;
        }
    }
    Ok(())
}

fn insert(head: &str) -> QueryBuilder<Sqlite> {
    QueryBuilder::new(head)
}
