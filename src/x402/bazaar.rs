//! The extension `bazaar`: how a paid resource says of itself what it is and how it is called, so that it can be found.
//!
//! In version 2 the declaration stands in the payment payload, where the buyer repeats what the server has said; in version 1 it stands
//! in the requirements. Either may have been written by anybody, and a catalogue shows it to everybody: it is taken as it should be or
//! not at all.

mod metadata;
mod route;
mod v1;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::json_schema::{self, SchemaFault};
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::network::Network;
use crate::domain::payment::{PaymentRequest, SCHEME_TRANSFER, SCHEME_UPTO};
use crate::domain::reason::Version;
use metadata::Metadata;

/// The key of the extension.
pub const EXTENSION: &str = "bazaar";

/// Largest declaration, as JSON. Those of the SDKs have one or two thousand bytes.
const DECLARATION_BYTES_MAX: usize = 16 << 10;

/// Largest terms, as JSON.
const TERMS_BYTES_MAX: usize = 4 << 10;

/// Longest name of a tool.
const TOOL_BYTES_MAX: usize = 128;

const QUERY_METHODS: [&str; 3] = ["GET", "HEAD", "DELETE"];
const BODY_METHODS: [&str; 3] = ["POST", "PUT", "PATCH"];
const BODY_TYPES: [&str; 3] = ["json", "form-data", "text"];
const TRANSPORTS: [&str; 2] = ["streamable-http", "sse"];

/// Members of `extra` that are about one payment and not about the resource.
const PASSING_EXTRAS: [&str; 5] = ["invoice", "memo", "recentBlockhash", "lastValidBlockHeight", "recentSlot"];

/// What a request says of the resource that is paid for, not yet looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Declaration {
    version: Version,
    /// `{info, schema, routeTemplate?}` as it stands in the request.
    extension: Value,
    /// The object that describes the resource: `paymentPayload.resource`, or the requirements themselves in version 1.
    resource: Value,
    requirements: Value,
    terms: Terms,
}

/// How a resource can be paid for, as far as it tells one way from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Where.
    pub network: Network,
    /// How.
    pub scheme: String,
    /// In which token.
    pub asset: Address,
    /// To whom.
    pub pay_to: Address,
}

/// How a resource is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By a request over HTTP.
    Http,
    /// As a tool of the Model Context Protocol.
    Mcp,
}

impl Kind {
    /// The word on the wire and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Mcp => "mcp",
        }
    }
}

/// A resource as the catalogue has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// The version in which it is paid.
    pub version: Version,
    /// How it is called.
    pub kind: Kind,
    /// Where it is: without query and fragment, and with the names of parameters in their places.
    pub url: String,
    /// Which of those at this place it is: the method, or the tool. Empty if the declaration does not say.
    pub operation: String,
    /// What it is, for people.
    pub description: Option<String>,
    /// What it answers with.
    pub mime_type: Option<String>,
    /// Who offers it, for people.
    pub service_name: Option<String>,
    /// What it is about.
    pub tags: Vec<String>,
    /// A picture of who offers it.
    pub icon_url: Option<String>,
    /// `{info, schema, routeTemplate?}` for whoever wants to call it.
    pub bazaar: Value,
    /// How it can be paid for.
    pub terms: Terms,
    /// The same as the requirements that a server would ask for.
    pub requirements: Value,
}

/// Why a declaration is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It is larger than anybody needs.
    #[error("the declaration or the payment requirements are too large")]
    TooLarge,
    /// The resource has no usable address.
    #[error("resource.url: must be an absolute http or https URL without credentials, or mcp for a tool")]
    Url,
    /// There is no input of a kind that exists.
    #[error("info.input: must be an object with the type http or mcp")]
    Input,
    /// There is no such method here.
    #[error("info.input.method: must be GET, HEAD, DELETE, POST, PUT or PATCH")]
    Method,
    /// A body of a kind that does not exist, or where no body belongs.
    #[error("info.input.bodyType: must be json, form-data or text, with POST, PUT or PATCH")]
    BodyType,
    /// A tool without a name, without a schema of its input, or over a transport that does not exist.
    #[error("info.input: a tool needs a toolName and an inputSchema, and its transport is streamable-http or sse")]
    Tool,
    /// The path with the names of its parameters is not one.
    #[error("routeTemplate: must be a path without traversal, whatever its escapes hide")]
    RouteTemplate,
    /// The schema cannot be judged by, or `info` does not fit it.
    #[error("{0}")]
    Schema(#[from] SchemaFault),
}

