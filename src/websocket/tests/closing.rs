//! What is left to do after a close frame of this side.

use std::{error::Error as _, future::poll_fn, io, task::Poll};

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::{super::Discarded, CLOSE, FINAL, Limits, Message, PING, Seen, TEXT, WebSocket, WebSocketErrorKind, frame};

/// It need not answer the close frame.
#[tokio::test]
async fn a_client_may_leave_after_a_close_frame() {
    let (mut client, server) = duplex(1024);
    let mut socket = WebSocket::new(server, Limits::default());
    assert!(!socket.is_closing() && !socket.is_terminated());
    socket.start_send(Message::Close(None)).unwrap();
    poll_fn(|cx| socket.poll_flush(cx)).await.unwrap();
    assert!(socket.is_closing() && !socket.is_terminated());
    client.shutdown().await.unwrap();
    assert_eq!(Seen::from(poll_fn(|cx| socket.poll_next(cx)).await), Seen::End);
}

/// A handler may close the socket before it receives again, which would report the violation.
#[tokio::test]
async fn nothing_is_received_after_a_violation_and_a_close_frame() {
    let (mut client, server) = duplex(1024);
    let mut socket = WebSocket::new(server, Limits::default());
    client.write_all(&[frame(0x40 | FINAL | TEXT, b"a"), frame(FINAL | TEXT, b"b")].concat()).await.unwrap();
    assert_eq!(Seen::from(poll_fn(|cx| socket.poll_next(cx)).await), Seen::Failed(WebSocketErrorKind::Protocol));
    assert!(socket.is_closing(), "the violation is not reported yet");
    socket.start_send(Message::Close(None)).unwrap();
    let next = poll_fn(|cx| Poll::Ready(socket.poll_next(cx))).await;
    assert!(matches!(next, Poll::Ready(None)), "it does not wait for the client");
    assert!(socket.is_terminated() && !socket.is_closing());
    drop(socket);
    let mut sent = Vec::new();
    client.read_to_end(&mut sent).await.unwrap();
    assert_eq!(sent, [0x88, 0]);
}

#[tokio::test]
async fn a_failed_connection_has_its_cause() {
    let (client, server) = duplex(1024);
    let mut socket = WebSocket::new(server, Limits::default());
    drop(client);
    let error = poll_fn(|cx| socket.poll_next(cx)).await.unwrap().unwrap_err();
    let cause = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!((error.kind(), cause.kind()), (WebSocketErrorKind::Io, io::ErrorKind::UnexpectedEof));
}

/// RFC 6455 §5.5.1: no frame follows a close frame.
#[tokio::test]
async fn ping_is_not_answered_after_a_close_frame() {
    let (mut client, server) = duplex(1024);
    let mut socket = WebSocket::new(server, Limits::default());
    socket.start_send(Message::Close(None)).unwrap();
    client.write_all(&[frame(FINAL | PING, b"p"), frame(FINAL | CLOSE, b"")].concat()).await.unwrap();
    for seen in [Seen::Ping(b"p".to_vec()), Seen::Close(None), Seen::End] {
        assert_eq!(Seen::from(poll_fn(|cx| socket.poll_next(cx)).await), seen);
    }
    drop(socket);
    let mut sent = Vec::new();
    client.read_to_end(&mut sent).await.unwrap();
    assert_eq!(sent, [0x88, 0]);
}

#[tokio::test]
async fn a_violation_after_a_close_frame_ends_the_socket() {
    let (mut client, server) = duplex(1024);
    let mut socket = WebSocket::new(server, Limits::default());
    socket.start_send(Message::Close(None)).unwrap();
    client.write_all(&frame(0x40 | FINAL | TEXT, b"a")).await.unwrap();
    let next = Seen::from(poll_fn(|cx| socket.poll_next(cx)).await);
    assert_eq!(next, Seen::Failed(WebSocketErrorKind::Protocol));
    assert!(socket.is_terminated());
}

