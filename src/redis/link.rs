//! Where Redis is: at one server, at the primary that sentinels name, or in a cluster.

use std::sync::Arc;

use redis::{
    ConnectionInfo,
    aio::{MultiplexedConnection, PubSub},
};
use tokio::time::{Instant, timeout_at};

use super::{
    Failed,
    cluster::Cluster,
    connect::{Setup, subscribe},
    failed::Cure,
    sentinel::Sentinels,
    server::{Server, Target},
};

/// A connection of one's own.
pub(super) type Link = MultiplexedConnection;

/// As it is configured.
#[derive(Clone)]
pub(super) enum Place {
    One(Target),
    /// With the settings of all, and the nodes that are named.
    Cluster(Box<ConnectionInfo>, Vec<ConnectionInfo>),
}

/// With the connections, which clones share.
#[derive(Clone)]
pub(super) enum Servers {
    One(Arc<Server>),
    Cluster(Cluster),
}

/// Where a command is sent.
pub(super) struct Destination {
    pub(super) server: Arc<Server>,
    /// It is about to have the key.
    pub(super) asking: bool,
}

/// Hears what is published.
pub(super) struct Listening {
    pub(super) messages: PubSub,
    /// That of the servers when it began.
    pub(super) generation: u64,
}

impl Place {
    pub(super) fn sentinels(sentinels: Vec<ConnectionInfo>, service: String, server: ConnectionInfo) -> Self {
        Self::One(Target::Primary(Arc::new(Sentinels { sentinels, service, server })))
    }

    pub(super) fn servers(&self, setup: &Setup) -> Servers {
        match self {
            Self::One(target) => Servers::One(Arc::new(Server::new(target.clone(), setup.clone()))),
            Self::Cluster(settings, seeds) => Servers::Cluster(Cluster::new(settings, seeds, setup.clone())),
        }
    }
}

impl Servers {
    pub(super) async fn destination(&self, key: &[u8], until: Instant) -> Result<Destination, Failed> {
        let server = match self {
            Self::One(server) => Arc::clone(server),
            Self::Cluster(cluster) => cluster.server_of(key, until).await?,
        };
        Ok(Destination { server, asking: false })
    }

    /// Where a server has said that the command is to be sent instead.
    pub(super) fn redirected(&self, cure: &Cure) -> Option<Destination> {
        let Self::Cluster(cluster) = self else { return None };
        match cure {
            Cure::Moved(address) => {
                cluster.refresh_soon();
                Some(Destination { server: cluster.named(address)?, asking: false })
            }
            Cure::Ask(address) => Some(Destination { server: cluster.named(address)?, asking: true }),
            Cure::None | Cure::Reconnect | Cure::Elsewhere => None,
        }
    }

    /// A server may be gone: others may have what it had.
    pub(super) fn has_failed(&self) {
        if let Self::Cluster(cluster) = self {
            cluster.refresh_soon();
        }
    }

    /// A connection of one's own to the server that has a key now. An error on it ends its use.
    pub(super) async fn own(&self, key: &[u8], until: Instant) -> Result<Link, Failed> {
        if let Self::Cluster(cluster) = self {
            // Nobody would be told that the key is elsewhere.
            cluster.refresh(until).await?;
        }
        let server = self.destination(key, until).await?.server;
        let late = || Failed::unreachable("redis was not connected to in time");
        timeout_at(until, server.connect()).await.unwrap_or_else(|_| Err(late()))
    }

    /// Changes where other servers may be heard than before.
    pub(super) fn generation(&self) -> u64 {
        match self {
            Self::One(server) => server.generation(),
            Self::Cluster(cluster) => cluster.generation(),
        }
    }

    /// A connection on which is heard what is published there. In a cluster any server tells what all hear.
    pub(super) async fn listening(&self, channel: &str, setup: &Setup) -> Result<Listening, Failed> {
        let generation = self.generation();
        let addresses = match self {
            Self::One(server) => vec![server.resolve().await?],
            Self::Cluster(cluster) => cluster.any(),
        };
        let mut outcome = Err(Failed::unreachable("redis has no servers"));
        for info in &addresses {
            outcome = subscribe(info, channel, setup).await;
            if outcome.is_ok() {
                break;
            }
        }
        Ok(Listening { messages: outcome?, generation })
    }
}