impl Rejection {
    /// The code on the wire.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "declaration_too_large",
            Self::Url => "invalid_resource_url",
            Self::Input => "invalid_input",
            Self::Method => "invalid_method",
            Self::BodyType => "invalid_body_type",
            Self::Tool => "invalid_tool",
            Self::RouteTemplate => "invalid_route_template",
            Self::Schema(SchemaFault::External) => "external_schema_reference",
            Self::Schema(SchemaFault::Keyword(_)) => "invalid_schema",
            Self::Schema(SchemaFault::Costly) => "schema_too_costly",
            Self::Schema(SchemaFault::Mismatch) => "info_does_not_fit_schema",
        }
    }
}

impl Declaration {
    /// Finds the declaration in a request. A resource of version 1 that does not want to be found has none. Neither has a transfer that pays
    /// an invoice, which was made without us, nor a payment of nothing, or an entry would cost nothing.
    #[must_use]
    pub fn find(payload: &Value, requirements: &Value, request: &PaymentRequest) -> Option<Self> {
        if request.scheme == SCHEME_TRANSFER || request.amount.is_zero() {
            return None;
        }
        let (extension, resource) = match request.version {
            Version::V1 => (v1::extension(requirements)?, requirements),
            Version::V2 => {
                let extension = payload.get("extensions")?.get(EXTENSION).filter(|extension| !extension.is_null())?;
                (extension.clone(), payload.get("resource").unwrap_or(&Value::Null))
            }
        };
        let terms = Terms {
            network: request.network.clone(),
            scheme: request.scheme.clone(),
            asset: request.asset,
            pay_to: request.pay_to,
        };
        let (resource, mut requirements) = (resource.clone(), requirements.clone());
        if request.scheme == SCHEME_UPTO
            && let Some(most) = most(payload)
        {
            requirements["amount"] = most.into();
        }
        Some(Self { version: request.version, extension, resource, requirements, terms })
    }

    /// Reads the declaration as the catalogue would have it.
    ///
    /// # Errors
    /// See [`Rejection`]. Of a name, tags or an icon that are not as they should be the rest is taken.
    pub fn read(&self) -> Result<Resource, Rejection> {
        if self.extension.to_string().len() > DECLARATION_BYTES_MAX {
            return Err(Rejection::TooLarge);
        }
        let info = self.extension.get("info").unwrap_or(&Value::Null);
        let (kind, operation) = operation(info)?;
        let template = self.extension.get("routeTemplate").filter(|template| !template.is_null());
        let url = route::catalogue_url(kind, self.resource_url(), template)?;
        json_schema::validate(self.extension.get("schema").unwrap_or(&Value::Null), info)?;

        let requirements = self.public_requirements(&url);
        if requirements.to_string().len() > TERMS_BYTES_MAX {
            return Err(Rejection::TooLarge);
        }
        let Metadata { description, mime_type, service_name, tags, icon_url } = Metadata::of(&self.resource);
        Ok(Resource {
            version: self.version,
            kind,
            url,
            operation,
            description,
            mime_type,
            service_name,
            tags,
            icon_url,
            bazaar: self.public_extension(template),
            terms: self.terms.clone(),
            requirements,
        })
    }

