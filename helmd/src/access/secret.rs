//! Secrets that are told once, and what is kept of them.

use std::fmt::Write;
use std::io;

use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// 256 bits.
const BYTES: usize = 32;

/// What is told: random, in hexadecimal digits, with a prefix that says what it is.
pub(super) fn new(prefix: &str) -> io::Result<String> {
    Ok(format!("{prefix}{}", random::<BYTES>()?))
}

/// A short random name, for lists.
pub(super) fn id() -> io::Result<String> {
    random::<6>()
}

/// A random name that nobody guesses: 128 bits.
pub(super) fn unguessable() -> io::Result<String> {
    random::<16>()
}

fn random<const N: usize>() -> io::Result<String> {
    let mut bytes = [0_u8; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += getrandom(rest, GetRandomFlags::empty())?;
    }
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Into a String nothing fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What is kept of a secret: it opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest([u8; BYTES]);

impl Digest {
    /// Of what somebody showed.
    pub(super) fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// In the same time for all that differ.
    pub(super) fn is(&self, other: &Self) -> bool {
        let differs = self.0.iter().zip(&other.0).fold(0, |differs, (one, two)| differs | (one ^ two));
        std::hint::black_box(differs) == 0
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let digit =
            |place: usize| text.get(2 * place..2 * place + 2).and_then(|d| u8::from_str_radix(d, 16).ok());
        let bytes: Option<Vec<u8>> = (0..BYTES).map(digit).collect();
        let bytes = bytes.filter(|_| text.len() == 2 * BYTES).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("a digest has 64 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_256_bits_and_no_other_like_it() {
        let (one, two) = (new("helm_").unwrap(), new("helm_").unwrap());
        assert_eq!(one.len(), "helm_".len() + 64);
        assert_ne!(one, two);
        assert!(Digest::of(&one).is(&Digest::of(&one)) && !Digest::of(&one).is(&Digest::of(&two)));
    }

    #[test]
    fn a_digest_is_read_as_it_was_written() {
        let digest = Digest::of("x");
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        for wrong in
            ["\"\"", "\"00\"", &format!("\"{}\"", "zz".repeat(32)), &format!("\"{}\"", "é".repeat(32))]
        {
            assert!(serde_json::from_str::<Digest>(wrong).is_err(), "{wrong}");
        }
    }
}
