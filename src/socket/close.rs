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
    websocket::{Limits, Skipped, WebSocketError, WebSocketErrorKind},
};

/// How much of what a client still sends is read and discarded while it is being told goodbye: far more than any first
/// message, and no work to speak of.
const MOST_DISCARDED: usize = 8 << 20;

/// Sends a close frame, and discards what the client still sends until its own close frame or the end of its stream.
///
/// A TCP connection that is dropped with unread bytes is reset (RFC 2525 §2.17), and a reset takes from the client what it
/// has not read yet: Chromium then reports 1006 and not the code. So what arrives is read, within a limit of bytes and for
/// two seconds at most.
///
/// Cancel safe: if it is dropped, so is the connection.
pub(crate) async fn close(mut transport: Transport, code: u16, reason: &'static str) {
    let closing = async {
        // Fails where there was a close frame before.
        let _ = transport.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
        say_goodbye(&mut transport).await;
    };
    // Whether the client answers or not, the connection is dropped. It may not even be reading.
    let _ = timeout(CLOSE_TIMEOUT, closing).await;
}

/// Closes a WebSocket of which nothing was read yet, nor will be.
pub(crate) async fn close_unread(upgraded: Upgraded, code: u16, reason: &'static str) {
    let mut transport = Transport::new(upgraded, Limits::default());
    transport.ration(Some(0));
    close(transport, code, reason).await;
}

/// Has a client that broke the protocol read the close frame that says so.
pub(super) async fn close_failed(mut transport: Transport) {
    let _ = timeout(CLOSE_TIMEOUT, say_goodbye(&mut transport)).await;
}

/// A close frame is on its way. Reads on until the client's.
///
/// Where that cannot be told, the stream is ended first: a client waits for the server to close (RFC 6455 §7.1.1), and its end
/// of the stream is waited for in turn.
async fn say_goodbye(transport: &mut Transport) {
    let mut most = MOST_DISCARDED;
    loop {
        match transport.recv().await {
            Some(Ok(Message::Close(_))) => {
                // Ends TLS as well, where the connection is one (RFC 6455 §7.1.1).
                let _ = transport.shutdown().await;
                return;
            }
            Some(Ok(message)) => match most.checked_sub(len(&message)) {
                Some(left) => most = left,
                None => return,
            },
            Some(Err(error)) if is_broken(&error) => return,
            // What the client sends is not understood, now or before.
            Some(Err(_)) | None => break,
        }
    }
    if transport.awaits_no_close() && transport.shutdown().await.is_err() {
        return;
    }
    while let Ok(Skipped::Bytes { skipped, announced }) = transport.skip().await
        && let Some(left) = most.checked_sub(skipped)
        // One that announces more than that is not waited for.
        && announced <= left
    {
        most = left;
    }
}

/// With the header of the frame: there are messages without content.
fn len(message: &Message) -> usize {
    const HEADER: usize = 6;
    HEADER
        + match message {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
            Message::Close(_) => 0,
        }
}

/// Whether the connection is gone with this error. After others, such as a message that is too large, the client is told.
pub(super) fn is_broken(error: &Error) -> bool {
    kind(error) == Some(WebSocketErrorKind::Io)
}

pub(super) fn kind(error: &Error) -> Option<WebSocketErrorKind> {
    error.source()?.downcast_ref().map(WebSocketError::kind)
}
