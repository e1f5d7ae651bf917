//! Verifiers that need not wait, alone and joined: what they say at once is what they would say later.

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

/// Says of each token what it spells: at once, or later.
#[derive(Clone, Default)]
struct Spelled {
    waits: bool,
    asked: Arc<[AtomicUsize; 2]>,
}

impl Spelled {
    fn outcome(token: &Token) -> Result<Verified<String>, VerifyError> {
        match token.expose() {
            "forbidden" => Err(VerifyError::forbidden()),
            "unavailable" => Err(VerifyError::unavailable(Duration::from_secs(1))),
            name if name.starts_with("good") => Ok(Verified::new(name.to_owned()).with_subject(name)),
            _ => Err(VerifyError::invalid()),
        }
    }

    fn asked(&self) -> [usize; 2] {
        [0, 1].map(|at| self.asked[at].load(Ordering::Relaxed))
    }
}

impl Verifier for Spelled {
    type Claims = String;

    fn verify(&self, input: VerifyInput<'_>) -> impl Future<Output = Result<Verified<String>, VerifyError>> + Send {
        self.asked[1].fetch_add(1, Ordering::Relaxed);
        ready(Self::outcome(input.token))
    }

    fn verify_now(&self, input: VerifyInput<'_>) -> Option<Result<Verified<String>, VerifyError>> {
        self.asked[0].fetch_add(1, Ordering::Relaxed);
        (!self.waits).then(|| Self::outcome(input.token))
    }
}

/// A closure always waits.
fn other(input: VerifyInput<'_>) -> Ready<Result<Verified<String>, VerifyError>> {
    ready(match input.token.expose() {
        "other" => Ok(Verified::new("other".to_owned())),
        "forbidden" => Err(VerifyError::invalid()),
        _ => Err(VerifyError::forbidden()),
    })
}

/// What it says at once, and later.
fn both<V: Verifier>(verifier: &V, token: &str) -> (Option<Option<VerifyErrorKind>>, Option<VerifyErrorKind>) {
    let (token, (parts, _)) = (Token::new(token), handshake().build().into_parts());
    let input = VerifyInput::new(&token, &parts, SystemTime::now());
    let kind = |outcome: Result<Verified<V::Claims>, VerifyError>| outcome.err().map(|error| error.kind());
    (verifier.verify_now(input).map(kind), kind(verifier.verify(input).now_or_never().unwrap()))
}

#[test]
fn joined_verifiers_answer_at_once_what_they_would_later() {
    use VerifyErrorKind::{Forbidden, Invalid, Unavailable};
    let (now, waits) = (Spelled::default(), Spelled { waits: true, ..Spelled::default() });
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
        // What the first one says may have been counted, so that it is not asked before both can be.
        assert_eq!(both(&now.clone().or(other), token), (None, or), "{token}, or another");
    }
}

#[tokio::test]
async fn the_layer_asks_later_only_what_was_not_answered_at_once() {
    for (waits, asked) in [(false, [2, 0]), (true, [2, 2])] {
        let verifier = Spelled { waits, ..Spelled::default() };
        let app = echo_behind(WsAuthLayer::new(verifier.clone()));
        for (token, status) in [("good", 101), ("bad", 401)] {
            let response = answer(&app, handshake().bearer_subprotocol(token).build()).await;
            assert_eq!(response.status(), status, "{token}, waits: {waits}");
        }
        assert_eq!(verifier.asked(), asked, "waits: {waits}");
    }
}

/// A dead token is counted once each time that it comes.
#[tokio::test]
async fn a_verifier_before_another_is_asked_once() {
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
async fn a_node_that_has_to_look_waits_and_then_does_not() {
    let revocations = Revocations::new(MemoryRevocations::new());
    let verifier = Spelled::default();
    let app = echo_behind(WsAuthLayer::new(verifier.clone()).revocations(&revocations));
    for asked in [[0, 1], [1, 1]] {
        let response = answer(&app, handshake().bearer_subprotocol("good").build()).await;
        assert_eq!((response.status().as_u16(), verifier.asked()), (101, asked));
    }
    revocations.revoke_subject("good").await.unwrap();
    let response = answer(&app, handshake().bearer_subprotocol("good").build()).await;
    assert_eq!((response.status().as_u16(), verifier.asked()), (401, [2, 1]));
}
