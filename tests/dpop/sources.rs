//! Where the proof comes from, and what becomes of it.

use axum_ws_auth::{AllowOrigin, FirstMessage, TokenSource};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use super::*;

#[tokio::test]
async fn a_page_sends_the_proof_as_a_subprotocol() {
    let key = DpopKey::first();
    let token = bound(&key);
    let app = app(&dpop());
    let proof = || key.proof("GET", "wss://ws.example.com/chat", &token);
    let (mut socket, response) = test_util::connect(app.clone(), page(&token, &proof()).build()).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "bearer");
    socket.send("hi".into()).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hi"));

    for (name, request, expected) in [
        ("none", handshake().path("/chat").bearer_subprotocol(&token), "sender_constrained"),
        ("another prefix", handshake().path("/chat").subprotocols(["bearer", &token, "xpop.a"]), "sender_constrained"),
        ("empty", page(&token, ""), "proof_malformed"),
        ("two", page(&token, &proof()).subprotocols([&*format!("dpop.{}", proof())]), "repeated_token"),
        ("header and name", page(&token, &proof()).header("dpop", proof()), "proof_malformed"),
        (
            "between the pair",
            handshake().subprotocols(["bearer", &format!("dpop.{}", proof()), &token]),
            "token_malformed",
        ),
        ("alone", handshake().path("/chat").subprotocols([&*format!("dpop.{}", proof())]), "nothing_to_select"),
    ] {
        assert_eq!(reason(&app, request).await, expected, "{name}");
    }
    // Case does not matter, because browsers and proxies keep it, and a secret name is better hidden.
    let upper = format!("DPoP.{}", proof());
    assert_eq!(reason(&app, handshake().path("/chat").subprotocols(["bearer", &token, &upper])).await, "accepted");
}

#[tokio::test]
async fn programs_send_the_scheme_and_one_header() {
    let key = DpopKey::first();
    let token = bound(&key);
    let proof = || key.proof("GET", URI, &token);
    let authorized = |scheme: &str| handshake().path("/chat").header("authorization", format!("{scheme} {token}"));
    for (name, request, expected) in [
        ("both", authorized("DPoP").header("dpop", proof()), "accepted"),
        ("lower case", authorized("dpop").header("dpop", proof()), "accepted"),
        ("no proof", authorized("DPoP"), "missing_proof"),
        ("two proofs", authorized("DPoP").header("dpop", proof()).header("dpop", proof()), "proof_malformed"),
        ("two in a line", authorized("DPoP").header("dpop", format!("{}, {}", proof(), proof())), "proof_malformed"),
        ("no token", handshake().path("/chat").header("dpop", proof()), "missing_token"),
        // RFC 9449 §7.2: a bound token must not be downgraded.
        ("bearer", authorized("Bearer"), "sender_constrained"),
        ("bearer with a proof", authorized("Bearer").header("dpop", proof()), "sender_constrained"),
        ("other scheme", authorized("DPoPX").header("dpop", proof()), "missing_token"),
        (
            "two schemes",
            authorized("DPoP").header("authorization", "Bearer a").header("dpop", proof()),
            "repeated_token",
        ),
        (
            "two in a line",
            handshake().header("authorization", format!("Bearer a, DPoP {token}")).header("dpop", proof()),
            "undecodable_token",
        ),
    ] {
        assert_eq!(reason(&app(&dpop()), request).await, expected, "{name}");
    }
}

