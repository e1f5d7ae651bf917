use std::{fmt, future::Future, pin::Pin, sync::Arc};

use http::HeaderValue;
use zeroize::Zeroizing;

use super::{TransmitterError, TransmitterErrorKind};
use crate::{signals::resolve::BoxError, token::Token};

/// The access token for requests to a transmitter: a string, or an `async` closure that is asked before each request;
/// see [`from_fn`](Self::from_fn).
#[derive(Clone)]
pub struct BearerToken(Arc<GetToken>);

type GetToken = dyn Fn() -> Pin<Box<dyn Future<Output = Result<Token, BoxError>> + Send>> + Send + Sync;

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

    pub(super) async fn header(&self) -> Result<HeaderValue, TransmitterError> {
        let token = (self.0)().await.map_err(|error| TransmitterErrorKind::NoToken.with(error))?;
        let text = Zeroizing::new(["Bearer ", token.expose()].concat());
        let mut header = HeaderValue::from_str(&text)
            .map_err(|_| TransmitterErrorKind::NoToken.with("the token is not usable in a header"))?;
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

// By hand: a token is not shown.
impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(<fn>)")
    }
}
