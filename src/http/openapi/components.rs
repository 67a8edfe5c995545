//! The schemas that the document names.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Where schemas of answers are, and in the end all.
pub const SCHEMAS: &str = "/components/schemas";

/// Where schemas of requests are until it is known which of them are the same as those of answers.
pub const REQUESTS: &str = "/components/requests";

/// What a schema of requests is called whose type looks otherwise in an answer.
const SUFFIX: &str = "Input";

/// Puts schemas of requests beside those of answers, and has the document name them there.
pub fn merge(mut answers: Map<String, Value>, requests: Map<String, Value>, document: &mut Value) -> Map<String, Value> {
    let find_other = |other: &BTreeSet<String>| {
        let is_other = |name: &str, schema: &Value| {
            let known = answers.get(name).filter(|_| !other.contains(name));
            known.is_some_and(|known| *known != renamed(schema, &|name| new_name(name, other)))
        };
        requests.iter().find(|(name, schema)| is_other(name, schema)).map(|(name, _)| name.clone())
    };
    // What names something that is other than in answers is other itself, so this goes on until nothing more is found.
    let mut other = BTreeSet::new();
    while let Some(name) = find_other(&other) {
        other.insert(name);
    }
    let new_name = |name: &str| new_name(name, &other);
    rename(document, &new_name);
    for (name, schema) in requests {
        answers.insert(new_name(&name), renamed(&schema, &new_name));
    }
    answers
}

/// What a schema of requests is called in the end, if `other` are those that are called the same in answers and are not.
fn new_name(name: &str, other: &BTreeSet<String>) -> String {
    if other.contains(name) { format!("{name}{SUFFIX}") } else { name.to_owned() }
}

fn renamed(schema: &Value, new_name: &impl Fn(&str) -> String) -> Value {
    let mut schema = schema.clone();
    rename(&mut schema, new_name);
    schema
}

/// Turns references to schemas of requests into references to what they are called in the end.
fn rename(value: &mut Value, new_name: &impl Fn(&str) -> String) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get_mut("$ref")
                && let Some(name) = reference.strip_prefix('#').and_then(|path| path.strip_prefix(REQUESTS)?.strip_prefix('/'))
            {
                *reference = format!("#{SCHEMAS}/{}", new_name(name));
            }
            members.values_mut().for_each(|member| rename(member, new_name));
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| rename(element, new_name)),
        _ => {}
    }
}

/// A member of an answer that may be missing is never `null`.
pub fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let required = members.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            if let Some(Value::Object(properties)) = members.get_mut("properties") {
                let optional = properties.iter_mut().filter(|(name, _)| !required.contains(&name.as_str().into()));
                optional.for_each(|(_, property)| refuse_null(property));
            }
            members.values_mut().for_each(without_null);
        }
        Value::Array(elements) => elements.iter_mut().for_each(without_null),
        _ => {}
    }
}

fn refuse_null(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [kind] = types.as_slice() {
            let kind = kind.clone();
            members.insert("type".to_owned(), kind);
        }
    }
    if let Some(Value::Array(words)) = members.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            members.remove("anyOf");
            members.extend(only);
        }
    }
}
