mod limits;
mod link;
mod revocations;
mod tickets;

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use redis::{Cmd, FromRedisValue, RedisError, RedisResult, aio::PubSub};
use tokio::time::timeout;

use self::link::{Link, Servers};
use crate::{ConfigError, StoreError, lock::lock};

/// Keeps tickets, revocations and limits in Redis 6.2 or later, or Valkey, for servers on many machines.
///
/// It is a [`TicketStore`](crate::TicketStore), a [`RevocationStore`](crate::RevocationStore) and a
/// [`LimitStore`](crate::LimitStore). Clones share a connection; each that follows revocations has one more, and so has each
/// that listens for evictions. Nothing is connected before it is needed, and a connection that broke is made anew. What
/// Redis does not answer in [time](Self::timeout) it did not do: no ticket is issued or accepted, a node that loses touch with
/// the revocations says so after a while, and each node counts for itself what a subject may have.
///
/// Redis must persist what it has (`appendonly yes`), or a restart forgets: of the revocations there is then what the nodes
/// that are running remember and tell it again. It must not throw away keys for want of memory: `maxmemory-policy
/// noeviction`, which is the default. Where it comes back with what it had a moment before, from a snapshot or as a replica
/// that was behind, a ticket may be good a second time until its 30 seconds are over; `appendfsync always` and no failover
/// rule that out. Limits need none of this: what is lost is told again within 20 seconds.
///
/// After a failover to a replica that was behind, nodes notice that their place in the log is gone. They load all again and add
/// what the new primary lacks, with an event at error. What only machines knew that are gone as well is lost:
/// `min-replicas-to-write` makes that unlikely. A node follows revocations on a primary only: on a replica, or a primary that
/// lacks the replicas it needs, its knowledge grows old, and after a while it admits nobody.
///
/// All tickets under one [prefix](Self::prefix) are one pool, and so are all limits. A subject (`sub`) is counted together with
/// its issuer, so issuers may share a prefix even where their subjects have the same names.
///
/// `rediss://`, that is TLS, needs a feature of the crate `redis`, such as `tokio-rustls-comp`: add that crate with it to your
/// own dependencies.
///
/// # More than one machine
///
/// Give each node the same three lines, and they act as one: a ticket that was bought at any of them is good once on all,
/// who logs out at one is disconnected from all, and what a subject may have open goes for all of them together.
///
/// ```no_run
/// use axum_ws_auth::{AtLimit, Limits, Redis, Revocations, Sessions, Tickets};
///
/// # #[tokio::main] async fn main() -> Result<(), axum_ws_auth::ConfigError> {
/// let redis = Redis::new("redis://127.0.0.1:6379")?;
/// let tickets = Tickets::<serde_json::Value>::new(redis.clone());
/// let revocations = Revocations::new(redis.clone());
/// let limits = Limits::new().total(50_000)?.per_subject(5, AtLimit::EvictOldest)?.across_nodes(redis);
/// let sessions = Sessions::with_limits(limits);
/// # Ok(()) }
/// ```
///
/// Every node has all revocations in its memory and follows a stream for new ones, so that a handshake needs an answer from
/// Redis only for its ticket, and for its place among the sessions of its subject where these are limited. Each command
/// is about one key, but for that of a revocation.
///
/// | | commands to Redis |
/// | --- | --- |
/// | a handshake with a token | none |
/// | a ticket | one `SET` when it is bought, one `GETDEL` when it is redeemed |
/// | a session, with limits across nodes | one `EVALSHA` when it begins, one when it ends |
/// | | one every 20 seconds for each subject and node, which [can be set](crate::Limits::lease_lifetime) |
/// | an eviction | one `PUBLISH`, inside of the `EVALSHA` of the session that it makes room for |
/// | a revocation | one `EVAL`, and one answer to the `XREAD` that each node has waiting |
/// | a node with nothing to do | two commands in five seconds |
///
/// | | memory of Redis |
/// | --- | --- |
/// | a ticket | 510 bytes with small claims, until it is redeemed or its 30 seconds are over |
/// | a revocation | 145 bytes for as long as it is kept; and the stream, 0.8 MB at most |
/// | a session, with limits across nodes | 265 bytes for the first one of a subject, 64 for each further one |
///
/// As measured with Redis 7.0: what its memory grew by for each of 20 000, with ids of 32 characters. To begin, renew or
/// end a session takes it 20 to 25 µs.
///
/// What 100 000 sessions of as many subjects come to on four nodes:
///
/// - a node holds 25 000: 266 MiB at 10.9 KiB each (measured in `benches/README.md`; the application's own comes on top);
/// - it renews 25 000 ÷ 20 s = 1 250 leases a second; four of them make 5 000, a tenth of what one core of Redis does;
/// - their leases are 26 MB in Redis;
/// - when a node goes down and its 25 000 clients are back within a minute: 420 handshakes a second, with as many `EVALSHA`;
///   where they come by ticket, as many `SET` and `GETDEL` too, and 6 MB of tickets if none is redeemed before its time is over;
/// - 100 000 tokens that are taken back in a day, and revocations kept for a day: 15 MB in Redis, and the same orders in the
///   memory of each node.
///
/// The clocks of nodes and issuers should agree to a second or two, and must agree to
/// [five](crate::RevocationOptions::clock_skew): by them it is told which tokens are older than a revocation of a
/// subject, and which of a subject's sessions is the oldest. How long revocations are kept, and leases are good, goes by
/// the clock of Redis.
///
/// A node that is gone leaves its leases behind: for a minute its sessions still count. What happens without Redis is said
/// where it happens: [`Tickets`](crate::Tickets), [`Revocations`](crate::Revocations),
/// [`Limits::across_nodes`](crate::Limits::across_nodes).
///
/// In a [cluster](Self::cluster) the revocations are in one slot, and tickets and subjects are spread over all.
pub struct Redis {
    servers: Servers,
    prefix: Arc<str>,
    timeout: Duration,
    /// For all commands but those that wait.
    commands: Arc<Mutex<Option<Link>>>,
    /// For the one that waits for revocations, which nothing else could get past.
    waiting: Mutex<Option<Link>>,
    /// For what is told of evictions.
    listening: Mutex<Option<PubSub>>,
}

