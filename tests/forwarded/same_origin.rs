//! The same-origin rule for pages that know the server by another name.

use axum_ws_auth::{AllowOrigin, RejectionKind, TokenSource, test_util::handshake};
use http::StatusCode;

use crate::*;

fn cookie_layer(proxies: &TrustedProxies) -> WsAuthLayer {
    opaque_layer().sources([TokenSource::cookie("session")]).unwrap().trusted_proxies(proxies.clone())
}

/// Why the handshake of a page is refused, if it is.
async fn reason(layer: WsAuthLayer, peer: &str, origin: &str, headers: &[(&str, &str)]) -> Option<&'static str> {
    let mut request = handshake().cookie("session", TOKEN).header("host", "backend:3000").origin(origin);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.build();
    come_from(&mut request, Some(peer));
    let response = answer(&echo_behind(layer), request).await;
    let refusal = refusal(&response);
    match refusal {
        None => assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS),
        Some((kind, _)) => assert_eq!((kind, response.status().as_u16()), (RejectionKind::OriginNotAllowed, 403)),
    }
    refusal.map(|(_, reason)| reason)
}

const NOT_ALLOWED: Option<&str> = Some("origin_not_allowed");
const MALFORMED: Option<&str> = Some("forwarded_malformed");

const FOR: &str = "x-forwarded-for";
const HOST: &str = "x-forwarded-host";
const PROTO: &str = "x-forwarded-proto";

