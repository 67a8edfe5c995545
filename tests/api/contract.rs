//! docs/openapi.json and the running service: what is described is served, what is not described is not, and keys open what they are said
//! to open. Every other test that gets JSON holds it against the document, too (tests/support/contract.rs).

use serde_json::Value;

use crate::support::chain::{Chain, ChainOptions};
use crate::support::cli::{self, open_account};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::{contract, database};

async fn start(access: &str) -> (Chain, Facilitator) {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let options = Options {
        server: format!("access = {access:?}\n"),
        ..Options::new(NetworkOptions::of(&chain), &database::fresh().await)
    };
    let facilitator = Facilitator::start(&options).await;
    (chain, facilitator)
}

/// The methods that somebody may try.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A path with names of nothing in the place of its parts.
fn filled(pattern: &str) -> String {
    let mut path = pattern.to_owned();
    for (part, prefix) in [
        ("/payments/{id}", "pay"),
        ("/addresses/{id}", "adr"),
        ("/address-lists/{id}", "adr"),
        ("/invoices/{id}", "inv"),
        ("/transfers/{id}", "trf"),
        ("/receipts/{id}", "rct"),
        ("/webhooks/{id}", "whk"),
        ("{delivery}", "dlv"),
        ("{invoice}", "inv"),
    ] {
        let nothing = format!("{prefix}_{}", "0".repeat(32));
        path = path.replace(part, &part.replace("{id}", &nothing).replace("{delivery}", &nothing).replace("{invoice}", &nothing));
    }
    assert!(!path.contains('{'), "{pattern} has a part that this test does not know");
    path
}

/// Status and text of an answer, which the document knows.
async fn ask(facilitator: &Facilitator, method: &str, path: &str, key: Option<&str>) -> (u16, String) {
    let verb = method.parse().expect("a method");
    let mut request =
        facilitator.client().request(verb, format!("{}{path}", facilitator.url)).header("accept", "application/json");
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let answer = request.send().await.expect("an answer");
    if method == "HEAD" {
        (answer.status().as_u16(), String::new())
    } else {
        contract::read_text(method, answer).await.expect("text")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_takes_the_methods_that_the_document_says_and_no_others() {
    let (_chain, facilitator) = start("open").await;
    let documented = contract::operations();
    let mut patterns: Vec<_> = documented.iter().map(|(_, pattern)| pattern).collect();
    patterns.dedup();
    let mut faults = Vec::new();
    for pattern in patterns {
        for method in METHODS {
            let (status, answer) = ask(&facilitator, method, &filled(pattern), None).await;
            let is_documented = documented.iter().any(|(known, path)| known == method && path == pattern);
            if is_documented == (status == 405) {
                faults.push(format!("{method} {pattern}: {status} {answer}"));
            }
        }
        // Whoever asks in another way is told what is possible (RFC 9110, section 15.5.6).
        let refused =
            facilitator.client().patch(format!("{}{}", facilitator.url, filled(pattern))).send().await.expect("an answer");
        let allowed = refused.headers().get("allow").map(|allowed| allowed.to_str().expect("text").to_owned());
        let mut methods: Vec<_> =
            documented.iter().filter(|(_, path)| path == pattern).map(|(method, _)| method.as_str()).collect();
        methods.sort_unstable();
        let mut told: Vec<_> = allowed.as_deref().unwrap_or_default().split(", ").collect();
        told.sort_unstable();
        if told != methods {
            faults.push(format!("{pattern} allows {allowed:?}"));
        }
    }
    assert!(documented.len() > 45, "the operations were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    for nowhere in ["/v1", "/v1/", "/v2/payments", "/openapi", "/verify/", "/i/inv_1"] {
        assert_eq!(ask(&facilitator, "GET", nowhere, None).await.0, 404, "{nowhere}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_served_printed_and_committed_with_the_same_bytes() {
    let (_chain, facilitator) = start("keys").await;
    let committed = std::fs::read_to_string(crate::support::root().join("docs/openapi.json")).expect("it is there");

    let (status, served) = ask(&facilitator, "GET", "/openapi.json", None).await;
    let printed =
        tokio::process::Command::new(crate::support::facilitator::binary()).arg("openapi").output().await.expect("it runs");

    assert_eq!(status, 200);
    assert!(served == committed, "the served document is another one");
    assert!(printed.status.success() && printed.stdout == committed.as_bytes(), "the printed document is another one");
}

/// Whether a key of this scope, or none, opens an operation, as the document says it.
fn opens(security: &Value, scope: Option<&str>, open: bool) -> bool {
    let ways = security.as_array().expect("a list");
    let through = |way: &Value| match (way["apiKey"].as_array(), scope) {
        (Some(scopes), Some(scope)) => scopes.is_empty() || scopes.iter().any(|known| known == scope),
        (Some(_), None) => false,
        // A session is opened with a key.
        (None, _) => way["session"].is_null() && scope.is_none() && open,
    };
    ways.is_empty() || ways.iter().any(through)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_open_what_the_document_says_and_nothing_else() {
    for access in ["keys", "open"] {
        let (_chain, facilitator) = start(access).await;
        let mut callers = vec![(None, None)];
        for scope in ["provider", "merchant", "operator"] {
            let account: cli::Account = open_account(&facilitator, scope).await;
            callers.push((Some(scope), Some(account.key)));
        }
        let mut faults = Vec::new();
        for (method, pattern) in contract::operations() {
            let security = &contract::document()["paths"][&pattern][method.to_lowercase()]["security"];
            for (scope, key) in &callers {
                let (status, answer) = ask(&facilitator, &method, &filled(&pattern), key.as_deref()).await;
                let expected = match (opens(security, *scope, access == "open"), scope) {
                    (true, _) => ![401, 403].contains(&status),
                    (false, None) => status == 401,
                    (false, Some(_)) => status == 403,
                };
                if !expected {
                    faults.push(format!("{method} {pattern} with {scope:?} where access is {access}: {status} {answer}"));
                }
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}
