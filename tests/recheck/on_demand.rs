//! `Sessions::recheck_subject`.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use axum_ws_auth::{
    EndReason, FirstMessage, FirstToken, Limits, ScopedId, Sessions, Token, Verified, VerifyError,
    test_util::{connect, handshake},
};
use futures_util::{FutureExt, SinkExt};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Answers, PERIOD, accepted, accepted_for_good, connections::idle_behind, layer, limits::MemoryLimits, open,
    sessions_of, support::*,
};

#[tokio::test(start_paused = true)]
async fn sessions_of_the_subject_are_rechecked_at_once() {
    let sessions = Sessions::new();
    let answers = Answers::new(|token| Ok(accepted(token).recheck_in(Duration::MAX)));
    let new = || layer(answers.clone()).sessions(&sessions);
    let (mut alice, _) = open(new(), "alice.1").await;
    let (mut spared, session) = open(new(), "alice.2").await;
    let (_bob, _) = open(new(), "bob.1").await;
    sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(answers.count(), 3, "only on demand");

    answers.set(|token| if token == "alice.1" { Err(VerifyError::forbidden()) } else { Ok(accepted(token)) });
    let start = Instant::now();
    assert_eq!(sessions.recheck_subject("eve"), 0);
    assert_eq!(sessions.recheck_subject(ScopedId::of("https://id.example.com", "alice")), 0);
    assert_eq!(sessions.recheck_subject("alice"), 2);
    assert_eq!(closed(&mut alice).await, (3000, "revoked".to_owned()));
    settle().await;
    assert_eq!((answers.count(), start.elapsed()), (5, Duration::ZERO));
    assert!(futures_util::StreamExt::next(&mut spared).now_or_never().is_none());
    assert_eq!(session.end_reason(), None);
    assert_eq!(sessions.recheck_subject("alice"), 1);
}

#[tokio::test(start_paused = true)]
async fn sessions_without_a_recheck_are_not_counted() {
    let sessions = Sessions::new();
    let answers = Answers::new(|token| Ok(Verified::new(token.to_owned()).with_subject("alice")));
    let layer = layer(answers.clone()).sessions(&sessions);
    let (_client, session) = open(layer, "alice").await;
    assert_eq!(sessions.recheck_subject("alice"), 0);
    settle().await;
    assert_eq!((answers.count(), session.end_reason()), (1, None));
}

#[tokio::test(start_paused = true)]
async fn recheck_on_demand_follows_one_in_progress() {
    let sessions = Sessions::new();
    let answers = Answers::yes();
    let (mut client, _session) = open(layer(answers.clone()).sessions(&sessions), "alice").await;
    // It reads the policy, and then takes a while.
    answers.set_async(async |token| {
        sleep(Duration::from_secs(5)).await;
        Ok(accepted(&token))
    });
    while answers.running() == 0 {
        sleep(Duration::from_millis(100)).await;
    }
    answers.set(|_| Err(VerifyError::forbidden()));
    assert_eq!(sessions.recheck_subject("alice"), 1);
    let start = Instant::now();
    assert_eq!(closed(&mut client).await, (3000, "revoked".to_owned()));
    assert!(start.elapsed() <= Duration::from_secs(5), "{:?}", start.elapsed());
}

