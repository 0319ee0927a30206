#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| onionweave_control::fuzz::tracking(data));
