//! Tickets, and what may be used once. Each is a key that expires and is written only if it does not exist. A ticket is
//! read and deleted by one command.

use std::time::Duration;

use redis::cmd;

use super::{Redis, command::decode};
use crate::store::{StoreError, TicketKey, TicketStore};

impl Redis {
    fn ticket_key(&self, key: TicketKey) -> String {
        format!("{}:ticket:{key}", self.prefix)
    }

    /// Returns `false` if the key exists. May run twice, so the content must be the caller's own.
    async fn put_new(&self, key: String, content: Vec<u8>, lifetime: Duration) -> Result<bool, StoreError> {
        // Zero milliseconds are an error.
        let milliseconds = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut set = cmd("SET");
        set.arg(&key).arg(&content).arg("NX").arg("PX").arg(milliseconds);
        let (answer, is_retry) = self.send_with_retry(&set, &set, self.timeout).await?;
        if decode::<Option<String>>(answer)?.is_some() {
            return Ok(true);
        }
        // If the first command ran and its answer was lost, the key exists with the same content.
        Ok(is_retry && self.run::<Option<Vec<u8>>>(cmd("GET").arg(&key)).await? == Some(content))
    }
}

impl TicketStore for Redis {
    async fn put(&self, key: TicketKey, content: Vec<u8>, lifetime: Duration) -> Result<(), StoreError> {
        // No client has the ticket yet, so none can have redeemed it in between.
        let is_new = self.put_new(self.ticket_key(key), content, lifetime).await?;
        if is_new { Ok(()) } else { Err(StoreError::unavailable().with_source("the key exists")) }
    }

    async fn redeem(&self, key: TicketKey) -> Result<Option<Vec<u8>>, StoreError> {
        let mut redeem = cmd("GETDEL");
        redeem.arg(self.ticket_key(key));
        // May run twice: the key is deleted once. If the first answer was lost, nobody has the ticket, and it is
        // refused as used.
        Ok(self.run(&redeem).await?)
    }

    async fn use_once(&self, key: TicketKey, lifetime: Duration) -> Result<bool, StoreError> {
        let mut own = vec![0; 16];
        getrandom::fill(&mut own).map_err(|error| StoreError::unavailable().with_source(error.to_string()))?;
        self.put_new(format!("{}:used:{key}", self.prefix), own, lifetime).await
    }
}
