//! A file that turns bad while it is in use: whoever holds the store is told, and the file is looked at closely when it is next opened.
//!
//! The mark lies beside the file (`NAME.suspect`), so that a helmd that is killed in between does not forget it.

use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteJournalMode;
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::watch;

use super::error::engine_error;
use super::{connect, files};
use crate::engine::EngineError;

/// What was found out about the store's files. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Damage(watch::Sender<Option<String>>);

impl Damage {
    pub(super) fn none() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Passes on what was met with the file in `path`; one that is damaged is marked.
    pub(super) async fn note<T>(
        &self,
        path: &Path,
        answer: Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        if let Err(EngineError::Damaged(why)) = &answer {
            let mark = mark(path);
            // A disk that takes no mark takes no other file either; this process knows all the same.
            if let Err(error) = files::off(move || files::make_file(&mark)).await {
                tracing::warn!(%error, "a damaged file cannot be marked");
            }
            self.0.send_if_modified(|known| {
                let first = known.is_none();
                known.get_or_insert_with(|| why.clone());
                first
            });
        }
        answer
    }

    /// Waits for the first damage.
    pub(super) async fn first(&self) -> String {
        let mut known = self.0.subscribe();
        let found = known.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match found {
            Some(why) => why,
            // The sender lives in here.
            None => std::future::pending().await,
        }
    }
}

fn mark(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".suspect");
    PathBuf::from(name)
}

/// Looks at a file that bears a mark, and takes the mark away where it is sound.
pub(super) async fn look_into(path: &Path) -> Result<(), EngineError> {
    let mark = mark(path);
    let marked = mark.clone();
    if !files::off(move || Ok(marked.exists())).await? {
        return Ok(());
    }
    let mut connection = connect::writer(path, SqliteJournalMode::Wal).await?;
    let failed = |e| engine_error("could not look into", path, e);
    let found = sound(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    match found {
        None => files::off(move || files::remove(&mark)).await,
        Some(fault) => Err(EngineError::Damaged(format!("`{}` is damaged: {fault}", path.display()))),
    }
}

/// The first fault that SQLite finds; `None`: all is as it should be.
async fn sound(connection: &mut SqliteConnection) -> Result<Option<String>, sqlx::Error> {
    let word: String = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(connection).await?;
    Ok(Some(word).filter(|word| word != "ok"))
}
