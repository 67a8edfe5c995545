//! Strict JSON: a document has exactly one reading, or it is refused.
//!
//! Parsers differ about duplicate keys, lone surrogates, nesting and what follows the end. A payment that the resource
//! server reads one way and we read another is an attack, so everything that parsers disagree about is refused here.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::domain::reason::{Reason, Refusal};

/// Deepest nesting of objects and arrays that a payment needs, with room: schemas in extensions reach about a dozen.
pub const DEPTH_MAX: usize = 32;

/// Most members of one object. No honest body comes near, and each one costs an allocation.
pub const MEMBERS_MAX: usize = 4096;

/// Reads one JSON object from `bytes`. The result is always a [`Value::Object`].
///
/// # Errors
/// [`Reason::InvalidJson`], see [`object`].
pub fn parse(bytes: &[u8], depth_max: usize) -> Result<Value, Refusal> {
    object(bytes, depth_max).map(Value::Object)
}

/// Reads one JSON object from `bytes` as its members.
///
/// Numbers keep their kind: `2` is an integer, `2.0` and `2e0` are not.
///
/// # Errors
/// [`Reason::InvalidJson`] for anything but one UTF-8 object without byte order mark, and for duplicate keys, lone
/// surrogates, NUL characters, numbers beyond the range of a double, nesting deeper than `depth_max` and objects of more
/// than [`MEMBERS_MAX`] members.
pub fn object(bytes: &[u8], depth_max: usize) -> Result<Map<String, Value>, Refusal> {
    let refused = |error: serde_json::Error| Refusal::because(Reason::InvalidJson, error.to_string());
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Node { depth_left: depth_max }.deserialize(&mut deserializer).map_err(refused)?;
    deserializer.end().map_err(refused)?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(Refusal::because(Reason::InvalidJson, "the body must be a JSON object")),
    }
}

/// Any value, at a place where `depth_left` more objects or arrays may be opened.
#[derive(Clone, Copy)]
struct Node {
    depth_left: usize,
}

impl Node {
    fn inside<E: Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { depth_left })
    }
}

