//! Tables of medians, on screen and in docs/PERFORMANCE.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::load::{Kind, Run, percentile, rate};
use super::support::root;

/// What all rounds found.
#[derive(Default)]
pub struct Report {
    runs: BTreeMap<(Kind, usize, &'static str), Vec<Run>>,
    notes: BTreeMap<&'static str, Vec<f64>>,
}

impl Report {
    /// Adds a run of a facilitator.
    pub fn add(&mut self, who: &'static str, run: Run) {
        self.runs.entry((run.kind, run.concurrency, who)).or_default().push(run);
    }

    /// Adds a single figure.
    pub fn note(&mut self, what: &'static str, figure: f64) {
        eprintln!("  {what}: {figure:.3}");
        self.notes.entry(what).or_default().push(figure);
    }

    /// Prints the tables and puts them between the marks in docs/PERFORMANCE.md.
    pub fn print_and_write(&self, rounds: usize) {
        let text = self.text(rounds);
        println!("{text}");
        let path = root().join("docs/PERFORMANCE.md");
        let (begin, end) = ("<!-- bench:begin -->", "<!-- bench:end -->");
        let page = std::fs::read_to_string(&path).unwrap_or_else(|_| format!("# Performance\n\n{begin}\n{end}\n"));
        if let Some((head, rest)) = page.split_once(begin)
            && let Some((_, tail)) = rest.split_once(end)
        {
            std::fs::write(&path, format!("{head}{begin}\n{text}{end}{tail}")).expect("docs/PERFORMANCE.md is writable");
        }
    }

    fn text(&self, rounds: usize) -> String {
        let mut text = format!("Measured on {} on {}, medians of {rounds}.\n\n", today(), machine());
        text.push_str("| request | at a time | who | answered as wanted | per second | p50 ms | p95 ms | p99 ms | node calls each | gas each | answer after block, p50 ms | memory MiB |\n");
        text.push_str("|---|---|---|---|---|---|---|---|---|---|---|---|\n");
        for ((kind, concurrency, who), runs) in &self.runs {
            let of = |figure: &dyn Fn(&Run) -> f64| median(runs.iter().map(figure).collect());
            let latency = |percent| of(&|run: &Run| milliseconds(percentile(&mut run.latencies.clone(), percent)));
            let share = format!("{:.0} of {:.0}", of(&|run| run.succeeded as f64), of(&|run| run.requests as f64));
            let gas = if runs.iter().all(|run| run.gas.is_some()) {
                format!("{:.0}", of(&|run| run.gas.unwrap_or(0.0)))
            } else {
                "–".to_owned()
            };
            let after = if runs.iter().any(|run| run.after_block.is_empty()) {
                "–".to_owned()
            } else {
                format!("{:.0}", of(&|run| milliseconds(percentile(&mut run.after_block.clone(), 50))))
            };
            let _ = writeln!(
                text,
                "| {kind:?} | {concurrency} | {who} | {share} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} | {gas} | {after} | {:.0} |",
                of(&rate),
                latency(50),
                latency(95),
                latency(99),
                of(&|run| run.calls as f64 / run.requests as f64),
                of(&|run| run.memory),
            );
        }
        text.push_str("\n| figure | median |\n|---|---|\n");
        for (what, figures) in &self.notes {
            let _ = writeln!(text, "| {what} | {:.2} |", median(figures.clone()));
        }
        text
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn today() -> String {
    chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).format("%Y-%m-%d").to_string()
}

fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).and_then(|rest| rest.split_once(':'));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores of {}", model.map_or("an unknown processor", |(_, name)| name.trim()))
}
