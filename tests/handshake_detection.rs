//! Which requests are WebSocket handshakes, and that no other request can be upgraded.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use axum::{
    Router,
    body::Body,
    extract::WebSocketUpgrade,
    response::Response,
    routing::{any, get},
};
use axum_ws_auth::{
    AtLimit, Authenticated, AuthenticatedUpgrade, FirstMessage, Limits, Sessions, WsAuthLayer,
    test_util::{self, handshake},
};
use futures_util::{FutureExt, StreamExt};
use http::{HeaderValue, Method, Request, StatusCode, Version};
use hyper::{ext::Protocol, upgrade::OnUpgrade};
use support::{http2::Client, log::Log, *};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
};

struct TestRequest {
    name: &'static str,
    version: Version,
    method: Method,
    /// The `:protocol` of an extended `CONNECT`.
    protocol: Option<&'static str>,
    headers: &'static [(&'static str, &'static str)],
}

impl TestRequest {
    const fn get(name: &'static str, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { name, version: Version::HTTP_11, method: Method::GET, protocol: None, headers }
    }

    const fn connect(name: &'static str, protocol: Option<&'static str>) -> Self {
        let headers = &[("sec-websocket-version", "13")];
        Self { name, version: Version::HTTP_2, method: Method::CONNECT, protocol, headers }
    }

    /// Builds a request with the extension that hyper adds to upgradable requests.
    fn build(&self, token: Option<&str>) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = self.method.clone();
        *request.version_mut() = self.version;
        *request.uri_mut() = match (self.version, self.protocol) {
            (Version::HTTP_2, _) => "http://localhost/".parse().unwrap(),
            _ => "/".parse().unwrap(),
        };
        for (name, value) in self.headers {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        if let Some(protocol) = self.protocol {
            request.extensions_mut().insert(Protocol::from_static(protocol));
        }
        if let Some(token) = token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let connection = hyper::upgrade::on(Request::new(()));
        request.extensions_mut().insert(connection);
        request
    }
}

const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
const VERSION: (&str, &str) = ("sec-websocket-version", "13");

