//! Percent-encoding, decoded strictly: what is not an escape is not passed over.

/// Decodes every escape in a text once. `None` if one is malformed, or the result is not UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let [high, low, behind @ ..] = rest else { return None };
        decoded.push(digit(*high)? << 4 | digit(*low)?);
        rest = behind;
    }
    String::from_utf8(decoded).ok()
}

fn digit(letter: u8) -> Option<u8> {
    char::from(letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_once_and_malformed_ones_are_none() {
        for (text, decoded) in [("", ""), ("/a b", "/a b"), ("%2e%2E", ".."), ("%252e", "%2e"), ("%C3%A9", "é")] {
            assert_eq!(decode(text).as_deref(), Some(decoded), "{text}");
        }
        for malformed in ["%", "%2", "%2g", "%+1", "% 1", "a%", "%ff", "%C3"] {
            assert_eq!(decode(malformed), None, "{malformed}");
        }
    }
}
