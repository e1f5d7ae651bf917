//! Which pages may open a WebSocket.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use axum::{Router, body::Body, routing::any};
use axum_ws_auth::{
    AllowOrigin, ConfigError, MemoryTickets, RejectionKind, TicketOptions, Tickets, TokenSource, Verified, WsAuthLayer,
    test_util::{HandshakeBuilder, handshake},
};
use http::{HeaderValue, Method, Request, StatusCode};
use support::*;

fn cookie_layer() -> WsAuthLayer {
    opaque_layer().sources([TokenSource::cookie("session"), TokenSource::authorization()]).unwrap()
}

fn with_cookie() -> HandshakeBuilder {
    handshake().cookie("session", TOKEN)
}

async fn reason(layer: WsAuthLayer, request: HandshakeBuilder) -> Option<&'static str> {
    let response = answer(&echo_behind(layer), request.build()).await;
    match refusal(&response) {
        None => {
            assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
            None
        }
        Some((kind, reason)) => {
            assert_eq!(kind, RejectionKind::OriginNotAllowed);
            assert_eq!(response.status(), StatusCode::FORBIDDEN);
            Some(reason)
        }
    }
}

const NOT_ALLOWED: Option<&str> = Some("origin_not_allowed");
const MISSING: Option<&str> = Some("origin_missing");
const MALFORMED: Option<&str> = Some("origin_malformed");

#[tokio::test]
async fn a_cookie_is_accepted_only_from_the_same_origin_by_default() {
    struct Case {
        name: &'static str,
        host: &'static str,
        origin: &'static str,
        expected: Option<&'static str>,
    }
    for Case { name, host, origin, expected } in [
        Case { name: "same", host: "example.com", origin: "https://example.com", expected: None },
        Case { name: "case", host: "EXAMPLE.com", origin: "HTTPS://Example.COM", expected: None },
        Case { name: "port", host: "example.com:8443", origin: "https://example.com:8443", expected: None },
        Case { name: "default port", host: "example.com:443", origin: "https://example.com", expected: None },
        Case { name: "explicit default port", host: "example.com", origin: "https://example.com:443", expected: None },
        Case { name: "http", host: "localhost:3000", origin: "http://localhost:3000", expected: None },
        Case { name: "http default port", host: "localhost:80", origin: "http://localhost", expected: None },
        Case { name: "IPv6", host: "[::1]:3000", origin: "http://[::1]:3000", expected: None },
        Case {
            name: "zero-filled port",
            host: "example.com",
            origin: "https://example.com:0443",
            expected: NOT_ALLOWED,
        },
        Case { name: "other port", host: "example.com", origin: "https://example.com:8443", expected: NOT_ALLOWED },
        Case {
            name: "other scheme's port",
            host: "example.com:443",
            origin: "http://example.com",
            expected: NOT_ALLOWED,
        },
        Case { name: "empty port", host: "example.com", origin: "https://example.com:", expected: NOT_ALLOWED },
        Case {
            name: "port too large",
            host: "example.com",
            origin: "https://example.com:65979",
            expected: NOT_ALLOWED,
        },
        Case { name: "subdomain", host: "example.com", origin: "https://app.example.com", expected: NOT_ALLOWED },
        Case { name: "parent", host: "app.example.com", origin: "https://example.com", expected: NOT_ALLOWED },
        Case { name: "prefixed", host: "example.com", origin: "https://evil-example.com", expected: NOT_ALLOWED },
        Case { name: "suffixed", host: "example.com", origin: "https://example.com.evil.com", expected: NOT_ALLOWED },
        Case { name: "trailing dot", host: "example.com", origin: "https://example.com.", expected: NOT_ALLOWED },
        Case { name: "user", host: "example.com", origin: "https://example.com@evil.com", expected: NOT_ALLOWED },
        Case {
            name: "user on both sides",
            host: "a@example.com",
            origin: "https://a@example.com",
            expected: NOT_ALLOWED,
        },
        Case { name: "path", host: "example.com", origin: "https://example.com/", expected: NOT_ALLOWED },
        Case { name: "custom scheme", host: "localhost", origin: "tauri://localhost", expected: NOT_ALLOWED },
        Case { name: "null", host: "null", origin: "null", expected: NOT_ALLOWED },
        Case { name: "no scheme", host: "example.com", origin: "example.com", expected: NOT_ALLOWED },
        Case { name: "empty", host: "example.com", origin: "", expected: NOT_ALLOWED },
        Case {
            name: "list",
            host: "example.com",
            origin: "https://example.com https://evil.com",
            expected: NOT_ALLOWED,
        },
    ] {
        let request = with_cookie().header("host", host).origin(origin);
        assert_eq!(reason(cookie_layer(), request.clone()).await, expected, "{name}");
        let explicit = cookie_layer().allow_origin(AllowOrigin::same_origin()).unwrap();
        assert_eq!(reason(explicit, request).await, expected, "{name}, set explicitly");
    }
}

