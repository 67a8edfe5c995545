//! Transactions that are payments, and those that nearly are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;

use super::*;
use crate::chain::solana::associated;
use crate::chain::solana::message::{DecodeError, Instruction, SignatureBytes};
use crate::chain::solana::programs::{ASSOCIATED_TOKEN, COMPUTE_BUDGET, LIGHTHOUSE, MEMO, SYSTEM, TOKEN, TOKEN_2022};
use crate::domain::address::{decode_base58, encode_base58};
use crate::domain::amount::Amount;
use crate::domain::asset::{AssetKind, known};
use crate::domain::payment::SCHEME_EXACT;

mod vectors;

/// Accounts are named by the byte that fills their secret key.
pub(crate) const PAYER: u8 = 2;
pub(crate) const FEE_PAYER: u8 = 3;
pub(crate) const PAY_TO: u8 = 4;
const LIMITS: Limits = Limits { units_max: 200_000, unit_price_max: 1_000_000, fee_max: 100_000 };

/// A signer of ours that does not pay for this transaction.
const OTHER_SIGNER: u8 = 9;

/// Made with `@x402/svm` 2.27 and `@solana/kit`: 10,000 of devnet USDC, signed by the payer.
const GOLDEN: &str = "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACa0U9GO1155Eg1MDXGi4InRn6V9ktJs1PtLzjleJdKxPS6GTOA/eNxCpr/GFcNh5c/CFEIf+8vN4IKWsz445sEgAIBBAjtSSjGKNHCxurpAziQWZVhKVknOlxj+TY2wUYUrIc30YE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU7a8bnBYfbWmKRrmweAmkoY2/U8QytqJL8bEIg/zLIpj3j/v6j+jfTMORXJLD7QwIJeLu9vRSRWAEZNIbv6BHJDtELLORIVfxOpM9ATQoLQMrX/7NAaLb8bd5BgjfAC6nAwZGb+UhFzL/7K26csOb57yM5bvF9xJrLEObOkAAAAAFSlNamSkhBk0k6HFg2jh8fDW13bySu4HkH6hAQQVEjQbd9uHXZaGT2cvhRs7reawctIXtX1s3kTqM9YV+/wCpzEkOkozS44c7s0P8ldozF5ymD02/RsLDbpEpnVXU5rkEBQAFAiBOAAAFAAkDAQAAAAAAAAAHBAIEAwEKDBAnAAAAAAAABgYAIDAwMTEyMjMzNDQ1NTY2Nzc4ODk5YWFiYmNjZGRlZWZmAA==";

const MEMO_TEXT: &str = "00112233445566778899aabbccddeeff";

/// Where the golden transaction's parts begin: behind the number of signatures, the fee payer's and the payer's.
const PAYER_SIGNATURE: usize = 65;
const MESSAGE: usize = 129;
const KEYS: usize = MESSAGE + 5;
const INSTRUCTIONS: usize = KEYS + 8 * 32 + 32;
const TRANSFER: usize = INSTRUCTIONS + 21;

fn secret(name: u8) -> SigningKey {
    SigningKey::from_bytes(&[name; 32])
}

pub(crate) fn public(name: u8) -> Key {
    secret(name).verifying_key().to_bytes()
}

fn golden() -> Vec<u8> {
    STANDARD.decode(GOLDEN).unwrap()
}

fn asset() -> Asset {
    known(&"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1".parse().unwrap()).remove(0)
}

fn mint() -> Key {
    decode_base58("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU").unwrap()
}

fn account(name: u8) -> Key {
    associated::account(&public(name), &mint(), TokenProgram::Token).unwrap()
}

fn payload(wire: &[u8]) -> Value {
    TransactionPayload { transaction: wire.to_vec() }.to_json()
}

pub(crate) fn request() -> PaymentRequest {
    PaymentRequest {
        version: Version::V2,
        scheme: SCHEME_EXACT.to_owned(),
        network: asset().network,
        asset: asset().address,
        pay_to: Address::Solana(public(PAY_TO)),
        amount: Amount::new(10_000),
        timeout_seconds: 60,
        resource: None,
        invoice: None,
        domain_name: None,
        domain_version: None,
        fee_payer: Some(encode_base58(&public(FEE_PAYER))),
        memo: None,
        answer_at: None,
        accepted_scheme: SCHEME_EXACT.to_owned(),
        accepted_network: true,
        gas_sponsoring: None,
        named: crate::domain::attribution::Named::default(),
        payload: payload(&golden()),
    }
}

fn examine_request(request: PaymentRequest) -> Result<ExaminedPayment, Refusal> {
    let signers = [public(OTHER_SIGNER), public(FEE_PAYER)];
    examine(request, &asset(), &signers, &LIMITS, DateTime::UNIX_EPOCH)
}

fn examined(wire: &[u8]) -> Result<ExaminedPayment, Reason> {
    examine_request(PaymentRequest { payload: payload(wire), ..request() }).map_err(|refusal| refusal.reason)
}

/// A transaction to be: the golden one, unless something is changed.
#[derive(Debug, Clone)]
struct Draft {
    version: Option<u8>,
    fee_payer: Key,
    cosigners: Vec<u8>,
    instructions: Vec<Instruction>,
    /// Lookup tables, out of each of which one account is taken.
    tables: usize,
}

impl Draft {
    fn golden() -> Self {
        let instructions = Transaction::decode(&golden()).unwrap().instructions().to_vec();
        Self { version: Some(0), fee_payer: public(FEE_PAYER), cosigners: vec![PAYER], instructions, tables: 0 }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut draft = Self::golden();
        change(&mut draft);
        draft
    }

    /// The golden transaction with other instructions behind the transfer.
    fn followed_by(optional: impl IntoIterator<Item = Instruction>) -> Self {
        Self::with(|draft| {
            draft.instructions.truncate(3);
            draft.instructions.extend(optional);
        })
    }

