use std::{fmt, sync::Arc};

use super::{Filter, OfSubject, Registry, SessionInfo};
use crate::{
    id::{ScopedId, SessionId},
    session::{End, Limits, RefreshReply, SessionCore, SessionKind},
    store::NodeBus,
    token::Token,
};

#[allow(unused_imports, reason = "for the docs")]
use crate::session::{EndReason, SessionPage};

/// The live sessions of one process: a registry that layers register sessions with, and that the application keeps in
/// its state.
///
/// Clones are handles to the same registry. Several layers can share one registry, and then share its limits.
///
/// A session is registered from the verification of its token on. The session of a WebSocket handshake is a
/// *connection*: it is counted, limited and listed until the connection is dropped. With
/// [`AuthenticatedUpgrade`](crate::AuthenticatedUpgrade), the crate closes the socket when the session ends. A handler
/// that upgrades in another way keeps a clone of the [`Session`](crate::Session) with its socket and waits until it has
/// [ended](crate::Session::ended); the session is registered until the last clone is dropped.
///
/// A response that goes on, such as an event stream, makes the session of its request a connection too; see
/// [`WsAuthLayer::streams`](crate::WsAuthLayer::streams). The session of any other request is registered for as long as
/// something holds it: a socket.io client that polls first and upgrades later, for example. It is neither counted nor
/// listed, but it can be ended in all the same ways, and [`Session::ended`](crate::Session::ended) then resolves.
///
/// # Many sessions
///
/// Ending a session takes about a microsecond. A call that cannot end all of them within a millisecond leaves the rest
/// to a task of the tokio runtime, which yields regularly, and still returns the full count. All of these sessions
/// count as ended at once: whatever looks at one of them finds that it has ended.
///
/// Counting the rest takes longer in two cases, because it has to look at every session: for the id of a token or of a
/// provider session, and while the task of an earlier call is still running. With 100,000 sessions on one machine,
/// [`end_token`](Self::end_token) took 15 milliseconds, and a call during an earlier call's task 90. Other calls took
/// one millisecond.
///
/// # Example
///
/// ```
/// use axum::{Router, response::Response, routing::any};
/// use axum_ws_auth::{AuthenticatedUpgrade, Sessions, WsAuthLayer, test_util::{self, TestToken, handshake}};
/// use futures_util::StreamExt;
/// use serde_json::Value;
/// use tokio_tungstenite::tungstenite::Message;
///
/// async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
///     upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sessions = Sessions::new();
/// let layer = WsAuthLayer::new(test_util::verifier::<Value>()).sessions(&sessions);
/// let app = Router::new().route("/", any(chat)).layer(layer);
///
/// let request = handshake().bearer_subprotocol(&TestToken::new("alice").sign()).build();
/// let (mut socket, _) = test_util::connect(app, request).await?;
/// assert_eq!(sessions.iter().next().expect("one").subject(), Some("alice"));
///
/// // No other subject's session ends …
/// assert_eq!(sessions.end_subject("bob"), 0);
/// // … and this one ends at once.
/// assert_eq!(sessions.end_subject("alice"), 1);
/// let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close frame") };
/// assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "revoked"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Sessions(pub(in crate::session) Arc<Registry>);