#[tokio::test]
async fn a_cookie_with_a_missing_repeated_or_malformed_origin_is_refused() {
    let layers = || {
        [
            cookie_layer(),
            cookie_layer().allow_origin(["https://localhost"]).unwrap(),
            cookie_layer().allow_origin(AllowOrigin::predicate(|_, _| true)).unwrap(),
        ]
    };
    for layer in layers() {
        assert_eq!(reason(layer, with_cookie()).await, MISSING);
    }
    for layer in layers() {
        let twice = with_cookie().origin("https://localhost").origin("https://localhost");
        assert_eq!(reason(layer, twice).await, MALFORMED);
    }
    for layer in layers() {
        // A Cyrillic `е`, which a browser would send as `xn--…`.
        let lookalike = HeaderValue::from_bytes("https://еxample.com".as_bytes()).unwrap();
        assert_eq!(reason(layer, with_cookie().header("origin", lookalike)).await, MALFORMED);
    }
}

/// Browsers send no `Origin` with a `GET` within one origin, but they say that it is one.
#[tokio::test]
async fn a_plain_request_with_a_cookie_may_come_from_a_page_of_the_same_origin() {
    struct Case {
        name: &'static str,
        method: Method,
        host: &'static str,
        sites: &'static [&'static str],
        /// By the default policy, by a list of `https://example.com`, and by a predicate that allows all.
        expected: [Option<&'static str>; 3],
    }
    const OWN: &[&str] = &["same-origin"];
    const YES: [Option<&str>; 3] = [None; 3];
    const NO: [Option<&str>; 3] = [MISSING; 3];
    for Case { name, method, host, sites, expected } in [
        Case { name: "own page", method: Method::GET, host: "example.com", sites: OWN, expected: YES },
        Case { name: "HEAD", method: Method::HEAD, host: "example.com", sites: OWN, expected: YES },
        Case { name: "default port", method: Method::GET, host: "Example.com:443", sites: OWN, expected: YES },
        Case {
            name: "not listed",
            method: Method::GET,
            host: "127.0.0.1:80",
            sites: OWN,
            expected: [None, MISSING, None],
        },
        Case { name: "no host", method: Method::GET, host: "", sites: OWN, expected: NO },
        Case { name: "sibling", method: Method::GET, host: "example.com", sites: &["same-site"], expected: NO },
        Case { name: "foreign page", method: Method::GET, host: "example.com", sites: &["cross-site"], expected: NO },
        Case { name: "no page", method: Method::GET, host: "example.com", sites: &["none"], expected: NO },
        Case { name: "twice", method: Method::GET, host: "example.com", sites: &["same-origin"; 2], expected: NO },
        Case { name: "old browser", method: Method::GET, host: "example.com", sites: &[], expected: NO },
        Case { name: "has an origin", method: Method::POST, host: "example.com", sites: OWN, expected: NO },
    ] {
        let policies: [AllowOrigin; 3] = [
            AllowOrigin::same_origin(),
            AllowOrigin::list(["https://example.com"]),
            AllowOrigin::predicate(|_, _| true),
        ];
        for (policy, expected) in policies.into_iter().zip(expected) {
            let mut request = Request::builder().method(method.clone()).header("host", host);
            for site in sites {
                request = request.header("sec-fetch-site", *site);
            }
            let request = request.header("cookie", format!("session={TOKEN}")).body(Body::empty()).unwrap();
            let app =
                Router::new().route("/", any("hello")).layer(cookie_layer().allow_origin(policy.clone()).unwrap());
            let response = answer(&app, request).await;
            assert_eq!(refusal(&response).map(|(_, reason)| reason), expected, "{name}, {policy:?}");
        }
    }

    // Whatever a request says, its origin counts.
    let foreign = with_cookie().origin("https://evil.com").header("sec-fetch-site", "same-origin");
    assert_eq!(reason(cookie_layer(), foreign).await, NOT_ALLOWED);
    // A browser sends the origin with each handshake.
    assert_eq!(reason(cookie_layer(), with_cookie().header("sec-fetch-site", "same-origin")).await, MISSING);
}

