//! Asks another node, and waits for its answer.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{Remote, TIMEOUT, message::Message};
use crate::{
    id::{ScopedId, SessionId},
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

impl Remote {
    /// Asks the node of this session to refresh it.
    pub(super) async fn ask(&self, session: SessionId, token: &Token, sender: Option<ScopedId>) -> RefreshReply {
        let (reply, answer) = oneshot::channel();
        let waiting = self.wait_for(reply);
        let (number, from, token) = (waiting.number, self.node, token.expose().into());
        let Some(message) = (Message::Refresh { number, from, session, token, sender }).to_bytes() else {
            return RefreshReply::UNAVAILABLE;
        };
        let asking = async {
            // Fails only if there is no sender, which is `self`.
            let _ = self.is_listening.subscribe().wait_for(|is_listening| *is_listening).await;
            match self.send_request(session, message).await {
                Ok(Delivery::NoReceiver) => RefreshReply::Unknown,
                Ok(Delivery::Sent) => answer.await.unwrap_or(RefreshReply::UNAVAILABLE),
                Err(error) => {
                    telemetry::node_bus_unavailable(&error);
                    RefreshReply::UNAVAILABLE
                }
            }
        };
        timeout(TIMEOUT, asking).await.unwrap_or(RefreshReply::UNAVAILABLE)
    }

    async fn send_request(&self, session: SessionId, message: Vec<u8>) -> Result<Delivery, StoreError> {
        for _ in 0..RETRIES {
            let delivery = self.bus.send_boxed(session.node(), message.clone()).await?;
            if delivery != Delivery::NoReceiver {
                return Ok(delivery);
            }
            sleep(RETRY_INTERVAL).await;
        }
        self.bus.send_boxed(session.node(), message).await
    }

    fn wait_for(&self, reply: oneshot::Sender<RefreshReply>) -> Waiting<'_> {
        let number = self.next_request.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).insert(number, reply);
        Waiting { remote: self, number }
    }

    /// Hands an answer to the request that waits for it.
    pub(super) fn answered(&self, number: u64, reply: RefreshReply) {
        let waiting = lock(&self.waiting).remove(&number);
        if let Some(waiting) = waiting {
            // Fails if the request was dropped meanwhile.
            let _ = waiting.send(reply);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waiting = lock(&self.remote.waiting).remove(&self.number);
        drop(waiting);
    }
}
