//! The HTTP client trait.

use std::{error::Error, future::Future, pin::Pin};

use bytes::Bytes;
use http::{Request, Response};

/// The longest response body in bytes.
pub(crate) const MAX_LEN: usize = 1024 * 1024;

type BoxError = Box<dyn Error + Send + Sync>;
type ResponseFuture<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, BoxError>> + Send + 'a>>;

/// An HTTP client for requests to an identity provider, other than those for keys
/// ([`FetchJwks`](crate::jwks::FetchJwks)).
///
/// The default client is reqwest with rustls and the certificates that the operating system trusts. It honors proxy
/// variables such as `HTTPS_PROXY`. For a private certificate authority, a client certificate or a test, pass another
/// client: an implementation of this trait, or a closure `Fn(http::Request<Bytes>) -> impl Future`.
///
/// An implementation sends the request as it is and returns the response with any status. It must *not* follow
/// redirects, because the request may hold a token or a secret, and another host must not get it. It must not log the
/// request's headers or body, for the same reason. It needs no timeout; the caller has one. It should stop reading
/// after 1 MiB: the caller refuses a longer response, but only once it is in memory.
///
/// # Example
///
/// ```
/// use axum::body::Bytes;
/// use axum_ws_auth::HttpClient;
/// use http::{Method, Request, Response, StatusCode};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// // In place of a provider.
/// let client = async |request: Request<Bytes>| match (request.method(), request.uri().path()) {
///     (&Method::POST, "/introspect") => Ok(Response::new(Bytes::from(r#"{"active": false}"#))),
///     (_, "/introspect") => Ok(Response::builder().status(405).body(Bytes::new())?),
///     _ => Err("connection refused".into()),
/// };
///
/// // Yes: a response, whatever its status.
/// let response = client.send(Request::get("https://id.example.com/introspect").body(Bytes::new())?).await?;
/// assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
///
/// // No: no response.
/// assert!(client.send(Request::get("https://id.example.com/").body(Bytes::new())?).await.is_err());
/// # Ok(()) }
/// ```
pub trait HttpClient: Send + Sync + 'static {
    /// Sends the request and returns the response.
    ///
    /// # Errors
    ///
    /// If there is no response. The error is logged, so it must not contain secrets.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped at any await point, on a timeout for example.
    fn send(&self, request: Request<Bytes>) -> impl Future<Output = Result<Response<Bytes>, BoxError>> + Send;
}

impl<F, Fut> HttpClient for F
where
    F: Fn(Request<Bytes>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<Bytes>, BoxError>> + Send,
{
    fn send(&self, request: Request<Bytes>) -> impl Future<Output = Result<Response<Bytes>, BoxError>> + Send {
        self(request)
    }
}

/// The dyn-compatible twin of [`HttpClient`].
pub(crate) trait DynHttpClient: Send + Sync {
    fn send_boxed(&self, request: Request<Bytes>) -> ResponseFuture<'_>;
}

impl<T: HttpClient> DynHttpClient for T {
    fn send_boxed(&self, request: Request<Bytes>) -> ResponseFuture<'_> {
        Box::pin(self.send(request))
    }
}

/// The default client's error for a response that is longer than allowed.
#[derive(Debug, thiserror::Error)]
#[error("the response is too large")]
pub(crate) struct TooLarge;