#[tokio::test]
async fn the_host_must_be_present_once_and_agree_with_the_target() {
    let request = |change: fn(&mut http::HeaderMap)| {
        let mut request = with_cookie().origin("https://localhost").build();
        change(request.headers_mut());
        request
    };
    let app = echo_behind(cookie_layer());
    for change in [
        (|headers| _ = headers.remove("host")) as fn(&mut http::HeaderMap),
        |headers| _ = headers.append("host", HeaderValue::from_static("localhost")),
        |headers| _ = headers.insert("host", HeaderValue::from_static("")),
        |headers| _ = headers.insert("host", HeaderValue::from_bytes(b"\xff").unwrap()),
    ] {
        assert_eq!(answer(&app, request(change)).await.status(), StatusCode::FORBIDDEN);
    }
    assert_eq!(answer(&app, request(|_| {})).await.status(), StatusCode::SWITCHING_PROTOCOLS);

    // The target has the host in HTTP/2, and may have it in HTTP/1.1. A `Host` header must agree with it.
    for (target, host, origin, status) in [
        ("https://a.example/", "a.example", "https://a.example", StatusCode::OK),
        ("https://a.example/", "a.example:443", "https://a.example", StatusCode::OK),
        ("https://a.example:443/", "a.example", "https://a.example", StatusCode::OK),
        ("https://a.example:443/", "A.example:443", "https://a.example:443", StatusCode::OK),
        ("http://a.example/", "a.example:80", "http://a.example", StatusCode::OK),
        ("http://a.example:80/", "a.example", "http://a.example", StatusCode::OK),
        // Behind a proxy that terminates TLS.
        ("http://a.example/", "a.example:443", "https://a.example", StatusCode::OK),
        ("https://a.example/", "a.example:80", "https://a.example", StatusCode::FORBIDDEN),
        ("http://a.example/", "a.example:443", "http://a.example", StatusCode::FORBIDDEN),
        ("https://a.example/", "a.example:8443", "https://a.example", StatusCode::FORBIDDEN),
        ("https://a.example:8443/", "a.example", "https://a.example:8443", StatusCode::FORBIDDEN),
        ("https://a.example/", "b.example:443", "https://a.example", StatusCode::FORBIDDEN),
        ("https://a.example/", "b.example:443", "https://b.example", StatusCode::FORBIDDEN),
        ("https://a.example/", "", "https://a.example", StatusCode::FORBIDDEN),
    ] {
        let http2 = with_cookie().http2().origin(origin).header("host", host);
        for http1 in [false, true] {
            let mut request = http2.clone().build();
            if http1 {
                request = with_cookie().origin(origin).header("host", host).build();
            }
            *request.uri_mut() = target.parse().unwrap();
            let status = if http1 && status.is_success() { StatusCode::SWITCHING_PROTOCOLS } else { status };
            assert_eq!(answer(&app, request).await.status(), status, "{target}, {host}, {origin}");
        }
    }
    let http2 = with_cookie().http2().origin("https://localhost");
    assert_eq!(answer(&app, http2.clone().build()).await.status(), StatusCode::OK);
    assert_eq!(answer(&app, http2.clone().header("host", "localhost").build()).await.status(), StatusCode::OK);
    assert_eq!(answer(&app, http2.clone().header("host", "other").build()).await.status(), StatusCode::FORBIDDEN);
    // The scheme must agree too: a page at `http:` is not the same origin as an `https` target.
    for (origin, status) in [("http://localhost", StatusCode::FORBIDDEN), ("https://localhost", StatusCode::OK)] {
        let mut request = with_cookie().http2().origin(origin).build();
        *request.uri_mut() = "https://localhost/".parse().unwrap();
        assert_eq!(answer(&app, request).await.status(), status, "{origin}");
    }
}

