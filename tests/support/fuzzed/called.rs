//! What strangers call the proxies of Permit2 with.

use alloy::primitives::{Address as EvmAddress, B256, Bytes, U256};
use quittance::chain::evm::permit2::observe::{Called, PROXIES, used};
use quittance::chain::evm::permit2::{EXACT_PROXY, key};
use quittance::domain::address::Address;
use quittance::domain::amount::Amount;
use quittance::domain::transfer::{Transfer, Use};

/// The beginnings of the calls, of scheme `exact` and of `upto`, each without and with the payer's word to the token.
const SETTLE: [[u8; 4]; 2] = [[0x13, 0xcd, 0x3b, 0x53], [0xff, 0x11, 0xe7, 0xb4]];
const SETTLE_WITH_PERMIT: [[u8; 4]; 2] = [[0xfa, 0x34, 0x03, 0x78], [0x01, 0x6c, 0x17, 0x48]];

/// Words that the payer's word to the token takes up in front of all others.
const PERMIT_WORDS: usize = 5;

/// Takes the first byte for which proxy is called. Checks that what a call used up and moved is what stands in its words, read without their
/// types. Returns whether it is a call that settles something.
///
/// # Panics
/// If it is not so.
pub fn called(bytes: &[u8]) -> bool {
    let Some((which, input)) = bytes.split_first() else { return false };
    let (proxy, is_exact) = (PROXIES[usize::from(which & 1)], PROXIES[usize::from(which & 1)] == EXACT_PROXY);
    let call = Called { to: Some(proxy), input: Bytes::copy_from_slice(input) };
    let Some(nothing_moved) = used(&call, &[]) else { return false };
    let scheme = usize::from(!is_exact);
    let first = if input.starts_with(&SETTLE_WITH_PERMIT[scheme]) { PERMIT_WORDS } else { 0 };
    assert!(first > 0 || input.starts_with(&SETTLE[scheme]), "another call");
    let word = |index: usize| B256::from_slice(&input[4 + 32 * (first + index)..][..32]);
    let address = |index: usize| EvmAddress::from_word(word(index));
    // Of `upto` the amount stands by itself, and a facilitator between recipient and time.
    let (amount, owner) = if is_exact { (word(1), 4) } else { (word(4), 5) };
    assert_eq!(nothing_moved.key, key(address(owner), word(2)));
    assert_eq!(nothing_moved.outcome, Use::Spent(None));
    let Ok(amount) = u128::try_from(U256::from_be_bytes(amount.0)) else { return true };
    let transfer = Transfer {
        transaction: "0x01".to_owned(),
        index: 3,
        asset: Address::Evm(address(0).into()),
        from: Address::Evm(address(owner).into()),
        to: Address::Evm(address(owner + 1).into()),
        amount: Some(Amount::new(amount)),
        marks: Vec::new(),
    };
    let moved = used(&call, &[&transfer]).expect("it was read before");
    assert_eq!((moved.key, moved.outcome), (nothing_moved.key, Use::Spent(Some(transfer))));
    true
}
