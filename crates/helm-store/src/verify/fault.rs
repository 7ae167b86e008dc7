//! What does not fit, and what it means.

use std::fmt;

use crate::entry::Entry;
use crate::id::{EntryId, Instance, PartitionId};
use crate::partition::Class;

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// In whose chain.
    pub instance: Instance,
    /// Of which class.
    pub class: Class,
    /// In which partition, where that is known.
    pub partition: Option<PartitionId>,
    /// The first entry that does not fit, or the nearest one before what is missing.
    pub entry: Option<Named>,
    /// What it means.
    pub kind: Kind,
}

/// An entry, as a person finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: EntryId,
    /// Its own time, nanoseconds since 1970.
    pub at: i64,
    /// Its service.
    pub service: String,
}

impl Named {
    pub(super) fn of(entry: &Entry) -> Self {
        Self { id: entry.id, at: entry.body.at, service: entry.body.service.clone() }
    }
}

/// What a fault means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The entry is not what was written.
    Altered,
    /// The entry was not written by Helm.
    Inserted,
    /// Entries are gone; the id is that of the first.
    Removed(EntryId),
    /// Entries were written anew with digests that fit each other.
    Rewritten,
    /// The partition ends before the next one begins: an older copy of it was put back.
    Replaced,
    /// A whole partition is gone, and no record says that retention took it.
    Missing,
    /// The last entries are gone.
    CutOff,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "class {} of instance {}", self.class.0, self.instance.0)?;
        if let Some(partition) = self.partition {
            write!(f, ", partition {partition}")?;
        }
        if let Some(entry) = &self.entry {
            write!(f, ", entry {} of service {} (time {} ns)", entry.id, entry.service, entry.at)?;
        }
        match self.kind {
            Kind::Altered => f.write_str(": it was altered after it was written"),
            Kind::Inserted => f.write_str(": it was inserted; Helm did not write it"),
            Kind::Removed(id) => write!(f, ": entries are missing, the first is {id}"),
            Kind::Rewritten => f.write_str(": entries were written anew; they fit each other, but not what is on record of the end"),
            Kind::Replaced => {
                f.write_str(": it ends before the next one begins: an older copy was put in its place, or its end cut off")
            }
            Kind::Missing => f.write_str(
                ": the chain breaks beside it: a partition is missing that no record says was removed, or this one was written anew",
            ),
            Kind::CutOff => f.write_str(": entries after it were there once and are gone"),
        }
    }
}
