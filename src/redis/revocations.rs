//! Revocations are in a sorted set, by the time at which they are over, and in a stream, by their number, which nodes
//! follow. Both are written by one script. In a cluster their keys are in one slot.
//!
//! Numbers begin with the time, so that after a loss of all data they go on and do not begin again; and each follows the
//! one before, so that a node which misses one sees that.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{aio::MultiplexedConnection, cmd, pipe};

use super::{Failed, Redis};
use crate::{News, Position, Revocation, RevocationStore, StoreError};

/// How much of the stream is kept: who is further behind loads the set again.
const KEPT: usize = 10_000;
/// Keys: the set, the stream, the number. Arguments: the order, when it is over, now in milliseconds and in microseconds, and
/// how much of the stream is kept.
const ADD: &str = "
    redis.call('SET', KEYS[3], ARGV[4], 'NX')
    local number = string.format('%.0f', redis.call('INCR', KEYS[3]))
    redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[3])
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], number .. '-0', 'order', ARGV[1], 'until', ARGV[2])
";
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Of the stream, which holds nothing yet.
const BEGINNING: &str = "0";

/// A stream entry: its id, and its fields and their values in turns.
type Entry = (String, Vec<String>);

impl Redis {
    fn revocations(&self, what: &str) -> String {
        format!("{{{}}}:revocations{what}", self.prefix)
    }

    async fn last(&self, connection: &mut MultiplexedConnection) -> Result<String, Failed> {
        let newest: Vec<Entry> = cmd("XREVRANGE")
            .arg(self.revocations(":log"))
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(1)
            .query_async(connection)
            .await?;
        Ok(newest.into_iter().next().map_or_else(|| BEGINNING.to_owned(), |(id, _)| id))
    }

    async fn len(&self, connection: &mut MultiplexedConnection) -> Result<usize, Failed> {
        Ok(cmd("XLEN").arg(self.revocations(":log")).query_async(connection).await?)
    }

    async fn follow(&self, connection: &mut MultiplexedConnection, after: &str) -> Result<News, StoreError> {
        let milliseconds = u64::try_from(HEARTBEAT.as_millis()).unwrap_or(u64::MAX);
        let answer: Option<Vec<(String, Vec<Entry>)>> = cmd("XREAD")
            .arg("COUNT")
            .arg(1000)
            .arg("BLOCK")
            .arg(milliseconds)
            .arg("STREAMS")
            .arg(self.revocations(":log"))
            .arg(after)
            .query_async(connection)
            .await
            .map_err(Failed::from)?;
        let entries = answer.into_iter().flatten().flat_map(|(_, entries)| entries);
        let now = milliseconds_now();
        let mut position = after.to_owned();
        let mut revocations = Vec::new();
        for (id, fields) in entries {
            if position != BEGINNING && number_of(&id)? != number_of(&position)? + 1 {
                return Err(lost());
            }
            let [_, order, _, until] = fields.as_slice() else { return Err(unreadable("a stream entry")) };
            let until: u64 = until.parse().map_err(|_| unreadable("a time"))?;
            revocations.push((read(order)?, Duration::from_millis(until.saturating_sub(now))));
            position = id;
        }
        // Nothing new, or another stream.
        if revocations.is_empty() && self.last(connection).await? != after {
            return Err(lost());
        }
        // Nobody can tell whether this is the first, where some may have been thrown away.
        if after == BEGINNING && self.len(connection).await? >= KEPT {
            return Err(lost());
        }
        Ok(News::new(Position(position), revocations))
    }

    /// All that there are, and before them the position: what comes in between is in both.
    async fn all(&self, connection: &mut MultiplexedConnection) -> Result<News, StoreError> {
        let position = self.last(connection).await?;
        let now = milliseconds_now();
        let all: Vec<(String, f64)> = cmd("ZRANGEBYSCORE")
            .arg(self.revocations(""))
            .arg(now)
            .arg("+inf")
            .arg("WITHSCORES")
            .query_async(connection)
            .await
            .map_err(Failed::from)?;
        let now = Duration::from_millis(now);
        let left = |until: f64| Duration::try_from_secs_f64(until / 1000.0).unwrap_or_default().saturating_sub(now);
        let all = all.iter().map(|(order, until)| Ok((read(order)?, left(*until))));
        Ok(News::new(Position(position), all.collect::<Result<_, StoreError>>()?))
    }
}

impl RevocationStore for Redis {
    async fn add(&self, revocation: &Revocation, keep_for: Duration) -> Result<(), StoreError> {
        let order = serde_json::to_string(revocation).map_err(|error| StoreError::unavailable().with_source(error))?;
        let [set, log, numbers] = ["", ":log", ":number"].map(|what| self.revocations(what));
        let now = milliseconds_now();
        let until = now.saturating_add(u64::try_from(keep_for.as_millis()).unwrap_or(u64::MAX));
        let mut add = pipe();
        add.cmd("EVAL").arg(ADD).arg(3).arg(set).arg(log).arg(numbers);
        // In microseconds, so that nobody revokes faster than the time goes.
        add.arg(order).arg(until).arg(now).arg(now.saturating_mul(1000)).arg(KEPT).ignore();
        Ok(self.run(&add).await?)
    }

    async fn load(&self) -> Result<News, StoreError> {
        let mut connection = self.waiting_connection().await?;
        let news = self.all(&mut connection).await?;
        *self.waiting.lock().await = Some(connection);
        Ok(news)
    }

    async fn next(&self, after: Position) -> Result<News, StoreError> {
        // Not put back where something fails or the caller goes away: there may be an answer under way.
        let kept = self.waiting.lock().await.take();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.waiting_connection().await?,
        };
        let news = self.follow(&mut connection, &after.0).await?;
        *self.waiting.lock().await = Some(connection);
        Ok(news)
    }
}

fn read(order: &str) -> Result<Revocation, StoreError> {
    // One that is not understood may be about anybody: then nothing is known.
    serde_json::from_str(order).map_err(|_| unreadable("a revocation"))
}

fn number_of(id: &str) -> Result<u64, StoreError> {
    id.split('-').next().and_then(|number| number.parse().ok()).ok_or_else(|| unreadable("a number"))
}

fn unreadable(what: &'static str) -> StoreError {
    StoreError::unavailable().with_source(format!("{what} in redis cannot be read"))
}

fn lost() -> StoreError {
    StoreError::unavailable().with_source("the place in the stream is lost")
}

fn milliseconds_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
