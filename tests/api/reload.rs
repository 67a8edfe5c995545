//! The configuration is read again while the service runs: all of it, or nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::{Signed, Terms};
use crate::support::proxy::Proxy;
use crate::support::receipts::{Keys, kid_of, receipt_in, verify_offline};
use crate::support::{cli, database, eventually};

/// How long something may take that takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(40);

/// A chain with quick blocks.
async fn quick() -> Chain {
    Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await
}

fn payment(chain: &Chain, payer: usize) -> Signed {
    chain.payers[payer].authorize(&Terms::to(&chain.text("/accounts/merchant/address")))
}

/// Changes the file of the configuration.
fn rewrite(facilitator: &Facilitator, change: impl Fn(&str) -> String) {
    let file = facilitator.config_file();
    let text = std::fs::read_to_string(&file).expect("it is readable");
    let changed = change(&text);
    assert_ne!(text, changed, "nothing was changed");
    std::fs::write(&file, changed).expect("it is writable");
}

/// An operator's key.
async fn operator(facilitator: &Facilitator) -> String {
    cli::open_account(facilitator, "operator").await.key
}

/// Asks for a reload; status and answer.
async fn reload(facilitator: &Facilitator, key: &str) -> (u16, Value) {
    let url = format!("{}/v1/configuration/reload", facilitator.operations);
    let answer = facilitator.client().post(url).header("authorization", format!("Bearer {key}")).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

fn lines(refused: &Value) -> Vec<&str> {
    refused["detail"].as_str().expect("words").lines().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_and_a_token_come_and_do_not_go_and_the_others_go_on() {
    let (base, sei) =
        (quick().await, Chain::start(ChainOptions { chain_id: 1329, block_time: 0.25, ..ChainOptions::default() }).await);
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&base), &database::fresh().await)).await;
    let key = operator(&facilitator).await;
    assert_eq!(facilitator.settle(&payment(&sei, 0).v2()).await.1["errorReason"], "invalid_network");

    let entry = format!(
        "\n[[networks]]\nid = {:?}\nrpc = [{:?}]\nfinal = 16\nsigners = [{{ name = \"sei\", key = {:?} }}]\n",
        sei.network(),
        sei.url,
        sei.text("/accounts/signers/0/key")
    );
    rewrite(&facilitator, |text| format!("{text}{entry}"));
    assert_eq!(reload(&facilitator, &key).await, (200, json!({"changes": ["networks eip155:1329"]})));

    for chain in [&base, &sei] {
        let settled = facilitator.settle_patiently(&payment(chain, 1).v2(), PATIENCE).await;
        assert_eq!((&settled["success"], &settled["network"]), (&json!(true), &chain.network().into()), "{settled}");
    }
    assert!(facilitator.metric("quittance_submissions_total{kind=\"new\",network=\"eip155:1329\",signer=\"sei\"}").await > 0.0);

    // By a signal, too, to which nobody answers.
    rewrite(&facilitator, |text| text.replace("name = \"sei\"", "name = \"sei-1\""));
    facilitator.signal("HUP");
    eventually("the reload", PATIENCE, || async {
        (facilitator.metric("quittance_config_reloads_total{outcome=\"taken\"}").await == 2.0).then_some(())
    })
    .await;
    assert_eq!(reload(&facilitator, &key).await, (200, json!({"changes": []})));

    // Whatever is under way there: nobody would find it any more.
    rewrite(&facilitator, |text| {
        let entry = entry.replace("name = \"sei\"", "name = \"sei-1\"");
        text.replace(&entry, "").replace("final = 16", &format!("final = 16\n{OTHER_TOKEN}"))
    });
    let (status, refused) = reload(&facilitator, &key).await;
    assert_eq!(status, 422, "{refused}");
    for gone in ["networks: eip155:1329: ", "networks: asset 0x"] {
        let told = |line: &&str| line.starts_with(gone) && line.ends_with("when nothing is under way there");
        assert!(lines(&refused).iter().any(told), "{gone}: {refused}");
    }
    for chain in [&base, &sei] {
        assert_eq!(facilitator.settle_patiently(&payment(chain, 2).v2(), PATIENCE).await["success"], true);
    }
}

/// Another token in the place of those that are known.
const OTHER_TOKEN: &str = "assets = [{ address = \"0x00000000000000000000000000000000000000aa\", symbol = \"AAA\", decimals = 6, name = \"A\", version = \"1\" }]";

