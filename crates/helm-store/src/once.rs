//! What makes a repeated append harmless: numbers of a sender, keys of its choice. Pure.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// Keys that are remembered in one class.
pub const KEYS: usize = 200_000;
/// How long a key is remembered, nanoseconds, while there are fewer than [`KEYS`].
pub const KEY_AGE: i64 = 86_400 * 1_000_000_000;
/// How long it is remembered in any case: more keys than fit are refused rather than one younger than this forgotten.
pub const KEY_FLOOR: i64 = 600 * 1_000_000_000;
/// Where memory ends all the same: what was acknowledged into the local queue is remembered without being asked for, and may be so many.
const MOST: usize = 4 * KEYS;
/// Before keys of helmd's own. No sender's key holds it, or one could say that a removal is on record already; and none is refused because
/// senders have many.
pub(crate) const OWN: char = '\u{1}';
/// When a sender of numbered batches is forgotten that sends no more, nanoseconds.
pub const SENDER_AGE: i64 = 30 * KEY_AGE;

/// Whether a numbered batch was kept before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It was not.
    No,
    /// It was.
    Kept,
    /// It is so far below the last one that this is no longer known.
    Unknown,
}

/// Which batches of one sender were kept: several may be under way at once, and come in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// The highest number.
    pub last: u64,
    /// Bit `n`: whether `last - n` was kept.
    pub window: u64,
    /// When the last one came, nanoseconds since 1970.
    pub at: i64,
}

impl Numbers {
    /// How far below the last number it is known which were kept.
    pub const WINDOW: u64 = u64::BITS as u64;

    /// Of a sender whose first batch is this.
    pub fn first(number: u64, at: i64) -> Self {
        Self { last: number, window: 1, at }
    }

    /// Whether this batch was kept.
    pub fn seen(&self, number: u64) -> Seen {
        match self.last.checked_sub(number) {
            None => Seen::No,
            Some(below) if below >= Self::WINDOW => Seen::Unknown,
            Some(below) if self.window >> below & 1 == 1 => Seen::Kept,
            Some(_) => Seen::No,
        }
    }

    /// This batch is kept.
    pub fn add(&mut self, number: u64, at: i64) {
        self.at = self.at.max(at);
        match number.checked_sub(self.last) {
            Some(above) => {
                let kept = if above < Self::WINDOW { self.window << above } else { 0 };
                (self.last, self.window) = (number, kept | 1);
            }
            None => {
                let below = self.last - number;
                self.window |= if below < Self::WINDOW { 1 << below } else { 0 };
            }
        }
    }
}

/// Keys in the order of their coming, as digests: a key of 200 bytes costs no more than a short one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    known: HashSet<u128>,
    order: VecDeque<(i64, u128)>,
}

fn digest(key: &str) -> u128 {
    let whole = Sha256::digest(key);
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    u128::from_be_bytes(half)
}

/// One from the future came while the clock was wrong: of that nobody knows the age.
fn is_young(at: i64, now: i64) -> bool {
    at <= now && at.saturating_add(KEY_FLOOR) > now
}

impl Keys {
    pub(crate) fn has(&self, key: &str) -> bool {
        self.known.contains(&digest(key))
    }

    /// How long `more` keys must wait, lest one is forgotten too early; `None`: there is room.
    pub(crate) fn waits(&self, more: usize, now: i64) -> Option<Duration> {
        let over = (self.order.len() + more).saturating_sub(KEYS);
        let (at, _) = self.order.get(over.checked_sub(1)?)?;
        is_young(*at, now).then(|| Duration::from_nanos(at.saturating_add(KEY_FLOOR).abs_diff(now)))
    }

    pub(crate) fn add(&mut self, key: &str, now: i64) {
        while let Some((at, old)) = self.order.front().copied() {
            let over = self.order.len() >= KEYS && !is_young(at, now);
            if !over && self.order.len() < MOST && at.saturating_add(KEY_AGE) >= now {
                break;
            }
            self.order.pop_front();
            self.known.remove(&old);
        }
        let key = digest(key);
        if self.known.insert(key) {
            self.order.push_back((now, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_forgotten_after_a_day() {
        let mut keys = Keys::default();
        keys.add("a", 0);
        keys.add("b", KEY_AGE);
        assert!(keys.has("a"));
        keys.add("c", KEY_AGE + 1);
        assert!(!keys.has("a") && keys.has("b"));
    }

    #[test]
    fn no_key_is_forgotten_before_its_time() {
        let mut keys = Keys::default();
        for n in 0..KEYS {
            assert_eq!(keys.waits(1, 0), None);
            keys.add(&n.to_string(), 0);
        }
        assert_eq!(keys.waits(1, KEY_FLOOR - 1), Some(Duration::from_nanos(1)));
        keys.add("unasked", KEY_FLOOR - 1);
        assert!(keys.has("0") && keys.has("unasked"));
        assert_eq!(keys.waits(1, KEY_FLOOR), None);
        keys.add("more", KEY_FLOOR);
        assert!(!keys.has("0") && !keys.has("1") && keys.has("2") && keys.has("more"));
        keys.order = (0..MOST as u128).map(|n| (KEY_FLOOR, n)).collect();
        keys.add("the last", KEY_FLOOR);
        assert_eq!(keys.order.len(), MOST);
    }

    proptest! {
        #[test]
        fn a_window_knows_what_a_set_knows(numbers in prop::collection::vec(1u64..200, 1..60)) {
            let mut window = Numbers::first(numbers[0], 0);
            let mut kept = HashSet::from([numbers[0]]);
            for number in &numbers[1..] {
                match window.seen(*number) {
                    Seen::Kept => prop_assert!(kept.contains(number)),
                    Seen::No => {
                        prop_assert!(kept.insert(*number));
                        window.add(*number, 0);
                    }
                    Seen::Unknown => prop_assert!(number + Numbers::WINDOW <= window.last),
                }
                prop_assert_eq!(window.seen(*number) == Seen::No, false);
            }
        }
    }
}
