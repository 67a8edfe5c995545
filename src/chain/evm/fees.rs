//! What a transaction costs now, and the most that we offer.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::domain::submission::Fees;

/// A slot is outbid by at least this share. Usual nodes refuse a replacement below 10 %.
const OUTBID_PERCENT: u128 = 25;

/// Gas of a transaction before its first call (Ethereum yellow paper, appendix G).
pub const GAS_TRANSACTION: u64 = 21_000;

/// Gas of a byte of calldata that is not zero. Zero bytes are cheaper; we do not count on them.
pub const GAS_CALLDATA_BYTE: u64 = 16;

/// How long prices are believed.
const PRICES_LAST: Duration = Duration::from_secs(15);

/// Prices of one network at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prices {
    /// The newest block's base fee, in wei per gas.
    pub base_fee: u128,
    /// What is usual on top of it, in wei per gas.
    pub tip: u128,
    /// What a kilobyte of transaction costs on layer 1, in wei. Zero on networks that have no layer below.
    pub data_kilobyte: u128,
}

impl Prices {
    /// The fees to offer. Twice the base fee lasts for five full blocks of growth (EIP-1559: an eighth each); a replacement also
    /// outbids what the slot offered before.
    #[must_use]
    pub fn offer(&self, outbid: Option<Fees>) -> Fees {
        let raised = |fee: u128| fee.saturating_add(fee.saturating_mul(OUTBID_PERCENT) / 100).saturating_add(1);
        let tip = self.tip.max(outbid.map_or(0, |fees| raised(fees.tip_per_gas)));
        let fee = self.base_fee.saturating_mul(2).saturating_add(tip);
        Fees { fee_per_gas: fee.max(outbid.map_or(0, |fees| raised(fees.fee_per_gas))), tip_per_gas: tip }
    }

    /// What a transaction of this size costs if the next block is like the last one.
    #[must_use]
    pub fn expected(&self, gas: u64, bytes: usize) -> u128 {
        let per_gas = self.base_fee.saturating_add(self.tip);
        per_gas.saturating_mul(gas.into()).saturating_add(self.data(bytes))
    }

    /// What it costs at most under an offer.
    #[must_use]
    pub fn most(&self, fees: Fees, gas_limit: u64, bytes: usize) -> u128 {
        fees.fee_per_gas.saturating_mul(gas_limit.into()).saturating_add(self.data(bytes))
    }

    fn data(&self, bytes: usize) -> u128 {
        self.data_kilobyte.saturating_mul(bytes as u128) / 1024
    }
}

/// Lowers an offer until the whole transaction stays within `cost_max`. `None` if then it could not even pay the base fee.
#[must_use]
pub fn cap(prices: &Prices, fees: Fees, gas_limit: u64, bytes: usize, cost_max: u128) -> Option<Fees> {
    let for_gas = cost_max.checked_sub(prices.data(bytes))?;
    let ceiling = for_gas.checked_div(gas_limit.into())?;
    let fee_per_gas = fees.fee_per_gas.min(ceiling);
    let tip_per_gas = fees.tip_per_gas.min(fee_per_gas.checked_sub(prices.base_fee)?);
    Some(Fees { fee_per_gas, tip_per_gas })
}

/// The last prices seen: the base fee with every block, the others now and then.
#[derive(Debug, Default)]
pub struct PriceBoard(Mutex<Board>);

#[derive(Debug, Default, Clone, Copy)]
struct Board {
    block: Option<BlockPrice>,
    slow: Option<SlowPrices>,
}

/// The base fee of a block.
#[derive(Debug, Clone, Copy)]
pub struct BlockPrice {
    /// The block's height.
    pub number: u64,
    /// Wei per gas.
    pub base_fee: u128,
    /// When it was read.
    pub read_at: Instant,
}

/// What does not come with every block.
#[derive(Debug, Clone, Copy)]
pub struct SlowPrices {
    /// See [`Prices::tip`].
    pub tip: u128,
    /// See [`Prices::data_kilobyte`].
    pub data_kilobyte: u128,
    /// When they were read.
    pub read_at: Instant,
}

impl PriceBoard {
    /// Notes a block's base fee, unless a newer block was noted not long ago: after a node that was ahead of all others, or alone
    /// on its branch, the prices of the lower blocks must count again.
    pub fn note_block(&self, price: BlockPrice) {
        let mut board = self.lock();
        let stale = |noted: BlockPrice| price.read_at.saturating_duration_since(noted.read_at) >= PRICES_LAST;
        if board.block.is_none_or(|noted| noted.number <= price.number || stale(noted)) {
            board.block = Some(price);
        }
    }

    /// Notes the slow prices.
    pub fn note_slow(&self, prices: SlowPrices) {
        self.lock().slow = Some(prices);
    }

    /// The prices, if both kinds are known and not too old.
    pub fn fresh(&self, now: Instant) -> Option<Prices> {
        let board = *self.lock();
        let fresh = |read_at: Instant| now.saturating_duration_since(read_at) < PRICES_LAST;
        let block = board.block.filter(|block| fresh(block.read_at))?;
        let slow = board.slow.filter(|slow| fresh(slow.read_at))?;
        Some(Prices { base_fee: block.base_fee, tip: slow.tip, data_kilobyte: slow.data_kilobyte })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Board> {
        // A panic while the lock was held cannot leave half a price behind: each is written in one assignment.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICES: Prices = Prices { base_fee: 100, tip: 10, data_kilobyte: 2048 };

    #[test]
    fn an_offer_outbids_the_one_before() {
        let first = PRICES.offer(None);
        let second = PRICES.offer(Some(first));

        assert_eq!(first, Fees { fee_per_gas: 210, tip_per_gas: 10 });
        assert!(second.fee_per_gas * 10 >= first.fee_per_gas * 11 && second.tip_per_gas * 10 >= first.tip_per_gas * 11);
    }

    #[test]
    fn an_offer_never_exceeds_the_limit() {
        let fees = PRICES.offer(None);
        let most = PRICES.most(fees, 1000, 512);
        let capped = cap(&PRICES, fees, 1000, 512, most - 1000).unwrap();

        assert_eq!(most, 211_024);
        assert_eq!(cap(&PRICES, fees, 1000, 512, most), Some(fees));
        assert!(PRICES.most(capped, 1000, 512) <= most - 1000);
        assert_eq!(cap(&PRICES, fees, 1000, 512, 99_000), None);
        assert_eq!(cap(&PRICES, fees, 1000, 512, 1), None);
    }

    #[test]
    fn stale_prices_are_no_prices() {
        let read_at = Instant::now();
        let board = PriceBoard::default();
        board.note_slow(SlowPrices { tip: 10, data_kilobyte: 2048, read_at });
        assert_eq!(board.fresh(read_at), None);
        board.note_block(BlockPrice { number: 5, base_fee: 100, read_at });
        board.note_block(BlockPrice { number: 4, base_fee: 999, read_at });

        assert_eq!(board.fresh(read_at), Some(PRICES));
        assert_eq!(board.fresh(read_at + PRICES_LAST), None);
    }

    #[test]
    fn a_stale_price_gives_way_to_that_of_a_lower_block() {
        let first = Instant::now();
        let later = first + PRICES_LAST;
        let board = PriceBoard::default();
        board.note_block(BlockPrice { number: 5, base_fee: 999, read_at: first });
        board.note_slow(SlowPrices { tip: 10, data_kilobyte: 2048, read_at: later });
        board.note_block(BlockPrice { number: 4, base_fee: 100, read_at: later });

        assert_eq!(board.fresh(later), Some(PRICES));
    }
}
