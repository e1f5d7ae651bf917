//! A transmitter's configuration (Shared Signals Framework 1.0 §7).

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use http::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::{BearerToken, Transmitter, TransmitterError, TransmitterErrorKind, api::Api};
use crate::{
    http_client::{DynHttpClient, HttpClient, Pooling, ReqwestClient, UrlPolicy},
    json,
};

/// Finds a [`Transmitter`]. Await it.
#[must_use = "nothing is requested unless this is awaited"]
pub struct DiscoverTransmitter {
    issuer: String,
    client: Option<Arc<dyn DynHttpClient>>,
    token: Option<BearerToken>,
    timeout: Duration,
    insecure_http: bool,
}

/// A transmitter's configuration (§7.1).
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    pub(super) configuration_endpoint: Option<String>,
    pub(super) status_endpoint: Option<String>,
    pub(super) verification_endpoint: Option<String>,
    #[serde(default)]
    pub(super) delivery_methods_supported: Vec<String>,
    #[serde(default)]
    pub(super) critical_subject_members: Vec<String>,
}

/// The URL of a transmitter's configuration (§7.2.1): the well-known part comes before the path.
///
/// ```
/// # use axum_ws_auth::signals::transmitter_configuration_url as url;
/// assert_eq!(url("https://id.example.com"), "https://id.example.com/.well-known/ssf-configuration");
/// assert_eq!(url("https://id.example.com/eu/"), "https://id.example.com/.well-known/ssf-configuration/eu");
/// ```
#[must_use]
pub fn transmitter_configuration_url(issuer: &str) -> String {
    // What is not a URL is refused when it is used.
    let Ok(mut url) = Url::parse(issuer) else { return issuer.to_owned() };
    let path = format!("/.well-known/ssf-configuration{}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url.into()
}

impl DiscoverTransmitter {
    pub(super) const fn new(issuer: String) -> Self {
        Self { issuer, client: None, token: None, timeout: Duration::from_secs(10), insecure_http: false }
    }

    /// Sets the access token. Its scope is usually `ssf.manage`, or `ssf.read` to poll only. It is sent to the
    /// endpoints that the configuration names. Defaults to none.
    pub fn token(mut self, token: impl Into<BearerToken>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Sets the HTTP client. Defaults to reqwest with rustls and the certificates that the operating system trusts.
    pub fn client(mut self, client: impl HttpClient) -> Self {
        self.client = Some(Arc::new(client));
        self
    }

    /// Sets the timeout of a request. Defaults to 10 seconds.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Allows `http` URLs.
    ///
    /// Insecure because anyone on the network path can read the access token. `http` to loopback addresses is allowed
    /// if the issuer has one.
    pub const fn insecure_http(mut self) -> Self {
        self.insecure_http = true;
        self
    }

    async fn discover(self) -> Result<Transmitter, TransmitterError> {
        let (url, url_policy) = UrlPolicy::parse(&transmitter_configuration_url(&self.issuer), self.insecure_http)
            .map_err(|error| TransmitterErrorKind::InsecureUrl.with(error))?;
        let client = match self.client {
            Some(client) => client,
            None => {
                let client = ReqwestClient::new(Pooling::Kept);
                Arc::new(client.map_err(|error| TransmitterErrorKind::Unreachable.with(error))?)
            }
        };
        // The configuration is public, so it is requested without the token.
        let api = Api { client, token: None, timeout: self.timeout };
        let (status, body) = api.send(Method::GET, &url, None).await?;
        if status != StatusCode::OK {
            return Err(TransmitterErrorKind::Status(status).error());
        }
        let metadata = Metadata::from_bytes(&body)?;
        if metadata.issuer != self.issuer {
            return Err(TransmitterErrorKind::WrongIssuer.error());
        }
        let api = Api { token: self.token, ..api };
        Ok(Transmitter::new(self.issuer, metadata, api, url_policy))
    }
}

impl IntoFuture for DiscoverTransmitter {
    type Output = Result<Transmitter, TransmitterError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.discover())
    }
}

impl Metadata {
    fn from_bytes(json: &[u8]) -> Result<Self, TransmitterError> {
        json::from_object(json).map_err(|error| TransmitterErrorKind::Malformed.with(error))
    }
}

// By hand: a client need not be `Debug`.
impl fmt::Debug for DiscoverTransmitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoverTransmitter")
            .field("issuer", &self.issuer)
            .field("token", &self.token)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
