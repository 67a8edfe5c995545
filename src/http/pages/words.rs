//! How networks, times and links are written for people.

use chrono::{DateTime, SecondsFormat, Utc};
use url::Url;

use crate::domain::network::Network;
use crate::x402::networks;

/// Longest link that is shown whole.
const LINK_CHARS_MAX: usize = 80;

/// What people call a network: `Base Sepolia` for `eip155:84532`. One that has no name is called by its identifier.
pub fn network(network: &Network) -> String {
    let Some(name) = networks::v1_name(network) else { return network.to_string() };
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
    };
    name.split('-').map(capital).collect::<Vec<_>>().join(" ")
}

/// The same for a network as the API writes it.
pub fn network_of(id: &str) -> String {
    id.parse::<Network>().map_or_else(|_| id.to_owned(), |known| network(&known))
}

/// A moment, for people and for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// `30 Nov 2026, 05:20 UTC`.
    pub people: String,
    /// As in RFC 3339.
    pub programs: String,
}

impl From<DateTime<Utc>> for Moment {
    fn from(at: DateTime<Utc>) -> Self {
        Self { people: at.format("%-d %b %Y, %H:%M UTC").to_string(), programs: at.to_rfc3339_opts(SecondsFormat::Secs, true) }
    }
}

/// A link that somebody else has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where it leads. `None` where a browser would do something else than to go there.
    pub href: Option<String>,
    /// What is shown of it.
    pub text: String,
}

impl Link {
    /// A link, if it is one for browsers.
    pub fn to(text: &str) -> Self {
        let href = Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme())).map(String::from);
        Self { href, text: shortened(text, LINK_CHARS_MAX) }
    }
}

/// The two ends of a name that is long because chance made it.
pub fn abridged(name: &str) -> String {
    const ENDS: (usize, usize) = (10, 6);
    match (name.get(..ENDS.0), name.len().checked_sub(ENDS.1).and_then(|at| name.get(at..))) {
        (Some(head), Some(tail)) if name.len() > ENDS.0 + ENDS.1 + 3 => format!("{head}…{tail}"),
        _ => name.to_owned(),
    }
}

/// The beginning of a text that is too long.
pub fn shortened(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_called_by_their_names() {
        let name = |id: &str| network(&id.parse().unwrap());

        assert_eq!(name("eip155:8453"), "Base");
        assert_eq!(name("eip155:84532"), "Base Sepolia");
        assert_eq!(name("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"), "Solana");
        assert_eq!(name("eip155:31337"), "eip155:31337");
        assert_eq!((network_of("eip155:8453"), network_of("a:b:c")), ("Base".to_owned(), "a:b:c".to_owned()));
    }

    #[test]
    fn a_moment_is_told_to_people_and_to_programs() {
        let at = DateTime::from_timestamp(1_796_015_999, 123_000_000).unwrap();
        let expected = Moment { people: "30 Nov 2026, 05:19 UTC".to_owned(), programs: "2026-11-30T05:19:59Z".to_owned() };
        assert_eq!(Moment::from(at), expected);
    }

    #[test]
    fn long_names_are_known_by_their_ends() {
        assert_eq!(abridged("pay_01a206002c3f719e95f746955003c88e"), "pay_01a206…03c88e");
        assert_eq!(abridged("a short name"), "a short name");
        assert_eq!(abridged(&"é".repeat(40)), format!("{}…{}", "é".repeat(5), "é".repeat(3)));
    }

    #[test]
    fn only_what_browsers_go_to_is_a_link() {
        assert_eq!(Link::to("https://shop.example/a?b=c").href.as_deref(), Some("https://shop.example/a?b=c"));
        for text in ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "mailto:a@b.example", "/a", "", "a b"] {
            assert_eq!(Link::to(text).href, None, "{text}");
        }
        let long = format!("https://shop.example/{}", "é".repeat(100));
        assert_eq!(Link::to(&long).text.chars().count(), LINK_CHARS_MAX + 1);
    }
}
