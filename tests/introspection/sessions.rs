//! Live sessions: the provider is asked again.

use std::time::{Duration, SystemTime};

use axum::{Router, routing::any};
use axum_ws_auth::{
    Authenticated, AuthenticatedUpgrade, OwnedVerifyInput, Session, Sessions, TimeSource, Verifier, VerifyError,
    WsAuthLayer, test_util::handshake, verifier_fn,
};
use futures_util::{FutureExt, StreamExt};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    builder,
    provider::{Provider, active, inactive, seconds, status},
    support::{answer, closed, connected, is_refused_with, settle},
};

const PERIOD: Duration = Duration::from_secs(60);

/// A layer whose wall clock goes with the test's paused clock.
fn layer(verifier: impl Verifier<Claims = Value>) -> WsAuthLayer {
    let (wall, monotonic) = (SystemTime::now(), Instant::now());
    WsAuthLayer::new(verifier).time_source(TimeSource::new(move || wall + monotonic.elapsed()))
}

/// Sockets that stay open.
fn app(layer: WsAuthLayer) -> Router {
    let handler = async |upgrade: AuthenticatedUpgrade<Value>| {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    };
    Router::new().route("/", any(handler)).layer(layer)
}

#[tokio::test(start_paused = true)]
async fn token_that_is_revoked_at_the_provider_closes_its_socket_within_the_period() {
    for (setting, period) in [(None, PERIOD), (Some(Duration::from_secs(5)), Duration::from_secs(5))] {
        let provider = Provider::yes();
        let mut builder = builder(&provider);
        if let Some(setting) = setting {
            builder = builder.recheck_every(setting);
        }
        let app = app(layer(builder.build().unwrap()));
        let mut alice = connected(&app, "alice").await;
        let mut bob = connected(&app, "bob").await;
        sleep(period * 10).await;
        assert!(alice.next().now_or_never().is_none());

        let revoked = Instant::now();
        provider.answer(|token| if token == "alice" { inactive() } else { active(token) });
        assert_eq!(closed(&mut alice).await, (3000, "revoked".to_owned()));
        assert!(revoked.elapsed() <= period, "{:?}", revoked.elapsed());
        sleep(period * 10).await;
        assert!(bob.next().now_or_never().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn recheck_is_not_answered_from_the_cache() {
    let provider = Provider::yes();
    let verifier = builder(&provider).cache_active(PERIOD * 60).build().unwrap();
    // Also if another verifier is around it.
    let copy = verifier.clone();
    let around = verifier_fn(async move |input: OwnedVerifyInput| copy.verify(input.as_input()).await);
    for layer in [layer(verifier), layer(around)] {
        provider.answer(active);
        let sessions = Sessions::new();
        let app = app(layer.sessions(&sessions));
        let mut alice = connected(&app, "alice").await;
        let mut again = connected(&app, "alice").await;
        provider.answer(|_| inactive());
        let revoked = Instant::now();
        sessions.recheck_subject("alice");
        for socket in [&mut alice, &mut again] {
            assert_eq!(closed(socket).await, (3000, "revoked".to_owned()));
        }
        assert!(revoked.elapsed() < Duration::from_secs(1));
        // The cache has learned it too.
        let response = answer(&app, handshake().bearer_subprotocol("alice").build()).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        sleep(PERIOD).await;
    }
}

/// The first one has been sent before the others begin, so that they need a second one.
#[tokio::test(start_paused = true)]
async fn rechecks_of_one_token_share_a_request() {
    let provider = Provider::yes();
    let sessions = Sessions::new();
    let app = app(layer(builder(&provider).build().unwrap()).sessions(&sessions));
    let mut sockets = Vec::new();
    for _ in 0..10 {
        sockets.push(connected(&app, "alice").await);
    }
    let before = provider.count();
    provider.delay(Duration::from_millis(100));
    sessions.recheck_subject("alice");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(provider.count() - before, 2);
    for socket in &mut sockets {
        assert!(socket.next().now_or_never().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn flood_of_handshakes_does_not_delay_rechecks() {
    let provider = Provider::yes();
    let sessions = Sessions::new();
    let verifier = builder(&provider).concurrent_requests(1).cache_active(Duration::ZERO).build().unwrap();
    let app = app(layer(verifier).sessions(&sessions));
    let mut alice = connected(&app, "alice").await;
    provider.delay(Duration::from_secs(3));
    provider.answer(|_| inactive());
    let mut flood = JoinSet::new();
    // One of them has the same token, and waits until another one is answered.
    for name in (0..100).map(|number| if number == 1 { "alice".to_owned() } else { format!("eve{number}") }) {
        let (app, request) = (app.clone(), handshake().bearer_subprotocol(&name).build());
        flood.spawn(async move { answer(&app, request).await.status() });
    }
    settle().await;
    let start = Instant::now();
    sessions.recheck_subject("alice");
    assert_eq!(closed(&mut alice).await, (3000, "revoked".to_owned()));
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn recheck_that_overtakes_a_handshake_has_the_last_word() {
    let provider = Provider::yes();
    let sessions = Sessions::new();
    let app = app(layer(builder(&provider).build().unwrap()).sessions(&sessions));
    let mut alice = connected(&app, "alice").await;
    sleep(Duration::from_secs(11)).await;
    provider.delay(Duration::from_secs(3));
    let slow = tokio::spawn({
        let (app, request) = (app.clone(), handshake().bearer_subprotocol("alice").build());
        async move { answer(&app, request).await.status() }
    });
    settle().await;
    provider.delay(Duration::ZERO);
    provider.answer(|_| inactive());
    sessions.recheck_subject("alice");
    assert_eq!(closed(&mut alice).await, (3000, "revoked".to_owned()));
    // What the provider said of the request before.
    provider.answer(active);
    assert_eq!(slow.await.unwrap(), StatusCode::UNAUTHORIZED);
    let response = answer(&app, handshake().bearer_subprotocol("alice").build()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn provider_that_is_down_refuses_handshakes_with_503_while_sessions_go_on() {
    let provider = Provider::yes();
    let app = app(layer(builder(&provider).build().unwrap()));
    let mut alice = connected(&app, "alice").await;
    provider.respond(|_| Err("connection refused".into()));
    let start = Instant::now();
    while start.elapsed() < PERIOD * 4 {
        let response = answer(&app, handshake().bearer_subprotocol("bob").build()).await;
        assert!(is_refused_with(&response, StatusCode::SERVICE_UNAVAILABLE, "verifier_unavailable"));
        assert_eq!(response.headers()["retry-after"], "5");
        assert!(alice.next().now_or_never().is_none());
        sleep(PERIOD / 4).await;
    }
    provider.answer(active);
    connected(&app, "bob").await;
    sleep(PERIOD * 10).await;
    assert!(alice.next().now_or_never().is_none());

    // Wrong credentials of this server are not the user's fault either.
    provider.respond(|_| Ok(status(401)));
    let response = answer(&app, handshake().bearer_subprotocol("carol").build()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!response.headers().contains_key("www-authenticate"));
}

#[tokio::test(start_paused = true)]
async fn session_ends_with_the_exp_of_the_last_answer() {
    let provider = Provider::yes();
    let start = SystemTime::now();
    let expiring = move |after| {
        let mut answer = active("alice");
        answer["exp"] = json!(seconds(start) + after);
        answer
    };
    provider.answer(move |_| expiring(100));
    let app = app(layer(builder(&provider).leeway(Duration::ZERO).build().unwrap()));
    let (mut alice, began) = (connected(&app, "alice").await, Instant::now());
    // The provider extends it.
    provider.answer(move |_| expiring(1000));
    assert_eq!(closed(&mut alice).await, (3000, "token_expired".to_owned()));
    assert!((999..=1000).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn scope_that_is_withdrawn_ends_the_session() {
    let provider = Provider::yes();
    let verifier = builder(&provider).build().unwrap().authorize(|claims, _| {
        if claims["scope"] == "read" { Ok(()) } else { Err(VerifyError::insufficient_scope("read")) }
    });
    let app = app(layer(verifier));
    let mut alice = connected(&app, "alice").await;
    provider.answer(|token| {
        let mut answer = active(token);
        answer["scope"] = json!("none");
        answer
    });
    assert_eq!(closed(&mut alice).await, (3000, "revoked".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn thousand_sessions_do_not_ask_at_one_moment() {
    const SESSIONS: usize = 1000;
    let provider = Provider::yes();
    let (sender, mut receiver) = mpsc::unbounded_channel::<Session<Value>>();
    let handler = async move |Authenticated(session): Authenticated<Value>| {
        let _ = sender.send(session);
    };
    let layer = layer(builder(&provider).build().unwrap());
    let app = Router::new().route("/", any(handler)).layer(layer);
    let start = Instant::now();
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        answer(&app, handshake().bearer_subprotocol(&format!("user{number}")).build()).await;
        sessions.push(receiver.recv().await.unwrap());
    }
    provider.delay(Duration::from_millis(30));
    sleep(PERIOD + Duration::from_secs(1)).await;
    let waits: Vec<_> = provider.requests()[SESSIONS..].iter().map(|seen| (seen.at - start).as_secs()).collect();
    assert_eq!(waits.len(), SESSIONS);
    let busiest = (0..=60).map(|second| waits.iter().filter(|wait| **wait == second).count()).max().unwrap();
    assert!(busiest < SESSIONS / 15 * 2, "{busiest} in one second");
    assert!(provider.most() < 32, "{}", provider.most());
    assert!(sessions.iter().all(|session| session.end_reason().is_none()));
}
