//! The event of a refusal says which request it was, and what was compared.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, extract::ConnectInfo, routing::any};
use axum_ws_auth::{
    AllowOrigin, AuthenticatedUpgrade, FirstMessage, TokenSource, TrustedProxies, WsAuthLayer,
    jwks::IssuerRule,
    jwt::{JwtKey, JwtVerifier},
    test_util::{self, HandshakeBuilder, TEST_SECRET, TestToken, base64url, handshake},
};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Request};
use serde_json::{Value, json};
use tracing::Level;

use crate::{captured, support::*};

const ORIGIN: &str = "https://app.example.com";

fn routed(layer: WsAuthLayer) -> Router {
    Router::new().route("/rooms/{room}", any(test_util::echo)).layer(layer)
}

/// The lines of a refusal, from its first event on.
async fn logged(level: Level, layer: WsAuthLayer, request: HandshakeBuilder) -> String {
    let mut request: Request<_> = request.path("/rooms/secret-room?key=secret-key").build();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 4321))));
    let (response, log) = captured(level, answer(&routed(layer), request)).await;
    assert!(refusal(&response).is_some(), "{response:?}");
    log
}

#[tokio::test]
async fn refusal_names_route_peer_and_origin() {
    let log = logged(Level::INFO, jwt_layer(), handshake().origin(ORIGIN)).await;
    let line = "INFO axum_ws_auth: handshake refused kind=\"missing_token\" reason=\"missing_token\" \
                route=\"/rooms/{room}\" peer=192.0.2.7 origin=\"https://app.example.com\"\n";
    assert!(log.ends_with(line) && log.lines().count() == 1, "{log}");
}

