//! What works behind every proxy.

use std::{process::Stdio, time::Duration};

use axum_ws_auth::{Drain, Sessions};
use futures_util::SinkExt;
use http::{StatusCode, Version};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::Command,
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    TIMEOUT,
    app::{App, MAX_TOKEN_LEN, expiring, token, token_of},
    client::{Headers, assert_echoes, connect, end_of, next_part, open, open_with_token, request, text_until},
    kind::Kind,
    proxy::{CERTIFICATE, Proxy},
    script,
};

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

pub(crate) async fn every_token_source_opens_a_socket(kind: Kind) {
    let app = App::start().await;
    let proxy = Proxy::start(kind, &app.authority).await;
    let token = token();
    let (bearer, offer, cookie) =
        (format!("Bearer {token}"), format!("bearer, {token}"), format!("__Host-session={token}"));
    let origin = format!("https://{}", proxy.authority);
    let ticket = format!("/redeem/chat?ticket={}", ticket(&proxy, &bearer).await);
    let cases: [(_, _, Headers<'_>, _); 4] = [
        ("a subprotocol", "/chat", &[("sec-websocket-protocol", &offer)], Some("bearer")),
        ("Authorization", "/chat", &[("authorization", &bearer)], None),
        ("a cookie of a page of the same origin", "/chat", &[("cookie", &cookie), ("origin", &origin)], None),
        ("a ticket", ticket.as_str(), &[], None),
    ];
    for (name, path, headers, selected) in cases {
        let (mut socket, protocol) =
            open(&proxy, path, headers).await.unwrap_or_else(|response| panic!("{name}: {}", response.status()));
        assert_eq!(protocol.as_deref(), selected, "{name}");
        assert_echoes(&mut socket).await;
        // A close by the client goes through too.
        socket.send(Message::Close(None)).await.expect("an open socket");
        assert_eq!(end_of(&mut socket).await, Some((1005, String::new())), "{name}");
    }
    assert!(timeout(TIMEOUT, none_is_open(&app.sessions)).await.is_ok());
}

/// Requests a ticket over HTTP/2, as a page does.
pub(crate) async fn ticket(proxy: &Proxy, bearer: &str) -> String {
    let answer = request(proxy, Version::HTTP_2, "POST", "/ticket", &[("authorization", bearer)]).await;
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    answer["ticket"].as_str().expect("a ticket").to_owned()
}

async fn none_is_open(sessions: &Sessions) {
    while sessions.count() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn largest_token_passes(kind: Kind) {
    let app = App::start().await;
    let proxy = Proxy::start(kind, &app.authority).await;
    let token = token_of(MAX_TOKEN_LEN);
    let (bearer, offer) = (format!("Bearer {token}"), format!("bearer, {token}"));
    for header in [("authorization", bearer.as_str()), ("sec-websocket-protocol", offer.as_str())] {
        let opened = open(&proxy, "/chat", &[header]).await;
        assert!(opened.is_ok(), "{}: {:?}", header.0, opened.err());
    }
    for version in VERSIONS {
        let answer = request(&proxy, version, "GET", "/events", &[("authorization", &bearer)]).await;
        assert_eq!(answer.status(), StatusCode::OK, "{version:?}");
    }
}

pub(crate) async fn refusals_reach_the_client(kind: Kind) {
    let app = App::start().await;
    let proxy = Proxy::start(kind, &app.authority).await;
    let cookie = format!("__Host-session={}", token());
    let invalid = r#"Bearer realm="websocket", error="invalid_token""#;
    let cases: [(_, Headers<'_>, _, _); 3] = [
        ("a foreign page", &[("cookie", &cookie), ("origin", "https://evil.example")], 403, None),
        ("an invalid token", &[("authorization", "Bearer not.a.token")], 401, Some(invalid)),
        ("no token", &[], 401, Some(r#"Bearer realm="websocket""#)),
    ];
    for (name, headers, status, challenge) in cases {
        let answer = open(&proxy, "/chat", headers).await.expect_err(name);
        assert_eq!(answer.status(), status, "{name}");
        let line = answer.headers().get("www-authenticate").map(|line| line.to_str().expect("ASCII"));
        assert_eq!(line, challenge, "{name}");
    }
    assert_eq!(app.sessions.count(), 0);
}

/// After a refusal the connection speaks HTTP, or is closed. It is no tunnel to the application.
pub(crate) async fn refused_handshake_leaves_no_tunnel(kind: Kind) {
    let app = App::start().await;
    let proxy = Proxy::start(kind, &app.authority).await;
    let mut stream = connect(&proxy, Version::HTTP_11).await;
    let authority = &proxy.authority;
    let handshake = format!(
        "GET /chat HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    // In one write, before the refusal: a proxy that expects an upgrade could pass the second on without reading it.
    let next = format!("GET /health HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(format!("{handshake}{next}").as_bytes()).await.expect("an open connection");
    let mut answers = Vec::new();
    // Some proxies close without a closing message of TLS.
    let _ = timeout(TIMEOUT, stream.read_to_end(&mut answers)).await.expect("an end");
    let answers = String::from_utf8(answers).expect("text");
    assert!(answers.starts_with("HTTP/1.1 401"), "{answers}");
    let statuses = answers.matches("HTTP/1.1 ").count();
    assert!(statuses == 1 || statuses == 2 && answers.contains("HTTP/1.1 200"), "{answers}");
    assert_eq!(answers.contains("healthy"), statuses == 2, "{answers}");
    // Others are served as before.
    assert_echoes(&mut open_with_token(&proxy, "/chat", &token()).await).await;
}

pub(crate) async fn end_of_the_session_reaches_the_client(kind: Kind) {
    let app = App::start().await;
    let proxy = Proxy::start(kind, &app.authority).await;
    let mut socket = open_with_token(&proxy, "/chat", &token()).await;
    assert_eq!(app.sessions.end_subject("alice"), 1);
    assert_eq!(end_of(&mut socket).await, Some((3000, "revoked".to_owned())));

    let mut socket = open_with_token(&proxy, "/chat", &expiring()).await;
    assert_eq!(end_of(&mut socket).await, Some((3000, "token_expired".to_owned())));

    let mut socket = open_with_token(&proxy, "/chat", &token()).await;
    let drain = app.sessions.drain(Drain::service_restart());
    let (drained, end) = tokio::join!(drain, end_of(&mut socket));
    assert_eq!(end, Some((1012, "shutdown".to_owned())));
    assert_eq!(drained.remaining, 0);
    let refused = open(&proxy, "/chat", &[("authorization", &format!("Bearer {}", token()))]).await;
    assert_eq!(refused.expect_err("no new sessions").status(), StatusCode::SERVICE_UNAVAILABLE);
}

pub(crate) async fn events_pass_at_once_and_end_with_their_session(kind: Kind) {
    let app = App::start().await;
    let proxy = Proxy::start(kind, &app.authority).await;
    for version in VERSIONS {
        let bearer = format!("Bearer {}", token());
        let answer = request(&proxy, version, "GET", "/events", &[("authorization", &bearer)]).await;
        let mut body = answer.into_body();
        assert_eq!(text_until(&mut body, "\n\n").await, "data: hello\n\n", "{version:?}");
        assert_eq!(app.sessions.end_subject("alice"), 1);
        let ended = "event: auth.ended\ndata: {\"reason\":\"revoked\"}\n\n";
        assert_eq!(text_until(&mut body, ended).await, ended, "{version:?}");
        assert!(next_part(&mut body).await.is_none(), "{version:?}: a regular end");
    }
}

/// A client must not take the part that it has for the whole.
pub(crate) async fn download_that_is_cut_fails(kind: Kind) {
    let app = App::start().await;
    let proxy = Proxy::start(kind, &app.authority).await;
    // curl's codes: a body ends before its last chunk; the server resets a stream; no failure.
    let (partial_file, http2_stream, none) = (18, 92, 0);
    let expected = match kind {
        Kind::Nginx | Kind::Apache => [partial_file, http2_stream],
        // These versions end the body regularly.
        Kind::Haproxy => [partial_file, none],
        Kind::Caddy => [none, none],
    };
    for (version, expected) in ["--http1.1", "--http2"].into_iter().zip(expected) {
        let mut curl = script::start(
            Command::new("curl")
                .args(["--silent", "--no-buffer", "--ipv4", version, "--cacert", CERTIFICATE])
                .args(["--header", &format!("Authorization: Bearer {}", token())])
                .arg(format!("https://{}/download", proxy.authority))
                .stdin(Stdio::null())
                .stdout(Stdio::piped()),
            "curl is missing: run tests/run, or apt-get install curl",
        );
        let mut stdout = BufReader::new(curl.stdout.take().expect("it is piped"));
        let run = async {
            stdout.fill_buf().await.expect("the begin of the body");
            assert_eq!(app.sessions.end_subject("alice"), 1);
            stdout.read_to_end(&mut Vec::new()).await.expect("the rest");
            curl.wait().await.expect("its status").code()
        };
        assert_eq!(timeout(TIMEOUT, run).await.expect("an end"), Some(expected), "{version}");
    }
}
