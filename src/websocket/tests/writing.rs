//! What is written, and who is woken.

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

/// Supports vectored writes, and accepts a few bytes at a time.
struct Vectored {
    io: DuplexStream,
    max_write: usize,
    /// The result of `is_write_vectored`.
    is_vectored: bool,
    largest_write: Arc<AtomicUsize>,
}

impl AsyncRead for Vectored {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Vectored {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.largest_write.fetch_max(buf.len(), Ordering::Relaxed);
        let len = buf.len().min(self.max_write);
        Pin::new(&mut self.io).poll_write(cx, &buf[..len])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.poll_write(cx, &all)
    }

    fn is_write_vectored(&self) -> bool {
        self.is_vectored
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
        // Without `poll_ready`.
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
async fn frames_of_any_size_are_written_in_order() {
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
        for max_write in [1000, 17_000, 1 << 20] {
            let (client, io) = duplex(30_000);
            let largest = Arc::new(AtomicUsize::new(0));
            let io = Vectored { io, max_write, is_vectored: true, largest_write: Arc::clone(&largest) };
            let bytes = written(WebSocket::new(io, Limits::default()), client, messages.clone(), is_flushed_each).await;
            assert!(bytes == all, "vectored, {max_write} at a time");
            let is_one_write = largest.load(Ordering::Relaxed) > 200_000;
            assert_eq!(is_one_write, is_flushed_each, "the last payload is not copied");

            // Without vectored writes, each write is small, because the connection may keep a copy.
            let (client, io) = duplex(30_000);
            let largest = Arc::new(AtomicUsize::new(0));
            let io = Vectored { io, max_write, is_vectored: false, largest_write: Arc::clone(&largest) };
            let bytes = written(WebSocket::new(io, Limits::default()), client, messages.clone(), is_flushed_each).await;
            assert!(bytes == all, "not vectored, {max_write} at a time");
            assert_eq!(largest.load(Ordering::Relaxed), 16 * 1024);
        }
    }
}

/// A write may end within the small frames, and the next one within the payload.
#[tokio::test]
async fn large_payload_follows_small_frames() {
    let messages = vec![Message::Text("x".repeat(1500).into()), Message::Binary(vec![7; 20_000].into())];
    let all: Vec<u8> = messages.iter().flat_map(expected).collect();
    let (client, io) = duplex(30_000);
    let io = Vectored { io, max_write: 1000, is_vectored: true, largest_write: Arc::default() };
    assert!(written(WebSocket::new(io, Limits::default()), client, messages, false).await == all);
}

#[tokio::test]
async fn long_control_frame_is_not_sent() {
    let (client, io) = duplex(1024);
    let mut socket = WebSocket::new(io, Limits::default());
    socket.start_send(Message::Ping(vec![0; 125].into())).unwrap();
    let long = Bytes::from(vec![0; 126]);
    let reason = "x".repeat(124).into();
    for message in
        [Message::Ping(long.clone()), Message::Pong(long), Message::Close(Some(CloseFrame { code: 1000, reason }))]
    {
        assert_eq!(socket.start_send(message).unwrap_err().kind(), WebSocketErrorKind::LongControlFrame);
    }
    let bytes = written(socket, client, vec![Message::Text("fine".into())], true).await;
    assert_eq!(bytes, [&[0x89, 125][..], &[0; 125], b"\x81\x04fine"].concat());
}

#[tokio::test]
async fn sender_waits_while_the_write_buffer_is_full() {
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
    // The sender continues as soon as there is room, before everything is written.
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

/// Also one that is written from its own buffer.
#[tokio::test]
async fn sender_waits_while_a_large_payload_is_unwritten() {
    let (_client, io) = duplex(10);
    let io = Vectored { io, max_write: 1000, is_vectored: true, largest_write: Arc::default() };
    let mut socket = WebSocket::new(io, Limits { write_buffer: 100, ..Limits::default() });
    socket.start_send(Message::Binary(vec![0; 100_000].into())).unwrap();
    for _ in 0..2 {
        assert!(socket.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending());
    }
}

#[tokio::test]
async fn ping_flood_of_a_client_that_does_not_read_costs_no_memory() {
    let (mut client, io) = duplex(1000);
    let mut socket = WebSocket::new(io, Limits::default());
    for round in 0..1000_u32 {
        client.write_all(&frame(FINAL | PING, &[round as u8; 125])).await.unwrap();
        poll_fn(|cx| socket.poll_next(cx)).await.unwrap().unwrap();
        assert!(socket.write_buffer.len() < 1200, "{} bytes are unwritten", socket.write_buffer.len());
    }
    // Once the client reads, the newest ping is answered, by the reader alone.
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

struct NotifyOnWake(Notify);

impl Wake for NotifyOnWake {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// The connection stores one waker.
#[tokio::test]
async fn both_sides_are_woken_when_the_connection_is_writable() {
    for first_is_reader in [true, false] {
        let (mut client, io) = duplex(8);
        let mut socket = WebSocket::new(io, Limits { write_buffer: 1, ..Limits::default() });
        client.write_all(&frame(FINAL | PING, b"")[..6]).await.unwrap();
        poll_fn(|cx| socket.poll_next(cx)).await.unwrap().unwrap();
        socket.start_send(Message::Binary(vec![0; 100].into())).unwrap();

        let (reader, writer) = (Arc::new(NotifyOnWake(Notify::new())), Arc::new(NotifyOnWake(Notify::new())));
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
        for woken in [reader, writer] {
            timeout(Duration::from_secs(1), woken.0.notified()).await.expect("woken");
        }
    }
}

#[tokio::test]
async fn reader_finishes_a_pong_that_is_written_in_part() {
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
async fn close_sends_one_close_frame_and_shuts_down() {
    let (mut client, io) = duplex(1024);
    let mut socket = WebSocket::new(io, Limits::default());
    for _ in 0..2 {
        poll_fn(|cx| socket.poll_close(cx)).await.unwrap();
    }
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, [0x88, 2, 3, 0xe8]);
}

/// RFC 6455 §5.5.1, also for a pong that waits for room.
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
async fn idle_socket_owns_no_buffer() {
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
        assert_eq!((socket.read_ahead.is_none(), socket.write_buffer.capacity()), (true, 0), "{size}");
        client.read_exact(&mut vec![0; size + if size < 126 { 2 } else { 10 } + 6]).await.unwrap();
    }
}
