use std::{fmt, sync::Arc};

use super::SessionCore;

/// Why a session ended. It ends once, with one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// The token has expired and was not refreshed.
    TokenExpired,
    /// The session is as old as [`WsAuthLayer::max_lifetime`](crate::WsAuthLayer::max_lifetime) lets it become.
    MaxLifetime,
    /// The right to it was taken back: [`Sessions::end_subject`](crate::Sessions::end_subject) and its like.
    Revoked,
    /// The application ended it for a reason of its own: [`Session::end`](crate::Session::end).
    Policy,
    /// A newer session of the same subject took its place; see [`Limits::per_subject`](crate::Limits::per_subject).
    TooManySessions,
    /// The server is going down: [`Sessions::drain`](crate::Sessions::drain).
    Shutdown,
    /// The connection is over: closed by the client or by the handler, or broken.
    Closed,
}

impl EndReason {
    /// A stable name, which clients see as the reason in the close frame.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenExpired => "token_expired",
            Self::MaxLifetime => "max_lifetime",
            Self::Revoked => "revoked",
            Self::Policy => "policy",
            Self::TooManySessions => "too_many_sessions",
            Self::Shutdown => "shutdown",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenExpired => "the token has expired",
            Self::MaxLifetime => "the session has reached its greatest age",
            Self::Revoked => "the session was revoked",
            Self::Policy => "the session was ended by the application",
            Self::TooManySessions => "a newer session took its place",
            Self::Shutdown => "the server is going down",
            Self::Closed => "the connection is closed",
        })
    }
}

/// How a session ended.
#[derive(Clone, Copy)]
pub(crate) struct End {
    pub(crate) reason: EndReason,
    /// Instead of the code of the profile.
    pub(crate) code: Option<u16>,
}

impl End {
    pub(super) const REVOKED: Self = Self { reason: EndReason::Revoked, code: None };
    pub(super) const TOO_MANY: Self = Self { reason: EndReason::TooManySessions, code: None };

    /// Ends the sessions like this. Returns how many had not ended before.
    pub(super) fn apply(self, lives: impl IntoIterator<Item = Arc<SessionCore>>) -> usize {
        lives.into_iter().filter(|core| core.end(self)).count()
    }
}
