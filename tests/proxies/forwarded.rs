//! What a proxy tells the application of the client, and what the client itself says of that.

use http::{StatusCode, Version};
use http_body_util::BodyExt;

use crate::{
    app::{App, token},
    client::{ADDRESS, Headers, request, status},
    kind::Kind,
    proxy::{Edit, Proxy},
};

/// What a client claims.
const FORGED: [(&str, &str); 4] = [
    ("x-forwarded-for", "203.0.113.9"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-proto", "http"),
    ("forwarded", "for=203.0.113.9;host=evil.example;proto=http"),
];

/// Has the proxy send the application a `Host` of its own.
const fn other_host(kind: Kind) -> Edit<'static> {
    match kind {
        Kind::Nginx => ("proxy_set_header Host $http_host;", ""),
        Kind::Haproxy => ("del-header Forwarded", "del-header Forwarded\n    http-request set-header Host backend"),
        Kind::Caddy => ("header_up -Forwarded", "header_up -Forwarded\n\t\theader_up Host {upstream_hostport}"),
        Kind::Apache => ("ProxyPreserveHost On", ""),
    }
}

pub(crate) async fn proxy_names_the_client_and_its_host(kind: Kind) {
    let app = App::start().await;
    let proxy = Proxy::start_edited(kind, &app.authority, &[other_host(kind)]).await;
    let cookie = format!("__Host-session={}", token());
    let (own, own_http) = (format!("https://{}", proxy.authority), format!("http://{}", proxy.authority));
    for (path, origin, expected) in [
        ("/chat", own.as_str(), 403),
        ("/trusting/chat", &own, 101),
        // Browsers send such a cookie to loopback hosts by `http` too.
        ("/trusting/chat", &own_http, 403),
        ("/trusting/chat", "https://evil.example", 403),
        ("/trusting/chat", "http://evil.example", 403),
    ] {
        let honest = [("cookie", cookie.as_str()), ("origin", origin)];
        let forging = [&honest[..], &FORGED].concat();
        for headers in [&honest[..], &forging] {
            assert_eq!(status(&proxy, path, headers).await, expected, "{path} {headers:?}");
        }
    }

    let bearer = format!("Bearer {}", token());
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let honest = [("authorization", bearer.as_str())];
        let forging = [&honest[..], &FORGED].concat();
        for headers in [&honest[..], &forging] {
            let client = client(&proxy, version, headers).await;
            assert_eq!(client, format!("{ADDRESS}, Forwarded: None"), "{version:?} {headers:?}");
        }
    }
}

/// What the application knows of the client.
async fn client(proxy: &Proxy, version: Version, headers: Headers<'_>) -> String {
    let answer = request(proxy, version, "GET", "/trusting/client", headers).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}

/// What a proxy does not set, it passes on, and the application takes the client's word for the proxy's.
#[tokio::test]
async fn client_is_believed_where_a_line_is_missing() {
    let bearer = format!("Bearer {}", token());
    let cookie = format!("__Host-session={}", token());
    let evil = [("cookie", cookie.as_str()), ("origin", "https://evil.example"), ("x-forwarded-host", "evil.example")];
    let forging = [&[("authorization", bearer.as_str())], &FORGED[..]].concat();
    for (kind, address, host, forwarded) in [
        (
            Kind::Nginx,
            "proxy_set_header X-Forwarded-For $remote_addr;",
            "proxy_set_header X-Forwarded-Host $http_host;",
            "proxy_set_header Forwarded '';",
        ),
        (
            Kind::Haproxy,
            "http-request set-header X-Forwarded-For %[src]",
            "http-request set-header X-Forwarded-Host %[req.hdr(host)]",
            "http-request del-header Forwarded",
        ),
    ] {
        let app = App::start().await;
        let edits = [(address, ""), (host, ""), (forwarded, "")];
        let proxy = Proxy::start_edited(kind, &app.authority, &edits).await;
        let claims = format!("203.0.113.9, Forwarded: Some({:?})", FORGED[3].1);
        assert_eq!(client(&proxy, Version::HTTP_2, &forging).await, claims, "{kind:?}");
        assert_eq!(status(&proxy, "/trusting/chat", &evil).await, 101, "{kind:?}");
    }
}
