//! The description of the API: an OpenAPI 3.1 document, written from what is served.
//!
//! Schemas come from the types that are read and written, codes from the enums that name them, and everything else from the list of
//! paths itself. The document is the same whatever the configuration says.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use self::components::{REQUESTS, SCHEMAS, merge, without_null};
use super::endpoint::{Answer, Body, Callers, Describe, Errors, Group, Operation, PathItem, Repeats, at};
use super::problem::{Code, Details, MEDIA_TYPE};
use super::{limits, pages};
use crate::api::problem::Name;
use crate::api::status::Status;
use crate::domain::reason::{Reason, Version};

mod components;
mod example;
mod webhooks;

/// What is said before everything else.
const INTRODUCTION: &str = "\
An x402 facilitator with a ledger. The endpoints of x402 (`/verify`, `/settle`, `/supported`) are at the root, so that the base URL is the \
facilitator URL of any SDK; everything else is under `/v1`.

**Keys.** `Authorization: Bearer key_….…`. A key has one scope: `provider`, `merchant` or `operator`. Where a method may be called without \
a key this is so only if the operator has opened the service (`access = \"open\"`); a key that is worth nothing is refused all the same.

**Problems** are answered as problem documents (RFC 9457), on `/verify`, `/settle` and `/supported` in the endpoint's own answer. Programs \
look at the code. Codes never change their meaning, and new ones may come, so one that is not known is to be treated by its status. A \
method that a path does not have is answered 405 (`method_not_allowed`), a path that is none 404 (`not_found`), and a request line that \
names another host 400 (`bad_parameter`). Members of answers may come, too.

**Lists** come in pages of at most `limit` things. `nextCursor` of a full page is the `cursor` of the next one.

**Repetitions.** With an `Idempotency-Key` a request is done once, and answered as it was the first time. Under `/v1` only good answers \
are kept, for seven days.

No answer may be cached (`Cache-Control: no-store`).";

/// The name of the one way to show who is calling.
const API_KEY: &str = "apiKey";

/// The name of how browsers show it.
const SESSION: &str = "session";

/// The path of the document.
pub fn group() -> Group {
    let operation = Operation::constant("getOpenApi", "This document")
        .about("The description of the API, the same as `quittance openapi` prints.")
        .answers_like::<Map<String, Value>>(Status::Ok, "An OpenAPI 3.1 document.", json!({"openapi": "3.1.1"}));
    Group { name: "Description", about: "What there is.", paths: vec![at("/openapi.json").get(show, operation)] }
}

async fn show() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(text())
}

/// The document as it is printed. It is long, so it is written once.
#[must_use]
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", document()));
    &TEXT
}

/// The document.
#[must_use]
pub fn document() -> Value {
    let groups = super::groups();
    let mut writer = Writer::new();
    let tags: Vec<_> = groups.iter().map(|group| json!({"name": group.name, "description": group.about})).collect();
    let items = groups.iter().flat_map(|group| group.paths.iter().map(|path| (group.name, path)));
    let paths: Map<_, _> = items.map(|(tag, path)| (path.pattern.to_owned(), writer.path(tag, path))).collect();
    let webhooks = webhooks::describe(&mut writer);
    let mut document = json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Quittance",
            "summary": "An x402 facilitator with a ledger",
            "description": INTRODUCTION,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "Where this document comes from"}],
        "tags": tags,
        "paths": paths,
        "webhooks": webhooks,
        "components": {"securitySchemes": {API_KEY: {
            "type": "http", "scheme": "bearer",
            "description": "An API key of an account, as `quittance account create` and `quittance api-key create` print it. Where roles \
                are named, the key must have one of these scopes.",
        }, SESSION: {
            "type": "apiKey", "in": "cookie", "name": pages::SESSION,
            "description": "A session of the dashboard, as `POST /dashboard/sign-in` opens it. It lasts an hour. Where the service is reached by \
                `https`, `__Host-` stands before the name.",
        }}},
    });
    writer.finish(&mut document);
    document
}

