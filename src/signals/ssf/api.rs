//! Requests to a transmitter.

use std::{error::Error, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use tokio::time::timeout;
use url::Url;

use super::receiver::BoxError;
use crate::{
    http_client::{DynHttpClient, MAX_LEN},
    token::Token,
};

/// The access token for requests to a transmitter: a string, or an `async` closure that is asked before each request; see
/// [`from_fn`](Self::from_fn).
#[derive(Clone)]
pub struct BearerToken(Arc<GetToken>);

type GetToken = dyn Fn() -> Pin<Box<dyn Future<Output = Result<Token, BoxError>> + Send>> + Send + Sync;

/// Why a transmitter did not do what it was asked to. It never contains a token.
#[derive(Clone, Debug)]
pub struct TransmitterError {
    kind: TransmitterErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kind of a [`TransmitterError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransmitterErrorKind {
    /// There was no response.
    Unreachable,
    /// There was no response in time.
    TimedOut,
    /// There is no access token.
    NoToken,
    /// The response has an unexpected status.
    Status(StatusCode),
    /// The response is not the expected JSON, or is too long.
    Malformed,
    /// The configuration or the stream is that of another issuer.
    WrongIssuer,
    /// A URL of the transmitter is not `https`.
    InsecureUrl,
    /// The transmitter has no endpoint for this.
    Unsupported,
    /// The transmitter did not send the verification event in time.
    NotVerified,
}

/// How to reach a transmitter.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) client: Arc<dyn DynHttpClient>,
    pub(super) token: Option<BearerToken>,
    pub(super) timeout: Duration,
}

impl Api {
    /// Sends a request, and returns the response with any status. Redirects are not followed.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &Url,
        body: Option<Vec<u8>>,
    ) -> Result<(StatusCode, Bytes), TransmitterError> {
        let sending = async {
            let mut request = Request::builder().method(method).uri(url.as_str()).header(ACCEPT, "application/json");
            if let Some(token) = &self.token {
                request = request.header(AUTHORIZATION, token.header().await?);
            }
            if body.is_some() {
                request = request.header(CONTENT_TYPE, "application/json");
            }
            let request = request.body(Bytes::from(body.unwrap_or_default()));
            let request = request.map_err(|error| TransmitterErrorKind::Unreachable.with(error))?;
            self.client.send_boxed(request).await.map_err(|error| TransmitterErrorKind::Unreachable.with(error))
        };
        let response = timeout(self.timeout, sending).await.map_err(|_| TransmitterErrorKind::TimedOut.error())??;
        if response.body().len() > MAX_LEN {
            return Err(TransmitterErrorKind::Malformed.with("the response is too long"));
        }
        Ok((response.status(), response.into_body()))
    }
}

impl BearerToken {
    /// Has this closure return an access token before each request. It should keep the token until it expires.
    ///
    /// ```
    /// use axum_ws_auth::{Token, signals::BearerToken};
    ///
    /// let token = BearerToken::from_fn(async || Ok(Token::new("from the token endpoint")));
    /// assert_eq!(format!("{token:?}"), "BearerToken(<fn>)");
    /// ```
    pub fn from_fn<F, Fut>(get: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Token, BoxError>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(get())))
    }

    async fn header(&self) -> Result<HeaderValue, TransmitterError> {
        let token = (self.0)().await.map_err(|error| TransmitterErrorKind::NoToken.with(error))?;
        let header = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
        let mut header =
            header.map_err(|_| TransmitterErrorKind::NoToken.with("the token is not usable in a header"))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

impl From<Token> for BearerToken {
    fn from(token: Token) -> Self {
        Self::from_fn(move || std::future::ready(Ok(token.clone())))
    }
}

impl From<&str> for BearerToken {
    fn from(token: &str) -> Self {
        Token::new(token).into()
    }
}

impl TransmitterErrorKind {
    pub(super) const fn error(self) -> TransmitterError {
        TransmitterError { kind: self, source: None }
    }

    pub(super) fn with(self, source: impl Into<BoxError>) -> TransmitterError {
        TransmitterError { kind: self, source: Some(Arc::from(source.into())) }
    }
}

impl TransmitterError {
    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> TransmitterErrorKind {
        self.kind
    }
}

impl fmt::Display for TransmitterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TransmitterErrorKind::Unreachable => "the transmitter is unreachable",
            TransmitterErrorKind::TimedOut => "the transmitter did not respond in time",
            TransmitterErrorKind::NoToken => "there is no access token for the transmitter",
            TransmitterErrorKind::Status(status) => {
                return write!(f, "the transmitter responded with status {}", status.as_u16());
            }
            TransmitterErrorKind::Malformed => "the response of the transmitter is not the expected json",
            TransmitterErrorKind::WrongIssuer => "the transmitter names another issuer",
            TransmitterErrorKind::InsecureUrl => "a url of the transmitter is not https",
            TransmitterErrorKind::Unsupported => "the transmitter does not support this",
            TransmitterErrorKind::NotVerified => "the transmitter did not send the verification event in time",
        })
    }
}

impl Error for TransmitterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

// By hand: a token is not shown.
impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(<fn>)")
    }
}

// By hand: a client need not be `Debug`.
impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("token", &self.token).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
