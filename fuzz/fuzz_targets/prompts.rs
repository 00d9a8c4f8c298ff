//! Calls `fuzz_targets::prompts`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_targets::prompts(bytes);
});
