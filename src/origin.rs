//! The check of a handshake's `Origin`.

use std::{borrow::Cow, fmt, sync::Arc};

use http::{
    HeaderMap, Uri,
    header::{HOST, ORIGIN},
    request::Parts,
    uri::{Authority, Scheme},
};

use crate::ConfigError;

/// Which web pages may open a WebSocket.
///
/// A browser lets any page open a WebSocket to any server, attaches the server's cookies, and tells the server only one
/// thing: the page's `Origin` (RFC 6455 §10.2). So a cookie proves who the user is, and not that the user meant it;
/// the origin must be checked too. `SameSite` does not replace this check: a sibling subdomain is the same site.
///
/// - A token from a **cookie** counts only where an `Origin` is present and allowed. The default is
///   [`AllowOrigin::same_origin`].
/// - An **explicit** token needs no `Origin`, because native clients send none, and a foreign page has no token to send.
///   Once a policy is set with [`WsAuthLayer::allow_origin`](crate::WsAuthLayer::allow_origin), an `Origin` that is
///   present must be allowed for these too.
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

/// Why an `Origin` was not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginError {
    kind: OriginErrorKind,
}

/// What was wrong with the `Origin`; see [`OriginError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OriginErrorKind {
    /// A cookie came without an `Origin`, so no browser sent it.
    Missing,
    /// There is more than one `Origin`, or it is not ASCII.
    Malformed,
    /// The policy does not allow it.
    NotAllowed,
}

impl AllowOrigin {
    /// Pages that were served by this host and port, as the request's `Host` (or `:authority`) names them.
    ///
    /// The scheme is compared only where the request tells it, over HTTP/2, because a server behind a TLS proxy does not know its
    /// own; name the origin in a [`list`](Self::list) to have it compared always. Behind a proxy that rewrites `Host`, a list is needed too. And a list is
    /// what protects a server on `localhost` from DNS rebinding, where `Host` and `Origin` agree and both are the
    /// attacker's.
    #[must_use]
    pub const fn same_origin() -> Self {
        Self(Policy::SameOrigin)
    }

    /// These origins, each as a browser sends it: `https://app.example.com`, `http://localhost:3000`,
    /// `capacitor://localhost`, or `null` for pages without an origin of their own (which every page can have made for it,
    /// by a sandboxed frame).
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
        let normal = |origin: Cow<'static, str>| match problem_of(&origin) {
            None => Ok(Cow::Owned(normalize(&origin).into_owned())),
            Some(problem) => Err(ConfigError::InvalidOrigin { origin: origin.into_owned(), problem }),
        };
        Ok(Self(Policy::List(origins.into_iter().map(normal).collect::<Result<_, _>>()?)))
    }

    /// Checks a request whose token the browser attached by itself.
    pub(crate) fn check_ambient(&self, parts: &Parts) -> Result<(), OriginError> {
        match origin_of(&parts.headers)? {
            Some(origin) => self.check(origin, parts),
            None => Err(OriginErrorKind::Missing.into()),
        }
    }

    /// Checks a request whose token somebody chose to send, or that has none.
    pub(crate) fn check_explicit(&self, parts: &Parts) -> Result<(), OriginError> {
        origin_of(&parts.headers)?.map_or(Ok(()), |origin| self.check(origin, parts))
    }

    fn check(&self, origin: &str, parts: &Parts) -> Result<(), OriginError> {
        let origin = normalize(origin);
        let allowed = match &self.0 {
            Policy::SameOrigin => is_same_origin(&origin, parts),
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

impl OriginError {
    /// What was wrong.
    #[must_use]
    pub const fn kind(&self) -> OriginErrorKind {
        self.kind
    }
}

impl OriginErrorKind {
    /// A stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "origin_missing",
            Self::Malformed => "origin_malformed",
            Self::NotAllowed => "origin_not_allowed",
        }
    }
}

impl From<OriginErrorKind> for OriginError {
    fn from(kind: OriginErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            OriginErrorKind::Missing => "a cookie without an origin",
            OriginErrorKind::Malformed => "the origin is malformed",
            OriginErrorKind::NotAllowed => "the origin is not allowed",
        })
    }
}

impl std::error::Error for OriginError {}

