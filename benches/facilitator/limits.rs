//! What the figures must keep to, one line for each.

use super::load::Kind::{self, Settle, SolanaSettle, SolanaSettleVerified, Verify};
use super::load::Run;
use super::page::median;
use super::report::Who::{NonceManager, Quittance, Reference};
use super::report::{IDLE_AFTER, IDLE_BEFORE, READY, Report, VERIFY_ALONE};

/// A figure, and on which side of what it has to be.
pub struct Limit {
    /// What is limited.
    pub name: &'static str,
    /// On which side of what.
    pub bound: Bound,
    /// Which of the rounds' figures counts.
    pub of: Of,
    /// The figure of each round.
    pub figures: fn(&Report) -> Vec<f64>,
}

/// On which side of what a figure has to be.
#[derive(Clone, Copy)]
pub enum Bound {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// Less than this.
    Below(f64),
}

/// Which of the rounds' figures counts.
#[derive(Clone, Copy)]
pub enum Of {
    /// The median: of what depends on the machine's mood.
    Median,
    /// The worst: of what is counted, or must never be more.
    Worst,
}

/// Every limit, in the order of the page.
pub const LIMITS: [Limit; 23] = [
    Limit {
        name: "verify at 64: times the reference's rate at 64",
        bound: Bound::AtLeast(30.0),
        of: Of::Median,
        figures: |report| ratios(&verified(report), &report.each(Reference, Verify, 64, Run::rate)),
    },
    Limit {
        name: "verify at 64: requests without `isValid: true`",
        bound: Bound::AtMost(0.0),
        of: Of::Worst,
        figures: |report| report.each(Quittance, Verify, 64, failures),
    },
    Limit {
        name: "verify at 64: node calls each",
        bound: Bound::AtMost(0.25),
        of: Of::Worst,
        figures: |report| report.each(Quittance, Verify, 64, Run::calls_each),
    },
    Limit {
        name: "verify at 1: p50 over what is allowed: 1.5 times a bare `eth_call` of the same simulation or 1 ms more, whichever is longer",
        bound: Bound::AtMost(1.0),
        of: Of::Median,
        figures: |report| report.noted(VERIFY_ALONE),
    },
    Limit {
        name: "settle 500 at 64: payments without success",
        bound: Bound::AtMost(0.0),
        of: Of::Worst,
        figures: |report| report.each(Quittance, Settle, 64, failures),
    },
    Limit {
        name: "settle 500 at 64: difference of payments and transfers on chain",
        bound: Bound::AtMost(0.0),
        of: Of::Worst,
        figures: |report| report.each(Quittance, Settle, 64, astray),
    },
    Limit {
        name: "settle 500 at 64: node calls each",
        bound: Bound::Below(1.0),
        of: Of::Worst,
        figures: |report| report.each(Quittance, Settle, 64, Run::calls_each),
    },
    Limit {
        name: "settle 500 at 64: gas each over that of payments one by one",
        bound: Bound::AtMost(0.65),
        of: Of::Worst,
        figures: |report| ratios(&report.each(Quittance, Settle, 64, gas), &one_by_one(report)),
    },
    Limit {
        name: "settle 5,000 at 256: successes per second",
        bound: Bound::AtLeast(150.0),
        of: Of::Median,
        figures: |report| report.each(Quittance, Settle, 256, Run::rate),
    },
    Limit {
        name: "settle 5,000 at 256: payments without success",
        bound: Bound::AtMost(0.0),
        of: Of::Worst,
        figures: |report| report.each(Quittance, Settle, 256, failures),
    },
    Limit {
        name: "settle 5,000 at 256: difference of payments and transfers on chain",
        bound: Bound::AtMost(0.0),
        of: Of::Worst,
        figures: |report| report.each(Quittance, Settle, 256, astray),
    },
    Limit {
        name: "settle 300 at 64 on Solana: payments without success",
        bound: Bound::AtMost(0.0),
        of: Of::Worst,
        figures: |report| report.each(Quittance, SolanaSettle, 64, failures),
    },
    Limit {
        name: "settle 300 at 64 on Solana: difference of payments and transfers on chain",
        bound: Bound::AtMost(0.0),
        of: Of::Worst,
        figures: |report| report.each(Quittance, SolanaSettle, 64, astray),
    },
    Limit {
        name: "settle 300 at 64 on Solana: node calls each",
        bound: Bound::AtMost(2.3),
        of: Of::Worst,
        figures: |report| report.each(Quittance, SolanaSettle, 64, Run::calls_each),
    },
    Limit {
        name: "settle 60 at 60 on Solana just after a verify: payments without success",
        bound: Bound::AtMost(0.0),
        of: Of::Worst,
        figures: |report| report.each(Quittance, SolanaSettleVerified, 60, failures),
    },
    Limit {
        name: "settle 60 at 60 on Solana just after a verify: node calls each",
        bound: Bound::AtMost(1.5),
        of: Of::Worst,
        figures: |report| report.each(Quittance, SolanaSettleVerified, 60, Run::calls_each),
    },
    Limit {
        name: "settle 30 at 1: answer after the block, p50 ms",
        bound: Bound::AtMost(100.0),
        of: Of::Median,
        figures: |report| after_block(report, 1),
    },
    Limit {
        name: "settle 500 at 64: answer after the block, p50 ms",
        bound: Bound::AtMost(100.0),
        of: Of::Median,
        figures: |report| after_block(report, 64),
    },
    Limit {
        name: "resident memory before the first request, MiB",
        bound: Bound::AtMost(64.0),
        of: Of::Worst,
        figures: |report| report.noted(IDLE_BEFORE),
    },
    Limit {
        name: "resident memory after the warm-up, MiB",
        bound: Bound::AtMost(64.0),
        of: Of::Worst,
        figures: |report| report.noted(IDLE_AFTER),
    },
    Limit {
        name: "settle 500 at 64: peak resident memory, MiB",
        bound: Bound::AtMost(128.0),
        of: Of::Worst,
        figures: |report| report.each(Quittance, Settle, 64, |run| run.peak_memory),
    },
    Limit { name: "ready after kill -9, s", bound: Bound::AtMost(3.0), of: Of::Worst, figures: |report| report.noted(READY) },
    // What the reference answers does not bind us. That it answers at all does: nothing can be compared with a failure.
    Limit {
        name: "verify of the reference at 64: requests without `isValid: true`",
        bound: Bound::AtMost(0.0),
        of: Of::Worst,
        figures: |report| report.each(Reference, Verify, 64, failures),
    },
];

