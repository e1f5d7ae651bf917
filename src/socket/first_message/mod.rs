//! Authentication by the first message of a client.

mod config;
mod pending_limit;
mod presets;
mod protocols;
mod unauthenticated;

use std::fmt;

use axum::extract::ws::Message;

pub use config::FirstMessage;

pub(crate) use pending_limit::PendingPermit;
pub(crate) use unauthenticated::{FirstTokenError, UnauthenticatedSocket};

use crate::token::Token;

/// A token that [`FirstMessage`] found in a client's first message.
#[must_use]
pub struct FirstToken {
    pub(crate) token: Token,
    pub(crate) replay: Option<Message>,
}

impl FirstToken {
    /// The token. The handler does not receive the message.
    pub const fn new(token: Token) -> Self {
        Self { token, replay: None }
    }

    /// Sets the message that the handler receives first. It should not contain the token.
    pub fn replay(mut self, message: impl Into<Message>) -> Self {
        self.replay = Some(message.into());
        self
    }
}

// By hand: the replayed message may contain a secret.
impl fmt::Debug for FirstToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstToken").field("token", &self.token).finish_non_exhaustive()
    }
}
