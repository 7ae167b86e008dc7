//! What a sealed segment gets: dear indexes, packed counts, no journal, no write bit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::sqlite::SqliteJournalMode;
use sqlx::{Connection as _, Executor as _};

use super::connect::{self, Readers};
use super::error::engine_error;
use super::segment::Segment;
use super::{files, migrate, read, stale};
use crate::engine::EngineError;
use crate::packed::Packed;

/// Sorted at once, they cost a fraction of what each insert would pay for them. With the time, for pages come in its order.
const INDEXES: &str = "
    PRAGMA analysis_limit = 1000;
    BEGIN IMMEDIATE;
    CREATE INDEX IF NOT EXISTS entry_user ON entry (user, at) WHERE user IS NOT NULL;
    CREATE INDEX IF NOT EXISTS entry_trace ON entry (trace, at) WHERE trace IS NOT NULL;
    ANALYZE;
    COMMIT;";

/// How long the last readers are waited for; they hold up new ones meanwhile.
const PATIENCE: Duration = Duration::from_millis(200);

/// Finishes a segment. May be done again: what is done is left.
pub(super) async fn finish(readers: &Arc<Readers>, segment: &Arc<Segment>) -> Result<(), EngineError> {
    if segment.with(|record| record.seal.is_none()) {
        return Err(stale(format!(
            "`{}` is open: only sealed partitions are finished",
            segment.path.display()
        )));
    }
    if segment.is_finished() {
        return Ok(());
    }
    let path = segment.path.clone();
    let failed = |e| engine_error("could not finish", &segment.path, e);
    let writable = path.clone();
    files::off(move || files::make_writable(&writable)).await?;
    let mut connection = connect::writer(&path, SqliteJournalMode::Wal).await?;
    migrate::migrate(&mut connection, &path, migrate::SEGMENT).await?;
    let counts = read::counts_from(&mut connection, segment, i64::MIN, i64::MAX).await?;
    sqlx::query("INSERT OR REPLACE INTO packed (one, bytes) VALUES (1, ?)")
        .bind(Packed::of(&counts).bytes())
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    // Last: by them a finished segment is known.
    connection.execute(INDEXES).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;

    // A write-ahead log cannot be left while anybody has the file open.
    let Ok(alone) = tokio::time::timeout(PATIENCE, segment.using.clone().write_owned()).await else {
        return Err(EngineError::Away(format!("`{}` is being read; it is finished later", path.display())));
    };
    readers.forget(segment).await;
    let connection = connect::writer(&path, SqliteJournalMode::Delete).await?;
    connection.close().await.map_err(failed)?;
    files::off(move || files::make_read_only(&path)).await?;
    segment.finished.store(true, Ordering::Release);
    drop(alone);
    Ok(())
}
