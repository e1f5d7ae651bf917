//! The HTTP client trait, and the default client.

use std::{
    error::Error,
    future::Future,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::{Request, Response};

use crate::{
    error::ConfigError,
    http_client::{DynHttpClient, HttpClient, Pooling, ReqwestClient},
};

type BoxError = Box<dyn Error + Send + Sync>;

/// An HTTP client that fetches discovery documents and key sets.
///
/// The default client is reqwest with rustls and the certificates that the operating system trusts. It honors proxy
/// variables such as `HTTPS_PROXY`. For a private certificate authority, a client certificate or a test, pass another
/// client to [`IssuerKeys::fetch`](super::IssuerKeys::fetch): an implementation of this trait, or a closure
/// `Fn(http::Request<()>) -> impl Future`.
///
/// An implementation sends the given `GET` request and returns the response with any status. It must *not* follow
/// redirects, because the caller checks and follows them. It needs no timeout; the caller has one. It should stop
/// reading after 1 MiB: the caller refuses a longer response, but only once it is in memory.
///
/// # Example
///
/// ```
/// use axum_ws_auth::{jwks::{IssuerKeys, KeysErrorKind}, jwt::JwtVerifier};
/// use http::{Request, Response, StatusCode};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let set = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
/// let keys = IssuerKeys::jwks_url("https://id.example.com", "https://id.example.com/keys");
///
/// // Yes: the client returns a set.
/// let client = move |_: Request<()>| async move { Ok(Response::new(set.as_bytes().to_vec())) };
/// let verifier = JwtVerifier::<serde_json::Value>::builder().issuer_keys(keys.clone().fetch(client)).await?;
/// assert!(verifier.status()[0].is_usable());
///
/// // No: the client returns a server error.
/// let broken = |_: Request<()>| async { Ok(Response::builder().status(500).body(Vec::new())?) };
/// let verifier = JwtVerifier::<serde_json::Value>::builder().issuer_keys(keys.fetch(broken)).build()?;
/// # tokio::task::yield_now().await;
/// # while verifier.status()[0].last_error().is_none() { tokio::task::yield_now().await; }
/// let error = verifier.status()[0].last_error().map(|error| error.kind());
/// assert_eq!(error, Some(KeysErrorKind::Status(StatusCode::INTERNAL_SERVER_ERROR)));
/// # Ok(()) }
/// ```
pub trait FetchJwks: Send + Sync + 'static {
    /// Sends the request and returns the response.
    ///
    /// # Errors
    ///
    /// If there is no response. The error is logged, so it must not contain secrets.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped at any await point, on a timeout or when the last verifier is dropped.
    fn fetch(&self, request: Request<()>) -> impl Future<Output = Result<Response<Vec<u8>>, BoxError>> + Send;
}

impl<F, Fut> FetchJwks for F
where
    F: Fn(Request<()>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<Vec<u8>>, BoxError>> + Send,
{
    fn fetch(&self, request: Request<()>) -> impl Future<Output = Result<Response<Vec<u8>>, BoxError>> + Send {
        self(request)
    }
}

/// A [`FetchJwks`] as an [`HttpClient`].
pub(super) struct Fetch<T>(pub(super) T);

impl<T: FetchJwks> HttpClient for Fetch<T> {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, BoxError> {
        self.0.fetch(request.map(drop)).await.map(|response| response.map(Bytes::from))
    }
}

/// The default client, built on first use because it reads the certificates of the operating system.
#[derive(Default)]
pub(super) struct DefaultClient(OnceLock<Arc<dyn DynHttpClient>>);

impl DefaultClient {
    pub(super) fn get(&self) -> Result<Arc<dyn DynHttpClient>, ConfigError> {
        if let Some(client) = self.0.get() {
            return Ok(Arc::clone(client));
        }
        let client: Arc<dyn DynHttpClient> = Arc::new(ReqwestClient::new(Pooling::None)?);
        Ok(Arc::clone(self.0.get_or_init(|| client)))
    }
}
