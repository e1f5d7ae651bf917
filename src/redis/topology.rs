//! One server, or a cluster.

use std::sync::Arc;

use redis::{
    ConnectionInfo,
    aio::{MultiplexedConnection, PubSub},
};
use tokio::time::{Instant, timeout_at};

use super::{
    cluster::Cluster,
    connect::{ConnectOptions, subscribe},
    endpoint::Endpoint,
    failure::{Failure, Recovery},
    server::Server,
};

/// As configured.
#[derive(Clone)]
pub(super) enum Topology {
    Single(Endpoint),
    Cluster {
        /// The settings of each server, except its address.
        settings: Box<ConnectionInfo>,
        seeds: Vec<ConnectionInfo>,
    },
}

/// The servers and the connections to them, which clones share.
#[derive(Clone)]
pub(super) enum Servers {
    Single(Arc<Server>),
    Cluster(Cluster),
}

/// Where to send a command.
pub(super) struct Destination {
    pub(super) server: Arc<Server>,
    /// Whether the server is about to receive the slot of the key.
    pub(super) asking: bool,
}

/// A connection that receives the messages of a channel.
pub(super) struct Subscription {
    pub(super) messages: PubSub,
    /// The generation of the servers when it was opened.
    pub(super) generation: u64,
}

impl Topology {
    pub(super) fn servers(&self, options: &ConnectOptions) -> Servers {
        match self {
            Self::Single(endpoint) => Servers::Single(Arc::new(Server::new(endpoint.clone(), options.clone()))),
            Self::Cluster { settings, seeds } => Servers::Cluster(Cluster::new(settings, seeds, options.clone())),
        }
    }
}

impl Servers {
    pub(super) async fn destination(&self, key: &[u8], until: Instant) -> Result<Destination, Failure> {
        let server = match self {
            Self::Single(server) => Arc::clone(server),
            Self::Cluster(cluster) => cluster.server_of(key, until).await?,
        };
        Ok(Destination { server, asking: false })
    }

    /// The server to which a cluster redirects the command.
    pub(super) fn redirect(&self, recovery: &Recovery) -> Option<Destination> {
        let Self::Cluster(cluster) = self else { return None };
        match recovery {
            Recovery::Moved(address) => {
                cluster.refresh_soon();
                Some(Destination { server: cluster.server_by_address(address)?, asking: false })
            }
            Recovery::Ask(address) => Some(Destination { server: cluster.server_by_address(address)?, asking: true }),
            Recovery::None | Recovery::Reconnect | Recovery::FindPrimary => None,
        }
    }

    /// Refreshes the slots of a cluster after a failure, because other servers may have them now.
    pub(super) fn refresh_soon(&self) {
        if let Self::Cluster(cluster) = self {
            cluster.refresh_soon();
        }
    }

    /// A new connection to the server that has a key. It is not shared, and nobody replaces it after an error.
    pub(super) async fn new_connection(&self, key: &[u8], until: Instant) -> Result<MultiplexedConnection, Failure> {
        if let Self::Cluster(cluster) = self {
            // Redirects are not followed on this connection.
            cluster.refresh(until).await?;
        }
        let server = self.destination(key, until).await?.server;
        let late = || Failure::unreachable("connecting to redis took too long");
        timeout_at(until, server.connect()).await.unwrap_or_else(|_| Err(late()))
    }

    /// Changes when another server may be the one where messages are published.
    pub(super) fn generation(&self) -> u64 {
        match self {
            Self::Single(server) => server.generation(),
            Self::Cluster(cluster) => cluster.generation(),
        }
    }

    /// Subscribes to a channel. In a cluster, every server has the messages of all.
    pub(super) async fn subscribe(&self, channel: &str, options: &ConnectOptions) -> Result<Subscription, Failure> {
        let generation = self.generation();
        let addresses = match self {
            Self::Single(server) => vec![server.resolve().await?],
            Self::Cluster(cluster) => cluster.servers(),
        };
        let mut outcome = Err(Failure::unreachable("redis has no servers"));
        for info in &addresses {
            outcome = subscribe(info, channel, options).await;
            if outcome.is_ok() {
                break;
            }
        }
        Ok(Subscription { messages: outcome?, generation })
    }
}
