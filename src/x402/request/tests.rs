//! Tests of reading requests: both versions, and what is no request.

use super::*;
use proptest::prelude::*;
use serde_json::json;

use crate::domain::account::Caller;
use crate::domain::payment::Fingerprint;

const V1: &str = include_str!("../../../tests/vectors/x402/exact-eip3009-v1.json");
const V2: &str = include_str!("../../../tests/vectors/x402/exact-eip3009-v2.json");
const PAYER: &str = "0x857b06519E91e3A54538791bDbb0E22373e36b66";

fn body(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn parse(body: &Value) -> Result<FacilitatorRequest, RequestError> {
    parse_request(body.to_string().as_bytes())
}

fn reason(body: &Value) -> Option<Reason> {
    parse(body).err().map(|error| error.refusal.reason)
}

/// The body with the member at `pointer` set, or taken out.
fn with(text: &str, pointer: &str, value: impl Into<Option<Value>>) -> Value {
    let mut body = body(text);
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let members = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value.into() {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    body
}

fn fingerprint(body: &Value) -> Fingerprint {
    Fingerprint::of(&parse(body).unwrap().request, &Caller::Anonymous)
}

#[test]
fn both_examples_of_the_specification_are_the_same_payment() {
    let v1 = parse(&body(V1)).unwrap();
    let v2 = parse(&body(V2)).unwrap();

    assert_eq!((v1.network_text.as_str(), v2.network_text.as_str()), ("base-sepolia", "eip155:84532"));
    assert_eq!((v1.payer_hint.as_str(), v2.payer_hint.as_str()), (PAYER, PAYER));
    assert_eq!(v1.request.version, Version::V1);
    assert_eq!(PaymentRequest { version: Version::V2, ..v1.request }, v2.request);

    let request = v2.request;
    assert_eq!(request.network.as_str(), "eip155:84532");
    assert_eq!(request.asset.to_string(), "0x036CbD53842c5426634e7929541eC2318f3dCF7e");
    assert_eq!(request.pay_to.to_string(), "0x209693Bc6afc0C5328bA36FaF03C514EF312287C");
    assert_eq!((request.amount, request.timeout_seconds), (Amount::new(10_000), 60));
    assert_eq!(request.resource.as_deref(), Some("https://api.example.com/premium-data"));
    assert_eq!((request.domain_name.as_deref(), request.domain_version.as_deref()), (Some("USDC"), Some("2")));
    assert_eq!((request.accepted_scheme.as_str(), request.accepted_network), ("exact", true));
    assert_eq!((request.invoice, request.answer_at), (None, None));
    assert_eq!(fingerprint(&body(V1)), fingerprint(&body(V2)));
}

#[test]
fn a_body_that_is_no_strict_json_says_nothing_more() {
    for bytes in ["", "null", "[]", "{", "{\"paymentPayload\":{\"a\":1,\"a\":2}}"] {
        let error = parse_request(bytes.as_bytes()).unwrap_err();
        assert_eq!(error.refusal.reason, Reason::InvalidJson);
        assert_eq!((error.version, error.network, error.payer), (None, None, String::new()));
    }
    // Row 5: two amounts, one for each of two parsers.
    for text in [V1, V2] {
        let doubled = text.replacen("\"payTo\"", "\"asset\": \"0x0\", \"payTo\"", 1);
        assert_ne!(doubled, text);
        assert_eq!(parse_request(doubled.as_bytes()).unwrap_err().refusal.reason, Reason::InvalidJson);
    }
}

#[test]
fn only_versions_1_and_2_exist_and_they_do_not_mix() {
    // Row 13.
    for version in ["0", "3", "\"2\"", "2.0", "1e0", "-1", "null", "true", "[2]", "18446744073709551618"] {
        let text = V2.replace("\"x402Version\": 2,\n    \"resource\"", &format!("\"x402Version\": {version},\n    \"resource\""));
        assert_ne!(text, V2);
        let error = parse_request(text.as_bytes()).unwrap_err();
        assert_eq!((error.refusal.reason, error.version), (Reason::InvalidVersion, None), "{version}");
        assert_eq!(error.network.as_deref(), Some("eip155:84532"));
    }
    assert_eq!(reason(&with(V2, "/paymentPayload/x402Version", None)), Some(Reason::InvalidVersion));
    // Row 14, and the outer version alone.
    for outer in [json!(1), json!("2"), json!(2.0), json!({})] {
        let error = parse(&with(V2, "/x402Version", outer)).unwrap_err();
        assert_eq!((error.refusal.reason, error.version), (Reason::InvalidVersion, Some(Version::V2)));
    }
    assert_eq!(reason(&with(V2, "/x402Version", None)), None);
    assert_eq!(reason(&with(V2, "/x402Version", Value::Null)), None);
    // A body of one version that claims to be of the other.
    let mut claimed = with(V2, "/paymentPayload/x402Version", json!(1));
    claimed["x402Version"] = json!(1);
    assert_eq!(reason(&claimed), Some(Reason::InvalidNetwork));
}

#[test]
fn both_parameters_are_needed_and_are_objects() {
    // Row 15.
    for name in ["/paymentPayload", "/paymentRequirements"] {
        for absent in [None, Some(Value::Null)] {
            assert_eq!(reason(&with(V2, name, absent)), Some(Reason::MissingParameters), "{name}");
        }
    }
    for wrong in [json!([]), json!("x"), json!(1), json!(false)] {
        assert_eq!(reason(&with(V2, "/paymentPayload", wrong.clone())), Some(Reason::InvalidPayload));
        assert_eq!(reason(&with(V2, "/paymentRequirements", wrong)), Some(Reason::InvalidPaymentRequirements));
    }
    assert_eq!(reason(&json!({})), Some(Reason::MissingParameters));
    let error = parse(&with(V2, "/paymentPayload", None)).unwrap_err();
    assert_eq!(error.network.as_deref(), Some("eip155:84532"));
}

#[test]
fn unknown_members_are_ignored_and_optional_ones_may_be_null() {
    // Rows 16 and 21.
    let plain = fingerprint(&body(V2));
    for pointer in [
        "/new",
        "/paymentPayload/new",
        "/paymentPayload/accepted/new",
        "/paymentRequirements/__proto__",
        "/paymentRequirements/extra/new",
    ] {
        assert_eq!(fingerprint(&with(V2, pointer, json!({"constructor": [null]}))), plain, "{pointer}");
    }
    for pointer in [
        "/paymentRequirements/extra",
        "/paymentRequirements/extra/name",
        "/paymentRequirements/extra/invoice",
        "/paymentPayload/extensions",
    ] {
        assert_eq!(fingerprint(&with(V2, pointer, Value::Null)), plain, "{pointer}");
    }
    for pointer in ["/paymentPayload/resource", "/paymentPayload/resource/url"] {
        for absent in [None, Some(Value::Null)] {
            assert_eq!(parse(&with(V2, pointer, absent)).unwrap().request.resource, None, "{pointer}");
        }
    }
    for pointer in [
        "/paymentRequirements/resource",
        "/paymentRequirements/description",
        "/paymentRequirements/outputSchema",
        "/paymentRequirements/extra",
    ] {
        assert_eq!(reason(&with(V1, pointer, Value::Null)), None, "{pointer}");
    }
}

#[test]
fn there_are_three_schemes() {
    // Row 17.
    for scheme in ["upto2", "Upto", "EXACT", "exact ", "transfers", ""] {
        assert_eq!(
            reason(&with(V2, "/paymentRequirements/scheme", json!(scheme))),
            Some(Reason::UnsupportedScheme),
            "{scheme:?}"
        );
    }
    for scheme in [None, Some(Value::Null), Some(json!(1))] {
        assert_eq!(reason(&with(V2, "/paymentRequirements/scheme", scheme)), Some(Reason::InvalidPaymentRequirements));
    }
}

#[test]
fn only_a_payment_by_use_may_be_of_nothing() {
    let mut metered = with(V2, "/paymentRequirements/scheme", json!("upto"));
    assert_eq!(reason(&metered), None);
    metered["paymentRequirements"]["amount"] = json!("0");
    assert_eq!(parse(&metered).unwrap().request.amount, Amount::ZERO);
    metered["paymentRequirements"]["scheme"] = json!("exact");
    assert_eq!(reason(&metered), Some(Reason::InvalidPaymentRequirements));
    // Version 1 has no such scheme.
    assert_eq!(reason(&with(V1, "/paymentRequirements/scheme", json!("upto"))), Some(Reason::UnsupportedScheme));
}

#[test]
fn what_lets_others_pay_the_gas_is_taken_along() {
    let mut sponsored = body(V2);
    sponsored["paymentPayload"]["extensions"] = json!({"eip2612GasSponsoring": {"info": {"from": "0x"}, "schema": {}}});
    assert_eq!(parse(&sponsored).unwrap().request.gas_sponsoring, Some(json!({"from": "0x"})));
    for nothing in [json!({"schema": {}}), json!({"info": null}), json!(1), Value::Null] {
        sponsored["paymentPayload"]["extensions"]["eip2612GasSponsoring"] = nothing;
        assert_eq!(parse(&sponsored).unwrap().request.gas_sponsoring, None);
    }
}

#[test]
fn a_transfer_is_presented_with_the_invoice_that_it_pays() {
    let payload = json!({"transaction": format!("0x{}", "1f".repeat(32)), "signature": "0x00"});
    for (text, accepted) in [(V1, "/paymentPayload/scheme"), (V2, "/paymentPayload/accepted/scheme")] {
        let mut presented = with(text, "/paymentRequirements/scheme", json!("transfer"));
        *presented.pointer_mut(accepted).unwrap() = json!("transfer");
        presented["paymentRequirements"]["extra"]["invoice"] = json!("inv_1");
        presented["paymentPayload"]["payload"] = payload.clone();
        let FacilitatorRequest { request, payer_hint, .. } = parse(&presented).unwrap();

        assert_eq!((request.scheme.as_str(), request.accepted_scheme.as_str()), ("transfer", "transfer"));
        assert_eq!((request.invoice.as_deref(), &request.payload), (Some("inv_1"), &payload));
        assert_eq!(payer_hint, "", "nothing in it says who paid");
    }
}

#[test]
fn a_network_is_written_as_its_version_writes_it() {
    // Row 19.
    for network in ["base", "base-sepolia", "eip155:08453", "eip155:8453 ", "EIP155:8453", "eip155:", "solana:mainnet", ""] {
        assert_eq!(
            reason(&with(V2, "/paymentRequirements/network", json!(network))),
            Some(Reason::InvalidNetwork),
            "{network:?}"
        );
    }
    for network in ["eip155:84532", "base-goerli", "BASE"] {
        assert_eq!(
            reason(&with(V1, "/paymentRequirements/network", json!(network))),
            Some(Reason::InvalidNetwork),
            "{network:?}"
        );
    }
    assert_eq!(reason(&with(V2, "/paymentRequirements/network", json!(84532))), Some(Reason::InvalidPaymentRequirements));
    let error = parse(&with(V2, "/paymentRequirements/network", json!("base"))).unwrap_err();
    assert_eq!((error.version, error.network.as_deref(), error.payer.as_str()), (Some(Version::V2), Some("base"), PAYER));
    // An answer does not repeat just anything.
    let error = parse(&with(V2, "/paymentRequirements/network", json!("x".repeat(10_000)))).unwrap_err();
    assert_eq!(error.network, None);
}

#[test]
fn of_what_the_payer_accepted_only_scheme_and_network_are_read() {
    // Row 18, as decision 15 has it.
    for (pointer, value) in [("amount", json!("1")), ("payTo", json!(7)), ("extra", json!("x")), ("maxTimeoutSeconds", json!(-1))]
    {
        assert_eq!(parse(&with(V2, &format!("/paymentPayload/accepted/{pointer}"), value)).unwrap(), parse(&body(V2)).unwrap());
    }
    for (text, path) in [(V1, "/paymentPayload"), (V2, "/paymentPayload/accepted")] {
        let other = parse(&with(text, &format!("{path}/scheme"), json!("upto"))).unwrap().request;
        assert_eq!((other.accepted_scheme.as_str(), other.accepted_network), ("upto", true));
        let other = parse(&with(text, &format!("{path}/network"), json!("eip155:8453"))).unwrap().request;
        assert_eq!((other.accepted_scheme.as_str(), other.accepted_network), ("exact", false));
        for name in ["scheme", "network"] {
            for wrong in [None, Some(Value::Null), Some(json!(1))] {
                assert_eq!(reason(&with(text, &format!("{path}/{name}"), wrong)), Some(Reason::InvalidPayload));
            }
        }
    }
    for wrong in [None, Some(Value::Null), Some(json!([]))] {
        assert_eq!(reason(&with(V2, "/paymentPayload/accepted", wrong)), Some(Reason::InvalidPayload));
    }
}

#[test]
fn a_timeout_is_a_positive_integer() {
    // Row 20. 1e400 is beyond what JSON numbers can hold here and is refused as such.
    for seconds in ["0", "-1", "1.5", "60.0", "6e1", "\"60\"", "9007199254740992", "4294967296", "null", "[60]"] {
        let text = V2.replace("\"maxTimeoutSeconds\": 60", &format!("\"maxTimeoutSeconds\": {seconds}"));
        assert_ne!(text, V2);
        let error = parse_request(text.as_bytes()).unwrap_err();
        assert_eq!(error.refusal.reason, Reason::InvalidPaymentRequirements, "{seconds}");
    }
    let text = V2.replace("\"maxTimeoutSeconds\": 60", "\"maxTimeoutSeconds\": 1e400");
    assert!(parse_request(text.as_bytes()).unwrap_err().refusal.reason.is_malformed());
    for seconds in [1, u32::MAX] {
        let request = parse(&with(V2, "/paymentRequirements/maxTimeoutSeconds", json!(seconds))).unwrap().request;
        assert_eq!(request.timeout_seconds, seconds);
    }
}

#[test]
fn only_one_grammar_is_an_amount() {
    // Rows 23 to 31, 33 and 34.
    let long = "9".repeat(100_000);
    for (text, pointer) in [(V1, "/paymentRequirements/maxAmountRequired"), (V2, "/paymentRequirements/amount")] {
        for amount in [
            "010000",
            "+10000",
            " 10000",
            "10000\n",
            "10_000",
            "10,000",
            "1e4",
            "10000.0",
            "1E4",
            "0x2710",
            "0b1",
            "0o7",
            "",
            "-1",
            "-0",
            "１００００",
            "٣",
            "340282366920938463463374607431768211456",
            &long,
            "0",
        ] {
            assert_eq!(reason(&with(text, pointer, json!(amount))), Some(Reason::InvalidPaymentRequirements), "{amount:.20?}");
        }
        for amount in [None, Some(Value::Null), Some(json!(10_000)), Some(json!(1e4)), Some(json!(["1"]))] {
            assert_eq!(reason(&with(text, pointer, amount)), Some(Reason::InvalidPaymentRequirements));
        }
        let most = parse(&with(text, pointer, json!(u128::MAX.to_string()))).unwrap().request;
        assert_eq!(most.amount, Amount::new(u128::MAX));
    }
}

#[test]
fn the_terms_name_addresses_of_the_network() {
    // Row 35.
    for pointer in ["/paymentRequirements/asset", "/paymentRequirements/payTo"] {
        for address in [
            "209693Bc6afc0C5328bA36FaF03C514EF312287C",
            "0x209693Bc6afc0C5328bA36FaF03C514EF312287",
            "0x209693Bc6afc0C5328bA36FaF03C514EF312287C0",
            "0X209693Bc6afc0C5328bA36FaF03C514EF312287C",
            "0x209693bc6afc0C5328bA36FaF03C514EF312287C",
            "merchant",
            "",
        ] {
            assert_eq!(reason(&with(V2, pointer, json!(address))), Some(Reason::InvalidPaymentRequirements), "{address:?}");
        }
        for wrong in [None, Some(json!(1))] {
            assert_eq!(reason(&with(V2, pointer, wrong)), Some(Reason::InvalidPaymentRequirements));
        }
    }
    for address in ["0x209693bc6afc0c5328ba36faf03c514ef312287c", "0x209693BC6AFC0C5328BA36FAF03C514EF312287C"] {
        assert_eq!(fingerprint(&with(V2, "/paymentRequirements/payTo", json!(address))), fingerprint(&body(V2)));
    }
}

#[test]
fn extra_carries_domain_invoice_and_level() {
    let extra = json!({"name": "USD Coin", "version": "1", "invoice": "inv_1", "answerAt": "final"});
    let request = parse(&with(V2, "/paymentRequirements/extra", extra)).unwrap().request;
    assert_eq!((request.domain_name.as_deref(), request.domain_version.as_deref()), (Some("USD Coin"), Some("1")));
    assert_eq!((request.invoice.as_deref(), request.answer_at), (Some("inv_1"), Some(Level::Final)));
    for extra in [
        json!([]),
        json!("x"),
        json!({"name": 1}),
        json!({"version": 2}),
        json!({"invoice": {}}),
        json!({"answerAt": "soon"}),
        json!({"answerAt": "Final"}),
        json!({"answerAt": 1}),
    ] {
        assert_eq!(
            reason(&with(V2, "/paymentRequirements/extra", extra.clone())),
            Some(Reason::InvalidPaymentRequirements),
            "{extra}"
        );
    }
}

/// A payment on Solana as both versions write it.
fn solana() -> (Value, Value) {
    let (mut v1, mut v2) = (body(V1), body(V2));
    let payload = json!({"transaction": "AQAB"});
    let extra = json!({"feePayer": "GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse", "memo": "order 7"});
    v1["paymentPayload"]["network"] = json!("solana-devnet");
    v2["paymentPayload"]["accepted"]["network"] = json!("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1");
    v1["paymentRequirements"]["network"] = json!("solana-devnet");
    v2["paymentRequirements"]["network"] = json!("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1");
    for envelope in [&mut v1, &mut v2] {
        envelope["paymentPayload"]["payload"] = payload.clone();
        envelope["paymentRequirements"]["asset"] = json!("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU");
        envelope["paymentRequirements"]["payTo"] = json!("EdmxWPmx2WH6WgFfTdu9xfkYf3k1g5wD1zccTVySEEh1");
        envelope["paymentRequirements"]["extra"] = extra.clone();
    }
    (v1, v2)
}

#[test]
fn a_payment_on_solana_is_the_same_in_both_versions() {
    let (v1, v2) = solana();
    let (first, second) = (parse(&v1).unwrap(), parse(&v2).unwrap());

    assert_eq!(PaymentRequest { version: Version::V2, ..first.request }, second.request);
    assert_eq!((first.network_text.as_str(), first.payer_hint.as_str()), ("solana-devnet", ""));
    let request = second.request;
    assert_eq!((request.network.family(), request.accepted_network), (Family::Solana, true));
    assert_eq!(request.asset.to_string(), "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU");
    assert_eq!(request.fee_payer.as_deref(), Some("GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse"));
    assert_eq!(request.memo.as_deref(), Some("order 7"));
    assert_eq!(request.payload, json!({"transaction": "AQAB"}));
}

#[test]
fn an_amount_on_solana_has_64_bits() {
    // Row 32.
    for (amount, expected) in [
        ("18446744073709551615", None),
        ("18446744073709551616", Some(Reason::InvalidPaymentRequirements)),
        ("0", Some(Reason::InvalidPaymentRequirements)),
    ] {
        let (mut v1, mut v2) = solana();
        v1["paymentRequirements"]["maxAmountRequired"] = json!(amount);
        v2["paymentRequirements"]["amount"] = json!(amount);
        assert_eq!((reason(&v1), reason(&v2)), (expected, expected), "{amount}");
    }
    assert_eq!(reason(&with(V2, "/paymentRequirements/amount", json!("18446744073709551616"))), None);
}

#[test]
fn each_family_reads_its_own_extras_and_addresses() {
    // Hints for the client, and members of the other family, whatever they are.
    let (_, mut v2) = solana();
    let extra = v2["paymentRequirements"]["extra"].as_object_mut().unwrap();
    for (name, value) in [
        ("name", json!(1)),
        ("recentBlockhash", json!([])),
        ("lastValidBlockHeight", json!(-1)),
        ("features", json!("smart")),
        ("transactionVersions", json!([0])),
    ] {
        extra.insert(name.to_owned(), value);
    }
    let request = parse(&v2).unwrap().request;
    assert_eq!((request.domain_name, request.memo.as_deref()), (None, Some("order 7")));
    let evm = parse(&with(V2, "/paymentRequirements/extra/feePayer", json!(1))).unwrap().request;
    assert_eq!((evm.fee_payer, evm.domain_name.as_deref()), (None, Some("USDC")));

    for (member, wrong) in [
        ("asset", json!("0x036CbD53842c5426634e7929541eC2318f3dCF7e")),
        ("payTo", json!("EdmxWPmx2WH6WgFfTdu9xfkYf3k1g5wD1zccTVySEE")),
        ("payTo", json!("EdmxWPmx2WH6WgFfTdu9xfkYf3k1g5wD1zccTVySEEh1 ")),
        ("extra", json!({"memo": ["order 7"]})),
    ] {
        let (_, mut v2) = solana();
        v2["paymentRequirements"][member] = wrong.clone();
        assert_eq!(reason(&v2), Some(Reason::InvalidPaymentRequirements), "{wrong}");
    }
}

#[test]
fn a_fee_payer_that_is_no_text_counts_as_missing() {
    // Row 68. Whether one is needed is for the scheme to say.
    for wrong in [Value::Null, json!(1), json!(true), json!([]), json!({})] {
        let (mut v1, mut v2) = solana();
        for envelope in [&mut v1, &mut v2] {
            envelope["paymentRequirements"]["extra"]["feePayer"] = wrong.clone();
            assert_eq!(parse(envelope).unwrap().request.fee_payer, None, "{wrong}");
        }
    }
}

#[test]
fn a_resource_is_a_text() {
    assert_eq!(reason(&with(V1, "/paymentRequirements/resource", json!(1))), Some(Reason::InvalidPaymentRequirements));
    assert_eq!(reason(&with(V2, "/paymentPayload/resource", json!("https://x"))), Some(Reason::InvalidPayload));
    assert_eq!(reason(&with(V2, "/paymentPayload/resource/url", json!(1))), Some(Reason::InvalidPayload));
}

#[test]
fn the_signed_part_is_an_object_and_otherwise_left_alone() {
    for wrong in [None, Some(Value::Null), Some(json!("0x")), Some(json!([]))] {
        assert_eq!(reason(&with(V2, "/paymentPayload/payload", wrong)), Some(Reason::InvalidPayload));
    }
    let opaque = json!({"anything": [1, 2.5, null]});
    let parsed = parse(&with(V2, "/paymentPayload/payload", opaque.clone())).unwrap();
    assert_eq!((parsed.request.payload, parsed.payer_hint.as_str()), (opaque, ""));
}

#[test]
fn the_payer_is_repeated_when_it_is_an_address() {
    let permit2 = json!({"permit2Authorization": {"from": PAYER.to_lowercase()}});
    assert_eq!(parse(&with(V2, "/paymentPayload/payload", permit2)).unwrap().payer_hint, PAYER);
    for from in [json!("<script>"), json!(1), Value::Null] {
        assert_eq!(parse(&with(V2, "/paymentPayload/payload/authorization/from", from)).unwrap().payer_hint, "");
    }
    let error = parse(&with(V2, "/paymentRequirements/amount", json!(1))).unwrap_err();
    assert_eq!((error.payer.as_str(), error.version), (PAYER, Some(Version::V2)));
    assert_eq!(error.refusal.detail.as_deref(), Some("paymentRequirements.amount: must be a string"));
}

#[test]
fn the_header_of_the_first_drafts_stands_in_for_the_payload() {
    let plain = body(V1);
    let header = STANDARD.encode(plain["paymentPayload"].to_string());
    let mut legacy = with(V1, "/paymentPayload", None);
    legacy["paymentHeader"] = json!(header);
    assert_eq!(parse(&legacy).unwrap(), parse(&plain).unwrap());
    legacy["paymentPayload"] = Value::Null;
    assert_eq!(parse(&legacy).unwrap(), parse(&plain).unwrap());
    // The payload itself comes first, whatever the header says.
    legacy["paymentPayload"] = plain["paymentPayload"].clone();
    legacy["paymentHeader"] = json!("!");
    assert_eq!(parse(&legacy).unwrap(), parse(&plain).unwrap());

    let twice = STANDARD.encode(r#"{"x402Version":1,"x402Version":1}"#);
    for wrong in [
        json!("!"),
        json!(1),
        json!(header.trim_end_matches('=').to_owned() + "A"),
        json!(STANDARD.encode("[]")),
        json!(twice),
        json!(""),
    ] {
        legacy["paymentPayload"] = Value::Null;
        legacy["paymentHeader"] = wrong.clone();
        let error = parse(&legacy).unwrap_err();
        assert_eq!((error.refusal.reason, error.network.as_deref()), (Reason::InvalidPayload, Some("base-sepolia")), "{wrong}");
    }
}

#[test]
fn what_is_wrong_first_is_reported_first() {
    let mut body = body(V2);
    body["paymentRequirements"]["amount"] = json!("x");
    assert_eq!(reason(&body), Some(Reason::InvalidPaymentRequirements));
    body["paymentRequirements"]["network"] = json!("base");
    assert_eq!(reason(&body), Some(Reason::InvalidNetwork));
    body["paymentRequirements"]["scheme"] = json!("other");
    assert_eq!(reason(&body), Some(Reason::UnsupportedScheme));
    body["paymentPayload"]["x402Version"] = json!(3);
    assert_eq!(reason(&body), Some(Reason::InvalidVersion));
    body["paymentRequirements"] = Value::Null;
    assert_eq!(reason(&body), Some(Reason::MissingParameters));
}

/// A body of both versions for the same payment, with everything that may vary.
fn envelopes(amount: u128, resource: &str, invoice: Option<&str>, pay_to: [u8; 20], nonce: &str) -> (Value, Value) {
    let (mut v1, mut v2) = (body(V1), body(V2));
    v1["paymentRequirements"]["maxAmountRequired"] = json!(amount.to_string());
    v2["paymentRequirements"]["amount"] = json!(amount.to_string());
    v1["paymentRequirements"]["resource"] = json!(resource);
    v2["paymentPayload"]["resource"]["url"] = json!(resource);
    for envelope in [&mut v1, &mut v2] {
        envelope["paymentRequirements"]["extra"]["invoice"] = json!(invoice);
        envelope["paymentRequirements"]["payTo"] = json!(Address::Evm(pay_to).to_string());
        envelope["paymentPayload"]["payload"]["authorization"]["nonce"] = json!(nonce);
    }
    (v1, v2)
}

/// A byte of `bytes` changed, a piece cut out, or a piece doubled.
fn mutate(mut bytes: Vec<u8>, kind: u8, at: prop::sample::Index, length: usize, byte: u8) -> Vec<u8> {
    let start = at.index(bytes.len());
    let end = (start + length).min(bytes.len());
    match kind {
        0 => bytes[start] = byte,
        1 => drop(bytes.drain(start..end)),
        _ => drop(bytes.splice(start..start, bytes[start..end].to_vec())),
    }
    bytes
}

proptest! {
    #[test]
    fn the_version_of_the_envelope_does_not_change_the_payment(
        amount in 1..=u128::MAX,
        resource in "https://[a-z]{1,10}/[ -~]{0,20}",
        invoice in prop::option::of("inv_[0-9a-f]{8}"),
        pay_to: [u8; 20],
        nonce in "0x[0-9a-f]{64}",
    ) {
        let (v1, v2) = envelopes(amount, &resource, invoice.as_deref(), pay_to, &nonce);
        prop_assert_eq!(fingerprint(&v1), fingerprint(&v2));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = parse_request(&bytes);
    }

    #[test]
    fn no_change_to_a_good_body_makes_it_panic(
        first: bool,
        changes in prop::collection::vec((0..3_u8, any::<prop::sample::Index>(), 0..40_usize, any::<u8>()), 1..4),
    ) {
        let good = if first { V1 } else { V2 };
        let change = |bytes, (kind, at, length, byte)| mutate(bytes, kind, at, length, byte);
        let bytes = changes.into_iter().fold(good.as_bytes().to_vec(), change);
        if let Err(error) = parse_request(&bytes) {
            prop_assert!(error.refusal.detail.is_some_and(|detail| detail.chars().count() <= 500));
        }
    }

    #[test]
    fn no_value_in_place_of_another_makes_it_panic(first: bool, at: prop::sample::Index, value in any_value()) {
        let mut body = body(if first { V1 } else { V2 });
        let mut pointers = Vec::new();
        collect_pointers(&body, String::new(), &mut pointers);
        *body.pointer_mut(&pointers[at.index(pointers.len())]).unwrap() = value;
        let _ = parse(&body);
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "0x[0-9a-fA-F]{0,70}".prop_map(Value::from),
        "[0-9]{0,80}".prop_map(Value::from),
    ]
}

fn collect_pointers(value: &Value, path: String, pointers: &mut Vec<String>) {
    for (name, member) in value.as_object().into_iter().flatten() {
        collect_pointers(member, format!("{path}/{name}"), pointers);
    }
    pointers.push(path);
}

/// What a body and its two parameters apart from each other are read as.
fn both_ways(payload: &str, requirements: &str) -> [Result<FacilitatorRequest, Reason>; 2] {
    let body = format!("{{\"paymentPayload\":{payload},\"paymentRequirements\":{requirements}}}");
    let parts = parse_parts(payload.as_bytes(), requirements.as_bytes());
    [parse_request(body.as_bytes()), parts].map(|read| read.map_err(|error| error.refusal.reason))
}

#[test]
fn parameters_that_come_apart_are_read_as_in_one_body() {
    for text in [V1, V2] {
        let body = body(text);
        let (payload, requirements) = (body["paymentPayload"].to_string(), body["paymentRequirements"].to_string());
        let deep = |levels: usize| payload.replacen('{', &format!("{{\"deep\":{}{},", "[".repeat(levels), "]".repeat(levels)), 1);

        let [whole, apart] = both_ways(&payload, &requirements);
        assert!(whole.is_ok());
        assert_eq!(whole, apart);
        for payload in [
            deep(json::DEPTH_MAX - 2),
            deep(json::DEPTH_MAX - 1),
            payload.replacen('{', "{\"x402Version\":2,", 1),
            payload.replace("\"10000\"", "10000"),
            "{}".to_owned(),
        ] {
            let [whole, apart] = both_ways(&payload, &requirements);
            assert_eq!(whole, apart, "{payload}");
        }
        assert!(both_ways(&deep(json::DEPTH_MAX - 2), &requirements)[1].is_ok());
    }
}

#[test]
fn a_parameter_that_comes_alone_is_one_object_and_nothing_else() {
    let reason = |payload: &str, requirements: &str| {
        parse_parts(payload.as_bytes(), requirements.as_bytes()).err().map(|error| error.refusal.reason)
    };

    assert_eq!((reason("", "{}"), reason("{}", "")), (Some(Reason::MissingParameters), Some(Reason::MissingParameters)));
    for text in ["null", "[]", "7", "{", "{}{}", "{},\"paymentRequirements\":{}", "\u{feff}{}", "{\"a\":1,\"a\":1}"] {
        assert_eq!((reason(text, "{}"), reason("{}", text)), (Some(Reason::InvalidJson), Some(Reason::InvalidJson)), "{text}");
    }
    let error = parse_parts(b"{}", b"[").unwrap_err();
    assert!(error.refusal.detail.is_some_and(|detail| detail.starts_with("paymentRequirements: ")));
}
