//! Tasks that live as long as the process: started by name, started again when they end, and ended together.
//!
//! A task that panics or returns has failed, whatever the reason, because nothing but the end of the process ends its work. It
//! is started again after a pause that doubles up to a limit. Two replicas that lost the same database must not come back in
//! step, so the pause is drawn from its upper half.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error, info_span, warn};

use crate::metrics::Metrics;

/// Pauses between attempts at something that fails.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The first pause.
    first: Duration,
    /// The longest pause.
    longest: Duration,
    /// A task that lived this long is healthy again: its next pause is the first one.
    healthy_after: Duration,
}

/// The pauses of whatever has no reason for others.
pub const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(30), healthy_after: Duration::from_mins(1) };

impl Backoff {
    /// The pause after so many failures in a row. `share` from 0 to 1 says where in its upper half.
    #[must_use]
    pub fn pause(&self, failures: u32, share: f64) -> Duration {
        let doubled = 2_u32.checked_pow(failures.saturating_sub(1)).and_then(|factor| self.first.checked_mul(factor));
        let whole = doubled.unwrap_or(self.longest).min(self.longest);
        whole.mul_f64(0.5 + share.clamp(0.0, 1.0) / 2.0)
    }
}

/// Runs the long-lived tasks of a process. Clones run them together.
#[derive(Debug, Clone)]
pub struct Supervisor {
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    /// Asks the tasks to end.
    stop: CancellationToken,
    /// Ends those that did not.
    abandon: CancellationToken,
    backoff: Backoff,
}

/// How a shutdown went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Every task ended by itself.
    Clean,
    /// So many tasks did not end in time and were dropped.
    Abandoned(usize),
}

impl Supervisor {
    /// A supervisor without tasks.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            abandon: CancellationToken::new(),
            backoff: BACKOFF,
        }
    }

    /// An end of tasks that may come before the shutdown, which is one, too.
    #[must_use]
    pub fn generation(&self) -> CancellationToken {
        self.stop.child_token()
    }

    /// Runs what `make` makes, again and again, until the shutdown. A task must end soon after its token is cancelled.
    pub fn run<F, T>(&self, name: &'static str, make: F)
    where
        F: Fn(CancellationToken) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        self.run_until(&self.stop, name, make);
    }

    /// The same until a [`Self::generation`] ends.
    pub fn run_until<F, T>(&self, end: &CancellationToken, name: &'static str, make: F)
    where
        F: Fn(CancellationToken) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        self.metrics.task_supervised(name);
        let (metrics, stop, abandon, backoff) = (self.metrics.clone(), end.clone(), self.abandon.clone(), self.backoff);
        let life = async move { keep_running(name, make, &metrics, &stop, backoff).await };
        let life = life.instrument(info_span!("task", task = name));
        self.tasks.spawn(async move { abandon.run_until_cancelled(life).await });
    }

    /// Asks every task to end, waits, and drops those that did not within the time.
    pub async fn shutdown(self, within: Duration) -> Shutdown {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(within, self.tasks.wait()).await.is_ok() {
            return Shutdown::Clean;
        }
        let left = self.tasks.len();
        warn!(tasks = left, "dropping tasks that did not end in time");
        self.abandon.cancel();
        self.tasks.wait().await;
        Shutdown::Abandoned(left)
    }
}

