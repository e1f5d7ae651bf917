mod follow;
mod memory;
mod node;
mod options;
mod order;
mod set;
mod sharded;
mod tell;

use std::{
    fmt, mem,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{Instant, timeout},
};

pub use memory::MemoryRevocations;
pub use options::RevocationOptions;

pub(crate) use node::{LiveSessions, Refused};
pub(crate) use order::Target;

use self::node::{Node, Unconfirmed};
use crate::{
    id::{ScopedId, SessionId},
    lock::lock,
    store::{Revocation, RevocationStore, StoreError},
    telemetry,
};

/// Takes back what tokens allow, before they expire: ends live sessions on every node, and refuses handshakes and
/// refreshes.
///
/// By token (`jti`), by session, by subject, or everything that was issued until a moment. A subject can sign in again:
/// what is issued later is good, from [five seconds](RevocationOptions::clock_skew) after the order on, because clocks differ.
///
/// The [store](RevocationStore) decides how far an order goes: [`MemoryRevocations`] on one machine, `Redis` on many. Each node has all
/// revocations in its memory, so that a handshake asks nobody, and follows the store for new ones. A node that has lost
/// touch with the store for longer than [a minute](RevocationOptions::max_staleness) answers handshakes with 503; live
/// sessions go on, and those that were revoked meanwhile end when touch is regained.
///
/// What the store loses, in a restart or a failover, the nodes that know it tell it again. A node that starts in the meantime
/// admits nobody before that is done, where the store [marks it](RevocationBatch::is_incomplete). Many orders are loaded in short steps,
/// between which other tasks run.
///
/// No order is missed: a session is registered first, then looked up, then admitted; and an order is noted first, and
/// then looked for among the sessions.
///
/// # Example
///
/// Logging out, everywhere:
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
///         // It counts here. Others learn of it when the store is back.
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
pub struct Revocations(Arc<Owner>);

/// How it stands with the revocations of a node, for health endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevocationStatus {
    /// How many are known.
    pub entries: usize,
    /// How old that knowledge is; `None` before the first look into the store.
    pub age: Option<Duration>,
    /// How many requests and refreshes passed while it was too old.
    pub admitted_when_stale: u64,
}

/// What the application holds. When the last one is dropped, the task ends that follows the store.
struct Owner {
    node: Arc<Node>,
    task: Mutex<Option<Task>>,
}

/// The task that follows the store.
struct Task {
    handle: AbortHandle,
    started: Instant,
}

/// How long a handshake waits for the first look into the store.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(2);

impl Revocations {
    /// Revocations that are kept in this store, for a day.
    #[must_use]
    pub fn new(store: impl RevocationStore) -> Self {
        Self::with_options(store, RevocationOptions::new())
    }

    /// Revocations that are kept in this store.
    ///
    /// The store is followed as soon as there is a tokio runtime: now, or from the first handshake or order on. If that runtime
    /// ends, or nobody drives it any more, the next handshake, refresh, order or [`status`](Self::status) follows the store on
    /// its own runtime.
    #[must_use]
    pub fn with_options(store: impl RevocationStore, options: RevocationOptions) -> Self {
        let node = Node::new(store, options);
        let this = Self(Arc::new(Owner { node: Arc::new(node), task: Mutex::new(None) }));
        this.follow();
        this
    }

    /// Revokes tokens by their id (`jti`), and ends their sessions.
    ///
    /// A [`ScopedId`] names the issuer too; a string means any issuer.
    ///
    /// # Errors
    ///
    /// If the store does not confirm it. It counts on this node all the same, and others learn of it when the store is
    /// back, if this process is still there by then. Call again to be sure.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the order counts on this node, and others learn of it a little later. This goes for all
    /// orders.
    pub async fn revoke_token(&self, token_id: impl Into<ScopedId>) -> Result<(), StoreError> {
        self.revoke(Revocation::Token(token_id.into())).await
    }

    /// Ends a session, on whatever node it is. Its token stays good.
    ///
    /// # Errors
    ///
    /// As for [`revoke_token`](Self::revoke_token).
    pub async fn revoke_session(&self, id: SessionId) -> Result<(), StoreError> {
        self.revoke(Revocation::Session(id)).await
    }

