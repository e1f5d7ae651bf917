//! Refusals: status, challenge, body and close codes; and what the client must not see.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{error::Error as _, time::Duration};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Redirect, Response},
    routing::any,
};
use axum_ws_auth::{
    CloseCodes, ConfigError, Rejection, RejectionKind, TokenSource, VerifyError, VerifyErrorKind, VerifyInput,
    WsAuthLayer,
    test_util::{self, HandshakeBuilder, handshake},
};
use futures_util::StreamExt;
use http::{Request, StatusCode, Version};
use serde_json::{Value, json};
use support::*;
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

/// A verifier that returns the error that the token names.
fn scripted() -> WsAuthLayer {
    WsAuthLayer::new(|input: VerifyInput<'_>| {
        let error = match input.token.expose() {
            "scope" => VerifyError::insufficient_scope("chat:write chat:read"),
            "bad-scope" => VerifyError::insufficient_scope("a\"b\r\nc"),
            "double-space" => VerifyError::insufficient_scope("a  b"),
            "forbidden" => VerifyError::forbidden(),
            "expired" => VerifyError::expired(),
            "down" => VerifyError::unavailable(Duration::from_millis(4200)),
            "down-at-once" => VerifyError::unavailable(Duration::ZERO),
            "down-for-ever" => VerifyError::unavailable(Duration::MAX),
            _ => VerifyError::invalid().with_source("the cause"),
        };
        std::future::ready(Err::<axum_ws_auth::Verified<()>, _>(error))
    })
}

struct Case {
    name: &'static str,
    request: HandshakeBuilder,
    status: u16,
    challenge: Option<&'static str>,
    retry_after: Option<&'static str>,
    error: &'static str,
}

