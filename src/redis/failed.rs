//! What went wrong, in words for an operator, and what may help.

use std::{fmt, sync::Arc, time::Duration};

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::StoreError;

/// Why Redis did not do something.
#[derive(Clone, Debug)]
pub(super) enum Failed {
    /// There is no connection, for this reason.
    Unreachable(Arc<str>),
    /// There was one, and no answer on it.
    TimedOut { address: Arc<str>, limit: Duration },
    /// An error that a server answered, or with which a connection broke.
    Redis { address: Arc<str>, error: RedisError },
}

/// What may help.
pub(super) enum Cure {
    /// Nothing, here.
    None,
    /// Another connection at once: this one is broken.
    Reconnect,
    /// Another connection, which may lead to another server: this one is no primary now.
    Elsewhere,
    /// The server of this address has the key.
    Moved(String),
    /// The server of this address has the key, for this once.
    Ask(String),
}

impl Failed {
    pub(super) fn unreachable(reason: impl Into<String>) -> Self {
        Self::Unreachable(Arc::from(reason.into()))
    }

    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Redis { error, .. } => error.code(),
            Self::Unreachable(_) | Self::TimedOut { .. } => None,
        }
    }

    /// Whether the answer, also one within a script, is an error of this code.
    fn says(&self, code: &str) -> bool {
        match self {
            Self::Redis { error, .. } => {
                error.code() == Some(code) || error.detail().is_some_and(|text| text.contains(code))
            }
            Self::Unreachable(_) | Self::TimedOut { .. } => false,
        }
    }

    pub(super) fn cure(&self) -> Cure {
        let Self::Redis { error, .. } = self else { return Cure::None };
        let address = || error.redirect_node().map(|(address, _)| address.to_owned());
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => address().map_or(Cure::None, Cure::Moved),
            ErrorKind::Server(ServerErrorKind::Ask) => address().map_or(Cure::None, Cure::Ask),
            ErrorKind::Io | ErrorKind::Parse => Cure::Reconnect,
            // Also where a script has met it, which Redis 6 answers with a code of its own. `NOREPLICAS` is an old
            // primary that was cut off, `NOAUTH` a connection whose user was changed.
            _ if ["READONLY", "MASTERDOWN", "LOADING", "NOREPLICAS", "NOAUTH", "UNBLOCKED"]
                .iter()
                .any(|code| self.says(code)) =>
            {
                Cure::Elsewhere
            }
            _ => Cure::None,
        }
    }

    /// Whether the server may be gone, so that others may have its slots.
    pub(super) fn is_of_the_server(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut { .. } => true,
            Self::Redis { .. } => self.says("CLUSTERDOWN") || !matches!(self.cure(), Cure::None),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, error) = match self {
            Self::Unreachable(reason) => return f.write_str(reason),
            Self::TimedOut { address, limit } => {
                return write!(f, "redis at {address} has not answered within {limit:?}");
            }
            Self::Redis { address, error } => (address, error),
        };
        let server = if address.is_empty() { "redis".to_owned() } else { format!("redis at {address}") };
        match (error.code(), error.detail()) {
            (Some("NOAUTH"), _) => write!(f, "{server} wants a password, and none is configured (NOAUTH)"),
            (Some("WRONGPASS"), _) => write!(f, "{server} refuses the user or password (WRONGPASS)"),
            // What comes after it are arguments.
            (Some(code), Some(detail)) => {
                write!(f, "{server} answered {code} {}", detail.split(", with args").next().unwrap_or_default())
            }
            (Some(code), None) => write!(f, "{server} answered {code}"),
            (None, _) if error.is_io_error() => write!(f, "the connection to {server} broke: {error}"),
            (None, _) => write!(f, "{server}: {error}"),
        }
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        // "command not allowed when used memory > 'maxmemory'", in a script behind words of its own.
        let error = if failed.says("OOM") { Self::full() } else { Self::unavailable() };
        error.with_source(failed.to_string())
    }
}

// For what a connection of one's own answers.
impl From<RedisError> for Failed {
    fn from(error: RedisError) -> Self {
        Self::Redis { address: Arc::from(""), error }
    }
}
