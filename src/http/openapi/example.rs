//! Examples of answers, made of the examples that their schemas have.

use serde_json::{Map, Value, json};

use super::components::SCHEMAS;

/// What a moment looks like.
const MOMENT: &str = "2026-11-28T14:15:44.032446Z";

/// Gives everything in the document that has a media type an example, where it has none.
pub fn fill(document: &mut Value, schemas: &Map<String, Value>) {
    match document {
        Value::Object(members) => {
            let is_media = members.contains_key("schema") && !members.contains_key("in");
            if is_media && !members.contains_key("examples") && !members.contains_key("description") {
                let made = example(&members["schema"], schemas);
                members.insert("examples".to_owned(), json!({"example": {"value": made}}));
            }
            members.values_mut().for_each(|member| fill(member, schemas));
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| fill(element, schemas)),
        _ => {}
    }
}

/// Something that fits a schema. Of choices it is the first, of a list one thing.
pub fn example(schema: &Value, schemas: &Map<String, Value>) -> Value {
    let first = |name: &str| schema.get(name).and_then(Value::as_array).and_then(|values| values.first());
    if let Some(given) = first("examples").or(schema.get("const")).or(first("enum")) {
        return given.clone();
    }
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(name_in) {
        return schemas.get(name).map_or(Value::Null, |named| example(named, schemas));
    }
    if let Some(choice) = first("anyOf").or(first("oneOf")) {
        return example(choice, schemas);
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        return whole(schema, parts, schemas);
    }
    match kind(schema) {
        Some("object") => Value::Object(members(schema, schemas)),
        Some("array") => schema.get("items").map_or_else(|| json!([]), |items| json!([example(items, schemas)])),
        Some("string") if schema["format"] == "date-time" => MOMENT.into(),
        Some("string") => "…".into(),
        Some("integer" | "number") => schema.get("minimum").cloned().filter(|minimum| *minimum != 0).unwrap_or_else(|| json!(1)),
        Some("boolean") => true.into(),
        // Anything fits.
        _ => json!({}),
    }
}

/// The name in a reference to a schema.
fn name_in(reference: &str) -> Option<&str> {
    reference.strip_prefix('#')?.strip_prefix(SCHEMAS)?.strip_prefix('/')
}

/// The type of a value that is not `null`.
fn kind(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::Array(types) => types.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        other => other.as_str(),
    }
}

/// What fits all of some schemas, and says what is said beside them.
fn whole(schema: &Value, parts: &[Value], schemas: &Map<String, Value>) -> Value {
    let mut whole = Map::new();
    for part in parts.iter().chain([&json!({"type": "object", "properties": schema.get("properties")})]) {
        if let Value::Object(members) = example(part, schemas) {
            whole.extend(members);
        }
    }
    Value::Object(whole)
}

fn members(schema: &Value, schemas: &Map<String, Value>) -> Map<String, Value> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let members = properties.into_iter().flatten();
    members.map(|(name, property)| (name.clone(), example(property, schemas))).collect()
}
