//! Revocations are in a sorted set, by the time at which they are over, and in a stream, which nodes follow. Both are written
//! by one script. In a cluster their keys are in one slot.
//!
//! Entries of the stream have numbers that follow each other, and each has a nonce. After a failover to a replica that was
//! behind, a number is given a second time, but never with the same nonce. So a position is a number and a nonce, and every
//! answer is given by one script that first looks whether the entry at the position is still there.
//!
//! That script also begins with a write that changes nothing: a replica refuses it, and so does a primary that has lost the
//! replicas it needs. A node that reaches no primary gets an error instead of an empty answer.

use std::{collections::hash_map::RandomState, future::Future, hash::BuildHasher, sync::LazyLock, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use redis::{Cmd, FromRedisValue, cmd};
use tokio::{task::yield_now, time::timeout};

use super::{Failed, Redis, link::Link, milliseconds};
use crate::{
    lock::lock,
    store::{Cursor, Revocation, RevocationBatch, RevocationStore, StoreError},
};

/// How much of the stream is kept: a node that is further behind loads the set again.
const KEPT: usize = 10_000;
/// Keys: the set, the stream, and who is telling what was lost. Arguments: a nonce, how much of the stream is kept, the teller,
/// whether it tells more, for how many milliseconds that is believed, and then each order and for how many milliseconds it is
/// kept. A teller has orders that the set may have by now; one that revokes gives no name. All by the server's clock, so that
/// no other can throw anything away. The stream comes first, because a script that fails leaves what it has done.
const ADD: &str = "
    local set, log, telling, nonce, teller = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[3]
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
    local number = last and tonumber(string.match(last[1], '^%d+')) or time[1] * 1000000 + time[2]
    if teller ~= '' and ARGV[4] == 'more' then
        redis.call('ZADD', telling, string.format('%.0f', now + ARGV[5]), teller)
        redis.call('PEXPIRE', telling, ARGV[5])
    end
    for i = 6, #ARGV, 2 do
        local over = now + ARGV[i + 1]
        local known = teller ~= '' and redis.call('ZSCORE', set, ARGV[i])
        if not known or tonumber(known) < over - 60000 then
            number = number + 1
            over = string.format('%.0f', over)
            redis.call('XADD', log, 'MAXLEN', '~', ARGV[2], string.format('%.0f-0', number),
                'order', ARGV[i], 'until', over, 'nonce', nonce)
            redis.call('ZADD', set, 'GT', over, ARGV[i])
        end
    end
    redis.call('ZREMRANGEBYSCORE', set, '-inf', string.format('(%.0f', now))
    if teller ~= '' and ARGV[4] ~= 'more' then redis.call('ZREM', telling, teller) end
";
/// Keys: the stream, who is telling what was lost, and one that is never there. Arguments: the entry at the position and its
/// nonce, how many entries are read at most, and the nonce of a first entry. Returns whether that entry is there, those after
/// it, the time, and how many tell. Without a position it returns the last entry, and makes a first one if there is none, so that
/// there is a position from the beginning.
const READ: &str = "
    local log, after, nonce = KEYS[1], ARGV[1], ARGV[2]
    redis.call('DEL', KEYS[3])
    local time = redis.call('TIME')
    local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
    local telling = redis.call('ZCOUNT', KEYS[2], now, '+inf')
    if after == '' then
        local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
        if not last[1] then
            redis.call('XADD', log, string.format('%.0f-0', time[1] * 1000000 + time[2]), 'nonce', ARGV[4])
            last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
        end
        return {1, last, now, telling}
    end
    local at = redis.call('XRANGE', log, after, after)[1]
    if not at or at[2][#at[2]] ~= nonce then return {0, {}, now, telling} end
    return {1, redis.call('XRANGE', log, '(' .. after, '+', 'COUNT', ARGV[3]), now, telling}
";
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How many entries of the stream, or orders of the set, are read at once.
const PAGE: usize = 1000;
/// For how long it is believed that somebody tells more.
const TELLING: Duration = Duration::from_secs(30);

/// A stream entry: its id, and its fields and their values in turns, the last of which is the nonce.
type Entry = (String, Vec<String>);

/// An answer to [`READ`].
struct Answer {
    entries: Vec<Entry>,
    /// By the clock of the server that has the revocations.
    now: u64,
    is_incomplete: bool,
}

/// A position: an entry, and its nonce.
struct Place {
    id: String,
    nonce: String,
}

impl Redis {
    pub(super) fn revocations(&self, what: &str) -> String {
        format!("{}:{{revocations}}{what}", self.prefix)
    }

    /// What comes after the place, or the last entry.
    async fn read(&self, connection: &mut Link, after: Option<&Place>) -> Result<Answer, StoreError> {
        let (id, nonce) = after.map_or(("", ""), |place| (&place.id, &place.nonce));
        let [log, telling, nothing] = [":log", ":telling", ":none"].map(|what| self.revocations(what));
        let mut read = cmd("EVAL");
        read.arg(READ).arg(3).arg(log).arg(telling).arg(nothing).arg(id).arg(nonce).arg(PAGE).arg(new_nonce()?);
        let (is_there, entries, now, telling): (bool, Vec<Entry>, u64, usize) =
            self.answer(read.query_async(connection)).await?;
        if !is_there {
            return Err(lost());
        }
        Ok(Answer { entries, now, is_incomplete: telling > 0 })
    }

    /// An answer that does not wait for anything to happen.
    async fn answer<T: FromRedisValue>(
        &self,
        answer: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, StoreError> {
        let late = |_| Failed::unreachable(format!("redis has not answered within {:?}", self.timeout));
        let answer = timeout(self.timeout, answer).await.map_err(late)?;
        Ok(answer.map_err(Failed::from)?)
    }

    /// Returns when there may be something after the place, and in any case after a while.
    async fn wait(&self, connection: &mut Link, after: &Place) -> Result<(), StoreError> {
        let mut wait = cmd("XREAD");
        wait.arg("COUNT").arg(1).arg("BLOCK").arg(milliseconds(HEARTBEAT)).arg("STREAMS");
        wait.arg(self.revocations(":log")).arg(&after.id);
        let _: redis::Value = wait.query_async(connection).await.map_err(Failed::from)?;
        Ok(())
    }

    async fn follow(&self, connection: &mut Link, after: &Cursor) -> Result<RevocationBatch, StoreError> {
        let mut place = Place::at(after)?;
        self.wait(connection, &place).await?;
        let mut revocations = Vec::new();
        loop {
            let Answer { entries, now, is_incomplete } = self.read(connection, Some(&place)).await?;
            let is_last = entries.len() < PAGE;
            for (id, fields) in entries {
                if Some(number_of(&id)?) != number_of(&place.id)?.checked_add(1) {
                    return Err(lost());
                }
                let [_, order, _, until, _, nonce] = fields.as_slice() else {
                    return Err(unreadable("a stream entry"));
                };
                let until: u64 = until.parse().map_err(|_| unreadable("a time"))?;
                revocations.push((read(order)?, Duration::from_millis(until.saturating_sub(now))));
                place = Place { id, nonce: nonce.clone() };
            }
            if is_last {
                return Ok(place.news(revocations, is_incomplete));
            }
            yield_now().await;
        }
    }

    /// All that there are, and before them the position: what comes in between is in both.
    async fn all(&self, connection: &mut Link) -> Result<RevocationBatch, StoreError> {
        let Answer { entries, now, is_incomplete } = self.read(connection, None).await?;
        let (id, mut fields) = entries.into_iter().next().ok_or_else(|| unreadable("the stream"))?;
        let place = Place { id, nonce: fields.pop().ok_or_else(|| unreadable("a stream entry"))? };
        let begin = Duration::from_millis(now);
        let mut revocations = Vec::new();
        let (mut from, mut most) = (now as f64, PAGE);
        loop {
            let mut page = cmd("ZRANGEBYSCORE");
            page.arg(self.revocations("")).arg(from).arg("+inf").arg("WITHSCORES").arg("LIMIT").arg(0).arg(most);
            let page: Vec<(String, f64)> = self.answer(page.query_async(connection)).await?;
            for (order, until) in &page {
                let until = Duration::try_from_secs_f64(until / 1000.0).map_err(|_| unreadable("a time"))?;
                revocations.push((read(order)?, until.saturating_sub(begin)));
            }
            // The next page begins where this one ends: the last few are in both, and none is missed.
            let last = page.last().map_or(from, |(_, until)| *until);
            if page.len() < most {
                break;
            }
            if last > from {
                (from, most) = (last, PAGE);
            } else {
                most = most.saturating_mul(2);
            }
            yield_now().await;
        }
        // It was one log all the time.
        self.read(connection, Some(&place)).await?;
        Ok(place.news(revocations, is_incomplete))
    }

    /// Adds orders that are written already.
    async fn add_written(&self, orders: &[(String, Duration)], teller: &str, more: bool) -> Result<(), StoreError> {
        // May be repeated: an order that is there twice says what it says once. Under a nonce of its own, because what
        // was done the first time may be lost with its server.
        let [add, again] = [self.adding(orders, teller, more)?, self.adding(orders, teller, more)?];
        self.ask_for(&add, &again, self.timeout).await?;
        Ok(())
    }

    fn adding(&self, orders: &[(String, Duration)], teller: &str, more: bool) -> Result<Cmd, StoreError> {
        let [set, log, telling] = ["", ":log", ":telling"].map(|what| self.revocations(what));
        let mut add = cmd("EVAL");
        add.arg(ADD).arg(3).arg(set).arg(log).arg(telling).arg(new_nonce()?).arg(KEPT).arg(teller);
        add.arg(if more { "more" } else { "" }).arg(milliseconds(TELLING));
        for (order, keep_for) in orders {
            add.arg(order).arg(milliseconds(*keep_for));
        }
        Ok(add)
    }
}

impl RevocationStore for Redis {
    async fn add(&self, revocation: &Revocation, keep_for: Duration) -> Result<(), StoreError> {
        self.add_written(&[(write(revocation)?, keep_for)], "", false).await
    }

    async fn add_many(&self, orders: &[(Revocation, Duration)], more: bool) -> Vec<Result<(), StoreError>> {
        // One that cannot be written does not hold up the others.
        let mut outcomes = Vec::with_capacity(orders.len());
        let mut written = Vec::with_capacity(orders.len());
        for (order, keep_for) in orders {
            outcomes.push(write(order).map(|order| written.push((order, *keep_for))));
        }
        if let Err(error) = self.add_written(&written, &teller(self), more).await {
            outcomes.iter_mut().filter(|outcome| outcome.is_ok()).for_each(|outcome| *outcome = Err(error.clone()));
        }
        outcomes
    }

    async fn load(&self) -> Result<RevocationBatch, StoreError> {
        let mut connection = self.waiting_connection().await?;
        let news = self.all(&mut connection).await?;
        *lock(&self.waiting) = Some(connection);
        Ok(news)
    }

    async fn next(&self, after: Cursor) -> Result<RevocationBatch, StoreError> {
        // Not put back where something fails or the caller goes away: there may be an answer under way.
        let kept = lock(&self.waiting).take();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.waiting_connection().await?,
        };
        let news = self.follow(&mut connection, &after).await?;
        *lock(&self.waiting) = Some(connection);
        Ok(news)
    }
}

impl Place {
    fn at(cursor: &Cursor) -> Result<Self, StoreError> {
        let (id, nonce) = cursor.0.split_once('/').ok_or_else(lost)?;
        // What is no number is refused here, and not by the server.
        number_of(id).map_err(|_| lost())?;
        Ok(Self { id: id.to_owned(), nonce: nonce.to_owned() })
    }

    fn news(self, revocations: Vec<(Revocation, Duration)>, is_incomplete: bool) -> RevocationBatch {
        let news = RevocationBatch::new(Cursor(format!("{}/{}", self.id, self.nonce)), revocations);
        if is_incomplete { news.incomplete() } else { news }
    }
}

/// The name of a node among those that tell what was lost: by its process, and its place in there.
fn teller(node: &Redis) -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(()));
    format!("{:016x}{:p}", *PROCESS, node)
}

fn new_nonce() -> Result<String, StoreError> {
    let mut nonce = [0; 12];
    getrandom::fill(&mut nonce).map_err(|error| StoreError::unavailable().with_source(error.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(nonce))
}

fn write(order: &Revocation) -> Result<String, StoreError> {
    serde_json::to_string(order).map_err(|error| StoreError::unavailable().with_source(error))
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
    StoreError::lost().with_source("the cursor is not in the stream, or others have come between")
}
