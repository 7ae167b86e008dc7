//! Finishes sealed partitions behind the task that writes.

use std::collections::HashSet;
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
    /// Does all that there is to do, at each word that something was sealed, and at the first one: what the process before left, or somebody who
    /// brought partitions over. Ends with the writer that sends, or at once when it is told to: what is cut short is finished after the next start.
    pub(super) async fn run(self, mut sealed: mpsc::Receiver<()>, stop: CancellationToken) {
        let work = async {
            let mut given_up = HashSet::new();
            while let Some(()) = sealed.recv().await {
                for id in self.unfinished().await {
                    if !given_up.contains(&id) && !self.finish(id).await {
                        given_up.insert(id);
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    async fn unfinished(&self) -> Vec<PartitionId> {
        loop {
            match self.engine.unfinished(self.engine.instance()).await {
                Ok(all) => return all,
                Err(error) if error.passes() => self.pause().await,
                Err(error) => {
                    tracing::warn!(%error, "which closed partitions of the log have no indexes is not known; it is asked again when the next one is closed");
                    return Vec::new();
                }
            }
        }
    }

    /// `false`: it cannot be finished.
    async fn finish(&self, id: PartitionId) -> bool {
        loop {
            match self.engine.finish(id).await {
                Ok(()) => {
                    let disk = self.engine.disk(id).await.unwrap_or(0);
                    self.live.finished(id, disk);
                    return true;
                }
                Err(error) if error.passes() => self.pause().await,
                Err(error) => {
                    tracing::warn!(partition = %id, %error, "a closed partition of the log got no indexes; searches in it are slower");
                    return false;
                }
            }
        }
    }

    async fn pause(&self) {
        tokio::time::sleep_until(Instant::now() + self.retry).await;
    }
}