/// The path and the query may hold secrets.
#[tokio::test]
async fn refusal_without_a_route_does_not_show_the_path() {
    let app = tower::ServiceBuilder::new().layer(jwt_layer()).service(routed(opaque_layer()));
    let request = handshake().path("/rooms/secret-room?key=secret-key").build();
    let (_, log) = captured(Level::TRACE, tower::ServiceExt::oneshot(app, request)).await;
    assert!(log.contains("handshake refused kind=\"missing_token\" reason=\"missing_token\"\n"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

/// Whatever a client writes into its origin stays on one line, and short.
#[tokio::test]
async fn origin_is_bounded_and_escaped() {
    let mut request = handshake().build();
    let origin = [b"\xff\"\t ".as_slice(), &[b'x'; 5000]].concat();
    request.headers_mut().insert("origin", HeaderValue::from_bytes(&origin).unwrap());
    let (_, log) = captured(Level::TRACE, answer(&echo_behind(jwt_layer()), request)).await;
    assert!(log.contains(r#"origin="�\"\t xxx"#), "{log}");
    assert!(log.lines().count() == 1 && log.len() < 1000, "{log}");
}

struct Case {
    name: &'static str,
    verifier: JwtVerifier<Value>,
    token: String,
    cause: &'static str,
}

#[tokio::test]
async fn cause_of_a_refused_token_says_what_was_compared() {
    let builder = || JwtVerifier::<Value>::builder().audience("chat").issuer("https://id.example.com");
    let keyed = || builder().key(JwtKey::secret(TEST_SECRET).unwrap().key_id("2026-11").unwrap()).build().unwrap();
    let token = || TestToken::new("alice").claim("aud", "chat").claim("iss", "https://id.example.com");
    let with_header = |header: Value| {
        let claims = json!({ "sub": "alice", "exp": 4_000_000_000_u64 });
        format!("{}.{}.AAAA", base64url(header.to_string()), base64url(claims.to_string()))
    };
    let cases = [
        Case {
            name: "audience",
            verifier: builder().secret(TEST_SECRET).unwrap().build().unwrap(),
            token: token().claim("aud", json!(["mail", "files\n"])).sign(),
            cause: r#"cause=the token was issued for another audience (`aud`) expected="chat" found="mail, files\n""#,
        },
        Case {
            name: "issuer",
            verifier: builder().secret(TEST_SECRET).unwrap().build().unwrap(),
            token: token().claim("iss", "https://id.example.com/").sign(),
            cause: r#"cause=the token was issued by another issuer (`iss`) expected="https://id.example.com" found="https://id.example.com/""#,
        },
        Case {
            name: "issuer that no rule allows",
            verifier: {
                let rule = IssuerRule::matching("https://id.example.com/realms/*", |name| name == "chat");
                JwtVerifier::builder().audience("chat").issuers_where(rule).build().unwrap()
            },
            token: token().claim("iss", "https://id.example.com/realms/mail").sign(),
            cause: r#"expected="https://id.example.com/realms/*" found="https://id.example.com/realms/mail""#,
        },
        Case {
            name: "expired",
            verifier: builder().secret(TEST_SECRET).unwrap().leeway(Duration::from_secs(5)).build().unwrap(),
            token: token().claim("exp", 1).sign(),
            cause: r#"cause=the token has expired (`exp`) expected="less than 5 s ago" found="1"#,
        },
        Case {
            name: "not yet valid",
            verifier: builder().secret(TEST_SECRET).unwrap().build().unwrap(),
            token: token().claim("nbf", 9_000_000_000_u64).sign(),
            cause: r#"cause=the token is not valid yet (`nbf`) expected="at most 30 s ahead" found="7"#,
        },
        Case {
            name: "a claim that is missing",
            verifier: builder().secret(TEST_SECRET).unwrap().build().unwrap(),
            token: TestToken::new("alice").claim("iss", "https://id.example.com").sign(),
            cause: "cause=a required claim is missing (`aud`)",
        },
        Case {
            name: "a claim that is malformed",
            verifier: builder().secret(TEST_SECRET).unwrap().build().unwrap(),
            token: token().claim("nbf", "noon").sign(),
            cause: "cause=a claim has the wrong type or is out of range (`nbf`)",
        },
        Case {
            name: "key id",
            verifier: keyed(),
            token: with_header(json!({ "alg": "HS256", "kid": "2024-\u{1b}01" })),
            cause: r#"cause=the token's key id is unknown expected="2026-11" found="2024-\u{1b}01""#,
        },
        Case {
            name: "algorithm",
            verifier: keyed(),
            token: with_header(json!({ "alg": "RS256", "kid": "2026-11" })),
            cause: r#"cause=no key is for the token's algorithm expected="HS256" found="RS256""#,
        },
        Case {
            name: "no algorithm",
            verifier: keyed(),
            token: with_header(json!({ "alg": "none" })),
            cause: r#"cause=no key is for the token's algorithm expected="" found="none""#,
        },
        Case {
            name: "type",
            verifier: keyed(),
            token: with_header(json!({ "alg": "HS256", "typ": "dpop+jwt" })),
            cause: r#"cause=the token is of a type that is not accepted expected="JWT, at+jwt" found="dpop+jwt""#,
        },
        Case {
            name: "a text without end",
            verifier: keyed(),
            token: with_header(json!({ "alg": "HS256", "kid": "k".repeat(3000) })),
            cause: r#"expected="2026-11" found="kkkkkkkk"#,
        },
    ];
    for Case { name, verifier, token, cause } in cases {
        let layer = WsAuthLayer::new(verifier);
        let log = logged(Level::DEBUG, layer.clone(), handshake().bearer_subprotocol(&token)).await;
        assert!(log.contains("DEBUG axum_ws_auth: cause of the refusal ") && log.contains(cause), "{name}: {log}");
        assert!(log.lines().count() == 2 && log.len() < 1000, "{name}: {log}");
        for part in token.split('.').filter(|part| part.len() > 8) {
            assert!(!log.contains(part), "{name}: {log}");
        }
        // At info there is the reason alone.
        let log = logged(Level::INFO, layer, handshake().bearer_subprotocol(&token)).await;
        assert_eq!(log.lines().count(), 1, "{name}: {log}");
    }
}

#[tokio::test]
async fn cause_of_a_refused_origin_says_what_was_compared() {
    let cookie = || opaque_layer().sources([TokenSource::cookie("session")]).unwrap();
    for (name, layer, request, compared) in [
        (
            "no policy",
            cookie(),
            handshake().cookie("session", TOKEN).origin(ORIGIN),
            r#"expected="the origin of localhost" found="https://app.example.com""#,
        ),
        (
            "a list",
            opaque_layer().allow_origin(["https://a.example.com", "https://b.example.com"]).unwrap(),
            handshake().authorization(TOKEN).origin(ORIGIN),
            r#"expected="https://a.example.com, https://b.example.com" found="https://app.example.com""#,
        ),
        (
            "a predicate",
            opaque_layer().allow_origin(AllowOrigin::predicate(|_, _| false)).unwrap(),
            handshake().authorization(TOKEN).origin(ORIGIN),
            r#"expected="<fn>" found="https://app.example.com""#,
        ),
        ("none", cookie(), handshake().cookie("session", TOKEN), r#"found="none""#),
        (
            "what a proxy says",
            cookie().trusted_proxies(TrustedProxies::x_forwarded(["192.0.2.0/24"]).unwrap()),
            handshake()
                .cookie("session", TOKEN)
                .origin(ORIGIN)
                .header("x-forwarded-for", "198.51.100.7")
                .header("x-forwarded-host", "chat.example.com")
                .header("x-forwarded-proto", "https"),
            r#"expected="the origin of https://chat.example.com" found="https://app.example.com""#,
        ),
    ] {
        let log = logged(Level::DEBUG, layer, request).await;
        assert!(log.contains("cause of the refusal ") && log.contains(compared), "{name}: {log}");
    }
    // If something else was wrong, origins are no cause.
    let request = handshake().authorization("a b").origin(ORIGIN);
    let log = logged(Level::DEBUG, opaque_layer(), request).await;
    assert!(log.contains("cause of the refusal ") && !log.contains("expected="), "{log}");
}

/// The refusal follows the handshake, when the request is gone.
#[tokio::test]
async fn refused_first_message_names_the_route() {
    let handler = async |upgrade: AuthenticatedUpgrade<Value>| upgrade.on_upgrade(async |_| {});
    let layer = jwt_layer().first_message(FirstMessage::graphql_ws());
    let app = Router::new().route("/rooms/{room}", any(handler)).layer(layer);
    let request = handshake().path("/rooms/1").origin(ORIGIN).build();
    let (_, log) = captured(Level::INFO, async {
        let (mut socket, _) = test_util::connect(app, request).await.unwrap();
        socket
            .send(json!({ "type": "connection_init", "payload": { "token": "bad" } }).to_string().into())
            .await
            .unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    assert!(log.contains("route=\"/rooms/{room}\" origin=\"https://app.example.com\""), "{log}");
}

/// A request that needs no WebSocket: the extractor refuses it.
#[tokio::test]
async fn request_that_a_handler_refuses_is_logged_with_its_route() {
    let app = Router::new()
        .route("/rooms/{room}", any(async |_: axum_ws_auth::Authenticated<Value>| {}))
        .layer(jwt_layer().optional());
    let request = Request::get("/rooms/secret").header("origin", ORIGIN).body(axum::body::Body::empty()).unwrap();
    let (_, log) = captured(Level::INFO, answer(&app, request)).await;
    assert!(log.contains("reason=\"missing_token\" route=\"/rooms/{room}\" origin="), "{log}");
}
