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

/// Keeps tickets and revocations in Redis 6.2 or later, or Valkey, for servers on many machines.
///
/// It is a [`TicketStore`](crate::TicketStore) and a [`RevocationStore`](crate::RevocationStore); clones share a
/// connection, and each that follows revocations has one more. Nothing is connected before it is needed, and a connection that broke is made anew. What Redis does not
/// answer in [time](Self::timeout) it did not do: no ticket is issued or accepted, and a node that loses touch with the
/// revocations says so after a while.
///
/// Redis must persist what it has (`appendonly yes`), or a restart forgets: of the revocations there is then what the nodes
/// that are running remember and tell it again. It must not throw away keys for want of memory: `maxmemory-policy
/// noeviction`, which is the default. Where it comes back with what it had a moment before, from a snapshot or as a replica
/// that was behind, a ticket may be good a second time until its 30 seconds are over; `appendfsync always` and no failover
/// rule that out.
///
/// All tickets under one [prefix](Self::prefix) are one pool: who takes them takes all of them.
///
/// `rediss://`, that is TLS, needs a feature of the crate `redis`, such as `tokio-rustls-comp`: add that crate with it to your
/// own dependencies.
///
/// # More than one machine
///
/// Every node has all revocations in its memory and follows a stream for new ones, so that a handshake needs no answer from
/// Redis but for its ticket:
///
/// | | commands to Redis |
/// | --- | --- |
/// | a handshake with a token | none |
/// | a ticket | one `SET` when it is bought, one `GETDEL` when it is redeemed |
/// | a revocation | one `EVAL`, and one answer to the `XREAD` that each node has waiting |
/// | a node with nothing to do | two commands in five seconds |
///
/// The clocks of nodes and issuers should agree to a second: by them it is told which tokens are older than a revocation of a
/// subject. How long revocations are kept goes by the clock of Redis. In a cluster the revocations are in one slot, and tickets in all; the client
/// that is built in speaks to one address and does not follow redirections. Limits on sessions are those of each node.
///
/// # Example
///
/// ```no_run
/// use axum_ws_auth::{Redis, Revocations, Tickets};
///
/// # #[tokio::main] async fn main() -> Result<(), axum_ws_auth::ConfigError> {
/// let redis = Redis::new("redis://127.0.0.1:6379")?.prefix("chat")?;
/// let tickets = Tickets::<serde_json::Value>::new(redis.clone());
/// let revocations = Revocations::new(redis);
/// # Ok(()) }
/// ```
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
    /// Revocations are in one slot, tickets and limits in all of them.
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
    /// If there is none, or one is not such a URL, or they name different users, passwords, or a database: a cluster has
    /// one.
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

    /// Sets how long is waited for an answer, connecting included. Defaults to a second, because handshakes wait for it.
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
        self.in_time(command.query_async(&mut connection)).await
    }

    /// Waits for an answer, for as long as one may take.
    async fn in_time<T>(&self, answer: impl Future<Output = RedisResult<T>>) -> Result<T, Failed> {
        match timeout(self.timeout, answer).await {
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
