use std::{fmt, sync::Arc};

use http::{Method, StatusCode};
use serde_json::json;
use url::Url;

use super::{
    DiscoverTransmitter, Poll, Stream, StreamRequest, StreamState, TransmitterError, TransmitterErrorKind, api::Api,
    discover::Metadata, stream,
};
use crate::http_client::UrlPolicy;

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

impl Transmitter {
    /// Fetches the configuration of the transmitter with this issuer. It must name exactly this issuer.
    pub fn discover(issuer: impl Into<String>) -> DiscoverTransmitter {
        DiscoverTransmitter::new(issuer.into())
    }

    pub(super) fn new(issuer: String, metadata: Metadata, api: Api, url_policy: UrlPolicy) -> Self {
        Self { issuer, metadata: Arc::new(metadata), api, url_policy }
    }

    /// The members of complex subjects that a receiver must understand, for
    /// [`SharedSignalsBuilder::critical_subject_members`](super::SharedSignalsBuilder::critical_subject_members).
    #[must_use]
    pub fn critical_subject_members(&self) -> &[String] {
        &self.metadata.critical_subject_members
    }

    /// The URNs of the ways in which the transmitter delivers events: `urn:ietf:rfc:8935` is push, `urn:ietf:rfc:8936`
    /// is poll.
    #[must_use]
    pub fn delivery_methods(&self) -> &[String] {
        &self.metadata.delivery_methods_supported
    }

    /// Creates a stream. If the transmitter answers that there is one already (409), uses the one with the same
    /// delivery.
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

fn expect(status: StatusCode, expected: StatusCode) -> Result<(), TransmitterError> {
    if status == expected { Ok(()) } else { Err(TransmitterErrorKind::Status(status).error()) }
}

impl fmt::Debug for Transmitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transmitter").field("issuer", &self.issuer).field("api", &self.api).finish_non_exhaustive()
    }
}