    fn message(&self) -> Vec<u8> {
        let mut keys = vec![self.fee_payer];
        keys.extend(self.cosigners.iter().map(|name| public(*name)));
        let named = self.instructions.iter().flat_map(|instruction| instruction.accounts.iter().chain([&instruction.program]));
        for key in named {
            if !keys.contains(key) {
                keys.push(*key);
            }
        }
        let index = |key: &Key| u8::try_from(keys.iter().position(|other| other == key).unwrap()).unwrap();
        let mut message: Vec<u8> = self.version.iter().map(|version| 0x80 | version).collect();
        message.extend([u8::try_from(1 + self.cosigners.len()).unwrap(), 0, 0]);
        message.extend(length(keys.len()));
        message.extend(keys.iter().flatten());
        message.extend([7; 32]);
        message.extend(length(self.instructions.len()));
        for Instruction { program, accounts, data } in &self.instructions {
            message.push(index(program));
            message.extend(length(accounts.len()));
            message.extend(accounts.iter().map(index));
            message.extend(length(data.len()));
            message.extend(data);
        }
        if self.version.is_some() {
            message.extend(length(self.tables));
            message.extend((0..self.tables).flat_map(|_| table(1)));
        }
        message
    }

    fn wire(&self) -> Vec<u8> {
        self.signed(&self.message())
    }

    fn signed(&self, message: &[u8]) -> Vec<u8> {
        let mut wire = length(1 + self.cosigners.len());
        wire.extend([0; 64]);
        wire.extend(self.cosigners.iter().flat_map(|name| secret(*name).sign(message).to_bytes()));
        wire.extend(message);
        wire
    }

    fn examined(&self) -> Result<ExaminedPayment, Reason> {
        examined(&self.wire())
    }

    fn refused(&self) -> Option<Reason> {
        self.examined().err()
    }
}

/// A length as the wire has it.
fn length(length: usize) -> Vec<u8> {
    let low = u8::try_from(length & 0x7f).unwrap();
    if length < 0x80 { vec![low] } else { vec![low | 0x80, u8::try_from(length >> 7).unwrap()] }
}

/// A lookup table, out of which so many accounts are taken to be written to.
fn table(accounts: usize) -> Vec<u8> {
    [vec![8; 32], length(accounts), vec![0; accounts], length(0)].concat()
}

fn instruction(program: Key, accounts: &[Key], data: &[u8]) -> Instruction {
    Instruction { program, accounts: accounts.to_vec(), data: data.to_vec() }
}

fn memo(text: &[u8]) -> Instruction {
    instruction(MEMO, &[], text)
}

fn guard() -> Instruction {
    instruction(LIGHTHOUSE, &[public(PAYER)], &[6])
}

fn set_limit(units: u32) -> Instruction {
    instruction(COMPUTE_BUDGET, &[], &[&[2][..], &units.to_le_bytes()].concat())
}

fn set_price(price: u64) -> Instruction {
    instruction(COMPUTE_BUDGET, &[], &[&[3][..], &price.to_le_bytes()].concat())
}

fn transfer_of(amount: u64, decimals: u8) -> Vec<u8> {
    [&[12][..], &amount.to_le_bytes(), &[decimals]].concat()
}

#[test]
fn the_golden_transaction_is_a_payment() {
    let payment = examined(&golden()).unwrap();

    assert_eq!(STANDARD.encode(&payment.key.0), "wx65RfCRVzCfYXjFTRaisYbNM/IaD87zi/aaPyxm7yY=");
    assert_eq!(payment.payer.to_string(), "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu");
    assert_eq!((payment.valid_after, payment.expires_at), (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + LANDS_WITHIN));
    assert_eq!(payment.payload, payload(&golden()));
    assert_eq!(payment.request, request());
    let v1 = PaymentRequest { version: Version::V1, ..request() };
    assert_eq!(examine_request(v1.clone()), Ok(ExaminedPayment { request: v1, ..payment }));
}

#[test]
fn the_golden_transaction_is_taken_apart() {
    let authorization = Authorization::read(&payload(&golden())).unwrap();

    assert_eq!(authorization.budget, Budget { units: 20_000, unit_price: 1 });
    assert_eq!(authorization.fee(), 10_001);
    let expected = Transfer {
        program: TokenProgram::Token,
        source: decode_base58("GzpVTWkyGGfBXRaprnrhV3JtGj3TT52z5w2CrEJsTfjm").unwrap(),
        mint: mint(),
        destination: decode_base58("HfP3RZibPCj2EdqEyR7mSkKYSUzFPKsbRrMoR4i1mbmd").unwrap(),
        authority: public(PAYER),
        amount: 10_000,
        decimals: 6,
    };
    assert_eq!(authorization.transfer, expected);
    let transaction = authorization.transaction;
    assert_eq!((transaction.fee_payer(), transaction.signatures()), (&public(FEE_PAYER), 2));
    assert_eq!(encode_base58(transaction.recent_blockhash()), "EkSnNWid2cvwEVnVx9aBqawnmiCNiDgp3gUdkDPTKN1N");
    assert_eq!(transaction.message(), &golden()[MESSAGE..]);
    assert_eq!(transaction.instructions()[3], memo(MEMO_TEXT.as_bytes()));
}

#[test]
fn our_signature_goes_first_and_names_the_transaction() {
    let transaction = Transaction::decode(&golden()).unwrap();
    let signature = secret(FEE_PAYER).sign(transaction.message()).to_bytes();

    let signed = transaction.signed(&signature).unwrap();

    assert_eq!(signed.id, encode_base58(&signature));
    assert_eq!(signed.wire[1..PAYER_SIGNATURE], signature);
    assert_eq!(Transaction::decode(&signed.wire), Ok(transaction.clone()));
    assert_eq!(transaction.unsigned(), golden());
    for wrong in [[0; 64], secret(PAYER).sign(transaction.message()).to_bytes(), secret(FEE_PAYER).sign(b"other").to_bytes()] {
        assert!(transaction.signed(&wrong).is_err());
    }
}

