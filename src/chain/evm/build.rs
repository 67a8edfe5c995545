//! The transaction that makes payments, and its gas.

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address as EvmAddress, Bytes, Signature, TxKind, U256};
use alloy::sol_types::SolCall;

use super::abi::Multicall3;
use super::exact::Authorization;
use super::exact::verdict::NO_CODE;
use super::fees::{GAS_CALLDATA_BYTE, GAS_TRANSACTION};
use super::signed::Signed;
use crate::domain::submission::Fees;
use crate::domain::verification::Checked;

/// A transfer can take more gas than in its simulation, because others change the same storage first.
const GAS_MARGIN_PERCENT: u64 = 20;

/// What Multicall3 spends around each call.
const GAS_PER_BATCHED_CALL: u64 = 8_000;

/// Room for what nobody measured.
const GAS_SPARE: u64 = 20_000;

/// What a transaction calls, and with how much gas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The contract.
    pub to: EvmAddress,
    /// What it is told.
    pub data: Bytes,
    /// The gas limit.
    pub gas_limit: u64,
    /// The gas that it takes, as far as can be foreseen.
    pub gas_expected: u64,
}

impl Call {
    /// A transfer of nothing from an account to itself, which only spends a nonce.
    pub fn nothing(account: EvmAddress) -> Self {
        Self { to: account, data: Bytes::new(), gas_limit: GAS_TRANSACTION, gas_expected: GAS_TRANSACTION }
    }
}

/// What a payer signed, and what its newest simulation found.
pub type Ready = (Signed, Checked);

/// The call that makes these payments: one directly, several through Multicall3, each allowed to fail alone. `suffix` stands behind what
/// the contract reads.
#[must_use]
pub fn call(multicall: EvmAddress, payments: &[Ready], suffix: &[u8]) -> Call {
    if let [(payment, checked)] = payments {
        let (to, data) = payment.call(multicall, checked.payer_code == NO_CODE);
        let data: Bytes = [data.as_ref(), suffix].concat().into();
        Call {
            gas_limit: gas_limit(data.len(), &[checked.gas]),
            gas_expected: gas_expected(data.len(), &[checked.gas]),
            to,
            data,
        }
    } else {
        // Whatever needs more than this goes alone.
        let calls = payments.iter().map(|(payment, _)| {
            let (target, data) = payment.call(multicall, false);
            Multicall3::Call3 { target, allowFailure: true, callData: data }
        });
        let data: Bytes = [Multicall3::aggregate3Call { calls: calls.collect() }.abi_encode().as_slice(), suffix].concat().into();
        let gas: Vec<_> = payments.iter().map(|(_, checked)| checked.gas).collect();
        Call { to: multicall, gas_limit: gas_limit(data.len(), &gas), gas_expected: gas_expected(data.len(), &gas), data }
    }
}

/// What settles one payment: the token's own function, or, where the payer's wallet has yet to be deployed, deployment and
/// transfer together through Multicall3. The factory is never called by our own account.
#[must_use]
pub fn single(multicall: EvmAddress, payment: &Authorization, payer_has_no_code: bool) -> (EvmAddress, Bytes) {
    let transfer = payment.transfer_call();
    match &payment.deployment {
        Some(deployment) if payer_has_no_code => {
            let calls = vec![
                // It fails when somebody else has deployed the wallet in the meantime, which is as good.
                Multicall3::Call3 { target: deployment.factory, allowFailure: true, callData: deployment.calldata.clone() },
                Multicall3::Call3 { target: payment.token, allowFailure: false, callData: transfer },
            ];
            (multicall, Multicall3::aggregate3Call { calls }.abi_encode().into())
        }
        _ => (payment.token, transfer),
    }
}

/// The gas of a transaction with so many bytes of data whose calls took `gas` in their simulations.
#[must_use]
pub fn gas_limit(bytes: usize, gas: &[u64]) -> u64 {
    let calls =
        gas.iter().fold(0_u64, |sum, gas| sum.saturating_add(gas + gas * GAS_MARGIN_PERCENT / 100 + GAS_PER_BATCHED_CALL));
    GAS_TRANSACTION + GAS_SPARE + GAS_CALLDATA_BYTE * bytes as u64 + calls
}

/// The gas that such a transaction takes.
#[must_use]
pub fn gas_expected(bytes: usize, gas: &[u64]) -> u64 {
    let calls = gas.iter().fold(0_u64, |sum, gas| sum.saturating_add(*gas));
    GAS_TRANSACTION + GAS_CALLDATA_BYTE * bytes as u64 + calls
}

/// An unsigned transaction (EIP-1559).
#[must_use]
pub fn transaction(chain_id: u64, nonce: u64, fees: Fees, call: Call) -> TxEip1559 {
    TxEip1559 {
        chain_id,
        nonce,
        gas_limit: call.gas_limit,
        max_fee_per_gas: fees.fee_per_gas,
        max_priority_fee_per_gas: fees.tip_per_gas,
        to: TxKind::Call(call.to),
        value: U256::ZERO,
        access_list: alloy::eips::eip2930::AccessList::default(),
        input: call.data,
    }
}

/// The identifier and the bytes of a signed transaction.
#[must_use]
pub fn encode(transaction: TxEip1559, signature: Signature) -> (String, Vec<u8>) {
    let envelope = TxEnvelope::from(transaction.into_signed(signature));
    (envelope.tx_hash().to_string(), envelope.encoded_2718())
}
