//! helmd's own log as entries of the service `helm`: a bounded queue from whoever logs, and one task that appends.
//!
//! What the store itself says stays out of it: a warning that an append failed must not become an append.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use helm_store::entry::{HELM, Level, NewEntry, Source};
use helm_store::partition::Class;
use helm_store::writer::{Append, AppendError};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::Store;
use crate::clock;

/// Lines that may wait for the store.
const QUEUE: usize = 1024;
/// Lines of one append.
const BATCH: usize = 256;
/// Lines that come within this go together.
const GATHER: Duration = Duration::from_millis(200);
/// After a failure.
const RETRY: Duration = Duration::from_secs(5);
/// Modules whose words stay in the file.
const SILENT: [&str; 3] = ["helm_store", "sqlx", "helmd::store::own"];

/// Takes what is logged.
#[derive(Debug)]
pub struct Tap {
    lines: mpsc::Sender<NewEntry>,
    dropped: Arc<AtomicU64>,
}

/// What was logged; for one life of helmd after another.
#[derive(Debug, Clone)]
pub struct Lines {
    lines: Arc<Mutex<mpsc::Receiver<NewEntry>>>,
    dropped: Arc<AtomicU64>,
}

/// The two ends of the queue.
pub fn tap() -> (Tap, Lines) {
    let (sender, lines) = mpsc::channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    (Tap { lines: sender, dropped: dropped.clone() }, Lines { lines: Arc::new(Mutex::new(lines)), dropped })
}

impl<S: Subscriber> Layer<S> for Tap {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let meta = event.metadata();
        if SILENT.iter().any(|silent| meta.target().starts_with(silent)) {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let level = match *meta.level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warning,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG | tracing::Level::TRACE => Level::Debug,
        };
        // Whoever logs never waits.
        if self.lines.try_send(entry(level, text.whole())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The message, and the fields behind it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn whole(self) -> String {
        self.message + &self.fields
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

fn entry(level: Level, message: String) -> NewEntry {
    let now = clock::wall().0;
    NewEntry {
        service: HELM.to_owned(),
        at: now,
        seen: now,
        level,
        source: Source::Helm,
        stream: 0,
        flags: 0,
        message,
        plain: None,
        context: None,
        trace: None,
        user: None,
        hostname: None,
        process: i32::try_from(std::process::id()).ok(),
    }
}

impl Lines {
    /// Begins to append, until helmd leaves. The last lines of a helmd that leaves are in its file alone.
    pub fn start(self, store: Store, tasks: &TaskTracker, stop: CancellationToken) {
        tasks.spawn(async move {
            stop.run_until_cancelled(self.append_all(store)).await;
        });
    }

    async fn append_all(self, store: Store) {
        if store.open().await.is_none() {
            return;
        }
        let mut lines = self.lines.lock().await;
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            if lines.recv_many(&mut batch, 1).await == 0 {
                return;
            }
            sleep_until(Instant::now() + GATHER).await;
            while batch.len() < BATCH
                && let Ok(line) = lines.try_recv()
            {
                batch.push(line);
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                let words = format!("{dropped} lines of helmd's log are in logs/helmd.log alone");
                batch.push(entry(Level::Warning, words));
            }
            let append = Append {
                class: Class::default_class(),
                entries: batch,
                cursors: Vec::new(),
                once: None,
                queue: None,
            };
            // Only what was surely not kept is sent again: a line twice would be worse than one in the file alone.
            loop {
                let Some(opened) = store.open().await else { return };
                match opened.writer.append(append.clone()).await {
                    Err(AppendError::Later { .. } | AppendError::Closed) => {}
                    Ok(_) | Err(_) => break,
                }
                sleep_until(Instant::now() + RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn lines_come_with_level_and_fields_and_the_store_is_not_heard() {
        let (tap, Lines { lines, dropped }) = tap();
        let mut lines = lines.try_lock().unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(tap), || {
            tracing::warn!(target: "helmd::keeper", service = "core", "it is {}", "slow");
            tracing::error!(target: "helm_store::writer", "not heard");
            tracing::error!(target: "sqlx::query", "not heard");
            let line = lines.try_recv().unwrap();
            assert_eq!((line.level, line.service.as_str()), (Level::Warning, "helm"));
            assert_eq!(line.message, "it is slow service=\"core\"");
            assert!(lines.try_recv().is_err());
            for n in 0..QUEUE + 3 {
                tracing::info!(target: "helmd::app", "{n}");
            }
        });
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
    }
}
