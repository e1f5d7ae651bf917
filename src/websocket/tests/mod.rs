#![allow(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod against_tungstenite;
mod closing;
mod comparison;
mod decoding;
mod pings;
mod reading_ahead;
mod rules;
mod write_buffer;
mod writing;

use std::{future::poll_fn, pin::Pin, task::Poll};

use axum::extract::ws::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

use super::{Limits, WebSocket, WebSocketError, WebSocketErrorKind};

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

const FINAL: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a reader received.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Failed(WebSocketErrorKind),
    End,
}

impl From<Option<Result<Message, WebSocketError>>> for Seen {
    fn from(next: Option<Result<Message, WebSocketError>>) -> Self {
        match next {
            None => Self::End,
            Some(Err(error)) => Self::Failed(error.kind()),
            Some(Ok(Message::Text(text))) => Self::Text(text.as_str().to_owned()),
            Some(Ok(Message::Binary(bytes))) => Self::Binary(bytes.to_vec()),
            Some(Ok(Message::Ping(bytes))) => Self::Ping(bytes.to_vec()),
            Some(Ok(Message::Pong(bytes))) => Self::Pong(bytes.to_vec()),
            Some(Ok(Message::Close(frame))) => {
                Self::Close(frame.map(|frame| (frame.code, frame.reason.as_str().to_owned())))
            }
        }
    }
}

/// Sends these bytes to a socket in chunks of this length, and then ends the stream. Returns what the reader received
/// and what the client was sent.
async fn read_all(bytes: &[u8], chunk: usize, limits: Limits) -> (Vec<Seen>, Vec<u8>) {
    let (mut client, server) = duplex(1 << 20);
    let mut socket = WebSocket::new(Chunks { io: server, chunk }, limits);
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let mut seen = Vec::new();
    loop {
        let next = Seen::from(poll_fn(|cx| socket.poll_next(cx)).await);
        let is_end = next == Seen::End;
        seen.push(next);
        if is_end {
            break;
        }
    }
    assert!(socket.is_terminated());
    drop(socket);
    let mut sent = Vec::new();
    client.read_to_end(&mut sent).await.unwrap();
    (seen, sent)
}

/// Reads a few bytes at a time.
struct Chunks {
    io: DuplexStream,
    chunk: usize,
}

impl AsyncRead for Chunks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let mut chunk = vec![0; self.chunk.min(buf.remaining())];
        let mut chunk = ReadBuf::new(&mut chunk);
        std::task::ready!(Pin::new(&mut self.io).poll_read(cx, &mut chunk))?;
        buf.put_slice(chunk.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Chunks {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
