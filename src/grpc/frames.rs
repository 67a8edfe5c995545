//! What a client sends, parted by calls (RFC 9113, section 4.1): calls that may not begin yet are held with all that belongs to them, while
//! whatever concerns the others, and the connection, goes on.

use std::collections::BTreeMap;

/// A connection begins with this before its first frame (RFC 9113, section 3.4).
pub const PREFACE_BYTES: usize = 24;

/// The head of a frame: three bytes of its length, its type, its flags, and four bytes of its stream.
const HEAD_BYTES: usize = 9;

/// The type of the frame that begins a call.
const HEADERS: u8 = 1;

/// What is held of one connection before it is not read on. Each call counts as so much more than its bytes.
const HELD_MAX: usize = 8 * 1024;
const CALL_COSTS: usize = 64;

/// Parts what a client sends.
#[derive(Debug)]
pub struct Frames {
    /// What is still to come of the present frame, or of the preface.
    left: usize,
    /// What has come of the next head.
    head: Vec<u8>,
    /// The stream of the present frame, if it is held.
    holding: Option<u32>,
    /// The last stream that was begun. A client counts upwards (section 5.1.1).
    begun: u32,
    /// Frames by their streams: from the first of these on, all are held.
    held: BTreeMap<u32, Vec<u8>>,
    held_bytes: usize,
}

impl Default for Frames {
    fn default() -> Self {
        let held = BTreeMap::new();
        Self { left: PREFACE_BYTES, head: Vec::with_capacity(HEAD_BYTES), holding: None, begun: 0, held, held_bytes: 0 }
    }
}

impl Frames {
    /// Parts the next bytes. Into `passed` goes what need not wait; `may_begin` is asked about each call for which none waits already.
    pub fn part(&mut self, mut bytes: &[u8], passed: &mut Vec<u8>, mut may_begin: impl FnMut() -> bool) {
        while !bytes.is_empty() {
            let wanted = if self.left > 0 { self.left } else { HEAD_BYTES - self.head.len() };
            let (now, later) = bytes.split_at(wanted.min(bytes.len()));
            bytes = later;
            if self.left > 0 {
                self.left -= now.len();
                self.put(now, passed);
                continue;
            }
            self.head.extend_from_slice(now);
            if let Ok([l0, l1, l2, kind, _, s0, s1, s2, s3]) = <[u8; HEAD_BYTES]>::try_from(self.head.as_slice()) {
                self.left = u32::from_be_bytes([0, l0, l1, l2]) as usize;
                let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
                self.holding = self.holds(kind, stream, &mut may_begin).then_some(stream);
                let mut head = std::mem::take(&mut self.head);
                self.put(&head, passed);
                head.clear();
                self.head = head;
            }
        }
    }

    /// Lets the call begin that was held first, and returns whether one did. Nothing may come into the midst of a frame that is passed.
    pub fn release(&mut self, passed: &mut Vec<u8>) -> bool {
        if self.is_passing() {
            return false;
        }
        let Some((stream, frames)) = self.held.pop_first() else { return false };
        self.held_bytes -= frames.len() + CALL_COSTS;
        self.begun = stream;
        if self.holding == Some(stream) {
            self.holding = None;
        }
        passed.extend_from_slice(&frames);
        true
    }

