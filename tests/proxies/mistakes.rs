//! What goes wrong without a line of a guide's configuration, and what shows it.

use http::{StatusCode, Version};
use serde_json::json;
use tokio::time::{Duration, timeout};
use tracing::Level;

use crate::{
    app::{App, MAX_TOKEN_LEN, token, token_of},
    client::{request, status},
    kind::Kind,
    log::Log,
    page,
    proxy::{Edit, Proxy},
};

struct Mistake {
    kind: Kind,
    name: &'static str,
    edits: &'static [Edit<'static>],
    /// The answers to a handshake with a cookie of a page of the same origin, and with a token.
    statuses: [u16; 2],
    /// What is in the application's log.
    event: &'static str,
}

/// The application takes the page for a foreign one. A token needs no origin.
const FOREIGN: ([u16; 2], &str) = ([403, 101], "origin_not_allowed");

const MISTAKES: [Mistake; 9] = [
    Mistake::new(Kind::Nginx, "no Host", &[("proxy_set_header Host $http_host;", "")], FOREIGN),
    Mistake::new(Kind::Nginx, "Host without its port", &[("Host $http_host", "Host $host")], FOREIGN),
    Mistake::new(
        Kind::Caddy,
        "another Host",
        &[("header_up -Forwarded", "header_up Host {upstream_hostport}")],
        FOREIGN,
    ),
    Mistake::new(Kind::Apache, "no Host", &[("ProxyPreserveHost On", "")], FOREIGN),
    Mistake::new(
        Kind::Nginx,
        "no upgrade",
        &[("proxy_set_header Upgrade $http_upgrade;", ""), ("proxy_set_header Connection $connection_upgrade;", "")],
        ([400, 400], "missing=\"Upgrade\""),
    ),
    Mistake::new(
        Kind::Nginx,
        "no Upgrade",
        &[("proxy_set_header Upgrade $http_upgrade;", "")],
        ([400, 400], "missing=\"Upgrade\""),
    ),
    Mistake::new(
        Kind::Nginx,
        "no Connection",
        &[("proxy_set_header Connection $connection_upgrade;", "")],
        ([400, 400], "missing=\"Connection\""),
    ),
    Mistake::new(Kind::Nginx, "HTTP/1.0", &[("proxy_http_version 1.1;", "")], ([426, 426], "missing=\"HTTP/1.1\"")),
    Mistake::new(Kind::Apache, "no upgrade", &[(" upgrade=websocket", "")], ([400, 400], "missing=\"Upgrade\"")),
];

impl Mistake {
    const fn new(
        kind: Kind,
        name: &'static str,
        edits: &'static [Edit<'static>],
        (statuses, event): ([u16; 2], &'static str),
    ) -> Self {
        Self { kind, name, edits, statuses, event }
    }
}

/// A page learns nothing of the reason. The status and the application's log name it.
#[tokio::test]
async fn mistake_shows_in_status_and_log_but_not_in_the_page() {
    for Mistake { kind, name, edits, statuses, event } in MISTAKES {
        let name = format!("{kind:?}: {name}");
        let mut app = App::start().await;
        let proxy = Proxy::start_edited(kind, &app.authority, edits).await;
        let (cookie, offer) = (format!("__Host-session={}", token()), format!("bearer, {}", token()));
        let origin = format!("https://{}", proxy.authority);
        let log = Log::default();
        let capture = log.capture(Level::INFO);
        let with_cookie = status(&proxy, "/chat", &[("cookie", &cookie), ("origin", &origin)]).await;
        let with_token = status(&proxy, "/chat", &[("sec-websocket-protocol", &offer)]).await;
        drop(capture);
        assert_eq!([with_cookie, with_token], statuses, "{name}");
        assert!(log.text().contains(event), "{name}: {}", log.text());

        let seen = |status| if status == 101 { "hello, 1000" } else { "nothing, 1006" };
        let [cookie, bearer] = statuses.map(seen);
        let found = page::found(&mut app, &proxy).await;
        assert_eq!(found, json!({ "version": "h2", "cookie": cookie, "bearer": bearer, "events": "hello" }), "{name}");
    }
}

/// Nor does a page learn it from `accept_then_close`, which tells foreign pages nothing.
#[tokio::test]
async fn page_that_looks_foreign_is_not_told_why() {
    let app = App::start().await;
    for (edits, expected) in [(&[][..], 101), (&[("proxy_set_header Host $http_host;", "")], 403)] {
        let proxy = Proxy::start_edited(Kind::Nginx, &app.authority, edits).await;
        let origin = format!("https://{}", proxy.authority);
        let headers = [("cookie", "__Host-session=invalid"), ("origin", &origin)];
        assert_eq!(status(&proxy, "/closing/chat", &headers).await, expected);
    }
}

/// The proxy itself answers, and the application does not see the request.
#[tokio::test]
async fn large_token_does_not_fit_into_the_usual_buffers() {
    for (kind, edit) in
        [(Kind::Nginx, ("large_client_header_buffers 4 16k;", "")), (Kind::Apache, ("LimitRequestFieldSize 16384", ""))]
    {
        let app = App::start().await;
        let proxy = Proxy::start_edited(kind, &app.authority, &[edit]).await;
        for (len, expected) in [(MAX_TOKEN_LEN, (400, 0)), (6 * 1024, (101, 1))] {
            let offer = format!("bearer, {}", token_of(len));
            let answer = status(&proxy, "/chat", &[("sec-websocket-protocol", &offer)]).await;
            assert_eq!((answer, app.statuses().len()), expected, "{kind:?}: {len} bytes");
        }
    }
}

/// Over HTTP/1.1 not even the head of the answer comes.
#[tokio::test]
async fn buffered_events_do_not_arrive() {
    let app = App::start().await;
    let proxy = Proxy::start_edited(Kind::Nginx, &app.authority, &[("proxy_buffering off;", "")]).await;
    let bearer = format!("Bearer {}", token());
    let headers = [("authorization", bearer.as_str())];
    let answer = request(&proxy, Version::HTTP_11, "GET", "/events", &headers);
    assert!(timeout(Duration::from_secs(5), answer).await.is_err());
    // The application has answered.
    assert_eq!((app.statuses(), app.sessions.count()), (vec![StatusCode::OK], 1));
}
