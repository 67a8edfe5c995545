//! Golden vectors: what other implementations computed, and what other people signed and published.

use alloy::primitives::{Address as EvmAddress, B256, Bytes, hex, keccak256};
use alloy::signers::local::PrivateKeySigner;
use quittance::chain::evm::exact::{Authorization, signature};
use quittance::domain::address::Address;
use quittance::domain::asset::{Asset, AssetKind, SigningDomain, known};
use quittance::domain::network::{Family, Network};
use quittance::domain::payment::AuthorizationKey;
use quittance::x402::exact_evm::Eip3009Payload;
use serde_json::{Value, json};

use super::{fixtures, report};
use crate::support::typed::{self, Fields, Kind};

/// The authorization of tests/vectors/x402, made anew with viem by the first key of the mnemonic that test chains share
/// ("test test … junk").
const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const DIGEST: &str = "0x50708d3bf7216e1aeabe7bf22081b9f36c7c287530f92510318f13a03d89dc86";
const SIGNATURE: &str = "0xdc53a4a579de989368a0fae2ef2172ff2f474b4297013f865d171239f17ef4c3157b4b4030f1bebc53d55ace15c2377dff501a60e1e56c291f1000d6e78f082f1b";

fn network() -> Network {
    "eip155:84532".parse().expect("a network")
}

fn asset() -> Asset {
    known(&network()).remove(0)
}

fn payload(signature: &str) -> Value {
    json!({
        "signature": signature,
        "authorization": {
            "from": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "to": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C", "value": "10000",
            "validAfter": "1740672089", "validBefore": "1740672154",
            "nonce": "0xf3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480",
        },
    })
}

fn authorization(signature: &str) -> Authorization {
    let message = Eip3009Payload::parse(&payload(signature)).expect("it is well formed");
    Authorization::new(asset().address, signature::separator(&asset(), 84532).expect("it has a domain"), message)
        .expect("it can be taken apart")
}

#[test]
fn the_digest_and_the_signature_that_viem_made_are_ours_too() {
    let message = Eip3009Payload::parse(&payload(SIGNATURE)).expect("it is well formed");
    let digest = signature::digest(signature::separator(&asset(), 84532).expect("it has a domain"), &message);
    assert_eq!(digest.to_string(), DIGEST);
    // What the tests sign with is the same thing, so a payment of theirs is what viem would have made (RFC 6979).
    let world = json!({
        "usdcName": "USDC", "usdcVersion": "2", "chainId": 84532, "usdc": asset().address.to_string(),
    });
    let fields = Fields::of(&payload(SIGNATURE));
    assert_eq!(fields.digest(Kind::TransferWithAuthorization, &typed::usdc_domain(&world)).to_string(), DIGEST);
    let key: PrivateKeySigner = KEY.parse().expect("a key");
    assert_eq!(hex::encode_prefixed(typed::sign(&key, digest)), SIGNATURE);
    for kind in [Kind::ReceiveWithAuthorization, Kind::CancelAuthorization, Kind::Permit] {
        assert_ne!(fields.digest(kind, &typed::usdc_domain(&world)).to_string(), DIGEST, "{kind:?}");
    }
    report("golden", "the digest and the signature that viem made are ours too");
}

#[test]
fn an_ordinary_signature_goes_to_the_function_of_parts_and_any_other_to_the_function_of_bytes() {
    let plain = authorization(SIGNATURE).transfer_call();
    assert_eq!((hex::encode_prefixed(&plain[..4]), plain.len()), ("0xe3ee160e".to_owned(), 4 + 9 * 32));
    let word = |index: usize| B256::from_slice(&plain[4 + index * 32..4 + (index + 1) * 32]);
    let signature = hex::decode(SIGNATURE).expect("hexadecimal");
    assert_eq!((word(6)[31], &word(7)[..], &word(8)[..]), (27, &signature[..32], &signature[32..64]));
    assert_eq!(word(2), B256::left_padding_from(&10_000_u64.to_be_bytes()));

    for other in [format!("{}1c", &SIGNATURE[..130]), format!("{SIGNATURE}00"), "0x1234".to_owned()] {
        let call = authorization(&other).transfer_call();
        assert_eq!(hex::encode_prefixed(&call[..4]), "0xcf092995", "{other}");
        let bytes = hex::decode(&other).expect("hexadecimal");
        assert_eq!(&call[4 + 8 * 32..][..bytes.len()], &bytes[..], "a wallet's signature goes through unchanged");
    }
    let names = [
        ("transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)", "0xe3ee160e"),
        ("transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)", "0xcf092995"),
    ];
    for (name, selector) in names {
        assert_eq!(hex::encode_prefixed(&keccak256(name)[..4]), selector);
    }
}

