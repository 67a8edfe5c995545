//! What is told of catching up: every few seconds how far it is, and at the end that it is done.

use std::time::{Duration, Instant};

/// Whoever is no further behind than this does not catch up, but follows.
const FOLLOWS: u64 = 8;

/// Between two tellings.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// A watcher's way to the head, while it is far from it.
#[derive(Debug, Default)]
pub struct Progress(Option<Way>);

#[derive(Debug)]
struct Way {
    begun: Instant,
    told: Instant,
    blocks: u64,
}

/// How far a watcher has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Blocks that it has taken in since it began to catch up.
    pub blocks: u64,
    /// Blocks that are left.
    pub behind: u64,
    /// Blocks in a second.
    pub per_second: u64,
}

impl Progress {
    /// Before blocks are read, of which `behind` are left.
    pub fn begin(&mut self, behind: u64, now: Instant) {
        if self.0.is_none() && behind > FOLLOWS {
            self.0 = Some(Way { begun: now, told: now, blocks: 0 });
        }
    }

    /// So many were taken in, and so many are left. Returns what is to be told, if anything is.
    pub fn took(&mut self, blocks: u64, behind: u64, now: Instant) -> Option<Told> {
        let way = self.0.as_mut()?;
        way.blocks += blocks;
        if behind > 0 && now.saturating_duration_since(way.told) < TOLD_EVERY {
            return None;
        }
        way.told = now;
        let milliseconds = now.saturating_duration_since(way.begun).as_millis().max(1);
        let per_second = u64::try_from(u128::from(way.blocks) * 1_000 / milliseconds).unwrap_or(u64::MAX);
        let told = Told { blocks: way.blocks, behind, per_second };
        if behind == 0 {
            self.0 = None;
        }
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_follows_tells_nothing() {
        let (mut progress, now) = (Progress::default(), Instant::now());

        progress.begin(FOLLOWS, now);
        assert_eq!(progress.took(FOLLOWS, 0, now + TOLD_EVERY), None);
    }

    #[test]
    fn it_is_told_every_few_seconds_and_at_the_end() {
        let (mut progress, now) = (Progress::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);

        progress.begin(100, at(0));
        assert_eq!(progress.took(20, 80, at(4)), None);
        progress.begin(80, at(4));
        assert_eq!(progress.took(30, 50, at(5)), Some(Told { blocks: 50, behind: 50, per_second: 10 }));
        assert_eq!(progress.took(10, 40, at(9)), None);
        assert_eq!(progress.took(40, 0, at(9)), Some(Told { blocks: 100, behind: 0, per_second: 11 }));
        assert_eq!(progress.took(1, 0, at(10)), None, "it follows again");
    }
}