impl Redis {
    /// By the URL of a server: `redis://user:password@host:port/database`.
    ///
    /// # Errors
    ///
    /// If it is not such a URL.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        Self::of(Servers::one(url))
    }

    /// By the URLs of some of a cluster's nodes, from which the others are learned. They differ in their hosts and ports
    /// alone.
    ///
    /// Revocations are in one slot, tickets and limits in all of them. Evictions are heard through the nodes that are named
    /// here; while none of these is there, sessions learn of them when they are renewed.
    ///
    /// ```
    /// # use axum_ws_auth::Redis;
    /// let redis = Redis::cluster(["redis://10.0.0.1:6379", "redis://10.0.0.2:6379"])?;
    /// assert!(Redis::cluster([""; 0]).is_err());
    /// # Ok::<(), axum_ws_auth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there is none, or one is not such a URL, or they name different users or passwords.
    pub fn cluster(urls: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, ConfigError> {
        let urls: Vec<String> = urls.into_iter().map(Into::into).collect();
        Self::of(Servers::cluster(&urls))
    }

    fn of(servers: RedisResult<Servers>) -> Result<Self, ConfigError> {
        // What is wrong with it is not said, for it may be the password.
        let servers = servers.map_err(|_| ConfigError::InvalidUrl {
            url: "redis://…".to_owned(),
            problem: "it is not the url of a redis server, or one of a kind that is not compiled in",
        })?;
        Ok(Self {
            servers,
            prefix: Arc::from("axum-ws-auth"),
            timeout: Duration::from_secs(1),
            commands: Arc::default(),
            waiting: Mutex::default(),
            listening: Mutex::default(),
        })
    }

    /// Sets what all keys begin with. Defaults to `axum-ws-auth`; several applications that share a database need one each.
    ///
    /// # Errors
    ///
    /// If it is empty, or holds a brace, which has a meaning of its own in a cluster.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Result<Self, ConfigError> {
        let prefix = prefix.into();
        if prefix.is_empty() || prefix.contains(['{', '}']) {
            return Err(ConfigError::InvalidPrefix(prefix));
        }
        self.prefix = Arc::from(prefix);
        Ok(self)
    }

    /// Sets how long is waited for an answer, connecting included; for limits on sessions, a second and a half at most. Defaults to a second, because handshakes wait for it.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn timeout(mut self, timeout: Duration) -> Result<Self, ConfigError> {
        if timeout.is_zero() {
            return Err(ConfigError::ZeroDuration("timeout of redis"));
        }
        self.timeout = timeout;
        // One that was made for the other clones has their timeout.
        self.commands = Arc::default();
        Ok(self)
    }

    /// Carries out one command.
    async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failed> {
        let mut connection = self.connection()?;
        self.in_time(self.timeout, command.query_async(&mut connection)).await
    }

    /// Waits for an answer, for as long as one may take.
    async fn in_time<T>(&self, limit: Duration, answer: impl Future<Output = RedisResult<T>>) -> Result<T, Failed> {
        match timeout(limit, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => {
                // It may be broken without anybody having said so.
                *lock(&self.commands) = None;
                Err(Failed::TimedOut)
            }
        }
    }

    fn connection(&self) -> Result<Link, Failed> {
        let mut commands = lock(&self.commands);
        if let Some(connection) = &*commands {
            return Ok(connection.clone());
        }
        Ok(commands.insert(self.servers.link(self.timeout)?).clone())
    }

    /// A connection of its own, on which answers are waited for as long as the caller likes.
    async fn waiting_connection(&self) -> Result<Link, Failed> {
        Ok(self.servers.waiting(self.timeout).await?)
    }
}

/// Why Redis did not do something.
enum Failed {
    TimedOut,
    Redis(RedisError),
}

impl From<RedisError> for Failed {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::TimedOut => Self::unavailable().with_source("redis has not answered in time"),
            // "command not allowed when used memory > 'maxmemory'", in a script behind words of its own.
            Failed::Redis(error) if error.to_string().contains("OOM") => Self::full().with_source(error),
            Failed::Redis(error) => Self::unavailable().with_source(error),
        }
    }
}

/// As many as a script can count with: a few thousand years.
fn milliseconds(duration: Duration) -> u64 {
    const MOST: u64 = 100_000_000_000_000;
    u64::try_from(duration.as_millis()).unwrap_or(MOST).min(MOST)
}

// By hand: each waits on a connection of its own.
impl Clone for Redis {
    fn clone(&self) -> Self {
        Self {
            servers: self.servers.clone(),
            prefix: Arc::clone(&self.prefix),
            timeout: self.timeout,
            commands: Arc::clone(&self.commands),
            waiting: Mutex::default(),
            listening: Mutex::default(),
        }
    }
}

// By hand: there may be a password in the URL.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.prefix).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
