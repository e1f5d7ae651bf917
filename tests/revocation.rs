//! Revocations: which sessions and tokens they affect, on one node and on several, and what a node does without the
//! store.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod support;

use std::{
    future::{Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{Router, response::Response, routing::any};
use axum_ws_auth::{
    Authenticated, AuthenticatedUpgrade, ConfigError, EndReason, FirstMessage, MemoryRevocations, RefreshErrorKind,
    Revocation, RevocationOptions, Revocations, Session, SessionId, Sessions, TimeSource, Token, Verified, VerifyError,
    VerifyInput, WsAuthLayer,
    store::{Cursor, RevocationBatch, RevocationStore, StoreError, StoreErrorKind},
    test_util::{self, conformance, handshake},
};
use futures_util::{FutureExt, SinkExt, StreamExt};
use http::StatusCode;
use support::{ClientSocket, answer, closed, connected, is_refused_with, settle};
use tokio_tungstenite::tungstenite::Message;

/// Accepts `SUBJECT.ID.ISSUED`: a token of this subject, with this id, issued this many seconds after the epoch. Each
/// part is optional.
fn verifier(input: VerifyInput<'_>) -> Ready<Result<Verified<String>, VerifyError>> {
    let text = input.token.expose().to_owned();
    let mut verified = Verified::new(text.clone());
    let mut parts = text.split('.');
    if let Some(subject) = parts.next().filter(|part| !part.is_empty()) {
        verified = verified.with_subject(subject);
    }
    if let Some(id) = parts.next().filter(|part| !part.is_empty()) {
        verified = verified.with_token_id(id);
    }
    if let Some(seconds) = parts.next() {
        verified = verified.with_issued_at(UNIX_EPOCH + Duration::from_secs(seconds.parse().expect("seconds")));
    }
    ready(Ok(verified))
}

/// Sends the id of its session, and then reads until the socket is closed.
fn app(layer: WsAuthLayer) -> Router {
    async fn idle(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |mut socket| {
            let id = socket.session().id().to_string();
            let _ = socket.send(id.into()).await;
            while let Some(Ok(_)) = socket.recv().await {}
        })
    }
    async fn plain(Authenticated(_): Authenticated<String>) {}
    Router::new().route("/", any(idle)).route("/plain", any(plain)).layer(layer)
}

fn node(revocations: &Revocations) -> Router {
    app(WsAuthLayer::new(verifier).revocations(revocations))
}

async fn greeted(app: &Router, token: &str) -> (ClientSocket, SessionId) {
    let mut socket = connected(app, token).await;
    let Some(Ok(Message::Text(id))) = socket.next().await else { panic!("a greeting") };
    (socket, id.parse().unwrap())
}

async fn reason(app: &Router, token: &str) -> Option<&'static str> {
    let response = answer(app, handshake().bearer_subprotocol(token).build()).await;
    support::refusal(&response).map(|(_, reason)| reason)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The close frame that has arrived once all tasks have run, if any.
async fn close_frame(socket: &mut ClientSocket) -> Option<(u16, String)> {
    settle().await;
    match socket.next().now_or_never() {
        None => None,
        Some(Some(Ok(Message::Close(Some(frame))))) => Some((frame.code.into(), frame.reason.to_string())),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_ends_and_refuses_its_targets_only() {
    let then = now() - 100;
    struct Case {
        name: &'static str,
        /// Called when the sessions exist.
        revocation: fn() -> Revocation,
        revoked: Vec<String>,
        /// Tokens that are dated after the revocation, but were in use before: their sessions end, and they stay valid.
        dated_later: Vec<String>,
        spared: Vec<String>,
    }
    let cases = [
        Case {
            name: "token",
            revocation: || Revocation::Token("1".into()),
            revoked: vec![format!("alice.1.{then}"), "bob.1".to_owned()],
            dated_later: vec![],
            spared: vec![format!("alice.2.{then}"), "alice".to_owned(), ".11".to_owned()],
        },
        Case {
            name: "subject",
            revocation: || Revocation::Subject { subject: "alice".into(), until: SystemTime::now() },
            revoked: vec![format!("alice.1.{then}"), "alice.2".to_owned(), format!("alice.3.{}", now() - 1)],
            dated_later: vec![format!("alice.4.{}", now() + 3600), format!("alice.5.{}", now() + 60)],
            spared: vec![format!("bob.1.{then}"), ".1".to_owned()],
        },
        Case {
            name: "everything issued until now",
            revocation: || Revocation::IssuedUntil(SystemTime::now()),
            revoked: vec![format!("alice.1.{then}"), "bob".to_owned(), format!(".3.{then}")],
            dated_later: vec![format!("alice.4.{}", now() + 3600)],
            spared: vec![],
        },
        Case {
            name: "everything issued until 50 seconds ago",
            revocation: || Revocation::IssuedUntil(SystemTime::now() - Duration::from_secs(50)),
            revoked: vec![format!("alice.1.{then}"), "bob".to_owned()],
            dated_later: vec![],
            spared: vec![format!("alice.4.{}", now() + 3600), format!("alice.5.{}", now() - 30)],
        },
    ];
    for Case { name, revocation, revoked, dated_later, spared } in cases {
        let revocations = Revocations::new(MemoryRevocations::new());
        let app = node(&revocations);
        let mut live = Vec::new();
        for token in revoked.iter().chain(&dated_later).chain(&spared) {
            live.push((token, greeted(&app, token).await.0));
        }
        match revocation() {
            Revocation::Token(id) => revocations.revoke_token(id).await,
            Revocation::Subject { subject, .. } => revocations.revoke_subject(subject).await,
            Revocation::IssuedUntil(moment) => revocations.revoke_issued_until(moment).await,
            _ => unreachable!(),
        }
        .unwrap();
        for (token, socket) in &mut live {
            let expected = (!spared.contains(token)).then(|| (3000, "revoked".to_owned()));
            assert_eq!(close_frame(socket).await, expected, "{name}: {token}");
        }
        for token in &revoked {
            assert_eq!(reason(&app, token).await, Some("revoked"), "{name}: {token}");
            let request = handshake().path("/plain").header("authorization", format!("Bearer {token}")).build();
            assert!(is_refused_with(&answer(&app, request).await, StatusCode::UNAUTHORIZED, "revoked"), "{name}");
        }
        for token in spared.iter().chain(&dated_later) {
            assert_eq!(reason(&app, token).await, None, "{name}: {token}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn revoking_a_session_leaves_its_token_valid() {
    let revocations = Revocations::new(MemoryRevocations::new());
    let app = node(&revocations);
    let (mut one, id) = greeted(&app, "alice.1").await;
    let (mut other, _) = greeted(&app, "alice.1").await;
    revocations.revoke_session(id).await.unwrap();
    assert_eq!(closed(&mut one).await, (3000, "revoked".to_owned()));
    assert_eq!(close_frame(&mut other).await, None);
    assert_eq!(reason(&app, "alice.1").await, None);
}

#[tokio::test]
async fn a_new_sign_in_is_accepted_after_the_clock_skew() {
    for skew in [None, Some(0), Some(60)] {
        let options = RevocationOptions::new();
        let options = skew.map_or(options, |skew| options.clock_skew(Duration::from_secs(skew)).unwrap());
        let skew = skew.unwrap_or(5);
        for by_subject in [true, false] {
            let revocations = Revocations::with_options(MemoryRevocations::new(), options);
            let app = node(&revocations);
            let before = now();
            if by_subject {
                revocations.revoke_subject("alice").await.unwrap();
            } else {
                revocations.revoke_issued_until(SystemTime::now()).await.unwrap();
            }
            let after = now();
            for issued in [before, before + skew] {
                assert_eq!(reason(&app, &format!("alice.1.{issued}")).await, Some("revoked"), "{skew}");
            }
            assert_eq!(reason(&app, &format!("alice.2.{}", after + skew + 1)).await, None, "{skew}");
        }
    }
    let long = Duration::from_secs(3601);
    assert_eq!(RevocationOptions::new().clock_skew(long).err(), Some(ConfigError::LongClockSkew(long)));
}

#[tokio::test(start_paused = true)]
async fn sessions_from_before_a_revocation_end_even_if_their_token_is_dated_later() {
    // The issuer's clock is an hour ahead.
    let ahead = |id: u32| format!("alice.{id}.{}", now() + 3600);
    for count in [1, 40] {
        let store = Flaky::default();
        let (near, far) = (Revocations::new(store.clone()), Revocations::new(Arc::clone(&store.inner)));
        let sessions: Arc<Mutex<Vec<Session<String>>>> = Arc::default();
        let seen = Arc::clone(&sessions);
        let handler = async move |Authenticated(session): Authenticated<String>| seen.lock().unwrap().push(session);
        let app = Router::new().route("/", any(handler)).layer(WsAuthLayer::new(verifier).revocations(&near));
        for id in 0..2 {
            answer(&app, handshake().bearer_subprotocol(&ahead(id)).build()).await;
        }
        // One or many revocations in a batch, after an outage.
        store.fails.store(true, SeqCst);
        tokio::time::sleep(Duration::from_secs(6)).await;
        far.revoke_subject("alice").await.unwrap();
        for number in 1..count {
            far.revoke_token(format!("x{number}")).await.unwrap();
        }
        let revoked_at = SystemTime::now();
        // After the revocation, the second session is refreshed with a newer token.
        let refreshed = sessions.lock().unwrap()[1].clone();
        while SystemTime::now() <= revoked_at {}
        refreshed.refresh(Token::new(ahead(2))).await.unwrap();
        store.fails.store(false, SeqCst);
        tokio::time::sleep(Duration::from_secs(6)).await;
        let sessions = sessions.lock().unwrap();
        let ends = sessions.iter().map(Session::end_reason).collect::<Vec<_>>();
        assert_eq!(ends, [Some(EndReason::Revoked), None], "{count}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_reaches_all_nodes() {
    let store = Arc::new(MemoryRevocations::new());
    let nodes: Vec<_> = (0..3).map(|_| Revocations::new(Arc::clone(&store))).collect();
    let apps: Vec<_> = nodes.iter().map(node).collect();
    let mut sockets = Vec::new();
    for app in &apps {
        sockets.push(greeted(app, "alice.1").await.0);
    }
    nodes[0].revoke_token("1").await.unwrap();
    for socket in &mut sockets {
        assert_eq!(closed(socket).await, (3000, "revoked".to_owned()));
    }
    for app in &apps {
        assert_eq!(reason(app, "alice.1").await, Some("revoked"));
    }
    // A later node has it before its first handshake.
    let late = node(&Revocations::new(store));
    assert_eq!(reason(&late, "alice.1").await, Some("revoked"));
    assert_eq!(reason(&late, "alice.2").await, None);
}

/// A store that can be made to fail.
#[derive(Clone, Default)]
struct Flaky {
    inner: Arc<MemoryRevocations>,
    fails: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
}

impl Flaky {
    async fn check(&self) -> Result<(), StoreError> {
        if self.hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.fails.load(SeqCst) { Err(StoreError::unavailable()) } else { Ok(()) }
    }
}

impl RevocationStore for Flaky {
    async fn add(&self, revocation: &Revocation, keep_for: Duration) -> Result<(), StoreError> {
        self.check().await?;
        self.inner.add(revocation, keep_for).await
    }

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        self.check().await?;
        self.inner.load().await
    }

    async fn next(&self, after: Cursor) -> Result<RevocationBatch, StoreError> {
        self.check().await?;
        self.inner.next(after).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_node_refuses_and_catches_up() {
    for hangs in [false, true] {
        let store = Flaky::default();
        let (near, far) = (Revocations::new(store.clone()), Revocations::new(Arc::clone(&store.inner)));
        let app = node(&near);
        let (mut revoked, _) = greeted(&app, "alice.1").await;
        let (mut spared, _) = greeted(&app, "alice.2").await;

        if hangs { &store.hangs } else { &store.fails }.store(true, SeqCst);
        tokio::time::sleep(Duration::from_secs(45)).await;
        assert_eq!(reason(&app, "alice.3").await, None, "the node is not stale yet");
        far.revoke_token("1").await.unwrap();
        tokio::time::sleep(Duration::from_secs(16)).await;
        let response = answer(&app, handshake().bearer_subprotocol("alice.3").build()).await;
        assert!(is_refused_with(&response, StatusCode::SERVICE_UNAVAILABLE, "revocations_stale"));
        assert_eq!(response.headers()["retry-after"], "5");
        assert!(near.status().age.unwrap() >= Duration::from_secs(60));
        assert_eq!(close_frame(&mut revoked).await, None, "live sessions go on");

        store.hangs.store(false, SeqCst);
        store.fails.store(false, SeqCst);
        tokio::time::sleep(Duration::from_secs(16)).await;
        assert_eq!(close_frame(&mut revoked).await, Some((3000, "revoked".to_owned())));
        assert_eq!(reason(&app, "alice.1").await, Some("revoked"));
        assert_eq!(reason(&app, "alice.3").await, None);
        assert_eq!(close_frame(&mut spared).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_node_can_be_set_to_admit_and_count() {
    let store = Flaky::default();
    let options = RevocationOptions::new().insecure_admit_when_stale().max_staleness(Duration::from_secs(20)).unwrap();
    let revocations = Revocations::with_options(store.clone(), options);
    let app = node(&revocations);
    assert_eq!(reason(&app, "alice.1").await, None);
    assert_eq!(revocations.status().admitted_when_stale, 0);
    store.fails.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(26)).await;
    assert_eq!(reason(&app, "alice.1").await, None);
    assert_eq!(revocations.status().admitted_when_stale, 1);
    // Known revocations are in effect.
    assert!(revocations.revoke_token("1").await.is_err());
    assert_eq!(reason(&app, "alice.1").await, Some("revoked"));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_admitted_before_the_first_load() {
    let store = Flaky::default();
    store.fails.store(true, SeqCst);
    let app = node(&Revocations::new(store.clone()));
    assert_eq!(reason(&app, "alice.1").await, Some("revocations_stale"));
    store.fails.store(false, SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(reason(&app, "alice.1").await, None);
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_revocation_is_in_effect_on_its_own_node() {
    let store = Flaky::default();
    let revocations = Revocations::new(store.clone());
    let app = node(&revocations);
    let (mut socket, _) = greeted(&app, "alice.1").await;
    store.fails.store(true, SeqCst);
    assert!(revocations.revoke_subject("alice").await.is_err());
    assert_eq!(closed(&mut socket).await, (3000, "revoked".to_owned()));
    assert_eq!(reason(&app, "alice.1").await, Some("revoked"));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_cannot_evade_a_revocation() {
    let revocations = Revocations::new(MemoryRevocations::new());
    let sessions: Arc<Mutex<Vec<Session<String>>>> = Arc::default();
    let seen = Arc::clone(&sessions);
    let handler = async move |upgrade: AuthenticatedUpgrade<String>| {
        seen.lock().unwrap().push(upgrade.session().unwrap().clone());
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    };
    let app = Router::new().route("/", any(handler)).layer(WsAuthLayer::new(verifier).revocations(&revocations));
    let mut socket = connected(&app, "alice.1").await;
    let session = sessions.lock().unwrap()[0].clone();

    revocations.revoke_token("2").await.unwrap();
    let error = session.refresh(Token::new("alice.2")).await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (RefreshErrorKind::Revoked, "revoked"));

    // After a refused refresh, the session still depends on the old token.
    let mut other = connected(&app, "alice.4").await;
    let refused = sessions.lock().unwrap()[1].clone();
    assert!(refused.refresh(Token::new("alice.2")).await.is_err());
    revocations.revoke_token("4").await.unwrap();
    assert_eq!(closed(&mut other).await, (3000, "revoked".to_owned()));

    session.refresh(Token::new("alice.3")).await.unwrap();
    // The session depends on the new token only.
    revocations.revoke_token("1").await.unwrap();
    assert_eq!(session.end_reason(), None);
    revocations.revoke_token("3").await.unwrap();
    assert_eq!(session.end_reason(), Some(EndReason::Revoked));
    assert_eq!(closed(&mut socket).await, (3000, "revoked".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_on_a_stale_node_fails_and_keeps_the_old_token() {
    let store = Flaky::default();
    let revocations = Revocations::new(store.clone());
    let sessions: Arc<Mutex<Vec<Session<String>>>> = Arc::default();
    let seen = Arc::clone(&sessions);
    let handler = async move |Authenticated(session): Authenticated<String>| seen.lock().unwrap().push(session);
    let app = Router::new().route("/", any(handler)).layer(WsAuthLayer::new(verifier).revocations(&revocations));
    answer(&app, handshake().bearer_subprotocol("alice.1").build()).await;
    store.fails.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(70)).await;
    let session = sessions.lock().unwrap()[0].clone();
    let error = session.refresh(Token::new("alice.2")).await.unwrap_err();
    assert_eq!(error.kind(), RefreshErrorKind::Unavailable);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(5)));
    assert_eq!((session.end_reason(), session.claims().as_str()), (None, "alice.1"));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_with_a_token_that_was_revoked_meanwhile_is_refused() {
    // The new token is older than the current one. While it is verified, everything up to a time between the two is
    // revoked.
    let revocations = Revocations::new(MemoryRevocations::new());
    let (then, revoking) = (now() - 1000, revocations.clone());
    let verifier = move |input: VerifyInput<'_>| {
        let (verified, revoking) = (verifier(input), revoking.clone());
        let is_old = input.token.expose() == format!("alice.2.{}", then - 100);
        async move {
            if is_old {
                revoking.revoke_issued_until(UNIX_EPOCH + Duration::from_secs(then - 50)).await.unwrap();
            }
            verified.await
        }
    };
    let sessions: Arc<Mutex<Vec<Session<String>>>> = Arc::default();
    let seen = Arc::clone(&sessions);
    let handler = async move |Authenticated(session): Authenticated<String>| seen.lock().unwrap().push(session);
    let app = Router::new().route("/", any(handler)).layer(WsAuthLayer::new(verifier).revocations(&revocations));
    answer(&app, handshake().bearer_subprotocol(&format!("alice.1.{then}")).build()).await;
    let session = sessions.lock().unwrap()[0].clone();
    let error = session.refresh(Token::new(format!("alice.2.{}", then - 100))).await.unwrap_err();
    assert_eq!(error.kind(), RefreshErrorKind::Revoked);
    assert_eq!(session.end_reason(), None, "the session keeps its token");
}

#[tokio::test(start_paused = true)]
async fn a_revocation_between_check_and_change_of_a_refresh_ends_the_session() {
    // The new token is older than the current one. After it was checked, when the clock is read for its expiry,
    // everything up to a time between the two is revoked. The session still has the current token then.
    let revocations = Revocations::new(MemoryRevocations::new());
    let then = now() - 1000;
    let is_due = Arc::new(AtomicBool::new(false));
    let due = Arc::clone(&is_due);
    let verifier = move |input: VerifyInput<'_>| {
        due.store(input.token.expose() == format!("alice.2.{}", then - 100), SeqCst);
        verifier(input)
    };
    let revoking = revocations.clone();
    let clock = TimeSource::new(move || {
        if is_due.swap(false, SeqCst) {
            let revoked = revoking.revoke_issued_until(UNIX_EPOCH + Duration::from_secs(then - 50));
            revoked.now_or_never().expect("the memory store does not wait").unwrap();
        }
        SystemTime::now()
    });
    let sessions: Arc<Mutex<Vec<Session<String>>>> = Arc::default();
    let seen = Arc::clone(&sessions);
    let handler = async move |Authenticated(session): Authenticated<String>| seen.lock().unwrap().push(session);
    let layer = WsAuthLayer::new(verifier).revocations(&revocations).time_source(clock);
    let app = Router::new().route("/", any(handler)).layer(layer);
    answer(&app, handshake().bearer_subprotocol(&format!("alice.1.{then}")).build()).await;
    let session = sessions.lock().unwrap()[0].clone();
    let error = session.refresh(Token::new(format!("alice.2.{}", then - 100))).await.unwrap_err();
    assert_eq!(error.kind(), RefreshErrorKind::Revoked);
    assert_eq!(session.end_reason(), Some(EndReason::Revoked), "the session already depended on the new token");
}

#[tokio::test(start_paused = true)]
async fn many_revocations_in_one_batch_are_applied() {
    let store = Flaky::default();
    let (near, far) = (Revocations::new(store.clone()), Revocations::new(Arc::clone(&store.inner)));
    let app = node(&near);
    let mut live = Vec::new();
    for number in 0..50 {
        live.push(greeted(&app, &format!("alice.{number}")).await.0);
    }
    let (mut session, id) = greeted(&app, "carol").await;
    store.fails.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(6)).await;
    for number in 0..40 {
        far.revoke_token(number.to_string()).await.unwrap();
    }
    far.revoke_session(id).await.unwrap();
    store.fails.store(false, SeqCst);
    tokio::time::sleep(Duration::from_secs(6)).await;
    for (number, socket) in live.iter_mut().enumerate() {
        assert_eq!(close_frame(socket).await.is_some(), number < 40, "{number}");
    }
    assert!(close_frame(&mut session).await.is_some());
}

#[test]
fn the_store_is_followed_again_after_the_runtime_ends() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let store = Arc::new(MemoryRevocations::new());
    let revocations = runtime().block_on(async {
        let revocations = Revocations::new(Arc::clone(&store));
        assert_eq!(reason(&node(&revocations), "alice.1").await, None);
        revocations
    });
    runtime().block_on(async {
        let app = node(&revocations);
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(reason(&app, "alice.1").await, None);
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert_eq!(reason(&app, "alice.1").await, None, "the node is current");
        Revocations::new(store).revoke_token("1").await.unwrap();
        settle().await;
        assert_eq!(reason(&app, "alice.1").await, Some("revoked"));
    });
}

#[tokio::test(start_paused = true)]
async fn first_messages_are_checked() {
    let revocations = Revocations::new(MemoryRevocations::new());
    let app = app(WsAuthLayer::new(verifier).first_message(FirstMessage::graphql_ws()).revocations(&revocations));
    revocations.revoke_token("1").await.unwrap();
    let (mut socket, _) = test_util::connect(app, handshake().build()).await.unwrap();
    let init = r#"{"type":"connection_init","payload":{"Authorization":"Bearer alice.1"}}"#;
    socket.send(init.into()).await.unwrap();
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close frame") };
    assert_eq!(u16::from(frame.code), 4403);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_survives_a_revocation_that_races_its_handshake() {
    for round in 0..300 {
        let revocations = Revocations::new(MemoryRevocations::new());
        let sessions = Sessions::new();
        let app = app(WsAuthLayer::new(verifier).sessions(&sessions).revocations(&revocations));
        assert_eq!(reason(&app, "bob").await, None, "the store has been loaded");
        let handshakes: Vec<_> = (0..8)
            .map(|_| {
                let app = app.clone();
                tokio::spawn(async move {
                    let request = handshake().bearer_subprotocol("alice.1").build();
                    test_util::connect(app, request).await.ok()
                })
            })
            .collect();
        for _ in 0..round % 20 {
            tokio::task::yield_now().await;
        }
        revocations.revoke_token("1").await.unwrap();
        // Some were admitted and ended, others refused.
        let mut held = Vec::new();
        for handshake in handshakes {
            held.extend(handshake.await.unwrap());
        }
        assert_eq!(sessions.iter().filter(|session| session.subject() == Some("alice")).count(), 0, "{round}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_at_any_step_of_a_handshake_takes_effect() {
    struct Case {
        name: &'static str,
        in_verifier: bool,
        in_handler: bool,
        in_callback: bool,
    }
    let case = |name, in_verifier, in_handler, in_callback| Case { name, in_verifier, in_handler, in_callback };
    for Case { name, in_verifier, in_handler, in_callback } in [
        case("while the token is verified", true, false, false),
        case("in the handler, before it upgrades", false, true, false),
        case("in the callback, before it reads", false, false, true),
    ] {
        let revocations = Revocations::new(MemoryRevocations::new());
        let sessions = Sessions::new();
        let revoking = revocations.clone();
        let verifier = move |input: VerifyInput<'_>| {
            let (verified, revoking) = (verifier(input), revoking.clone());
            async move {
                if in_verifier {
                    revoking.revoke_subject("alice").await.unwrap();
                }
                verified.await
            }
        };
        let revoking = revocations.clone();
        let handler = async move |upgrade: AuthenticatedUpgrade<String>| {
            if in_handler {
                revoking.revoke_subject("alice").await.unwrap();
            }
            upgrade.on_upgrade(async move |mut socket| {
                if in_callback {
                    revoking.revoke_subject("alice").await.unwrap();
                }
                while let Some(Ok(_)) = socket.recv().await {}
            })
        };
        let layer = WsAuthLayer::new(verifier).sessions(&sessions).revocations(&revocations);
        let app = Router::new().route("/", any(handler)).layer(layer);
        let request = handshake().bearer_subprotocol("alice.1").build();
        match test_util::connect(app, request).await {
            Ok((mut socket, _)) => {
                assert!(!in_verifier, "{name}");
                assert_eq!(closed(&mut socket).await, (3000, "revoked".to_owned()), "{name}");
            }
            Err(_) => assert!(in_verifier, "{name}"),
        }
        settle().await;
        assert_eq!((sessions.iter().count(), sessions.count()), (0, 0), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_is_kept_for_the_configured_time() {
    let options = RevocationOptions::new().keep_for(Duration::from_secs(3600)).unwrap();
    let revocations = Revocations::with_options(MemoryRevocations::new(), options);
    let app = node(&revocations);
    revocations.revoke_token("1").await.unwrap();
    tokio::time::sleep(Duration::from_secs(3599)).await;
    assert_eq!(reason(&app, "alice.1").await, Some("revoked"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(reason(&app, "alice.1").await, None);

    // Expired revocations take no memory.
    for round in 0..10 {
        for number in 0..2000 {
            revocations.revoke_token(format!("{round} {number}")).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(3601)).await;
    }
    assert!(revocations.status().entries <= 4000, "{}", revocations.status().entries);

    assert!(RevocationOptions::new().keep_for(Duration::ZERO).is_err());
    let short = Duration::from_secs(14);
    let error = RevocationOptions::new().max_staleness(short).err();
    assert_eq!(error, Some(ConfigError::ShortStaleness(short)));
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_handle() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let revocations = Revocations::new(MemoryRevocations::new());
    let app = node(&revocations);
    assert_eq!(tasks(), 1);
    drop(revocations);
    settle().await;
    assert_eq!(tasks(), 1, "the layer has a handle");
    drop(app);
    settle().await;
    assert_eq!(tasks(), 0);
}

#[tokio::test]
async fn the_memory_store_passes_the_conformance_test() {
    let store = Arc::new(MemoryRevocations::new());
    conformance::revocations(Arc::clone(&store), store).await;
}

/// A store that can be loaded but not followed, with this many revocations.
struct LoadedOnly {
    revocations: usize,
    loads: AtomicUsize,
}

impl LoadedOnly {
    fn of(revocations: usize) -> Arc<Self> {
        Arc::new(Self { revocations, loads: AtomicUsize::new(0) })
    }
}

impl RevocationStore for LoadedOnly {
    async fn add(&self, _: &Revocation, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        let token = |id: usize| (Revocation::Token(id.to_string().into()), Duration::from_secs(3600));
        let revocations = (0..self.revocations).map(token).collect();
        self.loads.fetch_add(1, SeqCst);
        Ok(RevocationBatch::new(Cursor::default(), revocations))
    }

    async fn next(&self, _: Cursor) -> Result<RevocationBatch, StoreError> {
        Err(StoreError::unavailable())
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_followed_is_loaded_periodically() {
    let store = LoadedOnly::of(0);
    let app = node(&Revocations::new(Arc::clone(&store)));
    tokio::time::sleep(Duration::from_secs(600)).await;
    let loads = store.loads.load(SeqCst);
    assert!((60..130).contains(&loads), "{loads} loads in ten minutes");
    assert_eq!(reason(&app, "alice.1").await, None, "each load makes the node current");
}

#[tokio::test]
async fn a_million_revocations_are_applied_while_other_tasks_run() {
    const COUNT: usize = 1_000_000;
    let store = LoadedOnly::of(COUNT);
    let revocations = Revocations::new(Arc::clone(&store));
    let app = node(&revocations);
    // On a single thread, another task does not wait for long. The limits are generous, because the machine may be
    // busy: without yielding, it takes a second or more.
    let (mut turns, mut entries) = (Vec::new(), 0);
    while entries < COUNT {
        let begin = std::time::Instant::now();
        tokio::task::yield_now().await;
        if entries > 0 {
            turns.push(begin.elapsed());
        }
        entries = revocations.status().entries;
    }
    turns.sort();
    let (median, longest) = (turns[turns.len() / 2], turns[turns.len() - 1]);
    println!("{} turns, {median:?} (median), {longest:?} at most", turns.len());
    assert!(turns.len() > 50, "{} turns", turns.len());
    assert!(median < Duration::from_millis(5) && longest < Duration::from_millis(250), "{median:?}, {longest:?}");
    assert_eq!(reason(&app, "alice.999999").await, Some("revoked"));
    assert_eq!(reason(&app, "alice.x").await, None);
}

/// A store that refuses some revocations, or all, and records those that it accepts. It returns them by `load` only.
#[derive(Default)]
struct Picky {
    added: Mutex<Vec<Revocation>>,
    batches: Mutex<Vec<(usize, bool)>>,
    is_available: AtomicBool,
    loads: AtomicUsize,
}

impl Picky {
    fn added(&self) -> Vec<String> {
        let token = |revocation: &Revocation| match revocation {
            Revocation::Token(id) => id.id().to_owned(),
            other => panic!("{other:?}"),
        };
        let mut added: Vec<_> = self.added.lock().unwrap().iter().map(token).collect();
        added.sort();
        added
    }
}

impl RevocationStore for Picky {
    async fn add(&self, revocation: &Revocation, _: Duration) -> Result<(), StoreError> {
        if !self.is_available.load(SeqCst) || matches!(revocation, Revocation::Token(id) if id.id().starts_with("bad"))
        {
            return Err(StoreError::unavailable());
        }
        self.added.lock().unwrap().push(revocation.clone());
        Ok(())
    }

    async fn add_many(&self, revocations: &[(Revocation, Duration)], more: bool) -> Vec<Result<(), StoreError>> {
        self.batches.lock().unwrap().push((revocations.len(), more));
        let mut outcomes = Vec::new();
        for (revocation, keep_for) in revocations {
            outcomes.push(self.add(revocation, *keep_for).await);
        }
        outcomes
    }

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        self.loads.fetch_add(1, SeqCst);
        let added = self.added.lock().unwrap().clone();
        let added = added.into_iter().map(|revocation| (revocation, Duration::from_secs(3600)));
        Ok(RevocationBatch::new(Cursor::default(), added.collect()))
    }

    async fn next(&self, after: Cursor) -> Result<RevocationBatch, StoreError> {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(RevocationBatch::new(after, Vec::new()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_the_store_refuses_does_not_stop_the_others() {
    let store = Arc::new(Picky::default());
    let revocations = Revocations::new(Arc::clone(&store));
    settle().await;
    for number in 0..20 {
        assert!(revocations.revoke_token(format!("good{number:02}")).await.is_err());
        assert!(revocations.revoke_token(format!("bad{number}")).await.is_err());
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    store.is_available.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let good: Vec<_> = (0..20).map(|number| format!("good{number:02}")).collect();
    assert_eq!(store.added(), good, "each once");
    // Only the refused ones are tried again, now and then, and the store is not loaded again.
    let batches = store.batches.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(store.added(), good);
    let batches = store.batches.lock().unwrap().len() - batches;
    assert!((50..70).contains(&batches), "{batches} attempts in ten minutes");
    assert_eq!(store.loads.load(SeqCst), 1);
    // A later revocation is not delayed.
    revocations.revoke_token("late").await.unwrap();
    assert!(store.added().contains(&"late".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn missing_revocations_are_restored_in_batches_that_say_whether_more_follow() {
    let store = Arc::new(Picky::default());
    let revocations = Revocations::new(Arc::clone(&store));
    settle().await;
    for number in 0..1200 {
        assert!(revocations.revoke_token(format!("{number}")).await.is_err());
    }
    store.is_available.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(store.added().len(), 1200);
    assert_eq!(*store.batches.lock().unwrap(), [(500, true), (500, true), (200, false)]);
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_revocation_that_the_store_does_not_return_is_restored() {
    let store = Arc::new(Picky { is_available: AtomicBool::new(true), ..Picky::default() });
    let revocations = Revocations::new(Arc::clone(&store));
    settle().await;
    revocations.revoke_token("1").await.unwrap();
    // As if the store had been restored from an older copy.
    store.added.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(store.added(), ["1"]);
}

/// A store whose batches can be made incomplete.
struct Incomplete {
    inner: MemoryRevocations,
    is_incomplete: AtomicBool,
}

impl RevocationStore for Incomplete {
    async fn add(&self, revocation: &Revocation, keep_for: Duration) -> Result<(), StoreError> {
        self.inner.add(revocation, keep_for).await
    }

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        let batch = self.inner.load().await?;
        Ok(if self.is_incomplete.load(SeqCst) { batch.incomplete() } else { batch })
    }

    async fn next(&self, after: Cursor) -> Result<RevocationBatch, StoreError> {
        let batch = self.inner.next(after).await?;
        Ok(if self.is_incomplete.load(SeqCst) { batch.incomplete() } else { batch })
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_with_an_incomplete_store_admits_nobody() {
    let store = Arc::new(Incomplete { inner: MemoryRevocations::new(), is_incomplete: AtomicBool::new(true) });
    let early = Revocations::new(Arc::clone(&store));
    let app = node(&early);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(reason(&app, "alice.1").await, Some("revocations_stale"));
    assert_eq!(early.status().age, None);
    early.revoke_token("1").await.unwrap();
    assert_eq!(reason(&app, "alice.1").await, Some("revoked"), "known revocations are in effect");
    store.is_incomplete.store(false, SeqCst);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((reason(&app, "alice.2").await, reason(&app, "alice.1").await), (None, Some("revoked")));
    // A node that was up to date once keeps admitting.
    store.is_incomplete.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(reason(&app, "alice.2").await, None);
}

#[test]
fn the_store_is_followed_again_if_the_runtime_is_no_longer_driven() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let options = RevocationOptions::new().max_staleness(Duration::from_secs(15)).unwrap();
    let store = Arc::new(MemoryRevocations::new());
    let setup = runtime();
    let (revocations, app) = setup.block_on(async {
        let revocations = Revocations::with_options(Arc::clone(&store), options);
        let app = node(&revocations);
        assert_eq!(reason(&app, "alice.1").await, None);
        (revocations, app)
    });
    runtime().block_on(async {
        assert_eq!(reason(&app, "alice.1").await, None);
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(16)).await;
            assert_eq!(reason(&app, "alice.1").await, None, "a handshake starts a new task");
        }
        Revocations::new(Arc::clone(&store)).revoke_token("1").await.unwrap();
        settle().await;
        assert_eq!(reason(&app, "alice.1").await, Some("revoked"));
    });
    // The task that was replaced ends when its runtime is driven again.
    setup.block_on(settle());
    assert_eq!(setup.metrics().num_alive_tasks(), 0);
    drop(revocations);
}

#[test]
fn reading_the_status_follows_the_store_again() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let revocations = runtime().block_on(async {
        let revocations = Revocations::new(MemoryRevocations::new());
        settle().await;
        revocations
    });
    runtime().block_on(async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(revocations.status().age.unwrap() > Duration::from_secs(60));
        settle().await;
        assert!(revocations.status().age.unwrap() < Duration::from_secs(1));
    });
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_another_log_is_lost() {
    let (one, other) = (MemoryRevocations::new(), MemoryRevocations::new());
    let minute = Duration::from_secs(60);
    for store in [&one, &other] {
        store.add(&Revocation::Token("1".into()), minute).await.unwrap();
    }
    let [cursor, elsewhere] = [one.load().await.unwrap().cursor, other.load().await.unwrap().cursor];
    let (id, number) = cursor.0.split_once(':').unwrap();
    let beyond = number.parse::<u64>().unwrap() + 1;
    for wrong in [elsewhere.0, number.to_owned(), String::new(), format!("{id}:{beyond}"), format!("{id}:")] {
        let error = one.next(Cursor(wrong.clone())).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Lost, "{wrong}");
    }
    assert!(one.next(cursor).await.unwrap().revocations.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_long_log_is_read_completely() {
    let (store, minute) = (MemoryRevocations::new(), Duration::from_secs(60));
    let tokens = async |from: usize, keep_for| {
        for number in from..from + 2500 {
            store.add(&Revocation::Token(number.to_string().into()), keep_for).await.unwrap();
        }
    };
    tokens(0, minute).await;
    let begin = store.load().await.unwrap();
    assert_eq!(begin.revocations.len(), 2500);
    tokens(2500, minute * 2).await;
    let batch = store.next(begin.cursor.clone()).await.unwrap();
    assert_eq!(batch.revocations.len(), 2500);
    // The first half has expired.
    tokio::time::sleep(minute).await;
    let batch = store.next(begin.cursor).await.unwrap();
    assert_eq!(batch.revocations.len(), 2500);
    assert_eq!(store.load().await.unwrap().revocations.len(), 2500);
    assert_eq!(format!("{store:?}"), "MemoryRevocations { entries: 2500 }");
}
