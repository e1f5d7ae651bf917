//! The whole layer: which requests pass, and what the handler gets.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    extract::{WebSocketUpgrade, ws::Message},
    response::Response,
    routing::{any, get},
};
use axum_ws_auth::{
    Authenticated, AuthenticatedSocket, AuthenticatedUpgrade, ConfigError, ResponseFuture, Session, TimeSource, Token,
    TokenSource, Verified, Verifier, VerifyError, VerifyInput, WsAuth, WsAuthLayer,
    test_util::{self, ConnectError, TestToken, handshake},
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use support::*;
use tokio_tungstenite::tungstenite::{Message as ClientMessage, protocol::CloseFrame};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

#[tokio::test]
async fn valid_token_opens_a_socket() {
    async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
        assert_eq!(upgrade.session().and_then(Session::subject), Some("alice"));
        upgrade.on_upgrade(async |mut socket| {
            let claims = socket.claims();
            while let Some(Ok(message)) = socket.recv().await {
                let answer = format!("{}: {}", claims["sub"].as_str().unwrap(), message.to_text().unwrap());
                socket.send(answer.into()).await.unwrap();
            }
        })
    }
    let app = Router::new().route("/", any(chat)).layer(jwt_layer());
    let (mut socket, response) =
        test_util::connect(app, handshake().bearer_subprotocol(&token()).build()).await.expect("a handshake");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["sec-websocket-protocol"], "bearer");
    socket.send("hi".into()).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().to_text().unwrap(), "alice: hi");
}

