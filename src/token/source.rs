use std::borrow::Cow;

use super::subprotocol::Format;

/// A part of the handshake that can hold the token.
///
/// A browser can set only the URL, cookies and the list of subprotocols when it opens a WebSocket. There is a
/// [`TokenSource`] for each convention that clients use with these. Native clients can also set headers.
///
/// These rules hold for all sources:
///
/// - A malformed token is a bad token, never "no token".
/// - Several tokens in one source, or different tokens in two sources, are refused (RFC 6750 §2). Parts of the request
///   that are not configured as sources are not searched for a token.
/// - The token is removed from headers, the URI and axum's `OriginalUri` before anything else sees the request. This
///   includes every configured source, even if another source takes precedence.
/// - Copies of the token are removed from all other headers, and query parameters that hold a copy are removed:
///   literal, percent-encoded, or in base64. Proxies repeat the URL in their own headers (`X-Original-URI`,
///   `X-Forwarded-Uri`, `X-Original-Url`, `X-Rewrite-Url`, `X-Envoy-Original-Path`, `Forwarded`), and browsers in
///   `Referer`. The rest of such a header stays, marked sensitive. A token of fewer than 16 bytes is removed only if it
///   is the whole value, because it may occur in other text by chance. The path, `Origin` and `Host` never change.
/// - A cookie is *ambient*: the browser attaches it, whichever page opens the WebSocket. Every other token is
///   *explicit*: the client chose to send it. An explicit token takes precedence over a cookie, whether it is valid or
///   not. A cookie is accepted only from an [allowed origin](crate::AllowOrigin).
///
/// [`WsAuthLayer::sources`](crate::WsAuthLayer::sources) validates the sources.
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
/// // Yes: in a subprotocol, as `kubectl` sends it.
/// let name = format!("base64url.bearer.authorization.k8s.io.{}", test_util::base64url(&token));
/// let request = handshake().subprotocols([name.as_str(), "v4.channel.k8s.io"]).build();
/// let response = app.clone().oneshot(request).await?;
/// assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
/// assert_eq!(response.headers()["sec-websocket-protocol"], "v4.channel.k8s.io");
///
/// // Yes: in a cookie, from an allowed origin.
/// let request = handshake().cookie("__Host-session", &token).origin("https://app.example.com").build();
/// assert_eq!(app.clone().oneshot(request).await?.status(), StatusCode::SWITCHING_PROTOCOLS);
///
/// // No: the same cookie from another origin.
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
    Subprotocol(Format),
}

impl TokenSource {
    /// `Authorization: Bearer <token>` (RFC 6750 §2.1), for native clients.
    ///
    /// On by default, because every client that is not a browser can send it. Other schemes in that header are ignored,
    /// but for `DPoP`, if the layer has a [verifier of proofs](crate::Dpop).
    #[must_use]
    pub const fn authorization() -> Self {
        Self(Source::Authorization)
    }

    /// The query parameter `ticket`, for one-time [tickets](crate::Tickets).
    ///
    /// Unlike tokens, tickets are safe in URLs: once they appear in a log, they are worthless.
    #[must_use]
    pub const fn ticket() -> Self {
        Self(Source::Query(Cow::Borrowed("ticket")))
    }

    /// A header that holds only the token, such as `X-Auth-Token`.
    ///
    /// It counts as explicit, because a browser cannot set it on a WebSocket. If a proxy derives the header from a
    /// cookie (`Cf-Access-Jwt-Assertion`), the token is as ambient as that cookie, so also set
    /// [`allow_origin`](crate::WsAuthLayer::allow_origin).
    pub fn header(name: impl Into<Cow<'static, str>>) -> Self {
        Self(Source::Header(name.into()))
    }

    /// A cookie that holds the token, for browsers.
    ///
    /// It is accepted only from an allowed [origin](crate::AllowOrigin): the same origin by default. Use a name that
    /// begins with `__Host-` (RFC 6265bis §4.1.3.2), which other subdomains cannot set and pages without TLS cannot
    /// use. An empty cookie is no token, because it remains after signing out. Names are case-sensitive. A name that
    /// differs only by non-ASCII white space is refused, because parsers disagree on it.
    pub fn cookie(name: impl Into<Cow<'static, str>>) -> Self {
        Self(Source::Cookie(name.into()))
    }

