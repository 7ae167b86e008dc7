//! The index of warnings and graver entries, for partitions that were there before it.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Whoever builds one lets no second one do the same ("grav" in ASCII).
const LOCK: i64 = 0x6772_6176;

/// Partitions whose index is missing and may be made by this role.
const NEXT: &str = "SELECT c.relname::text FROM pg_inherits p JOIN pg_class c ON c.oid = p.inhrelid
     WHERE p.inhparent = to_regclass('public.entry') AND to_regclass('public.entry_grave') IS NOT NULL AND pg_has_role(c.relowner, 'USAGE')
     AND NOT EXISTS (SELECT 1 FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhrelid
                     WHERE i.inhparent = to_regclass('public.entry_grave') AND x.indrelid = c.oid)
     ORDER BY c.oid DESC LIMIT 1";

/// Builds the index in each partition that lacks it, newest first, in transactions of their own: only who writes into that very partition waits.
pub(super) async fn complete(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    // Read without the lock first: mostly there is nothing to do.
    while next(connection).await?.is_some() {
        let mut step = connection.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *step).await?;
        if let Some(table) = next(&mut step).await? {
            // Made of numbers by Helm's own functions: safe in a statement.
            let sql = format!(
                "CREATE INDEX {table}_grave ON public.{table} (level, at, id, service) WHERE level >= 13;
                 ALTER INDEX public.entry_grave ATTACH PARTITION public.{table}_grave"
            );
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *step).await?;
        }
        step.commit().await?;
    }
    Ok(())
}

async fn next(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(NEXT).fetch_optional(connection).await
}
