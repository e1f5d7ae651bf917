//! Whatever a client sends, it is not taken for another.

use axum_ws_auth::{TokenSource, test_util::handshake};
use http::HeaderName;
use proptest::{collection::vec, prelude::*};

use crate::*;

const HEADERS: [&str; 5] =
    ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "forwarded"];

/// Text that resembles what proxies write.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "for=",
            "host=",
            "proto=",
            "by=",
            "10.0.0.1",
            "6.6.6.6",
            "[2001:db8:1::1]",
            "\"",
            "\\",
            ",",
            ";",
            "=",
            ":",
            " ",
            "https",
            "evil.example",
            "unknown",
            "_x",
            ":80",
        ])
        .prop_map(str::to_owned),
        "[ -~]{1,3}",
    ];
    vec(word, 0..12).prop_map(|words| words.concat())
}

fn lines() -> impl Strategy<Value = Vec<(&'static str, HeaderValue)>> {
    let value = prop_oneof![
        text().prop_map(String::into_bytes),
        vec(prop_oneof![Just(b'\t'), 0x20..0x7f_u8, 0x80..=0xff_u8], 0..40),
    ];
    let value = value.prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap());
    vec((prop::sample::select(&HEADERS[..]), value), 0..6)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn by_both() -> [(TrustedProxies, &'static str, &'static str); 2] {
    [(x_forwarded(), "x-forwarded-for", "198.51.100.7"), (forwarded(), "forwarded", "for=198.51.100.7")]
}

/// Whether a page of the host in `Host` may connect, and one of another host.
async fn admits(proxies: TrustedProxies, peer: &str, lines: &[(&'static str, HeaderValue)]) -> [u16; 2] {
    let layer = opaque_layer().sources([TokenSource::cookie("session")]).unwrap().trusted_proxies(proxies);
    let app = echo_behind(layer);
    let mut statuses = [0; 2];
    for (status, origin) in statuses.iter_mut().zip(["https://localhost", "https://evil.example"]) {
        let mut request = handshake().cookie("session", TOKEN).origin(origin);
        for (name, value) in lines {
            request = request.header(HeaderName::from_static(name), value.clone());
        }
        let mut request = request.build();
        come_from(&mut request, Some(peer));
        *status = answer(&app, request).await.status().as_u16();
    }
    statuses
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn headers_of_a_stranger_change_nothing(lines in lines()) {
        for (proxies, ..) in by_both() {
            prop_assert_eq!(run(client(Some(proxies.clone()), Some(STRANGER), lines.clone())), STRANGER);
            prop_assert_eq!(run(admits(proxies, STRANGER, &lines)), [101, 403]);
        }
    }

    /// The proxy appends a line.
    #[test]
    fn headers_before_those_of_a_proxy_change_nothing(lines in lines()) {
        for (proxies, header, appended) in by_both() {
            let mut lines: Vec<_> = lines.iter().filter(|(name, _)| *name == header).cloned().collect();
            lines.push((header, HeaderValue::from_static(appended)));
            prop_assert_eq!(run(client(Some(proxies), Some(PROXY), lines)), "198.51.100.7");
        }
    }

    /// The proxy appends to the client's line.
    #[test]
    fn a_client_that_writes_the_begin_of_a_line_is_nobody_else(begin in text()) {
        for (proxies, header, appended) in by_both() {
            for appended in [appended.to_owned(), format!("{appended};proto=https;host=\"chat.example:8443\"")] {
                if header == "x-forwarded-for" && appended.contains(';') {
                    continue;
                }
                let line = HeaderValue::try_from(format!("{begin}, {appended}")).unwrap();
                let client = run(client(Some(proxies.clone()), Some(PROXY), [(header, line)]));
                prop_assert!(client == "198.51.100.7" || header == "forwarded" && client == "unknown", "{client}");
            }
        }
    }

    #[test]
    fn any_headers_of_a_proxy_are_read_without_a_panic(lines in lines()) {
        for (proxies, ..) in by_both() {
            let client = run(client(Some(proxies.clone()), Some(PROXY), lines.clone()));
            prop_assert!(client == "unknown" || client.parse::<std::net::IpAddr>().is_ok(), "{client}");
            let [own, _] = run(admits(proxies, PROXY, &lines));
            prop_assert!(own == 101 || own == 403);
        }
    }
}
