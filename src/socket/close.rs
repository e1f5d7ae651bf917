use axum::{
    Error,
    extract::ws::{CloseFrame, Message},
};

use super::Transport;
use crate::session::CLOSE_TIMEOUT;

/// Sends a close frame and waits a moment for the client's: a connection that is dropped at once may lose it.
///
/// Cancel safe: if it is dropped, so is the connection.
pub(crate) async fn close(mut transport: Transport, code: u16, reason: &'static str) {
    let closing = async {
        let frame = CloseFrame { code, reason: reason.into() };
        // First what is queued, or there may be no room for the frame.
        transport.flush().await?;
        transport.send(Message::Close(Some(frame))).await?;
        while let Some(Ok(_)) = transport.recv().await {}
        Ok::<(), Error>(())
    };
    // Whether the client answers or not, the connection is dropped. It may not even be reading.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
}
