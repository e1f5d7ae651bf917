//! Failed attempts.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum_ws_auth::{
    FirstMessage, MemoryRevocations, MemoryTickets, Revocations, Sessions, TicketOptions, Tickets, Token, TokenSource,
    Verified, Verifier, VerifyError, VerifyInput,
    test_util::{self, TestToken},
};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::time::advance;
use tokio_tungstenite::tungstenite::Message;

use crate::*;

#[tokio::test(start_paused = true)]
async fn an_address_that_failed_too_often_is_refused_until_the_window_has_passed() {
    let app = app(timed_layer(&attempts(3)));
    let (alice, bob) = (from(&app, ALICE), from(&app, BOB));
    for _ in 0..3 {
        assert_eq!(try_with(&alice, "bad").await, INVALID);
        advance(Duration::from_secs(10)).await;
    }
    for token in ["bad", "alice", ""] {
        assert_eq!(try_with(&alice, token).await, TOO_MANY_ATTEMPTS, "whatever it sends");
    }
    let plain = Request::get("/none").header("authorization", "Bearer alice").body(Body::empty()).unwrap();
    assert_eq!(answer(&alice, plain).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(try_with(&bob, "alice").await, ADMITTED, "others have not failed");
    assert_eq!(try_with(&bob, "bad").await, INVALID);

    // The first failure was 30 seconds ago. It counts for a minute, and an eighth longer at most.
    let response = answer(&alice, handshake().bearer_subprotocol("alice").build()).await;
    let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((30..=38).contains(&wait), "{wait}");
    advance(Duration::from_secs(wait - 1)).await;
    assert_eq!(try_with(&alice, "alice").await, TOO_MANY_ATTEMPTS);
    advance(Duration::from_secs(1)).await;
    assert_eq!(try_with(&alice, "alice").await, ADMITTED);
    assert_eq!(try_with(&alice, "bad").await, INVALID);
    assert_eq!(try_with(&alice, "alice").await, TOO_MANY_ATTEMPTS, "the other two still count");
}

#[tokio::test(start_paused = true)]
async fn refusals_by_the_limit_do_not_count_and_a_success_does_not_reset_it() {
    let app = from(&app(timed_layer(&attempts(3))), ALICE);
    for token in ["bad", "alice", "bad", "alice"] {
        try_with(&app, token).await;
    }
    assert_eq!(try_with(&app, "bad").await, INVALID);
    for _ in 0..100 {
        assert_eq!(try_with(&app, "bad").await, TOO_MANY_ATTEMPTS);
        advance(Duration::from_millis(100)).await;
    }
    advance(Duration::from_secs(58)).await;
    assert_eq!(try_with(&app, "alice").await, ADMITTED);
}

#[tokio::test]
async fn nothing_is_verified_for_an_address_beyond_the_limit() {
    let asked = Arc::new(AtomicUsize::new(0));
    let verifier = {
        let asked = Arc::clone(&asked);
        move |_: VerifyInput<'_>| {
            asked.fetch_add(1, Ordering::Relaxed);
            ready(Err::<Verified<String>, _>(VerifyError::invalid()))
        }
    };
    let app = from(&app(WsAuthLayer::new(verifier).address_limits(&attempts(5))), ALICE);
    for _ in 0..50 {
        try_with(&app, "guess").await;
    }
    assert_eq!(asked.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn only_tokens_that_nobody_gave_to_the_client_count() {
    fn verify(input: VerifyInput<'_>) -> std::future::Ready<Result<Verified<String>, VerifyError>> {
        ready(match input.token.expose() {
            "invalid" => Err(VerifyError::invalid()),
            "expired" => Err(VerifyError::expired()),
            "forbidden" => Err(VerifyError::forbidden()),
            "scope" => Err(VerifyError::insufficient_scope("chat")),
            "unavailable" => Err(VerifyError::unavailable(MINUTE)),
            "step_up" => Err(VerifyError::insufficient_user_authentication()),
            other => Ok(Verified::new(other.to_owned()).with_subject("alice").with_token_id(other)),
        })
    }
    let revocations = Revocations::new(MemoryRevocations::new());
    revocations.revoke_token("revoked").await.unwrap();
    let request = |token: &str| handshake().bearer_subprotocol(token);
    for (name, request, expected, counts) in [
        ("invalid", request("invalid"), (401, "token_invalid"), true),
        ("undecodable", handshake().header("authorization", "Bearer \u{e4}"), (401, "undecodable_token"), true),
        ("expired", request("expired"), (401, "token_expired"), false),
        ("revoked", request("revoked"), (401, "revoked"), false),
        ("step-up", request("step_up"), (401, "insufficient_user_authentication"), false),
        ("forbidden", request("forbidden"), (403, "forbidden"), false),
        ("scope", request("scope"), (403, "insufficient_scope"), false),
        ("unavailable", request("unavailable"), (503, "verifier_unavailable"), false),
        ("none", handshake(), (401, "missing_token"), false),
        ("two", request("a").authorization("b"), (400, "conflicting_tokens"), false),
        ("origin", request("invalid").origin("https://evil.example"), (403, "origin_not_allowed"), false),
        ("too long", request(&"x".repeat(10_000)), (400, "token_too_large"), false),
    ] {
        let layer = WsAuthLayer::new(verify).address_limits(&attempts(1)).revocations(&revocations);
        let app = from(&app(layer.allow_origin(["https://app.example"]).unwrap()), ALICE);
        let response = answer(&app, request.build()).await;
        assert_eq!((response.status().as_u16(), refusal(&response).unwrap().1), expected, "{name}");
        let next = if counts { TOO_MANY_ATTEMPTS } else { ADMITTED };
        assert_eq!(try_with(&app, "alice").await, next, "{name}");
    }
}

/// A client library connects again with the URL that it was given, ticket and all.
#[tokio::test]
async fn tickets_that_nobody_can_guess_do_not_count() {
    let tickets = Tickets::<String>::new(MemoryTickets::new());
    let issued = async |options: TicketOptions| {
        let ticket = tickets.issue_for(&Verified::new("alice".to_owned()), &options).await.unwrap();
        ticket.token().expose().to_owned()
    };
    let used = issued(TicketOptions::new()).await;
    let used_token = Token::new(used.clone());
    let verifier = tickets.verifier();
    verifier.verify(VerifyInput::without_request(&used_token, std::time::SystemTime::now())).await.unwrap();
    let jwts = test_util::verifier::<Value>().map(|claims: Value| claims["sub"].to_string());
    let good = TestToken::new("alice").sign();
    let layers = || {
        [
            ("first", WsAuthLayer::new(verifier.clone().or(jwts.clone()))),
            ("second", WsAuthLayer::new(jwts.clone().or(verifier.clone()))),
        ]
    };
    for (name, token, expected, counts) in [
        ("used", used, "unknown_ticket", false),
        ("never issued", "A".repeat(43), "unknown_ticket", false),
        ("too short for a ticket", "A".repeat(42), "token_malformed", true),
        ("no ticket", "guess".to_owned(), "token_malformed", true),
    ] {
        for (position, layer) in layers() {
            let app = from(&app(layer.address_limits(&attempts(1))), ALICE);
            assert_eq!(try_with(&app, &token).await, (401, Some(expected)), "{name}, {position}");
            let next = if counts { TOO_MANY_ATTEMPTS } else { ADMITTED };
            assert_eq!(try_with(&app, &good).await, next, "{name}, {position}");
        }
    }
    // One is used up by each attempt.
    for (position, layer) in layers() {
        let elsewhere = issued(TicketOptions::new().path("/elsewhere").unwrap()).await;
        let app = from(&app(layer.address_limits(&attempts(1))), ALICE);
        assert_eq!(try_with(&app, &elsewhere).await, (401, Some("ticket_for_elsewhere")), "{position}");
        assert_eq!(try_with(&app, &good).await, ADMITTED, "{position}");
    }
}

/// The other verifier's tokens may look like tickets.
#[tokio::test]
async fn tickets_that_may_be_guesses_at_another_token_count() {
    let tickets = Tickets::<String>::new(MemoryTickets::new()).verifier();
    let keys = |input: VerifyInput<'_>| {
        ready(match input.token.expose() {
            "alice" => Ok(Verified::new("alice".to_owned())),
            "expired" => Err(VerifyError::expired()),
            _ => Err(VerifyError::invalid()),
        })
    };
    for layer in [WsAuthLayer::new(tickets.clone().or(keys)), WsAuthLayer::new(keys.or(tickets))] {
        let app = from(&app(layer.address_limits(&attempts(1))), ALICE);
        assert_eq!(try_with(&app, "expired").await, (401, Some("token_expired")));
        assert_eq!(try_with(&app, "alice").await, ADMITTED);
        assert_eq!(try_with(&app, &"A".repeat(43)).await, INVALID);
        assert_eq!(try_with(&app, "alice").await, TOO_MANY_ATTEMPTS);
    }
}

/// Wrong clocks and requests that are sent twice are mistakes of clients that hold the key.
#[cfg(feature = "dpop")]
#[tokio::test]
async fn old_and_used_proofs_by_the_right_key_do_not_count() {
    use axum_ws_auth::test_util::{DpopKey, TestToken};
    use serde_json::json;

    const URI: &str = "https://ws.example.com/";
    let key = DpopKey::first();
    let token = TestToken::new("alice").claim("cnf", json!({ "jkt": key.thumbprint() })).sign();
    let dpop = axum_ws_auth::Dpop::new(test_util::verifier::<serde_json::Value>(), "https://ws.example.com").unwrap();
    let attempt = async |app: &Router, proof: &str| {
        let proof = format!("dpop.{proof}");
        let response = answer(app, handshake().subprotocols(["bearer", &token, &proof]).build()).await;
        refusal(&response).map(|(_, reason)| reason)
    };
    let layer = || WsAuthLayer::new(dpop.clone()).dpop(&dpop);
    let fresh = || key.proof("GET", URI, &token);
    let with = |claims| key.proof_with("GET", URI, &token, &claims);
    let forged = || {
        let proof = fresh();
        let (message, signature) = proof.rsplit_once('.').unwrap();
        format!("{message}.{}", "A".repeat(signature.len()))
    };
    let used = fresh();
    assert_eq!(attempt(&echo_behind(layer()), &used).await, None);
    for (name, proof, expected, counts) in [
        ("old", with(json!({"iat": 1_000})), "proof_stale", false),
        ("in the future", with(json!({"iat": 9_000_000_000_u64})), "proof_stale", false),
        ("replayed", used, "proof_replayed", false),
        ("forged", forged(), "proof_bad_signature", true),
        ("by another key", DpopKey::second().proof("GET", URI, &token), "proof_wrong_key", true),
        ("malformed", "x".to_owned(), "proof_malformed", true),
    ] {
        let app = from(&echo_behind(layer().address_limits(&attempts(1))), ALICE);
        assert_eq!(attempt(&app, &proof).await, Some(expected), "{name}");
        assert_eq!(attempt(&app, &fresh()).await, counts.then_some("too_many_attempts"), "{name}");
    }
}

#[tokio::test]
async fn tokens_in_first_messages_and_at_refresh_routes_count_too() {
    let limits = attempts(2);
    let layer = timed_layer(&limits).first_message(FirstMessage::graphql_ws()).sessions(&Sessions::new());
    let refresh = layer.refresh_route().unwrap();
    let app = from(&app(layer).route("/refresh/{session}", refresh), ALICE);
    let (mut socket, _) = test_util::connect(app.clone(), handshake().build()).await.unwrap();
    let init = r#"{"type":"connection_init","payload":{"Authorization":"Bearer bad"}}"#;
    socket.send(Message::text(init)).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(Some(_))))));

    let refresh = |token| {
        let request = Request::post("/refresh/none").header("authorization", format!("Bearer {token}"));
        answer(&app, request.body(Body::empty()).unwrap())
    };
    assert_eq!(refresh("alice").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(refresh("bad").await.status(), StatusCode::UNAUTHORIZED);
    let response = refresh("alice").await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(try_with(&app, "alice").await, TOO_MANY_ATTEMPTS);
}

