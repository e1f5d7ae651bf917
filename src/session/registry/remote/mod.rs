//! Sessions of other nodes: a node asks the node of a session to refresh it, or to verify its token again, by a
//! message.
//!
//! The session's own node verifies the token, because the verifier and the claims are there, and applies the same rules
//! as to a request of its own. It believes nothing that a message says.

mod ask;
mod message;
mod registry;
mod task;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    task::AbortHandle,
};

use crate::{
    id::NodeId,
    lock::{Mutex, atomic::AtomicU64, lock},
    session::RefreshReply,
    store::DynNodeBus,
    telemetry::Throttle,
};

/// How long a node waits for the answer of another one, and how long that one works on it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The messages of a registry, and the state of the task that receives them.
pub(super) struct Remote {
    bus: Arc<dyn DynNodeBus>,
    node: NodeId,
    /// Whether the task listens, so that an answer is not missed.
    is_listening: watch::Sender<bool>,
    /// Who waits for the answer to a request of this number.
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    next_request: AtomicU64,
    task: Mutex<Option<AbortHandle>>,
    failures: Arc<Throttle>,
}

/// What another node answered.
enum Answer {
    Refresh(RefreshReply),
    /// How many sessions are rechecked.
    Recheck(usize),
}

impl Remote {
    fn new(node: NodeId, bus: Arc<dyn DynNodeBus>) -> Self {
        Self {
            bus,
            node,
            is_listening: watch::Sender::new(false),
            waiting: Mutex::default(),
            next_request: AtomicU64::new(0),
            task: Mutex::default(),
            failures: Arc::new(Throttle::new()),
        }
    }

    /// Ends the task. It would not end by itself.
    pub(super) fn stop(&self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}