#[tokio::test]
async fn bytes_behind_the_close_frame_of_the_client_are_dropped() {
    let (mut client, server) = duplex(1024);
    let mut socket = WebSocket::new(server, Limits::default());
    client.write_all(&[frame(FINAL | CLOSE, b""), frame(FINAL | TEXT, &[b'a'; 100])].concat()).await.unwrap();
    assert!(socket.can_receive_close());
    assert_eq!(Seen::from(poll_fn(|cx| socket.poll_next(cx)).await), Seen::Close(None));
    assert!(!socket.can_receive_close());
    poll_fn(|cx| socket.poll_flush(cx)).await.unwrap();
    assert_eq!(socket.capacity(), 0);
}

/// The frame that fails may be the close frame itself.
#[tokio::test]
async fn no_close_frame_is_expected_after_invalid_utf_8() {
    let (mut client, server) = duplex(1024);
    let mut socket = WebSocket::new(server, Limits::default());
    client.write_all(&frame(FINAL | CLOSE, b"\x03\xe8\xff")).await.unwrap();
    let next = Seen::from(poll_fn(|cx| socket.poll_next(cx)).await);
    assert_eq!(next, Seen::Failed(WebSocketErrorKind::InvalidUtf8));
    assert!(!socket.can_receive_close());
}

/// Nothing was wrong, and the handler did not read.
#[tokio::test]
async fn messages_before_the_close_frame_are_discarded() {
    let (mut client, server) = duplex(1024);
    let mut socket = WebSocket::new(server, Limits::default());
    socket.start_send(Message::Close(None)).unwrap();
    for (bytes, is_end) in
        [(frame(FINAL | TEXT, b"unread"), false), (frame(FINAL | PING, b""), false), (frame(FINAL | CLOSE, b""), true)]
    {
        client.write_all(&bytes).await.unwrap();
        let discarded = poll_fn(|cx| socket.poll_discard(cx)).await.unwrap();
        assert_eq!(matches!(discarded, Discarded::End), is_end, "{bytes:?}");
    }
}

/// If framing is intact, the end is known: the client's close frame. Otherwise it is the end of the stream.
#[tokio::test]
async fn bytes_are_discarded_up_to_the_close_frame() {
    for is_intact in [true, false] {
        let (mut client, server) = duplex(1024);
        let mut socket = WebSocket::new(server, Limits { max_frame: 10, ..Limits::default() });
        let first = if is_intact { frame(FINAL | TEXT, &[b'a'; 11]) } else { frame(0x40 | FINAL | TEXT, b"a") };
        client.write_all(&first).await.unwrap();
        let kind = if is_intact { WebSocketErrorKind::TooLarge } else { WebSocketErrorKind::Protocol };
        assert_eq!(Seen::from(poll_fn(|cx| socket.poll_next(cx)).await), Seen::Failed(kind));
        assert_eq!(socket.can_receive_close(), is_intact);
        assert_eq!(Seen::from(poll_fn(|cx| socket.poll_next(cx)).await), Seen::End);
        for (bytes, is_close) in [
            (frame(FINAL | TEXT, b"late"), false),
            (frame(FINAL | TEXT, b"cut")[..7].to_vec(), false),
            (frame(FINAL | TEXT, b"cut")[7..].to_vec(), false),
            (frame(FINAL | CLOSE, b""), true),
        ] {
            client.write_all(&bytes).await.unwrap();
            // What was read ahead comes first.
            let mut discarded = 0;
            let is_end = loop {
                match poll_fn(|cx| Poll::Ready(socket.poll_discard(cx))).await {
                    Poll::Ready(Ok(Discarded::Bytes { len, .. })) => discarded += len,
                    Poll::Ready(Ok(Discarded::End)) => break true,
                    Poll::Ready(Err(error)) => panic!("{error}"),
                    Poll::Pending => break false,
                }
            };
            assert_eq!(is_end, is_close && is_intact, "after {discarded} bytes");
        }
    }
}
