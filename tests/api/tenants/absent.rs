//! What is somebody else's is answered like what is not there, so that nobody finds out what there is by asking.

use uuid::Uuid;

use super::{ROUTES, ask, callers, start};

/// The words of the table that name things.
const NAMES: [&str; 9] = ["account", "address", "list", "invoice", "transfer", "payment", "receipt", "webhook", "delivery"];

/// Routes for whoever was given the name, which is how its holder is told from others: a payer has that of its invoice, and a holder of
/// a receipt that of the receipt.
const OPEN: [&str; 3] = ["/i/{invoice}", "/i/{invoice}/proof", "/v1/receipts/{receipt}/status"];

/// The names in a request that can be exchanged for others: each alone, and all of them.
fn exchanges(path: &str, body: &str) -> Vec<Vec<&'static str>> {
    let is_named = |name: &&str| [path, body].iter().any(|text| text.contains(&format!("{{{name}}}")));
    let all: Vec<_> = NAMES.into_iter().filter(is_named).collect();
    let alone = all.iter().map(|name| vec![*name]);
    alone.chain((all.len() > 1).then(|| all.clone())).collect()
}

/// A name of the same kind that nothing has.
fn absent(name: &str) -> String {
    let (kind, _) = name.split_once('_').expect("a prefix");
    format!("{kind}_{}", Uuid::now_v7().simple())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_anothers_is_answered_like_what_is_not_there() {
    let (world, _owner, property) = start().await;
    let facilitator = &world.facilitator;
    let callers = callers(facilitator).await;

    let (mut not_found, mut faults) = (0, Vec::new());
    for (method, path, body, answers) in ROUTES {
        assert!(!answers.contains(&404) || !exchanges(path, body).is_empty(), "{method} {path} does not say what is not found");
        if OPEN.contains(&path) {
            continue;
        }
        for names in exchanges(path, body) {
            let exchanged: Vec<_> = names.iter().map(|name| (&property.words[name], absent(&property.words[name]))).collect();
            let asked = [path, body].map(|text| property.fill(text));
            let other = exchanged.iter().fold(asked.clone(), |asked, (own, absent)| asked.map(|text| text.replace(*own, absent)));
            for ((who, account), expected) in callers.iter().zip(answers) {
                if *who == "an operator" && expected == 200 {
                    continue;
                }
                let key = account.as_ref().map(|account| account.key.as_str());
                let of_others = ask(facilitator, (method, &asked[0], &asked[1]), key).await;
                let (status, text) = ask(facilitator, (method, &other[0], &other[1]), key).await;
                // Some answers repeat the name that was asked about.
                let text = exchanged.iter().fold(text, |text, (own, absent)| text.replace(absent, own));
                not_found += usize::from(status == 404);
                if of_others.0 != expected || (status, &text) != (of_others.0, &of_others.1) {
                    faults.push(format!("{method} {path} without {names:?} by {who}: {status} {text}, not {of_others:?}"));
                }
            }
        }
    }

    assert!(faults.is_empty(), "{}:\n{}", faults.len(), faults.join("\n"));
    assert!(not_found > 30, "{not_found} answers were 404");
}
