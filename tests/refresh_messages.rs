//! What a refresh protocol sends without being asked, and how a handler learns of refreshes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod support;

use std::{
    future::pending,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{Router, extract::ws::Message};
use axum_ws_auth::{
    AuthenticatedSocket, EndReason, FirstMessage, RefreshProtocol, Session, SessionId, TimeSource, Token, WsAuthLayer,
    test_util::{self, handshake},
};
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::{Value, json};
use support::*;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::tungstenite::Message as ClientMessage;

type Socket = AuthenticatedSocket<String>;

/// An application that passes on the sessions of its sockets.
fn app(protocol: RefreshProtocol) -> (Router, mpsc::UnboundedReceiver<Session<String>>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let app = behind(WsAuthLayer::new(timed).refresh_protocol(protocol), move |mut socket: Socket| {
        let _ = sender.send(socket.session().clone());
        async move { while let Some(Ok(_)) = socket.recv().await {} }
    });
    (app, receiver)
}

async fn next_json(client: &mut ClientSocket) -> Value {
    serde_json::from_str(client.next().await.unwrap().unwrap().to_text().unwrap()).unwrap()
}

async fn is_silent(client: &mut ClientSocket, time: Duration) -> bool {
    timeout(time, client.next()).await.is_err()
}

fn expiring(seconds: u64) -> Value {
    json!({ "type": "auth.expiring", "expires_in": seconds })
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn greeting_precedes_everything_from_the_handler() {
    let (sender, mut sessions) = mpsc::unbounded_channel();
    let app = behind(
        WsAuthLayer::new(timed).refresh_protocol(RefreshProtocol::json().greeting()),
        move |mut socket: Socket| {
            let _ = sender.send(socket.session().id());
            // Even a message that is queued before the handler is polled.
            let queued = socket.start_send_unpin("of the handler".into());
            async move {
                queued.unwrap();
                socket.flush().await.unwrap();
                pending::<()>().await;
            }
        },
    );
    for (token, expires_in) in [("alice.3600", json!(3600)), ("alice", Value::Null)] {
        let mut client = connected(&app, token).await;
        let session: SessionId = sessions.recv().await.unwrap();
        let expected = json!({ "type": "auth.session", "session": session.to_string(), "expires_in": expires_in });
        assert_eq!(next_json(&mut client).await, expected);
        assert_eq!(client.next().await.unwrap().unwrap().to_text().unwrap(), "of the handler");
    }
}

#[tokio::test(start_paused = true)]
async fn greeting_is_sent_whatever_the_handler_does() {
    let never_look = |socket: Socket| async move {
        let _held = socket;
        pending::<()>().await;
    };
    let app = behind(WsAuthLayer::new(timed).refresh_protocol(RefreshProtocol::json().greeting()), never_look);
    let mut client = connected(&app, "alice.60").await;
    assert_eq!(next_json(&mut client).await["type"], "auth.session");
}

#[tokio::test(start_paused = true)]
async fn greeting_follows_the_acknowledgement_of_the_first_message() {
    let layer = WsAuthLayer::new(timed)
        .first_message(FirstMessage::home_assistant())
        .refresh_protocol(RefreshProtocol::json().greeting());
    let app = behind(layer, |mut socket: Socket| async move {
        socket.send("of the handler".into()).await.unwrap();
        pending::<()>().await;
    });
    let (mut client, _) = test_util::connect(app, handshake().build()).await.unwrap();
    assert_eq!(next_json(&mut client).await["type"], "auth_required");
    client.send(json!({ "type": "auth", "access_token": "alice.60" }).to_string().into()).await.unwrap();
    assert_eq!(next_json(&mut client).await["type"], "auth_ok");
    let greeting = next_json(&mut client).await;
    assert_eq!((&greeting["type"], &greeting["expires_in"]), (&json!("auth.session"), &json!(60)));
    assert_eq!(client.next().await.unwrap().unwrap().to_text().unwrap(), "of the handler");
}

#[tokio::test(start_paused = true)]
async fn client_is_asked_once_for_each_deadline() {
    let (app, mut sessions) = app(RefreshProtocol::json().ask(MINUTE));
    let mut client = connected(&app, "alice.600").await;
    let session = sessions.recv().await.unwrap();
    assert!(is_silent(&mut client, 539 * SECOND).await);
    let start = Instant::now();
    assert_eq!(next_json(&mut client).await, expiring(60));
    assert!(start.elapsed() <= SECOND + Duration::from_millis(2), "{:?}", start.elapsed());
    assert!(is_silent(&mut client, 30 * SECOND).await, "once");

    // By a message.
    client.send(json!({ "type": "auth.refresh", "token": "alice.300" }).to_string().into()).await.unwrap();
    assert_eq!(next_json(&mut client).await["type"], "auth.refreshed");
    assert!(is_silent(&mut client, 239 * SECOND).await);
    assert_eq!(next_json(&mut client).await, expiring(60));
    // By the application, with a token that is that short.
    session.refresh(Token::new("alice.50")).await.unwrap();
    assert_eq!(next_json(&mut client).await, expiring(50));
    // Without a deadline there is nothing to ask for.
    session.refresh(Token::new("alice")).await.unwrap();
    assert!(is_silent(&mut client, 60 * MINUTE).await);
    session.refresh(Token::new("alice.100")).await.unwrap();
    assert!(is_silent(&mut client, 39 * SECOND).await);
    assert_eq!(next_json(&mut client).await, expiring(60));
    assert_eq!(closed(&mut client).await, (3000, "token_expired".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn client_with_a_short_token_is_asked_at_once() {
    let (app, _sessions) = app(RefreshProtocol::json().greeting().ask(MINUTE));
    let mut client = connected(&app, "alice.20").await;
    assert_eq!(next_json(&mut client).await["type"], "auth.session");
    assert_eq!(next_json(&mut client).await, expiring(20));
}

/// A refresh cannot move the end of the lifetime, so it is announced once.
#[tokio::test(start_paused = true)]
async fn end_of_the_lifetime_is_announced_once() {
    let layer = WsAuthLayer::new(timed)
        .max_lifetime(10 * MINUTE)
        .unwrap()
        .refresh_protocol(RefreshProtocol::json().ask(MINUTE));
    let app = behind(layer, |mut socket: Socket| async move { while let Some(Ok(_)) = socket.recv().await {} });
    let mut client = connected(&app, "alice.3600").await;
    assert!(is_silent(&mut client, 539 * SECOND).await);
    assert_eq!(next_json(&mut client).await, expiring(60));
    client.send(json!({ "type": "auth.refresh", "token": "alice.3600" }).to_string().into()).await.unwrap();
    let refreshed = next_json(&mut client).await;
    assert!(refreshed["expires_in"].as_u64() <= Some(60), "{refreshed}");
    assert_eq!(closed(&mut client).await, (3000, "max_lifetime".to_owned()));
}

/// The wall clock jumps, as after a suspension. The client is asked within a minute.
#[tokio::test(start_paused = true)]
async fn wall_clock_may_jump() {
    let seconds = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&seconds);
    let time = TimeSource::new(move || SystemTime::UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::SeqCst)));
    let layer = WsAuthLayer::new(timed)
        .time_source(time)
        .refresh_protocol(RefreshProtocol::json().ask(Duration::from_secs(600)));
    let app = behind(layer, |mut socket: Socket| async move { while let Some(Ok(_)) = socket.recv().await {} });
    let mut client = connected(&app, "alice.36000").await;
    sleep(SECOND).await;
    seconds.store(36_000 - 300, Ordering::SeqCst);
    let asked = timeout(MINUTE, next_json(&mut client)).await.expect("within a minute");
    assert_eq!(asked, expiring(300));
}

/// A client that does not read has one message queued, however often its deadline moves.
#[tokio::test(start_paused = true)]
async fn questions_do_not_pile_up() {
    let layer =
        WsAuthLayer::new(timed).refresh_limit(u32::MAX, MINUTE).refresh_protocol(RefreshProtocol::json().ask(MINUTE));
    let (sender, mut sessions) = mpsc::unbounded_channel();
    let app = behind(layer, move |mut socket: Socket| {
        let _ = sender.send(socket.session().clone());
        async move {
            socket.send(Message::Binary(vec![0; 100_000].into())).await.unwrap();
            pending::<()>().await;
        }
    });
    let mut client = connected(&app, "alice.3600").await;
    let session = sessions.recv().await.unwrap();
    sleep(SECOND).await;
    for seconds in 1..50 {
        session.refresh(Token::new(format!("alice.{seconds}"))).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(client.next().await.unwrap().unwrap().is_binary());
    assert_eq!(next_json(&mut client).await["type"], "auth.expiring");
    assert_eq!(next_json(&mut client).await, expiring(49), "the newest deadline");
    assert!(is_silent(&mut client, 40 * SECOND).await);
}

/// Centrifugo's clients ask for a token themselves, by the `ttl`, and ignore everything else.
#[tokio::test(start_paused = true)]
async fn centrifugo_has_no_form_for_it() {
    let (app, _sessions) = app(RefreshProtocol::centrifugo().greeting().ask(MINUTE));
    let mut client = connected(&app, "alice.60").await;
    assert!(is_silent(&mut client, 59 * SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn custom_protocol_has_its_own_messages() {
    let custom = || RefreshProtocol::new(|_| None::<Token>, |_, _| None);
    let (app, _sessions) = app(custom()
        .greeting_with(|session, left| format!("hello {} {}", session.to_string().len(), left.unwrap().as_secs()))
        .ask_with(MINUTE, |left| format!("hurry {}", (left + SECOND / 2).as_secs())));
    let mut client = connected(&app, "alice.90").await;
    let hello = client.next().await.unwrap().unwrap();
    assert!(["hello 32 90", "hello 32 89"].contains(&hello.to_text().unwrap()), "{hello}");
    assert_eq!(client.next().await.unwrap().unwrap().to_text().unwrap(), "hurry 60");
    // Without them, the JSON ones.
    let (app, _sessions) = self::app(custom().greeting().ask(MINUTE));
    let mut client = connected(&app, "alice.60").await;
    assert_eq!(next_json(&mut client).await["type"], "auth.session");
    assert_eq!(next_json(&mut client).await, expiring(60));
}

/// Pings and questions share a timer. Each is on time.
#[tokio::test(start_paused = true)]
async fn pings_and_questions_are_both_on_time() {
    let layer = WsAuthLayer::new(timed)
        .keep_alive(7 * SECOND, SECOND)
        .unwrap()
        .refresh_protocol(RefreshProtocol::json().ask(MINUTE));
    let app = behind(layer, |mut socket: Socket| async move { while let Some(Ok(_)) = socket.recv().await {} });
    let mut client = connected(&app, "alice.300").await;
    let start = Instant::now();
    let (mut pings, mut asked) = (0, None);
    while let Some(Ok(message)) = client.next().await {
        match message {
            ClientMessage::Ping(_) => pings += 1,
            ClientMessage::Text(_) => asked = Some(start.elapsed().as_millis()),
            ClientMessage::Close(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!((42..=54).contains(&pings), "{pings}");
    assert!(asked.is_some_and(|asked| asked.abs_diff(240_000) <= 3), "{asked:?}");
    assert!(start.elapsed().as_millis().abs_diff(300_000) <= 3, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn refreshed_waits_for_the_next_refresh_of_any_kind() {
    let (app, mut sessions) = app(RefreshProtocol::json());
    let mut client = connected(&app, "alice.60").await;
    let session = sessions.recv().await.unwrap();
    let mut watcher = session.watch();
    {
        let mut refreshed = pin!(session.refreshed());
        let mut watched = pin!(watcher.refreshed());
        assert!(timeout(SECOND, &mut refreshed).await.is_err());
        assert!(timeout(SECOND, &mut watched).await.is_err());
        client.send(json!({ "type": "auth.refresh", "token": "alice.600" }).to_string().into()).await.unwrap();
        assert_eq!((refreshed.await, watched.await), (Ok(()), Ok(())));
        assert_eq!(session.claims().as_str(), "alice.600");
    }
    // A refusal is none.
    client.send(json!({ "type": "auth.refresh", "token": "bob.600" }).to_string().into()).await.unwrap();
    assert!(timeout(SECOND, watcher.refreshed()).await.is_err());
    session.refresh(Token::new("alice.30")).await.unwrap();
    assert_eq!(watcher.refreshed().now_or_never(), Some(Ok(())));
    // It also waits for the end.
    let start = Instant::now();
    assert_eq!(watcher.refreshed().await, Err(EndReason::TokenExpired));
    assert!(start.elapsed() >= 29 * SECOND);
    assert_eq!(session.refreshed().await, Err(EndReason::TokenExpired));
}

#[tokio::test(start_paused = true)]
async fn watcher_misses_no_refresh() {
    let (app, mut sessions) = app(RefreshProtocol::json());
    let _client = connected(&app, "alice.60").await;
    let session = sessions.recv().await.unwrap();
    let mut watcher = session.watch();
    assert!(watcher.refreshed().now_or_never().is_none());
    // From the call on, not from the first poll.
    let refreshed = session.refreshed();
    session.refresh(Token::new("alice.61")).await.unwrap();
    session.refresh(Token::new("alice.62")).await.unwrap();
    assert_eq!(refreshed.now_or_never(), Some(Ok(())));
    assert!(session.refreshed().now_or_never().is_none(), "these came before the call");
    // Both count as one.
    let mut clone = watcher.clone();
    assert_eq!(watcher.refreshed().now_or_never(), Some(Ok(())));
    assert!(watcher.refreshed().now_or_never().is_none());
    assert_eq!(clone.refreshed().now_or_never(), Some(Ok(())), "a clone has not seen it");
    // A refresh just before the end is seen before it.
    session.refresh(Token::new("alice.63")).await.unwrap();
    session.end();
    assert_eq!(watcher.refreshed().await, Ok(()));
    assert_eq!(watcher.refreshed().await, Err(EndReason::Policy));
}
