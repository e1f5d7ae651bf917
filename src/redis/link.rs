//! Where Redis is, and the connections to it: to one server, or to a cluster.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, Cmd, Pipeline, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection, PubSub},
    cluster::{ClusterClient, ClusterConfig},
    cluster_async::ClusterConnection,
};
use tokio::time::timeout;

use super::Failed;

#[derive(Clone)]
pub(super) enum Servers {
    One(Client),
    /// With a client for each address, of which any one hears what is published.
    Cluster(Box<ClusterClient>, Vec<Client>),
}

#[derive(Clone)]
pub(super) enum Link {
    /// To one server, and made anew when it broke.
    Managed(ConnectionManager),
    /// To one server, for one who waits.
    Own(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Servers {
    pub(super) fn one(url: &str) -> RedisResult<Self> {
        Client::open(url).map(Self::One)
    }

    pub(super) fn cluster(urls: &[String]) -> RedisResult<Self> {
        let addresses = urls.iter().map(|url| Client::open(url.as_str())).collect::<RedisResult<_>>()?;
        // Who asks has a limit for all of it.
        let cluster = ClusterClient::builder(urls.iter().map(String::as_str)).overall_response_timeout(None);
        Ok(Self::Cluster(Box::new(cluster.build()?), addresses))
    }

    /// A connection for commands that are answered at once. It is made when it is first used.
    pub(super) fn link(&self, limit: Duration) -> RedisResult<Link> {
        // The time for an answer is limited where it is waited for.
        Ok(match self {
            Self::One(client) => {
                let config = ConnectionManagerConfig::new()
                    .set_connection_timeout(Some(limit))
                    .set_response_timeout(None)
                    .set_max_delay(Duration::from_secs(1));
                Link::Managed(ConnectionManager::new_lazy_with_config(client.clone(), config)?)
            }
            Self::Cluster(client, _) => {
                let config = ClusterConfig::new().set_connection_timeout(limit);
                Link::Cluster(client.get_pending_async_connection_with_config(config))
            }
        })
    }

    /// A connection of its own, on which answers are waited for as long as the caller likes.
    pub(super) async fn waiting(&self, limit: Duration) -> RedisResult<Link> {
        Ok(match self {
            Self::One(client) => {
                let config =
                    AsyncConnectionConfig::new().set_connection_timeout(Some(limit)).set_response_timeout(None);
                Link::Own(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Self::Cluster(client, _) => {
                let config = ClusterConfig::new().set_connection_timeout(limit);
                Link::Cluster(client.get_async_connection_with_config(config).await?)
            }
        })
    }

    /// A connection on which is heard what is published there.
    pub(super) async fn listening(&self, channel: &str, limit: Duration) -> Result<PubSub, Failed> {
        let addresses = match self {
            Self::One(client) => std::slice::from_ref(client),
            Self::Cluster(_, addresses) => addresses.as_slice(),
        };
        let mut outcome = Err(Failed::TimedOut);
        for client in addresses {
            let subscribing = async {
                let mut listening = client.get_async_pubsub().await?;
                listening.subscribe(channel).await?;
                Ok(listening)
            };
            outcome = timeout(limit, subscribing).await.unwrap_or(Err(Failed::TimedOut));
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Managed(link) => link.req_packed_command(command),
            Self::Own(link) => link.req_packed_command(command),
            Self::Cluster(link) => link.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Managed(link) => link.req_packed_commands(pipeline, offset, count),
            Self::Own(link) => link.req_packed_commands(pipeline, offset, count),
            Self::Cluster(link) => link.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Managed(link) => link.get_db(),
            Self::Own(link) => link.get_db(),
            Self::Cluster(link) => link.get_db(),
        }
    }
}
