use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// A node, as messages to it are addressed: one registry of sessions ([`Sessions`](crate::Sessions)) in one process.
///
/// It is random, and the first half of the [ids](crate::SessionId) of the node's sessions. Like those it is no secret.
/// Its text form is 16 hexadecimal digits, for [`Display`](fmt::Display), [`FromStr`] and serde.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(u64);

/// The text is not a [`NodeId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node id is 16 hexadecimal digits")]
#[non_exhaustive]
pub struct ParseNodeIdError;

impl NodeId {
    /// The id of a new node.
    #[must_use]
    pub fn random() -> Self {
        // Random: `RandomState` is seeded by the operating system.
        Self(RandomState::new().hash_one(std::process::id()))
    }
}

impl FromStr for NodeId {
    type Err = ParseNodeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseNodeIdError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| ParseNodeIdError)
    }
}

impl TryFrom<String> for NodeId {
    type Error = ParseNodeIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

// By hand, to show the text form.
impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}
