//! How many blocks are read in one go.

use std::time::Duration;

/// Grows while blocks are read quickly, and shrinks when they are not: what is read in one go is lost together.
#[derive(Debug)]
pub struct Stride(u64);

/// With how many blocks it begins. A watcher that keeps up is never further behind.
const FIRST: u64 = 8;

/// The most.
const MAX: u64 = 64;

/// What is read within this could have been twice as much.
const QUICK: Duration = Duration::from_millis(500);

/// What takes longer than this should have been half as much. A turn of the watcher has fifteen seconds.
const SLOW: Duration = Duration::from_secs(3);

impl Default for Stride {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Stride {
    /// The last height that is read together with `first`.
    pub fn end(&self, first: u64, head: u64) -> u64 {
        head.min(first.saturating_add(self.0 - 1))
    }

    /// So many blocks were read in this time.
    pub fn took(&mut self, blocks: usize, time: Duration) {
        if time > SLOW {
            self.0 = (self.0 / 2).max(1);
        } else if time < QUICK && blocks as u64 >= self.0 {
            self.0 = (self.0 * 2).min(MAX);
        }
    }

    /// Nothing was read, or not in time.
    pub fn failed(&mut self) {
        self.0 = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Just below and above the borders.
    const QUICKER: Duration = Duration::from_millis(499);
    const SLOWER: Duration = Duration::from_millis(3_001);

    #[test]
    fn a_stride_ends_at_the_head() {
        let stride = Stride::default();

        assert_eq!(stride.end(10, 100), 10 + FIRST - 1);
        assert_eq!(stride.end(10, 12), 12);
        assert_eq!(stride.end(10, 10), 10);
        assert_eq!(stride.end(u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn it_follows_how_quick_the_nodes_are() {
        let mut stride = Stride::default();
        let after = |stride: &mut Stride, blocks, time| {
            stride.took(blocks, time);
            stride.0
        };

        assert_eq!(after(&mut stride, 8, QUICK), 8);
        assert_eq!(after(&mut stride, 3, QUICKER), 8, "there was no more to read");
        assert_eq!(after(&mut stride, 8, QUICKER), 16);
        assert_eq!(after(&mut stride, 16, SLOW), 16);
        assert_eq!(after(&mut stride, 16, SLOWER), 8);
        for _ in 0..10 {
            stride.took(64, QUICKER);
        }
        assert_eq!(stride.0, MAX);
        stride.failed();
        assert_eq!(after(&mut stride, 1, SLOWER), 1);
    }
}
