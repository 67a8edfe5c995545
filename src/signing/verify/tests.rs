//! Receipts that somebody changed, made up, or signed with another key.

use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::super::base64url::{decode, encode};
use super::super::claims::tests::{CANONICAL, claims};
use super::super::eip712::tests::key as typed_key;
use super::super::jws::compact;
use super::super::jws::tests::rfc_8037_key;
use super::super::keyring::Keyring;
use super::super::keyring::tests::{document, parse};
use super::*;

const KID: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
const HEADER: &str = r#"{"alg":"EdDSA","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","typ":"quittance-receipt+jws"}"#;
const ISSUER: &str = "https://pay.example.com";

/// When the golden receipt was issued.
const ISSUED_AT: i64 = 1_790_000_000;

fn keys() -> KeySet {
    parse(&document(ISSUED_AT - 1_000)).unwrap().public()
}

/// The same keys, in use from `created_at` on and retired at `retired_at`, of which one more is in use.
fn keys_within(created_at: i64, retired_at: i64) -> KeySet {
    let mut ring = parse(&document(created_at)).unwrap();
    ring.rotate(DateTime::from_timestamp(retired_at, 0).unwrap()).unwrap();
    ring.public()
}

/// A receipt with any header and payload, signed by the right key.
fn signed(header: &str, payload: &str) -> String {
    compact(header, payload, &rfc_8037_key())
}

/// The variant of the refusal, without what it holds.
fn refusal(receipt: &str, keys: &KeySet) -> String {
    let refused = verify(receipt, keys, Some(ISSUER)).expect_err(receipt);
    format!("{refused:?}").split(['(', ' ', '{']).next().unwrap().to_owned()
}

fn typed() -> Value {
    serde_json::to_value(TypedReceipt::sign(&claims(), &typed_key()).unwrap()).unwrap()
}

/// The members of the claims, and each of them with another value of its kind.
fn mutations(members: &Map<String, Value>) -> impl Iterator<Item = (&String, Value)> {
    members.iter().map(|(name, value)| {
        let changed = match value {
            Value::Number(number) => json!(number.as_u64().unwrap() + 1),
            Value::String(text) if text.ends_with('3') => json!(text.replacen('3', "4", 1)),
            Value::String(text) => json!(format!("{}3", &text[..text.len() - 1])),
            other => panic!("{name} is {other}"),
        };
        (name, changed)
    })
}

#[test]
fn the_golden_receipt_holds() {
    let receipt = signed(HEADER, CANONICAL);

    assert_eq!(verify(&receipt, &keys(), Some(ISSUER)).unwrap(), claims());
    assert_eq!(verify(&receipt, &keys(), None).unwrap(), claims());
    assert_eq!(verify(&typed().to_string(), &keys(), Some(ISSUER)).unwrap(), claims());
}

#[test]
fn any_change_of_any_claim_is_refused() {
    let receipt = signed(HEADER, CANONICAL);
    let (input, signature) = receipt.rsplit_once('.').unwrap();
    let members: Map<String, Value> = serde_json::from_str(CANONICAL).unwrap();
    let mut changes = 0;
    for (name, value) in mutations(&members) {
        let mut altered = members.clone();
        assert_ne!(altered.insert(name.clone(), value.clone()), Some(value));
        let payload = serde_json::to_string(&altered).unwrap();
        let forged = format!("{}.{}.{signature}", encode(HEADER), encode(payload));
        assert_eq!(refusal(&forged, &keys()), "Signature", "{name}");
        changes += 1;
    }
    assert_eq!(changes, 18);
    let shorter = decode(input.split_once('.').unwrap().1).unwrap();
    let forged = format!("{}.{}.{signature}", encode(HEADER), encode(&shorter[..shorter.len() - 1]));
    assert_eq!(refusal(&forged, &keys()), "Signature");
}

#[test]
fn any_change_of_any_typed_claim_is_refused() {
    let receipt = typed();
    for (name, value) in mutations(receipt["payload"].as_object().unwrap()) {
        let mut changed = receipt.clone();
        changed["payload"][name] = value;
        // The signature then belongs to a key that nobody has.
        assert_eq!(refusal(&changed.to_string(), &keys()), "UnknownKey", "{name}");
    }
}

#[test]
fn any_flipped_bit_of_the_signature_is_refused() {
    let receipt = signed(HEADER, CANONICAL);
    let (input, signature) = receipt.rsplit_once('.').unwrap();
    let signature = decode(signature).unwrap();
    for index in 0..signature.len() {
        let mut flipped = signature.clone();
        flipped[index] ^= 1;
        assert_eq!(refusal(&format!("{input}.{}", encode(flipped)), &keys()), "Signature", "{index}");
    }
}

