//! The leases of a subject are in one sorted set, in which members sort by the age of their sessions and scores say when they
//! run out. One that was evicted stays there for a while under a name of its own and with a negative score, so that it is
//! told from one that was lost. Each script is about one key: in a cluster, subjects are spread over all slots.

use std::{
    error::Error,
    future::poll_fn,
    pin::pin,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_core::Stream;
use futures_util::future::join_all;
use redis::{Cmd, FromRedisValue, Msg, aio::PubSub};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::{Failed, Redis, Script, link::Listening, milliseconds};
use crate::{
    id::{Scope, ScopedId, SessionId},
    lock::lock,
    store::{Acquire, Acquired, AtLimit, LimitStore, SessionLease, StoreError},
};

/// Key: the set. Arguments: the lease, how many there may be, whether others go for it, the lifetime in milliseconds, the
/// channel on which that is told, and what is over. By the server's clock, so that no other can throw anything away.
const ACQUIRE: &str = "
    local set, own, most, lifetime = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    redis.call('ZREMRANGEBYSCORE', set, 0, string.format('(%.0f', now))
    redis.call('ZREMRANGEBYSCORE', set, string.format('(%.0f', -now), '(0')
    redis.call('ZREM', set, own)
    for i = 6, #ARGV do
        redis.call('ZREM', set, ARGV[i], '!' .. ARGV[i])
    end
    local more = redis.call('ZCOUNT', set, 0, '+inf') - most + 1
    local evicted = {}
    if more > 0 then
        if ARGV[3] ~= 'evict' then return nil end
        local oldest = redis.call('ZRANGEBYSCORE', set, 0, '+inf')
        table.sort(oldest)
        for i = 1, more do
            evicted[i] = string.sub(oldest[i], 13)
            redis.call('ZREM', set, oldest[i])
            redis.call('ZADD', set, string.format('%.0f', -(now + lifetime)), '!' .. oldest[i])
            redis.pcall('PUBLISH', ARGV[5], evicted[i])
        end
    end
    redis.call('ZADD', set, string.format('%.0f', now + lifetime), own)
    if redis.call('PTTL', set) < lifetime then redis.call('PEXPIRE', set, ARGV[4]) end
    return evicted
";
/// Key: the set. Arguments: the lifetime in milliseconds, and leases. Returns those that were evicted.
const RENEW: &str = "
    local set, lifetime = KEYS[1], tonumber(ARGV[1])
    local time = redis.call('TIME')
    local over = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + lifetime)
    local evicted = {}
    for i = 2, #ARGV do
        if redis.call('ZSCORE', set, '!' .. ARGV[i]) then
            table.insert(evicted, string.sub(ARGV[i], 13))
        else
            redis.call('ZADD', set, over, ARGV[i])
        end
    end
    if redis.call('PTTL', set) < lifetime then redis.call('PEXPIRE', set, ARGV[1]) end
    return evicted
";
/// Key: the set. Arguments: leases.
const RELEASE: &str = "
    for i = 1, #ARGV do
        redis.call('ZREM', KEYS[1], ARGV[i], '!' .. ARGV[i])
    end
";
/// How long a connection may say nothing before it is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(14);
/// How often it is looked whether it still leads to where others publish.
const LOOK: Duration = Duration::from_secs(2);

/// How long an answer is waited for at most: less than who asks waits for this, so that a connection that says nothing is
/// known as such.
const LONGEST: Duration = Duration::from_millis(1500);

struct Scripts {
    acquire: Script,
    renew: Script,
    release: Script,
}

static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
    acquire: Script::new(ACQUIRE),
    renew: Script::new(RENEW),
    release: Script::new(RELEASE),
});

impl Redis {
    /// Every key has the same length, and no name can be mistaken for another.
    fn sessions(&self, subject: &ScopedId) -> String {
        let mut hash = Sha256::new();
        match subject.scope() {
            Scope::Any => hash.update([0]),
            Scope::Unnamed => hash.update([1]),
            Scope::Named(issuer) => {
                hash.update([2]);
                hash.update((issuer.len() as u64).to_be_bytes());
                hash.update(issuer);
            }
        }
        hash.update(subject.id());
        format!("{}:sessions:{}", self.prefix, URL_SAFE_NO_PAD.encode(hash.finalize()))
    }

    fn evictions(&self) -> String {
        format!("{}:evicted", self.prefix)
    }