#[tokio::test]
async fn a_list_allows_exactly_its_origins() {
    let list = || {
        cookie_layer()
            .allow_origin([
                "https://app.example.com",
                "HTTPS://Shop.Example.com:443",
                "http://localhost:3000",
                "tauri://localhost",
                "http://tauri.localhost",
                "chrome-extension://abcdefghijklmnop",
                "https://xn--e1awd7f.com",
                "file://",
                "qrc://",
                "content://",
                "APP://",
            ])
            .unwrap()
    };
    for (origin, expected) in [
        ("https://app.example.com", None),
        ("https://APP.example.com", None),
        ("https://app.example.com:443", None),
        ("https://shop.example.com", None),
        ("http://localhost:3000", None),
        ("tauri://localhost", None),
        ("http://tauri.localhost", None),
        ("chrome-extension://abcdefghijklmnop", None),
        ("https://xn--e1awd7f.com", None),
        ("file://", None),
        ("qrc://", None),
        ("content://", None),
        ("app://", None),
        ("qrc://host", NOT_ALLOWED),
        ("qrc:", NOT_ALLOWED),
        ("http://app.example.com", NOT_ALLOWED),
        ("http://app.example.com:443", NOT_ALLOWED),
        ("https://app.example.com:80", NOT_ALLOWED),
        ("https://app.example.com/", NOT_ALLOWED),
        ("https://app.example.com.evil.com", NOT_ALLOWED),
        ("https://evil-app.example.com", NOT_ALLOWED),
        ("https://example.com", NOT_ALLOWED),
        ("https://appxexample.com", NOT_ALLOWED),
        ("http://localhost", NOT_ALLOWED),
        ("https://tauri.localhost", NOT_ALLOWED),
        ("capacitor://localhost", NOT_ALLOWED),
        ("null", NOT_ALLOWED),
        ("", NOT_ALLOWED),
        ("*", NOT_ALLOWED),
        ("https://localhost", NOT_ALLOWED),
    ] {
        assert_eq!(reason(list(), with_cookie().origin(origin)).await, expected, "cookie, {origin}");
        let explicit = handshake().authorization(TOKEN).origin(origin);
        assert_eq!(reason(list(), explicit).await, expected, "explicit, {origin}");
    }
    let null = cookie_layer().allow_origin(["null"]).unwrap();
    assert_eq!(reason(null.clone(), with_cookie().origin("null")).await, None);
    assert_eq!(reason(null, with_cookie().origin("https://localhost")).await, NOT_ALLOWED);
}

