//! One success, one transfer and one transaction, however many ask, wherever they ask, and however they write it.

use futures_util::future::join_all;
use rand::Rng;
use serde_json::Value;

use super::{World, is_success, reason, report, scale};
use crate::support::chain::ChainOptions;
use crate::support::facilitator::replicas;
use crate::support::payer::{Signed, Terms};
use crate::support::proxy::Proxy;

/// Callers with the same payment at once.
const CALLERS: usize = 64;

/// How the same payment is asked for.
#[derive(Clone, Copy)]
enum Form {
    /// Byte for byte the same.
    Same,
    /// With white space of every kind, in both versions of the protocol.
    Mixed,
    /// The payer's whole balance, so that it could not be paid twice.
    LastCent,
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_identical_settlements_succeeds() {
    let rounds = scale(1, 20);
    let world = World::new(ChainOptions { payers: 3 * rounds, ..ChainOptions::default() }).await;
    let proxy = Proxy::start(&world.chain.url);
    let replicas = replicas(3, &world.options(&[&proxy])).await;
    let (mut paid, mut successes, mut duplicates, mut sent) = (Vec::new(), 0, 0, 0);
    for round in 0..rounds {
        for (number, form) in [Form::Same, Form::Mixed, Form::LastCent].into_iter().enumerate() {
            let signed = payment(&world, 3 * round + number, form);
            proxy.reset();
            let asked = (0..CALLERS).map(|caller| {
                let (body, caller) = (write(&signed, form, caller), replicas[caller % replicas.len()].caller());
                async move { caller.try_post_text("/settle", body).await.expect("an answer").1 }
            });
            let answers = join_all(asked).await;
            let transaction = answers.iter().find(|answer| is_success(answer)).map(|answer| answer["transaction"].clone());
            let same = |answer: &&Value| {
                reason(answer) == "duplicate_settlement" && Some(&answer["transaction"]) == transaction.as_ref()
            };
            let (won, lost) = (answers.iter().filter(|answer| is_success(answer)).count(), answers.iter().filter(same).count());
            assert_eq!((won, lost), (1, CALLERS - 1), "{answers:?}");
            // A second transaction could still be on its way when the last caller has its answer.
            world.until_idle().await;
            (successes, duplicates, sent) = (successes + won, duplicates + lost, sent + proxy.sent().len());
            paid.push(signed);
        }
    }
    let violations = world.violations(&paid, 0).await;
    report(
        "duplicates",
        &format!(
            "{} payments x {CALLERS} callers on 3 replicas: {successes} successes, {duplicates} duplicates with the transaction, \
             {sent} transactions sent, {violations} violations",
            paid.len()
        ),
    );
    assert_eq!((sent, violations), (paid.len(), 0));
}

fn payment(world: &World, payer: usize, form: Form) -> Signed {
    let amount = if matches!(form, Form::LastCent) { 1_000_000_000 } else { 10_000 };
    world.chain.payers[payer].authorize(&Terms { amount, ..Terms::to(&world.merchant) })
}

fn write(signed: &Signed, form: Form, caller: usize) -> String {
    match form {
        Form::Same | Form::LastCent => signed.v2().to_string(),
        Form::Mixed if caller.is_multiple_of(2) => spaced(&signed.v1()),
        Form::Mixed => spaced(&signed.v2()),
    }
}

/// JSON with white space wherever it may stand.
fn spaced(value: &Value) -> String {
    let mut random = rand::rng();
    let (mut text, mut quoted) = (String::new(), false);
    for letter in value.to_string().chars() {
        quoted ^= letter == '"';
        text.push(letter);
        if !quoted && "{}[]:,".contains(letter) {
            for _ in 0..random.random_range(0..3) {
                text.push([' ', '\t', '\n', '\r'][random.random_range(0..4)]);
            }
        }
    }
    text
}
