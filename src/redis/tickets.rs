//! Tickets. Each is a key that expires, written only if it does not exist, and read and deleted by one command.

use std::time::Duration;

use redis::cmd;

use super::{Redis, command::decode};
use crate::store::{StoreError, TicketKey, TicketStore};

impl Redis {
    fn ticket_key(&self, key: TicketKey) -> String {
        format!("{}:ticket:{key}", self.prefix)
    }
}

impl TicketStore for Redis {
    async fn put(&self, key: TicketKey, content: Vec<u8>, lifetime: Duration) -> Result<(), StoreError> {
        // Zero milliseconds are an error.
        let milliseconds = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX).max(1);
        let key = self.ticket_key(key);
        let mut set = cmd("SET");
        set.arg(&key).arg(&content).arg("NX").arg("PX").arg(milliseconds);
        // May run twice: no client has the ticket yet, so none can have redeemed it in between.
        let (answer, is_retry) = self.send_with_retry(&set, &set, self.timeout).await?;
        if decode::<Option<String>>(answer)?.is_some() {
            return Ok(());
        }
        // If the first command ran and its answer was lost, the key exists with the same content.
        if is_retry && self.run::<Option<Vec<u8>>>(cmd("GET").arg(&key)).await? == Some(content) {
            return Ok(());
        }
        Err(StoreError::unavailable().with_source("the key exists"))
    }

    async fn redeem(&self, key: TicketKey) -> Result<Option<Vec<u8>>, StoreError> {
        let mut redeem = cmd("GETDEL");
        redeem.arg(self.ticket_key(key));
        // May run twice: the key is deleted once. If the first answer was lost, nobody has the ticket, and it is
        // refused as used.
        Ok(self.run(&redeem).await?)
    }
}
