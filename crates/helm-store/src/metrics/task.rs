//! The work behind the handle: reads what is there, stores what is in hand, takes away what is too old.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::block::unpack;
use super::engine::{Batch, Cutoff};
use super::handle::{Ask, NotStored, Shared};
use super::keep::{Keep, hour};
use crate::engine::EngineError;

/// Between two flushes; also between two tries while the database is away.
const FLUSH: Duration = Duration::from_secs(60);
/// Between two tries to read the database for the first time.
const RETRY: Duration = Duration::from_secs(5);
/// What the last flush may take.
const FAREWELL: Duration = Duration::from_secs(5);

pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken, mut asks: mpsc::Receiver<Ask>) {
    let mut task = Task { shared, due: None, forgotten: i64::MIN };
    let work = async {
        // A failure is noted, and tried again.
        let _ = task.flush().await;
        loop {
            let ask = tokio::select! {
                Some(ask) = asks.recv() => Some(ask),
                () = task.due() => None,
            };
            let done = task.flush().await;
            if let Some(ask) = ask {
                // Who left does not want to know.
                let _ = ask.send(done.clone());
            }
            if done.is_ok() {
                task.forget().await;
            }
        }
    };
    // What is broken off in the middle is not stored, or stored and put again: both are the same.
    let _ = stop.run_until_cancelled(work).await;
    if timeout(FAREWELL, task.flush()).await.is_err() {
        tracing::warn!(
            "the last numbers are not stored: the database gave no answer within {} s",
            FAREWELL.as_secs()
        );
    }
}

struct Task {
    shared: Arc<Shared>,
    /// When the next flush is.
    due: Option<Instant>,
    /// Hour in which the last round of forgetting was.
    forgotten: i64,
}

impl Task {
    /// Ends when it is time to flush. While there is nothing to store, it sleeps until there is.
    async fn due(&mut self) {
        while !self.shared.busy() {
            self.shared.awake.notified().await;
        }
        let pause = if self.shared.state().keep.is_some() { FLUSH } else { RETRY };
        let due = *self.due.get_or_insert_with(|| Instant::now() + pause);
        sleep_until(due).await;
    }

    /// Stores all there is; what fails is tried again the next time.
    async fn flush(&mut self) -> Result<(), NotStored> {
        let result = self.store().await;
        self.due = None;
        let mut state = self.shared.state();
        match result {
            Ok(()) => {
                if state.fault.take().is_some() {
                    tracing::info!("numbers are stored again");
                }
                Ok(())
            }
            Err(error) => {
                let why = error.to_string();
                if state.fault.replace(why.clone()).is_none() {
                    tracing::warn!("numbers are not stored and wait in memory: {why}");
                }
                Err(NotStored(why))
            }
        }
    }

    async fn store(&mut self) -> Result<(), EngineError> {
        if self.shared.state().keep.is_none() {
            self.load().await?;
        }
        let shared = self.shared.clone();
        // Packing thousands of series takes milliseconds: not on a thread of the runtime.
        let gathered = tokio::task::spawn_blocking(move || {
            let now = (shared.clock)();
            let (mut state, mut done) = (shared.state(), Batch::default());
            if let Some(keep) = &mut state.keep {
                keep.flush(now, &mut done);
            }
            state.waiting.take_in(done);
        });
        gathered
            .await
            .map_err(|e| EngineError::Other { what: "packing numbers".into(), source: Box::new(e) })?;
        loop {
            let Some(batch) = self.shared.state().waiting.next() else { return Ok(()) };
            self.shared.engine.put(&batch).await?;
            self.shared.state().waiting.stored(&batch);
        }
    }

    /// Goes on where the last run ended.
    async fn load(&mut self) -> Result<(), EngineError> {
        let series = self.shared.engine.series().await?;
        let unrolled = self.shared.engine.unrolled().await?;
        let keys: BTreeMap<_, _> = series.iter().cloned().collect();
        let mut keep = Keep::with(series);
        let (mut done, mut latest) = (Batch::default(), BTreeMap::new());
        if let Some(rolled) = unrolled.rolled {
            keep.closed(rolled);
        }
        let mut state = self.shared.state();
        for block in unrolled.blocks {
            let Some(samples) = unpack(&block.bytes) else {
                tracing::warn!(
                    series = block.series,
                    hour = block.hour,
                    "a block of raw samples is damaged and is passed over"
                );
                continue;
            };
            if let (Some(key), Some(last)) = (keys.get(&block.series), samples.last()) {
                latest.insert(key.clone(), *last);
            }
            keep.resume(block.series, samples, &mut done);
        }
        for (key, sample) in latest {
            // What came in meanwhile is later.
            state.latest.entry(key).or_insert(sample);
        }
        state.waiting.take_in(done);
        state.loaded(keep, (self.shared.clock)());
        Ok(())
    }

    /// Once an hour.
    async fn forget(&mut self) {
        let now = (self.shared.clock)();
        if hour(now) == self.forgotten {
            return;
        }
        // Whole hours: where the minutes of an hour are gone, all of them are.
        let before = |age: i64| hour(now.saturating_sub(age));
        let kept = self.shared.retention;
        let cutoff =
            Cutoff { raw: before(kept.raw), minutes: before(kept.minutes), hours: before(kept.hours) };
        match self.shared.engine.forget(cutoff).await {
            Ok(gone) => {
                self.forgotten = hour(now);
                tracing::debug!(gone, "numbers that were too old are gone");
            }
            Err(error) => tracing::warn!("numbers that are too old could not be taken away: {error}"),
        }
    }
}
