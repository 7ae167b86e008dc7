//! Samples of one series, packed: times as delta of delta, values as XOR with the one before (Gorilla; Pelkonen et al., VLDB 2015, section 4.1).
//!
//! Times are kept in milliseconds: a sampler's clock is no better.

use super::bits::{Reader, Writer};

/// One sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Nanoseconds since 1970; a multiple of a millisecond once stored.
    pub at: i64,
    /// Value.
    pub value: f64,
}

const MILLI: i64 = 1_000_000;

/// Width of the delta of delta after each prefix of ones: prefix `0` stands for no change at all.
const WIDTHS: [u8; 4] = [7, 12, 20, 64];

/// A block that grows by one sample at a time, oldest first: an hour in hand costs what it costs on disk.
#[derive(Debug, Clone, Default)]
pub struct Packer {
    out: Writer,
    count: u32,
    /// Of the newest sample: its time in milliseconds, the step to it, the bits of its value.
    time: i64,
    delta: i64,
    value: u64,
    window: Window,
}

impl Packer {
    /// One more.
    pub fn push(&mut self, sample: Sample) {
        let (at, bits) = (sample.at.div_euclid(MILLI), sample.value.to_bits());
        if self.count == 0 {
            // Room for their number, which is known last.
            self.out.put(0, 32);
            self.out.put(at.cast_unsigned(), 64);
            self.out.put(bits, 64);
        } else {
            let step = at.wrapping_sub(self.time);
            put_change(&mut self.out, step.wrapping_sub(self.delta));
            put_value(&mut self.out, self.value ^ bits, &mut self.window);
            self.delta = step;
        }
        (self.time, self.value) = (at, bits);
        self.count += 1;
    }

    /// No sample yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Time of the newest sample, if there is one.
    pub fn newest(&self) -> Option<i64> {
        (self.count > 0).then(|| self.time.wrapping_mul(MILLI))
    }

    /// The block so far.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.out.bytes().to_vec();
        match bytes.first_chunk_mut() {
            Some(count) => *count = self.count.to_be_bytes(),
            None => bytes.extend(0_u32.to_be_bytes()),
        }
        bytes
    }
}

/// Packs samples, oldest first.
pub fn pack(samples: &[Sample]) -> Vec<u8> {
    let mut packer = Packer::default();
    samples.iter().for_each(|sample| packer.push(*sample));
    packer.bytes()
}

/// Unpacks them; `None` if the bytes are no block.
pub fn unpack(bytes: &[u8]) -> Option<Vec<Sample>> {
    let mut bits = Reader::new(bytes);
    let count = bits.take(32)?;
    // Each sample but the first takes at least two bits.
    if count > 1 + 4 * bytes.len() as u64 {
        return None;
    }
    let mut samples = Vec::with_capacity(usize::try_from(count).ok()?);
    let (mut time, mut delta, mut value) = (0i64, 0i64, 0u64);
    let mut window = None;
    for n in 0..count {
        if n == 0 {
            (time, value) = (bits.take(64)?.cast_signed(), bits.take(64)?);
        } else {
            delta = delta.wrapping_add(take_change(&mut bits)?);
            time = time.wrapping_add(delta);
            value ^= take_value(&mut bits, &mut window)?;
        }
        samples.push(Sample { at: time.wrapping_mul(MILLI), value: f64::from_bits(value) });
    }
    Some(samples)
}

fn put_change(out: &mut Writer, change: i64) {
    if change == 0 {
        out.put(0, 1);
        return;
    }
    let fits = |width: u8| width == 64 || (-(1i64 << (width - 1))..1i64 << (width - 1)).contains(&change);
    let class = WIDTHS.iter().position(|width| fits(*width)).unwrap_or(WIDTHS.len() - 1);
    // `10`, `110`, `1110`, `1111`
    for _ in 0..=class {
        out.put(1, 1);
    }
    if class + 1 < WIDTHS.len() {
        out.put(0, 1);
    }
    out.put(change.cast_unsigned(), WIDTHS[class]);
}

fn take_change(bits: &mut Reader<'_>) -> Option<i64> {
    if !bits.bit()? {
        return Some(0);
    }
    let mut class = 0;
    while class + 1 < WIDTHS.len() && bits.bit()? {
        class += 1;
    }
    let width = WIDTHS[class];
    let raw = bits.take(width)?;
    // Sign-extended from its width.
    Some((raw << (64 - width)).cast_signed() >> (64 - width))
}

/// Leading zeros and width of the bits that changed last time.
type Window = Option<(u8, u8)>;

fn put_value(out: &mut Writer, xor: u64, window: &mut Window) {
    if xor == 0 {
        out.put(0, 1);
        return;
    }
    out.put(1, 1);
    let leading = u8::try_from(xor.leading_zeros().min(31)).unwrap_or(31);
    let trailing = u8::try_from(xor.trailing_zeros()).unwrap_or(0);
    if let Some((lead, width)) = *window
        && leading >= lead
        && trailing >= 64 - lead - width
    {
        out.put(0, 1);
        out.put(xor >> (64 - lead - width), width);
        return;
    }
    let width = 64 - leading - trailing;
    out.put(1, 1);
    out.put(u64::from(leading), 5);
    out.put(u64::from(width - 1), 6);
    out.put(xor >> trailing, width);
    *window = Some((leading, width));
}

fn take_value(bits: &mut Reader<'_>, window: &mut Window) -> Option<u64> {
    if !bits.bit()? {
        return Some(0);
    }
    if bits.bit()? {
        let leading = u8::try_from(bits.take(5)?).ok()?;
        let width = u8::try_from(bits.take(6)?).ok()? + 1;
        if leading + width > 64 {
            return None;
        }
        *window = Some((leading, width));
    }
    let (lead, width) = (*window)?;
    Some(bits.take(width)? << (64 - lead - width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_hour_of_a_steady_series_takes_little_room() {
        let steady: Vec<Sample> = (0..720)
            .map(|n| Sample { at: n * 5_000 * MILLI, value: f64::from(u32::try_from(n / 60).unwrap()) })
            .collect();
        let bytes = pack(&steady);
        assert!(bytes.len() < 720, "{} bytes", bytes.len());
        assert_eq!(unpack(&bytes), Some(steady));
    }

    #[test]
    fn a_torn_block_is_no_block() {
        let bytes = pack(&[Sample { at: 0, value: 1.0 }, Sample { at: MILLI, value: 2.0 }]);
        assert_eq!(unpack(&bytes[..bytes.len() - 1]), None);
        assert_eq!(unpack(&[0xff; 8]), None);
        assert_eq!(unpack(&pack(&[])), Some(vec![]));
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(samples in prop::collection::vec((any::<i32>(), any::<u64>()), 0..50)) {
            let samples: Vec<Sample> =
                samples.iter().map(|(at, bits)| Sample { at: i64::from(*at) * MILLI, value: f64::from_bits(*bits) }).collect();
            let back = unpack(&pack(&samples)).unwrap();
            // Bits and not values: NaN is no sample, but must not break a block.
            let bits = |s: &[Sample]| s.iter().map(|s| (s.at, s.value.to_bits())).collect::<Vec<_>>();
            prop_assert_eq!(bits(&back), bits(&samples));
        }

        #[test]
        fn no_bytes_make_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&bytes);
        }
    }
}
