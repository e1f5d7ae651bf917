use std::fmt;

use axum::extract::ws::Message;

use crate::token::Token;

#[allow(unused_imports, reason = "for the docs")]
use super::RefreshProtocol;

/// A request that [`RefreshProtocol`] found in a message.
///
/// A [`Token`] converts into it.
#[must_use]
pub struct RefreshRequest {
    /// `None` if the request is malformed.
    pub(super) token: Option<Token>,
    pub(super) rest: Option<Message>,
}

/// A request, and the message that contains it.
pub(in crate::socket) struct ReceivedRefresh {
    pub(in crate::socket) token: Option<Token>,
    pub(in crate::socket) message: Message,
}

impl RefreshRequest {
    /// A request with this token. The handler does not receive the message.
    pub const fn new(token: Token) -> Self {
        Self { token: Some(token), rest: None }
    }

    /// A request without a readable token. It is refused as [`Malformed`](crate::RefreshErrorKind::Malformed), and
    /// counts as an attempt.
    pub const fn malformed() -> Self {
        Self { token: None, rest: None }
    }

    /// Passes this message to the handler after the response, such as the rest of the client's message. It should not
    /// contain the token.
    pub fn pass_on(mut self, message: impl Into<Message>) -> Self {
        self.rest = Some(message.into());
        self
    }
}

impl From<Token> for RefreshRequest {
    fn from(token: Token) -> Self {
        Self::new(token)
    }
}

// By hand: the rest may contain a secret.
impl fmt::Debug for RefreshRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshRequest").field("token", &self.token).finish_non_exhaustive()
    }
}
