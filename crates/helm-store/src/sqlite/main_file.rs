//! `main.db`: one connection that writes, one that reads; both made when they are needed.

use std::path::PathBuf;

use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::Mutex;

use super::connect;
use super::damage::Damage;
use super::error::engine_error;
use crate::engine::EngineError;

type Slot = Mutex<Option<SqliteConnection>>;

/// The file with what is not the log.
pub(super) struct MainFile {
    path: PathBuf,
    damage: Damage,
    writer: Slot,
    reader: Slot,
}

impl MainFile {
    pub(super) fn at(path: PathBuf, damage: Damage) -> Self {
        Self { path, damage, writer: Slot::default(), reader: Slot::default() }
    }

    /// Runs `work` on the connection that writes. One that failed, or whose caller went away, is not used again: what it had begun is rolled back.
    pub(super) async fn write<T>(
        &self,
        what: &str,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, EngineError> {
        let mut slot = self.writer.lock().await;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => self.damage.note(&self.path, connect::lenient_writer(&self.path).await).await?,
        };
        let done = work(&mut connection).await.map_err(|e| engine_error(what, &self.path, e));
        let done = self.damage.note(&self.path, done).await?;
        *slot = Some(connection);
        Ok(done)
    }

    /// Runs `work` on the connection that reads.
    pub(super) async fn read<T>(
        &self,
        what: &str,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, EngineError> {
        let mut slot = self.reader.lock().await;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => self.damage.note(&self.path, connect::reader(&self.path).await).await?,
        };
        let done = work(&mut connection).await.map_err(|e| engine_error(what, &self.path, e));
        let done = self.damage.note(&self.path, done).await?;
        *slot = Some(connection);
        Ok(done)
    }

    /// Closes both; the last one that closes leaves no journal.
    pub(super) async fn close(&self) -> Result<(), EngineError> {
        for slot in [&self.reader, &self.writer] {
            if let Some(connection) = slot.lock().await.take() {
                connection.close().await.map_err(|e| engine_error("could not close", &self.path, e))?;
            }
        }
        Ok(())
    }
}
