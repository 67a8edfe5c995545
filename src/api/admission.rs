//! What is decided before anything is done for somebody: whether there is a place for the connection, and whether whoever asks does so too often.

use std::net::IpAddr;
use std::sync::Arc;

use super::Service;
use super::access::Envelope;
use super::places::{Place, Places};
use crate::config::{Proxies, ProxyHeader};
use crate::flow::limits::{Limited, Origin, Prefix};

/// The connections of a listener, by where they come from.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Places<Prefix>>);

impl Connections {
    /// None yet.
    #[must_use]
    pub fn new(service: &Service) -> Self {
        Self(Places::new(service.server.connections_per_address_max, usize::MAX))
    }

    /// Takes a connection in. Proxies of the operator's need no place: behind them there is everybody.
    ///
    /// # Errors
    /// Its address has too many.
    pub fn admit(&self, service: &Service, peer: Option<IpAddr>) -> std::io::Result<Option<Place<Prefix>>> {
        let Some(stranger) = peer.filter(|address| !service.server.proxies.trusts(*address)) else { return Ok(None) };
        let place = self.0.take(stranger.into());
        if place.is_none() {
            service.flows().metrics.connection_refused();
        }
        place.map(Some).ok_or_else(|| std::io::ErrorKind::ConnectionRefused.into())
    }
}

/// Lets a request in that came over the connection of `peer`, and says for whom it counts. `lines` finds the lines of a header.
///
/// # Errors
/// Whoever it counts for asks too often.
pub fn admit<'a, L: Iterator<Item = &'a str>>(
    service: &Service,
    envelope: Envelope<'_>,
    peer: Option<IpAddr>,
    lines: impl FnOnce(&'static str) -> L,
) -> Result<Origin, Limited> {
    let peer = peer.unwrap_or(IpAddr::from([0, 0, 0, 0]));
    let address = client(&service.server.proxies, peer, lines);
    service.flows().admit(envelope.key().ok().flatten().as_ref(), address)
}

/// Who asks: whoever is connected, or, where that is a proxy of the operator's, whoever it says that it asks for. Each proxy adds
/// its client at the end, so what stands in front of the last one that is not a proxy of ours is a stranger's word.
#[must_use]
pub fn client<'a, L: Iterator<Item = &'a str>>(proxies: &Proxies, peer: IpAddr, lines: impl FnOnce(&'static str) -> L) -> IpAddr {
    let mut client = peer;
    if !proxies.trusts(client) {
        return client;
    }
    let (name, read): (_, fn(&str) -> Option<IpAddr>) = match proxies.header {
        ProxyHeader::XForwardedFor => ("x-forwarded-for", plain),
        ProxyHeader::Forwarded => ("forwarded", forwarded),
    };
    // Not even quotes hold a comma here: a stranger could open one that no proxy closes.
    let hops: Vec<&str> = lines(name).flat_map(|line| line.split(',')).collect();
    for hop in hops.into_iter().rev() {
        match read(hop) {
            Some(address) if proxies.trusts(client) => client = address,
            _ => break,
        }
    }
    client
}

/// An address, with or without a port.
fn plain(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
}

/// The address under `for` of an element of `Forwarded`.
fn forwarded(text: &str) -> Option<IpAddr> {
    let mut pairs = text.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    plain(node.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Who asks, if `peer` is connected and writes these lines, and `10.0.0.0/8` and `fd00::/8` are the operator's proxies.
    fn asks(header: ProxyHeader, peer: &str, lines: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).to_vec();
        client(&Proxies { trusted, header }, ip(peer), |_| lines.iter().copied()).to_string()
    }

    #[test]
    fn only_proxies_of_the_operator_are_believed_about_who_asks() {
        let asks = |peer, lines: &[&str]| asks(ProxyHeader::XForwardedFor, peer, lines);

        assert_eq!(asks("192.0.2.1", &["198.51.100.7"]), "192.0.2.1", "a stranger's word");
        assert_eq!(asks("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(asks("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(asks("::ffff:10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(asks("10.0.0.1", &["203.0.113.9, 198.51.100.7"]), "198.51.100.7", "what its client wrote before");
        assert_eq!(asks("10.0.0.1", &["203.0.113.9", "198.51.100.7, 10.0.0.2"]), "198.51.100.7", "two proxies in a row");
        assert_eq!(asks("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(asks("10.0.0.1", &["203.0.113.9, nonsense"]), "10.0.0.1");
        assert_eq!(asks("10.0.0.1", &["203.0.113.9,"]), "10.0.0.1");
        assert_eq!(asks("fd00::1", &["2001:db8::5"]), "2001:db8::5");
        assert_eq!(asks("fd00::1", &["[2001:db8::5]:4711"]), "2001:db8::5");
        assert_eq!(asks("10.0.0.1", &["198.51.100.7:4711"]), "198.51.100.7");
    }

    #[test]
    fn the_standard_header_is_read_where_the_operator_says_so() {
        let asks = |lines: &[&str]| asks(ProxyHeader::Forwarded, "10.0.0.1", lines);

        assert_eq!(asks(&["for=198.51.100.7;proto=https"]), "198.51.100.7");
        assert_eq!(asks(&["proto=https; For=\"[2001:db8::5]:4711\""]), "2001:db8::5");
        assert_eq!(asks(&["for=203.0.113.9, for=198.51.100.7"]), "198.51.100.7");
        assert_eq!(asks(&["for=\"203.0.113.9, for=198.51.100.7"]), "198.51.100.7", "an open quote hides nothing");
        assert_eq!(asks(&["for=unknown"]), "10.0.0.1");
        assert_eq!(asks(&["for=_hidden, by=10.0.0.1"]), "10.0.0.1");
    }
}
