//! Sends webhooks as they become due. Every worker does this: claims part their work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::domain::ids::WebhookId;
use crate::flow::Flows;
use crate::ledger::deliveries::Claimed;
use crate::telemetry::ErrorChain;
use crate::webhook::client::Webhooks;

/// Attempts that are under way at a time.
const AT_ONCE: usize = 16;

/// A webhook with so many attempts under way gets no more for now, and so many are begun in one go: a receiver that does not answer must
/// not keep the others waiting.
const AT_ONCE_EACH: usize = 4;

/// Between two looks, unless this process made deliveries itself.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Attempts that are under way at the end may go on for so long. Others are made again when their claim has run out.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// How many attempts are under way, by webhook.
#[derive(Debug, Default)]
struct UnderWay(BTreeMap<WebhookId, usize>);

impl UnderWay {
    fn begin(&mut self, webhook: WebhookId) {
        *self.0.entry(webhook).or_default() += 1;
    }

    fn end(&mut self, webhook: WebhookId) {
        if let Some(count) = self.0.get_mut(&webhook) {
            *count = count.saturating_sub(1);
        }
        self.0.retain(|_, count| *count > 0);
    }

    /// The webhooks that get no more for now.
    fn busy(&self) -> Vec<WebhookId> {
        self.0.iter().filter(|(_, count)| **count >= AT_ONCE_EACH).map(|(webhook, _)| *webhook).collect()
    }

    /// How many more may be begun.
    fn room(&self) -> usize {
        AT_ONCE.saturating_sub(self.0.values().sum())
    }
}

/// Sends what is due, until it is told to stop.
pub async fn run(flows: Arc<Flows>, client: Webhooks, stop: CancellationToken) {
    let mut attempts = FuturesUnordered::new();
    let mut under_way = UnderWay::default();
    while !stop.is_cancelled() {
        loop {
            let claimed = claim(&flows, &under_way).await;
            let may_be_more = claimed.len() == AT_ONCE_EACH;
            for claimed in claimed {
                under_way.begin(claimed.webhook);
                attempts.push(flows.deliver(&client, claimed));
            }
            if !may_be_more {
                break;
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            Some(webhook) = attempts.next() => under_way.end(webhook),
            () = flows.telling.due.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    let last = async { while attempts.next().await.is_some() {} };
    drop(tokio::time::timeout(LAST_ANSWERS_WITHIN, last).await);
}

/// Claims what there is room for: a few at a time, so that no webhook gets all of it.
async fn claim(flows: &Flows, under_way: &UnderWay) -> Vec<Claimed> {
    let limit = under_way.room().min(AT_ONCE_EACH);
    if limit == 0 {
        return Vec::new();
    }
    flows.claim_deliveries(&under_way.busy(), limit).await.unwrap_or_else(|error| {
        tracing::warn!(error = %ErrorChain(&error), "deliveries that are due could not be taken");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_busy_with_four_and_the_process_with_sixteen() {
        let mut under_way = UnderWay::default();
        let webhooks: Vec<_> = (0..4).map(|_| WebhookId::new()).collect();
        for _ in 0..AT_ONCE_EACH - 1 {
            under_way.begin(webhooks[0]);
        }
        assert_eq!((under_way.busy(), under_way.room()), (vec![], 13));

        under_way.begin(webhooks[0]);
        assert_eq!((under_way.busy(), under_way.room()), (vec![webhooks[0]], 12));

        for webhook in &webhooks[1..] {
            (0..AT_ONCE_EACH).for_each(|_| under_way.begin(*webhook));
        }
        assert_eq!((under_way.busy().len(), under_way.room()), (4, 0));

        under_way.end(webhooks[2]);
        assert_eq!((under_way.busy().len(), under_way.room()), (3, 1));
        (0..AT_ONCE_EACH).for_each(|_| under_way.end(webhooks[0]));
        assert!(!under_way.0.contains_key(&webhooks[0]));
    }
}
