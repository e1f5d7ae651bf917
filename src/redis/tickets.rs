//! A ticket is a key that expires. It is written unless it is there, and read and deleted at once.

use std::time::Duration;

use redis::cmd;

use super::{Redis, read};
use crate::store::{StoreError, TicketKey, TicketStore};

impl Redis {
    fn ticket(&self, key: TicketKey) -> String {
        format!("{}:ticket:{key}", self.prefix)
    }
}

impl TicketStore for Redis {
    async fn put(&self, key: TicketKey, content: Vec<u8>, lifetime: Duration) -> Result<(), StoreError> {
        // Of less than a millisecond there would be none.
        let milliseconds = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX).max(1);
        let key = self.ticket(key);
        let mut set = cmd("SET");
        set.arg(&key).arg(&content).arg("NX").arg("PX").arg(milliseconds);
        // May be repeated: nobody can have redeemed it yet, for nobody was told that there is one.
        let (done, is_repeated) = self.ask_for(&set, &set, self.timeout).await?;
        if read::<Option<String>>(done)?.is_some() {
            return Ok(());
        }
        // Where the first command was carried out and its answer lost, it is this one that is there.
        if is_repeated && self.run::<Option<Vec<u8>>>(cmd("GET").arg(&key)).await? == Some(content) {
            return Ok(());
        }
        Err(StoreError::unavailable().with_source("there is one with this key"))
    }

    async fn redeem(&self, key: TicketKey) -> Result<Option<Vec<u8>>, StoreError> {
        let mut take = cmd("GETDEL");
        take.arg(self.ticket(key));
        // May be repeated: it is deleted once. Where the first command did that and its answer was lost, nobody has the
        // ticket, and it is refused as one that was used.
        Ok(self.run(&take).await?)
    }
}
