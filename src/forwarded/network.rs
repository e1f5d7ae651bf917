use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::ConfigError;

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Parses `10.0.0.0/8`, `2001:db8::/32`, or one address.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        let fail = |problem| ConfigError::InvalidNetwork { network: text.to_owned(), problem };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| fail("it does not begin with an IP address"))?;
        let prefix = match prefix {
            None => bits(written),
            Some(prefix) if prefix.bytes().all(|b| b.is_ascii_digit()) => {
                prefix.parse().map_err(|_| fail("its prefix is not a number of bits"))?
            }
            Some(_) => return Err(fail("its prefix is not a number of bits")),
        };
        if prefix > bits(written) {
            return Err(fail("its prefix is longer than the address"));
        }
        // `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
        let address = written.to_canonical();
        let Some(prefix) = prefix.checked_sub(bits(written) - bits(address)).filter(|prefix| *prefix > 0) else {
            return Err(fail("it holds every address"));
        };
        if address != masked(address, prefix) {
            return Err(fail("its address has bits beyond the prefix"));
        }
        Ok(Self { address, prefix })
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.address == masked(address.to_canonical(), self.prefix)
    }
}

/// The first bits of an address, and zeros. The prefix is at least one.
fn masked(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from(address.to_bits() & u32::MAX << 32_u32.saturating_sub(prefix)).into(),
        IpAddr::V6(address) => Ipv6Addr::from(address.to_bits() & u128::MAX << 128_u32.saturating_sub(prefix)).into(),
    }
}

const fn bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => Ipv4Addr::BITS,
        IpAddr::V6(_) => Ipv6Addr::BITS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_holds_the_addresses_that_begin_with_its_bits() {
        struct Case {
            network: &'static str,
            inside: &'static [&'static str],
            outside: &'static [&'static str],
        }
        for Case { network, inside, outside } in [
            Case {
                network: "10.0.0.0/8",
                inside: &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"],
                outside: &["9.255.255.255", "11.0.0.0", "::a00:1", "a00::", "::ffff:11.0.0.0"],
            },
            Case { network: "192.0.2.0/23", inside: &["192.0.3.255"], outside: &["192.0.4.0", "192.0.1.255"] },
            Case { network: "128.0.0.0/1", inside: &["255.255.255.255"], outside: &["127.255.255.255", "8000::"] },
            Case { network: "192.0.2.1", inside: &["192.0.2.1"], outside: &["192.0.2.0", "192.0.2.2"] },
            Case { network: "192.0.2.1/32", inside: &["192.0.2.1"], outside: &["192.0.2.0"] },
            Case { network: "::ffff:10.0.0.0/104", inside: &["10.1.2.3"], outside: &["11.0.0.0", "::a01:203"] },
            Case { network: "::1", inside: &["::1"], outside: &["::2", "127.0.0.1", "0.0.0.1"] },
            Case {
                network: "2001:db8::/32",
                inside: &["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"],
                outside: &["2001:db9::", "2001:db7::", "32.1.13.184"],
            },
            Case { network: "fe80::/10", inside: &["febf::1"], outside: &["fec0::"] },
            // IPv4 addresses are not in an IPv6 network that holds all of `::ffff:0:0/96`.
            Case { network: "::/1", inside: &["::1"], outside: &["10.0.0.1", "::ffff:10.0.0.1", "8000::"] },
        ] {
            let parsed = Network::parse(network).expect(network);
            for (addresses, expected) in [(inside, true), (outside, false)] {
                for address in addresses {
                    assert_eq!(parsed.contains(address.parse().expect("one")), expected, "{address} in {network}");
                }
            }
        }
    }

    #[test]
    fn malformed_networks_and_those_of_everybody_are_refused() {
        let address = "it does not begin with an IP address";
        let prefix = "its prefix is not a number of bits";
        for (network, expected) in [
            ("", address),
            ("localhost", address),
            ("10.0.0/8", address),
            ("010.0.0.0/8", address),
            ("10.0.0.0:80", address),
            ("[::1]/128", address),
            ("fe80::1%eth0", address),
            (" 10.0.0.0/8", address),
            ("10.0.0.0/", prefix),
            ("10.0.0.0/+8", prefix),
            ("10.0.0.0/8 ", prefix),
            ("10.0.0.0/255.0.0.0", prefix),
            ("10.0.0.0/99999999999", prefix),
            ("10.0.0.0/33", "its prefix is longer than the address"),
            ("2001:db8::/129", "its prefix is longer than the address"),
            ("10.0.0.1/8", "its address has bits beyond the prefix"),
            ("2001:db8::1/64", "its address has bits beyond the prefix"),
            ("::ffff:10.0.0.1/104", "its address has bits beyond the prefix"),
            ("0.0.0.0/0", "it holds every address"),
            ("::/0", "it holds every address"),
            ("::ffff:0.0.0.0/96", "it holds every address"),
        ] {
            let expected = ConfigError::InvalidNetwork { network: network.to_owned(), problem: expected };
            assert_eq!(Network::parse(network), Err(expected));
        }
    }
}
