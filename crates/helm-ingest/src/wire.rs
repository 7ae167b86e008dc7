//! Protobuf as bytes: read field by field without building messages, because a sender chooses how many there are, and because a
//! text that is no UTF-8 must not lose its whole batch.

use std::borrow::Cow;

/// The bytes are not protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A varint, a fixed64 or a fixed32.
    Number(u64),
    /// Text, bytes or a message.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The number; 0 for bytes, as for a field that is not there.
    pub(crate) fn number(self) -> u64 {
        match self {
            Value::Number(number) => number,
            Value::Bytes(_) => 0,
        }
    }

    /// The bytes; none for a number.
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Value::Number(_) => &[],
            Value::Bytes(bytes) => bytes,
        }
    }

    /// The bytes as text, mended.
    pub(crate) fn text(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.bytes())
    }
}

/// The fields of one message, in the order of their bytes. Ends behind the first fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for (at, byte) in self.0.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Damaged> {
        let count = usize::try_from(count).map_err(|_| Damaged)?;
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Damaged> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Number(number(self.take(8)?)),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Number(number(self.take(4)?)),
            // Groups are of a time before these formats.
            _ => return Err(Damaged),
        };
        if key >> 3 == 0 { Err(Damaged) } else { Ok((key >> 3, value)) }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Appends a number field, as a varint.
pub(crate) fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

/// Appends a text, bytes or message field.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read() {
        let mut out = Vec::new();
        for value in [0, 1, 127, 128, u64::MAX] {
            put_number(&mut out, 3, value);
        }
        put_bytes(&mut out, 1000, b"text");
        out.extend([0x09, 1, 2, 3, 4, 5, 6, 7, 8]);
        out.extend([0x15, 1, 2, 3, 4]);
        let read: Vec<_> = Fields(&out).map(|field| field.expect("whole")).collect();
        let numbers = [0, 1, 127, 128, u64::MAX].map(|value| (3, Value::Number(value)));
        assert_eq!(read[..5], numbers);
        assert_eq!(
            read[5..],
            [
                (1000, Value::Bytes(b"text")),
                (1, Value::Number(0x0807_0605_0403_0201)),
                (2, Value::Number(0x0403_0201))
            ]
        );
    }

    #[test]
    fn a_fault_ends_it() {
        for bytes in [
            [0x80; 11].as_slice(),
            b"\x0a\x05abc",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x00\x01",
            b"\x0b\x0c",
            b"\x09\x01",
        ] {
            let read: Vec<_> = Fields(bytes).collect();
            assert_eq!(read, [Err(Damaged)], "{bytes:?}");
        }
    }
}
