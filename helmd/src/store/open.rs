//! Opens the store, however often that takes.

use std::sync::Arc;

use helm_store::engine::{EngineError, LogEngine};
use helm_store::history::HistoryEngine;
use helm_store::metrics::engine::MetricEngine;
use helm_store::postgres::{PgEngine, PgOptions, Registration};
use helm_store::reader::Reader;
use helm_store::sqlite::SqliteEngine;
use helm_store::writer::{Writer, WriterOptions};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::identity::Identity;
use super::place::{self, Place};
use super::{Opened, RETRY, State, Tuning};
use crate::clock;
use crate::home::{Home, private_dir};

/// Tries until it is open, and tells each time how it went.
pub(super) async fn until_open(
    home: Home,
    tuning: Tuning,
    state: watch::Sender<State>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let (mut pause, longest) = RETRY;
    let since = clock::wall().0;
    let mut said = None;
    loop {
        let tried = stop.run_until_cancelled(open(&home, tuning, &tasks, &stop)).await;
        match tried {
            None => return,
            Some(Ok(opened)) => {
                tracing::info!("the store is open: {}", opened.place.describe());
                opened.notes.iter().for_each(|note| tracing::warn!("{note}"));
                state.send_replace(State::Open(Arc::new(opened)));
                return;
            }
            Some(Err(why)) => {
                if said.as_ref() != Some(&why) {
                    tracing::error!("the store cannot be opened: {why}; captured output waits in logs/");
                    said = Some(why.clone());
                }
                state.send_replace(State::Closed { since, why: Some(why) });
            }
        }
        if stop.run_until_cancelled(sleep_until(Instant::now() + pause)).await.is_none() {
            return;
        }
        pause = (pause * 2).min(longest);
    }
}

async fn open(
    home: &Home,
    tuning: Tuning,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Opened, String> {
    let looked = home.clone();
    let prepare = move || {
        let place = Place::of(&looked).map_err(|e| in_words(&e))?;
        let dir = place::local(&looked);
        let identity = private_dir(&dir).and_then(|()| Identity::of(&dir));
        identity.map(|identity| (place, identity)).map_err(|e| format!("{}: {e}", dir.display()))
    };
    let prepared = tokio::task::spawn_blocking(prepare).await;
    let (place, identity) = prepared.map_err(|e| e.to_string())??;
    let opened = match &place {
        Place::Sqlite(dir) => sqlite(dir, &identity).await,
        Place::Postgres(options) => {
            let options = options.as_ref().clone().with_trigrams(tuning.trigrams);
            postgres(options, &identity, home, tasks, stop).await
        }
    };
    let Engine { engine, numbers, history, postgres, notes } = opened.map_err(|e| in_words(&e))?;
    let version = version(postgres.as_deref()).await.map_err(|e| in_words(&e))?;
    let options = WriterOptions { roll: tuning.roll, ..WriterOptions::new(now) };
    let (writer, work) = Writer::start(engine.clone(), options, stop.clone());
    tasks.spawn(work);
    let reader = Reader::new(engine.clone(), writer.live().clone());
    Ok(Opened { version, place, engine, postgres, writer, reader, numbers, history, notes })
}

struct Engine {
    engine: Arc<dyn LogEngine>,
    numbers: Arc<dyn MetricEngine>,
    history: Arc<dyn HistoryEngine>,
    postgres: Option<Arc<PgEngine>>,
    notes: Vec<String>,
}

async fn sqlite(dir: &std::path::Path, identity: &Identity) -> Result<Engine, EngineError> {
    let engine = SqliteEngine::open(dir, identity.instance).await?;
    let notes = engine.notes().to_vec();
    let engine = Arc::new(engine);
    Ok(Engine { engine: engine.clone(), numbers: engine.clone(), history: engine, postgres: None, notes })
}

async fn postgres(
    options: PgOptions,
    identity: &Identity,
    home: &Home,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Engine, EngineError> {
    let registration = Registration {
        uuid: identity.uuid.clone(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        home: home.path().to_string_lossy().into_owned(),
        preferred: identity.instance,
    };
    let engine = Arc::new(PgEngine::open(options, registration).await?);
    // Rows of a Python Helm come over in the background; a kill is resumed at the next start.
    let (taking, stop) = (engine.clone(), stop.clone());
    tasks.spawn(async move {
        if let Err(e) = taking.take_over(&stop).await {
            tracing::error!("the rows of the Python Helm are not taken over yet: {}", in_words(&e));
        }
    });
    Ok(Engine {
        engine: engine.clone(),
        numbers: engine.clone(),
        history: engine.clone(),
        postgres: Some(engine),
        notes: Vec::new(),
    })
}

/// "SQLite 3.50.1", "PostgreSQL 15.18"
async fn version(postgres: Option<&PgEngine>) -> Result<String, EngineError> {
    let Some(postgres) = postgres else {
        return Ok(format!("SQLite {}", helm_store::sqlite::version().await?));
    };
    let number = postgres.server_version().await?;
    Ok(format!("PostgreSQL {}.{}", number / 10_000, number % 10_000))
}

fn now() -> i64 {
    clock::wall().0
}

/// An error with its causes, on one line.
pub(crate) fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        cause = next.source();
    }
    words
}
