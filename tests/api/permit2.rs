//! Payments through Permit2, schemes `exact` and `upto`, as a resource server sees them.

use std::time::Duration;

use alloy::primitives::{Address, U256};
use futures_util::future::join_all;
use quittance::domain::reason::Reason;
use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::{Payer, Terms};
use crate::support::permit2::{Order, Permitted, approve};
use crate::support::{database, eventually, typed};

const PATIENCE: Duration = Duration::from_mins(1);

struct World {
    chain: Chain,
    facilitator: Facilitator,
    merchant: String,
}

impl World {
    async fn start() -> Self {
        Self::start_with(ChainOptions::default()).await
    }

    async fn start_with(options: ChainOptions) -> Self {
        let chain = Chain::start(options).await;
        let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &database::fresh().await)).await;
        let merchant = chain.text("/accounts/merchant/address");
        Self { chain, facilitator, merchant }
    }

    /// A payer who lets Permit2 take the token.
    async fn payer(&self, index: usize) -> &Payer {
        let payer = &self.chain.payers[index];
        approve(&self.chain, &payer.address()).await;
        payer
    }

    fn exact(&self, payer: &Payer) -> Permitted {
        Order::exact(&self.chain, payer, &Terms::to(&self.merchant)).sign(&self.chain, payer.signer())
    }

    fn upto(&self, payer: &Payer) -> Permitted {
        Order::upto(&self.chain, payer, &Terms::to(&self.merchant)).sign(&self.chain, payer.signer())
    }

    async fn verify(&self, body: &Value) -> Value {
        self.facilitator.verify(body).await.1
    }

    async fn settle(&self, body: &Value) -> Value {
        self.facilitator.settle(body).await.1
    }

    /// The amounts that the merchant got, in order.
    async fn received(&self) -> Vec<u64> {
        let transfers = self.chain.transfers_to(&self.merchant).await;
        transfers.iter().map(|transfer| crate::support::chain::hex(&transfer["data"])).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_through_permit2_is_settled_once() {
    let world = World::start().await;
    let signed = world.exact(world.payer(0).await);

    let verified = world.verify(&signed.v2()).await;
    let settled = world.settle(&signed.v2()).await;
    let again = world.settle(&signed.v2()).await;

    assert_eq!(verified, json!({"isValid": true, "payer": signed.order.from.to_checksum(None)}));
    assert_eq!((&settled["success"], &settled["amount"]), (&json!(true), &json!("10000")), "{settled}");
    assert_eq!(again["errorReason"], "duplicate_settlement");
    assert_eq!(again["transaction"], settled["transaction"]);
    assert_eq!(world.received().await, [10_000]);
    let verified = world.verify(&signed.v2()).await;
    assert_eq!(verified["invalidReason"], "permit2_invalid_nonce", "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_permit_has_its_code_and_moves_nothing() {
    let world = World::start().await;
    let (chain, payer) = (&world.chain, world.payer(0).await);
    let order = || Order::exact(chain, payer, &Terms::to(&world.merchant));
    let elsewhere = Address::repeat_byte(7);
    let rich = Terms { amount: 10_000_000_000, ..Terms::to(&world.merchant) };
    let ends = |valid_for| Terms { valid_for, ..Terms::to(&world.merchant) };
    let sign = |order: Order| order.sign(chain, payer.signer()).v2();
    let mut other_recipient = sign(order());
    other_recipient["paymentRequirements"]["payTo"] = elsewhere.to_checksum(None).into();
    let mut other_token = sign(Order { token: elsewhere, ..order() });
    other_token["paymentRequirements"]["asset"] = chain.usdc().into();
    let mut other_signature = sign(order());
    other_signature["paymentPayload"]["payload"]["permit2Authorization"]["nonce"] = "1".into();
    let mut version_1 = payer.authorize(&Terms::to(&world.merchant)).v1();
    version_1["paymentPayload"]["payload"] = order().sign(chain, payer.signer()).payload;
    let cancelled = order().sign(chain, payer.signer());
    let cancelling = alloy::hex::encode_prefixed(cancelled.cancelling());
    let sent = chain.send_as(&payer.address(), &chain.text("/permit2"), &cancelling, 1_000_000).await;
    assert_eq!(chain.receipt(&sent).await["status"], "0x1");
    let poor = &chain.payers[1];

    for (body, code) in [
        (sign(Order { spender: elsewhere, ..order() }), "invalid_permit2_spender"),
        (other_recipient, "invalid_permit2_recipient_mismatch"),
        (other_token, "permit2_token_mismatch"),
        (order().sign(chain, payer.signer()).v2_of(9_999), "permit2_amount_mismatch"),
        (sign(Order { terms: ends(-1), ..order() }), "permit2_deadline_expired"),
        (sign(Order { terms: ends(1_000_000), ..order() }), "permit2_deadline_expired"),
        (sign(Order { valid_in: 60, ..order() }), "permit2_not_yet_valid"),
        (other_signature, "invalid_permit2_signature"),
        (sign(Order { terms: rich, ..order() }), "permit2_insufficient_balance"),
        (cancelled.v2(), "permit2_invalid_nonce"),
        (Order::exact(chain, poor, &Terms::to(&world.merchant)).sign(chain, poor.signer()).v2(), "permit2_allowance_required"),
        (version_1, "unsupported_payload_type"),
    ] {
        assert_eq!(world.verify(&body).await["invalidReason"], code, "{body}");
        assert_eq!(world.settle(&body).await["errorReason"], code, "{body}");
    }
    assert_eq!(world.received().await, Vec::<u64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_without_gas_lets_permit2_take_the_token_with_the_payment() {
    let world = World::start().await;
    let chain = &world.chain;
    let sponsored = |payer: &Payer, nonce| world.exact(payer).sponsored(chain, payer.signer(), nonce);
    let metered = |payer: &Payer, nonce| world.upto(payer).sponsored(chain, payer.signer(), nonce);

    let supported = world.facilitator.get("/supported").await.1;
    assert_eq!(supported["extensions"][0], "eip2612GasSponsoring", "{supported}");
    for (signed, amount) in [(sponsored(&chain.payers[0], 0), 10_000), (metered(&chain.payers[1], 0), 4_000)] {
        assert_eq!(world.verify(&signed.v2()).await["isValid"], true);
        let settled = world.settle(&signed.v2_of(amount)).await;
        assert_eq!(settled["success"], true, "{settled}");
    }
    assert_eq!(world.received().await, [10_000, 4_000]);

    let payer = &chain.payers[2];
    let with = |name: &str, value: &str| {
        let mut signed = sponsored(payer, 0);
        signed.sponsoring.as_mut().expect("it is there")[name] = value.into();
        signed.v2()
    };
    let forged = || world.exact(payer).sponsored(chain, chain.payers[3].signer(), 0).v2();
    let other = "0x0707070707070707070707070707070707070707";
    for (body, code) in [
        (with("signature", "0x12"), "invalid_eip2612_extension_format"),
        (with("from", other), "eip2612_from_mismatch"),
        (with("asset", other), "eip2612_asset_mismatch"),
        (with("spender", other), "eip2612_spender_not_permit2"),
        (with("deadline", "1740672154"), "eip2612_deadline_expired"),
        (with("amount", "10001"), "permit2_2612_amount_mismatch"),
        // The token does not take a word that was given under another nonce.
        (sponsored(payer, 5).v2(), "permit2_allowance_required"),
        (forged(), "permit2_allowance_required"),
    ] {
        assert_eq!(world.verify(&body).await["invalidReason"], code, "{body}");
    }
    approve(chain, &payer.address()).await;
    assert_eq!(world.settle(&forged()).await["errorReason"], "permit2_allowance_required", "needed or not");
    assert_eq!(world.received().await, [10_000, 4_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_is_paid_and_never_more_than_was_signed() {
    let world = World::start().await;
    let payer = world.payer(0).await;
    let (signed, exceeded) = (world.upto(payer), world.upto(payer));
    let elsewhere =
        Order { facilitator: Some(Address::repeat_byte(7)), ..Order::upto(&world.chain, payer, &Terms::to(&world.merchant)) };
    let elsewhere = elsewhere.sign(&world.chain, payer.signer()).v2();

    let supported = world.facilitator.get("/supported").await.1;
    let kinds = supported["kinds"].as_array().expect("kinds");
    let upto: Vec<_> = kinds.iter().filter(|kind| kind["scheme"] == "upto").collect();
    let signer = world.chain.text("/accounts/signers/0/address");
    let expected =
        json!({"x402Version": 2, "scheme": "upto", "network": "eip155:84532", "extra": {"facilitatorAddress": signer}});
    assert_eq!(upto, [&expected]);

    assert_eq!(world.verify(&signed.v2()).await["isValid"], true);
    assert_eq!(world.verify(&signed.v2_of(9_999)).await["invalidReason"], "permit2_amount_mismatch");
    let settled = world.settle(&signed.v2_of(1_234)).await;
    assert_eq!((&settled["success"], &settled["amount"]), (&json!(true), &json!("1234")), "{settled}");
    let again = world.settle(&signed.v2_of(5_000)).await;
    assert_eq!((&again["errorReason"], &again["transaction"]), (&json!("duplicate_settlement"), &settled["transaction"]));
    let more = world.settle(&exceeded.v2_of(10_001)).await;
    assert_eq!(more["errorReason"], "invalid_upto_evm_payload_settlement_exceeds_amount");
    assert_eq!(world.verify(&elsewhere).await["invalidReason"], "upto_facilitator_mismatch");
    assert_eq!(world.received().await, [1_234]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cost_nothing_is_settled_once_without_a_transaction() {
    let world = World::start().await;
    let payer = world.payer(0).await;
    let (signed, forged) = (world.upto(payer), world.upto(payer));
    let mut forged_body = forged.v2_of(0);
    forged_body["paymentPayload"]["payload"]["signature"] = signed.payload["signature"].clone();

    let refused = world.settle(&forged_body).await;
    let settled = world.settle(&signed.v2_of(0)).await;

    assert_eq!(refused["errorReason"], "invalid_permit2_signature", "nobody uses up what another has signed");
    assert_eq!((&settled["success"], &settled["amount"], &settled["transaction"]), (&json!(true), &json!("0"), &json!("")));
    let id = settled["extra"]["paymentId"].as_str().expect("a name");
    let payment = world.facilitator.get(&format!("/v1/payments/{id}")).await.1;
    assert_eq!((&payment["state"], &payment["amount"]), (&json!("waived"), &json!("0")), "{payment}");
    for amount in [0, 1, 10_000] {
        let again = world.settle(&signed.v2_of(amount)).await;
        assert_eq!((&again["success"], &again["errorReason"]), (&json!(false), &json!("duplicate_settlement")), "{amount}");
    }
    assert_eq!(world.verify(&signed.v2()).await["invalidReason"], "duplicate_settlement");
    // Both schemes use the same numbers, which the chain knows nothing of here.
    let same_nonce = Order { nonce: signed.order.nonce, ..Order::exact(&world.chain, payer, &signed.order.terms) };
    let exact = same_nonce.sign(&world.chain, payer.signer()).v2();
    assert_eq!(world.verify(&exact).await["invalidReason"], "duplicate_settlement");
    assert_eq!(world.settle(&exact).await["errorReason"], "duplicate_settlement");
    // What nobody settled is free still.
    assert_eq!(world.settle(&forged.v2_of(7)).await["success"], true);
    assert_eq!(world.received().await, [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_settle_for_nothing_at_once_one_is_told() {
    let world = World::start().await;
    let body = world.upto(world.payer(0).await).v2_of(0);

    let answers = join_all((0..16).map(|_| world.settle(&body))).await;

    let successes = answers.iter().filter(|answer| answer["success"] == true).count();
    let duplicates = answers.iter().filter(|answer| answer["errorReason"] == "duplicate_settlement").count();
    assert_eq!((successes, duplicates), (1, 15), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_wallet_pays_through_permit2() {
    let world = World::start().await;
    let (chain, safe) = (&world.chain, world.chain.text("/safe"));
    approve(chain, &safe).await;
    let owner = chain.text("/accounts/safeOwner/key").parse().expect("a key");
    let from: Address = safe.parse().expect("an address");
    let order = Order { from, ..Order::exact(chain, &chain.payers[0], &Terms::to(&world.merchant)) };
    let signed = order.clone().sign_with(chain, |digest| typed::sign_for_safe(&owner, from, 84_532, digest));
    let by_stranger = order.sign(chain, chain.payers[0].signer());

    assert_eq!(world.verify(&by_stranger.v2()).await["invalidReason"], "permit2_simulation_failed");
    let settled = world.settle(&signed.v2()).await;
    assert_eq!(settled["success"], true, "{settled}");
    assert_eq!(world.received().await, [10_000]);
}

/// Somebody sees the signature and lands it first, by calling the proxy or through another contract, which hides what was used.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_lands_it_first_pays_it() {
    let world = World::start_with(ChainOptions { block_time: 2.0, ..ChainOptions::default() }).await;
    let chain = &world.chain;
    let proxy = chain.text("/exactPermit2Proxy");
    let stranger = chain.text("/accounts/buyer/address");
    for index in 0..2 {
        let signed = world.exact(world.payer(index).await);
        let (to, call) = if index == 0 {
            (proxy.clone(), signed.landing())
        } else {
            (chain.text("/multicall3"), through_multicall(&proxy, [signed.landing()]))
        };
        // Both wait for one block, in which the stranger's offers more.
        let theirs = chain.send_as(&stranger, &to, &alloy::hex::encode_prefixed(call), 1_000_000_000).await;
        let settled = world.facilitator.settle_patiently(&signed.v2(), PATIENCE).await;

        assert_eq!(settled["success"], true, "{settled}");
        assert_eq!(settled["transaction"], theirs.as_str(), "{index}");
    }
    assert_eq!(world.received().await, [10_000, 10_000]);
}

/// Two payments of one payer that are alike, which somebody lands together so that nobody sees whose transfer is whose.
#[tokio::test(flavor = "multi_thread")]
async fn two_payments_that_are_alike_are_each_paid_by_a_transfer_of_their_own() {
    let world = World::start_with(ChainOptions { block_time: 2.0, ..ChainOptions::default() }).await;
    let (chain, payer) = (&world.chain, world.payer(0).await);
    let signed = [(); 2].map(|()| world.exact(payer));
    let call = through_multicall(&chain.text("/exactPermit2Proxy"), signed.iter().map(Permitted::landing));
    let (stranger, multicall) = (chain.text("/accounts/buyer/address"), chain.text("/multicall3"));
    // Both wait for one block, in which the stranger's offers more.
    let theirs = chain.send_as(&stranger, &multicall, &alloy::hex::encode_prefixed(call), 1_000_000_000).await;

    let bodies = signed.each_ref().map(Permitted::v2);
    let settled = join_all(bodies.iter().map(|body| world.facilitator.settle_patiently(body, PATIENCE))).await;

    for settled in &settled {
        assert_eq!((&settled["success"], &settled["transaction"]), (&json!(true), &json!(theirs)), "{settled}");
    }
    assert_eq!(world.received().await, [10_000, 10_000]);
}

fn through_multicall(proxy: &str, calls: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    use alloy::sol_types::SolCall as _;
    let target = proxy.parse().expect("an address");
    let call = |call: Vec<u8>| typed::Multicall3::Call3 { target, allowFailure: false, callData: call.into() };
    typed::Multicall3::aggregate3Call { calls: calls.into_iter().map(call).collect() }.abi_encode()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_is_one_for_all_tokens_and_schemes_of_a_payer() {
    let world = World::start().await;
    let payer = world.payer(0).await;
    let terms = Terms::to(&world.merchant);
    let nonce = U256::from(5);
    let exact = Order { nonce, ..Order::exact(&world.chain, payer, &terms) }.sign(&world.chain, payer.signer());
    let upto = Order { nonce, ..Order::upto(&world.chain, payer, &terms) }.sign(&world.chain, payer.signer());

    assert_eq!(world.settle(&exact.v2()).await["success"], true);
    assert_eq!(world.settle(&upto.v2()).await["errorReason"], "duplicate_settlement");
    assert_eq!(world.received().await, [10_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_twice_is_called_as_its_scheme_calls_it() {
    let (chain, url) = (Chain::start(ChainOptions::default()).await, database::fresh().await);
    let (ledger, options) = (database::ledger(&url).await, Options::new(NetworkOptions::of(&chain), &url));
    let without_lane = Facilitator::start(&Options { roles: Some("api,watcher".to_owned()), ..options.clone() }).await;
    let world = World { merchant: chain.text("/accounts/merchant/address"), chain, facilitator: without_lane };
    let bodies = [world.exact(world.payer(0).await).v2(), world.upto(world.payer(1).await).v2()];
    let asked = bodies.map(|body| {
        let caller = world.facilitator.caller();
        tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await })
    });
    eventually("two payments", PATIENCE, || async {
        let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM payments").fetch_one(ledger.pool()).await;
        (count.expect("the database answers") == 2).then_some(())
    })
    .await;

    let failed = "UPDATE payments SET failures = 2, checked_block = 1000000";
    sqlx::query(failed).execute(ledger.pool()).await.expect("the database answers");
    let _lane = Facilitator::start(&Options { roles: Some("lane".to_owned()), ..options }).await;

    for (asked, reason) in asked.into_iter().zip([Reason::TransactionFailed, Reason::UptoTransactionFailed]) {
        let answer = asked.await.expect("no panic");
        assert_eq!((&answer["success"], &answer["errorReason"]), (&json!(false), &json!(reason.code())), "{answer}");
    }
    assert_eq!(world.received().await, [0; 0]);
}