impl Limit {
    /// The figure that counts; NaN if there is none.
    pub fn figure(&self, report: &Report) -> f64 {
        let figures = (self.figures)(report);
        if figures.iter().any(|figure| figure.is_nan()) {
            return f64::NAN;
        }
        match (self.of, self.bound) {
            (Of::Median, _) => median(figures),
            (Of::Worst, Bound::AtLeast(_)) => figures.into_iter().reduce(f64::min).unwrap_or(f64::NAN),
            (Of::Worst, Bound::AtMost(_) | Bound::Below(_)) => figures.into_iter().reduce(f64::max).unwrap_or(f64::NAN),
        }
    }

    /// Whether the figure is where it has to be. One that is missing is not.
    pub fn is_kept(&self, report: &Report) -> bool {
        let figure = self.figure(report);
        match self.bound {
            Bound::AtLeast(bound) => figure >= bound,
            Bound::AtMost(bound) => figure <= bound,
            Bound::Below(bound) => figure < bound,
        }
    }
}

/// How many times the reference's rate, at whichever concurrency that was best, ours at 64 is. It binds nobody.
pub fn over_the_best_verify(report: &Report) -> Vec<f64> {
    ratios(&verified(report), &best(report, Reference, Verify))
}

/// The same for settle: ours at 64 over the best of the reference with a nonce manager, which is quicker than as published.
pub fn over_the_best_settle(report: &Report) -> Vec<f64> {
    ratios(&report.each(Quittance, Settle, 64, Run::rate), &best(report, NonceManager, Settle))
}

fn verified(report: &Report) -> Vec<f64> {
    report.each(Quittance, Verify, 64, Run::rate)
}

fn best(report: &Report, who: super::report::Who, kind: Kind) -> Vec<f64> {
    let all = [1, 8, 64, 256].map(|concurrency| report.each(who, kind, concurrency, Run::rate));
    let rounds = all.iter().map(Vec::len).min().unwrap_or(0);
    (0..rounds).map(|round| all.iter().map(|figures| figures[round]).fold(0.0, f64::max)).collect()
}

fn after_block(report: &Report, concurrency: usize) -> Vec<f64> {
    report.each(Quittance, Settle, concurrency, |run| run.after_block(50))
}

/// What a payment on its own costs: the less of ours and the reference's, measured in the same round.
fn one_by_one(report: &Report) -> Vec<f64> {
    let (ours, theirs) = (report.each(Quittance, Settle, 1, gas), report.each(Reference, Settle, 1, gas));
    ours.iter().zip(&theirs).map(|(ours, theirs)| ours.min(*theirs)).collect()
}

fn gas(run: &Run) -> f64 {
    run.gas.unwrap_or(f64::NAN)
}

fn failures(run: &Run) -> f64 {
    run.failures() as f64
}

fn astray(run: &Run) -> f64 {
    run.load.requests.abs_diff(run.transfers) as f64
}

fn ratios(these: &[f64], those: &[f64]) -> Vec<f64> {
    these.iter().zip(those).map(|(this, that)| this / that).collect()
}
