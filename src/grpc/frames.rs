//! Where calls begin among the frames that a client sends (RFC 9113, section 4.1). Nothing else is read here.

/// A connection begins with this before its first frame (RFC 9113, section 3.4).
pub const PREFACE_BYTES: usize = 24;

/// The head of a frame: three bytes of its length, its type, and what is of no interest here.
const HEAD_BYTES: usize = 9;
const TYPE_AT: usize = 3;

/// The type of the frame that begins a call.
const HEADERS: u8 = 1;

/// Follows what a client sends.
#[derive(Debug)]
pub struct Frames {
    /// What comes before the next head.
    skip: usize,
    /// How much of that head has come.
    head: usize,
    /// What it says of the length behind it, as far as it has come.
    length: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self { skip: PREFACE_BYTES, head: 0, length: 0 }
    }
}

impl Frames {
    /// Looks at the next bytes, and returns how many of them do not begin a call. If `begins`, the next call is passed, and the bytes up to
    /// the one after it are returned.
    pub fn pass(&mut self, bytes: &[u8], mut begins: bool) -> usize {
        let mut passed = 0;
        while let Some(&byte) = bytes.get(passed) {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len() - passed);
                self.skip -= skipped;
                passed += skipped;
                continue;
            }
            if self.head == TYPE_AT && byte == HEADERS && !std::mem::take(&mut begins) {
                break;
            }
            if self.head < TYPE_AT {
                self.length = self.length << 8 | usize::from(byte);
            }
            self.head += 1;
            passed += 1;
            if self.head == HEAD_BYTES {
                *self = Self { skip: self.length, head: 0, length: 0 };
            }
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    /// How many calls begin in these bytes, which come in pieces of so many.
    fn calls(bytes: &[u8], piece: usize) -> usize {
        let mut frames = Frames::default();
        let mut calls = 0;
        for mut piece in bytes.chunks(piece) {
            loop {
                piece = &piece[frames.pass(piece, false)..];
                if piece.is_empty() {
                    break;
                }
                calls += 1;
                piece = &piece[frames.pass(piece, true)..];
            }
        }
        calls
    }

    #[test]
    fn what_comes_before_a_call_passes_and_the_call_waits() {
        let settings = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, &[1; 6])].concat();
        let both = [settings.clone(), frame(HEADERS, b"one"), frame(0, &[HEADERS; 40]), frame(HEADERS, b"two")].concat();
        let mut frames = Frames::default();

        // The length of a frame says nothing yet.
        let first = settings.len() + TYPE_AT;
        assert_eq!(frames.pass(&both, false), first);
        assert_eq!(frames.pass(&both[first..], false), 0, "still");
        let second = frames.pass(&both[first..], true);
        assert_eq!(first + second, both.len() - b"two".len() - HEAD_BYTES + TYPE_AT);
        assert_eq!(frames.pass(&both[first + second..], true), b"two".len() + HEAD_BYTES - TYPE_AT);
    }

    proptest! {
        #[test]
        fn calls_are_found_in_whatever_pieces_they_come(
            payloads in vec((0..10_u8, vec(any::<u8>(), 0..300)), 0..20),
            piece in 1..400_usize,
        ) {
            let frames = payloads.iter().flat_map(|(kind, payload)| frame(*kind, payload));
            let bytes: Vec<u8> = [0; PREFACE_BYTES].into_iter().chain(frames).collect();
            let begun = payloads.iter().filter(|(kind, _)| *kind == HEADERS).count();
            prop_assert_eq!(calls(&bytes, piece), begun);
        }
    }
}
