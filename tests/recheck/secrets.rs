//! The token that a session keeps is shown nowhere, and events say what happened.

use std::time::Duration;

use axum_ws_auth::{Recheck, Sessions, Token, Verified, VerifyError};
use tokio::time::sleep;
use tracing::Level;

use crate::{
    Answers, PERIOD, accepted, layer, open,
    support::{TOKEN, log::captured, settle},
};

#[test]
fn debug_shows_no_check_and_no_claims() {
    let secret = Token::new(TOKEN);
    let verified = Verified::new(TOKEN).recheck_with(PERIOD, async move || {
        let _ = secret.expose();
        Ok(Recheck::unchanged())
    });
    assert_eq!(
        format!("{verified:?}"),
        "Verified { expires_at: None, subject: None, issuer: None, token_id: None, issued_at: None, recheck_in: \
         Some(60s), .. }"
    );
    assert_eq!(format!("{:?}", Recheck::unchanged()), "Recheck { expires_at: None, recheck_in: None }");
}

#[tokio::test(start_paused = true)]
async fn nothing_shows_the_token_of_a_rechecked_session() {
    let answers = Answers::new(|_| Ok(accepted("alice")));
    let sessions = Sessions::new();
    let layer = layer(answers.clone()).sessions(&sessions);
    let run = async {
        let (client, session) = open(layer.clone(), TOKEN).await;
        sleep(PERIOD * 2).await;
        let shown = format!("{layer:?} {session:?} {sessions:?} {:?} {:?}", session.watch(), sessions.iter().next());
        answers.set(|_| Err(VerifyError::unavailable(Duration::from_secs(1)).with_source("the store is down")));
        sleep(PERIOD * 2).await;
        answers.set(|_| Err(VerifyError::invalid()));
        sleep(PERIOD).await;
        drop((client, session));
        settle().await;
        shown
    };
    let (shown, log) = captured(Level::TRACE, run).await;
    for text in [&shown, &log] {
        assert!(!text.contains(TOKEN) && !text.contains(&TOKEN[20..50]), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_say_what_happened() {
    if cfg!(not(feature = "tracing")) {
        return;
    }
    let answers = Answers::yes();
    let run = async {
        let (_one, _) = open(layer(answers.clone()), "alice").await;
        sleep(PERIOD).await;
        answers.set(|_| Err(VerifyError::unavailable(Duration::from_secs(1)).with_source("the store is down")));
        sleep(PERIOD * 2).await;
        answers.set(|_| Err(VerifyError::forbidden()));
        sleep(PERIOD).await;
        settle().await;
    };
    // The task is not in this future, so everything of this thread is captured.
    let log = crate::support::log::Log::default();
    let capture = log.capture(Level::DEBUG);
    run.await;
    drop(capture);
    assert!(log.has("DEBUG", "session rechecked session="), "{}", log.text());
    assert!(log.has("INFO", "session recheck refused session="), "{}", log.text());
    assert!(log.text().contains("reason=\"forbidden\""), "{}", log.text());
    let warnings: Vec<_> = log.text().lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect();
    assert_eq!(warnings.len(), 1, "one for each outage: {warnings:?}");
    assert!(warnings[0].contains("session recheck unavailable session="), "{warnings:?}");
    assert!(warnings[0].contains("error=the token cannot be verified now"), "{warnings:?}");
    assert!(log.has("DEBUG", "cause of the failure"), "{}", log.text());
}
