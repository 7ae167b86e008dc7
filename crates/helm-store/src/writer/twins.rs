//! A line that comes twice, printed and sent, is shown once: which entries are the twin of another.
//!
//! A service's logger sends what the service also prints. Of two entries of one service with the same text, one captured and one sent, whose times
//! lie within [`NEAR`], the one that is written later is the twin, whichever of the two that is. Each entry has one twin at most: a line that was
//! printed three times and sent three times is shown three times.
//!
//! What has no twin yet is remembered in a bounded window, in memory alone: around a restart both of a pair may be shown. Like all of the ledger
//! it is a function of values: [`Pairing`] only says what a transaction would change, [`Twins::apply`] takes in what the database has done.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use crate::entry::{NewEntry, Source};

/// How far the times of two twins may be apart, in nanoseconds: loggers stamp an entry when it is made, and send it within seconds.
const NEAR: u64 = 10 * 1_000_000_000;

/// Entries without a twin that are remembered. At a thousand lines in a second that is half a minute; about 4 MiB.
const WINDOW: usize = 32_768;

/// Entries of the same text, the latest ones, that are looked through for the nearest.
const LOOKED_THROUGH: usize = 256;

/// The two ways by which a line comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Captured,
    Sent,
}

impl Side {
    fn of(source: Source) -> Option<Side> {
        match source {
            Source::Captured => Some(Side::Captured),
            Source::Sent => Some(Side::Sent),
            Source::Helm | Source::Former => None,
        }
    }

    fn other(self) -> Side {
        match self {
            Side::Captured => Side::Sent,
            Side::Sent => Side::Captured,
        }
    }
}

/// Service and text, hashed with a key of this process: nobody can make a text that hides another's line.
type Key = (u64, Side);

/// What waits for its twin.
#[derive(Debug, Clone, Default)]
pub(super) struct Twins {
    hasher: RandomState,
    /// By text: number and time of each, oldest first.
    waiting: HashMap<Key, VecDeque<(u64, i64)>>,
    /// All of them, oldest first; some have found their twin since.
    order: VecDeque<(u64, Key)>,
    next: u64,
}

impl Twins {
    /// The key of an entry that can have a twin.
    fn key(&self, entry: &NewEntry) -> Option<Key> {
        let side = Side::of(entry.source)?;
        // Without colours; loggers end a stack trace with a newline, captured lines have none.
        let text = entry.plain.as_ref().unwrap_or(&entry.message).trim_end();
        (!text.is_empty()).then(|| (self.hasher.hash_one((&entry.service, text)), side))
    }

    /// The number of the one that waits under `key`, is not `used`, and is nearest to `at`, if near enough.
    fn near(&self, key: Key, at: i64, used: &HashSet<u64>) -> Option<u64> {
        let latest = self.waiting.get(&key)?.iter().rev().take(LOOKED_THROUGH);
        let near = latest.filter(|(number, time)| time.abs_diff(at) <= NEAR && !used.contains(number));
        near.min_by_key(|(number, time)| (time.abs_diff(at), *number)).map(|(number, _)| *number)
    }

    fn add(&mut self, key: Key, at: i64) {
        let number = self.next;
        self.next += 1;
        self.waiting.entry(key).or_default().push_back((number, at));
        self.order.push_back((number, key));
        if self.order.len() > WINDOW
            && let Some((number, key)) = self.order.pop_front()
        {
            self.forget(key, number);
        }
    }

    fn forget(&mut self, key: Key, number: u64) {
        let Some(waiting) = self.waiting.get_mut(&key) else { return };
        if let Ok(at) = waiting.binary_search_by_key(&number, |(number, _)| *number) {
            waiting.remove(at);
        }
        if waiting.is_empty() {
            self.waiting.remove(&key);
        }
    }

    /// Takes in what a transaction that was carried out has found.
    pub(super) fn apply(&mut self, paired: Paired) {
        for (key, number) in paired.met {
            self.forget(key, number);
        }
        for (key, at) in paired.new {
            self.add(key, at);
        }
    }
}

/// What a transaction would change.
#[derive(Debug, Default)]
pub struct Paired {
    /// Those that waited, and have a twin now.
    met: Vec<(Key, u64)>,
    /// Those that have none.
    new: Vec<(Key, i64)>,
}

/// The entries of a transaction in the making, beside those that wait.
pub(super) struct Pairing<'a> {
    base: &'a Twins,
    used: HashSet<u64>,
    met: Vec<(Key, u64)>,
    /// Of this transaction.
    own: Twins,
    gone: HashSet<u64>,
}

impl<'a> Pairing<'a> {
    pub(super) fn beside(base: &'a Twins) -> Self {
        let own = Twins { hasher: base.hasher.clone(), ..Twins::default() };
        Self { base, used: HashSet::new(), met: Vec::new(), own, gone: HashSet::new() }
    }

