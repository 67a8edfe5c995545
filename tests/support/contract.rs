//! Holds answers of the service against docs/openapi.json: every answer that these tools get must be one that the document knows, with
//! the members that it says and no others.

use std::collections::HashMap;
use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

/// Where the judge believes to have the document from.
const PLACE: &str = "http://localhost/openapi.json";

/// The document, ready to judge.
struct Contract {
    document: Value,
    schemas: Schemas,
    /// By path, method, status and media type.
    answers: HashMap<[String; 4], SchemaIndex>,
}

static CONTRACT: LazyLock<Contract> = LazyLock::new(Contract::read);

/// The document.
pub fn document() -> &'static Value {
    &CONTRACT.document
}

/// Every path with its methods, in capitals.
pub fn operations() -> Vec<(String, String)> {
    let paths = CONTRACT.document["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().expect("an object").keys().filter(|name| *name != "parameters");
        methods.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

/// Reads an answer as status and text, and holds it against the document if it is JSON. Not in benches, where it would take the time of
/// what is measured.
pub async fn read_text(method: &str, answer: reqwest::Response) -> Result<(u16, String), reqwest::Error> {
    let (path, status) = (answer.url().path().to_owned(), answer.status().as_u16());
    let media = answer.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let text = answer.text().await?;
    if cfg!(test) && media.contains("json") {
        check(method, &path, status, &media, &serde_json::from_str(&text).expect("JSON, as its type says"));
    }
    Ok((status, text))
}

/// The same for an answer that is JSON.
pub async fn read(method: &str, answer: reqwest::Response) -> Result<(u16, Value), reqwest::Error> {
    let (status, text) = read_text(method, answer).await?;
    Ok((status, serde_json::from_str(&text).expect("JSON")))
}

/// Fails unless the document knows this answer.
pub fn check(method: &str, path: &str, status: u16, media: &str, body: &Value) {
    let Contract { document, schemas, answers } = &*CONTRACT;
    let asked = || format!("{method} {path} was answered {status} ({media}): {body}");
    let Some(pattern) = pattern_of(document, path) else {
        assert_eq!((status, &body["code"]), (404, &json!("not_found")), "no such path in docs/openapi.json: {}", asked());
        return;
    };
    if document["paths"][&pattern].get(method.to_lowercase()).is_none() {
        assert_eq!(status, 405, "no such method in docs/openapi.json: {}", asked());
        return;
    }
    let media_type = media.split(';').next().unwrap_or_default().trim().to_owned();
    let key = [pattern, method.to_lowercase(), status.to_string(), media_type];
    let schema = answers.get(&key).unwrap_or_else(|| panic!("docs/openapi.json does not know this: {}", asked()));
    if let Err(error) = schemas.validate(body, *schema) {
        panic!("docs/openapi.json says otherwise: {}\n{error:#}", asked());
    }
}

/// The pattern of a path; one without parts in braces counts for more.
fn pattern_of(document: &Value, path: &str) -> Option<String> {
    let patterns = document["paths"].as_object().expect("paths").keys();
    let fits = |pattern: &&String| {
        let (asked, known) = (path.split('/'), pattern.split('/'));
        let same = |(asked, known): (&str, &str)| asked == known || (known.starts_with('{') && !asked.is_empty());
        asked.clone().count() == known.clone().count() && asked.zip(known).all(same)
    };
    patterns.filter(fits).min_by_key(|pattern| pattern.matches('{').count()).cloned()
}

impl Contract {
    fn read() -> Self {
        let text = std::fs::read_to_string(super::root().join("docs/openapi.json")).expect("docs/openapi.json is there");
        let document: Value = serde_json::from_str(&text).expect("it is JSON");
        let mut strict = document.clone();
        close(&mut strict["components"]["schemas"]);
        let mut names = HashMap::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("an object").iter().filter(|(name, _)| *name != "parameters") {
                for (status, response) in operation["responses"].as_object().expect("responses") {
                    for (media, content) in response["content"].as_object().expect("content") {
                        let name = format!("answer{}", names.len());
                        strict["components"]["schemas"][&name] = content["schema"].clone();
                        let media = media.split(';').next().expect("a type").to_owned();
                        names.insert([path.clone(), method.clone(), status.clone(), media], name);
                    }
                }
            }
        }
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.enable_format_assertions();
        compiler.add_resource(PLACE, strict).expect("it is a resource");
        let mut compile = |name: String| {
            compiler.compile(&format!("{PLACE}#/components/schemas/{name}"), &mut schemas).expect("it is a schema")
        };
        let answers = names.into_iter().map(|(key, name)| (key, compile(name))).collect();
        Self { document, schemas, answers }
    }
}

/// Lets objects have the members that the document names, and no others.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let is_object = members.get("type").is_some_and(|kind| kind == "object");
            if is_object && members.contains_key("properties") {
                members.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            members.values_mut().for_each(close);
        }
        Value::Array(elements) => elements.iter_mut().for_each(close),
        _ => {}
    }
}
