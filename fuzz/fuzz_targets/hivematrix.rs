#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| helm_fuzz::hold(helm_ingest::Format::HiveMatrix, body));