/// Whoever hangs up while the database is still waited for does not end the process by that.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_comes_before_the_service_runs_does_not_end_it() {
    let chain = Chain::start(ChainOptions::default()).await;
    let database = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("postgres://nobody@{}/nothing", database.local_addr().expect("it has one"));
    let mut facilitator = Facilitator::spawn(&Options::new(NetworkOptions::of(&chain), &url.into()));
    let _silent = tokio::time::timeout(PATIENCE, database.accept()).await.expect("it asks").expect("a connection");

    facilitator.signal("HUP");

    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(facilitator.process.try_wait().expect("it can be asked"), None, "{}", facilitator.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_nothing_changes_and_all_of_it_is_told() {
    let chain = quick().await;
    let mut options = Options::new(NetworkOptions::of(&chain), &database::fresh().await);
    options.server.push_str("[limits]\nkey_per_second = \"none\"\npayer_per_second = \"none\"\naddress_per_second = \"none\"\n[log]\nfilter = \"info\"\n");
    let facilitator = Facilitator::start(&options).await;
    let key = operator(&facilitator).await;
    let good = std::fs::read_to_string(facilitator.config_file()).expect("it is readable");
    let still = async |payer: usize| {
        assert_eq!(facilitator.settle(&payment(&chain, payer).v2()).await.1["success"], true);
    };

    // What cannot be read.
    rewrite(&facilitator, |text| {
        text.replace("filter = \"info\"", "filter = \"info=loud\"")
            .replace("address_per_second = \"none\"", "address_per_second = 1\naddress_burst = 0")
            .replace("final = 16", "final = 0\nsecret = \"canary\"")
    });
    let (status, refused) = reload(&facilitator, &key).await;
    assert_eq!((status, &refused["code"]), (422, &json!("invalid_configuration")), "{refused}");
    for wrong in ["limits.address_burst: ", "log.filter: ", "networks[0].final: ", "networks[0].secret: "] {
        assert!(lines(&refused).iter().any(|line| line.starts_with(wrong)), "{wrong}: {refused}");
    }
    assert_eq!(lines(&refused).len(), 4, "{refused}");
    still(0).await;

    // What can be read and not be taken: together with a limit that could.
    let dead = crate::support::facilitator::free_port();
    std::fs::write(facilitator.config_file(), &good).expect("it is writable");
    rewrite(&facilitator, |text| {
        text.replace("access = \"open\"", "access = \"keys\"\nbody_bytes_max = 2048")
            .replace("address_per_second = \"none\"", "address_per_second = 1\naddress_burst = 1")
            .replace(&chain.url, &format!("http://127.0.0.1:{dead}/canary"))
            .replace("[database]", "[database]\nconnections_max = 7")
    });
    let (status, refused) = reload(&facilitator, &key).await;
    assert_eq!(status, 422, "{refused}");
    for wrong in [
        "server.access: cannot be changed without a restart",
        "server.body_bytes_max: cannot be changed without a restart",
        "database.connections_max: cannot be changed without a restart",
        "networks: eip155:84532: no node of eip155:84532 answered",
    ] {
        assert!(lines(&refused).iter().any(|line| line.starts_with(wrong)), "{wrong}: {refused}");
    }
    assert_eq!(lines(&refused).len(), 4, "{refused}");
    for payer in 1..4 {
        still(payer).await;
    }
    assert_eq!(facilitator.metric("quittance_config_reloads_total{outcome=\"refused\"}").await, 2.0);
    assert_eq!(facilitator.metric("quittance_config_refused").await, 1.0);
    let log = facilitator.log();
    assert!(
        log.contains("nothing has changed") && !log.contains("canary") && !refused.to_string().contains("canary"),
        "{refused}"
    );

    // The limit alone is taken, and so is what the log shows.
    std::fs::write(facilitator.config_file(), &good).expect("it is writable");
    rewrite(&facilitator, |text| {
        text.replace("address_per_second = \"none\"", "address_per_second = 1\naddress_burst = 1")
            .replace("filter = \"info\"", "filter = \"off\"")
    });
    assert_eq!(reload(&facilitator, &key).await, (200, json!({"changes": ["limits", "log.filter"]})));
    assert_eq!(facilitator.metric("quittance_config_refused").await, 0.0);
    let written = facilitator.log();
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(facilitator.verify(&payment(&chain, 5).v2()).await.0);
    }
    assert!(answers[0] == 200 && answers.contains(&429), "{answers:?}");
    assert_eq!(facilitator.log(), written, "the log is off");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_have_the_configuration_read() {
    let chain = quick().await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &database::fresh().await)).await;
    for scope in ["provider", "merchant"] {
        let key = cli::open_account(&facilitator, scope).await.key;
        assert_eq!(reload(&facilitator, &key).await.0, 403, "{scope}");
    }
    let url = format!("{}/v1/configuration/reload", facilitator.operations);
    let nobody = facilitator.client().post(url).send().await.expect("an answer");
    assert_eq!(nobody.status(), 401);
    assert_eq!(reload(&facilitator, "key_of_nobody").await.0, 401);
    // It is not where the public is, whoever asks.
    assert_eq!(facilitator.post("/v1/configuration/reload", &json!({})).await.0, 404);
    assert_eq!(facilitator.metric("quittance_config_reloads_total").await, 0.0);
    assert_eq!(reload(&facilitator, &operator(&facilitator).await).await.0, 200);
}

