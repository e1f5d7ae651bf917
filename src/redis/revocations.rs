//! Revocations are in a sorted set, by the time at which they are over, and in a stream, by their number, which nodes
//! follow. Both are written by one script. In a cluster their keys are in one slot.
//!
//! Numbers begin with the time, so that after a loss of all data they go on and do not begin again; and each follows the
//! one before, so that a node which misses one sees that.

use std::time::Duration;

use redis::cmd;

use super::{Failed, Redis, link::Link, milliseconds};
use crate::{News, Position, Revocation, RevocationStore, StoreError, lock::lock};

/// How much of the stream is kept: who is further behind loads the set again.
const KEPT: usize = 10_000;
/// Keys: the set and the stream. Arguments: the order, for how many milliseconds it is kept, and how much of the stream is
/// kept. By the server's clock, so that no other can throw anything away. The stream comes first, because a script that fails
/// leaves what it has done.
const ADD: &str = "
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
    local number = last and tonumber(string.match(last[1], '^%d+')) + 1 or time[1] * 1000000 + time[2]
    local over = string.format('%.0f', now + ARGV[2])
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], string.format('%.0f-0', number), 'order', ARGV[1], 'until', over)
    redis.call('ZADD', KEYS[1], 'GT', over, ARGV[1])
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now))
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

    async fn last(&self, connection: &mut Link) -> Result<String, Failed> {
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

    /// By the clock of the server that has the revocations.
    async fn now(&self, connection: &mut Link) -> Result<u64, Failed> {
        let mut time = cmd("EVAL");
        time.arg("return redis.call('TIME')").arg(1).arg(self.revocations(""));
        let (seconds, microseconds): (u64, u64) = time.query_async(connection).await?;
        Ok(seconds.saturating_mul(1000).saturating_add(microseconds / 1000))
    }

    async fn len(&self, connection: &mut Link) -> Result<usize, Failed> {
        Ok(cmd("XLEN").arg(self.revocations(":log")).query_async(connection).await?)
    }

    async fn follow(&self, connection: &mut Link, after: &str) -> Result<News, StoreError> {
        let answer: Option<Vec<(String, Vec<Entry>)>> = cmd("XREAD")
            .arg("BLOCK")
            .arg(milliseconds(HEARTBEAT))
            .arg("STREAMS")
            .arg(self.revocations(":log"))
            .arg(after)
            .query_async(connection)
            .await
            .map_err(Failed::from)?;
        let entries = answer.into_iter().flatten().flat_map(|(_, entries)| entries);
        let now = self.now(connection).await?;
        let mut position = after.to_owned();
        let mut revocations = Vec::new();
        for (id, fields) in entries {
            if position != BEGINNING && Some(number_of(&id)?) != number_of(&position)?.checked_add(1) {
                return Err(lost());
            }
            let [_, order, _, until] = fields.as_slice() else { return Err(unreadable("a stream entry")) };
            let until: u64 = until.parse().map_err(|_| unreadable("a time"))?;
            revocations.push((read(order)?, Duration::from_millis(until.saturating_sub(now))));
            position = id;
        }
        // Nothing new, or another stream.
        if revocations.is_empty() && number_of(&self.last(connection).await?)? < number_of(after)? {
            return Err(lost());
        }
        // Nobody can tell whether this is the first, where some may have been thrown away.
        if after == BEGINNING && self.len(connection).await? >= KEPT {
            return Err(lost());
        }
        Ok(News::new(Position(position), revocations))
    }

    /// All that there are, and before them the position: what comes in between is in both.
    async fn all(&self, connection: &mut Link) -> Result<News, StoreError> {
        let position = self.last(connection).await?;
        let now = self.now(connection).await?;
        let all: Vec<(String, f64)> = cmd("ZRANGEBYSCORE")
            .arg(self.revocations(""))
            .arg(now)
            .arg("+inf")
            .arg("WITHSCORES")
            .query_async(connection)
            .await
            .map_err(Failed::from)?;
        let now = Duration::from_millis(now);
        let left = |until: f64| match Duration::try_from_secs_f64(until / 1000.0) {
            Ok(until) => Ok(until.saturating_sub(now)),
            Err(_) => Err(unreadable("a time")),
        };
        let all = all.iter().map(|(order, until)| Ok((read(order)?, left(*until)?)));
        Ok(News::new(Position(position), all.collect::<Result<_, StoreError>>()?))
    }
}

impl RevocationStore for Redis {
    async fn add(&self, revocation: &Revocation, keep_for: Duration) -> Result<(), StoreError> {
        let order = serde_json::to_string(revocation).map_err(|error| StoreError::unavailable().with_source(error))?;
        let [set, log] = ["", ":log"].map(|what| self.revocations(what));
        let mut add = cmd("EVAL");
        add.arg(ADD).arg(2).arg(set).arg(log).arg(order).arg(milliseconds(keep_for)).arg(KEPT);
        Ok(self.run(&add).await?)
    }

    async fn load(&self) -> Result<News, StoreError> {
        let mut connection = self.waiting_connection().await?;
        let news = self.all(&mut connection).await?;
        *lock(&self.waiting) = Some(connection);
        Ok(news)
    }

    async fn next(&self, after: Position) -> Result<News, StoreError> {
        // Not put back where something fails or the caller goes away: there may be an answer under way.
        let kept = lock(&self.waiting).take();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.waiting_connection().await?,
        };
        let news = self.follow(&mut connection, &after.0).await?;
        *lock(&self.waiting) = Some(connection);
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
