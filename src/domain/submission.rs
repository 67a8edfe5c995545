//! A lane's slots: which payments go together, when a slot is opened, sent again or outbid.

use chrono::{DateTime, TimeDelta, Utc};

use super::payment::AuthorizationKey;
use super::transfer::TransactionId;
use super::verification::Checked;

/// Fees of a signed transaction, in the network's smallest native unit per unit of gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    /// The most that may be paid per unit.
    pub fee_per_gas: u128,
    /// The part of it that the block's builder gets.
    pub tip_per_gas: u128,
}

/// What makes a slot the one that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An account nonce of the signer. Whatever lands there, nothing else can.
    Nonce(u64),
    /// A message that lands once, only as it is, and only for a while. It is the authorization itself.
    Message(AuthorizationKey),
}

/// Signed bytes for one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedAttempt {
    /// The transaction's identifier, known before anything is sent.
    pub transaction: TransactionId,
    /// The bytes.
    pub raw: Vec<u8>,
    /// The fees.
    pub fees: Fees,
    /// The gas limit.
    pub gas_limit: u64,
    /// What the transaction may cost at most, in wei.
    pub cost_max: u128,
    /// What it costs if the next block is like the last one, in wei.
    pub cost_expected: u128,
}

/// How a lane may behave. Every figure is a setting of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanePolicy {
    /// At least this long between two new submissions while others are in flight.
    pub pace: TimeDelta,
    /// Payments in one submission. Keeps the calldata below the 128 KiB that usual transaction pools accept.
    pub batch_max: usize,
    /// Submissions in flight. Usual nodes keep 16 pending transactions of one sender.
    pub in_flight_max: usize,
    /// After this long without inclusion the same bytes are sent again.
    pub resend_after: TimeDelta,
    /// After this long without inclusion the slot gets a second transaction that offers more.
    pub outbid_after: TimeDelta,
}

/// Whether a lane may open a new slot now. Nothing in flight: at once. Otherwise at its pace, up to its limit.
#[must_use]
pub fn may_open(policy: &LanePolicy, in_flight: usize, last_opened: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    match last_opened {
        _ if in_flight == 0 => true,
        _ if in_flight >= policy.in_flight_max => false,
        Some(last) => now - last >= policy.pace,
        None => true,
    }
}

/// The gas that the payments of one transaction may have taken in their simulations. A network takes no transaction of more than
/// 16,777,216 (EIP-7825); the rest is for the margin of a fifth that each payment gets, and for what goes around them.
const BATCH_GAS_MAX: u64 = 11_000_000;

/// Which of the waiting payments, oldest first, go into the next submission: at least one, however much gas it takes.
///
/// A payment that must go alone neither joins a batch nor waits for one: if it is the oldest it goes now, by itself.
#[must_use]
pub fn compose(waiting: &[&Checked], batch_max: usize) -> Vec<usize> {
    let Some(oldest) = waiting.first() else { return Vec::new() };
    if oldest.alone {
        return vec![0];
    }
    let sharing = waiting.iter().enumerate().filter(|(_, checked)| !checked.alone);
    let fitting = sharing.scan(0_u64, |gas, (index, checked)| {
        *gas = gas.saturating_add(checked.gas);
        (index == 0 || *gas <= BATCH_GAS_MAX).then_some(index)
    });
    fitting.take(batch_max).collect()
}

/// What to do for a slot that is not spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Wait for a block.
    Wait,
    /// Send the stored bytes again: a node may have lost them.
    Resend,
    /// Sign a further attempt at the same account nonce with a higher fee.
    Outbid,
}

