//! States and events.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Postgres, QueryBuilder};

use super::{PgEngine, without_nul};
use crate::engine::Answer;
use crate::history::{EventFilter, EventRow, HistoryEngine, STATES, StateColumns, StatusRow};

impl HistoryEngine for PgEngine {
    fn put_status<'a>(&'a self, rows: &'a [StatusRow]) -> Answer<'a, ()> {
        let instance = self.number();
        // The last of each service: a statement must not touch a row twice.
        let rows: BTreeMap<&str, &StatusRow> = rows.iter().map(|row| (row.service.as_str(), row)).collect();
        let rows: Vec<&StatusRow> = rows.into_values().collect();
        Box::pin(self.shared.keep("keeping the states of services", async move |connection| {
            let text = |value: &Option<String>| value.as_deref().map(without_nul);
            sqlx::query(
                "INSERT INTO status SELECT $1, u.* FROM unnest($2::text[], $3::text[], $4::integer[], $5::integer[], $6::bigint[],
                     $7::bigint[], $8::text[], $9::text[], $10::float8[], $11::float8[]) u
                 ON CONFLICT (instance, service) DO UPDATE SET status = excluded.status, pid = excluded.pid, port = excluded.port,
                     started_at = excluded.started_at, checked_at = excluded.checked_at, health = excluded.health,
                     health_message = excluded.health_message, cpu_percent = excluded.cpu_percent, memory_mb = excluded.memory_mb",
            )
            .bind(instance)
            .bind(rows.iter().map(|r| without_nul(&r.service)).collect::<Vec<_>>())
            .bind(rows.iter().map(|r| without_nul(&r.status)).collect::<Vec<_>>())
            .bind(rows.iter().map(|r| r.pid).collect::<Vec<_>>())
            .bind(rows.iter().map(|r| r.port).collect::<Vec<_>>())
            .bind(rows.iter().map(|r| r.started_at).collect::<Vec<_>>())
            .bind(rows.iter().map(|r| r.checked_at).collect::<Vec<_>>())
            .bind(rows.iter().map(|r| text(&r.health)).collect::<Vec<_>>())
            .bind(rows.iter().map(|r| text(&r.health_message)).collect::<Vec<_>>())
            .bind(rows.iter().map(|r| r.cpu_percent).collect::<Vec<_>>())
            .bind(rows.iter().map(|r| r.memory_mb).collect::<Vec<_>>())
            .execute(connection)
            .await?;
            Ok(())
        }))
    }

    fn states(&self) -> Answer<'_, Vec<StatusRow>> {
        Box::pin(async {
            let sql =
                format!("SELECT {STATES} FROM status WHERE instance = $1 ORDER BY service COLLATE \"C\"");
            let rows: Vec<StateColumns> = sqlx::query_as(AssertSqlSafe(sql))
                .bind(self.number())
                .fetch_all(&self.shared.readers)
                .await
                .map_err(|e| self.shared.fault("reading the states of services", e))?;
            Ok(rows.into_iter().map(StatusRow::from).collect())
        })
    }

    fn put_events<'a>(&'a self, rows: &'a [EventRow]) -> Answer<'a, ()> {
        let instance = self.number();
        Box::pin(self.shared.keep("keeping events", async move |connection| {
            let column = |text: fn(&EventRow) -> &str| rows.iter().map(|row| without_nul(text(row))).collect::<Vec<_>>();
            sqlx::query(
                "INSERT INTO event (instance, id, at, service, kind, body)
                 SELECT $1, u.* FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[]) u ON CONFLICT DO NOTHING",
            )
            .bind(instance)
            .bind(rows.iter().map(|row| row.id.cast_signed()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.at).collect::<Vec<_>>())
            .bind(column(|row| &row.service))
            .bind(column(|row| &row.kind))
            .bind(column(|row| &row.body))
            .execute(connection)
            .await?;
            Ok(())
        }))
    }

    fn last_event(&self) -> Answer<'_, u64> {
        Box::pin(async {
            let last: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM event WHERE instance = $1")
                .bind(self.number())
                .fetch_one(&self.shared.readers)
                .await
                .map_err(|e| self.shared.fault("reading events", e))?;
            Ok(last.cast_unsigned())
        })
    }

    fn events<'a>(&'a self, filter: &'a EventFilter) -> Answer<'a, Vec<EventRow>> {
        Box::pin(async {
            let mut sql = QueryBuilder::<Postgres>::new(
                "SELECT id, at, service, kind, body FROM event WHERE instance = ",
            );
            sql.push_bind(self.number());
            if let Some(before) = filter.before {
                sql.push(" AND id < ").push_bind(before.cast_signed());
            }
            if let Some(since) = filter.since {
                sql.push(" AND at >= ").push_bind(since);
            }
            if let Some(until) = filter.until {
                sql.push(" AND at < ").push_bind(until);
            }
            if !filter.services.is_empty() {
                sql.push(" AND service = ANY (")
                    .push_bind(filter.services.iter().map(|name| without_nul(name)).collect::<Vec<_>>())
                    .push(")");
            }
            if let Some(kind) = &filter.kind {
                sql.push(" AND kind = ").push_bind(without_nul(kind));
            }
            sql.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(filter.limit));
            let rows: Vec<(i64, i64, String, String, String)> = sql
                .build_query_as()
                .fetch_all(&self.shared.readers)
                .await
                .map_err(|e| self.shared.fault("reading events", e))?;
            Ok(rows.into_iter().map(EventRow::from).collect())
        })
    }

    fn forget_events(&self, before: i64) -> Answer<'_, u64> {
        let sql = "DELETE FROM event WHERE ctid = ANY (ARRAY(SELECT ctid FROM event WHERE instance = $1 AND at < $2 LIMIT $3))";
        Box::pin(self.forget_all(sql.into(), before))
    }
}
