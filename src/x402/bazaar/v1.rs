//! Declarations of version 1, which has no extensions: what stands in `outputSchema`, in the form of version 2.

use serde_json::{Value, json};

use super::{BODY_METHODS, QUERY_METHODS};

/// The names under which servers of version 1 describe their query.
const QUERY_NAMES: [&str; 4] = ["queryParams", "query_params", "query", "params"];

/// The names under which they describe their body.
const BODY_NAMES: [&str; 6] = ["bodyFields", "body_fields", "bodyParams", "body", "data", "properties"];

/// The names under which they describe headers.
const HEADER_NAMES: [&str; 3] = ["headerFields", "header_fields", "headers"];

/// What the requirements declare, unless they declare nothing, or that the resource is not to be found.
pub(super) fn extension(requirements: &Value) -> Option<Value> {
    let declared = requirements.get("outputSchema")?;
    let input = declared.get("input").filter(|input| input.get("type").and_then(Value::as_str) == Some("http"))?;
    let method = input.get("method")?;
    if input.get("discoverable") == Some(&Value::Bool(false)) {
        return None;
    }
    // What is no method is said to be none when the declaration is read.
    let method = method.as_str().map_or_else(|| method.clone(), |method| method.to_ascii_uppercase().into());
    let mut info = json!({"input": {"type": "http", "method": method}});
    let known = method.as_str().filter(|method| QUERY_METHODS.contains(method) || BODY_METHODS.contains(method));
    if known.is_some_and(|method| BODY_METHODS.contains(&method)) {
        info["input"]["bodyType"] = body_type(input).into();
        info["input"]["body"] = object(input, &BODY_NAMES).cloned().unwrap_or_else(|| json!({}));
    }
    for (name, names) in [("queryParams", QUERY_NAMES.as_slice()), ("headers", &HEADER_NAMES)] {
        if let Some(found) = object(input, names) {
            info["input"][name] = found.clone();
        }
    }
    if let Some(output) = declared.get("output").filter(|output| !output.is_null()) {
        info["output"] = json!({"type": "json", "example": output});
    }
    Some(json!({"info": info, "schema": permissive_schema()}))
}

/// Version 1 has no schemas, so this one says only what is certain.
fn permissive_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"input": {"type": "object"}, "output": {"type": "object"}},
        "required": ["input"],
    })
}

fn object<'a>(input: &'a Value, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| input.get(name).filter(|value| value.is_object()))
}

fn body_type(input: &Value) -> &'static str {
    let named = ["bodyType", "body_type"].iter().find_map(|name| input.get(name)?.as_str());
    let named = named.unwrap_or_default().to_ascii_lowercase();
    let has = |words: [&str; 2]| words.iter().any(|word| named.contains(word));
    if has(["form", "multipart"]) {
        "form-data"
    } else if has(["text", "plain"]) {
        "text"
    } else {
        "json"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(input: &Value) -> Option<Value> {
        extension(&json!({"outputSchema": {"input": input}})).map(|extension| extension["info"]["input"].clone())
    }

    #[test]
    fn the_words_of_version_1_become_those_of_version_2() {
        for (input, expected) in [
            (json!({"type": "http", "method": "GET"}), json!({"type": "http", "method": "GET"})),
            (
                json!({"type": "http", "method": "get", "discoverable": true, "query_params": {"city": "string"}, "headers": {"x": "y"}}),
                json!({"type": "http", "method": "GET", "queryParams": {"city": "string"}, "headers": {"x": "y"}}),
            ),
            (
                json!({"type": "http", "method": "POST", "bodyType": "multipart-form", "bodyFields": {"text": {"type": "string"}}}),
                json!({"type": "http", "method": "POST", "bodyType": "form-data", "body": {"text": {"type": "string"}}}),
            ),
            (
                json!({"type": "http", "method": "PUT", "body_type": "text/plain", "params": {"a": "b"}}),
                json!({"type": "http", "method": "PUT", "bodyType": "text", "body": {}, "queryParams": {"a": "b"}}),
            ),
            (json!({"type": "http", "method": "BREW"}), json!({"type": "http", "method": "BREW"})),
            (json!({"type": "http", "method": 7}), json!({"type": "http", "method": 7})),
        ] {
            assert_eq!(info(&input), Some(expected), "{input}");
        }
    }

    #[test]
    fn what_does_not_want_to_be_found_declares_nothing() {
        for input in [
            json!({"type": "http", "method": "GET", "discoverable": false}),
            json!({"type": "http"}),
            json!({"type": "mcp", "method": "GET"}),
            json!({"method": "GET"}),
            json!(null),
        ] {
            assert_eq!(info(&input), None, "{input}");
        }
        for requirements in [json!({}), json!({"outputSchema": null}), json!({"outputSchema": {}})] {
            assert_eq!(extension(&requirements), None);
        }
    }

    #[test]
    fn what_it_answers_is_an_example() {
        let requirements =
            json!({"outputSchema": {"input": {"type": "http", "method": "GET"}, "output": {"temperature": "number"}}});
        assert_eq!(
            extension(&requirements).unwrap()["info"]["output"],
            json!({"type": "json", "example": {"temperature": "number"}})
        );
    }
}
