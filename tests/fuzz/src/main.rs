//! The packet path over plain memory, driven by libFuzzer: `cargo xtask fuzz host`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bg_fuzz::run(bytes));
