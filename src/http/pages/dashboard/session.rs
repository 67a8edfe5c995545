//! Signing in with an API key, and out again.

use actix_web::http::header::{COOKIE, HOST, HeaderMap, HeaderValue, LOCATION, ORIGIN, SET_COOKIE};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use schemars::JsonSchema;
use serde_json::json;

use super::super::{EXAMPLE, Frame, MEDIA_TYPE, base, served, show, tell, wants_page};
use crate::api::Service;
use crate::api::status::Status;
use crate::config::Pages;
use crate::domain::account::{ApiKey, Caller};
use crate::flow::session::LASTS;
use crate::http::body;
use crate::http::endpoint::{Errors, Operation, PathItem, at};
use crate::http::problem::{self, Code, Problem};

/// What the browser keeps a session under.
pub const SESSION: &str = "quittance_session";

/// What a browser says of where a form was.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The paths.
pub fn paths() -> Vec<PathItem> {
    let entering = Operation::new("signIn", "Opens a session of the dashboard")
        .about("With an API key of any scope. The session is kept as a cookie for an hour, and only reads.")
        .form::<SignIn>(json!({"key": "key_….…"}))
        .sends_on("The session is open; the dashboard shows itself to it.")
        .answer_header("Set-Cookie", "The session.")
        .errors(Errors::Pages)
        .problems(&[Code::Unauthorized, Code::BadParameter, Code::NotFound]);
    let leaving = Operation::new("signOut", "Ends a session of the dashboard")
        .about("The browser forgets it. What somebody else has copied of it ends with its hour, or with its key.")
        .sends_on("The dashboard asks for a key again.")
        .errors(Errors::Pages)
        .problems(&[Code::BadParameter, Code::NotFound]);
    let asking = Operation::constant("askForKey", "Asks a person for an API key")
        .answers_text("The page.", MEDIA_TYPE, EXAMPLE)
        .errors(Errors::Pages)
        .problems(&[Code::NotFound]);
    vec![at("/dashboard/sign-in").get(form, asking).post(enter, entering), at("/dashboard/sign-out").post(leave, leaving)]
}

/// What the form sends.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the form is read by its names; this describes it")]
struct SignIn {
    /// An API key.
    key: String,
}

#[derive(Template)]
#[template(path = "dashboard/sign-in.html")]
struct SignInPage {
    frame: Frame,
    /// Whether a key was shown that is worth nothing.
    refused: bool,
}

async fn form(service: Data<Service>, request: HttpRequest) -> HttpResponse {
    match served(&service, Pages::Everything) {
        Ok(()) => show(Status::Ok, None, &SignInPage { frame: Frame::of(&service), refused: false }),
        Err(problem) => refuse(&service, &request, &problem),
    }
}

/// Asks for a key.
pub fn ask(service: &Service, refused: bool) -> HttpResponse {
    show(Status::Unauthorized, None, &SignInPage { frame: Frame::of(service), refused })
}

/// Whose session a browser shows; nobody's if it shows none.
pub async fn resume(service: &Service, request: &HttpRequest) -> Result<Caller, Problem> {
    let Some(text) = kept_by(request.headers()) else { return Ok(Caller::Anonymous) };
    let flows = std::sync::Arc::clone(&service.flows);
    service.run(async move { flows.resume_session(&text).await }).await??.ok_or(Problem::Unauthorized)
}

/// The session that a browser shows.
fn kept_by(headers: &HeaderMap) -> Option<String> {
    let mut cookies = headers.get_all(COOKIE).filter_map(|value| value.to_str().ok()).flat_map(|line| line.split(';'));
    let named = |cookie: &str| cookie.trim().strip_prefix(SESSION)?.strip_prefix('=').map(str::to_owned);
    cookies.find_map(named)
}

async fn enter(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    match try_enter(&service, &request, payload).await {
        Ok(session) => sent_on(&service, &session, LASTS.num_seconds()),
        Err(Problem::Unauthorized) if wants_page(request.headers()) => ask(&service, true),
        Err(problem) => refuse(&service, &request, &problem),
    }
}

