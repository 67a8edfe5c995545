//! Tables of medians and limits, on screen and in docs/PERFORMANCE.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::limits::{self, Bound, LIMITS, Limit, Of};
use super::load::{Kind, Run};
use super::page::{self, figure, median};

/// Figures that a limit is about are noted under these names.
pub const IDLE_BEFORE: &str = "resident memory before the first request, MiB";
/// See [`IDLE_BEFORE`].
pub const IDLE_AFTER: &str = "resident memory after the warm-up, MiB";
/// See [`IDLE_BEFORE`].
pub const READY: &str = "ready after kill -9, s";
/// See [`IDLE_BEFORE`].
pub const VERIFY_ALONE: &str = "that verify over what is allowed";

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Our release binary.
    Quittance,
    /// The TypeScript reference as upstream wires it.
    Reference,
    /// The same with viem's nonce manager.
    NonceManager,
}

impl Who {
    /// Its name in the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quittance => "Quittance",
            Self::Reference => "reference",
            Self::NonceManager => "reference with a nonce manager",
        }
    }
}

/// What all rounds found.
#[derive(Default)]
pub struct Report {
    runs: BTreeMap<(Kind, usize, Who), Vec<Run>>,
    notes: Vec<(&'static str, Vec<f64>)>,
}

impl Report {
    /// Adds a run of a facilitator.
    pub fn add(&mut self, who: Who, run: Run) {
        self.runs.entry((run.load.kind, run.load.concurrency, who)).or_default().push(run);
    }

    /// Adds a single figure.
    pub fn note(&mut self, what: &'static str, figure: f64) {
        eprintln!("  {what}: {figure:.3}");
        match self.notes.iter_mut().find(|(name, _)| *name == what) {
            Some((_, figures)) => figures.push(figure),
            None => self.notes.push((what, vec![figure])),
        }
    }

    /// A figure of each round's run.
    pub fn each(&self, who: Who, kind: Kind, concurrency: usize, figure: impl Fn(&Run) -> f64) -> Vec<f64> {
        self.runs.get(&(kind, concurrency, who)).into_iter().flatten().map(figure).collect()
    }

    /// A single figure of each round.
    pub fn noted(&self, what: &str) -> Vec<f64> {
        self.notes.iter().find(|(name, _)| *name == what).map(|(_, figures)| figures.clone()).unwrap_or_default()
    }

    /// What the limits that were missed are called.
    pub fn missed(&self) -> Vec<&'static str> {
        LIMITS.iter().filter(|limit| !limit.is_kept(self)).map(|limit| limit.name).collect()
    }

    /// Puts the tables into docs/PERFORMANCE.md.
    pub fn write(&self, rounds: usize) {
        page::write("bench", &self.text(rounds));
    }

    /// All tables.
    pub fn text(&self, rounds: usize) -> String {
        let mut text = page::measured(rounds);
        self.write_limits(&mut text);
        self.write_runs(&mut text);
        self.write_refusals(&mut text);
        self.write_notes(&mut text);
        text
    }

    fn write_limits(&self, text: &mut String) {
        text.push_str("| limit | | of the rounds | figure | |\n|---|---|---|---|---|\n");
        for limit in &LIMITS {
            let Limit { name, bound, of, .. } = limit;
            let bound = match bound {
                Bound::AtLeast(bound) => format!("at least {bound}"),
                Bound::AtMost(bound) => format!("at most {bound}"),
                Bound::Below(bound) => format!("below {bound}"),
            };
            let of = match of {
                Of::Median => "median",
                Of::Worst => "worst",
            };
            let kept = if limit.is_kept(self) { "kept" } else { "**missed**" };
            let _ = writeln!(text, "| {name} | {bound} | {of} | {} | {kept} |", figure(limit.figure(self), 2));
        }
    }

    fn write_runs(&self, text: &mut String) {
        text.push_str(
            "\n| request | at a time | who | as wanted | per second | p50 ms | p95 ms | p99 ms | node calls each | \
             transfers | gas or lamports each | answer after block, p50 ms | peak memory MiB | \
             processor ms each | the bench's own |\n",
        );
        text.push_str("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
        for ((kind, concurrency, who), runs) in &self.runs {
            let of = |number: &dyn Fn(&Run) -> f64, digits| figure(median(runs.iter().map(number).collect()), digits);
            let cells = [
                kind.name().to_owned(),
                concurrency.to_string(),
                who.name().to_owned(),
                format!("{} of {}", of(&|run| run.succeeded as f64, 0), of(&|run| run.load.requests as f64, 0)),
                of(&Run::rate, 1),
                of(&|run| run.latency(50), 1),
                of(&|run| run.latency(95), 1),
                of(&|run| run.latency(99), 1),
                of(&Run::calls_each, 2),
                if kind.settles() { of(&|run| run.transfers as f64, 0) } else { "–".to_owned() },
                of(&|run| run.gas.unwrap_or(f64::NAN), 0),
                of(&|run| run.after_block(50), 0),
                of(&|run| run.peak_memory, 0),
                of(&Run::busy_each, 2),
                of(&Run::own_busy_each, 2),
            ];
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
    }

    fn write_refusals(&self, text: &mut String) {
        text.push_str("\n| request | at a time | who | answered instead | times in all rounds |\n|---|---|---|---|---|\n");
        for ((kind, concurrency, who), runs) in &self.runs {
            let mut refusals: BTreeMap<&str, usize> = BTreeMap::new();
            for (refusal, count) in runs.iter().flat_map(|run| &run.refusals) {
                *refusals.entry(refusal).or_default() += count;
            }
            for (refusal, count) in refusals {
                let _ = writeln!(
                    text,
                    "| {} | {concurrency} | {} | {} | {count} |",
                    kind.name(),
                    who.name(),
                    refusal.replace('|', "/")
                );
            }
        }
    }

    fn write_notes(&self, text: &mut String) {
        text.push_str("\n| figure | median | lowest | highest |\n|---|---|---|---|\n");
        let derived = [
            ("verify at 64: times the reference's best rate at any concurrency", limits::over_the_best_verify(self)),
            ("settle at 64: times the best rate of the reference with a nonce manager", limits::over_the_best_settle(self)),
        ];
        for (what, figures) in derived.iter().chain(&self.notes) {
            let (lowest, highest) = figures.iter().fold((f64::NAN, f64::NAN), |(low, high), one| (low.min(*one), high.max(*one)));
            let of = median(figures.clone());
            let _ = writeln!(text, "| {what} | {} | {} | {} |", figure(of, 2), figure(lowest, 2), figure(highest, 2));
        }
    }
}
