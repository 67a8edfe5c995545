//! Hourly budgets for what settling costs.

use futures_util::future::join_all;
use sqlx::Executor;

use crate::support::chain::{Chain, ChainOptions};
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::Terms;

/// Requests that come at once.
const BURST: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_one_payer_does_not_go_over_its_budget() {
    let chain = Chain::start(ChainOptions::default()).await;
    let database = database::fresh().await;
    let ledger = database::ledger(&database).await;
    let network = NetworkOptions { lines: "cost.payer_hourly = \"0.05\"\n".to_owned(), ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(network, &database)).await;
    let merchant = chain.text("/accounts/merchant/address");
    let payer = &chain.payers[0];
    assert_eq!(facilitator.settle(&payer.authorize(&Terms::to(&merchant)).v2()).await.1["success"], true);
    // Enough is left for two payments and a half at the price of the first. Should the hour end now, the next one is the same.
    let nearly_spent = "
        UPDATE budgets SET spent_wei = 50000000000000000 - floor(spent_wei * 2.5) WHERE subject LIKE 'payer:%';
        INSERT INTO budgets SELECT network, hour + interval '1 hour', subject, spent_wei FROM budgets WHERE subject LIKE 'payer:%';
    ";
    ledger.pool().execute(nearly_spent).await.expect("the database answers");

    let burst: Vec<_> = (0..BURST).map(|_| payer.authorize(&Terms::to(&merchant)).v2()).collect();
    let answers: Vec<_> =
        join_all(burst.iter().map(|body| facilitator.settle(body))).await.into_iter().map(|(_, answer)| answer).collect();

    let paid = answers.iter().filter(|answer| answer["success"] == true).count();
    let refused = answers.iter().filter(|answer| answer["errorReason"] == "settlement_cost_exceeds_limit").count();
    assert!(paid >= 1 && refused >= 1 && paid + refused == BURST, "{paid} paid, {refused} refused: {answers:?}");
    assert_eq!(chain.transfers_to(&merchant).await.len(), paid + 1);
    let over = "SELECT count(*) FROM budgets WHERE subject LIKE 'payer:%' AND spent_wei > 50000000000000000";
    assert_eq!(sqlx::query_scalar::<_, i64>(over).fetch_one(ledger.pool()).await.expect("the database answers"), 0);
    // What was refused may be asked for again, and is refused as long as the hour lasts.
    let again = answers.iter().position(|answer| answer["success"] != true).expect("one was refused");
    assert_eq!(facilitator.settle(&burst[again]).await.1["errorReason"], "settlement_cost_exceeds_limit");
}
