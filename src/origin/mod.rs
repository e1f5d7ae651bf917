//! The check of a handshake's `Origin`. It knows `http` and nothing of axum.

mod compare;
mod error;

use std::{borrow::Cow, fmt, sync::Arc};

use http::{HeaderMap, header::ORIGIN, request::Parts};

use self::compare::{gets_secure_cookies, is_same_origin, normalize, problem_of};
pub use self::error::{OriginError, OriginErrorKind};

use crate::{error::ConfigError, token::CookieKind};

/// Which web pages may open a WebSocket.
///
/// A browser lets any page open a WebSocket to any server, attaches the server's cookies, and tells the server only one
/// thing: the page's `Origin` (RFC 6455 §10.2). So a cookie proves who the user is, and not that the user meant it;
/// the origin must be checked too. `SameSite` does not replace this check: a sibling subdomain is the same site.
///
/// - A token from a **cookie** counts only where an `Origin` is present and allowed. The default is
///   [`AllowOrigin::same_origin`].
/// - An **explicit** token needs no `Origin`, because native clients send none, and a foreign page has no token to
///   send. Once a policy is set with [`WsAuthLayer::allow_origin`](crate::WsAuthLayer::allow_origin), an `Origin` that
///   is present must be allowed for these too.
///
/// # Example
///
/// ```
/// use axum_ws_auth::{AllowOrigin, ConfigError, WsAuthLayer, test_util::{self, TestToken, handshake}};
/// use axum::{Router, http::StatusCode, routing::any};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = WsAuthLayer::new(test_util::verifier::<serde_json::Value>())
///     .allow_origin(["https://app.example.com", "tauri://localhost"])?;
/// let app = Router::new().route("/", any(test_util::echo)).layer(layer);
/// let token = TestToken::new("alice").sign();
///
/// // Yes.
/// let request = handshake().bearer_subprotocol(&token).origin("https://app.example.com").build();
/// assert_eq!(app.clone().oneshot(request).await?.status(), StatusCode::SWITCHING_PROTOCOLS);
///
/// // No.
/// let request = handshake().bearer_subprotocol(&token).origin("https://app.example.com.evil.com").build();
/// assert_eq!(app.oneshot(request).await?.status(), StatusCode::FORBIDDEN);
///
/// // An entry that no browser would ever send does not build.
/// let slash = WsAuthLayer::new(test_util::verifier::<serde_json::Value>()).allow_origin(["https://app.example.com/"]);
/// assert!(matches!(slash, Err(ConfigError::InvalidOrigin { .. })));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct AllowOrigin(Policy);

type Predicate = dyn Fn(&str, &Parts) -> bool + Send + Sync;

#[derive(Clone)]
enum Policy {
    SameOrigin,
    List(Vec<Cow<'static, str>>),
    Predicate(Arc<Predicate>),
    Any,
}

impl AllowOrigin {
    /// Pages that were served by this host and port, as the request's `Host` (or `:authority`) names them.
    ///
    /// The scheme is compared only where the request tells it, over HTTP/2, because a server behind a TLS proxy does
    /// not know its own; name the origin in a [`list`](Self::list) to have it compared always. Behind a proxy that
    /// rewrites `Host`, a list is needed too. And a list is what protects a server on `localhost` from DNS rebinding,
    /// where `Host` and `Origin` agree and both are the attacker's.
    ///
    /// A cookie whose name begins with `__Host-` or `__Secure-` came over TLS, so a page at `http:` is not of the same
    /// origin; except on `localhost`, `127.0.0.1` and their like, where browsers send such cookies without TLS.
    #[must_use]
    pub const fn same_origin() -> Self {
        Self(Policy::SameOrigin)
    }

