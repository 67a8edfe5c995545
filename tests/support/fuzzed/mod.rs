//! What reads the words of strangers, and what must hold whatever they write. A fuzzer gives each of them what it thinks of (fuzz/), and
//! the tests give them again what it found worth keeping.

pub mod block;
pub mod decoder;
pub mod logs;
pub mod receipt;
pub mod request;
pub mod words;

/// Whether it takes what it is given.
pub type Reader = fn(&[u8]) -> bool;

/// All of them, by the names of their folders in fuzz/corpus.
pub const READERS: [(&str, Reader); 6] = [
    ("decoder", decoder::compare),
    ("request", request::request),
    ("logs", logs::logs),
    ("block", block::block),
    ("receipt", receipt::receipt),
    ("words", words::words),
];
