//! Connections.

use axum::{
    Extension,
    response::sse::{Event, Sse},
};
use axum_ws_auth::{Authenticated, Drain, FirstMessage, Sessions, Verified, test_util};
use futures_util::{SinkExt, StreamExt, future::BoxFuture, stream};
use http_body_util::BodyExt;
use tokio_tungstenite::tungstenite::Message;

use crate::*;

#[tokio::test]
async fn an_address_has_as_many_connections_as_the_limit_allows() {
    let app = app(timed_layer(&connections(2)));
    let (alice, bob) = (from(&app, ALICE), from(&app, BOB));
    let (_first, second) = (connected(&alice, "a").await, connected(&alice, "b").await);
    let response = answer(&alice, handshake().bearer_subprotocol("c").build()).await;
    assert!(is_refused_with(&response, StatusCode::TOO_MANY_REQUESTS, "too_many_connections"));
    assert_eq!(response.headers()["retry-after"], "5");
    assert_eq!(try_with(&alice, "bad").await, TOO_MANY_CONNECTIONS, "before the token is read");
    let _bob = connected(&bob, "a").await;
    drop(second);
    assert_freed(&alice, "the second").await;
    // Plain requests do not count.
    for _ in 0..5 {
        let plain = Request::get("/none").header("authorization", "Bearer a").body(Body::empty()).unwrap();
        assert_eq!(answer(&alice, plain).await.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_again_however_the_connection_ends() {
    type End = fn(Router, Sessions) -> BoxFuture<'static, ()>;
    async fn opened(app: &Router, token: &str) -> ClientSocket {
        let socket = connected(app, token).await;
        assert_eq!(try_with(app, "probe").await, TOO_MANY_CONNECTIONS);
        socket
    }
    async fn on(app: &Router, path: &str) -> ClientSocket {
        let request = handshake().path(path).bearer_subprotocol("alice").build();
        test_util::connect(app.clone(), request).await.unwrap().0
    }
    let ends: [(&str, End); 11] = [
        ("the client closes", |app, _| {
            Box::pin(async move {
                let mut socket = opened(&app, "alice").await;
                socket.close(None).await.unwrap();
                while socket.next().await.is_some() {}
            })
        }),
        ("the client vanishes", |app, _| Box::pin(async move { drop(opened(&app, "alice").await) })),
        ("the handler returns", |app, _| {
            Box::pin(async move {
                let mut socket = on(&app, "/stop").await;
                while socket.next().await.is_some() {}
            })
        }),
        ("the handler panics", |app, _| {
            Box::pin(async move {
                let mut socket = on(&app, "/panic").await;
                while socket.next().await.is_some() {}
            })
        }),
        ("the token expires", |app, _| {
            Box::pin(async move {
                let mut socket = opened(&app, "alice.5").await;
                while socket.next().await.is_some() {}
            })
        }),
        ("the token expires, and the client does not answer", |app, _| {
            Box::pin(async move {
                let socket = opened(&app, "alice.5").await;
                sleep(MINUTE).await;
                std::mem::forget(socket);
            })
        }),
        ("the session is ended", |app, sessions| {
            Box::pin(async move {
                let mut socket = opened(&app, "alice").await;
                sessions.end_subject("alice");
                while socket.next().await.is_some() {}
            })
        }),
        ("the handshake is refused", |app, _| {
            Box::pin(async move { assert_eq!(try_with(&app, "bad").await, INVALID) })
        }),
        ("the handler does not upgrade", |app, _| {
            Box::pin(async move {
                let request = handshake().path("/none").bearer_subprotocol("alice").build();
                assert_eq!(answer(&app, request).await.status(), StatusCode::NOT_FOUND);
            })
        }),
        ("no connection follows", |app, _| {
            Box::pin(async move { assert_eq!(try_with(&app, "alice").await, ADMITTED) })
        }),
        ("no route", |app, _| {
            Box::pin(async move {
                let request = handshake().path("/nowhere").bearer_subprotocol("alice").build();
                assert_eq!(answer(&app, request).await.status(), StatusCode::NOT_FOUND);
            })
        }),
    ];
    for (name, end) in ends {
        let sessions = Sessions::new();
        for layer in [timed_layer(&connections(1)).sessions(&sessions), timed_layer(&connections(1))] {
            if name == "the session is ended" && format!("{layer:?}").contains("sessions: None") {
                continue;
            }
            let app = from(&app(layer), ALICE);
            end(app.clone(), sessions.clone()).await;
            assert_freed(&app, name).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_again_after_a_drain() {
    let (sessions, limits) = (Sessions::new(), connections(1));
    let first = from(&app(timed_layer(&limits).sessions(&sessions)), ALICE);
    let _socket = connected(&first, "alice").await;
    sessions.drain(Drain::going_away()).await;
    // The registry admits nobody any more.
    assert_freed(&from(&app(timed_layer(&limits)), ALICE), "drain").await;
}

#[tokio::test]
async fn a_handshake_counts_while_its_token_is_verified_and_until_its_client_gives_up() {
    let verifier = axum_ws_auth::verifier_fn(async |token: axum_ws_auth::Token| {
        if token.expose() == "slow" {
            std::future::pending::<()>().await;
        }
        Ok(Verified::new(token.expose().to_owned()))
    });
    let app = from(&app(WsAuthLayer::new(verifier).address_limits(&connections(1))), ALICE);
    let waiting = {
        let app = app.clone();
        tokio::spawn(async move { answer(&app, handshake().bearer_subprotocol("slow").build()).await })
    };
    settle().await;
    assert_eq!(try_with(&app, "probe").await, TOO_MANY_CONNECTIONS);
    waiting.abort();
    assert_freed(&app, "given up").await;
}

#[tokio::test]
async fn a_session_without_a_socket_of_ours_counts_for_as_long_as_it_is_held() {
    async fn keep(Authenticated(session): Authenticated<String>, Extension(kept): Extension<Kept>) -> StatusCode {
        kept.lock().unwrap().push(session);
        StatusCode::SWITCHING_PROTOCOLS
    }
    type Kept = std::sync::Arc<std::sync::Mutex<Vec<Session<String>>>>;
    for layer in [timed_layer(&connections(1)), timed_layer(&connections(1)).sessions(&Sessions::new())] {
        let kept = Kept::default();
        let app = Router::new().route("/", any(keep)).layer(layer).layer(Extension(kept.clone()));
        let app = from(&app, ALICE);
        assert_eq!(try_with(&app, "alice").await, ADMITTED);
        assert_eq!(try_with(&app, "alice").await, TOO_MANY_CONNECTIONS);
        kept.lock().unwrap().clear();
        assert_eq!(try_with(&app, "alice").await, ADMITTED);
    }
}

fn init(token: &str) -> Message {
    Message::text(format!(r#"{{"type":"connection_init","payload":{{"Authorization":"Bearer {token}"}}}}"#))
}

#[tokio::test(start_paused = true)]
async fn a_client_that_authenticates_by_its_first_message_has_one_place_all_the_time() {
    let layer = timed_layer(&connections(1)).first_message(FirstMessage::graphql_ws());
    let app = from(&app(layer), ALICE);
    let request = || handshake().build();
    let open = async || test_util::connect(app.clone(), request()).await.unwrap().0;
    let is_full =
        async || is_refused_with(&answer(&app, request()).await, StatusCode::TOO_MANY_REQUESTS, "too_many_connections");

    let mut socket = open().await;
    settle().await;
    assert!(is_full().await, "while it waits");
    socket.send(init("alice")).await.unwrap();
    settle().await;
    assert!(is_full().await, "while it is open");
    drop(socket);
    assert_freed(&app, "gone").await;

    let mut socket = open().await;
    socket.send(init("bad")).await.unwrap();
    while socket.next().await.is_some() {}
    assert_freed(&app, "refused").await;

    let mut silent = open().await;
    settle().await;
    assert!(is_full().await);
    while silent.next().await.is_some() {}
    assert_freed(&app, "timed out").await;

    drop(open().await);
    assert_freed(&app, "gone before its first message").await;

    let nowhere = handshake().path("/none").build();
    assert_eq!(answer(&app, nowhere).await.status(), StatusCode::UNAUTHORIZED);
    assert_freed(&app, "no handler that waits").await;
}

#[tokio::test]
async fn streams_count_and_other_responses_do_not() {
    async fn events() -> Sse<impl stream::Stream<Item = Result<Event, std::convert::Infallible>>> {
        Sse::new(stream::iter([Ok(Event::default().data("hello"))]).chain(stream::pending()))
    }
    async fn download() -> Body {
        Body::from_stream(stream::pending::<Result<bytes::Bytes, std::io::Error>>())
    }
    let sessions = Sessions::new();
    for layer in [timed_layer(&connections(1)), timed_layer(&connections(1)).sessions(&sessions)] {
        let app = Router::new().route("/events", any(events)).route("/download", any(download)).layer(layer);
        let app = from(&app.merge(crate::app(timed_layer(&connections(1)))), ALICE);
        let get = |path: &str| {
            let request = Request::get(path).header("authorization", "Bearer alice");
            answer(&app, request.body(Body::empty()).unwrap())
        };
        let mut first = get("/events").await;
        assert_eq!(first.status(), StatusCode::OK);
        let second = get("/events").await;
        assert!(is_refused_with(&second, StatusCode::TOO_MANY_REQUESTS, "too_many_connections"));
        assert_eq!(second.headers()["retry-after"], "5");
        let _download = get("/download").await;
        assert_eq!(get("/download").await.status(), StatusCode::OK, "no stream");
        assert!(first.body_mut().frame().await.is_some(), "the first goes on");
        drop(first);
        let again = get("/events").await;
        assert_eq!(again.status(), StatusCode::OK);
        if sessions.count() > 0 {
            // Ended by the server: the client reads to the end.
            sessions.end_subject("alice");
            let _ = again.into_body().collect().await;
            assert_eq!(get("/events").await.status(), StatusCode::OK);
        }
    }
}