/// A caller who waits is answered although everything behind it was exchanged: the payment is in flight when that happens.
#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_is_under_way_ends_as_it_began() {
    let chain = quick().await;
    let node = Proxy::start(&chain.url);
    let lines = "final = 16\nin_flight_max = 1\n".to_owned();
    let network = NetworkOptions { rpc: vec![node.url.clone()], lines, ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
    let key = operator(&facilitator).await;
    chain.rpc("evm_setIntervalMining", json!([0])).await;
    let settle = |payer: usize| {
        let (caller, body) = (facilitator.caller(), payment(&chain, payer).v2());
        tokio::spawn(async move { caller.try_post("/settle", &body).await })
    };
    let sent = settle(0);
    eventually("a transaction", PATIENCE, || async { (node.sent().len() == 1).then_some(()) }).await;
    // This one is recorded, and waits for that transaction.
    let queued = settle(1);
    eventually("two callers who wait", PATIENCE, || async {
        (facilitator.metric("quittance_payments_waiting").await == 2.0).then_some(())
    })
    .await;

    rewrite(&facilitator, |text| text.replace("final = 16", "final = 16\nrpc_timeout_ms = 9000"));
    assert_eq!(reload(&facilitator, &key).await, (200, json!({"changes": ["networks eip155:84532"]})));
    chain.rpc("evm_setIntervalMining", json!([1])).await;

    for asked in [sent, queued] {
        let (status, answer) = asked.await.expect("no panic").expect("an answer");
        assert_eq!((status, &answer["success"]), (200, &json!(true)), "{answer}");
    }
    assert_eq!(chain.transfers_to(&chain.text("/accounts/merchant/address")).await.len(), 2);
}

