//! What was combined with the verifier is asked again too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{Router, routing::any};
use axum_ws_auth::{
    AuthenticatedUpgrade, CachedVerifier, PathParams, Verified, Verifier, VerifyError, VerifyInput,
    test_util::{self, TestToken, handshake},
};
use tokio::time::{Instant, sleep};

use crate::{Answers, PERIOD, accepted, layer, support::*};

async fn connect<V: Verifier>(verifier: V, token: &str) -> ClientSocket {
    let handler = async |upgrade: AuthenticatedUpgrade<V::Claims>| {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    };
    let app = Router::new().route("/rooms/{room}", any(handler)).layer(layer(verifier));
    let request = handshake().path("/rooms/7").header("x-device", "phone").bearer_subprotocol(token).build();
    test_util::connect(app, request).await.expect("a 101").0
}

/// The socket is open for as long as this is true, and closed within a period after that.
async fn assert_closed_by(allowed: &AtomicBool, client: &mut ClientSocket) {
    sleep(PERIOD * 5).await;
    let start = Instant::now();
    allowed.store(false, SeqCst);
    assert_eq!(closed(client).await, (3000, "revoked".to_owned()));
    assert!(start.elapsed() <= PERIOD && !start.elapsed().is_zero(), "{:?}", start.elapsed());
}

fn yes() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}

#[tokio::test(start_paused = true)]
async fn rules_are_checked_again_with_the_request() {
    let allowed = yes();
    let verifier = Answers::yes().authorize({
        let allowed = Arc::clone(&allowed);
        move |claims, parts| {
            assert_eq!((claims.as_str(), PathParams::of(parts).get("room")), ("alice", Some("7")));
            assert_eq!(parts.headers["x-device"], "phone");
            assert!(!format!("{:?} {}", parts.headers, parts.uri).contains("alice"), "no token");
            if allowed.load(SeqCst) { Ok(()) } else { Err(VerifyError::forbidden()) }
        }
    });
    assert_closed_by(&allowed, &mut connect(verifier, "alice").await).await;

    let allowed = yes();
    let verifier = Answers::yes().authorize_async({
        let allowed = Arc::clone(&allowed);
        async move |_, parts| {
            sleep(Duration::from_millis(10)).await;
            let room: u64 = PathParams::of(parts).parse("room")?;
            if allowed.load(SeqCst) && room == 7 { Ok(()) } else { Err(VerifyError::forbidden()) }
        }
    });
    assert_closed_by(&allowed, &mut connect(Arc::new(verifier), "alice").await).await;
}

#[tokio::test(start_paused = true)]
async fn the_verifier_that_accepted_is_asked_again() {
    let allowed = yes();
    let second = Answers::new({
        let allowed = Arc::clone(&allowed);
        move |token| if allowed.load(SeqCst) { Ok(accepted(token)) } else { Err(VerifyError::invalid()) }
    });
    let first = Answers::new(|_| Err(VerifyError::invalid()));
    let verifier = first.clone().or(second.clone()).map(|token| token.len());
    assert_closed_by(&allowed, &mut connect(verifier, "alice").await).await;
    assert_eq!(first.count(), second.count());
}

/// A JSON Web Token has no say in this, so a verifier around it has.
struct Rechecked<V>(V);

impl<V: Verifier> Verifier for Rechecked<V> {
    type Claims = V::Claims;

    async fn verify(&self, input: VerifyInput<'_>) -> Result<Verified<V::Claims>, VerifyError> {
        Ok(self.0.verify(input).await?.recheck_in(PERIOD))
    }
}

#[tokio::test(start_paused = true)]
async fn cached_token_is_rechecked() {
    let allowed = yes();
    let verifier = CachedVerifier::new(test_util::verifier::<serde_json::Value>()).authorize({
        let allowed = Arc::clone(&allowed);
        move |_, _| if allowed.load(SeqCst) { Ok(()) } else { Err(VerifyError::forbidden()) }
    });
    let token = TestToken::new("alice").expires_in(Duration::from_secs(3600)).sign();
    assert_closed_by(&allowed, &mut connect(Rechecked(verifier), &token).await).await;
}
