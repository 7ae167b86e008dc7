//! The counts per minute of a partition that takes no more entries, as few bytes: read at once, kept in memory as they are, and unpacked where they
//! are looked at.
//!
//! ```text
//!  1 | names: how many, each its length and text | minutes: minute since the one before, services, each: name's number, levels (a bit each), counts
//! ```
//! All numbers have seven bits a byte, lowest first, the highest bit set where more follow; the first minute is folded (0, -1, 1, -2, …).

use std::collections::BTreeMap;

use crate::counts::{Sums, Wanted};
use crate::engine::Count;
use crate::entry::Level;
use crate::partition::{PerLevel, level_slot};

/// The first byte.
const VERSION: u8 = 1;
/// Minutes from one place that is remembered to the next.
const STRIDE: usize = 60;

/// See the module.
#[derive(Debug)]
pub struct Packed {
    bytes: Vec<u8>,
    names: Vec<String>,
    /// The minute before some minutes, and where these begin.
    places: Vec<(i64, usize)>,
}

impl Packed {
    /// From what an engine counted.
    pub fn of(counts: &[Count]) -> Self {
        // Bytes of one's own making can be read.
        Self::read(pack(counts)).unwrap_or(Self { bytes: Vec::new(), names: Vec::new(), places: Vec::new() })
    }

    /// From what was kept; `None` if nobody wrote that.
    pub fn read(bytes: Vec<u8>) -> Option<Self> {
        let mut at = Bytes { bytes: &bytes, at: 1 };
        if *bytes.first()? != VERSION {
            return None;
        }
        let mut names = Vec::new();
        for _ in 0..at.number()? {
            let length = usize::try_from(at.number()?).ok()?;
            names.push(String::from_utf8(at.take(length)?.to_vec()).ok()?);
        }
        let (mut places, mut minute, mut minutes) = (Vec::new(), 0, 0);
        while at.at < bytes.len() {
            if minutes % STRIDE == 0 {
                places.push((minute, at.at));
            }
            let first = minutes == 0;
            minute = at.minute(first, minute)?;
            minutes += 1;
            at.services(|service, _| names.get(service).map(drop))?;
        }
        Some(Self { bytes, names, places })
    }

    /// To be kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes in memory, roughly.
    pub fn weight(&self) -> usize {
        let names: usize = self.names.iter().map(|name| name.len() + 40).sum();
        self.bytes.len() + names + self.places.len() * 16
    }

    /// Gives every count of the minutes `from` (inclusive) to `to` (exclusive) whose service and level are wanted to `take`: minute,
    /// service, counts by level (0 where the level is not wanted).
    pub fn visit(&self, wanted: &Wanted<'_>, from: i64, to: i64, mut take: impl FnMut(i64, &str, &PerLevel)) {
        let services: Vec<bool> = self.names.iter().map(|name| wanted.service(name)).collect();
        let levels: [u64; 5] = Level::ALL.map(|level| u64::from(wanted.level(level)));
        self.unpack(from, to, |minute, service, mut counts| {
            if services[service] {
                counts.iter_mut().zip(levels).for_each(|(count, keep)| *count *= keep);
                take(minute, &self.names[service], &counts);
            }
        });
    }

    /// Gives the sums of the minutes `from` (inclusive) to `to` (exclusive) whose service and level are wanted to `take`: service, counts by
    /// level (0 where the level is not wanted).
    pub fn sums(&self, wanted: &Wanted<'_>, from: i64, to: i64, take: impl FnMut(&str, &PerLevel)) {
        let mut sums = Sums::new(self.names.len());
        self.unpack(from, to, |_, service, counts| sums.add(service, &counts));
        sums.give(&self.names, wanted, take);
    }

    /// Gives every count of some minutes: minute, number of the service, counts by level.
    fn unpack(&self, from: i64, to: i64, mut take: impl FnMut(i64, usize, PerLevel)) {
        let near = self.places.iter().skip(1).take_while(|(before, _)| *before < from).count();
        let Some((mut minute, place)) = self.places.get(near).copied() else { return };
        let mut at = Bytes { bytes: &self.bytes, at: place };
        // The first minute of all is no difference.
        let mut first = near == 0;
        while at.at < self.bytes.len() {
            let Some(next) = at.minute(first, minute).filter(|next| *next < to) else { return };
            (minute, first) = (next, false);
            let whole = at.services(|service, counts| {
                if minute >= from && service < self.names.len() {
                    take(minute, service, counts);
                }
                Some(())
            });
            if whole.is_none() {
                return;
            }
        }
    }
}