async fn try_enter(service: &Service, request: &HttpRequest, payload: Payload) -> Result<String, Problem> {
    served(service, Pages::Everything)?;
    own_form(service, request.headers())?;
    let bytes = body::read_form(service, request, payload).await?;
    let key = key_in(&bytes).ok_or(Problem::Unauthorized)?;
    let flows = std::sync::Arc::clone(&service.flows);
    service.run(async move { flows.open_session(&key).await }).await??.ok_or(Problem::Unauthorized)
}

/// The key in what a form has sent. People copy white space with it.
fn key_in(form: &[u8]) -> Option<ApiKey> {
    let key = url::form_urlencoded::parse(form).find(|(name, _)| name == "key")?.1;
    ApiKey::parse(key.trim())
}

async fn leave(service: Data<Service>, request: HttpRequest) -> HttpResponse {
    match served(&service, Pages::Everything).and_then(|()| own_form(&service, request.headers())) {
        Ok(()) => sent_on(&service, "", 0),
        Err(problem) => refuse(&service, &request, &problem),
    }
}

fn refuse(service: &Service, request: &HttpRequest, problem: &Problem) -> HttpResponse {
    if wants_page(request.headers()) { tell(service, problem) } else { problem.response() }
}

/// Sends a browser to the dashboard, with what it is to keep: for our pages alone, and for no script.
fn sent_on(service: &Service, session: &str, seconds: i64) -> HttpResponse {
    let place = format!("{}/dashboard", base(&service.flows.public_url));
    let secure = if service.flows.public_url.starts_with("https://") { "; Secure" } else { "" };
    let cookie = format!("{SESSION}={session}; Path={place}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    problem::begin(Status::SeeOther, None).insert_header((LOCATION, place)).insert_header((SET_COOKIE, cookie)).finish()
}

/// Whether a form of ours was sent. Another site could have a browser sign in with a key of its own, to see what is done then.
fn own_form(service: &Service, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |value: Option<&HeaderValue>| value.map(|value| value.to_str().unwrap_or_default().to_owned());
    let (site, origin, host) = (text(headers.get(SEC_FETCH_SITE)), text(headers.get(ORIGIN)), text(headers.get(HOST)));
    if is_own(site.as_deref(), origin.as_deref(), host.as_deref(), &service.flows.public_url) {
        return Ok(());
    }
    Err(Problem::BadParameter("the form was sent from another site".to_owned()))
}

/// Browsers say where a form was, in the one way or the other. What says neither is no browser.
fn is_own(site: Option<&str>, origin: Option<&str>, host: Option<&str>, public_url: &str) -> bool {
    match (site, origin) {
        (Some(site), _) => ["same-origin", "none"].contains(&site),
        (None, Some(origin)) => {
            let place = |url: &str| url.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default().to_owned());
            let from = place(origin);
            from.is_some() && (from.as_deref() == host || from == place(public_url))
        }
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_other_sites_are_refused() {
        let own = |site, origin| is_own(site, origin, Some("pay.example:4020"), "https://pay.example.com/quittance");

        assert!(own(Some("same-origin"), None) && own(Some("none"), None) && own(None, None));
        assert!(own(None, Some("http://pay.example:4020")) && own(None, Some("https://pay.example.com")));
        for site in ["cross-site", "same-site", ""] {
            assert!(!own(Some(site), Some("http://pay.example:4020")), "{site}");
        }
        for origin in ["https://evil.example", "null", "http://pay.example:4021", ""] {
            assert!(!own(None, Some(origin)), "{origin}");
        }
    }

    #[test]
    fn the_session_is_found_among_other_cookies() {
        let kept = |line: &'static str| kept_by(&HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(line))]));

        assert_eq!(kept("a=b; quittance_session=key_1.2.3; c=d").as_deref(), Some("key_1.2.3"));
        for line in ["", "a=quittance_session", "quittance_sessions=1", "quittance_session"] {
            assert_eq!(kept(line), None, "{line}");
        }
    }

    #[test]
    fn a_key_is_read_from_the_form_with_what_was_copied_around_it() {
        let text = format!("key_{}.{}", "0".repeat(32), "ab".repeat(32));

        assert_eq!(key_in(format!("key=+{text}%0A").as_bytes()).map(|key| key.reveal()), Some(text.clone()));
        for form in ["", "key=", "key=nonsense", &format!("other={text}")] {
            assert!(key_in(form.as_bytes()).is_none(), "{form}");
        }
    }
}
