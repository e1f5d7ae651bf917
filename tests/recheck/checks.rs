//! `Verified::recheck_with`.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use axum_ws_auth::{Recheck, Sessions, Token, Verified, Verifier, VerifyError};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use crate::{Answers, PERIOD, layer, open, support::*};

type Outcome = Result<Recheck, VerifyError>;

/// A check whose outcome a test chooses.
#[derive(Clone)]
struct Checks(Arc<State>);

struct State {
    outcome: Mutex<Arc<dyn Fn() -> BoxFuture<'static, Outcome> + Send + Sync>>,
    count: AtomicUsize,
}

impl Checks {
    fn yes() -> Self {
        let outcome: Arc<dyn Fn() -> BoxFuture<'static, Outcome> + Send + Sync> =
            Arc::new(|| Box::pin(async { Ok(Recheck::unchanged()) }));
        Self(Arc::new(State { outcome: Mutex::new(outcome), count: AtomicUsize::new(0) }))
    }

    fn set(&self, outcome: impl Fn() -> Outcome + Send + Sync + 'static) {
        let outcome = Arc::new(outcome);
        *self.0.outcome.lock().unwrap() = Arc::new(move || {
            let outcome = Arc::clone(&outcome);
            Box::pin(async move { outcome() })
        });
    }

    fn count(&self) -> usize {
        self.0.count.load(SeqCst)
    }

    /// How many clones there are besides the test's own.
    fn kept(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }

    fn verified(&self, token: &str) -> Verified<String> {
        let checks = self.clone();
        Verified::new(token.to_owned()).with_subject("alice").recheck_with(PERIOD, async move || {
            checks.0.count.fetch_add(1, SeqCst);
            let outcome = Arc::clone(&*checks.0.outcome.lock().unwrap());
            outcome().await
        })
    }

    fn verifier(&self) -> Answers {
        // Not the check itself, so that only sessions keep it.
        let checks = Arc::downgrade(&self.0);
        Answers::new(move |token| Ok(Self(checks.upgrade().unwrap()).verified(token)))
    }
}

#[tokio::test(start_paused = true)]
async fn the_check_is_asked_instead_of_the_verifier() {
    let (checks, sessions) = (Checks::yes(), Sessions::new());
    let verifier = checks.verifier();
    let (mut client, session) = open(layer(verifier.clone()).sessions(&sessions), "alice").await;
    sleep(PERIOD * 10).await;
    assert!((10..=14).contains(&checks.count()), "the period stays: {}", checks.count());
    assert_eq!((verifier.count(), session.end_reason()), (1, None));
    let before = checks.count();
    assert_eq!(sessions.recheck_subject("alice"), 1);
    settle().await;
    assert_eq!(checks.count(), before + 1);
    checks.set(|| Err(VerifyError::invalid()));
    let start = Instant::now();
    assert_eq!(closed(&mut client).await, (3000, "revoked".to_owned()));
    assert!(start.elapsed() <= PERIOD);
}

#[tokio::test(start_paused = true)]
async fn errors_mean_the_same_as_a_verifiers() {
    for (outcome, close) in [
        (VerifyError::expired(), (3000, "token_expired")),
        (VerifyError::forbidden(), (3000, "revoked")),
        (VerifyError::unavailable(Duration::from_secs(1)), (1013, "unconfirmed")),
    ] {
        let checks = Checks::yes();
        let (mut client, _session) = open(layer(checks.verifier()), "alice").await;
        checks.set(move || Err(outcome.clone()));
        assert_eq!(closed(&mut client).await, (close.0, close.1.to_owned()));
    }
    let checks = Checks::yes();
    let (mut client, _session) = open(layer(checks.verifier()), "alice").await;
    checks.set(|| panic!("a mistake in the check"));
    assert_eq!(closed(&mut client).await, (1013, "unconfirmed".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_check_moves_the_deadline_and_the_period() {
    let checks = Checks::yes();
    let (mut client, session) = open(layer(checks.verifier()), "alice").await;
    let expires_at = SystemTime::now() + PERIOD * 10;
    checks.set(move || Ok(Recheck::unchanged().with_expires_at(expires_at).recheck_in(PERIOD * 5)));
    sleep(PERIOD).await;
    assert_eq!((checks.count(), session.expires_at()), (1, Some(expires_at)));
    checks.set(|| Ok(Recheck::unchanged()));
    sleep(PERIOD * 5).await;
    assert_eq!((checks.count(), session.expires_at()), (2, Some(expires_at)), "both stay");
    assert_eq!(closed(&mut client).await, (3000, "token_expired".to_owned()));
    assert_eq!(session.claims().as_str(), "alice");
}

#[tokio::test(start_paused = true)]
async fn the_check_is_dropped_with_the_session_and_at_a_refresh() {
    let checks = Checks::yes();
    let (client, session) = open(layer(checks.verifier()), "alice").await;
    sleep(PERIOD * 2).await;
    assert_eq!(checks.kept(), 1);
    session.refresh(Token::new("alice.2")).await.unwrap();
    settle().await;
    assert_eq!(checks.kept(), 1, "that of the new token alone");
    // A watcher and the session itself keep nothing that was asked.
    let watcher = session.watch();
    drop(client);
    settle().await;
    assert!(watcher.end_reason().is_some());
    assert_eq!(checks.kept(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_verifier_can_go_over_to_a_check() {
    let checks = Checks::yes();
    let answers = Answers::yes();
    let (_client, session) = open(layer(answers.clone()), "alice").await;
    let verified = checks.verified("alice");
    answers.set(move |_| Ok(verified.clone()));
    sleep(PERIOD * 10).await;
    assert_eq!((answers.count(), session.end_reason()), (2, None));
    assert!(checks.count() >= 8, "{}", checks.count());
}

#[tokio::test(start_paused = true)]
async fn converted_claims_keep_the_check() {
    let checks = Checks::yes();
    let verifier = checks.verifier().map(|token| format!("claims of {token}"));
    let (_client, session) = open(layer(verifier), "alice").await;
    sleep(PERIOD * 3).await;
    assert!(checks.count() >= 3);
    assert_eq!(session.claims().as_str(), "claims of alice");
}

#[test]
fn verified_compares_checks_by_identity() {
    let checks = Checks::yes();
    let (one, other) = (checks.verified("alice"), checks.verified("alice"));
    assert_eq!(one, one.clone());
    assert_ne!(one, other);
    assert_ne!(one.clone().recheck_in(PERIOD * 2), one);
}
