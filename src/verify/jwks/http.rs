//! The default HTTP client.

use std::{cell::OnceCell, error::Error, sync::Arc};

use http::{Request, Response};
use reqwest::{Client, ClientBuilder, redirect::Policy};
use url::Url;

use super::{
    FetchJwks, KeysError, KeysErrorKind,
    client::{DynFetch, MAX_LEN},
    url::is_loopback,
};
use crate::error::ConfigError;

/// The default client, built on first use because it reads the certificates of the operating system.
#[derive(Default)]
pub(super) struct DefaultClient(OnceCell<Arc<dyn DynFetch>>);

impl DefaultClient {
    pub(super) fn get(&self) -> Result<Arc<dyn DynFetch>, ConfigError> {
        if let Some(client) = self.0.get() {
            return Ok(Arc::clone(client));
        }
        let client: Arc<dyn DynFetch> = Arc::new(HttpClient::new()?);
        Ok(Arc::clone(self.0.get_or_init(|| client)))
    }
}

struct HttpClient {
    client: Client,
    /// Requests to loopback addresses bypass proxies.
    loopback: Client,
}

impl HttpClient {
    fn new() -> Result<Self, ConfigError> {
        let build =
            |builder: ClientBuilder| builder.build().map_err(|error| ConfigError::NoHttpClient(root_cause(&error)));
        Ok(Self { client: build(builder())?, loopback: build(builder().no_proxy())? })
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        // The next request is minutes away, and a pooled connection is tied to one runtime.
        .pool_max_idle_per_host(0)
}

impl FetchJwks for HttpClient {
    async fn fetch(&self, request: Request<()>) -> Result<Response<Vec<u8>>, Box<dyn Error + Send + Sync>> {
        let (parts, ()) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string())?;
        let client = if is_loopback(&url) { &self.loopback } else { &self.client };
        let request = client.request(parts.method, url).headers(parts.headers);
        // The URL may have secrets in its query.
        let mut received = request.send().await.map_err(reqwest::Error::without_url)?;
        let mut body = Vec::new();
        while let Some(chunk) = received.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + chunk.len() > MAX_LEN {
                return Err(KeysError::new(KeysErrorKind::TooLarge).into());
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(body);
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