#[test]
fn what_stands_in_our_place_neither_counts_nor_stays() {
    // Row 80: a hundred variants of one message are one payment.
    let plain = examined(&golden()).unwrap();
    for variant in 1..=100 {
        let mut wire = golden();
        wire[1..PAYER_SIGNATURE].fill(variant);
        let payment = examined(&wire).unwrap();
        assert_eq!((payment.key, payment.payload), (plain.key.clone(), plain.payload.clone()));
    }
}

#[test]
fn no_changed_bit_makes_another_payment() {
    let golden = golden();
    for (index, bit) in (0..golden.len()).flat_map(|index| (0..8).map(move |bit| (index, bit))) {
        let mut wire = golden.clone();
        wire[index] ^= 1 << bit;
        let ours = (1..PAYER_SIGNATURE).contains(&index);
        assert_eq!(examined(&wire).is_ok(), ours, "bit {bit} of byte {index}");
    }
}

#[test]
fn no_part_of_a_payment_is_one_and_nothing_follows_it() {
    let golden = golden();
    for end in 0..golden.len() {
        assert_eq!(examined(&golden[..end]), Err(Reason::TransactionUnreadable), "{end}");
        assert_eq!(examined(&golden[golden.len() - end..]), Err(Reason::TransactionUnreadable), "{end}");
    }
    for byte in 0..=u8::MAX {
        // Row 62.
        assert_eq!(examined(&[&golden[..], &[byte]].concat()), Err(Reason::TransactionUnreadable), "{byte}");
    }
}

#[test]
fn a_malformed_message_is_unreadable() {
    // Row 64.
    let at = |index: usize, byte: u8| {
        let mut wire = golden();
        wire[index] = byte;
        Transaction::decode(&wire).unwrap_err()
    };
    assert_eq!(at(TRANSFER, 255), DecodeError::Index);
    assert_eq!(at(TRANSFER, 8), DecodeError::Index);
    // The fee payer is no program.
    assert_eq!(at(TRANSFER, 0), DecodeError::Index);
    for account in TRANSFER + 2..TRANSFER + 6 {
        assert_eq!(at(account, 255), DecodeError::Index);
        assert_eq!(at(account, 8), DecodeError::Index);
    }
    for required in [0, 1, 3, 255] {
        assert_eq!(at(MESSAGE + 1, required), DecodeError::Header, "{required}");
    }
    // Somebody who signs must be able to pay.
    assert_eq!(at(MESSAGE + 2, 2), DecodeError::Header);
    assert_eq!(at(MESSAGE + 3, 7), DecodeError::Header);
    assert_eq!(at(KEYS - 1, 127), DecodeError::Truncated);
    // A length of two bytes that needs one.
    let mut padded = golden();
    padded.splice(KEYS - 1..KEYS, [0x88, 0x00]);
    assert_eq!(Transaction::decode(&padded), Err(DecodeError::Length));
    padded.splice(KEYS - 1..=KEYS, [0xff, 0xff, 0x7f]);
    assert_eq!(Transaction::decode(&padded), Err(DecodeError::Length));
    padded.splice(KEYS - 1..KEYS + 2, [0xff, 0xff, 0xff, 0x01]);
    assert_eq!(Transaction::decode(&padded), Err(DecodeError::Length));

    let mut twice = golden();
    twice.copy_within(KEYS..KEYS + 32, KEYS + 32);
    assert_eq!(Transaction::decode(&twice), Err(DecodeError::DuplicateKey));

    // No accounts at all, and no signatures, in either form.
    for wire in [&[0, 0, 0, 0, 0][..], &[0, 0x80, 0, 0, 0, 0]] {
        let empty = [wire, &[0; 32], &[0, 0][..wire.len() - 4]].concat();
        assert_eq!(Transaction::decode(&empty), Err(DecodeError::Header), "{empty:?}");
    }
    for error in [DecodeError::Index, DecodeError::Header, DecodeError::DuplicateKey, DecodeError::Length] {
        assert_eq!(Refusal::from(error).reason, Reason::TransactionUnreadable);
    }
}

#[test]
fn a_transaction_fits_into_a_packet() {
    // Row 63. A memo makes it as long as it may be.
    let long = |bytes: usize| {
        let rest = Draft::followed_by([memo(&[b'm'; 200])]).wire().len() - 200;
        Draft::followed_by([memo(&vec![b'm'; bytes - rest])]).wire()
    };
    assert_eq!((long(1232).len(), long(1233).len()), (1232, 1233));
    assert!(Transaction::decode(&long(1232)).is_ok());
    assert_eq!(Transaction::decode(&long(1233)), Err(DecodeError::TooLong));
    assert_eq!(examined(&long(1233)), Err(Reason::TransactionUnreadable));
    assert_eq!(examined(&[]), Err(Reason::TransactionUnreadable));
}

#[test]
fn two_forms_of_a_message_are_read() {
    // Row 65.
    for (version, expected) in [
        (None, None),
        (Some(0), None),
        (Some(1), Some(Reason::TransactionUnreadable)),
        (Some(127), Some(Reason::TransactionUnreadable)),
    ] {
        assert_eq!(Draft::with(|draft| draft.version = version).refused(), expected, "{version:?}");
    }
    let old = Draft::with(|draft| draft.version = None).wire();
    assert_eq!(Transaction::decode(&[&old[..], &[0]].concat()), Err(DecodeError::TrailingBytes));
}

