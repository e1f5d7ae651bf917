//! What is written, and who is woken for it.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use axum::{
    body::Bytes,
    extract::ws::{CloseFrame, Message},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    sync::Notify,
    time::timeout,
};

use super::{FINAL, Limits, PING, Seen, TEXT, WebSocket, WebSocketErrorKind, frame};

/// Takes several pieces at once, and few bytes at a time.
struct Vectored {
    io: DuplexStream,
    at_a_time: usize,
    /// Whether it says that it does.
    says_so: bool,
    largest: Arc<AtomicUsize>,
}

impl AsyncRead for Vectored {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Vectored {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.largest.fetch_max(buf.len(), Ordering::Relaxed);
        let most = buf.len().min(self.at_a_time);
        Pin::new(&mut self.io).poll_write(cx, &buf[..most])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        self.poll_write(cx, &all)
    }

    fn is_write_vectored(&self) -> bool {
        self.says_so
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

fn expected(message: &Message) -> Vec<u8> {
    let (first, payload) = match message {
        Message::Text(text) => (0x81, text.as_bytes().to_vec()),
        Message::Binary(bytes) => (0x82, bytes.to_vec()),
        Message::Ping(bytes) => (0x89, bytes.to_vec()),
        Message::Pong(bytes) => (0x8a, bytes.to_vec()),
        Message::Close(frame) => {
            let frame = frame.as_ref().unwrap();
            (0x88, [&frame.code.to_be_bytes(), frame.reason.as_bytes()].concat())
        }
    };
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(len as u8),
        len @ 126..=65535 => bytes.extend_from_slice(&[126, (len >> 8) as u8, len as u8]),
        len => {
            bytes.push(127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&payload);
    bytes
}

async fn written<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocket<S>,
    mut client: DuplexStream,
    messages: Vec<Message>,
    is_flushed_each: bool,
) -> Vec<u8> {
    let reading = tokio::spawn(async move {
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).await.unwrap();
        bytes
    });
    for message in messages {
        // Also without asking whether there is room.
        socket.start_send(message).unwrap();
        if is_flushed_each {
            poll_fn(|cx| socket.poll_flush(cx)).await.unwrap();
        }
    }
    poll_fn(|cx| socket.poll_flush(cx)).await.unwrap();
    drop(socket);
    reading.await.unwrap()
}

#[tokio::test]
async fn frames_are_written_in_order_whatever_their_size() {
    let sizes = [0, 1, 125, 126, 127, 16_383, 16_384, 65_535, 65_536, 3, 200_000, 0, 20_000];
    let mut messages: Vec<Message> = sizes
        .iter()
        .map(|&size| {
            if size % 2 == 0 {
                Message::Binary(vec![size as u8; size].into())
            } else {
                Message::Text("x".repeat(size).into())
            }
        })
        .collect();
    messages.insert(3, Message::Ping(Bytes::from_static(b"ping")));
    messages.insert(8, Message::Pong(Bytes::new()));
    messages.push(Message::Close(Some(CloseFrame { code: 4000, reason: "bye".into() })));
    let all: Vec<u8> = messages.iter().flat_map(expected).collect();
    for is_flushed_each in [true, false] {
        for at_a_time in [1000, 17_000, 1 << 20] {
            let (client, io) = duplex(30_000);
            let largest = Arc::new(AtomicUsize::new(0));
            let io = Vectored { io, at_a_time, says_so: true, largest: Arc::clone(&largest) };
            let bytes = written(WebSocket::new(io, Limits::default()), client, messages.clone(), is_flushed_each).await;
            assert!(bytes == all, "vectored, {at_a_time} at a time");
            let is_at_once = largest.load(Ordering::Relaxed) > 200_000;
            assert_eq!(is_at_once, is_flushed_each, "what nothing follows is not copied");

            // What cannot take two pieces is given small ones, because it may keep a copy.
            let (client, io) = duplex(30_000);
            let largest = Arc::new(AtomicUsize::new(0));
            let io = Vectored { io, at_a_time, says_so: false, largest: Arc::clone(&largest) };
            let bytes = written(WebSocket::new(io, Limits::default()), client, messages.clone(), is_flushed_each).await;
            assert!(bytes == all, "one piece, {at_a_time} at a time");
            assert_eq!(largest.load(Ordering::Relaxed), 16 * 1024);
        }
    }
}

#[tokio::test]
async fn a_long_control_frame_is_not_sent() {
    let (client, io) = duplex(1024);
    let mut socket = WebSocket::new(io, Limits::default());
    let long = Bytes::from(vec![0; 126]);
    let reason = "x".repeat(124).into();
    for message in
        [Message::Ping(long.clone()), Message::Pong(long), Message::Close(Some(CloseFrame { code: 1000, reason }))]
    {
        assert_eq!(socket.start_send(message).unwrap_err().kind(), WebSocketErrorKind::LongControlFrame);
    }
    let bytes = written(socket, client, vec![Message::Text("fine".into())], true).await;
    assert_eq!(bytes, b"\x81\x04fine");
}

#[tokio::test]
async fn a_sender_waits_while_too_much_is_to_be_written() {
    let (mut client, io) = duplex(10);
    let mut socket = WebSocket::new(io, Limits { write_buffer: 100, ..Limits::default() });
    let mut sent = 0;
    let is_ready =
        |socket: &mut WebSocket<DuplexStream>| socket.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready();
    while is_ready(&mut socket) {
        socket.start_send(Message::Binary(vec![0; 30].into())).unwrap();
        sent += 1;
    }
    assert_eq!(sent, 4, "128 bytes are more than 100");
    let mut bytes = [0; 128];
    // The sender goes on as soon as there is room again, and not only when everything is written.
    client.read_exact(&mut bytes[..10]).await.unwrap();
    let mut rest = bytes[10..].chunks_mut(10);
    while !is_ready(&mut socket) {
        client.read_exact(rest.next().unwrap()).await.unwrap();
    }
    assert!(rest.len() > 5, "{} more", rest.len());
    let (read, flushed) = tokio::join!(
        async { client.read_exact(&mut vec![0; rest.map(|rest| rest.len()).sum()]).await },
        poll_fn(|cx| socket.poll_flush(cx))
    );
    assert!(read.is_ok() && flushed.is_ok());
}

/// A client that sends pings and does not read.
#[tokio::test]
async fn a_flood_of_pings_costs_no_memory() {
    let (mut client, io) = duplex(1000);
    let mut socket = WebSocket::new(io, Limits::default());
    for round in 0..1000_u32 {
        client.write_all(&frame(FINAL | PING, &[round as u8; 125])).await.unwrap();
        poll_fn(|cx| socket.poll_next(cx)).await.unwrap().unwrap();
        assert!(socket.outbox.len() < 1200, "{} bytes are to be written", socket.outbox.len());
    }
    // Once it reads, the newest ping is answered, and nobody has to send for that.
    let reading = tokio::spawn(async move {
        let mut newest = None;
        let mut pong = [0; 127];
        while let Ok(Ok(_)) = timeout(Duration::from_millis(200), client.read_exact(&mut pong)).await {
            assert_eq!(pong[..2], [0x8a, 125]);
            newest = Some(pong[2]);
        }
        newest
    });
    let _ = timeout(Duration::from_secs(1), poll_fn(|cx| socket.poll_next(cx))).await;
    assert_eq!(reading.await.unwrap(), Some(999_u32 as u8));
}

struct Told(Notify);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// The connection has room for one waker.
#[tokio::test]
async fn both_sides_are_woken_when_there_is_room_to_write() {
    for first_is_reader in [true, false] {
        let (mut client, io) = duplex(8);
        let mut socket = WebSocket::new(io, Limits { write_buffer: 1, ..Limits::default() });
        client.write_all(&frame(FINAL | PING, b"")[..6]).await.unwrap();
        poll_fn(|cx| socket.poll_next(cx)).await.unwrap().unwrap();
        socket.start_send(Message::Binary(vec![0; 100].into())).unwrap();

        let (reader, writer) = (Arc::new(Told(Notify::new())), Arc::new(Told(Notify::new())));
        let wakers = [Waker::from(Arc::clone(&reader)), Waker::from(Arc::clone(&writer))];
        for side in if first_is_reader { [0, 1] } else { [1, 0] } {
            let mut cx = Context::from_waker(&wakers[side]);
            let is_pending = if side == 0 {
                socket.poll_next(&mut cx).is_pending()
            } else {
                socket.poll_flush(&mut cx).is_pending()
            };
            assert!(is_pending);
        }
        let mut bytes = [0; 8];
        client.read_exact(&mut bytes).await.unwrap();
        for told in [reader, writer] {
            timeout(Duration::from_secs(1), told.0.notified()).await.expect("woken");
        }
    }
}

#[tokio::test]
async fn an_answer_that_was_begun_is_finished_by_the_reader() {
    let (mut client, io) = duplex(8);
    let mut socket = WebSocket::new(io, Limits::default());
    let sending = tokio::spawn(async move {
        client.write_all(&frame(FINAL | PING, &[7; 100])).await.unwrap();
        let mut pong = [0; 102];
        client.read_exact(&mut pong).await.unwrap();
        client.write_all(&frame(FINAL | TEXT, b"next")).await.unwrap();
        (pong, client)
    });
    let mut next = async || Seen::from(poll_fn(|cx| socket.poll_next(cx)).await);
    assert_eq!(next().await, Seen::Ping(vec![7; 100]));
    assert_eq!(timeout(Duration::from_secs(5), next()).await.unwrap(), Seen::Text("next".to_owned()));
    let (pong, _client) = sending.await.unwrap();
    assert_eq!(pong[..2], [0x8a, 100]);
}

#[tokio::test]
async fn closing_sends_one_close_frame_and_ends_the_stream() {
    let (mut client, io) = duplex(1024);
    let mut socket = WebSocket::new(io, Limits::default());
    for _ in 0..2 {
        poll_fn(|cx| socket.poll_close(cx)).await.unwrap();
    }
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, [0x88, 2, 3, 0xe8]);
}

