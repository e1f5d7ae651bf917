use std::time::Duration;

/// Why a handshake with a valid token, or a [stream](crate::WsAuthLayer::streams), was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// The server is [shutting down](crate::Sessions::drain). Answered with 503.
    #[error("the server is shutting down")]
    Draining {
        /// When to try again.
        retry_after: Duration,
    },
    /// The server has reached its limit of [sessions](crate::Limits::total). Answered with 503.
    #[error("the server has reached its limit of sessions")]
    Full {
        /// When to try again.
        retry_after: Duration,
    },
    /// The token, its subject or the session was [revoked](crate::Revocations). Answered with 401.
    #[error("the token, its subject or the session was revoked")]
    Revoked,
    /// Whether the token was revoked cannot be checked now. Answered with 503.
    #[error("revocations cannot be checked now")]
    RevocationsStale {
        /// When to try again.
        retry_after: Duration,
    },
    /// The subject has reached its limit of [sessions](crate::Limits::per_subject). Answered with 429.
    #[error("the subject has reached its limit of sessions")]
    TooManySessions {
        /// When to try again.
        retry_after: Duration,
    },
}

impl AdmissionError {
    /// A stable name for logs and metrics. [`Rejection::reason`](crate::Rejection::reason) returns it too.
    ///
    /// | name | variant |
    /// | --- | --- |
    /// | `draining` | `Draining` |
    /// | `server_full` | `Full` |
    /// | `revoked` | `Revoked` |
    /// | `revocations_stale` | `RevocationsStale` |
    /// | `too_many_sessions` | `TooManySessions` |
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draining { .. } => "draining",
            Self::Full { .. } => "server_full",
            Self::Revoked => "revoked",
            Self::RevocationsStale { .. } => "revocations_stale",
            Self::TooManySessions { .. } => "too_many_sessions",
        }
    }

    /// When the client may try again. `None` if that does not help.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Draining { retry_after }
            | Self::Full { retry_after }
            | Self::RevocationsStale { retry_after }
            | Self::TooManySessions { retry_after } => Some(retry_after),
            Self::Revoked => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::session::doc_table;

    #[test]
    fn every_name_is_in_the_table() {
        let source = include_str!("admission_error.rs");
        let names = doc_table::names(source, "fn as_str(");
        let expected: Vec<_> = names.into_iter().map(|(variant, name)| vec![name, variant]).collect();
        assert_eq!(doc_table::rows(source, "| name | variant |"), expected);
    }
}
