//! What a registry does with the sessions of all nodes.

use std::sync::{Arc, atomic::Ordering};

use tokio::{runtime::Handle, task::AbortHandle};

use super::{Remote, task};
use crate::{
    id::{NodeId, ScopedId, SessionId},
    lock::lock,
    session::{RefreshReply, Registry},
    store::{DynNodeBus, StoreError},
    token::Token,
};

impl Registry {
    /// Lets other nodes reach the sessions of this one, and this one theirs.
    pub(in crate::session::registry) fn set_bus(self: &Arc<Self>, bus: Arc<dyn DynNodeBus>) {
        let earlier = lock(&self.remote).replace(Arc::new(Remote::new(self.node, bus)));
        self.is_reachable.store(true, Ordering::Release);
        if let Some(earlier) = earlier {
            earlier.stop();
        }
        self.start_listening();
    }

    fn remote(&self) -> Option<Arc<Remote>> {
        if !self.is_reachable.load(Ordering::Acquire) {
            return None;
        }
        lock(&self.remote).clone()
    }

    /// Starts the task that listens to other nodes, if there is a runtime and the task is not running.
    pub(in crate::session::registry) fn start_listening(self: &Arc<Self>) {
        let Some(remote) = self.remote() else { return };
        let mut task = lock(&remote.task);
        if task.as_ref().is_none_or(AbortHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            let run = task::run(Arc::clone(&remote), Arc::downgrade(self));
            *task = Some(runtime.spawn(run).abort_handle());
        }
    }

    /// Refreshes a session on whichever node it is; see [`Session::refresh_for`](crate::Session).
    pub(in crate::session) async fn refresh(
        self: &Arc<Self>,
        session: SessionId,
        token: Token,
        sender: Option<ScopedId>,
    ) -> RefreshReply {
        if session.node() == self.node {
            return self.refresh_here(session, token, sender).await;
        }
        self.start_listening();
        match self.remote() {
            Some(remote) => remote.ask(session, &token, sender).await,
            None => RefreshReply::Unknown,
        }
    }

    /// Refreshes a session of this node.
    pub(super) async fn refresh_here(
        &self,
        session: SessionId,
        token: Token,
        sender: Option<ScopedId>,
    ) -> RefreshReply {
        let session = self.get(session).and_then(|session| session.any());
        match session {
            Some(session) => session.refresh_for(token, sender).await,
            None => RefreshReply::Unknown,
        }
    }

    /// Has another node recheck its sessions of a subject; see [`Remote::ask_to_recheck`].
    pub(in crate::session::registry) async fn recheck_there(
        self: &Arc<Self>,
        node: NodeId,
        subject: ScopedId,
        or_end: bool,
    ) -> Result<usize, StoreError> {
        self.start_listening();
        let remote = self.remote().ok_or_else(|| StoreError::unavailable().with_source("there is no bus"))?;
        remote.ask_to_recheck(node, subject, or_end).await
    }

    pub(in crate::session::registry) fn stop_listening(&self) {
        if let Some(remote) = self.remote() {
            remote.stop();
        }
    }
}
