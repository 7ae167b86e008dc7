//! A text of bits.

/// Bits, written from the left.
#[derive(Debug, Clone, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// Bits of the last byte that are in use, 0 to 7; 0: none is begun.
    used: u8,
}

impl Writer {
    /// What was written; the last byte is filled up with zeros.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The lowest `count` bits of `value`.
    pub(super) fn put(&mut self, value: u64, count: u8) {
        let mut left = count;
        while left > 0 {
            if self.used == 0 {
                self.bytes.push(0);
            }
            let free = 8 - self.used;
            let taken = free.min(left);
            left -= taken;
            let piece = (value >> left & ((1 << taken) - 1)).to_le_bytes()[0];
            if let Some(last) = self.bytes.last_mut() {
                *last |= piece << (free - taken);
            }
            self.used = (self.used + taken) % 8;
        }
    }
}

/// Reads them again.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// From the first bit.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// `count` bits; `None` at the end.
    pub(super) fn take(&mut self, count: u8) -> Option<u64> {
        let mut value = 0;
        let mut left = usize::from(count);
        while left > 0 {
            let byte = u64::from(*self.bytes.get(self.at / 8)?);
            let free = 8 - self.at % 8;
            let taken = free.min(left);
            value = value << taken | (byte >> (free - taken) & ((1 << taken) - 1));
            self.at += taken;
            left -= taken;
        }
        Some(value)
    }

    /// One bit.
    pub(super) fn bit(&mut self) -> Option<bool> {
        self.take(1).map(|bit| bit == 1)
    }
}
