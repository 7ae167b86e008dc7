//! Output that was removed, or lost with the power, before it was stored. Pure.

use std::fmt;

use helm_core::time::Wall;
use helm_shim::segments::Segment;
use helm_store::entry::{Level, NewEntry, Source, flag};

use crate::follow::Place;

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// From here.
    pub from: Place,
    /// To the begin of this segment.
    pub to: u64,
    /// The file ended before `from`: a power cut took what had not reached the disk.
    pub cut: bool,
}

/// What is missing between the place that the store has and the segments that are there.
pub fn at_begin(stored: Place, there: &[Segment]) -> Option<Gap> {
    if stored == Place::default() {
        return None;
    }
    let first = there.iter().find(|segment| segment.number >= stored.segment)?;
    if first.number > stored.segment {
        return (first.number > stored.segment + 1 || stored.offset == 0).then_some(Gap {
            from: stored,
            to: first.number,
            cut: false,
        });
    }
    (!first.compressed && first.bytes < stored.offset).then_some(Gap {
        from: stored,
        to: stored.segment + 1,
        cut: true,
    })
}

/// What is missing between two lines that were read one after the other: nothing, unless whole segments were passed over.
pub fn between(before: Place, line: Place) -> Option<Gap> {
    let skipped = before != Place::default() && line.segment > before.segment + 1;
    skipped.then_some(Gap { from: before, to: line.segment, cut: false })
}

impl Gap {
    /// The entry that stands for it.
    pub fn entry(&self, service: &str, now: Wall) -> NewEntry {
        let Gap { from, to, .. } = self;
        NewEntry {
            service: service.to_owned(),
            at: now.0,
            seen: now.0,
            level: Level::Warning,
            source: Source::Helm,
            stream: 0,
            flags: flag::GAP,
            message: self.to_string(),
            plain: None,
            context: Some(format!(
                "{{\"gap\":{{\"segment\":{},\"offset\":{},\"to_segment\":{to}}}}}",
                from.segment, from.offset
            )),
            trace: None,
            user: None,
            hostname: None,
            process: None,
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gap { from, to, cut } = self;
        if *cut {
            return write!(
                f,
                "its log file {} ends before byte {}, which is stored already: a power cut took the rest",
                from.segment, from.offset
            );
        }
        write!(
            f,
            "output is missing: its log files from number {} (byte {}) to {} were removed before they were stored",
            from.segment,
            from.offset,
            to - 1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u64, bytes: u64) -> Segment {
        Segment { number, path: format!("{number}").into(), compressed: false, bytes }
    }

    fn place(segment: u64, offset: u64) -> Place {
        Place { segment, offset }
    }

    #[test]
    fn what_was_removed_is_named() {
        let there = [segment(5, 100), segment(6, 10)];
        assert_eq!(at_begin(Place::default(), &there), None, "never stored: nothing is known to be missing");
        assert_eq!(at_begin(place(5, 50), &there), None);
        assert_eq!(at_begin(place(2, 50), &there), Some(Gap { from: place(2, 50), to: 5, cut: false }));
        // The end of a file that was read whole: whether anything is missing cannot be known, so nothing is said.
        assert_eq!(at_begin(place(4, 50), &there), None);
        assert_eq!(at_begin(place(5, 200), &there), Some(Gap { from: place(5, 200), to: 6, cut: true }));
        assert_eq!(between(place(3, 9), place(4, 9)), None);
        assert_eq!(between(place(3, 9), place(6, 9)), Some(Gap { from: place(3, 9), to: 6, cut: false }));
    }
}
