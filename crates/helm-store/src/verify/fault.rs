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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The entry is not what was written.
    Altered,
    /// The entry was not written by Helm.
    Inserted,
    /// Entries are gone from between others; the id is that of the first.
    Removed(EntryId),
    /// The last entries are gone; the id is that of the first of them.
    CutOff(EntryId),
    /// Entries were written anew with digests that fit each other, or cut off with a record that fits.
    Rewritten,
    /// The partition ends before the next one begins: an older copy of it was put back.
    Replaced,
    /// The whole partition is gone, and no record says that retention took it; and so are these, by number.
    Missing(Vec<u32>),
    /// The partitions before it are gone, and no record says that retention took them.
    MissingBefore,
    /// The partition that took entries after it is gone.
    MissingAfter,
    /// The entries are there, but the seal of their end is not.
    Unsealed,
    /// What is on record of the partition is not what it holds: entries may be hidden from searches, or miscounted.
    Misrecorded(&'static str),
    /// The entries are there, but the database finds damage in what leads to them.
    Broken(String),
    /// The database cannot read it.
    Unreadable(String),
}

impl Kind {
    /// In one word, for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Altered => "altered",
            Kind::Inserted => "inserted",
            Kind::Removed(_) => "removed",
            Kind::CutOff(_) => "cut-off",
            Kind::Rewritten => "rewritten",
            Kind::Replaced => "replaced",
            Kind::Missing(_) | Kind::MissingBefore | Kind::MissingAfter => "missing",
            Kind::Unsealed => "unsealed",
            Kind::Misrecorded(_) => "misrecorded",
            Kind::Broken(_) => "broken",
            Kind::Unreadable(_) => "unreadable",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Altered => f.write_str(
                "it was altered after it was written; more may be altered behind it in this partition, only the first can be named",
            ),
            Kind::Inserted => f.write_str("it was inserted; Helm did not write it"),
            Kind::Removed(id) => write!(f, "entries behind it were removed, the first is {id}"),
            Kind::CutOff(id) => {
                write!(f, "the last entries are gone, from {id} on: they were removed, or an older copy was put in its place")
            }
            Kind::Rewritten => {
                f.write_str("the entries fit each other, but do not end where the record says: the last ones were written anew, or cut off with what was on record of them")
            }
            Kind::Replaced => f.write_str(
                "it does not end where the next partition begins: an older copy was put in its place, or one of the two was written anew",
            ),
            Kind::Missing(also) => {
                f.write_str("it is missing, and no record says that retention removed it")?;
                also.iter().try_for_each(|number| write!(f, "; nor is {number} there"))
            }
            Kind::MissingBefore => {
                f.write_str("the partition before it is missing, and no record says that retention removed it")
            }
            Kind::MissingAfter => f.write_str("the partition that took entries after it is missing"),
            Kind::Unsealed => f.write_str(
                "its entries are whole, but its seal is gone although another partition follows: it was taken off",
            ),
            Kind::Misrecorded(what) => {
                write!(f, "its entries are whole, but {what} on record are not theirs: searches and counts may leave some out")
            }
            Kind::Broken(why) => {
                write!(f, "its entries are whole, but the file was damaged or altered beside them: {why}")
            }
            Kind::Unreadable(why) => write!(f, "what follows cannot be read, so it was damaged or altered: {why}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "class {} of instance {}", self.class.0, self.instance.0)?;
        if let Some(partition) = self.partition {
            write!(f, ", partition {partition}")?;
        }
        if let Some(entry) = &self.entry {
            write!(f, ", entry {} of service {}", entry.id, entry.service)?;
        }
        write!(f, ": {}", self.kind)
    }
}