/// The state of a lane after a command about it.
async fn lane(facilitator: &Facilitator, command: &str, chain: &Chain, signer: &str) -> String {
    let words = cli::run_well(facilitator, &["lane", command, &chain.network(), signer, "--json"]).await;
    let lane: Value = serde_json::from_str(&words).expect("JSON");
    lane["state"].as_str().expect("a state").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_takes_the_place_of_another_while_payments_go_on() {
    let chain = quick().await;
    let signers = ["old", "new"].map(|name| {
        let number = usize::from(name == "new");
        format!("{{ name = {name:?}, key = {:?} }}", chain.text(&format!("/accounts/signers/{number}/key")))
    });
    let addresses = [0, 1].map(|signer| chain.text(&format!("/accounts/signers/{signer}/address")).to_lowercase());
    let [old, new] = &signers;
    let (alone, both, after) = (format!("signers = [{old}]"), format!("signers = [{new}, {old}]"), format!("signers = [{new}]"));
    let network = NetworkOptions { keys: Vec::new(), lines: format!("final = 16\n{alone}\n"), ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
    let key = operator(&facilitator).await;
    let changed = (200, json!({"changes": [format!("networks {}", chain.network())]}));
    let settle = |payer: usize| {
        let (caller, body) = (facilitator.caller(), payment(&chain, payer).v2());
        tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await })
    };
    let payer_of_gas = async |settled: Value| {
        assert_eq!(settled["success"], true, "{settled}");
        let receipt = chain.rpc("eth_getTransactionReceipt", json!([settled["transaction"]])).await;
        receipt["from"].as_str().expect("a sender").to_lowercase()
    };
    assert_eq!(payer_of_gas(settle(0).await.expect("no panic")).await, addresses[0]);
    let until_in_flight = async |slots: f64| {
        let is_there = || async { (facilitator.metric("quittance_submission_in_flight").await == slots).then_some(()) };
        eventually(&format!("{slots} transactions"), PATIENCE, is_there).await;
    };
    until_in_flight(0.0).await;
    chain.rpc("evm_setIntervalMining", json!([0])).await;
    let last = settle(1);
    until_in_flight(1.0).await;

    rewrite(&facilitator, |text| text.replace(&alone, &both));
    assert_eq!(reload(&facilitator, &key).await, changed);
    // Nothing but a command has a lane stop.
    rewrite(&facilitator, |text| text.replace(&both, &after));
    let (status, refused) = reload(&facilitator, &key).await;
    let told = refused["detail"].as_str().expect("words");
    assert!(status == 422 && told.contains("is not drained") && lines(&refused).len() == 1, "{refused}");
    rewrite(&facilitator, |text| text.replace(&after, &both));
    // Callers come all the while.
    let crowd: Vec<_> = (2..9).map(settle).collect();
    assert_eq!(lane(&facilitator, "drain", &chain, "old").await, "draining");
    rewrite(&facilitator, |text| text.replace(&both, &after));
    let (status, refused) = reload(&facilitator, &key).await;
    let told = refused["detail"].as_str().expect("words");
    assert!(
        status == 422
            && told.contains(" is drained and has ")
            && told.contains("payments under way: drain it")
            && lines(&refused).len() == 1,
        "{refused}"
    );
    chain.rpc("evm_setIntervalMining", json!([1])).await;

    assert_eq!(payer_of_gas(last.await.expect("no panic")).await, addresses[0], "it ends what it began");
    for asked in crowd {
        payer_of_gas(asked.await.expect("no panic")).await;
    }
    assert_eq!(payer_of_gas(settle(9).await.expect("no panic")).await, addresses[1]);
    eventually("an empty lane", PATIENCE, || async {
        (lane(&facilitator, "show", &chain, "old").await == "drained").then_some(())
    })
    .await;
    let state = |signer: &str| format!("quittance_signer_balance_native{{network=\"{}\",signer=\"{signer}\"}}", chain.network());
    assert!(facilitator.metric(&state("old")).await > 0.0);
    assert_eq!(reload(&facilitator, &key).await, changed);
    assert_eq!(payer_of_gas(settle(10).await.expect("no panic")).await, addresses[1]);
    // Nobody is told that a lane is missing, or that something was left behind.
    eventually("the new one's balance", PATIENCE, || async { (facilitator.metric(&state("new")).await > 0.0).then_some(()) })
        .await;
    assert_eq!(facilitator.metric(&state("old")).await, 0.0);
    assert_eq!(facilitator.metric("quittance_submission_abandoned").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_receipts_are_rotated_without_a_restart_and_none_is_lost() {
    let (chain, keys) = (quick().await, Keys::generate().await);
    let facilitator = Facilitator::start(&keys.options(NetworkOptions::of(&chain), &database::fresh().await)).await;
    let key = operator(&facilitator).await;
    let settle = async |payer: usize| receipt_in(&facilitator.settle(&payment(&chain, payer).v2()).await.1);
    let first = settle(0).await;
    let before = std::fs::read(keys.file()).expect("it is readable");

    keys.command("rotate", &["--after", "0"]).await;
    assert_eq!(reload(&facilitator, &key).await, (200, json!({"changes": ["receipts"]})));
    let second = settle(1).await;
    let published = facilitator.get("/.well-known/jwks.json").await.1;

    assert_ne!(kid_of(&first), kid_of(&second));
    for jws in [&first, &second] {
        verify_offline(jws, &published, &facilitator.url).await.expect("it holds");
    }
    // A keyring without what has signed is none of ours.
    std::fs::write(keys.file(), before).expect("it is writable");
    let (status, refused) = reload(&facilitator, &key).await;
    assert!(
        status == 422 && refused["detail"].as_str().expect("words").contains("is missing, which has signed receipts"),
        "{refused}"
    );
    assert_eq!(facilitator.get("/.well-known/jwks.json").await.1, published);
}
