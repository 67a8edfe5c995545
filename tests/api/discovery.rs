//! How paid resources are found: who lists what, what is refused, and that no payment depends on it.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use quittance::domain::account::{Caller, Scope};
use quittance::domain::ids::AccountId;
use quittance::grpc::v1::SupportedRequest;
use quittance::grpc::v1::facilitator_client::FacilitatorClient;
use quittance::ledger::{Ledger, commit, resources};
use quittance::x402::request::parse_request;
use serde_json::{Value, json};
use tokio::process::Command;
use tonic::metadata::MetadataMap;
use uuid::Uuid;

use crate::queue::until_waiting;
use crate::support::chain::{Chain, ChainOptions};
use crate::support::cli::open_account;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::{Signed, Terms};
use crate::support::permit2::{Order, approve};
use crate::support::{database, eventually, flows, grpc, root};

mod finding;

const PATIENCE: Duration = Duration::from_secs(30);

const WEATHER: &str = "https://api.example.com/weather?city=Oslo";

struct World {
    chain: Chain,
    ledger: Ledger,
    facilitator: Facilitator,
}

/// A facilitator that everybody may call, with these lines in the section `discovery`.
async fn start(lines: &str) -> World {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let database = database::fresh().await;
    let ledger = database::ledger(&database).await;
    let mut options = Options::new(NetworkOptions::of(&chain), &database);
    options.server.push_str(&format!("\n[discovery]\n{lines}\n"));
    World { facilitator: Facilitator::start(&options).await, chain, ledger }
}

/// What a server declares of a resource over HTTP.
fn declaration() -> Value {
    json!({
        "info": {"input": {"type": "http", "method": "GET", "queryParams": {"city": "Oslo"}}},
        "schema": {
            "type": "object",
            "properties": {
                "input": {
                    "type": "object",
                    "properties": {
                        "type": {"const": "http"}, "method": {"enum": ["GET"]},
                        "queryParams": {"type": "object", "properties": {"city": {"type": "string"}}},
                    },
                    "required": ["type", "method"],
                    "additionalProperties": false,
                },
            },
            "required": ["input"],
        },
    })
}

impl World {
    /// A payment of a cent to a merchant of the chain.
    fn payment(&self, payer: usize) -> Signed {
        self.payment_to(payer, &self.chain.text("/accounts/merchant/address"))
    }

    fn payment_to(&self, payer: usize, pay_to: &str) -> Signed {
        self.chain.payers[payer].authorize(&Terms { resource: WEATHER.to_owned(), ..Terms::to(pay_to) })
    }

