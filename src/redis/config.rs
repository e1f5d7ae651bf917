use std::{error::Error, future::Future, sync::Arc, time::Duration};

use redis::{Client, ConnectionInfo};

use super::{
    Redis, RedisCredentials, connect::ConnectOptions, credentials::Provider, endpoint::Endpoint,
    issuers::IndexedIssuers, topology::Topology, unanswered::Unanswered, url,
};
use crate::{error::ConfigError, lock::Mutex};

/// The part of the timeout that connecting may take, so that the cause of a failure is known before the timeout is
/// over.
const CONNECT_PART: f64 = 0.9;

impl Redis {
    /// Uses one server, by its URL: `redis://user:password@host:port/database`, `rediss://…` for TLS with the feature
    /// `redis-tls`, or `unix:///path?db=1&user=…&pass=…`. User, password, port (6379) and database (0) are optional. In
    /// a user or password, characters that have a meaning in URLs are percent-encoded.
    ///
    /// The host name is resolved for each connection, so after a failover it may lead to another server.
    ///
    /// ```
    /// # use axum_ws_auth::Redis;
    /// let redis = Redis::new("redis://chat:secret@redis.internal:6379")?;
    /// // The error names the problem. It does not repeat the text, which may hold a password.
    /// let error = Redis::new("redis.internal:6379").unwrap_err();
    /// assert!(error.to_string().contains("does not begin with `redis://`"));
    /// # Ok::<(), axum_ws_auth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidUrl`], which names the problem.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        Ok(Self::with_topology(Topology::Single(Endpoint::Server(Box::new(url::server(url)?)))))
    }

    /// Uses one server, by the settings of a client of the crate `redis`, version 1. This allows for a private
    /// certificate authority or a client certificate (`Client::build_with_tls`), and for TCP settings. The client
    /// itself is not used: connections are opened and replaced as with [`new`](Self::new), and speak RESP2.
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
    /// [`ConfigError::InvalidUrl`] if the settings are unusable, or need TLS without the feature `redis-tls`.
    pub fn with_client(client: &Client) -> Result<Self, ConfigError> {
        Ok(Self::with_topology(Topology::Single(Endpoint::Server(Box::new(url::server_of(client)?)))))
    }

    /// Uses a cluster, by the URLs of some of its nodes, which name the others. The URLs may differ in host and port
    /// only.
    ///
    /// While one primary is down, the data of the others stays available.
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
    /// [`ConfigError::InvalidUrl`] if there is no URL, one is unusable, or they differ in user, password or TLS.
    pub fn cluster(urls: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, ConfigError> {
        let nodes = urls.into_iter().map(|url| url::server(&url.into()));
        Self::with_nodes(nodes.collect::<Result<_, _>>()?)
    }

    /// Uses a cluster, by the settings of clients of some of its nodes; see [`with_client`](Self::with_client).
    /// Certificates and credentials are those of the first client.
    ///
    /// # Errors
    ///
    /// As for [`cluster`](Self::cluster).
    pub fn cluster_with_clients<'a>(clients: impl IntoIterator<Item = &'a Client>) -> Result<Self, ConfigError> {
        Self::with_nodes(clients.into_iter().map(url::server_of).collect::<Result<_, _>>()?)
    }

    /// Uses the primary of a service that sentinels monitor. For each connection the sentinels are asked, and the
    /// majority decides. The URL of the service has the service's name instead of a host; its user, password, database
    /// and TLS are for the servers. Those in the URLs of the sentinels are for the sentinels.
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
    /// [`ConfigError::InvalidUrl`] if there is no sentinel, a URL is unusable, or the service has a port.
    pub fn sentinel(
        sentinels: impl IntoIterator<Item = impl Into<String>>,
        service: &str,
    ) -> Result<Self, ConfigError> {
        let sentinels = sentinels.into_iter().map(|url| url::server(&url.into())).collect::<Result<_, _>>()?;
        let server = url::server(service)?;
        let name = url::service(&server, url::has_port(service))?;
        Self::with_sentinels(sentinels, name, server)
    }

    /// Uses the primary of a service that sentinels monitor, by the settings of clients; see
    /// [`with_client`](Self::with_client). Of `servers`, host and port are ignored.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidUrl`] if there is no sentinel, or the settings of a client are unusable.
    pub fn sentinel_with_clients<'a>(
        sentinels: impl IntoIterator<Item = &'a Client>,
        service: impl Into<String>,
        servers: &Client,
    ) -> Result<Self, ConfigError> {
        let sentinels = sentinels.into_iter().map(url::server_of).collect::<Result<_, _>>()?;
        Self::with_sentinels(sentinels, service.into(), url::server_of(servers)?)
    }

    fn with_nodes(nodes: Vec<ConnectionInfo>) -> Result<Self, ConfigError> {
        let seeds = url::same_but_for_address(nodes)?;
        let Some(first) = seeds.first() else { return Err(url::invalid("there is none")) };
        Ok(Self::with_topology(Topology::Cluster { settings: Box::new(first.clone()), seeds }))
    }

    fn with_sentinels(
        sentinels: Vec<ConnectionInfo>,
        service: String,
        server: ConnectionInfo,
    ) -> Result<Self, ConfigError> {
        if sentinels.is_empty() {
            return Err(url::invalid("there is no sentinel"));
        }
        Ok(Self::with_topology(Topology::Single(Endpoint::sentinels(sentinels, service, server))))
    }

    fn with_topology(topology: Topology) -> Self {
        let timeout = Duration::from_secs(1);
        let options = ConnectOptions { timeout: timeout.mul_f64(CONNECT_PART), credentials: None };
        Self {
            servers: topology.servers(&options),
            topology,
            prefix: Arc::from("axum-ws-auth"),
            timeout,
            credentials: None,
            issuers: IndexedIssuers::default(),
            unanswered: Unanswered::default(),
            log_connection: Mutex::default(),
            subscription: Mutex::default(),
        }
    }

    /// Sets the prefix of all keys and channels, which a colon follows. Defaults to `axum-ws-auth`. Applications
    /// that share a database need different prefixes.
    ///
    /// # Errors
    ///
    /// If it is empty, or has a brace, which has a special meaning in a cluster.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Result<Self, ConfigError> {
        let prefix = prefix.into();
        if prefix.is_empty() || prefix.contains(['{', '}']) {
            return Err(ConfigError::InvalidPrefix(prefix));
        }
        self.prefix = Arc::from(prefix);
        self.issuers = IndexedIssuers::default();
        Ok(self)
    }

    /// Sets how long to wait for an answer, including connecting. Leases are waited for at most a second and a half.
    /// Defaults to one second, because handshakes wait.
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
        Ok(self.with_new_connections())
    }

    /// Sets a provider of credentials, which replace those of URLs. It is called for each new connection, so a password
    /// may change while the application runs. Open connections stay open until the server closes them. The call counts
    /// towards the time for connecting. Sentinels get the credentials of their own URLs.
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
        self.with_new_connections()
    }

    /// Stops sharing connections with clones that have other settings.
    fn with_new_connections(mut self) -> Self {
        self.servers = self.topology.servers(&self.connect_options());
        self
    }

    pub(super) fn connect_options(&self) -> ConnectOptions {
        ConnectOptions { timeout: self.timeout.mul_f64(CONNECT_PART), credentials: self.credentials.clone() }
    }
}
