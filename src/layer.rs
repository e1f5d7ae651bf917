use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use axum::{response::Response, routing::MethodRouter};
use http::request::Parts;
use tower_layer::Layer;

#[cfg(feature = "streams")]
use crate::stream::Streams;
use crate::{
    error::ConfigError,
    handshake::{Authenticator, Config, Pipeline},
    origin::AllowOrigin,
    refresh::{Form, route},
    rejection::{Challenges, Rejection},
    revocation::Revocations,
    service::WsAuth,
    session::{CloseCodes, KeepAlive, RecheckLimit, SessionMeta, Sessions},
    socket::{FirstMessage, RefreshProtocol},
    time::TimeSource,
    token::{Sources, TokenSource, check_subprotocol},
    verify::Verifier,
};

/// Authenticates WebSocket handshakes; see the [crate docs](crate).
///
/// It can wrap a [`Router`](axum::Router), one route, or any tower service. It authenticates *every* request, so no form of
/// request bypasses it; see [`handshakes_only`](Self::handshakes_only).
///
/// # Handshakes and plain requests
///
/// A **handshake** is an HTTP/1.1 `GET` whose `Upgrade` list holds `websocket`, in any case, in any header line and beside
/// other protocols (RFC 6455 §4.2.1); or an extended `CONNECT` whose `:protocol` is `websocket` (RFC 8441). Its session is
/// registered and counted. The inner service sees one line `Upgrade: websocket` and one line `Connection: Upgrade`, because
/// axum's extractor and others read only the first line.
///
/// Every other request is **plain**. It is authenticated too, but limits do not count it and it evicts no session, unless its
/// response turns out to be a [stream](Self::streams). The layer
/// ignores another protocol in `Upgrade` (RFC 9110 §7.8): `curl --http2` and Java's `HttpClient` offer `h2c` with every request.
/// It removes [`OnUpgrade`](hyper::upgrade::OnUpgrade) from the extensions of a plain request, so that no handler can upgrade
/// it. Put routes that upgrade to another protocol outside the layer.
///
/// # Order of layers
///
/// As with all axum layers, routes added to a router *after* the layer are outside it. Use one layer per route: the outer one
/// removes the token, so an inner one would find none and refuse. If routes need different rules, give each its own layer, with
/// verifiers that share what they can ([`Verifier::authorize`]).
///
/// Tracing layers outside this one see the token. Put them inside, or have them omit headers and query. The same applies to
/// copies of the URL that proxies add, such as `X-Original-URI`, `X-Forwarded-Uri`, `Forwarded` or `Referer`.
#[derive(Clone)]
#[must_use]
pub struct WsAuthLayer {
    pipeline: Arc<Pipeline>,
}

impl WsAuthLayer {
    /// A layer that accepts a token in the subprotocol pair `bearer, <token>` or in `Authorization: Bearer <token>`, and
    /// refuses every other request.
    pub fn new<V: Verifier>(verifier: V) -> Self {
        Self { pipeline: Arc::new(Pipeline::new(Arc::new(Authenticator::new(verifier)))) }
    }

    /// Sets where a client may send the token.
    ///
    /// Defaults to [`TokenSource::bearer_subprotocol`] and [`TokenSource::authorization`]: browsers can use the first, all
    /// other clients the second, and neither puts the token into a URL.
    ///
    /// # Errors
    ///
    /// If the list is empty, names a source twice, or holds a name that can never match; or if it holds a cookie and the
    /// origin policy is [`AllowOrigin::insecure_any`].
    pub fn sources(mut self, sources: impl IntoIterator<Item = TokenSource>) -> Result<Self, ConfigError> {
        let config = self.config();
        config.sources = Sources::new(sources)?;
        config.check()?;
        Ok(self)
    }

