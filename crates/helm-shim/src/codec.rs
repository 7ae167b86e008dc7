//! The framing of [`crate::wire`]: a 4-byte little-endian length, then that many bytes of JSON.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::MAX_MESSAGE;

/// Why a message could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The stream cannot be followed any more: close it.
    #[error("a message of {0} bytes was announced, at most {MAX_MESSAGE} are allowed: close the connection")]
    TooLong(u32),
    /// This one message is unknown (a peer of another version): it was skipped, the next one can be taken.
    #[error("a message was skipped: {0}")]
    Unknown(#[from] serde_json::Error),
}

/// One message with its length in front.
#[expect(
    clippy::expect_used,
    reason = "our messages have text keys and no failing serializers: JSON cannot refuse them"
)]
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message).expect("messages are plain data");
    let length = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// Takes messages out of a stream of bytes, without any IO of its own.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Everything before it was handed out.
    taken: usize,
}

impl Decoder {
    /// More bytes have come.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if there is one.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, CodecError> {
        let rest = &self.buffer[self.taken..];
        let Some((head, body)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head);
        if length > MAX_MESSAGE {
            return Err(CodecError::TooLong(length));
        }
        let Some(body) = body.get(..length as usize) else { return Ok(None) };
        let message = serde_json::from_slice(body);
        self.taken += 4 + length as usize;
        if self.taken == self.buffer.len() {
            // Nothing is left: give the memory back (an environment may have been large).
            self.buffer = Vec::new();
            self.taken = 0;
        }
        Ok(Some(message?))
    }
}

/// Writes one message.
pub fn write_message<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    to.write_all(&encode(message))
}

/// Reads one message; `None` at the end of the stream between two messages.
pub fn read_message<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut head = [0; 4];
    let first = from.read(&mut head)?;
    if first == 0 {
        return Ok(None);
    }
    from.read_exact(&mut head[first..])?;
    let length = u32::from_le_bytes(head);
    if length > MAX_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, CodecError::TooLong(length)));
    }
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Order, Report};
    use helm_core::status::RunId;
    use proptest::prelude::*;

    #[test]
    fn an_unknown_message_is_skipped_and_a_long_one_ends_the_stream() {
        let mut d = Decoder::default();
        d.feed(&encode(&serde_json::json!({"dance": {}})));
        d.feed(&encode(&Order::Retire));
        assert!(matches!(d.take::<Order>(), Err(CodecError::Unknown(_))));
        assert_eq!(d.take::<Order>().unwrap(), Some(Order::Retire));
        d.feed(&(MAX_MESSAGE + 1).to_le_bytes());
        assert!(matches!(d.take::<Order>(), Err(CodecError::TooLong(_))));
    }

    #[test]
    fn std_reader_and_writer() {
        let mut bytes = Vec::new();
        write_message(&mut bytes, &Order::Kill { run: RunId(7) }).unwrap();
        let mut from = &bytes[..];
        assert_eq!(read_message::<Order>(&mut from).unwrap(), Some(Order::Kill { run: RunId(7) }));
        assert_eq!(read_message::<Order>(&mut from).unwrap(), None);
        assert!(read_message::<Order>(&mut &bytes[..6]).is_err(), "cut inside a message");
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_messages(
            texts in prop::collection::vec(".{0,40}", 0..6), cuts in prop::collection::vec(1usize..20, 1..60)
        ) {
            let sent: Vec<Report> = texts.into_iter().map(|trouble| Report::Output { trouble }).collect();
            let bytes: Vec<u8> = sent.iter().flat_map(encode).collect();
            let (mut d, mut got, mut at, mut cut) = (Decoder::default(), Vec::new(), 0, cuts.iter().cycle());
            while at < bytes.len() {
                let end = (at + cut.next().unwrap()).min(bytes.len());
                d.feed(&bytes[at..end]);
                at = end;
                while let Some(m) = d.take::<Report>().unwrap() { got.push(m); }
            }
            prop_assert_eq!(got, sent);
        }
    }
}
