//! Addresses at which payments are surely lost, or would make us pay gas for nothing.

use crate::chain::address::NotPayable;
use crate::domain::address::{Address, decode_hex};

/// Permit2 has one address everywhere. Tokens sent there are lost.
const PERMIT2: &str = "000000000022d473030f116ddee9f6b43ac78ba3";

/// Where people burn tokens.
const DEAD: &str = "000000000000000000000000000000000000dead";

/// Checks where money is to be sent, without asking the chain. `tokens` are those that are paid with, and `signers` ours.
///
/// # Errors
/// See [`NotPayable`].
pub fn check(address: Address, tokens: &[Address], signers: &[Address]) -> Result<(), NotPayable> {
    if is_nobodys(address) {
        Err(NotPayable::Zero)
    } else if is_program(address) {
        Err(NotPayable::Program)
    } else if tokens.contains(&address) {
        Err(NotPayable::Token)
    } else if signers.contains(&address) {
        Err(NotPayable::OurSigner)
    } else {
        Ok(())
    }
}

fn is_nobodys(address: Address) -> bool {
    address == Address::Evm([0; 20]) || is(address, DEAD)
}

fn is_program(address: Address) -> bool {
    // 0x1 to 0xff: the room for precompiled contracts.
    let is_low = |bytes: &[u8; 20]| bytes[..19].iter().all(|byte| *byte == 0);
    is(address, PERMIT2) || matches!(&address, Address::Evm(bytes) if is_low(bytes))
}

fn is(address: Address, digits: &str) -> bool {
    decode_hex(digits).map(Address::Evm) == Some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Address = Address::Evm([1; 20]);
    const SIGNER: Address = Address::Evm([5; 20]);

    fn low(tail: u16) -> Address {
        let [high, low] = tail.to_be_bytes();
        Address::Evm(std::array::from_fn(|index| match index {
            18 => high,
            19 => low,
            _ => 0,
        }))
    }

    #[test]
    fn money_goes_where_somebody_has_a_key_for_it() {
        let check = |address| check(address, &[Address::Evm([9; 20]), TOKEN], &[SIGNER]);
        let known = |digits| Address::Evm(decode_hex(digits).unwrap());

        assert_eq!(check(Address::Evm([3; 20])), Ok(()));
        assert_eq!(check(low(0)), Err(NotPayable::Zero));
        assert_eq!(check(known(DEAD)), Err(NotPayable::Zero));
        assert_eq!(check(low(1)), Err(NotPayable::Program));
        assert_eq!(check(low(0xff)), Err(NotPayable::Program));
        assert_eq!(check(low(0x100)), Ok(()));
        assert_eq!(check(known(PERMIT2)), Err(NotPayable::Program));
        assert_eq!(check(TOKEN), Err(NotPayable::Token));
        assert_eq!(check(SIGNER), Err(NotPayable::OurSigner));
    }
}
