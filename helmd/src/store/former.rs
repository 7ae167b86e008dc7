//! The rows of the Python Helm come over in the background, however often it takes.

use std::sync::Arc;
use std::time::Duration;

use helm_store::engine::LogEngine as _;
use helm_store::id::Instance;
use helm_store::postgres::PgEngine;
use helm_store::postgres::former::Former;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::open::in_words;

/// First and longest pause between two tries.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Takes over until all rows are here and indexed, or helmd leaves. A kill is resumed at the next start.
pub(super) async fn take_over(engine: Arc<PgEngine>, stop: CancellationToken) {
    let (mut pause, longest) = RETRY;
    let mut said = None;
    loop {
        match step(&engine, &stop).await {
            Ok(true) => return,
            // Another helmd is at it, or the server has not noticed yet that the last one of this home is gone.
            Ok(false) => {}
            Err(why) if said.as_ref() == Some(&why) => {}
            Err(why) => {
                tracing::error!(
                    "the rows of the Python Helm are not taken over yet: {why}; this is tried again"
                );
                said = Some(why);
            }
        }
        if stop.run_until_cancelled(sleep_until(Instant::now() + pause)).await.is_none() {
            return;
        }
        pause = (pause * 2).min(longest);
    }
}

/// `true`: there is nothing left to do.
async fn step(engine: &PgEngine, stop: &CancellationToken) -> Result<bool, String> {
    match engine.take_over(stop).await.map_err(|e| in_words(&e))? {
        Former::None | Former::Stopped { .. } => return Ok(true),
        Former::Elsewhere => return Ok(false),
        Former::Complete { .. } => {}
    }
    for partition in engine.unfinished(Instance::FORMER).await.map_err(|e| in_words(&e))? {
        let finished = stop.run_until_cancelled(engine.finish(partition)).await;
        finished.transpose().map_err(|e| in_words(&e))?;
    }
    Ok(true)
}
