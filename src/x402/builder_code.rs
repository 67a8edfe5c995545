//! The extension `builder-code`: to whom a settlement is attributed besides us.

use serde_json::{Map, Value, json};

use crate::domain::attribution::{Code, Named, SERVICES_MAX};

/// The key of the extension.
pub const EXTENSION: &str = "builder-code";

/// The member of a stored payload that has the names.
const STORED: &str = "builderCode";

/// The names that came with a payment. Nobody's payment fails for a name that is none; it is left out.
#[must_use]
pub fn read(extensions: Option<&Value>) -> Named {
    extensions.and_then(|extensions| extensions.get(EXTENSION)?.get("info")).map(names).unwrap_or_default()
}

/// Adds the names to what is stored of a payment, if there are any.
pub fn store(payload: &mut Value, named: &Named) {
    if *named == Named::default() {
        return;
    }
    let mut members = Map::new();
    if let Some(app) = &named.app {
        members.insert("a".to_owned(), app.as_str().into());
    }
    members.insert("s".to_owned(), json!(named.services.iter().map(Code::as_str).collect::<Vec<_>>()));
    payload[STORED] = members.into();
}

/// Reads back what [`store`] wrote.
#[must_use]
pub fn read_back(payload: &Value) -> Named {
    payload.get(STORED).map(names).unwrap_or_default()
}

fn names(info: &Value) -> Named {
    let code = |value: &Value| value.as_str().and_then(Code::parse);
    let services = match info.get("s") {
        Some(Value::Array(services)) => services.iter().filter_map(code).take(SERVICES_MAX).collect(),
        Some(one) => code(one).into_iter().collect(),
        None => Vec::new(),
    };
    Named { app: info.get("a").and_then(code), services }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Code {
        Code::parse(text).unwrap()
    }

    fn of(info: &Value) -> Named {
        read(Some(&json!({EXTENSION: {"info": info, "schema": {}}})))
    }

    #[test]
    fn names_are_read_and_what_is_none_is_left_out() {
        let both = Named { app: Some(code("my_app")), services: vec![code("one"), code("two")] };
        assert_eq!(of(&json!({"a": "my_app", "s": ["one", "Not One", 1, "two"], "w": "not_yours"})), both);
        assert_eq!(of(&json!({"s": "one"})), Named { app: None, services: vec![code("one")] });
        let many: Vec<_> = (0..20).map(|number| format!("s{number}")).collect();
        assert_eq!(of(&json!({"s": many})).services.len(), SERVICES_MAX);
        for nothing in [json!({}), json!([]), json!("a"), json!({"a": "My App", "s": {}})] {
            assert_eq!(of(&nothing), Named::default(), "{nothing}");
        }
        assert_eq!(read(None), Named::default());
    }

    #[test]
    fn what_is_stored_is_read_back() {
        for named in [
            Named::default(),
            Named { app: Some(code("my_app")), services: Vec::new() },
            Named { app: None, services: vec![code("one")] },
        ] {
            let mut payload = json!({"signature": "0x"});
            store(&mut payload, &named);
            assert_eq!(read_back(&payload), named);
        }
        let mut untouched = json!({"signature": "0x"});
        store(&mut untouched, &Named::default());
        assert_eq!(untouched, json!({"signature": "0x"}));
    }
}
