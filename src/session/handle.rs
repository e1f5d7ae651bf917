use std::{
    fmt,
    future::Future,
    sync::{Arc, Weak, atomic::Ordering},
    time::{Duration, SystemTime},
};

use super::{
    AdmissionError, ConnectionGuard, End, EndReason, Head, SessionCore, SessionKind, SessionMeta, SessionWatcher,
    any::AnySession,
};
use crate::{
    id::{ScopedId, SessionId},
    lock::{Mutex, lock},
    verify::{Verified, VerifierOf},
};

/// One authenticated connection: whose it is, and until when.
///
/// The layer puts it into the extensions of the request, from which [`Authenticated`](crate::Authenticated) extracts
/// it. Clones are handles to the same session.
///
/// A session ends once, with one [`EndReason`]: at its deadline, when something ends it, or with the connection. The
/// socket of an [`AuthenticatedUpgrade`](crate::AuthenticatedUpgrade) is then closed, whatever the handler is doing,
/// and so is a [response that goes on](crate::WsAuthLayer::streams). A handler that upgrades in another way keeps the
/// session as long as the connection, and closes the connection when [`ended`](Self::ended) resolves. A task that only
/// waits for the end uses a [`SessionWatcher`] instead.
pub struct Session<C>(pub(super) Arc<Inner<C>>);

pub(super) struct Inner<C> {
    pub(super) core: Arc<SessionCore>,
    pub(super) claims: Mutex<Arc<C>>,
    pub(super) verifier: Arc<dyn VerifierOf<C>>,
    /// For the verifier, at a refresh.
    pub(super) head: Head,
}

impl<C: Send + Sync + 'static> Session<C> {
    pub(super) fn new(
        core: impl FnOnce(Weak<dyn AnySession>) -> Arc<SessionCore>,
        claims: C,
        verifier: Arc<dyn VerifierOf<C>>,
        head: Head,
    ) -> Self {
        Self(Arc::new_cyclic(|this: &Weak<Inner<C>>| {
            let any: Weak<dyn AnySession> = Weak::<Inner<C>>::clone(this);
            Inner { core: core(any), claims: Mutex::new(Arc::new(claims)), verifier, head }
        }))
    }

    /// Another handle to it, without the type of the claims.
    pub(crate) fn any(&self) -> Arc<dyn AnySession> {
        Arc::<Inner<C>>::clone(&self.0)
    }
}

impl<C> Session<C> {
    /// The claims of the token; after a [refresh](Self::refresh), those of the new token.
    #[must_use]
    pub fn claims(&self) -> Arc<C> {
        Arc::clone(&lock(&self.0.claims))
    }

