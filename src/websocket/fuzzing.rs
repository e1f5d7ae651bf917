//! Private code for the fuzz targets. It exists only under `cfg(fuzzing)`.
#![allow(missing_docs, reason = "not for use")]

use std::{
    io,
    task::{Context, Poll},
};

use axum::extract::ws::Message;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Discarded, WebSocketError, decoder};

/// What a socket accepts.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_frame: usize,
    pub max_message: usize,
    pub accept_unmasked: bool,
    pub write_buffer: usize,
}

impl From<Limits> for super::Limits {
    fn from(limits: Limits) -> Self {
        let Limits { max_frame, max_message, accept_unmasked, write_buffer } = limits;
        Self { max_frame, max_message, accept_unmasked, write_buffer }
    }
}

#[derive(Debug)]
pub struct Decoder(decoder::Decoder);

impl Decoder {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self(decoder::Decoder::new(limits.into()))
    }

    pub fn decode(&mut self, bytes: &mut [u8]) -> (usize, Result<Option<Message>, WebSocketError>) {
        self.0.decode(bytes)
    }
}

#[derive(Debug)]
pub struct WebSocket<S>(super::WebSocket<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    pub fn new(io: S, limits: Limits) -> Self {
        Self(super::WebSocket::new(io, limits.into()))
    }

    pub fn io(&mut self) -> &mut S {
        &mut self.0.io
    }

    pub fn set_read_quota(&mut self, bytes: Option<usize>) {
        self.0.set_read_quota(bytes);
    }

    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, WebSocketError>>> {
        self.0.poll_next(cx)
    }

    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WebSocketError>> {
        self.0.poll_ready(cx)
    }

    pub fn start_send(&mut self, message: Message) -> Result<(), WebSocketError> {
        self.0.start_send(message)
    }

    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WebSocketError>> {
        self.0.poll_flush(cx)
    }

    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WebSocketError>> {
        self.0.poll_close(cx)
    }

    /// Returns whether there is more to discard.
    pub fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.0.poll_discard(cx).map_ok(|discarded| matches!(discarded, Discarded::Bytes { .. }))
    }

    /// The bytes of memory in use.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }
}