#[tokio::test]
async fn a_page_is_of_the_host_and_scheme_that_the_client_asked_the_outermost_proxy_for() {
    struct Case {
        name: &'static str,
        headers: &'static [(&'static str, &'static str)],
        origin: &'static str,
        expected: Option<&'static str>,
    }
    let (chat, evil) = ("https://chat.example", "https://evil.example");
    let case = |name, origin, headers, expected| Case { name, headers, origin, expected };
    let own: &[_] = &[(HOST, "chat.example")];
    let two_hosts: &[_] = &[(HOST, "evil.example, chat.example")];
    let cases = [
        case("host", chat, own, None),
        case("other page", evil, own, NOT_ALLOWED),
        case("host of the backend", "http://backend:3000", own, NOT_ALLOWED),
        case("case", chat, &[(HOST, "CHAT.Example")], None),
        case("port", "https://chat.example:8443", &[(HOST, "chat.example:8443")], None),
        case("default port", chat, &[(HOST, "chat.example:443")], None),
        case("other port", "https://chat.example:8443", own, NOT_ALLOWED),
        case("http", "http://chat.example", own, None),
        case("IPv6", "https://[2001:db8::1]", &[(HOST, "[2001:db8::1]")], None),
        case("both schemes", chat, &[(HOST, "chat.example"), (PROTO, "https")], None),
        case("wss", chat, &[(HOST, "chat.example"), (PROTO, "WSS")], None),
        case("ws", "http://chat.example", &[(HOST, "chat.example"), (PROTO, "ws")], None),
        case(
            "http page of a https host",
            "http://chat.example",
            &[(HOST, "chat.example"), (PROTO, "https")],
            NOT_ALLOWED,
        ),
        case("https page of a http host", chat, &[(HOST, "chat.example"), (PROTO, "http")], NOT_ALLOWED),
        case("scheme alone", "https://backend:3000", &[(PROTO, "https")], None),
        case("scheme alone, http page", "http://backend:3000", &[(PROTO, "https")], NOT_ALLOWED),
        case("nothing", "https://backend:3000", &[], None),
        // A list: the client has sent one, and the proxy has appended to it.
        case("forged host", evil, two_hosts, NOT_ALLOWED),
        case("own host after a forged one", chat, two_hosts, None),
        case("in lines", chat, &[(HOST, "evil.example"), (HOST, "chat.example")], None),
        case("forged scheme", "http://chat.example", &[(HOST, "chat.example"), (PROTO, "http, https")], NOT_ALLOWED),
        case(
            "two proxies that append",
            chat,
            &[
                (FOR, "6.6.6.6, 198.51.100.7, 10.0.0.9"),
                (HOST, "evil.example, chat.example, backend:3000"),
                (PROTO, "http, https, http"),
            ],
            None,
        ),
        case(
            "two proxies, a forged host",
            evil,
            &[(FOR, "6.6.6.6, 198.51.100.7, 10.0.0.9"), (HOST, "evil.example, chat.example, backend:3000")],
            NOT_ALLOWED,
        ),
        case(
            "two proxies, one of which appends",
            chat,
            &[(FOR, "198.51.100.7, 10.0.0.9"), (HOST, "chat.example")],
            None,
        ),
        case("an unknown client", chat, &[(FOR, "unknown"), (HOST, "chat.example")], None),
        // What cannot be read.
        case("empty host", chat, &[(HOST, "")], MALFORMED),
        case("no last host", chat, &[(HOST, "chat.example,")], MALFORMED),
        case("a URL", chat, &[(HOST, "https://chat.example")], MALFORMED),
        case("a path", chat, &[(HOST, "chat.example/")], MALFORMED),
        case("a user", chat, &[(HOST, "chat.example@evil.example")], MALFORMED),
        case("empty port", chat, &[(HOST, "chat.example:")], MALFORMED),
        case("large port", chat, &[(HOST, "chat.example:65979")], MALFORMED),
        case("quoted", chat, &[(HOST, "\"chat.example\"")], MALFORMED),
        case("space", chat, &[(HOST, "chat.example evil.example")], MALFORMED),
        case("not ASCII", chat, &[(HOST, "ch\u{e4}t.example")], MALFORMED),
        case("empty scheme", chat, &[(HOST, "chat.example"), (PROTO, "")], MALFORMED),
        case("other scheme", chat, &[(HOST, "chat.example"), (PROTO, "ftp")], MALFORMED),
        case("scheme with a colon", chat, &[(HOST, "chat.example"), (PROTO, "https:")], MALFORMED),
        case("malformed, and a page without a host", "null", &[(HOST, "")], MALFORMED),
    ];
    for Case { name, headers, origin, expected } in cases {
        let layer = || cookie_layer(&x_forwarded());
        assert_eq!(reason(layer(), PROXY, origin, headers).await, expected, "{name}");
        // Headers of a stranger change nothing.
        let unread = if origin.ends_with("//backend:3000") { None } else { NOT_ALLOWED };
        assert_eq!(reason(layer(), STRANGER, origin, headers).await, unread, "{name}, from a stranger");
        assert_eq!(
            reason(cookie_layer(&forwarded()), PROXY, origin, headers).await,
            unread,
            "{name}, of the other kind"
        );
    }
}

