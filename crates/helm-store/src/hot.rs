//! Look-ups by trace and user in a partition that has no index for them yet: 32-bit hashes in memory, 8 bytes for each that a row has.
//!
//! A hash may lie: the rows that are named are candidates, which the reader tests again.

use std::hash::Hasher;

use crate::entry::NewEntry;

/// Hashes of the rows from `base` on.
#[derive(Debug, Clone, Default)]
pub struct Hot {
    base: u32,
    end: u32,
    traces: Hashes,
    users: Hashes,
}

/// Rows that have a value, in order, with its hash.
#[derive(Debug, Clone, Default)]
struct Hashes(Vec<(u32, u32)>);

impl Hashes {
    fn push(&mut self, row: u32, text: Option<&str>) {
        self.0.extend(text.map(|text| (row, hash(text))));
    }

    fn rows_of(&self, text: &str) -> impl Iterator<Item = u32> {
        let wanted = hash(text);
        self.0.iter().filter(move |(_, hash)| *hash == wanted).map(|(row, _)| *row)
    }
}

impl Hot {
    /// Nothing yet; the first entry that is added is row `base`.
    pub fn from(base: u32) -> Self {
        Self { base, end: base, ..Self::default() }
    }

    /// First row that is known.
    pub fn base(&self) -> u32 {
        self.base
    }

    /// One past the last row that is known.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Takes in the next row.
    pub fn push(&mut self, entry: &NewEntry) {
        self.traces.push(self.end, entry.trace.as_deref());
        self.users.push(self.end, entry.user.as_deref());
        self.end += 1;
    }

    /// Adds the rows that may have this trace and this user (those that are given) to `rows`, in order.
    pub fn find(&self, trace: Option<&str>, user: Option<&str>, rows: &mut Vec<u32>) {
        match (trace, user) {
            (None, None) => rows.extend(self.base..self.end),
            (Some(trace), None) => rows.extend(self.traces.rows_of(trace)),
            (None, Some(user)) => rows.extend(self.users.rows_of(user)),
            (Some(trace), Some(user)) => {
                let of_user: Vec<u32> = self.users.rows_of(user).collect();
                rows.extend(self.traces.rows_of(trace).filter(|row| of_user.binary_search(row).is_ok()));
            }
        }
    }
}

fn hash(text: &str) -> u32 {
    // Fixed keys: the same text has the same value as long as the process lives, and it is kept nowhere else.
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(text.as_bytes());
    u32::try_from(hasher.finish() >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::tests::sample;

    #[test]
    fn rows_are_found_by_trace_and_user() {
        let mut hot = Hot::from(10);
        for (trace, user) in
            [(Some("t1"), None), (Some("t2"), Some("u")), (None, Some("u")), (Some("t1"), Some("u"))]
        {
            hot.push(&NewEntry {
                trace: trace.map(str::to_owned),
                user: user.map(str::to_owned),
                ..sample("x")
            });
        }
        let find = |trace, user| {
            let mut rows = Vec::new();
            hot.find(trace, user, &mut rows);
            rows
        };
        assert_eq!(find(Some("t1"), None), [10, 13]);
        assert_eq!(find(None, Some("u")), [11, 12, 13]);
        assert_eq!(find(Some("t1"), Some("u")), [13]);
        assert_eq!(find(Some(""), None), Vec::<u32>::new(), "an empty trace is no absent one");
        assert_eq!(hot.end(), 14);
    }
}