/// Valid handshakes, with the response `101` (`200` over HTTP/2).
fn handshakes() -> Vec<TestRequest> {
    vec![
        TestRequest::get("as browsers send it", &[("connection", "Upgrade"), ("upgrade", "websocket"), KEY, VERSION]),
        TestRequest::get("other case", &[("connection", "uPGRADE"), ("upgrade", "WebSocket"), KEY, VERSION]),
        TestRequest::get("Firefox", &[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"), KEY, VERSION]),
        TestRequest::get(
            "two lines of Connection",
            &[("connection", "keep-alive"), ("connection", "Upgrade"), ("upgrade", "websocket"), KEY, VERSION],
        ),
        TestRequest::get(
            "three lines of Connection",
            &[
                ("connection", ""),
                ("connection", "x, y"),
                ("connection", "z,upgrade "),
                ("upgrade", "websocket"),
                KEY,
                VERSION,
            ],
        ),
        TestRequest::get("first of two", &[("connection", "Upgrade"), ("upgrade", "websocket, h2c"), KEY, VERSION]),
        TestRequest::get("last of two", &[("connection", "Upgrade"), ("upgrade", "h2c,websocket"), KEY, VERSION]),
        TestRequest::get(
            "among many",
            &[("connection", "Upgrade"), ("upgrade", ", TLS/1.0 ,\tWEBSOCKET\t,,h2c"), KEY, VERSION],
        ),
        TestRequest::get(
            "two lines of Upgrade",
            &[("connection", "Upgrade"), ("upgrade", "h2c"), ("upgrade", "websocket"), KEY, VERSION],
        ),
        TestRequest::get(
            "two lines of both",
            &[
                ("connection", "HTTP2-Settings"),
                ("connection", "Upgrade"),
                ("upgrade", "h2c"),
                ("upgrade", "x, WebSocket"),
                KEY,
                VERSION,
            ],
        ),
        TestRequest::get(
            "repeated values",
            &[("connection", "Upgrade, Upgrade"), ("upgrade", "websocket"), ("upgrade", "websocket"), KEY, VERSION],
        ),
        TestRequest::connect("extended CONNECT", Some("websocket")),
    ]
}

/// Malformed handshakes, which axum's extractor refuses.
fn malformed() -> Vec<TestRequest> {
    vec![
        TestRequest::get("no Connection", &[("upgrade", "websocket"), KEY, VERSION]),
        TestRequest::get("another Connection", &[("connection", "close"), ("upgrade", "websocket"), KEY, VERSION]),
        TestRequest::get("no key", &[("connection", "Upgrade"), ("upgrade", "websocket"), VERSION]),
        TestRequest::get("no version", &[("connection", "Upgrade"), ("upgrade", "websocket"), KEY]),
        TestRequest { headers: &[], ..TestRequest::connect("extended CONNECT without a version", Some("websocket")) },
    ]
}

/// Requests that are not handshakes.
fn plain() -> Vec<TestRequest> {
    let with = |method, name| TestRequest {
        method,
        ..TestRequest::get(name, &[("connection", "Upgrade"), ("upgrade", "websocket"), KEY, VERSION])
    };
    vec![
        TestRequest::get("no headers", &[]),
        TestRequest::get(
            "curl --http2, Java's HttpClient",
            &[
                ("connection", "Upgrade, HTTP2-Settings"),
                ("upgrade", "h2c"),
                ("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
            ],
        ),
        TestRequest::get("TLS", &[("connection", "Upgrade"), ("upgrade", "TLS/1.0, HTTP/1.1")]),
        TestRequest::get("empty", &[("connection", "Upgrade"), ("upgrade", "")]),
        TestRequest::get("commas", &[("connection", "Upgrade"), ("upgrade", ", ,")]),
        TestRequest::get("no Upgrade", &[("connection", "Upgrade"), KEY, VERSION]),
        TestRequest::get(
            "another name",
            &[("connection", "Upgrade"), ("upgrade", "websockets, web socket, xwebsocket"), KEY, VERSION],
        ),
        // RFC 6455 §4.2.1 requires the name without a version.
        TestRequest::get("a version", &[("connection", "Upgrade"), ("upgrade", "websocket/13"), KEY, VERSION]),
        TestRequest::get("quotes", &[("connection", "Upgrade"), ("upgrade", "\"websocket\""), KEY, VERSION]),
        with(Method::POST, "POST"),
        with(Method::HEAD, "HEAD"),
        with(Method::OPTIONS, "OPTIONS"),
        with(Method::CONNECT, "CONNECT over HTTP/1.1"),
        // RFC 9110 §7.8: `Upgrade` is ignored in HTTP/1.0.
        TestRequest { version: Version::HTTP_10, ..with(Method::GET, "HTTP/1.0") },
        TestRequest { version: Version::HTTP_10, ..with(Method::CONNECT, "CONNECT over HTTP/1.0") },
        TestRequest { version: Version::HTTP_2, ..with(Method::GET, "Upgrade over HTTP/2") },
        TestRequest { version: Version::HTTP_2, ..with(Method::CONNECT, "CONNECT and Upgrade over HTTP/2") },
        TestRequest::connect("CONNECT without a protocol", None),
        TestRequest::connect("CONNECT with another protocol", Some("connect-udp")),
        TestRequest::connect("CONNECT with an empty protocol", Some("")),
        TestRequest { method: Method::GET, ..TestRequest::connect("a protocol without CONNECT", Some("websocket")) },
        TestRequest {
            version: Version::HTTP_11,
            ..TestRequest::connect("a protocol over HTTP/1.1", Some("websocket"))
        },
    ]
}

/// A handler that reports whether it could upgrade the request.
async fn can_upgrade(request: Request<Body>) -> &'static str {
    match request.extensions().get::<OnUpgrade>() {
        Some(_) => "upgradable",
        None => "plain",
    }
}

fn layers() -> [(&'static str, WsAuthLayer); 6] {
    let first = || FirstMessage::home_assistant();
    [
        ("default", opaque_layer()),
        ("optional", opaque_layer().optional()),
        ("handshakes only", opaque_layer().handshakes_only()),
        ("handshakes only, optional", opaque_layer().handshakes_only().optional()),
        ("first message", opaque_layer().first_message(first())),
        (
            "first message, optional, handshakes only",
            opaque_layer().first_message(first()).optional().handshakes_only(),
        ),
    ]
}

/// The handler's report, in a header because axum removes the body of responses to `CONNECT` and `HEAD`.
async fn outcome(layer: WsAuthLayer, request: Request<Body>) -> Result<String, StatusCode> {
    let handler = async |request| [("x-outcome", can_upgrade(request).await)];
    let response = answer(&Router::new().fallback(handler).layer(layer), request).await;
    match response.headers().get("x-outcome") {
        Some(outcome) => Ok(outcome.to_str().unwrap().to_owned()),
        None => Err(response.status()),
    }
}

#[tokio::test]
async fn plain_requests_cannot_be_upgraded() {
    for request in plain() {
        for (name, layer) in layers() {
            let case = format!("{}, {name}", request.name);
            assert_eq!(outcome(layer.clone(), request.build(Some(TOKEN))).await.as_deref(), Ok("plain"), "{case}");
            let is_admitted = name.contains("optional") || name.contains("handshakes only");
            let expected = if is_admitted { Ok("plain".to_owned()) } else { Err(StatusCode::UNAUTHORIZED) };
            assert_eq!(outcome(layer.clone(), request.build(None)).await, expected, "{case}, without a token");
            let expected = if name.contains("handshakes only") { expected } else { Err(StatusCode::UNAUTHORIZED) };
            assert_eq!(outcome(layer, request.build(Some("bad"))).await, expected, "{case}, with a bad token");
        }
    }
}

#[tokio::test]
async fn every_handshake_is_authenticated_even_if_malformed() {
    for request in handshakes().into_iter().chain(malformed()) {
        for (name, layer) in layers() {
            let case = format!("{}, {name}", request.name);
            assert_eq!(outcome(layer.clone(), request.build(Some(TOKEN))).await.as_deref(), Ok("upgradable"), "{case}");
            let refused = Err(StatusCode::UNAUTHORIZED);
            assert_eq!(outcome(layer.clone(), request.build(Some("bad"))).await, refused, "{case}, with a bad token");
            let without = outcome(layer, request.build(None)).await;
            let expected = if name.ends_with("optional") { Ok("upgradable".to_owned()) } else { refused };
            if !name.starts_with("first message") {
                assert_eq!(without, expected, "{case}, without a token");
            }
        }
    }
}

/// axum's extractor reads only the first line of each header, and requires the exact value `websocket`.
#[tokio::test]
async fn every_valid_handshake_reaches_every_extractor() {
    async fn ours(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |_| {})
    }
    async fn from_axum(_: Authenticated<String>, upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(async |_| {})
    }
    async fn optional(_: Option<Authenticated<String>>, upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(async |_| {})
    }
    let first = FirstMessage::home_assistant();
    for request in handshakes() {
        let expected =
            if request.version == Version::HTTP_2 { StatusCode::OK } else { StatusCode::SWITCHING_PROTOCOLS };
        for (name, app, token) in [
            ("ours", Router::new().route("/", any(ours)).layer(opaque_layer()), Some(TOKEN)),
            ("axum's", Router::new().route("/", any(from_axum)).layer(opaque_layer()), Some(TOKEN)),
            ("anonymous", Router::new().route("/", any(optional)).layer(opaque_layer().optional()), None),
            (
                "by first message",
                Router::new().route("/", any(ours)).layer(opaque_layer().first_message(first.clone())),
                None,
            ),
            ("refused", Router::new().route("/", any(ours)).layer(opaque_layer().accept_then_close()), Some("bad")),
        ] {
            assert_eq!(answer(&app, request.build(token)).await.status(), expected, "{}, {name}", request.name);
        }
    }
    let app = Router::new().route("/", any(ours)).layer(opaque_layer());
    for request in malformed() {
        assert_eq!(
            answer(&app, request.build(Some(TOKEN))).await.status(),
            StatusCode::BAD_REQUEST,
            "{}",
            request.name
        );
    }
}

#[tokio::test]
async fn only_a_completed_handshake_selects_a_subprotocol() {
    let app = Router::new().fallback(async || StatusCode::OK).layer(opaque_layer());
    for plain in plain() {
        let mut request = plain.build(None);
        request.headers_mut().insert("sec-websocket-protocol", format!("bearer, {TOKEN}").parse().unwrap());
        let response = answer(&app, request).await;
        assert_eq!((response.status(), selected(&response)), (StatusCode::OK, None), "{}", plain.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_request_neither_counts_toward_limits_nor_evicts() {
    async fn idle(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    }
    async fn me(Authenticated(session): Authenticated<String>) -> String {
        session.subject().unwrap().to_owned()
    }
    for at_limit in [AtLimit::EvictOldest, AtLimit::RefuseNew] {
        let limits = Limits::new().total(1).unwrap().per_subject(1, at_limit).unwrap();
        let sessions = Sessions::with_limits(limits);
        let layer = opaque_layer().sessions(&sessions);
        let app = Router::new().route("/ws", any(idle)).fallback(me).layer(layer);
        let request = handshake().path("/ws").bearer_subprotocol(TOKEN).build();
        let (mut socket, _) = test_util::connect(app.clone(), request).await.unwrap();
        for request in plain() {
            let response = answer(&app, request.build(Some(TOKEN))).await;
            assert_eq!(response.status(), StatusCode::OK, "{}", request.name);
            settle().await;
            assert_eq!(sessions.count(), 1, "{}", request.name);
            assert!(socket.next().now_or_never().is_none(), "{}: the socket is open", request.name);
        }
    }
}

#[tokio::test]
async fn a_handshake_that_lost_its_upgrade_is_logged() {
    if cfg!(not(feature = "tracing")) {
        return;
    }
    let get = |name, headers| TestRequest::get(name, headers);
    for (request, missing) in [
        (get("no Upgrade", &[("connection", "Upgrade"), KEY, VERSION]), Some("Upgrade")),
        (get("neither", &[("connection", "close"), KEY, VERSION]), Some("Upgrade")),
        (get("no Connection", &[("connection", "close"), ("upgrade", "websocket"), KEY, VERSION]), Some("Connection")),
        (
            TestRequest {
                version: Version::HTTP_10,
                ..get("nginx by default", &[("connection", "close"), KEY, VERSION])
            },
            Some("HTTP/1.1"),
        ),
        (TestRequest { version: Version::HTTP_2, ..get("GET over HTTP/2", &[KEY, VERSION]) }, Some(":protocol")),
        (get("no headers", &[]), None),
        (get("an offer of h2c", &[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c")]), None),
        (get("complete", &[("connection", "Upgrade"), ("upgrade", "websocket"), KEY, VERSION]), None),
    ] {
        for (layer, token) in
            [(opaque_layer(), Some(TOKEN)), (opaque_layer(), None), (opaque_layer().handshakes_only(), None)]
        {
            let log = Log::default();
            let logging = log.everything();
            let _ = outcome(layer, request.build(token)).await;
            drop(logging);
            let log = log.text();
            let event = missing.map(|missing| {
                format!("handshake incomplete: a proxy in front has dropped the upgrade missing=\"{missing}\"")
            });
            match event {
                Some(event) => assert!(log.contains(&event), "{}: {log}", request.name),
                None => assert!(!log.contains("incomplete"), "{}: {log}", request.name),
            }
            // Only a handshake is logged as one.
            let is_handshake = request.headers.contains(&("upgrade", "websocket"));
            let admitted = token.is_some() && is_handshake;
            assert_eq!(log.contains("handshake admitted"), admitted, "{}: {log}", request.name);
            assert_eq!(log.contains("request admitted"), token.is_some() && !is_handshake, "{}: {log}", request.name);
        }
    }
}

/// Serves a health check, a WebSocket, and a handler that responds with `101` to any request.
async fn serve(layer: WsAuthLayer) -> String {
    async fn socket(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    }
    async fn anything(request: Request<Body>) -> Response {
        let upgraded = hyper::upgrade::on(request).now_or_never();
        assert!(matches!(upgraded, Some(Err(_))), "the request cannot be upgraded");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response
    }
    let routes = Router::new().route("/health", get(async || "healthy")).route("/ws", any(socket));
    let app = routes.route("/anything", any(anything)).layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address.to_string()
}

async fn status_of(address: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{head}\r\nHost: {address}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    String::from_utf8_lossy(&status[9..]).into_owned()
}

#[tokio::test]
async fn handshakes_are_detected_on_a_real_connection() {
    let address = serve(opaque_layer().handshakes_only()).await;
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13";
    let token = format!("Authorization: Bearer {TOKEN}");
    for (name, head, expected) in [
        (
            "an offer of h2c",
            "GET /health HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"
                .to_owned(),
            "200",
        ),
        (
            "an upgrade to another protocol",
            "GET /anything HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c".to_owned(),
            "101",
        ),
        ("CONNECT", "CONNECT /health HTTP/1.1".to_owned(), "405"),
        ("no token", format!("GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\n{key}"), "401"),
        (
            "two lines",
            format!(
                "GET /ws HTTP/1.1\r\nConnection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n{key}\r\n{token}"
            ),
            "101",
        ),
        (
            "two protocols",
            format!("GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n{key}\r\n{token}"),
            "101",
        ),
        ("HTTP/1.0", format!("GET /ws HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}"), "401"),
    ] {
        assert_eq!(status_of(&address, &head).await, expected, "{name}");
    }
}

#[tokio::test]
async fn http2_connect_with_another_protocol_is_plain() {
    for (protocol, status) in [
        (None, StatusCode::NOT_FOUND),
        (Some("connect-udp"), StatusCode::BAD_REQUEST),
        (Some("websocket"), StatusCode::OK),
    ] {
        let sessions = Sessions::with_limits(Limits::new().per_subject(1, AtLimit::RefuseNew).unwrap());
        let mut client = Client::of(opaque_layer().sessions(&sessions)).await;
        let uri = if protocol.is_some() { format!("http://{}/", client.authority) } else { client.authority.clone() };
        let mut request = Request::builder().method(Method::CONNECT).uri(uri).header("sec-websocket-version", "13");
        if let Some(protocol) = protocol {
            request = request.extension(Protocol::from_static(protocol));
        }
        let request = request.header("authorization", format!("Bearer {TOKEN}")).body(http_body_util::Empty::new());
        client.sender.ready().await.unwrap();
        let response = client.sender.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{protocol:?}");
        assert_eq!(sessions.count(), usize::from(protocol == Some("websocket")), "{protocol:?}");
    }
}

/// With `--http2`, curl offers h2c in every request without TLS.
#[tokio::test]
async fn curl_with_http2_gets_a_response_and_evicts_nobody() {
    if Command::new("curl").arg("--version").output().await.is_err() {
        return;
    }
    let sessions = Sessions::with_limits(Limits::new().per_subject(1, AtLimit::EvictOldest).unwrap());
    let address = serve(opaque_layer().sessions(&sessions)).await;
    let request = handshake().path("/ws").bearer_subprotocol(TOKEN).build();
    let stream = TcpStream::connect(&address).await.unwrap();
    let (mut parts, ()) = request.map(|_| ()).into_parts();
    parts.uri = format!("ws://{address}/ws").parse().unwrap();
    let (mut socket, _) =
        tokio_tungstenite::client_async(Request::from_parts(parts, ()), stream).await.expect("a handshake");
    let curl = async |arguments: &[&str]| {
        let url = format!("http://{address}/health");
        let output = Command::new("curl")
            .args(["--silent", "--http2", "--max-time", "20", "--noproxy", "*", "--write-out", "%{http_code}"])
            .args(arguments)
            .arg(url)
            .output()
            .await
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(curl(&["--header", &format!("Authorization: Bearer {TOKEN}")]).await, "healthy200");
    assert!(curl(&[]).await.ends_with("401"));
    assert_eq!(sessions.count(), 1);
    assert!(socket.next().now_or_never().is_none(), "the socket is open");
}
