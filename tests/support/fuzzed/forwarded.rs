//! What proxies, and strangers behind them, write about for whom they ask.

use std::net::{IpAddr, Ipv4Addr};

use quittance::api::admission::client;
use quittance::config::{Proxies, ProxyHeader};

const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Whatever a stranger writes before a proxy of ours adds to it.
const FORGED: [&str; 5] = ["198.51.100.7", "for=198.51.100.7", "for=\"", "10.0.0.2,", "for=10.0.0.2;for=198.51.100.7"];

/// Takes each line for a line of the header. Checks that only proxies are believed, that lines are one list, and that nothing in front of a
/// stranger's address changes it. Returns whether somebody else asks than the proxy itself.
///
/// # Panics
/// If it is not so.
pub fn forwarded(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let lines: Vec<&str> = text.split('\n').collect();
    let names = |header| is_named(&Proxies { trusted: trusted(), header }, &lines);
    [ProxyHeader::XForwardedFor, ProxyHeader::Forwarded].map(names).contains(&true)
}

fn trusted<N: std::str::FromStr<Err: std::fmt::Debug>>() -> Vec<N> {
    ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network")).into()
}

fn is_named(proxies: &Proxies, lines: &[&str]) -> bool {
    let asks = |peer, lines: &[&str]| client(proxies, peer, |_| lines.iter().copied());
    assert_eq!(asks(STRANGER, lines), STRANGER);
    let found = asks(OURS, lines);
    assert_eq!(asks(OURS, &[lines.join(",").as_str()]), found, "lines are one list");
    if proxies.trusts(found) {
        return false;
    }
    for forged in FORGED {
        assert_eq!(asks(OURS, &[&[forged][..], lines].concat()), found, "{forged}");
    }
    true
}