    fn resource_url(&self) -> &str {
        let name = match self.version {
            Version::V1 => "resource",
            Version::V2 => "url",
        };
        self.resource.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The extension without what only this buyer asked for: which of the users, documents or places it was is nobody else's business.
    fn public_extension(&self, template: Option<&Value>) -> Value {
        let mut info = self.extension.get("info").cloned().unwrap_or_default();
        if let Some(input) = info.get_mut("input").and_then(Value::as_object_mut) {
            input.remove("pathParams");
        }
        let mut public = json!({"info": info, "schema": self.extension.get("schema")});
        if let Some(template) = template {
            public["routeTemplate"] = template.clone();
        }
        public
    }

    fn public_requirements(&self, url: &str) -> Value {
        const V1: [&str; 9] =
            ["scheme", "network", "maxAmountRequired", "description", "mimeType", "payTo", "maxTimeoutSeconds", "asset", "extra"];
        const V2: [&str; 7] = ["scheme", "network", "amount", "asset", "payTo", "maxTimeoutSeconds", "extra"];
        let names: &[&str] = match self.version {
            Version::V1 => &V1,
            Version::V2 => &V2,
        };
        let member =
            |name: &&str| Some(((*name).to_owned(), self.requirements.get(name).filter(|value| !value.is_null())?.clone()));
        let mut public: Map<_, _> = names.iter().filter_map(member).collect();
        if self.version == Version::V1 {
            public.insert("resource".to_owned(), url.into());
        }
        if let Some(extra) = public.get_mut("extra").and_then(Value::as_object_mut) {
            extra.retain(|name, _| !PASSING_EXTRAS.contains(&name.as_str()));
        }
        Value::Object(public)
    }
}

/// What was asked for at most, where the requirements say what one buyer's use came to, which is nobody else's business.
fn most(payload: &Value) -> Option<&str> {
    payload.pointer("/accepted/amount")?.as_str().filter(|text| text.parse::<Amount>().is_ok())
}

/// What kind of resource it is, and which of those at one place.
fn operation(info: &Value) -> Result<(Kind, String), Rejection> {
    let input = info.get("input").filter(|input| input.is_object()).ok_or(Rejection::Input)?;
    match input.get("type").and_then(Value::as_str) {
        Some("http") => Ok((Kind::Http, method(input)?.to_owned())),
        Some("mcp") => Ok((Kind::Mcp, tool(input)?.to_owned())),
        _ => Err(Rejection::Input),
    }
}

fn method(input: &Value) -> Result<&str, Rejection> {
    let named = |name: &'static str| input.get(name).filter(|value| !value.is_null());
    let method = named("method").map(|method| method.as_str().unwrap_or_default());
    let takes_body = method.is_none_or(|method| BODY_METHODS.contains(&method));
    if method.is_some_and(|method| !takes_body && !QUERY_METHODS.contains(&method)) {
        return Err(Rejection::Method);
    }
    let body_type = named("bodyType").map(|body_type| body_type.as_str().unwrap_or_default());
    if body_type.is_some_and(|body_type| !takes_body || !BODY_TYPES.contains(&body_type)) {
        return Err(Rejection::BodyType);
    }
    Ok(method.unwrap_or_default())
}

fn tool(input: &Value) -> Result<&str, Rejection> {
    let name = input.get("toolName").and_then(Value::as_str).filter(|name| (1..=TOOL_BYTES_MAX).contains(&name.len()));
    let has_schema = input.get("inputSchema").is_some_and(Value::is_object);
    let transport = input.get("transport").filter(|transport| !transport.is_null());
    let has_way = transport.is_none_or(|transport| transport.as_str().is_some_and(|name| TRANSPORTS.contains(&name)));
    name.filter(|_| has_schema && has_way).ok_or(Rejection::Tool)
}

impl Resource {
    /// A hash over all that is shown of it. Two that have the same are the same.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let shown = json!([
            self.description,
            self.mime_type,
            self.service_name,
            self.tags,
            self.icon_url,
            self.bazaar,
            self.requirements
        ]);
        Sha256::digest(shown.to_string()).into()
    }
}

#[cfg(test)]
mod tests;
