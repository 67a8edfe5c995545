//! Blocks that nobody made, each with one transaction that shows one thing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::chain::solana::programs::{MEMO, MEMO_V1, SYSTEM, TOKEN, TOKEN_2022};
use crate::domain::address::encode_base58;
use crate::domain::transfer::Mark;

/// The token that is looked for, and another one.
const MINT: Key = [4; 32];
const OTHER_MINT: Key = [40; 32];

/// Places of the accounts in a draft.
const PAYERS: u8 = 1;
const PAYEES: u8 = 2;
const REFERENCE: u8 = 3;
const TOKEN_PROGRAM: u8 = 5;
const MEMO_PROGRAM: u8 = 6;

/// What an account held: its place, its mint, its owner and how much.
type Held = (u8, Key, Key, u64);

/// A transaction to be, in which the owner 1 pays ten to the owner 9.
struct Draft {
    version: Value,
    keys: Vec<Key>,
    /// How many of the accounts at the end are only read.
    read: u8,
    written_through_table: Vec<Key>,
    read_through_table: Vec<Key>,
    /// Programs by their places, and what they are told.
    calls: Vec<(u8, Vec<u8>)>,
    inner: Vec<(u8, Vec<u8>)>,
    error: Value,
    before: Vec<Held>,
    after: Vec<Held>,
}

