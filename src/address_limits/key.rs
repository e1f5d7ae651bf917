use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address, or the first bits of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(u128);

impl Key {
    pub(super) fn new(address: IpAddr, ipv6_prefix: u8) -> Self {
        Self(match address.to_canonical() {
            // Apart from all IPv6 addresses: those of this form are IPv4 addresses now.
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => {
                address.to_bits() & u128::MAX << Ipv6Addr::BITS.saturating_sub(u32::from(ipv6_prefix))
            }
        })
    }
}
