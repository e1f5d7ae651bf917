use std::{sync::Arc, time::SystemTime};

use super::leases::Details;
use crate::{
    id::{ScopedId, SessionCursor, SessionId},
    session::{SessionCore, SessionKind, SessionMeta},
    store::SessionLease,
};

/// A snapshot of one session; see [`Sessions::iter`](crate::Sessions::iter) and
/// [`Sessions::of_subject`](crate::Sessions::of_subject).
#[derive(Clone, Debug)]
pub struct SessionInfo {
    id: SessionId,
    subject: Option<Arc<str>>,
    issuer: Option<Arc<str>>,
    kind: SessionKind,
    connected_at: SystemTime,
    expires_at: Option<SystemTime>,
    meta: SessionMeta,
    is_local: bool,
}

impl SessionInfo {
    pub(super) fn of(core: &SessionCore) -> Self {
        Self {
            id: core.id(),
            subject: core.subject.clone(),
            issuer: core.issuer.clone(),
            kind: core.kind(),
            connected_at: core.connected_at(),
            expires_at: core.expires_at(),
            meta: core.meta.clone(),
            is_local: true,
        }
    }

    /// What the lease of a session of another node tells about it.
    pub(super) fn of_lease(lease: &SessionLease) -> Self {
        let Details { kind, expires_at, meta } = Details::from_text(&lease.details);
        Self {
            id: lease.session,
            subject: Some(lease.subject.id().into()),
            issuer: lease.subject.issuer().map(Into::into),
            kind,
            connected_at: lease.accepted,
            expires_at,
            meta,
            is_local: false,
        }
    }

    /// The id of the session.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// The subject of its token (`sub`), if the verifier names one.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The issuer of its token (`iss`), if the verifier names one.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The subject together with its issuer; see [`Session::scoped_subject`](crate::Session::scoped_subject).
    #[must_use]
    pub fn scoped_subject(&self) -> Option<ScopedId> {
        Some(ScopedId::from_claims(self.issuer.clone(), self.subject.clone()?))
    }

    /// What the session belongs to: a WebSocket, a stream, or another request.
    #[must_use]
    pub const fn kind(&self) -> SessionKind {
        self.kind
    }

    /// When its token was verified during the handshake.
    #[must_use]
    pub const fn connected_at(&self) -> SystemTime {
        self.connected_at
    }

    /// When the session ends unless it is refreshed; see [`Session::expires_at`](crate::Session::expires_at).
    #[must_use]
    pub const fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }

    /// What the layer's [hook](crate::WsAuthLayer::session_meta) noted about the connection.
    pub const fn meta(&self) -> &SessionMeta {
        &self.meta
    }

    /// Whether the session is on this node, in the registry that listed it. [`Sessions::end`](crate::Sessions::end)
    /// ends it then. [`Revocations::revoke_session`](crate::Revocations::revoke_session) ends it on any node.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        self.is_local
    }

    /// The place of the session in lists of [`Sessions::of_subject`](crate::Sessions::of_subject).
    #[must_use]
    pub fn cursor(&self) -> SessionCursor {
        SessionCursor::new(self.connected_at, self.id)
    }
}
