//! A handler that requires a better or newer sign-in during a session.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod support;

use std::{future::pending, time::Duration};

use axum::{Router, extract::ws::Message};
use axum_ws_auth::{
    AuthenticatedSocket, CloseCodes, EndReason, RefreshProtocol, RefreshRequest, Session, Sessions, StepUp,
    StepUpError, Token, WsAuthLayer,
};
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::{Value, json};
use support::*;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

type Socket = AuthenticatedSocket<String>;
type Outcome = Result<(), StepUpError>;
type Outcomes = mpsc::UnboundedReceiver<Outcome>;

const SECOND: Duration = Duration::from_secs(1);

fn mfa() -> StepUp {
    StepUp::new().acr_values(["mfa", "hwk"]).unwrap()
}

/// The third part of a token for [`timed`] is its `acr`.
async fn require(session: &Session<String>, step_up: &StepUp) -> Outcome {
    session.require(step_up, |claims, now| step_up.check(claims.split('.').nth(2), None, now)).await
}

fn layer() -> WsAuthLayer {
    WsAuthLayer::new(timed).refresh_protocol(RefreshProtocol::json())
}

/// A handler that waits for the user, and then receives and echoes.
fn waiting(layer: WsAuthLayer, step_up: StepUp) -> (Router, Outcomes) {
    let (sender, outcomes) = mpsc::unbounded_channel();
    let app = behind(layer, move |socket: Socket| {
        let (sender, step_up) = (sender.clone(), step_up.clone());
        async move {
            let outcome = require(socket.session(), &step_up).await;
            let _ = sender.send(outcome);
            echo(socket).await;
        }
    });
    (app, outcomes)
}

