//! Problems as HTTP tells them: problem details in JSON (RFC 9457).

use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;

pub use crate::api::problem::Problem;
use crate::api::problem::{self, Name};
use crate::api::status::Status;

#[derive(Serialize)]
struct Details {
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
}

/// An answer with a status, and what this status is always told with.
pub fn begin(status: Status) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(StatusCode::from_u16(status.number()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    match status {
        Status::Unavailable => drop(response.insert_header((RETRY_AFTER, problem::RETRY_AFTER.as_secs()))),
        Status::Unauthorized => drop(response.insert_header((WWW_AUTHENTICATE, "Bearer"))),
        _ => {}
    }
    response
}

impl Problem {
    /// The answer.
    #[must_use]
    pub fn response(&self) -> HttpResponse {
        let Name { status, code, title } = self.name();
        let details = Details { kind: "about:blank", code, title, status: status.number(), detail: self.to_string() };
        begin(status).content_type("application/problem+json").json(details)
    }
}

/// A path that takes some methods, and says so to everybody who tries another one.
pub fn methods(path: &str) -> actix_web::Resource {
    actix_web::web::resource(path).default_service(actix_web::web::to(|| async { Problem::MethodNotAllowed.response() }))
}

/// A path that is only read, and says so to everybody who tries something else.
pub fn read_only(path: &str) -> actix_web::Resource {
    methods(path)
}

/// The answer to a path that does not exist.
pub fn not_found() -> HttpResponse {
    Problem::NotFound.response()
}
