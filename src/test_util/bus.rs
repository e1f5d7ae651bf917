use std::{collections::HashMap, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    lock::{Mutex, lock},
    store::{Delivery, NodeBus, NodeId, NodeInbox, StoreError},
};

/// A [`NodeBus`] in memory, for tests of several nodes in one process. Clones are the same bus.
///
/// ```
/// use axum_ws_auth::{Sessions, test_util::MemoryBus};
///
/// let bus = MemoryBus::default();
/// let one = Sessions::new().reachable_through(bus.clone());
/// let other = Sessions::new().reachable_through(bus);
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryBus(Arc<Mutex<HashMap<NodeId, mpsc::Sender<Vec<u8>>>>>);

struct MemoryInbox(mpsc::Receiver<Vec<u8>>);

/// A message to a node that has so many is lost.
const MAX_MESSAGES: usize = 1024;

impl NodeBus for MemoryBus {
    async fn listen(&self, node: NodeId) -> Result<impl NodeInbox, StoreError> {
        let (sender, receiver) = mpsc::channel(MAX_MESSAGES);
        lock(&self.0).insert(node, sender);
        Ok(MemoryInbox(receiver))
    }

    async fn send(&self, to: NodeId, message: Vec<u8>) -> Result<Delivery, StoreError> {
        let inbox = lock(&self.0).get(&to).cloned();
        match inbox.map(|inbox| inbox.try_send(message)) {
            Some(Ok(()) | Err(mpsc::error::TrySendError::Full(_))) => Ok(Delivery::Sent),
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => Ok(Delivery::NoReceiver),
        }
    }
}

impl NodeInbox for MemoryInbox {
    async fn receive(&mut self) -> Result<Vec<u8>, StoreError> {
        self.0.recv().await.ok_or_else(StoreError::unavailable)
    }
}
