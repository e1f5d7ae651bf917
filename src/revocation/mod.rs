mod follow;
mod follower;
mod freshness;
mod memory;
mod node;
mod options;
mod restore;
mod revoke;
mod set;
mod sharded;
mod sync;
mod target;

use std::{fmt, sync::Arc, time::Duration};

use serde::{Serialize, Serializer};

pub use memory::MemoryRevocations;
pub use options::RevocationOptions;

pub(crate) use node::{CheckError, LiveSessions};
pub(crate) use target::Target;

use self::{follower::Follower, node::Node};
use crate::store::RevocationStore;

/// Revokes tokens before they expire: ends live sessions on every node, and refuses handshakes and refreshes.
///
/// A revocation is about a token (`jti`), a session, a user's session at the identity provider (`sid`), a subject, or
/// everything that was issued up to a time. A subject can sign in again: tokens that are issued more than [five
/// seconds](RevocationOptions::clock_skew) after the revocation are valid. The margin allows for clocks that differ.
///
/// The [store](RevocationStore) decides which nodes a revocation reaches: [`MemoryRevocations`] serves one process,
/// `Redis` many machines. Each node keeps all revocations in memory, so that a handshake needs no network, and follows
/// the store for new ones. A node that has been out of touch with the store for longer than [a
/// minute](RevocationOptions::max_staleness) answers handshakes with 503. Live sessions go on; those that were revoked
/// in the meantime end when the node is in touch again.
///
/// When the store loses revocations, in a restart or a failover, the nodes restore those that they know. If the store
/// [marks its answers](crate::store::RevocationBatch::is_incomplete), a node that starts in the meantime admits nobody
/// until that is done. Many revocations are processed in short steps, between which other tasks run.
///
/// No revocation is missed: a session is registered before it is checked, and a revocation is recorded before it is
/// matched against the sessions.
///
/// # Example
///
/// A log-out that closes the user's sockets on every node:
///
/// ```
/// use axum::{Router, extract::State, http::StatusCode, response::Response, routing::{any, post}};
/// use axum_ws_auth::{Authenticated, AuthenticatedUpgrade, MemoryRevocations, Revocations, WsAuthLayer};
/// use axum_ws_auth::test_util::{self, TestToken, handshake};
/// use futures_util::StreamExt;
/// use serde_json::Value;
/// use tokio_tungstenite::tungstenite::Message;
/// use tower::ServiceExt;
///
/// async fn log_out(State(revocations): State<Revocations>, Authenticated(session): Authenticated<Value>) -> StatusCode {
///     let Some(subject) = session.scoped_subject() else { return StatusCode::BAD_REQUEST };
///     match revocations.revoke_subject(subject).await {
///         Ok(()) => StatusCode::NO_CONTENT,
///         // It is in effect on this node. Others learn of it when the store is available again.
///         Err(_) => StatusCode::SERVICE_UNAVAILABLE,
///     }
/// }
///
/// async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
///     upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let revocations = Revocations::new(MemoryRevocations::new());
/// let app = Router::new()
///     .route("/chat", any(chat))
///     .route("/logout", post(log_out))
///     .layer(WsAuthLayer::new(test_util::verifier::<Value>()).revocations(&revocations))
///     .with_state(revocations);
///
/// let token = TestToken::new("alice").sign();
/// let request = handshake().path("/chat").bearer_subprotocol(&token).build();
/// let (mut socket, _) = test_util::connect(app.clone(), request).await?;
///
/// let out = axum::http::Request::post("/logout").header("authorization", format!("Bearer {token}"));
/// assert_eq!(app.clone().oneshot(out.body(axum::body::Body::empty())?).await?.status(), StatusCode::NO_CONTENT);
///
/// // The socket is closed, and the token opens no other.
/// let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close frame") };
/// assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "revoked"));
/// let request = handshake().path("/chat").bearer_subprotocol(&token).build();
/// assert_eq!(app.oneshot(request).await?.status(), StatusCode::UNAUTHORIZED);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Revocations(Arc<Follower>);

/// The state of a node's revocations, for health endpoints; see [`Revocations::status`].
///
/// Serializes to an object with the fields' names. The age is in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RevocationStatus {
    /// How many revocations the node knows.
    pub entries: usize,
    /// How long ago the node last knew everything in the store; `None` before it has loaded the store.
    #[serde(serialize_with = "whole_seconds")]
    pub age: Option<Duration>,
    /// Whether that is [recent enough](RevocationOptions::max_staleness). If not, the node admits nobody, unless
    /// [`admits_when_stale`](Self::admits_when_stale).
    pub is_current: bool,
    /// Whether the node admits clients [while it is stale](RevocationOptions::insecure_admit_when_stale).
    pub admits_when_stale: bool,
    /// How many requests and refreshes were admitted while the node was
    /// [stale](RevocationOptions::insecure_admit_when_stale).
    pub admitted_when_stale: u64,
}

fn whole_seconds<S: Serializer>(age: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    age.map(|age| age.as_secs()).serialize(serializer)
}

impl Revocations {
    /// Keeps revocations in this store, each for a day.
    #[must_use]
    pub fn new(store: impl RevocationStore) -> Self {
        Self::with_options(store, RevocationOptions::new())
    }

    /// Keeps revocations in this store.
    ///
    /// A task follows the store, on the tokio runtime of this call, or else of the first handshake or revocation. If
    /// that runtime ends or is no longer polled, the next handshake, refresh, revocation or [`status`](Self::status)
    /// starts a new task on its own runtime.
    #[must_use]
    pub fn with_options(store: impl RevocationStore, options: RevocationOptions) -> Self {
        let follower = Follower::new(Node::new(store, options));
        follower.ensure_running();
        Self(Arc::new(follower))
    }

    /// The state of this node's revocations.
    #[must_use]
    pub fn status(&self) -> RevocationStatus {
        self.0.restart_if_silent();
        self.0.node.status()
    }

    /// Whether other nodes may use the store too.
    #[cfg(feature = "signals")]
    pub(crate) fn are_shared(&self) -> bool {
        self.0.node.store.is_shared()
    }

    /// Whether no other registry of this process has sessions that these revocations end.
    #[cfg(feature = "signals")]
    pub(crate) fn is_only_registry(&self, sessions: &Arc<dyn LiveSessions>) -> bool {
        self.0.node.is_only_registry(sessions)
    }

    /// Ends the sessions of this registry when they are revoked.
    pub(crate) fn attach(&self, sessions: &Arc<dyn LiveSessions>) {
        self.0.node.attach(sessions);
    }

    /// Whether a session may begin, or go on, with these properties. It must be registered already.
    pub(crate) fn check(&self, target: Target<'_>) -> Result<(), CheckError> {
        let outcome = self.0.node.check(target);
        if let Err(CheckError::Stale) = outcome {
            self.0.restart_if_silent();
        }
        outcome
    }

    /// Whether the store has been silent for so long that nothing seems to follow it. Then [`catch_up`](Self::catch_up)
    /// first.
    pub(crate) fn needs_catch_up(&self) -> bool {
        self.0.is_silent()
    }

    /// Ensures that the store is followed. Waits for the first load if there was none yet, or if the follower was just
    /// restarted.
    pub(crate) async fn catch_up(&self) {
        self.0.catch_up().await;
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("options", &self.0.node.options).field("status", &self.status()).finish()
    }
}
