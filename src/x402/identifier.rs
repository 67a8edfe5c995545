//! The extension `payment-identifier`: the name that a payer gives its payment.

use serde_json::Value;

use super::members::Members;
use crate::domain::reason::{Reason, Refusal};

const EXTENSION: &str = "payment-identifier";
const PATH: &str = "paymentPayload.extensions.payment-identifier";
const INFO_PATH: &str = "paymentPayload.extensions.payment-identifier.info";

/// The name in a payment payload, if it has one.
///
/// # Errors
/// It has another form, or is missing although the extension says that it must be there.
pub(super) fn read(payload: &Value) -> Result<Option<String>, Refusal> {
    let extension = payload.get("extensions").and_then(|extensions| extensions.get(EXTENSION));
    let Some(extension) = extension.filter(|extension| !extension.is_null()) else { return Ok(None) };
    let info = Members::of(extension, PATH, Reason::InvalidPayload)?.object("info", INFO_PATH)?;
    match info.optional_text("id")? {
        Some(id) if is_identifier(id) => Ok(Some(id.to_owned())),
        Some(_) => Err(info.blame("id", "must be 16 to 128 letters, digits, hyphens and underscores")),
        None if info.get("required") == Some(&Value::Bool(true)) => Err(info.blame("id", "is missing")),
        None => Ok(None),
    }
}

fn is_identifier(text: &str) -> bool {
    (16..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(info: &Value) -> Result<Option<String>, Refusal> {
        read(&json!({"extensions": {EXTENSION: {"info": info}}}))
    }

    #[test]
    fn a_name_has_16_to_128_letters_that_need_no_escape() {
        let (shortest, longest) = ("a".repeat(16), "Z".repeat(128));
        for id in [shortest.as_str(), &longest, "pay_0123456789-abcdef"] {
            assert_eq!(of(&json!({"id": id})), Ok(Some(id.to_owned())));
        }
        let (shorter, longer) = ("a".repeat(15), "a".repeat(129));
        for id in ["", &shorter, &longer, "with/a/slash/in/it", "with spaces in it", "schl\u{fc}ssel-f\u{fc}r-heute"] {
            assert_eq!(of(&json!({"id": id})).map_err(|refusal| refusal.reason), Err(Reason::InvalidPayload), "{id}");
        }
    }

    #[test]
    fn only_a_name_that_is_required_may_not_be_missing() {
        for fine in [json!({}), json!({"required": false}), json!({"required": false, "id": null})] {
            assert_eq!(of(&fine), Ok(None));
        }
        for payload in
            [json!({}), json!({"extensions": null}), json!({"extensions": []}), json!({"extensions": {EXTENSION: null}})]
        {
            assert_eq!(read(&payload), Ok(None), "{payload}");
        }
        let missing = of(&json!({"required": true})).unwrap_err();
        assert_eq!(missing, Refusal::because(Reason::InvalidPayload, format!("{INFO_PATH}.id: is missing")));
    }

    #[test]
    fn what_is_no_extension_is_blamed() {
        for wrong in [json!({"extensions": {EXTENSION: 7}}), json!({"extensions": {EXTENSION: {}}})] {
            assert_eq!(read(&wrong).map_err(|refusal| refusal.reason), Err(Reason::InvalidPayload), "{wrong}");
        }
        assert_eq!(of(&json!({"id": 7})).map_err(|refusal| refusal.reason), Err(Reason::InvalidPayload));
    }
}