/// Writes parts of the document, and remembers the schemas that they name. What is read and what is written may differ for one type:
/// what has a default may be left out of a request, and is always there in an answer.
struct Writer {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Writer {
    fn new() -> Self {
        let settings = |place: &'static str| {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = place.into();
                settings.meta_schema = None;
            })
        };
        Self {
            requests: settings(REQUESTS).for_deserialize().into_generator(),
            answers: settings(SCHEMAS).for_serialize().into_generator(),
        }
    }

    /// Puts the schemas beside what names them, and examples where there are none.
    fn finish(mut self, document: &mut Value) {
        let mut answers = self.answers.take_definitions(false);
        answers.values_mut().for_each(without_null);
        let schemas = merge(answers, self.requests.take_definitions(false), document);
        example::fill(document, &schemas);
        document["components"]["schemas"] = Value::Object(schemas);
    }

    fn path(&mut self, tag: &str, path: &PathItem) -> Value {
        let mut item = Map::new();
        if !path.parts.is_empty() {
            let parts = path
                .parts
                .iter()
                .map(|(name, describe)| json!({"name": name, "in": "path", "required": true, "schema": self.request(*describe)}));
            item.insert("parameters".to_owned(), parts.collect());
        }
        for (method, operation) in path.operations() {
            item.insert(method.as_str().to_ascii_lowercase(), self.operation(tag, path, operation));
        }
        Value::Object(item)
    }

    fn operation(&mut self, tag: &str, path: &PathItem, operation: &Operation) -> Value {
        let mut described = json!({
            "operationId": operation.id,
            "summary": operation.summary,
            "tags": [tag],
            "security": security(operation.callers, operation.in_sessions),
            "responses": self.responses(path, operation),
        });
        if !operation.about.is_empty() {
            described["description"] = operation.about.into();
        }
        let parameters = self.parameters(operation);
        if !parameters.is_empty() {
            described["parameters"] = parameters.into();
        }
        if let Some(Body { media, describe, required, examples }) = &operation.body {
            let examples: Map<_, _> =
                examples.iter().map(|(name, value)| ((*name).to_owned(), json!({"value": value}))).collect();
            let media = *media;
            let content = json!({media: {"schema": self.request(*describe), "examples": examples}});
            described["requestBody"] = json!({"required": required, "content": content});
        }
        described
    }

    fn parameters(&mut self, operation: &Operation) -> Vec<Value> {
        let mut parameters: Vec<_> = operation.query.iter().flat_map(|describe| self.query(*describe)).collect();
        for (name, about) in &operation.headers {
            parameters.push(json!({"name": name, "in": "header", "description": about, "schema": {"type": "string"}}));
        }
        let about = match operation.repeats {
            Repeats::Ignored => return parameters,
            Repeats::Checked => "Of no effect, unless it is malformed: to ask for this twice is to ask for it once.",
            Repeats::Answered => {
                "Names this request: when it comes again under the same key it is not done again, and is answered as before."
            }
        };
        let schema = json!({"type": "string", "minLength": 16, "maxLength": 128, "pattern": "^[!-~]+$"});
        parameters.push(json!({"name": "Idempotency-Key", "in": "header", "description": about, "schema": schema}));
        parameters
    }

    /// The members of a query, which are all texts that stand alone.
    fn query(&mut self, describe: Describe) -> Vec<Value> {
        let mut object = describe(&mut self.requests).to_value();
        without_null(&mut object);
        let required = object["required"].as_array().cloned().unwrap_or_default();
        let members = object["properties"].as_object().cloned().unwrap_or_default();
        let parameter = |(name, mut schema): (String, Value)| {
            let about = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            let mut parameter =
                json!({"name": name, "in": "query", "required": required.contains(&name.as_str().into()), "schema": schema});
            if let Some(about) = about {
                parameter["description"] = about;
            }
            parameter
        };
        members.into_iter().map(parameter).collect()
    }

    fn responses(&mut self, path: &PathItem, operation: &Operation) -> Value {
        let mut responses: BTreeMap<Status, Value> = BTreeMap::new();
        for answer in &operation.answers {
            responses.insert(answer.status, self.answer(answer));
        }
        let mut codes = operation.codes();
        if !path.parts.is_empty() {
            codes.push(Code::NotFound);
        }
        if !limits::is_exempt(path.pattern) {
            codes.push(Code::RateLimited);
        }
        let mut problems: BTreeMap<Status, Problems> = BTreeMap::new();
        for code in codes {
            problems.entry(code.status()).or_default().codes.push(code);
        }
        for (reason, status) in &operation.refusals {
            problems.entry(*status).or_default().reasons.push(*reason);
        }
        for (status, problems) in problems {
            match (operation.errors, responses.get_mut(&status)) {
                (Errors::Typed { member, unexpected, .. }, Some(good)) => problems.join(good, member, unexpected),
                (errors, _) => drop(responses.insert(status, self.problems(status, &problems, errors))),
            }
        }
        responses.into_iter().map(|(status, response)| (status.number().to_string(), response)).collect()
    }

    fn answer(&mut self, answer: &Answer) -> Value {
        let mut content = Map::new();
        for (media, describe, example) in &answer.content {
            let schema = describe.map_or_else(|| json!({"type": "string"}), |describe| self.written(describe));
            let mut of_media = json!({"schema": schema});
            if let Some(example) = example {
                of_media["examples"] = json!({"example": {"value": example}});
            }
            content.insert((*media).to_owned(), of_media);
        }
        let headers = answer.headers.iter().map(|(name, about)| ((*name).to_owned(), header(about)));
        let headers: Map<_, _> = headers.collect();
        let mut response = json!({"description": answer.about, "content": content});
        if !headers.is_empty() {
            response["headers"] = headers.into();
        }
        response
    }

    /// What an answer with this status says that is not good.
    fn problems(&mut self, status: Status, problems: &Problems, errors: Errors) -> Value {
        let (media, schema, examples) = match errors {
            Errors::Documents | Errors::Pages => (MEDIA_TYPE, self.document_of(status, problems), problems.documents()),
            Errors::Typed { describe, example, member, unexpected } => {
                let schema = json!({
                    "allOf": [self.written(describe)],
                    "properties": {member: {"enum": problems.words(unexpected)}}, "required": [member],
                });
                (JSON, schema, problems.typed(example, unexpected))
            }
        };
        let about: Vec<_> =
            examples.iter().map(|(code, example)| format!("- `{code}`: {}", text_of(&example["summary"]))).collect();
        let headers = match status {
            Status::Unavailable => json!({"Retry-After": {
                "description": "Seconds after which asking again makes sense.", "schema": {"type": "integer", "minimum": 0},
                "example": status.retry_after().map(|wait| wait.as_secs()),
            }}),
            Status::Unauthorized => json!({"WWW-Authenticate": header("`Bearer`")}),
            _ => json!({}),
        };
        let mut content = json!({media: {"schema": schema, "examples": examples}});
        if matches!(errors, Errors::Pages) {
            content[pages::MEDIA_TYPE] = json!({"schema": {"type": "string"}, "examples": {"page": {"value": pages::EXAMPLE}}});
        }
        json!({"description": about.join("\n"), "headers": headers, "content": content})
    }

    fn document_of(&mut self, status: Status, problems: &Problems) -> Value {
        json!({
            "allOf": [self.written(SchemaGenerator::subschema_for::<Details>)],
            "properties": {"code": {"enum": problems.words(None)}, "status": {"const": status.number()}},
        })
    }

    fn request(&mut self, describe: Describe) -> Value {
        describe(&mut self.requests).to_value()
    }

    fn written(&mut self, describe: Describe) -> Value {
        let mut schema = describe(&mut self.answers).to_value();
        without_null(&mut schema);
        schema
    }
}

