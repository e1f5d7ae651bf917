use std::borrow::Cow;

use super::spelling::Spelling;

/// One place where a token may stand in a handshake.
///
/// A browser can open a WebSocket with a URL, cookies and a list of subprotocols, and with nothing else. Everything
/// that clients do with these three is a [`TokenSource`]; native clients also have headers.
///
/// What holds for every source:
///
/// - A token that is there but cannot be read is a bad token, never "no token".
/// - A source that carries two tokens is refused, and so are two sources that carry different ones: there is no
///   picking (RFC 6750 §2). A place that is not among the sources is not searched for a token.
/// - A token is taken out of the request before anything else can see it: header, URI and axum's `OriginalUri`. That
///   goes for every configured source, also those that were outranked.
/// - Copies of the token are cut out of all other headers, and a query parameter that holds one is removed: as it is,
///   percent-encoded, or in base64. Proxies repeat the URL in headers of their own (`X-Original-URI`, `X-Forwarded-Uri`,
///   `X-Original-Url`, `X-Rewrite-Url`, `X-Envoy-Original-Path`, `Forwarded`), and browsers in `Referer`. What is left of such a
///   header stays, marked sensitive. A token of fewer than 16 bytes is cut only where it is the whole value, because it may
///   be in other texts by chance. The path, `Origin` and `Host` are never changed.
/// - A cookie is *ambient*: the browser attaches it whichever page asks. Any other token is *explicit*: somebody chose
///   to send it. An explicit token outranks a cookie, good or bad, and a cookie counts only from an [allowed
///   origin](crate::AllowOrigin).
///
/// A source is only a description; it is checked when it is handed to
/// [`WsAuthLayer::sources`](crate::WsAuthLayer::sources).
///
/// # Example
///
/// ```
/// use axum_ws_auth::{AllowOrigin, TokenSource, WsAuthLayer, test_util::{self, TestToken, handshake}};
/// use axum::{Router, http::StatusCode, routing::any};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = WsAuthLayer::new(test_util::verifier::<serde_json::Value>())
///     .sources([TokenSource::kubernetes(), TokenSource::cookie("__Host-session")])?
///     .allow_origin(AllowOrigin::list(["https://app.example.com"]))?;
/// let app = Router::new().route("/", any(test_util::echo)).layer(layer);
/// let token = TestToken::new("alice").sign();
///
/// // Yes: in a subprotocol, the way `kubectl` does it …
/// let name = format!("base64url.bearer.authorization.k8s.io.{}", test_util::base64url(&token));
/// let request = handshake().subprotocols([name.as_str(), "v4.channel.k8s.io"]).build();
/// let response = app.clone().oneshot(request).await?;
/// assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
/// assert_eq!(response.headers()["sec-websocket-protocol"], "v4.channel.k8s.io");
///
/// // … and in a cookie, from the page that may use it.
/// let request = handshake().cookie("__Host-session", &token).origin("https://app.example.com").build();
/// assert_eq!(app.clone().oneshot(request).await?.status(), StatusCode::SWITCHING_PROTOCOLS);
///
/// // No: the same cookie from another page.
/// let request = handshake().cookie("__Host-session", &token).origin("https://evil.example").build();
/// assert_eq!(app.clone().oneshot(request).await?.status(), StatusCode::FORBIDDEN);
///
/// // No: `Authorization` is not among the sources of this layer.
/// let request = handshake().authorization(&token).build();
/// assert_eq!(app.oneshot(request).await?.status(), StatusCode::UNAUTHORIZED);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSource(pub(super) Source);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Authorization,
    Header(Cow<'static, str>),
    Cookie(Cow<'static, str>),
    Query(Cow<'static, str>),
    Subprotocol(Spelling),
}

impl TokenSource {
    /// `Authorization: Bearer <token>` (RFC 6750 §2.1), for native clients.
    ///
    /// On by default, because every client that is not a browser can send it. Other schemes in that header are left
    /// alone.
    #[must_use]
    pub const fn authorization() -> Self {
        Self(Source::Authorization)
    }

    /// The query parameter `ticket`, for one-time [tickets](crate::Tickets).
    ///
    /// What is wrong with tokens in URLs is not wrong with these: when a log is read, they are worth nothing any more.
    #[must_use]
    pub const fn ticket() -> Self {
        Self(Source::Query(Cow::Borrowed("ticket")))
    }

    /// A header that holds the token and nothing else, such as `X-Auth-Token`.
    ///
    /// Counts as explicit, because a browser cannot send it on a WebSocket. Where a proxy in front derives the header
    /// from a cookie (`Cf-Access-Jwt-Assertion`), set [`allow_origin`](crate::WsAuthLayer::allow_origin) too: then it
    /// is as ambient as the cookie was.
    pub fn header(name: impl Into<Cow<'static, str>>) -> Self {
        Self(Source::Header(name.into()))
    }

    /// A cookie that holds the token, for browsers.
    ///
    /// It counts only from an allowed [origin](crate::AllowOrigin): the same origin by default. Take a name that begins
    /// with `__Host-` (RFC 6265bis §4.1.3.2), which no other subdomain can set, and which no page without TLS can use. An
    /// empty cookie is no token: its visitor has signed out. A name in another case, or one that
    /// differs by white space outside ASCII, is another cookie; the latter is refused, because parsers disagree on it.
    pub fn cookie(name: impl Into<Cow<'static, str>>) -> Self {
        Self(Source::Cookie(name.into()))
    }

    /// A query parameter that holds the token, such as `access_token` for SignalR.
    ///
    /// Off by default, because URLs end up in logs: RFC 9700 §4.3.2 forbids it for access tokens. It is taken out of
    /// the URI and of the headers in which proxies repeat it before the inner service sees them, but proxies in front have
    /// seen it, and so do layers outside of this one.
    pub fn query(name: impl Into<Cow<'static, str>>) -> Self {
        Self(Source::Query(name.into()))
    }

    /// The subprotocol pair `bearer, <token>`: `new WebSocket(url, ["bearer", token])`.
    ///
    /// On by default, because it is the one way for a browser that needs no cookie and leaves no token in a URL. The
    /// answer selects `bearer`, byte for byte as it was offered.
    #[must_use]
    pub const fn bearer_subprotocol() -> Self {
        Self(Source::Subprotocol(Spelling::BEARER))
    }

    /// The pair with another marker: `["access_token", token]`. The marker is matched without regard to case.
    pub fn subprotocol_pair(marker: impl Into<Cow<'static, str>>) -> Self {
        Self(Source::Subprotocol(Spelling::Pair { marker: marker.into() }))
    }

    /// One name that begins with a prefix, such as `bearer.<token>`, beside at least one other name.
    ///
    /// The other name is selected. A token offered alone is refused: nothing could be selected but the token, and
    /// browsers drop a connection on which nothing is.
    pub fn subprotocol_prefix(prefix: impl Into<Cow<'static, str>>) -> Self {
        Self(Source::Subprotocol(Spelling::prefix(prefix.into())))
    }

    /// Kubernetes: `base64url.bearer.authorization.k8s.io.<base64url>` beside at least one other name, which is
    /// selected.
    #[must_use]
    pub const fn kubernetes() -> Self {
        Self(Source::Subprotocol(Spelling::KUBERNETES))
    }

    /// Phoenix 1.8 and later: `phoenix, base64url.bearer.phx.<base64>`; selects `phoenix`.
    #[must_use]
    pub const fn phoenix() -> Self {
        Self(Source::Subprotocol(Spelling::PHOENIX))
    }

    /// Quarkus: `bearer-token-carrier, quarkus-http-upgrade%23Authorization%23Bearer%20<token>`; selects the carrier.
    #[must_use]
    pub const fn quarkus() -> Self {
        Self(Source::Subprotocol(Spelling::QUARKUS))
    }

    /// Jupyter: `v1.token.websocket.jupyter.org, v1.token.websocket.jupyter.org.<percent-encoded>`; selects the first.
    #[must_use]
    pub const fn jupyter() -> Self {
        Self(Source::Subprotocol(Spelling::JUPYTER))
    }

    /// OpenAI realtime: `realtime, openai-insecure-api-key.<token>`; selects `realtime`.
    #[must_use]
    pub const fn openai_realtime() -> Self {
        Self(Source::Subprotocol(Spelling::OPENAI_REALTIME))
    }

    /// AWS AppSync Events: `aws-appsync-event-ws, header-<base64url of JSON with "Authorization">`; selects the first.
    ///
    /// A JSON object without `Authorization` (an API key) is no token.
    #[must_use]
    pub const fn appsync_events() -> Self {
        Self(Source::Subprotocol(Spelling::APPSYNC_EVENTS))
    }

    /// The token as the only name: `new WebSocket(url, token)`.
    ///
    /// Insecure because browsers insist that a name is selected, and there is no other: **the answer names the token**.
    /// For clients that cannot be changed.
    #[must_use]
    pub const fn insecure_raw_subprotocol() -> Self {
        Self(Source::Subprotocol(Spelling::Raw))
    }

    pub(super) fn name(&self) -> String {
        match &self.0 {
            Source::Authorization => "Authorization".to_owned(),
            Source::Header(name) => format!("header {}", name.to_ascii_lowercase()),
            Source::Cookie(name) => format!("cookie {name}"),
            Source::Query(name) => format!("query parameter {name}"),
            Source::Subprotocol(spelling) => spelling.name(),
        }
    }
}