#[tokio::test]
async fn tokens_that_are_not_bound_are_bearer_tokens_or_refused() {
    let key = DpopKey::first();
    let token = TestToken::new("alice").sign();
    let as_bearer = || handshake().path("/chat").authorization(&token);
    let proof = || key.proof("GET", URI, &token);
    let strict = app(&dpop());
    let lenient = app(&dpop().accept_bearer());
    assert_eq!(reason(&strict, as_bearer()).await, "not_bound");
    assert_eq!(reason(&lenient, as_bearer()).await, "accepted");
    assert_eq!(reason(&lenient, handshake().bearer_subprotocol(&token)).await, "accepted");
    for (name, request) in [
        ("scheme and proof", native(&token, &proof())),
        ("scheme", handshake().path("/chat").header("authorization", format!("DPoP {token}"))),
        ("page", page(&token, &proof())),
    ] {
        assert_eq!(reason(&strict, request.clone()).await, "not_bound", "{name}");
        assert_eq!(reason(&lenient, request).await, "not_bound", "{name}");
    }
    // Both schemes are offered where both are welcome.
    let missing = answer(&strict, handshake().build()).await;
    assert_eq!(challenges(&missing), [r#"DPoP realm="websocket", algs="ES256 EdDSA Ed25519""#]);
    let missing = answer(&lenient, handshake().build()).await;
    let expected = [r#"Bearer realm="websocket""#, r#"DPoP realm="websocket", algs="ES256 EdDSA Ed25519""#];
    assert_eq!(challenges(&missing), expected);
    let stale = key.proof_with("GET", URI, &bound(&key), &json!({ "iat": 1 }));
    let refused = answer(&lenient, native(&bound(&key), &stale).build()).await;
    let expected = [
        r#"Bearer realm="websocket""#,
        r#"DPoP realm="websocket", error="invalid_dpop_proof", algs="ES256 EdDSA Ed25519""#,
    ];
    assert_eq!(challenges(&refused), expected);
}

#[tokio::test]
async fn no_service_sees_the_proof() {
    let key = DpopKey::first();
    let token = bound(&key);
    let app = mirror_behind(layer(&dpop()));
    let uri = "https://ws.example.com/";
    for request in [
        native(&token, &key.proof("GET", uri, &token)).path("/"),
        handshake().subprotocols(["chat", "bearer", &token, &format!("dpop.{}", key.proof("GET", uri, &token)), "v2"]),
    ] {
        let seen = text(answer(&app, request.build()).await).await;
        assert!(!seen.contains("dpop") && !seen.contains("eyJ"), "{seen}");
        assert!(seen.contains("uri /"), "{seen}");
        assert!(!seen.contains("sec-websocket-protocol") || seen.contains("chat, bearer, v2"), "{seen}");
    }
}

#[tokio::test]
async fn a_token_in_a_cookie_comes_with_a_proof_too() {
    let key = DpopKey::first();
    let token = bound(&key);
    let sources = || [TokenSource::cookie("__Host-session"), TokenSource::query("access_token")];
    // Whichever is set first.
    let dpop = dpop();
    let first = WsAuthLayer::new(dpop.clone()).dpop(&dpop).sources(sources()).unwrap();
    let last = WsAuthLayer::new(dpop.clone()).sources(sources()).unwrap().dpop(&dpop);
    for layer in [first, last] {
        let app = echo_behind(layer.allow_origin(AllowOrigin::list(["https://app.example.com"])).unwrap());
        let proof = || format!("dpop.{}", key.proof("GET", URI, &token));
        let request = || handshake().path("/chat").origin("https://app.example.com").cookie("__Host-session", &token);
        let response = answer(&app, request().subprotocols([&*proof(), "chat"]).build()).await;
        assert_eq!((refusal(&response), selected(&response)), (None, Some("chat")));
        assert_eq!(reason(&app, request().subprotocols(["chat"])).await, "sender_constrained");
        let in_query = handshake().path(format!("/chat?access_token={token}")).origin("https://app.example.com");
        assert_eq!(reason(&app, in_query.subprotocols(["chat", &proof()])).await, "accepted");
        // The scheme is not a source here.
        assert_eq!(reason(&app, native(&token, &key.proof("GET", URI, &token))).await, "missing_token");
    }
}

#[tokio::test]
async fn without_its_setting_a_layer_accepts_no_bound_token() {
    let key = DpopKey::first();
    let token = bound(&key);
    let app = echo_behind(WsAuthLayer::new(dpop()));
    let proof = || key.proof("GET", URI, &token);
    assert_eq!(reason(&app, native(&token, &proof())).await, "missing_token");
    assert_eq!(reason(&app, page(&token, &proof())).await, "sender_constrained");
    // And a proof does not help where it is not verified.
    let jwt = echo_behind(jwt_layer());
    assert_eq!(reason(&jwt, native(&token, &proof())).await, "missing_token");
    assert_eq!(reason(&jwt, page(&token, &proof())).await, "sender_constrained");
}

#[tokio::test]
async fn the_first_message_of_graphql_has_a_proof() {
    let key = DpopKey::first();
    let token = bound(&key);
    let app = echo_graphql();
    let proof = key.proof("GET", URI, &token);
    for (name, payload, is_accepted) in [
        ("proof", json!({ "Authorization": format!("DPoP {token}"), "dpop": proof }), true),
        ("used proof", json!({ "Authorization": format!("DPoP {token}"), "dpop": proof }), false),
        ("no proof", json!({ "Authorization": format!("DPoP {token}") }), false),
        ("no text", json!({ "Authorization": format!("DPoP {token}"), "dpop": 7 }), false),
    ] {
        let request = handshake().path("/chat").subprotocols(["graphql-transport-ws"]).build();
        let (mut socket, _) = test_util::connect(app.clone(), request).await.unwrap();
        let init = json!({ "type": "connection_init", "payload": payload });
        socket.send(init.to_string().into()).await.unwrap();
        let first = socket.next().await.unwrap().unwrap();
        assert_eq!(first.is_text(), is_accepted, "{name}: {first:?}");
        if is_accepted {
            let message: Value = serde_json::from_str(first.to_text().unwrap()).unwrap();
            assert_eq!(message, json!({ "type": "connection_init", "payload": { "dpop": proof } }));
        }
    }
}

/// Sends back what it receives, beginning with `connection_init`.
fn echo_graphql() -> Router {
    async fn echo(upgrade: axum_ws_auth::AuthenticatedUpgrade<Value>) -> Response {
        upgrade.protocols(["graphql-transport-ws"]).on_upgrade(async |mut socket| {
            while let Some(Ok(message)) = socket.recv().await {
                let _ = socket.send(message).await;
            }
        })
    }
    let layer = layer(&dpop()).first_message(FirstMessage::graphql_ws());
    Router::new().route("/chat", axum::routing::any(echo)).layer(layer)
}
