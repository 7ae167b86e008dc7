//! The writing side of one class: its open segment and the one connection that writes there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::sqlite::SqliteJournalMode;
use sqlx::{Connection as _, SqliteConnection};

use super::checkpoint::{self, Backlog};
use super::commit::{self, Refused};
use super::error::engine_error;
use super::segment::{self, Segment};
use super::{connect, files, migrate, refuse};
use crate::commit::{ClassState, Commit};
use crate::engine::EngineError;
use crate::id::PartitionId;
use crate::partition::{Partition, Seal};

/// Writes in one class. After an error it begins anew from what the file says, for it is not known what became of the transaction.
pub(super) struct Writer {
    segment: Arc<Segment>,
    live: Option<Live>,
    /// A transaction was begun and it is not known what became of it: what is known of the partition may be out of date.
    unsure: bool,
    backlog: Backlog,
    /// The connection that moves the write-ahead log, between two times.
    pub(super) mover: Option<SqliteConnection>,
}

struct Live {
    connection: SqliteConnection,
    /// Numbers of the names that the segment knows.
    services: HashMap<String, i64>,
}

impl Writer {
    /// Goes on in a segment that is there.
    pub(super) fn of(segment: Arc<Segment>) -> Self {
        Self { segment, live: None, unsure: false, backlog: Backlog::default(), mover: None }
    }

    /// Makes the file of a new partition, after the one that is sealed with it.
    pub(super) async fn begin(
        log: &Path,
        new: &Partition,
        former: Option<(PartitionId, Seal, &PathBuf)>,
    ) -> Result<Self, EngineError> {
        let path = log.join(files::segment_name(new.id.number, &new.class));
        if path.exists() {
            return Self::begun(path, new).await;
        }
        let closed = former.map(|(id, seal, _)| (id, seal.closed));
        segment::create(&path, new, closed, former.map(|(_, _, path)| path.as_path())).await?;
        Ok(Self::of(Segment::new(path, new.clone(), false)))
    }

    /// A call that was given up may have made the file.
    async fn begun(path: PathBuf, new: &Partition) -> Result<Self, EngineError> {
        let record = segment::load(&path).await?.record;
        if record != *new {
            return Err(refuse(format!(
                "there is another partition {} already: `{}`",
                new.id,
                path.display()
            )));
        }
        Ok(Self::of(Segment::new(path, record, false)))
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// What the write-ahead log holds.
    pub(super) fn backlog(&mut self) -> &mut Backlog {
        &mut self.backlog
    }

    /// Moves the write-ahead log into the file: nobody commits meanwhile.
    pub(super) async fn move_log(&mut self) -> Result<(), EngineError> {
        // Without a connection there was no commit since the file was opened.
        let Some(live) = &mut self.live else { return Ok(()) };
        let moved = checkpoint::checkpoint(&mut live.connection).await;
        moved.map(drop).map_err(|e| engine_error("could not move the write-ahead log", &self.segment.path, e))
    }

    async fn live(&mut self) -> Result<&mut Live, EngineError> {
        let path = &self.segment.path;
        let live = match self.live.take() {
            Some(live) => live,
            None => {
                let mut connection = connect::writer(path, SqliteJournalMode::Wal).await?;
                migrate::migrate(&mut connection, path, migrate::SEGMENT).await?;
                let services = sqlx::query_as::<_, (String, i64)>("SELECT name, id FROM service")
                    .fetch_all(&mut connection)
                    .await
                    .map_err(|e| engine_error("could not read the names", path, e))?;
                if self.unsure {
                    let contents = segment::contents(&mut connection, path).await?;
                    self.segment.with(|record| record.contents = contents);
                    self.unsure = false;
                }
                Live { connection, services: services.into_iter().collect() }
            }
        };
        Ok(self.live.insert(live))
    }

    /// Where the class stands.
    pub(super) async fn state(&mut self) -> Result<ClassState, EngineError> {
        let record = self.segment.record();
        let live = self.live().await?;
        let state = segment::state(&mut live.connection, &record.class, Some(record.id)).await;
        state.map_err(|e| engine_error("could not read where the class stands", &self.segment.path, e))
    }

    /// Carries out one transaction.
    pub(super) async fn commit(&mut self, commit: &Commit) -> Result<(), EngineError> {
        let open = self.segment.with(|record| record.id);
        if commit.partition != open {
            let has = self.state().await?.number;
            if commit.number <= has {
                return Err(EngineError::NotNext { asked: commit.number, has });
            }
            return Err(refuse(format!("partition {} is not open, {open} is", commit.partition)));
        }
        self.live().await?;
        // Taken out while it works: a call that is given up leaves none, and the next one begins anew.
        let Some(mut live) = self.live.take() else { return Ok(()) };
        self.unsure = true;
        match commit::commit(&mut live.connection, &mut live.services, commit).await {
            Ok(()) => {
                self.segment.with(|record| record.contents = commit.contents.clone());
                self.backlog.add(commit);
                (self.live, self.unsure) = (Some(live), false);
                Ok(())
            }
            Err(Refused::NotNext(error)) => {
                (self.live, self.unsure) = (Some(live), false);
                Err(error)
            }
            Err(Refused::Failed(error)) => Err(engine_error("could not commit", &self.segment.path, error)),
        }
    }

    /// Writes the end of the partition into it, and closes it.
    pub(super) async fn seal(mut self, seal: Seal) -> Result<(), EngineError> {
        let segment = self.segment.clone();
        segment::seal(&mut self.live().await?.connection, &segment, seal).await?;
        self.close().await
    }

    pub(super) async fn close(&mut self) -> Result<(), EngineError> {
        if let Some(mover) = self.mover.take() {
            // It holds nothing that could be lost.
            drop(mover.close().await);
        }
        match self.live.take() {
            Some(live) => live
                .connection
                .close()
                .await
                .map_err(|e| engine_error("could not close", &self.segment.path, e)),
            None => Ok(()),
        }
    }
}
