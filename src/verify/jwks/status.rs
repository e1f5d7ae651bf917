use std::time::Duration;

use serde::{Serialize, Serializer, ser::SerializeStruct};
use tokio::time::Instant;

use super::{Issuer, KeysError, UnusableKey};
use crate::lock::lock;

/// The key status of one issuer, for health endpoints; see [`JwtVerifier::status`](crate::jwt::JwtVerifier::status).
///
/// Serializes to an object with the methods' names as fields. Durations are whole seconds, and the error is text.
#[derive(Clone, Debug)]
pub struct IssuerStatus {
    issuer: String,
    key_ids: Vec<Option<String>>,
    unusable: Vec<UnusableKey>,
    usable: bool,
    age: Option<Duration>,
    last_error: Option<KeysError>,
    next_refresh: Option<Duration>,
}

impl IssuerStatus {
    pub(super) fn of(issuer: &Issuer) -> Self {
        let now = Instant::now();
        let keys = issuer.last_keys();
        let (last_error, next) = match issuer.remote() {
            None => (None, None),
            Some(remote) => (remote.last_error(), Some(lock(&remote.schedule).next)),
        };
        Self {
            issuer: issuer.name().to_owned(),
            key_ids: keys.iter().flat_map(|keys| keys.usable()).map(|key| key.id().map(str::to_owned)).collect(),
            unusable: keys.iter().flat_map(|keys| &keys.list.unusable).cloned().collect(),
            usable: issuer.generation().is_some(),
            age: keys.filter(|_| issuer.remote().is_some()).map(|keys| now.saturating_duration_since(keys.fetched_at)),
            last_error,
            next_refresh: next.map(|next| next.saturating_duration_since(now)),
        }
    }

    /// The issuer's name.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whether tokens of this issuer can be verified now: there are keys, and they are not older than
    /// [`max_stale`](super::IssuerKeys::max_stale).
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        self.usable
    }

    /// The ids of the usable keys, once per algorithm. `None` for a key without an id.
    pub fn key_ids(&self) -> impl Iterator<Item = Option<&str>> {
        self.key_ids.iter().map(Option::as_deref)
    }

    /// The keys of the set that are not used.
    #[must_use]
    pub fn unusable(&self) -> &[UnusableKey] {
        &self.unusable
    }

    /// The time since the last successful fetch. `None` before the first one, and for a local set.
    #[must_use]
    pub const fn age(&self) -> Option<Duration> {
        self.age
    }

    /// The error of the last fetch. `None` if it succeeded.
    #[must_use]
    pub const fn last_error(&self) -> Option<&KeysError> {
        self.last_error.as_ref()
    }

    /// The time until the next fetch. `None` for a local set.
    #[must_use]
    pub const fn next_refresh(&self) -> Option<Duration> {
        self.next_refresh
    }
}

// By hand: an error serializes as text.
impl Serialize for IssuerStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut status = serializer.serialize_struct("IssuerStatus", 7)?;
        status.serialize_field("issuer", &self.issuer)?;
        status.serialize_field("is_usable", &self.usable)?;
        status.serialize_field("key_ids", &self.key_ids)?;
        status.serialize_field("unusable", &self.unusable)?;
        status.serialize_field("age", &self.age.map(|age| age.as_secs()))?;
        status.serialize_field("last_error", &self.last_error.as_ref().map(ToString::to_string))?;
        status.serialize_field("next_refresh", &self.next_refresh.map(|next| next.as_secs()))?;
        status.end()
    }
}
