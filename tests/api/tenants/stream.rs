//! The stream of events, in the hands of those to whom nothing in it belongs.

use serde_json::{Value, json};

use super::{PATIENCE, ask, start, text};
use crate::events::{Reader, cancel_one};
use crate::support::cli::open_account;
use crate::support::eventually;
use crate::support::merchant::Merchant;
use crate::support::payer::Terms;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_nobody_what_is_anothers() {
    let (world, owner, property) = start().await;
    let (facilitator, chain) = (&world.facilitator, &world.chain);
    let (provider, operator) = (open_account(facilitator, "provider").await, open_account(facilitator, "operator").await);
    let (owner, rival) = (Merchant::again(facilitator, owner), Merchant::open(facilitator).await);
    rival.register(&chain.network(), &chain.payers[3]).await;
    for (key, status) in [("key_none", 401), (operator.key.as_str(), 403)] {
        assert_eq!(Reader::ask(facilitator, key, "?after=0", None).await.status().as_u16(), status);
    }
    // Some read what has been, one of them behind an event of the other's, and some what comes.
    let (_, page) = ask(facilitator, ("GET", "/v1/events", ""), Some(owner.key())).await;
    let page: Value = serde_json::from_str(&page).expect("JSON");
    let first = page["events"][0]["position"].as_u64().expect("a position");
    let mut readers = Vec::new();
    for key in [&provider.key, rival.key()] {
        for (query, last) in [("?after=0", None), ("", Some(first)), ("", None)] {
            readers.push((key, Reader::open(facilitator, key, query, last).await));
        }
    }

    let canceled = cancel_one(&owner).await;
    eventually("the event in the stream", PATIENCE, || async {
        let (_, page) = ask(facilitator, ("GET", "/v1/events", ""), Some(owner.key())).await;
        page.contains(&canceled).then_some(())
    })
    .await;
    // The first thing that each of the others is told is its own, and what is in the stream before that is not told it.
    let signed = chain.payers[4].authorize(&Terms::to(&chain.payers[8].address())).v2();
    let request = facilitator.client().post(format!("{}/settle", facilitator.url)).json(&signed);
    let settled: Value = request.bearer_auth(&provider.key).send().await.expect("an answer").json().await.expect("JSON");
    let own = [
        (&provider.key[..], "payment", text(&settled["extra"]["paymentId"])),
        (rival.key(), "invoice", cancel_one(&rival).await),
    ];
    for (key, mut reader) in readers {
        let (_, subject, name) = own.iter().find(|(owner, ..)| *owner == key).expect("everybody has something");
        let told = reader.events(1).await.remove(0);
        assert_eq!(told.data["data"][subject], json!(name), "{told:?}");
        assert!(property.leaks("", &told.data.to_string()).is_empty(), "{told:?}");
    }
}
