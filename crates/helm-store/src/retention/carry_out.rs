//! Takes partitions away: first the record in the chain, then the partition.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Reason, Removal};
use crate::chain::Head;
use crate::commit::Once;
use crate::engine::{EngineError, LogEngine};
use crate::entry::{Entry, HELM, Level, NewEntry, Source};
use crate::id::{Instance, PartitionId};
use crate::once::OWN;
use crate::partition::{Class, Partition, Seal};
use crate::writer::{Append, AppendError, Health, WriterHandle};

/// What is on record of a partition that was taken away: the context of an entry of the service `helm`, under `removed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Number of the partition.
    pub partition: u32,
    /// Whose it was, where that is not the instance whose log this stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
    /// Its class.
    pub class: Class,
    /// When it was opened, nanoseconds since 1970.
    pub opened: i64,
    /// When it was closed.
    pub closed: i64,
    /// Its entries.
    pub rows: u32,
    /// The chain before it, hexadecimal.
    pub before: String,
    /// The chain after it.
    pub head: String,
    /// Why it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

#[derive(Serialize, Deserialize)]
struct Context {
    removed: Record,
}

impl Record {
    /// Of a sealed partition, in the log of `own`.
    pub fn of(partition: &Partition, seal: &Seal, reason: Reason, own: Instance) -> Self {
        Self {
            partition: partition.id.number,
            instance: Some(partition.id.instance).filter(|instance| *instance != own),
            class: partition.class.clone(),
            opened: partition.opened,
            closed: seal.closed,
            rows: partition.contents.rows,
            before: partition.before.hex(),
            head: seal.head.hex(),
            reason: Some(reason),
        }
    }

    /// From an entry that is one. Only helmd itself writes entries of this source.
    pub fn read(entry: &Entry) -> Option<Record> {
        let body = &entry.body;
        let context =
            body.context.as_deref().filter(|_| body.source == Source::Helm && body.service == HELM)?;
        serde_json::from_str::<Context>(context).ok().map(|context| context.removed)
    }

    /// The chain before and after it.
    pub fn heads(&self) -> Option<(Head, Head)> {
        Head::from_hex(&self.before).zip(Head::from_hex(&self.head))
    }

    fn entry(self, now: i64) -> NewEntry {
        let why = self.reason.map_or_else(String::new, |reason| format!(": {reason}"));
        NewEntry {
            service: HELM.to_owned(),
            at: now,
            seen: now,
            level: Level::Info,
            source: Source::Helm,
            stream: 0,
            flags: 0,
            message: format!(
                "partition {} of class {} with {} entries removed{why}",
                self.partition, self.class.0, self.rows
            ),
            plain: None,
            // A value of plain fields always becomes JSON.
            context: serde_json::to_string(&Context { removed: self }).ok(),
            trace: None,
            user: None,
            hostname: None,
            process: None,
        }
    }
}

/// Why a partition could not be taken away.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// It is not on record, so it stays.
    #[error("partition {partition} stays, its removal could not be put on record")]
    Record {
        /// Which.
        partition: PartitionId,
        /// Why.
        source: AppendError,
    },
    /// It is on record, and still there; the next time takes it.
    #[error("partition {partition} could not be removed; this is tried again")]
    Remove {
        /// Which.
        partition: PartitionId,
        /// Why.
        source: EngineError,
    },
}

/// What became of removals.
#[derive(Debug, Default)]
pub struct Carried {
    /// What went, with the bytes that it gave back.
    pub gone: Vec<(Removal, u64)>,
    /// What stays for now. The later ones of its class wait for it, other classes do not.
    pub failed: Vec<RetentionError>,
}

/// Takes away what was decided.
pub async fn carry_out(
    engine: &dyn LogEngine,
    writer: &WriterHandle,
    removals: &[Removal],
    now: i64,
) -> Carried {
    let mut carried = Carried::default();
    if !removals.is_empty() && matches!(&*writer.health().borrow(), Health::Stalled { .. }) {
        // Perhaps the disk is full: what cannot be written keeps the record from being written as well.
        if let Err(source) = engine.make_room().await {
            carried.failed.push(RetentionError::Remove { partition: removals[0].partition, source });
            return carried;
        }
    }
    let mut stuck = BTreeSet::new();
    for removal in removals {
        let manifest = writer.live().manifest();
        let Some(partition) = manifest.get(&removal.partition) else { continue };
        let of = (partition.id.instance, partition.class.clone());
        if stuck.contains(&of) {
            continue;
        }
        match take_away(engine, writer, partition, removal.reason, now).await {
            Ok(true) => carried.gone.push((*removal, super::size(partition))),
            Ok(false) => {}
            Err(error) => {
                carried.failed.push(error);
                stuck.insert(of);
            }
        }
    }
    carried
}

/// `false`: it is open.
async fn take_away(
    engine: &dyn LogEngine,
    writer: &WriterHandle,
    partition: &Partition,
    reason: Reason,
    now: i64,
) -> Result<bool, RetentionError> {
    let (id, Some(seal)) = (partition.id, &partition.seal) else { return Ok(false) };
    let append = Append {
        class: partition.class.clone(),
        entries: vec![Record::of(partition, seal, reason, engine.instance()).entry(now)],
        cursors: Vec::new(),
        // A second record after a crash would do no harm, but say the same twice.
        once: Some(Once::Key(format!("{OWN}removed-{id}"))),
        queue: None,
    };
    writer.append(append).await.map_err(|source| RetentionError::Record { partition: id, source })?;
    let removed = engine.remove(id, &partition.class).await;
    removed.map_err(|source| RetentionError::Remove { partition: id, source })?;
    writer.live().removed(id);
    Ok(true)
}
