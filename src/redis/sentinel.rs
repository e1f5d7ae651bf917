//! Which server is the primary of a service, by the word of most sentinels.

use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};
use redis::{ConnectionAddr, ConnectionInfo, cmd};
use tokio::time::{Instant, timeout_at};

use super::{
    Failed,
    connect::{Setup, address_of, connect},
};

pub(super) struct Sentinels {
    pub(super) sentinels: Vec<ConnectionInfo>,
    pub(super) service: String,
    /// How to log in at the primary, and whether by TLS.
    pub(super) server: ConnectionInfo,
}

impl Sentinels {
    pub(super) fn name(&self) -> String {
        format!("the primary of `{}`", self.service)
    }

    /// The address that more than half of the sentinels name; or, where some do not answer in half of the time, the one
    /// that most of the others name.
    pub(super) async fn primary(&self, limit: Duration) -> Result<ConnectionInfo, Failed> {
        let until = Instant::now() + limit / 2;
        let setup = Setup { limit: limit / 2, credentials: None };
        let mut asked: FuturesUnordered<_> = self.sentinels.iter().map(|info| self.ask(info, &setup)).collect();
        let mut votes: Vec<((String, u16), usize)> = Vec::new();
        let mut failed = None;
        while let Ok(Some(answer)) = timeout_at(until, asked.next()).await {
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
                Err(error) => failed = Some(error),
            }
        }
        let Some(((host, port), _)) = votes.into_iter().max_by_key(|(_, count)| *count) else {
            let reason = failed.map_or_else(|| "none has answered in time".to_owned(), |failed| failed.to_string());
            return Err(Failed::unreachable(format!("no sentinel names {}: {reason}", self.name())));
        };
        Ok(at(&self.server, host, port))
    }

    async fn ask(&self, info: &ConnectionInfo, setup: &Setup) -> Result<(String, u16), Failed> {
        let address = address_of(info);
        let mut connection = connect(info, setup).await?;
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service);
        let answer = question.query_async::<Option<(String, u16)>>(&mut connection).await;
        match answer {
            Ok(Some(named)) => Ok(named),
            Ok(None) => Err(Failed::unreachable(format!("the sentinel at {address} knows no `{}`", self.service))),
            Err(error) => Err(Failed::Redis { address, error }),
        }
    }
}

/// The same settings, for another address.
pub(super) fn at(info: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let address = match info.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(address)
}
