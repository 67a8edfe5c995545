//! Anybody may land an authorization of EIP-3009. Whoever does, the payment is paid once and told once.

use alloy::primitives::keccak256;

use super::{PATIENCE, SEND, World, is_success, reason, report, scale};
use crate::support::chain::{ChainOptions, hex};
use crate::support::eventually;
use crate::support::facilitator::{Facilitator, Options};
use crate::support::payer::{Signed, Terms};
use crate::support::proxy::{Act, Proxy};

/// When the stranger comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// Before we hold the payment, in an older block.
    BeforeUs,
    /// After the simulation, before the payment is recorded; the watcher reads the block before that.
    BeforeTheRow,
    /// After the bytes are committed, before a node has them.
    BeforeTheSend,
    /// In our block, just before us.
    InOurBlock,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_is_quicker_pays_once_for_us() {
    let rounds = scale(1, 10);
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    // So that blocks are read even before anybody waits for them.
    options.networks[0].lines.push_str("poll_idle_ms = 50\n");
    let facilitator = Facilitator::start(&options).await;
    let (mut refused, mut by_strangers, mut wrong, mut paid, mut before) = (0, 0, 0, Vec::new(), 0);
    for round in 0..rounds {
        for moment in [Moment::BeforeUs, Moment::BeforeTheRow, Moment::BeforeTheSend, Moment::InOurBlock] {
            let signed = world.signed(round);
            let (answer, theirs) = race(&world, &proxy, &facilitator, &signed, moment, Asked::Patiently).await;
            if moment == Moment::BeforeUs {
                wrong += usize::from(reason(&answer) != "invalid_exact_evm_nonce_already_used");
                (refused, before) = (refused + 1, before + 1);
            } else {
                if !is_success(&answer) || answer["transaction"].as_str() != Some(&theirs) {
                    println!("violation: {moment:?}: {answer}, theirs {theirs}");
                    wrong += 1;
                }
                by_strangers += usize::from(is_success(&answer));
                let again = facilitator.settle(&signed.v2()).await.1;
                wrong += usize::from(reason(&again) != "duplicate_settlement" || again["transaction"].as_str() != Some(&theirs));
                paid.push(signed);
            }
        }
    }
    world.until_idle().await;
    let violations = world.violations(&paid, before).await;
    report(
        "strangers",
        &format!(
            "{refused} before us refused, {by_strangers} in between told once with the stranger's transaction, {wrong} wrong answers, {violations} violations"
        ),
    );
    assert_eq!((wrong, violations), (0, 0));
}

/// Nobody waits for a payment any more, so it is not sent. A stranger lands it, in a block that we have yet to read.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_a_stranger_made_is_not_refused_before_its_block_is_read() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let server = "access = \"open\"\nanswer_within_v2_seconds = 1\n".to_owned();
    let options = Options { roles: Some("api,watcher".to_owned()), server, ..world.options(&[&proxy]) };
    let facilitator = Facilitator::start(&options).await;
    let signed = world.signed(0);
    let (status, first) = facilitator.settle(&signed.v2()).await;
    assert_eq!((status, reason(&first)), (503, "unexpected_settle_error"), "{first}");

    proxy.rule(|method, _, _| if method == "eth_getBlockByNumber" { Act::Swallow } else { Act::Forward });
    let chain = &world.chain;
    let theirs = chain.send_as(&chain.text("/accounts/buyer/address"), &chain.usdc(), &signed.call(), 100_000_000).await;
    chain.receipt(&theirs).await;
    let (status, second) = facilitator.settle(&signed.v2()).await;
    assert_eq!((status, reason(&second)), (503, "unexpected_settle_error"), "{second}");
    proxy.behave();
    let last = facilitator.settle_patiently(&signed.v2(), PATIENCE).await;
    let violations = world.violations(&[signed], 0).await;
    report(
        "strangers unread",
        &format!("503 before the block was read, then success {}, {violations} violations", last["success"]),
    );
    assert_eq!((is_success(&last), last["transaction"].as_str(), violations), (true, Some(theirs.as_str()), 0), "{last}");
}

