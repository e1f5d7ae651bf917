use std::{error::Error as _, future::pending, io};

use axum::{
    Error,
    extract::ws::{CloseFrame, Message},
};
use hyper::upgrade::Upgraded;
use tokio_tungstenite::tungstenite::{Error as SocketError, error::ProtocolError};

use super::Transport;
use crate::session::CLOSE_TIMEOUT;

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
        let frame = CloseFrame { code, reason: reason.into() };
        // First what is queued, or there may be no room for the frame.
        transport.flush().await?;
        transport.send(Message::Close(Some(frame))).await?;
        discard(&mut transport).await;
        Ok::<(), Error>(())
    };
    // Whether the client answers or not, the connection is dropped. It may not even be reading.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
}

/// Closes a WebSocket of which nothing was read yet, nor will be.
pub(crate) async fn close_unread(upgraded: Upgraded, code: u16, reason: &'static str) {
    close(Transport::unread(upgraded).await, code, reason).await;
}

async fn discard(transport: &mut Transport) {
    if let Transport::Own(socket) = transport
        && socket.get_ref().is_rationed()
    {
        return socket.get_mut().discard(MOST_DISCARDED).await;
    }
    let mut most = MOST_DISCARDED;
    loop {
        match transport.recv().await {
            Some(Ok(Message::Close(_))) => return,
            Some(Ok(message)) => match most.checked_sub(len(&message)) {
                Some(left) => most = left,
                None => return,
            },
            Some(Err(error)) if is_broken(&error) => return,
            // tungstenite reads no further after a fault in what the client sent, now or before.
            Some(Err(_)) | None => break,
        }
    }
    match transport {
        Transport::Own(socket) => socket.get_mut().discard(most).await,
        // axum does not let go of the connection. To wait is next best: the client reads meanwhile.
        Transport::Axum(_) => pending().await,
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

/// Whether the connection is gone with this error. After others, such as a message that is too large, the client may
/// still be told goodbye.
pub(super) fn is_broken(error: &Error) -> bool {
    match error.source().and_then(|source| source.downcast_ref()) {
        // The ration is at its end, and not the connection.
        Some(SocketError::Io(error)) => error.kind() != io::ErrorKind::QuotaExceeded,
        Some(SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => true,
        _ => false,
    }
}
