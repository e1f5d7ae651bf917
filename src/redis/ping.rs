use redis::cmd;

use super::Redis;
use crate::store::{Ping, StoreError};

impl Ping for Redis {
    async fn ping(&self) -> Result<(), StoreError> {
        // With an argument that a cluster takes for a key: the server that has it answers.
        let mut ping = cmd("PING");
        ping.arg(self.revocations_key(""));
        self.run::<String>(&ping).await?;
        Ok(())
    }
}