#[test]
fn lookup_tables_are_not_taken() {
    // Row 66: one table, of which the first account can be written to. The transfer's source may come from it.
    let draft = Draft::with(|draft| draft.tables = 1);
    assert_eq!(draft.refused(), Some(Reason::LookupTables));
    let mut message = draft.message();
    message[TRANSFER + 2 - MESSAGE] = 8;
    assert_eq!(examined(&draft.signed(&message)), Err(Reason::LookupTables));
    assert_eq!(Reason::LookupTables.code_in(Version::V1), Reason::TransactionUnreadable.code());
    // Who signs is known without the tables, and judged before they are.
    assert_eq!(Draft::with(|draft| (draft.tables, draft.fee_payer) = (1, public(5))).refused(), Some(Reason::FeePayerMismatch));
    let mut unsigned = draft.wire();
    unsigned[PAYER_SIGNATURE] ^= 1;
    assert_eq!(examined(&unsigned), Err(Reason::PayerSignatureInvalid));
    assert_eq!(Transaction::decode(&unsigned), Err(DecodeError::LookupTables), "nothing that can be signed comes out of it");
}

#[test]
fn malformed_lookup_tables_are_unreadable() {
    // Row 66. Of eight accounts in the message and 248 out of tables a byte tells the last one apart.
    let golden = Draft::golden();
    let without = golden.message();
    let without = &without[..without.len() - 1];
    let decoded = |tables: &[u8]| Decoded::read(&golden.signed(&[without, tables].concat())).map(|_| ());
    let behind = |count: u8, tables: &[u8]| decoded(&[&[count][..], tables].concat());
    assert_eq!((decoded(&[0]), behind(1, &table(248))), (Ok(()), Ok(())));
    assert_eq!(behind(2, &[table(1), table(247)].concat()), Ok(()));
    for cut in 0..table(1).len() {
        assert_eq!(behind(1, &table(1)[..cut]), Err(DecodeError::Truncated), "{cut}");
    }
    assert_eq!(behind(2, &table(1)), Err(DecodeError::Truncated));
    assert_eq!(behind(1, &[table(1), vec![0]].concat()), Err(DecodeError::TrailingBytes));
    assert_eq!(behind(0, &table(1)), Err(DecodeError::TrailingBytes));
    assert_eq!(behind(1, &table(0)), Err(DecodeError::Tables));
    assert_eq!(behind(2, &[table(1), table(0)].concat()), Err(DecodeError::Tables));
    assert_eq!(behind(1, &table(249)), Err(DecodeError::Tables));
    assert_eq!(decoded(&[&[0x81, 0x00][..], &table(1)].concat()), Err(DecodeError::Length));
    for error in [DecodeError::Tables, DecodeError::Truncated] {
        assert_eq!(Refusal::from(error).reason, Reason::TransactionUnreadable);
    }

    // Accounts may come out of a table, as far as there are any; programs may not.
    let token = golden.message()[TRANSFER - MESSAGE];
    let indexes = |tables: usize, program: u8, account: u8| {
        let draft = Draft::with(|draft| draft.tables = tables);
        let mut message = draft.message();
        (message[TRANSFER - MESSAGE], message[TRANSFER + 2 - MESSAGE]) = (program, account);
        Decoded::read(&draft.signed(&message)).map(|_| ())
    };
    assert_eq!((indexes(1, token, 8), indexes(2, token, 9)), (Ok(()), Ok(())));
    for (tables, program, account) in [(0, token, 8), (1, token, 9), (1, 8, 1), (1, 0, 1)] {
        assert_eq!(indexes(tables, program, account), Err(DecodeError::Index), "{tables} {program} {account}");
    }
}

#[test]
fn the_payers_signature_must_be_the_payers() {
    // Row 67.
    let mut wire = golden();
    let other_key = secret(PAY_TO).sign(&wire[MESSAGE..]).to_bytes();
    let other_message = secret(PAYER).sign(b"something else").to_bytes();
    let mut small_order: SignatureBytes = [0; 64];
    small_order[0] = 1;
    for signature in [[0; 64], [0x5a; 64], [0xff; 64], other_key, other_message, small_order] {
        wire[PAYER_SIGNATURE..MESSAGE].copy_from_slice(&signature);
        assert_eq!(examined(&wire), Err(Reason::PayerSignatureInvalid));
    }
}

#[test]
fn the_fee_is_paid_by_the_account_that_was_asked_for() {
    // Row 68, with fee payers that are ours and that are not; and the payer in our place.
    for fee_payer in [OTHER_SIGNER, 5] {
        let draft = Draft::with(|draft| draft.fee_payer = public(fee_payer));
        assert_eq!(draft.refused(), Some(Reason::FeePayerMismatch));
    }
    let swapped = Draft::with(|draft| (draft.fee_payer, draft.cosigners) = (public(PAYER), vec![FEE_PAYER]));
    assert_eq!(swapped.refused(), Some(Reason::FeePayerMismatch));
    for (fee_payer, reason) in [(None, Reason::FeePayerMissing), (Some(public(5)), Reason::FeePayerNotManaged)] {
        let request = PaymentRequest { fee_payer: fee_payer.map(|key| encode_base58(&key)), ..request() };
        assert_eq!(examine_request(request).map_err(|refusal| refusal.reason), Err(reason));
    }
}

#[test]
fn two_signatures_are_enough() {
    // Row 69.
    assert_eq!(Draft::with(|draft| draft.cosigners.push(5)).refused(), Some(Reason::ExcessiveSigners));
    // Nobody but the fee payer signs, so nobody pays.
    assert_eq!(Draft::with(|draft| draft.cosigners.clear()).refused(), Some(Reason::PayerSignatureInvalid));
    // Somebody signs, and it is not the transfer's authority.
    assert_eq!(Draft::with(|draft| draft.cosigners = vec![5]).refused(), Some(Reason::PayerSignatureInvalid));
}

#[test]
fn our_money_is_not_moved() {
    // Row 70.
    for ours in [FEE_PAYER, OTHER_SIGNER] {
        for (place, key) in [(3, public(ours)), (0, account(ours)), (0, public(ours))] {
            let draft = Draft::with(|draft| draft.instructions[2].accounts[place] = key);
            assert_eq!(draft.refused(), Some(Reason::FeePayerTransfers), "{place} {ours}");
        }
    }
}