/// The answer to the one in progress says that it is the last one.
#[tokio::test(start_paused = true)]
async fn recheck_on_demand_follows_the_last_one() {
    let sessions = Sessions::new();
    let answers = Answers::yes();
    let (_client, session) = open(layer(answers.clone()).sessions(&sessions), "alice").await;
    answers.set_async(async |token| {
        sleep(Duration::from_secs(5)).await;
        Ok(accepted_for_good(&token))
    });
    while answers.running() == 0 {
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(sessions.recheck_subject("alice"), 1);
    sleep(PERIOD * 10).await;
    assert_eq!((answers.count(), session.end_reason()), (3, None), "once more, and not again");
    assert_eq!(sessions.recheck_subject("alice"), 0);
}

/// The answer to the refresh is older than the demand. It may say that there are to be no rechecks of the new token, and
/// the recheck of the old one may be over when it comes.
#[tokio::test(start_paused = true)]
async fn recheck_on_demand_follows_a_refresh_in_progress() {
    const REFRESH: Duration = Duration::from_secs(2);
    for (recheck_in, is_old_slow) in [None, Some(Duration::MAX)].into_iter().flat_map(|at| [(at, false), (at, true)]) {
        let case = format!("{recheck_in:?} {is_old_slow}");
        let sessions = Sessions::new();
        let answers = Answers::new(|token| Ok(accepted(token).recheck_in(Duration::MAX)));
        let (mut client, session) = open(layer(answers.clone()).sessions(&sessions), "alice.old").await;
        let role = Arc::new(AtomicBool::new(true));
        answers.set_async({
            let role = Arc::clone(&role);
            move |token| {
                let mut verified = accepted(&token);
                verified.recheck_in = recheck_in;
                let is_new = token == "alice.new";
                let answer = if role.load(SeqCst) || !is_new { Ok(verified) } else { Err(VerifyError::forbidden()) };
                async move {
                    if is_new || is_old_slow {
                        sleep(REFRESH).await;
                    }
                    answer
                }
            }
        });
        let refresh = tokio::spawn(async move { session.refresh(Token::new("alice.new")).await });
        sleep(REFRESH / 2).await;
        role.store(false, SeqCst);
        assert_eq!(sessions.recheck_subject("alice"), 1, "{case}");
        refresh.await.unwrap().unwrap();
        let closed = timeout(REFRESH * 2, closed(&mut client)).await.expect(&case);
        assert_eq!(closed, (3000, "revoked".to_owned()), "{case}");
    }
}

/// The verifier still accepts the new token.
#[tokio::test(start_paused = true)]
async fn recheck_on_demand_during_a_refresh_is_one_recheck() {
    let sessions = Sessions::new();
    let answers = Answers::new(|token| Ok(accepted(token).recheck_in(Duration::MAX)));
    let (_client, session) = open(layer(answers.clone()).sessions(&sessions), "alice.old").await;
    let tokens = Arc::new(Mutex::new(Vec::new()));
    answers.set_async({
        let tokens = Arc::clone(&tokens);
        move |token| {
            tokens.lock().unwrap().push(token.clone());
            sleep(Duration::from_secs(2)).map(move |()| Ok(accepted_for_good(&token)))
        }
    });
    let refreshed = session.clone();
    let refresh = tokio::spawn(async move { refreshed.refresh(Token::new("alice.new")).await });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(sessions.recheck_subject("alice"), 1);
    refresh.await.unwrap().unwrap();
    sleep(PERIOD * 10).await;
    assert_eq!(*tokens.lock().unwrap(), ["alice.new", "alice.old", "alice.new"]);
    assert_eq!((session.end_reason(), sessions.recheck_subject("alice")), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn recheck_on_demand_during_an_outage_does_not_reset_the_bound() {
    let sessions = Sessions::new();
    let answers = Answers::yes();
    let (_client, session) = open(layer(answers.clone()).sessions(&sessions), "alice").await;
    answers.set(|_| Err(VerifyError::unavailable(Duration::from_secs(1))));
    sleep(PERIOD).await;
    let first = answers.times()[1];
    while sessions.recheck_subject("alice") == 1 {
        sleep(Duration::from_secs(10)).await;
    }
    assert!(first.elapsed() <= Duration::from_secs(310), "{:?}", first.elapsed());
    assert_eq!(session.end_reason(), Some(EndReason::Unconfirmed));
}

#[tokio::test(start_paused = true)]
async fn many_sessions_of_a_subject_do_not_ask_at_one_moment() {
    let sessions = Sessions::new();
    let answers = Answers::yes();
    let layer = layer(answers.clone()).sessions(&sessions).max_concurrent_rechecks(10).unwrap();
    let kept = sessions_of(layer, (0..1000).map(|number| format!("alice.{number}"))).await;
    answers.set_async(async |token| {
        sleep(Duration::from_millis(20)).await;
        Ok(accepted(&token))
    });
    let start = Instant::now();
    assert_eq!(sessions.recheck_subject("alice"), 1000);
    while answers.count() < 2000 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(answers.most(), 10);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    drop(kept);
}

/// Its token was verified before the recheck was asked for.
#[tokio::test(start_paused = true)]
async fn session_that_waits_for_its_lease_is_rechecked_once_it_is_admitted() {
    let store = MemoryLimits::new();
    let sessions = Sessions::with_limits(Limits::new().across_nodes(store.clone()));
    let first_message = FirstMessage::new(|message| Some(FirstToken::new(Token::new(message.to_text().ok()?))));
    for in_first_message in [false, true] {
        let answers = Answers::new(|token| Ok(accepted(token).recheck_in(Duration::MAX)));
        let app = idle_behind(layer(answers.clone()).sessions(&sessions).first_message(first_message.clone()));
        store.slow.store(true, SeqCst);
        let connecting = tokio::spawn(async move {
            if !in_first_message {
                return connected(&app, "alice").await;
            }
            let (mut client, _) = connect(app, handshake().build()).await.unwrap();
            client.send("alice".into()).await.unwrap();
            client
        });
        while sessions.count() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        answers.set(|_| Err(VerifyError::forbidden()));
        assert_eq!(sessions.recheck_subject("alice"), 1, "in the first message: {in_first_message}");
        let mut client = connecting.await.unwrap();
        assert_eq!(closed(&mut client).await, (3000, "revoked".to_owned()));
        store.slow.store(false, SeqCst);
        settle().await;
        assert_eq!(sessions.count(), 0);
    }
}