    /// Sets which web pages may open a WebSocket.
    ///
    /// Defaults to [`AllowOrigin::same_origin`] for cookies and to no check for explicit tokens, because a foreign page has
    /// no token to send. A policy that you set applies to both.
    ///
    /// # Errors
    ///
    /// If the list is empty or holds an entry that can never match; or if it is [`AllowOrigin::insecure_any`] and a cookie is
    /// among the sources.
    pub fn allow_origin(mut self, policy: impl Into<AllowOrigin>) -> Result<Self, ConfigError> {
        let config = self.config();
        config.allow_origin = Some(policy.into().checked()?);
        config.check()?;
        Ok(self)
    }

    /// Sets the maximum length of a token in bytes, as sent. Longer tokens are refused before they are decoded.
    ///
    /// Defaults to 8192, the usual limit of proxies for a header line.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_token_len(mut self, bytes: usize) -> Result<Self, ConfigError> {
        if bytes == 0 {
            return Err(ConfigError::ZeroTokenLength);
        }
        self.config().session_mut().max_token_len = bytes;
        Ok(self)
    }

    /// Sets the maximum size in bytes of the request head that a session keeps: its URI, and its headers without the token
    /// and the upgrade headers. A larger head is refused with 431, before the token is verified.
    ///
    /// A session keeps its head because a refresh passes it to the verifier again. The limit bounds the memory that a client
    /// can hold, also before it authenticates by its [first message](Self::first_message). Requests that begin no session are
    /// not limited. The [path parameters](crate::PathParams) are kept too, and do not count: they are no longer than the path.
    ///
    /// Defaults to 16384: a browser's head is a tenth of that, and hyper accepts no more over HTTP/2.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_head_len(mut self, bytes: usize) -> Result<Self, ConfigError> {
        if bytes == 0 {
            return Err(ConfigError::ZeroLimit("the head of a request"));
        }
        self.config().max_head_len = bytes;
        Ok(self)
    }

    /// Admits requests *without* a token as anonymous. A bad token is still refused.
    ///
    /// Handlers then take `Option<Authenticated<C>>`. Defaults to off.
    pub fn optional(mut self) -> Self {
        self.config().optional = true;
        self
    }

    /// Lets [plain requests](Self#handshakes-and-plain-requests) through as anonymous, without authenticating them. Their
    /// headers and URI are unchanged, but they cannot be upgraded.
    ///
    /// Use it if plain routes are authenticated by other means. Defaults to off, so that no route is unprotected by mistake.
    pub fn handshakes_only(mut self) -> Self {
        self.config().handshakes_only = true;
        self
    }

    /// Sets the realm of the challenge (RFC 9110 §11.5). Defaults to `websocket`: RFC 6750 §3 requires a parameter.
    ///
    /// # Errors
    ///
    /// If it is empty, or holds a character other than visible ASCII and spaces.
    pub fn realm(mut self, realm: impl AsRef<str>) -> Result<Self, ConfigError> {
        self.config().challenges = Challenges::new(realm.as_ref())?;
        Ok(self)
    }

    /// Sets the response to refusals. Start from
    /// [`into_response`](axum::response::IntoResponse::into_response), which has the standard headers.
    ///
    /// On HTTP/1 the connection is closed regardless. A response that means success is replaced by the standard one, because
    /// a refused handshake must never complete.
    pub fn on_rejection(mut self, hook: impl Fn(Rejection) -> Response + Send + Sync + 'static) -> Self {
        self.config().on_rejection = Some(Arc::new(hook));
        self
    }

    /// Refuses handshakes by accepting them and closing at once, with a close code that a page can read.
    ///
    /// A page sees every refused handshake as close code 1006, so it cannot tell "sign in again" from "server down". With this
    /// setting it can, by the code of [`CloseCodes`] and by the reason, [`RejectionKind::as_str`](crate::RejectionKind::as_str).
    ///
    /// These still get the plain response:
    /// - a request that is no well-formed handshake;
    /// - a head that is too large;
    /// - a page whose origin is not allowed;
    /// - an offer of subprotocols with neither a token nor one of [`subprotocols`](Self::subprotocols): a browser needs one
    ///   selected, and any of them might be a secret.
    ///
    /// Defaults to off: other clients, proxies and logs need the status, and each refusal holds a connection until the client
    /// closes it, for two seconds at most.
    pub fn accept_then_close(mut self) -> Self {
        self.config().accept_then_close = true;
        self
    }

    /// Sets the close codes for sockets whose session ends, and for [`accept_then_close`](Self::accept_then_close).
    ///
    /// Defaults to the codes of the [`first_message`](Self::first_message) protocol, or else to [`CloseCodes::IANA`], the only
    /// ones with a public registration.
    pub fn close_codes(mut self, codes: CloseCodes) -> Self {
        self.config().set_close_codes(codes);
        self
    }

    /// Registers sessions, so that they can be counted, limited, listed, ended and drained. Several layers can share one
    /// registry.
    ///
    /// Defaults to no registry: a session then ends at its deadline, or by its own handler.
    pub fn sessions(mut self, sessions: &Sessions) -> Self {
        self.config().session_mut().set_sessions(sessions.clone());
        self
    }

    /// Sets what a session notes about its connection, for lists of sessions: the device, the room, the address. See
    /// [`SessionMeta`].
    ///
    /// The hook sees the head of the request without the token. It runs once for each session: when the token has been
    /// verified, or, for a client that authenticates by its [first message](Self::first_message), in the handshake. It
    /// must not block. Defaults to none, which costs nothing.
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use axum::extract::ConnectInfo;
    /// use axum_ws_auth::{PathParams, SessionMeta, WsAuthLayer, test_util};
    ///
    /// let layer = WsAuthLayer::new(test_util::verifier::<serde_json::Value>()).session_meta(|parts| {
    ///     let mut meta = SessionMeta::new();
    ///     if let Some(room) = PathParams::of(parts).get("room") {
    ///         meta = meta.with("room", room);
    ///     }
    ///     // Present if the app is served with `into_make_service_with_connect_info::<SocketAddr>()`.
    ///     if let Some(ConnectInfo(address)) = parts.extensions.get::<ConnectInfo<SocketAddr>>() {
    ///         meta = meta.with("address", address.ip().to_string());
    ///     }
    ///     match parts.headers.get("user-agent").and_then(|agent| agent.to_str().ok()) {
    ///         Some(agent) => meta.with("device", agent),
    ///         None => meta,
    ///     }
    /// });
    /// ```
    pub fn session_meta(mut self, hook: impl Fn(&Parts) -> SessionMeta + Send + Sync + 'static) -> Self {
        self.config().session_meta = Some(Arc::new(hook));
        self
    }

    /// Ends sessions, and refuses handshakes and refreshes, by these revocations.
    ///
    /// Sessions are then registered, in [`sessions`](Self::sessions) or in a registry of the layer's own. Defaults to none: a
    /// token is valid until it expires.
    pub fn revocations(mut self, revocations: &Revocations) -> Self {
        self.config().session_mut().set_revocations(revocations.clone());
        self
    }

    /// Sets the maximum lifetime of a session, refreshes included. It then ends with
    /// [`EndReason::MaxLifetime`](crate::EndReason::MaxLifetime).
    ///
    /// Defaults to no limit, because a token has its own expiry. Set it if your verifier returns no expiry.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_lifetime(mut self, lifetime: Duration) -> Result<Self, ConfigError> {
        if lifetime.is_zero() {
            return Err(ConfigError::ZeroLimit("the lifetime"));
        }
        self.config().session_mut().max_lifetime = Some(lifetime);
        Ok(self)
    }

    /// Sets how many [refresh](crate::Session::refresh) attempts a session may make per period, successful or not. Zero
    /// disables refreshes.
    ///
    /// At a [route](Self::refresh_route), only the tokens of the session's own subject count.
    ///
    /// Defaults to five per minute: each attempt costs a verification, and a client needs one per token.
    pub fn refresh_limit(mut self, attempts: u32, per: Duration) -> Self {
        self.config().session_mut().refresh_limit = (attempts, per);
        self
    }

    /// Sets the timeout of a [refresh](crate::Session::refresh). It then fails as
    /// [unavailable](crate::VerifyError::unavailable), and the verification is dropped.
    ///
    /// Defaults to ten seconds. A verifier that asks a key server or a database needs less, and the socket of a client that
    /// refreshes [by messages](Self::refresh_protocol) is not read during a refresh.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn refresh_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        if time.is_zero() {
            return Err(ConfigError::ZeroLimit("the time of a refresh"));
        }
        self.config().session_mut().refresh_timeout = time;
        Ok(self)
    }

    /// Pings clients, which keeps idle connections open and ends the sessions of clients that have vanished.
    ///
    /// A client is sent a ping (RFC 6455 §5.5.2) every `every`, unless messages went both ways in the meantime. All
    /// WebSocket clients answer pings by themselves. If nothing at all arrives within `timeout` after the ping, the
    /// session ends with [`EndReason::Unresponsive`](crate::EndReason::Unresponsive). While a message that was sent
    /// before the ping still makes progress, the `timeout` begins again.
    ///
    /// 30 and 20 seconds are good values. A client whose network or power is gone then frees its place in the
    /// [limits](crate::Limits) within a minute, instead of when its token expires. And proxies do not cut idle
    /// connections, which most do after a minute. The interval is shorter by up to a fifth, by another share for each
    /// session, so that the pings of sockets that were opened at the same moment spread. Choose a longer `timeout` for
    /// clients on slow links: an answer may wait behind a large message.
    ///
    /// The handler has nothing to do. It does not receive the pongs to these pings. It need not receive at all: while the
    /// client is probed, up to 16 messages or 64 KiB are read ahead and kept for the handler. A client that has sent more
    /// than that is not probed until the handler has received some of it. If a client leaves and the handler does not
    /// receive that within `timeout`, the session ends with [`EndReason::Closed`](crate::EndReason::Closed).
    ///
    /// An event stream that was silent for `every` is sent a comment (`:` and a blank line), which clients ignore. Its
    /// client cannot answer, so `timeout` does not concern it.
    ///
    /// For one socket, see [`AuthenticatedUpgrade::keep_alive`](crate::AuthenticatedUpgrade::keep_alive).
    ///
    /// Defaults to off, because pings cost the battery and the data of mobile clients, and many applications have
    /// pings of their own.
    ///
    /// # Errors
    ///
    /// If one of them is zero.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use axum::{Router, response::Response, routing::any};
    /// use axum_ws_auth::{AuthenticatedUpgrade, Sessions, WsAuthLayer, test_util::{self, TestToken, handshake}};
    /// use futures_util::StreamExt;
    /// use serde_json::Value;
    /// use tokio::time::timeout;
    ///
    /// async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    ///     upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let sessions = Sessions::new();
    /// let layer = WsAuthLayer::new(test_util::verifier::<Value>())
    ///     .sessions(&sessions)
    ///     .keep_alive(Duration::from_secs(30), Duration::from_secs(20))?;
    /// let app = Router::new().route("/", any(chat)).layer(layer);
    /// let handshake = |subject| handshake().bearer_subprotocol(&TestToken::new(subject).sign()).build();
    /// let (mut alice, _) = test_util::connect(app.clone(), handshake("alice")).await?;
    /// let (_bob, _) = test_util::connect(app, handshake("bob")).await?;
    ///
    /// // For a minute, only Alice's client runs. It answers pings while it reads.
    /// let reading = async { while let Some(Ok(_)) = alice.next().await {} };
    /// assert!(timeout(Duration::from_secs(60), reading).await.is_err(), "her socket stays open");
    /// assert_eq!(sessions.iter().count(), 1);
    /// assert!(sessions.iter().all(|session| session.subject() == Some("alice")));
    /// # Ok(()) }
    /// ```
    pub fn keep_alive(mut self, every: Duration, timeout: Duration) -> Result<Self, ConfigError> {
        self.config().session_mut().keep_alive = Some(KeepAlive::new(every, timeout)?);
        Ok(self)
    }

    /// Sets how long a session goes on if the verifier cannot say whether its token is still valid, when it is
    /// [rechecked](crate::Verified::recheck_in()). It then ends with
    /// [`EndReason::Unconfirmed`](crate::EndReason::Unconfirmed).
    ///
    /// The time runs from when a recheck is due and gets no answer, until the next answer. Meanwhile the verifier is asked
    /// again after one second, then two, four, and so on up to 30, or later if its error says so
    /// ([`VerifyError::with_retry_after`](crate::VerifyError::with_retry_after)). So a session is open without an answer for
    /// as long as its `recheck_in` and this time together.
    ///
    /// Defaults to five minutes: a database or an identity provider restarts or fails over in less, and clients that
    /// reconnected meanwhile would be refused.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_unconfirmed(mut self, time: Duration) -> Result<Self, ConfigError> {
        if time.is_zero() {
            return Err(ConfigError::ZeroLimit("the time without a recheck"));
        }
        self.config().session_mut().max_unconfirmed = time;
        Ok(self)
    }

    /// Sets how many sessions are [rechecked](crate::Verified::recheck_in()) at the same time. The others wait, in the order
    /// in which they are due.
    ///
    /// Defaults to 32, which is as much as a pool of database connections usually has. It bounds the rate too: if the verifier
    /// takes 20 milliseconds, 32 at a time are 1600 sessions a second, or 96,000 each minute.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_concurrent_rechecks(mut self, rechecks: usize) -> Result<Self, ConfigError> {
        let limit = RecheckLimit::new(rechecks).ok_or(ConfigError::ZeroLimit("rechecks"))?;
        self.config().session_mut().recheck_limit = Arc::new(limit);
        Ok(self)
    }

    /// Lets clients refresh their sessions by messages over the socket, without code in the handler.
    ///
    /// Defaults to off: the handler receives every message.
    pub fn refresh_protocol(mut self, protocol: RefreshProtocol) -> Self {
        self.config().refresh_protocol = Some(protocol);
        self
    }

    /// A `POST` route that refreshes a live session, by the rules of [`Session::refresh`](crate::Session::refresh).
    ///
    /// It is for a page whose token is in an `HttpOnly` cookie, which no script can read and send over the socket. The
    /// page posts to this route, without a body, and the browser adds the cookie. The path names the session:
    /// `/refresh/{session}`. The handler tells the page the [id](crate::Session::id). The route takes the token from the
    /// layer's [`sources`](Self::sources) and applies its [`allow_origin`](Self::allow_origin), so that no other site can
    /// post for the user. Streams are refreshed in the same way.
    ///
    /// Put the route outside the layer, and call this after the layer's settings. With several nodes, call
    /// [`Sessions::reachable_through`](crate::Sessions::reachable_through), and the request may go to any of them.
    ///
    /// # Who may refresh a session
    ///
    /// 1. The layer's verifier is asked about the token, with the head of this request. Whoever has no valid token gets
    ///    401, and no session is looked up. A valid token that its verifier *forbids* to do this goes on: whether it may
    ///    use the session is another question.
    /// 2. The session's own verifier is asked, with the head of the handshake, on the session's own node.
    /// 3. The token must be of the session's subject and issuer. Only then does it count as one of the
    ///    [attempts](Self::refresh_limit), and only then does its sender learn anything of the session. To all others the
    ///    session does not exist. So an id need not be secret.
    ///
    /// A one-time [ticket](crate::Tickets) cannot refresh a session here, because two verifiers are asked.
    ///
    /// # Answers
    ///
    /// | status | body | when |
    /// | --- | --- | --- |
    /// | 200 | `{"expires_in":3600}`, in seconds, or `null` without a deadline | the session has the new token |
    /// | 400, 401, 403, 431, 503 | as for a [`Rejection`] | the request is refused like any other |
    /// | 401 | `invalid_token` | the session's verifier does not accept the token, or it was revoked |
    /// | 403 | `insufficient_scope` | the session's verifier finds the token insufficient |
    /// | 404 | `unknown_session` | there is no such session, it has ended, or it is somebody else's |
    /// | 405 | none | the method is not `POST` |
    /// | 409 | `refresh_in_progress` | another token came first |
    /// | 429 | `too_many_attempts` | see [`refresh_limit`](Self::refresh_limit); with `Retry-After` |
    /// | 503 | `unavailable` | the verifier, the revocations or the session's node cannot be reached; with `Retry-After` |
    ///
    /// Each body but the first is a problem document (RFC 9457) with the name as `error`. Whatever is refused, the session
    /// keeps its token and its deadline. [`on_rejection`](Self::on_rejection) applies to 400, 401, 403, 431 and 503.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoRegistry`] if the layer has no [`sessions`](Self::sessions), and [`ConfigError::ZeroLimit`] if its
    /// [`refresh_limit`](Self::refresh_limit) is zero.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use axum::{Router, body::Body, http::{Request, StatusCode}, response::Response, routing::any};
    /// use axum_ws_auth::{AuthenticatedUpgrade, Sessions, TokenSource, WsAuthLayer};
    /// use axum_ws_auth::test_util::{self, TestToken, handshake};
    /// use futures_util::StreamExt;
    /// use serde_json::Value;
    /// use tower::ServiceExt;
    ///
    /// async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    ///     upgrade.on_upgrade(async |mut socket| {
    ///         let id = socket.session().id().to_string();
    ///         let _ = socket.send(id.into()).await;
    ///         while let Some(Ok(_)) = socket.recv().await {}
    ///     })
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let layer = WsAuthLayer::new(test_util::verifier::<Value>())
    ///     .sources([TokenSource::cookie("__Host-session")])?
    ///     .sessions(&Sessions::new());
    /// let refresh = layer.refresh_route()?;
    /// let app = Router::new().route("/chat", any(chat)).layer(layer).route("/refresh/{session}", refresh);
    ///
    /// let cookie = |token: TestToken| format!("__Host-session={}", token.sign());
    /// let request = handshake().path("/chat").header("host", "app.example.com").origin("https://app.example.com");
    /// let request = request.header("cookie", cookie(TestToken::new("alice")));
    /// let (mut socket, _) = test_util::connect(app.clone(), request.build()).await?;
    /// let id = socket.next().await.expect("the session's id")?.into_text()?;
    ///
    /// let post = |token: TestToken, origin: &str| {
    ///     Request::post(format!("/refresh/{id}"))
    ///         .header("host", "app.example.com")
    ///         .header("origin", origin)
    ///         .header("cookie", cookie(token))
    ///         .body(Body::empty())
    /// };
    /// let token = || TestToken::new("alice").expires_in(Duration::from_secs(2 * 3600));
    ///
    /// // Yes: a newer cookie of the same user, from the same site.
    /// let response = app.clone().oneshot(post(token(), "https://app.example.com")?).await?;
    /// assert_eq!(response.status(), StatusCode::OK);
    ///
    /// // No: another site, or another user.
    /// let response = app.clone().oneshot(post(token(), "https://evil.example")?).await?;
    /// assert_eq!(response.status(), StatusCode::FORBIDDEN);
    /// let response = app.oneshot(post(TestToken::new("bob"), "https://app.example.com")?).await?;
    /// assert_eq!(response.status(), StatusCode::NOT_FOUND);
    /// # Ok(()) }
    /// ```
    pub fn refresh_route<S>(&self) -> Result<MethodRouter<S>, ConfigError>
    where
        S: Clone + Send + Sync + 'static,
    {
        self.refresh_route_in(Form::Standard)
    }

    /// The same as [`refresh_route`](Self::refresh_route), in the form of ASP.NET Core SignalR 11:
    /// `POST {hub}/refresh?id={session}`. Its clients post there by themselves (`withAuthenticationRefresh`), with the
    /// connection token of the negotiation as `id`, which here must be the session's id.
    ///
    /// | status | body | when |
    /// | --- | --- | --- |
    /// | 200 | `{"tokenLifetimeSeconds":3600}`, or `{}` without a deadline | the session has the new token |
    /// | 400 | `{"error":"missing_connection_token"}` | there is no `id` |
    /// | 401 | `invalid_token` | there is no token, it is not valid, or it was revoked |
    /// | 403 | `permission_change_rejected` | the session's verifier finds the token insufficient |
    /// | 404 | `connection_not_found` | there is no such session, it has ended, or it is somebody else's |
    /// | | `refresh_disabled` | the session's layer has a [`refresh_limit`](Self::refresh_limit) of zero |
    /// | 405 | none | the method is not `POST` |
    ///
    /// For what SignalR has no names, the names are those of [`refresh_route`](Self::refresh_route) and of a
    /// [`Rejection`]. [`on_rejection`](Self::on_rejection) does not apply. Centrifugo's protocol has no refresh over HTTP.
    ///
    /// # Errors
    ///
    /// As for [`refresh_route`](Self::refresh_route).
    pub fn signalr_refresh_route<S>(&self) -> Result<MethodRouter<S>, ConfigError>
    where
        S: Clone + Send + Sync + 'static,
    {
        self.refresh_route_in(Form::SignalR)
    }

    fn refresh_route_in<S>(&self, form: Form) -> Result<MethodRouter<S>, ConfigError>
    where
        S: Clone + Send + Sync + 'static,
    {
        let config = &self.pipeline.config.session;
        let Some(sessions) = &config.sessions else { return Err(ConfigError::NoRegistry) };
        if config.refresh_limit.0 == 0 {
            return Err(ConfigError::ZeroLimit("refreshes"));
        }
        Ok(route(Arc::clone(&self.pipeline), sessions.clone(), form))
    }

    /// Lets clients without a token in the handshake authenticate by their first message.
    ///
    /// Wrap only WebSocket routes in such a layer: a handler starts before the client has authenticated, and waits in
    /// [`on_upgrade`](crate::AuthenticatedUpgrade::on_upgrade); see [`FirstMessage`].
    ///
    /// With [`optional`](Self::optional), plain requests without a token are anonymous, and handshakes without one still wait
    /// for the first message. Defaults to off: a handshake without a token is refused.
    pub fn first_message(mut self, first_message: FirstMessage) -> Self {
        self.config().set_first_message(first_message);
        self
    }

    /// Names the application's subprotocols, such as `graphql-transport-ws`, so that
    /// [`accept_then_close`](Self::accept_then_close) can select one. Handlers still choose for themselves. Defaults to none.
    ///
    /// # Errors
    ///
    /// If a name is empty or holds a character that RFC 6455 §4.1 does not allow in a subprotocol.
    pub fn subprotocols<I>(mut self, names: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: Into<Cow<'static, str>>,
    {
        let names: Vec<Cow<'static, str>> = names.into_iter().map(Into::into).collect();
        names.iter().try_for_each(|name| check_subprotocol(name))?;
        self.config().subprotocols = names;
        Ok(self)
    }

    /// Sets which responses end with their session, and which of them take a place in the limits; see [`Streams`].
    ///
    /// Defaults to [`Streams::new`]: every response of unknown length ends with its session, so that no stream outlives its
    /// token, and those whose content type is that of a stream count as connections.
    #[cfg(feature = "streams")]
    pub fn streams(mut self, streams: Streams) -> Self {
        self.config().streams = streams;
        self
    }

    /// Sets the clock, for tests. Defaults to the system's.
    pub fn time_source(mut self, time: TimeSource) -> Self {
        self.config().session_mut().time = time;
        self
    }

    fn config(&mut self) -> &mut Config {
        Arc::make_mut(&mut Arc::make_mut(&mut self.pipeline).config)
    }
}

impl<S> Layer<S> for WsAuthLayer {
    type Service = WsAuth<S>;

    fn layer(&self, inner: S) -> WsAuth<S> {
        WsAuth::new(inner, Arc::clone(&self.pipeline))
    }
}

impl fmt::Debug for WsAuthLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WsAuthLayer").field(&self.pipeline).finish()
    }
}
