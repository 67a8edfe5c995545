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
use crate::flow::Flows;
use crate::flow::session::{LASTS, SessionError, Token};
use crate::http::body;
use crate::http::endpoint::{Errors, Operation, PathItem, at};
use crate::http::problem::{self, Code, Problem};
use crate::ledger::LedgerError;
use crate::telemetry::ErrorChain;

/// What the browser keeps a session under.
pub const SESSION: &str = "quittance_session";

/// The same under `https`. Browsers take a cookie of such a name from nobody but the host itself, whatever its neighbours would plant.
const SECURE_SESSION: &str = "__Host-quittance_session";

/// Sessions that one form ends at most.
const SESSIONS_MAX: usize = 4;

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
        .about("What somebody else has copied of it is worth nothing then, either.")
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

/// Whose session a browser shows; nobody's if it shows none that is worth anything.
pub async fn resume(service: &Service, request: &HttpRequest) -> Result<Option<Caller>, Problem> {
    // One of two is somebody else's, and nothing says which.
    let flows = service.flows();
    let Ok([token]) = <[Token; 1]>::try_from(kept_by(request.headers(), &flows.public_url)) else { return Ok(None) };
    let Some((key, caller)) = service.run(async move { flows.resume_session(&token).await }).await?? else { return Ok(None) };
    service.flows().admit_key(key)?;
    Ok(Some(caller))
}

/// The sessions that a browser shows.
fn kept_by(headers: &HeaderMap, public_url: &str) -> Vec<Token> {
    let name = name(public_url);
    let cookies = headers.get_all(COOKIE).filter_map(|value| value.to_str().ok()).flat_map(|line| line.split(';'));
    let named = |cookie: &str| Token::parse(cookie.trim().strip_prefix(name)?.strip_prefix('=')?);
    cookies.filter_map(named).collect()
}

/// Whether people reach us over TLS.
fn is_secure(public_url: &str) -> bool {
    url::Url::parse(public_url).is_ok_and(|url| url.scheme() == "https")
}

fn name(public_url: &str) -> &'static str {
    if is_secure(public_url) { SECURE_SESSION } else { SESSION }
}

