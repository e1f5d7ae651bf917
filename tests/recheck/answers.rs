//! What the verifier's answers do.

use std::time::{Duration, SystemTime};

use axum_ws_auth::{CloseCodes, EndReason, Verified, VerifyError};
use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use crate::{Answer, Answers, PERIOD, accepted, layer, open, sessions_of, support::*};

#[tokio::test(start_paused = true)]
async fn yes_replaces_claims_and_deadline() {
    let answers = Answers::new(|token| Ok(accepted(token).with_expires_at(SystemTime::now() + PERIOD * 2)));
    let (mut client, session) = open(layer(answers.clone()), "alice").await;
    let start = Instant::now();
    let old = session.claims();
    let later = SystemTime::now() + Duration::from_secs(3600);
    answers.set(move |_| Ok(accepted("alice").map(|_| "new claims".to_owned()).with_expires_at(later)));
    sleep(PERIOD).await;
    assert_eq!(answers.count(), 2);
    assert_eq!((old.as_str(), session.claims().as_str()), ("alice", "new claims"), "old claims stay valid");
    assert_eq!(session.expires_at(), Some(later));
    sleep(PERIOD * 10).await;
    assert_eq!(session.end_reason(), None, "the first deadline has passed");
    // The wall clock stands still in this test, so the monotonic one decides.
    assert_eq!(closed(&mut client).await, (3000, "token_expired".to_owned()));
    assert!(start.elapsed() > Duration::from_secs(3500), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn rechecks_go_on_for_as_long_as_the_session() {
    let answers = Answers::yes();
    let (client, _session) = open(layer(answers.clone()), "alice").await;
    sleep(PERIOD * 60).await;
    let times = answers.times();
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((60..=80).contains(&pauses.len()), "{}", pauses.len());
    assert!(pauses.iter().all(|pause| (PERIOD * 3 / 4..=PERIOD).contains(pause)), "{pauses:?}");
    drop(client);
    sleep(PERIOD * 60).await;
    assert_eq!(answers.count(), times.len());
}

#[tokio::test(start_paused = true)]
async fn no_closes_the_socket() {
    struct Case {
        name: &'static str,
        answer: fn() -> Answer,
        reason: EndReason,
        codes: [u16; 2],
    }
    let revoked = |name, answer| Case { name, answer, reason: EndReason::Revoked, codes: [3000, 4401] };
    let cases = [
        revoked("invalid", || Err(VerifyError::invalid())),
        revoked("forbidden", || Err(VerifyError::forbidden())),
        revoked("insufficient scope", || Err(VerifyError::insufficient_scope("chat"))),
        revoked("other subject", || Ok(accepted("bob"))),
        revoked("no subject", || Ok(Verified::new("alice".to_owned()).recheck_in(PERIOD))),
        revoked("other issuer", || Ok(accepted("alice").with_issuer("https://id.example.com"))),
        Case {
            name: "expired",
            answer: || Err(VerifyError::expired()),
            reason: EndReason::TokenExpired,
            codes: [3000, 4401],
        },
        Case {
            name: "accepted, and expired meanwhile",
            answer: || Ok(accepted("alice").with_expires_at(SystemTime::UNIX_EPOCH)),
            reason: EndReason::TokenExpired,
            codes: [3000, 4401],
        },
    ];
    for case in cases {
        for (profile, code) in [CloseCodes::IANA, CloseCodes::HTTP_LIKE].into_iter().zip(case.codes) {
            let answers = Answers::yes();
            let layer = layer(answers.clone()).close_codes(profile);
            let (mut client, session) = open(layer, "alice").await;
            let start = Instant::now();
            answers.set(move |_| (case.answer)());
            assert_eq!(closed(&mut client).await, (code, case.reason.as_str().to_owned()), "{}", case.name);
            assert!(start.elapsed() <= PERIOD, "{}: {:?}", case.name, start.elapsed());
            assert_eq!(session.end_reason(), Some(case.reason), "{}", case.name);
            assert_eq!(session.claims().as_str(), "alice", "{}", case.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn session_without_a_subject_is_rechecked_too() {
    let nobody = |_: &str| Ok(Verified::new("machine".to_owned()).recheck_in(PERIOD));
    let answers = Answers::new(nobody);
    let (mut client, _session) = open(layer(answers.clone()), "key").await;
    sleep(PERIOD * 2).await;
    assert!(answers.count() > 2);
    answers.set(|_| Ok(accepted("alice")));
    assert_eq!(closed(&mut client).await, (3000, "revoked".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_next_answer_chooses_the_next_period() {
    let answers = Answers::yes();
    let (_client, session) = open(layer(answers.clone()), "alice").await;
    answers.set(|token| Ok(accepted(token).recheck_in(PERIOD * 60)));
    sleep(PERIOD).await;
    assert_eq!(answers.count(), 2);
    answers.set(|token| Ok(Verified::new(token.to_owned()).with_subject(token)));
    sleep(PERIOD * 44).await;
    assert_eq!(answers.count(), 2);
    sleep(PERIOD * 17).await;
    assert_eq!(answers.count(), 3);
    // None: no more.
    sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!((answers.count(), session.end_reason()), (3, None));
}

#[tokio::test(start_paused = true)]
async fn period_of_less_than_a_second_is_a_second() {
    let answers = Answers::new(|token| Ok(accepted(token).recheck_in(Duration::ZERO)));
    let (_client, _session) = open(layer(answers.clone()), "alice").await;
    sleep(PERIOD).await;
    assert!((60..=81).contains(&answers.count()), "{}", answers.count());
}

#[tokio::test(start_paused = true)]
async fn rechecks_are_no_attempts_to_refresh() {
    let answers = Answers::yes();
    let layer = layer(answers.clone()).refresh_limit(1, Duration::from_secs(24 * 3600));
    let (_client, session) = open(layer, "alice").await;
    sleep(PERIOD * 10).await;
    session.refresh(axum_ws_auth::Token::new("alice.2")).await.unwrap();
    sleep(PERIOD * 10).await;
    assert_eq!((session.claims().as_str(), session.end_reason()), ("alice.2", None));
}

#[tokio::test(start_paused = true)]
async fn max_lifetime_stays() {
    let layer = layer(Answers::yes()).max_lifetime(PERIOD * 3).unwrap();
    let (mut client, _session) = open(layer, "alice").await;
    let start = Instant::now();
    assert_eq!(closed(&mut client).await, (3000, "max_lifetime".to_owned()));
    assert_eq!(start.elapsed(), PERIOD * 3);
}

#[tokio::test(start_paused = true)]
async fn waiting_handlers_see_the_new_deadline() {
    let answers = Answers::new(|token| Ok(accepted(token).with_expires_at(SystemTime::now() + PERIOD * 2)));
    let session = sessions_of(layer(answers.clone()), ["alice".to_owned()]).await.remove(0);
    let mut expiring = Box::pin(session.expiring_in(PERIOD));
    assert!(expiring.as_mut().now_or_never().is_none());
    let later = SystemTime::now() + PERIOD * 20;
    answers.set(move |token| Ok(accepted(token).with_expires_at(later)));
    let start = Instant::now();
    expiring.await;
    assert!(start.elapsed() > PERIOD * 15, "{:?}", start.elapsed());
}
