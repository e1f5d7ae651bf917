use std::{fmt, sync::Arc};

use super::SessionCore;

/// Why a session ended. A session ends once, with one reason.
///
/// | [name](Self::as_str) | the session ended because | [`IANA`] | [`HTTP_LIKE`] | [`GRAPHQL_WS`] | [`CENTRIFUGO`] |
/// | --- | --- | --- | --- | --- | --- |
/// | `token_expired` | its token expired | 3000 | 4401 | 4403 | 3005 |
/// | `max_lifetime` | it reached its max lifetime | 3000 | 4401 | 4403 | 3005 |
/// | `revoked` | the application or a revocation ended it | 3000 | 4401 | 4401 | 3500 |
/// | `policy` | [`Session::end`](crate::Session::end) was called | 1008 | 4403 | 1008 | 3503 |
/// | `insufficient_user_authentication` | its user did not [step up](crate::Session::require) in time | 3003 | 4403 | 4403 | 3507 |
/// | `too_many_sessions` | a newer session replaced it | 1008 | 4409 | 1008 | 3504 |
/// | `unresponsive` | its client did not answer in time | 3008 | 4408 | 4408 | 3012 |
/// | `unconfirmed` | nobody could say for too long whether its token is still valid | 1013 | 4503 | 1013 | 3004 |
/// | `shutdown` | the server shut down; the [`Drain`](crate::Drain) chooses the code | 1001 | 1001 | 1001 | 1001 |
/// | `closed` | its connection was closed: no close frame is sent | 1000 | 1000 | 1000 | 1000 |
///
/// The numbers are the close codes of each profile; see [`CloseCodes`](crate::CloseCodes).
///
/// [`IANA`]: crate::CloseCodes::IANA
/// [`HTTP_LIKE`]: crate::CloseCodes::HTTP_LIKE
/// [`GRAPHQL_WS`]: crate::CloseCodes::GRAPHQL_WS
/// [`CENTRIFUGO`]: crate::CloseCodes::CENTRIFUGO
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// The token expired and was not refreshed.
    TokenExpired,
    /// The session reached its [`WsAuthLayer::max_lifetime`](crate::WsAuthLayer::max_lifetime).
    MaxLifetime,
    /// A [revocation](crate::Revocations) ended it, or a method of [`Sessions`](crate::Sessions) such as
    /// [`end_subject`](crate::Sessions::end_subject).
    Revoked,
    /// The application called [`Session::end`](crate::Session::end), for a reason of its own.
    Policy,
    /// The client sent no token of a better or newer sign-in in time; see
    /// [`Session::require`](crate::Session::require). Or a [recheck](crate::Verified::recheck_in()) asked for one.
    InsufficientUserAuthentication,
    /// A newer session of the same subject replaced it; see [`Limits::per_subject`](crate::Limits::per_subject).
    TooManySessions,
    /// The client did not answer in time, so it has probably vanished; see
    /// [`WsAuthLayer::keep_alive`](crate::WsAuthLayer::keep_alive).
    Unresponsive,
    /// The verifier was unavailable for too long to say whether the token is still valid.
    Unconfirmed,
    /// The server shut down; see [`Sessions::drain`](crate::Sessions::drain).
    Shutdown,
    /// The connection was closed by the client or by the handler, or broke.
    Closed,
}

impl EndReason {
    /// A stable name, listed in the table [above](Self). The client sees it as the reason in the close frame, or at the
    /// end of its [stream](crate::WsAuthLayer::streams).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenExpired => "token_expired",
            Self::MaxLifetime => "max_lifetime",
            Self::Revoked => "revoked",
            Self::Policy => "policy",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
            Self::TooManySessions => "too_many_sessions",
            Self::Unresponsive => "unresponsive",
            Self::Unconfirmed => "unconfirmed",
            Self::Shutdown => "shutdown",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenExpired => "the token has expired",
            Self::MaxLifetime => "the session has reached its max lifetime",
            Self::Revoked => "the session was revoked",
            Self::Policy => "the application ended the session",
            Self::InsufficientUserAuthentication => "the user did not sign in again, or by other means",
            Self::TooManySessions => "a newer session replaced this one",
            Self::Unresponsive => "the client did not answer in time",
            Self::Unconfirmed => "the token could not be confirmed for too long",
            Self::Shutdown => "the server is shutting down",
            Self::Closed => "the connection is closed",
        })
    }
}

/// How a session ended.
#[derive(Clone, Copy)]
pub(crate) struct End {
    pub(crate) reason: EndReason,
    /// Overrides the close code of the profile.
    pub(crate) code: Option<u16>,
}

impl End {
    pub(super) const REVOKED: Self = Self { reason: EndReason::Revoked, code: None };
    pub(super) const TOO_MANY: Self = Self { reason: EndReason::TooManySessions, code: None };

    /// Ends these sessions. Returns how many had not ended before.
    pub(super) fn apply(self, sessions: impl IntoIterator<Item = Arc<SessionCore>>) -> usize {
        sessions.into_iter().filter(|session| session.end(self)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::EndReason;
    use crate::session::{CloseCodes, doc_table};

    const ALL: [EndReason; 10] = [
        EndReason::TokenExpired,
        EndReason::MaxLifetime,
        EndReason::Revoked,
        EndReason::Policy,
        EndReason::InsufficientUserAuthentication,
        EndReason::TooManySessions,
        EndReason::Unresponsive,
        EndReason::Unconfirmed,
        EndReason::Shutdown,
        EndReason::Closed,
    ];

    #[test]
    fn every_reason_is_in_the_table_with_its_codes() {
        let source = include_str!("end.rs");
        let table = doc_table::rows(source, "| [name](Self::as_str) |");
        assert_eq!([table.len(), ALL.len()], [doc_table::names(source, "fn as_str(").len(); 2]);
        for (row, reason) in table.into_iter().zip(ALL) {
            let codes = [CloseCodes::IANA, CloseCodes::HTTP_LIKE, CloseCodes::GRAPHQL_WS, CloseCodes::CENTRIFUGO];
            let codes = codes.map(|profile| profile.of_end(reason).to_string());
            assert_eq!(row.first().copied(), Some(reason.as_str()));
            assert_eq!(row.get(2..), Some(codes.each_ref().map(String::as_str).as_slice()), "{reason:?}");
        }
    }
}
