use std::{
    fmt,
    str::FromStr,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use super::NodeId;

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
    node: NodeId,
    number: u64,
}

/// The text is not a [`SessionId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session id is 32 hexadecimal digits")]
#[non_exhaustive]
pub struct ParseSessionIdError;

/// The node of sessions without a registry.
static PROCESS: LazyLock<NodeId> = LazyLock::new(NodeId::random);

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

impl SessionId {
    /// The number of the newest session of this process.
    pub(crate) fn newest_number() -> u64 {
        NEXT_NUMBER.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// A new id for a session without a registry.
    pub(crate) fn next() -> Self {
        Self::next_of(*PROCESS)
    }

    /// A new id for a session of this node.
    pub(crate) fn next_of(node: NodeId) -> Self {
        Self { node, number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed) }
    }

    /// The node that the session belongs to.
    pub(crate) const fn node(self) -> NodeId {
        self.node
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
        let (node, number) = text.split_at(16);
        let number = u64::from_str_radix(number, 16).map_err(|_| ParseSessionIdError)?;
        Ok(Self { node: node.parse().map_err(|_| ParseSessionIdError)?, number })
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:016x}", self.node, self.number)
    }
}

// By hand, to show the text form.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}
