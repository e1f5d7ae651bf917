//! The HTTP client that is built in.

use std::error::Error;

use http::{Request, Response};
use reqwest::{Client, ClientBuilder, redirect::Policy};
use url::Url;

use super::{FetchJwks, KeysError, KeysErrorKind, source::MAX_LEN, url::is_loopback};
use crate::error::ConfigError;

pub(super) struct Http {
    client: Client,
    /// What is meant for this machine does not leave it by a proxy.
    loopback: Client,
}

impl Http {
    pub(super) fn new() -> Result<Self, ConfigError> {
        let build =
            |builder: ClientBuilder| builder.build().map_err(|error| ConfigError::NoHttpClient(innermost(&error)));
        Ok(Self { client: build(builder())?, loopback: build(builder().no_proxy())? })
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        // It is minutes until the next request, and a connection that is kept belongs to one runtime.
        .pool_max_idle_per_host(0)
}

impl FetchJwks for Http {
    async fn fetch(&self, request: Request<()>) -> Result<Response<Vec<u8>>, Box<dyn Error + Send + Sync>> {
        let (parts, ()) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string())?;
        let client = if is_loopback(&url) { &self.loopback } else { &self.client };
        let request = client.request(parts.method, url).headers(parts.headers);
        // A URL may have secrets in its query.
        let mut response = request.send().await.map_err(reqwest::Error::without_url)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + chunk.len() > MAX_LEN {
                return Err(KeysError::new(KeysErrorKind::TooLarge).into());
            }
            body.extend_from_slice(&chunk);
        }
        let mut answer = Response::new(body);
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        Ok(answer)
    }
}

/// The text that says what really went wrong.
fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
