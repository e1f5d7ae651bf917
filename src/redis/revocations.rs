//! Revocations. They are in a sorted set, by their expiry time, and in a stream, which nodes follow. One script writes
//! both. In a cluster, all their keys are in one slot.
//!
//! Entries of the stream have consecutive numbers, and each has a nonce. After a failover to a replica that was behind,
//! a number may be used again, but never with the same nonce. A cursor is therefore a number and a nonce, and the
//! script that reads the stream first checks that the entry of the cursor is still there.

use std::{collections::hash_map::RandomState, future::Future, hash::BuildHasher, sync::LazyLock, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use redis::{Cmd, FromRedisValue, aio::MultiplexedConnection, cmd};
use tokio::{task::yield_now, time::timeout};

use super::{
    Redis,
    command::milliseconds,
    entries::{EntryId, from_json, lost, number_of, to_json, unreadable},
    failure::Failure,
    scripts::{ADD, READ},
};
use crate::{
    lock::lock,
    store::{Cursor, Revocation, RevocationBatch, RevocationStore, StoreError},
};

/// How many entries the stream keeps. A node that is further behind loads the set again.
const STREAM_LENGTH: usize = 10_000;
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How many entries of the stream, or members of the set, are read at once.
const PAGE: usize = 1000;
/// How long a node counts as restoring after its last batch.
const RESTORING: Duration = Duration::from_secs(30);

/// An entry of the stream: its id, and its fields, each followed by its value. The last value is the nonce.
type Entry = (String, Vec<String>);

/// An answer to [`READ`].
struct Answer {
    entries: Vec<Entry>,
    /// In milliseconds, by the clock of the server.
    now: u64,
    is_incomplete: bool,
}

impl Redis {
    pub(super) fn revocations_key(&self, suffix: &str) -> String {
        format!("{}:{{revocations}}{suffix}", self.prefix)
    }

    /// The entries after this one, or the last entry.
    async fn read(
        &self,
        connection: &mut MultiplexedConnection,
        after: Option<&EntryId>,
    ) -> Result<Answer, StoreError> {
        let (id, nonce) = after.map_or(("", ""), |entry| (&entry.id, &entry.nonce));
        let [stream, restoring, unused] = [":log", ":restoring", ":none"].map(|suffix| self.revocations_key(suffix));
        let mut read = cmd("EVAL");
        read.arg(READ).arg(3).arg(stream).arg(restoring).arg(unused).arg(id).arg(nonce).arg(PAGE).arg(new_nonce()?);
        let (is_there, entries, now, restoring): (bool, Vec<Entry>, u64, usize) =
            self.answer(read.query_async(connection)).await?;
        if !is_there {
            return Err(lost());
        }
        Ok(Answer { entries, now, is_incomplete: restoring > 0 })
    }

    /// The answer to a command that does not wait.
    async fn answer<T: FromRedisValue>(
        &self,
        answer: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, StoreError> {
        let late = |_| Failure::unreachable(format!("redis did not answer within {:?}", self.timeout));
        let answer = timeout(self.timeout, answer).await.map_err(late)?;
        Ok(answer.map_err(Failure::from)?)
    }

    /// Waits for an entry after this one, and at most for a heartbeat.
    async fn wait(&self, connection: &mut MultiplexedConnection, after: &EntryId) -> Result<(), StoreError> {
        let mut wait = cmd("XREAD");
        wait.arg("COUNT").arg(1).arg("BLOCK").arg(milliseconds(HEARTBEAT)).arg("STREAMS");
        wait.arg(self.revocations_key(":log")).arg(&after.id);
        let _: redis::Value = wait.query_async(connection).await.map_err(Failure::from)?;
        Ok(())
    }

    async fn follow(
        &self,
        connection: &mut MultiplexedConnection,
        after: &Cursor,
    ) -> Result<RevocationBatch, StoreError> {
        let mut last = EntryId::of(after)?;
        self.wait(connection, &last).await?;
        let mut revocations = Vec::new();
        loop {
            let Answer { entries, now, is_incomplete } = self.read(connection, Some(&last)).await?;
            let is_last_page = entries.len() < PAGE;
            for (id, fields) in entries {
                if Some(number_of(&id)?) != number_of(&last.id)?.checked_add(1) {
                    return Err(lost());
                }
                let [_, revocation, _, expiry, _, nonce] = fields.as_slice() else {
                    return Err(unreadable("a stream entry"));
                };
                let expiry: u64 = expiry.parse().map_err(|_| unreadable("a time"))?;
                revocations.push((from_json(revocation)?, Duration::from_millis(expiry.saturating_sub(now))));
                last = EntryId { id, nonce: nonce.clone() };
            }
            if is_last_page {
                return Ok(last.into_batch(revocations, is_incomplete));
            }
            yield_now().await;
        }
    }

    /// Reads the whole set. The cursor is read before the set, so that what is added in between is in both.
    async fn read_all(&self, connection: &mut MultiplexedConnection) -> Result<RevocationBatch, StoreError> {
        let Answer { entries, now, is_incomplete } = self.read(connection, None).await?;
        let (id, mut fields) = entries.into_iter().next().ok_or_else(|| unreadable("the stream"))?;
        let last = EntryId { id, nonce: fields.pop().ok_or_else(|| unreadable("a stream entry"))? };
        let read_at = Duration::from_millis(now);
        let mut revocations = Vec::new();
        let (mut from, mut count) = (now as f64, PAGE);
        loop {
            let mut page = cmd("ZRANGEBYSCORE");
            page.arg(self.revocations_key("")).arg(from).arg("+inf").arg("WITHSCORES").arg("LIMIT").arg(0).arg(count);
            let page: Vec<(String, f64)> = self.answer(page.query_async(connection)).await?;
            for (revocation, expiry) in &page {
                let expiry = Duration::try_from_secs_f64(expiry / 1000.0).map_err(|_| unreadable("a time"))?;
                revocations.push((from_json(revocation)?, expiry.saturating_sub(read_at)));
            }
            if page.len() < count {
                break;
            }
            // The next page begins with the last expiry of this one, so that no revocation is missed and some are in
            // both. A page with a single expiry is read again, at twice the size.
            let last_expiry = page.last().map_or(from, |(_, expiry)| *expiry);
            if last_expiry > from {
                (from, count) = (last_expiry, PAGE);
            } else {
                count = count.saturating_mul(2);
            }
            yield_now().await;
        }
        // Fails if the server was replaced meanwhile.
        self.read(connection, Some(&last)).await?;
        Ok(last.into_batch(revocations, is_incomplete))
    }

    /// Adds revocations in JSON. `restoring_node` is empty unless this restores what the store has lost.
    async fn add_json(
        &self,
        revocations: &[(String, Duration)],
        restoring_node: &str,
        more: bool,
    ) -> Result<(), StoreError> {
        // May run twice: two equal revocations are one. The retry has a nonce of its own, because the entries of the
        // first run may be lost with their server.
        let [command, retry] = [
            self.add_command(revocations, restoring_node, more)?,
            self.add_command(revocations, restoring_node, more)?,
        ];
        self.send_with_retry(&command, &retry, self.timeout).await?;
        Ok(())
    }

    fn add_command(
        &self,
        revocations: &[(String, Duration)],
        restoring_node: &str,
        more: bool,
    ) -> Result<Cmd, StoreError> {
        let [set, stream, restoring] = ["", ":log", ":restoring"].map(|suffix| self.revocations_key(suffix));
        let mut add = cmd("EVAL");
        add.arg(ADD)
            .arg(3)
            .arg(set)
            .arg(stream)
            .arg(restoring)
            .arg(new_nonce()?)
            .arg(STREAM_LENGTH)
            .arg(restoring_node);
        add.arg(if more { "more" } else { "" }).arg(milliseconds(RESTORING));
        for (revocation, keep_for) in revocations {
            add.arg(revocation).arg(milliseconds(*keep_for));
        }
        Ok(add)
    }
}

impl RevocationStore for Redis {
    async fn add(&self, revocation: &Revocation, keep_for: Duration) -> Result<(), StoreError> {
        self.add_json(&[(to_json(revocation)?, keep_for)], "", false).await
    }

    async fn add_many(&self, revocations: &[(Revocation, Duration)], more: bool) -> Vec<Result<(), StoreError>> {
        // A revocation that cannot be written does not stop the others.
        let mut outcomes = Vec::with_capacity(revocations.len());
        let mut written = Vec::with_capacity(revocations.len());
        for (revocation, keep_for) in revocations {
            outcomes.push(to_json(revocation).map(|json| written.push((json, *keep_for))));
        }
        if let Err(error) = self.add_json(&written, &node_id(self), more).await {
            outcomes.iter_mut().filter(|outcome| outcome.is_ok()).for_each(|outcome| *outcome = Err(error.clone()));
        }
        outcomes
    }

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        let mut connection = self.new_log_connection().await?;
        let batch = self.read_all(&mut connection).await?;
        *lock(&self.log_connection) = Some(connection);
        Ok(batch)
    }

    async fn next(&self, after: Cursor) -> Result<RevocationBatch, StoreError> {
        // Put back only after success: after an error, or if the caller drops this future, an answer may still be on
        // its way.
        let open = lock(&self.log_connection).take();
        let mut connection = match open {
            Some(connection) => connection,
            None => self.new_log_connection().await?,
        };
        let batch = self.follow(&mut connection, &after).await?;
        *lock(&self.log_connection) = Some(connection);
        Ok(batch)
    }
}

/// Identifies a node among those that are restoring: its process, and its address in that process.
fn node_id(node: &Redis) -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(()));
    format!("{:016x}{:p}", *PROCESS, node)
}

fn new_nonce() -> Result<String, StoreError> {
    let mut nonce = [0; 12];
    getrandom::fill(&mut nonce).map_err(|error| StoreError::unavailable().with_source(error.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(nonce))
}
