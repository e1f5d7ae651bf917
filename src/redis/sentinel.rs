//! Asks sentinels for the primary of a service.

use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};
use redis::{ConnectionAddr, ConnectionInfo, cmd};
use tokio::time::{Instant, timeout_at};

use super::{
    connect::{ConnectOptions, address_of, connect},
    failure::Failure,
};

pub(super) struct Sentinels {
    pub(super) sentinels: Vec<ConnectionInfo>,
    pub(super) service: String,
    /// The settings of the primary, except its address.
    pub(super) server: ConnectionInfo,
}

impl Sentinels {
    pub(super) fn name(&self) -> String {
        format!("the primary of `{}`", self.service)
    }

    /// The address that more than half of the sentinels name. If too few answer in half of the time, the one that most
    /// of those name.
    pub(super) async fn primary(&self, timeout: Duration) -> Result<ConnectionInfo, Failure> {
        let until = Instant::now() + timeout / 2;
        let options = ConnectOptions { timeout: timeout / 2, credentials: None };
        let mut answers: FuturesUnordered<_> = self.sentinels.iter().map(|info| self.ask(info, &options)).collect();
        let mut votes: Vec<((String, u16), usize)> = Vec::new();
        let mut failure = None;
        while let Ok(Some(answer)) = timeout_at(until, answers.next()).await {
            match answer {
                Ok(address) => {
                    let count = match votes.iter_mut().find(|(other, _)| *other == address) {
                        Some((_, count)) => {
                            *count += 1;
                            *count
                        }
                        None => {
                            votes.push((address, 1));
                            1
                        }
                    };
                    if count * 2 > self.sentinels.len() {
                        break;
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
        let Some(((host, port), _)) = votes.into_iter().max_by_key(|(_, count)| *count) else {
            let reason = failure.map_or_else(|| "none answered in time".to_owned(), |failure| failure.to_string());
            return Err(Failure::unreachable(format!("no sentinel names {}: {reason}", self.name())));
        };
        Ok(with_address(&self.server, host, port))
    }

    async fn ask(&self, info: &ConnectionInfo, options: &ConnectOptions) -> Result<(String, u16), Failure> {
        let address = address_of(info);
        let mut connection = connect(info, options).await?;
        let mut command = cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service);
        let answer = command.query_async::<Option<(String, u16)>>(&mut connection).await;
        match answer {
            Ok(Some(named)) => Ok(named),
            Ok(None) => {
                Err(Failure::unreachable(format!("the sentinel at {address} does not know `{}`", self.service)))
            }
            Err(error) => Err(Failure::Redis { address, error }),
        }
    }
}

/// The same settings with another address.
pub(super) fn with_address(info: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let address = match info.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(address)
}