    /// Has a script run for each subject, all of them at once. One that fails does not keep others from being done.
    async fn each_subject<T: FromRedisValue>(
        &self,
        leases: &[SessionLease],
        script: &Script,
        lifetime: Option<Duration>,
    ) -> Result<Vec<T>, Failed> {
        let of_subjects = leases.chunk_by(|one, other| one.subject == other.subject).map(|leases| {
            let mut args = Cmd::new();
            if let Some(first) = leases.first() {
                args.arg(self.sessions(&first.subject));
            }
            if let Some(lifetime) = lifetime {
                args.arg(milliseconds(lifetime));
            }
            for lease in leases {
                args.arg(member(lease));
            }
            async move { self.run_script(script, &args, self.timeout.min(LONGEST)).await }
        });
        join_all(of_subjects).await.into_iter().collect()
    }

    /// The next eviction; nothing if it is to be listened anew, because others may publish elsewhere now.
    async fn heard(&self, listening: &mut Listening) -> Result<Option<SessionId>, StoreError> {
        let mut quiet = Duration::ZERO;
        loop {
            match timeout(LOOK, next(&mut listening.messages)).await {
                Ok(Some(message)) => {
                    let id: String = message.get_payload().map_err(unreadable)?;
                    return id.parse().map(Some).map_err(unreadable);
                }
                Ok(None) => return Err(StoreError::unavailable().with_source("the connection is closed")),
                // It may answer, and not be where others publish any more.
                Err(_) if self.servers.generation() != listening.generation => return Ok(None),
                Err(_) => quiet += LOOK,
            }
            if quiet >= QUIET {
                quiet = Duration::ZERO;
                let late = |_| Failed::unreachable("redis does not answer where evictions are heard");
                timeout(self.timeout, listening.messages.ping::<redis::Value>())
                    .await
                    .map_err(late)?
                    .map_err(Failed::from)?;
            }
        }
    }
}

impl LimitStore for Redis {
    // Each may be repeated. To acquire or renew the same lease again changes nothing but its end, and to release it
    // nothing at all. Who had to go for a lease whose answer was lost is told by the channel and by the next renewal.
    async fn acquire(&self, request: Acquire<'_>) -> Result<Acquired, StoreError> {
        let mut args = Cmd::new();
        args.arg(self.sessions(&request.lease.subject))
            .arg(member(request.lease))
            .arg(request.limit.get())
            .arg(if request.at_limit == AtLimit::EvictOldest { "evict" } else { "refuse" })
            .arg(milliseconds(request.lifetime))
            .arg(self.evictions());
        for lease in request.released {
            args.arg(member(lease));
        }
        let evicted: Option<Vec<String>> = self.run_script(&SCRIPTS.acquire, &args, self.timeout.min(LONGEST)).await?;
        evicted.map_or(Ok(Acquired::Full), |evicted| Ok(Acquired::Taken { evicted: sessions(&evicted)? }))
    }

    async fn renew(&self, leases: &[SessionLease], lifetime: Duration) -> Result<Vec<SessionId>, StoreError> {
        let evicted: Vec<Vec<String>> = self.each_subject(leases, &SCRIPTS.renew, Some(lifetime)).await?;
        sessions(evicted.iter().flatten())
    }

    async fn release(&self, leases: &[SessionLease]) -> Result<(), StoreError> {
        self.each_subject::<()>(leases, &SCRIPTS.release, None).await?;
        Ok(())
    }

    async fn evicted(&self) -> Result<Vec<SessionId>, StoreError> {
        // Not put back where something fails or the caller goes away.
        let kept = lock(&self.listening).take();
        let mut listening = match kept {
            Some(listening) => listening,
            None => self.servers.listening(&self.evictions(), &self.setup()).await?,
        };
        let session = loop {
            match self.heard(&mut listening).await? {
                Some(session) => break session,
                None => listening = self.servers.listening(&self.evictions(), &self.setup()).await?,
            }
        };
        *lock(&self.listening) = Some(listening);
        Ok(vec![session])
    }
}

async fn next(listening: &mut PubSub) -> Option<Msg> {
    let mut messages = pin!(listening.on_message());
    poll_fn(|cx| messages.as_mut().poll_next(cx)).await
}

/// Twelve digits for the time, until the year 10889, and then the id.
fn member(lease: &SessionLease) -> String {
    let accepted = lease.accepted.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{:012x}{}", accepted.as_millis(), lease.session)
}

fn sessions<'a>(ids: impl IntoIterator<Item = &'a String>) -> Result<Vec<SessionId>, StoreError> {
    let ids = ids.into_iter().map(|id| id.parse());
    ids.collect::<Result<_, _>>().map_err(unreadable)
}

fn unreadable(error: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::unavailable().with_source(error)
}
