//! The chain of digests that makes alteration evident.
//!
//! `digest(n) = SHA-256(digest(n-1) ‖ encoding(entry n))`, one chain per instance and class, over all its partitions. The encoding is
//! fixed (below) and made of values that both engines return as they were given. Each row carries the first eight bytes of its digest, so
//! that the first entry that does not fit can be named; a sealed partition carries the whole digest of its end.

use sha2::{Digest as _, Sha256};

use crate::entry::NewEntry;
use crate::id::EntryId;

/// A point of the chain: 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Head(pub [u8; 32]);

impl Head {
    /// Before the first entry.
    pub const GENESIS: Head = Head([0; 32]);

    /// What a row carries.
    pub fn short(self) -> i64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        i64::from_be_bytes(first)
    }

    /// 64 hexadecimal digits.
    pub fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// From [`Head::hex`].
    pub fn from_hex(text: &str) -> Option<Head> {
        let mut head = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (at, byte) in head.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Head(head))
    }

    /// From a stored value.
    pub fn from_bytes(bytes: &[u8]) -> Option<Head> {
        bytes.try_into().ok().map(Head)
    }
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Head({})", self.hex())
    }
}

/// Makes digests; keeps its buffer between entries.
#[derive(Debug, Clone)]
pub struct Chain {
    head: Head,
    buffer: Vec<u8>,
}

impl Chain {
    /// Goes on from `head`.
    pub fn from(head: Head) -> Self {
        Self { head, buffer: Vec::with_capacity(512) }
    }

    /// Where it stands.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Takes in one entry, and returns where the chain stands then.
    pub fn push(&mut self, id: EntryId, entry: &NewEntry) -> Head {
        self.buffer.clear();
        self.buffer.extend_from_slice(&self.head.0);
        encode(&mut self.buffer, id, entry);
        self.head = Head(Sha256::digest(&self.buffer).into());
        self.head
    }
}

/// Version of the encoding: its first byte.
const VERSION: u8 = 1;

/// Numbers are big-endian. Texts: length (u32), then UTF-8; an absent text is the length 2^32 - 1.
fn encode(out: &mut Vec<u8>, id: EntryId, entry: &NewEntry) {
    out.push(VERSION);
    out.extend_from_slice(&id.0.to_be_bytes());
    out.extend_from_slice(&entry.at.to_be_bytes());
    out.extend_from_slice(&entry.seen.to_be_bytes());
    out.extend_from_slice(&[entry.level.number(), entry.source as u8, entry.stream]);
    out.extend_from_slice(&entry.flags.to_be_bytes());
    text(out, Some(&entry.service));
    text(out, Some(&entry.message));
    for optional in [&entry.plain, &entry.context, &entry.trace, &entry.user, &entry.hostname] {
        text(out, optional.as_deref());
    }
    match entry.process {
        Some(pid) => {
            out.push(1);
            out.extend_from_slice(&pid.to_be_bytes());
        }
        None => out.push(0),
    }
}

fn text(out: &mut Vec<u8>, text: Option<&str>) {
    // A text of 4 GiB never reaches the store: entries are cut long before.
    let length = text.map_or(u32::MAX, |t| u32::try_from(t.len()).unwrap_or(u32::MAX - 1));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.unwrap_or_default().as_bytes());
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::entry::{Level, Source};

    pub(crate) fn sample(message: &str) -> NewEntry {
        NewEntry {
            service: "core".into(),
            at: 1_700_000_000_000_000_001,
            seen: 1_700_000_000_000_000_002,
            level: Level::Warning,
            source: Source::Captured,
            stream: 2,
            flags: 0,
            message: message.into(),
            plain: None,
            context: Some("{\"a\":1}".into()),
            trace: None,
            user: Some("u".into()),
            hostname: None,
            process: Some(7),
        }
    }

    /// The encoding is for ever: stored chains must be provable by every later version.
    #[test]
    fn the_encoding_does_not_change() {
        let mut chain = Chain::from(Head::GENESIS);
        chain.push(EntryId(1 << 44), &sample("one"));
        let head = chain.push(EntryId((1 << 44) + 1), &sample("two"));
        assert_eq!(head.hex(), HEAD_OF_TWO);
    }
    const HEAD_OF_TWO: &str = "ab6fef8b08d9d0dbea3c0d7c36ccca4b608e9c4716be526de2b51452cd99914a";

    #[test]
    fn every_field_counts() {
        let head = |id: i64, entry: &NewEntry| Chain::from(Head::GENESIS).push(EntryId(id), entry);
        let base = sample("x");
        let mut heads = vec![head(1, &base), head(2, &base)];
        let changes: [fn(&mut NewEntry); 14] = [
            |e| e.service = "nexus".into(),
            |e| e.at += 1,
            |e| e.seen += 1,
            |e| e.level = Level::Error,
            |e| e.source = Source::Sent,
            |e| e.stream = 1,
            |e| e.flags = 1,
            |e| e.message = "y".into(),
            |e| e.plain = Some("x".into()),
            |e| e.context = None,
            |e| e.trace = Some(String::new()),
            |e| e.user = None,
            |e| e.hostname = Some("u".into()),
            |e| e.process = None,
        ];
        for change in changes {
            let mut entry = base.clone();
            change(&mut entry);
            heads.push(head(1, &entry));
        }
        let distinct: std::collections::HashSet<_> = heads.iter().copied().collect();
        assert_eq!(distinct.len(), heads.len());
    }

    #[test]
    fn hex_goes_both_ways() {
        let head = Chain::from(Head::GENESIS).push(EntryId(1), &sample("x"));
        assert_eq!(Head::from_hex(&head.hex()), Some(head));
        assert_eq!(Head::from_hex("zz"), None);
    }
}