/// Decides about a slot from when it was opened, last signed and last sent.
#[must_use]
pub fn care(policy: &LanePolicy, signed_at: DateTime<Utc>, sent_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Care {
    match sent_at {
        // First of all, so that a slot for which no more may be offered does not ask the nodes without a pause.
        Some(sent) if now - sent < policy.resend_after => Care::Wait,
        Some(_) if now - signed_at >= policy.outbid_after => Care::Outbid,
        Some(_) | None => Care::Resend,
    }
}

/// Nonces that others may have used between the block that we read and the newest one. Nothing of ours is out there without a
/// slot, so these are few.
const STRANGE_NONCES_MAX: u64 = 16;

/// The account nonce of the next slot, from the signer's next nonce in the block that we read and in the newest one. A node that
/// lags must not make us reuse one, and a database that was restored from a backup must not make us go below what the chain has
/// seen. Nor is a node believed that names a nonce far away, alone against the other answer: all that lies between would have to
/// be filled.
#[must_use]
pub fn next_nonce(read: u64, newest: u64, own_highest: Option<u64>) -> u64 {
    let chain = newest.min(read.saturating_add(STRANGE_NONCES_MAX));
    own_highest.map_or(chain, |own| chain.max(own.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> LanePolicy {
        LanePolicy {
            pace: TimeDelta::milliseconds(100),
            batch_max: 3,
            in_flight_max: 2,
            resend_after: TimeDelta::seconds(4),
            outbid_after: TimeDelta::seconds(12),
        }
    }

    #[test]
    fn an_idle_lane_opens_at_once_and_a_busy_one_keeps_its_pace() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(1);
        let before = |milliseconds| Some(now - TimeDelta::milliseconds(milliseconds));

        assert!(may_open(&policy(), 0, before(0), now));
        assert!(!may_open(&policy(), 1, before(99), now));
        assert!(may_open(&policy(), 1, before(100), now));
        assert!(!may_open(&policy(), 2, before(1000), now));
    }

    fn composed(waiting: &[(bool, u64)]) -> Vec<usize> {
        let checked = |(alone, gas): &(bool, u64)| Checked { block: 1, payer_code: String::new(), alone: *alone, gas: *gas };
        let waiting: Vec<_> = waiting.iter().map(checked).collect();
        compose(&waiting.iter().collect::<Vec<_>>(), 3)
    }

    #[test]
    fn a_batch_takes_the_oldest_that_may_share() {
        let (alone, sharing) = ((true, 50_000), (false, 50_000));

        assert_eq!(composed(&[]), Vec::<usize>::new());
        assert_eq!(composed(&[alone, sharing, sharing]), vec![0]);
        assert_eq!(composed(&[sharing, alone, sharing, sharing, sharing]), vec![0, 2, 3]);
    }

    #[test]
    fn a_batch_takes_no_more_gas_than_a_transaction_may() {
        let (usual, half, huge) = ((false, 50_000), (false, BATCH_GAS_MAX / 2), (false, u64::MAX));

        assert_eq!(composed(&[half, half, usual]), vec![0, 1]);
        // What does not fit is the oldest the next time, and is not overtaken until then.
        assert_eq!(composed(&[usual, huge, usual]), vec![0]);
        assert_eq!(composed(&[huge, usual]), vec![0]);
    }

    #[test]
    fn a_slot_is_sent_again_and_then_outbid() {
        let signed = DateTime::UNIX_EPOCH;
        let at = |seconds| signed + TimeDelta::seconds(seconds);

        assert_eq!(care(&policy(), signed, None, at(0)), Care::Resend);
        assert_eq!(care(&policy(), signed, Some(at(0)), at(3)), Care::Wait);
        assert_eq!(care(&policy(), signed, Some(at(0)), at(4)), Care::Resend);
        assert_eq!(care(&policy(), signed, Some(at(8)), at(11)), Care::Wait);
        assert_eq!(care(&policy(), signed, Some(at(8)), at(12)), Care::Outbid);
        assert_eq!(care(&policy(), signed, Some(at(12)), at(13)), Care::Wait);
    }

    #[test]
    fn a_nonce_is_never_used_twice() {
        assert_eq!(next_nonce(5, 5, None), 5);
        assert_eq!(next_nonce(5, 5, Some(7)), 8);
        assert_eq!(next_nonce(5, 9, Some(7)), 9);
        assert_eq!(next_nonce(8, 8, Some(7)), 8);
        assert_eq!(next_nonce(9, 5, Some(7)), 8);
    }

    #[test]
    fn a_nonce_that_one_answer_makes_up_is_not_believed() {
        assert_eq!(next_nonce(5, u64::MAX, Some(4)), 5 + STRANGE_NONCES_MAX);
        assert_eq!(next_nonce(u64::MAX, 5, Some(4)), 5);
    }
}
