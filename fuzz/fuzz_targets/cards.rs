//! Calls `fuzz_targets::cards`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_targets::cards(bytes);
});
