//! Proof that nothing was altered, inserted or removed.
//!
//! ```text
//!  partition: rows -> chain anew -> row by row the digest, at the end rows and seal     (in parallel)
//!  join:      end of one = begin of the next, or a record of what was removed; the class's own end; anchors
//! ```
//!
//! Runs beside the writer: what is appended meanwhile is looked at or not, but never taken for a fault.

mod fault;
mod join;
mod partition;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use fault::{Fault, Kind, Named};

use crate::chain::Head;
use crate::engine::{EngineError, LogEngine};
use crate::id::{EntryId, Instance, PartitionId};
use crate::partition::{Class, Partition};
use partition::Checked;

/// A point of a chain, kept elsewhere: shows that the end was cut off, or all was written anew. As text: `7/default/123:HEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Whose chain.
    pub instance: Instance,
    /// Of which class.
    pub class: Class,
    /// After this entry.
    pub id: EntryId,
    /// The chain stood here.
    pub head: Head,
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}:{}", self.instance.0, self.class.0, self.id, self.head.hex())
    }
}

/// A text that is no anchor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no anchor: one looks like 7/default/123:64 hexadecimal digits, as `helmctl logs verify --anchor` prints it"
)]
pub struct NoAnchor(String);

impl FromStr for Anchor {
    type Err = NoAnchor;

    fn from_str(text: &str) -> Result<Self, NoAnchor> {
        let parse = || {
            let (place, head) = text.trim().split_once(':')?;
            let (instance, rest) = place.split_once('/')?;
            let (class, id) = rest.rsplit_once('/')?;
            Some(Anchor {
                instance: Instance(instance.parse().ok().filter(|number| *number <= Instance::MAX)?),
                class: Class(class.to_owned()),
                id: EntryId(id.parse().ok().filter(|id| *id >= 0)?),
                head: Head::from_hex(head)?,
            })
        };
        parse().ok_or_else(|| NoAnchor(text.to_owned()))
    }
}

/// The ends of all chains of this instance.
pub async fn anchors(engine: &dyn LogEngine) -> Result<Vec<Anchor>, EngineError> {
    let numbers =
        |classes: &[crate::commit::ClassState]| classes.iter().map(|c| c.number).collect::<Vec<_>>();
    loop {
        let classes = engine.classes().await?;
        let partitions = engine.partitions().await?;
        // While somebody writes, the two may not belong together.
        if numbers(&classes) != numbers(&engine.classes().await?) {
            continue;
        }
        let anchor = |class: &crate::commit::ClassState| {
            let of_class = |p: &&Partition| p.id.instance == engine.instance() && p.class == class.class;
            let last = partitions.iter().filter(of_class).rfind(|p| p.contents.rows > 0)?;
            Some(Anchor {
                instance: engine.instance(),
                class: class.class.clone(),
                id: last.id.entry(last.contents.rows - 1),
                head: class.head,
            })
        };
        return Ok(classes.iter().filter_map(anchor).collect());
    }
}

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
    /// What does not fit: of each partition the first.
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
    // In this order: what the classes say is then in the partitions.
    let states = engine.classes().await?;
    let partitions = engine.partitions().await?;
    let wanted = |class: &Class| options.classes.is_empty() || options.classes.contains(class);
    let mut chains: join::Chains = BTreeMap::new();
    for partition in partitions.into_iter().filter(|p| wanted(&p.class)) {
        chains.entry((partition.id.instance, partition.class.clone())).or_default().push(partition);
    }
    let ends: BTreeMap<PartitionId, Head> =
        states.iter().filter_map(|state| Some((state.open?, state.head))).collect();

    // The drop of this future ends the threads too.
    let stop = options.stop.child_token();
    let _ends = stop.clone().drop_guard();
    let mut todo = chains.values().flatten().cloned().collect::<Vec<_>>().into_iter();
    let mut running: JoinSet<Result<Checked, EngineError>> = JoinSet::new();
    let mut checked: BTreeMap<PartitionId, Checked> = BTreeMap::new();
    loop {
        while running.len() < options.parallel.max(1)
            && let Some(partition) = todo.next()
        {
            let rows = engine.rows(partition.id, 0);
            let anchors = options.anchors.iter().map(|anchor| anchor.id).collect();
            let end = ends.get(&partition.id).copied();
            let (progress, stop) = (options.progress.clone(), stop.clone());
            running.spawn_blocking(move || {
                let count = |rows: u64| {
                    progress.fetch_add(rows, Ordering::Relaxed);
                    !stop.is_cancelled()
                };
                partition::check(&partition, rows, anchors, end, count)
            });
        }
        let Some(done) = running.join_next().await else { break };
        match done {
            Ok(Ok(done)) => drop(checked.insert(done.id, done)),
            Ok(Err(_)) | Err(_) if stop.is_cancelled() => return Err(VerifyError::Stopped),
            Ok(Err(error)) => return Err(error.into()),
            Err(error) => {
                let source = Box::new(error);
                return Err(
                    EngineError::Other { what: "a partition could not be looked at".into(), source }.into()
                );
            }
        }
    }
    if stop.is_cancelled() {
        return Err(VerifyError::Stopped);
    }
    // What came meanwhile is on record now; what is not was never written by us.
    let now: BTreeMap<PartitionId, u32> =
        engine.partitions().await?.into_iter().map(|p| (p.id, p.contents.rows)).collect();
    let states = states.into_iter().filter(|state| wanted(&state.class)).collect();
    Ok(join::join(&chains, checked, states, engine.instance(), &now, options.anchors))
}
