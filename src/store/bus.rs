use std::{future::Future, sync::Arc};

use super::{StoreError, StoreFuture};
use crate::id::NodeId;

/// Carries messages between nodes, so that one node can ask another to refresh a session, or to verify tokens again.
/// See [`Sessions::reachable_through`](crate::Sessions::reachable_through).
///
/// An implementation must pass [`test_util::conformance::bus`](crate::test_util::conformance::bus).
///
/// # Safety rules
///
/// - A message contains a client's token. The bus delivers it to one node only, over a private connection, and never
///   stores or logs it. A bus that stores messages is unsafe: tokens in them may still be valid when someone reads
///   them.
/// - Anyone who can send messages can fake the result of a refresh, and end sessions. They cannot refresh a session
///   without a valid token of its subject, because the session's own node verifies the token.
/// - The bus does not change messages. It may lose, repeat or reorder them. That is only slow: a node waits two seconds
///   for an answer, and then tells the client to retry.
/// - [`Delivery::NoReceiver`] means that no node listens. A bus that is not sure returns [`Delivery::Sent`]. One that
///   is wrong is only slow: the client is told that its session is gone, and begins another.
/// - A request waits for [`send`](Self::send), so a bus that calls a server sets its own timeout.
pub trait NodeBus: Send + Sync + 'static {
    /// Begins to listen to messages to this node. Once this has returned `Ok`, every message that is sent to it is
    /// received by this inbox, unless the connection breaks.
    ///
    /// # Errors
    ///
    /// If the bus cannot listen. The node calls again after a while.
    fn listen(&self, node: NodeId) -> impl Future<Output = Result<impl NodeInbox, StoreError>> + Send;

    /// Sends a message to a node.
    ///
    /// # Errors
    ///
    /// If the bus does not know whether it was sent.
    fn send(&self, to: NodeId, message: Vec<u8>) -> impl Future<Output = Result<Delivery, StoreError>> + Send;
}

/// Receives the messages to one node; see [`NodeBus::listen`].
pub trait NodeInbox: Send + 'static {
    /// Waits for the next message.
    ///
    /// # Errors
    ///
    /// If the inbox receives no more messages. The node listens again after a while.
    fn receive(&mut self) -> impl Future<Output = Result<Vec<u8>, StoreError>> + Send;
}

/// What a [`NodeBus`] knows of a message that it has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Delivery {
    /// The message is on its way, as far as the bus knows.
    Sent,
    /// No node listens.
    NoReceiver,
}

/// Several nodes in one process can share a bus.
impl<B: NodeBus> NodeBus for Arc<B> {
    fn listen(&self, node: NodeId) -> impl Future<Output = Result<impl NodeInbox, StoreError>> + Send {
        B::listen(self, node)
    }

    fn send(&self, to: NodeId, message: Vec<u8>) -> impl Future<Output = Result<Delivery, StoreError>> + Send {
        B::send(self, to, message)
    }
}

/// The object-safe twin of [`NodeBus`].
pub(crate) trait DynNodeBus: Send + Sync {
    fn listen_boxed(&self, node: NodeId) -> StoreFuture<'_, Box<dyn DynNodeInbox>>;
    fn send_boxed(&self, to: NodeId, message: Vec<u8>) -> StoreFuture<'_, Delivery>;
}

/// The object-safe twin of [`NodeInbox`].
pub(crate) trait DynNodeInbox: Send {
    fn receive_boxed(&mut self) -> StoreFuture<'_, Vec<u8>>;
}

impl<B: NodeBus> DynNodeBus for B {
    fn listen_boxed(&self, node: NodeId) -> StoreFuture<'_, Box<dyn DynNodeInbox>> {
        Box::pin(async move {
            let inbox: Box<dyn DynNodeInbox> = Box::new(self.listen(node).await?);
            Ok(inbox)
        })
    }

    fn send_boxed(&self, to: NodeId, message: Vec<u8>) -> StoreFuture<'_, Delivery> {
        Box::pin(self.send(to, message))
    }
}

impl<I: NodeInbox> DynNodeInbox for I {
    fn receive_boxed(&mut self) -> StoreFuture<'_, Vec<u8>> {
        Box::pin(self.receive())
    }
}
