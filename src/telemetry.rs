//! What is written to the log, and how errors look in it.
//!
//! Lines go to standard error, because commands print their results to standard output. Never logged: keys, payloads,
//! signatures, authorization headers, and URLs of nodes beyond their host.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal};

use tracing::error;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

use crate::config::{Log, LogFormat};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter has no meaning.
    #[error("log.filter is not a log filter")]
    Filter(#[from] ParseError),
    /// There is no log any more.
    #[error("the log is gone")]
    Gone(#[from] reload::Error),
    /// The process has a log already.
    #[error("the log was opened before")]
    Opened(#[source] tracing_subscriber::util::TryInitError),
}

/// Opens the log of this process, and sends panics there too.
///
/// # Errors
/// A filter without meaning, or a second call.
pub fn init(log: &Log) -> Result<LogFilter, TelemetryError> {
    let lines = tracing_subscriber::fmt().with_env_filter(filter(&log.filter)?).with_writer(io::stderr);
    let (opened, changeable) = match log.format {
        // The spans are what says which payment a line is about; the innermost repeats the fields of those around it.
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(true).with_filter_reloading();
            let handle = lines.reload_handle();
            (lines.finish().try_init(), LogFilter(Box::new(move |filter| handle.reload(filter))))
        }
        LogFormat::Text => {
            let lines = lines.with_ansi(io::stderr().is_terminal()).with_filter_reloading();
            let handle = lines.reload_handle();
            (lines.finish().try_init(), LogFilter(Box::new(move |filter| handle.reload(filter))))
        }
    };
    opened.map_err(TelemetryError::Opened)?;
    log_panics();
    Ok(changeable)
}

/// What the log of this process shows, which can be changed while it is written.
pub struct LogFilter(Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl LogFilter {
    /// From now on what this filter lets through.
    ///
    /// # Errors
    /// A filter without meaning, or a log that is gone.
    pub fn set(&self, text: &str) -> Result<(), TelemetryError> {
        Ok((self.0)(filter(text)?)?)
    }
}

/// What strangers could fill the log with, unless somebody asks for it by name: what the server says of bytes that are no request, and
/// the database of a search without words that count.
const QUIET: [(&str, &str); 2] = [("actix_http", "actix_http::h1::dispatcher=off"), ("sqlx", "sqlx::postgres::notice=warn")];

/// What is never shown, whatever somebody asks for: the line of a WebSocket's handshake, and the span around each call to a node, have the
/// whole address of the node in them.
const SECRET: [&str; 2] = ["tungstenite::handshake::client=off", "alloy_transport_http::reqwest_transport=off"];

fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    let quiet = QUIET.into_iter().filter(|(library, _)| !text.contains(library));
    quiet
        .map(|(_, directive)| directive)
        .chain(SECRET)
        .try_fold(EnvFilter::try_new(text)?, |filter, directive| Ok(filter.add_directive(directive.parse()?)))
}

/// A panic is a line of the log like any other error, so that it is found where people look.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        error!(location, "a task panicked: {}", WithoutSecrets(message));
    }));
}

/// Prints an error with all its causes: `a: b: c`.
///
/// Whatever stands behind the host of a URL is left out, because HTTP clients put the whole URL into their errors and nodes and
/// databases have their secrets there.
#[derive(Debug, Clone, Copy)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = String::new();
        for (depth, error) in std::iter::successors(Some(self.0), |error| (*error).source()).enumerate() {
            let text = error.to_string();
            // An error that only passes its cause on would be printed twice.
            if text == last {
                continue;
            }
            if depth > 0 {
                formatter.write_str(": ")?;
            }
            WithoutSecrets(&text).fmt(formatter)?;
            last = text;
        }
        Ok(())
    }
}

/// A text in which every URL ends with its host.
struct WithoutSecrets<'a>(&'a str);

/// What ends a URL in a sentence.
const AFTER_URL: [char; 8] = [' ', '\n', '\t', '"', '\'', ')', '>', ','];

impl fmt::Display for WithoutSecrets<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0;
        while let Some((before, rest)) = text.split_once("://") {
            let (url, after) = rest.split_at(rest.find(AFTER_URL).unwrap_or(rest.len()));
            let (authority, path) = url.split_at(url.find(['/', '?', '#']).unwrap_or(url.len()));
            let host = match authority.rsplit_once('@') {
                Some((_, host)) => host,
                // A password may hold a slash, and then this is not the host.
                None if path.contains('@') => "…",
                None => authority,
            };
            let left_out = if path.is_empty() { "" } else { "/…" };
            write!(formatter, "{before}://{host}{left_out}")?;
            text = after;
        }
        formatter.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Plain(&'static str);

    #[derive(Debug, thiserror::Error)]
    #[error("could not settle")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Middle(#[from] Plain);

    #[test]
    fn an_error_is_printed_with_its_causes_and_each_of_them_once() {
        let error = Outer(Middle(Plain("connection refused")));

        assert_eq!(ErrorChain(&error).to_string(), "could not settle: connection refused");
        assert_eq!(ErrorChain(&Plain("alone")).to_string(), "alone");
    }

    #[test]
    fn strangers_do_not_fill_the_log_unless_somebody_asks_for_it() {
        let directives = |text: &str| filter(text).unwrap().to_string();

        for (library, directive) in QUIET {
            assert!(directives("info").contains(directive), "{library}");
            assert!(!directives(&format!("info,{library}=debug")).contains(directive), "{library}");
        }
        assert!(filter("info=loud").is_err());
    }

    #[test]
    fn what_has_secrets_in_it_is_not_shown_whoever_asks_for_it() {
        for text in ["trace", "tungstenite=trace", "tungstenite::handshake::client=trace,alloy_transport_http=debug"] {
            let shown = filter(text).unwrap().to_string();
            assert!(SECRET.iter().all(|secret| shown.contains(secret)) && !shown.contains("client=trace"), "{text}: {shown}");
        }
    }

    #[test]
    fn the_secret_part_of_a_url_is_left_out() {
        let printed = |text| ErrorChain(&Plain(text)).to_string();

        assert_eq!(
            printed("error sending request for url (https://rpc.example:8443/v2/abcdef?key=1) after 3 tries"),
            "error sending request for url (https://rpc.example:8443/…) after 3 tries"
        );
        assert_eq!(printed("postgres://user:p@ss@db/quittance, ws://host"), "postgres://db/…, ws://host");
        assert_eq!(printed("postgres://user:p/ss@db/quittance"), "postgres://…/…");
        assert_eq!(printed("a :// b"), "a :// b");
    }
}
