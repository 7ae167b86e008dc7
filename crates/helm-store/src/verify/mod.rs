//! Proof that nothing was altered, inserted or removed.
//!
//! ```text
//!  look:      what is on record of partitions and of the classes' ends
//!  partition: rows -> chain anew -> row by row the digest; what the rows hold           (in parallel)
//!  look:      once more
//!  judge:     one partition: rows against record, seal, counts
//!  join:      end of one = begin of the next, or a record of what was removed; the class's own end; anchors
//! ```
//!
//! Runs beside the writer: what is appended meanwhile is looked at or not, but never taken for a fault.

mod anchor;
mod fault;
mod join;
mod judge;
mod look;
mod partition;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use anchor::{Anchor, NoAnchor};
pub use fault::{Fault, Kind, Named};

use crate::engine::{EngineError, LogEngine};
use crate::id::{EntryId, Instance};
use crate::partition::{Class, Partition};
use join::Found;
use look::Look;
use partition::{Asked, Checked};

/// What is to be proved, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Partitions that are read at the same time.
    pub parallel: usize,
    /// Points that were kept elsewhere.
    pub anchors: Vec<Anchor>,
    /// Only these classes; empty: all.
    pub classes: Vec<Class>,
    /// Counts the entries that were looked at; another may watch it.
    pub progress: Arc<AtomicU64>,
    /// Ends it early.
    pub stop: CancellationToken,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            parallel: 2,
            anchors: Vec::new(),
            classes: Vec::new(),
            progress: Arc::default(),
            stop: CancellationToken::new(),
        }
    }
}

/// One chain that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainReport {
    /// Whose.
    pub instance: Instance,
    /// Of which class.
    pub class: Class,
    /// Partitions that are there.
    pub partitions: usize,
    /// Their entries.
    pub rows: u64,
    /// Removals that are on record in them.
    pub removed: usize,
    /// Its end: to be kept elsewhere.
    pub end: Option<Anchor>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// All chains, by instance and class.
    pub chains: Vec<ChainReport>,
    /// What does not fit: of each partition the first; behind an altered entry also the first gap in the ids.
    pub faults: Vec<Fault>,
    /// Anchors whose entries retention has removed.
    pub unproved: Vec<Anchor>,
}

impl Report {
    /// Whether all is as it was written.
    pub fn ok(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Why nothing was proved.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The database does not answer.
    #[error("the log could not be read to the end, so nothing is proved")]
    Engine(#[from] EngineError),
    /// It was ended early.
    #[error("ended before everything was looked at, so nothing is proved")]
    Stopped,
}

/// Walks all partitions.
pub async fn verify(engine: Arc<dyn LogEngine>, options: Options) -> Result<Report, VerifyError> {
    let first = Look::take(&*engine).await?;
    let wanted = |class: &Class| options.classes.is_empty() || options.classes.contains(class);
    let mut chains = first.chains();
    chains.retain(|(_, class), _| wanted(class));
    let found = walk(&engine, &options, &first, chains.values().flatten().cloned().collect()).await?;
    let last = Look::take(&*engine).await?;
    let anchors = options.anchors.into_iter().filter(|anchor| wanted(&anchor.class)).collect();
    Ok(join::join(&chains, &found, &first, &last, anchors))
}

async fn walk(
    engine: &Arc<dyn LogEngine>,
    options: &Options,
    look: &Look,
    partitions: Vec<Partition>,
) -> Result<Found, VerifyError> {
    // The drop of this future ends the threads too.
    let stop = options.stop.child_token();
    let _ends = stop.clone().drop_guard();
    let anchors: BTreeSet<EntryId> = options.anchors.iter().map(|anchor| anchor.id).collect();
    let mut todo = partitions.into_iter();
    let mut running: JoinSet<Result<Checked, EngineError>> = JoinSet::new();
    let mut found = Found::new();
    loop {
        while running.len() < options.parallel.max(1)
            && let Some(partition) = todo.next()
        {
            let end = look.ends.values().find(|end| end.open == Some(partition.id)).map(|end| end.head);
            let asked = Asked { partition, anchors: anchors.clone(), end, counts: Vec::new(), packed: None };
            running.spawn(check(engine.clone(), asked, options.progress.clone(), stop.clone()));
        }
        let Some(done) = running.join_next().await else { break };
        match done {
            Ok(Ok(done)) => drop(found.insert(done.id, done)),
            Ok(Err(_)) | Err(_) if stop.is_cancelled() => return Err(VerifyError::Stopped),
            Ok(Err(error)) => return Err(error.into()),
            Err(error) => return Err(ended(error).into()),
        }
    }
    if stop.is_cancelled() { Err(VerifyError::Stopped) } else { Ok(found) }
}

/// One partition: what the database itself finds, then every row of it.
async fn check(
    engine: Arc<dyn LogEngine>,
    mut asked: Asked,
    progress: Arc<AtomicU64>,
    stop: CancellationToken,
) -> Result<Checked, EngineError> {
    let id = asked.partition.id;
    let mut broken = engine.examine(id).await?;
    match engine.counts(id, i64::MIN, i64::MAX).await {
        Ok(counts) => asked.counts = counts,
        Err(EngineError::Damaged(why)) => broken = broken.or(Some(why)),
        Err(error) => return Err(error),
    }
    match engine.packed(id).await {
        Ok(packed) => asked.packed = packed,
        Err(EngineError::Damaged(why)) => broken = broken.or(Some(why)),
        Err(error) => return Err(error),
    }
    let rows = engine.rows(id, 0);
    let walk = move || {
        let count = |rows: u64| {
            progress.fetch_add(rows, Ordering::Relaxed);
            !stop.is_cancelled()
        };
        partition::check(asked, rows, count)
    };
    let mut checked = tokio::task::spawn_blocking(walk).await.map_err(ended)??;
    checked.broken = broken;
    Ok(checked)
}

fn ended(error: tokio::task::JoinError) -> EngineError {
    EngineError::Other { what: "a partition could not be looked at".into(), source: Box::new(error) }
}
