//! The registry lists, limits and ends sessions.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{collections::BTreeSet, time::Duration};

use axum::{Router, http::StatusCode, response::Response, routing::any};
use axum_ws_auth::{
    AtLimit, AuthenticatedUpgrade, CloseCodes, Drain, Drained, EndReason, Limits, SessionId, SessionInfo, Sessions,
    WsAuthLayer, test_util::handshake,
};
use futures_util::{FutureExt, StreamExt, future::join_all};
use support::*;
use tokio::time::{Instant, sleep};

fn app(layer: WsAuthLayer) -> Router {
    async fn handler(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    }
    Router::new().route("/", any(handler)).layer(layer)
}

fn registered(sessions: &Sessions) -> Router {
    app(WsAuthLayer::new(timed).sessions(sessions))
}

/// How a handshake is refused: status, reason, and `Retry-After`.
async fn refused(app: &Router, token: &str) -> (u16, &'static str, Option<u64>) {
    let response = answer(app, handshake().bearer_subprotocol(token).build()).await;
    let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().parse().unwrap());
    (response.status().as_u16(), refusal(&response).expect("a refusal").1, retry_after)
}

async fn is_open(client: &mut ClientSocket) -> bool {
    settle().await;
    client.next().now_or_never().is_none()
}

#[tokio::test(start_paused = true)]
async fn registry_lists_sessions() {
    let sessions = Sessions::new();
    let app = registered(&sessions);
    assert_eq!((sessions.count(), sessions.iter().count()), (0, 0));
    let clients = [connected(&app, "alice.60").await, connected(&app, "bob").await, connected(&app, "nobody.9").await];
    assert_eq!(sessions.count(), 3);
    let mut infos: Vec<_> = sessions.iter().collect();
    infos.sort_by_key(SessionInfo::connected_at);
    let subjects: Vec<_> = infos.iter().map(|info| info.subject()).collect();
    assert_eq!(subjects, [Some("alice"), Some("bob"), None]);
    let lifetimes =
        infos.iter().map(|info| info.expires_at().map(|at| at.duration_since(info.connected_at()).unwrap()));
    assert_eq!(lifetimes.collect::<Vec<_>>(), [Some(Duration::from_secs(60)), None, Some(Duration::from_secs(9))]);
    let ids: BTreeSet<SessionId> = infos.iter().map(SessionInfo::id).collect();
    assert_eq!(ids.len(), 3);
    for id in ids {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    for bad in ["", "1", "+1234567890123456789012345678901", "é234567890123456789012345678901", &"0".repeat(33)] {
        assert!(bad.parse::<SessionId>().is_err(), "{bad}");
    }
    drop(clients);
    settle().await;
    assert_eq!((sessions.count(), sessions.iter().count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn sessions_are_ended_by_id_subject_token_or_all_at_once() {
    let sessions = Sessions::new();
    let app = registered(&sessions);
    let id_of = |subject: &str| sessions.iter().find(|info| info.subject() == Some(subject)).unwrap().id();
    let revoked = (3000, "revoked".to_owned());

    let mut clients = [
        connected(&app, "alice.60.a").await,
        connected(&app, "alice.60.b").await,
        connected(&app, "bob.60.b").await,
        connected(&app, "nobody").await,
    ];
    for unknown in ["", "carol", "alice ", "nobody"] {
        assert_eq!((sessions.end_subject(unknown), sessions.end_token(unknown)), (0, 0), "{unknown}");
    }
    assert_eq!(sessions.end_provider_session("b"), 0, "the id of a token");
    assert_eq!(sessions.end_subject("alice"), 2);
    assert_eq!(sessions.end_subject("alice"), 0, "already ended");
    assert_eq!((sessions.iter().count(), sessions.count()), (2, 4), "still closing");
    assert_eq!(closed(&mut clients[0]).await, revoked);
    assert_eq!(closed(&mut clients[1]).await, revoked);
    assert!(is_open(&mut clients[2]).await && is_open(&mut clients[3]).await);

    let bob = id_of("bob");
    assert_eq!((sessions.end(bob), sessions.end(bob)), (1, 0));
    assert_eq!(closed(&mut clients[2]).await, revoked);
    settle().await;
    assert_eq!(sessions.end(bob), 0, "no longer registered");

    let mut more = [connected(&app, "alice.60.t").await, connected(&app, "bob.60.t").await];
    assert_eq!(sessions.end_token("t"), 2);
    for client in &mut more {
        assert_eq!(closed(client).await, revoked);
    }
    assert!(is_open(&mut clients[3]).await);
    assert_eq!(sessions.end_all(), 1);
    assert_eq!(closed(&mut clients[3]).await, revoked);
    settle().await;
    assert_eq!(sessions.count(), 0);
    // The subject may connect again.
    let _again = connected(&app, "alice.60.a").await;
}

#[tokio::test(start_paused = true)]
async fn each_end_reason_has_a_close_code() {
    for (name, codes, expected) in [
        ("IANA", CloseCodes::IANA, [3000, 3000, 3000, 1008, 1008]),
        ("HTTP-like", CloseCodes::HTTP_LIKE, [4401, 4401, 4401, 4409, 4403]),
        ("graphql-ws", CloseCodes::GRAPHQL_WS, [4403, 4403, 4401, 1008, 1008]),
        ("Centrifugo", CloseCodes::CENTRIFUGO, [3005, 3005, 3500, 3504, 3503]),
        (
            "custom",
            CloseCodes::IANA
                .expired(4001)
                .and_then(|codes| codes.revoked(4002))
                .and_then(|codes| codes.replaced(4003))
                .and_then(|codes| codes.policy(4004))
                .unwrap(),
            [4001, 4001, 4002, 4003, 4004],
        ),
    ] {
        let limits = Limits::new().per_subject(1, AtLimit::EvictOldest).unwrap();
        let sessions = Sessions::with_limits(limits);
        let layer = WsAuthLayer::new(timed).sessions(&sessions).close_codes(codes);
        let app = app(layer.max_lifetime(Duration::from_secs(100)).unwrap());
        let reasons = ["token_expired", "max_lifetime", "revoked", "too_many_sessions", "policy"];
        for (reason, code) in reasons.into_iter().zip(expected) {
            let token = if reason == "token_expired" { "alice.60" } else { "alice" };
            let mut client = connected(&app, token).await;
            let _newer = match reason {
                "revoked" => {
                    sessions.end_all();
                    None
                }
                "too_many_sessions" => Some(connected(&app, "alice").await),
                "policy" => continue, // Tested in `enforcement`.
                _ => None,
            };
            assert_eq!(closed(&mut client).await, (code, reason.to_owned()), "{name}");
        }
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
        assert!(CloseCodes::IANA.expired(code).is_err(), "{code}");
    }
    for reason in [EndReason::TokenExpired, EndReason::MaxLifetime, EndReason::Revoked, EndReason::Shutdown] {
        assert!(reason.as_str().len() <= 123, "RFC 6455 §5.5");
    }
}

#[tokio::test(start_paused = true)]
async fn subject_at_its_limit_is_refused() {
    let limits = Limits::new().per_subject(2, AtLimit::RefuseNew).unwrap().retry_after(Duration::from_millis(6500));
    let sessions = Sessions::with_limits(limits);
    let app = registered(&sessions);
    let mut first = connected(&app, "alice.60").await;
    let second = connected(&app, "alice").await;
    assert_eq!(refused(&app, "alice").await, (429, "too_many_sessions", Some(7)));
    assert_eq!(sessions.count(), 2, "a refused handshake takes no slot");
    let _bob = connected(&app, "bob").await;
    let _no_subject =
        [connected(&app, "nobody").await, connected(&app, "nobody").await, connected(&app, "nobody").await];
    // An ended session does not count, even while it is being closed.
    sleep(Duration::from_secs(60)).await;
    settle().await;
    let third = connected(&app, "alice").await;
    assert_eq!(refused(&app, "alice").await.0, 429);
    assert_eq!(closed(&mut first).await.1, "token_expired");
    drop((second, third));
    settle().await;
    let _again = [connected(&app, "alice").await, connected(&app, "alice").await];
    assert_eq!(refused(&app, "alice").await.0, 429);
}

#[tokio::test(start_paused = true)]
async fn oldest_session_is_evicted_for_a_new_one() {
    let limits = Limits::new().per_subject(2, AtLimit::EvictOldest).unwrap();
    let sessions = Sessions::with_limits(limits);
    let app = registered(&sessions);
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(connected(&app, "alice").await);
        assert!(sessions.iter().count() <= 2);
    }
    for client in &mut clients[..3] {
        assert_eq!(closed(client).await, (1008, "too_many_sessions".to_owned()));
    }
    for client in &mut clients[3..] {
        assert!(is_open(client).await);
    }
    // A refused handshake evicts nothing.
    assert_eq!(refused(&app, "bad").await.0, 401);
    settle().await;
    assert_eq!(sessions.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn total_limit_counts_connections() {
    let sessions = Sessions::with_limits(Limits::new().total(3).unwrap());
    let app = registered(&sessions);
    let mut clients = Vec::new();
    for token in ["alice", "bob", "alice.60"] {
        clients.push(connected(&app, token).await);
    }
    assert_eq!(refused(&app, "carol").await, (503, "server_full", Some(5)));
    // A connection counts while it is being closed.
    sleep(Duration::from_secs(61)).await;
    assert_eq!((sessions.iter().count(), sessions.count()), (2, 3));
    assert_eq!(refused(&app, "carol").await, (503, "server_full", Some(5)));
    sleep(Duration::from_secs(2)).await;
    let _carol = connected(&app, "carol").await;
    assert_eq!(refused(&app, "dave").await.0, 503);
    for limits in [Limits::new().total(0), Limits::new().per_subject(0, AtLimit::RefuseNew)] {
        assert!(limits.is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn limits_are_exact_under_concurrent_handshakes() {
    for (limits, max) in [
        (Limits::new().total(10).unwrap(), 10),
        (Limits::new().per_subject(7, AtLimit::RefuseNew).unwrap(), 7),
        (Limits::new().per_subject(7, AtLimit::EvictOldest).unwrap(), 7),
    ] {
        let sessions = Sessions::with_limits(limits);
        let app = registered(&sessions);
        let handshakes = (0..200).map(|_| {
            let app = app.clone();
            tokio::spawn(async move {
                let request = handshake().bearer_subprotocol("alice").build();
                axum_ws_auth::test_util::connect(app, request).await.ok()
            })
        });
        let clients: Vec<_> = join_all(handshakes).await.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(sessions.iter().count(), max);
        assert!(clients.len() >= max);
        drop(clients);
        while sessions.count() > 0 {
            tokio::task::yield_now().await;
        }
        // Nothing is left that counts against the limit.
        let again = join_all((0..max).map(|_| connected(&app, "alice"))).await;
        assert_eq!(sessions.iter().count(), again.len());
    }
}

#[tokio::test(start_paused = true)]
async fn drain_closes_all_in_batches_and_refuses_handshakes() {
    for (drain, code) in [(Drain::service_restart(), 1012), (Drain::going_away(), 1001)] {
        let sessions = Sessions::new();
        let app = registered(&sessions);
        let clients = join_all((0..25).map(|n| connected(&app, if n % 2 == 0 { "alice" } else { "nobody" }))).await;
        let start = Instant::now();
        let closings = clients.into_iter().map(|mut client| async move {
            let closed = closed(&mut client).await;
            (closed, start.elapsed())
        });
        let closings = tokio::spawn(join_all(closings));
        let drain = drain.batch(5).unwrap().every(Duration::from_secs(1)).within(Duration::from_secs(20));
        let draining = tokio::spawn({
            let sessions = sessions.clone();
            async move { sessions.drain(drain).await }
        });
        settle().await;
        assert_eq!(sessions.iter().count(), 20, "the first batch has ended");
        assert_eq!(refused(&app, "alice").await, (503, "draining", Some(5)));

        let drained = draining.await.unwrap();
        assert_eq!((drained.closed, drained.remaining), (25, 0));
        let closings = closings.await.unwrap();
        assert!(closings.iter().all(|(closed, _)| *closed == (code, "shutdown".to_owned())));
        let mut times: Vec<u128> = closings.iter().map(|(_, at)| at.as_millis()).collect();
        times.sort_unstable();
        for (first, second) in (0..4).map(|batch| (times[batch * 5], times[batch * 5 + 5])) {
            let pause = second - first;
            assert!((500..=1502).contains(&pause), "a second, plus or minus half: {pause}");
        }
        // A second drain finds no sessions.
        let Drained { closed, remaining, .. } = sessions.drain(drain).await;
        assert_eq!((closed, remaining), (0, 0));
    }
    assert!(Drain::going_away().batch(0).is_err());
}

#[tokio::test(start_paused = true)]
async fn drain_returns_when_its_time_is_up() {
    let sessions = Sessions::new();
    let app = registered(&sessions);
    // These clients never answer a close frame.
    let clients = join_all((0..10).map(|_| connected(&app, "alice"))).await;
    let start = Instant::now();
    let drain = Drain::service_restart().batch(1).unwrap().every(Duration::from_secs(3600));
    let drained = sessions.drain(drain.within(Duration::from_secs(10))).await;
    assert!(start.elapsed() <= Duration::from_millis(10_002));
    assert_eq!(sessions.iter().count(), 0, "all have ended");
    assert!(drained.closed >= 7, "closed early enough: {drained:?}");
    assert_eq!(drained.closed + drained.remaining, 10);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(sessions.count(), 0);
    drop(clients);

    // Extreme durations.
    for within in [Duration::ZERO, Duration::MAX] {
        let sessions = Sessions::new();
        let app = registered(&sessions);
        let _clients = join_all((0..3).map(|_| connected(&app, "alice"))).await;
        let drained = sessions.drain(Drain::going_away().every(Duration::MAX).within(within)).await;
        assert_eq!(drained.closed + drained.remaining, 3);
        assert_eq!(sessions.iter().count(), 0);
    }
}

/// A handshake during a drain is refused, or its socket is closed, whichever step it has reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_handshake_escapes_a_drain() {
    for _ in 0..20 {
        let sessions = Sessions::new();
        let app = registered(&sessions);
        let handshakes = (0..50).map(|_| {
            let app = app.clone();
            tokio::spawn(async move {
                let request = handshake().bearer_subprotocol("alice").build();
                match axum_ws_auth::test_util::connect(app, request).await {
                    Ok((mut client, _)) => assert_eq!(closed(&mut client).await.1, "shutdown"),
                    Err(axum_ws_auth::test_util::ConnectError::Refused(response)) => {
                        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
                    }
                    Err(error) => panic!("{error}"),
                }
            })
        });
        let handshakes: Vec<_> = handshakes.collect();
        let drained = sessions.drain(Drain::going_away().every(Duration::ZERO)).await;
        assert_eq!(drained.remaining, 0);
        for client in handshakes {
            client.await.unwrap();
        }
        assert_eq!(sessions.count(), 0);
    }
}

/// Layers that share a registry share its limits, and keep their own close codes.
#[tokio::test(start_paused = true)]
async fn layers_share_a_registry() {
    let sessions = Sessions::with_limits(Limits::new().total(2).unwrap());
    let [one, two] = [CloseCodes::IANA, CloseCodes::HTTP_LIKE]
        .map(|codes| app(WsAuthLayer::new(timed).sessions(&sessions).close_codes(codes)));
    let mut clients = [connected(&one, "alice").await, connected(&two, "alice").await];
    assert_eq!((refused(&one, "bob").await.0, refused(&two, "bob").await.0), (503, 503));
    assert_eq!(sessions.end_subject("alice"), 2);
    assert_eq!(closed(&mut clients[0]).await.0, 3000);
    assert_eq!(closed(&mut clients[1]).await.0, 4401);
}