/// A stranger lands a payment in a block that was read before we held it, and nobody asks before it has expired.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_a_stranger_made_is_paid_even_after_it_expired() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let server = "access = \"open\"\nanswer_within_v2_seconds = 5\n".to_owned();
    let without_lane = Options { roles: Some("api,watcher".to_owned()), server, ..world.options(&[&proxy]) };
    let facilitator = Facilitator::start(&without_lane).await;
    let brief = Terms { valid_for: 15, ..Terms::to(&world.merchant) };
    let mut unsent = Vec::new();
    for payer in [0, 1] {
        // Signed just before it is asked for: the answer to the one before takes most of its life.
        let signed = world.chain.payers[payer].authorize(&brief);
        let (first, _) = race(&world, &proxy, &facilitator, &signed, Moment::BeforeTheRow, Asked::Once).await;
        assert_eq!(reason(&first), "unexpected_settle_error", "{first}");
        unsent.push(signed);
    }
    assert_eq!(world.count("SELECT count(*) FROM claims").await, 0, "nobody has looked for them");

    eventually("its expiry", PATIENCE, || async {
        (world.count("SELECT count(*) FROM payments WHERE expires_at < clock_timestamp()").await == 2).then_some(())
    })
    .await;
    let (_, last) = facilitator.settle(&unsent[0].v2()).await;
    assert!(is_success(&last), "{last}");

    // A day later, as far as the ledger knows.
    let aged = "UPDATE payments SET expires_at = expires_at - interval '25 hours'";
    sqlx::query(aged).execute(world.ledger.pool()).await.expect("the database answers");
    let _worker = Facilitator::start(&Options { roles: Some("worker".to_owned()), ..without_lane }).await;
    eventually("both claims", PATIENCE, || async { (world.count("SELECT count(*) FROM claims").await == 2).then_some(()) }).await;
    let failed = world.count("SELECT count(*) FROM events WHERE kind = 'payment.failed'").await;
    let violations = world.violations(&unsent, 0).await;
    report("strangers expired", &format!("2 found after they had expired: {failed} told as failed, {violations} violations"));
    assert_eq!((failed, violations), (0, 0));
}

/// How a caller asks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asked {
    Patiently,
    Once,
}

/// Settles while a stranger lands the same authorization at a moment. Returns the answer and the stranger's transaction.
async fn race(
    world: &World,
    proxy: &Proxy,
    facilitator: &Facilitator,
    signed: &Signed,
    moment: Moment,
    asked: Asked,
) -> (serde_json::Value, String) {
    let chain = &world.chain;
    let land =
        || async { chain.send_as(&chain.text("/accounts/buyer/address"), &chain.usdc(), &signed.call(), 100_000_000).await };
    if moment == Moment::BeforeUs {
        let theirs = land().await;
        chain.receipt(&theirs).await;
        return (facilitator.settle(&signed.v2()).await.1, theirs);
    }
    match moment {
        Moment::BeforeTheRow => {
            proxy.rule(|method, params, _| {
                let simulation = method == "eth_call" && params[0].get("to").is_none();
                if simulation { Act::Hold } else { Act::Forward }
            });
        }
        Moment::BeforeTheSend => proxy.rule(|method, _, _| if method == SEND { Act::Swallow } else { Act::Forward }),
        _ => world.mining(false).await,
    }
    let (sends, held, rows) = (proxy.calls(SEND), proxy.held(), world.rows().await.len());
    let (caller, body) = (facilitator.caller(), signed.v2());
    let answer = tokio::spawn(async move {
        match asked {
            Asked::Patiently => caller.settle_patiently(&body, PATIENCE).await,
            Asked::Once => caller.try_post("/settle", &body).await.expect("an answer").1,
        }
    });
    eventually("the moment", PATIENCE, || async {
        let come = match moment {
            Moment::BeforeTheRow => proxy.held() > held,
            Moment::BeforeTheSend => proxy.calls(SEND) > sends,
            _ => chain.pooled().await > 0,
        };
        come.then_some(())
    })
    .await;
    let theirs = land().await;
    if moment == Moment::InOurBlock {
        chain.mine(1).await;
        world.mining(true).await;
    }
    let landed = chain.receipt(&theirs).await;
    if moment == Moment::BeforeTheRow {
        let read_to = hex(&landed["blockNumber"]) as i64;
        eventually("the watcher behind that block", PATIENCE, || async {
            (world.count("SELECT cursor_number FROM networks").await >= read_to).then_some(())
        })
        .await;
        assert_eq!(world.rows().await.len(), rows, "there is no row yet");
        proxy.behave();
        proxy.release();
    }
    if moment == Moment::InOurBlock {
        let raw = proxy.sent().pop().expect("it was in the pool");
        let ours = keccak256(alloy::hex::decode(raw).expect("hexadecimal")).to_string();
        let spent = chain.receipt(&ours).await;
        assert_eq!(spent["blockHash"], landed["blockHash"], "both stand in one block");
        assert!(hex(&landed["transactionIndex"]) < hex(&spent["transactionIndex"]), "the stranger was first");
    }
    proxy.behave();
    (answer.await.expect("no panic"), theirs)
}