#[tokio::test]
async fn refused_handshake_opens_no_connection() {
    for request in [handshake(), handshake().bearer_subprotocol("bad"), handshake().authorization("bad")] {
        match test_util::connect(echo_behind(jwt_layer()), request.build()).await {
            Err(ConnectError::Refused(response)) => assert_eq!(response.status(), StatusCode::UNAUTHORIZED),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn layer_works_on_a_router_a_route_and_in_a_stack() {
    async fn handler(Authenticated(session): Authenticated<Value>, upgrade: WebSocketUpgrade) -> Response {
        assert_eq!(session.claims()["sub"], "alice");
        upgrade.on_upgrade(async |_| {})
    }
    let on_router = Router::new().route("/", any(handler)).layer(jwt_layer());
    let on_route = Router::new().route("/", any(handler).layer(jwt_layer()));
    let in_a_stack = Router::new().route_service("/", ServiceBuilder::new().layer(jwt_layer()).service(any(handler)));
    for (name, app) in [("router", on_router), ("route", on_route), ("stack", in_a_stack)] {
        let good = handshake().bearer_subprotocol(&token()).build();
        assert_eq!(answer(&app, good).await.status(), StatusCode::SWITCHING_PROTOCOLS, "{name}");
        assert_eq!(answer(&app, handshake().build()).await.status(), StatusCode::UNAUTHORIZED, "{name}");
    }

    // A service that is not axum's, with another body type and another error type.
    let inner = service_fn(|request: Request<Full<Bytes>>| async move {
        let session = request.extensions().get::<Session<Value>>().expect("the session is in the extensions");
        assert_eq!(session.subject(), Some("alice"));
        Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from_static(b"inner"))))
    });
    let service = ServiceBuilder::new().layer(jwt_layer()).service(inner);
    let (parts, _) = handshake().authorization(&token()).build().into_parts();
    let response = service.clone().oneshot(Request::from_parts(parts, Full::default())).await.unwrap();
    assert_eq!(text(response).await, "inner");
    let (parts, _) = handshake().build().into_parts();
    let response = service.oneshot(Request::from_parts(parts, Full::default())).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn error_of_the_inner_service_is_passed_on() {
    #[derive(Debug, PartialEq)]
    struct Broken;
    let inner = service_fn(|_: Request<()>| async { Err::<http::Response<String>, _>(Broken) });
    let (parts, _) = handshake().authorization(&token()).build().into_parts();
    let error = jwt_layer().layer(inner).oneshot(Request::from_parts(parts, ())).await.unwrap_err();
    assert_eq!(error, Broken);
}

#[tokio::test]
async fn every_kind_of_request_is_authenticated() {
    let app = mirror_behind(jwt_layer());
    for method in [Method::GET, Method::POST, Method::OPTIONS, Method::HEAD, Method::CONNECT, Method::TRACE] {
        let request = Request::builder().method(&method).uri("/").body(axum::body::Body::empty()).unwrap();
        assert_eq!(answer(&app, request).await.status(), StatusCode::UNAUTHORIZED, "{method}");
    }
    let plain = Request::builder().uri("/").header("authorization", format!("Bearer {}", token()));
    assert_eq!(answer(&app, plain.body(axum::body::Body::empty()).unwrap()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn handshakes_only_passes_plain_requests_unchanged() {
    let app = mirror_behind(opaque_layer().handshakes_only());
    let plain = |header: (&'static str, &'static str)| {
        Request::builder().uri("/").header(header.0, header.1).body(axum::body::Body::empty()).unwrap()
    };
    let response = answer(&app, plain(("authorization", "Bearer theirs"))).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(text(response).await.contains("authorization: Bearer theirs"));

    for (name, value, status) in [
        ("upgrade", "websocket", StatusCode::UNAUTHORIZED),
        ("upgrade", "WebSocket", StatusCode::UNAUTHORIZED),
        ("Upgrade", "h2c", StatusCode::OK),
        ("upgrade", "", StatusCode::OK),
    ] {
        let response = answer(&app, plain((name, value))).await;
        assert_eq!(response.status(), status, "{name}: {value}");
    }
    assert_eq!(answer(&app, handshake().http2().build()).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn plain_request_is_anonymous_with_handshakes_only() {
    async fn required(_: Authenticated<String>) {}
    async fn optional(who: Option<Authenticated<String>>) -> String {
        who.is_none().to_string()
    }
    async fn upgrade(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |_| {})
    }
    let routes = Router::new().route("/", any(required)).route("/o", any(optional)).route("/u", any(upgrade));
    let app = routes.layer(opaque_layer().handshakes_only());
    let plain = |path: &str| Request::builder().uri(path).body(axum::body::Body::empty()).unwrap();
    assert_eq!(answer(&app, plain("/")).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(text(answer(&app, plain("/o")).await).await, "true");
    assert_eq!(answer(&app, plain("/u")).await.status(), StatusCode::UNAUTHORIZED);
}

/// The outer layer removes the token. Its result does not count for the inner one, whose rules may differ.
#[tokio::test]
async fn inner_layer_ignores_the_result_of_an_outer_one() {
    async fn required(_: Authenticated<String>) {}
    async fn optional(who: Option<Authenticated<Value>>) -> String {
        who.is_some().to_string()
    }
    let good = || handshake().authorization(TOKEN).build();
    let forbidden = || WsAuthLayer::new(opaque.authorize(|_, _| Err(VerifyError::forbidden())));
    for inner in [forbidden(), forbidden().optional()] {
        let app = Router::new().route("/", any(required)).layer(inner).layer(opaque_layer());
        assert_eq!(answer(&app, good()).await.status(), StatusCode::UNAUTHORIZED);
    }
    // Anonymous access through the outer layer does not count for the inner one, which has other claims.
    let outer = opaque_layer().sources([TokenSource::header("x-other")]).unwrap().optional();
    let app = Router::new().route("/", any(optional)).layer(opaque_layer()).layer(outer);
    assert_eq!(answer(&app, good()).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn optional_admits_requests_without_a_token_but_not_with_a_bad_one() {
    async fn handler(who: Option<Authenticated<String>>) -> String {
        who.map_or_else(|| "nobody".to_owned(), |Authenticated(session)| session.claims().to_string())
    }
    let app = Router::new().route("/", any(handler)).layer(opaque_layer().optional());
    let response = answer(&app, handshake().build()).await;
    assert_eq!(text(response).await, "nobody");
    let response = answer(&app, handshake().bearer_subprotocol(TOKEN).build()).await;
    assert_eq!(text(response).await, "alice");
    for bad in [
        handshake().bearer_subprotocol("bad"),
        handshake().authorization(""),
        handshake().subprotocols(["bearer"]),
        handshake().authorization("two").bearer_subprotocol(TOKEN),
        handshake().header("authorization", "Bearer\t"),
        handshake().header("authorization", "bearer,x"),
    ] {
        let response = answer(&app, bad.clone().build()).await;
        assert!(response.status().is_client_error(), "{bad:?}");
    }
}

#[tokio::test]
async fn handler_that_requires_claims_refuses_anonymous_requests() {
    async fn handler(_: Authenticated<String>) {}
    let layer = opaque_layer().realm("chat").unwrap().optional();
    let app = Router::new().route("/", any(handler)).layer(layer);
    let response = answer(&app, handshake().build()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["www-authenticate"], r#"Bearer realm="chat""#);
    assert_eq!(response.headers()["connection"], "close");
}

#[tokio::test]
async fn handler_without_the_layer_or_with_other_claims_answers_500() {
    async fn required(_: Authenticated<Value>) {}
    async fn optional(_: Option<Authenticated<Value>>) {}
    async fn upgrade(upgrade: AuthenticatedUpgrade<Value>) -> Response {
        upgrade.on_upgrade(async |_| {})
    }
    let routes =
        || Router::new().route("/", any(required)).route("/optional", any(optional)).route("/upgrade", any(upgrade));
    for (name, app) in [("no layer", routes()), ("other claims", routes().layer(opaque_layer()))] {
        for path in ["/", "/optional", "/upgrade"] {
            let response = answer(&app, handshake().path(path).authorization(TOKEN).build()).await;
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{name} {path}");
        }
    }
}

#[tokio::test]
async fn authenticated_plain_request_gets_the_response_of_axum() {
    async fn upgrade(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |_| {})
    }
    let app = Router::new().route("/", get(upgrade)).layer(opaque_layer());
    let request = Request::builder().uri("/").header("authorization", format!("Bearer {TOKEN}"));
    let ours = answer(&app, request.body(axum::body::Body::empty()).unwrap()).await;
    let app = Router::new().route("/", get(test_util::echo));
    let axums = answer(&app, Request::new(axum::body::Body::empty())).await;
    assert_eq!(ours.status(), axums.status());
    assert_eq!(text(ours).await, text(axums).await);
}

#[tokio::test]
async fn handler_negotiates_over_subprotocols_without_the_token() {
    async fn upgrade(upgrade: AuthenticatedUpgrade<String>) -> Response {
        let offered: Vec<_> = upgrade.requested_protocols().map(|name| name.to_str().unwrap().to_owned()).collect();
        let upgrade = upgrade.protocols(["v2", "v1"]);
        let selected = upgrade.selected_protocol().cloned();
        let mut response = upgrade.on_upgrade(async |_| {});
        response.headers_mut().insert("x-offered", offered.join("|").parse().unwrap());
        response.headers_mut().insert("x-selected", selected.unwrap_or(HeaderValue::from_static("none")));
        response
    }
    let app = Router::new().route("/", any(upgrade)).layer(opaque_layer());
    for (offer, offered, selection, answered) in [
        (vec!["bearer", TOKEN], "bearer", "none", "bearer"),
        (vec!["bearer", TOKEN, "v1"], "bearer|v1", "v1", "v1"),
        (vec!["v1", "v2", "BEARER", TOKEN], "BEARER|v1|v2", "v2", "v2"),
        (vec!["v3", "BeArEr", TOKEN], "BeArEr|v3", "none", "BeArEr"),
    ] {
        let response = answer(&app, handshake().subprotocols(offer.iter().copied()).build()).await;
        assert_eq!(response.headers()["x-offered"], offered, "{offer:?}");
        assert_eq!(response.headers()["x-selected"], selection, "{offer:?}");
        assert_eq!(selected(&response), Some(answered), "{offer:?}");
    }
}

#[tokio::test]
async fn response_never_selects_a_subprotocol_that_was_not_offered() {
    async fn select_imagined(mut upgrade: WebSocketUpgrade) -> Response {
        upgrade.set_selected_protocol(HeaderValue::from_static("imagined"));
        upgrade.on_upgrade(async |_| {})
    }
    let app = Router::new().route("/", any(select_imagined)).layer(opaque_layer());
    let response = answer(&app, handshake().bearer_subprotocol(TOKEN).build()).await;
    assert_eq!(selected(&response), Some("bearer"));
    for without_marker in [handshake().authorization(TOKEN), handshake().authorization(TOKEN).subprotocols(["chat"])] {
        let response = answer(&app, without_marker.build()).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(selected(&response), None);
    }

    async fn twice(upgrade: WebSocketUpgrade) -> Response {
        let mut response = upgrade.protocols(["v1"]).on_upgrade(async |_| {});
        response.headers_mut().append("sec-websocket-protocol", HeaderValue::from_static("v1"));
        response
    }
    let app = Router::new().route("/", any(twice)).layer(opaque_layer());
    let response = answer(&app, handshake().subprotocols(["v1", "bearer", TOKEN]).build()).await;
    assert_eq!(selected(&response), Some("bearer"));
}

#[tokio::test]
async fn only_a_completed_handshake_selects_a_subprotocol() {
    let app = Router::new().route("/", any(|| async { StatusCode::NOT_FOUND })).layer(opaque_layer());
    let response = answer(&app, handshake().bearer_subprotocol(TOKEN).build()).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(selected(&response), None);
}

#[tokio::test]
async fn time_source_replaces_the_clock() {
    let at = |seconds: u64| {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        echo_behind(jwt_layer().time_source(TimeSource::new(move || now)))
    };
    let token = TestToken::new("alice").claim("exp", 1000).sign();
    for (seconds, status) in [
        (0, StatusCode::SWITCHING_PROTOCOLS),
        (1029, StatusCode::SWITCHING_PROTOCOLS),
        (1030, StatusCode::UNAUTHORIZED),
    ] {
        let response = answer(&at(seconds), handshake().authorization(&token).build()).await;
        assert_eq!(response.status(), status, "at {seconds}");
    }
}

#[tokio::test]
async fn max_token_len_and_sources_are_checked() {
    let long = "a".repeat(100);
    let app = echo_behind(opaque_layer().max_token_len(99).unwrap());
    let response = answer(&app, handshake().authorization(&long).build()).await;
    assert!(is_refused_with(&response, StatusCode::BAD_REQUEST, "token_too_large"));
    let app = echo_behind(opaque_layer().max_token_len(100).unwrap());
    let response = answer(&app, handshake().authorization(&long).build()).await;
    assert!(is_refused_with(&response, StatusCode::UNAUTHORIZED, "token_invalid"));
    assert!(matches!(opaque_layer().max_token_len(0), Err(ConfigError::ZeroTokenLength)));
    assert!(matches!(opaque_layer().sources([]), Err(ConfigError::NoTokenSource)));
}

#[tokio::test]
async fn verifiers_combine() {
    let scope = |wanted: &'static str| {
        move |claims: &Value, _: &http::request::Parts| {
            let has = claims["scope"].as_str().is_some_and(|scope| scope.split(' ').any(|name| name == wanted));
            if has { Ok(()) } else { Err(VerifyError::insufficient_scope(wanted)) }
        }
    };
    let room = |claims: &Value, parts: &http::request::Parts| {
        let room = parts.uri.path().trim_start_matches('/');
        if claims["room"] == room { Ok(()) } else { Err(VerifyError::forbidden()) }
    };
    let legacy = |input: VerifyInput<'_>| {
        let known = input.token.expose() == "legacy";
        async move { if known { Ok(Verified::new(serde_json::json!({"sub": "bob"}))) } else { Err(VerifyError::invalid()) } }
    };
    let verifier = test_util::verifier::<Value>().authorize(scope("chat:write")).authorize(room).or(legacy);
    let app = echo_behind(WsAuthLayer::new(verifier));
    let mint = |scope: &str, room: &str| TestToken::new("alice").claim("scope", scope).claim("room", room).sign();

    for (name, token, status, reason) in [
        ("all", mint("chat:read chat:write", "blue"), StatusCode::SWITCHING_PROTOCOLS, None),
        ("scope", mint("chat:read", "blue"), StatusCode::FORBIDDEN, Some("insufficient_scope")),
        ("room", mint("chat:write", "red"), StatusCode::FORBIDDEN, Some("forbidden")),
        ("other", "legacy".to_owned(), StatusCode::SWITCHING_PROTOCOLS, None),
        ("neither", "unknown".to_owned(), StatusCode::UNAUTHORIZED, Some("token_malformed")),
    ] {
        let response = answer(&app, handshake().path("/blue").bearer_subprotocol(&token).build()).await;
        assert_eq!(response.status(), status, "{name}");
        assert_eq!(refusal(&response).map(|(_, reason)| reason), reason, "{name}");
        if name == "scope" {
            assert_eq!(
                response.headers()["www-authenticate"],
                r#"Bearer realm="websocket", error="insufficient_scope", scope="chat:write""#
            );
        }
    }
}

#[tokio::test]
async fn or_returns_the_more_informative_error() {
    let (parts, _) = handshake().build().into_parts();
    let token = Token::new("any");
    type Outcome = fn() -> Result<Verified<()>, VerifyError>;
    let ok: Outcome = || Ok(Verified::new(()));
    let invalid: Outcome = || Err(VerifyError::invalid());
    let expired: Outcome = || Err(VerifyError::expired());
    let forbidden: Outcome = || Err(VerifyError::forbidden());
    let unavailable: Outcome = || Err(VerifyError::unavailable(Duration::from_secs(1)));
    for (first, second, expected) in [
        (ok, unavailable, None),
        (unavailable, ok, None),
        (invalid, expired, Some("token_expired")),
        (expired, invalid, Some("token_expired")),
        (invalid, forbidden, Some("forbidden")),
        (forbidden, invalid, Some("forbidden")),
        (forbidden, unavailable, Some("verifier_unavailable")),
        (unavailable, invalid, Some("verifier_unavailable")),
        (invalid, unavailable, Some("verifier_unavailable")),
    ] {
        let verifier = move |_: VerifyInput<'_>| std::future::ready(first());
        let verifier = verifier.or(move |_: VerifyInput<'_>| std::future::ready(second()));
        let outcome = verifier.verify(VerifyInput::new(&token, &parts, SystemTime::now())).await;
        assert_eq!(outcome.err().map(|error| error.kind().as_str()), expected);
    }
}

#[tokio::test]
async fn one_verifier_serves_several_layers() {
    let verifier = std::sync::Arc::new(opaque);
    for layer in [WsAuthLayer::new(verifier.clone()), WsAuthLayer::new(verifier)] {
        let response = answer(&echo_behind(layer), handshake().authorization(TOKEN).build()).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    }
}

#[tokio::test]
async fn layer_waits_for_the_verifier_and_a_client_that_leaves_cancels_it() {
    let (sender, receiver) = tokio::sync::watch::channel(false);
    let slow = move |_: VerifyInput<'_>| {
        let mut receiver = receiver.clone();
        async move {
            receiver.wait_for(|ready| *ready).await.map_err(|_| VerifyError::invalid())?;
            Ok(Verified::new(()))
        }
    };
    let app = echo_behind(WsAuthLayer::new(slow));
    let mut pending = Box::pin(answer(&app, handshake().authorization("x").build()));
    assert!(futures_util::poll!(&mut pending).is_pending());
    let cancelled = Box::pin(answer(&app, handshake().authorization("x").build()));
    let before = sender.receiver_count();
    let mut cancelled = cancelled;
    assert!(futures_util::poll!(&mut cancelled).is_pending());
    assert_eq!(sender.receiver_count(), before + 1);
    drop(cancelled);
    assert_eq!(sender.receiver_count(), before);
    sender.send(true).unwrap();
    assert_eq!(pending.await.status(), StatusCode::SWITCHING_PROTOCOLS);
}

#[tokio::test]
async fn settings_of_the_upgrade_reach_the_socket() {
    async fn small(upgrade: AuthenticatedUpgrade<String>) -> Response {
        let upgrade = upgrade.write_buffer_size(0).on_failed_upgrade(|_| {});
        let upgrade = upgrade.protocols(["frame", "message", "other"]);
        let name = upgrade.selected_protocol().cloned();
        let upgrade = match name.as_ref().map(HeaderValue::as_bytes) {
            Some(b"frame") => upgrade.max_frame_size(64),
            Some(b"message") => upgrade.max_message_size(64),
            _ => upgrade.accept_unmasked_frames(true),
        };
        upgrade.on_upgrade(async |mut socket| {
            while let Some(Ok(message)) = socket.recv().await {
                let _ = socket.send(message).await;
            }
        })
    }
    let app = Router::new().route("/", any(small)).layer(opaque_layer());
    let request = handshake().authorization(TOKEN).build();
    assert_eq!(answer(&app, request).await.status(), StatusCode::SWITCHING_PROTOCOLS);

    for (name, is_limited) in [("frame", true), ("message", true), ("other", false)] {
        let request = handshake().authorization(TOKEN).subprotocols([name]).build();
        let (mut socket, _) = test_util::connect(app.clone(), request).await.expect("a handshake");
        socket.send("x".repeat(64).into()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().len(), 64, "{name}");
        socket.send("x".repeat(65).into()).await.unwrap();
        let answer = socket.next().await.unwrap().unwrap();
        if is_limited {
            let ClientMessage::Close(Some(frame)) = answer else { panic!("{name}: {answer:?}") };
            assert_eq!(u16::from(frame.code), 1009, "{name}");
        } else {
            assert_eq!(answer.len(), 65, "{name}");
        }
    }
}

#[tokio::test]
async fn socket_is_a_stream_and_a_sink_and_splits() {
    async fn chat(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.protocols(["v1"]).on_upgrade(async |socket: AuthenticatedSocket<String>| {
            assert_eq!(socket.protocol().unwrap(), "v1");
            assert_eq!(socket.session().subject(), Some("alice"));
            let (sink, stream) = socket.split();
            stream.forward(sink).await.unwrap();
        })
    }
    let app = Router::new().route("/", any(chat)).layer(opaque_layer());
    let request = handshake().subprotocols(["bearer", TOKEN, "v1"]).build();
    let (mut socket, _) = test_util::connect(app, request).await.expect("a handshake");
    for text in ["one", "two"] {
        socket.send(text.into()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().to_text().unwrap(), text);
    }
}

/// A handler that returns at the close frame drops the socket before the response is written.
#[tokio::test]
async fn close_frame_is_answered_however_the_handler_ends() {
    async fn until_close(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(Message::Text(_))) = socket.recv().await {})
    }
    async fn until_error(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |mut socket| {
            while let Some(Ok(message)) = socket.next().await {
                if socket.send(message).await.is_err() {
                    break;
                }
            }
        })
    }
    let app = Router::new()
        .route("/close", any(until_close))
        .route("/error", any(until_error))
        .route("/echo", any(test_util::echo))
        .layer(opaque_layer());
    for path in ["/close", "/error", "/echo"] {
        let request = handshake().path(path).authorization(TOKEN).build();
        let (mut socket, _) = test_util::connect(app.clone(), request).await.expect("a handshake");
        socket.send("hi".into()).await.unwrap();
        let goodbye = CloseFrame { code: 1000.into(), reason: "bye".into() };
        socket.close(Some(goodbye.clone())).await.unwrap();
        let mut last = None;
        while let Some(message) = socket.next().await {
            last = Some(message.unwrap_or_else(|error| panic!("{path}: {error}")));
        }
        assert_eq!(last, Some(ClientMessage::Close(Some(goodbye))), "{path}");
    }
}

#[tokio::test]
async fn dropping_recv_loses_no_message() {
    async fn chat(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |mut socket| {
            // Poll once and drop, repeatedly, while messages arrive.
            loop {
                let polled = futures_util::poll!(Box::pin(socket.recv()));
                match polled {
                    std::task::Poll::Ready(Some(Ok(message))) => socket.send(message).await.unwrap(),
                    std::task::Poll::Ready(_) => return,
                    std::task::Poll::Pending => tokio::task::yield_now().await,
                }
            }
        })
    }
    let app = Router::new().route("/", any(chat)).layer(opaque_layer());
    let request = handshake().authorization(TOKEN).build();
    let (mut socket, _) = test_util::connect(app, request).await.expect("a handshake");
    for n in 0..100 {
        socket.send(format!("{n}").into()).await.unwrap();
    }
    for n in 0..100 {
        assert_eq!(socket.next().await.unwrap().unwrap().to_text().unwrap(), format!("{n}"));
    }
}

#[test]
fn public_futures_and_handles_are_send_and_sync() {
    fn send<T: Send>() {}
    fn sync<T: Send + Sync>() {}
    type Inner = axum::routing::Route;
    send::<ResponseFuture<Inner, axum::body::Body>>();
    sync::<WsAuthLayer>();
    sync::<WsAuth<Router>>();
    sync::<Session<String>>();
    sync::<TokenSource>();
    send::<AuthenticatedSocket<String>>();
    send::<AuthenticatedUpgrade<String>>();
}
