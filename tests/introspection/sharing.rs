//! Few requests: shared, cached, bounded.

use std::{sync::Arc, time::Duration};

use axum_ws_auth::{Token, Verifier, VerifyError, VerifyInput, introspection::IntrospectionVerifier};
use serde_json::Value;
use tokio::{task::JoinSet, time::advance};

use crate::{
    builder,
    provider::{Provider, inactive, status},
    support::settle,
    verify,
};

type Outcome = Result<(), VerifyError>;

fn spawn(tasks: &mut JoinSet<Outcome>, verifier: &IntrospectionVerifier<Value>, token: impl Into<String>) {
    let (verifier, token) = (verifier.clone(), token.into());
    tasks.spawn(async move { verify(&verifier, &token).await.map(|_| ()) });
}

#[tokio::test(start_paused = true)]
async fn concurrent_handshakes_with_one_token_share_a_request() {
    for cached in [Duration::from_secs(10), Duration::ZERO] {
        let provider = Provider::yes();
        provider.delay(Duration::from_millis(100));
        let verifier = builder(&provider).cache_active(cached).build().unwrap();
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            spawn(&mut tasks, &verifier, "alice");
        }
        assert!(tasks.join_all().await.iter().all(Result::is_ok));
        assert_eq!(provider.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn failure_is_shared_too() {
    let provider = Provider::yes();
    for (delay, requests) in [(Duration::from_millis(100), 1), (Duration::from_secs(60), 2)] {
        provider.delay(delay);
        provider.respond(|_| Ok(status(500)));
        let verifier = builder(&provider).build().unwrap();
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            spawn(&mut tasks, &verifier, "alice");
        }
        assert!(tasks.join_all().await.into_iter().all(|outcome| outcome.unwrap_err().is_unavailable()));
        // The next handshake asks again.
        assert_eq!(provider.count(), requests);
    }
}

#[tokio::test(start_paused = true)]
async fn handshake_that_is_dropped_takes_no_other_along() {
    let provider = Provider::yes();
    provider.delay(Duration::from_millis(100));
    let verifier = builder(&provider).build().unwrap();
    let (mut dropped, mut tasks) = (JoinSet::new(), JoinSet::new());
    spawn(&mut dropped, &verifier, "alice");
    settle().await;
    for _ in 0..10 {
        spawn(&mut tasks, &verifier, "alice");
    }
    settle().await;
    dropped.abort_all();
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    assert_eq!(provider.count(), 2);
    assert_eq!(provider.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn answers_are_kept_for_a_while() {
    let provider = Provider::yes();
    let verifier = builder(&provider).build().unwrap();
    for (after, requests) in [(0, 1), (9999, 1), (1, 2), (9999, 2), (1, 3)] {
        advance(Duration::from_millis(after)).await;
        assert!(verify(&verifier, "alice").await.is_ok());
        assert_eq!(provider.count(), requests, "{after}");
    }
    provider.answer(|_| inactive());
    for (after, requests) in [(0, 4), (4999, 4), (1, 5)] {
        advance(Duration::from_millis(after)).await;
        assert!(verify(&verifier, "eve").await.is_err());
        assert_eq!(provider.count(), requests);
    }
}

/// Not even for handshakes of the same moment, unless they wait for one answer.
#[tokio::test(start_paused = true)]
async fn no_answer_is_kept_if_the_time_is_zero() {
    let provider = Provider::yes();
    let verifier = builder(&provider).cache_active(Duration::ZERO).build().unwrap();
    for requests in 1..4 {
        assert!(verify(&verifier, "alice").await.is_ok());
        assert_eq!(provider.count(), requests);
    }
}

#[tokio::test(start_paused = true)]
async fn cached_answer_is_checked_again() {
    let provider = Provider::yes();
    let verifier = builder(&provider).cache_active(Duration::from_secs(7200)).build().unwrap();
    let token = Token::new("alice");
    let now = std::time::SystemTime::now();
    let at = |seconds| verifier.verify_now(VerifyInput::without_request(&token, now + Duration::from_secs(seconds)));
    assert!(at(0).is_none(), "nothing is known yet");
    assert!(verify(&verifier, "alice").await.is_ok());
    assert!(at(3600).unwrap().is_ok());
    assert!(at(3632).unwrap().is_err(), "it has expired");
    assert_eq!(provider.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn refused_tokens_do_not_evict_valid_ones() {
    let provider = Provider::new(|token| if token == "alice" { crate::provider::active(token) } else { inactive() });
    let verifier = builder(&provider).build().unwrap();
    assert!(verify(&verifier, "alice").await.is_ok());
    for number in 0..5000 {
        assert!(verify(&verifier, &number.to_string()).await.is_err());
    }
    let requests = provider.count();
    assert!(verify(&verifier, "alice").await.is_ok());
    assert_eq!(provider.count(), requests);
}

#[tokio::test(start_paused = true)]
async fn requests_are_bounded_and_the_rest_waits() {
    for (limit, requests) in [(None, 32), (Some(3), 3)] {
        let provider = Provider::yes();
        provider.delay(Duration::from_secs(1));
        let mut builder = builder(&provider);
        if let Some(limit) = limit {
            builder = builder.concurrent_requests(limit);
        }
        let verifier = builder.build().unwrap();
        let mut tasks = JoinSet::new();
        for number in 0..requests * 7 {
            spawn(&mut tasks, &verifier, format!("user{number}"));
        }
        let outcomes = tasks.join_all().await;
        assert_eq!(provider.most(), requests);
        // Four rounds end before the timeout of five seconds, and a fifth one with it.
        let admitted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!((requests * 4..=requests * 5).contains(&admitted), "{admitted}");
        assert!(outcomes.into_iter().filter_map(Result::err).all(|error| error.is_unavailable()));
    }
}

#[tokio::test(start_paused = true)]
async fn provider_that_hangs_is_given_up_in_time() {
    let provider = Provider::yes();
    provider.delay(Duration::from_secs(3600));
    for (timeout, seconds) in [(None, 5), (Some(Duration::from_secs(2)), 2)] {
        let mut builder = builder(&provider);
        if let Some(timeout) = timeout {
            builder = builder.timeout(timeout);
        }
        let verifier = Arc::new(builder.build().unwrap());
        let start = tokio::time::Instant::now();
        assert!(verify(&verifier, "alice").await.unwrap_err().is_unavailable());
        assert_eq!(start.elapsed().as_secs(), seconds);
        assert_eq!(provider.running(), 0);
    }
}
