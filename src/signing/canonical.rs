//! JSON in its one canonical form (RFC 8785), as far as receipts need it: flat objects of texts and small whole numbers.
//!
//! `serde_json` escapes texts and writes whole numbers exactly as the RFC demands. It does not sort, so a type that is written here
//! declares its members in the order of their names.

use serde::Serialize;

/// Writes `value`, whose members are declared in the order of their names.
pub(super) fn canonical(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and whole numbers are always JSON")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Whether the members of an object stand in the order of their names, which `serde_json` keeps in maps.
    pub fn is_sorted(text: &str) -> bool {
        let read: serde_json::Value = serde_json::from_str(text).unwrap();
        serde_json::to_string(&read).unwrap() == text
    }

    #[test]
    fn only_what_rfc_8785_escapes_is_escaped() {
        let cases = [
            ("\u{8}\t\n\u{c}\r", r#""\b\t\n\f\r""#),
            ("\u{0}\u{1}\u{b}\u{1f}", r#""\u0000\u0001\u000b\u001f""#),
            (r#""\"#, r#""\"\\""#),
            ("/\u{7f}<>&'", "\"/\u{7f}<>&'\""),
            ("\u{80}é€\u{2028}\u{fb33}😀", "\"\u{80}é€\u{2028}\u{fb33}😀\""),
        ];

        for (text, written) in cases {
            assert_eq!(canonical(&text), written, "{text:?}");
        }
        assert_eq!(canonical(&u32::MAX), "4294967295");
    }

    #[test]
    fn an_order_is_noticed() {
        assert!(is_sorted(r#"{"payTo":1,"payer":2}"#));
        assert!(!is_sorted(r#"{"payer":2,"payTo":1}"#));
    }
}
