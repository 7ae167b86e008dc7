//! The local queue of this helmd: opened before the database answers, and brought there when it does.
//!
//! Where the store is SQLite there is none: a disk that does not take the one would not take the other. A queue that an earlier PostgreSQL left
//! behind is still brought into what the store is now.

use std::path::PathBuf;
use std::sync::Arc;

use helm_store::engine::EngineError;
use helm_store::queue::{Queue, QueueOptions};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::open::in_words;
use super::place::{self, Place};
use super::{Local, RETRY, Store};
use crate::clock;
use crate::home::{Home, private_dir};

const FILE: &str = "queue.db";

/// Opens the queue, publishes it in `tell`, and drains it into `store` until helmd leaves.
pub(super) async fn run(
    home: Home,
    store: Store,
    tell: watch::Sender<Local>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let queue = loop {
        match stop.run_until_cancelled(open(&home, &tasks, &stop)).await {
            None => return,
            Some(Ok(None)) => {
                tell.send_replace(Local::Needless);
                return;
            }
            Some(Ok(Some(queue))) => break queue,
            Some(Err(why)) => tracing::error!("the local queue cannot be opened: {why}"),
        }
        if stop.run_until_cancelled(sleep_until(Instant::now() + RETRY.1)).await.is_none() {
            return;
        }
    };
    tell.send_replace(Local::Open(Arc::new(queue.clone())));
    let drain = store.while_open(|opened| {
        let queue = &queue;
        async move { drop(queue.drain(&opened.writer).await) }
    });
    stop.run_until_cancelled(drain).await;
}

/// `None`: none is needed.
async fn open(home: &Home, tasks: &TaskTracker, stop: &CancellationToken) -> Result<Option<Queue>, String> {
    let looked = home.clone();
    let look = move || -> Result<Option<PathBuf>, String> {
        let dir = place::local(&looked);
        let path = dir.join(FILE);
        let place = Place::of(&looked).map_err(|e| in_words(&e))?;
        if matches!(place, Place::Sqlite(_)) && !path.exists() {
            return Ok(None);
        }
        private_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(Some(path))
    };
    let Some(path) = tokio::task::spawn_blocking(look).await.map_err(|e| e.to_string())?? else {
        return Ok(None);
    };
    let options = QueueOptions::new(|| clock::wall().0);
    let opened = Queue::open(&path, options, stop.clone()).await;
    let (queue, work) = opened.map_err(|e: EngineError| in_words(&e))?;
    tasks.spawn(work);
    Ok(Some(queue))
}

#[cfg(test)]
mod tests {
    use helm_store::commit::Once;
    use helm_store::partition::Class;
    use helm_store::writer::Append;

    use super::super::{State, lag};
    use super::*;

    #[tokio::test]
    async fn an_append_waits_for_the_queue_that_is_being_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (_open, state) = watch::channel(State::Closed { since: 0, why: None });
        let (tell, queue) = watch::channel(Local::Closed);
        let store = Store { state, queue, stored: lag::Stored::default(), dropped: Default::default() };
        let append = Append {
            class: Class::default_class(),
            entries: Vec::new(),
            cursors: Vec::new(),
            once: Some(Once::Key("a".to_owned())),
            queue: None,
        };
        let mut kept = std::pin::pin!(store.append(append));
        tokio::select! {
            biased;
            kept = &mut kept => panic!("before the queue is known: {kept:?}"),
            () = std::future::ready(()) => {}
        }
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let options = QueueOptions::new(|| clock::wall().0);
        let (queue, work) = Queue::open(&dir.path().join(FILE), options, stop.clone()).await.unwrap();
        tasks.spawn(work);
        tell.send_replace(Local::Open(Arc::new(queue)));
        assert!(kept.await.unwrap().queued, "behind what waits");
        assert_eq!(store.waiting().map(|status| status.appends), Some(1));
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
