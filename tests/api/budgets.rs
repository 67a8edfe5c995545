//! What settling may cost: for one payment, and in an hour.

use std::collections::HashMap;
use std::time::Duration;

use alloy::primitives::U256;
use alloy::sol_types::SolCall;
use chrono::DateTime;
use futures_util::future::join_all;
use quittance::config::CostLimits;
use quittance::domain::address::Address;
use quittance::domain::amount::Amount;
use quittance::domain::answer::AnswerPolicy;
use quittance::domain::block::Level;
use quittance::domain::budget::Limits;
use quittance::domain::ids::PaymentId;
use quittance::domain::network::Network;
use quittance::domain::payment::AuthorizationKey;
use quittance::domain::verification::{Checked, Sendable};
use quittance::flow::Policy;
use serde_json::Value;
use sqlx::Executor;

use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::Terms;
use crate::support::proxy::Proxy;
use crate::support::{database, eventually, flows};

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

alloy::sol! {
    interface Oracle {
        function setL1BaseFee(uint256 price) external;
    }
}

/// Sets what data costs on layer 1, in wei per gas there.
async fn set_data_price(chain: &Chain, wei: u64) {
    let call = Oracle::setL1BaseFeeCall { price: U256::from(wei) }.abi_encode();
    chain.transact(&chain.text("/accounts/deployer/address"), Some(&chain.text("/l1FeeOracle")), &call).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_data_costs_too_much_is_refused_until_the_price_falls() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let (proxy, database) = (Proxy::start(&chain.url), database::fresh().await);
    let ledger = database::ledger(&database).await;
    // Some three hundred bytes cost a hundredth of a coin, ten times what one payment may.
    set_data_price(&chain, 1_000_000_000_000_000).await;
    let network = NetworkOptions { rpc: vec![proxy.url.clone()], ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(network, &database)).await;
    let merchant = chain.text("/accounts/merchant/address");
    let body = chain.payers[0].authorize(&Terms::to(&merchant)).v2();

    let (verified, settled) = (facilitator.verify(&body).await, facilitator.settle(&body).await);
    assert_eq!((verified.0, &verified.1["invalidReason"]), (200, &"settlement_cost_exceeds_limit".into()), "{verified:?}");
    assert_eq!((settled.0, &settled.1["errorReason"]), (200, &"settlement_cost_exceeds_limit".into()), "{settled:?}");
    let rows = sqlx::query_scalar::<_, i64>("SELECT (SELECT count(*) FROM payments) + (SELECT count(*) FROM authorizations)");
    assert_eq!(rows.fetch_one(ledger.pool()).await.expect("the database answers"), 0, "nothing is recorded");

    set_data_price(&chain, 1_000_000_000).await;
    // Prices are believed for a while.
    eventually("the lower price", Duration::from_secs(40), || async {
        (facilitator.verify(&body).await.1["isValid"] == true).then_some(())
    })
    .await;
    assert!(proxy.sent().is_empty(), "nothing was sent at that price");
    let settled = facilitator.settle_patiently(&body, Duration::from_secs(40)).await;
    assert_eq!(settled["success"], true, "{settled}");
    assert_eq!((chain.transfers_to(&merchant).await.len(), proxy.sent().len()), (1, 1));
}

fn waiting() -> Sendable {
    Sendable {
        id: PaymentId::new(),
        asset: Address::Evm([1; 20]),
        payer: Address::Evm([2; 20]),
        pay_to: Address::Evm([3; 20]),
        amount: Amount::new(1),
        provider: None,
        expires_at: DateTime::UNIX_EPOCH,
        payload: Value::Null,
        checked: Checked { block: 1, payer_code: String::new(), alone: false, gas: 1 },
        failures: 0,
        key: AuthorizationKey(Vec::new()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_limited_the_ledger_is_not_asked() {
    let network: Network = "eip155:84532".parse().expect("a network");
    let ledger = database::ledger(&database::fresh().await).await;
    let limited_to = |hourly| {
        let cost = CostLimits { payment_wei_max: 1, hourly, reserve_wei_min: 0 };
        let policy = Policy { answer: AnswerPolicy::always(Level::Included), cost };
        flows::over(ledger.clone(), HashMap::from([(network.clone(), policy)]))
    };
    let payments = [waiting(), waiting()];

    let excess = limited_to(Limits { payer: Some(3), ..Limits::default() }).over_budget(&network, 4, &payments).await;
    assert_eq!(excess.expect("the database answers"), [payments[1].id]);
    ledger.pool().close().await;
    let asked = limited_to(Limits { payer: Some(3), ..Limits::default() }).over_budget(&network, 4, &payments).await;
    let not_asked = limited_to(Limits::default()).over_budget(&network, 4, &payments).await;
    assert!(asked.is_err());
    assert_eq!(not_asked.expect("nobody was asked"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_cost_lately_what_it_cost_in_the_dearer_of_two_hours() {
    let network: Network = "eip155:84532".parse().expect("a network");
    let ledger = database::ledger(&database::fresh().await).await;
    let spent = "
        INSERT INTO budgets VALUES ('eip155:84532', '2026-01-01 09:00Z', 'network', 9),
                                   ('eip155:84532', '2026-01-01 10:00Z', 'network', 2),
                                   ('eip155:84532', '2026-01-01 11:00Z', 'network', 1),
                                   ('eip155:84532', '2026-01-01 11:00Z', 'payer:0x', 8),
                                   ('eip155:8453', '2026-01-01 11:00Z', 'network', 7);
    ";
    ledger.pool().execute(spent).await.expect("it fits");

    for (now, most) in [("10:59:59", 9), ("11:00:00", 2), ("12:30:00", 1), ("13:00:00", 0)] {
        let now = format!("2026-01-01T{now}Z").parse().expect("a time");
        assert_eq!(ledger.spent_lately(&network, now).await.expect("the database answers"), most, "{now}");
    }
}
