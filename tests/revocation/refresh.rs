//! Revocations and refreshes.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{Router, routing::any};
use axum_ws_auth::{
    AuthenticatedUpgrade, EndReason, MemoryRevocations, RefreshErrorKind, Revocations, Session, TimeSource, Token,
    VerifyInput, WsAuthLayer, test_util::handshake,
};
use futures_util::FutureExt;

use crate::{
    Flaky, keeping, now,
    support::{answer, closed, connected},
    verifier,
};

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
    revocations.revoke_provider_session("of 5").await.unwrap();
    let error = session.refresh(Token::new("alice.5")).await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (RefreshErrorKind::Revoked, "revoked"));

    // After a refused refresh, the session still depends on the old token.
    let mut other = connected(&app, "alice.4").await;
    let refused = sessions.lock().unwrap()[1].clone();
    assert!(refused.refresh(Token::new("alice.2")).await.is_err());
    revocations.revoke_token("4").await.unwrap();
    assert_eq!(closed(&mut other).await, (3000, "revoked".to_owned()));

    session.refresh(Token::new("alice.3")).await.unwrap();
    assert_eq!(session.provider_session().as_deref(), Some("of 3"));
    // The session depends on the new token only.
    revocations.revoke_token("1").await.unwrap();
    revocations.revoke_provider_session("of 1").await.unwrap();
    assert_eq!(session.end_reason(), None);
    revocations.revoke_token("3").await.unwrap();
    assert_eq!(session.end_reason(), Some(EndReason::Revoked));
    assert_eq!(closed(&mut socket).await, (3000, "revoked".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_on_a_stale_node_fails_and_keeps_the_old_token() {
    let store = Flaky::default();
    let revocations = Revocations::new(store.clone());
    let (app, sessions) = keeping(WsAuthLayer::new(verifier).revocations(&revocations));
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
    let (app, sessions) = keeping(WsAuthLayer::new(verifier).revocations(&revocations));
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
    let (app, sessions) = keeping(WsAuthLayer::new(verifier).revocations(&revocations).time_source(clock));
    answer(&app, handshake().bearer_subprotocol(&format!("alice.1.{then}")).build()).await;
    let session = sessions.lock().unwrap()[0].clone();
    let error = session.refresh(Token::new(format!("alice.2.{}", then - 100))).await.unwrap_err();
    assert_eq!(error.kind(), RefreshErrorKind::Revoked);
    assert_eq!(session.end_reason(), Some(EndReason::Revoked), "the session already depended on the new token");
}
