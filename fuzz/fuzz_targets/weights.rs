//! Calls `fuzz_targets::weights`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_targets::weights(bytes);
});
