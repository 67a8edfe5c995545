//! Numbers of 256 bits, as contracts count and JSON writes them.

use crate::domain::amount::is_decimal_integer;

/// Bytes from the most significant on.
pub type Uint256 = [u8; 32];

/// Reads a number in the one grammar that the service accepts.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse(text: &str) -> Result<Uint256, &'static str> {
    if !is_decimal_integer(text) {
        return Err("not a decimal integer without sign, spaces or leading zeros");
    }
    let mut number = [0; 32];
    for digit in text.bytes() {
        let mut carry = u16::from(digit - b'0');
        for byte in number.iter_mut().rev() {
            let [high, low] = (u16::from(*byte) * 10 + carry).to_be_bytes();
            (*byte, carry) = (low, high.into());
        }
        if carry > 0 {
            return Err("larger than 2^256 - 1");
        }
    }
    Ok(number)
}

/// Writes a number, as [`parse`] reads it.
#[must_use]
pub fn text(mut number: Uint256) -> String {
    let mut digits = Vec::new();
    loop {
        let mut rest = 0_u16;
        for byte in &mut number {
            let part = rest << 8 | u16::from(*byte);
            // The rest is below ten, and the part below 2,560.
            [_, *byte] = (part / 10).to_be_bytes();
            rest = part % 10;
        }
        let [_, digit] = rest.to_be_bytes();
        digits.push(char::from(b'0' + digit));
        if number == [0; 32] {
            return digits.into_iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_largest_number_has_256_bits() {
        let largest = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        let larger = "115792089237316195423570985008687907853269984665640564039457584007913129639936";

        assert_eq!(parse(largest), Ok([0xff; 32]));
        assert_eq!(text([0xff; 32]), largest);
        assert_eq!(parse(larger), Err("larger than 2^256 - 1"));
        assert!(parse(&"9".repeat(1_000)).is_err());
        assert_eq!(text([0; 32]), "0");
        for other in ["", "01", "+1", "0x1", " 1", "1.0"] {
            assert!(parse(other).is_err(), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number: [u8; 32], small: u128) {
            prop_assert_eq!(parse(&text(number)), Ok(number));
            let read = parse(&small.to_string()).unwrap();
            prop_assert_eq!(u128::from_be_bytes(read[16..].try_into().unwrap()), small);
            prop_assert_eq!(&read[..16], &[0; 16]);
        }
    }
}
