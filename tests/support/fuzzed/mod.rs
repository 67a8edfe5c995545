//! What reads the words of strangers, and what must hold whatever they write. A fuzzer gives each of them what it thinks of (fuzz/), and
//! the tests give them again what it found worth keeping.

pub mod block;
pub mod called;
pub mod cursor;
pub mod decoder;
pub mod forwarded;
pub mod frames;
pub mod framing;
pub mod logs;
pub mod order;
pub mod outcomes;
pub mod permit;
pub mod receipt;
pub mod request;
pub mod timeout;
pub mod typed;
pub mod words;

/// Whether it takes what it is given.
pub type Reader = fn(&[u8]) -> bool;

/// All of them, by the names of their folders in fuzz/corpus.
pub const READERS: [(&str, Reader); 16] = [
    ("decoder", decoder::compare),
    ("request", request::request),
    ("logs", logs::logs),
    ("block", block::block),
    ("receipt", receipt::receipt),
    ("words", words::words),
    ("permit", permit::permit),
    ("called", called::called),
    ("typed", typed::typed),
    ("order", order::order),
    ("outcomes", outcomes::outcomes),
    ("frames", frames::frames),
    ("framing", framing::framing),
    ("forwarded", forwarded::forwarded),
    ("cursor", cursor::list_cursor),
    ("timeout", timeout::timeout),
];