    /// Whether a call waits that could begin now.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.held.is_empty() && !self.is_passing()
    }

    /// Whether so much is held that no more should be read.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.held_bytes >= HELD_MAX && !self.is_passing()
    }

    /// Whether nothing of what came is here, so that the rest need not be parted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.head.is_empty()
    }

    fn is_passing(&self) -> bool {
        self.left > 0 && self.holding.is_none()
    }

    fn holds(&mut self, kind: u8, stream: u32, may_begin: impl FnOnce() -> bool) -> bool {
        if let Some((first, _)) = self.held.first_key_value() {
            return stream >= *first;
        }
        // Behind the messages of a call there may be further headers, which begin none.
        let begins = kind == HEADERS && stream > self.begun;
        if begins && !may_begin() {
            return true;
        }
        if begins {
            self.begun = stream;
        }
        false
    }

    fn put(&mut self, bytes: &[u8], passed: &mut Vec<u8>) {
        let Some(stream) = self.holding else {
            passed.extend_from_slice(bytes);
            return;
        };
        let frames = self.held.entry(stream).or_insert_with(|| {
            self.held_bytes += CALL_COSTS;
            Vec::new()
        });
        // No more than what counts: left to itself it would take up twice as much.
        frames.reserve_exact(bytes.len());
        frames.extend_from_slice(bytes);
        self.held_bytes += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const DATA: u8 = 0;
    const PING: u8 = 6;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0], &stream.to_be_bytes(), payload].concat()
    }

    fn preface() -> Vec<u8> {
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()
    }

    #[test]
    fn a_call_waits_with_all_that_belongs_to_it_and_nothing_else_does() {
        let first = [preface(), frame(HEADERS, 1, b"one"), frame(DATA, 1, b"first half")].concat();
        let second = [frame(HEADERS, 3, b"three"), frame(DATA, 3, b"message")].concat();
        let third = frame(HEADERS, 5, b"five");
        let others = [frame(DATA, 1, b"second half"), frame(PING, 0, &[0; 8]), frame(HEADERS, 1, b"trailers")].concat();
        let mut frames = Frames::default();
        let mut passed = Vec::new();
        let mut begun = 0;

        let all = [first.clone(), second.clone(), third.clone(), others.clone()].concat();
        frames.part(&all, &mut passed, || {
            begun += 1;
            begun == 1
        });

        assert_eq!(passed, [first, others].concat());
        assert_eq!(begun, 2, "nobody is asked about a call behind one that waits");
        passed.clear();
        assert!(frames.is_waiting() && frames.release(&mut passed));
        assert_eq!(passed, second);
        frames.part(&frame(DATA, 3, b"more"), &mut passed, || unreachable!("it has begun"));
        assert_eq!(passed, [second, frame(DATA, 3, b"more")].concat());
        passed.clear();
        assert!(frames.release(&mut passed) && frames.is_empty());
        assert_eq!(passed, third);
        assert!(!frames.release(&mut passed));
    }

    #[test]
    fn nothing_comes_into_the_midst_of_a_frame_that_is_passed() {
        let mut frames = Frames::default();
        let mut passed = Vec::new();
        frames.part(&[preface(), frame(HEADERS, 1, b"held")].concat(), &mut passed, || false);
        let ping = frame(PING, 0, &[7; 8]);

        frames.part(&ping[..12], &mut passed, || false);
        assert!(!frames.is_waiting() && !frames.release(&mut passed));
        frames.part(&ping[12..], &mut passed, || false);
        assert!(frames.release(&mut passed));

        assert_eq!(passed, [preface(), ping, frame(HEADERS, 1, b"held")].concat());
    }

    #[test]
    fn only_so_much_is_held() {
        let mut frames = Frames::default();
        frames.part(&preface(), &mut Vec::new(), || false);
        let mut calls = 0;
        while !frames.is_full() {
            calls += 1;
            frames.part(&frame(HEADERS, 2 * calls + 1, b""), &mut Vec::new(), || false);
            assert!(calls < 1_000, "there is no end");
        }
        assert_eq!(usize::try_from(calls).unwrap(), HELD_MAX.div_ceil(HEAD_BYTES + CALL_COSTS));
        while frames.release(&mut Vec::new()) {}
        assert_eq!(frames.held_bytes, 0);
    }

    proptest! {
        /// Whatever comes in whatever pieces, and whenever calls are let in: of each stream all frames go on in their order, and calls begin
        /// in theirs.
        #[test]
        fn frames_of_a_stream_keep_their_order(
            sent in vec((prop_oneof![Just(DATA), Just(HEADERS), Just(PING)], 0..6_u32, vec(any::<u8>(), 0..60)), 0..40),
            pieces in vec((1..80_usize, any::<bool>(), any::<bool>()), 1..60),
        ) {
            let mut newest = 0;
            let sent: Vec<(u8, u32, Vec<u8>)> = sent.into_iter().map(|(kind, back, payload)| {
                if kind == HEADERS && back == 0 { newest += 1; }
                let stream = if kind == PING || newest == 0 { 0 } else { 2 * newest_of(newest, back) - 1 };
                (kind, stream, payload)
            }).collect();
            let bytes: Vec<u8> = preface().into_iter().chain(sent.iter().flat_map(|(kind, stream, payload)| frame(*kind, *stream, payload))).collect();
            let (mut frames, mut passed, mut at) = (Frames::default(), Vec::new(), 0);
            for &(size, may_begin, release) in pieces.iter().cycle() {
                if at == bytes.len() { break }
                let end = (at + size).min(bytes.len());
                frames.part(&bytes[at..end], &mut passed, || may_begin);
                at = end;
                if release { frames.release(&mut passed); }
            }
            while frames.release(&mut passed) {}

            prop_assert!(frames.is_empty());
            let mut rest = passed.strip_prefix(preface().as_slice()).unwrap();
            let mut came = Vec::new();
            while !rest.is_empty() {
                let length = usize::from(rest[1]) << 8 | usize::from(rest[2]);
                let (one, more) = rest.split_at(HEAD_BYTES + length);
                came.push((one[3], u32::from_be_bytes(one[5..9].try_into().unwrap()), one[HEAD_BYTES..].to_vec()));
                rest = more;
            }
            prop_assert_eq!(came.len(), sent.len());
            for stream in 0..200 {
                let of = |frames: &[(u8, u32, Vec<u8>)]| -> Vec<_> { frames.iter().filter(|frame| frame.1 == stream).cloned().collect() };
                prop_assert_eq!(of(&came), of(&sent), "{}", stream);
            }
        }
    }

    fn newest_of(newest: u32, back: u32) -> u32 {
        newest.saturating_sub(back).max(1)
    }
}
