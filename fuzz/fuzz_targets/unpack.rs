#![no_main]

use helm_ingest::unpack::{UNPACKED_MAX, unpack};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    for encoding in ["gzip", "zstd"] {
        if let Ok(out) = unpack(Some(encoding), body) {
            assert!(out.len() <= UNPACKED_MAX);
        }
    }
});
