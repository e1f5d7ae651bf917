use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    str::FromStr,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

/// The id of a session, unique across nodes and restarts.
///
/// It is not a secret, and knowing it grants nothing. Its text form is 32 hexadecimal digits, for
/// [`Display`](fmt::Display), [`FromStr`] and serde.
///
/// ```
/// use axum_ws_auth::SessionId;
///
/// let id: SessionId = "0123456789abcdef0000000000000001".parse()?;
/// assert_eq!(id.to_string(), "0123456789abcdef0000000000000001");
/// assert!("1".parse::<SessionId>().is_err());
/// # Ok::<(), axum_ws_auth::ParseSessionIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId {
    process: u64,
    number: u64,
}

/// The text is not a [`SessionId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session id is 32 hexadecimal digits")]
#[non_exhaustive]
pub struct ParseSessionIdError;

// Random: `RandomState` is seeded by the operating system.
static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

impl SessionId {
    /// The number of the newest session of this process.
    pub(crate) fn newest_number() -> u64 {
        NEXT_NUMBER.load(Ordering::Relaxed).saturating_sub(1)
    }

    pub(crate) fn next() -> Self {
        Self { process: *PROCESS, number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed) }
    }

    /// Whether the session belongs to this process.
    pub(crate) fn is_local(self) -> bool {
        self.process == *PROCESS
    }

    /// Increases with each session of the process.
    pub(crate) const fn number(self) -> u64 {
        self.number
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for SessionId {
    type Error = ParseSessionIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseSessionIdError);
        }
        let (process, number) = text.split_at(16);
        let read = |digits| u64::from_str_radix(digits, 16).map_err(|_| ParseSessionIdError);
        Ok(Self { process: read(process)?, number: read(number)? })
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.process, self.number)
    }
}

// By hand, to show the text form.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}
