//! What a client of gRPC sends, parted by calls.

use std::collections::BTreeMap;

use quittance::grpc::frames::{Frames, PREFACE_BYTES};

/// The frames of each stream, one after the other. None if the last one is cut.
fn by_stream(mut bytes: &[u8]) -> Option<BTreeMap<[u8; 4], Vec<u8>>> {
    let mut streams = BTreeMap::<_, Vec<u8>>::new();
    while let Some(&[l0, l1, l2, _, _, s0, s1, s2, s3]) = bytes.first_chunk() {
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let (frame, rest) = bytes.split_at_checked(9 + length)?;
        streams.entry([s0 & 0x7f, s1, s2, s3]).or_default().extend_from_slice(frame);
        bytes = rest;
    }
    bytes.is_empty().then_some(streams)
}

/// Checks that in whatever pieces frames come, and whichever calls wait, each stream's go on whole and in their order. The first byte says how
/// large the pieces are and what is let in. Returns whether no frame is cut.
///
/// # Panics
/// If it is not so.
pub fn frames(bytes: &[u8]) -> bool {
    let Some((&how, sent)) = bytes.split_first() else { return false };
    let Some(wanted) = by_stream(sent) else { return false };
    let (piece, may_begin, releases) = (usize::from(how & 0x3f) + 1, how & 0x40 != 0, how & 0x80 != 0);
    let (mut frames, mut passed) = (Frames::default(), Vec::new());
    let whole = [&[0; PREFACE_BYTES], sent].concat();
    for piece in whole.chunks(piece) {
        frames.part(piece, &mut passed, || may_begin);
        if releases {
            frames.release(&mut passed);
        }
    }
    while frames.release(&mut passed) {}
    assert!(frames.is_empty(), "something is left");
    assert_eq!(by_stream(&passed[PREFACE_BYTES..]), Some(wanted));
    true
}
