//! States and events in `main.db`.

use sqlx::{AssertSqlSafe, Connection as _, QueryBuilder, Sqlite};

use super::SqliteEngine;
use crate::engine::Answer;
use crate::history::{EventFilter, EventRow, HistoryEngine, STATES, StateColumns, StatusRow};

/// Rows of one statement.
const ROWS: usize = 200;

impl HistoryEngine for SqliteEngine {
    fn put_status<'a>(&'a self, rows: &'a [StatusRow]) -> Answer<'a, ()> {
        Box::pin(self.main.write("could not keep the states of services", async |connection| {
            let mut step = connection.begin_with("BEGIN IMMEDIATE").await?;
            for rows in rows.chunks(ROWS) {
                let mut sql = QueryBuilder::<Sqlite>::new(
                    "INSERT OR REPLACE INTO status (service, status, pid, port, started_at, checked_at, health, health_message,
                     cpu_percent, memory_mb) ",
                );
                sql.push_values(rows, |mut row, s| {
                    row.push_bind(&s.service).push_bind(&s.status).push_bind(s.pid).push_bind(s.port);
                    row.push_bind(s.started_at).push_bind(s.checked_at);
                    row.push_bind(&s.health).push_bind(&s.health_message);
                    row.push_bind(s.cpu_percent).push_bind(s.memory_mb);
                });
                sql.build().execute(&mut *step).await?;
            }
            step.commit().await
        }))
    }

    fn states(&self) -> Answer<'_, Vec<StatusRow>> {
        Box::pin(self.main.read("could not read the states of services", async |connection| {
            let sql = format!("SELECT {STATES} FROM status ORDER BY service");
            let rows: Vec<StateColumns> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(connection).await?;
            Ok(rows.into_iter().map(StatusRow::from).collect())
        }))
    }

    fn put_events<'a>(&'a self, rows: &'a [EventRow]) -> Answer<'a, ()> {
        Box::pin(self.main.write("could not keep events", async |connection| {
            let mut step = connection.begin_with("BEGIN IMMEDIATE").await?;
            for rows in rows.chunks(ROWS) {
                let mut sql =
                    QueryBuilder::<Sqlite>::new("INSERT OR IGNORE INTO event (id, at, service, kind, body) ");
                sql.push_values(rows, |mut row, e| {
                    row.push_bind(e.id.cast_signed()).push_bind(e.at);
                    row.push_bind(&e.service).push_bind(&e.kind).push_bind(&e.body);
                });
                sql.build().execute(&mut *step).await?;
            }
            step.commit().await
        }))
    }

    fn last_event(&self) -> Answer<'_, u64> {
        Box::pin(self.main.read("could not read events", async |connection| {
            let last: i64 =
                sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM event").fetch_one(connection).await?;
            Ok(last.cast_unsigned())
        }))
    }

    fn events<'a>(&'a self, filter: &'a EventFilter) -> Answer<'a, Vec<EventRow>> {
        Box::pin(self.main.read("could not read events", async |connection| {
            let mut sql =
                QueryBuilder::<Sqlite>::new("SELECT id, at, service, kind, body FROM event WHERE id < ");
            sql.push_bind(filter.before.map_or(i64::MAX, u64::cast_signed));
            if let Some(since) = filter.since {
                sql.push(" AND at >= ").push_bind(since);
            }
            if let Some(until) = filter.until {
                sql.push(" AND at < ").push_bind(until);
            }
            if !filter.services.is_empty() {
                // As one value: a list may be longer than variables are allowed.
                let names = serde_json::Value::from(filter.services.clone()).to_string();
                sql.push(" AND service IN (SELECT value FROM json_each(").push_bind(names).push("))");
            }
            if let Some(kind) = &filter.kind {
                sql.push(" AND kind = ").push_bind(kind);
            }
            sql.push(" ORDER BY id DESC LIMIT ").push_bind(filter.limit);
            let rows: Vec<(i64, i64, String, String, String)> =
                sql.build_query_as().fetch_all(connection).await?;
            Ok(rows.into_iter().map(EventRow::from).collect())
        }))
    }

    fn forget_events(&self, before: i64) -> Answer<'_, u64> {
        let sql = "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE at < ? LIMIT ?)";
        Box::pin(self.forget_all(sql.into(), before))
    }
}