fn pack(counts: &[Count]) -> Vec<u8> {
    let mut names: BTreeMap<&str, usize> = counts.iter().map(|count| (&*count.service, 0)).collect();
    names.values_mut().enumerate().for_each(|(number, name)| *name = number);
    let mut minutes: BTreeMap<i64, BTreeMap<usize, PerLevel>> = BTreeMap::new();
    for count in counts {
        let Some(name) = names.get(&*count.service) else { continue };
        let levels = minutes.entry(count.minute).or_default().entry(*name).or_default();
        levels[level_slot(count.level)] += count.count;
    }
    let mut out = vec![VERSION];
    put(&mut out, names.len() as u64);
    for name in names.keys() {
        put(&mut out, name.len() as u64);
        out.extend_from_slice(name.as_bytes());
    }
    let mut before = None;
    for (minute, services) in minutes {
        match before {
            None => put(&mut out, folded(minute)),
            Some(before) => put(&mut out, minute.wrapping_sub(before).cast_unsigned()),
        }
        before = Some(minute);
        put(&mut out, services.len() as u64);
        for (name, levels) in services {
            put(&mut out, name as u64);
            let bits = (0..5).filter(|slot| levels[*slot] > 0).fold(0, |bits, slot| bits | 1 << slot);
            out.push(bits);
            levels.iter().filter(|count| **count > 0).for_each(|count| put(&mut out, *count));
        }
    }
    out
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Small numbers of either sign as small ones.
fn folded(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unfolded(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bytes<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn minute(&mut self, first: bool, before: i64) -> Option<i64> {
        let number = self.number()?;
        Some(if first { unfolded(number) } else { before.wrapping_add(number.cast_signed()) })
    }

    /// The services of a minute; `None` if they end too early, or if `take` says so.
    fn services(&mut self, mut take: impl FnMut(usize, PerLevel) -> Option<()>) -> Option<()> {
        for _ in 0..self.number()? {
            let service = usize::try_from(self.number()?).ok()?;
            let bits = self.byte()?;
            let mut levels = PerLevel::default();
            for (slot, count) in levels.iter_mut().enumerate() {
                if bits & (1 << slot) != 0 {
                    *count = self.number()?;
                }
            }
            take(service, levels)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Minutes;
    use crate::query::Levels;

    /// As good as random, from `seed`.
    fn counts(seed: u64) -> Vec<Count> {
        let mut state = seed;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut all: BTreeMap<(i64, String, Level), u64> = BTreeMap::new();
        for _ in 0..draw(3_000) {
            let (minute, level) = (draw(500).cast_signed() - 250, Level::ALL[draw(5) as usize]);
            let most = 1 << (1 + draw(19));
            let n = 1 + draw(most);
            *all.entry((minute * minute * minute, format!("service-{}", draw(40)), level)).or_default() += n;
        }
        let count = |((minute, service, level), count): ((_, String, _), _)| Count {
            minute,
            service: service.into(),
            level,
            count,
        };
        all.into_iter().map(count).collect()
    }

    /// All that a visit gives, without the zeros.
    fn seen(visit: impl FnOnce(&mut dyn FnMut(i64, &str, &PerLevel))) -> BTreeMap<(i64, String), PerLevel> {
        let mut seen = BTreeMap::new();
        visit(&mut |minute, service, counts| {
            if counts.iter().any(|count| *count > 0) {
                assert_eq!(seen.insert((minute, service.to_owned()), *counts), None);
            }
        });
        seen
    }

    fn keep(sums: &mut BTreeMap<String, PerLevel>, service: &str, sum: &PerLevel) {
        if sum.iter().any(|count| *count > 0) {
            sums.insert(service.to_owned(), *sum);
        }
    }

    #[test]
    fn packed_counts_say_what_unpacked_ones_say() {
        let one = ["service-7".to_owned()];
        for seed in 0..40 {
            let counts = counts(seed);
            let plain = Minutes::of(&counts);
            let packed = Packed::read(Packed::of(&counts).bytes().to_vec()).unwrap();
            for (from, to) in
                [(i64::MIN, i64::MAX), (-1_000_000, 1_000_000), (0, 1), (5, 5), (-8, 27), (1 << 40, i64::MAX)]
            {
                for (services, levels) in
                    [(&one[..0], None), (&one[..], None), (&one[..0], Some(Levels::AtLeast(Level::Error)))]
                {
                    let wanted = Wanted { services, levels };
                    let expected = seen(|take| plain.visit(&wanted, from, to, take));
                    assert_eq!(seen(|take| packed.visit(&wanted, from, to, take)), expected, "seed {seed}");
                    let mut sums: BTreeMap<String, PerLevel> = BTreeMap::new();
                    for ((_, service), counts) in &expected {
                        let sum = sums.entry(service.clone()).or_default();
                        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                    }
                    let (mut of_plain, mut of_packed) = (BTreeMap::new(), BTreeMap::new());
                    plain.sums(&wanted, from, to, |service, sum| keep(&mut of_plain, service, sum));
                    packed.sums(&wanted, from, to, |service, sum| keep(&mut of_packed, service, sum));
                    assert_eq!((&of_plain, &of_packed), (&sums, &sums), "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn what_nobody_wrote_is_no_counts() {
        let whole = Packed::of(&counts(3)).bytes().to_vec();
        assert!(Packed::read(whole[..whole.len() - 1].to_vec()).is_none(), "cut short");
        assert!(Packed::read(Vec::new()).is_none());
        assert!(Packed::read(vec![9]).is_none(), "another version");
        let many = vec![VERSION, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert!(Packed::read(many).is_none(), "a number of more than 64 bits");
    }
}
