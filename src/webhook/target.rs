//! Where a webhook may be sent to, as far as its URL tells.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use super::reach::Reach;

/// The longest URL, in bytes.
pub const LENGTH_MAX: usize = 2048;

/// Ports of servers that speak TLS. With any other port a webhook could talk to what is no web server.
const PORTS: [u16; 2] = [443, 8443];

/// Ends of names that mean something only on one's own network (RFC 6761, 6762 and 8375, and ICANN for `internal`).
const LOCAL_ENDS: [&str; 4] = ["localhost", "local", "internal", "home.arpa"];

/// The URL of an endpoint, found harmless. `Debug` shows its host alone, because the rest of a URL often works like a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Target(Url);

/// Why a webhook cannot be sent to a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It cannot be read (WHATWG's URL Standard).
    #[error("this is not a URL")]
    NotAUrl(#[from] url::ParseError),
    /// More than [`LENGTH_MAX`] bytes, as written or in the form that is stored.
    #[error("the URL is longer than 2,048 bytes")]
    TooLong,
    /// Another scheme than `https`.
    #[error("the URL must begin with https://")]
    NotHttps,
    /// A name or a password stands before the host.
    #[error("the URL must not hold a user name or a password")]
    HasCredentials,
    /// Something stands behind a `#`, which no server would ever see.
    #[error("the URL must not have a fragment")]
    HasFragment,
    /// The host is neither an address nor a name that DNS could know.
    #[error("the host is not a name of DNS")]
    NotADnsName,
    /// The host is a name that only its own network knows.
    #[error("the host is a name of a local network")]
    LocalName,
    /// The host is an address that no public server has.
    #[error("{0} is not a public address")]
    NotPublic(IpAddr),
    /// The port is none of those that web servers with TLS have.
    #[error("the port must be 443 or 8443, not {0}")]
    PortNotAllowed(u16),
}

impl Target {
    /// Reads and judges a URL. A name is not looked up here: it may mean something else by the time it is used.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn parse(text: &str, reach: Reach) -> Result<Self, TargetError> {
        let url = Url::parse(text)?;
        // Reading may encode letters and so make the text longer.
        if text.len().max(url.as_str().len()) > LENGTH_MAX {
            return Err(TargetError::TooLong);
        }
        check_scheme(&url, reach)?;
        check_parts(&url)?;
        check_host(&url, reach)?;
        check_port(&url, reach)?;
        Ok(Self(url))
    }

    /// The URL in its normal form, to be stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host, for logs.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Target({})", self.host())
    }
}

fn check_scheme(url: &Url, reach: Reach) -> Result<(), TargetError> {
    match (url.scheme(), reach) {
        ("https", _) | ("http", Reach::Anywhere) => Ok(()),
        _ => Err(TargetError::NotHttps),
    }
}

fn check_parts(url: &Url) -> Result<(), TargetError> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TargetError::HasCredentials);
    }
    if url.fragment().is_some() {
        return Err(TargetError::HasFragment);
    }
    Ok(())
}

/// Every way of writing an address, be it decimal, octal or hexadecimal, has become the address itself when the URL was read.
fn check_host(url: &Url, reach: Reach) -> Result<(), TargetError> {
    match url.host() {
        Some(Host::Domain(name)) => check_name(name, reach),
        Some(Host::Ipv4(address)) => check_address(address.into(), reach),
        Some(Host::Ipv6(address)) => check_address(address.into(), reach),
        None => Err(TargetError::NotADnsName),
    }
}

fn check_address(address: IpAddr, reach: Reach) -> Result<(), TargetError> {
    if reach.includes(address) { Ok(()) } else { Err(TargetError::NotPublic(address)) }
}

fn check_name(name: &str, reach: Reach) -> Result<(), TargetError> {
    // A dot at the end says only that the name is complete.
    let name = name.strip_suffix('.').unwrap_or(name);
    if !is_dns_name(name) {
        return Err(TargetError::NotADnsName);
    }
    if reach == Reach::Public && is_local(name) {
        return Err(TargetError::LocalName);
    }
    Ok(())
}

