use std::{future::poll_fn, task::Poll};

use axum::{Error, extract::ws::Message};
use hyper::upgrade::Upgraded;

use super::{FirstMessage, FirstToken};
use crate::{
    rejection::Rejection,
    socket::{
        Transport,
        close::{close, error_kind},
    },
    token::TokenErrorKind,
    websocket::{Limits, WebSocketErrorKind},
};

/// The socket of a client that has not authenticated yet.
pub(crate) struct UnauthenticatedSocket {
    transport: Transport,
    protocol: FirstMessage,
    /// The first message of the client.
    first: Option<Message>,
}

/// Why no token was received.
#[derive(Clone, Copy)]
pub(crate) enum FirstTokenError {
    /// The client is gone.
    Disconnected,
    /// The first message has no token.
    Missing,
    Malformed(TokenErrorKind),
}

impl UnauthenticatedSocket {
    pub(crate) fn new(upgraded: Upgraded, protocol: FirstMessage) -> Self {
        let max = protocol.max_bytes;
        let limits = Limits { max_frame: max, max_message: max, ..Limits::default() };
        let mut transport = Transport::new(upgraded, limits);
        transport.set_read_quota(Some(max));
        Self { transport, protocol, first: None }
    }

    /// Sends the greeting, if there is one, and receives the token.
    pub(crate) async fn receive_token(&mut self) -> Result<FirstToken, FirstTokenError> {
        if let Some(greeting) = self.protocol.greeting.clone() {
            self.transport.send(greeting).await.map_err(|_| FirstTokenError::Disconnected)?;
        }
        loop {
            match self.transport.recv().await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) => {
                    // Nothing else writes the response: there is no further read.
                    let _ = self.transport.flush().await;
                    return Err(FirstTokenError::Disconnected);
                }
                None => return Err(FirstTokenError::Disconnected),
                Some(Ok(message)) => {
                    let message = self.first.insert(message);
                    return self.protocol.find_token(message).ok_or(FirstTokenError::Missing);
                }
                Some(Err(error)) => return Err(token_error(&error)),
            }
        }
    }

    /// Sends the message for accepted clients, if there is one.
    pub(crate) async fn send_accepted(&mut self) -> Result<(), Error> {
        if let Some(accepted) = self.protocol.accepted.take() {
            self.transport.send(accepted).await?;
        }
        // Writes a pending pong too.
        self.transport.flush().await
    }

    /// The connection, with the limits of the application.
    pub(crate) fn into_transport(mut self, limits: Limits) -> Transport {
        self.transport.set_limits(limits);
        self.transport.set_read_quota(None);
        self.transport
    }

    /// Sends the message for refused clients, if there is one, and closes the connection.
    pub(crate) async fn refuse(mut self, rejection: &Rejection, code: u16) {
        let mut refused = self.protocol.refused_message(rejection, self.first.take().as_ref());
        if refused.is_some() {
            // Only queued here, because `close` has a timeout and flushes.
            poll_fn(|cx| {
                let _ = self.transport.poll_send(cx, &mut refused);
                Poll::Ready(())
            })
            .await;
        }
        close(self.transport, code, rejection.kind().as_str()).await;
    }
}

fn token_error(error: &Error) -> FirstTokenError {
    match error_kind(error) {
        Some(WebSocketErrorKind::TooLarge) => FirstTokenError::Malformed(TokenErrorKind::TooLong),
        Some(WebSocketErrorKind::InvalidUtf8 | WebSocketErrorKind::Protocol) => {
            FirstTokenError::Malformed(TokenErrorKind::Undecodable)
        }
        _ => FirstTokenError::Disconnected,
    }
}
