//! A verifier that gives no answer.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use axum_ws_auth::{CloseCodes, TimeSource, VerifyError};
use tokio::time::{Instant, sleep};

use crate::{Answer, Answers, PERIOD, accepted, layer, open, sessions_of, support::*};

const BOUND: Duration = Duration::from_secs(5 * 60);

fn unavailable(_: &str) -> Answer {
    Err(VerifyError::unavailable(Duration::from_secs(1)))
}

#[tokio::test(start_paused = true)]
async fn unavailable_keeps_the_session_until_the_bound() {
    for (codes, bound, code) in [
        (CloseCodes::IANA, None, 1013),
        (CloseCodes::HTTP_LIKE, Some(Duration::from_secs(20)), 4503),
        (CloseCodes::CENTRIFUGO, Some(Duration::from_secs(3600)), 3004),
    ] {
        let answers = Answers::yes();
        let mut layer = layer(answers.clone()).close_codes(codes);
        if let Some(bound) = bound {
            layer = layer.max_unconfirmed(bound).unwrap();
        }
        let (mut client, _session) = open(layer, "alice").await;
        answers.set(unavailable);
        assert_eq!(closed(&mut client).await, (code, "unconfirmed".to_owned()));
        let asked = answers.times()[1];
        assert_eq!(asked.elapsed(), bound.unwrap_or(BOUND));
    }
    assert!(layer(Answers::yes()).max_unconfirmed(Duration::ZERO).is_err());
}

#[tokio::test(start_paused = true)]
async fn answer_within_the_bound_keeps_the_session() {
    let answers = Answers::yes();
    let (mut client, session) = open(layer(answers.clone()), "alice").await;
    for _ in 0..3 {
        answers.set(unavailable);
        sleep(BOUND - Duration::from_secs(50)).await;
        assert_eq!(session.end_reason(), None);
        answers.set(|token| Ok(accepted(token)));
        // The longest pause.
        sleep(Duration::from_secs(45)).await;
    }
    assert_eq!(session.end_reason(), None);
    answers.set(|_| Err(VerifyError::invalid()));
    assert_eq!(closed(&mut client).await, (3000, "revoked".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_and_vary() {
    let answers = Answers::yes();
    let patient = layer(answers.clone()).max_unconfirmed(Duration::from_secs(3600)).unwrap();
    let (_client, _session) = open(patient, "alice").await;
    answers.set(unavailable);
    sleep(Duration::from_secs(600)).await;
    let pauses: Vec<_> = answers.times()[1..].windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    for (pause, least) in pauses.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]) {
        assert!((least..=least * 1.5 + 0.01).contains(pause), "{pauses:?}");
    }

    // A verifier may ask for longer pauses.
    let answers = Answers::yes();
    let (mut client, _session) = open(layer(answers.clone()), "alice").await;
    answers.set(|_| Err(VerifyError::unavailable(Duration::from_secs(100))));
    assert_eq!(closed(&mut client).await, (1013, "unconfirmed".to_owned()));
    assert!((3..=4).contains(&(answers.count() - 1)), "{}", answers.count());
}

#[tokio::test(start_paused = true)]
async fn verifier_that_hangs_is_unavailable() {
    let answers = Answers::yes();
    let layer = layer(answers.clone()).refresh_timeout(Duration::from_secs(2)).unwrap();
    let (mut client, _session) = open(layer, "alice").await;
    answers.set_async(async |_| pending().await);
    assert_eq!(closed(&mut client).await, (1013, "unconfirmed".to_owned()));
    assert_eq!(answers.times()[1].elapsed(), BOUND);
    assert!(answers.count() > 5, "{}", answers.count());
    assert_eq!(answers.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn sessions_that_wait_for_their_turn_are_bounded_too() {
    let answers = Answers::yes();
    let layer = layer(answers.clone()).max_concurrent_rechecks(1).unwrap();
    let sessions = sessions_of(layer, (0..100).map(|number| format!("user{number}"))).await;
    answers.set_async(async |_| pending().await);
    let start = Instant::now();
    for session in &sessions {
        assert_eq!(session.ended().await.as_str(), "unconfirmed");
    }
    assert!(start.elapsed() <= PERIOD + BOUND, "{:?}", start.elapsed());
    assert_eq!(answers.most(), 1);
}

#[tokio::test(start_paused = true)]
async fn verifier_that_panics_is_unavailable() {
    let answers = Answers::yes();
    let (mut client, session) = open(layer(answers.clone()), "alice").await;
    answers.set(|_| panic!("a mistake in the verifier"));
    sleep(PERIOD * 2).await;
    assert!(answers.count() > 2, "it is asked again");
    assert_eq!(session.end_reason(), None);
    answers.set(|token| Ok(accepted(token)));
    sleep(PERIOD * 10).await;
    assert_eq!(session.end_reason(), None);
    answers.set(|_| panic!("a mistake in the verifier"));
    assert_eq!(closed(&mut client).await, (1013, "unconfirmed".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn clock_that_jumps_ahead_ends_no_session_before_it_was_asked_about() {
    let ahead = Arc::new(AtomicBool::new(false));
    let start = SystemTime::now();
    let time = TimeSource::new({
        let ahead = Arc::clone(&ahead);
        move || if ahead.load(SeqCst) { start + Duration::from_secs(24 * 3600) } else { start }
    });
    let answers = Answers::yes();
    let layer = layer(answers.clone()).time_source(time);
    let (_client, session) = open(layer, "alice").await;
    ahead.store(true, SeqCst);
    sleep(PERIOD * 2).await;
    assert_eq!(session.end_reason(), None);
    assert!(answers.count() > 1);
}
