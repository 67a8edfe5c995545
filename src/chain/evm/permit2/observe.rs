//! What a settlement through a proxy used up, read from the call of the proxy: its event says only that there was one.

use alloy::primitives::{Address as EvmAddress, B256, Bytes, U256};
use alloy::sol_types::{SolEvent, SolInterface};
use serde::Deserialize;

use super::super::abi::ExactProxy;
use super::super::abi::ExactProxy::ExactProxyCalls;
use super::super::abi::UptoProxy::UptoProxyCalls;
use super::{EXACT_PROXY, UPTO_PROXY, key};
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::transfer::{AuthorizationUse, Transfer, Use};

/// The proxies, whose events are looked for.
pub const PROXIES: [EvmAddress; 2] = [EXACT_PROXY, UPTO_PROXY];

/// The events that a proxy ends a settlement with.
pub const SETTLED: [B256; 2] = [ExactProxy::Settled::SIGNATURE_HASH, ExactProxy::SettledWithPermit::SIGNATURE_HASH];

/// A transaction as `eth_getTransactionByHash` answers it, as far as we read it.
#[derive(Debug, Clone, Deserialize)]
pub struct Called {
    /// What it calls, if it is no creation.
    pub to: Option<EvmAddress>,
    /// What it says there.
    pub input: Bytes,
}

/// What a call of a proxy moves.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settlement {
    payer: EvmAddress,
    pay_to: EvmAddress,
    token: EvmAddress,
    amount: U256,
    nonce: U256,
}

/// What a transaction in which a proxy settled used up, given the transfers in it. `None` if the transaction does not call the proxy
/// itself; then the nonce's state has to tell.
#[must_use]
pub fn used(called: &Called, transfers: &[&Transfer]) -> Option<AuthorizationUse> {
    let settlement = read(called)?;
    let moved = transfers.iter().find(|transfer| settlement.moved(transfer));
    let key = key(settlement.payer, settlement.nonce.into());
    Some(AuthorizationUse { key, outcome: Use::Spent(moved.map(|transfer| (*transfer).clone())) })
}

fn read(called: &Called) -> Option<Settlement> {
    match called.to? {
        EXACT_PROXY => {
            let (permit, owner, witness) = match ExactProxyCalls::abi_decode(&called.input).ok()? {
                ExactProxyCalls::settle(call) => (call.permit, call.owner, call.witness),
                ExactProxyCalls::settleWithPermit(call) => (call.permit, call.owner, call.witness),
            };
            Some(Settlement {
                payer: owner,
                pay_to: witness.to,
                token: permit.permitted.token,
                amount: permit.permitted.amount,
                nonce: permit.nonce,
            })
        }
        UPTO_PROXY => {
            let (permit, amount, owner, witness) = match UptoProxyCalls::abi_decode(&called.input).ok()? {
                UptoProxyCalls::settle(call) => (call.permit, call.amount, call.owner, call.witness),
                UptoProxyCalls::settleWithPermit(call) => (call.permit, call.amount, call.owner, call.witness),
            };
            Some(Settlement { payer: owner, pay_to: witness.to, token: permit.permitted.token, amount, nonce: permit.nonce })
        }
        _ => None,
    }
}

impl Settlement {
    fn moved(&self, transfer: &Transfer) -> bool {
        transfer.asset == Address::Evm(self.token.into())
            && transfer.from == Address::Evm(self.payer.into())
            && transfer.to == Address::Evm(self.pay_to.into())
            && transfer.amount == u128::try_from(self.amount).ok().map(Amount::new)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Permit;
    use super::super::tests::{golden, golden_upto, sponsoring};
    use super::*;

    fn called(permit: &Permit) -> Called {
        Called { to: Some(permit.proxy.address()), input: permit.call() }
    }

    fn transfer(permit: &Permit) -> Transfer {
        Transfer {
            transaction: "0x01".to_owned(),
            index: 3,
            asset: permit.message.token,
            from: permit.message.from,
            to: permit.message.to,
            amount: Some(permit.amount),
            marks: Vec::new(),
        }
    }

    #[test]
    fn a_call_tells_what_it_used_up_and_moved() {
        let full = Amount::new(10_000);
        for permit in [
            Permit::of(golden(), full, None),
            Permit::of(golden(), full, Some(sponsoring())),
            Permit::of(golden_upto(), Amount::new(7), None),
            Permit::of(golden_upto(), Amount::new(7), Some(sponsoring())),
        ] {
            let (right, wrong) = (transfer(&permit), Transfer { amount: Some(Amount::new(8)), ..transfer(&permit) });
            let seen = |transfers: &[&Transfer]| used(&called(&permit), transfers).unwrap();

            assert_eq!(seen(&[&wrong, &right]).key, permit.key());
            assert_eq!(seen(&[&wrong, &right]).outcome, Use::Spent(Some(right)));
            assert_eq!(seen(&[&wrong]).outcome, Use::Spent(None));
        }
    }

    #[test]
    fn what_is_no_call_of_a_proxy_tells_nothing() {
        let permit = Permit::of(golden(), Amount::new(10_000), None);
        let elsewhere = Called { to: Some(EvmAddress::repeat_byte(9)), ..called(&permit) };
        let creation = Called { to: None, ..called(&permit) };
        let other = Called { to: Some(UPTO_PROXY), ..called(&permit) };
        let cut_off = Called { input: permit.call()[..100].to_vec().into(), ..called(&permit) };

        for called in [elsewhere, creation, other, cut_off] {
            assert_eq!(used(&called, &[&transfer(&permit)]), None, "{called:?}");
        }
    }
}
