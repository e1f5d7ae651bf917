//! Which requests are WebSocket handshakes, and what is left of an upgrade for all others.

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

struct Shape {
    name: &'static str,
    version: Version,
    method: Method,
    /// Of the extended `CONNECT`.
    protocol: Option<&'static str>,
    headers: &'static [(&'static str, &'static str)],
}

impl Shape {
    const fn get(name: &'static str, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { name, version: Version::HTTP_11, method: Method::GET, protocol: None, headers }
    }

    const fn connect(name: &'static str, protocol: Option<&'static str>) -> Self {
        let headers = &[("sec-websocket-version", "13")];
        Self { name, version: Version::HTTP_2, method: Method::CONNECT, protocol, headers }
    }

    /// A request that hyper could upgrade, as far as its extensions say.
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

/// What has to reach the `101` (or, over HTTP/2, the `200`).
fn handshakes() -> Vec<Shape> {
    vec![
        Shape::get("as browsers send it", &[("connection", "Upgrade"), ("upgrade", "websocket"), KEY, VERSION]),
        Shape::get("case", &[("connection", "uPGRADE"), ("upgrade", "WebSocket"), KEY, VERSION]),
        Shape::get("Firefox", &[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"), KEY, VERSION]),
        Shape::get(
            "two lines of Connection",
            &[("connection", "keep-alive"), ("connection", "Upgrade"), ("upgrade", "websocket"), KEY, VERSION],
        ),
        Shape::get(
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
        Shape::get("first of two", &[("connection", "Upgrade"), ("upgrade", "websocket, h2c"), KEY, VERSION]),
        Shape::get("last of two", &[("connection", "Upgrade"), ("upgrade", "h2c,websocket"), KEY, VERSION]),
        Shape::get(
            "among many",
            &[("connection", "Upgrade"), ("upgrade", ", TLS/1.0 ,\tWEBSOCKET\t,,h2c"), KEY, VERSION],
        ),
        Shape::get(
            "two lines of Upgrade",
            &[("connection", "Upgrade"), ("upgrade", "h2c"), ("upgrade", "websocket"), KEY, VERSION],
        ),
        Shape::get(
            "both in two lines",
            &[
                ("connection", "HTTP2-Settings"),
                ("connection", "Upgrade"),
                ("upgrade", "h2c"),
                ("upgrade", "x, WebSocket"),
                KEY,
                VERSION,
            ],
        ),
        Shape::get(
            "the same twice",
            &[("connection", "Upgrade, Upgrade"), ("upgrade", "websocket"), ("upgrade", "websocket"), KEY, VERSION],
        ),
        Shape::connect("extended CONNECT", Some("websocket")),
    ]
}

/// What asks for a WebSocket, and gets axum's answer: it is malformed.
fn malformed() -> Vec<Shape> {
    vec![
        Shape::get("no Connection", &[("upgrade", "websocket"), KEY, VERSION]),
        Shape::get("another Connection", &[("connection", "close"), ("upgrade", "websocket"), KEY, VERSION]),
        Shape::get("no key", &[("connection", "Upgrade"), ("upgrade", "websocket"), VERSION]),
        Shape::get("no version", &[("connection", "Upgrade"), ("upgrade", "websocket"), KEY]),
        Shape { headers: &[], ..Shape::connect("extended CONNECT without a version", Some("websocket")) },
    ]
}

fn plain() -> Vec<Shape> {
    let with = |method, name| Shape {
        method,
        ..Shape::get(name, &[("connection", "Upgrade"), ("upgrade", "websocket"), KEY, VERSION])
    };
    vec![
        Shape::get("nothing", &[]),
        Shape::get(
            "curl --http2, and Java's HttpClient",
            &[
                ("connection", "Upgrade, HTTP2-Settings"),
                ("upgrade", "h2c"),
                ("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
            ],
        ),
        Shape::get("TLS", &[("connection", "Upgrade"), ("upgrade", "TLS/1.0, HTTP/1.1")]),
        Shape::get("empty", &[("connection", "Upgrade"), ("upgrade", "")]),
        Shape::get("commas", &[("connection", "Upgrade"), ("upgrade", ", ,")]),
        Shape::get("no Upgrade", &[("connection", "Upgrade"), KEY, VERSION]),
        Shape::get(
            "another name",
            &[("connection", "Upgrade"), ("upgrade", "websockets, web socket, xwebsocket"), KEY, VERSION],
        ),
        // No version of the protocol is registered, and RFC 6455 §4.2.1 wants the name alone.
        Shape::get("a version", &[("connection", "Upgrade"), ("upgrade", "websocket/13"), KEY, VERSION]),
        Shape::get("quotes", &[("connection", "Upgrade"), ("upgrade", "\"websocket\""), KEY, VERSION]),
        with(Method::POST, "POST"),
        with(Method::HEAD, "HEAD"),
        with(Method::OPTIONS, "OPTIONS"),
        with(Method::CONNECT, "CONNECT over HTTP/1.1"),
        // RFC 9110 §7.8: to be ignored there.
        Shape { version: Version::HTTP_10, ..with(Method::GET, "HTTP/1.0") },
        Shape { version: Version::HTTP_2, ..with(Method::GET, "Upgrade over HTTP/2") },
        Shape { version: Version::HTTP_2, ..with(Method::CONNECT, "CONNECT and Upgrade over HTTP/2") },
        Shape::connect("CONNECT without a protocol", None),
        Shape::connect("CONNECT with another protocol", Some("connect-udp")),
        Shape::connect("CONNECT with an empty protocol", Some("")),
        Shape { method: Method::GET, ..Shape::connect("a protocol without CONNECT", Some("websocket")) },
        Shape { version: Version::HTTP_11, ..Shape::connect("a protocol over HTTP/1.1", Some("websocket")) },
    ]
}

/// Says whether it could upgrade the request.
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

/// axum empties the body of an answer to `CONNECT` and `HEAD`, so this one says it in a header.
async fn outcome(layer: WsAuthLayer, request: Request<Body>) -> Result<String, StatusCode> {
    let handler = async |request| [("x-outcome", can_upgrade(request).await)];
    let response = answer(&Router::new().fallback(handler).layer(layer), request).await;
    match response.headers().get("x-outcome") {
        Some(outcome) => Ok(outcome.to_str().unwrap().to_owned()),
        None => Err(response.status()),
    }
}

#[tokio::test]
async fn nothing_is_left_to_upgrade_in_a_plain_request() {
    for shape in plain() {
        for (name, layer) in layers() {
            let what = format!("{}, {name}", shape.name);
            assert_eq!(outcome(layer.clone(), shape.build(Some(TOKEN))).await.as_deref(), Ok("plain"), "{what}");
            // Let through unseen by one layer, refused by another.
            let is_let_through = name.contains("optional") || name.contains("handshakes only");
            let expected = if is_let_through { Ok("plain".to_owned()) } else { Err(StatusCode::UNAUTHORIZED) };
            assert_eq!(outcome(layer.clone(), shape.build(None)).await, expected, "{what}, without a token");
            let expected = if name.contains("handshakes only") { expected } else { Err(StatusCode::UNAUTHORIZED) };
            assert_eq!(outcome(layer, shape.build(Some("bad"))).await, expected, "{what}, with a bad token");
        }
    }
}

#[tokio::test]
async fn whatever_asks_for_a_websocket_is_authenticated() {
    for shape in handshakes().into_iter().chain(malformed()) {
        for (name, layer) in layers() {
            let what = format!("{}, {name}", shape.name);
            assert_eq!(outcome(layer.clone(), shape.build(Some(TOKEN))).await.as_deref(), Ok("upgradable"), "{what}");
            let refused = Err(StatusCode::UNAUTHORIZED);
            assert_eq!(outcome(layer.clone(), shape.build(Some("bad"))).await, refused, "{what}, with a bad token");
            let without = outcome(layer, shape.build(None)).await;
            let expected = if name.ends_with("optional") { Ok("upgradable".to_owned()) } else { refused };
            if !name.starts_with("first message") {
                assert_eq!(without, expected, "{what}, without a token");
            }
        }
    }
}

/// axum's extractor reads the first line of a header alone, and wants it to say `websocket` and nothing else.
#[tokio::test]
async fn every_form_of_a_handshake_reaches_every_extractor() {
    async fn ours(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |_| {})
    }
    async fn axums(_: Authenticated<String>, upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(async |_| {})
    }
    async fn either(_: Option<Authenticated<String>>, upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(async |_| {})
    }
    let first = FirstMessage::home_assistant();
    for shape in handshakes() {
        let expected = if shape.version == Version::HTTP_2 { StatusCode::OK } else { StatusCode::SWITCHING_PROTOCOLS };
        for (name, app, token) in [
            ("ours", Router::new().route("/", any(ours)).layer(opaque_layer()), Some(TOKEN)),
            ("axum's", Router::new().route("/", any(axums)).layer(opaque_layer()), Some(TOKEN)),
            ("anonymous", Router::new().route("/", any(either)).layer(opaque_layer().optional()), None),
            (
                "by first message",
                Router::new().route("/", any(ours)).layer(opaque_layer().first_message(first.clone())),
                None,
            ),
            ("refused", Router::new().route("/", any(ours)).layer(opaque_layer().accept_then_close()), Some("bad")),
        ] {
            assert_eq!(answer(&app, shape.build(token)).await.status(), expected, "{}, {name}", shape.name);
        }
    }
    let app = Router::new().route("/", any(ours)).layer(opaque_layer());
    for shape in malformed() {
        assert_eq!(answer(&app, shape.build(Some(TOKEN))).await.status(), StatusCode::BAD_REQUEST, "{}", shape.name);
    }
}

#[tokio::test]
async fn only_a_completed_handshake_selects_a_subprotocol() {
    let app = Router::new().fallback(async || StatusCode::OK).layer(opaque_layer());
    for shape in plain() {
        let mut request = shape.build(None);
        request.headers_mut().insert("sec-websocket-protocol", format!("bearer, {TOKEN}").parse().unwrap());
        let response = answer(&app, request).await;
        assert_eq!((response.status(), selected(&response)), (StatusCode::OK, None), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_request_takes_no_place_and_evicts_nobody() {
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
        for shape in plain() {
            let response = answer(&app, shape.build(Some(TOKEN))).await;
            assert_eq!(response.status(), StatusCode::OK, "{}", shape.name);
            settle().await;
            assert_eq!(sessions.count(), 1, "{}", shape.name);
            assert!(socket.next().now_or_never().is_none(), "{}: the socket lives", shape.name);
        }
    }
}

#[tokio::test]
async fn a_handshake_that_lost_its_upgrade_is_named_in_the_log() {
    if cfg!(not(feature = "tracing")) {
        return;
    }
    let get = |name, headers| Shape::get(name, headers);
    for (shape, missing) in [
        (get("no Upgrade", &[("connection", "Upgrade"), KEY, VERSION]), Some("Upgrade")),
        (get("neither", &[("connection", "close"), KEY, VERSION]), Some("Upgrade")),
        (get("no Connection", &[("connection", "close"), ("upgrade", "websocket"), KEY, VERSION]), Some("Connection")),
        (
            Shape { version: Version::HTTP_10, ..get("nginx by default", &[("connection", "close"), KEY, VERSION]) },
            Some("HTTP/1.1"),
        ),
        (Shape { version: Version::HTTP_2, ..get("GET over HTTP/2", &[KEY, VERSION]) }, Some(":protocol")),
        (get("nothing", &[]), None),
        (get("an offer of h2c", &[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c")]), None),
        (get("complete", &[("connection", "Upgrade"), ("upgrade", "websocket"), KEY, VERSION]), None),
    ] {
        for (layer, token) in
            [(opaque_layer(), Some(TOKEN)), (opaque_layer(), None), (opaque_layer().handshakes_only(), None)]
        {
            let log = Log::default();
            let logging = log.everything();
            let _ = outcome(layer, shape.build(token)).await;
            drop(logging);
            let log = log.text();
            let event = missing.map(|missing| {
                format!("handshake incomplete: a proxy in front has dropped its upgrade missing=\"{missing}\"")
            });
            match event {
                Some(event) => assert!(log.contains(&event), "{}: {log}", shape.name),
                None => assert!(!log.contains("incomplete"), "{}: {log}", shape.name),
            }
            // Only a handshake is admitted as one.
            let is_handshake = shape.headers.contains(&("upgrade", "websocket"));
            let admitted = token.is_some() && is_handshake;
            assert_eq!(log.contains("handshake admitted"), admitted, "{}: {log}", shape.name);
            assert_eq!(log.contains("request admitted"), token.is_some() && !is_handshake, "{}: {log}", shape.name);
        }
    }
}

/// Serves a health check, a WebSocket, and a handler that upgrades to whatever it is asked for.
async fn serve(layer: WsAuthLayer) -> String {
    async fn socket(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    }
    async fn anything(request: Request<Body>) -> Response {
        let upgraded = hyper::upgrade::on(request).now_or_never();
        assert!(matches!(upgraded, Some(Err(_))), "there is nothing to upgrade");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response
    }
    let routes = Router::new().route("/health", get(async || "well")).route("/ws", any(socket));
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
async fn over_a_real_connection_too() {
    let address = serve(opaque_layer().handshakes_only()).await;
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13";
    let token = format!("Authorization: Bearer {TOKEN}");
    for (name, head, expected) in [
        (
            "an offer",
            "GET /health HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"
                .to_owned(),
            "200",
        ),
        (
            "an upgrade to something else",
            "GET /anything HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c".to_owned(),
            "101",
        ),
        ("CONNECT", "CONNECT /health HTTP/1.1".to_owned(), "405"),
        ("a stranger", format!("GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\n{key}"), "401"),
        (
            "two lines",
            format!(
                "GET /ws HTTP/1.1\r\nConnection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n{key}\r\n{token}"
            ),
            "101",
        ),
        (
            "two members",
            format!("GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n{key}\r\n{token}"),
            "101",
        ),
        ("HTTP/1.0", format!("GET /ws HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}"), "401"),
    ] {
        assert_eq!(status_of(&address, &head).await, expected, "{name}");
    }
}

#[tokio::test]
async fn connect_without_the_protocol_of_websockets_is_plain_over_http2() {
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

/// curl offers HTTP/2 with every request that it sends without TLS.
#[tokio::test]
async fn curl_with_http2_gets_its_answer_and_disturbs_nobody() {
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
    assert_eq!(curl(&["--header", &format!("Authorization: Bearer {TOKEN}")]).await, "well200");
    assert!(curl(&[]).await.ends_with("401"));
    assert_eq!(sessions.count(), 1);
    assert!(socket.next().now_or_never().is_none(), "the socket lives");
}
