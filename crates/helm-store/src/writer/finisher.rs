//! Finishes sealed partitions behind the task that writes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::LogEngine;
use crate::id::PartitionId;
use crate::live::Live;

/// Builds the dear indexes of sealed partitions, one at a time.
pub(super) struct Finisher {
    pub(super) engine: Arc<dyn LogEngine>,
    pub(super) live: Arc<Live>,
    pub(super) retry: Duration,
}

impl Finisher {
    /// Ends with the writer that sends, or at once when it is told to: what is cut short is finished after the next start.
    pub(super) async fn run(self, mut sealed: mpsc::Receiver<PartitionId>, stop: CancellationToken) {
        let work = async {
            while let Some(id) = sealed.recv().await {
                self.finish(id).await;
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    async fn finish(&self, id: PartitionId) {
        loop {
            match self.engine.finish(id).await {
                Ok(()) => {
                    let disk = self.engine.disk(id).await.unwrap_or(0);
                    self.live.finished(id, disk);
                    return;
                }
                Err(error) if error.passes() => {
                    tokio::time::sleep_until(Instant::now() + self.retry).await;
                }
                Err(error) => {
                    tracing::warn!(partition = %id, %error, "a closed partition of the log got no indexes; searches in it are slower");
                    return;
                }
            }
        }
    }
}
