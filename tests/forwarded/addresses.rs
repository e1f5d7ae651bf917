//! The client's address.

use axum_ws_auth::ConfigError;

use crate::*;

const UNKNOWN: &str = "unknown";

struct Case {
    name: &'static str,
    peer: Option<&'static str>,
    lines: &'static [&'static str],
    expected: &'static str,
}

async fn assert_clients(proxies: &TrustedProxies, header: &str, cases: impl IntoIterator<Item = Case>) {
    for Case { name, peer, lines, expected } in cases {
        let headers = lines.iter().map(|line| (header, HeaderValue::from_static(line)));
        assert_eq!(client(Some(proxies.clone()), peer, headers).await, expected, "{name}");
    }
}

#[tokio::test]
async fn without_trusted_proxies_the_peer_is_the_client() {
    let headers = || {
        [("x-forwarded-for", "6.6.6.6"), ("forwarded", "for=6.6.6.6"), ("x-real-ip", "6.6.6.6")]
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
    };
    for (peer, expected) in [
        (Some(PROXY), PROXY),
        (Some("2001:db8::1"), "2001:db8::1"),
        (Some("::ffff:10.0.0.1"), "10.0.0.1"),
        (None, UNKNOWN),
    ] {
        assert_eq!(client(None, peer, headers()).await, expected);
    }
}

