//! What handlers and the application can do with the session of a stream.

use std::time::Duration;

use axum_ws_auth::{EndReason, MemoryRevocations, Revocations, Token};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};
use tracing::Level;

use super::{
    DOWNLOAD, EVENTS, End, Fixture, last_event, next, rest,
    support::{log::captured, settle},
};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn refresh_keeps_a_stream_alive() {
    let fixture = Fixture::new();
    let begin = Instant::now();
    let (body, source) = fixture.open("alice.60", EVENTS).await;
    let reading = tokio::spawn(rest(body));
    sleep(MINUTE / 2).await;
    source.session().refresh(Token::new("alice.600")).await.unwrap();
    assert_eq!(reading.await.unwrap(), (last_event("token_expired"), End::Regular));
    assert_eq!(begin.elapsed().as_secs(), 630);
}

#[tokio::test(start_paused = true)]
async fn streams_are_ended_like_sockets() {
    let revocations = Revocations::new(MemoryRevocations::new());
    let fixture = Fixture::with(|layer| layer.revocations(&revocations));
    for by in [
        "subject",
        "token",
        "provider_session",
        "session",
        "all",
        "revoke_subject",
        "revoke_token",
        "revoke_provider_session",
        "revoke_session",
    ] {
        for (content_type, number) in [(EVENTS, 1), (DOWNLOAD, 2)] {
            // A revocation is for good, so each round has a user of its own.
            let name = format!("{by}-{number}");
            let (_other, other) = fixture.open("bob.600.other", content_type).await;
            let (body, source) = fixture.open(&format!("{name}.600.{name}"), content_type).await;
            let reading = tokio::spawn(rest(body));
            settle().await;
            let id = source.session().id();
            match by {
                "subject" => assert_eq!(fixture.sessions.end_subject(&*name), 1),
                "token" => assert_eq!(fixture.sessions.end_token(&*name), 1),
                "provider_session" => assert_eq!(fixture.sessions.end_provider_session(format!("of {name}")), 1),
                "session" => assert_eq!(fixture.sessions.end(id), 1),
                "all" => assert_eq!(fixture.sessions.end_all(), 2),
                "revoke_subject" => revocations.revoke_subject(&*name).await.unwrap(),
                "revoke_token" => revocations.revoke_token(&*name).await.unwrap(),
                "revoke_provider_session" => revocations.revoke_provider_session(format!("of {name}")).await.unwrap(),
                _ => revocations.revoke_session(id).await.unwrap(),
            }
            let expected = match content_type {
                EVENTS => (last_event("revoked"), End::Regular),
                _ => (String::new(), End::Failed(EndReason::Revoked)),
            };
            assert_eq!(reading.await.unwrap(), expected, "{by}");
            assert_eq!(other.session().end_reason().is_some(), by == "all", "{by}");
        }
    }
}

/// A handler that waits for the end itself sees it, and whoever holds a clone of the session does not keep it alive.
#[tokio::test(start_paused = true)]
async fn handles_see_the_end_of_the_body() {
    let fixture = Fixture::new();
    let (body, source) = fixture.open("alice.60", EVENTS).await;
    let (clone, watcher) = (source.session().clone(), source.session().watch());
    let waiting = tokio::spawn(async move { clone.ended().await });
    settle().await;
    assert!(!waiting.is_finished());
    drop(body);
    assert_eq!(waiting.await.unwrap(), EndReason::Closed);
    assert_eq!(watcher.ended().await, EndReason::Closed);
    assert_eq!(fixture.sessions.end_subject("alice"), 0);
}

/// The warnings for handlers that forget their session are for upgrades. Here the layer sees to it.
#[tokio::test(start_paused = true)]
async fn log_tells_of_the_end_and_warns_of_nothing() {
    if cfg!(not(feature = "tracing")) {
        return;
    }
    let ((), log) = captured(Level::DEBUG, async {
        for content_type in [EVENTS, DOWNLOAD] {
            let fixture = Fixture::new();
            let (mut body, mut source) = fixture.open("alice.60", content_type).await;
            source.session = None;
            source.send("data: 1\n\n");
            next(&mut body).await;
            fixture.sessions.end_all();
            drop(rest(body).await);
            let (mut body, mut source) = fixture.open("alice.60", content_type).await;
            source.session = None;
            drop(source);
            assert!(body.frame().await.is_none());
        }
    })
    .await;
    let ends: Vec<_> = log.lines().filter(|line| line.contains("session ended")).collect();
    assert_eq!(ends.len(), 4, "{log}");
    for (line, reason) in ends.iter().zip(["revoked", "closed", "revoked", "closed"]) {
        assert!(line.contains("DEBUG") && line.contains(&format!("reason=\"{reason}\"")), "{line}");
        assert!(line.contains("subject=\"alice\""), "{line}");
    }
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

/// Ten thousand streams of one subject.
#[tokio::test]
async fn all_streams_of_a_subject_end() {
    const COUNT: usize = 10_000;
    let fixture = Fixture::new();
    let mut reading = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let (body, source) = fixture.open("alice.600", EVENTS).await;
        reading.push((tokio::spawn(rest(body)), source));
    }
    settle().await;
    assert_eq!(fixture.sessions.count(), COUNT);
    assert_eq!(fixture.sessions.end_subject("alice"), COUNT);
    for (one, source) in reading {
        assert_eq!(one.await.unwrap(), (last_event("revoked"), End::Regular));
        assert!(source.is_dropped());
    }
    assert_eq!((fixture.sessions.count(), fixture.sessions.iter().count()), (0, 0));
}
