//! Which addresses a webhook may reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far webhooks reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Public addresses, over TLS: whoever names a URL must not see through our eyes what is beside us.
    Public,
    /// Every address, with or without TLS: for operators whose receivers stand on their own network.
    Anywhere,
}

impl Reach {
    /// The reach that a setting `allow_private` means.
    #[must_use]
    pub const fn allowing_private(allow_private: bool) -> Self {
        if allow_private { Self::Anywhere } else { Self::Public }
    }

    /// Whether a connection to this address may be made.
    #[must_use]
    pub fn includes(self, address: IpAddr) -> bool {
        match self {
            Self::Public => is_public(address),
            Self::Anywhere => true,
        }
    }
}

/// Networks of IPv4 in which no public server stands, with the lengths of their prefixes (RFC 6890 and IANA's registry of it).
const SPECIAL_V4: [(Ipv4Addr, u32); 15] = [
    // This network, on which 0.0.0.0 is the machine itself.
    (Ipv4Addr::UNSPECIFIED, 8),
    // Private networks.
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    // Between a carrier and its customers.
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    // Loopback.
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Link-local, where clouds keep the credentials of a machine.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    // Protocol assignments, and the relays of 6to4.
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    // Documentation.
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Benchmarks.
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    // Multicast.
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    // Reserved, with broadcast as its last address.
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// All that is assigned to public servers in IPv6. Loopback, private and link-local addresses, NAT64 and IPv4 in the clothes of IPv6
/// stand outside of it.
const GLOBAL_UNICAST: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Networks inside of [`GLOBAL_UNICAST`] in which no public server stands.
const SPECIAL_V6: [(Ipv6Addr, u32); 4] = [
    // Protocol assignments, Teredo among them, whose addresses embed others.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation.
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    // 6to4, whose addresses embed others.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
];

/// Whether a public server can have this address. Forms of IPv6 that embed an address of IPv4 are refused whatever they embed.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|network| is_within_v4(address, *network)),
        IpAddr::V6(address) => {
            is_within_v6(address, GLOBAL_UNICAST) && !SPECIAL_V6.iter().any(|network| is_within_v6(address, *network))
        }
    }
}

fn is_within_v4(address: Ipv4Addr, (network, prefix): (Ipv4Addr, u32)) -> bool {
    (address.to_bits() ^ network.to_bits()).leading_zeros() >= prefix
}

fn is_within_v6(address: Ipv6Addr, (network, prefix): (Ipv6Addr, u32)) -> bool {
    (address.to_bits() ^ network.to_bits()).leading_zeros() >= prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(address: &str) -> bool {
        is_public(address.parse().unwrap())
    }

    #[test]
    fn every_special_network_of_ipv4_is_refused_from_its_first_to_its_last_address() {
        let networks = [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "255.255.255.255"),
        ];

        for (first, last) in networks {
            let [first, last] = [first, last].map(|address| address.parse::<Ipv4Addr>().unwrap());
            assert!(!is_public(first.into()) && !is_public(last.into()), "{first} to {last}");
            let before = first.to_bits().checked_sub(1).map(Ipv4Addr::from_bits);
            let behind = last.to_bits().checked_add(1).map(Ipv4Addr::from_bits);
            for neighbour in [before, behind].into_iter().flatten() {
                assert!(is_public(neighbour.into()), "{neighbour} is beside {first} to {last}");
            }
        }
    }

    #[test]
    fn every_special_form_of_ipv6_is_refused_whatever_it_embeds() {
        let special = [
            "::",
            "::1",
            "::7f00:1",
            "::ffff:10.0.0.1",
            "::ffff:1.1.1.1",
            "64:ff9b::a00:1",
            "64:ff9b::101:101",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "2002:a00:1::1",
            "2002:101:101::1",
            "3fff::1",
            "3fff:fff:ffff::1",
            "4000::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ];

        for address in special {
            assert!(!public(address), "{address}");
        }
    }

    #[test]
    fn addresses_of_public_servers_are_taken() {
        for address in ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "2001:200::1", "2001:db7::1", "2001:db9::1", "2a00:1450::1"] {
            assert!(public(address), "{address}");
        }
    }

    #[test]
    fn only_the_setting_opens_private_networks() {
        let address = "10.0.0.1".parse().unwrap();

        assert!(!Reach::allowing_private(false).includes(address));
        assert!(Reach::allowing_private(true).includes(address));
    }
}
