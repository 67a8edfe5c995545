//! What the document must be, whatever is served.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// Everything at any depth of a value.
fn walk<'a>(value: &'a Value, look: &mut impl FnMut(&'a Value)) {
    look(value);
    match value {
        Value::Object(members) => members.values().for_each(|member| walk(member, look)),
        Value::Array(elements) => elements.iter().for_each(|element| walk(element, look)),
        _ => {}
    }
}

/// Every operation with its path and method.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let items = paths.iter().flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |member| (path, member)));
    let operations = items.filter(|(_, (method, _))| *method != "parameters");
    operations.map(|(path, (method, operation))| (format!("{method} {path}"), operation)).collect()
}

#[test]
fn the_committed_document_is_what_the_code_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let committed = std::fs::read_to_string(&file).unwrap_or_default();

    assert!(committed == text(), "docs/openapi.json is not what the code says: make openapi writes it anew");
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document = document();
    let mut named = BTreeSet::new();
    walk(&document, &mut |value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
            named.insert(reference.rsplit('/').next().unwrap());
        }
    });
    let schemas: BTreeSet<_> = document["components"]["schemas"].as_object().unwrap().keys().map(String::as_str).collect();

    assert_eq!(named, schemas);
    // A name with a number at its end is that of two types.
    let twice: Vec<_> = schemas.iter().filter(|name| name.ends_with(|letter: char| letter.is_ascii_digit())).collect();
    assert_eq!(twice.len(), schemas.iter().filter(|name| name.ends_with("V1") || name.ends_with("V2")).count(), "{twice:?}");
}

#[test]
fn every_operation_has_a_name_of_its_own_and_every_part_of_its_path_is_described() {
    let document = document();
    let mut names = BTreeSet::new();
    for (place, operation) in operations(&document) {
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "{place}");
        assert!(operation["responses"].as_object().unwrap().keys().any(|status| status.starts_with(['2', '3'])), "{place}");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        let parts: Vec<_> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let described: Vec<_> =
            item["parameters"].as_array().into_iter().flatten().map(|part| part["name"].as_str().unwrap()).collect();
        assert_eq!(parts, described, "{path}");
    }
}

#[test]
fn the_document_has_every_code_and_invents_none() {
    let document = document();
    let mut words = BTreeSet::new();
    for (_, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            walk(response, &mut |value| {
                for member in ["code", "invalidReason", "errorReason"] {
                    let codes = value.pointer(&format!("/properties/{member}/enum")).and_then(Value::as_array);
                    words.extend(codes.into_iter().flatten().map(|code| (code.as_str().unwrap(), status.as_str())));
                }
            });
        }
    }
    let named: BTreeSet<_> = words.iter().map(|(code, _)| *code).collect();
    let reasons = Reason::ALL.iter().flat_map(|reason| [Version::V1, Version::V2].map(|version| reason.code_in(version)));
    // A path that does not take a method has no operation for it, calls are those of gRPC, and operators ask another listener.
    let elsewhere = [Code::MethodNotAllowed, Code::TooManyCalls, Code::InvalidConfiguration];
    let described: Vec<_> = Code::ALL.iter().filter(|code| !elsewhere.contains(code)).collect();
    let codes = described.iter().map(|code| code.as_str());
    let unexpected = ["unexpected_verify_error", "unexpected_settle_error"];
    let known: BTreeSet<_> = codes.clone().chain(reasons).chain(unexpected).collect();

    assert_eq!(named, known);
    for code in described {
        let statuses: Vec<_> = words.iter().filter(|(word, _)| *word == code.as_str()).map(|(_, status)| *status).collect();
        assert_eq!(statuses, [code.status().number().to_string()], "{code:?}");
    }
}

#[test]
fn examples_are_there_and_have_no_holes() {
    let document = document();
    for (place, operation) in operations(&document) {
        let contents = operation["responses"].as_object().unwrap().values().chain([&operation["requestBody"]]);
        for content in contents.filter_map(|content| content["content"].as_object()) {
            for (media, of_media) in content {
                let examples = of_media["examples"].as_object().unwrap_or_else(|| panic!("{place} has no example of {media}"));
                assert!(!examples.is_empty(), "{place} {media}");
                for example in examples.values() {
                    walk(&example["value"], &mut |value| assert!(!value.is_null(), "{place}: {example}"));
                }
            }
        }
    }
}
