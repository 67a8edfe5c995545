//! Fuzzes the decoder of Solana's transactions. scripts/fuzz.sh runs it.

#![no_main]

#[path = "../tests/support/decoder.rs"]
mod decoder;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    decoder::compare(bytes);
});
