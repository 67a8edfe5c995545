//! Who calls too often. The buckets are those of HTTP.

use super::*;

/// More calls in a row than any bucket here holds, and than come back meanwhile.
const MANY: usize = 500;

/// What a call is refused with that came too often.
fn rate_limited() -> (Code, String) {
    (Code::ResourceExhausted, "rate_limited".to_owned())
}

/// Calls until that is too often.
async fn until_limited<T>(mut call: impl AsyncFnMut() -> Result<T, tonic::Status>) -> tonic::Status {
    for _ in 0..MANY {
        if let Err(status) = call().await
            && status.code() == Code::ResourceExhausted
        {
            return status;
        }
    }
    panic!("nobody was limited")
}

/// Whether it is too often over HTTP, too. A token may come back before that is asked, so it is asked more than once.
async fn is_limited_over_http(facilitator: &Facilitator, key: Option<&str>) -> bool {
    for _ in 0..MANY {
        let request = facilitator.client().get(format!("{}/supported", facilitator.url));
        let request = key.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        if request.send().await.expect("an answer").status().as_u16() == 429 {
            return true;
        }
    }
    false
}

fn wait_of(status: &tonic::Status) -> Duration {
    status.get_details_retry_info().and_then(|info| info.retry_delay).expect("when to call again")
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_calls_too_often_is_told_so_before_anything_is_done_and_when_to_come_back() {
    let (chain, facilitator) = start(&format!("{OPEN}[limits]\naddress_per_second = 1\naddress_burst = 3\n")).await;
    let body = chain.payers[0].authorize(&Terms::to(&shop(&chain))).v2();
    let mut client = FacilitatorClient::new(connect(&facilitator));

    let mut listing = client.clone();
    let limited = until_limited(async || listing.supported(SupportedRequest {}).await).await;
    assert_eq!(refusal(&limited), rate_limited());
    assert!(limited.message().contains("too many requests") && wait_of(&limited) >= Duration::from_secs(1), "{limited:?}");
    until_limited(async || client.settle(settle(&body)).await).await;
    assert!(is_limited_over_http(&facilitator, None).await);

    let mut health = tonic_health::pb::health_client::HealthClient::new(connect(&facilitator));
    for _ in 0..20 {
        assert!(health.check(tonic_health::pb::HealthCheckRequest::default()).await.is_ok(), "health is not counted");
    }
    assert!(facilitator.metric("quittance_rate_limited_total{by=\"address\"}").await >= 3.0);
    let exhausted = "quittance_grpc_requests_total{code=\"RESOURCE_EXHAUSTED\",method=\"quittance.v1.Facilitator/Supported\"}";
    assert_eq!(facilitator.metric(exhausted).await, 1.0);
    eventually("a token", PATIENCE, || async { client.clone().settle(settle(&body)).await.ok() }).await;
    assert_eq!(chain.transfers_to(&shop(&chain)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_counts_for_itself_over_both_transports_and_forgers_do_not_use_it_up() {
    let limits = "address_per_second = 1\naddress_burst = 2\nkey_per_second = 1\nkey_burst = 20";
    let (_chain, facilitator) = start(&format!("{KEYS}[limits]\n{limits}\n")).await;
    let holder = open_account(&facilitator, "provider").await;
    let client = FacilitatorClient::new(connect(&facilitator));
    let ask = |key: &str| {
        let (mut client, call) = (client.clone(), keyed(SupportedRequest {}, key));
        async move { client.supported(call).await }
    };
    ask(&holder.key).await.expect("from now on the key is known");
    let forged = format!("{}.{}", holder.key.split_once('.').expect("two halves").0, "ab".repeat(32));
    until_limited(async || ask(&forged).await).await;

    for _ in 0..10 {
        assert!(ask(&holder.key).await.is_ok());
    }
    until_limited(async || ask(&holder.key).await).await;
    assert!(is_limited_over_http(&facilitator, Some(&holder.key)).await);
    assert!(facilitator.metric("quittance_rate_limited_total{by=\"key\"}").await >= 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_proxy_of_the_operators_is_believed_about_who_calls() {
    let limits = "[limits]\naddress_per_second = 1\naddress_burst = 2\n";
    for (proxies, believed) in [("127.0.0.0/8", true), ("192.0.2.0/24", false)] {
        let (_chain, facilitator) = start(&format!("{OPEN}trusted_proxies = [\"{proxies}\"]\n{limits}")).await;
        let client = FacilitatorClient::new(connect(&facilitator));
        let ask = |address: String| {
            let (mut client, mut call) = (client.clone(), Request::new(SupportedRequest {}));
            call.metadata_mut().insert("x-forwarded-for", format!("203.0.113.9, {address}").parse().expect("visible"));
            async move { client.supported(call).await }
        };

        until_limited(async || ask("198.51.100.1".to_owned()).await).await;
        let mut let_in = 0;
        for number in 2..42 {
            let_in += usize::from(ask(format!("198.51.100.{number}")).await.is_ok());
        }
        assert_eq!(let_in == 40, believed, "{let_in} of 40");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_is_limited_by_its_good_payments_and_nothing_is_left_of_what_was_too_much() {
    let limits = "[limits]\naddress_per_second = \"none\"\npayer_per_second = 1\npayer_burst = 2\n";
    let (chain, facilitator) = start(&format!("{OPEN}{limits}")).await;
    let [signed, other] = [0, 1].map(|payer| chain.payers[payer].authorize(&Terms::to(&shop(&chain))).v2());
    let mut forged = signed.clone();
    forged["paymentPayload"]["payload"]["signature"] = other["paymentPayload"]["payload"]["signature"].clone();
    let client = FacilitatorClient::new(connect(&facilitator));
    let judge = |body: &Value| {
        let (mut client, asked) = (client.clone(), verify(body));
        async move { client.verify(asked).await }
    };
    let pay = || {
        let (mut client, call) = (client.clone(), once(Request::new(settle(&signed)), "the-same-key-each-time"));
        async move { client.settle(call).await }
    };

    for _ in 0..20 {
        let verdict = judge(&forged).await.expect("a name is free").into_inner();
        assert_eq!(verdict.invalid_reason.as_deref(), Some("invalid_exact_evm_signature"));
    }
    // Those that come at once are let in together and counted afterwards, so that it takes a while until the next token is there.
    join_all((0..16).map(|_| judge(&signed))).await;
    let limited = until_limited(async || judge(&signed).await).await;
    assert_eq!(refusal(&limited), rate_limited());
    assert!(wait_of(&limited) >= Duration::from_secs(1), "{limited:?}");
    let about = limited.get_details_error_info().expect("details").metadata;
    assert_eq!(about["payer"], signed["paymentPayload"]["payload"]["authorization"]["from"]);
    let limited = pay().await.expect_err("a refusal");
    let about = limited.get_details_error_info().expect("details").metadata;
    assert_eq!((refusal(&limited), &about["network"]), (rate_limited(), &chain.network()));
    assert!(judge(&other).await.expect("another payer").into_inner().is_valid);

    let settled = eventually("a token", PATIENCE, || async { pay().await.ok() }).await.into_inner();
    assert!(settled.success, "{settled:?}");
    assert_eq!(chain.transfers_to(&shop(&chain)).await.len(), 1);
    assert!(facilitator.metric("quittance_rate_limited_total{by=\"payer\"}").await >= 2.0);
}
