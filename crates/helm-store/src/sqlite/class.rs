//! The writing side of one class: its open segment and the one connection that writes there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use sqlx::sqlite::SqliteJournalMode;
use sqlx::{Connection as _, SqliteConnection};

use super::checkpoint::{self, Backlog};
use super::commit::{self, Refused};
use super::error::engine_error;
use super::segment::{self, Segment};
use super::{connect, files, migrate, stale};
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
    /// The file that it writes to, and when it was last seen under its name.
    inode: u64,
    seen: Instant,
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
        let looked = path.clone();
        if files::off(move || Ok(looked.exists())).await? {
            return Self::begun(path, new, former).await;
        }
        Self::create(path, new, former).await
    }

    async fn create(
        path: PathBuf,
        new: &Partition,
        former: Option<(PartitionId, Seal, &PathBuf)>,
    ) -> Result<Self, EngineError> {
        let closed = former.map(|(id, seal, _)| (id, seal.closed));
        segment::create(&path, new, closed, former.map(|(_, _, path)| path.as_path())).await?;
        Ok(Self::of(Segment::new(path, new.clone(), false)))
    }

    /// A call that was given up or failed may have made the file: nothing was ever written into it. One that begins at another time is made anew.
    async fn begun(
        path: PathBuf,
        new: &Partition,
        former: Option<(PartitionId, Seal, &PathBuf)>,
    ) -> Result<Self, EngineError> {
        let record = segment::load(&path).await?.record;
        if record != *new && (Partition { opened: new.opened, ..record.clone() }) == *new {
            let made = path.clone();
            files::off(move || files::remove(&made)).await?;
            return Self::create(path, new, former).await;
        }
        if record != *new {
            return Err(stale(format!(
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
                let services = services.into_iter().collect();
                Live { connection, inode: files::inode(path).await?, seen: Instant::now(), services }
            }
        };
        Ok(self.live.insert(live))
    }

    async fn is_in_place(&mut self) -> Result<(), EngineError> {
        let path = self.segment.path.clone();
        let live = self.live().await?;
        if live.seen.elapsed() < files::LOOK {
            return Ok(());
        }
        live.seen = Instant::now();
        let looked = files::is_in_place(&path, live.inode).await;
        if looked.is_err() {
            self.live = None;
        }
        looked
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
        self.run(commit, async |live| commit::commit(&mut live.connection, &mut live.services, commit).await)
            .await?;
        self.segment.with(|record| record.contents = commit.contents.clone());
        self.backlog.add(commit);
        Ok(())
    }

    /// Whether it would be carried out.
    pub(super) async fn try_out(&mut self, commit: &Commit) -> Result<(), EngineError> {
        self.run(commit, async |live| commit::try_out(&mut live.connection, &live.services, commit).await)
            .await
    }

    async fn run(
        &mut self,
        commit: &Commit,
        work: impl AsyncFnOnce(&mut Live) -> Result<(), Refused>,
    ) -> Result<(), EngineError> {
        let open = self.segment.with(|record| record.id);
        if commit.partition != open {
            let has = self.state().await?.number;
            if commit.number <= has {
                return Err(EngineError::NotNext { asked: commit.number, has });
            }
            return Err(stale(format!("partition {} is not open, {open} is", commit.partition)));
        }
        self.is_in_place().await?;
        // Taken out while it works: a call that is given up leaves none, and the next one begins anew.
        let Some(mut live) = self.live.take() else {
            return Err(EngineError::Away("the connection that writes is gone".to_owned()));
        };
        self.unsure = true;
        let answer = match work(&mut live).await {
            Err(Refused::Failed(error)) => {
                return Err(engine_error("could not commit", &self.segment.path, error));
            }
            Err(Refused::NotNext(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        (self.live, self.unsure) = (Some(live), false);
        answer
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
