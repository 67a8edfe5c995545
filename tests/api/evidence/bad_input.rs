//! Bad input: every row of the list in `tests/vectors/bad_input/README.md` is data beside it, and is sent to both endpoints.
//!
//! A row begins with a valid payment, signed anew, and says what is changed about it. Rows that look bad and are fine say
//! `accepted`: they must be verified, settled, and paid on chain.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::time::Duration;

use alloy::primitives::{Address, Bytes, U256, hex};
use alloy::sol_types::Eip712Domain;
use quittance::domain::clock::{Clock, SystemClock};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::report;
use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::{Payer, Terms};
use crate::support::permit2::Order;
use crate::support::proxy::Proxy;
use crate::support::typed::{self, Fields, Kind};
use crate::support::{contract, database, deploy};

const FILES: [&str; 4] = [
    include_str!("../../vectors/bad_input/envelope.json"),
    include_str!("../../vectors/bad_input/requirements.json"),
    include_str!("../../vectors/bad_input/numbers.json"),
    include_str!("../../vectors/bad_input/evm.json"),
];

/// A row, or a part of one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    row: u32,
    name: String,
    /// `accepted`, or the status and the code: `400 invalid_json`.
    expect: String,
    #[serde(default = "version_2")]
    version: u8,
    /// Whether it is paid through Permit2.
    #[serde(default)]
    permit2: bool,
    #[serde(default)]
    sign: Signing,
    /// What happens on chain before anybody asks us.
    before: Option<Before>,
    /// Members to set, by JSON pointer.
    #[serde(default)]
    set: Vec<(String, Value)>,
    /// Members to take out.
    #[serde(default)]
    remove: Vec<String>,
    /// One case for each of these members with each of these values.
    each: Option<Each>,
    /// Texts to replace in the serialized body, for what a JSON library would not write.
    #[serde(default)]
    replace: Vec<(String, String)>,
    /// Another body altogether.
    body: Option<Body>,
    /// Headers to set, or with `null` to leave out.
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
}

