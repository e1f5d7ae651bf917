use std::{cell::OnceCell, error::Error, future::Future, pin::Pin, sync::Arc};

use http::{Request, Response};

use super::http::Http;
use crate::error::ConfigError;

type BoxError = Box<dyn Error + Send + Sync>;
type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, BoxError>> + Send + 'a>>;

/// Fetches discovery documents and key sets: an HTTP client.
///
/// The one that is built in is reqwest with rustls and the certificates that the operating system trusts; it heeds
/// `HTTPS_PROXY` and its like. Another one is a type of one's own, or a closure
/// `Fn(http::Request<()>) -> impl Future`, given to [`IssuerKeys::fetch`](super::IssuerKeys::fetch): for a private
/// certificate authority, a client certificate, or a test.
///
/// What an implementation must know: it sends the one request that it is given, a `GET`, and returns the answer whatever
/// its status is. It does *not* follow redirects, which are checked and followed here. It need not bother about the
/// time, which is limited here too. It should stop reading after 1 MiB; a longer answer is refused here, but would be in
/// memory by then.
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
/// // Yes: a set, from whatever place.
/// let client = move |_: Request<()>| async move { Ok(Response::new(set.as_bytes().to_vec())) };
/// let verifier = JwtVerifier::<serde_json::Value>::builder().issuer_keys(keys.clone().fetch(client)).await?;
/// assert!(verifier.status()[0].is_usable());
///
/// // No: the server is there, and something is wrong with it.
/// let broken = |_: Request<()>| async { Ok(Response::builder().status(500).body(Vec::new())?) };
/// let verifier = JwtVerifier::<serde_json::Value>::builder().issuer_keys(keys.fetch(broken)).build()?;
/// # tokio::task::yield_now().await;
/// # while verifier.status()[0].last_error().is_none() { tokio::task::yield_now().await; }
/// let error = verifier.status()[0].last_error().map(|error| error.kind());
/// assert_eq!(error, Some(KeysErrorKind::Status(StatusCode::INTERNAL_SERVER_ERROR)));
/// # Ok(()) }
/// ```
pub trait FetchJwks: Send + Sync + 'static {
    /// Sends the request and returns the answer.
    ///
    /// # Errors
    ///
    /// If there is no answer. The error is logged, so it must hold no secret.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped where it stands when its time is up or the last verifier is gone.
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

/// Any [`FetchJwks`].
pub(super) trait AnyFetch: Send + Sync {
    fn fetch_boxed(&self, request: Request<()>) -> Fetching<'_>;
}

impl<T: FetchJwks> AnyFetch for T {
    fn fetch_boxed(&self, request: Request<()>) -> Fetching<'_> {
        Box::pin(self.fetch(request))
    }
}

/// The client that is built in, made when it is first needed: it reads the certificates of the operating system.
#[derive(Default)]
pub(super) struct BuiltIn(OnceCell<Arc<dyn AnyFetch>>);

impl BuiltIn {
    pub(super) fn get(&self) -> Result<Arc<dyn AnyFetch>, ConfigError> {
        if let Some(client) = self.0.get() {
            return Ok(Arc::clone(client));
        }
        let client: Arc<dyn AnyFetch> = Arc::new(Http::new()?);
        Ok(Arc::clone(self.0.get_or_init(|| client)))
    }
}