#[tokio::test]
async fn a_verifier_that_waits_counts_as_well() {
    let verifier = axum_ws_auth::verifier_fn(async |_: Token| {
        tokio::task::yield_now().await;
        Err::<Verified<String>, _>(VerifyError::invalid())
    });
    let app = from(&app(WsAuthLayer::new(verifier).address_limits(&attempts(1))), ALICE);
    assert_eq!(try_with(&app, "guess").await, INVALID);
    assert_eq!(try_with(&app, "guess").await, TOO_MANY_ATTEMPTS);
}

#[tokio::test]
async fn the_refusal_is_a_plain_response_that_tells_the_class_alone() {
    let layer = timed_layer(&attempts(1)).accept_then_close();
    let layer = layer.sources([TokenSource::bearer_subprotocol(), TokenSource::cookie("session")]).unwrap();
    for request in [
        handshake().bearer_subprotocol("alice").build(),
        handshake().http2().bearer_subprotocol("alice").build(),
        handshake().cookie("session", "alice").origin("https://localhost").build(),
    ] {
        let app = from(&app(layer.clone().address_limits(&attempts(1))), ALICE);
        assert_eq!(answer(&app, handshake().bearer_subprotocol("bad").build()).await.status().as_u16(), 101);
        let is_http2 = request.version() == http::Version::HTTP_2;
        let response = answer(&app, request).await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refusal(&response).unwrap().0, RejectionKind::TooManyRequests);
        assert_eq!(response.headers().get("connection").is_none(), is_http2);
        assert!(!response.headers().contains_key("www-authenticate"));
        if !is_http2 {
            let body = text(response).await;
            assert!(body.contains(r#""error":"too_many_requests""#) && body.contains("429"), "{body}");
        }
    }
}
