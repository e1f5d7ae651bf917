use std::{future::poll_fn, task::Poll};

use axum::{Error, extract::ws::Message};
use hyper::upgrade::Upgraded;

use super::{FirstMessage, FirstToken};
use crate::{
    rejection::Rejection,
    socket::{
        Transport,
        close::{close, kind},
    },
    token::TokenErrorKind,
    websocket::{Limits, WebSocketErrorKind},
};

/// A client that is connected and not authenticated yet.
pub(crate) struct Candidate {
    transport: Transport,
    protocol: FirstMessage,
    /// What the client sent, until it is known what becomes of it.
    first: Option<Message>,
}

/// Why there is no token.
#[derive(Clone, Copy)]
pub(crate) enum NoToken {
    /// The client is gone.
    Gone,
    /// The first message holds none.
    Missing,
    /// What holds the token is not well-formed.
    Malformed(TokenErrorKind),
}

impl Candidate {
    pub(crate) fn new(upgraded: Upgraded, protocol: FirstMessage) -> Self {
        let most = protocol.max_bytes;
        let limits = Limits { max_frame: most, max_message: most, ..Limits::default() };
        let mut transport = Transport::new(upgraded, limits);
        transport.ration(Some(most));
        Self { transport, protocol, first: None }
    }

    /// Greets the client, if it wants to be, and waits for its token.
    pub(crate) async fn token(&mut self) -> Result<FirstToken, NoToken> {
        if let Some(greeting) = self.protocol.greeting.clone() {
            self.transport.send(greeting).await.map_err(|_| NoToken::Gone)?;
        }
        loop {
            match self.transport.recv().await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) => {
                    // The answer is queued, and there will be no other read to write it.
                    let _ = self.transport.flush().await;
                    return Err(NoToken::Gone);
                }
                None => return Err(NoToken::Gone),
                Some(Ok(message)) => {
                    let message = self.first.insert(message);
                    return self.protocol.find(message).ok_or(NoToken::Missing);
                }
                Some(Err(error)) => return Err(fault(&error)),
            }
        }
    }

    /// Tells the client that it was accepted, if it wants to be told.
    pub(crate) async fn welcome(&mut self) -> Result<(), Error> {
        if let Some(accepted) = self.protocol.accepted.take() {
            self.transport.send(accepted).await?;
        }
        // There may be a pong to be written, which the next reader would know nothing of.
        self.transport.flush().await
    }

    /// The connection, from here on with the limits of the application.
    pub(crate) fn into_transport(mut self, limits: Limits) -> Transport {
        self.transport.set_limits(limits);
        self.transport.ration(None);
        self.transport
    }

    /// Tells the client that it was refused.
    pub(crate) async fn refuse(mut self, rejection: &Rejection, code: u16) {
        let mut refused = self.protocol.refusal(rejection, self.first.take().as_ref());
        if refused.is_some() {
            // Sent with the close frame, for which there is a limit of time.
            poll_fn(|cx| {
                let _ = self.transport.poll_send(cx, &mut refused);
                Poll::Ready(())
            })
            .await;
        }
        close(self.transport, code, rejection.kind().as_str()).await;
    }
}

fn fault(error: &Error) -> NoToken {
    match kind(error) {
        Some(WebSocketErrorKind::TooLarge) => NoToken::Malformed(TokenErrorKind::TooLong),
        Some(WebSocketErrorKind::InvalidUtf8 | WebSocketErrorKind::Protocol) => {
            NoToken::Malformed(TokenErrorKind::Undecodable)
        }
        _ => NoToken::Gone,
    }
}
