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
/// A [`Session`] that has neither an [`AuthenticatedSocket`](crate::AuthenticatedSocket) nor a [response that goes
/// on](crate::WsAuthLayer::streams) lasts, and counts in the [limits](crate::Limits), as long as there is a clone of
/// it. A task that waits for its end must not own a clone: the session would outlive its connection, and wait for
/// itself. Such a task owns a watcher instead. When the last clone is dropped, the session ends with
/// [`EndReason::Closed`].
#[derive(Clone)]
pub struct SessionWatcher {
    core: Arc<SessionCore>,
    /// How many refreshes [`refreshed`](Self::refreshed) has seen.
    seen: u32,
}

impl SessionWatcher {
    pub(super) fn new(core: &Arc<SessionCore>) -> Self {
        Self { core: Arc::clone(core), seen: core.refresh_count() }
    }

    /// The id of the session.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.core.id()
    }

    /// The subject of its token (`sub`), if the verifier names one.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.core.subject()
    }

    /// When the session ends unless it is refreshed; see [`Session::expires_at`].
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.core.expires_at()
    }

    /// Waits until the session has ended, and returns why.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn ended(&self) -> EndReason {
        self.core.ended().await
    }

    /// Waits until the token is replaced by a refresh of any kind: the claims are new then, and the deadline has moved.
    ///
    /// A watcher remembers what it has seen, so a refresh between two calls completes the second at once. Several
    /// refreshes in the meantime count as one.
    ///
    /// # Errors
    ///
    /// If the session ends instead, why. A refresh just before the end is reported first.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: if the future is dropped, no refresh is missed.
    ///
    /// # Example
    ///
    /// A handler whose subscriptions follow the claims.
    ///
    /// ```
    /// use axum_ws_auth::{AuthenticatedSocket, EndReason};
    /// # struct Claims { rooms: Vec<String> }
    /// # fn subscribe(_: &[String]) {}
    ///
    /// async fn chat(mut socket: AuthenticatedSocket<Claims>) {
    ///     let mut watcher = socket.session().watch();
    ///     subscribe(&socket.claims().rooms);
    ///     loop {
    ///         tokio::select! {
    ///             Some(Ok(_message)) = socket.recv() => {}
    ///             refreshed = watcher.refreshed() => match refreshed {
    ///                 Ok(()) => subscribe(&socket.claims().rooms),
    ///                 Err(reason) => return println!("the session has ended: {reason}"),
    ///             },
    ///             else => return,
    ///         }
    ///     }
    /// }
    /// ```
    pub async fn refreshed(&mut self) -> Result<(), EndReason> {
        self.core.refreshed(&mut self.seen).await
    }

    /// Waits until there is less than `before` left; see [`Session::expiring_in`].
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn expiring_in(&self, before: Duration) -> Duration {
        self.core.expiring_in(before).await
    }

    /// Why the session ended; `None` while it is active.
    #[must_use]
    pub fn end_reason(&self) -> Option<EndReason> {
        self.core.end_reason()
    }

    /// The close code of the session's end; see [`Session::close_code`].
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        self.core.end_code()
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
