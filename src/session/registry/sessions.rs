use std::{fmt, sync::Arc};

use super::{Filter, Registry, SessionInfo};
use crate::{
    id::{ScopedId, SessionId},
    session::{End, Limits},
};

#[allow(unused_imports, reason = "for the docs")]
use crate::session::EndReason;

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
/// The session of any other request is registered too, for as long as something holds it: an event stream, or a
/// socket.io client that polls first and upgrades later. It is neither counted nor listed, but it can be ended in all
/// the same ways, and [`Session::ended`](crate::Session::ended) then resolves.
///
/// # Many sessions
///
/// Ending a session takes about a microsecond. A call that cannot end all of them within a millisecond leaves the rest
/// to a task of the tokio runtime, which yields regularly, and still returns the full count. All of these sessions
/// count as ended at once: whatever looks at one of them finds that it has ended.
///
/// Counting the rest takes longer in two cases, because it has to look at every session. With 100,000 sessions on one
/// machine, [`end_token`](Self::end_token) took 15 milliseconds, and a call during the task of an earlier call took 90.
/// Other calls took one.
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

    /// The number of connections, including those that are being closed.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.connection_count()
    }

    /// Iterates over the connections whose sessions have not ended, in arbitrary order.
    ///
    /// A session that begins or ends during the iteration may be included or not.
    pub fn iter(&self) -> impl Iterator<Item = SessionInfo> + '_ {
        self.0.live().map(|session| SessionInfo::of(&session))
    }

    /// Ends a session with [`EndReason::Revoked`]. Returns how many were ended: one or none.
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
