//! Problems as HTTP tells them: problem details in JSON (RFC 9457).

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder};
use schemars::JsonSchema;
use serde::Serialize;

pub use crate::api::code::Code;
use crate::api::problem::Name;
pub use crate::api::problem::Problem;
use crate::api::status::Status;

/// The media type of problem documents.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A problem document (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct Details {
    /// Always `about:blank`: the code says more.
    #[serde(rename = "type")]
    #[schemars(extend("const" = "about:blank"))]
    kind: &'static str,
    /// What programs look at. docs/ERRORS.md says of each code what to do.
    code: &'static str,
    /// The kind of problem, for people.
    title: &'static str,
    /// The HTTP status once more.
    status: u16,
    /// What exactly was wrong, for people.
    detail: String,
}

impl Details {
    /// A document about a problem with this name.
    #[must_use]
    pub const fn new(name: Name, detail: String) -> Self {
        let Name { status, code, title } = name;
        Self { kind: "about:blank", code, title, status: status.number(), detail }
    }
}

/// An answer with a status, and what this status is always told with.
pub fn begin(status: Status, retry_after: Option<Duration>) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(StatusCode::from_u16(status.number()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    if let Some(wait) = retry_after {
        response.insert_header((RETRY_AFTER, wait.as_secs()));
    }
    if status == Status::Unauthorized {
        response.insert_header((WWW_AUTHENTICATE, "Bearer"));
    }
    response
}

impl Problem {
    /// The answer.
    #[must_use]
    pub fn response(&self) -> HttpResponse {
        let name = self.name();
        begin(name.status, self.retry_after()).content_type(MEDIA_TYPE).json(Details::new(name, self.to_string()))
    }
}

/// The answer to a method that a path does not take.
pub fn method_not_allowed() -> HttpResponse {
    Problem::MethodNotAllowed.response()
}

/// The answer to a path that does not exist.
pub fn not_found() -> HttpResponse {
    Problem::NotFound.response()
}