async fn echo(mut socket: Socket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn next_text(client: &mut ClientSocket) -> String {
    let message = timeout(3600 * SECOND, client.next()).await.expect("a message in time");
    message.unwrap().unwrap().to_text().unwrap().to_owned()
}

async fn next_json(client: &mut ClientSocket) -> Value {
    serde_json::from_str(&next_text(client).await).unwrap()
}

async fn refresh(client: &mut ClientSocket, token: &str) {
    client.send(json!({ "type": "auth.refresh", "token": token }).to_string().into()).await.unwrap();
}

fn required(within: u64) -> Value {
    json!({ "type": "auth.required", "acr_values": "mfa hwk", "within": within })
}

fn refreshed(expires_in: u64) -> Value {
    json!({ "type": "auth.refreshed", "expires_in": expires_in })
}

#[tokio::test(start_paused = true)]
async fn better_token_lets_a_handler_go_on_that_does_not_receive() {
    let (app, mut outcomes) = waiting(layer(), mfa());
    let mut client = connected(&app, "alice.600").await;
    assert_eq!(next_json(&mut client).await, required(120));
    sleep(60 * SECOND).await;
    refresh(&mut client, "alice.600.hwk").await;
    assert_eq!(next_json(&mut client).await, refreshed(600));
    assert_eq!(outcomes.recv().await, Some(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn client_whose_sign_in_is_good_enough_is_not_asked() {
    let (app, mut outcomes) = waiting(layer(), mfa());
    let mut client = connected(&app, "alice.600.mfa").await;
    assert_eq!(outcomes.recv().await, Some(Ok(())));
    client.send("hello".into()).await.unwrap();
    assert_eq!(next_text(&mut client).await, "hello");
}

#[tokio::test(start_paused = true)]
async fn message_says_what_the_next_token_needs() {
    let step_up = mfa().max_age(300 * SECOND).scope("transfer").unwrap().within(30 * SECOND).unwrap();
    let (app, _) = waiting(layer(), step_up);
    let message = next_json(&mut connected(&app, "alice.600").await).await;
    let expected = json!({
        "type": "auth.required", "acr_values": "mfa hwk", "max_age": 300, "scope": "transfer", "within": 30,
    });
    assert_eq!(message, expected);
}

#[tokio::test(start_paused = true)]
async fn insufficient_token_is_answered_by_asking_again() {
    let (app, mut outcomes) = waiting(layer(), mfa());
    let mut client = connected(&app, "alice.600").await;
    assert_eq!(next_json(&mut client).await, required(120));
    sleep(20 * SECOND).await;
    refresh(&mut client, "alice.600.pwd").await;
    assert_eq!(next_json(&mut client).await, refreshed(600));
    assert_eq!(next_json(&mut client).await, required(100));
    // A refused token changes nothing.
    refresh(&mut client, "bob.600.mfa").await;
    assert_eq!(next_json(&mut client).await["reason"], "other_subject");
    assert!(outcomes.recv().now_or_never().is_none());
    refresh(&mut client, "alice.600.mfa").await;
    assert_eq!(next_json(&mut client).await, refreshed(600));
    assert_eq!(outcomes.recv().await, Some(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn session_ends_without_a_better_token() {
    for (codes, code) in [(CloseCodes::IANA, 3003), (CloseCodes::HTTP_LIKE, 4403)] {
        let (app, mut outcomes) = waiting(layer().close_codes(codes), mfa().within(30 * SECOND).unwrap());
        let start = Instant::now();
        let mut client = connected(&app, "alice.600").await;
        assert_eq!(next_json(&mut client).await, required(30));
        assert_eq!(closed(&mut client).await, (code, "insufficient_user_authentication".to_owned()));
        assert_eq!(outcomes.recv().await, Some(Err(StepUpError::TimedOut)));
        assert_eq!(start.elapsed().as_secs(), 30);
    }
}

#[tokio::test(start_paused = true)]
async fn session_can_be_kept_without_a_better_token() {
    let (app, mut outcomes) = waiting(layer(), mfa().keep_session());
    let mut client = connected(&app, "alice.600").await;
    assert_eq!(next_json(&mut client).await, required(120));
    assert_eq!(outcomes.recv().await, Some(Err(StepUpError::TimedOut)));
    client.send("hello".into()).await.unwrap();
    assert_eq!(next_text(&mut client).await, "hello");
    // Too late, but a refresh like any other.
    refresh(&mut client, "alice.600.mfa").await;
    assert_eq!(next_json(&mut client).await, refreshed(600));
}

#[tokio::test(start_paused = true)]
async fn end_of_the_session_ends_the_wait() {
    let sessions = Sessions::new();
    let (app, mut outcomes) = waiting(layer().sessions(&sessions), mfa());
    let _expiring = connected(&app, "alice.60").await;
    assert_eq!(outcomes.recv().await, Some(Err(StepUpError::Ended(EndReason::TokenExpired))));
    let mut revoked = connected(&app, "alice.600").await;
    next_json(&mut revoked).await;
    sessions.end_subject("alice");
    assert_eq!(outcomes.recv().await, Some(Err(StepUpError::Ended(EndReason::Revoked))));
}

#[tokio::test(start_paused = true)]
async fn client_that_leaves_ends_the_wait_at_once() {
    for is_polite in [true, false] {
        let (app, mut outcomes) = waiting(layer(), mfa());
        let mut client = connected(&app, "alice.600").await;
        next_json(&mut client).await;
        // Its last words are not acted upon.
        refresh(&mut client, "alice.600.mfa").await;
        if is_polite {
            client.close(None).await.unwrap();
        }
        drop(client);
        let start = Instant::now();
        assert_eq!(outcomes.recv().await, Some(Err(StepUpError::Ended(EndReason::Closed))));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn handler_receives_afterwards_what_was_sent_meanwhile() {
    let (app, mut outcomes) = waiting(layer(), mfa());
    let mut client = connected(&app, "alice.600").await;
    next_json(&mut client).await;
    let sent: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    for text in &sent[..6] {
        client.send(text.as_str().into()).await.unwrap();
    }
    refresh(&mut client, "alice.600.mfa").await;
    for text in &sent[6..] {
        client.send(text.as_str().into()).await.unwrap();
    }
    assert_eq!(next_json(&mut client).await, refreshed(600));
    assert_eq!(outcomes.recv().await, Some(Ok(())));
    for text in &sent {
        assert_eq!(&next_text(&mut client).await, text);
    }
}

#[tokio::test(start_paused = true)]
async fn two_tokens_at_once_are_both_answered() {
    let (app, mut outcomes) = waiting(layer(), mfa());
    let mut client = connected(&app, "alice.600").await;
    next_json(&mut client).await;
    refresh(&mut client, "alice.600.pwd").await;
    refresh(&mut client, "alice.700.mfa").await;
    assert_eq!(next_json(&mut client).await, refreshed(600));
    // Whether it is asked again in between depends on when the handler runs.
    let next = next_json(&mut client).await;
    assert!(next == refreshed(700) || next_json(&mut client).await == refreshed(700), "{next}");
    assert_eq!(outcomes.recv().await, Some(Ok(())));
}

/// A client may send any number of messages if the handler receives.
#[tokio::test(start_paused = true)]
async fn handler_may_receive_while_it_waits() {
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    let app = behind(layer(), move |mut socket: Socket| {
        let sender = sender.clone();
        async move {
            let (session, step_up) = (socket.session().clone(), mfa());
            let mut required = std::pin::pin!(require(&session, &step_up));
            loop {
                tokio::select! {
                    outcome = &mut required => {
                        let _ = sender.send(outcome);
                        break;
                    }
                    Some(Ok(message)) = socket.recv() => socket.send(message).await.unwrap(),
                }
            }
            echo(socket).await;
        }
    });
    let mut client = connected(&app, "alice.600").await;
    assert_eq!(next_json(&mut client).await, required(120));
    for round in 0..100 {
        let text = format!("{round}{}", "x".repeat(20 * 1024));
        client.send(text.as_str().into()).await.unwrap();
        assert_eq!(next_text(&mut client).await, text);
    }
    refresh(&mut client, "alice.600.mfa").await;
    assert_eq!(next_json(&mut client).await, refreshed(600));
    assert_eq!(outcomes.recv().await, Some(Ok(())));
    client.send("hello".into()).await.unwrap();
    assert_eq!(next_text(&mut client).await, "hello");
}

#[tokio::test(start_paused = true)]
async fn another_task_may_receive_meanwhile() {
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    let app = behind(layer(), move |socket: Socket| {
        let sender = sender.clone();
        async move {
            let session = socket.session().clone();
            // It waits for a message already when the supervisor begins to read.
            tokio::spawn(echo(socket));
            settle().await;
            let _ = sender.send(require(&session, &mfa()).await);
        }
    });
    let mut client = connected(&app, "alice.600").await;
    assert_eq!(next_json(&mut client).await, required(120));
    for round in 0..100 {
        client.send(round.to_string().into()).await.unwrap();
    }
    for round in 0..100 {
        assert_eq!(next_text(&mut client).await, round.to_string());
    }
    refresh(&mut client, "alice.600.mfa").await;
    assert_eq!(next_json(&mut client).await, refreshed(600));
    assert_eq!(outcomes.recv().await, Some(Ok(())));
    client.send("hello".into()).await.unwrap();
    assert_eq!(next_text(&mut client).await, "hello");
}

#[tokio::test(start_paused = true)]
async fn requirement_that_is_dropped_has_no_effect() {
    let app = behind(layer(), |socket: Socket| async move {
        let _ = timeout(10 * SECOND, require(socket.session(), &mfa())).await;
        echo(socket).await;
    });
    let mut client = connected(&app, "alice.600").await;
    assert_eq!(next_json(&mut client).await, required(120));
    client.send("early".into()).await.unwrap();
    sleep(300 * SECOND).await;
    client.send("late".into()).await.unwrap();
    assert_eq!(next_text(&mut client).await, "early");
    assert_eq!(next_text(&mut client).await, "late");
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_read_is_bounded() {
    let app = behind(layer(), |socket: Socket| async move {
        // More than the pipe holds.
        for _ in 0..2_000 {
            let _ = timeout(Duration::from_millis(1), require(socket.session(), &mfa())).await;
        }
        pending::<()>().await;
    });
    let mut client = connected(&app, "alice.600").await;
    sleep(60 * SECOND).await;
    let mut messages = 0;
    while let Ok(Some(Ok(_))) = timeout(SECOND, client.next()).await {
        messages += 1;
    }
    assert!((100..1_000).contains(&messages), "{messages}: withdrawn demands are not sent");
}

#[tokio::test(start_paused = true)]
async fn two_requirements_wait_side_by_side() {
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    let app = behind(layer(), move |socket: Socket| {
        let sender = sender.clone();
        async move {
            let (hwk, mfa) = (StepUp::new().acr_values(["hwk"]).unwrap(), mfa());
            let both = tokio::join!(require(socket.session(), &mfa), require(socket.session(), &hwk));
            let _ = sender.send(both);
            pending::<()>().await;
        }
    });
    let mut client = connected(&app, "alice.600").await;
    assert_eq!(next_json(&mut client).await, required(120));
    let hwk = json!({ "type": "auth.required", "acr_values": "hwk", "within": 120 });
    assert_eq!(next_json(&mut client).await, hwk);
    refresh(&mut client, "alice.600.mfa").await;
    assert_eq!(next_json(&mut client).await, refreshed(600));
    assert_eq!(next_json(&mut client).await, hwk);
    refresh(&mut client, "alice.600.hwk").await;
    assert_eq!(outcomes.recv().await, Some((Ok(()), Ok(()))));
}

#[tokio::test(start_paused = true)]
async fn protocol_of_ones_own_may_have_a_message() {
    /// Passes on what it read, which must not be read twice.
    fn read(message: &Message) -> Option<RefreshRequest> {
        let token = message.to_text().ok()?.strip_prefix("token ")?;
        Some(RefreshRequest::new(Token::new(token)).pass_on(message.clone()))
    }
    let protocol = RefreshProtocol::new(read, |_, outcome| Some(format!("{}", outcome.is_ok()).into()));
    for has_message in [true, false] {
        let protocol = match has_message {
            true => protocol.clone().require_with(|required, within| {
                format!("sign in with {} within {within:?}", required.acr_values().unwrap_or_default())
            }),
            false => protocol.clone(),
        };
        let (app, mut outcomes) = waiting(WsAuthLayer::new(timed).refresh_protocol(protocol), mfa());
        let mut client = connected(&app, "alice.600").await;
        if has_message {
            assert_eq!(next_text(&mut client).await, "sign in with mfa hwk within 120s");
        }
        settle().await;
        client.send("token alice.600.mfa".into()).await.unwrap();
        assert_eq!(next_text(&mut client).await, "true");
        assert_eq!(outcomes.recv().await, Some(Ok(())));
        assert_eq!(next_text(&mut client).await, "token alice.600.mfa", "once, from the handler");
        client.send("hello".into()).await.unwrap();
        assert_eq!(next_text(&mut client).await, "hello");
    }
}

#[tokio::test(start_paused = true)]
async fn refresh_from_elsewhere_satisfies_it_too() {
    let (sender, mut sessions) = mpsc::unbounded_channel();
    let (outcome, mut outcomes) = mpsc::unbounded_channel();
    // Without a protocol, the application tells the client itself.
    let app = behind(WsAuthLayer::new(timed), move |socket: Socket| {
        let (sender, outcome) = (sender.clone(), outcome.clone());
        async move {
            let _ = sender.send(socket.session().clone());
            let _ = outcome.send(require(socket.session(), &mfa()).await);
            pending::<()>().await;
        }
    });
    let _client = connected(&app, "alice.600").await;
    let session = sessions.recv().await.unwrap();
    settle().await;
    session.refresh(Token::new("alice.600.mfa")).await.unwrap();
    assert_eq!(outcomes.recv().await, Some(Ok(())));
}

/// Sufficient claims are no use to a session that ended before the handler could see them.
#[tokio::test(start_paused = true)]
async fn end_just_after_a_sufficient_token_wins() {
    for (token, is_ended_elsewhere, reason) in
        [("alice.0.mfa", false, EndReason::TokenExpired), ("alice.600.mfa", true, EndReason::Policy)]
    {
        let (sender, mut sessions) = mpsc::unbounded_channel();
        let (outcome, mut outcomes) = mpsc::unbounded_channel();
        let app = behind(WsAuthLayer::new(timed), move |socket: Socket| {
            let (sender, outcome) = (sender.clone(), outcome.clone());
            async move {
                let _ = sender.send(socket.session().clone());
                let _ = outcome.send(require(socket.session(), &mfa()).await);
            }
        });
        let _client = connected(&app, "alice.600").await;
        let session = sessions.recv().await.unwrap();
        settle().await;
        // A token that expires while it is being verified is accepted, and ends the session.
        session.refresh(Token::new(token)).await.unwrap();
        assert!(!is_ended_elsewhere || session.end(), "{token}");
        assert_eq!(outcomes.recv().await, Some(Err(StepUpError::Ended(reason))), "{token}");
    }
}