/// Browsers send such a cookie over TLS only, so a page without TLS is another origin.
#[tokio::test]
async fn a_secure_cookie_is_refused_from_a_page_without_tls() {
    for (name, is_secure) in [
        ("__Host-session", true),
        ("__Secure-session", true),
        ("__host-session", true),
        ("__SECURE-session", true),
        ("session", false),
        ("__Hostsession", false),
        ("x__Host-session", false),
    ] {
        for (host, origin, is_safe) in [
            ("a.example.com", "http://a.example.com", false),
            ("a.example.com:80", "HTTP://a.example.com", false),
            ("a.example.com:3000", "http://a.example.com:3000", false),
            ("localhost.example.com", "http://localhost.example.com", false),
            ("127.0.0.1.example.com", "http://127.0.0.1.example.com", false),
            ("notlocalhost", "http://notlocalhost", false),
            ("10.0.0.1", "http://10.0.0.1", false),
            ("[::2]", "http://[::2]", false),
            ("a.example.com", "https://a.example.com", true),
            ("localhost", "http://localhost", true),
            ("localhost:3000", "http://LOCALHOST:3000", true),
            ("app.localhost:3000", "http://app.localhost:3000", true),
            ("127.0.0.1:8080", "http://127.0.0.1:8080", true),
            ("127.1.2.3", "http://127.1.2.3", true),
            ("[::1]:3000", "http://[::1]:3000", true),
        ] {
            let case = format!("{name}, {origin}");
            let layer = || opaque_layer().sources([TokenSource::cookie(name), TokenSource::authorization()]).unwrap();
            let same_origin = || layer().allow_origin(AllowOrigin::same_origin()).unwrap();
            let request = || handshake().header("host", host).origin(origin).cookie(name, TOKEN);
            let expected = if is_secure && !is_safe { NOT_ALLOWED } else { None };
            assert_eq!(reason(layer(), request()).await, expected, "{case}");
            assert_eq!(reason(same_origin(), request()).await, expected, "{case}, set explicitly");
            // Such a page does not learn whether the user has a session.
            let bad = handshake().header("host", host).origin(origin).authorization("bad").build();
            let response = answer(&echo_behind(layer().accept_then_close()), bad).await;
            let status = if expected.is_none() { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::UNAUTHORIZED };
            assert_eq!(response.status(), status, "{case}");
            // A list can allow such a page, and explicit tokens are not affected.
            let listed = layer().allow_origin([origin]).unwrap();
            assert_eq!(reason(listed, request()).await, None, "{case}, listed");
            let explicit = handshake().header("host", host).origin(origin).authorization(TOKEN);
            assert_eq!(reason(same_origin(), explicit).await, None, "{case}, explicit");
        }
    }
    // If cookies of both kinds hold the same token, the stricter rule applies.
    let both = [TokenSource::cookie("session"), TokenSource::cookie("__Host-session")];
    let layer = opaque_layer().sources(both).unwrap();
    let page = || handshake().header("host", "a.example.com").origin("http://a.example.com");
    let request = page().header("cookie", format!("session={TOKEN}; __Host-session={TOKEN}"));
    assert_eq!(reason(layer.clone(), request).await, NOT_ALLOWED);
    assert_eq!(reason(layer, page().cookie("session", TOKEN)).await, None);
}

/// An empty cookie remains after signing out, and grants nothing that a page could misuse.
#[tokio::test]
async fn an_empty_cookie_is_no_token() {
    for value in ["", "\"\"", " "] {
        for request in
            [handshake().cookie("session", value), handshake().cookie("session", value).origin("https://x.example")]
        {
            let response = answer(&echo_behind(cookie_layer()), request.clone().build()).await;
            assert_eq!(refusal(&response), Some((RejectionKind::MissingToken, "missing_token")), "{value:?}");
            assert_eq!(reason(cookie_layer().optional(), request.clone()).await, None, "{value:?}");
            let explicit = request.authorization(TOKEN);
            assert_eq!(reason(cookie_layer(), explicit).await, None, "{value:?}");
        }
    }
}

#[tokio::test]
async fn a_ticket_for_an_origin_is_accepted_from_that_origin_only() {
    for (allowed, page, is_accepted) in [
        ("https://a.example", "https://a.example", true),
        ("https://a.example:443", "https://a.example", true),
        ("HTTPS://A.example:443", "https://a.example", true),
        ("http://a.example:80", "http://a.example", true),
        ("https://a.example:8443", "https://a.example:8443", true),
        ("qrc://", "qrc://", true),
        ("https://a.example:80", "https://a.example", false),
        ("https://a.example", "http://a.example", false),
    ] {
        let tickets = Tickets::<String>::new(MemoryTickets::new());
        let options = TicketOptions::new().origin(allowed).unwrap();
        let ticket = tickets.issue_for(&Verified::new("alice".to_owned()), &options).await.unwrap();
        let layer = WsAuthLayer::new(tickets.verifier()).sources([TokenSource::ticket()]).unwrap();
        let request = handshake().path(format!("/?ticket={}", ticket.token().expose())).origin(page).build();
        let status = answer(&echo_behind(layer), request).await.status();
        assert_eq!(status == StatusCode::SWITCHING_PROTOCOLS, is_accepted, "{allowed}, {page}: {status}");
    }
    for invalid in ["https://a.example/", "https://a.example:0443", "a.example", "https://"] {
        assert!(matches!(TicketOptions::new().origin(invalid), Err(ConfigError::InvalidOrigin { .. })), "{invalid}");
    }
}