#[test]
fn no_header_but_that_of_a_receipt_is_taken() {
    for (header, wanted) in [
        (HEADER.replace("EdDSA", "none"), "Algorithm"),
        (HEADER.replace("EdDSA", "None"), "Algorithm"),
        (HEADER.replace("EdDSA", "eddsa"), "Algorithm"),
        (HEADER.replace("EdDSA", "Ed25519"), "Algorithm"),
        (HEADER.replace("EdDSA", "ES256K"), "Algorithm"),
        (HEADER.replace("EdDSA", "HS256"), "Algorithm"),
        (HEADER.replace("quittance-receipt+jws", "JWT"), "Type"),
        (HEADER.replace("quittance-receipt+jws", "application/quittance-receipt+jws"), "Type"),
        (HEADER.replace(r#","typ":"quittance-receipt+jws""#, ""), "Header"),
        (HEADER.replace(&format!(r#""kid":"{KID}","#), ""), "Header"),
        (HEADER.replace(r#""alg":"EdDSA","#, ""), "Header"),
        (HEADER.replace(r#""alg":"EdDSA""#, r#""alg":"none","alg":"EdDSA""#), "Header"),
        (HEADER.replace(r#""alg":"EdDSA""#, r#""alg":"EdDSA","alg":"EdDSA""#), "Header"),
        (HEADER.replace(r#""alg":"EdDSA""#, r#""alg":"EdDSA","\u0061lg":"EdDSA""#), "Header"),
        (HEADER.replace('}', r#","jku":"https://keys.example/jwks.json"}"#), "Header"),
        (HEADER.replace('}', r#","x5u":"https://keys.example/cert.pem"}"#), "Header"),
        (HEADER.replace('}', r#","jwk":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg"}}"#), "Header"),
        (HEADER.replace('}', r#","crit":["b64"],"b64":false}"#), "Header"),
        (HEADER.replace(&format!("\"{KID}\""), "null"), "Header"),
        (HEADER.replace(&format!("\"{KID}\""), "7"), "Header"),
        (String::new(), "Header"),
        ("[]".to_owned(), "Header"),
        (format!("{HEADER}{HEADER}"), "Header"),
        (format!(r#"["EdDSA","{KID}","quittance-receipt+jws"]"#), "HeaderNotCanonical"),
        (format!("{HEADER} "), "HeaderNotCanonical"),
        (HEADER.replace(':', ": "), "HeaderNotCanonical"),
        (HEADER.replace("EdDSA", r"Ed\u0044SA"), "HeaderNotCanonical"),
        (format!(r#"{{"kid":"{KID}","alg":"EdDSA","typ":"quittance-receipt+jws"}}"#), "HeaderNotCanonical"),
        (HEADER.replace(KID, ""), "UnknownKey"),
        (HEADER.replace(KID, "../../x"), "UnknownKey"),
        (HEADER.replace(KID, "https://keys.example/k"), "UnknownKey"),
        (HEADER.replace(KID, &format!("did:web:pay.example.com#{KID}")), "UnknownKey"),
        (HEADER.replace(KID, &KID.to_lowercase()), "UnknownKey"),
        (HEADER.replace(KID, &format!("{KID} ")), "UnknownKey"),
        // The key for typed data is in the set, and signs no JWS.
        (HEADER.replace(KID, "23rCrcAaBl31JS7oIBVDW_M0OztvUfTzU-6czKL6Xho"), "UnknownKey"),
    ] {
        assert_eq!(refusal(&signed(&header, CANONICAL), &keys()), wanted, "{header}");
    }
}

#[test]
fn a_jws_without_signature_is_refused_whatever_its_algorithm() {
    for header in [HEADER.to_owned(), HEADER.replace("EdDSA", "none")] {
        assert_eq!(refusal(&format!("{}.{}.", encode(&header), encode(CANONICAL)), &keys()), "Form");
    }
}

/// HMAC with SHA-256 (RFC 2104), for keys of up to 64 bytes.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

#[test]
fn the_public_key_is_no_secret_of_an_hmac() {
    // RFC 4231, case 2.
    let known = hmac(b"Jefe", b"what do ya want for nothing?");
    assert_eq!(known[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    let public = rfc_8037_key().verifying_key().to_bytes();
    for header in [HEADER.replace("EdDSA", "HS256"), HEADER.to_owned()] {
        let input = format!("{}.{}", encode(&header), encode(CANONICAL));
        let mac = hmac(&public, input.as_bytes());
        let wanted = if header == HEADER { "Signature" } else { "Algorithm" };
        assert_eq!(refusal(&format!("{input}.{}", encode([mac.clone(), mac].concat())), &keys()), wanted);
    }
}

#[test]
fn another_key_under_the_same_name_is_refused() {
    let stranger = SigningKey::from_bytes(&[7; 32]);

    assert_eq!(refusal(&compact(HEADER, CANONICAL, &stranger), &keys()), "Signature");
}

#[test]
fn a_signature_over_the_bare_claims_is_refused() {
    let signature = encode(rfc_8037_key().sign(CANONICAL.as_bytes()).to_bytes());

    assert_eq!(refusal(&format!("{}.{}.{signature}", encode(HEADER), encode(CANONICAL)), &keys()), "Signature");
}

#[test]
fn what_stands_around_a_receipt_is_refused() {
    let receipt = signed(HEADER, CANONICAL);
    for around in [
        format!("{receipt}\n"),
        format!("{receipt} "),
        format!(" {receipt}"),
        format!("\u{feff}{receipt}"),
        format!("{receipt}="),
        format!("{receipt}."),
        format!("{receipt}.{receipt}"),
        receipt.replacen('.', ".\n", 1),
        receipt.replacen('.', "=.", 1),
        receipt.replacen('.', ":", 1),
        String::new(),
    ] {
        assert_eq!(refusal(&around, &keys()), "Form", "{around}");
    }
    let typed = typed().to_string();
    assert_eq!(refusal(&format!("{typed}x"), &keys()), "Typed");
    assert_eq!(refusal(&format!(" {typed}"), &keys()), "Form");
}

#[test]
fn claims_in_another_form_are_refused_though_they_are_signed() {
    let other_order = CANONICAL.replacen('{', r#"{"version":1,"#, 1).replace(r#","version":1}"#, "}");
    for payload in [
        other_order,
        format!("{CANONICAL} "),
        CANONICAL.replace(r#""index":7"#, r#""index":7,"index":7"#),
        CANONICAL.replace(r#""index":7"#, r#""index":7,"extra":7"#),
        CANONICAL.replace(r#""index":7,"#, ""),
        CANONICAL.replace(r#""version":1"#, r#""version":2"#),
        "{}".to_owned(),
        String::new(),
    ] {
        assert_eq!(refusal(&signed(HEADER, &payload), &keys()), "Claims", "{payload}");
    }
}

#[test]
fn typed_data_in_another_form_is_refused() {
    let text = typed().to_string();
    let golden = typed();
    let signature = golden["signature"].as_str().unwrap();
    for (changed, wanted) in [
        (text.replace(r#""format":"eip712""#, r#""format":"jws""#), "Format"),
        (text.replace(r#""format":"eip712""#, r#""format":"eip712","format":"eip712""#), "Typed"),
        (text.replace(r#""format":"eip712""#, r#""domain":{},"format":"eip712""#), "Typed"),
        (text.replace(r#""format":"eip712","#, ""), "Typed"),
        (text.replace(r#""index":7"#, r#""index":7,"index":7"#), "Typed"),
        (text.replace(signature, &signature[..130]), "SignatureForm"),
        (text.replace(signature, &format!("{}1f", &signature[..130])), "Signature"),
        (text.replace(signature, &format!("{}1b", &signature[..130])), "UnknownKey"),
    ] {
        assert_ne!(changed, text);
        assert_eq!(refusal(&changed, &keys()), wanted, "{changed}");
    }
}

#[test]
fn a_receipt_of_another_issuer_is_refused_where_one_is_expected() {
    let receipt = signed(HEADER, CANONICAL);
    for other in ["https://pay.example.com/", "http://pay.example.com", "https://pay.example", ""] {
        let refused = verify(&receipt, &keys(), Some(other)).unwrap_err();
        assert!(matches!(&refused, ReceiptError::OtherIssuer(issuer) if issuer == ISSUER), "{refused:?}");
        assert!(matches!(verify(&typed().to_string(), &keys(), Some(other)), Err(ReceiptError::OtherIssuer(_))));
    }
}

#[test]
fn a_key_signs_only_in_its_time_and_what_it_signed_holds_for_ever() {
    for receipt in [signed(HEADER, CANONICAL), typed().to_string()] {
        assert!(verify(&receipt, &keys_within(ISSUED_AT, ISSUED_AT), None).is_ok());
        assert!(verify(&receipt, &keys_within(ISSUED_AT - 9, ISSUED_AT + 9), None).is_ok());
        assert_eq!(refusal(&receipt, &keys_within(ISSUED_AT + 1, ISSUED_AT + 2)), "BeforeKey");
        assert_eq!(refusal(&receipt, &keys_within(ISSUED_AT - 2, ISSUED_AT - 1)), "AfterRetirement");
    }
}

#[test]
fn keys_of_a_stranger_verify_nothing() {
    let strangers = Keyring::generate(DateTime::from_timestamp(0, 0).unwrap()).unwrap().public();

    assert_eq!(refusal(&signed(HEADER, CANONICAL), &strangers), "UnknownKey");
    assert_eq!(refusal(&typed().to_string(), &strangers), "UnknownKey");
}

#[test]
fn a_published_set_verifies_as_the_ring_does() {
    let published = serde_json::to_string(&keys_within(ISSUED_AT - 9, ISSUED_AT).jwks()).unwrap();
    let read = KeySet::parse(&published).unwrap();

    assert_eq!(verify(&signed(HEADER, CANONICAL), &read, Some(ISSUER)).unwrap(), claims());
    assert_eq!(verify(&typed().to_string(), &read, Some(ISSUER)).unwrap(), claims());
}