async fn keep_running<F, T>(name: &'static str, make: F, metrics: &Metrics, stop: &CancellationToken, backoff: Backoff)
where
    F: Fn(CancellationToken) -> T,
    T: Future<Output = ()>,
{
    let mut failures = 0_u32;
    while !stop.is_cancelled() {
        let started = Instant::now();
        // The task is dropped after a panic and made anew, so nothing sees what it left half done.
        let end = AssertUnwindSafe(async { make(stop.child_token()).await }).catch_unwind().await;
        if stop.is_cancelled() {
            break;
        }
        failures = if started.elapsed() < backoff.healthy_after { failures.saturating_add(1) } else { 1 };
        let pause = backoff.pause(failures, rand::random());
        report(name, &end, failures, pause);
        metrics.task_restarted(name);
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// What a panic said stands in the line before, which the panic hook wrote.
fn report(name: &'static str, end: &std::thread::Result<()>, failures: u32, pause: Duration) {
    let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    let how = if end.is_ok() { "ended early" } else { "panicked" };
    error!(task = name, failures, pause_ms, "task {name} is started again because it {how}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::mpsc;

    /// Without pauses, so that no test has to wait.
    fn supervisor() -> Supervisor {
        let backoff = Backoff { first: Duration::ZERO, longest: Duration::ZERO, healthy_after: Duration::MAX };
        Supervisor { backoff, ..Supervisor::new(Arc::new(Metrics::new(&[]))) }
    }

    const LONG: Duration = Duration::from_mins(10);

    #[tokio::test]
    async fn a_task_that_panics_or_ends_is_started_again() {
        let supervisor = supervisor();
        let metrics = supervisor.metrics.clone();
        let (sender, mut starts) = mpsc::unbounded_channel();
        let count = AtomicU32::new(0);

        supervisor.run("watcher", move |stop| {
            let start = count.fetch_add(1, Ordering::Relaxed);
            sender.send(start).unwrap();
            async move {
                match start {
                    0 => panic!("the first life"),
                    1 => {}
                    _ => stop.cancelled().await,
                }
            }
        });

        for start in 0..3 {
            assert_eq!(starts.recv().await, Some(start));
        }
        assert_eq!(supervisor.shutdown(LONG).await, Shutdown::Clean);
        assert!(metrics.render().contains("quittance_task_restarts_total{task=\"watcher\"} 2"));
    }

    #[tokio::test]
    async fn even_a_maker_that_panics_does_not_end_the_task() {
        let supervisor = supervisor();
        let (sender, mut starts) = mpsc::unbounded_channel();

        supervisor.run("lane", move |_| -> std::future::Ready<()> {
            sender.send(()).unwrap();
            panic!("no task today")
        });

        assert_eq!((starts.recv().await, starts.recv().await), (Some(()), Some(())));
        assert_eq!(supervisor.shutdown(LONG).await, Shutdown::Clean);
    }

    #[tokio::test]
    async fn a_shutdown_ends_tasks_that_listen_and_drops_those_that_do_not() {
        let supervisor = supervisor();
        let (sender, mut ended) = mpsc::unbounded_channel();

        supervisor.run("polite", move |stop| {
            let sender = sender.clone();
            async move {
                stop.cancelled().await;
                sender.send("polite").unwrap();
            }
        });
        supervisor.run("deaf", |_| std::future::pending());
        tokio::task::yield_now().await;

        assert_eq!(supervisor.shutdown(Duration::from_millis(1)).await, Shutdown::Abandoned(1));
        assert_eq!(ended.recv().await, Some("polite"));
        assert_eq!(ended.recv().await, None);
    }

    #[tokio::test]
    async fn a_generation_ends_before_the_others_and_with_them() {
        let supervisor = supervisor();
        let [first, second] = [supervisor.generation(), supervisor.generation()];
        let (sender, mut ended) = mpsc::unbounded_channel();
        for (end, name) in [(&first, "first"), (&second, "second")] {
            let sender = sender.clone();
            supervisor.run_until(end, "lane", move |stop| {
                let sender = sender.clone();
                async move {
                    stop.cancelled().await;
                    sender.send(name).unwrap();
                }
            });
        }
        drop(sender);
        // Both are at work.
        tokio::task::yield_now().await;

        first.cancel();
        assert_eq!(ended.recv().await, Some("first"));
        assert_eq!(supervisor.clone().shutdown(LONG).await, Shutdown::Clean);
        assert_eq!((ended.recv().await, ended.recv().await), (Some("second"), None));
        assert!(!supervisor.metrics.render().contains("quittance_task_restarts_total{task=\"lane\"} 1"));
    }

    #[tokio::test]
    async fn a_pause_does_not_delay_the_shutdown() {
        let supervisor = Supervisor { backoff: Backoff { first: LONG, longest: LONG, healthy_after: LONG }, ..supervisor() };
        let (sender, mut starts) = mpsc::unbounded_channel();

        supervisor.run("brief", move |_| {
            sender.send(()).unwrap();
            std::future::ready(())
        });
        starts.recv().await.unwrap();

        assert_eq!(supervisor.shutdown(LONG).await, Shutdown::Clean);
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_differ() {
        let pause = |failures, share| BACKOFF.pause(failures, share).as_millis();

        assert_eq!([1, 2, 3, 9, 10, 100].map(|failures| pause(failures, 1.0)), [100, 200, 400, 25_600, 30_000, 30_000]);
        assert_eq!((pause(1, 0.0), pause(100, 0.0)), (50, 15_000));
    }
}
