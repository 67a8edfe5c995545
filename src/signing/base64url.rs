//! Base64url without padding (RFC 4648, section 5), where every text that is read is the only text of its bytes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::zeroize::Zeroizing;

/// Writes bytes.
pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads bytes. `None` for padding, white space, letters of the other alphabet, and bits behind the last byte that are not zero.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Reads exactly `N` bytes, of which nothing else stays in memory: they may be a private key.
pub(super) fn decode_exactly<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = Zeroizing::new(decode(text)?);
    bytes.as_slice().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_one_text() {
        assert_eq!(encode([0xfb, 0xff]), "-_8");
        assert_eq!(decode("-_8"), Some(vec![0xfb, 0xff]));
        for text in ["-_8=", "-_9", "+/8", "-_8\n", " -_8", "-_8 ", "-_é", "-"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_length_is_exact() {
        assert_eq!(decode_exactly("-_8"), Some([0xfb, 0xff]));
        assert_eq!(decode_exactly::<1>("-_8"), None);
        assert_eq!(decode_exactly::<3>("-_8"), None);
    }
}