/// The ledger cannot store a NUL, and strings of other languages end at it.
fn without_nul<E: Error>(text: &str) -> Result<(), E> {
    if text.contains('\0') { Err(E::custom("a NUL character")) } else { Ok(()) }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        without_nul(text)?;
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let element = self.inside()?;
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(element)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let member = self.inside()?;
        let mut values = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            without_nul(&name)?;
            if values.len() == MEMBERS_MAX {
                return Err(A::Error::custom(format_args!("an object of more than {MEMBERS_MAX} members")));
            }
            if values.contains_key(&name) {
                return Err(A::Error::custom(format_args!("duplicate key {name:?}")));
            }
            let value = members.next_value_seed(member)?;
            values.insert(name, value);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn refusal(bytes: impl AsRef<[u8]>) -> String {
        let refusal = parse(bytes.as_ref(), DEPTH_MAX).expect_err("refused");
        assert_eq!(refusal.reason, Reason::InvalidJson);
        refusal.detail.expect("a detail")
    }

    fn nested(depth: usize) -> String {
        format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth))
    }

    fn members(count: usize) -> String {
        let members: Vec<String> = (0..count).map(|index| format!("\"{index}\":{index}")).collect();
        format!("{{{}}}", members.join(","))
    }

    #[test]
    fn what_is_not_one_json_object_is_refused() {
        // Rows 1 to 4.
        for body in [
            "",
            " ",
            "null",
            "[]",
            "\"x\"",
            "42",
            "{",
            "{\"a\":",
            "{\"a\":1",
            "{} x",
            "{}{}",
            "{},",
            "{\"a\":1,}",
            "{'a':1}",
            "{a:1}",
        ] {
            refusal(body);
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_at_any_depth() {
        // Row 5. The second spelling of the key is the same string, written with an escape.
        for body in
            [r#"{"amount":"1","amount":"2"}"#, r#"{"a":[{"b":{"amount":"1","\u0061mount":"1"}}]}"#, r#"{"a":null,"a":null}"#]
        {
            assert!(refusal(body).contains("duplicate key"), "{body}");
        }
    }

    #[test]
    fn nesting_has_an_end() {
        // Row 6.
        assert!(parse(nested(DEPTH_MAX).as_bytes(), DEPTH_MAX).is_ok());
        assert!(refusal(nested(DEPTH_MAX + 1)).contains("nested too deeply"));
        assert!(refusal(nested(10_000)).contains("nested too deeply"));
        assert!(refusal(format!("{{\"a\":{}", "[".repeat(10_000))).contains("nested too deeply"));
    }

    #[test]
    fn only_utf_8_is_read() {
        // Row 9.
        let utf_16: Vec<u8> = "{\"a\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        refusal(utf_16);
        refusal("\u{feff}{}");
        refusal(b"{\"a\":\"\xff\"}");
        refusal(b"{\"a\":\"\xc0\x80\"}");
        refusal(b"{\"a\":\"\xed\xa0\x80\"}");
        for text in [r"\ud800", r"\udc00", r"\ud800\ud800", r"\ud800x", r"\udc00\ud800"] {
            refusal(format!("{{\"a\":\"{text}\"}}"));
            refusal(format!("{{\"{text}\":1}}"));
        }
        assert_eq!(parse(br#"{"a":"\ud83d\ude00"}"#, DEPTH_MAX), Ok(json!({"a": "😀"})));
    }

    #[test]
    fn no_string_holds_a_nul() {
        // Row 10.
        for body in [r#"{"a":"x\u0000y"}"#, r#"{"x\u0000":1}"#, r#"{"a":[["\u0000"]]}"#] {
            assert!(refusal(body).contains("NUL"), "{body}");
        }
        refusal(b"{\"a\":\"\0\"}");
    }

    #[test]
    fn an_object_has_a_limit_of_members() {
        // Row 21.
        assert!(parse(members(MEMBERS_MAX).as_bytes(), DEPTH_MAX).is_ok());
        assert!(refusal(members(MEMBERS_MAX + 1)).contains("4096"));
        assert!(refusal(members(10_000)).contains("4096"));
    }

    #[test]
    fn only_a_number_without_point_and_exponent_is_an_integer() {
        for (text, integer) in [
            ("2", Some(2)),
            ("0", Some(0)),
            ("2.0", None),
            ("1e0", None),
            ("-1", None),
            ("-0", None),
            ("18446744073709551616", None),
        ] {
            let value = parse(format!("{{\"a\":{text}}}").as_bytes(), DEPTH_MAX).unwrap();
            assert_eq!(value["a"].as_u64(), integer, "{text}");
        }
        for text in ["01", "+1", ".5", "1.", "0x10", "NaN", "Infinity", "1e400"] {
            refusal(format!("{{\"a\":{text}}}"));
        }
    }

    #[test]
    fn keys_that_are_magic_elsewhere_are_plain_keys_here() {
        let body = r#"{"__proto__":{"constructor":1},"$serde_json::private::RawValue":"1","$serde_json::private::Number":"1"}"#;
        let value = parse(body.as_bytes(), DEPTH_MAX).unwrap();
        assert_eq!(value["$serde_json::private::RawValue"], "1");
        assert_eq!(value["$serde_json::private::Number"], "1");
        assert_eq!(value["__proto__"]["constructor"], 1);
    }

    /// The fingerprint of a payment rests on this; the feature `preserve_order` of `serde_json` would break it.
    #[test]
    fn the_order_of_keys_does_not_show() {
        let [one, other] =
            [r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#].map(|body| parse(body.as_bytes(), DEPTH_MAX).unwrap().to_string());
        assert_eq!(one, other);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            "[^\0]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[^\0]{0,8}", inner, 0..6).prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(value in any_json()) {
            let document = json!({"value": value});
            prop_assert_eq!(parse(document.to_string().as_bytes(), DEPTH_MAX), Ok(document));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes, DEPTH_MAX);
        }
    }
}
