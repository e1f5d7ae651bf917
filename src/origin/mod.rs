//! Checks the `Origin` of a handshake. Depends on `http`, not on axum.

mod compare;
mod error;

use std::{borrow::Cow, fmt, sync::Arc};

use http::{HeaderMap, header::ORIGIN, request::Parts};

use self::compare::{can_send_secure_cookies, find_problem, is_same_origin, normalize, own_origins, request_host};
pub use self::error::{OriginError, OriginErrorKind};

use crate::{error::ConfigError, token::CookieKind};

/// Which web pages may open a WebSocket.
///
/// A browser lets any page open a WebSocket to any server, with the server's cookies. It tells the server which page by
/// the `Origin` header (RFC 6455 §10.2). So a cookie proves who the user is, but not that the user intended the
/// request, and the origin must be checked too. `SameSite` does not replace this check, because sibling subdomains are
/// the same site.
///
/// - A token in a **cookie** is accepted only if an `Origin` is present and allowed. The default policy is
///   [`AllowOrigin::same_origin`]. A plain `GET` or `HEAD` from a page of the same origin, such as that of an
///   `EventSource`, has no `Origin`: browsers send `Sec-Fetch-Site: same-origin` instead, and the policy is then asked
///   about the origin in `Host`.
/// - An **explicit** token needs no `Origin`, because native clients send none, and a foreign page has no token to
///   send. Once a policy is set with [`WsAuthLayer::allow_origin`](crate::WsAuthLayer::allow_origin), an `Origin` that
///   is present must be allowed for these tokens too.
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
/// // An origin that no browser sends is an error.
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
    /// Allows pages with the same host and port as the request's `Host` (or `:authority`).
    ///
    /// The scheme is compared only if the request's URI says `https`, as it may over HTTP/2: a server behind a TLS
    /// proxy does not know the scheme that the client used. Behind proxies, host and scheme are those that the client
    /// asked for, if [`trusted_proxies`](crate::WsAuthLayer::trusted_proxies) tell them. Use a [`list`](Self::list) to
    /// always compare the scheme, behind other proxies that rewrite `Host`, and to protect a server on `localhost` from
    /// DNS rebinding, where both `Host` and `Origin` name the attacker's host.
    ///
    /// Browsers send cookies named `__Host-…` or `__Secure-…` over TLS only, so with such a cookie a page at `http:` is
    /// not the same origin. Loopback hosts such as `localhost` and `127.0.0.1` are an exception in browsers and here.
    #[must_use]
    pub const fn same_origin() -> Self {
        Self(Policy::SameOrigin)
    }

    /// Allows these origins, each as a browser sends it: `https://app.example.com`, `http://localhost:3000`,
    /// `capacitor://localhost`, or `null` for pages with an opaque origin (any page can send that from a sandboxed
    /// frame).
    ///
    /// Schemes without a host can be listed too: `file://`, `qrc://`, `content://`.
    ///
    /// The comparison ignores case and a default port. Wildcards are not supported: use [`predicate`](Self::predicate).
    pub fn list<I>(origins: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Cow<'static, str>>,
    {
        Self(Policy::List(origins.into_iter().map(Into::into).collect()))
    }

    /// Allows origins for which the function returns `true`. It gets the `Origin`, lower-cased and without a default
    /// port, and the request.
    pub fn predicate(predicate: impl Fn(&str, &Parts) -> bool + Send + Sync + 'static) -> Self {
        Self(Policy::Predicate(Arc::new(predicate)))
    }

    /// Allows every origin.
    ///
    /// Insecure because any page on the web may then open a WebSocket. It cannot be combined with a cookie as a token
    /// source, because any page could then use the user's cookie.
    #[must_use]
    pub const fn insecure_any() -> Self {
        Self(Policy::Any)
    }

    pub(crate) const fn allows_any(&self) -> bool {
        matches!(self.0, Policy::Any)
    }

    /// Normalizes a list. An error if it is empty or an entry can never match.
    pub(crate) fn checked(self) -> Result<Self, ConfigError> {
        let Policy::List(origins) = self.0 else { return Ok(self) };
        if origins.is_empty() {
            return Err(ConfigError::NoOrigin);
        }
        let normalized = origins.iter().map(|origin| normal_form(origin).map(Cow::Owned));
        Ok(Self(Policy::List(normalized.collect::<Result<_, _>>()?)))
    }

    /// Checks a request with an ambient token, which needs an origin.
    pub(crate) fn check_ambient(&self, parts: &Parts, cookie: CookieKind) -> Result<(), OriginError> {
        match origin_of(&parts.headers)? {
            Some(origin) => self.check(origin, parts, cookie),
            None => Err(OriginErrorKind::Missing.into()),
        }
    }

    /// Whether a request without an origin, and with an ambient token, is from an allowed page of the request's own
    /// origin. Not for handshakes, which always have an origin.
    pub(crate) fn allows_own_page(&self, parts: &Parts, cookie: CookieKind) -> bool {
        own_origins(parts).any(|origin| self.check(&origin, parts, cookie).is_ok())
    }

    /// Checks a request with an explicit token or none. It may have no origin.
    pub(crate) fn check_explicit(&self, parts: &Parts, cookie: CookieKind) -> Result<(), OriginError> {
        origin_of(&parts.headers)?.map_or(Ok(()), |origin| self.check(origin, parts, cookie))
    }

    /// What an origin has to be, for logs.
    pub(crate) fn expected(&self, parts: &Parts) -> String {
        match &self.0 {
            Policy::SameOrigin => format!("the origin of {}", request_host(parts)),
            Policy::List(origins) => origins.join(", "),
            Policy::Predicate(_) => "<fn>".to_owned(),
            Policy::Any => "any".to_owned(),
        }
    }

    fn check(&self, origin: &str, parts: &Parts, cookie: CookieKind) -> Result<(), OriginError> {
        let origin = normalize(origin);
        let allowed = match &self.0 {
            Policy::SameOrigin => {
                is_same_origin(&origin, parts)? && (cookie == CookieKind::Plain || can_send_secure_cookies(&origin))
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

/// Normalizes a configured origin.
pub(crate) fn normal_form(origin: &str) -> Result<String, ConfigError> {
    match find_problem(origin) {
        None => Ok(normalize(origin).into_owned()),
        Some(problem) => Err(ConfigError::InvalidOrigin { origin: origin.to_owned(), problem }),
    }
}

/// The `Origin` of a request.
fn origin_of(headers: &HeaderMap) -> Result<Option<&str>, OriginError> {
    let mut lines = headers.get_all(ORIGIN).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => line.to_str().map(Some).map_err(|_| OriginErrorKind::Malformed.into()),
        (Some(_), Some(_)) => Err(OriginErrorKind::Malformed.into()),
    }
}
