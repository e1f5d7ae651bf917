use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads an address as proxies write it, with a port or without: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`,
/// `[2001:db8::1]`, `[2001:db8::1]:80`. `None` for all else, such as `unknown` or `_name` (RFC 7239 §6).
pub(super) fn address(node: &str) -> Option<IpAddr> {
    let address = match node.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let is_complete = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            is_complete.then(|| address.parse::<Ipv6Addr>().ok()).flatten()?.into()
        }
        None => match node.split_once(':') {
            Some((address, port)) if is_port(port) => address.parse::<Ipv4Addr>().ok()?.into(),
            _ => node.parse::<IpAddr>().ok()?,
        },
    };
    Some(address.to_canonical())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses_are_read_with_and_without_a_port() {
        for (node, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("192.0.2.1:65535", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:DB8::0001", "2001:db8::1"),
            ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:c000:201]:1", "192.0.2.1"),
        ] {
            assert_eq!(address(node), Some(expected.parse().expect("an address")), "{node}");
        }
    }

    #[test]
    fn all_else_is_unknown() {
        for node in [
            "",
            " ",
            "unknown",
            "_hidden",
            "_hidden:80",
            "localhost",
            "unix:",
            "192.0.2",
            "192.0.2.1.1",
            "192.0.2.01",
            "0xc0.0.2.1",
            "3221225985",
            "192.0.2.1:",
            "192.0.2.1:_port",
            "192.0.2.1:65536",
            "192.0.2.1:+1",
            "192.0.2.1:80:80",
            "192.0.2.1/32",
            " 192.0.2.1",
            "192.0.2.1 ",
            "[192.0.2.1]",
            "[192.0.2.1]:80",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]443",
            "[2001:db8::1]:",
            "[2001:db8::1]:_a",
            "[[::1]]",
            "[]",
            "[",
            "]",
            ":",
            ":80",
            "fe80::1%eth0",
            "[fe80::1%25eth0]",
            "2001:db8:::1",
            "1:2:3:4:5:6:7:8:9",
            "\u{661}92.0.2.1",
            "192.0.2.1\0",
        ] {
            assert_eq!(address(node), None, "{node:?}");
        }
    }
}
