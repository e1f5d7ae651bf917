//! Why Redis did not do something, in words for an operator, and how to recover.

use std::{fmt, sync::Arc, time::Duration};

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::StoreError;

#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// There is no connection.
    Unreachable(Arc<str>),
    /// There was no answer on a connection.
    TimedOut { address: Arc<str>, limit: Duration },
    /// A server answered with an error, or a connection broke.
    Redis { address: Arc<str>, error: RedisError },
}

/// How to recover from a failure.
pub(super) enum Recovery {
    /// Not at all.
    None,
    /// With a new connection, because this one is broken.
    Reconnect,
    /// With a new connection, which may lead to another server, because this one is not a writable primary.
    FindPrimary,
    /// At the server with this address, which has the key.
    Moved(String),
    /// At the server with this address, for this command only.
    Ask(String),
}

impl Failure {
    pub(super) fn unreachable(reason: impl Into<String>) -> Self {
        Self::Unreachable(Arc::from(reason.into()))
    }

    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Redis { error, .. } => error.code(),
            Self::Unreachable(_) | Self::TimedOut { .. } => None,
        }
    }

    /// Whether the server answered with this error code, perhaps from within a script.
    fn has_code(&self, code: &str) -> bool {
        match self {
            Self::Redis { error, .. } => {
                error.code() == Some(code) || error.detail().is_some_and(|text| text.contains(code))
            }
            Self::Unreachable(_) | Self::TimedOut { .. } => false,
        }
    }

    pub(super) fn recovery(&self) -> Recovery {
        let Self::Redis { error, .. } = self else { return Recovery::None };
        let address = || error.redirect_node().map(|(address, _)| address.to_owned());
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => address().map_or(Recovery::None, Recovery::Moved),
            ErrorKind::Server(ServerErrorKind::Ask) => address().map_or(Recovery::None, Recovery::Ask),
            ErrorKind::Io | ErrorKind::Parse => Recovery::Reconnect,
            // A script of Redis 6 wraps these in an error of its own. `NOREPLICAS` comes from an old primary that was
            // cut off, and `NOAUTH` on a connection whose user was changed.
            _ if ["READONLY", "MASTERDOWN", "LOADING", "NOREPLICAS", "NOAUTH", "UNBLOCKED"]
                .iter()
                .any(|code| self.has_code(code)) =>
            {
                Recovery::FindPrimary
            }
            _ => Recovery::None,
        }
    }

    /// Whether the server may be down, so that others may have its slots.
    pub(super) fn server_may_be_down(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut { .. } => true,
            Self::Redis { .. } => self.has_code("CLUSTERDOWN") || !matches!(self.recovery(), Recovery::None),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, error) = match self {
            Self::Unreachable(reason) => return f.write_str(reason),
            Self::TimedOut { address, limit } => {
                return write!(f, "redis at {address} did not answer within {limit:?}");
            }
            Self::Redis { address, error } => (address, error),
        };
        let server = if address.is_empty() { "redis".to_owned() } else { format!("redis at {address}") };
        match (error.code(), error.detail()) {
            (Some("NOAUTH"), _) => write!(f, "{server} requires a password, and none is configured (NOAUTH)"),
            (Some("WRONGPASS"), _) => write!(f, "{server} rejects the user or password (WRONGPASS)"),
            // Arguments follow, which may be secret.
            (Some(code), Some(detail)) => {
                write!(f, "{server} answered {code} {}", detail.split(", with args").next().unwrap_or_default())
            }
            (Some(code), None) => write!(f, "{server} answered {code}"),
            (None, _) if error.is_io_error() => write!(f, "the connection to {server} broke: {error}"),
            (None, _) => write!(f, "{server}: {error}"),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        // "command not allowed when used memory > 'maxmemory'".
        let error = if failure.has_code("OOM") { Self::full() } else { Self::unavailable() };
        error.with_source(failure.to_string())
    }
}

// For connections whose address is not at hand.
impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Redis { address: Arc::from(""), error }
    }
}
