//! Opens connections, and names the cause if that fails.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisError,
    aio::{MultiplexedConnection, PubSub},
    cmd,
};
use tokio::time::timeout;

use super::{RedisCredentials, credentials::Provider, failure::Failure, url::without_login};

/// TCP probes a connection after it was idle for this long.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(super) struct ConnectOptions {
    pub(super) timeout: Duration,
    pub(super) credentials: Option<Provider>,
}

/// `host:port`, or the path of a Unix socket.
pub(super) fn address_of(info: &ConnectionInfo) -> Arc<str> {
    Arc::from(match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } if host.contains(':') => {
            format!("[{host}]:{port}")
        }
        address => address.to_string(),
    })
}

/// Opens a connection, and checks that the server answers.
pub(super) async fn connect(info: &ConnectionInfo, options: &ConnectOptions) -> Result<MultiplexedConnection, Failure> {
    let opening = async {
        let credentials = match &options.credentials {
            Some(provider) => Some(provider.provide().await?),
            None => None,
        };
        prepare_tls(info);
        let client = Client::open(without_login(info)).map_err(|error| failure(info, &error))?;
        // Callers set their own timeouts.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let opened = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = opened.map_err(|error| failure(info, &error))?;
        let settings = info.redis_settings();
        let login = credentials
            .as_ref()
            .map(RedisCredentials::parts)
            .or_else(|| settings.password().map(|password| (settings.username(), password)));
        if let Some((username, password)) = login {
            let mut auth = cmd("AUTH");
            if let Some(username) = username {
                auth.arg(username);
            }
            let answer = auth.arg(password).query_async::<()>(&mut connection).await;
            answer.map_err(|error| failure(info, &error))?;
        }
        if settings.db() != 0 {
            let answer = cmd("SELECT").arg(settings.db()).query_async::<()>(&mut connection).await;
            answer.map_err(|error| failure(info, &error))?;
        }
        match cmd("PING").query_async::<()>(&mut connection).await {
            // The user may not send it, but the server answers.
            Err(error) if error.code() == Some("NOPERM") => Ok(connection),
            Err(error) => Err(failure(info, &error)),
            Ok(()) => Ok(connection),
        }
    };
    timeout(options.timeout, opening).await.unwrap_or_else(|_| Err(timed_out(info, options.timeout)))
}

/// Opens a connection that subscribes to a channel.
pub(super) async fn subscribe(
    info: &ConnectionInfo,
    channel: &str,
    options: &ConnectOptions,
) -> Result<PubSub, Failure> {
    let subscribing = async {
        let mut settings = info.redis_settings().clone();
        if let Some(provider) = &options.credentials {
            let credentials = provider.provide().await?;
            let (username, password) = credentials.parts();
            settings = settings.set_password(password);
            if let Some(username) = username {
                settings = settings.set_username(username);
            }
        }
        prepare_tls(info);
        let client = Client::open(info.clone().set_redis_settings(settings)).map_err(|error| failure(info, &error))?;
        let mut messages = client.get_async_pubsub().await.map_err(|error| failure(info, &error))?;
        messages.subscribe(channel).await.map_err(|error| failure(info, &error))?;
        Ok(messages)
    };
    timeout(options.timeout, subscribing).await.unwrap_or_else(|_| Err(timed_out(info, options.timeout)))
}

/// Installs a default crypto provider if there is none, because the crate `redis` would panic. rustls does so only if a
/// single provider is compiled in.
#[cfg(feature = "redis-tls")]
fn prepare_tls(info: &ConnectionInfo) {
    if is_tls(info) && rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails if another thread was faster, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}

#[cfg(not(feature = "redis-tls"))]
const fn prepare_tls(_: &ConnectionInfo) {}

fn timed_out(info: &ConnectionInfo, limit: Duration) -> Failure {
    let address = address_of(info);
    // A server without TLS takes the TLS handshake for an unfinished command, and waits.
    let hint = if is_tls(info) { "; does it speak TLS on this port?" } else { "" };
    Failure::unreachable(format!("redis at {address} did not accept a connection and answer within {limit:?}{hint}"))
}

fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

fn failure(info: &ConnectionInfo, error: &RedisError) -> Failure {
    let address = address_of(info);
    if error.code().is_some() {
        return Failure::Redis { address, error: error.clone() };
    }
    Failure::unreachable(format!("cannot connect to redis at {address}: {}", reason(info, error)))
}

fn reason(info: &ConnectionInfo, error: &RedisError) -> String {
    let text = error.to_string();
    if text.contains("lookup address") {
        format!("unknown host ({text})")
    } else if text.contains("InvalidContentType") || text.contains("corrupt message") {
        format!("does it speak TLS on this port? ({text})")
    } else if error.is_connection_dropped() && !error.is_connection_refusal() {
        let hint = if is_tls(info) { "a client certificate" } else { "TLS on this port" };
        format!("it closed the connection; does it require {hint}? ({text})")
    } else {
        text
    }
}
