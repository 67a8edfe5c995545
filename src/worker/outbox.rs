//! Takes events out of the outbox as they come. It has a lease of its own, so that nobody is told late because old rows are removed.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::flow::Flows;
use crate::flow::tenure::{ASK_AGAIN, Tenure};
use crate::telemetry::ErrorChain;

/// Between two looks. An event is written on many occasions, in any replica, and a look at an empty outbox costs next to nothing.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Puts events into the stream, until it is told to stop.
pub async fn run(flows: Arc<Flows>, owner: Uuid, stop: CancellationToken) {
    let mut tenure = Tenure::new(Arc::clone(&flows), "outbox".to_owned(), owner);
    while !stop.is_cancelled() {
        let pause = match tenure.lease().await {
            Some(lease) => match flows.drain_outbox(&lease).await {
                Ok(true) => Duration::ZERO,
                Ok(false) => LOOK_EVERY,
                Err(error) => {
                    tracing::warn!(error = %ErrorChain(&error), "events could not be put into the stream");
                    ASK_AGAIN
                }
            },
            None => ASK_AGAIN,
        };
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
    tenure.end().await;
}