const fn version_2() -> u8 {
    2
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Signing {
    /// Who pays, by number.
    payer: usize,
    /// Whose key signs, by number, if not the payer's own.
    key: Option<usize>,
    kind: Kind,
    chain_id: Option<u64>,
    contract: Option<String>,
    name: Option<String>,
    version: Option<String>,
    from: Option<String>,
    to: Option<String>,
    value: Option<String>,
    valid_after: Option<String>,
    valid_before: Option<String>,
    signature: Option<Disguise>,
}

/// What is done to a signature after it was made.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Disguise {
    Compact,
    HighS,
    BareV,
    V(u8),
    ZeroR,
    ZeroS,
    OrderS,
    Zero,
    Longer,
    Wrapped { factory: String, calldata: Bytes },
    WrappedTwice,
    BrokenWrapper,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Before {
    Land,
    Cancel,
}

#[derive(Debug, Clone, Deserialize)]
struct Each {
    at: Vec<String>,
    values: Vec<Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Body {
    Text(String),
    Hex(String),
    /// The valid body without its last bytes.
    Cut(usize),
    /// The valid body with a text behind it.
    Append(String),
    /// The valid body in this many bytes, filled up with white space.
    Length(usize),
    Nested(usize),
    Bom,
    Utf16,
}

/// What goes over the wire.
struct Request {
    label: String,
    expect: String,
    body: Vec<u8>,
    headers: BTreeMap<String, Option<String>>,
}

impl Request {
    /// The network that an answer names: nobody knows what a body says that was not read, and clients want a text all the same.
    fn network(&self) -> String {
        let unread = ["invalid_json", "body_too_large", "unsupported_media_type"].iter().any(|code| self.expect.ends_with(code));
        let body: Value = if unread { Value::Null } else { serde_json::from_slice(&self.body).expect("it is JSON") };
        let network = body["paymentRequirements"]["network"].as_str().filter(|network| !network.is_empty());
        network.unwrap_or("unknown:unknown").to_owned()
    }
}

/// Where cases get their words and keys from.
struct World<'a> {
    chain: &'a Chain,
    fake: String,
}

/// The default of `server.body_bytes_max`.
const BODY_BYTES_MAX: usize = 262_144;

const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

impl World<'_> {
    /// Replaces a word that begins with `$` by what it stands for.
    fn fill(&self, value: &Value) -> Value {
        match value {
            Value::String(text) if text.starts_with('$') => self.word(&text[1..]),
            Value::Object(members) => {
                members.iter().map(|(name, value)| (name.clone(), self.fill(value))).collect::<Map<_, _>>().into()
            }
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            value => value.clone(),
        }
    }

    fn word(&self, word: &str) -> Value {
        if let Some(offset) = word.strip_prefix("now") {
            let offset: i64 = offset.parse().expect("seconds");
            return (SystemClock.now().timestamp() + offset).to_string().into();
        }
        if let Some((name, argument)) = word.strip_suffix(')').and_then(|word| word.split_once('(')) {
            return match name {
                "repeat" => argument.split_once(',').map(|(what, times)| what.repeat(times.parse().expect("a number"))).into(),
                "hex" => format!("0x{}", "ab".repeat(argument.parse().expect("a number"))).into(),
                "members" => {
                    (0..argument.parse().expect("a number")).map(|n: u32| (n.to_string(), n.into())).collect::<Map<_, _>>().into()
                }
                name => panic!("no function {name}"),
            };
        }
        let (name, letters) = word.split_once(':').unwrap_or((word, "as they are"));
        let address = self.address(name);
        match letters {
            "lower" => address.to_lowercase(),
            "upper" => format!("0x{}", address[2..].to_uppercase()),
            _ => address,
        }
        .into()
    }

    fn address(&self, name: &str) -> String {
        match name {
            "payer" => self.chain.payers[0].address(),
            "merchant" => self.chain.text("/accounts/merchant/address"),
            "account" => self.chain.text("/accounts/buyer/address"),
            "signer" => self.chain.text("/accounts/signers/0/address"),
            "usdc" => self.chain.usdc(),
            "permit2" => self.chain.text("/permit2"),
            "contract" => self.chain.text("/multicall3"),
            "fake" => self.fake.clone(),
            name => panic!("no word {name}"),
        }
    }

    fn text(&self, text: &str) -> String {
        self.fill(&text.into()).as_str().expect("a text").to_owned()
    }

    /// The valid body with everything that the case changes before it is serialized.
    async fn members(&self, case: &Case) -> Value {
        let payer = &self.chain.payers[case.sign.payer];
        let terms = Terms::to(&self.address("merchant"));
        let mut body = if case.permit2 {
            Order::exact(self.chain, payer, &terms).sign(self.chain, payer.signer()).v2()
        } else {
            let mut signed = payer.authorize(&terms);
            self.sign(&mut signed.payload, &case.sign, payer);
            self.happen(case.before, payer, &signed.payload).await;
            if case.version == 1 { signed.v1() } else { signed.v2() }
        };
        for pointer in &case.remove {
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            body.pointer_mut(parent).and_then(Value::as_object_mut).expect(pointer).remove(name).expect(pointer);
        }
        for (pointer, value) in &case.set {
            set(&mut body, pointer, self.fill(value));
        }
        body
    }

    fn sign(&self, payload: &mut Value, signing: &Signing, payer: &Payer) {
        let said = [
            ("from", &signing.from),
            ("to", &signing.to),
            ("value", &signing.value),
            ("validAfter", &signing.valid_after),
            ("validBefore", &signing.valid_before),
        ];
        for (name, text) in said {
            if let Some(text) = text {
                payload["authorization"][name] = self.text(text).into();
            }
        }
        let usual = typed::usdc_domain(&self.chain.world);
        let domain = Eip712Domain {
            name: signing.name.clone().map_or(usual.name, |name| Some(name.into())),
            version: signing.version.clone().map_or(usual.version, |version| Some(version.into())),
            chain_id: signing.chain_id.map_or(usual.chain_id, |id| Some(U256::from(id))),
            verifying_contract: signing
                .contract
                .as_ref()
                .map_or(usual.verifying_contract, |text| Some(self.text(text).parse().expect("an address"))),
            salt: None,
        };
        let key = signing.key.map_or(payer, |number| &self.chain.payers[number]);
        let signature = typed::sign(key.signer(), Fields::of(payload).digest(signing.kind, &domain));
        let signature = signing.signature.as_ref().map_or(signature.clone(), |disguise| self.disguise(disguise, signature));
        payload["signature"] = hex::encode_prefixed(signature).into();
    }

    fn disguise(&self, disguise: &Disguise, mut signature: Vec<u8>) -> Vec<u8> {
        let order: U256 = U256::from_str_radix(ORDER, 16).expect("a number");
        let other: Address = self.address("contract").parse().expect("an address");
        match disguise {
            Disguise::Compact => {
                signature[32] |= (signature[64] - 27) << 7;
                signature.truncate(64);
            }
            Disguise::HighS => {
                let s = U256::from_be_slice(&signature[32..64]);
                signature[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
                signature[64] = 27 + 28 - signature[64];
            }
            Disguise::BareV => signature[64] -= 27,
            Disguise::V(v) => signature[64] = *v,
            Disguise::ZeroR => signature[..32].fill(0),
            Disguise::ZeroS => signature[32..64].fill(0),
            Disguise::OrderS => signature[32..64].copy_from_slice(&order.to_be_bytes::<32>()),
            Disguise::Zero => signature.fill(0),
            Disguise::Longer => signature.push(0),
            Disguise::Wrapped { factory, calldata } => {
                return typed::wrap(self.text(factory).parse().expect("an address"), calldata, &signature);
            }
            Disguise::WrappedTwice => return typed::wrap(other, &[1], &typed::wrap(other, &[2], &signature)),
            Disguise::BrokenWrapper => {
                let mut wrapped = typed::wrap(other, &[1], &signature);
                wrapped.drain(40..200);
                return wrapped;
            }
        }
        signature
    }

    async fn happen(&self, before: Option<Before>, payer: &Payer, payload: &Value) {
        let calldata = match before {
            None => return,
            Some(Before::Land) => typed::landing(payload),
            Some(Before::Cancel) => typed::cancelling(payer.signer(), payload, &typed::usdc_domain(&self.chain.world)),
        };
        self.chain.transact(&self.address("account"), Some(&self.chain.usdc()), &calldata).await;
    }

    async fn requests(&self, case: &Case) -> Vec<Request> {
        let body = self.members(case).await;
        let bodies = match &case.each {
            None => vec![(case.name.clone(), body)],
            Some(Each { at, values }) => at
                .iter()
                .flat_map(|pointer| values.iter().map(move |value| (pointer, value)))
                .map(|(pointer, value)| {
                    let mut changed = body.clone();
                    set(&mut changed, pointer, self.fill(value));
                    (format!("{}: {pointer} = {value}", case.name), changed)
                })
                .collect(),
        };
        let request = |(name, body): (String, Value)| Request {
            label: format!("row {} {name}", case.row),
            expect: case.expect.clone(),
            body: case.bytes(&body),
            headers: case.headers.clone(),
        };
        bodies.into_iter().map(request).collect()
    }
}

fn set(body: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = body.pointer_mut(parent).unwrap_or_else(|| panic!("no parent of {pointer}"));
    parent.as_object_mut().expect("an object").insert(name.to_owned(), value);
}

impl Case {
    fn bytes(&self, body: &Value) -> Vec<u8> {
        let mut text = body.to_string();
        for (found, replaced) in &self.replace {
            assert!(text.contains(found), "row {} {}: {found} is not in the body", self.row, self.name);
            text = text.replacen(found, replaced, 1);
        }
        match &self.body {
            None => text.into_bytes(),
            Some(Body::Text(text)) => text.clone().into_bytes(),
            Some(Body::Hex(digits)) => hex::decode(digits).expect("hexadecimal"),
            Some(Body::Cut(bytes)) => text.as_bytes()[..text.len() - bytes].to_vec(),
            Some(Body::Append(more)) => (text + more).into_bytes(),
            Some(Body::Length(bytes)) => (text.clone() + &" ".repeat(bytes - text.len())).into_bytes(),
            Some(Body::Nested(depth)) => format!("{}1{}", "{\"a\":".repeat(*depth), "}".repeat(*depth)).into_bytes(),
            Some(Body::Bom) => format!("\u{feff}{text}").into_bytes(),
            Some(Body::Utf16) => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        }
    }
}

/// So often a request is sent that is cut while it is written.
const TRIES: usize = 5;

async fn send(facilitator: &Facilitator, path: &str, request: &Request) -> (u16, Value) {
    let mut builder = facilitator.client().post(format!("{}{path}", facilitator.url)).body(request.body.clone());
    if !request.headers.contains_key("content-type") {
        builder = builder.header("content-type", "application/json");
    }
    for (name, value) in &request.headers {
        if let Some(value) = value {
            builder = builder.header(name, value);
        }
    }
    // Whoever still sends when it is refused may learn no more than that its connection is closed. It asks again, as clients do.
    for _ in 0..TRIES {
        let asked = builder.try_clone().expect("it is text").send().await;
        match asked {
            Ok(answer) => return (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null)),
            Err(error) if error.is_request() => {}
            Err(error) => panic!("{}: {path} did not answer: {error:?}", request.label),
        }
    }
    panic!("{}: {path} was cut {TRIES} times", request.label)
}

