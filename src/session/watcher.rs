use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{EndReason, SessionCore};

#[allow(unused_imports, reason = "for the docs")]
use super::Session;
use crate::id::SessionId;

/// Waits for the end of a session without keeping it alive; see [`Session::watch`].
///
/// A [`Session`] that has neither an [`AuthenticatedSocket`](crate::AuthenticatedSocket) nor a
/// [response that goes on](crate::WsAuthLayer::streams) lasts, and counts in the [limits](crate::Limits), as long as
/// there is a clone of it. A task that waits for its end must not own a clone: the
/// session would outlive its connection, and wait for itself. Such a task owns a watcher instead. When the last clone
/// is dropped, the session ends with [`EndReason::Closed`].
#[derive(Clone)]
pub struct SessionWatcher(Arc<SessionCore>);

impl SessionWatcher {
    pub(super) fn new(core: &Arc<SessionCore>) -> Self {
        Self(Arc::clone(core))
    }

    /// The id of the session.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.0.id()
    }

    /// The subject of its token (`sub`), if the verifier names one.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.subject()
    }

    /// When the session ends unless it is refreshed; see [`Session::expires_at`].
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.0.expires_at()
    }

    /// Waits until the session has ended, and returns why.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn ended(&self) -> EndReason {
        self.0.ended().await
    }

    /// Waits until there is less than `before` left; see [`Session::expiring_in`].
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn expiring_in(&self, before: Duration) -> Duration {
        self.0.expiring_in(before).await
    }

    /// Why the session ended; `None` while it is active.
    #[must_use]
    pub fn end_reason(&self) -> Option<EndReason> {
        self.0.end_reason()
    }

    /// The close code of the session's end; see [`Session::close_code`].
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        self.0.end_code()
    }
}

impl fmt::Debug for SessionWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionWatcher")
            .field("id", &self.id())
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}
