//! `Verifier::verify_now`, alone and in combinations: it returns what `verify` returns.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum_ws_auth::{
    CachedVerifier, MemoryRevocations, Revocations, Token, Verified, Verifier, VerifyError, VerifyErrorKind,
    VerifyInput, WsAuthLayer,
    test_util::{self, TestToken, handshake},
};
use futures_util::FutureExt;
use serde_json::Value;
use support::{answer, echo_behind};

/// Decides by the text of the token: without waiting, or with.
#[derive(Clone, Default)]
struct ByText {
    waits: bool,
    /// Calls of `verify_now` and of `verify`.
    calls: Arc<[AtomicUsize; 2]>,
}

impl ByText {
    fn outcome(token: &Token) -> Result<Verified<String>, VerifyError> {
        match token.expose() {
            "forbidden" => Err(VerifyError::forbidden()),
            "unavailable" => Err(VerifyError::unavailable(Duration::from_secs(1))),
            name if name.starts_with("good") => Ok(Verified::new(name.to_owned()).with_subject(name)),
            _ => Err(VerifyError::invalid()),
        }
    }

    fn calls(&self) -> [usize; 2] {
        [0, 1].map(|at| self.calls[at].load(Ordering::Relaxed))
    }
}

impl Verifier for ByText {
    type Claims = String;

    fn verify(&self, input: VerifyInput<'_>) -> impl Future<Output = Result<Verified<String>, VerifyError>> + Send {
        self.calls[1].fetch_add(1, Ordering::Relaxed);
        ready(Self::outcome(input.token))
    }

    fn verify_now(&self, input: VerifyInput<'_>) -> Option<Result<Verified<String>, VerifyError>> {
        self.calls[0].fetch_add(1, Ordering::Relaxed);
        (!self.waits).then(|| Self::outcome(input.token))
    }
}

/// A function always waits.
fn other(input: VerifyInput<'_>) -> Ready<Result<Verified<String>, VerifyError>> {
    ready(match input.token.expose() {
        "other" => Ok(Verified::new("other".to_owned())),
        "forbidden" => Err(VerifyError::invalid()),
        _ => Err(VerifyError::forbidden()),
    })
}

/// What `verify_now` and `verify` return: the kind of the error, if there is one.
fn both<V: Verifier>(verifier: &V, token: &str) -> (Option<Option<VerifyErrorKind>>, Option<VerifyErrorKind>) {
    let (token, (parts, _)) = (Token::new(token), handshake().build().into_parts());
    let input = VerifyInput::new(&token, &parts, SystemTime::now());
    let kind = |outcome: Result<Verified<V::Claims>, VerifyError>| outcome.err().map(|error| error.kind());
    (verifier.verify_now(input).map(kind), kind(verifier.verify(input).now_or_never().unwrap()))
}

#[test]
fn combined_verifiers_return_the_same_from_verify_now_and_verify() {
    use VerifyErrorKind::{Forbidden, Invalid, Unavailable};
    let (now, waits) = (ByText::default(), ByText { waits: true, ..ByText::default() });
    let short = |claims: &String, _: &http::request::Parts| {
        if claims.len() > 5 { Err(VerifyError::forbidden()) } else { Ok(()) }
    };
    struct Case {
        token: &'static str,
        alone: Option<VerifyErrorKind>,
        short: Option<VerifyErrorKind>,
        or: Option<VerifyErrorKind>,
    }
    for Case { token, alone, short: expected_short, or } in [
        Case { token: "good", alone: None, short: None, or: None },
        Case { token: "good, and long", alone: None, short: Some(Forbidden), or: None },
        Case { token: "bad", alone: Some(Invalid), short: Some(Invalid), or: Some(Forbidden) },
        Case { token: "forbidden", alone: Some(Forbidden), short: Some(Forbidden), or: Some(Forbidden) },
        Case { token: "unavailable", alone: Some(Unavailable), short: Some(Unavailable), or: Some(Unavailable) },
        Case { token: "other", alone: Some(Invalid), short: Some(Invalid), or: None },
    ] {
        assert_eq!(both(&now, token), (Some(alone), alone), "{token}");
        assert_eq!(both(&Arc::new(now.clone()), token), (Some(alone), alone), "{token}, shared");
        assert_eq!(both(&waits, token), (None, alone), "{token}, waiting");
        assert_eq!(
            both(&now.clone().authorize(short), token),
            (Some(expected_short), expected_short),
            "{token}, short"
        );
        assert_eq!(both(&waits.clone().authorize(short), token), (None, expected_short), "{token}, short and waiting");
        assert_eq!(both(&now.clone().map(|name| name.len()), token), (Some(alone), alone), "{token}, mapped");
        assert_eq!(both(&waits.clone().map(|name| name.len()), token), (None, alone), "{token}, mapped and waiting");
        let short_later = now.clone().authorize_async(async move |claims, parts| short(claims, parts));
        assert_eq!(both(&short_later, token), (None, expected_short), "{token}, short, and waiting for the check");
        // `or` calls no `verify_now`: the first verifier may count its calls.
        assert_eq!(both(&now.clone().or(other), token), (None, or), "{token}, or another");
    }
}

#[tokio::test]
async fn the_layer_calls_verify_only_if_verify_now_returns_none() {
    for (waits, calls) in [(false, [2, 0]), (true, [2, 2])] {
        let verifier = ByText { waits, ..ByText::default() };
        let app = echo_behind(WsAuthLayer::new(verifier.clone()));
        for (token, status) in [("good", 101), ("bad", 401)] {
            let response = answer(&app, handshake().bearer_subprotocol(token).build()).await;
            assert_eq!(response.status(), status, "{token}, waits: {waits}");
        }
        assert_eq!(verifier.calls(), calls, "waits: {waits}");
    }
}

/// Each attempt with an invalid token counts once.
#[tokio::test]
async fn or_calls_its_first_verifier_once() {
    let (first, token) =
        (CachedVerifier::new(test_util::verifier::<Value>()), TestToken::new("alice").sign_with(&[7; 32]));
    let app = echo_behind(WsAuthLayer::new(first.or(|_: VerifyInput<'_>| ready(Err(VerifyError::invalid())))));
    for retry_after in [None, Some("1"), Some("2"), Some("4")] {
        let response = answer(&app, handshake().bearer_subprotocol(&token).build()).await;
        let told = response.headers().get("retry-after").map(|seconds| seconds.to_str().unwrap());
        assert_eq!((response.status().as_u16(), told), (401, retry_after));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_waits_for_revocations_once_and_then_verifies_without_waiting() {
    let revocations = Revocations::new(MemoryRevocations::new());
    let verifier = ByText::default();
    let app = echo_behind(WsAuthLayer::new(verifier.clone()).revocations(&revocations));
    for calls in [[0, 1], [1, 1]] {
        let response = answer(&app, handshake().bearer_subprotocol("good").build()).await;
        assert_eq!((response.status().as_u16(), verifier.calls()), (101, calls));
    }
    revocations.revoke_subject("good").await.unwrap();
    let response = answer(&app, handshake().bearer_subprotocol("good").build()).await;
    assert_eq!((response.status().as_u16(), verifier.calls()), (401, [2, 1]));
}