/// What is wrong with a refusal, if anything is.
fn fault(path: &str, request: &Request, (status, answer): &(u16, Value)) -> Option<String> {
    let (verdict, code) = if path == "/verify" { ("isValid", "invalidReason") } else { ("success", "errorReason") };
    let strings: &[&str] = if path == "/verify" { &["payer"] } else { &["payer", "transaction", "network"] };
    let outcome = format!("{status} {}", answer[code].as_str().unwrap_or("without a code"));
    let typed = answer[verdict] == false && strings.iter().all(|name| answer[name].is_string());
    let unsent = path == "/verify" || answer["transaction"] == "";
    let echoed = path == "/verify" || answer["network"] == request.network();
    (outcome != request.expect || !typed || !unsent || !echoed)
        .then(|| format!("{} at {path}: expected {}, got {status} {answer}", request.label, request.expect))
}

/// What is wrong with an acceptance, if anything is.
async fn acceptance_fault(facilitator: &Facilitator, request: &Request) -> Option<String> {
    let verified = send(facilitator, "/verify", request).await;
    let settled = send(facilitator, "/settle", request).await;
    let good = verified.1["isValid"] == true && settled.1["success"] == true;
    (!good).then(|| format!("{}: expected to be accepted, got {verified:?} and {settled:?}", request.label))
}