    /// Revokes all that was issued to a subject (`sub`) until now.
    ///
    /// A [`ScopedId`] names the issuer too, which is what tells users of several issuers apart; see
    /// [`Session::scoped_subject`](crate::Session::scoped_subject). A string means the subject of this name, whichever issuer
    /// assigned it.
    ///
    /// A session that was accepted before ends whatever its `iat` says. A token whose `iat` is later than now by no more than
    /// the [clock skew](RevocationOptions::clock_skew), five seconds by default, counts as issued before: a user who signs in
    /// again within that time needs a newer token.
    ///
    /// # Errors
    ///
    /// As for [`revoke_token`](Self::revoke_token).
    pub async fn revoke_subject(&self, subject: impl Into<ScopedId>) -> Result<(), StoreError> {
        let until = self.0.node.time.now();
        self.revoke(Revocation::Subject { subject: subject.into(), until }).await
    }

    /// Revokes all that was issued to anybody until this moment.
    ///
    /// # Errors
    ///
    /// As for [`revoke_token`](Self::revoke_token).
    pub async fn revoke_issued_until(&self, moment: SystemTime) -> Result<(), StoreError> {
        self.revoke(Revocation::IssuedUntil(moment)).await
    }

    /// Revokes what the order says.
    ///
    /// # Errors
    ///
    /// As for [`revoke_token`](Self::revoke_token).
    pub async fn revoke(&self, order: Revocation) -> Result<(), StoreError> {
        self.follow();
        let order = order.clamped_to_epoch();
        let node = &self.0.node;
        // Here first: this node needs nobody for it.
        node.apply_own(&order);
        let unconfirmed = Unconfirmed(node);
        let added = node.store.add_boxed(&order, node.options.keep_for).await;
        match &added {
            Ok(()) => {
                mem::forget(unconfirmed);
                node.note_confirmed(order);
            }
            Err(error) => telemetry::revocation_not_confirmed(error),
        }
        added
    }

    /// How it stands with this node.
    #[must_use]
    pub fn status(&self) -> RevocationStatus {
        self.heal();
        self.0.node.status()
    }

    /// Has the sessions of this registry end when they are revoked.
    pub(crate) fn watch_over(&self, live: &Arc<dyn LiveSessions>) {
        self.0.node.watch_over(live);
    }

    /// Whether a session may begin, or go on, that stands on this. It must be registered by now.
    pub(crate) fn check(&self, target: Target<'_>) -> Result<(), Refused> {
        let outcome = self.0.node.check(target);
        if let Err(Refused::Stale) = outcome {
            self.heal();
        }
        outcome
    }

    /// Whether the store has not been looked at for longer than it takes if somebody [follows](Self::catch_up) it.
    pub(crate) fn needs_catch_up(&self) -> bool {
        self.0.node.age().is_none_or(|age| age > follow::SILENCE)
    }

    /// Sees to it that the store is followed, and waits for the first look into it if there has been none, or none by the
    /// task that was just started.
    pub(crate) async fn catch_up(&self) {
        let node = &self.0.node;
        self.heal();
        if node.is_current() {
            return;
        }
        let wait = match node.age() {
            None => CATCH_UP_TIMEOUT,
            // The store has been followed for a while: waiting would not help.
            Some(_) => CATCH_UP_TIMEOUT.saturating_sub(self.since_start()),
        };
        let _ = timeout(wait, node.known.subscribe().wait_for(|known| node.is_recent(*known))).await;
    }

    /// Follows the store if nobody seems to do that.
    fn heal(&self) {
        if self.needs_catch_up() {
            self.follow();
        }
    }

    /// Begins to follow the store, where there is a runtime and nobody does: no task, one whose runtime has ended, or one on a
    /// runtime that is not driven any more.
    fn follow(&self) {
        let mut task = lock(&self.0.task);
        let is_followed = task.as_ref().is_some_and(|task| !task.handle.is_finished());
        if is_followed && self.0.node.since_beat() < follow::UNDRIVEN {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            if let Some(old) = task.take() {
                old.handle.abort();
            }
            self.0.node.beat();
            let handle = runtime.spawn(follow::follow(Arc::clone(&self.0.node))).abort_handle();
            *task = Some(Task { handle, started: Instant::now() });
        }
    }

    fn since_start(&self) -> Duration {
        lock(&self.0.task).as_ref().map_or(Duration::MAX, |task| task.started.elapsed())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.handle.abort();
        }
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("options", &self.0.node.options).field("status", &self.status()).finish()
    }
}
