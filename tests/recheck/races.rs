//! Rechecks that race with a refresh, or with the end of the session.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum_ws_auth::{EndReason, Session, Sessions, Token, VerifyError};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::{Answer, Answers, PERIOD, accepted, accepted_for_good, layer, open, sessions_of, support::*};

/// Waits with the answer until the test lets it go.
#[derive(Clone, Default)]
struct Gate(Arc<Notify>);

impl Gate {
    fn hold(&self, answers: &Answers, answer: fn(&str) -> Answer) {
        let gate = Arc::clone(&self.0);
        answers.set_async(move |token| {
            let gate = Arc::clone(&gate);
            async move {
                gate.notified().await;
                answer(&token)
            }
        });
    }

    fn release(&self) {
        self.0.notify_one();
    }
}

async fn recheck_in_progress(answers: &Answers) {
    while answers.running() == 0 {
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn refresh_drops_the_recheck_of_the_old_token() {
    let old_answers: [fn(&str) -> Answer; 2] =
        [|_| Ok(accepted("alice").map(|_| "old".to_owned())), |_| Err(VerifyError::invalid())];
    for old_answer in old_answers {
        let (answers, gate) = (Answers::yes(), Gate::default());
        let (_client, session) = open(layer(answers.clone()), "alice.1").await;
        gate.hold(&answers, old_answer);
        recheck_in_progress(&answers).await;
        answers.set(|token| Ok(accepted(token)));
        session.refresh(Token::new("alice.2")).await.unwrap();
        gate.release();
        settle().await;
        assert_eq!(answers.running(), 0);
        assert_eq!((session.claims().as_str(), session.end_reason()), ("alice.2", None));
        // From here on the new token is rechecked.
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        answers.set({
            let asked = Arc::clone(&asked);
            move |token| {
                asked.lock().unwrap().push(token.to_owned());
                Ok(accepted(token))
            }
        });
        sleep(PERIOD).await;
        assert_eq!(*asked.lock().unwrap(), ["alice.2"]);
    }
}

#[tokio::test(start_paused = true)]
async fn refused_refresh_leaves_the_recheck() {
    let (answers, gate) = (Answers::yes(), Gate::default());
    let (mut client, session) = open(layer(answers.clone()), "alice.1").await;
    gate.hold(&answers, |_| Err(VerifyError::invalid()));
    recheck_in_progress(&answers).await;
    answers.set(|_| Err(VerifyError::forbidden()));
    session.refresh(Token::new("alice.2")).await.unwrap_err();
    assert_eq!((answers.running(), session.end_reason()), (1, None));
    gate.release();
    assert_eq!(closed(&mut client).await, (3000, "revoked".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn refresh_starts_and_stops_rechecks() {
    let answers =
        Answers::new(|token| Ok(if token.ends_with("rechecked") { accepted(token) } else { accepted_for_good(token) }));
    let (_client, session) = open(layer(answers.clone()), "alice").await;
    let tasks = alive_tasks();
    for _ in 0..2 {
        for (token, is_rechecked) in [("alice.rechecked", true), ("alice.not", false)] {
            session.refresh(Token::new(token)).await.unwrap();
            settle().await;
            assert_eq!(alive_tasks(), tasks + usize::from(is_rechecked), "{token}");
            let before = answers.count();
            sleep(PERIOD * 10).await;
            assert_eq!(answers.count() > before, is_rechecked, "{token}");
        }
    }
    // Without a pause in between, there is still one task.
    for token in ["alice.rechecked", "alice.not", "alice.rechecked"] {
        session.refresh(Token::new(token)).await.unwrap();
    }
    settle().await;
    assert_eq!(alive_tasks(), tasks + 1);
}

#[tokio::test(start_paused = true)]
async fn end_drops_the_recheck() {
    let end: [fn(&Session<String>, &Sessions); 2] =
        [|session, _| assert!(session.end()), |_, sessions| assert_eq!(sessions.end_subject("alice"), 1)];
    for end in end {
        let (answers, gate, sessions) = (Answers::yes(), Gate::default(), Sessions::new());
        let layer = layer(answers.clone()).sessions(&sessions);
        let (mut client, session) = open(layer, "alice").await;
        gate.hold(&answers, |token| Ok(accepted(token)));
        recheck_in_progress(&answers).await;
        end(&session, &sessions);
        settle().await;
        assert_eq!(answers.running(), 0);
        closed(&mut client).await;
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_session_ends_at_once_during_its_recheck() {
    let (answers, gate, sessions) = (Answers::yes(), Gate::default(), Sessions::new());
    let layer = layer(answers.clone()).sessions(&sessions);
    let session = sessions_of(layer, ["alice".to_owned()]).await.remove(0);
    let watcher = session.watch();
    gate.hold(&answers, |token| Ok(accepted(token)));
    recheck_in_progress(&answers).await;
    drop(session);
    assert_eq!((watcher.end_reason(), sessions.count()), (Some(EndReason::Closed), 0));
    settle().await;
    assert_eq!((answers.running(), alive_tasks()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn answer_after_the_deadline_does_not_revive_the_session() {
    let (answers, gate) = (Answers::yes(), Gate::default());
    answers.set(|token| Ok(accepted(token).with_expires_at(std::time::SystemTime::now() + PERIOD).recheck_in(PERIOD)));
    let (mut client, _session) = open(layer(answers.clone()), "alice").await;
    let start = Instant::now();
    gate.hold(&answers, |token| Ok(accepted(token)));
    assert_eq!(closed(&mut client).await, (3000, "token_expired".to_owned()));
    assert_eq!(start.elapsed().as_secs(), PERIOD.as_secs());
    gate.release();
    settle().await;
    assert_eq!(answers.running(), 0);
}

pub(crate) fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
