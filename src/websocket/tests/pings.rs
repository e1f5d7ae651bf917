//! Pings of the server, and what shows that the client is there.

use std::future::poll_fn;

use axum::extract::ws::{CloseFrame, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{FINAL, Limits, PONG, Seen, TEXT, WebSocket, frame};

const PING: &[u8] = b"\x89\x0akeep-alive";

async fn flush(socket: &mut WebSocket<DuplexStream>) {
    poll_fn(|cx| socket.poll_flush(cx)).await.unwrap();
}

async fn next(socket: &mut WebSocket<DuplexStream>) -> Seen {
    Seen::from(poll_fn(|cx| socket.poll_next(cx)).await)
}

#[tokio::test]
async fn each_ping_hides_one_pong() {
    let (mut client, server) = duplex(1 << 16);
    let mut socket = WebSocket::new(server, Limits::default());
    let pong = frame(FINAL | PONG, b"keep-alive");
    let (text, other) = (frame(FINAL | TEXT, b"text"), frame(FINAL | PONG, b""));
    // Before the ping, this is a message like any other.
    client.write_all(&pong).await.unwrap();
    assert_eq!(next(&mut socket).await, Seen::Pong(b"keep-alive".to_vec()));
    socket.ping();
    flush(&mut socket).await;
    let mut written = [0; PING.len()];
    client.read_exact(&mut written).await.unwrap();
    assert_eq!(written, PING);
    client.write_all(&[other, pong.clone(), pong, text].concat()).await.unwrap();
    let expected = [Seen::Pong(Vec::new()), Seen::Pong(b"keep-alive".to_vec()), Seen::Text("text".to_owned())];
    for expected in expected {
        assert_eq!(next(&mut socket).await, expected);
    }
}

/// The ping waits behind a large message instead of copying it, and is queued once.
#[tokio::test]
async fn one_ping_waits_behind_what_is_unwritten() {
    let (mut client, server) = duplex(1000);
    let mut socket = WebSocket::new(server, Limits::default());
    socket.start_send(Message::Binary(vec![7; 100_000].into())).unwrap();
    for _ in 0..100 {
        socket.ping();
        let blocked = poll_fn(|cx| std::task::Poll::Ready(socket.poll_flush(cx).is_pending())).await;
        assert!(blocked && socket.has_unwritten());
    }
    let mut received = vec![0; 10 + 100_000 + PING.len()];
    tokio::join!(flush(&mut socket), async { client.read_exact(&mut received).await.unwrap() });
    assert_eq!(&received[10 + 100_000..], PING);
    assert!(!socket.has_unwritten(), "there is no second one");
}

#[tokio::test]
async fn no_ping_follows_a_close_frame() {
    for is_queued_before in [true, false] {
        let (mut client, server) = duplex(1 << 16);
        let mut socket = WebSocket::new(server, Limits::default());
        if is_queued_before {
            socket.ping();
        }
        socket.start_send(Message::Close(Some(CloseFrame { code: 1000, reason: "".into() }))).unwrap();
        socket.ping();
        flush(&mut socket).await;
        drop(socket);
        let mut sent = Vec::new();
        client.read_to_end(&mut sent).await.unwrap();
        assert_eq!(sent, b"\x88\x02\x03\xe8");
    }
}

/// Part of a message is a sign of life too.
#[tokio::test]
async fn activity_is_of_bytes() {
    let (mut client, server) = duplex(1 << 16);
    let mut socket = WebSocket::new(server, Limits::default());
    let activity = |socket: &mut WebSocket<_>| {
        let activity = socket.take_activity();
        (activity.received, activity.sent)
    };
    assert_eq!(activity(&mut socket), (false, false));
    client.write_all(&frame(FINAL | TEXT, b"text")[..3]).await.unwrap();
    let pending = poll_fn(|cx| std::task::Poll::Ready(socket.poll_next(cx).is_pending())).await;
    assert!(pending);
    assert_eq!(activity(&mut socket), (true, false));
    socket.start_send(Message::Text("text".into())).unwrap();
    assert_eq!(activity(&mut socket), (false, false), "it is not written yet");
    flush(&mut socket).await;
    assert_eq!(activity(&mut socket), (false, true));
}
