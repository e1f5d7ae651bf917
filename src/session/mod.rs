//! One authenticated connection, and the registry of all that there are.

mod close;
mod config;
mod core;
mod deadline;
mod drain;
mod end;
mod head;
mod limits;
mod refresh;
mod registry;
mod revoked;
mod waiting;
mod watcher;

use std::{
    fmt,
    future::pending,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, SystemTime},
};

pub use close::CloseCodes;
pub use drain::{Drain, Drained};
pub use end::EndReason;
pub use limits::{AdmissionError, Limits};
pub use refresh::{RefreshError, RefreshErrorKind};
pub use registry::{SessionInfo, Sessions};
pub use watcher::SessionWatcher;

pub(crate) use close::CLOSE_TIMEOUT;
pub(crate) use config::SessionConfig;
pub(crate) use core::{ConnectionGuard, SessionCore, Status};
pub(crate) use end::End;
pub(crate) use head::Head;
pub(crate) use registry::Permit;

use crate::{
    id::{ScopedId, SessionId},
    lock::lock,
    verify::{Verified, VerifierOf},
};
use registry::Registry;

/// One authenticated connection: who is at the other end, and until when.
///
/// The layer puts it into the extensions of the request; [`Authenticated`](crate::Authenticated) takes it out again.
/// Clones are the same session.
///
/// It ends once, with one [`EndReason`]: at its deadline, by an order, or with the connection. The socket of an
/// [`AuthenticatedUpgrade`](crate::AuthenticatedUpgrade) is then closed, whatever the handler is doing. A handler that
/// upgrades by other means keeps the session for as long as it has the connection, and closes that itself when
/// [`ended`](Self::ended) resolves. What only waits for the end owns a [`SessionWatcher`] instead.
pub struct Session<C>(Arc<Inner<C>>);

struct Inner<C> {
    core: Arc<SessionCore>,
    claims: Mutex<Arc<C>>,
    verifier: Arc<dyn VerifierOf<C>>,
    head: Head,
}

/// The moment at which a token was verified, for the session that begins with it.
pub(crate) struct SessionStart {
    config: Arc<SessionConfig>,
    now: deadline::Moment,
}

impl SessionStart {
    pub(crate) fn now(config: &Arc<SessionConfig>) -> Self {
        Self { now: config.now(), config: Arc::clone(config) }
    }

    pub(crate) const fn wall(&self) -> SystemTime {
        self.now.wall
    }

    /// Begins a session, and registers it if it is given a place. One that is counted is admitted if the limits allow it.
    pub(crate) fn begin<C>(
        self,
        verified: Verified<C>,
        verifier: Arc<dyn VerifierOf<C>>,
        head: Head,
        place: Option<Permit>,
    ) -> Result<Session<C>, AdmissionError> {
        let Verified { claims, expires_at, subject, issuer, token_id, issued_at } = verified;
        let token = core::TokenFacts { id: token_id.clone(), issued_at, since: self.now.wall };
        let since = self.now.wall;
        let core = SessionCore::new(core::Facts { subject, issuer, expires_at, token }, self.now, self.config);
        let session = Session(Arc::new(Inner { core, claims: Mutex::new(Arc::new(claims)), verifier, head }));
        // First, so that no order to end it can be missed from here on.
        let registry = place.and_then(|place| Registry::register(&session.0.core, token_id.as_deref(), place));
        session.0.core.check_revoked(token_id.as_deref(), issued_at, since)?;
        if let Some(registry) = registry {
            registry.admit(&session.0.core)?;
        }
        Ok(session)
    }
}

impl SessionConfig {
    /// Whether there is room for another session, as things stand.
    pub(crate) fn check_capacity(&self) -> Result<(), AdmissionError> {
        self.sessions.as_ref().map_or(Ok(()), |sessions| sessions.0.check_capacity())
    }

    /// Waits until nobody is admitted any more.
    pub(crate) async fn draining(&self) -> AdmissionError {
        match &self.sessions {
            Some(sessions) => sessions.0.draining().await,
            None => pending().await,
        }
    }

