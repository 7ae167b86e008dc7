//! Look-ups by trace and user in a partition that has no index for them yet: 32-bit hashes in memory, 8 bytes a row.
//!
//! A hash may lie: the rows that are named are candidates, which the reader tests again.

use std::hash::Hasher;

use crate::entry::NewEntry;

/// Hashes of the rows from `base` on.
#[derive(Debug, Clone, Default)]
pub struct Hot {
    base: u32,
    traces: Vec<u32>,
    users: Vec<u32>,
}

impl Hot {
    /// Nothing yet; the first entry that is added is row `base`.
    pub fn from(base: u32) -> Self {
        Self { base, ..Self::default() }
    }

    /// First row that is known.
    pub fn base(&self) -> u32 {
        self.base
    }

    /// One past the last row that is known.
    pub fn end(&self) -> u32 {
        self.base + u32::try_from(self.traces.len()).unwrap_or(0)
    }

    /// Takes in the next row.
    pub fn push(&mut self, entry: &NewEntry) {
        self.traces.push(hash(entry.trace.as_deref()));
        self.users.push(hash(entry.user.as_deref()));
    }

    /// Adds the rows that may have this trace and this user (those that are given) to `rows`, in order.
    pub fn find(&self, trace: Option<&str>, user: Option<&str>, rows: &mut Vec<u32>) {
        let (trace, user) = (hash(trace), hash(user));
        let fits = |wanted: u32, has: u32| wanted == 0 || wanted == has;
        let found = self.traces.iter().zip(&self.users).enumerate();
        rows.extend(
            found
                .filter(|(_, (t, u))| fits(trace, **t) && fits(user, **u))
                .filter_map(|(at, _)| u32::try_from(at).ok())
                .map(|at| self.base + at),
        );
    }
}

/// 0 is kept for what is not there.
fn hash(text: Option<&str>) -> u32 {
    let Some(text) = text else { return 0 };
    // Fixed keys: the same text has the same value as long as the process lives, and it is kept nowhere else.
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(text.as_bytes());
    u32::try_from(hasher.finish() >> 32).unwrap_or(1).max(1)
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
