use std::{sync::Arc, time::SystemTime};

use crate::{
    id::{ScopedId, SessionId},
    session::{SessionCore, SessionKind},
};

/// A snapshot of one session; see [`Sessions::iter`](crate::Sessions::iter).
#[derive(Clone, Debug)]
pub struct SessionInfo {
    id: SessionId,
    subject: Option<Arc<str>>,
    issuer: Option<Arc<str>>,
    kind: SessionKind,
    connected_at: SystemTime,
    expires_at: Option<SystemTime>,
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

    /// What it is the session of.
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
}
