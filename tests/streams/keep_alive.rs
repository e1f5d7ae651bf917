//! Comments keep silent event streams open.

use std::{collections::BTreeSet, time::Duration};

use axum::body::Body;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep, timeout};

use super::{EVENTS, End, Fixture, last_event, next, request_with, rest};

const MINUTE: Duration = Duration::from_secs(60);

fn kept_alive() -> Fixture {
    Fixture::with(|layer| layer.keep_alive(MINUTE, MINUTE).unwrap())
}

/// The next part of a body, and how long it took.
async fn timed_next(body: &mut Body) -> (String, Duration) {
    let begin = Instant::now();
    (next(body).await, begin.elapsed())
}

#[tokio::test(start_paused = true)]
async fn silent_event_stream_gets_comments() {
    let fixture = kept_alive();
    let (mut body, source) = fixture.open("alice.600", EVENTS).await;
    for _ in 0..3 {
        let (comment, after) = timed_next(&mut body).await;
        assert_eq!(comment, ":\n\n");
        assert!((48..=60).contains(&after.as_secs()), "{after:?}");
    }
    source.send("data: 1\n\n");
    assert_eq!(next(&mut body).await, "data: 1\n\n");
    assert_eq!(next(&mut body).await, ":\n\n");
    // It ends as it does without them.
    sleep(Duration::from_secs(600)).await;
    assert_eq!(next(&mut body).await, last_event("token_expired"));
    assert!(body.frame().await.is_none());
}

/// The time counts from the last event, and no event is held back by a comment.
#[tokio::test(start_paused = true)]
async fn comment_comes_only_after_silence() {
    let fixture = kept_alive();
    let (mut body, source) = fixture.open("alice.6000", EVENTS).await;
    let (_, interval) = timed_next(&mut body).await;
    for _ in 0..20 {
        let pause = interval - Duration::from_secs(1);
        assert!(timeout(pause, body.frame()).await.is_err(), "silent for {pause:?} only");
        source.send("data: 1\n\n");
        assert_eq!(next(&mut body).await, "data: 1\n\n");
    }
    let (comment, after) = timed_next(&mut body).await;
    assert_eq!(comment, ":\n\n");
    assert!(after >= interval && after < interval + Duration::from_secs(1), "{after:?}");
    // An event that is ready goes first.
    sleep(MINUTE).await;
    source.send("data: 2\n\n");
    assert_eq!(next(&mut body).await, "data: 2\n\n");
}

#[tokio::test(start_paused = true)]
async fn event_in_progress_gets_no_comment() {
    let fixture = kept_alive();
    let (mut body, source) = fixture.open("alice.600", EVENTS).await;
    source.send("data: 1\n");
    assert_eq!(next(&mut body).await, "data: 1\n");
    assert!(timeout(5 * MINUTE, body.frame()).await.is_err());
    source.send("data: 2\n\n");
    assert_eq!(next(&mut body).await, "data: 2\n\n");
    assert_eq!(next(&mut body).await, ":\n\n");
}

#[tokio::test(start_paused = true)]
async fn other_bodies_and_other_layers_get_none() {
    let silent = async |fixture: Fixture, headers: &[(&str, &str)]| {
        let (body, _source) = fixture.open_by(request_with("alice.600", headers)).await;
        let (text, end) = rest(body).await;
        assert!(text.is_empty() || text == last_event("token_expired"), "{headers:?}: {text:?}");
        assert!(!matches!(end, End::Trailers(..)));
    };
    silent(kept_alive(), &[("respond-content-type", "application/x-ndjson")]).await;
    silent(kept_alive(), &[("respond-content-type", EVENTS), ("respond-content-encoding", "gzip")]).await;
    silent(Fixture::new(), &[("respond-content-type", EVENTS)]).await;
}

/// Streams that begin at the same moment, as after a restart, are not sent their comments at the same moment.
#[tokio::test(start_paused = true)]
async fn comments_are_spread() {
    let fixture = kept_alive();
    let mut bodies = Vec::new();
    for _ in 0..100 {
        bodies.push(fixture.open("alice.600", EVENTS).await);
    }
    let begin = Instant::now();
    let mut seconds = BTreeSet::new();
    while begin.elapsed() < MINUTE {
        for (body, _) in &mut bodies {
            if body.frame().now_or_never().is_some() {
                seconds.insert(begin.elapsed().as_secs());
            }
        }
        sleep(Duration::from_millis(500)).await;
    }
    assert!(seconds.len() >= 10 && seconds.first() >= Some(&48), "{seconds:?}");
}
