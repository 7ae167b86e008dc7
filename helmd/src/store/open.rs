//! Opens the store, however often that takes, and anew when one of its files turns bad.

use std::sync::Arc;
use std::time::Duration;

use helm_store::engine::{EngineError, LogEngine};
use helm_store::history::HistoryEngine;
use helm_store::metrics::engine::MetricEngine;
use helm_store::postgres::{PgEngine, PgOptions, version_in_words};
use helm_store::reader::Reader;
use helm_store::sqlite::SqliteEngine;
use helm_store::writer::{Writer, WriterOptions};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::identity::Identity;
use super::lost::Lost;
use super::place::{self, Place};
use super::{Opened, RETRY, State, Tuning, former};
use crate::clock;
use crate::home::{Home, private_dir};

/// A store that was open for so long was sound.
const SOUND: Duration = Duration::from_secs(60);

/// Keeps the store open: tries until it is, tells each time how it went, and opens it anew when one of its files turns bad.
pub(super) async fn keep_open(
    home: Home,
    tuning: Tuning,
    state: watch::Sender<State>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let work = async {
        // What was damaged before is told as long as this helmd lives.
        let mut lost = Lost::default();
        let mut damaged: Option<String> = None;
        let (mut pause, longest) = RETRY;
        loop {
            let Running { mut opened, found, engine, writer } =
                until_open(&home, tuning, &state, &tasks, &stop).await;
            let unfound = damaged.take().filter(|_| found.is_empty()).map(|why| {
                format!("{why}. The store was opened anew; lines that logs/ still has are read again")
            });
            lost.add(found.into_iter().chain(unfound));
            opened.lost = lost.clone();
            let ended = opened.ended.clone();
            state.send_replace(State::Open(Arc::new(opened)));
            let began = Instant::now();
            // PostgreSQL mends itself, or not: there is nothing to move aside.
            let Some(engine) = engine else { return std::future::pending().await };
            let why = engine.damaged().await;
            tracing::error!("the store is closed and opened anew: {why}");
            state.send_replace(State::Closed { since: clock::wall().0, why: Some(why.clone()) });
            damaged = Some(why);
            writer.stop.cancel();
            ended.cancel();
            writer.ended.cancelled().await;
            engine.let_go();
            // A disk that spoils whatever is written to it is not asked without pause.
            pause = if began.elapsed() < SOUND { (pause * 2).min(longest) } else { RETRY.0 };
            sleep_until(Instant::now() + pause).await;
        }
    };
    stop.run_until_cancelled(work).await;
}

async fn until_open(
    home: &Home,
    tuning: Tuning,
    state: &watch::Sender<State>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Running {
    let (mut pause, longest) = RETRY;
    let since = clock::wall().0;
    let mut said = None;
    loop {
        match open(home, tuning, tasks, stop).await {
            Ok(running) => {
                let opened = &running.opened;
                tracing::info!("the store is open: {}", opened.place.describe());
                running.found.iter().for_each(|lost| tracing::error!("{lost}"));
                opened.notes.iter().for_each(|note| tracing::warn!("{note}"));
                return running;
            }
            Err(why) => {
                if said.as_ref() != Some(&why) {
                    tracing::error!("the store cannot be opened: {why}; captured output waits in logs/");
                    said = Some(why.clone());
                }
                state.send_replace(State::Closed { since, why: Some(why) });
            }
        }
        sleep_until(Instant::now() + pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// An open store, and what it takes to close it.
struct Running {
    opened: Opened,
    /// Files that were damaged and moved aside now.
    found: Vec<String>,
    engine: Option<Arc<SqliteEngine>>,
    writer: Writing,
}

/// The work of a writer.
struct Writing {
    stop: CancellationToken,
    ended: CancellationToken,
}

async fn open(
    home: &Home,
    tuning: Tuning,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Running, String> {
    let looked = home.clone();
    let prepare = move || {
        let place = Place::of(&looked).map_err(|e| in_words(&e))?;
        let dir = place::local(&looked);
        let identity = private_dir(&dir).and_then(|()| Identity::of(&dir));
        identity.map(|identity| (place, identity)).map_err(|e| format!("{}: {e}", dir.display()))
    };
    let prepared = tokio::task::spawn_blocking(prepare).await;
    let (place, identity) = prepared.map_err(|e| e.to_string())??;
    let made = match &place {
        Place::Sqlite(dir) => sqlite(dir, &identity).await,
        Place::Postgres(options) => {
            let options = options.as_ref().clone().with_trigrams(tuning.trigrams);
            postgres(options, &identity, home).await
        }
    };
    let Engine { engine, numbers, history, postgres, sqlite } = made.map_err(|e| in_words(&e))?;
    let version = version(postgres.as_deref()).await.map_err(|e| in_words(&e))?;
    // Not before all of it is open: what fails above is done again.
    if let Some(postgres) = &postgres {
        tasks.spawn(former::take_over(postgres.clone(), stop.clone()));
    }
    let options = WriterOptions { roll: tuning.roll, ..WriterOptions::new(now) };
    let writing = Writing { stop: stop.child_token(), ended: CancellationToken::new() };
    let (writer, work) = Writer::start(engine.clone(), options, writing.stop.clone());
    let ended = writing.ended.clone().drop_guard();
    tasks.spawn(async move {
        let _ended = ended;
        work.await;
    });
    let reader = Reader::new(engine.clone(), writer.live().clone());
    let (notes, found) =
        sqlite.as_ref().map(|sqlite| (sqlite.notes().to_vec(), sqlite.lost().to_vec())).unwrap_or_default();
    let (lost, ended) = (Lost::default(), CancellationToken::new());
    let opened =
        Opened { version, place, engine, postgres, writer, reader, numbers, history, notes, lost, ended };
    Ok(Running { opened, found, engine: sqlite, writer: writing })
}

struct Engine {
    engine: Arc<dyn LogEngine>,
    numbers: Arc<dyn MetricEngine>,
    history: Arc<dyn HistoryEngine>,
    postgres: Option<Arc<PgEngine>>,
    sqlite: Option<Arc<SqliteEngine>>,
}

async fn sqlite(dir: &std::path::Path, identity: &Identity) -> Result<Engine, EngineError> {
    let engine = Arc::new(SqliteEngine::open(dir, identity.instance).await?);
    Ok(Engine {
        engine: engine.clone(),
        numbers: engine.clone(),
        history: engine.clone(),
        postgres: None,
        sqlite: Some(engine),
    })
}

async fn postgres(options: PgOptions, identity: &Identity, home: &Home) -> Result<Engine, EngineError> {
    let registration = identity.registration(home, identity.instance);
    let engine = Arc::new(PgEngine::open(options, registration).await?);
    Ok(Engine {
        engine: engine.clone(),
        numbers: engine.clone(),
        history: engine.clone(),
        postgres: Some(engine),
        sqlite: None,
    })
}

/// "SQLite 3.50.1", "PostgreSQL 15.18"
async fn version(postgres: Option<&PgEngine>) -> Result<String, EngineError> {
    let Some(postgres) = postgres else {
        return Ok(format!("SQLite {}", helm_store::sqlite::version().await?));
    };
    Ok(version_in_words(postgres.server_version().await?))
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
