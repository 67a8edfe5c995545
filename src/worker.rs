//! Work that belongs to no network. One replica does it; the lease decides which.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::flow::Flows;
use crate::flow::tenure::Tenure;
use crate::telemetry::ErrorChain;

pub mod deliveries;
pub mod outbox;
pub mod reconcile;

/// Between two looks at what may be forgotten.
const FORGET_EVERY: Duration = Duration::from_mins(10);

/// Between two looks at whether it is this replica's turn.
const TURN: Duration = Duration::from_secs(1);

/// Closes invoices, signs receipts, and forgets what nobody needs any more, until it is told to stop.
pub async fn run(flows: Arc<Flows>, owner: Uuid, stop: CancellationToken) {
    let mut tenure = Tenure::new(Arc::clone(&flows), "worker".to_owned(), owner);
    let mut forgot: Option<std::time::Instant> = None;
    while !stop.is_cancelled() {
        if let Some(lease) = tenure.lease().await {
            if let Err(error) = flows.close_invoices().await {
                tracing::warn!(error = %ErrorChain(&error), "invoices whose time is over were not closed");
            }
            if let Err(error) = flows.sign_receipts().await {
                tracing::warn!(error = %ErrorChain(&error), "receipts wait for their signatures");
            }
            if forgot.is_none_or(|forgot| forgot.elapsed() >= FORGET_EVERY) {
                forgot = Some(std::time::Instant::now());
                // It consists of many small transactions, and the next round goes on where this one ends.
                if let Some(Err(error)) = stop.run_until_cancelled(flows.forget(&lease)).await {
                    tracing::warn!(error = %ErrorChain(&error), "old rows were not removed");
                }
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(TURN)).await;
    }
    tenure.end().await;
}
