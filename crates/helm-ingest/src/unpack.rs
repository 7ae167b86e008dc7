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
        return bounded(body.len(), body.len()).map(|()| Cow::Borrowed(body));
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

/// Unpacks a snappy block, which says first how long it is.
pub(crate) fn snappy(body: &[u8]) -> Result<Vec<u8>, BodyError> {
    let damaged = |error: snap::Error| BodyError::Damaged("snappy", error.to_string());
    let length = snap::raw::decompress_len(body).map_err(damaged)?;
    bounded(length, body.len())?;
    snap::raw::Decoder::new().decompress_vec(body).map_err(damaged)
}

/// Whether a body of `packed` bytes may have `unpacked` ones.
fn bounded(unpacked: usize, packed: usize) -> Result<(), BodyError> {
    if unpacked > UNPACKED_MAX {
        return Err(BodyError::TooLarge(UNPACKED_MAX));
    }
    if unpacked > packed.saturating_mul(RATIO_MAX).max(HARMLESS) {
        return Err(BodyError::Ratio(RATIO_MAX));
    }
    Ok(())
}

/// 2^24 bytes: [`UNPACKED_MAX`].
const WINDOW_LOG: u32 = 24;

/// Reads to the end, or to the first bound.
fn read(name: &'static str, mut from: impl Read, packed: usize) -> Result<Vec<u8>, BodyError> {
    let mut out = Vec::new();
    let mut piece = vec![0; STEP];
    loop {
        let count = from.read(&mut piece).map_err(|error| BodyError::Damaged(name, error.to_string()))?;
        if count == 0 {
            return Ok(out);
        }
        bounded(out.len() + count, packed)?;
        out.extend_from_slice(&piece[..count]);
    }
}