    /// Whether a session is to be counted on all nodes.
    pub(crate) fn shares_limits(&self) -> bool {
        self.sessions.as_ref().is_some_and(|sessions| sessions.0.is_shared())
    }

    /// A place for a connection, if there is a registry.
    pub(crate) fn counted_permit(&self) -> Result<Option<Permit>, AdmissionError> {
        self.sessions.as_ref().map(|sessions| sessions.0.slot().map(Permit::Counted)).transpose()
    }

    /// A place for what is no connection, if there is a registry.
    pub(crate) fn uncounted_permit(&self) -> Option<Permit> {
        self.sessions.as_ref().map(|sessions| Permit::Uncounted(Arc::clone(&sessions.0)))
    }
}

impl<C> Session<C> {
    /// The claims of the token; after a [refresh](Self::refresh), those of the new one.
    #[must_use]
    pub fn claims(&self) -> Arc<C> {
        Arc::clone(&lock(&self.0.claims))
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.0.core.id()
    }

    /// Whom the token speaks of (`sub`), if it says so.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.core.subject.as_deref()
    }

    /// Who issued the token (`iss`), if it says so.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.0.core.issuer.as_deref()
    }

    /// The subject together with its issuer, for orders about this user and no namesake at another issuer.
    #[must_use]
    pub fn scoped_subject(&self) -> Option<ScopedId> {
        self.0.core.scoped_subject()
    }

    /// When the token was verified during the handshake.
    #[must_use]
    pub fn connected_at(&self) -> SystemTime {
        self.0.core.connected_at()
    }

    /// The moment at which the session ends if it is not refreshed: when its token is no longer accepted, all leeway
    /// included, or when it has reached its [greatest age](crate::WsAuthLayer::max_lifetime). `None` if there is no end
    /// to it.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.0.core.deadline()
    }

    /// Waits until there is less than `before` left, and returns what is left: zero if the session has ended.
    ///
    /// For a message such as "your session ends in a minute". A [refresh](Self::refresh) puts it off. A session without
    /// a deadline is waited for until it ends otherwise.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped and asked for again.
    pub async fn expiring_in(&self, before: Duration) -> Duration {
        self.0.core.expiring_in(before).await
    }

    /// Waits until the session has ended, and returns why.
    ///
    /// A future that owns a `Session` to call this keeps the session, and its place in the limits. To wait in a task of its
    /// own, [`watch`](Self::watch).
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped and asked for again.
    pub async fn ended(&self) -> EndReason {
        self.0.core.ended().await
    }

    /// A handle to wait for the end of the session with, which does not keep it.
    ///
    /// # Example
    ///
    /// axum's own `WebSocket`, closed when its session ends. The callback owns the session, and so the session ends when
    /// the callback returns; the spawned task owns a watcher.
    ///
    /// The repository has the same for other libraries, as tests that run: `tests/interop/tests/axum_websocket.rs` without
    /// a second task, `tests/interop/tests/fastwebsockets.rs`, and `tests/interop/tests/socketioxide.rs`.
    ///
    /// ```
    /// use axum::{Router, extract::ws::{CloseFrame, Message, WebSocketUpgrade}, response::Response, routing::any};
    /// use axum_ws_auth::{AtLimit, Authenticated, Limits, Sessions, WsAuthLayer};
    /// use axum_ws_auth::test_util::{self, TestToken, handshake};
    /// use futures_util::{SinkExt, StreamExt};
    /// use serde_json::Value;
    ///
    /// async fn chat(Authenticated(session): Authenticated<Value>, upgrade: WebSocketUpgrade) -> Response {
    ///     upgrade.on_upgrade(async move |socket| {
    ///         let (mut sink, mut stream) = socket.split();
    ///         let watcher = session.watch();
    ///         tokio::spawn(async move {
    ///             let reason = watcher.ended().await;
    ///             let code = watcher.close_code().unwrap_or(1000);
    ///             let close = CloseFrame { code, reason: reason.as_str().into() };
    ///             let _ = sink.send(Message::Close(Some(close))).await;
    ///         });
    ///         while let Some(Ok(message)) = stream.next().await {
    ///             println!("{:?} says {message:?}", session.subject());
    ///         }
    ///         drop(session);
    ///     })
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let sessions = Sessions::with_limits(Limits::new().per_subject(1, AtLimit::RefuseNew)?);
    /// let layer = WsAuthLayer::new(test_util::verifier::<Value>()).sessions(&sessions);
    /// let app = Router::new().route("/", any(chat)).layer(layer);
    /// let handshake = || handshake().bearer_subprotocol(&TestToken::new("alice").sign()).build();
    ///
    /// // An order to end the session closes the socket …
    /// let (mut socket, _) = test_util::connect(app.clone(), handshake()).await?;
    /// sessions.end_subject("alice");
    /// assert!(socket.next().await.expect("a close frame")?.is_close());
    /// drop(socket);
    /// # while sessions.count() > 0 { tokio::task::yield_now().await }
    ///
    /// // … and a client that leaves gives up its place.
    /// let (socket, _) = test_util::connect(app.clone(), handshake()).await?;
    /// drop(socket);
    /// # while sessions.count() > 0 { tokio::task::yield_now().await }
    /// assert!(test_util::connect(app, handshake()).await.is_ok());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn watch(&self) -> SessionWatcher {
        self.0.core.watched.store(true, Ordering::Release);
        SessionWatcher::new(&self.0.core)
    }

    /// Why the session ended; `None` while it lives.
    #[must_use]
    pub fn end_reason(&self) -> Option<EndReason> {
        self.0.core.watched.store(true, Ordering::Release);
        self.0.core.end_reason()
    }

    /// The close code that tells the client why the session ended; `None` while it lives.
    ///
    /// It is the code of the layer's [`CloseCodes`], or the one that [`Drain`] was given. An
    /// [`AuthenticatedSocket`](crate::AuthenticatedSocket) is closed with it. A handler that closes its socket itself sends
    /// it together with [`EndReason::as_str`].
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        self.0.core.close_code_of_end()
    }

    /// Ends the session, with [`EndReason::Policy`]: its socket is closed. Returns whether it did, or it had ended
    /// before.
    pub fn end(&self) -> bool {
        self.0.core.end(End { reason: EndReason::Policy, code: None })
    }

    /// What is known of the token that it stands on.
    pub(crate) fn verified(&self) -> Verified<Arc<C>> {
        let core = &self.0.core;
        // A refresh changes all of them at once.
        let (expires_at, token, claims) = core.at_once(|| self.claims());
        Verified {
            claims,
            expires_at,
            subject: core.subject.clone(),
            issuer: core.issuer.clone(),
            token_id: token.id,
            issued_at: token.issued_at,
        }
    }

    /// The same session, once it is counted on all nodes: if the limits are about all of them, and allow it.
    pub(crate) async fn acquire_lease(self) -> Result<Self, AdmissionError> {
        let core = &self.0.core;
        if core.config.shares_limits()
            && core.is_counted()
            && let Some(registry) = core.registry()
        {
            registry.share(core).await?;
        }
        Ok(self)
    }

    pub(crate) fn core(&self) -> &Arc<SessionCore> {
        &self.0.core
    }

    /// Makes the session last as long as the lease, whoever else holds it.
    pub(crate) fn guard(&self) -> ConnectionGuard {
        self.0.core.guard()
    }
}

/// The last handle is gone: end the session, unless its connection holds it. Watchers hold nothing.
impl<C> Drop for Inner<C> {
    fn drop(&mut self) {
        // Where nobody else has the life, there is nobody to be told.
        if Arc::get_mut(&mut self.core).is_none() {
            self.core.release_unless_leased();
        }
    }
}

// By hand, like the one below: a derive would ask the same of `C`.
impl<C> Clone for Session<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for Session<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id())
            .field("subject", &self.subject())
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}
