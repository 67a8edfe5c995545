//! Bytes as they come over a connection: where our reader says that requests end, beside the parser of actix behind it.

use actix_http::ServiceConfig;
use actix_http::h1::{Codec, Message};
use actix_web::web::BytesMut;
use quittance::http::framing::{Framing, Trailer};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio_util::codec::Decoder;

thread_local! {
    static CONFIG: ServiceConfig = {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, async { ServiceConfig::default() })
    };
}

/// What our reader made of a connection.
#[derive(Debug, PartialEq, Eq)]
struct Passed {
    let_through: Vec<u8>,
    requests: usize,
    ends_between: bool,
    spoilt: bool,
}

/// Checks that it does not matter in which pieces the bytes come, and that the parser behind finds the same requests in what is let through,
/// or refuses it. Returns whether there is a request and nothing wrong.
///
/// # Panics
/// If it is not so.
pub fn framing(bytes: &[u8]) -> bool {
    let passed = pass(bytes, usize::MAX);
    assert_eq!(pass(bytes, 1), passed, "byte by byte");
    let Ok(passed) = passed else { return false };
    let (found, refused) = behind(&passed.let_through);
    if passed.spoilt {
        assert!(refused || passed.let_through.ends_with(b"\0"), "{passed:?}: {found}");
    } else {
        let same = found == passed.requests || !passed.ends_between && found == passed.requests + 1;
        assert!(refused || same, "{passed:?}: {found}");
    }
    passed.requests > 0 && !passed.spoilt && !refused
}

fn pass(bytes: &[u8], piece: usize) -> Result<Passed, Trailer> {
    let (mut framing, mut bytes, mut requests) = (Framing::default(), bytes.to_vec(), 0);
    for mut left in bytes.chunks_mut(piece) {
        while !left.is_empty() {
            let passed = framing.pass(left)?;
            left = &mut left[passed..];
            requests += usize::from(framing.is_between_requests());
        }
    }
    let (ends_between, spoilt) = (framing.is_between_requests(), framing.is_spoilt());
    Ok(Passed { let_through: bytes, requests, ends_between, spoilt })
}

/// How many requests the parser behind finds, and whether it refused the rest.
fn behind(bytes: &[u8]) -> (usize, bool) {
    let (mut codec, mut left, mut found) = (Codec::new(CONFIG.with(Clone::clone)), BytesMut::from(bytes), 0);
    loop {
        match codec.decode(&mut left) {
            Ok(Some(Message::Item(_))) => found += 1,
            Ok(Some(Message::Chunk(_))) => {}
            Ok(None) => return (found, false),
            Err(_) => return (found, true),
        }
    }
}
