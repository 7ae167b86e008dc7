//! What was found in one partition, and what that means; functions of values.

use super::fault::{Kind, Named};
use super::partition::{Checked, Mismatch, Wrong};
use crate::commit::End;
use crate::id::{EntryId, Instance};
use crate::partition::{Contents, Partition, PerLevel};

/// What is on record of one partition.
pub(super) struct OnRecord<'a> {
    /// Before the walk.
    pub(super) first: &'a Partition,
    /// After it.
    pub(super) now: &'a Partition,
    /// Where its class ends, if this is its open partition; and whether that belongs together with `first`.
    pub(super) end: Option<(&'a End, bool)>,
    /// Nothing was written between the two looks.
    pub(super) quiet: bool,
}

/// The first thing that does not fit in a partition.
pub(super) fn judge(on_record: &OnRecord<'_>, found: &Checked) -> Option<(Kind, Option<Named>)> {
    let OnRecord { first, now, end, .. } = on_record;
    let low = first.contents.rows;
    // What came meanwhile is on record now; what is not was never written by us.
    let high = if first.seal.is_some() { low } else { now.contents.rows.max(low) };
    if let Some(mismatch) = &found.mismatch {
        return Some(mismatched(mismatch, found, low, high));
    }
    if let Some(why) = &found.unreadable {
        return Some((Kind::Unreadable(why.clone()), found.last.clone()));
    }
    match (&found.met, end) {
        (Some((rows, behind)), Some((_, true))) if *rows < low => {
            return Some((Kind::Inserted, behind.clone()));
        }
        (Some((rows, _)), Some((_, true))) if *rows > low => {
            return Some((Kind::Misrecorded("the number of entries"), None));
        }
        _ => {}
    }
    if found.rows < low {
        return Some((Kind::CutOff(next(found)), found.last.clone()));
    }
    if found.rows > high {
        let named = found.beyond.clone().filter(|_| low == high).or_else(|| found.last.clone());
        return Some((Kind::Inserted, named));
    }
    (!ends_well(on_record, found)).then(|| (Kind::Rewritten, found.last.clone()))
}

/// What does not fit beside entries that do: what leads to them, and what is on record of them.
pub(super) fn beside(on_record: &OnRecord<'_>, found: &Checked) -> Option<Kind> {
    let OnRecord { first, now, quiet, .. } = on_record;
    if let Some(why) = &found.broken {
        return Some(Kind::Broken(why.clone()));
    }
    let known = first.seal.is_some() || (*quiet && now.seal.is_none());
    known.then(|| misrecorded(&first.contents, found)).flatten().map(Kind::Misrecorded)
}

/// Entries that are gone from behind one that was altered.
pub(super) fn also(on_record: &OnRecord<'_>, found: &Checked) -> Option<(Kind, Option<Named>)> {
    let altered = found.mismatch.as_ref().is_some_and(|mismatch| mismatch.wrong == Wrong::Digest);
    let fewer = found.unreadable.is_none() && found.rows < on_record.first.contents.rows;
    let (first, before) = found.gap.as_ref().filter(|_| altered && fewer)?;
    Some((Kind::Removed(*first), Some(before.clone())))
}

fn mismatched(mismatch: &Mismatch, found: &Checked, low: u32, high: u32) -> (Kind, Option<Named>) {
    let Mismatch { row, wrong, entry, last } = mismatch;
    // The nearest entry before what is gone is the one that can be looked at.
    let before = || last.clone().or_else(|| Some(entry.clone()));
    let known = found.unreadable.is_none();
    match wrong {
        Wrong::Gap(first) if *row < low => (Kind::Removed(*first), before()),
        Wrong::Id | Wrong::Gap(_) => (Kind::Inserted, Some(entry.clone())),
        Wrong::Digest if *row >= high || (known && found.rows > high) => {
            (Kind::Inserted, Some(entry.clone()))
        }
        // Ids without a gap were given anew; where they have one, that is what is gone.
        Wrong::Digest if known && found.rows < low && found.gap.is_none() => {
            (Kind::Removed(entry.id), before())
        }
        Wrong::Digest => (Kind::Altered, Some(entry.clone())),
    }
}

/// Whether a partition whose entries fit each other ends where it should.
fn ends_well(on_record: &OnRecord<'_>, found: &Checked) -> bool {
    match (on_record.first.seal, on_record.end) {
        (Some(seal), _) => found.end == seal.head,
        (None, Some((end, true))) => found.on_record == Some(end.head),
        (None, Some((_, false))) => found.met.is_some(),
        (None, None) => true,
    }
}

/// The first id that is not there.
pub(super) fn next(found: &Checked) -> EntryId {
    match (&found.last, found.id.instance) {
        // The Python Helm left out ids as it pleased.
        (Some(last), Instance::FORMER) => EntryId(last.id.0 + 1),
        _ => found.id.entry(found.rows),
    }
}

/// What on record is not as the entries are.
fn misrecorded(contents: &Contents, found: &Checked) -> Option<&'static str> {
    // A service that has only twins may be missing.
    fn counted(contents: &Contents) -> impl Iterator<Item = (&String, &PerLevel)> {
        contents.services.iter().filter(|(_, levels)| **levels != [0; 5])
    }
    if contents.at != found.contents.at {
        Some("the times")
    } else if !counted(contents).eq(counted(&found.contents)) {
        Some("the services and levels")
    } else if !found.counted {
        Some("the counts per minute")
    } else {
        None
    }
}