/// The one `Origin` of a request.
fn origin_of(headers: &HeaderMap) -> Result<Option<&str>, OriginError> {
    let mut lines = headers.get_all(ORIGIN).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => line.to_str().map(Some).map_err(|_| OriginErrorKind::Malformed.into()),
        (Some(_), Some(_)) => Err(OriginErrorKind::Malformed.into()),
    }
}

/// Lower-cased and without the scheme's default port. Compared as text, because URL parsers call the origin of
/// `tauri://localhost` `null`.
fn normalize(origin: &str) -> Cow<'_, str> {
    let origin = if origin.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(origin.to_ascii_lowercase())
    } else {
        Cow::Borrowed(origin)
    };
    let default_port = [("https://", ":443"), ("http://", ":80")]
        .iter()
        .find(|(scheme, port)| origin.starts_with(scheme) && origin.ends_with(port))
        .map(|(_, port)| port.len());
    match (default_port, origin) {
        (None, origin) => origin,
        (Some(port), Cow::Borrowed(origin)) => Cow::Borrowed(origin.get(..origin.len() - port).unwrap_or(origin)),
        (Some(port), Cow::Owned(mut origin)) => {
            origin.truncate(origin.len() - port);
            Cow::Owned(origin)
        }
    }
}

/// Why a configured origin could never equal one that a client sends.
fn problem_of(origin: &str) -> Option<&'static str> {
    if origin == "null" {
        return None;
    }
    let Some((scheme, authority)) = origin.split_once("://") else {
        return Some("it is not of the form scheme://host");
    };
    if scheme.eq_ignore_ascii_case("ws") || scheme.eq_ignore_ascii_case("wss") {
        return Some("an origin is that of the page: http or https");
    }
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !is_scheme {
        return Some("its scheme is malformed");
    }
    if !authority.is_ascii() {
        return Some("browsers send the ASCII form of the host (xn--…)");
    }
    // Electron and Cordova send `file://`.
    if authority.is_empty() {
        return (!scheme.eq_ignore_ascii_case("file")).then_some("it has no host");
    }
    if authority.contains('*') {
        return Some("there are no wildcards: use a predicate");
    }
    if authority.contains(['/', '?', '#']) {
        return Some("an origin ends with the host or port, without a path or trailing slash");
    }
    if host_and_port(authority).is_none() {
        return Some("its host or port is malformed");
    }
    None
}

/// Host and port of the page and of the request. A missing port is the page's scheme's default on both sides.
fn is_same_origin(origin: &str, parts: &Parts) -> bool {
    let (authority, default_port) = match origin.split_once("://") {
        Some(("https", authority)) => (authority, 443),
        Some(("http", authority)) => (authority, 80),
        _ => return false,
    };
    // Over HTTP/2 the scheme is told. `http` may stand there for a proxy that ends TLS; `https` is true.
    if default_port == 80 && parts.uri.scheme() == Some(&Scheme::HTTPS) {
        return false;
    }
    let Some(target) = target_of(&parts.uri, &parts.headers) else { return false };
    let (Some(page), Some(target)) = (host_and_port(authority), host_and_port(target)) else { return false };
    page.host().eq_ignore_ascii_case(target.host())
        && page.port_u16().unwrap_or(default_port) == target.port_u16().unwrap_or(default_port)
}

/// `http` takes user names, and ports that no browser would write so; those that are no numbers would pass for missing ones.
fn host_and_port(text: &str) -> Option<Authority> {
    let authority: Authority = text.parse().ok()?;
    let is_plain = match authority.port() {
        Some(port) => port.as_str() == port.as_u16().to_string(),
        None => authority.as_str() == authority.host(),
    };
    (is_plain && !text.contains('@')).then_some(authority)
}

/// The host that was asked for: `:authority` or the absolute form of the target (RFC 9112 §3.2.2), else the one `Host`. Where
/// both are there they must agree (RFC 9113 §8.3.1).
fn target_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.to_str().ok()?),
        (None, _) => None,
        (Some(_), Some(_)) => return None,
    };
    match (uri.authority(), host) {
        (Some(authority), Some(host)) if !authority.as_str().eq_ignore_ascii_case(host) => None,
        (Some(authority), _) => Some(authority.as_str()),
        (None, host) => host,
    }
}
