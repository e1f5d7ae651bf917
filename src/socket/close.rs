//! The closing handshake, if this side starts it.

use std::error::Error as _;

use axum::{
    Error,
    extract::ws::{CloseFrame, Message},
};
use hyper::upgrade::Upgraded;
use tokio::time::timeout;

use super::Transport;
use crate::{
    session::CLOSE_TIMEOUT,
    websocket::{Discarded, Limits, WebSocketError, WebSocketErrorKind},
};

/// The maximum number of bytes that are discarded after the close frame is sent. It exceeds any first message, and
/// costs little work.
const MAX_DISCARDED: usize = 8 << 20;

/// Sends a close frame and waits for the client's, for at most two seconds.
///
/// Until then, what the client sends is read and discarded. A TCP connection that is dropped with unread bytes is reset
/// (RFC 2525 §2.17), and a reset discards what the client has not read yet: Chromium would report 1006 instead of the
/// code.
///
/// # Cancel safety
///
/// If the future is dropped, the connection is dropped.
pub(crate) async fn close(mut transport: Transport, code: u16, reason: &'static str) {
    let closing = async {
        // Fails if a close frame was sent before.
        let _ = transport.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
        finish(&mut transport).await;
    };
    // The client may not answer, or not even read. The connection is dropped in any case.
    let _ = timeout(CLOSE_TIMEOUT, closing).await;
}

/// Closes a WebSocket without receiving any message.
pub(crate) async fn close_unread(upgraded: Upgraded, code: u16, reason: &'static str) {
    let mut transport = Transport::new(upgraded, Limits::default());
    transport.set_read_quota(Some(0));
    close(transport, code, reason).await;
}

/// Sends what is left of a closing handshake that has begun, and waits for the client's part: after a violation of the
/// protocol, the close frame that reports it; after the client's close frame, the answer; after the handler's, nothing.
pub(super) async fn finish_closing(mut transport: Transport) {
    let _ = timeout(CLOSE_TIMEOUT, finish(&mut transport)).await;
}

/// Receives until the client's close frame, and then shuts down the connection (RFC 6455 §7.1.1).
///
/// If the close frame cannot be recognized, it shuts down first, because a client waits for that, and then receives
/// until the end of the stream.
async fn finish(transport: &mut Transport) {
    let mut allowed = MAX_DISCARDED;
    loop {
        match transport.recv().await {
            Some(Ok(Message::Close(_))) => {
                let _ = transport.shutdown().await;
                return;
            }
            Some(Ok(message)) => match allowed.checked_sub(frame_len(&message)) {
                Some(rest) => allowed = rest,
                None => return,
            },
            Some(Err(error)) if is_io_error(&error) => return,
            // The client has violated the protocol, now or before.
            Some(Err(_)) | None => break,
        }
    }
    if !transport.can_receive_close() && transport.shutdown().await.is_err() {
        return;
    }
    while let Ok(Discarded::Bytes { len, remaining }) = transport.discard().await
        && let Some(rest) = allowed.checked_sub(len)
        && remaining <= rest
    {
        allowed = rest;
    }
}

/// Includes the header, because a message can be empty.
fn frame_len(message: &Message) -> usize {
    const HEADER: usize = 6;
    HEADER
        + match message {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
            Message::Close(_) => 0,
        }
}

/// Whether the connection has failed. After other errors, such as a message that is too large, the client can be sent a
/// close frame.
pub(super) fn is_io_error(error: &Error) -> bool {
    error_kind(error) == Some(WebSocketErrorKind::Io)
}

pub(super) fn error_kind(error: &Error) -> Option<WebSocketErrorKind> {
    error.source()?.downcast_ref().map(WebSocketError::kind)
}
