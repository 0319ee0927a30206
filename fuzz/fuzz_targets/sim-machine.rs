#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| onionweave_sim::fuzz::machine(data));
