use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{
    BearerToken, Poll, Stream, StreamRequest, StreamState, TransmitterError, TransmitterErrorKind, api::Api, stream,
};
use crate::http_client::{DynHttpClient, HttpClient, Pooling, ReqwestClient, UrlPolicy};

/// The management of streams at a transmitter (Shared Signals Framework 1.0 §7 and §8).
///
/// A stream can also be made in the administration of the identity provider. Then this is not needed.
///
/// ```no_run
/// use axum_ws_auth::{MemoryRevocations, Revocations, signals::{SharedSignals, StreamRequest, Transmitter}};
///
/// # async fn stream() -> Result<(), Box<dyn std::error::Error>> {
/// let revocations = Revocations::new(MemoryRevocations::new());
/// let transmitter = Transmitter::discover("https://id.example.com").token("access token with ssf.manage").await?;
/// let stream = transmitter.create_stream(&StreamRequest::poll()).await?;
///
/// let mut signals = SharedSignals::discover("https://id.example.com", &revocations);
/// for audience in stream.audiences() {
///     signals = signals.audience(audience);
/// }
/// let signals = signals.critical_subject_members(transmitter.critical_subject_members()).await?;
/// let polling = signals.poll(transmitter.poll(&stream)?)?;
/// signals.verify_stream(&transmitter, &stream).await?;
/// # drop(polling);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Transmitter {
    issuer: String,
    metadata: Arc<Metadata>,
    api: Api,
    url_policy: UrlPolicy,
}

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
struct Metadata {
    issuer: String,
    configuration_endpoint: Option<String>,
    status_endpoint: Option<String>,
    verification_endpoint: Option<String>,
    #[serde(default)]
    delivery_methods_supported: Vec<String>,
    #[serde(default)]
    critical_subject_members: Vec<String>,
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

impl Transmitter {
    /// Fetches the configuration of the transmitter with this issuer. It must name exactly this issuer.
    pub fn discover(issuer: impl Into<String>) -> DiscoverTransmitter {
        let issuer = issuer.into();
        DiscoverTransmitter {
            issuer,
            client: None,
            token: None,
            timeout: Duration::from_secs(10),
            insecure_http: false,
        }
    }

    /// The members of complex subjects that a receiver must understand, for
    /// [`SharedSignalsBuilder::critical_subject_members`](super::SharedSignalsBuilder::critical_subject_members).
    #[must_use]
    pub fn critical_subject_members(&self) -> &[String] {
        &self.metadata.critical_subject_members
    }

    /// The URNs of the ways in which the transmitter delivers events: `urn:ietf:rfc:8935` is push, `urn:ietf:rfc:8936` is
    /// poll.
    #[must_use]
    pub fn delivery_methods(&self) -> &[String] {
        &self.metadata.delivery_methods_supported
    }

    /// Creates a stream. If the transmitter answers that there is one already (409), uses the one with the same delivery.
    ///
    /// # Errors
    ///
    /// If the transmitter does not create it, or answers with a stream of another issuer or with another delivery.
    pub async fn create_stream(&self, request: &StreamRequest) -> Result<Stream, TransmitterError> {
        let url = self.endpoint(self.metadata.configuration_endpoint.as_deref())?;
        let (status, body) = self.api.send(Method::POST, &url, Some(request.to_json())).await?;
        let stream = match status {
            StatusCode::CREATED | StatusCode::OK => stream::parse(&body)?,
            StatusCode::CONFLICT => {
                let (status, body) = self.api.send(Method::GET, &url, None).await?;
                expect(status, StatusCode::OK)?;
                let same = stream::parse_list(&body)?.into_iter().find(|stream| request.is_for(stream));
                same.ok_or_else(|| TransmitterErrorKind::Status(StatusCode::CONFLICT).error())?
            }
            status => return Err(TransmitterErrorKind::Status(status).error()),
        };
        if stream.issuer() != self.issuer {
            return Err(TransmitterErrorKind::WrongIssuer.error());
        }
        if !request.is_for(&stream) {
            return Err(TransmitterErrorKind::Malformed.with("the stream has another delivery"));
        }
        Ok(stream)
    }

    /// Asks for the state of a stream.
    ///
    /// # Errors
    ///
    /// If the transmitter does not answer, or has no such endpoint.
    pub async fn stream_state(&self, stream: &Stream) -> Result<StreamState, TransmitterError> {
        let mut url = self.endpoint(self.metadata.status_endpoint.as_deref())?;
        url.query_pairs_mut().append_pair("stream_id", stream.id());
        let (status, body) = self.api.send(Method::GET, &url, None).await?;
        expect(status, StatusCode::OK)?;
        stream::parse_state(&body)
    }

    /// How to poll this stream.
    ///
    /// # Errors
    ///
    /// If events of the stream are pushed, or its URL is not `https`.
    pub fn poll(&self, stream: &Stream) -> Result<Poll, TransmitterError> {
        let url = stream.poll_url().ok_or_else(|| TransmitterErrorKind::Unsupported.error())?;
        Ok(Poll::with_api(self.endpoint(Some(url))?, self.api.clone()))
    }

    /// Asks for a verification event (§8.1.4.2).
    pub(super) async fn request_verification(&self, stream: &Stream, state: &str) -> Result<(), TransmitterError> {
        let url = self.endpoint(self.metadata.verification_endpoint.as_deref())?;
        let body = json!({ "stream_id": stream.id(), "state": state }).to_string().into_bytes();
        let (status, _) = self.api.send(Method::POST, &url, Some(body)).await?;
        if status.is_success() { Ok(()) } else { Err(TransmitterErrorKind::Status(status).error()) }
    }

    fn endpoint(&self, url: Option<&str>) -> Result<Url, TransmitterError> {
        let url = url.ok_or_else(|| TransmitterErrorKind::Unsupported.error())?;
        let url = Url::parse(url).map_err(|error| TransmitterErrorKind::Malformed.with(error))?;
        if self.url_policy.allows(&url) { Ok(url) } else { Err(TransmitterErrorKind::InsecureUrl.error()) }
    }
}

impl DiscoverTransmitter {
    /// Sets the access token. Its scope is usually `ssf.manage`, or `ssf.read` to poll only. It is sent to the endpoints
    /// that the configuration names. Defaults to none.
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
    /// Insecure because anyone on the network path can read the access token. `http` to loopback addresses is allowed if
    /// the issuer has one.
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
        expect(status, StatusCode::OK)?;
        let metadata = Metadata::from_bytes(&body)?;
        if metadata.issuer != self.issuer {
            return Err(TransmitterErrorKind::WrongIssuer.error());
        }
        let api = Api { token: self.token, ..api };
        Ok(Transmitter { issuer: self.issuer, metadata: Arc::new(metadata), api, url_policy })
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
        serde_json::from_slice(json).map_err(|error| TransmitterErrorKind::Malformed.with(error))
    }
}

fn expect(status: StatusCode, expected: StatusCode) -> Result<(), TransmitterError> {
    if status == expected { Ok(()) } else { Err(TransmitterErrorKind::Status(status).error()) }
}

impl fmt::Debug for Transmitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transmitter").field("issuer", &self.issuer).field("api", &self.api).finish_non_exhaustive()
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