    /// A query parameter that holds the token, such as `access_token` for SignalR.
    ///
    /// Off by default, because URLs end up in logs: RFC 9700 §4.3.2 forbids it for access tokens. The inner service
    /// sees the URI and proxy headers without the parameter, but proxies and outer layers see it.
    pub fn query(name: impl Into<Cow<'static, str>>) -> Self {
        Self(Source::Query(name.into()))
    }

    /// The subprotocol pair `bearer, <token>`: `new WebSocket(url, ["bearer", token])`.
    ///
    /// On by default, because it is the only way for browsers to send a token that is neither in a cookie nor in the
    /// URL. The response selects `bearer`, exactly as it was offered.
    #[must_use]
    pub const fn bearer_subprotocol() -> Self {
        Self(Source::Subprotocol(Format::BEARER))
    }

    /// A pair with another marker: `["access_token", token]`. The marker is matched case-insensitively.
    pub fn subprotocol_pair(marker: impl Into<Cow<'static, str>>) -> Self {
        Self(Source::Subprotocol(Format::Pair { marker: marker.into() }))
    }

    /// One name with a prefix, such as `bearer.<token>`, with at least one other name, which is selected.
    ///
    /// A token offered alone is refused: only the token could be selected, and browsers fail the connection if nothing
    /// is.
    pub fn subprotocol_prefix(prefix: impl Into<Cow<'static, str>>) -> Self {
        Self(Source::Subprotocol(Format::prefix(prefix.into())))
    }

    /// Kubernetes: `base64url.bearer.authorization.k8s.io.<base64url>` with at least one other name, which is selected.
    #[must_use]
    pub const fn kubernetes() -> Self {
        Self(Source::Subprotocol(Format::KUBERNETES))
    }

    /// Phoenix 1.8 and later: `phoenix, base64url.bearer.phx.<base64>`; selects `phoenix`.
    #[must_use]
    pub const fn phoenix() -> Self {
        Self(Source::Subprotocol(Format::PHOENIX))
    }

    /// Quarkus: `bearer-token-carrier, quarkus-http-upgrade%23Authorization%23Bearer%20<token>`; selects
    /// `bearer-token-carrier`.
    #[must_use]
    pub const fn quarkus() -> Self {
        Self(Source::Subprotocol(Format::QUARKUS))
    }

    /// Jupyter: `v1.token.websocket.jupyter.org, v1.token.websocket.jupyter.org.<percent-encoded>`; selects the first.
    #[must_use]
    pub const fn jupyter() -> Self {
        Self(Source::Subprotocol(Format::JUPYTER))
    }

    /// OpenAI realtime: `realtime, openai-insecure-api-key.<token>`; selects `realtime`.
    #[must_use]
    pub const fn openai_realtime() -> Self {
        Self(Source::Subprotocol(Format::OPENAI_REALTIME))
    }

    /// AWS AppSync Events: `aws-appsync-event-ws, header-<base64url of JSON with "Authorization">`; selects the first.
    ///
    /// A JSON object without `Authorization` (as with an API key) holds no token.
    #[must_use]
    pub const fn appsync_events() -> Self {
        Self(Source::Subprotocol(Format::APPSYNC_EVENTS))
    }

    /// The token as the only name: `new WebSocket(url, token)`. For clients that cannot be changed.
    ///
    /// Insecure because browsers require the server to select a name, and there is no other: **the response contains
    /// the token**.
    #[must_use]
    pub const fn insecure_raw_subprotocol() -> Self {
        Self(Source::Subprotocol(Format::Raw))
    }

    pub(super) fn name(&self) -> String {
        match &self.0 {
            Source::Authorization => "Authorization".to_owned(),
            Source::Header(name) => format!("header {}", name.to_ascii_lowercase()),
            Source::Cookie(name) => format!("cookie {name}"),
            Source::Query(name) => format!("query parameter {name}"),
            Source::Subprotocol(format) => format.name(),
        }
    }
}