    /// A request as a key's holder makes it: the answer, and what it says of extensions.
    async fn ask(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> (Value, Option<Value>) {
        let mut request = self.facilitator.client().post(format!("{}{path}", self.facilitator.url)).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("an answer");
        let header = answer.headers().get("extension-responses").map(|value| {
            assert!(value.len() < 4096, "{value:?}");
            serde_json::from_slice(&STANDARD.decode(value).expect("base64")).expect("JSON")
        });
        (answer.json().await.expect("JSON"), header)
    }

    /// Settles, which must succeed; what is said of the declaration.
    async fn settle(&self, body: &Value, key: Option<&str>) -> Option<Value> {
        let authorization = key.map(bearer);
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        let (answer, extensions) = self.ask("/settle", body, &headers).await;
        assert_eq!(answer["success"], true, "{answer}");
        extensions.map(|extensions| extensions["bazaar"].clone())
    }

    /// Whether `/supported` names the extension.
    async fn is_offered(&self) -> bool {
        let (_, supported) = self.facilitator.get("/supported").await;
        supported["extensions"].as_array().expect("a list").contains(&json!("bazaar"))
    }

    async fn listed(&self, query: &str) -> Value {
        let (status, page) = self.facilitator.get(&format!("/discovery/resources{query}")).await;
        assert_eq!((status, &page["x402Version"]), (200, &json!(2)), "{page}");
        page
    }

    /// Waits until so many resources are listed, and returns them.
    async fn until_listed(&self, count: usize) -> Vec<Value> {
        eventually("an entry", PATIENCE, || async {
            let page = self.listed("").await;
            let items = page["items"].as_array().expect("a list").clone();
            (items.len() == count && page["pagination"]["total"] == json!(count)).then_some(items)
        })
        .await
    }
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

/// The body of a payment in version 2 that declares its resource.
fn declared(signed: &Signed, extension: &Value) -> Value {
    declaring(signed.v2(), extension)
}

fn declaring(mut body: Value, extension: &Value) -> Value {
    body["paymentPayload"]["extensions"] = json!({"bazaar": extension});
    body["paymentPayload"]["resource"].as_object_mut().expect("an object").extend(
        json!({
            "description": "The weather in a city", "mimeType": "application/json", "serviceName": "Skies", "tags": ["weather", "WEATHER"],
            "iconUrl": "http://169.254.169.254/icon.png",
        })
        .as_object()
        .expect("an object")
        .clone(),
    );
    body
}

fn at(signed: &Signed, url: &str) -> Value {
    let mut body = declared(signed, &declaration());
    body["paymentPayload"]["resource"]["url"] = url.into();
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_settled_is_listed_and_what_was_verified_is_not() {
    let world = start("").await;
    let provider = open_account(&world.facilitator, "provider").await;
    let (first, second) = (world.payment(0), world.payment(1));
    let verified_only = at(&world.payment(2), "https://api.example.com/verified");

    let key = bearer(&provider.key);
    let (verdict, foreseen) = world.ask("/verify", &verified_only, &[("authorization", &key)]).await;
    assert_eq!((&verdict["isValid"], foreseen), (&json!(true), Some(json!({"bazaar": {"status": "processing"}}))));
    let said = world.settle(&declared(&first, &declaration()), Some(&provider.key)).await;
    assert_eq!(said, Some(json!({"status": "processing"})));

    // Written behind the answer; one after the other, so that an earlier one would be there.
    let items = world.until_listed(1).await;
    let mut item = items[0].clone();
    let updated = item.as_object_mut().expect("an object").remove("lastUpdated").expect("a time");
    chrono::DateTime::parse_from_rfc3339(updated.as_str().expect("a text")).expect("a time");
    assert_eq!(
        item,
        json!({
            "resource": "https://api.example.com/weather", "type": "http", "x402Version": 2, "accepts": [first.requirements()],
            "description": "The weather in a city", "mimeType": "application/json", "serviceName": "Skies", "tags": ["weather"],
            "extensions": {"bazaar": declaration()},
        })
    );
    // It stands there, whoever pays next, and is as it was.
    let said = world.settle(&declared(&second, &declaration()), Some(&provider.key)).await;
    assert_eq!(said, Some(json!({"status": "success"})));
    assert_eq!(world.until_listed(1).await[0]["resource"], "https://api.example.com/weather");
    let count = |outcome: &str| format!("quittance_listings_total{{outcome=\"{outcome}\"}}");
    assert_eq!(world.facilitator.metric(&count("listed")).await, 1.0);
    assert_eq!(world.facilitator.metric(&count("known")).await, 1.0);
    // What was not paid lists nothing, and nothing is said about it.
    for path in ["/verify", "/settle"] {
        let (refused, said) = world.ask(path, &at(&first, "https://api.example.com/unpaid"), &[("authorization", &key)]).await;
        assert_ne!(refused[if path == "/verify" { "isValid" } else { "success" }], true, "{refused}");
        assert_eq!(said, None, "{path}");
    }
    // Whoever declares nothing hears nothing.
    assert_eq!(world.settle(&world.payment(3).v2(), Some(&provider.key)).await, None);
    assert!(world.is_offered().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_metered_price_the_most_is_listed_and_nothing_for_nothing() {
    let world = start("").await;
    let provider = open_account(&world.facilitator, "provider").await;
    let payer = &world.chain.payers[0];
    approve(&world.chain, &payer.address()).await;
    let settled = async |amount: u128| {
        let terms = Terms { resource: WEATHER.to_owned(), ..Terms::to(&world.chain.text("/accounts/merchant/address")) };
        let signed = Order::upto(&world.chain, payer, &terms).sign(&world.chain, payer.signer());
        world.settle(&declaring(signed.v2_of(amount), &declaration()), Some(&provider.key)).await
    };

    assert_eq!(settled(0).await, None, "an entry costs a payment");
    assert_eq!(settled(37).await, Some(json!({"status": "processing"})));
    let items = world.until_listed(1).await;
    assert_eq!(items[0]["accepts"][0]["amount"], "10000", "what one buyer used is not the price");
    assert_eq!(settled(41).await, Some(json!({"status": "success"})), "nor a reason to write it anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_declaration_is_rejected_and_its_payment_settled() {
    let world = start("").await;
    let provider = open_account(&world.facilitator, "provider").await;
    let with = |pointer: &str, value: Value| {
        let mut extension = declaration();
        let (parent, name) = pointer.rsplit_once('/').expect("a path");
        extension.pointer_mut(parent).expect("it is there")[name] = value;
        extension
    };
    for (payer, (extension, code)) in [
        (with("/info/input/queryParams", json!({"city": 7})), "info_does_not_fit_schema"),
        (with("/routeTemplate", json!("/a/%252e%252e/%252e%252e/admin")), "invalid_route_template"),
        (with("/schema/$ref", json!("http://169.254.169.254/latest")), "external_schema_reference"),
        (with("/schema/allOf", json!([{"$ref": "#"}, {"$ref": "#"}])), "schema_too_costly"),
        (with("/info/input/method", json!("BREW")), "invalid_method"),
        (json!("what?"), "invalid_input"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = declared(&world.payment(payer), &extension);
        let key = bearer(&provider.key);
        let (verdict, foreseen) = world.ask("/verify", &body, &[("authorization", &key)]).await;
        assert_eq!((&verdict["isValid"], &foreseen.expect("a header")["bazaar"]["rejectedReason"]), (&json!(true), &json!(code)));
        let said = world.settle(&body, Some(&provider.key)).await.expect("a header");
        assert_eq!((&said["status"], &said["rejectedReason"]), (&json!("rejected"), &json!(code)), "{said}");
        assert!(said["reason"].is_string(), "{said}");
    }
    // A repetition is the same answer and nothing else.
    let body = declared(&world.payment(10), &declaration());
    let headers = [("authorization", bearer(&provider.key)), ("idempotency-key", "of-one-purchase-only".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let (first, again) = (world.ask("/settle", &body, &headers).await, world.ask("/settle", &body, &headers).await);
    assert_eq!((first.1, again.1), (Some(json!({"bazaar": {"status": "processing"}})), None));
    assert_eq!((&first.0["success"], &first.0), (&json!(true), &again.0));
    world.until_listed(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_grpc_the_same_is_said_in_metadata() {
    let world = start("").await;
    let provider = open_account(&world.facilitator, "provider").await;
    let mut client = FacilitatorClient::new(grpc::connect(&world.facilitator));
    let said = |metadata: &MetadataMap| {
        let value = metadata.get("extension-responses")?;
        Some(serde_json::from_slice::<Value>(&STANDARD.decode(value.as_bytes()).expect("base64")).expect("JSON"))
    };
    let [first, second] = [0, 1].map(|payer| declared(&world.payment(payer), &declaration()));
    let (processing, success) = (json!({"bazaar": {"status": "processing"}}), json!({"bazaar": {"status": "success"}}));

    let verified = client.verify(grpc::keyed(grpc::verify(&first), &provider.key)).await.expect("a verdict");
    assert_eq!((said(verified.metadata()), verified.into_inner().is_valid), (Some(processing.clone()), true));
    let settled = client.settle(grpc::keyed(grpc::settle(&first), &provider.key)).await.expect("an answer");
    assert_eq!((said(settled.metadata()), settled.into_inner().success), (Some(processing), true));
    world.until_listed(1).await;
    let settled = client.settle(grpc::keyed(grpc::settle(&second), &provider.key)).await.expect("an answer");
    assert_eq!((said(settled.metadata()), settled.into_inner().success), (Some(success), true));
    let plain = client.settle(grpc::keyed(grpc::settle(&world.payment(2).v2()), &provider.key)).await.expect("an answer");
    assert_eq!((said(plain.metadata()), plain.into_inner().success), (None, true));
    let supported = client.supported(grpc::keyed(SupportedRequest {}, &provider.key)).await.expect("an answer").into_inner();
    assert!(supported.extensions.contains(&"bazaar".to_owned()), "{supported:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_over_the_entry_of_another() {
    let world = start("list = \"everybody\"").await;
    let (owner, other) = (open_account(&world.facilitator, "provider").await, open_account(&world.facilitator, "provider").await);
    let (merchant, thief) = (world.chain.text("/accounts/merchant/address"), world.chain.payers[9].address());
    let steering = |payer: usize, pay_to: &str| {
        let mut body = declared(&world.payment_to(payer, pay_to), &declaration());
        body["paymentPayload"]["resource"]["description"] = "Pay here".into();
        body
    };

    world.settle(&declared(&world.payment_to(0, &merchant), &declaration()), Some(&owner.key)).await;
    let honest = world.until_listed(1).await[0].clone();
    // With another key, and without one; to himself, and to the merchant.
    world.settle(&steering(1, &thief), Some(&other.key)).await;
    world.until_listed(2).await;
    world.settle(&steering(2, &thief), None).await;
    world.until_listed(3).await;
    world.settle(&steering(3, &merchant), None).await;

    let items = world.until_listed(4).await;
    assert_eq!(items[0], honest);
    let recipients: Vec<_> = items.iter().map(|item| item["accepts"][0]["payTo"].as_str().expect("an address")).collect();
    assert_eq!(recipients, [&merchant, &thief, &thief, &merchant]);
    // An account that takes money at two addresses has one entry with both.
    world.settle(&declared(&world.payment_to(4, &world.chain.payers[8].address()), &declaration()), Some(&owner.key)).await;
    eventually("a second way to pay", PATIENCE, || async {
        (world.listed("?limit=1").await["items"][0]["accepts"].as_array()?.len() == 2).then_some(())
    })
    .await;
    assert_eq!(world.until_listed(4).await[0]["accepts"][0]["payTo"], world.chain.payers[8].address(), "the newest first");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_only_accounts_list_and_no_more_than_they_may() {
    let world = start("per_account_max = 1").await;
    let provider = open_account(&world.facilitator, "provider").await;

    let said = world.settle(&declared(&world.payment(0), &declaration()), None).await.expect("a header");
    assert_eq!((&said["status"], &said["rejectedReason"]), (&json!("rejected"), &json!("account_needed")));
    world.settle(&at(&world.payment(1), "https://api.example.com/one"), Some(&provider.key)).await;
    world.until_listed(1).await;
    let said = world.settle(&at(&world.payment(2), "https://api.example.com/two"), Some(&provider.key)).await;
    assert_eq!(said, Some(json!({"status": "processing"})));
    eventually("a full account", PATIENCE, || async {
        (world.facilitator.metric("quittance_listings_total{outcome=\"full\"}").await == 1.0).then_some(())
    })
    .await;
    let said = world.settle(&at(&world.payment(3), "https://api.example.com/two"), Some(&provider.key)).await.expect("a header");
    assert_eq!((&said["status"], &said["rejectedReason"]), (&json!("rejected"), &json!("too_many_resources")));
    let said = world.settle(&at(&world.payment(4), "https://api.example.com/one"), Some(&provider.key)).await;
    assert_eq!(said, Some(json!({"status": "success"})));
    assert_eq!(world.until_listed(1).await[0]["resource"], "https://api.example.com/one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_does_not_depend_on_the_catalogue() {
    let world = start("").await;
    let provider = open_account(&world.facilitator, "provider").await;
    let rename = |from: &str, to: &str| {
        let statement = format!("ALTER TABLE {from} RENAME TO {to}");
        let ledger = world.ledger.clone();
        async move { sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(ledger.pool()).await.expect("it is there") }
    };

    rename("resources", "out_of_reach").await;
    let said = world.settle(&declared(&world.payment(0), &declaration()), Some(&provider.key)).await;
    assert_eq!(said, Some(json!({"status": "processing"})));
    eventually("a loss", PATIENCE, || async {
        (world.facilitator.metric("quittance_listings_total{outcome=\"lost\"}").await == 1.0).then_some(())
    })
    .await;
    rename("out_of_reach", "resources").await;

    // The next payment makes up for it.
    world.settle(&declared(&world.payment(1), &declaration()), Some(&provider.key)).await;
    world.until_listed(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_listed_is_bounded() {
    const QUEUE: usize = 256;
    let chain = Chain::start(ChainOptions::default()).await;
    let signed = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address")));
    let asked = parse_request(at(&signed, WEATHER).to_string().as_bytes()).expect("a payment");
    let flows = flows::over(database::ledger(&database::fresh().await).await, HashMap::new());
    let caller = Caller::Account { account: AccountId::new(), scope: Scope::Provider };

    // Nobody takes anything out of the queue.
    let said: Vec<_> = (0..=QUEUE)
        .map(|_| flows.list_paid(asked.declaration.as_ref(), &caller).encode().expect("it declares something"))
        .map(|header| serde_json::from_slice::<Value>(&STANDARD.decode(header).expect("base64")).expect("JSON"))
        .collect();

    assert!(said[..QUEUE].iter().all(|said| said["bazaar"]["status"] == "processing"));
    assert_eq!(said[QUEUE]["bazaar"]["rejectedReason"], "busy");
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_read_the_catalogue_others_are_answered() {
    let world = start("").await;
    let mut blocker = world.ledger.begin().await.expect("the database answers");
    let hold = "LOCK TABLE resources IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(hold).execute(&mut *blocker).await.expect("nobody reads it yet");

    // More than there are connections to the database.
    let reading = join_all((0..40).map(|number| {
        let path = if number % 2 == 0 { "/discovery/resources" } else { "/discovery/search?query=weather" };
        world.facilitator.get(path)
    }));
    let others = async {
        until_waiting(&world.ledger, 4).await;
        let settled = world.settle(&world.payment(0).v2(), None).await;
        commit(blocker).await.expect("the database answers");
        settled
    };
    let (read, settled) = tokio::join!(reading, others);

    assert_eq!(settled, None, "it declares nothing");
    assert_eq!(read.iter().filter(|(status, _)| *status == 200).count(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_lists_there_is_no_catalogue() {
    let world = start("list = \"nobody\"").await;
    let provider = open_account(&world.facilitator, "provider").await;

    assert!(!world.is_offered().await);
    for path in ["/discovery/resources", "/discovery/search?query=weather"] {
        assert_eq!(world.facilitator.get(path).await.0, 404, "{path}");
    }
    assert_eq!(world.settle(&declared(&world.payment(0), &declaration()), Some(&provider.key)).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_of_version_1_are_listed_in_its_words() {
    let world = start("").await;
    let provider = open_account(&world.facilitator, "provider").await;
    let v1 = |payer: usize, discoverable: Value| {
        let mut body = world.payment(payer).v1();
        let requirements = &mut body["paymentRequirements"];
        requirements["description"] = "The weather".into();
        requirements["outputSchema"] = json!({
            "input": {"type": "http", "method": "get", "discoverable": discoverable, "queryParams": {"city": "string"}},
            "output": {"degrees": "number"},
        });
        body
    };

    assert_eq!(world.settle(&v1(0, json!(false)), Some(&provider.key)).await, None);
    assert_eq!(world.settle(&v1(1, json!(true)), Some(&provider.key)).await, Some(json!({"status": "processing"})));

    let item = world.until_listed(1).await[0].clone();
    assert_eq!((&item["x402Version"], &item["resource"]), (&json!(1), &json!("https://api.example.com/weather")));
    let terms = &item["accepts"][0];
    assert_eq!((&terms["network"], &terms["maxAmountRequired"]), (&json!("base-sepolia"), &json!("10000")));
    assert_eq!(terms["resource"], "https://api.example.com/weather", "what a buyer asked for is not shown");
    assert_eq!(
        item["extensions"]["bazaar"]["info"],
        json!({
            "input": {"type": "http", "method": "GET", "queryParams": {"city": "string"}},
            "output": {"type": "json", "example": {"degrees": "number"}},
        })
    );
    // Found by the names of both versions.
    for network in ["eip155:84532", "base-sepolia"] {
        assert_eq!(world.listed(&format!("?network={network}")).await["pagination"]["total"], 1, "{network}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_pays_for_any_more_is_forgotten() {
    let ledger = database::ledger(&database::fresh().await).await;
    let now = Utc::now();
    let resource = |place: &str, recipient: u8| {
        finding::resource(&format!("https://api.example.com/{place}"), &format!("0x{}", format!("{recipient:02x}").repeat(20)))
    };
    for (place, recipient, days) in [("gone", 1, 91), ("kept", 2, 200), ("kept", 3, 89), ("young", 4, 0)] {
        let mut db = ledger.begin().await.expect("the database answers");
        let account = None;
        let put = resources::put(&mut db, account, &resource(place, recipient), 10, now - TimeDelta::days(days)).await;
        put.expect("the database answers");
        commit(db).await.expect("the database answers");
    }
    // One resource, two ways to pay.
    let join = "UPDATE resource_terms SET resource_id = (SELECT max(resource_id::text)::uuid FROM resource_terms
                JOIN resources ON id = resource_id WHERE url LIKE '%kept' AND resources.paid_at > now() - interval '90 days')
                WHERE paid_at < now() - interval '199 days'";
    sqlx::raw_sql(join).execute(ledger.pool()).await.expect("they fit");
    let lease = ledger.hold_lease("worker", Uuid::from_u128(1), TimeDelta::minutes(1)).await.expect("the database answers");

    let flows = flows::over(ledger.clone(), HashMap::new());
    flows.forget(&lease.expect("it is free")).await.expect("the database answers");

    let left = "SELECT r.url || ' ' || t.pay_to FROM resources r JOIN resource_terms t ON t.resource_id = r.id ORDER BY 1";
    let left = sqlx::query_scalar::<_, String>(left).fetch_all(ledger.pool()).await.expect("the database answers");
    let expected = [("kept", 3), ("young", 4)]
        .map(|(place, recipient)| format!("https://api.example.com/{place} {}", resource(place, recipient).terms.pay_to));
    assert_eq!(left, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_packages_declare_pay_and_find() {
    let world = start("").await;
    let provider = open_account(&world.facilitator, "provider").await;
    let merchant = world.chain.text("/accounts/merchant/address");
    let key = alloy::hex::encode_prefixed(world.chain.payers[0].signer().to_bytes());
    let mut command = Command::new("node");
    command.arg(root().join("dev/discover.mjs")).args(["--facilitator", &world.facilitator.url, "--api-key", &provider.key]);
    command.args(["--network", &world.chain.network(), "--key", &key, "--pay-to", &merchant]).stdin(Stdio::null());
    let output = command.output().await.expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let (log, seen) = said.trim_end().rsplit_once('\n').expect("the server's log and a line of JSON");
    let seen: Value = serde_json::from_str(seen).expect("JSON");
    // What the server understood of our header: at /verify, and at /settle.
    let understood = "[x402] extension responses: {\"bazaar\":{\"status\":\"processing\"}}";
    assert_eq!(log.lines().collect::<Vec<_>>(), [understood; 2]);

    assert_eq!(seen["purchase"], json!({"status": 200, "body": {"city": "oslo", "degrees": 7}}));
    let item = &seen["listed"]["items"][0];
    let shop = seen["shop"].as_str().expect("an address");
    assert_eq!(item["resource"], format!("{shop}/weather/:city"), "{seen}");
    assert_eq!(item["accepts"][0]["payTo"], merchant.as_str());
    assert_eq!((&item["serviceName"], &item["tags"]), (&json!("Skies of Norway"), &json!(["weather", "forecast"])));
    let bazaar = &item["extensions"]["bazaar"];
    assert_eq!((&bazaar["routeTemplate"], &bazaar["info"]["input"]["method"]), (&json!("/weather/:city"), &json!("GET")));
    assert_eq!(bazaar["info"]["input"].get("pathParams"), None, "which city it was is the buyer's business");
    assert_eq!(seen["listed"]["pagination"], json!({"limit": 20, "offset": 0, "total": 1}));
    assert_eq!(seen["found"]["resources"][0]["resource"], item["resource"]);
    assert_eq!((&seen["nothing"]["resources"], &seen["nothing"]["partialResults"]), (&json!([]), &json!(false)));
}