/// The limits of RFC 1035. An underscore is in no host's name there, and in many a host's name nevertheless.
fn is_dns_name(name: &str) -> bool {
    let is_letter = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'-' || letter == b'_';
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_letter);
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_local(name: &str) -> bool {
    let ends_with = |end: &&str| name.strip_suffix(*end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.contains('.') || LOCAL_ENDS.iter().any(ends_with)
}

fn check_port(url: &Url, reach: Reach) -> Result<(), TargetError> {
    let port = url.port_or_known_default().unwrap_or_default();
    if reach == Reach::Anywhere || PORTS.contains(&port) { Ok(()) } else { Err(TargetError::PortNotAllowed(port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str) -> Result<Target, TargetError> {
        Target::parse(text, Reach::Public)
    }

    fn refusal(text: &str) -> TargetError {
        judge(text).expect_err(text)
    }

    #[test]
    fn urls_of_public_servers_are_taken() {
        let urls = [
            "https://example.com",
            "https://example.com./hook",
            "https://example.com:443/hook",
            "https://example.com:8443/hook?key=value",
            "https://under_score.example.com/",
            "https://b\u{fc}cher.example/",
            "https://local.example/",
            "https://notlocalhost.example/",
            "https://1.1.1.1/hook",
            "https://[2606:4700::1111]/hook",
        ];

        for url in urls {
            assert!(judge(url).is_ok(), "{url}: {:?}", judge(url));
        }
    }

    #[test]
    fn an_address_is_judged_in_whatever_way_it_is_written() {
        let hosts = [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("0177.0.0.1", "127.0.0.1"),
            ("%31%32%37.0.0.1", "127.0.0.1"),
            ("\u{ff11}27.0.0.1", "127.0.0.1"),
            ("0", "0.0.0.0"),
            ("169.254.169.254", "169.254.169.254"),
            ("100.64.0.1", "100.64.0.1"),
            ("[::1]", "::1"),
            ("[::ffff:10.0.0.1]", "::ffff:10.0.0.1"),
            ("[64:ff9b::a00:1]", "64:ff9b::a00:1"),
            ("[fd00::1]", "fd00::1"),
        ];

        for (host, address) in hosts {
            assert_eq!(refusal(&format!("https://{host}/hook")), TargetError::NotPublic(address.parse().unwrap()), "{host}");
        }
    }

    #[test]
    fn names_of_local_networks_are_refused() {
        for host in ["localhost", "LOCALHOST", "localhost.", "a.localhost", "redis", "db.svc.cluster.local", "x.internal"] {
            assert_eq!(refusal(&format!("https://{host}/")), TargetError::LocalName, "{host}");
        }
    }

    #[test]
    fn a_name_keeps_to_the_limits_of_dns() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));

        assert!(judge(&format!("https://{longest}/")).is_ok());
        for host in [format!("{longest}b"), format!("{label}a.example"), "a..example".to_owned(), "a*b.example".to_owned()] {
            // What the reader of URLs refuses already is as good.
            let refusal = refusal(&format!("https://{host}/"));
            assert!(matches!(refusal, TargetError::NotADnsName | TargetError::NotAUrl(_)), "{host}: {refusal:?}");
        }
    }

    #[test]
    fn a_url_is_plain_and_uses_tls() {
        assert_eq!(refusal("http://example.com/"), TargetError::NotHttps);
        assert_eq!(refusal("ftp://example.com/"), TargetError::NotHttps);
        assert_eq!(refusal("mailto:someone@example.com"), TargetError::NotHttps);
        assert_eq!(refusal("https://user@example.com/"), TargetError::HasCredentials);
        assert_eq!(refusal("https://:password@example.com/"), TargetError::HasCredentials);
        assert_eq!(refusal("https://example.com/#part"), TargetError::HasFragment);
        assert!(matches!(refusal("/hook"), TargetError::NotAUrl(_)));
        assert!(matches!(refusal("https://"), TargetError::NotAUrl(_)));
    }

    #[test]
    fn only_ports_of_web_servers_with_tls_are_taken() {
        for port in [0, 25, 80, 442, 444, 8442, 8444, 65535] {
            assert_eq!(refusal(&format!("https://example.com:{port}/")), TargetError::PortNotAllowed(port));
        }
    }

    #[test]
    fn the_longest_url_is_taken_and_no_longer_one() {
        let fill = |length: usize| format!("https://example.com/{}", "a".repeat(length - "https://example.com/".len()));

        assert!(judge(&fill(LENGTH_MAX)).is_ok());
        assert_eq!(refusal(&fill(LENGTH_MAX + 1)), TargetError::TooLong);
        // Three bytes for each space.
        assert_eq!(refusal(&format!("https://example.com/{}a", " ".repeat(700))), TargetError::TooLong);
    }

    #[test]
    fn an_operator_may_allow_what_stands_beside_the_service() {
        for url in
            ["http://127.0.0.1:9000/", "https://[::1]:1/", "http://localhost/", "http://receiver:8080/", "https://10.0.0.1"]
        {
            assert!(Target::parse(url, Reach::Anywhere).is_ok(), "{url}");
        }
        for url in ["ftp://10.0.0.1/", "http://user@10.0.0.1/", "http://10.0.0.1/#part"] {
            assert!(Target::parse(url, Reach::Anywhere).is_err(), "{url}");
        }
    }

    #[test]
    fn only_the_host_is_printed() {
        let target = judge("https://example.com/key-in-the-path?key=value").unwrap();

        assert_eq!(format!("{target:?}"), "Target(example.com)");
        assert_eq!(target.as_str(), "https://example.com/key-in-the-path?key=value");
    }
}