#[tokio::test]
async fn the_list_is_read_from_its_end_to_the_first_address_that_is_no_proxy() {
    let peer = Some(PROXY);
    let case = |name, lines, expected| Case { name, peer, lines, expected };
    let cases = [
        case("one", &["198.51.100.7"], "198.51.100.7"),
        case("forged before it", &["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
        case("forged in a line of its own", &["6.6.6.6", "198.51.100.7"], "198.51.100.7"),
        case("a second proxy", &["6.6.6.6, 198.51.100.7, 192.0.2.1"], "198.51.100.7"),
        case("in lines", &["6.6.6.6,198.51.100.7", "192.0.2.1", "10.1.1.1, 10.2.2.2"], "198.51.100.7"),
        case("a forged proxy", &["10.9.9.9, 198.51.100.7"], "198.51.100.7"),
        case("all are proxies", &["10.9.9.9, 10.8.8.8"], "10.9.9.9"),
        case("no list", &[], PROXY),
        case("IPv6", &["2001:db8::7, 2001:db8:1::1"], "2001:db8::7"),
        case("an IPv4 address as IPv6", &["::ffff:198.51.100.7, ::ffff:10.0.0.9"], "198.51.100.7"),
        case("ports", &["198.51.100.7:1234, [2001:db8:1::1]:443"], "198.51.100.7"),
        case("spaces", &["6.6.6.6 ,\t198.51.100.7 , 10.0.0.9 "], "198.51.100.7"),
        case("garbage before it", &["\u{22}, for=;, 198.51.100.7"], "198.51.100.7"),
        case("empty", &[""], UNKNOWN),
        case("an empty end", &["198.51.100.7,"], UNKNOWN),
        case("an empty line at the end", &["198.51.100.7", ""], UNKNOWN),
        case("unknown", &["198.51.100.7, unknown"], UNKNOWN),
        case("unknown behind a proxy", &["198.51.100.7, unknown, 10.0.0.9"], UNKNOWN),
        case("a Unix socket", &["unix:"], UNKNOWN),
        case("a name", &["localhost"], UNKNOWN),
        case("a network", &["198.51.100.0/24"], UNKNOWN),
        case("quoted", &["\"198.51.100.7\""], UNKNOWN),
        case("the other kind", &["for=198.51.100.7"], UNKNOWN),
    ];
    assert_clients(&x_forwarded(), "x-forwarded-for", cases).await;

    let cases = [
        case("one", &["for=198.51.100.7"], "198.51.100.7"),
        case("forged before it", &["for=6.6.6.6, for=198.51.100.7"], "198.51.100.7"),
        case("forged in a line of its own", &["for=6.6.6.6", "for=198.51.100.7"], "198.51.100.7"),
        case("garbage in a line of its own", &["for=\"", "for=198.51.100.7"], "198.51.100.7"),
        case("a second proxy", &["for=6.6.6.6, for=198.51.100.7;proto=https, for=192.0.2.1"], "198.51.100.7"),
        case("all are proxies", &["for=10.9.9.9, for=10.8.8.8"], "10.9.9.9"),
        case("no list", &[], PROXY),
        case("IPv6", &["for=\"[2001:db8::7]\", FOR=\"[2001:db8:1::1]:443\""], "2001:db8::7"),
        case("other parameters", &["by=10.0.0.1;for=198.51.100.7;host=a;secret=x"], "198.51.100.7"),
        case("escaped", &["for=\"198\\.51.100.7\""], "198.51.100.7"),
        case("empty", &[""], UNKNOWN),
        case("not told", &["for=6.6.6.6, proto=https"], UNKNOWN),
        case("unknown", &["for=6.6.6.6, for=unknown"], UNKNOWN),
        case("obfuscated", &["for=6.6.6.6, for=_lb1"], UNKNOWN),
        case("an obfuscated port", &["for=\"198.51.100.7:_port\""], UNKNOWN),
        case("garbage before it, in one line", &["for=\", for=198.51.100.7"], UNKNOWN),
        case("twice", &["for=6.6.6.6;for=198.51.100.7"], UNKNOWN),
        case("the other kind", &["198.51.100.7"], UNKNOWN),
    ];
    assert_clients(&forwarded(), "forwarded", cases).await;
}

#[tokio::test]
async fn only_a_trusted_peer_and_only_the_named_kind_of_header_are_believed() {
    let lines = &["198.51.100.7"];
    let of = |name, peer, expected| Case { name, peer, lines, expected };
    let cases = [
        of("in a network", Some("10.255.255.255"), "198.51.100.7"),
        of("beside a network", Some("11.0.0.0"), "11.0.0.0"),
        of("an address", Some("192.0.2.1"), "198.51.100.7"),
        of("the next address", Some("192.0.2.2"), "192.0.2.2"),
        of("IPv6", Some("2001:db8:1:ffff::1"), "198.51.100.7"),
        of("other IPv6", Some("2001:db8:2::1"), "2001:db8:2::1"),
        of("IPv4 as IPv6", Some("::ffff:10.0.0.1"), "198.51.100.7"),
        of("no peer", None, UNKNOWN),
    ];
    assert_clients(&x_forwarded(), "x-forwarded-for", cases).await;
    for other in ["forwarded", "x-real-ip", "x-client-ip", "cf-connecting-ip", "x-forwarded", "via"] {
        assert_clients(&x_forwarded(), other, [of(other, Some(PROXY), PROXY)]).await;
    }
    assert_clients(&forwarded(), "x-forwarded-for", [of("the other kind", Some(PROXY), PROXY)]).await;
}

#[tokio::test]
async fn any_peer_is_one_proxy_if_the_layer_is_told_so() {
    let x_forwarded = TrustedProxies::insecure_x_forwarded_by_any_peer();
    let forwarded = TrustedProxies::insecure_forwarded_by_any_peer();
    for (proxies, header, line) in
        [(&x_forwarded, "x-forwarded-for", "6.6.6.6, 10.0.0.9"), (&forwarded, "forwarded", "for=6.6.6.6, for=10.0.0.9")]
    {
        for peer in [None, Some(STRANGER)] {
            let headers = [(header, HeaderValue::from_static(line))];
            assert_eq!(client(Some(proxies.clone()), peer, headers).await, "10.0.0.9");
            assert_eq!(client(Some(proxies.clone()), peer, []).await, peer.unwrap_or(UNKNOWN));
        }
    }
}

#[tokio::test]
async fn a_list_of_proxies_is_followed_for_64_steps() {
    for (proxies, header, entry) in [(x_forwarded(), "x-forwarded-for", ""), (forwarded(), "forwarded", "for=")] {
        for (hops, expected) in [(63, "198.51.100.7"), (64, UNKNOWN), (300, UNKNOWN)] {
            let chain = format!("{entry}198.51.100.7{}", format!(",{entry}10.0.0.9").repeat(hops));
            let headers = [(header, HeaderValue::try_from(chain.clone()).unwrap())];
            assert_eq!(client(Some(proxies.clone()), Some(PROXY), headers).await, expected, "{header}, {hops}");
            let lines = chain.split(',').map(|line| (header, HeaderValue::try_from(line).unwrap()));
            assert_eq!(client(Some(proxies.clone()), Some(PROXY), lines).await, expected, "{header}, {hops} lines");
        }
    }
}

#[test]
fn lists_of_proxies_are_checked() {
    for build in [TrustedProxies::x_forwarded::<Vec<&str>>, TrustedProxies::forwarded] {
        assert_eq!(build(vec![]).unwrap_err(), ConfigError::NoProxy);
        for network in ["", "proxy.example.com", "10.0.0.1/8", "10.0.0.0/33", "0.0.0.0/0", "::/0"] {
            let error = build(vec!["10.0.0.0/8", network]).unwrap_err();
            assert!(matches!(&error, ConfigError::InvalidNetwork { network: n, .. } if n == network), "{error}");
        }
        assert!(build(vec!["10.0.0.0/8", "::1", "fd00::/8", "127.0.0.1/32"]).is_ok());
    }
}
