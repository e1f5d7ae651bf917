use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::SessionId;

/// A place in a list of sessions, the oldest of which is first: the place of one session, which may have ended since.
///
/// Its text form is 44 hexadecimal digits, for [`Display`](fmt::Display), [`FromStr`] and serde. It can be a query
/// parameter as it is. It tells when the session began, to the millisecond, and its [id](SessionId); it is not a
/// secret, and knowing it grants nothing.
///
/// ```
/// use axum_ws_auth::SessionCursor;
///
/// let cursor: SessionCursor = "018bcfe568000123456789abcdef0000000000000001".parse()?;
/// assert_eq!(cursor.to_string(), "018bcfe568000123456789abcdef0000000000000001");
/// assert!("1".parse::<SessionCursor>().is_err());
/// # Ok::<(), axum_ws_auth::ParseSessionCursorError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionCursor {
    /// In milliseconds since 1970.
    accepted: u64,
    session: SessionId,
}

/// The text is not a [`SessionCursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session cursor is 44 hexadecimal digits")]
#[non_exhaustive]
pub struct ParseSessionCursorError;

/// The digits of the time. They last until the year 10889.
const TIME_DIGITS: usize = 12;
const MAX_TIME: u64 = (1 << 48) - 1;

impl SessionCursor {
    /// The place of a session that was accepted at this time.
    pub(crate) fn new(accepted: SystemTime, session: SessionId) -> Self {
        let accepted = accepted.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { accepted: u64::try_from(accepted.as_millis()).unwrap_or(MAX_TIME).min(MAX_TIME), session }
    }

    /// When the session was accepted, in whole milliseconds.
    #[must_use]
    pub fn accepted(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.accepted)
    }

    /// The id of the session.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }
}

impl From<SessionCursor> for String {
    fn from(cursor: SessionCursor) -> Self {
        cursor.to_string()
    }
}

impl TryFrom<String> for SessionCursor {
    type Error = ParseSessionCursorError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for SessionCursor {
    type Err = ParseSessionCursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (time, session) = text.split_at_checked(TIME_DIGITS).ok_or(ParseSessionCursorError)?;
        if !time.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseSessionCursorError);
        }
        let accepted = u64::from_str_radix(time, 16).map_err(|_| ParseSessionCursorError)?;
        Ok(Self { accepted, session: session.parse().map_err(|_| ParseSessionCursorError)? })
    }
}

impl fmt::Display for SessionCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}{}", self.accepted, self.session)
    }
}

// By hand, to show the text form.
impl fmt::Debug for SessionCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionCursor({self})")
    }
}
