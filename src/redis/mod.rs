mod cluster;
mod connect;
mod credentials;
mod failed;
mod limits;
mod link;
mod revocations;
mod sentinel;
mod server;
mod tickets;
mod url;

use std::{
    error::Error,
    fmt,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use redis::{Client, Cmd, ConnectionInfo, FromRedisValue, Value};
use tokio::time::Instant;

use self::{
    cluster::key_of,
    connect::Setup,
    credentials::Provider,
    failed::Failed,
    link::{Link, Listening, Place, Servers},
    server::Target,
};
use crate::error::ConfigError;

pub use credentials::RedisCredentials;

/// Keeps tickets, revocations and limits in Redis 6.2 or later, or Valkey, for servers on many machines.
///
/// It is a [`TicketStore`](crate::store::TicketStore), a [`RevocationStore`](crate::store::RevocationStore) and a
/// [`LimitStore`](crate::store::LimitStore). Clones share one connection to each server; each clone that follows revocations has one
/// more, and so has each that listens for evictions. Nothing is connected before it is needed. If Redis does not answer in
/// [time](Self::timeout), no ticket is issued or accepted, a node that loses touch with the revocations says so after a while,
/// and each node counts for itself what a subject may have. Errors and events name the cause: a refused port, an unknown
/// host, a wrong password, an untrusted certificate, or what the server answered. They never hold a password.
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
/// # When a server fails
///
/// A connection is replaced when it breaks, when nothing is answered on it in time, and when the server says that it is not a
/// primary that can be written to (`READONLY`, `MASTERDOWN`, `LOADING`, `NOREPLICAS`). The host name is looked up again, the
/// sentinels are asked again, and a cluster is asked again who has which slots. However many commands wait, one connection to
/// a server is opened at a time, and at most ten in a second. In a cluster each server has a connection of its own, so a server
/// that is down takes nothing from the others.
///
/// A command whose connection broke is sent once more on a new one, within the same time limit. It may then run twice, which
/// is safe for each of them:
///
/// | command | why it may run twice |
/// | --- | --- |
/// | issue a ticket (`SET … NX`) | nobody knows the ticket yet; the second run finds what the first one wrote, and compares it |
/// | redeem a ticket (`GETDEL`) | the ticket is deleted once; if the first answer was lost, the second refuses it as used |
/// | take a lease (`EVALSHA`) | the same lease counts once; sessions that had to go are told by the channel and at the next renewal |
/// | renew leases (`EVALSHA`) | it sets the same end again |
/// | release leases (`EVALSHA`) | what is released already stays so |
/// | revoke (`EVAL`) | the same order twice says what it says once |
/// | follow revocations (`XREAD`) | not repeated: the node reads on from its position |
///
/// # TLS
///
/// `rediss://` needs the feature `redis-tls`; without it such a URL is an error. Certificates are checked against those that
/// the operating system trusts; for a private authority or a client certificate see [`with_client`](Self::with_client). The
/// crate `redis` uses the default crypto provider of the process. If there is none when the first connection by TLS is
/// opened, that of aws-lc-rs is installed; an application that wants another one installs it before, for example at the
/// beginning of `main`.
///
/// # Rights
///
/// All keys and the one channel begin with the prefix and a colon. A user needs no more than this:
///
/// ```text
/// ACL SETUSER chat on >secret resetkeys ~axum-ws-auth:* resetchannels &axum-ws-auth:* -@all \
///   +ping +set +get +getdel +eval +evalsha +time +subscribe +publish \
///   +zadd +zrem +zscore +zcount +zrangebyscore +zremrangebyscore +pttl +pexpire \
///   +xadd +xread +xrange +xrevrange +del
/// ```
///
/// A database other than 0 takes `+select`, and a cluster `+cluster|slots`. Without the channel everything works, but a
/// session that has to go for another one on another node learns of it at its next renewal. Sentinels are asked
/// `SENTINEL GET-MASTER-ADDR-BY-NAME`.
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
    place: Place,
    prefix: Arc<str>,
    timeout: Duration,
    credentials: Option<Provider>,
    /// With the connections for all commands but those that wait.
    servers: Servers,
    /// For the one that waits for revocations, which nothing else could get past.
    waiting: Mutex<Option<Link>>,
    /// For what is told of evictions.
    listening: Mutex<Option<Listening>>,
}

