//! Compressed bodies, unpacked within bounds: whatever a few bytes claim to be, no more than the bound is ever written.

use std::borrow::Cow;
use std::io::Read;

use crate::BodyError;

/// Most bytes of a body once it is unpacked.
pub const UNPACKED_MAX: usize = 16 << 20;

/// Most times that a body may grow. Log text packs 10 to 30 times; beyond this it is made to harm.
pub const RATIO_MAX: usize = 100;

/// What a small body may grow to whatever its ratio is: a repeated line packs well.
const HARMLESS: usize = 1 << 20;

/// Bytes that are unpacked at once.
const STEP: usize = 64 << 10;

/// Unpacks a body by its `Content-Encoding` (none, `identity`, `gzip`, `zstd`; one of them). Several members and frames behind one
/// another are one body.
pub fn unpack<'a>(encoding: Option<&str>, body: &'a [u8]) -> Result<Cow<'a, [u8]>, BodyError> {
    let encoding = encoding.unwrap_or_default().trim();
    let is = |name: &str| encoding.eq_ignore_ascii_case(name);
    if encoding.is_empty() || is("identity") {
        return if body.len() > UNPACKED_MAX {
            Err(BodyError::TooLarge(UNPACKED_MAX))
        } else {
            Ok(Cow::Borrowed(body))
        };
    }
    if is("gzip") || is("x-gzip") {
        return read("gzip", flate2::bufread::MultiGzDecoder::new(body), body.len()).map(Cow::Owned);
    }
    if is("zstd") {
        let damaged = |error: std::io::Error| BodyError::Damaged("zstd", error.to_string());
        let mut reader = zstd::stream::read::Decoder::with_buffer(body).map_err(damaged)?;
        // A frame may ask for a window of its own size: never for more than a body may have.
        reader.window_log_max(WINDOW_LOG).map_err(damaged)?;
        return read("zstd", reader, body.len()).map(Cow::Owned);
    }
    Err(BodyError::Encoding(encoding.chars().take(40).collect()))
}

/// 2^24 bytes: [`UNPACKED_MAX`].
const WINDOW_LOG: u32 = 24;

/// Reads to the end, or to the first bound.
fn read(name: &'static str, mut from: impl Read, packed: usize) -> Result<Vec<u8>, BodyError> {
    let allowed = packed.saturating_mul(RATIO_MAX).max(HARMLESS);
    let mut out = Vec::new();
    let mut piece = vec![0; STEP];
    loop {
        let count = from.read(&mut piece).map_err(|error| BodyError::Damaged(name, error.to_string()))?;
        if count == 0 {
            return Ok(out);
        }
        if out.len() + count > UNPACKED_MAX {
            return Err(BodyError::TooLarge(UNPACKED_MAX));
        }
        if out.len() + count > allowed {
            return Err(BodyError::Ratio(RATIO_MAX));
        }
        out.extend_from_slice(&piece[..count]);
    }
}