/// What a browser is to keep for so many seconds: for our pages alone, and for no script.
fn cookie(public_url: &str, session: &str, seconds: i64) -> String {
    let name = name(public_url);
    // The longer name is only taken for the whole host.
    let (place, secure) =
        if is_secure(public_url) { ("/".to_owned(), "; Secure") } else { (format!("{}/dashboard", base(public_url)), "") };
    format!("{name}={session}; Path={place}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

async fn enter(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    match try_enter(&service, &request, payload).await {
        Ok(token) => sent_on(&service, &token.reveal(), LASTS.num_seconds()),
        Err(Problem::Unauthorized) if wants_page(request.headers()) => ask(&service, true),
        Err(problem) => refuse(&service, &request, &problem),
    }
}

/// Opens a session, and ends those that the browser showed: it forgets them, and so nobody could end them later.
async fn try_enter(service: &Service, request: &HttpRequest, payload: Payload) -> Result<Token, Problem> {
    served(service, Pages::Everything)?;
    own_form(service, request.headers())?;
    let bytes = body::read_form(service, request, payload).await?;
    let key = key_in(&bytes).ok_or(Problem::Unauthorized)?;
    let flows = service.flows();
    let replaced = kept_by(request.headers(), &flows.public_url);
    let opening = service.run(async move {
        let opened = flows.open_session(&key).await?;
        if opened.is_some() {
            end_all(&flows, &replaced).await?;
        }
        Ok(opened)
    });
    match opening.await? {
        Ok(opened) => opened.ok_or(Problem::Unauthorized),
        Err(SessionError::Ledger(error)) => Err(error.into()),
        Err(SessionError::Limited(limited)) => Err(limited.into()),
        Err(error @ SessionError::Random(_)) => {
            tracing::error!(error = %ErrorChain(&error), "a session could not be opened");
            Err(Problem::Internal)
        }
    }
}

/// The key in what a form has sent. People copy white space with it.
fn key_in(form: &[u8]) -> Option<ApiKey> {
    let key = url::form_urlencoded::parse(form).find(|(name, _)| name == "key")?.1;
    ApiKey::parse(key.trim())
}

async fn leave(service: Data<Service>, request: HttpRequest) -> HttpResponse {
    let may_leave = served(&service, Pages::Everything).and_then(|()| own_form(&service, request.headers()));
    if let Err(problem) = may_leave {
        return refuse(&service, &request, &problem);
    }
    match end_kept(&service, request.headers()).await {
        Ok(()) => sent_on(&service, "", 0),
        // Whoever sits at this browser next has no session in any case. Copies of it end with their hour.
        Err(problem) => {
            let mut refusal = refuse(&service, &request, &problem);
            if let Ok(nothing) = HeaderValue::try_from(cookie(&service.flows().public_url, "", 0)) {
                refusal.headers_mut().insert(SET_COOKIE, nothing);
            }
            refusal
        }
    }
}

/// Ends the sessions that a browser shows.
async fn end_kept(service: &Service, headers: &HeaderMap) -> Result<(), Problem> {
    let flows = service.flows();
    let kept = kept_by(headers, &flows.public_url);
    Ok(service.run(async move { end_all(&flows, &kept).await }).await??)
}

async fn end_all(flows: &Flows, kept: &[Token]) -> Result<(), LedgerError> {
    for token in kept.iter().take(SESSIONS_MAX) {
        flows.end_session(token).await?;
    }
    Ok(())
}

fn refuse(service: &Service, request: &HttpRequest, problem: &Problem) -> HttpResponse {
    if wants_page(request.headers()) { tell(service, problem) } else { problem.response() }
}

/// Sends a browser to the dashboard, with what it is to keep.
fn sent_on(service: &Service, session: &str, seconds: i64) -> HttpResponse {
    let flows = service.flows();
    let url = &flows.public_url;
    let mut answer = problem::begin(Status::SeeOther, None);
    answer.insert_header((LOCATION, format!("{}/dashboard", base(url))));
    answer.insert_header((SET_COOKIE, cookie(url, session, seconds))).finish()
}

/// Whether a form of ours was sent. Another site could have a browser sign in with a key of its own, to see what is done then.
fn own_form(service: &Service, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |value: Option<&HeaderValue>| value.map(|value| value.to_str().unwrap_or_default().to_owned());
    let (site, origin, host) = (text(headers.get(SEC_FETCH_SITE)), text(headers.get(ORIGIN)), text(headers.get(HOST)));
    if is_own(site.as_deref(), origin.as_deref(), host.as_deref(), &service.flows().public_url) {
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
        let token = "ab".repeat(32);
        let kept = |url, line: String| {
            let found = kept_by(&HeaderMap::from_iter([(COOKIE, HeaderValue::try_from(line).unwrap())]), url);
            found.iter().map(Token::reveal).collect::<Vec<_>>()
        };
        let (open, secure) = ("http://127.0.0.1:4020", "https://pay.example");

        assert_eq!(kept(open, format!("a=b; quittance_session={token}; c=d")), std::slice::from_ref(&token));
        assert_eq!(
            kept(secure, format!("quittance_session={}; __Host-quittance_session={token}", "cd".repeat(32))),
            std::slice::from_ref(&token)
        );
        assert_eq!(kept(open, format!("quittance_session={token}; quittance_session={token}")).len(), 2);
        for line in ["", "a=quittance_session", "quittance_session", "quittance_session=key_1.2.3"] {
            assert!(kept(open, line.to_owned()).is_empty(), "{line}");
        }
        assert!(kept(open, format!("quittance_sessions={token}; __Host-quittance_session={token}")).is_empty());
    }

    #[test]
    fn under_tls_only_the_host_itself_sets_the_cookie() {
        assert_eq!(
            cookie("http://pay.example/below", "ab", 60),
            "quittance_session=ab; Path=/below/dashboard; Max-Age=60; HttpOnly; SameSite=Strict"
        );
        for url in ["https://pay.example/below", "HTTPS://pay.example"] {
            assert_eq!(
                cookie(url, "ab", 60),
                "__Host-quittance_session=ab; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure",
                "{url}"
            );
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