#[test]
fn what_a_payment_uses_up_does_not_depend_on_how_it_was_signed() {
    let key = authorization(SIGNATURE).key();
    let expected = format!(
        "036cbd53842c5426634e7929541ec2318f3dcf7e{}{}",
        "f39fd6e51aad88f6f4ce6ab8827279cfffb92266", "f3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480"
    );
    assert_eq!(key, AuthorizationKey(hex::decode(expected).expect("hexadecimal")));
    let wrapped = typed::wrap(EvmAddress::ZERO, &[], &hex::decode(SIGNATURE).expect("hexadecimal"));
    for twin in [format!("{}1c", &SIGNATURE[..130]), SIGNATURE[..130].to_owned(), hex::encode_prefixed(wrapped)] {
        assert_eq!(authorization(&twin).key(), key, "{twin}");
    }
}

#[test]
fn a_wrapper_as_the_standard_writes_it_is_taken_apart() {
    let word = |digits: &str| format!("{digits:0>64}");
    let text = [
        word("0ba5ed0c6aa8c49038f819e587e2633c4a9f428a"),
        word("60"),
        word("a0"),
        word("2"),
        format!("{:0<64}", "1234"),
        word("2"),
        format!("{:0<64}", "abcd"),
        "6492".repeat(16),
    ]
    .concat();
    let factory: EvmAddress = "0x0BA5ED0c6AA8c49038F819E587E2633c4A9F428a".parse().expect("an address");
    assert_eq!(hex::encode(typed::wrap(factory, &[0x12, 0x34], &[0xab, 0xcd])), text);

    let (inner, deployment) = signature::unwrap(&hex::decode(text).expect("hexadecimal")).expect("it is well formed");
    let expected = signature::Deployment { factory, calldata: Bytes::from_static(&[0x12, 0x34]) };
    assert_eq!((inner, deployment), (Bytes::from_static(&[0xab, 0xcd]), Some(expected)));
}

/// Signatures that others published, in `QUITTANCE_FIXTURES`.
#[test]
fn published_signatures_recover_to_their_payers() {
    let Some(folder) = fixtures() else { return };
    let file = folder.join("x402/eip3009-real-signatures.json");
    let document: Value = serde_json::from_slice(&std::fs::read(file).expect("the fixture is readable")).expect("it is JSON");
    let vectors = document["vectors"].as_array().expect("a list");
    assert!(!vectors.is_empty());
    for vector in vectors {
        let name = &vector["name"];
        let domain = &vector["domain"];
        let text = |member: &str| domain[member].as_str().expect("a text").to_owned();
        let chain_id = domain["chainId"].as_u64().expect("a number");
        let asset = Asset {
            network: format!("eip155:{chain_id}").parse().expect("a network"),
            address: Address::parse(Family::Eip155, &text("verifyingContract").to_lowercase()).expect("an address"),
            symbol: String::new(),
            decimals: 6,
            kind: AssetKind::Eip3009(SigningDomain { name: text("name"), version: text("version") }),
        };
        let payload = json!({"signature": vector["signature"], "authorization": vector["authorization"]});
        let message = Eip3009Payload::parse(&payload).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let digest = signature::digest(signature::separator(&asset, chain_id).expect("it has a domain"), &message);
        let plain = signature::plain(&message.signature, digest, message.from);
        assert_eq!(plain.is_some(), vector["recovered_equals_from"] == true, "{name}");
    }
    report("golden published", &format!("{} published signatures judged as published", vectors.len()));
}
