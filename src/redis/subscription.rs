//! Reads the messages of a channel, and notices when the connection is silent or elsewhere.

use std::{future::poll_fn, pin::pin, time::Duration};

use futures_core::Stream;
use redis::{Msg, aio::PubSub};
use tokio::time::timeout;

use super::{Redis, failure::Failure, topology::Subscription};
use crate::store::StoreError;

/// A subscription that was silent for this long is pinged.
const PING_AFTER: Duration = Duration::from_secs(14);
/// How often a subscription is checked for whether its server is still where others publish.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

impl Redis {
    pub(super) async fn subscribe(&self, channel: &str) -> Result<Subscription, Failure> {
        self.servers.subscribe(channel, &self.connect_options()).await
    }

    /// The next message, or `None` if other servers may be where others publish now.
    pub(super) async fn next_message(&self, subscription: &mut Subscription) -> Result<Option<Msg>, StoreError> {
        let mut silence = Duration::ZERO;
        loop {
            match timeout(CHECK_INTERVAL, next(&mut subscription.messages)).await {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => return Err(StoreError::unavailable().with_source("the connection is closed")),
                // The server may still answer although others publish elsewhere.
                Err(_) if self.servers.generation() != subscription.generation => return Ok(None),
                Err(_) => silence += CHECK_INTERVAL,
            }
            if silence >= PING_AFTER {
                silence = Duration::ZERO;
                let late = |_| Failure::unreachable("redis does not answer on the connection that waits for messages");
                timeout(self.timeout, subscription.messages.ping::<redis::Value>())
                    .await
                    .map_err(late)?
                    .map_err(Failure::from)?;
            }
        }
    }
}

async fn next(messages: &mut PubSub) -> Option<Msg> {
    let mut messages = pin!(messages.on_message());
    poll_fn(|cx| messages.as_mut().poll_next(cx)).await
}
