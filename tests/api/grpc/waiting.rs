//! Callers who do not wait until the end.

use super::*;

/// A payment whose transaction is in the pool, and in no block before somebody says so.
async fn held_up() -> (Chain, Facilitator, Value) {
    let (chain, facilitator) = start(OPEN).await;
    chain.rpc("anvil_setIntervalMining", json!([0])).await;
    let body = chain.payers[0].authorize(&Terms::to(&shop(&chain))).v2();
    (chain, facilitator, body)
}

async fn until_pooled(chain: &Chain) {
    eventually("a transaction in the pool", PATIENCE, || async { (chain.pooled().await == 1).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_shortens_the_wait_and_the_answer_is_pending() {
    let (chain, facilitator, body) = held_up().await;
    let mut client = FacilitatorClient::new(connect(&facilitator));
    // It is shorter than the twenty seconds that the service would take, and the answer comes before it is over.
    let mut call = Request::new(settle(&body));
    call.set_timeout(Duration::from_secs(8));

    let pending = client.settle(call).await.expect("an answer in time").into_inner();

    assert_eq!((pending.success, pending.error_reason.as_deref()), (false, Some("settlement_pending")), "{pending:?}");
    assert!(pending.transaction.starts_with("0x") && pending.payment_id.is_some(), "{pending:?}");
    chain.rpc("evm_mine", json!([])).await;
    let settled = client.settle(settle(&body)).await.expect("an answer").into_inner();
    assert_eq!((settled.success, &settled.transaction), (true, &pending.transaction), "{settled:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cancels_a_call_takes_no_success_away() {
    let (chain, facilitator, body) = held_up().await;
    let mut client = FacilitatorClient::new(connect(&facilitator));
    let asked = settle(&body);
    let call = tokio::spawn(async move { client.settle(asked).await });
    until_pooled(&chain).await;
    assert!(facilitator.metric("quittance_payments_waiting").await >= 1.0);

    call.abort();

    eventually("an end of waiting", PATIENCE, || async {
        (facilitator.metric("quittance_payments_waiting").await == 0.0).then_some(())
    })
    .await;
    let cancelled = "quittance_grpc_requests_total{code=\"CANCELLED\",method=\"quittance.v1.Facilitator/Settle\"}";
    eventually("a cancelled call", PATIENCE, || async { (facilitator.metric(cancelled).await == 1.0).then_some(()) }).await;
    chain.rpc("evm_mine", json!([])).await;
    let (status, settled) = facilitator.settle(&body).await;
    assert_eq!((status, &settled["success"]), (200, &json!(true)), "{settled}");
    assert_eq!(chain.transfers_to(&shop(&chain)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_when_the_service_stops_is_told_where_the_payment_stands() {
    let (chain, mut facilitator, body) = held_up().await;
    let mut client = FacilitatorClient::new(connect(&facilitator));
    let asked = settle(&body);
    let call = tokio::spawn(async move { client.settle(asked).await });
    until_pooled(&chain).await;

    assert!(facilitator.terminate().await.success());

    let pending = call.await.expect("no panic").expect("an answer").into_inner();
    assert_eq!((pending.success, pending.error_reason.as_deref()), (false, Some("settlement_pending")), "{pending:?}");
}