#[tokio::test]
async fn an_explicit_token_needs_no_origin() {
    let explicit = || handshake().authorization(TOKEN);
    let with_policy = || cookie_layer().allow_origin(["https://app.example.com"]).unwrap();
    assert_eq!(reason(cookie_layer(), explicit()).await, None);
    assert_eq!(reason(cookie_layer(), explicit().origin("https://anywhere.example")).await, None);
    assert_eq!(reason(with_policy(), explicit()).await, None);
    assert_eq!(reason(with_policy(), explicit().origin("https://anywhere.example")).await, NOT_ALLOWED);
    let any = opaque_layer().allow_origin(AllowOrigin::insecure_any()).unwrap();
    assert_eq!(reason(any, explicit().origin("https://anywhere.example")).await, None);
    // The policy applies to anonymous handshakes too.
    let foreign = handshake().origin("https://anywhere.example");
    assert_eq!(reason(with_policy().optional(), foreign).await, NOT_ALLOWED);
}

#[tokio::test]
async fn a_predicate_gets_the_normalized_origin() {
    let policy = AllowOrigin::predicate(|origin, parts| {
        origin.strip_prefix("https://").is_some_and(|host| host.ends_with(".example.com")) && parts.uri.path() == "/"
    });
    let layer = || cookie_layer().allow_origin(policy.clone()).unwrap();
    assert_eq!(reason(layer(), with_cookie().origin("HTTPS://A.Example.com:443")).await, None);
    assert_eq!(reason(layer(), with_cookie().origin("https://example.com.evil.com")).await, NOT_ALLOWED);
    assert_eq!(reason(layer(), with_cookie().path("/x").origin("https://a.example.com")).await, NOT_ALLOWED);
}

#[test]
fn an_origin_that_can_never_match_does_not_build() {
    for origin in [
        "",
        "*",
        "example.com",
        "https://",
        "HTTP://",
        "chrome-extension://",
        "://",
        "https://example.com/",
        "https://example.com/path",
        "https://example.com?x",
        "https://*.example.com",
        "https://user@example.com",
        "https://exa mple.com",
        "https://example.com:port",
        "https://еxample.com",
        "://example.com",
        "1http://example.com",
        "NULL",
        "ws://example.com",
        "WSS://example.com",
        "https://example.com:0443",
        "https://example.com:65979",
    ] {
        let error = opaque_layer().allow_origin([origin]).map(|_| ()).expect_err(origin);
        assert!(matches!(&error, ConfigError::InvalidOrigin { origin: found, .. } if found == origin), "{error:?}");
        assert!(error.to_string().contains(origin), "{error}");
    }
    assert_eq!(opaque_layer().allow_origin(Vec::<String>::new()).map(|_| ()).unwrap_err(), ConfigError::NoOrigin);
}

#[test]
fn a_cookie_source_with_any_origin_does_not_build() {
    let expected = ConfigError::CookieFromAnyOrigin { cookie: "session".to_owned() };
    let cookie_first = cookie_layer().allow_origin(AllowOrigin::insecure_any());
    assert_eq!(cookie_first.map(|_| ()).unwrap_err(), expected);
    let policy_first = opaque_layer().allow_origin(AllowOrigin::insecure_any()).unwrap();
    assert_eq!(policy_first.sources([TokenSource::cookie("session")]).map(|_| ()).unwrap_err(), expected);
}

#[test]
fn debug_shows_the_policy() {
    assert_eq!(format!("{:?}", AllowOrigin::predicate(|_, _| true)), "AllowOrigin(<fn>)");
    assert_eq!(format!("{:?}", AllowOrigin::list(["null"])), r#"AllowOrigin(["null"])"#);
    assert_eq!(format!("{:?}", AllowOrigin::insecure_any()), "AllowOrigin(Any)");
    assert_eq!(format!("{:?}", AllowOrigin::same_origin()), "AllowOrigin(SameOrigin)");
}