impl Draft {
    fn payment() -> Self {
        Self {
            version: json!("legacy"),
            keys: vec![[1; 32], [2; 32], [3; 32], [5; 32], MINT, TOKEN, MEMO],
            read: 4,
            written_through_table: Vec::new(),
            read_through_table: Vec::new(),
            calls: vec![(TOKEN_PROGRAM, vec![12])],
            inner: Vec::new(),
            error: Value::Null,
            before: vec![(PAYERS, MINT, [1; 32], 100), (PAYEES, MINT, [9; 32], 5)],
            after: vec![(PAYERS, MINT, [1; 32], 90), (PAYEES, MINT, [9; 32], 15)],
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut draft = Self::payment();
        change(&mut draft);
        draft
    }

    /// Accounts by their places from 1 on, each with its owner, and what it held before and after.
    fn moving(accounts: &[(u8, u64, u64)]) -> Self {
        let held = |read: fn(&(u8, u64, u64)) -> u64| {
            let held = |(account, moved): (u8, &(u8, u64, u64))| (account, MINT, [moved.0; 32], read(moved));
            (1_u8..).zip(accounts).map(held).collect::<Vec<Held>>()
        };
        Self { before: held(|moved| moved.1), after: held(|moved| moved.2), ..Self::payment() }
    }

    fn wire(&self) -> Vec<u8> {
        let length = |length: usize| u8::try_from(length).unwrap();
        let versioned = self.version.is_number();
        let mut wire: Vec<u8> = vec![1];
        wire.extend([8_u8; 64]);
        wire.extend(versioned.then_some(0x80_u8));
        wire.extend([1, 0, self.read, length(self.keys.len())]);
        wire.extend(self.keys.concat());
        wire.extend([7_u8; 32]);
        wire.push(length(self.calls.len()));
        for (program, data) in &self.calls {
            wire.extend([*program, 0, length(data.len())]);
            wire.extend(data);
        }
        if versioned {
            let (written, read) = (length(self.written_through_table.len()), length(self.read_through_table.len()));
            wire.push(u8::from(written + read > 0));
            if written + read > 0 {
                wire.extend([6_u8; 32]);
                wire.push(written);
                wire.extend(0..written);
                wire.push(read);
                wire.extend(written..written + read);
            }
        }
        wire
    }

    fn json(&self) -> Value {
        let texts = |keys: &[Key]| keys.iter().map(|key| encode_base58(key)).collect::<Vec<_>>();
        let call = |call: &(u8, Vec<u8>)| json!({"programIdIndex": call.0, "accounts": [], "data": encode_base58(&call.1)});
        let inner: Vec<_> = self.inner.iter().map(call).collect();
        json!({
            "transaction": [STANDARD.encode(self.wire()), "base64"],
            "version": self.version,
            "meta": {
                "err": self.error, "status": {"Ok": null}, "fee": 5000,
                "innerInstructions": [{"index": 0, "instructions": inner}],
                "preTokenBalances": self.before.iter().map(balance).collect::<Vec<_>>(),
                "postTokenBalances": self.after.iter().map(balance).collect::<Vec<_>>(),
                "loadedAddresses": {
                    "writable": texts(&self.written_through_table), "readonly": texts(&self.read_through_table),
                },
            },
        })
    }

    /// What the transaction moves of [`MINT`], in a block of its own.
    fn transfers(&self) -> Vec<Transfer> {
        transfers(&block(&[self.json()]), &[(MINT, TokenProgram::Token)]).unwrap()
    }

    /// From whom to whom, by the bytes of their addresses, and how much.
    fn moved(&self) -> Vec<(u8, u8, u128)> {
        let byte = |address: Address| address.as_bytes()[0];
        self.transfers().iter().map(|moved| (byte(moved.from), byte(moved.to), moved.amount.unwrap().units())).collect()
    }

    fn marks(&self) -> Vec<Mark> {
        self.transfers().remove(0).marks
    }
}

fn balance((account, mint, owner, amount): &Held) -> Value {
    json!({
        "accountIndex": account, "mint": encode_base58(mint), "owner": encode_base58(owner), "programId": encode_base58(&TOKEN),
        "uiTokenAmount": {"amount": amount.to_string(), "decimals": 6, "uiAmount": 0.1, "uiAmountString": "0.1"},
    })
}

fn block(transactions: &[Value]) -> BlockAnswer {
    let block = json!({
        "blockhash": "B", "previousBlockhash": "A", "parentSlot": 1, "blockTime": 2, "blockHeight": 3, "transactions": transactions,
    });
    serde_json::from_value(block).unwrap()
}

#[test]
fn an_account_that_holds_more_was_paid() {
    let (nothing, payment) = (Draft::moving(&[]), Draft::payment());
    let block = block(&[nothing.json(), payment.json()]);

    let expected = Transfer {
        transaction: encode_base58(&[8; 64]),
        index: 256 + 2,
        asset: Address::Solana(MINT),
        from: Address::Solana([1; 32]),
        to: Address::Solana([9; 32]),
        amount: Some(Amount::new(10)),
        marks: vec![Mark::Reference([5; 32])],
    };
    assert_eq!(transfers(&block, &[(MINT, TokenProgram::Token)]), Ok(vec![expected]));
    assert_eq!(transfers(&block, &[(OTHER_MINT, TokenProgram::Token)]), Ok(Vec::new()));
    assert_eq!(transfers(&block, &[(MINT, TokenProgram::Token2022)]), Ok(Vec::new()));
    assert_eq!(transfers(&block, &[]), Ok(Vec::new()));
}

#[test]
fn what_failed_paid_nobody() {
    let error = json!({"InstructionError": [0, {"NobodyKnowsThisError": 1}]});
    let failed = Draft::with(|draft| draft.error = error);

    assert_eq!(failed.transfers(), []);
    let name = encode_base58(&[8; 64]);
    let block = block(&[failed.json(), Draft::payment().json()]);
    assert_eq!(executed(&block), [Executed { name: name.clone(), failed: true }, Executed { name, failed: false }]);
}

#[test]
fn who_alone_lost_is_who_paid() {
    assert_eq!(Draft::moving(&[(1, 50, 30), (2, 50, 40), (9, 0, 30)]).moved(), [(SYSTEM[0], 9, 30)], "either of two");
    assert_eq!(Draft::moving(&[(1, 50, 45), (1, 50, 42), (9, 0, 13)]).moved(), [(1, 9, 13)], "two accounts of one");
    assert_eq!(Draft::moving(&[(1, 50, 20), (8, 1, 11), (9, 0, 20)]).moved(), [(1, 8, 10), (1, 9, 20)]);
    assert_eq!(Draft::moving(&[(9, 0, 20)]).moved(), [(SYSTEM[0], 9, 20)], "issued");
    assert_eq!(Draft::moving(&[(1, 50, 20), (1, 0, 30)]).moved(), [(1, 1, 30)], "between accounts of one owner");
    assert_eq!(Draft::moving(&[(1, 50, 50), (9, 7, 7)]).moved(), []);
    assert_eq!(Draft::moving(&[(1, 50, 20)]).moved(), [], "burnt");
    assert_eq!(Draft::moving(&[(1, u64::MAX, 0), (9, 0, u64::MAX)]).moved(), [(1, 9, u128::from(u64::MAX))]);
}

#[test]
fn an_account_that_was_opened_or_closed_held_nothing_on_the_other_side() {
    let opened = Draft::with(|draft| draft.before.retain(|held| held.0 != PAYEES));
    let closed = Draft::with(|draft| draft.after.retain(|held| held.0 != PAYERS));
    let given_away = Draft::with(|draft| draft.after[0].2 = [6; 32]);
    let exchanged = Draft::with(|draft| draft.before[1].1 = OTHER_MINT);

    assert_eq!(opened.moved(), [(1, 9, 15)]);
    assert_eq!(closed.moved(), [(1, 9, 10)]);
    assert_eq!(given_away.moved(), [(1, 9, 10)], "it was the payer's when it paid");
    assert_eq!(exchanged.moved(), [(1, 9, 15)], "it was an account of another token");
}

#[test]
fn several_tokens_are_told_apart_and_stand_in_order() {
    let both = Draft::with(|draft| {
        draft.before.extend([(0, OTHER_MINT, [6; 32], 0), (3, OTHER_MINT, [7; 32], 8)]);
        draft.after.extend([(0, OTHER_MINT, [6; 32], 8), (3, OTHER_MINT, [7; 32], 0)]);
    });
    let tokens = [(MINT, TokenProgram::Token), (OTHER_MINT, TokenProgram::Token)];

    let moved = transfers(&block(&[both.json()]), &tokens).unwrap();
    let told: Vec<_> = moved.iter().map(|moved| (moved.index, moved.asset, moved.from, moved.amount)).collect();
    let transfer = |index, asset, from, amount| (index, Address::Solana(asset), Address::Solana(from), Some(Amount::new(amount)));
    assert_eq!(told, [transfer(0, OTHER_MINT, [7; 32], 8), transfer(2, MINT, [1; 32], 10)]);
}

#[test]
fn a_reference_is_an_account_that_is_named_without_need() {
    let reference = |byte| Mark::Reference([byte; 32]);
    let replace = |key: Key| Draft::with(|draft| draft.keys[usize::from(REFERENCE)] = key);
    let sysvar = decode_base58("Sysvar1nstructions1111111111111111111111111").unwrap();

    assert_eq!(Draft::payment().marks(), [reference(5)]);
    assert_eq!(replace([77; 32]).marks(), [reference(77)]);
    assert_eq!(replace(SYSTEM).marks(), []);
    assert_eq!(replace(TOKEN_2022).marks(), []);
    assert_eq!(replace(sysvar).marks(), []);
    assert_eq!(Draft::with(|draft| draft.calls.push((REFERENCE, Vec::new()))).marks(), [], "a program that is called");
    assert_eq!(Draft::with(|draft| draft.inner.push((REFERENCE, Vec::new()))).marks(), [], "a program that another calls");
    assert_eq!(Draft::with(|draft| draft.read = 3).marks(), [], "an account that is written to");
}

#[test]
fn an_account_behind_a_lookup_table_is_one_of_the_transaction() {
    let draft = Draft::with(|draft| {
        draft.version = json!(0);
        draft.written_through_table = vec![[30; 32]];
        draft.read_through_table = vec![[31; 32], MINT, MEMO_V1];
        // The account behind the seven own ones, and the fourth behind the table.
        draft.after[1].0 = 7;
        draft.before[1].0 = 7;
        draft.inner = vec![(10, b"hello".to_vec())];
    });

    let moved = draft.transfers();
    assert_eq!((moved.len(), moved[0].index), (1, 7));
    let marks = [Mark::Reference([5; 32]), Mark::Reference([31; 32]), Mark::Memo("hello".to_owned())];
    assert_eq!(moved[0].marks, marks);
}

#[test]
fn memos_are_told_as_they_stand() {
    let draft = Draft::with(|draft| {
        draft.calls.extend([(MEMO_PROGRAM, b"one".to_vec()), (TOKEN_PROGRAM, b"none".to_vec()), (MEMO_PROGRAM, vec![0xff])]);
        draft.inner = vec![(MEMO_PROGRAM, b"two".to_vec()), (TOKEN_PROGRAM, b"none".to_vec())];
    });

    let memo = |text: &str| Mark::Memo(text.to_owned());
    assert_eq!(draft.marks(), [Mark::Reference([5; 32]), memo("one"), memo("two")]);
}

#[test]
fn a_block_that_leaves_something_open_is_not_read() {
    let fault = |change: &dyn Fn(&mut Value)| {
        let mut payment = Draft::payment().json();
        change(&mut payment);
        let read = transfers(&block(&[Draft::moving(&[]).json(), payment]), &[(MINT, TokenProgram::Token)]);
        match read {
            Err(UnreadableBlock::Transaction { position: 1, fault }) => fault,
            other => panic!("{other:?}"),
        }
    };

    for version in [json!(1), json!(-1), json!("new"), Value::Null] {
        assert_eq!(fault(&|payment| payment["version"] = version.clone()), Fault::Version);
    }
    assert_eq!(fault(&|payment| payment["meta"] = Value::Null), Fault::Meta);
    for side in ["preTokenBalances", "postTokenBalances"] {
        assert_eq!(fault(&|payment| payment["meta"][side] = Value::Null), Fault::Balances);
        for amount in ["", "1.5", "-1", "18446744073709551616"] {
            assert_eq!(fault(&|payment| payment["meta"][side][1]["uiTokenAmount"]["amount"] = json!(amount)), Fault::Amount);
        }
    }
    for owner in [Value::Null, json!("0")] {
        assert_eq!(fault(&|payment| payment["meta"]["preTokenBalances"][0]["owner"] = owner.clone()), Fault::Owner);
        assert_eq!(fault(&|payment| payment["meta"]["postTokenBalances"][1]["owner"] = owner.clone()), Fault::Owner);
    }
    for wire in ["", "AAAA"] {
        assert_eq!(fault(&|payment| payment["transaction"][0] = json!(wire)), Fault::Undecodable);
    }
    let behind_a_table = json!({"writable": [encode_base58(&MINT)], "readonly": []});
    assert_eq!(fault(&|payment| payment["meta"]["loadedAddresses"] = behind_a_table.clone()), Fault::Undecodable);
    assert_eq!(fault(&|payment| payment["meta"]["postTokenBalances"][1]["accountIndex"] = json!(7)), Fault::Account);
}

#[test]
fn an_unknown_version_is_not_passed_over_where_nothing_moved() {
    let mut failed = Draft::with(|draft| draft.error = json!("AccountInUse")).json();
    failed["version"] = json!(1);

    let fault = Err(UnreadableBlock::Transaction { position: 0, fault: Fault::Version });
    assert_eq!(transfers(&block(&[failed]), &[]), fault);
}

#[test]
fn an_answer_without_what_decides_is_none() {
    let mut unsaid = Draft::payment().json();
    unsaid["meta"].as_object_mut().unwrap().remove("err");
    let parse = |transactions: Value| {
        let block = json!({"blockhash": "B", "previousBlockhash": "A", "blockHeight": 3, "transactions": transactions});
        serde_json::from_value::<BlockAnswer>(block)
    };

    assert!(parse(json!([Draft::payment().json()])).is_ok());
    assert!(parse(json!([unsaid])).is_err());
    let empty = parse(Value::Null).unwrap();
    assert_eq!(transfers(&empty, &[(MINT, TokenProgram::Token)]), Err(UnreadableBlock::Transactions));
    assert_eq!(executed(&empty), []);
}

#[test]
fn every_account_of_every_transaction_has_an_index_of_its_own() {
    assert_eq!(index_of(0, 0), Some(0));
    assert_eq!(index_of(0, 255), Some(255));
    assert_eq!(index_of(1, 0), Some(256));
    assert_eq!(index_of(0, 256), None);
    assert_eq!(index_of((1 << 23) - 1, 255), Some(i32::MAX.cast_unsigned()));
    assert_eq!(index_of(1 << 23, 0), None);
    assert_eq!(index_of(usize::MAX, 0), None);
}

#[test]
fn a_transaction_alone_says_what_it_says_in_its_block() {
    let alone = |draft: &Draft| {
        let mut json = draft.json();
        json["slot"] = json!(11);
        json["blockTime"] = json!(2);
        let answer: answer::LandedAnswer = serde_json::from_value(json).unwrap();
        assert_eq!((answer.slot, answer.block_time), (11, Some(2)));
        of_transaction(&answer.into_transaction(), &[(MINT, TokenProgram::Token)])
    };
    let failed = Draft::with(|draft| draft.error = json!("AccountInUse"));

    assert_eq!(alone(&Draft::payment()), Ok((Draft::payment().transfers(), false)));
    assert_eq!(alone(&failed), Ok((Vec::new(), true)));
}