    /// Whether this entry is the twin of one that was written before it.
    pub(super) fn is_twin(&mut self, entry: &NewEntry) -> bool {
        let Some(key) = self.base.key(entry) else { return false };
        let wanted = (key.0, key.1.other());
        if let Some(number) = self.base.near(wanted, entry.at, &self.used) {
            self.used.insert(number);
            self.met.push((wanted, number));
            return true;
        }
        if let Some(number) = self.own.near(wanted, entry.at, &self.gone) {
            self.gone.insert(number);
            return true;
        }
        self.own.add(key, entry.at);
        false
    }

    pub(super) fn finish(self) -> Paired {
        let Self { met, own, gone, .. } = self;
        let mut new: Vec<(u64, Key, i64)> = Vec::with_capacity(own.order.len());
        for (key, waiting) in own.waiting {
            let left = waiting.into_iter().filter(|(number, _)| !gone.contains(number));
            new.extend(left.map(|(number, at)| (number, key, at)));
        }
        new.sort_unstable_by_key(|(number, ..)| *number);
        Paired { met, new: new.into_iter().map(|(_, key, at)| (key, at)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::tests::sample;

    const SECOND: i64 = 1_000_000_000;

    fn entry(source: Source, text: &str, at: i64) -> NewEntry {
        NewEntry { source, at: at * SECOND, plain: None, ..sample(text) }
    }

    fn captured(text: &str, at: i64) -> NewEntry {
        entry(Source::Captured, text, at)
    }

    fn sent(text: &str, at: i64) -> NewEntry {
        entry(Source::Sent, text, at)
    }

    /// Which of the entries are twins; each group is one transaction.
    fn twins(groups: &[&[NewEntry]]) -> Vec<Vec<bool>> {
        let mut twins = Twins::default();
        let carried_out = groups.iter().map(|group| {
            let mut pairing = Pairing::beside(&twins);
            let found = group.iter().map(|entry| pairing.is_twin(entry)).collect();
            let paired = pairing.finish();
            twins.apply(paired);
            found
        });
        carried_out.collect()
    }

    #[test]
    fn the_later_one_is_the_twin_whichever_way_it_came() {
        assert_eq!(twins(&[&[captured("a", 0)], &[sent("a", 9)]]), [[false], [true]]);
        assert_eq!(twins(&[&[sent("a", 9)], &[captured("a", 0)]]), [[false], [true]]);
        assert_eq!(twins(&[&[sent("a", 0), captured("a", 0)]]), [[false, true]]);
    }

    #[test]
    fn what_differs_is_no_twin() {
        let other = NewEntry { service: "other".into(), ..sent("a", 0) };
        for near in
            [captured("a", 1), sent("b", 0), sent("a", 11), other, entry(Source::Helm, "a", 0), sent("", 0)]
        {
            assert_eq!(
                twins(&[&[captured("a", 0)], std::slice::from_ref(&near)]),
                [[false], [false]],
                "{near:?}"
            );
        }
        assert_eq!(twins(&[&[captured("", 0), sent("", 0)]]), [[false, false]]);
    }

    #[test]
    fn colours_and_a_newline_at_the_end_make_no_difference() {
        let coloured =
            NewEntry { plain: Some("GET / 200".into()), ..captured("\u{1b}[33mGET / 200\u{1b}[0m", 0) };
        assert_eq!(twins(&[&[coloured], &[sent("GET / 200\n", 0)]]), [[false], [true]]);
    }

    #[test]
    fn each_line_has_one_twin() {
        let three = [captured("a", 0), captured("a", 1), captured("a", 2)];
        let four = [sent("a", 0), sent("a", 1), sent("a", 2), sent("a", 3)];
        assert_eq!(twins(&[&three, &four]), [vec![false; 3], vec![true, true, true, false]]);
        assert_eq!(
            twins(&[&[sent("a", 0), captured("a", 0), captured("a", 0), sent("a", 0)]]),
            [[false, true, false, true]]
        );
        // What has none waits for the next one of its kind, as long as that is near.
        assert_eq!(
            twins(&[&[captured("a", 0), captured("a", 100)], &[sent("a", 105)]]),
            [vec![false, false], vec![true]]
        );
    }

    #[test]
    fn a_transaction_that_is_not_carried_out_changes_nothing() {
        let mut twins = Twins::default();
        let mut first = Pairing::beside(&twins);
        first.is_twin(&captured("a", 0));
        let paired = first.finish();
        twins.apply(paired);
        for _ in 0..3 {
            assert!(Pairing::beside(&twins).is_twin(&sent("a", 0)));
        }
    }

    #[test]
    fn the_window_is_bounded() {
        let mut twins = Twins::default();
        for n in 0..2 * WINDOW {
            let mut pairing = Pairing::beside(&twins);
            pairing.is_twin(&captured(&format!("line {}", n % (WINDOW + 7)), 0));
            let paired = pairing.finish();
            twins.apply(paired);
        }
        let waiting: usize = twins.waiting.values().map(VecDeque::len).sum();
        assert_eq!((twins.order.len(), waiting), (WINDOW, WINDOW));
        assert!(!Pairing::beside(&twins).is_twin(&sent("line 32764", 0)), "it is forgotten");
        assert!(Pairing::beside(&twins).is_twin(&sent("line 100", 0)));
    }
}
