//! Which proxies stand in front, and how they say for whom they ask.

use std::net::IpAddr;

use figment::value::Value;
use ipnet::IpNet;

use super::problem::Fault;
use super::table::{Reported, Table};
use super::value::text;

/// The proxies whose word counts about who is behind them. None by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proxies {
    /// Their addresses.
    pub trusted: Vec<IpNet>,
    /// Where they write whom they ask for.
    pub header: ProxyHeader,
}

/// A header in which a proxy says for whom it asks. Only one of them can be believed: a proxy that writes one passes on what
/// strangers have written into the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl Proxies {
    /// Whether somebody's word counts.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address.to_canonical()))
    }
}

pub(super) fn proxies(table: &Table) -> Result<Proxies, Reported> {
    let trusted = table.list("trusted_proxies", network);
    let header = table.required("proxy_header", header);
    let trusted = trusted?.into_iter().map(|(_, network)| network).collect::<Result<_, _>>()?;
    Ok(Proxies { trusted, header: header? })
}

fn network(value: &Value) -> Result<IpNet, Fault> {
    let text = text(value)?;
    let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(single).ok_or(Fault::Expected("an IP address, or a network such as 10.0.0.0/8"))
}

fn header(value: &Value) -> Result<ProxyHeader, Fault> {
    match text(value)?.to_ascii_lowercase().as_str() {
        "x-forwarded-for" => Ok(ProxyHeader::XForwardedFor),
        "forwarded" => Ok(ProxyHeader::Forwarded),
        _ => Err(Fault::Expected("x-forwarded-for or forwarded")),
    }
}
