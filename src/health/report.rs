use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{HealthReason, HealthStatus};
#[cfg(feature = "jwks")]
use crate::verify::jwks::IssuerStatus;
use crate::{revocation::RevocationStatus, session::Sessions, store::StoreError};

/// How healthy a node is; see [`Health`](super::Health).
///
/// Serializes to an object with the fields' names. Times are whole seconds, and errors are text. As a response, it is
/// that object with the status 503 if the node is unavailable, and else 200.
///
/// ```json
/// {
///   "status": "degraded",
///   "reasons": ["store_unreachable"],
///   "sessions": { "connections": 3, "websockets": 2, "streams": 1, "limit": 50000, "is_draining": false },
///   "revocations": { "entries": 12, "age": 1, "is_current": true, "admitted_when_stale": 0 },
///   "issuers": [],
///   "stores": [{ "name": "redis", "is_reachable": false, "error": "the store is unavailable: …" }]
/// }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct HealthReport {
    /// The worst of what was found.
    pub status: HealthStatus,
    /// What is wrong, each reason once.
    pub reasons: Vec<HealthReason>,
    /// The connections of this node.
    pub sessions: Option<SessionsHealth>,
    /// This node's copy of the revocations.
    pub revocations: Option<RevocationStatus>,
    /// The keys of each issuer.
    #[cfg(feature = "jwks")]
    pub issuers: Vec<IssuerStatus>,
    /// The stores, in the order in which they were named.
    pub stores: Vec<StoreHealth>,
}

/// The connections of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SessionsHealth {
    /// How many there are, including those that are being closed.
    pub connections: usize,
    /// How many WebSockets are open.
    pub websockets: usize,
    /// How many streams are open.
    pub streams: usize,
    /// The most connections that are admitted. `None` without a limit.
    pub limit: Option<usize>,
    /// Whether the server shuts down.
    pub is_draining: bool,
}

/// Whether a store answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreHealth {
    /// What the application calls it.
    pub name: &'static str,
    /// Why it does not answer. `None` if it does.
    pub error: Option<StoreError>,
}

impl HealthReport {
    pub(super) const fn new() -> Self {
        Self {
            status: HealthStatus::Ok,
            reasons: Vec::new(),
            sessions: None,
            revocations: None,
            #[cfg(feature = "jwks")]
            issuers: Vec::new(),
            stores: Vec::new(),
        }
    }

    pub(super) fn add_sessions(&mut self, sessions: SessionsHealth) {
        if sessions.is_draining {
            self.note(HealthReason::Draining, HealthStatus::Unavailable);
        }
        if sessions.limit.is_some_and(|limit| sessions.connections >= limit) {
            self.note(HealthReason::ServerFull, HealthStatus::Unavailable);
        }
        self.sessions = Some(sessions);
    }

    pub(super) fn add_revocations(&mut self, revocations: RevocationStatus) {
        if !revocations.is_current {
            let status = if revocations.admits_when_stale { HealthStatus::Degraded } else { HealthStatus::Unavailable };
            self.note(HealthReason::RevocationsStale, status);
        }
        self.revocations = Some(revocations);
    }

    #[cfg(feature = "jwks")]
    pub(super) fn add_issuers(&mut self, issuers: Vec<IssuerStatus>) {
        let usable = issuers.iter().filter(|issuer| issuer.is_usable()).count();
        if usable < issuers.len() {
            let status = if usable == 0 { HealthStatus::Unavailable } else { HealthStatus::Degraded };
            self.note(HealthReason::KeysMissing, status);
        }
        if issuers.iter().any(|issuer| issuer.is_usable() && issuer.last_error().is_some()) {
            self.note(HealthReason::KeysNotRefreshed, HealthStatus::Degraded);
        }
        self.issuers = issuers;
    }

    pub(super) fn add_stores(&mut self, stores: Vec<StoreHealth>) {
        if stores.iter().any(|store| store.error.is_some()) {
            self.note(HealthReason::StoreUnreachable, HealthStatus::Degraded);
        }
        self.stores = stores;
    }

    fn note(&mut self, reason: HealthReason, status: HealthStatus) {
        self.reasons.push(reason);
        self.status = self.status.max(status);
    }
}

impl SessionsHealth {
    pub(super) async fn of(sessions: &Sessions) -> Self {
        let (websockets, streams) = sessions.count_by_kind().await;
        Self {
            connections: sessions.count(),
            websockets,
            streams,
            limit: sessions.limit(),
            is_draining: sessions.is_draining(),
        }
    }
}

// By hand: an error serializes as text.
impl Serialize for StoreHealth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut store = serializer.serialize_struct("StoreHealth", 3)?;
        store.serialize_field("name", self.name)?;
        store.serialize_field("is_reachable", &self.error.is_none())?;
        store.serialize_field("error", &self.error.as_ref().map(ToString::to_string))?;
        store.end()
    }
}

impl IntoResponse for HealthReport {
    fn into_response(self) -> Response {
        let status = match self.status {
            HealthStatus::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            HealthStatus::Ok | HealthStatus::Degraded => StatusCode::OK,
        };
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        // There is nothing in it that JSON cannot hold.
        let json = serde_json::to_string(&self).unwrap_or_default();
        (status, headers, json).into_response()
    }
}
