//! What the real clients build (tests/vectors/svm).

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::*;
use crate::x402::request::parse_request;

#[derive(Deserialize)]
struct Vector {
    name: String,
    request: Value,
    decoded: Decoded,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Decoded {
    message_sha256: String,
    payer: String,
    fee_payer: String,
    amount: String,
    mint: String,
    token_program: String,
    source: String,
    destination: String,
    memo: Option<String>,
    compute_unit_limit: u32,
    compute_unit_price: String,
    blockhash: String,
    instructions: usize,
}

/// USDC of devnet, and the token of Token-2022 of the local node.
fn assets() -> [Asset; 2] {
    let other = decode_base58("DmuvnbY9pPpam8VVJtQyYGnsR8PtoXAyV7RtRfdzUUk3").unwrap();
    [asset(), Asset { address: Address::Solana(other), kind: AssetKind::Spl(TokenProgram::Token2022), ..asset() }]
}

#[test]
fn what_real_clients_build_is_taken_for_what_it_is() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../../../../../tests/vectors/svm/accepted.json")).unwrap();
    assert!(vectors.len() > 10);
    for Vector { name, request, decoded } in vectors {
        let request = parse_request(request.to_string().as_bytes()).unwrap().request;
        let asset = assets().into_iter().find(|asset| asset.address == request.asset).expect(&name);
        let examined = examine(request, &asset, &[public(FEE_PAYER), public(7)], &LIMITS, DateTime::UNIX_EPOCH);
        let examined = examined.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let Authorization { transaction, budget, transfer } = Authorization::read(&examined.payload).expect(&name);

        let text = |key: &Key| encode_base58(key);
        assert_eq!(STANDARD.encode(&examined.key.0), decoded.message_sha256, "{name}");
        assert_eq!(examined.key.0, Sha256::digest(transaction.message()).as_slice(), "{name}");
        assert_eq!((examined.payer.to_string(), text(&transfer.authority)), (decoded.payer.clone(), decoded.payer), "{name}");
        assert_eq!(text(transaction.fee_payer()), decoded.fee_payer, "{name}");
        assert_eq!((transfer.amount.to_string(), text(&transfer.mint)), (decoded.amount, decoded.mint), "{name}");
        assert_eq!((text(&transfer.source), text(&transfer.destination)), (decoded.source, decoded.destination), "{name}");
        assert_eq!(
            (budget.units, budget.unit_price.to_string()),
            (decoded.compute_unit_limit, decoded.compute_unit_price),
            "{name}"
        );
        assert_eq!(text(transaction.recent_blockhash()), decoded.blockhash, "{name}");
        let instructions = transaction.instructions();
        assert_eq!((instructions.len(), text(&instructions[2].program)), (decoded.instructions, decoded.token_program), "{name}");
        let memo = instructions.iter().find(|instruction| instruction.program == MEMO);
        assert_eq!(memo.map(|memo| memo.data.clone()), decoded.memo.map(String::into_bytes), "{name}");
    }
}