fn cases() -> Vec<Case> {
    let with = |token: &str| handshake().bearer_subprotocol(token);
    let case =
        |name, request, status, challenge, error| Case { name, request, status, challenge, retry_after: None, error };
    let down = |name, request, seconds| Case {
        name,
        request,
        status: 503,
        challenge: None,
        retry_after: Some(seconds),
        error: "unavailable",
    };
    vec![
        case("no token", handshake(), 401, Some(r#"Bearer realm="a \"b\" \\c""#), "missing_token"),
        case("bad", with("x"), 401, Some(r#"Bearer realm="a \"b\" \\c", error="invalid_token""#), "invalid_token"),
        case(
            "expired",
            with("expired"),
            401,
            Some(r#"Bearer realm="a \"b\" \\c", error="invalid_token""#),
            "invalid_token",
        ),
        case(
            "undecodable",
            with("a/b"),
            401,
            Some(r#"Bearer realm="a \"b\" \\c", error="invalid_token""#),
            "invalid_token",
        ),
        case(
            "malformed",
            with(""),
            400,
            Some(r#"Bearer realm="a \"b\" \\c", error="invalid_request""#),
            "invalid_request",
        ),
        case(
            "two",
            with("x").authorization("y"),
            400,
            Some(r#"Bearer realm="a \"b\" \\c", error="invalid_request""#),
            "invalid_request",
        ),
        case(
            "scope",
            with("scope"),
            403,
            Some(r#"Bearer realm="a \"b\" \\c", error="insufficient_scope", scope="chat:write chat:read""#),
            "insufficient_scope",
        ),
        case(
            "unwritable scope",
            with("bad-scope"),
            403,
            Some(r#"Bearer realm="a \"b\" \\c", error="insufficient_scope""#),
            "insufficient_scope",
        ),
        case(
            "odd scope",
            with("double-space"),
            403,
            Some(r#"Bearer realm="a \"b\" \\c", error="insufficient_scope""#),
            "insufficient_scope",
        ),
        case(
            "forbidden",
            with("forbidden"),
            403,
            Some(r#"Bearer realm="a \"b\" \\c", error="insufficient_scope""#),
            "insufficient_scope",
        ),
        case("origin", with("x").origin("https://evil.example"), 403, None, "origin_not_allowed"),
        down("down", with("down"), "5"),
        down("down at once", with("down-at-once"), "1"),
        down("down for ever", with("down-for-ever"), "18446744073709551615"),
    ]
}

fn layer() -> WsAuthLayer {
    scripted().realm(r#"a "b" \c"#).unwrap().allow_origin(["https://app.example"]).unwrap()
}

#[tokio::test]
async fn each_kind_of_refusal_follows_the_rfcs() {
    for Case { name, request, status, challenge, retry_after, error } in cases() {
        for http2 in [false, true] {
            let request = if http2 { request.clone().http2() } else { request.clone() };
            let response = answer(&echo_behind(layer()), request.build()).await;
            let header = |name: &str| {
                assert!(response.headers().get_all(name).iter().count() <= 1);
                response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
            };
            assert_eq!(response.status(), status, "{name}");
            assert_eq!(header("www-authenticate").as_deref(), challenge, "{name}");
            assert_eq!(header("retry-after").as_deref(), retry_after, "{name}");
            assert_eq!(header("content-type").as_deref(), Some("application/problem+json"), "{name}");
            // Illegal in HTTP/2 (RFC 9113 §8.2.2).
            assert_eq!(header("connection").as_deref(), (!http2).then_some("close"), "{name}");
            assert_eq!(header("sec-websocket-protocol"), None, "{name}");
            assert_eq!(header("upgrade"), None, "{name}");

            let rejection = response.extensions().get::<Rejection>().unwrap().clone();
            assert_eq!(rejection.kind().as_str(), error, "{name}");
            assert_eq!(rejection.status(), status, "{name}");
            let body: Value = serde_json::from_str(&text(response).await).unwrap();
            assert_eq!(body["status"], status, "{name}");
            assert_eq!(body["title"], StatusCode::from_u16(status).unwrap().canonical_reason().unwrap(), "{name}");
            assert_eq!(body["error"], error, "{name}");
            assert_eq!(body.as_object().unwrap().len(), 4, "{name}: the body holds nothing but the class");
        }
    }
}

#[tokio::test]
async fn grpc_call_gets_a_status_of_its_protocol() {
    let call = |token: &str, content_type: &str| {
        let request = Request::post("/").header("content-type", content_type);
        request.header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap()
    };
    let hook = |rejection: Rejection| (rejection.status(), "no").into_response();
    for layer in [scripted(), scripted().on_rejection(hook)] {
        let app = Router::new().route("/", any(test_util::echo)).layer(layer);
        for (token, grpc_status, message) in [
            ("", "3", "invalid_request"),
            ("forbidden", "7", "insufficient_scope"),
            ("down", "14", "unavailable"),
            ("expired", "16", "invalid_token"),
        ] {
            for content_type in ["application/grpc", "application/grpc+proto", "Application/gRPC-Web"] {
                let response = answer(&app, call(token, content_type)).await;
                assert_eq!(response.headers()["grpc-status"], grpc_status, "{token}");
                assert_eq!(response.headers()["grpc-message"], message, "{token}");
            }
            let other = answer(&app, call(token, "application/json")).await;
            assert!(!other.status().is_success() && !other.headers().contains_key("grpc-status"), "{token}");
        }
    }
}

#[tokio::test]
async fn response_does_not_reveal_the_cause() {
    let response = answer(&echo_behind(layer()), handshake().authorization("x").build()).await;
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.reason(), "token_invalid");
    assert_eq!(rejection.to_string(), "the handshake's token is not valid");
    let cause = rejection.source().and_then(|cause| cause.downcast_ref::<VerifyError>()).unwrap();
    assert_eq!(cause.kind(), VerifyErrorKind::Invalid);
    assert_eq!(cause.source().unwrap().to_string(), "the cause");
    let body = text(response).await;
    assert!(!body.contains("cause"), "{body}");
}

#[tokio::test]
async fn cause_says_what_was_wrong() {
    let cookie = || opaque_layer().sources([TokenSource::cookie("session")]).unwrap();
    for (layer, request, expected) in [
        (opaque_layer(), handshake().authorization("a b"), "the token is not encoded as its source requires"),
        (cookie(), handshake().cookie("session", TOKEN), "the request has a cookie but no origin"),
    ] {
        let response = answer(&echo_behind(layer), request.build()).await;
        let rejection = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.source().unwrap().to_string(), expected);
    }
}

#[tokio::test]
async fn refusal_closes_the_connection_on_http_1_0() {
    let mut request = handshake().build();
    *request.version_mut() = Version::HTTP_10;
    assert_eq!(answer(&echo_behind(layer()), request).await.headers()["connection"], "close");
}

#[tokio::test]
async fn on_rejection_replaces_the_response() {
    let layer = layer().on_rejection(|rejection| {
        (StatusCode::IM_A_TEAPOT, format!("{}/{}", rejection.kind().as_str(), rejection.reason())).into_response()
    });
    let response = answer(&echo_behind(layer.clone()), handshake().authorization("expired").build()).await;
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(refusal(&response), Some((RejectionKind::InvalidToken, "token_expired")));
    assert_eq!(text(response).await, "invalid_token/token_expired");
    let response = answer(&echo_behind(layer), handshake().http2().authorization("expired").build()).await;
    assert!(!response.headers().contains_key("connection"));
}

#[tokio::test]
async fn on_rejection_cannot_complete_a_handshake() {
    for status in [100, 101, 200, 204, 299] {
        let hook = move |_| StatusCode::from_u16(status).unwrap().into_response();
        for request in [handshake(), handshake().http2(), handshake().authorization("x")] {
            let app = echo_behind(layer().on_rejection(hook));
            let response = answer(&app, request.build()).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{status}");
            assert!(response.headers().contains_key("www-authenticate"));
        }
    }
    let app = echo_behind(layer().on_rejection(|_| Redirect::to("/login").into_response()));
    assert_eq!(answer(&app, handshake().build()).await.status(), StatusCode::SEE_OTHER);
}

#[test]
fn invalid_realm_does_not_build() {
    assert_eq!(scripted().realm("").map(|_| ()).unwrap_err(), ConfigError::Empty("realm"));
    for realm in ["a\nb", "a\r\nb", "ä", "\u{7f}", "\0"] {
        assert_eq!(scripted().realm(realm).map(|_| ()).unwrap_err(), ConfigError::InvalidRealm(realm.to_owned()));
    }
}

/// Returns what a page sees of a refusal: the subprotocol and the close frame.
async fn closed_with(app: &Router, request: HandshakeBuilder) -> (Option<String>, CloseFrame) {
    let (mut socket, response) = test_util::connect(app.clone(), request.build()).await.expect("a handshake");
    let protocol = response.headers().get("sec-websocket-protocol").map(|name| name.to_str().unwrap().to_owned());
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("no close frame") };
    assert!(socket.next().await.is_none(), "the connection is dropped");
    (protocol, frame)
}

#[tokio::test]
async fn accept_then_close_gives_pages_a_close_code() {
    for (name, codes, expected) in [
        ("IANA", CloseCodes::IANA, [1008, 3000, 3000, 3003, 1013]),
        ("HTTP-like", CloseCodes::HTTP_LIKE, [4400, 4401, 4401, 4403, 4503]),
        ("graphql-ws", CloseCodes::GRAPHQL_WS, [4400, 4403, 4403, 4403, 1013]),
        ("Centrifugo", CloseCodes::CENTRIFUGO, [3501, 3500, 3500, 3507, 3004]),
    ] {
        let app = echo_behind(scripted().accept_then_close().close_codes(codes));
        for ((token, reason), code) in [
            (Some(""), "invalid_request"),
            (None, "missing_token"),
            (Some("x"), "invalid_token"),
            (Some("scope"), "insufficient_scope"),
            (Some("down"), "unavailable"),
        ]
        .into_iter()
        .zip(expected)
        {
            let request = token.map_or_else(handshake, |token| handshake().bearer_subprotocol(token));
            let (protocol, frame) = closed_with(&app, request).await;
            assert_eq!(u16::from(frame.code), code, "{name} {reason}");
            assert_eq!(frame.reason, reason, "{name}");
            // Unless a subprotocol is selected, a browser fails the connection and shows no code.
            assert_eq!(protocol.as_deref(), token.map(|_| "bearer"), "{name} {reason}");
        }
    }
    // An offer without a recognized token may still hold one, so nothing of it is sent back.
    let layer = || scripted().accept_then_close();
    let with_names = || layer().subprotocols(["v2", "v1"]).unwrap();
    for secret in ["chat", TOKEN, "bearer.secret", "base64url.bearer.authorization.k8s.io.c2VjcmV0"] {
        for layer in [layer(), with_names()] {
            let response = answer(&echo_behind(layer), handshake().subprotocols([secret, "other"]).build()).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{secret}");
            assert!(!format!("{response:?}").contains(secret));
        }
    }
    let both = [TokenSource::subprotocol_prefix("bearer."), TokenSource::authorization()];
    let app = echo_behind(layer().sources(both).unwrap());
    let conflicting = handshake().subprotocols(["bearer.secret-1", "secret-2"]).authorization("secret-2");
    let response = answer(&app, conflicting.build()).await;
    assert_eq!((response.status(), selected(&response)), (StatusCode::BAD_REQUEST, None));
    // Nor is anything after a token that cannot be decoded, because it was not parsed.
    let prefix = with_names().sources([TokenSource::subprotocol_prefix("bearer.")]).unwrap();
    let offer = ["bearer.a=", "bearer.secret", "secret"];
    let response = answer(&echo_behind(prefix.clone()), handshake().subprotocols(offer).build()).await;
    assert_eq!((response.status(), selected(&response)), (StatusCode::UNAUTHORIZED, None));
    let (protocol, _) = closed_with(&echo_behind(prefix), handshake().subprotocols(["bearer.a=", "v1"])).await;
    assert_eq!(protocol.as_deref(), Some("v1"));
    let (protocol, _) = closed_with(&echo_behind(with_names()), handshake().subprotocols(["x", "v1", "v2"])).await;
    assert_eq!(protocol.as_deref(), Some("v1"));
    let (protocol, _) = closed_with(&echo_behind(with_names()), handshake().subprotocols(["v1", "bearer", "x"])).await;
    assert_eq!(protocol.as_deref(), Some("bearer"));
    assert!(matches!(layer().subprotocols(["a b"]), Err(ConfigError::InvalidSubprotocol(name)) if name == "a b"));
}

/// tungstenite allocates what a frame header claims before the frame arrives.
#[tokio::test(start_paused = true)]
async fn refused_client_that_claims_a_large_frame_is_dropped() {
    let app = echo_behind(scripted().accept_then_close());
    let (socket, _) = test_util::connect(app, handshake().build()).await.expect("a handshake");
    let mut pipe = socket.into_inner();
    let started = tokio::time::Instant::now();
    // A masked binary frame of 15 MiB, of which nothing follows.
    let header = [0x82, 0xff, 0, 0, 0, 0, 0, 0xf0, 0, 0, 1, 2, 3, 4];
    tokio::io::AsyncWriteExt::write_all(&mut pipe, &header).await.unwrap();
    tokio::io::AsyncReadExt::read_to_end(&mut pipe, &mut Vec::new()).await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO, "dropped at once, not after the close timeout");
}

/// The policy also decides whether the page may see the reason, even if the token cannot be decoded.
#[tokio::test]
async fn origin_predicate_never_sees_the_token() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let log = seen.clone();
    let policy = axum_ws_auth::AllowOrigin::predicate(move |_, parts| {
        // Not `Debug`, which hides sensitive headers.
        let values: Vec<_> = parts.headers.values().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let original = parts.extensions.get::<axum::extract::OriginalUri>();
        log.lock().unwrap().push_str(&format!("{} {values:?} {original:?}", parts.uri));
        true
    });
    let sources = || {
        [
            TokenSource::query("t"),
            TokenSource::authorization(),
            TokenSource::cookie("s"),
            TokenSource::bearer_subprotocol(),
        ]
    };
    let layer = scripted().sources(sources()).unwrap().allow_origin(policy).unwrap();
    let app = echo_behind(layer.accept_then_close());
    let page = || handshake().origin("https://localhost");
    for request in [
        page().path("/?t=secret-1").authorization("other-secret"),
        page().path("/?t=secret-1&t=secret-2"),
        page().path(format!("/?t=secret-{}", "x".repeat(9000))),
        page().cookie("s", "secret-1").cookie("s", "secret-2"),
        page().authorization("secret-1").authorization("secret-2"),
        page().header("authorization", "Bearer secret 1"),
        page().subprotocols(["bearer", "secret/1"]),
        page().subprotocols(["bearer", "secret-1", "bearer", "secret-2"]),
        // Parsing stops at the first error, so the second token is not recognized.
        page().subprotocols(["bearer", "secret/1", "bearer", "secret-2"]),
        page().bearer_subprotocol("secret-1").path("/?t=secret-2"),
        page().bearer_subprotocol("secret-1"),
    ] {
        seen.lock().unwrap().clear();
        answer(&app, request.clone().build()).await;
        let seen = seen.lock().unwrap();
        assert!(!seen.is_empty(), "{request:?}: the predicate is called");
        assert!(!seen.contains("secret"), "{request:?}: {seen}");
    }
}

#[tokio::test(start_paused = true)]
async fn refused_client_that_never_closes_is_dropped() {
    let app = echo_behind(scripted().accept_then_close());
    let (socket, _) = test_util::connect(app, handshake().build()).await.expect("a handshake");
    // The raw pipe does not answer the close frame.
    let mut pipe = socket.into_inner();
    let started = tokio::time::Instant::now();
    tokio::io::AsyncReadExt::read_to_end(&mut pipe, &mut Vec::new()).await.unwrap();
    assert_eq!(started.elapsed(), Duration::from_secs(2));
}

#[tokio::test]
async fn plain_requests_and_foreign_pages_get_the_plain_refusal() {
    let layer = || {
        scripted()
            .sources([TokenSource::cookie("session"), TokenSource::bearer_subprotocol()])
            .unwrap()
            .accept_then_close()
    };
    let app = echo_behind(layer());
    let listed = echo_behind(layer().allow_origin(["https://app.example"]).unwrap());
    for (name, app, request, status) in [
        ("plain", &app, handshake().header("sec-websocket-version", "12"), 101),
        ("no cookie, foreign page", &app, handshake().origin("https://evil.example"), 401),
        ("bad cookie, foreign page", &app, handshake().cookie("session", "x").origin("https://evil.example"), 403),
        ("no cookie, own page", &app, handshake().origin("https://localhost"), 101),
        ("bad cookie, own page", &app, handshake().cookie("session", "x").origin("https://localhost"), 101),
        ("bad token, unlisted page", &listed, handshake().bearer_subprotocol("x").origin("https://localhost"), 403),
        ("bad token, listed page", &listed, handshake().bearer_subprotocol("x").origin("https://app.example"), 101),
    ] {
        if name == "plain" {
            let request = http::Request::new(axum::body::Body::empty());
            assert_eq!(answer(app, request).await.status(), StatusCode::UNAUTHORIZED);
            continue;
        }
        assert_eq!(answer(app, request.build()).await.status(), status, "{name}");
    }
}

#[tokio::test]
async fn accept_then_close_works_over_http2() {
    let app = echo_behind(scripted().accept_then_close());
    let response = answer(&app, handshake().http2().bearer_subprotocol("x").build()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(selected(&response), Some("bearer"));
    assert_eq!(refusal(&response), Some((RejectionKind::InvalidToken, "token_invalid")));
}

#[tokio::test]
async fn error_responses_of_the_inner_service_are_unchanged() {
    let teapot = || async { (StatusCode::UNAUTHORIZED, axum::Json(json!({"own": true}))).into_response() as Response };
    let app = Router::new().route("/", any(teapot)).layer(opaque_layer());
    let response = answer(&app, handshake().authorization(TOKEN).build()).await;
    assert_eq!(refusal(&response), None);
    assert!(!response.headers().contains_key("connection"));
    assert_eq!(text(response).await, r#"{"own":true}"#);
}
