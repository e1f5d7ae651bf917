use std::time::Duration;

/// Why a client was refused for its address; see [`AddressLimits`](super::AddressLimits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressLimitError {
    /// The address has reached its limit of [connections](super::AddressLimits::connections). Answered with 429.
    #[error("the address has reached its limit of connections")]
    TooManyConnections,
    /// The address has reached its limit of [failed attempts](super::AddressLimits::failed_attempts). Answered with
    /// 429.
    #[error("the address has reached its limit of failed attempts")]
    TooManyAttempts {
        /// When to try again.
        retry_after: Duration,
    },
    /// The client's [address](crate::ClientAddr) is unknown, so it cannot be limited. Answered with 503, because it is
    /// the server that is set up wrongly, or its proxy.
    #[error("the client's address is unknown")]
    AddressUnknown,
}

/// What a client is told to wait if nothing says when a connection will end.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl AddressLimitError {
    /// A stable name for logs and metrics. [`Rejection::reason`](crate::Rejection::reason) returns it too.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyAttempts { .. } => "too_many_attempts",
            Self::AddressUnknown => "address_unknown",
        }
    }

    /// When the client may try again.
    #[must_use]
    pub const fn retry_after(self) -> Duration {
        match self {
            Self::TooManyAttempts { retry_after } => retry_after,
            Self::TooManyConnections | Self::AddressUnknown => RETRY_AFTER,
        }
    }
}
