//! The audit trail: who changed what, before it is done and after. In the log's own chain, in a class of its own.
//!
//! ```text
//! intend --> store (1 s) --taken--> the deed --> what came of it --> store
//!              `--not--> instance/audit-waiting.jsonl --later--> store
//!                          `--not--> helmd's log
//! ```
//!
//! A change is not refused because it cannot be written here, and waits no longer than a moment: a stop must be possible also on a full disk.

mod deed;
mod spool;

use std::sync::Arc;
use std::time::Duration;

use helm_core::name::AUDIT;
use helm_store::commit::Once;
use helm_store::entry::NewEntry;
use helm_store::partition::Class;
use helm_store::writer::Append;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::home::Home;
use crate::store::Store;
use spool::{Spool, Waiting};

pub use deed::{By, Deed, Outcome, told};

/// How long a change waits for the store, and for the disk behind it.
const WITHIN: Duration = Duration::from_secs(1);
/// Until the store is asked again for what waits.
const AGAIN: Duration = Duration::from_secs(5);
/// Keys of helmd's own begin with a control character: no sender can take one away.
const KEY: char = '\u{1}';

/// Handle; clones share it.
#[derive(Debug, Clone)]
pub struct Trail {
    store: Store,
    spool: Arc<Spool>,
    /// Owns what is still being written when whoever asked is answered.
    tasks: TaskTracker,
}

/// Something that is about to be done; what came of it is to be told.
#[derive(Debug)]
#[must_use = "what came of it belongs into the trail"]
pub struct Intent {
    trail: Trail,
    deed: Deed,
}

impl Trail {
    /// Of this life.
    pub fn start(home: &Home, store: Store, tasks: &TaskTracker, stop: CancellationToken) -> Self {
        let trail = Self { store, spool: Arc::new(Spool::of(home)), tasks: tasks.clone() };
        let bring = trail.clone();
        tasks.spawn(async move { stop.run_until_cancelled(bring.bring()).await });
        trail
    }

    /// Writes that something is about to be done; comes back within a moment, whatever hangs.
    pub async fn intend(&self, deed: Deed) -> Intent {
        self.write(&deed, Outcome::Intent, "").await;
        Intent { trail: self.clone(), deed }
    }

    /// Writes what needs no intent: it was refused, or has been done by somebody else.
    pub fn note(&self, deed: Deed, outcome: Outcome, message: String) {
        let trail = self.clone();
        self.tasks.spawn(async move { trail.write(&deed, outcome, &message).await });
    }

    /// The same, where helmd leaves next.
    pub async fn note_now(&self, deed: Deed, outcome: Outcome, message: &str) {
        self.write(&deed, outcome, message).await;
    }

    /// Bytes that wait for the store.
    pub fn waiting(&self) -> u64 {
        self.spool.bytes()
    }

    async fn write(&self, deed: &Deed, outcome: Outcome, message: &str) {
        let entry = deed.entry(outcome, message, clock::wall().0);
        let words = entry.message.clone();
        let waiting = Waiting { key: key(&entry), entry };
        if timeout(WITHIN, self.keep(waiting.clone())).await == Ok(true) {
            return;
        }
        // It may have been kept after all: the key tells.
        match timeout(WITHIN, self.spool.put(&waiting)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::error!("the audit trail takes nothing ({e}): {words}"),
            Err(_) => tracing::error!("the audit trail takes nothing (the disk does not answer): {words}"),
        }
    }

    async fn keep(&self, waiting: Waiting) -> bool {
        let append = Append {
            class: Class(AUDIT.to_owned()),
            entries: vec![waiting.entry],
            cursors: Vec::new(),
            once: Some(Once::Key(waiting.key)),
            queue: None,
        };
        self.store.append(append).await.is_ok()
    }

    async fn keep_soon(&self, waiting: Waiting) -> bool {
        timeout(AGAIN, self.keep(waiting)).await == Ok(true)
    }

    /// Brings what waits into the store, whenever something does.
    async fn bring(self) {
        loop {
            self.spool.more().await;
            while self.store.open().await.is_some() {
                match self.spool.drain(|waiting| self.keep_soon(waiting)).await {
                    Ok(()) => break,
                    Err(e) => tracing::debug!("the audit trail waits: {e}"),
                }
                sleep_until(Instant::now() + AGAIN).await;
            }
        }
    }
}

impl Intent {
    /// What came of it. Whoever asked need not wait until it is written.
    pub fn came(self, outcome: Outcome, message: impl Into<String>) {
        self.trail.note(self.deed, outcome, message.into());
    }

    /// The same, where helmd leaves next.
    pub async fn came_now(self, outcome: Outcome, message: &str) {
        self.trail.write(&self.deed, outcome, message).await;
    }
}

/// No two are the same: time, process, and how many there were.
fn key(entry: &NewEntry) -> String {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{KEY}audit:{}:{}:{count}", entry.at, std::process::id())
}
