//! A ticket is a key that expires. It is written unless it is there, and read and deleted at once.

use std::time::Duration;

use redis::cmd;

use super::Redis;
use crate::{StoreError, TicketKey, TicketStore};

impl Redis {
    fn ticket(&self, key: TicketKey) -> String {
        format!("{}:ticket:{key}", self.prefix)
    }
}

impl TicketStore for Redis {
    async fn put(&self, key: TicketKey, content: Vec<u8>, lifetime: Duration) -> Result<(), StoreError> {
        // Of less than a millisecond there would be none.
        let milliseconds = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut set = cmd("SET");
        set.arg(self.ticket(key)).arg(content).arg("NX").arg("PX").arg(milliseconds);
        let done: Option<String> = self.run(&set).await?;
        done.map(drop).ok_or_else(|| StoreError::unavailable().with_source("there is one with this key"))
    }

    async fn redeem(&self, key: TicketKey) -> Result<Option<Vec<u8>>, StoreError> {
        let mut take = cmd("GETDEL");
        take.arg(self.ticket(key));
        Ok(self.run(&take).await?)
    }
}
