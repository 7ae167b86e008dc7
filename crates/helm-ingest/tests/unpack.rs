//! Compressed bodies: what is unpacked, and where it stops.

use std::io::Write;

use helm_ingest::BodyError;
use helm_ingest::unpack::{UNPACKED_MAX, unpack};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(text).and_then(|()| out.finish()).unwrap_or_else(|error| panic!("gzip: {error}"))
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 3).unwrap_or_else(|error| panic!("zstd: {error}"))
}

/// Text that hardly packs.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

#[test]
fn what_was_packed_comes_out_again() {
    let text = noise(300_000);
    for (encoding, packed) in [
        (None, text.clone()),
        (Some("identity"), text.clone()),
        (Some(" GZip "), gzip(&text)),
        (Some("x-gzip"), gzip(&text)),
        (Some("zstd"), zstd(&text)),
    ] {
        assert_eq!(unpack(encoding, &packed).expect("unpack"), text.as_slice(), "{encoding:?}");
    }
    // Members and frames behind one another are one body.
    let (head, tail) = text.split_at(1000);
    assert_eq!(unpack(Some("gzip"), &[gzip(head), gzip(tail)].concat()).expect("members"), text.as_slice());
    assert_eq!(unpack(Some("zstd"), &[zstd(head), zstd(tail)].concat()).expect("frames"), text.as_slice());
    assert!(unpack(Some("gzip"), &gzip(b"")).expect("empty").is_empty());
}

#[test]
fn it_stops_where_the_bound_is() {
    let most = noise(UNPACKED_MAX);
    assert_eq!(unpack(Some("zstd"), &zstd(&most)).expect("just fits").len(), UNPACKED_MAX);
    let more = noise(UNPACKED_MAX + 1);
    let bomb = vec![0; 64 << 20];
    for (packed, encoding, error) in [
        (more.clone(), None, BodyError::TooLarge(UNPACKED_MAX)),
        (gzip(&more), Some("gzip"), BodyError::TooLarge(UNPACKED_MAX)),
        (zstd(&more), Some("zstd"), BodyError::TooLarge(UNPACKED_MAX)),
        (zstd(&bomb), Some("zstd"), BodyError::Ratio(100)),
        (gzip(&bomb[..8 << 20]), Some("gzip"), BodyError::Ratio(100)),
    ] {
        assert_eq!(unpack(encoding, &packed).expect_err("too much"), error);
        assert_eq!(error.status(), 413);
    }
    // A short repeated text is no bomb, whatever its ratio.
    assert_eq!(unpack(Some("gzip"), &gzip(&bomb[..1 << 20])).expect("small").len(), 1 << 20);
}

#[test]
fn what_is_damaged_is_said_to_be() {
    for (encoding, packed) in [("gzip", gzip(&noise(5000))), ("zstd", zstd(&noise(5000)))] {
        for damaged in [&packed[..packed.len() / 2], b"no such thing".as_slice(), b""] {
            let error = unpack(Some(encoding), damaged).expect_err("damaged");
            assert!(matches!(error, BodyError::Damaged(name, _) if name == encoding), "{encoding}: {error}");
            assert_eq!(error.status(), 400);
        }
    }
    // A frame that asks for a window of 2 GiB.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    assert!(matches!(unpack(Some("zstd"), &window), Err(BodyError::Damaged("zstd", _))));
    let error = unpack(Some("br"), b"x").expect_err("unknown");
    assert_eq!((error.status(), error), (415, BodyError::Encoding("br".to_owned())));
}
