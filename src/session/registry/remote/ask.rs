//! Asks another node, and waits for its answer.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{Answer, Remote, TIMEOUT, message::Message};
use crate::{
    id::{NodeId, ScopedId, SessionId},
    lock::lock,
    session::RefreshReply,
    store::{Delivery, StoreError},
    telemetry,
    token::Token,
};

/// How long to wait for a node that does not listen: it may be about to listen again, after its connection broke.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Together they take less than the timeout.
const RETRIES: usize = 3;

/// Stops waiting for an answer when dropped.
struct Waiting<'a> {
    remote: &'a Remote,
    number: u64,
}

/// What became of a request.
enum Outcome {
    Answered(Answer),
    NoReceiver,
    Unavailable,
}

impl Remote {
    /// Asks the node of this session to refresh it.
    pub(super) async fn ask(&self, session: SessionId, token: &Token, sender: Option<ScopedId>) -> RefreshReply {
        let (from, token) = (self.node, token.into());
        let message = |number| Message::Refresh { number, from, session, token, sender };
        match self.request(session.node(), message).await {
            Outcome::Answered(Answer::Refresh(reply)) => reply,
            Outcome::NoReceiver => RefreshReply::Unknown,
            Outcome::Answered(_) | Outcome::Unavailable => RefreshReply::UNAVAILABLE,
        }
    }

    /// Asks a node to recheck its sessions of a subject. Returns how many those are.
    ///
    /// Fails if the node does not answer. If it is gone, that is so until its leases have expired.
    pub(super) async fn ask_to_recheck(
        &self,
        node: NodeId,
        subject: ScopedId,
        or_end: bool,
    ) -> Result<usize, StoreError> {
        let from = self.node;
        let message = |number| Message::Recheck { number, from, subject, or_end };
        match self.request(node, message).await {
            Outcome::Answered(Answer::Recheck(sessions)) => Ok(sessions),
            _ => Err(StoreError::unavailable().with_source("a node does not answer")),
        }
    }

    /// Sends a request with a number, and waits for its answer.
    async fn request(&self, to: NodeId, message: impl FnOnce(u64) -> Message) -> Outcome {
        let (reply, answer) = oneshot::channel();
        let waiting = self.wait_for(reply);
        let Some(message) = message(waiting.number).to_bytes() else { return Outcome::Unavailable };
        let asking = async {
            // Fails only if there is no sender, which is `self`.
            let _ = self.is_listening.subscribe().wait_for(|is_listening| *is_listening).await;
            match self.send_request(to, message).await {
                Ok(Delivery::NoReceiver) => Outcome::NoReceiver,
                Ok(Delivery::Sent) => answer.await.map_or(Outcome::Unavailable, Outcome::Answered),
                Err(error) => {
                    telemetry::node_bus_unavailable(&error, &self.failures);
                    Outcome::Unavailable
                }
            }
        };
        timeout(TIMEOUT, asking).await.unwrap_or(Outcome::Unavailable)
    }

    async fn send_request(&self, to: NodeId, message: Vec<u8>) -> Result<Delivery, StoreError> {
        for _ in 0..RETRIES {
            let delivery = self.bus.send_boxed(to, message.clone()).await?;
            if delivery != Delivery::NoReceiver {
                return Ok(delivery);
            }
            sleep(RETRY_INTERVAL).await;
        }
        self.bus.send_boxed(to, message).await
    }

    fn wait_for(&self, reply: oneshot::Sender<Answer>) -> Waiting<'_> {
        let number = self.next_request.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).insert(number, reply);
        Waiting { remote: self, number }
    }

    /// Hands an answer to the request that waits for it.
    pub(super) fn answered(&self, number: u64, answer: Answer) {
        let waiting = lock(&self.waiting).remove(&number);
        if let Some(waiting) = waiting {
            // Fails if the request was dropped meanwhile.
            let _ = waiting.send(answer);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waiting = lock(&self.remote.waiting).remove(&self.number);
        drop(waiting);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use super::*;
    use crate::store::{NodeBus, NodeInbox};

    /// It takes messages, and nobody answers them.
    struct Silence;

    impl NodeBus for Silence {
        async fn listen(&self, _: NodeId) -> Result<impl NodeInbox, StoreError> {
            Ok(Self)
        }

        async fn send(&self, _: NodeId, _: Vec<u8>) -> Result<Delivery, StoreError> {
            Ok(Delivery::Sent)
        }
    }

    impl NodeInbox for Silence {
        async fn receive(&mut self) -> Result<Vec<u8>, StoreError> {
            pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_is_forgotten() {
        let remote = Remote::new(NodeId::random(), Arc::new(Silence));
        remote.is_listening.send_replace(true);
        assert!(remote.ask_to_recheck(NodeId::random(), "alice".into(), false).await.is_err());
        assert!(lock(&remote.waiting).is_empty());
    }
}
