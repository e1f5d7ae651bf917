//! The halves of a socket in tasks of their own, on a runtime with several threads.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{net::SocketAddr, time::Duration};

use axum::{Router, extract::ws, routing::any};
use axum_ws_auth::{AuthenticatedUpgrade, Sessions, WsAuthLayer, test_util::handshake};
use futures_util::{SinkExt, StreamExt, future::join_all};
use http::Request;
use support::*;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

const CLIENTS: usize = 8;
const MESSAGES: u32 = 300;

/// Serves an echo that reads in one task and writes in another. Each task reports its end.
async fn serve(sessions: &Sessions, done: mpsc::UnboundedSender<()>) -> SocketAddr {
    let route = async move |upgrade: AuthenticatedUpgrade<String>| {
        upgrade.on_upgrade(async move |socket| {
            let (mut sink, mut stream) = socket.split();
            let (sender, mut receiver) = mpsc::channel(4);
            let reader_done = done.clone();
            tokio::spawn(async move {
                while let Some(Ok(message)) = stream.next().await {
                    let is_data = matches!(message, ws::Message::Text(_) | ws::Message::Binary(_));
                    if is_data && sender.send(message).await.is_err() {
                        break;
                    }
                }
                reader_done.send(()).unwrap();
            });
            tokio::spawn(async move {
                while let Some(message) = receiver.recv().await
                    && sink.send(message).await.is_ok()
                {}
                done.send(()).unwrap();
            });
        })
    };
    let app = Router::new().route("/", any(route)).layer(WsAuthLayer::new(timed).sessions(sessions));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn connect(address: SocketAddr, subject: &str) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (parts, _) = handshake().bearer_subprotocol(subject).build().into_parts();
    let mut request = Request::builder().uri("ws://localhost/");
    *request.headers_mut().unwrap() = parts.headers;
    client_async(request.body(()).unwrap(), stream).await.unwrap().0
}

/// A small message, or sometimes one of up to 200 KB.
fn message(number: u32) -> Message {
    let copies = if number.is_multiple_of(17) { number * 175 } else { number / 4 + 1 };
    Message::binary(number.to_be_bytes().repeat(copies as usize + 1))
}

/// Waits until every connection is gone.
async fn none_is_left(sessions: &Sessions) {
    let waiting = async {
        while sessions.count() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await.expect("a connection is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_are_echoed_in_order_between_pings() {
    let sessions = Sessions::new();
    let (done, mut ended) = mpsc::unbounded_channel();
    let address = serve(&sessions, done).await;
    let clients = (0..CLIENTS).map(|number| async move {
        let (mut sink, mut stream) = connect(address, &format!("user-{number}")).await.split();
        let sending = tokio::spawn(async move {
            for number in 0..MESSAGES {
                sink.send(message(number)).await.unwrap();
                if number.is_multiple_of(5) {
                    sink.send(Message::Ping(number.to_be_bytes().to_vec().into())).await.unwrap();
                }
            }
            sink
        });
        let (mut number, mut last_pong) = (0, None);
        while number < MESSAGES || last_pong != Some(MESSAGES - 5) {
            match stream.next().await.unwrap().unwrap() {
                Message::Pong(payload) => {
                    let pong = u32::from_be_bytes(payload[..].try_into().unwrap());
                    assert!(last_pong.replace(pong) < Some(pong), "pongs in order");
                }
                echoed => {
                    assert!(echoed == message(number), "message {number}");
                    number += 1;
                }
            }
        }
        let mut sink = sending.await.unwrap();
        sink.close().await.unwrap();
        while let Some(Ok(_)) = stream.next().await {}
    });
    timeout(Duration::from_secs(60), join_all(clients)).await.unwrap();
    for _ in 0..2 * CLIENTS {
        timeout(Duration::from_secs(10), ended.recv()).await.unwrap().unwrap();
    }
    none_is_left(&sessions).await;
}

/// One writer is blocked by a client that does not read. The others may be in the middle of a message.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn end_of_the_sessions_ends_both_halves() {
    for round in 0..3 {
        let sessions = Sessions::new();
        let (done, mut ended) = mpsc::unbounded_channel();
        let address = serve(&sessions, done).await;
        let (mut tasks, mut unread) = (Vec::new(), Vec::new());
        for number in 0..CLIENTS {
            let (mut sink, mut stream) = connect(address, "alice").await.split();
            tasks.push(tokio::spawn(async move {
                for number in 0.. {
                    if sink.send(message(number % MESSAGES)).await.is_err() {
                        break;
                    }
                }
            }));
            if number > 0 {
                tasks.push(tokio::spawn(async move {
                    let mut number = 0;
                    loop {
                        match stream.next().await {
                            Some(Ok(Message::Close(Some(frame)))) => {
                                assert_eq!((u16::from(frame.code), &*frame.reason), (3000, "revoked"));
                                break;
                            }
                            Some(Ok(echoed)) => assert!(echoed == message(number % MESSAGES), "message {number}"),
                            other => panic!("round {round}: no close frame but {other:?}"),
                        }
                        number += 1;
                    }
                }));
            } else {
                unread.push(stream);
            }
        }
        sleep(Duration::from_millis(20)).await;
        assert_eq!(sessions.end_subject("alice"), CLIENTS, "round {round}");
        for _ in 0..2 * CLIENTS {
            timeout(Duration::from_secs(10), ended.recv()).await.expect("both halves end").unwrap();
        }
        for task in tasks {
            timeout(Duration::from_secs(10), task).await.expect("the client ends").unwrap();
        }
        none_is_left(&sessions).await;
    }
}
