//! Moving the write-ahead log into the file, beside the commits instead of inside one.
//!
//! SQLite would do it within the commit that finds the log long enough, and everybody who waits for that commit would wait for megabytes. Here a
//! connection of its own moves what is there while commits go on. A log that is written without pause is never wholly moved that way, and only one that
//! is begins anew: so the last, small rest is moved while no commit is under way.

use std::sync::Arc;

use sqlx::SqliteConnection;
use tokio::sync::Mutex;

use super::class::Writer;
use super::connect;
use super::error::engine_error;
use super::segment::Segment;
use crate::commit::Commit;
use crate::engine::EngineError;

/// Bytes that commits may have put into the log before it is moved; as far as they can be told from outside. Few: the disk that syncs what is moved
/// keeps commits waiting meanwhile.
const DUE: u64 = 4 << 20;
/// A rest of so many pages is moved while commits wait.
const REST: i64 = 64;
/// Looks for so small a rest; on a disk that is slower than the commits the last one is as large as it is.
const ROUNDS: usize = 6;

/// How much the log holds, and whether somebody is moving it.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: u64,
    moving: bool,
}

impl Backlog {
    /// Takes in a commit: each row dirties pages of the table and of three indexes, and each commit some of its own.
    pub(super) fn add(&mut self, commit: &Commit) {
        let texts: usize = commit.entries.iter().map(|entry| entry.body.weight()).sum();
        self.bytes += 64 * 1024 + 2 * texts as u64;
    }

    /// Whether it is time, and nobody is at it: then the caller is to do it.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.bytes >= DUE && !self.moving;
        self.moving |= due;
        due
    }

    fn moved(&mut self) {
        *self = Self::default();
    }
}

/// Moves the log of an open segment. What fails is tried again when the next bytes are due; until then the log is merely longer.
pub(super) async fn run(writer: Arc<Mutex<Writer>>) {
    let (segment, mover) = {
        let mut writer = writer.lock().await;
        (writer.segment().clone(), writer.mover.take())
    };
    let moved = beside(&segment, mover).await;
    let mut writer = writer.lock().await;
    // A new partition has a log of its own, and closing the one before has moved that.
    if Arc::ptr_eq(writer.segment(), &segment) {
        let rest = writer.move_log().await;
        match moved.and_then(|mover| rest.map(|()| mover)) {
            Ok(mover) => writer.mover = Some(mover),
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log could not be moved; this is tried again");
            }
        }
        writer.backlog().moved();
    }
}

/// While commits go on. Returns the connection, for the next time.
async fn beside(
    segment: &Arc<Segment>,
    mover: Option<SqliteConnection>,
) -> Result<SqliteConnection, EngineError> {
    let _using = segment.using.clone().read_owned().await;
    let mut mover = match mover {
        Some(mover) => mover,
        None => connect::mover(&segment.path).await?,
    };
    let mut before = 0;
    for _ in 0..ROUNDS {
        let moved = checkpoint(&mut mover)
            .await
            .map_err(|e| engine_error("could not move the write-ahead log", &segment.path, e))?;
        if moved - before <= REST {
            break;
        }
        before = moved;
    }
    Ok(mover)
}

/// Moves what no reader holds back; pages of the log that are moved now.
pub(super) async fn checkpoint(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let (_, _, moved): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(connection).await?;
    Ok(moved)
}
