//! Who sees the client's address.

use std::{
    future::ready,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use axum::{
    extract::{connect_info::MockConnectInfo, ws::Message},
    response::Response,
};
use axum_ws_auth::{
    AllowOrigin, AuthenticatedUpgrade, FirstMessage, SessionMeta, Sessions, Token, TokenSource, Verified, Verifier,
    VerifyError, VerifyInput,
    test_util::{self, handshake},
};
use futures_util::{SinkExt, StreamExt};
use http::{StatusCode, request::Parts};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tracing::Level;

use crate::{support::log::captured, *};

/// Notes who saw what address.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Sight>>>);

type Sight = (&'static str, Option<IpAddr>);

impl Seen {
    fn note(&self, who: &'static str, parts: &Parts) {
        self.0.lock().unwrap().push((who, parts.extensions.get::<ClientAddr>().map(|client| client.ip())));
    }
}

#[tokio::test]
async fn verifiers_hooks_and_the_handler_see_the_address() {
    let seen = Seen::default();
    let by = |who| {
        let seen = seen.clone();
        move |parts: &Parts| seen.note(who, parts)
    };
    let (verifier, rule, hook, predicate) = (by("verifier"), by("rule"), by("meta"), by("origin"));
    let verify = move |input: VerifyInput<'_>| {
        verifier(input.parts);
        ready(Ok(Verified::new(input.token.expose().to_owned())))
    };
    let verifier = verify.authorize(move |_: &String, parts: &Parts| {
        rule(parts);
        Ok(())
    });
    let layer = WsAuthLayer::new(verifier)
        .trusted_proxies(x_forwarded())
        .session_meta(move |parts| {
            hook(parts);
            SessionMeta::new()
        })
        .allow_origin(AllowOrigin::predicate(move |_, parts| {
            predicate(parts);
            true
        }))
        .unwrap();
    let headers = ["x-forwarded-for", "origin"].map(|name| {
        let value = if name == "origin" { "https://a.example" } else { "198.51.100.7" };
        (name, HeaderValue::from_static(value))
    });
    let response = answer(&who_behind(layer), request(Some(PROXY), headers)).await;
    assert_eq!(text(response).await, "198.51.100.7");
    let expected = ["origin", "verifier", "rule", "meta"].map(|who| (who, "198.51.100.7".parse().ok()));
    assert_eq!(*seen.0.lock().unwrap(), expected);
}

#[tokio::test]
async fn anonymous_and_uncovered_requests_have_the_address_too() {
    let layer = || opaque_layer().trusted_proxies(x_forwarded());
    for layer in [layer().optional(), layer().handshakes_only()] {
        let mut request = Request::get("/").header("x-forwarded-for", "198.51.100.7").body(Body::empty()).unwrap();
        come_from(&mut request, Some(PROXY));
        assert_eq!(text(answer(&who_behind(layer), request).await).await, "198.51.100.7");
    }
}

#[tokio::test]
async fn headers_reach_the_inner_service_as_they_were_sent() {
    let sent = [("x-forwarded-for", "6.6.6.6, 198.51.100.7"), ("x-forwarded-host", "a"), ("forwarded", "for=1.1.1.1")];
    for peer in [PROXY, STRANGER] {
        let headers = sent.map(|(name, value)| (name, HeaderValue::from_static(value)));
        let app = mirror_behind(opaque_layer().trusted_proxies(x_forwarded()));
        let seen = text(answer(&app, request(Some(peer), headers)).await).await;
        for (name, value) in sent {
            assert!(seen.contains(&format!("{name}: {value}\n")), "{seen}");
        }
    }
}

#[tokio::test]
async fn a_refresh_route_compares_with_the_host_that_the_client_asked_for() {
    let layer = opaque_layer()
        .sources([TokenSource::cookie("session")])
        .unwrap()
        .sessions(&Sessions::new())
        .trusted_proxies(x_forwarded());
    let app = Router::new().route("/refresh/{session}", layer.refresh_route().unwrap());
    for (peer, status) in [(PROXY, StatusCode::NOT_FOUND), (STRANGER, StatusCode::FORBIDDEN)] {
        let mut request = Request::post("/refresh/none")
            .header("host", "backend:3000")
            .header("x-forwarded-host", "chat.example")
            .header("origin", "https://chat.example")
            .header("cookie", format!("session={TOKEN}"))
            .body(Body::empty())
            .unwrap();
        come_from(&mut request, Some(peer));
        assert_eq!(answer(&app, request).await.status(), status, "{peer}");
    }
}

#[tokio::test]
async fn axum_tells_the_peer_over_a_real_connection() {
    let app = who_behind(opaque_layer().trusted_proxies(TrustedProxies::x_forwarded(["127.0.0.1"]).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    for (header, expected) in [("x-forwarded-for: 198.51.100.7\r\n", "198.51.100.7"), ("", "127.0.0.1")] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200") && response.ends_with(expected), "{response}");
    }
    server.abort();
}

#[tokio::test]
async fn a_mocked_peer_counts_as_one_and_a_real_one_comes_first() {
    let app = who_behind(opaque_layer()).layer(MockConnectInfo(SocketAddr::from(([192, 0, 2, 7], 1))));
    assert_eq!(text(answer(&app, request(None, [])).await).await, "192.0.2.7");
    assert_eq!(text(answer(&app, request(Some(STRANGER), [])).await).await, STRANGER);
}

#[tokio::test]
async fn an_event_says_once_that_the_server_does_not_tell_the_peer() {
    const EVENT: &str = "peer address unknown: serve the application with `into_make_service_with_connect_info";
    let app = who_behind(opaque_layer().trusted_proxies(x_forwarded()));
    let requests = async {
        answer(&app, request(None, [])).await;
    };
    let ((), log) = captured(Level::ERROR, requests).await;
    assert_eq!(log.matches(EVENT).count(), 1, "{log}");
    let (_, log) = captured(Level::ERROR, answer(&app, request(None, []))).await;
    assert_eq!(log, "");

    // Nobody needs it here.
    for layer in [opaque_layer(), opaque_layer().trusted_proxies(TrustedProxies::insecure_x_forwarded_by_any_peer())] {
        let (_, log) = captured(Level::TRACE, answer(&who_behind(layer), request(None, []))).await;
        assert!(!log.contains(EVENT), "{log}");
    }
}

#[tokio::test]
async fn the_address_is_known_over_http2_too() {
    let app = who_behind(opaque_layer().trusted_proxies(x_forwarded()));
    let mut request = handshake().http2().authorization(TOKEN).header("x-forwarded-for", "198.51.100.7").build();
    come_from(&mut request, Some(PROXY));
    assert_eq!(answer(&app, request).await.headers()["x-client"], "198.51.100.7");
    // A page over HTTP/2, whose proxy speaks HTTP/2 to the backend without TLS.
    let layer = opaque_layer().sources([TokenSource::cookie("session")]).unwrap().trusted_proxies(x_forwarded());
    let app = Router::new().route("/", any(test_util::echo)).layer(layer);
    for (origin, status) in [("https://chat.example", StatusCode::OK), ("http://chat.example", StatusCode::FORBIDDEN)] {
        let request = handshake().http2().cookie("session", TOKEN).origin(origin);
        let mut request =
            request.header("x-forwarded-host", "chat.example").header("x-forwarded-proto", "https").build();
        come_from(&mut request, Some(PROXY));
        assert_eq!(answer(&app, request).await.status(), status, "{origin}");
    }
}

#[tokio::test]
async fn verifiers_see_the_address_again_at_refreshes_and_with_a_first_message() {
    /// Accepts any token from this address only.
    fn verify(input: VerifyInput<'_>) -> std::future::Ready<Result<Verified<String>, VerifyError>> {
        let client = input.parts.extensions.get::<ClientAddr>().map(ToString::to_string);
        let known = client.as_deref() == Some("198.51.100.7");
        ready(if known {
            Ok(Verified::new("alice".to_owned()).with_subject("alice"))
        } else {
            Err(VerifyError::invalid())
        })
    }
    async fn refresh(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |mut socket| {
            while let Some(Ok(Message::Text(token))) = socket.recv().await {
                let outcome = socket.session().refresh(Token::new(token.to_string())).await.is_ok();
                let _ = socket.send(outcome.to_string().into()).await;
            }
        })
    }
    let layer = || WsAuthLayer::new(verify).trusted_proxies(TrustedProxies::insecure_x_forwarded_by_any_peer());
    let first_message = FirstMessage::json();
    for (layer, first) in
        [(layer(), None), (layer().first_message(first_message), Some(r#"{"type":"auth.token","token":"a"}"#))]
    {
        let app = Router::new().route("/", any(refresh)).layer(layer);
        let request = handshake().header("x-forwarded-for", "198.51.100.7");
        let request = if first.is_some() { request } else { request.authorization("a") };
        let (mut socket, _) = test_util::connect(app, request.build()).await.unwrap();
        if let Some(first) = first {
            socket.send(first.into()).await.unwrap();
        }
        socket.send("b".into()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap(), "true");
    }
}
