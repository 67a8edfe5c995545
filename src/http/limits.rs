//! The gate through which every request goes before anything is done for it.

use std::net::IpAddr;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName, X_FORWARDED_FOR};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest};

use super::problem::Problem;
use super::{Service, auth, facilitator};
use crate::config::{Proxies, ProxyHeader};
use crate::flow::limits::{Limited, Origin};

/// Whether whoever asks for this is not counted: health must be told at any moment.
pub fn is_exempt(path: &str) -> bool {
    matches!(path, "/health" | "/")
}

/// Lets a request in, or answers it in the words of its path.
pub async fn gate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let service = request.app_data::<Data<Service>>().filter(|_| !is_exempt(request.path())).cloned();
    if let Some(service) = service {
        match admit(&service, request.request()) {
            Ok(origin) => {
                request.extensions_mut().insert(origin);
            }
            Err(limited) => {
                let answer = facilitator::limited(request.path(), limited);
                let answer = answer.unwrap_or_else(|| Problem::Limited(limited).response());
                return Ok(request.into_response(answer).map_into_boxed_body());
            }
        }
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

fn admit(service: &Service, request: &HttpRequest) -> Result<Origin, Limited> {
    let peer = request.peer_addr().map_or(IpAddr::from([0, 0, 0, 0]), |address| address.ip());
    let address = client(&service.server.proxies, peer, request.headers());
    service.flows.admit(auth::key(request).ok().flatten().as_ref(), address)
}

/// For whom a request counts that was let in.
pub fn origin(request: &HttpRequest) -> Option<Origin> {
    request.extensions().get().copied()
}

/// Who asks: whoever is connected, or, where that is a proxy of the operator's, whoever it says that it asks for. Each proxy adds
/// its client at the end, so what stands in front of the last one that is not a proxy of ours is a stranger's word.
fn client(proxies: &Proxies, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let mut client = peer;
    if !proxies.trusts(client) {
        return client;
    }
    let read = match proxies.header {
        ProxyHeader::XForwardedFor => plain,
        ProxyHeader::Forwarded => forwarded,
    };
    let texts = headers.get_all(name(proxies.header)).map(|value| value.to_str().unwrap_or_default());
    // Not even quotes hold a comma here: a stranger could open one that no proxy closes.
    let hops: Vec<&str> = texts.flat_map(|text| text.split(',')).collect();
    for hop in hops.into_iter().rev() {
        match read(hop) {
            Some(address) if proxies.trusts(client) => client = address,
            _ => break,
        }
    }
    client
}

const fn name(header: ProxyHeader) -> HeaderName {
    match header {
        ProxyHeader::XForwardedFor => X_FORWARDED_FOR,
        ProxyHeader::Forwarded => FORWARDED,
    }
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
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Who asks, if `peer` is connected and writes these lines, and `10.0.0.0/8` and `fd00::/8` are the operator's proxies.
    fn asks(header: ProxyHeader, peer: &str, lines: &[&'static str]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).to_vec();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name(header), HeaderValue::from_static(line));
        }
        client(&Proxies { trusted, header }, ip(peer), &headers).to_string()
    }

    #[test]
    fn only_proxies_of_the_operator_are_believed_about_who_asks() {
        let asks = |peer, lines: &[&'static str]| asks(ProxyHeader::XForwardedFor, peer, lines);

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
        let asks = |lines: &[&'static str]| asks(ProxyHeader::Forwarded, "10.0.0.1", lines);

        assert_eq!(asks(&["for=198.51.100.7;proto=https"]), "198.51.100.7");
        assert_eq!(asks(&["proto=https; For=\"[2001:db8::5]:4711\""]), "2001:db8::5");
        assert_eq!(asks(&["for=203.0.113.9, for=198.51.100.7"]), "198.51.100.7");
        assert_eq!(asks(&["for=\"203.0.113.9, for=198.51.100.7"]), "198.51.100.7", "an open quote hides nothing");
        assert_eq!(asks(&["for=unknown"]), "10.0.0.1");
        assert_eq!(asks(&["for=_hidden, by=10.0.0.1"]), "10.0.0.1");
    }
}
