//! Calls `fuzz_targets::tables`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_targets::tables(bytes);
});
