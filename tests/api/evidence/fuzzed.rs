//! What a fuzzer found worth keeping (scripts/fuzz.sh): nothing of it makes what reads it panic, or read it in two ways.

use super::report;
use crate::support::fuzzed::READERS;
use crate::support::root;

#[test]
fn nothing_that_a_fuzzer_kept_is_read_in_two_ways() {
    for (name, takes) in READERS {
        let files = std::fs::read_dir(root().join("fuzz/corpus").join(name)).expect("the corpus is there");
        let corpus: Vec<_> = files.map(|file| std::fs::read(file.expect("a file").path()).expect("it is readable")).collect();

        let taken = corpus.iter().filter(|bytes| takes(bytes)).count();

        report(&format!("corpus {name}"), &format!("{} inputs of a fuzzer, {taken} of them taken", corpus.len()));
        assert!(0 < taken && taken < corpus.len(), "{name}: {taken} of {}", corpus.len());
    }
}
