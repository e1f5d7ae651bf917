mod bus;
mod cluster;
mod command;
mod config;
mod connect;
mod credentials;
mod endpoint;
mod entries;
mod failure;
mod issuers;
mod limits;
mod list;
mod ping;
mod revocations;
mod scripts;
mod sentinel;
mod server;
mod slots;
mod subscription;
mod tickets;
mod topology;
mod unanswered;
mod url;

use std::{fmt, sync::Arc, time::Duration};

use redis::aio::MultiplexedConnection;

pub use credentials::RedisCredentials;

use self::{
    credentials::Provider,
    issuers::IndexedIssuers,
    topology::{Servers, Subscription, Topology},
    unanswered::Unanswered,
};
use crate::lock::Mutex;

/// Stores tickets, revocations and limits in Redis 6.2 or later, or Valkey, for servers on many machines, and carries
/// messages between them.
///
/// Implements [`TicketStore`](crate::store::TicketStore), [`RevocationStore`](crate::store::RevocationStore),
/// [`LimitStore`](crate::store::LimitStore) and [`NodeBus`](crate::store::NodeBus). Clones share one connection to each
/// server. A clone that follows revocations opens one more, and so do a clone that waits for evictions and a registry
/// that is [reachable](crate::Sessions::reachable_through). Connections are opened when they are first needed.
///
/// If Redis does not answer in [time](Self::timeout), no ticket is issued or accepted, a node that cannot read
/// revocations becomes stale after a while, and each node applies the limits of subjects to its own sessions. Errors
/// and events name the cause: a refused port, an unknown host, a wrong password, an untrusted certificate, or the
/// server's answer. They never hold a password.
///
/// All tickets under one [prefix](Self::prefix) are one pool, and so are all limits. Subjects are counted together with
/// their issuer, so several issuers can share a prefix even if their subjects have the same names.
///
/// # Example
///
/// With the same three lines, all nodes act as one: a ticket from any node is valid once on all of them, a log-out on
/// one closes the user's sockets on all of them, and the limit of a subject covers all of them together.
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
/// The clocks of nodes and issuers should agree to a second or two, and must agree to
/// [five](crate::RevocationOptions::clock_skew): they decide which tokens are older than a revocation of their subject,
/// and which session of a subject is the oldest. Revocations and leases expire by the clock of Redis.
///
/// # Persistence
///
/// Redis must persist its data (`appendonly yes`). Otherwise a restart loses all tickets, and all revocations that no
/// running node can restore. It must not evict keys: `maxmemory-policy noeviction`, which is the default. Limits need
/// no persistence: nodes restore their leases within 20 seconds.
///
/// If Redis comes back with older data, from a snapshot or as a replica that was behind, a redeemed ticket may be valid
/// a second time until its 30 seconds are over. `appendfsync always` without failover rules that out.
///
/// After a failover to a replica that was behind, nodes find that their cursor is unknown. They load all revocations
/// again and add those that the new primary lacks, with an event at level error. A revocation is lost only if all
/// machines that knew it are gone; `min-replicas-to-write` makes that unlikely. A node follows revocations on a primary
/// only. On a replica, or on a primary without the replicas it requires, the node becomes stale, and after a while it
/// admits nobody.
///
/// The sessions of a node that is gone count for another minute, until their leases expire.
///
/// # When a server fails
///
/// A connection is replaced when it breaks, when nothing on it is answered in time, and when the server answers that it
/// is not a writable primary (`READONLY`, `MASTERDOWN`, `LOADING`, `NOREPLICAS`). For the new one, the host name is
/// resolved again, or the sentinels or the cluster are asked again. However many commands wait, one connection to a
/// server is opened at a time, and at most ten in a second. In a cluster each server has a connection of its own, so a
/// failed server does not affect the others.
///
/// A command whose connection broke is sent once more on a new one, within the same time limit. It may then run twice,
/// which is safe for each command:
///
/// | command | why it may run twice |
/// | --- | --- |
/// | issue a ticket (`SET … NX`) | no client has the ticket yet; a second run compares it with the stored one |
/// | redeem a ticket (`GETDEL`) | the ticket is deleted once; if the first answer was lost, the second refuses it as used |
/// | take a lease (`EVALSHA`) | the same lease counts once; evicted sessions learn of it by the channel and at their next renewal |
/// | renew leases (`EVALSHA`) | sets the same expiry again |
/// | release leases (`EVALSHA`) | a released lease stays released, also if an earlier command that was given up on runs late |
/// | list leases (`ZRANGEBYSCORE`, `EVALSHA`) | changes nothing |
/// | write issuers (`EVALSHA`) | an issuer is there once |
/// | revoke (`EVAL`) | two equal revocations are one |
/// | send a message to a node (`PUBLISH`) | a session is refreshed twice with the same token; the second answer is ignored |
/// | follow revocations (`XREAD`) | not repeated: the node goes on from its cursor |
///
/// # TLS
///
/// `rediss://` needs the feature `redis-tls`; without it such a URL is an error. Certificates are verified with the
/// roots that the operating system trusts. For a private authority or a client certificate see
/// [`with_client`](Self::with_client).
///
/// The crate `redis` uses the default crypto provider of the process. If there is none when the first TLS connection is
/// opened, aws-lc-rs is installed as the default. To use another one, install it earlier, for example at the beginning
/// of `main`.
///
/// # Rights
///
/// All keys and channels begin with the prefix and a colon. A user needs no more than this:
///
/// ```text
/// ACL SETUSER chat on >secret resetkeys ~axum-ws-auth:* resetchannels &axum-ws-auth:* -@all \
///   +ping +set +get +getdel +eval +evalsha +time +subscribe +publish \
///   +zadd +zrem +zscore +zcount +zrangebyscore +zremrangebyscore +hset +hget +hdel +pttl +pexpire \
///   +xadd +xread +xrange +xrevrange +del
/// ```
///
/// A database other than 0 needs `+select`, and a cluster `+cluster|slots`. Without the channels everything works, but
/// a session that another node evicts ends only at its next renewal, and no node can refresh the sessions of another. A
/// user that may subscribe to the channels, or run `MONITOR`, can read the tokens of such refreshes. Sentinels are
/// asked `SENTINEL GET-MASTER-ADDR-BY-NAME`.
///
/// # Cost
///
/// Every node has all revocations in memory and follows a stream for new ones. A handshake therefore waits for Redis
/// only to redeem a ticket, and to take a lease if limits are shared across nodes. All keys of a command are in one
/// slot. In a [cluster](Self::cluster), revocations are in one slot, and tickets and leases are spread over all.
///
/// | | commands to Redis |
/// | --- | --- |
/// | a handshake with a token | none |
/// | a ticket | one `SET` when it is issued, one `GETDEL` when it is redeemed |
/// | a session, with limits across nodes | one `EVALSHA` when it begins, one when it ends |
/// | | one every 20 seconds for each subject and node, which [can be set](crate::Limits::lease_lifetime) |
/// | a page of [a subject's sessions](crate::Sessions::of_subject) | one `ZRANGEBYSCORE` and one `EVALSHA`; for any issuer, one `ZRANGEBYSCORE` for each issuer that there is |
/// | the issuers of all sessions | one `EVALSHA` every 20 seconds for each node |
/// | an eviction | one `PUBLISH`, inside the `EVALSHA` of the new session |
/// | a refresh of another node's session | two `PUBLISH` |
/// | a revocation | one `EVAL`, and one answer to the waiting `XREAD` of each node |
/// | an idle node | two commands in five seconds |
///
/// | | memory of Redis |
/// | --- | --- |
/// | a ticket | 510 bytes with small claims, until it is redeemed or expires |
/// | a revocation | 145 bytes for as long as it is kept; and the stream, 0.8 MB at most |
/// | a session, with limits across nodes | 550 bytes for the first one of a subject, 145 for each further one; with 100 bytes of [meta](crate::SessionMeta), 790 and 320 |
///
/// Measured with Redis 7.0, as the growth of its memory per item for 20 000 items with ids of 32 characters. To begin
/// a session takes Redis 45 µs, to renew it 30 µs, and to end it 20 µs. A page of a subject with 5000 sessions takes it
/// half a millisecond, because it copies the ids of all of them.
///
/// For example, 100 000 sessions of 100 000 subjects on four nodes:
///
/// - a node holds 25 000: 70 MiB at 2.86 KiB each (measured in `benches/README.md`), plus what the application needs;
/// - it renews 25 000 ÷ 20 s = 1 250 leases a second; four of them make 5 000, a sixth of what one core of Redis does;
/// - their leases take 55 MB in Redis, or 79 MB with 100 bytes of meta each;
/// - when a node goes down and its 25 000 clients reconnect within a minute: 420 handshakes a second, with as many
///   `EVALSHA`; with tickets, as many `SET` and `GETDEL` too, and 6 MB of tickets if none is redeemed before it
///   expires;
/// - 100 000 revoked tokens in a day, and revocations kept for a day: 15 MB in Redis, and the same revocations in the
///   memory of each node.
pub struct Redis {
    topology: Topology,
    prefix: Arc<str>,
    timeout: Duration,
    credentials: Option<Provider>,
    /// The connections for all commands that do not wait.
    servers: Servers,
    issuers: IndexedIssuers,
    unanswered: Unanswered,
    /// The connection that waits for revocations. A command behind a waiting one would wait too.
    log_connection: Mutex<Option<MultiplexedConnection>>,
    /// The connection that waits for evictions.
    subscription: Mutex<Option<Subscription>>,
}

// By hand: connections that wait are not shared.
impl Clone for Redis {
    fn clone(&self) -> Self {
        Self {
            topology: self.topology.clone(),
            prefix: Arc::clone(&self.prefix),
            timeout: self.timeout,
            credentials: self.credentials.clone(),
            servers: self.servers.clone(),
            issuers: self.issuers.clone(),
            unanswered: self.unanswered.clone(),
            log_connection: Mutex::default(),
            subscription: Mutex::default(),
        }
    }
}

// By hand: the URL may hold a password.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.prefix).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
