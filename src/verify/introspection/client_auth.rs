//! How this server authenticates to the introspection endpoint.

use std::{error::Error, fmt, future::Future, pin::Pin, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use zeroize::Zeroizing;

use super::failure::{Failure, Reason};
use crate::{error::ConfigError, token::Token};

type BoxError = Box<dyn Error + Send + Sync>;
type Obtaining = Pin<Box<dyn Future<Output = Result<Token, BoxError>> + Send>>;

/// How this server authenticates to the introspection endpoint (RFC 7662 §2.1).
///
/// [`Debug`] does not show secrets.
///
/// ```
/// use axum_ws_auth::{Token, introspection::ClientAuth};
///
/// // `client_secret_basic`, which most providers expect.
/// let basic = ClientAuth::basic("chat-server", "the secret");
/// assert_eq!(format!("{basic:?}"), r#"Basic { client_id: "chat-server", .. }"#);
///
/// // An access token that this server obtains by itself, and renews.
/// # async fn own_token() -> Result<String, std::io::Error> { Ok("token".to_owned()) }
/// let bearer = ClientAuth::bearer_with(async || Ok(Token::new(own_token().await?)));
/// ```
#[derive(Clone)]
pub struct ClientAuth(Method);

#[derive(Clone)]
enum Method {
    Basic { client_id: String, secret: Token },
    Post { client_id: String, secret: Token },
    Bearer(Token),
    BearerWith(Arc<dyn Fn() -> Obtaining + Send + Sync>),
}

/// What a request has to carry.
pub(super) enum Credentials<'a> {
    /// The value of `Authorization`.
    Header(HeaderValue),
    /// Parameters of the form.
    Form { client_id: &'a str, secret: &'a Token },
}

impl ClientAuth {
    /// `client_secret_basic`: HTTP Basic with the client's id and secret (RFC 6749 §2.3.1).
    pub fn basic(client_id: impl Into<String>, secret: impl Into<Box<str>>) -> Self {
        Self(Method::Basic { client_id: client_id.into(), secret: Token::new(secret) })
    }

    /// `client_secret_post`: the client's id and secret in the form, for providers that do not support
    /// [`basic`](Self::basic).
    pub fn post(client_id: impl Into<String>, secret: impl Into<Box<str>>) -> Self {
        Self(Method::Post { client_id: client_id.into(), secret: Token::new(secret) })
    }

    /// A bearer token that does not expire.
    pub fn bearer(token: impl Into<Box<str>>) -> Self {
        Self(Method::Bearer(Token::new(token)))
    }

    /// A bearer token that an `async` closure returns for each request. The closure should keep the token until it is
    /// about to expire. It is cloned for each call, so what it captures must be `Clone`.
    ///
    /// If it fails, handshakes are refused with 503. Its error is logged, so it must not contain secrets.
    ///
    /// # Cancel safety
    ///
    /// The closure's future is dropped at any await point, on a timeout or when the client disconnects.
    pub fn bearer_with<F, Fut>(obtain: F) -> Self
    where
        F: FnOnce() -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Token, BoxError>> + Send + 'static,
    {
        Self(Method::BearerWith(Arc::new(move || Box::pin(obtain.clone()()))))
    }

    /// The id of this server as a client, if the method has one.
    pub(super) fn client_id(&self) -> Option<&str> {
        match &self.0 {
            Method::Basic { client_id, .. } | Method::Post { client_id, .. } => Some(client_id),
            Method::Bearer(_) | Method::BearerWith(_) => None,
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.client_id().is_some_and(str::is_empty) {
            return Err(ConfigError::Empty("client id"));
        }
        match &self.0 {
            Method::Basic { secret, .. } | Method::Post { secret, .. } | Method::Bearer(secret)
                if secret.expose().is_empty() =>
            {
                Err(ConfigError::Empty("client secret"))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn credentials(&self) -> Result<Credentials<'_>, Failure> {
        match &self.0 {
            Method::Basic { client_id, secret } => basic(client_id, secret),
            Method::Post { client_id, secret } => Ok(Credentials::Form { client_id, secret }),
            Method::Bearer(token) => bearer(token),
            Method::BearerWith(obtain) => {
                let token = obtain().await;
                bearer(&token.map_err(|error| Failure::new(Reason::NoCredentials).with_source(error))?)
            }
        }
    }
}

/// Both are form-encoded before they are joined (RFC 6749 §2.3.1), so that neither can hold the colon.
fn basic<'a>(client_id: &str, secret: &Token) -> Result<Credentials<'a>, Failure> {
    let encode = |text: &str| Zeroizing::new(form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>());
    let pair = Zeroizing::new(format!("{}:{}", *encode(client_id), *encode(secret.expose())));
    header("Basic ", &Zeroizing::new(STANDARD.encode(&*pair)))
}

fn bearer<'a>(token: &Token) -> Result<Credentials<'a>, Failure> {
    header("Bearer ", token.expose())
}

fn header<'a>(scheme: &str, credentials: &str) -> Result<Credentials<'a>, Failure> {
    let text = Zeroizing::new([scheme, credentials].concat());
    let mut value = HeaderValue::from_str(&text).map_err(|_| Failure::new(Reason::NoCredentials))?;
    value.set_sensitive(true);
    Ok(Credentials::Header(value))
}

// By hand: a derive would show closures, and name the private enum.
impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Method::Basic { client_id, .. } => {
                f.debug_struct("Basic").field("client_id", client_id).finish_non_exhaustive()
            }
            Method::Post { client_id, .. } => {
                f.debug_struct("Post").field("client_id", client_id).finish_non_exhaustive()
            }
            Method::Bearer(_) => f.write_str("Bearer(..)"),
            Method::BearerWith(_) => f.write_str("Bearer(<fn>)"),
        }
    }
}
