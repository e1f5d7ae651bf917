//! How a connection is opened, and the name of what kept it from that.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisError,
    aio::{MultiplexedConnection, PubSub},
    cmd,
};
use tokio::time::timeout;

use super::{Failed, credentials::Provider, url::without_login};

/// After so long without a word, TCP asks whether the other side is there.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(30);

/// What all connections have in common.
#[derive(Clone)]
pub(super) struct Setup {
    /// How long one may take to be opened.
    pub(super) limit: Duration,
    pub(super) credentials: Option<Provider>,
}

/// `host:port`, or the path of a socket.
pub(super) fn address_of(info: &ConnectionInfo) -> Arc<str> {
    Arc::from(match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } if host.contains(':') => {
            format!("[{host}]:{port}")
        }
        address => address.to_string(),
    })
}

/// Opens a connection, and has the server prove that it answers.
pub(super) async fn connect(info: &ConnectionInfo, setup: &Setup) -> Result<MultiplexedConnection, Failed> {
    let opening = async {
        let credentials = match &setup.credentials {
            Some(provider) => Some(provider.provide().await?),
            None => None,
        };
        prepare_tls(info);
        let client = Client::open(without_login(info)).map_err(|error| named(info, &error))?;
        // The time for an answer is limited where it is waited for.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let opened = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = opened.map_err(|error| named(info, &error))?;
        let settings = info.redis_settings();
        let login = credentials
            .as_ref()
            .map(super::RedisCredentials::parts)
            .or_else(|| settings.password().map(|password| (settings.username(), password)));
        if let Some((username, password)) = login {
            let mut auth = cmd("AUTH");
            if let Some(username) = username {
                auth.arg(username);
            }
            let answer = auth.arg(password).query_async::<()>(&mut connection).await;
            answer.map_err(|error| named(info, &error))?;
        }
        if settings.db() != 0 {
            let answer = cmd("SELECT").arg(settings.db()).query_async::<()>(&mut connection).await;
            answer.map_err(|error| named(info, &error))?;
        }
        match cmd("PING").query_async::<()>(&mut connection).await {
            // It answers, which is all that was asked.
            Err(error) if error.code() == Some("NOPERM") => Ok(connection),
            Err(error) => Err(named(info, &error)),
            Ok(()) => Ok(connection),
        }
    };
    timeout(setup.limit, opening).await.unwrap_or_else(|_| Err(too_slow(info, setup.limit)))
}

/// Opens a connection that hears what is published on a channel.
pub(super) async fn subscribe(info: &ConnectionInfo, channel: &str, setup: &Setup) -> Result<PubSub, Failed> {
    let subscribing = async {
        let mut settings = info.redis_settings().clone();
        if let Some(provider) = &setup.credentials {
            let credentials = provider.provide().await?;
            let (username, password) = credentials.parts();
            settings = settings.set_password(password);
            if let Some(username) = username {
                settings = settings.set_username(username);
            }
        }
        prepare_tls(info);
        let client = Client::open(info.clone().set_redis_settings(settings)).map_err(|error| named(info, &error))?;
        let mut listening = client.get_async_pubsub().await.map_err(|error| named(info, &error))?;
        listening.subscribe(channel).await.map_err(|error| named(info, &error))?;
        Ok(listening)
    };
    timeout(setup.limit, subscribing).await.unwrap_or_else(|_| Err(too_slow(info, setup.limit)))
}

/// The crate `redis` takes the provider of cryptography that the process has, and panics where it has none. rustls itself
/// sets one at its first use, where only one is compiled in; this does it where there are several.
#[cfg(feature = "redis-tls")]
fn prepare_tls(info: &ConnectionInfo) {
    if is_tls(info) && rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been faster, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}

#[cfg(not(feature = "redis-tls"))]
const fn prepare_tls(_: &ConnectionInfo) {}

fn too_slow(info: &ConnectionInfo, limit: Duration) -> Failed {
    let address = address_of(info);
    // A server that waits for the end of a command waits for ever for that of a TLS handshake.
    let hint = if is_tls(info) { "; does it speak TLS on this port?" } else { "" };
    Failed::unreachable(format!(
        "redis at {address} has not accepted a connection and answered on it within {limit:?}{hint}"
    ))
}

fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

fn named(info: &ConnectionInfo, error: &RedisError) -> Failed {
    let address = address_of(info);
    if error.code().is_some() {
        return Failed::Redis { address, error: error.clone() };
    }
    Failed::unreachable(format!("cannot connect to redis at {address}: {}", reason(info, error)))
}

fn reason(info: &ConnectionInfo, error: &RedisError) -> String {
    let text = error.to_string();
    if text.contains("lookup address") {
        format!("its host is not known ({text})")
    } else if text.contains("InvalidContentType") || text.contains("corrupt message") {
        format!("does it speak TLS on this port? ({text})")
    } else if error.is_connection_dropped() && !error.is_connection_refusal() {
        let hint = if is_tls(info) { "a client certificate" } else { "TLS on this port" };
        format!("it closed the connection; does it want {hint}? ({text})")
    } else {
        text
    }
}
