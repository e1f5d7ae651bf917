use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{RefreshError, RefreshErrorKind};
use crate::verify::VerifyErrorKind;

/// What the sender of a token is told of its refresh. Nodes send it to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefreshReply {
    Refreshed {
        /// `None` if the session has no deadline.
        expires_in: Option<Duration>,
    },
    /// There is no such session, or it belongs to another subject.
    Unknown,
    Invalid,
    Insufficient {
        scope: Option<String>,
    },
    InsufficientAuthentication {
        acr_values: Option<String>,
        max_age: Option<Duration>,
    },
    InProgress,
    TooManyAttempts {
        /// `None` if refreshes are disabled.
        retry_after: Option<Duration>,
    },
    Unavailable {
        retry_after: Duration,
    },
}

impl RefreshReply {
    /// The session may be there, and cannot be reached now.
    pub(crate) const UNAVAILABLE: Self = Self::Unavailable { retry_after: Duration::from_secs(2) };

    /// `is_own` says that the token is of the session's subject, although the session's verifier may not say so. No
    /// other client learns that there is such a session.
    pub(super) fn refused(error: &RefreshError, is_own: bool) -> Self {
        let unavailable = || match error.retry_after() {
            Some(retry_after) => Self::Unavailable { retry_after },
            None => Self::UNAVAILABLE,
        };
        match error.kind() {
            RefreshErrorKind::SessionEnded
            | RefreshErrorKind::NoSubject
            | RefreshErrorKind::OtherSubject
            | RefreshErrorKind::OtherIssuer => Self::Unknown,
            RefreshErrorKind::NotVerified(_) | RefreshErrorKind::TokenTooLarge | RefreshErrorKind::Malformed
                if !is_own =>
            {
                Self::Unknown
            }
            RefreshErrorKind::NotVerified(VerifyErrorKind::Unavailable) | RefreshErrorKind::Unavailable => {
                unavailable()
            }
            RefreshErrorKind::NotVerified(VerifyErrorKind::InsufficientScope | VerifyErrorKind::Forbidden) => {
                Self::Insufficient { scope: error.scope().map(str::to_owned) }
            }
            RefreshErrorKind::NotVerified(VerifyErrorKind::InsufficientUserAuthentication) => {
                let (acr_values, max_age) = error.authentication();
                Self::InsufficientAuthentication { acr_values: acr_values.map(str::to_owned), max_age }
            }
            RefreshErrorKind::NotVerified(_)
            | RefreshErrorKind::TokenTooLarge
            | RefreshErrorKind::Malformed
            | RefreshErrorKind::OtherKey
            | RefreshErrorKind::Revoked => Self::Invalid,
            RefreshErrorKind::InProgress => Self::InProgress,
            RefreshErrorKind::TooManyAttempts => Self::TooManyAttempts { retry_after: error.retry_after() },
        }
    }
}
