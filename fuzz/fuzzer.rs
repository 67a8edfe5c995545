//! Gives what a fuzzer thinks of to one of the readers in tests/support/fuzzed, which `QUITTANCE_FUZZ` names. scripts/fuzz.sh runs it.

#![no_main]

use std::sync::LazyLock;

#[path = "../tests/support/fuzzed/mod.rs"]
mod fuzzed;

static READER: LazyLock<fuzzed::Reader> = LazyLock::new(|| {
    let name = std::env::var("QUITTANCE_FUZZ").expect("QUITTANCE_FUZZ names a reader");
    let (_, reader) = fuzzed::READERS.into_iter().find(|(known, _)| *known == name).expect("there is such a reader");
    reader
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    READER(bytes);
});
