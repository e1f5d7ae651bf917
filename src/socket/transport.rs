//! The WebSocket beneath, as axum made it or as it was made here.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    Error,
    body::Bytes,
    extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket},
};
use futures_core::{FusedStream, Stream};
use futures_sink::Sink;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::task::coop::consume_budget;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as ProtocolError, Message as RawMessage,
        protocol::{self, Role, WebSocketConfig},
    },
};

use super::first_message::Rationed;

pub(crate) enum Transport {
    Axum(WebSocket),
    /// Of a client that authenticated by its first message: axum has no way to limit only that one.
    Own(WebSocketStream<Rationed>),
}

impl Transport {
    /// A WebSocket that is written to, and not read from.
    pub(super) async fn unread(upgraded: Upgraded) -> Self {
        let stream = Rationed::new(TokioIo::new(upgraded), 0);
        let limits = WebSocketConfig::default().read_buffer_size(128);
        Self::Own(WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits)).await)
    }

    /// Receives a message, at the cost of a unit of the task's budget: a client that sends without pause has to leave
    /// time for what limits this.
    pub(crate) async fn recv(&mut self) -> Option<Result<Message, Error>> {
        consume_budget().await;
        poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(crate) async fn send(&mut self, message: Message) -> Result<(), Error> {
        let mut message = Some(message);
        poll_fn(|cx| self.poll_send(cx, &mut message)).await
    }

    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        match self {
            Self::Axum(socket) => Pin::new(socket).poll_next(cx),
            Self::Own(socket) => loop {
                match ready!(Pin::new(&mut *socket).poll_next(cx)) {
                    Some(Ok(message)) => {
                        if let Some(message) = cooked(message).transpose() {
                            return Poll::Ready(Some(message));
                        }
                    }
                    Some(Err(error)) => return Poll::Ready(Some(Err(Error::new(error)))),
                    None => return Poll::Ready(None),
                }
            },
        }
    }

    /// Sends the message and flushes it. What was queued is taken out of the option.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, message: &mut Option<Message>) -> Poll<Result<(), Error>> {
        if message.is_some() {
            ready!(self.poll_ready(cx))?;
            if let Some(message) = message.take() {
                self.start_send(message)?;
            }
        }
        self.poll_flush(cx)
    }

    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::Axum(socket) => Pin::new(socket).poll_ready(cx),
            Self::Own(socket) => Pin::new(socket).poll_ready(cx).map_err(Error::new),
        }
    }

    pub(super) fn start_send(&mut self, message: Message) -> Result<(), Error> {
        match self {
            Self::Axum(socket) => Pin::new(socket).start_send(message),
            Self::Own(socket) => Pin::new(socket).start_send(raw(message)?).map_err(Error::new),
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::Axum(socket) => Pin::new(socket).poll_flush(cx),
            Self::Own(socket) => Pin::new(socket).poll_flush(cx).map_err(Error::new),
        }
    }

    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::Axum(socket) => Pin::new(socket).poll_close(cx),
            Self::Own(socket) => Pin::new(socket).poll_close(cx).map_err(Error::new),
        }
    }

    pub(super) fn is_terminated(&self) -> bool {
        match self {
            Self::Axum(socket) => socket.is_terminated(),
            Self::Own(socket) => socket.is_terminated(),
        }
    }
}

/// axum keeps the way between its messages and tungstenite's to itself. Texts are checked to be UTF-8 once more on it.
fn cooked(message: RawMessage) -> Result<Option<Message>, Error> {
    Ok(Some(match message {
        RawMessage::Text(text) => Message::Text(utf8(text)?),
        RawMessage::Binary(bytes) => Message::Binary(bytes),
        RawMessage::Ping(bytes) => Message::Ping(bytes),
        RawMessage::Pong(bytes) => Message::Pong(bytes),
        RawMessage::Close(None) => Message::Close(None),
        RawMessage::Close(Some(frame)) => {
            Message::Close(Some(CloseFrame { code: frame.code.into(), reason: utf8(frame.reason)? }))
        }
        // Never read.
        RawMessage::Frame(_) => return Ok(None),
    }))
}

fn raw(message: Message) -> Result<RawMessage, Error> {
    Ok(match message {
        Message::Text(text) => RawMessage::Text(raw_utf8(text)?),
        Message::Binary(bytes) => RawMessage::Binary(bytes),
        Message::Ping(bytes) => RawMessage::Ping(bytes),
        Message::Pong(bytes) => RawMessage::Pong(bytes),
        Message::Close(None) => RawMessage::Close(None),
        Message::Close(Some(frame)) => {
            RawMessage::Close(Some(protocol::CloseFrame { code: frame.code.into(), reason: raw_utf8(frame.reason)? }))
        }
    })
}

fn utf8(text: tokio_tungstenite::tungstenite::Utf8Bytes) -> Result<Utf8Bytes, Error> {
    Utf8Bytes::try_from(Bytes::from(text)).map_err(Error::new)
}

fn raw_utf8(text: Utf8Bytes) -> Result<tokio_tungstenite::tungstenite::Utf8Bytes, Error> {
    Bytes::from(text).try_into().map_err(|error| Error::new(ProtocolError::Utf8(format!("{error}"))))
}
