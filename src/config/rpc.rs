//! Addresses of nodes. They hold API keys, so only the host is ever shown.

use std::fmt;
use std::net::IpAddr;

use figment::value::Value;
use secrecy::{ExposeSecret, SecretString};

use super::problem::Fault;
use super::secret;
use super::table::{Items, Reported, Table, all, good};
use super::value::{http_url, ws_url};

/// The URL of a node. Printing it shows scheme, host and port; the rest is a secret.
#[derive(Clone)]
pub struct RpcUrl {
    whole: SecretString,
    shown: String,
    is_private: bool,
    is_bare: bool,
}

impl RpcUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// Anything but `http://` or `https://` with a host.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        Ok(Self::new(text, &http_url(text)?))
    }

    /// Reads the URL of a node that pushes.
    ///
    /// # Errors
    /// Anything but `ws://` or `wss://` with a host.
    pub fn parse_ws(text: &str) -> Result<Self, Fault> {
        Ok(Self::new(text, &ws_url(text)?))
    }

    fn new(text: &str, url: &reqwest::Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Self {
            whole: text.to_owned().into(),
            shown: format!("{}://{host}{port}", url.scheme()),
            is_private: is_private(host),
            is_bare: url.path() == "/" && url.query().is_none() && url.fragment().is_none(),
        }
    }

    /// The whole URL, for the client that calls it and for nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.whole.expose_secret()
    }

    /// The host, and the port where one is given, for logs and messages.
    #[must_use]
    pub fn host(&self) -> &str {
        self.shown.split_once("://").map_or("", |(_, host)| host)
    }

    /// Whether nobody listens on the way to it: by TLS, or because the way leads through a network of our own.
    pub(super) fn is_sealed(&self) -> bool {
        self.is_private || self.shown.starts_with("https://")
    }

    /// Whether there is nothing behind host and port.
    pub(super) fn is_bare(&self) -> bool {
        self.is_bare
    }

    /// Whether the node stands on this machine or in a network of our own, as far as its name tells.
    pub(super) fn is_private(&self) -> bool {
        self.is_private
    }
}

/// A name without a dot is one of a local network, for example of a container.
fn is_private(host: &str) -> bool {
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified(),
        Err(_) => {
            !host.contains('.') || [".local", ".internal", ".localhost", ".test"].iter().any(|suffix| host.ends_with(suffix))
        }
    }
}

impl PartialEq for RpcUrl {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Display for RpcUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.shown)
    }
}

impl fmt::Debug for RpcUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RpcUrl({})", self.shown)
    }
}

/// Reads `rpc`, or `rpc_file` with a URL on each line. At least one.
pub(super) fn urls(table: &Table) -> Result<Vec<RpcUrl>, Reported> {
    let urls = listed(table, ["rpc", "rpc_file"], RpcUrl::parse)?;
    if urls.is_empty() { table.refuse("rpc", Fault::Empty) } else { Ok(urls) }
}

/// Reads `ws`, or `ws_file` in the same way. There may be none.
pub(super) fn ws_urls(table: &Table) -> Result<Vec<RpcUrl>, Reported> {
    listed(table, ["ws", "ws_file"], RpcUrl::parse_ws)
}

/// Reads a list under one key, or in the file that the other one names. None of them twice: a node does not agree with itself.
fn listed(table: &Table, [key, file]: [&str; 2], parse: fn(&str) -> Result<RpcUrl, Fault>) -> Result<Vec<RpcUrl>, Reported> {
    let environment = table.report.environment;
    let written = table.list(key, |value| parse(&secret::resolve(value, environment)?));
    let filed = table.optional(file, |value| lines(value, parse));
    match (written?, filed?) {
        (written, None) => distinct(table, written),
        (written, Some(filed)) if written.is_empty() => distinct(table, numbered(table, file, filed)),
        (_, Some(_)) => table.refuse(file, Fault::Conflict(table.path_of(key))),
    }
}

fn distinct(table: &Table, urls: Items<RpcUrl>) -> Result<Vec<RpcUrl>, Reported> {
    table.distinct(good(&urls).map(|(path, url)| (path, url.expose())))?;
    all(urls)
}

fn lines(value: &Value, parse: fn(&str) -> Result<RpcUrl, Fault>) -> Result<Vec<RpcUrl>, Fault> {
    secret::contents(value)?.lines().map(str::trim).filter(|line| !line.is_empty()).map(parse).collect()
}

fn numbered(table: &Table, file: &str, urls: Vec<RpcUrl>) -> Items<RpcUrl> {
    let path = |line: usize| format!("{} line {line}", table.path_of(file));
    urls.into_iter().enumerate().map(|(index, url)| (path(index + 1), Ok(url))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_of_a_node_is_shown() {
        let url = RpcUrl::parse("https://user:hunter2@rpc.example:8443/v2/abcdef?key=abcdef").unwrap();

        assert_eq!(url.to_string(), "https://rpc.example:8443");
        assert_eq!(format!("{url:?}"), "RpcUrl(https://rpc.example:8443)");
        assert_eq!(url.host(), "rpc.example:8443");
        assert_eq!(url.expose(), "https://user:hunter2@rpc.example:8443/v2/abcdef?key=abcdef");
    }

    #[test]
    fn a_name_tells_whether_a_node_is_ours() {
        for own in [
            "http://127.0.0.1:8545",
            "http://localhost",
            "http://anvil:8545",
            "http://10.1.2.3",
            "http://[::1]:8545",
            "http://geth.internal",
        ] {
            assert!(RpcUrl::parse(own).unwrap().is_private(), "{own}");
        }
        for public in ["https://mainnet.base.org", "https://8.8.8.8", "http://[2001:4860:4860::8888]"] {
            assert!(!RpcUrl::parse(public).unwrap().is_private(), "{public}");
        }
    }
}