    /// These origins, each as a browser sends it: `https://app.example.com`, `http://localhost:3000`,
    /// `capacitor://localhost`, or `null` for pages without an origin of their own (which every page can have made for
    /// it, by a sandboxed frame).
    ///
    /// Schemes without a host can be listed too: `file://`, `qrc://`, `content://`.
    ///
    /// Case and a scheme's default port make no difference; anything else does. There are no wildcards: use
    /// [`predicate`](Self::predicate).
    pub fn list<I>(origins: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Cow<'static, str>>,
    {
        Self(Policy::List(origins.into_iter().map(Into::into).collect()))
    }

    /// Origins for which the function returns `true`. It gets the `Origin`, lower-cased and without a default port, and
    /// the rest of the request.
    pub fn predicate(predicate: impl Fn(&str, &Parts) -> bool + Send + Sync + 'static) -> Self {
        Self(Policy::Predicate(Arc::new(predicate)))
    }

    /// Every origin.
    ///
    /// Insecure because any page on the web may then open a WebSocket. It cannot be combined with a cookie as a token
    /// source: any page could use the user's cookie.
    #[must_use]
    pub const fn insecure_any() -> Self {
        Self(Policy::Any)
    }

    pub(crate) const fn allows_any(&self) -> bool {
        matches!(self.0, Policy::Any)
    }

    /// Brings a list into the form in which it is compared, or says why an entry can never match.
    pub(crate) fn checked(self) -> Result<Self, ConfigError> {
        let Policy::List(origins) = self.0 else { return Ok(self) };
        if origins.is_empty() {
            return Err(ConfigError::NoOrigin);
        }
        let normal = origins.iter().map(|origin| normal_form(origin).map(Cow::Owned));
        Ok(Self(Policy::List(normal.collect::<Result<_, _>>()?)))
    }

    /// Checks a request whose token the browser attached by itself.
    pub(crate) fn check_ambient(&self, parts: &Parts, cookie: CookieKind) -> Result<(), OriginError> {
        match origin_of(&parts.headers)? {
            Some(origin) => self.check(origin, parts, cookie),
            None => Err(OriginErrorKind::Missing.into()),
        }
    }

    /// Checks a request whose token somebody chose to send, or that has none. It may come without an origin.
    pub(crate) fn check_explicit(&self, parts: &Parts, cookie: CookieKind) -> Result<(), OriginError> {
        origin_of(&parts.headers)?.map_or(Ok(()), |origin| self.check(origin, parts, cookie))
    }

    fn check(&self, origin: &str, parts: &Parts, cookie: CookieKind) -> Result<(), OriginError> {
        let origin = normalize(origin);
        let allowed = match &self.0 {
            Policy::SameOrigin => {
                is_same_origin(&origin, parts) && (cookie == CookieKind::Plain || gets_secure_cookies(&origin))
            }
            Policy::List(origins) => origins.contains(&origin),
            Policy::Predicate(predicate) => predicate(&origin, parts),
            Policy::Any => true,
        };
        if allowed { Ok(()) } else { Err(OriginErrorKind::NotAllowed.into()) }
    }
}

impl<S: Into<Cow<'static, str>>, const N: usize> From<[S; N]> for AllowOrigin {
    fn from(origins: [S; N]) -> Self {
        Self::list(origins)
    }
}

impl<S: Into<Cow<'static, str>>> From<Vec<S>> for AllowOrigin {
    fn from(origins: Vec<S>) -> Self {
        Self::list(origins)
    }
}

// By hand: a closure has no `Debug`.
impl fmt::Debug for AllowOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Policy::SameOrigin => f.write_str("AllowOrigin(SameOrigin)"),
            Policy::List(origins) => f.debug_tuple("AllowOrigin").field(origins).finish(),
            Policy::Predicate(_) => f.write_str("AllowOrigin(<fn>)"),
            Policy::Any => f.write_str("AllowOrigin(Any)"),
        }
    }
}

/// A configured origin as browsers send it.
pub(crate) fn normal_form(origin: &str) -> Result<String, ConfigError> {
    match problem_of(origin) {
        None => Ok(normalize(origin).into_owned()),
        Some(problem) => Err(ConfigError::InvalidOrigin { origin: origin.to_owned(), problem }),
    }
}

/// The one `Origin` of a request.
fn origin_of(headers: &HeaderMap) -> Result<Option<&str>, OriginError> {
    let mut lines = headers.get_all(ORIGIN).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => line.to_str().map(Some).map_err(|_| OriginErrorKind::Malformed.into()),
        (Some(_), Some(_)) => Err(OriginErrorKind::Malformed.into()),
    }
}