fn cases() -> Vec<Case> {
    FILES.iter().flat_map(|file| serde_json::from_str::<Vec<Case>>(file).expect("a list of cases")).collect()
}

fn paths() -> Vec<PathCase> {
    serde_json::from_str(include_str!("../../vectors/bad_input/paths.json")).expect("a list of cases")
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_as_documented_and_leaves_no_trace() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let fake = deploy(&chain, &contract("FakeUsdc"), &[]).await;
    let world = World { chain: &chain, fake };
    let proxy = Proxy::start(&chain.url);
    let url = database::fresh().await;
    let network = NetworkOptions { rpc: vec![proxy.url.clone()], ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(network, &url)).await;
    let merchant = chain.text("/accounts/merchant/address");

    let (mut bad, mut fine) = (Vec::new(), Vec::new());
    let cases = cases();
    for case in &cases {
        let requests = world.requests(case).await;
        if case.expect == "accepted" { fine.extend(requests) } else { bad.extend(requests) }
    }
    let paid_before = chain.transfers_to(&merchant).await.len();

    let mut faults = Vec::new();
    for request in &bad {
        for path in ["/verify", "/settle"] {
            faults.extend(fault(path, request, &send(&facilitator, path, request).await));
        }
    }
    for (table, rows) in database::traces(&facilitator).await {
        faults.extend((rows != 0).then(|| format!("{rows} rows in {table} after requests that were all refused")));
    }
    faults
        .extend((proxy.calls("eth_sendRawTransaction") != 0).then(|| "a transaction was sent for a refused request".to_owned()));

    let accepted = futures_util::future::join_all(fine.iter().map(|request| acceptance_fault(&facilitator, request))).await;
    faults.extend(accepted.into_iter().flatten());
    let paid = chain.transfers_to(&merchant).await.len() - paid_before;
    faults.extend((paid != fine.len()).then(|| format!("{paid} transfers for {} accepted payments", fine.len())));

    let rows: BTreeSet<_> = cases.iter().map(|case| case.row).collect();
    report(
        "bad input",
        &format!(
            "{} bodies of {} rows of the list sent to both endpoints: {} to refuse, {} to accept and pay, {} wrong answers or traces",
            bad.len() + fine.len(),
            rows.len(),
            bad.len(),
            fine.len(),
            faults.len()
        ),
    );
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), bad.len() + fine.len(), faults.join("\n"));
}

