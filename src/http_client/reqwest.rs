//! The default HTTP client.

use std::error::Error;
#[cfg(any(feature = "introspection", feature = "signals"))]
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use reqwest::{Client, ClientBuilder, redirect::Policy};
use url::Url;

use super::{HttpClient, MAX_LEN, TooLarge, url::is_loopback};
use crate::error::ConfigError;

/// Shorter than the keep-alive timeouts of common servers: Node's is 5 seconds. A server that closes an idle connection
/// makes the request fail that is being sent on it.
#[cfg(any(feature = "introspection", feature = "signals"))]
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// The default client. Creating it reads the certificates of the operating system.
pub(crate) struct ReqwestClient {
    client: Client,
    /// Requests to loopback addresses bypass proxies.
    loopback: Client,
    max_len: usize,
}

/// Whether connections are kept for the next request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// For requests that repeat often.
    #[cfg(any(feature = "introspection", feature = "signals"))]
    Kept,
    /// For requests that are minutes apart. A kept connection is tied to one runtime.
    None,
}

impl ReqwestClient {
    pub(crate) fn new(pooling: Pooling) -> Result<Self, ConfigError> {
        let build =
            |builder: ClientBuilder| builder.build().map_err(|error| ConfigError::NoHttpClient(root_cause(&error)));
        Ok(Self { client: build(builder(pooling))?, loopback: build(builder(pooling).no_proxy())?, max_len: MAX_LEN })
    }

    /// Refuses responses with a longer body.
    #[cfg(feature = "introspection")]
    pub(crate) const fn limited_to(mut self, max_len: usize) -> Self {
        self.max_len = max_len;
        self
    }
}

fn builder(pooling: Pooling) -> ClientBuilder {
    let builder = Client::builder()
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none());
    match pooling {
        #[cfg(any(feature = "introspection", feature = "signals"))]
        Pooling::Kept => builder.pool_idle_timeout(POOL_IDLE_TIMEOUT),
        Pooling::None => builder.pool_max_idle_per_host(0),
    }
}

impl HttpClient for ReqwestClient {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Box<dyn Error + Send + Sync>> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string())?;
        let client = if is_loopback(&url) { &self.loopback } else { &self.client };
        let mut request = client.request(parts.method, url).headers(parts.headers);
        if !body.is_empty() {
            request = request.body(body);
        }
        // The URL may have secrets in its query.
        let mut received = request.send().await.map_err(reqwest::Error::without_url)?;
        let mut body = BytesMut::new();
        while let Some(chunk) = received.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + chunk.len() > self.max_len {
                return Err(TooLarge.into());
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(body.freeze());
        *response.status_mut() = received.status();
        *response.headers_mut() = received.headers().clone();
        Ok(response)
    }
}

/// The text of the innermost error.
fn root_cause(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
