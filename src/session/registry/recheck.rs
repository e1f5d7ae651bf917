//! Rechecks the sessions of a subject.

use std::{collections::BTreeSet, sync::Arc};

use tokio::{runtime::Handle, task::JoinSet};

use super::{Filter, Registry, Sessions, of_subject::MAX_LIMIT};
#[cfg(feature = "signals")]
use crate::revocation::{LiveSessions, Revocations};
use crate::{
    id::{NodeId, ScopedId},
    session::{End, SessionCore},
    store::StoreError,
    telemetry,
};

impl Sessions {
    /// Has the verifier verify the tokens of this subject's connections again now, for example because the subject's
    /// permissions have changed. Returns how many sessions of this node it will be asked about. A session that is being
    /// admitted is one of them, and one whose token is being verified again, or replaced, is verified once more. A
    /// handshake whose token is still being verified for the first time has no session yet.
    ///
    /// The answers come later, and are applied as described at [`Verified::recheck_in`](crate::Verified::recheck_in()).
    /// Only sessions whose verifier set `recheck_in` can be rechecked. A verifier that wants rechecks on demand alone
    /// sets `recheck_in(Duration::MAX)`. All other sessions stay as they are, and are not counted:
    /// [`end_subject`](Self::end_subject) ends them.
    ///
    /// A [`ScopedId`] names the issuer too; a string means this subject of any issuer. Each layer asks about
    /// [32 sessions](crate::WsAuthLayer::max_concurrent_rechecks) at a time. It does not count as an attempt to
    /// [refresh](crate::WsAuthLayer::refresh_limit).
    ///
    /// # Other nodes
    ///
    /// With [`Limits::across_nodes`](crate::Limits::across_nodes) and [`reachable_through`](Self::reachable_through),
    /// other nodes recheck their sessions of the subject too: a task finds these nodes by their leases and sends them a
    /// message. A node that does not answer is logged. Without both of these, call this on every node.
    ///
    /// Sessions of other nodes that have no lease yet are not found: those that are being admitted, and those that were
    /// admitted while the store of leases was unavailable. The latter have one when their node next renews its leases,
    /// after a third of [their lifetime](crate::Limits::lease_lifetime) at most.
    ///
    /// # Example
    ///
    /// ```
    /// use std::{sync::{Arc, atomic::{AtomicBool, Ordering}}, time::Duration};
    ///
    /// use axum::{Router, response::Response, routing::any};
    /// use axum_ws_auth::{AuthenticatedUpgrade, Sessions, Token, Verified, VerifyError, WsAuthLayer, verifier_fn};
    /// use axum_ws_auth::test_util::{self, handshake};
    /// use futures_util::StreamExt;
    /// use tokio_tungstenite::tungstenite::Message;
    ///
    /// async fn chat(upgrade: AuthenticatedUpgrade<()>) -> Response {
    ///     upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // In place of a database.
    /// let alice_may_chat = Arc::new(AtomicBool::new(true));
    /// let verifier = verifier_fn({
    ///     let alice_may_chat = Arc::clone(&alice_may_chat);
    ///     async move |token: Token| match token.expose() {
    ///         "key-of-alice" if alice_may_chat.load(Ordering::Relaxed) => {
    ///             Ok(Verified::new(()).with_subject("alice").recheck_in(Duration::MAX))
    ///         }
    ///         _ => Err(VerifyError::forbidden()),
    ///     }
    /// });
    /// let sessions = Sessions::new();
    /// let app = Router::new().route("/", any(chat)).layer(WsAuthLayer::new(verifier).sessions(&sessions));
    /// let (mut socket, _) = test_util::connect(app, handshake().bearer_subprotocol("key-of-alice").build()).await?;
    ///
    /// // Yes: she still may.
    /// assert_eq!(sessions.recheck_subject("alice"), 1);
    /// # for _ in 0..100 { tokio::task::yield_now().await }
    /// assert_eq!(sessions.iter().count(), 1);
    ///
    /// // No.
    /// alice_may_chat.store(false, Ordering::Relaxed);
    /// assert_eq!(sessions.recheck_subject("alice"), 1);
    /// let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close frame") };
    /// assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3000, "revoked"));
    /// # Ok(()) }
    /// ```
    pub fn recheck_subject(&self, subject: impl Into<ScopedId>) -> usize {
        let subject = subject.into();
        let sessions = self.0.recheck_here(&subject, false);
        if self.0.knows_other_nodes()
            && let Ok(runtime) = Handle::try_current()
        {
            let registry = Arc::clone(&self.0);
            runtime.spawn(async move {
                if let Err(error) = registry.recheck_elsewhere(&subject, false).await {
                    telemetry::recheck_not_sent(&error);
                }
            });
        }
        sessions
    }

    /// Whether these are all the sessions that the revocations could end, on this node and on others.
    #[cfg(feature = "signals")]
    pub(crate) fn are_all_of(&self, revocations: &Revocations) -> bool {
        let live: Arc<dyn LiveSessions> = Arc::<Registry>::clone(&self.0);
        revocations.is_only_registry(&live) && (self.0.knows_other_nodes() || !revocations.are_shared())
    }

    /// Like [`recheck_subject`](Self::recheck_subject), and ends the sessions that cannot be rechecked. Returns once
    /// all nodes have begun, and fails if one does not answer.
    #[cfg(feature = "signals")]
    pub(crate) async fn recheck_or_end(&self, subject: &ScopedId) -> Result<(), StoreError> {
        self.0.recheck_here(subject, true);
        if self.0.knows_other_nodes() {
            self.0.recheck_elsewhere(subject, true).await?;
        }
        Ok(())
    }
}

impl Registry {
    /// Rechecks the sessions of this node.
    pub(super) fn recheck_here(&self, subject: &ScopedId, or_end: bool) -> usize {
        let sessions = self.scan(Filter::Subject(subject.clone()));
        let is_rechecked = |session: &Arc<SessionCore>| {
            let is_rechecked = session.recheck_now();
            if or_end && !is_rechecked {
                session.end(End::REVOKED);
            }
            is_rechecked
        };
        sessions.filter(is_rechecked).count()
    }

    fn knows_other_nodes(&self) -> bool {
        self.shared_limits.is_some()
    }

    /// Rechecks the sessions of all other nodes that have one.
    async fn recheck_elsewhere(self: &Arc<Self>, subject: &ScopedId, or_end: bool) -> Result<(), StoreError> {
        let mut requests = JoinSet::new();
        for node in self.other_nodes_of(subject).await? {
            let (registry, subject) = (Arc::clone(self), subject.clone());
            requests.spawn(async move { registry.recheck_there(node, subject, or_end).await });
        }
        let mut outcome = Ok(());
        while let Some(answer) = requests.join_next().await {
            let answer = answer.unwrap_or_else(|_| Err(StoreError::unavailable()));
            outcome = outcome.and(answer.map(|_| ()));
        }
        outcome
    }

    /// The other nodes that have sessions of this subject.
    async fn other_nodes_of(&self, subject: &ScopedId) -> Result<BTreeSet<NodeId>, StoreError> {
        let (mut nodes, mut after) = (BTreeSet::new(), None);
        loop {
            let page = self.page(subject, after, MAX_LIMIT).await?;
            nodes.extend(page.sessions().iter().map(|session| session.id().node()).filter(|node| *node != self.node));
            after = page.next();
            if after.is_none() {
                return Ok(nodes);
            }
        }
    }
}