#[tokio::test]
async fn a_page_is_compared_with_what_the_outermost_proxy_wrote_in_forwarded() {
    let chat = "https://chat.example";
    for (name, origin, lines, expected) in [
        ("host", chat, &["for=198.51.100.7;host=chat.example;proto=https"][..], None),
        ("other page", "https://evil.example", &["for=198.51.100.7;host=chat.example"], NOT_ALLOWED),
        ("port", "https://chat.example:8443", &["for=198.51.100.7;host=\"chat.example:8443\""], None),
        ("http page", "http://chat.example", &["for=198.51.100.7;host=chat.example;proto=https"], NOT_ALLOWED),
        ("forged before it", chat, &["for=6.6.6.6;host=evil.example, for=198.51.100.7;host=chat.example"], None),
        ("forged", "https://evil.example", &["host=evil.example, for=198.51.100.7;host=chat.example"], NOT_ALLOWED),
        ("forged, none written", "https://evil.example", &["host=evil.example, for=198.51.100.7"], NOT_ALLOWED),
        ("two", chat, &["for=198.51.100.7;host=chat.example;proto=https, for=10.0.0.9;host=backend;proto=http"], None),
        ("two lines", chat, &["for=198.51.100.7;host=chat.example", "for=10.0.0.9;host=backend"], None),
        ("the inner one alone", chat, &["for=198.51.100.7, for=10.0.0.9;host=chat.example"], None),
        ("an unknown client", chat, &["for=_c;host=chat.example"], None),
        ("none", "https://backend:3000", &["for=198.51.100.7"], None),
        ("malformed line", chat, &["for=198.51.100.7;host=chat.example/"], MALFORMED),
        ("malformed host", chat, &["for=198.51.100.7;host=\"chat.example/\""], MALFORMED),
        ("malformed scheme", chat, &["for=198.51.100.7;host=chat.example;proto=gopher"], MALFORMED),
        ("garbage further out", chat, &["\"", "for=198.51.100.7;host=chat.example"], None),
        ("garbage on the way", chat, &["\"", "for=10.0.0.9;host=chat.example"], MALFORMED),
    ] {
        let headers: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
        assert_eq!(reason(cookie_layer(&forwarded()), PROXY, origin, &headers).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_list_of_origins_does_not_depend_on_proxies() {
    for headers in [&[(HOST, "evil.example")][..], &[(HOST, "")], &[(PROTO, "gopher")]] {
        let layer = || cookie_layer(&x_forwarded()).allow_origin(["https://chat.example"]).unwrap();
        assert_eq!(reason(layer(), PROXY, "https://chat.example", headers).await, None);
        assert_eq!(reason(layer(), PROXY, "https://evil.example", headers).await, NOT_ALLOWED);
    }
    // The rule for explicit tokens, once it is set.
    let layer = || opaque_layer().allow_origin(AllowOrigin::same_origin()).unwrap().trusted_proxies(x_forwarded());
    for (origin, status) in [("https://chat.example", 101), ("https://backend:3000", 403)] {
        let request = handshake().bearer_subprotocol(TOKEN).origin(origin).header("host", "backend:3000");
        let mut request = request.header(HOST, "chat.example").build();
        come_from(&mut request, Some(PROXY));
        assert_eq!(answer(&echo_behind(layer()), request).await.status().as_u16(), status, "{origin}");
    }
}

#[tokio::test]
async fn a_request_of_a_page_that_names_no_origin_is_of_the_host_that_the_client_asked_for() {
    for (name, headers, expected) in [
        ("listed", &[(HOST, "chat.example"), (PROTO, "https")][..], None),
        ("scheme unknown", &[(HOST, "chat.example")], None),
        ("other scheme", &[(HOST, "chat.example"), (PROTO, "http")], Some("origin_missing")),
        ("not listed", &[(HOST, "evil.example"), (PROTO, "https")], Some("origin_missing")),
        ("malformed", &[(HOST, "")], Some("origin_missing")),
        ("none", &[], Some("origin_missing")),
    ] {
        let layer = cookie_layer(&x_forwarded()).allow_origin(["https://chat.example"]).unwrap();
        let mut request = Request::get("/")
            .header("host", "backend:3000")
            .header("cookie", format!("session={TOKEN}"))
            .header("sec-fetch-site", "same-origin");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        come_from(&mut request, Some(PROXY));
        let response = answer(&who_behind(layer), request).await;
        assert_eq!(refusal(&response).map(|(_, reason)| reason), expected, "{name}");
    }
}

#[tokio::test]
async fn what_an_outer_layer_believed_does_not_count_in_an_inner_one() {
    let inner = opaque_layer().sources([TokenSource::cookie("session")]).unwrap();
    let app = Router::new().route("/", any(axum_ws_auth::test_util::echo)).layer(inner);
    let outer = opaque_layer().trusted_proxies(x_forwarded()).optional();
    let mut request = handshake()
        .cookie("session", TOKEN)
        .origin("https://chat.example")
        .header("host", "backend:3000")
        .header(HOST, "chat.example")
        .build();
    come_from(&mut request, Some(PROXY));
    assert_eq!(answer(&app.layer(outer), request).await.status(), StatusCode::FORBIDDEN);
}
