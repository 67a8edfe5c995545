//! What people are served: the page at which an invoice is paid, and the dashboard. Made on the server, and readable without scripts.
//!
//! Whatever merchants and payers have written is escaped by the templates (`templates/`), and no script or style stands in a page, so the
//! policy that goes with each of them forbids both. Nothing comes from anybody else.

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT, CONTENT_SECURITY_POLICY, HeaderMap, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::Service;
use super::endpoint::Group;
use super::problem::{self, Problem};
use crate::api::status::Status;
use crate::config::Pages;
use crate::telemetry::ErrorChain;

mod assets;
mod chart;
mod dashboard;
mod invoice;
mod money;
mod qr;
mod words;

pub use dashboard::{Overviews, SESSION, overviews};

/// The media type of pages.
pub const MEDIA_TYPE: &str = "text/html";

/// What a page looks like, for the description of the API.
pub const EXAMPLE: &str = "<!doctype html>\n<html lang=\"en\">…</html>\n";

/// What a page may do: show itself, with our style and our script, ask us, and send forms to us.
const POLICY: &str = "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// The paths.
pub fn group() -> Group {
    Group {
        name: "Pages",
        about: "What people are served, and what programs are told at the same places.",
        paths: [invoice::paths(), dashboard::paths(), assets::paths()].into_iter().flatten().collect(),
    }
}

/// What all pages have around them.
struct Frame {
    /// What stands before every path, where the service is below one of a larger site.
    base: String,
    icon: String,
    style: String,
    script: String,
}

impl Frame {
    fn of(service: &Service) -> Self {
        let base = base(&service.flows().public_url);
        let [icon, style, script] =
            [&assets::ICON, &assets::STYLE, &assets::SCRIPT].map(|asset| format!("{base}{}", asset.url()));
        Self { base, icon, style, script }
    }
}

/// The path of a URL without a slash at its end.
fn base(public_url: &str) -> String {
    url::Url::parse(public_url).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default()
}

/// A page that says why there is no other one.
#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    frame: Frame,
    title: &'static str,
    detail: String,
}

/// Whether whoever asks wants a page. Programs ask for anything, or for JSON.
fn wants_page(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).filter_map(|value| value.to_str().ok()).any(|value| value.to_ascii_lowercase().contains(MEDIA_TYPE))
}

/// Answers somebody who is not let in, if it is a page that was asked for.
pub fn refuse(service: &Service, request: &HttpRequest, problem: &Problem) -> Option<HttpResponse> {
    let is_page = (invoice::is_at(request.path()) || dashboard::is_at(request.path())) && wants_page(request.headers());
    is_page.then(|| tell(service, problem))
}

/// A problem as a page.
fn tell(service: &Service, problem: &Problem) -> HttpResponse {
    let name = problem.name();
    let page = ProblemPage { frame: Frame::of(service), title: name.title, detail: problem.to_string() };
    show(name.status, problem.retry_after(), &page)
}

/// Whether pages of a kind are served here.
fn served(service: &Service, wanted: Pages) -> Result<(), Problem> {
    if service.server.pages >= wanted { Ok(()) } else { Err(Problem::NotFound) }
}

/// Sends a page, with what keeps it from being more than that.
fn show(status: Status, retry_after: Option<std::time::Duration>, page: &impl Template) -> HttpResponse {
    let text = match page.render() {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(error = %ErrorChain(&error), "a page could not be written");
            return HttpResponse::build(StatusCode::INTERNAL_SERVER_ERROR).finish();
        }
    };
    problem::begin(status, retry_after)
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_FRAME_OPTIONS, "DENY"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // Whoever knows the address of an invoice may read it, so it goes no further.
        .insert_header((REFERRER_POLICY, "same-origin"))
        .insert_header(("cross-origin-opener-policy", "same-origin"))
        .insert_header(("x-robots-tag", "noindex"))
        // The same address answers programs in JSON.
        .insert_header(("vary", "accept"))
        .body(text)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn accepting(media: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(media))])
    }

    #[test]
    fn browsers_get_pages_and_programs_do_not() {
        assert!(wants_page(&accepting("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")));
        assert!(wants_page(&accepting("Text/HTML")));
        for media in ["*/*", "application/json", "application/json, */*;q=0.1", ""] {
            assert!(!wants_page(&accepting(media)), "{media}");
        }
        assert!(!wants_page(&HeaderMap::new()));
    }

    #[test]
    fn links_stay_below_the_public_address() {
        assert_eq!(base("https://pay.example.com"), "");
        assert_eq!(base("https://example.com/pay"), "/pay");
        assert_eq!(base("http://127.0.0.1:4020/a/b"), "/a/b");
    }
}
