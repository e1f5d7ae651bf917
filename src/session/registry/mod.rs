//! Which sessions there are.

mod info;
mod inner;
mod numbers;
mod shard;
mod sharing;
mod sweep;

use std::{fmt, sync::Arc};

pub use info::SessionInfo;

pub(super) use inner::Registration;
pub(crate) use inner::{Permit, Registry};
pub(super) use sweep::Which;

use super::{End, Limits};
use crate::id::{ScopedId, SessionId};

#[allow(unused_imports, reason = "for the docs")]
use super::EndReason;

/// The live sessions of one process: a registry that layers register with, and the application keeps in its state.
///
/// Clones are the same registry. Several layers can share one registry, and then share its limits.
///
/// A session is registered from the moment its token was verified. If it belongs to a WebSocket handshake, it is a
/// *connection*: it is counted, limited and listed, until the connection is dropped. With
/// [`AuthenticatedUpgrade`](crate::AuthenticatedUpgrade) an ended session's socket is closed by the crate. A handler that
/// upgrades by other means keeps a clone of the [`Session`](crate::Session) with its socket and waits
/// for its [end](crate::Session::ended); its session is registered until the last clone is dropped.
///
/// The session of any other request is registered too, for as long as something holds it: an event stream, or a socket.io
/// client that begins with polling and upgrades later. It is neither counted nor listed, but every order reaches it:
/// [`Session::ended`](crate::Session::ended) resolves.
///
/// # Many sessions
///
/// Ending sessions takes about a microsecond each. A call that ends more than it can in a millisecond leaves the rest to a
/// task of the tokio runtime, which yields in between, and returns their number all the same. The order holds for all of
/// them at once: whatever looks at one of these sessions finds that it has ended.
///
/// Counting the rest takes longer in two cases, because every session has to be looked at. For 100,000 sessions on one
/// machine, [`end_token`](Self::end_token) took 15 milliseconds, and an order that was given while the task of an earlier one
/// was still at work took 90. The others took one.
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
/// // Nobody else's session ends …
/// assert_eq!(sessions.end_subject("bob"), 0);
/// // … and hers does, at once.
/// assert_eq!(sessions.end_subject("alice"), 1);
/// let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close frame") };
/// assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "revoked"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Sessions(pub(super) Arc<Registry>);

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
        registry.keep_up();
        Self(registry)
    }

    /// How many connections are held: those of live sessions, and those that are being closed.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.held()
    }

    /// The connections whose sessions have not ended, in no order.
    ///
    /// A session that comes or goes meanwhile may be among them or not.
    pub fn iter(&self) -> impl Iterator<Item = SessionInfo> + '_ {
        self.0.live().map(|core| SessionInfo::of(&core))
    }

    /// Ends a session, with [`EndReason::Revoked`]. Returns how many that were.
    pub fn end(&self, id: SessionId) -> usize {
        End::REVOKED.apply(self.0.get(id))
    }

    /// Ends the sessions of a subject (`sub`), with [`EndReason::Revoked`]. Returns how many that were, those of requests
    /// that are no connections included.
    ///
    /// A [`ScopedId`] names the issuer too, which is what tells users of several issuers apart. A string means the
    /// subject of this name, whichever issuer assigned it. The subject may open new sessions.
    pub fn end_subject(&self, subject: impl Into<ScopedId>) -> usize {
        self.0.end_those(Which::OfSubject(subject.into()), End::REVOKED)
    }

    /// Ends the sessions of a token with this id (`jti`), with [`EndReason::Revoked`]. Returns how many that were.
    ///
    /// A [`ScopedId`] names the issuer too; a string means any issuer. A session that was
    /// [refreshed](crate::Session::refresh) belongs to its new token alone.
    pub fn end_token(&self, token_id: impl Into<ScopedId>) -> usize {
        self.0.end_those(Which::OfToken(token_id.into()), End::REVOKED)
    }

    /// Ends all sessions, with [`EndReason::Revoked`]. Returns how many that were.
    ///
    /// To close them because the server goes down, [`drain`](Self::drain).
    pub fn end_all(&self) -> usize {
        self.0.end_those(Which::All, End::REVOKED)
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
