//! Loki's push as protobuf (`logproto.PushRequest`), which comes packed with snappy.

use std::borrow::Cow;

use super::{entry, labels};
use crate::shared::Shared;
use crate::wire::{Damaged, Fields};
use crate::{Asked, BodyError, Decoded, unpack};

/// Reads a body as it comes: a snappy block.
pub(crate) fn decode(asked: &Asked<'_>, body: &[u8]) -> Result<Decoded, BodyError> {
    let request = unpack::snappy(body)?;
    let mut decoded = Decoded { service: asked.service.unwrap_or_default().to_owned(), ..Decoded::default() };
    for field in Fields(&request) {
        if let (1, stream) = field? {
            stream_adapter(asked, stream.bytes(), &mut decoded)?;
        }
    }
    Ok(decoded)
}

fn stream_adapter(asked: &Asked<'_>, bytes: &[u8], decoded: &mut Decoded) -> Result<(), BodyError> {
    let mut shared = Shared::default();
    for field in Fields(bytes) {
        if let (1, text) = field? {
            labels(&text.text(), &mut shared);
        }
    }
    for field in Fields(bytes) {
        if let (2, message) = field? {
            entry_adapter(asked, message.bytes(), &shared, decoded)?;
        }
    }
    Ok(())
}

fn entry_adapter(
    asked: &Asked<'_>,
    bytes: &[u8],
    shared: &Shared,
    decoded: &mut Decoded,
) -> Result<(), BodyError> {
    let (mut at, mut line) = (None, [].as_slice());
    for field in Fields(bytes) {
        match field? {
            (1, stamp) => at = Some(timestamp(stamp.bytes())?),
            (2, text) => line = text.bytes(),
            _ => {}
        }
    }
    let metadata = Fields(bytes).filter_map(Result::ok).filter(|(field, _)| *field == 3);
    let metadata = metadata.filter_map(|(_, pair)| pair_of(pair.bytes()));
    entry(asked, decoded, shared, at, line, metadata)
}

fn pair_of(bytes: &[u8]) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let (mut name, mut value) = (Cow::Borrowed(""), Cow::Borrowed(""));
    for field in Fields(bytes) {
        match field.ok()? {
            (1, text) => name = text.text(),
            (2, text) => value = text.text(),
            _ => {}
        }
    }
    Some((name, value))
}

/// A `google.protobuf.Timestamp` in nanoseconds; what has no place there is at the end of what has.
fn timestamp(bytes: &[u8]) -> Result<i64, Damaged> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields(bytes) {
        match field? {
            (1, number) => seconds = number.number().cast_signed(),
            (2, number) => nanos = number.number().cast_signed(),
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}
