//! Messages between nodes. Each node subscribes to a channel of its own, whose messages Redis does not keep.

use redis::cmd;

use super::{
    Redis,
    topology::{Servers, Subscription},
};
use crate::{
    id::NodeId,
    store::{Delivery, NodeBus, NodeInbox, StoreError},
};

/// Receives the messages to one node from Redis.
struct RedisInbox {
    redis: Redis,
    channel: String,
    subscription: Subscription,
}

impl Redis {
    fn node_channel(&self, node: NodeId) -> String {
        format!("{}:node:{node}", self.prefix)
    }
}

impl NodeBus for Redis {
    async fn listen(&self, node: NodeId) -> Result<impl NodeInbox, StoreError> {
        let channel = self.node_channel(node);
        let subscription = self.subscribe(&channel).await?;
        Ok(RedisInbox { redis: self.clone(), channel, subscription })
    }

    async fn send(&self, to: NodeId, message: Vec<u8>) -> Result<Delivery, StoreError> {
        let mut publish = cmd("PUBLISH");
        publish.arg(self.node_channel(to)).arg(message);
        // May run twice: a repeated request is refused while the first is in progress, or refreshes the session with
        // the same token again. A repeated answer is ignored.
        let receivers: u64 = self.run(&publish).await?;
        // A server of a cluster counts its own clients only.
        let is_sure = matches!(self.servers, Servers::Single(_));
        Ok(if receivers == 0 && is_sure { Delivery::NoReceiver } else { Delivery::Sent })
    }
}

impl NodeInbox for RedisInbox {
    async fn receive(&mut self) -> Result<Vec<u8>, StoreError> {
        loop {
            match self.redis.next_message(&mut self.subscription).await? {
                Some(message) => return Ok(message.get_payload_bytes().to_vec()),
                None => self.subscription = self.redis.subscribe(&self.channel).await?,
            }
        }
    }
}