#[derive(Debug, Deserialize)]
struct PathCase {
    row: u32,
    method: String,
    path: String,
    status: u16,
}

/// Sends a request exactly as written: clients tidy paths up.
fn exchange(facilitator: &Facilitator, head: &str) -> String {
    exchange_with(facilitator, head, "")
}

fn exchange_with(facilitator: &Facilitator, head: &str, body: &str) -> String {
    let address = facilitator.url.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("it is a socket");
    stream.write_all(format!("{head}\r\nHost: {address}\r\n\r\n{body}").as_bytes()).expect("it reads");
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).expect("it answers");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trick_with_paths_methods_or_lengths_reaches_a_handler_or_keeps_a_connection() {
    let chain = Chain::start(ChainOptions::default()).await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &database::fresh().await)).await;
    let cases = paths();
    let faults: Vec<_> = cases
        .iter()
        .filter_map(|case| {
            let head = format!("{} {} HTTP/1.1\r\nConnection: close\r\nContent-Length: 0", case.method, case.path);
            let answer = exchange(&facilitator, &head);
            let expected = format!("HTTP/1.1 {} ", case.status);
            // Clients look for the typed body before they look at the status. The answer to HEAD has none.
            let typed = match case.path.as_str() {
                "/verify" | "/settle" if case.method != "HEAD" => {
                    answer.contains("method_not_allowed") && answer.contains("\"payer\"")
                }
                _ => true,
            };
            (!answer.starts_with(&expected) || !typed)
                .then(|| format!("row {} {} {}: {answer}", case.row, case.method, case.path))
        })
        .collect();
    report("bad input paths", &format!("{} tricks with paths and methods: {} reached a handler", cases.len(), faults.len()));
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    // Row 8: 10 GiB are announced and nothing comes.
    let announced =
        exchange(&facilitator, "POST /settle HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 10737418240");
    assert!(announced.starts_with("HTTP/1.1 413 ") && announced.contains("body_too_large"), "{announced}");

    // Row 7: the length is not announced at all, and what comes is counted. What just fits is read, and is no JSON.
    for path in ["/verify", "/settle"] {
        for (length, expected) in [(BODY_BYTES_MAX, ["400", "invalid_json"]), (BODY_BYTES_MAX + 1, ["413", "body_too_large"])] {
            let body = " ".repeat(length);
            let [first, second] =
                [&body[..length / 2], &body[length / 2..]].map(|part| format!("{:x}\r\n{part}\r\n", part.len()));
            let head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked");
            let answer = exchange_with(&facilitator, &head, &format!("{first}{second}0\r\n\r\n"));
            let right = answer.starts_with(&format!("HTTP/1.1 {} ", expected[0])) && answer.contains(expected[1]);
            assert!(right, "{length} bytes in chunks at {path}: {answer}");
        }
    }

    // Row 8 again, with a length that would be allowed.
    std::thread::scope(|scope| {
        for path in ["/verify", "/settle"] {
            let head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100");
            let facilitator = &facilitator;
            scope.spawn(move || {
                let silent = exchange(facilitator, &head);
                assert!(silent.starts_with("HTTP/1.1 408 ") && silent.contains("body_too_slow"), "{silent}");
            });
        }
    });
}
