//! What others write into a shared PostgreSQL (and what is taken over from the Python Helm) is seen here without a restart.

use std::time::Duration;

use helm_store::postgres::PgEngine;
use tokio::time::{Instant, sleep_until};

use super::{Opened, Store};

/// Between two looks, each one small question.
const EVERY: Duration = Duration::from_secs(5);

/// Looks until helmd leaves.
pub(super) async fn watch(store: Store) {
    store
        .while_open(|opened| async move {
            // Of SQLite there are no others.
            if let Some(postgres) = &opened.postgres {
                look(&opened, postgres).await;
            }
        })
        .await;
}

async fn look(opened: &Opened, postgres: &PgEngine) {
    let mut seen = (0, 0);
    loop {
        if let Some(now) = changed(postgres, seen).await
            && opened.writer.live().refresh(&*opened.engine).await.is_ok()
        {
            seen = now;
        }
        sleep_until(Instant::now() + EVERY).await;
    }
}

/// What others have now, if that is something else.
async fn changed(postgres: &PgEngine, seen: (i64, i64)) -> Option<(i64, i64)> {
    // A database that is away is told of by whoever needs it.
    let now = postgres.others().await.ok()?;
    (now != seen).then_some(now)
}