impl Sessions {
    /// A registry without limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits::new())
    }

    /// A registry with limits.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        let registry = Arc::new(Registry::new(limits));
        registry.start_lease_task();
        Self(registry)
    }

    /// Lets the [refresh routes](crate::WsAuthLayer::refresh_route) of all nodes on this bus refresh the sessions of
    /// each other. A node asks the node of the session, and waits for its answer for at most two seconds. Replaces an
    /// earlier bus. Defaults to none: a refresh route finds the sessions of its own registry only.
    ///
    /// [`recheck_subject`](Self::recheck_subject) uses the bus too.
    ///
    /// The message contains the client's token, because the session's own node verifies it. The bus sends it to that
    /// node only and does not store it. Anyone who can read the bus's traffic can read tokens, so with
    /// [`Redis`](crate::Redis), use `rediss://` and a separate user.
    ///
    /// A background task listens for as long as the registry or one of its sessions exists. It starts as soon as there
    /// is a tokio runtime: with this call, or with the first handshake.
    ///
    /// ```no_run
    /// # #[cfg(feature = "redis")] fn sessions() -> Result<(), axum_ws_auth::ConfigError> {
    /// use axum_ws_auth::{Limits, Redis, Sessions};
    ///
    /// let redis = Redis::new("rediss://redis.internal")?;
    /// let sessions = Sessions::with_limits(Limits::new().across_nodes(redis.clone())).reachable_through(redis);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn reachable_through(self, bus: impl NodeBus) -> Self {
        self.0.set_bus(Arc::new(bus));
        self
    }

    /// Refreshes a session on whichever node it is, with a token that anybody may have sent. `sender` is whose token it
    /// is according to the layer's verifier.
    pub(crate) async fn refresh(&self, session: SessionId, token: Token, sender: Option<ScopedId>) -> RefreshReply {
        self.0.refresh(session, token, sender).await
    }

    /// The number of connections, including those that are being closed.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.connection_count()
    }

    /// How many live WebSockets and streams there are. Yields regularly.
    pub(crate) async fn count_by_kind(&self) -> (usize, usize) {
        let is_live = |session: &SessionCore| session.end_reason().is_none() && session.is_counted();
        let live = self.0.collect(is_live).await;
        let websockets = live.iter().filter(|session| session.kind() == SessionKind::WebSocket).count();
        (websockets, live.len() - websockets)
    }

    /// The most connections that are admitted, if there is a limit.
    pub(crate) fn limit(&self) -> Option<usize> {
        Some(self.0.limits.total).filter(|total| *total < usize::MAX)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.is_draining()
    }

    /// Iterates over the connections whose sessions have not ended, in arbitrary order.
    ///
    /// A session that begins or ends during the iteration may be included or not.
    pub fn iter(&self) -> impl Iterator<Item = SessionInfo> + '_ {
        self.0.live().map(|session| SessionInfo::of(&session))
    }

    /// Lists the live connections of a subject (`sub`), the oldest first: the page "where am I signed in".
    ///
    /// A [`ScopedId`] names the issuer too, which distinguishes the users of several issuers; use
    /// [`Session::scoped_subject`](crate::Session::scoped_subject) for such a page. A string means this subject of any
    /// issuer.
    ///
    /// With [`Limits::across_nodes`], the list has the sessions of all nodes that share the store. Otherwise it has
    /// those of this registry. Sessions without a subject are in no such list.
    ///
    /// # Pages
    ///
    /// A page has 100 sessions unless [`limit`](OfSubject::limit) is set. [`SessionPage::next`] is where the next one
    /// begins: a [`SessionCursor`](crate::SessionCursor), which can be a query parameter, so that no node has to
    /// remember a reader. Sessions that begin or end in the meantime do not shift the pages: whatever lives from the
    /// first page to the last is listed once. (A new session may be missed if the clock of its node is behind.)
    ///
    /// # How true it is
    ///
    /// Sessions of this node are listed as they are now. Those of other nodes are listed as their leases say. Nodes
    /// renew leases three times in a [lease's lifetime](Limits::lease_lifetime), so
    /// [`expires_at`](SessionInfo::expires_at) and [`kind`](SessionInfo::kind) may be as old as the last renewal.
    /// Sessions that begin or end appear or disappear at once. There are two exceptions, each for one lifetime at most
    /// (60 seconds by default): sessions of a node that crashed are still listed, and sessions that began or ended
    /// while the store was unavailable may be wrong.
    ///
    /// # Sign out one device
    ///
    /// [`find`](OfSubject::find) returns the session of an id only if it is one of this subject. Then
    /// [`Revocations::revoke_session`](crate::Revocations::revoke_session) ends it on whatever node it is. Without
    /// revocations, [`end`](Self::end) ends it on this node. Its token stays valid: a client that still has it can
    /// connect again, so also revoke the token, or the cookie that it comes from.
    ///
    /// # Errors
    ///
    /// If the store does not answer. [`iter`](Self::iter) still lists the sessions of this node.
    ///
    /// # Cancel safety
    ///
    /// The future is cancel safe.
    ///
    /// # Example
    ///
    /// The page, and the button beside each device. A user signs out an own device, and nobody else's.
    ///
    /// ```
    /// use axum::{Extension, Json, Router, extract::{Path, Query}, http::StatusCode, response::Response, routing::{any, get, post}};
    /// use axum_ws_auth::{
    ///     Authenticated, AuthenticatedUpgrade, MemoryRevocations, Revocations, SessionCursor, SessionId, SessionMeta,
    ///     Sessions, WsAuthLayer, test_util::{self, TestToken, handshake},
    /// };
    /// # use axum::{body::{Body, to_bytes}, http::Request};
    /// use futures_util::StreamExt;
    /// use serde_json::{Value, json};
    /// # use tower::ServiceExt;
    ///
    /// async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    ///     upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    /// }
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Page { after: Option<SessionCursor> }
    ///
    /// async fn devices(
    ///     Authenticated(session): Authenticated<Value>,
    ///     Query(page): Query<Page>,
    ///     Extension(sessions): Extension<Sessions>,
    /// ) -> Result<Json<Value>, StatusCode> {
    ///     let subject = session.scoped_subject().ok_or(StatusCode::FORBIDDEN)?;
    ///     let page = sessions.of_subject(subject).after(page.after).limit(20).await;
    ///     let page = page.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    ///     let devices = page.sessions().iter().map(|one| json!({ "id": one.id(), "device": one.meta().get("device") }));
    ///     Ok(Json(json!({ "devices": devices.collect::<Value>(), "next": page.next() })))
    /// }
    ///
    /// async fn sign_out(
    ///     Authenticated(session): Authenticated<Value>,
    ///     Path(id): Path<SessionId>,
    ///     Extension(sessions): Extension<Sessions>,
    ///     Extension(revocations): Extension<Revocations>,
    /// ) -> Result<StatusCode, StatusCode> {
    ///     let subject = session.scoped_subject().ok_or(StatusCode::FORBIDDEN)?;
    ///     // Anybody can send any id: this one must be an own session.
    ///     let own = sessions.of_subject(subject).find(id).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    ///     let own = own.ok_or(StatusCode::NOT_FOUND)?;
    ///     revocations.revoke_session(own.id()).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    ///     Ok(StatusCode::NO_CONTENT)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // With several nodes: `Sessions::with_limits(Limits::new().across_nodes(redis))` and `Revocations::new(redis)`.
    /// let (sessions, revocations) = (Sessions::new(), Revocations::new(MemoryRevocations::new()));
    /// let layer = WsAuthLayer::new(test_util::verifier::<Value>()).sessions(&sessions).revocations(&revocations);
    /// let layer = layer.session_meta(|parts| {
    ///     let agent = parts.headers.get("user-agent").and_then(|agent| agent.to_str().ok());
    ///     SessionMeta::new().with("device", agent.unwrap_or("unknown"))
    /// });
    /// let app = Router::new()
    ///     .route("/chat", any(chat))
    ///     .route("/devices", get(devices))
    ///     .route("/devices/{id}/sign-out", post(sign_out))
    ///     .layer(layer)
    ///     .layer((Extension(sessions), Extension(revocations)));
    /// # let [alice, bob] = ["alice", "bob"].map(|subject| TestToken::new(subject).sign());
    /// # let request = |method: &str, path: &str, token: &str| {
    /// #     let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
    /// #     request.body(Body::empty()).expect("a request")
    /// # };
    ///
    /// // Alice has a socket on her phone, and looks at her devices elsewhere.
    /// let chat = handshake().path("/chat").bearer_subprotocol(&alice).header("user-agent", "phone");
    /// let (mut phone, _) = test_util::connect(app.clone(), chat.build()).await?;
    /// let page = app.clone().oneshot(request("GET", "/devices", &alice)).await?;
    /// let page: Value = serde_json::from_slice(&to_bytes(page.into_body(), 10_000).await?)?;
    /// assert_eq!((&page["devices"][0]["device"], &page["next"]), (&json!("phone"), &Value::Null));
    ///
    /// // No: bob does not sign out alice's phone.
    /// let path = format!("/devices/{}/sign-out", page["devices"][0]["id"].as_str().expect("an id"));
    /// assert_eq!(app.clone().oneshot(request("POST", &path, &bob)).await?.status(), 404);
    ///
    /// // Yes: alice does.
    /// assert_eq!(app.clone().oneshot(request("POST", &path, &alice)).await?.status(), 204);
    /// assert!(phone.next().await.expect("a close frame")?.is_close());
    /// # Ok(()) }
    /// ```
    pub fn of_subject(&self, subject: impl Into<ScopedId>) -> OfSubject {
        OfSubject::new(self.clone(), subject.into())
    }

    /// Ends a session of this registry with [`EndReason::Revoked`]. Returns how many were ended: one or none.
    ///
    /// [`Revocations::revoke_session`](crate::Revocations::revoke_session) ends a session on any node. Before an id
    /// from a client is used here, check [whose it is](OfSubject::find).
    pub fn end(&self, id: SessionId) -> usize {
        End::REVOKED.apply(self.0.get(id))
    }

    /// Ends the sessions of a subject (`sub`) with [`EndReason::Revoked`]. Returns how many were ended, including those
    /// that are not connections.
    ///
    /// A [`ScopedId`] names the issuer too, which distinguishes the users of several issuers. A string means this
    /// subject of any issuer. The subject may open new sessions.
    pub fn end_subject(&self, subject: impl Into<ScopedId>) -> usize {
        self.0.bulk_end(Filter::Subject(subject.into()), End::REVOKED)
    }

    /// Ends the sessions whose token has this id (`jti`) with [`EndReason::Revoked`]. Returns how many were ended.
    ///
    /// A [`ScopedId`] names the issuer too; a string means any issuer. After a [refresh](crate::Session::refresh), a
    /// session is only found by the id of its new token.
    pub fn end_token(&self, token_id: impl Into<ScopedId>) -> usize {
        self.0.bulk_end(Filter::Token(token_id.into()), End::REVOKED)
    }

    /// Ends the sessions that use a token of this session at the identity provider (`sid`) with [`EndReason::Revoked`].
    /// Returns how many were ended.
    ///
    /// [`Revocations::revoke_provider_session`](crate::Revocations::revoke_provider_session) does so on all nodes, and
    /// refuses the tokens from then on.
    pub fn end_provider_session(&self, id: impl Into<ScopedId>) -> usize {
        self.0.bulk_end(Filter::ProviderSession(id.into()), End::REVOKED)
    }

    /// Ends all sessions with [`EndReason::Revoked`]. Returns how many were ended.
    ///
    /// To shut down the server, use [`drain`](Self::drain).
    pub fn end_all(&self) -> usize {
        self.0.bulk_end(Filter::All, End::REVOKED)
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("count", &self.count()).field("limits", &self.0.limits).finish_non_exhaustive()
    }
}