const JSON: &str = "application/json";

/// What is not good about answers of one status.
#[derive(Default)]
struct Problems {
    codes: Vec<Code>,
    reasons: Vec<Reason>,
}

impl Problems {
    /// The codes as the caller reads them. Reasons have them in both versions of the protocol.
    fn words(&self, unexpected: Option<&'static str>) -> Vec<&'static str> {
        let mut words = Vec::new();
        let reasons = self.reasons.iter().flat_map(|reason| [Version::V2, Version::V1].map(|version| reason.code_in(version)));
        for word in self.codes.iter().map(|code| word(*code, unexpected)).chain(reasons) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words
    }

    /// A problem document for each.
    fn documents(&self) -> Map<String, Value> {
        let of_code = |code: &Code| (code.as_str(), code.about(), Details::new((*code).into(), code.about().to_owned()));
        let of_reason = |reason: &Reason| {
            (reason.code(), reason.about(), Details::new(Name::of_transfer(*reason), reason.about().to_owned()))
        };
        let documents = self.codes.iter().map(of_code).chain(self.reasons.iter().map(of_reason));
        documents.map(|(code, about, document)| (code.to_owned(), json!({"summary": about, "value": document}))).collect()
    }

    /// An answer of the endpoint for each.
    fn typed(&self, answer: fn(&'static str, String) -> Value, unexpected: Option<&'static str>) -> Map<String, Value> {
        let codes = self.codes.iter().map(|code| (word(*code, unexpected), code.about()));
        let all = codes.chain(self.reasons.iter().map(|reason| (reason.code(), reason.about())));
        all.map(|(code, about)| (code.to_owned(), json!({"summary": about, "value": answer(code, about.to_owned())}))).collect()
    }

    /// Adds refusals to an answer that may also be good. There are many of them, and their list is elsewhere.
    fn join(&self, good: &mut Value, member: &str, unexpected: Option<&'static str>) {
        let schema = good["content"][JSON]["schema"].take();
        // Where the operator wants it so, what is nobody's fault is told with the status of a good answer.
        let words: Vec<_> = self.words(unexpected).into_iter().chain(unexpected).collect();
        good["content"][JSON]["schema"] = json!({"allOf": [schema], "properties": {member: {"enum": words}}});
    }
}

/// What an endpoint calls it.
fn word(code: Code, unexpected: Option<&'static str>) -> &'static str {
    match (code, unexpected) {
        (Code::Internal | Code::Unavailable, Some(unexpected)) => unexpected,
        (code, _) => code.as_str(),
    }
}

fn header(about: &str) -> Value {
    json!({"description": about, "schema": {"type": "string"}})
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What opens a method: keys, for some methods sessions, and for some nothing at all.
fn security(callers: Callers, in_sessions: bool) -> Value {
    let scoped = |scope: &str| json!({API_KEY: [scope]});
    let mut ways = match callers {
        Callers::Everybody => vec![],
        Callers::Providers => vec![scoped("provider"), scoped("operator"), json!({})],
        Callers::Readers => vec![json!({API_KEY: []}), json!({})],
        Callers::Accounts => vec![json!({API_KEY: []})],
        Callers::Merchants => vec![scoped("merchant")],
        Callers::Overseers => vec![scoped("merchant"), scoped("operator")],
        Callers::Parties => vec![scoped("merchant"), scoped("provider")],
        Callers::Operators => vec![scoped("operator")],
    };
    if in_sessions {
        ways.push(json!({SESSION: []}));
    }
    ways.into()
}

#[cfg(test)]
mod tests;