/// How much of the time for an answer connecting may take, so that what kept it from that is known before the time is over.
const FOR_CONNECTING: f64 = 0.9;
/// How often a command is sent where the answer is that another server has the key: of none it was carried out.
const REDIRECTIONS: usize = 4;

impl Redis {
    /// One server by its URL: `redis://user:password@host:port/database`, `rediss://…` for TLS with the feature `redis-tls`,
    /// or `unix:///path?db=1&user=…&pass=…`. User, password and database may be left out, and so may the port (6379).
    /// Characters that have a meaning in URLs are percent-encoded in a user and a password.
    ///
    /// The name of the host is looked up for each connection, so that it may lead to another server after a failover.
    ///
    /// ```
    /// # use axum_ws_auth::Redis;
    /// let redis = Redis::new("redis://chat:secret@redis.internal:6379")?;
    /// // Each problem is named, and the text is not repeated, in which a password may be.
    /// let error = Redis::new("redis.internal:6379").unwrap_err();
    /// assert!(error.to_string().contains("does not begin with `redis://`"));
    /// # Ok::<(), axum_ws_auth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidUrl`], which names the problem.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        Ok(Self::at(Place::One(Target::At(Box::new(url::server(url)?)))))
    }

    /// One server by the settings of a client of the crate `redis`, version 1. So it is reached with a private certification
    /// authority or a client certificate (`Client::build_with_tls`), or with TCP settings of your own. The client itself
    /// is not used: how connections are opened and repaired is as for [`new`](Self::new), and the protocol is RESP2.
    ///
    /// ```
    /// # use axum_ws_auth::Redis;
    /// # fn own(ca: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
    /// # #[cfg(feature = "redis-tls")] {
    /// let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(ca) };
    /// let client = redis::Client::build_with_tls("rediss://redis.internal", certificates)?;
    /// let redis = Redis::with_client(&client)?;
    /// # }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidUrl`] if it cannot be connected to, or is of TLS without the feature `redis-tls`.
    pub fn with_client(client: &Client) -> Result<Self, ConfigError> {
        Ok(Self::at(Place::One(Target::At(Box::new(url::server_of(client)?)))))
    }

    /// A cluster by the URLs of some of its nodes, from which the others are learned. They differ in their hosts and ports
    /// alone.
    ///
    /// Revocations are in one slot, tickets and limits in all of them. While one primary is down, what the others have is
    /// there as before.
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
    /// [`ConfigError::InvalidUrl`] if there is none, or one is not such a URL, or they name different users or passwords.
    pub fn cluster(urls: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, ConfigError> {
        let nodes = urls.into_iter().map(|url| url::server(&url.into()));
        Self::of_cluster(nodes.collect::<Result<_, _>>()?)
    }

    /// A cluster by the settings of clients of some of its nodes: see [`with_client`](Self::with_client). Certificates and
    /// credentials are those of the first one.
    ///
    /// # Errors
    ///
    /// As for [`cluster`](Self::cluster).
    pub fn cluster_with_clients<'a>(clients: impl IntoIterator<Item = &'a Client>) -> Result<Self, ConfigError> {
        Self::of_cluster(clients.into_iter().map(url::server_of).collect::<Result<_, _>>()?)
    }

    /// The primary of a service that sentinels watch. They are asked for each connection, and the answer of most of them
    /// counts. In the URL of the service its name stands in the place of the host; user, password, database and TLS are those
    /// of its servers, and those in the URLs of the sentinels are the sentinels' own.
    ///
    /// ```
    /// # use axum_ws_auth::Redis;
    /// let sentinels = ["redis://10.0.0.1:26379", "redis://10.0.0.2:26379", "redis://10.0.0.3:26379"];
    /// let redis = Redis::sentinel(sentinels, "redis://chat:secret@mymaster")?;
    /// # Ok::<(), axum_ws_auth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidUrl`] if there is no sentinel, or one of these is not such a URL, or the service has a port.
    pub fn sentinel(
        sentinels: impl IntoIterator<Item = impl Into<String>>,
        service: &str,
    ) -> Result<Self, ConfigError> {
        let sentinels = sentinels.into_iter().map(|url| url::server(&url.into())).collect::<Result<_, _>>()?;
        let server = url::server(service)?;
        let name = url::service(&server, url::has_port(service))?;
        Self::of_sentinels(sentinels, name, server)
    }

    /// The primary of a service that sentinels watch, by the settings of clients: see [`with_client`](Self::with_client). Of
    /// the client of the servers everything counts but its host and port.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidUrl`] if there is no sentinel, or one of the clients cannot be connected with.
    pub fn sentinel_with_clients<'a>(
        sentinels: impl IntoIterator<Item = &'a Client>,
        service: impl Into<String>,
        servers: &Client,
    ) -> Result<Self, ConfigError> {
        let sentinels = sentinels.into_iter().map(url::server_of).collect::<Result<_, _>>()?;
        Self::of_sentinels(sentinels, service.into(), url::server_of(servers)?)
    }

    fn of_cluster(nodes: Vec<ConnectionInfo>) -> Result<Self, ConfigError> {
        let nodes = url::same_but_for_address(nodes)?;
        let Some(first) = nodes.first() else { return Err(url::invalid("there is none")) };
        Ok(Self::at(Place::Cluster(Box::new(first.clone()), nodes)))
    }

    fn of_sentinels(
        sentinels: Vec<ConnectionInfo>,
        service: String,
        server: ConnectionInfo,
    ) -> Result<Self, ConfigError> {
        if sentinels.is_empty() {
            return Err(url::invalid("there is no sentinel"));
        }
        Ok(Self::at(Place::sentinels(sentinels, service, server)))
    }

    fn at(place: Place) -> Self {
        let timeout = Duration::from_secs(1);
        let setup = Setup { limit: timeout.mul_f64(FOR_CONNECTING), credentials: None };
        Self {
            servers: place.servers(&setup),
            place,
            prefix: Arc::from("axum-ws-auth"),
            timeout,
            credentials: None,
            waiting: Mutex::default(),
            listening: Mutex::default(),
        }
    }

    /// Sets what all keys begin with, and the name of the channel. A colon follows. Defaults to `axum-ws-auth`; several
    /// applications that share a database need one each.
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

    /// Sets how long is waited for an answer, connecting included; for limits on sessions, a second and a half at most.
    /// Defaults to a second, because handshakes wait for it.
    ///
    /// # Errors
    ///
    /// If it is zero, or longer than a year.
    pub fn timeout(mut self, timeout: Duration) -> Result<Self, ConfigError> {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        if timeout.is_zero() {
            return Err(ConfigError::ZeroDuration("timeout of redis"));
        }
        if timeout > YEAR {
            return Err(ConfigError::LongDuration("timeout of redis"));
        }
        self.timeout = timeout;
        Ok(self.anew())
    }

    /// Sets where credentials come from, in place of those of URLs: the provider is asked for each connection that is opened,
    /// so that a password may change while the application runs. Connections that are open stay so until the server closes
    /// them. The time that it takes is part of the time for connecting. Sentinels are asked with those of their own URLs.
    ///
    /// ```
    /// # use axum_ws_auth::{Redis, RedisCredentials};
    /// let redis = Redis::new("redis://redis.internal")?.credentials(async || {
    ///     let password = std::fs::read_to_string("/run/secrets/redis")?;
    ///     Ok::<_, std::io::Error>(RedisCredentials::new("chat", password.trim()))
    /// });
    /// # Ok::<(), axum_ws_auth::ConfigError>(())
    /// ```
    #[must_use]
    pub fn credentials<F, Fut, E>(mut self, provider: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<RedisCredentials, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.credentials = Some(Provider::new(provider));
        self.anew()
    }

    /// With connections of its own: those that were made for other clones have their settings.
    fn anew(mut self) -> Self {
        self.servers = self.place.servers(&self.setup());
        self
    }

    fn setup(&self) -> Setup {
        Setup { limit: self.timeout.mul_f64(FOR_CONNECTING), credentials: self.credentials.clone() }
    }

    /// Carries out one command. It is sent again, once, where its connection broke.
    async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failed> {
        self.ask(command, self.timeout).await.and_then(read)
    }

    /// Runs a script, which the server knows by its hash once it was sent.
    async fn run_script<T: FromRedisValue>(&self, script: &Script, args: &Cmd, limit: Duration) -> Result<T, Failed> {
        let begun = Instant::now();
        match self.ask(&script.by_hash(args), limit).await {
            // It has not run.
            Err(failed) if failed.code() == Some("NOSCRIPT") => {
                let left = limit.saturating_sub(begun.elapsed());
                self.ask(&script.by_text(args), left).await.and_then(read)
            }
            outcome => outcome.and_then(read),
        }
    }

    async fn ask(&self, command: &Cmd, limit: Duration) -> Result<Value, Failed> {
        self.ask_for(command, command, limit).await.map(|(value, _)| value)
    }

    /// Sends a command, and another one in its place where the connection broke before there was an answer: the first may
    /// have been carried out, or not. Returns whether that was so.
    async fn ask_for(&self, command: &Cmd, again: &Cmd, limit: Duration) -> Result<(Value, bool), Failed> {
        let until = Instant::now() + limit;
        let mut destination = self.servers.destination(&key_of(command), until).await?;
        let (mut redirections, mut is_repeated) = (0, false);
        loop {
            let sent = if is_repeated { again } else { command };
            let undone = match destination.server.ask(sent, destination.asking, until, limit).await {
                Ok(value) => return Ok((value, is_repeated)),
                Err(undone) => undone,
            };
            if let Some(elsewhere) = self.servers.redirected(&undone.failed.cure())
                && redirections < REDIRECTIONS
            {
                destination = elsewhere;
                redirections += 1;
                continue;
            }
            if undone.failed.is_of_the_server() {
                self.servers.has_failed();
            }
            if is_repeated || !undone.may_be_repeated || Instant::now() >= until {
                return Err(undone.failed);
            }
            is_repeated = true;
        }
    }

    /// A connection of its own, on which answers are waited for as long as the caller likes, to the server that has the
    /// revocations.
    async fn waiting_connection(&self) -> Result<Link, Failed> {
        let key = self.revocations("");
        self.servers.own(key.as_bytes(), Instant::now() + self.timeout).await
    }
}

/// A script in Lua, and its hash.
struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    fn by_hash(&self, args: &Cmd) -> Cmd {
        Self::with("EVALSHA", &self.hash, args)
    }

    fn by_text(&self, args: &Cmd) -> Cmd {
        Self::with("EVAL", self.text, args)
    }

    fn with(name: &str, script: &str, args: &Cmd) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(1);
        for argument in args.args_iter() {
            if let redis::Arg::Simple(argument) = argument {
                command.arg(argument);
            }
        }
        command
    }
}

fn read<T: FromRedisValue>(value: Value) -> Result<T, Failed> {
    T::from_redis_value(value).map_err(|error| Failed::from(redis::RedisError::from(error)))
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
            place: self.place.clone(),
            prefix: Arc::clone(&self.prefix),
            timeout: self.timeout,
            credentials: self.credentials.clone(),
            servers: self.servers.clone(),
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