/// RFC 6455 §5.5.1. A pong that waited for room came behind the close frame once.
#[tokio::test]
async fn no_pong_follows_a_close_frame() {
    let (mut client, io) = duplex(1024);
    let mut socket = WebSocket::new(io, Limits::default());
    client.write_all(&frame(FINAL | PING, b"late")).await.unwrap();
    poll_fn(|cx| socket.poll_next(cx)).await.unwrap().unwrap();
    socket.start_send(Message::Close(None)).unwrap();
    poll_fn(|cx| socket.poll_flush(cx)).await.unwrap();
    drop(socket);
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, [0x88, 0]);
}

#[tokio::test]
async fn nothing_is_kept_between_messages() {
    let (mut client, io) = duplex(1 << 20);
    let mut socket = WebSocket::new(io, Limits::default());
    for size in [10, 100_000, 300_000] {
        client.write_all(&[frame(0x82, &vec![1; size]), frame(0x81, b"more")].concat()).await.unwrap();
        for _ in 0..2 {
            let message = poll_fn(|cx| socket.poll_next(cx)).await.unwrap().unwrap();
            socket.start_send(message).unwrap();
            poll_fn(|cx| socket.poll_flush(cx)).await.unwrap();
        }
        let next = std::pin::pin!(poll_fn(|cx| socket.poll_next(cx)));
        assert!(next.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!((socket.read_ahead.is_none(), socket.outbox.capacity()), (true, 0), "{size}");
        client.read_exact(&mut vec![0; size + if size < 126 { 2 } else { 10 } + 6]).await.unwrap();
    }
}