    /// The id of the session.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.0.core.id()
    }

    /// The subject of the token (`sub`), if the verifier names one.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.core.subject()
    }

    /// The issuer of the token (`iss`), if the verifier names one.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.0.core.issuer.as_deref()
    }

    /// The subject together with its issuer. Subjects are unique only within one issuer.
    #[must_use]
    pub fn scoped_subject(&self) -> Option<ScopedId> {
        self.0.core.scoped_subject()
    }

    /// The id of the user's session at the identity provider (`sid`), if the verifier names one. After a refresh, it is
    /// that of the new token.
    ///
    /// [`Revocations::revoke_provider_session`](crate::Revocations::revoke_provider_session) ends the session by it.
    #[must_use]
    pub fn provider_session(&self) -> Option<Arc<str>> {
        self.0.core.token().provider_session
    }

    /// What the session belongs to: a WebSocket, a stream, or another request.
    #[must_use]
    pub fn kind(&self) -> SessionKind {
        self.0.core.kind()
    }

    /// What the layer's [hook](crate::WsAuthLayer::session_meta) noted about the connection.
    pub fn meta(&self) -> &SessionMeta {
        &self.0.core.meta
    }

    /// When the token was verified during the handshake.
    #[must_use]
    pub fn connected_at(&self) -> SystemTime {
        self.0.core.connected_at()
    }

    /// When the session ends unless it is refreshed: when its token expires, leeway included, or when it reaches its
    /// [max lifetime](crate::WsAuthLayer::max_lifetime), whichever is first. `None` if it has no deadline.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.0.core.expires_at()
    }

    /// Waits until less than `before` is left, and returns the time that is left: zero if the session has ended.
    ///
    /// Use it to warn the client, for example "your session ends in a minute". A [refresh](Self::refresh) moves the
    /// deadline. Without a deadline, this waits for the end of the session.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn expiring_in(&self, before: Duration) -> Duration {
        self.0.core.expiring_in(before).await
    }

    /// Waits until the token is replaced by a refresh of any kind: the claims are new then, and the deadline has moved.
    ///
    /// A [recheck](crate::Verified::recheck_in()) is no refresh.
    ///
    /// It counts from this call, also if the future is polled later. To wait in a loop without missing a refresh, use
    /// [`SessionWatcher::refreshed`].
    ///
    /// # Errors
    ///
    /// If the session ends instead, why. A refresh just before the end is reported as a refresh.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe. A refresh between two calls is not seen by the second.
    pub fn refreshed(&self) -> impl Future<Output = Result<(), EndReason>> + '_ {
        let core = &self.0.core;
        let mut seen = core.refresh_count();
        async move { core.refreshed(&mut seen).await }
    }

    /// Waits until the session has ended, and returns why.
    ///
    /// A future that owns a `Session` keeps the session alive, and counted in the limits. To wait in a task of its own,
    /// use [`watch`](Self::watch).
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn ended(&self) -> EndReason {
        self.0.core.ended().await
    }

    /// Returns a handle that waits for the end of the session without keeping it alive.
    ///
    /// # Example
    ///
    /// axum's own `WebSocket`, closed when its session ends. The callback owns the session, so the session ends when
    /// the callback returns. The spawned task owns a watcher.
    ///
    /// The repository has tested examples for other libraries in `tests/interop/tests`: `axum_websocket.rs` (without a
    /// second task), `fastwebsockets.rs`, `socketioxide.rs`, and `async_graphql.rs`, whose library takes the
    /// [`AuthenticatedSocket`](crate::AuthenticatedSocket).
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
    /// // Ending the session closes the socket …
    /// let (mut socket, _) = test_util::connect(app.clone(), handshake()).await?;
    /// sessions.end_subject("alice");
    /// assert!(socket.next().await.expect("a close frame")?.is_close());
    /// drop(socket);
    /// # while sessions.count() > 0 { tokio::task::yield_now().await }
    ///
    /// // … and a client that disconnects frees its slot in the limits.
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

    /// Why the session ended; `None` while it is active.
    #[must_use]
    pub fn end_reason(&self) -> Option<EndReason> {
        self.0.core.watched.store(true, Ordering::Release);
        self.0.core.end_reason()
    }

    /// The close code that tells the client why the session ended; `None` while it is active.
    ///
    /// It comes from the layer's [`CloseCodes`](crate::CloseCodes), or from the [`Drain`](crate::Drain). An
    /// [`AuthenticatedSocket`](crate::AuthenticatedSocket) is closed with it. A handler that closes its socket itself
    /// sends it together with [`EndReason::as_str`].
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        self.0.core.end_code()
    }

    /// Ends the session with [`EndReason::Policy`], which closes an
    /// [`AuthenticatedSocket`](crate::AuthenticatedSocket). Returns `false` if the session had already ended.
    pub fn end(&self) -> bool {
        self.0.core.end(End { reason: EndReason::Policy, code: None })
    }

    /// What the verifier said about the current token.
    pub(crate) fn verified(&self) -> Verified<Arc<C>> {
        let core = &self.0.core;
        // One snapshot, because a refresh replaces all three together.
        let (expires_at, token, claims) = core.snapshot(|| self.claims());
        Verified {
            expires_at,
            subject: core.subject.clone(),
            issuer: core.issuer.clone(),
            confirmation: core.confirmation.clone(),
            token_id: token.id,
            provider_session: token.provider_session,
            issued_at: token.issued_at,
            ..Verified::new(claims)
        }
    }

    /// Takes a lease for the session, if the limits are shared across nodes.
    pub(crate) async fn acquire_lease(self) -> Result<Self, AdmissionError> {
        self.0.core.acquire_lease().await?;
        Ok(self)
    }

    pub(crate) fn core(&self) -> &Arc<SessionCore> {
        &self.0.core
    }

    /// From here on the session lasts as long as the guard, whatever happens to its handles.
    pub(crate) fn guard(&self) -> ConnectionGuard {
        self.0.core.guard()
    }
}

/// The last handle is gone: end the session, unless a connection guard keeps it alive. Watchers do not.
impl<C> Drop for Inner<C> {
    fn drop(&mut self) {
        // If nothing else shares the core, it is not registered and nothing waits for its end. Only an event tells of
        // that.
        if Arc::get_mut(&mut self.core).is_none_or(|core| *core.of_handshake.get_mut()) {
            self.core.release_unless_guarded();
        }
    }
}

// By hand, like `Debug`: a derive would require the same of `C`.
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
