//! What a transaction may compute, and what it offers for that, is ours to pay.

use super::layout::Layout;
use crate::chain::solana::message::Instruction;
use crate::chain::solana::programs::COMPUTE_BUDGET;
use crate::domain::reason::{Reason, Refusal};

/// `SetComputeUnitLimit` (Compute Budget program).
const SET_LIMIT: u8 = 2;

/// `SetComputeUnitPrice` (Compute Budget program).
const SET_PRICE: u8 = 3;

/// What the network charges for each signature, in lamports.
const LAMPORTS_PER_SIGNATURE: u64 = 5_000;

/// Prices are in millionths of a lamport.
const MICRO: u128 = 1_000_000;

/// What an operator pays for a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Compute units of one transaction.
    pub units_max: u32,
    /// Millionths of a lamport for a compute unit.
    pub unit_price_max: u64,
    /// Lamports for the whole fee.
    pub fee_max: u64,
}

/// What a transaction may compute, and what it offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Compute units.
    pub units: u32,
    /// Millionths of a lamport for each, used or not.
    pub unit_price: u64,
}

impl Budget {
    /// What the network charges with this many signatures, in lamports.
    #[must_use]
    pub fn fee(&self, signatures: u8) -> u64 {
        let priority = (u128::from(self.units) * u128::from(self.unit_price)).div_ceil(MICRO);
        let base = LAMPORTS_PER_SIGNATURE * u64::from(signatures);
        u64::try_from(priority).unwrap_or(u64::MAX).saturating_add(base)
    }
}

/// Reads what the first two instructions set.
///
/// # Errors
/// [`Reason::ComputeLimit`] or [`Reason::ComputePrice`] if they set something else.
pub fn read(layout: &Layout<'_>) -> Result<Budget, Refusal> {
    let units = read_limit(layout.compute_limit)?;
    Ok(Budget { units, unit_price: read_price(layout.compute_price)? })
}

/// Checks what the first two instructions set, and what that costs.
///
/// # Errors
/// As [`read`]; [`Reason::ComputeLimitTooHigh`], [`Reason::ComputePriceTooHigh`], [`Reason::CostExceedsLimit`].
pub fn check(layout: &Layout<'_>, signatures: u8, limits: &Limits) -> Result<(), Refusal> {
    let units = read_limit(layout.compute_limit)?;
    if units > limits.units_max {
        let detail = format!("at most {} compute units", limits.units_max);
        return Err(Refusal::because(Reason::ComputeLimitTooHigh, detail));
    }
    let unit_price = read_price(layout.compute_price)?;
    if unit_price > limits.unit_price_max {
        let detail = format!("at most {} millionths of a lamport for a compute unit", limits.unit_price_max);
        return Err(Refusal::because(Reason::ComputePriceTooHigh, detail));
    }
    if (Budget { units, unit_price }).fee(signatures) > limits.fee_max {
        return Err(Refusal::because(Reason::CostExceedsLimit, format!("at most {} lamports for the fee", limits.fee_max)));
    }
    Ok(())
}

fn read_limit(instruction: &Instruction) -> Result<u32, Refusal> {
    match budget_data(instruction) {
        Some([SET_LIMIT, units @ ..]) => units.try_into().ok().map(u32::from_le_bytes),
        _ => None,
    }
    .ok_or_else(|| Reason::ComputeLimit.into())
}

fn read_price(instruction: &Instruction) -> Result<u64, Refusal> {
    match budget_data(instruction) {
        Some([SET_PRICE, price @ ..]) => price.try_into().ok().map(u64::from_le_bytes),
        _ => None,
    }
    .ok_or_else(|| Reason::ComputePrice.into())
}

fn budget_data(instruction: &Instruction) -> Option<&[u8]> {
    (instruction.program == COMPUTE_BUDGET).then_some(instruction.data.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_is_rounded_up_and_never_wraps() {
        let fee = |units, unit_price, signatures| Budget { units, unit_price }.fee(signatures);

        assert_eq!(fee(20_000, 1, 2), 10_001);
        assert_eq!(fee(0, u64::MAX, 1), 5_000);
        assert_eq!(fee(1_000_000, 1, 1), 5_001);
        assert_eq!(fee(1_000_001, 1, 1), 5_002);
        // What the reference implementation allows at most.
        assert_eq!(fee(1_400_000, 5_000_000, 2), 7_010_000);
        assert_eq!(fee(u32::MAX, u64::MAX, u8::MAX), u64::MAX);
    }
}
