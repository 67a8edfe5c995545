//! Something that was fetched and is believed for a while, by everybody who shares it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::FacilitatorError;

/// How soon after one question the next one may be asked. While a facilitator is away, buyers are told at once instead of queueing.
const PAUSE: Duration = Duration::from_secs(1);

/// A value that is fetched when it is first wanted, and again when it is old or not good enough.
#[derive(Debug)]
pub(super) struct Kept<T> {
    fresh_for: Duration,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    value: Option<(Arc<T>, Instant)>,
    /// When asking was last of no use, and why if it failed.
    useless: Option<(Instant, Option<FacilitatorError>)>,
}

impl<T> Kept<T> {
    /// Nothing yet. Whatever is fetched is believed for so long.
    pub(super) fn new(fresh_for: Duration) -> Self {
        Self { fresh_for, state: Mutex::new(State { value: None, useless: None }) }
    }

    /// The value, fetched unless there is one that is fresh and `good`. One that is not is still better than none: it is returned where no
    /// better one can be had, or not again so soon.
    pub(super) async fn get<F: Future<Output = Result<T, FacilitatorError>>>(
        &self,
        fetch: impl FnOnce() -> F,
        good: impl Fn(&T) -> bool,
    ) -> Result<Arc<T>, FacilitatorError> {
        // Held while fetching, so that those who want the same wait for one answer.
        let mut state = self.state.lock().await;
        if let Some((value, since)) = &state.value
            && since.elapsed() < self.fresh_for
            && good(value)
        {
            return Ok(Arc::clone(value));
        }
        if state.useless.as_ref().is_none_or(|(at, _)| at.elapsed() >= PAUSE) {
            match fetch().await {
                Ok(value) => {
                    state.useless = (!good(&value)).then(|| (Instant::now(), None));
                    state.value = Some((Arc::new(value), Instant::now()));
                }
                Err(error) => {
                    log::warn!("{error}");
                    state.useless = Some((Instant::now(), Some(error)));
                }
            }
        }
        match (&state.value, &state.useless) {
            (Some((value, _)), _) => Ok(Arc::clone(value)),
            (None, Some((_, Some(error)))) => Err(error.clone()),
            // Without a value asking has failed, and why was noted.
            (None, _) => Err(FacilitatorError::Slow),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::{Ready, ready};

    const LONG: Duration = Duration::from_hours(1);

    /// Fetches one more than the last time.
    fn counted(count: &Cell<u32>) -> Ready<Result<u32, FacilitatorError>> {
        count.set(count.get() + 1);
        ready(Ok(count.get()))
    }

    impl<T> Kept<T> {
        /// As if the last question was asked long ago.
        async fn wait(&self) {
            self.state.lock().await.useless = None;
        }
    }

    #[actix_web::test]
    async fn what_is_fresh_is_not_fetched_again() {
        let (kept, count) = (Kept::new(LONG), Cell::new(0));
        for _ in 0..3 {
            assert_eq!(*kept.get(|| counted(&count), |_| true).await.unwrap(), 1);
            kept.wait().await;
        }
    }

    #[actix_web::test]
    async fn what_is_old_is_fetched_again_and_kept_where_that_fails() {
        let (kept, count) = (Kept::new(Duration::ZERO), Cell::new(0));
        assert_eq!(*kept.get(|| counted(&count), |_| true).await.unwrap(), 1);
        kept.wait().await;
        assert_eq!(*kept.get(|| counted(&count), |_| true).await.unwrap(), 2);
        kept.wait().await;
        assert_eq!(*kept.get(async || Err(FacilitatorError::Slow), |_| true).await.unwrap(), 2);
    }

    #[actix_web::test]
    async fn what_is_not_good_enough_is_fetched_again_but_not_at_any_rate() {
        let (kept, count) = (Kept::new(LONG), Cell::new(0));
        for (wanted, got) in [(1, 1), (2, 2), (9, 3), (9, 3), (3, 3)] {
            assert_eq!(*kept.get(|| counted(&count), |value| *value >= wanted).await.unwrap(), got);
        }
        kept.wait().await;
        assert_eq!(*kept.get(|| counted(&count), |value| *value >= 4).await.unwrap(), 4);
    }

    #[actix_web::test]
    async fn while_nobody_answers_all_are_told_so_and_the_next_answer_counts() {
        let (kept, count) = (Kept::new(LONG), Cell::new(0));
        let unauthorized = kept.get(async || Err(FacilitatorError::Unauthorized), |_: &u32| true).await;
        assert!(matches!(unauthorized, Err(FacilitatorError::Unauthorized)));
        assert!(matches!(kept.get(|| counted(&count), |_| true).await, Err(FacilitatorError::Unauthorized)));
        assert_eq!(count.get(), 0);
        kept.wait().await;
        assert_eq!(*kept.get(|| counted(&count), |_| true).await.unwrap(), 1);
    }
}