#[test]
fn our_accounts_are_in_no_instruction() {
    // Row 71, at every place, for every signer; the last is how Lighthouse makes an account at somebody's cost.
    for ours in [FEE_PAYER, OTHER_SIGNER].map(public) {
        for place in 0..4 {
            let draft = Draft::with(|draft| draft.instructions[place].accounts.push(ours));
            assert_eq!(draft.refused(), Some(Reason::FeePayerIncluded), "{place}");
        }
        let creating = instruction(LIGHTHOUSE, &[LIGHTHOUSE, SYSTEM, ours, public(7)], &[0]);
        assert_eq!(Draft::followed_by([creating]).refused(), Some(Reason::FeePayerIncluded));
        assert_eq!(Draft::with(|draft| draft.instructions[2].accounts[2] = ours).refused(), Some(Reason::FeePayerIncluded));
    }
    let called = Draft::followed_by([instruction(public(OTHER_SIGNER), &[], &[])]);
    assert_eq!(called.refused(), Some(Reason::FeePayerIncluded));
}

#[test]
fn compute_is_limited_and_priced_within_bounds() {
    // Row 72.
    let budget = |first, second| {
        let draft = Draft::with(|draft| {
            draft.instructions[0] = first;
            draft.instructions[1] = second;
        });
        draft.refused()
    };
    let data = |data: &[u8]| instruction(COMPUTE_BUDGET, &[], data);
    for (first, second, expected) in [
        (set_limit(200_000), set_price(1), None),
        (set_limit(200_001), set_price(1), Some(Reason::ComputeLimitTooHigh)),
        (set_limit(1_400_000), set_price(1), Some(Reason::ComputeLimitTooHigh)),
        (set_limit(20_000), set_price(1_000_000), None),
        (set_limit(20_000), set_price(1_000_001), Some(Reason::ComputePriceTooHigh)),
        (set_limit(20_000), set_price(5_000_001), Some(Reason::ComputePriceTooHigh)),
        (set_limit(20_000), set_price(u64::MAX), Some(Reason::ComputePriceTooHigh)),
        // 10,000 lamports for two signatures leave 90,000.
        (set_limit(90_000), set_price(1_000_000), None),
        (set_limit(90_001), set_price(1_000_000), Some(Reason::CostExceedsLimit)),
        (set_price(1), set_limit(20_000), Some(Reason::ComputeLimit)),
        (set_limit(20_000), set_limit(20_000), Some(Reason::ComputePrice)),
        (set_price(1), set_price(1), Some(Reason::ComputeLimit)),
        (data(&[2, 0, 0, 0]), set_price(1), Some(Reason::ComputeLimit)),
        (data(&[2, 0, 0, 0, 0, 0]), set_price(1), Some(Reason::ComputeLimit)),
        (data(&[]), set_price(1), Some(Reason::ComputeLimit)),
        (data(&[1, 0, 0, 0, 0]), set_price(1), Some(Reason::ComputeLimit)),
        (memo(&[2, 0, 0, 0, 0]), set_price(1), Some(Reason::ComputeLimit)),
        (set_limit(1), data(&[3, 0, 0, 0, 0, 0, 0, 0]), Some(Reason::ComputePrice)),
        (set_limit(1), data(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Some(Reason::ComputePrice)),
        (set_limit(1), data(&[]), Some(Reason::ComputePrice)),
        (set_limit(1), data(&[4, 0, 0, 0, 0, 0, 0, 0, 0]), Some(Reason::ComputePrice)),
        (set_limit(1), memo(&[3, 0, 0, 0, 0, 0, 0, 0, 0]), Some(Reason::ComputePrice)),
    ] {
        assert_eq!(budget(first.clone(), second.clone()), expected, "{first:?} {second:?}");
    }
    // Without one of them the other instructions stand at other places.
    for (missing, expected) in [(0, Reason::ComputeLimit), (1, Reason::ComputePrice)] {
        assert_eq!(Draft::with(|draft| drop(draft.instructions.remove(missing))).refused(), Some(expected));
    }
    let third = Draft::followed_by([set_limit(20_000)]);
    assert_eq!(third.refused(), Some(Reason::UnknownFourthInstruction));
}

#[test]
fn only_a_checked_transfer_is_one() {
    // Row 73: Transfer, Approve, SetAuthority, MintTo, Burn, CloseAccount, ApproveChecked, BurnChecked, TransferCheckedWithFee.
    let with = |data: Vec<u8>| Draft::with(|draft| draft.instructions[2].data = data).refused();
    for opcode in [0, 3, 4, 6, 7, 8, 9, 13, 15, 26, 255] {
        let mut data = transfer_of(10_000, 6);
        data[0] = opcode;
        assert_eq!(with(data), Some(Reason::NoTransfer), "{opcode}");
    }
    for data in [
        vec![],
        vec![12],
        transfer_of(10_000, 6)[..9].to_vec(),
        [transfer_of(10_000, 6), vec![0]].concat(),
        [vec![26, 1], transfer_of(10_000, 6)[1..].to_vec(), vec![0; 8]].concat(),
    ] {
        assert_eq!(with(data.clone()), Some(Reason::NoTransfer), "{data:?}");
    }
    let accounts = Draft::with(|draft| draft.instructions[2].accounts.truncate(3));
    assert_eq!(accounts.refused(), Some(Reason::NoTransfer));
    for program in [SYSTEM, MEMO, COMPUTE_BUDGET, ASSOCIATED_TOKEN] {
        let draft = Draft::with(|draft| draft.instructions[2].program = program);
        assert_eq!(draft.refused(), Some(Reason::NoTransfer));
    }
}

#[test]
fn the_token_is_the_required_one() {
    // Row 74.
    let other_mint = Draft::with(|draft| draft.instructions[2].accounts[1] = public(8));
    assert_eq!(other_mint.refused(), Some(Reason::MintMismatch));
    let other_program = Draft::with(|draft| draft.instructions[2].program = TOKEN_2022);
    assert_eq!(other_program.refused(), Some(Reason::MintMismatch));
    for decimals in [5, 7] {
        let draft = Draft::with(|draft| draft.instructions[2].data = transfer_of(10_000, decimals));
        assert_eq!(draft.refused(), Some(Reason::MintMismatch));
    }
}

#[test]
fn a_token_of_the_other_program_is_paid_with_through_it() {
    let asset = Asset { kind: AssetKind::Spl(TokenProgram::Token2022), ..asset() };
    let held = |name| associated::account(&public(name), &mint(), TokenProgram::Token2022).unwrap();
    let paid = |program, destination| {
        let draft = Draft::with(|draft| {
            draft.instructions[2].program = program;
            draft.instructions[2].accounts[0] = held(PAYER);
            draft.instructions[2].accounts[2] = destination;
        });
        let request = PaymentRequest { payload: payload(&draft.wire()), ..request() };
        let signers = [public(FEE_PAYER)];
        let examined = examine(request, &asset, &signers, &LIMITS, DateTime::UNIX_EPOCH);
        examined.map(|payment| payment.payer).map_err(|refusal| refusal.reason)
    };

    assert_eq!(paid(TOKEN_2022, held(PAY_TO)), Ok(Address::Solana(public(PAYER))));
    assert_eq!(paid(TOKEN_2022, account(PAY_TO)), Err(Reason::DestinationMismatch));
    assert_eq!(paid(TOKEN, account(PAY_TO)), Err(Reason::MintMismatch));
}

#[test]
fn the_money_goes_to_the_recipients_own_account() {
    // Row 75: to the owner itself, to another token account, and to the account under the other program.
    let other_program = associated::account(&public(PAY_TO), &mint(), TokenProgram::Token2022).unwrap();
    for destination in [public(PAY_TO), public(8), account(PAYER), other_program] {
        let draft = Draft::with(|draft| draft.instructions[2].accounts[2] = destination);
        assert_eq!(draft.refused(), Some(Reason::DestinationMismatch));
    }
    // What the requirements call an owner is a token account.
    let request = PaymentRequest { pay_to: Address::Solana(account(PAY_TO)), ..request() };
    assert_eq!(examine_request(request).map_err(|refusal| refusal.reason), Err(Reason::DestinationMismatch));
}

#[test]
fn the_money_comes_from_the_payers_own_account() {
    // What is promised to payments under way is counted against one account of the payer's. It is not another account of the payer's,
    // nor one that somebody lent, the recipient's, or the one under the other program.
    let other_program = associated::account(&public(PAYER), &mint(), TokenProgram::Token2022).unwrap();
    for source in [public(8), account(5), account(PAY_TO), other_program, public(PAYER)] {
        let draft = Draft::with(|draft| draft.instructions[2].accounts[0] = source);
        assert_eq!(draft.refused(), Some(Reason::NoTransfer), "{}", encode_base58(&source));
    }
    let own = Draft::with(|draft| draft.instructions[2].accounts[0] = account(PAYER));
    assert_eq!(own.refused(), None);
}

#[test]
fn exact_means_exact() {
    // Row 76.
    for (amount, expected) in [
        (9_999, Some(Reason::AmountMismatch)),
        (10_000, None),
        (10_001, Some(Reason::AmountMismatch)),
        (0, Some(Reason::AmountMismatch)),
        (u64::MAX, Some(Reason::AmountMismatch)),
    ] {
        let draft = Draft::with(|draft| draft.instructions[2].data = transfer_of(amount, 6));
        assert_eq!(draft.refused(), expected, "{amount}");
    }
    let beyond = PaymentRequest { amount: Amount::new(10_000 + (1 << 64)), ..request() };
    assert_eq!(examine_request(beyond).map_err(|refusal| refusal.reason), Err(Reason::AmountMismatch));
}

#[test]
fn nothing_else_is_done() {
    // Row 77: the money back, lamports, an account, a durable nonce, anything.
    let back = Draft::golden().instructions[2].clone();
    let lamports = instruction(SYSTEM, &[public(PAYER), public(8)], &[2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    let create = instruction(ASSOCIATED_TOKEN, &[public(PAYER), account(PAY_TO), public(PAY_TO), mint(), SYSTEM, TOKEN], &[1]);
    let unknown = instruction(public(8), &[], &[]);
    for instruction in [&back, &lamports, &create, &unknown] {
        for (before, expected) in [
            (0, Reason::UnknownFourthInstruction),
            (1, Reason::UnknownFifthInstruction),
            (2, Reason::UnknownSixthInstruction),
            (3, Reason::UnknownSeventhInstruction),
        ] {
            let optional = std::iter::repeat_n(guard(), before).chain([instruction.clone()]);
            assert_eq!(Draft::followed_by(optional).refused(), Some(expected), "{before} {instruction:?}");
        }
    }
    let advance = instruction(SYSTEM, &[public(7), public(PAYER)], &[4, 0, 0, 0]);
    let nonce = Draft::with(|draft| draft.instructions.insert(0, advance));
    assert_eq!(nonce.refused(), Some(Reason::ComputeLimit));
    for (count, expected) in [(0, Reason::InstructionCount), (2, Reason::InstructionCount), (1, Reason::InstructionCount)] {
        assert_eq!(Draft::with(|draft| draft.instructions.truncate(count)).refused(), Some(expected), "{count}");
    }
}

#[test]
fn a_few_instructions_may_follow() {
    let followed = |optional: Vec<Instruction>, version| {
        let payload = payload(&Draft::followed_by(optional).wire());
        examine_request(PaymentRequest { version, payload, ..request() }).err().map(|refusal| refusal.reason)
    };
    let guards = |count| std::iter::repeat_n(guard(), count);
    for optional in 0..=3 {
        assert_eq!(followed(guards(optional).collect(), Version::V1), None, "{optional}");
    }
    let seven: Vec<_> = guards(3).chain([memo(b"m")]).collect();
    assert_eq!(followed(seven.clone(), Version::V2), None);
    assert_eq!(followed(seven.clone(), Version::V1), Some(Reason::InstructionCount));
    assert_eq!(followed([seven, vec![memo(b"m")]].concat(), Version::V2), Some(Reason::InstructionCount));
    assert_eq!(followed(guards(4).collect(), Version::V2), Some(Reason::UnknownOptionalInstruction));
}

#[test]
fn a_guard_only_compares_what_the_payer_has() {
    // A guard that fails on landing costs us the fee. The names are those of `LighthouseInstruction`.
    let guarded = |data: &[u8], accounts: &[Key]| Draft::followed_by([instruction(LIGHTHOUSE, accounts, data)]).refused();
    let own = [public(PAYER), account(PAYER)];
    for info_or_token_account in [5, 6, 9, 10] {
        for accounts in [&own[..1], &own[1..], &own] {
            assert_eq!(guarded(&[info_or_token_account, 4, 0], accounts), None, "{info_or_token_account}");
        }
    }
    for (group, opcodes) in [
        ("memory is written to or closed", vec![0, 1]),
        ("any bytes of any account", vec![2, 3, 4]),
        ("mints", vec![7, 8]),
        ("stakes and programs", vec![11, 12, 13, 14]),
        ("the clock", vec![15]),
        ("trees", vec![16, 17]),
        ("nobody knows", (18..=u8::MAX).collect()),
    ] {
        for opcode in opcodes {
            assert_eq!(guarded(&[opcode, 4, 0], &own[..1]), Some(Reason::UnknownFourthInstruction), "{group}: {opcode}");
        }
    }
    assert_eq!(guarded(&[], &own[..1]), Some(Reason::UnknownFourthInstruction));
    // The clock can be compared as an account, too, and what others hold changes without the payer.
    let sysvar_clock = decode_base58("SysvarC1ock11111111111111111111111111111111").unwrap();
    for stranger in [sysvar_clock, account(PAY_TO), mint(), public(PAY_TO), LIGHTHOUSE] {
        assert_eq!(guarded(&[6, 4, 0], &[stranger]), Some(Reason::UnknownFourthInstruction), "{}", encode_base58(&stranger));
        assert_eq!(guarded(&[9, 4, 0], &[own[1], stranger]), Some(Reason::UnknownFourthInstruction));
    }
    let fifth = Draft::followed_by([guard(), instruction(LIGHTHOUSE, &own[..1], &[15])]);
    assert_eq!(fifth.refused(), Some(Reason::UnknownFifthInstruction));
    let unknown_program = Draft::followed_by([instruction(LIGHTHOUSE, &own[..1], &[15]), instruction(public(8), &[], &[])]);
    assert_eq!(unknown_program.refused(), Some(Reason::UnknownFifthInstruction), "the reference's rule comes first");
}

#[test]
fn the_memo_is_the_required_one_byte_for_byte() {
    // Row 78. The replacement character is what a lossy reader makes of the bytes 0xff and 0xfe alike.
    let said = |memos: &[&[u8]], required: Option<&str>| {
        let payload = payload(&Draft::followed_by(memos.iter().map(|text| memo(text))).wire());
        let request = PaymentRequest { memo: required.map(str::to_owned), payload, ..request() };
        examine_request(request).err().map(|refusal| refusal.reason)
    };
    let long = "m".repeat(256);
    for (memos, required, expected) in [
        (&[&b"invoice 7"[..]][..], Some("invoice 7"), None),
        (&[], Some("invoice 7"), Some(Reason::MemoCount)),
        (&[b"invoice 7", b"invoice 7"], Some("invoice 7"), Some(Reason::MemoCount)),
        (&[b"invoice 7", b"other"], Some("invoice 7"), Some(Reason::MemoCount)),
        (&[b"invoice 8"], Some("invoice 7"), Some(Reason::MemoMismatch)),
        (&[b"invoice 7 "], Some("invoice 7"), Some(Reason::MemoMismatch)),
        (&[b""], Some("invoice 7"), Some(Reason::MemoMismatch)),
        (&["\u{fffd}".as_bytes()], Some("\u{fffd}"), None),
        (&[&[0xff]], Some("\u{fffd}"), Some(Reason::MemoMismatch)),
        (&[&[0xfe]], Some("\u{fffd}"), Some(Reason::MemoMismatch)),
        (&[long.as_bytes()], Some(long.as_str()), None),
        (&[long.as_bytes()], None, None),
        (&[&[b'm'; 257]], None, Some(Reason::MemoMismatch)),
        (&[b"one", b"two"], None, None),
        (&[], None, None),
        (&[b"any"], Some(""), None),
    ] {
        assert_eq!(said(memos, required), expected, "{memos:?} {required:?}");
    }
    assert_eq!(said(&[&[b'm'; 257]], Some(&"m".repeat(257))), Some(Reason::InvalidPaymentRequirements));
}

#[test]
fn only_this_token_of_this_network_is_paid_with() {
    let base = known(&"eip155:8453".parse().unwrap()).remove(0);
    let mainnet = known(&"solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp".parse().unwrap()).remove(0);
    for asset in [base, mainnet, Asset { address: Address::Solana(public(8)), ..asset() }] {
        let examined = examine(request(), &asset, &[public(FEE_PAYER)], &LIMITS, DateTime::UNIX_EPOCH);
        assert_eq!(examined.map_err(|refusal| refusal.reason), Err(Reason::UnsupportedAsset));
    }
}

#[test]
fn recipients_that_lose_money_are_refused() {
    for pay_to in [TOKEN, public(OTHER_SIGNER), public(PAYER)] {
        let request = PaymentRequest { pay_to: Address::Solana(pay_to), ..request() };
        assert_eq!(examine_request(request).map_err(|refusal| refusal.reason), Err(Reason::InvalidPaymentRequirements));
    }
}

#[test]
fn what_is_wrong_first_is_reported_first() {
    // Every step takes one fault away from a transaction that has them all, in the order of the rules.
    let mut wrong = PaymentRequest {
        accepted_scheme: "upto".to_owned(),
        accepted_network: false,
        fee_payer: None,
        memo: Some("asked".to_owned()),
        payload: payload(&[]),
        ..request()
    };
    let reason = |request: &PaymentRequest| examine_request(request.clone()).err().map(|refusal| refusal.reason);
    assert_eq!(reason(&wrong), Some(Reason::SolanaSchemeMismatch));
    wrong.accepted_scheme = SCHEME_EXACT.to_owned();
    assert_eq!(reason(&wrong), Some(Reason::SolanaNetworkMismatch));
    wrong.accepted_network = true;
    assert_eq!(reason(&wrong), Some(Reason::FeePayerMissing));
    wrong.fee_payer = request().fee_payer;
    assert_eq!(reason(&wrong), Some(Reason::TransactionUnreadable));

    let mut draft = Draft::golden();
    draft.fee_payer = public(5);
    draft.instructions[0] = memo(b"");
    draft.instructions[1] = memo(b"");
    draft.instructions[2].data = transfer_of(1, 6);
    draft.instructions[2].accounts = vec![account(FEE_PAYER), public(8), public(8), public(PAYER)];
    draft.instructions[3] = instruction(public(8), &[public(FEE_PAYER)], &[]);
    draft.instructions.extend([draft.instructions[3].clone(), guard(), guard(), guard()]);
    draft.tables = 1;
    let mut is_signed = false;
    let mut step = |change: &dyn Fn(&mut Draft, &mut bool), expected| {
        change(&mut draft, &mut is_signed);
        let mut wire = draft.wire();
        if !is_signed {
            wire[PAYER_SIGNATURE] ^= 1;
        }
        wrong.payload = payload(&wire);
        assert_eq!(reason(&wrong), expected);
    };
    step(&|_, _| (), Some(Reason::FeePayerMismatch));
    step(&|draft, _| draft.fee_payer = public(FEE_PAYER), Some(Reason::PayerSignatureInvalid));
    step(&|_, is_signed| *is_signed = true, Some(Reason::LookupTables));
    step(&|draft, _| draft.tables = 0, Some(Reason::InstructionCount));
    step(&|draft, _| drop(draft.instructions.remove(4)), Some(Reason::ComputeLimit));
    step(&|draft, _| draft.instructions[0] = set_limit(20_000), Some(Reason::ComputePrice));
    step(&|draft, _| draft.instructions[1] = set_price(1), Some(Reason::FeePayerIncluded));
    step(&|draft, _| draft.instructions[3].accounts.clear(), Some(Reason::MintMismatch));
    step(&|draft, _| draft.instructions[2].accounts[1] = mint(), Some(Reason::FeePayerTransfers));
    step(&|draft, _| draft.instructions[2].accounts[0] = public(8), Some(Reason::DestinationMismatch));
    step(&|draft, _| draft.instructions[2].accounts[2] = account(PAY_TO), Some(Reason::AmountMismatch));
    step(&|draft, _| draft.instructions[2].data = transfer_of(10_000, 6), Some(Reason::NoTransfer));
    step(&|draft, _| draft.instructions[2].accounts[0] = account(PAYER), Some(Reason::UnknownFourthInstruction));
    step(&|draft, _| draft.instructions[3] = instruction(LIGHTHOUSE, &[], &[15]), Some(Reason::UnknownFourthInstruction));
    step(&|draft, _| draft.instructions[3] = guard(), Some(Reason::UnknownOptionalInstruction));
    step(&|draft, _| drop(draft.instructions.pop()), Some(Reason::MemoCount));
    step(&|draft, _| draft.instructions[3] = memo(b"other"), Some(Reason::MemoMismatch));
    step(&|draft, _| draft.instructions[3] = memo(b"asked"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..1_300)) {
        prop_assert!(examined(&bytes).is_err());
    }

    #[test]
    fn no_mutation_panics_or_pays(edits in prop::collection::vec((0_usize..496, 0_usize..40, any::<[u8; 3]>(), 0_u8..4), 1..6)) {
        let mut wire = golden();
        for (at, count, bytes, kind) in edits {
            let start = at.min(wire.len());
            let end = (start + count).min(wire.len());
            match kind {
                0 => wire.splice(start..end.min(start + 3), bytes).for_each(drop),
                1 => drop(wire.drain(start..end)),
                2 => wire.splice(start..start, wire[start..end].to_vec()).for_each(drop),
                _ => wire[start..end].reverse(),
            }
        }
        // Only the message and the payer's signature make the payment.
        let same = wire.len() == golden().len() && wire[0] == 2 && wire[PAYER_SIGNATURE..] == golden()[PAYER_SIGNATURE..];
        prop_assert_eq!(examined(&wire).is_ok(), same);
    }

    /// Whatever is taken apart is put together again as it was, so nothing that is signed can differ from what was judged.
    #[test]
    fn what_is_decoded_is_encoded_the_same(
        version in prop::option::of(Just(0_u8)),
        calls in prop::collection::vec((0_u8..20, prop::collection::vec(0_u8..20, 0..6), prop::collection::vec(any::<u8>(), 0..150)), 0..5),
    ) {
        let instructions: Vec<_> = calls
            .into_iter()
            .map(|(program, accounts, data)| Instruction {
                program: [program + 100; 32],
                accounts: accounts.into_iter().map(|account| [account + 100; 32]).collect(),
                data,
            })
            .collect();
        let draft = Draft { version, instructions: instructions.clone(), ..Draft::golden() };
        let wire = draft.wire();
        match Transaction::decode(&wire) {
            Ok(transaction) => {
                prop_assert_eq!(transaction.instructions(), instructions);
                prop_assert_eq!(transaction.unsigned(), wire);
            }
            Err(error) => prop_assert!(wire.len() > 1232 && error == DecodeError::TooLong),
        }
    }
}
