use std::sync::Arc;

use redis::ConnectionInfo;

use super::{
    connect::{ConnectOptions, address_of},
    failure::Failure,
    sentinel::Sentinels,
};

/// How a server is found.
#[derive(Clone)]
pub(super) enum Endpoint {
    /// By its address.
    Server(Box<ConnectionInfo>),
    /// By asking sentinels for the primary.
    Sentinels(Arc<Sentinels>),
}

impl Endpoint {
    pub(super) fn sentinels(sentinels: Vec<ConnectionInfo>, service: String, server: ConnectionInfo) -> Self {
        Self::Sentinels(Arc::new(Sentinels { sentinels, service, server }))
    }

    pub(super) async fn resolve(&self, options: &ConnectOptions) -> Result<ConnectionInfo, Failure> {
        match self {
            Self::Server(info) => Ok(ConnectionInfo::clone(info)),
            Self::Sentinels(sentinels) => sentinels.primary(options.timeout).await,
        }
    }

    /// For errors.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Server(info) => format!("redis at {}", address_of(info)),
            Self::Sentinels(sentinels) => sentinels.name(),
        }
    }
}
