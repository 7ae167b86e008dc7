//! Brings what waits to the database: in order, several in a transaction, each once.
//!
//! One transaction at a time, and after whatever went wrong the database is asked which position it has: so it does not matter what became of the
//! one before, and the next may be cut differently.

use std::convert::Infallible;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::Queue;
use super::file::Row;
use super::keeper::Ask;
use crate::engine::EngineError;
use crate::partition::Class;
use crate::writer::{Append, AppendError, Health, Part, Queued, Receipt, Stall, WriterHandle};

impl Queue {
    /// Brings what waits, and what comes, to the database of `writer`, until one of the two ends.
    pub async fn drain(&self, writer: &WriterHandle) -> AppendError {
        let mut said = None;
        loop {
            let stopped = match self.bring(writer).await {
                Ok(never) => match never {},
                Err(stopped) => stopped,
            };
            if stopped == AppendError::Closed && self.asks.is_closed() {
                return stopped;
            }
            // A database that is away is told of by the writer.
            let word = Some(stopped.to_string()).filter(|_| !matches!(stopped, AppendError::Later { .. }));
            if word != said {
                said = word;
                said.iter().for_each(|why| tracing::warn!("the local queue waits: {why}"));
            }
            sleep_until(Instant::now() + self.options.retry).await;
        }
    }

    async fn bring(&self, writer: &WriterHandle) -> Result<Infallible, AppendError> {
        let mut position = writer.queue().await?;
        self.ask(|answer| Ask::Begin(position, answer)).await?;
        let (mut waits, mut health) = (self.watch(), writer.health());
        loop {
            waits.wait_for(|status| status.appends > 0).await.map_err(|_| AppendError::Closed)?;
            // A database that refuses may do so because of what is brought: only bringing it tells.
            let well =
                |health: &Health| !matches!(health, Health::Stalled { stall: Stall::Away | Stall::Full, .. });
            health.wait_for(well).await.map_err(|_| AppendError::Closed)?;
            let rows = self.ask(|answer| Ask::Next(position, answer)).await?;
            let Some(last) = rows.last() else {
                // All that waits has been brought, and could not be taken away then.
                self.forget(position).await?;
                continue;
            };
            let next = last.n;
            let _writing = self.gate.writing(rows.len() as u64);
            let receipt = write(writer, rows).await?;
            for refusal in receipt.refused {
                tracing::error!("an entry of the local queue cannot be stored: {}", refusal.reason);
            }
            position = next;
            self.forget(position).await?;
        }
    }

    async fn forget(&self, position: u64) -> Result<(), AppendError> {
        self.ask(|answer| Ask::Forget(position, answer)).await
    }

    async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, EngineError>>) -> Ask,
    ) -> Result<T, AppendError> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(ask(answer)).await.map_err(|_| AppendError::Closed)?;
        let answered = answered.await.map_err(|_| AppendError::Closed)?;
        answered.map_err(|e| AppendError::Failed(e.to_string()))
    }
}

async fn write(writer: &WriterHandle, rows: Vec<Row>) -> Result<Receipt, AppendError> {
    let append = joined(rows);
    match writer.append(append.clone()).await {
        // Acknowledged before it could be known that there are too many classes.
        Err(AppendError::Class(name)) => {
            tracing::warn!("no more classes: what waited for `{name}` goes to `{}`", Class::DEFAULT);
            writer.append(Append { class: Class::default_class(), ..append }).await
        }
        answer => answer,
    }
}

fn joined(rows: Vec<Row>) -> Append {
    let class = rows.first().map_or_else(Class::default_class, |row| row.class.clone());
    let position = rows.last().map_or(0, |row| row.n);
    let (mut entries, mut parts) = (Vec::new(), Vec::with_capacity(rows.len()));
    for row in rows {
        parts.push(Part { entries: row.entries.len(), once: row.once });
        entries.extend(row.entries);
    }
    Append { class, entries, cursors: Vec::new(), once: None, queue: Some(Queued { position, parts }) }
}
