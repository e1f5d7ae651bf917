use std::fmt;

use serde::{Serialize, Serializer};

/// Whether a node can do its work; see [`HealthReport`](super::HealthReport).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HealthStatus {
    /// `ok`: everything works.
    Ok,
    /// `degraded`: some clients are refused, or will be if nothing changes. Other nodes are probably no better.
    Degraded,
    /// `unavailable`: this node admits nobody. New clients should go elsewhere.
    Unavailable,
}

/// What is wrong with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HealthReason {
    /// `draining`: it shuts down ([`Sessions::drain`](crate::Sessions::drain)).
    Draining,
    /// `server_full`: it has as many connections as [`Limits::total`](crate::Limits::total) allows.
    ServerFull,
    /// `revocations_stale`: it does not know recent revocations, and admits nobody; or everybody, which only degrades
    /// it, with
    /// [`insecure_admit_when_stale`](crate::RevocationOptions::insecure_admit_when_stale).
    RevocationsStale,
    /// `keys_missing`: an issuer has no usable keys, so its tokens are refused. If that is so for all issuers, the node
    /// is unavailable.
    KeysMissing,
    /// `keys_not_refreshed`: the last fetch of an issuer's keys failed. Those from before are still used.
    KeysNotRefreshed,
    /// `store_unreachable`: a store does not answer.
    StoreUnreachable,
}

impl HealthStatus {
    /// A stable name; the [crate docs](crate#stable-names) list them.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Unavailable => "unavailable",
        }
    }
}

impl HealthReason {
    /// A stable name; the [crate docs](crate#stable-names) list them.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::ServerFull => "server_full",
            Self::RevocationsStale => "revocations_stale",
            Self::KeysMissing => "keys_missing",
            Self::KeysNotRefreshed => "keys_not_refreshed",
            Self::StoreUnreachable => "store_unreachable",
        }
    }
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for HealthReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// By hand: as their names.
impl Serialize for HealthStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for HealthReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
