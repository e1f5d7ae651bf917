use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use axum::response::Response;
use tower_layer::Layer;

use crate::{
    error::ConfigError,
    handshake::{Authenticator, Config, Pipeline},
    origin::AllowOrigin,
    rejection::{Challenges, Rejection},
    revocation::Revocations,
    service::WsAuth,
    session::{CloseCodes, Sessions},
    socket::{FirstMessage, RefreshProtocol},
    time::TimeSource,
    token::{Sources, TokenSource, check_subprotocol},
    verify::Verifier,
};

/// Authenticates WebSocket handshakes; see the [crate docs](crate).
///
/// It can stand around a [`Router`](axum::Router), a single route, or in any tower stack. *Every* request through it is
/// authenticated, so that there is no shape of request that gets past; see [`handshakes_only`](Self::handshakes_only).
///
/// # Handshakes and plain requests
///
/// A **handshake** is an HTTP/1.1 `GET` whose `Upgrade` list holds `websocket`, in any case, in any line and beside other
/// protocols (RFC 6455 §4.2.1); or an extended `CONNECT` whose `:protocol` is `websocket` (RFC 8441). Its session is
/// registered and counted. The inner service sees one line `Upgrade: websocket` and one line `Connection: Upgrade`,
/// because axum's extractor and others read no more than that.
///
/// Every other request is **plain**. It is authenticated too, but its session is not registered: it takes no place in the
/// limits and evicts nobody. Another protocol in `Upgrade` is an offer that the layer ignores (RFC 9110 §7.8): `curl --http2`
/// and Java's `HttpClient` offer `h2c` with every request. [`OnUpgrade`](hyper::upgrade::OnUpgrade) is taken out of the
/// extensions of a plain request, so that nothing behind the layer can upgrade it. A route that upgrades to something else
/// belongs outside of the layer.
///
/// # Order of layers
///
/// As with every layer of axum, routes that are added to a router *after* it are outside. One layer stands around a
/// route: it takes the token away, so that another one further in would find none and refuse. Where routes differ in
/// their rules, each has a layer of its own, around verifiers that share what they can ([`Verifier::authorize`]).
///
/// Tracing layers outside of this one see the token. Put them inside, or have them leave out headers and query. The same
/// goes for copies of the URL that proxies add, such as `X-Original-URI`, `X-Forwarded-Uri`, `Forwarded` or `Referer`.
#[derive(Clone)]
#[must_use]
pub struct WsAuthLayer {
    pipeline: Arc<Pipeline>,
}

impl WsAuthLayer {
    /// A layer that takes the subprotocol pair `bearer, <token>` or `Authorization: Bearer <token>` and answers
    /// anything else with a refusal.
    pub fn new<V: Verifier>(verifier: V) -> Self {
        Self { pipeline: Arc::new(Pipeline::new(Arc::new(Authenticator::new(verifier)))) }
    }

    /// Sets where a token may stand.
    ///
    /// Defaults to [`TokenSource::bearer_subprotocol`] and [`TokenSource::authorization`], because a browser can use
    /// the one, every other client the other, and neither leaves the token in a URL.
    ///
    /// # Errors
    ///
    /// If the list is empty, names a source twice, or holds a name that could never match; or if a cookie is among them
    /// and the origin policy is [`AllowOrigin::insecure_any`].
    pub fn sources(mut self, sources: impl IntoIterator<Item = TokenSource>) -> Result<Self, ConfigError> {
        let config = self.config();
        config.sources = Sources::new(sources)?;
        config.check()?;
        Ok(self)
    }

    /// Sets which web pages may open a WebSocket.
    ///
    /// Defaults to [`AllowOrigin::same_origin`] for cookies and to no check for explicit tokens, because a page that
    /// sends one has it. Once set, the policy goes for both.
    ///
    /// # Errors
    ///
    /// If the list is empty or holds an entry that could never match; or if it is [`AllowOrigin::insecure_any`] and a
    /// cookie is among the sources.
    pub fn allow_origin(mut self, policy: impl Into<AllowOrigin>) -> Result<Self, ConfigError> {
        let config = self.config();
        config.allow_origin = Some(policy.into().checked()?);
        config.check()?;
        Ok(self)
    }

    /// Sets how many bytes long a token may be, as it stands in the request. Longer ones are refused before they are
    /// decoded.
    ///
    /// Defaults to 8192, because that is what proxies in front let through in a header line.
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

    /// Sets how many bytes of a request's head a session may keep: its URI, and its headers without the token and without
    /// those that are about the upgrade alone. A larger head is refused with 431, before the token is verified.
    ///
    /// A session keeps its head for as long as it lives, because a verifier is shown the head again when the session is
    /// refreshed. The limit bounds what a client can pin, also one that has yet to authenticate by its
    /// [first message](Self::first_message). Requests that begin no session are not limited.
    ///
    /// Defaults to 16384, because a browser's head is a tenth of that, and hyper accepts no more over HTTP/2.
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

    /// Admits requests *without* a token anonymously. A bad token is still refused.
    ///
    /// Handlers then take `Option<Authenticated<C>>`. Defaults to off.
    pub fn optional(mut self) -> Self {
        self.config().optional = true;
        self
    }

    /// Lets [plain requests](Self#handshakes-and-plain-requests) through without authenticating them. To handlers they are
    /// anonymous. Their headers and URI stay as they are, but they cannot be upgraded.
    ///
    /// For a router where plain routes are authenticated by other means. Defaults to off, because a route that is
    /// believed to be protected should be.
    pub fn handshakes_only(mut self) -> Self {
        self.config().handshakes_only = true;
        self
    }

    /// Sets the realm of the challenge (RFC 9110 §11.5). Defaults to `websocket`, because there must be one.
    ///
    /// # Errors
    ///
    /// If it is empty or holds anything but visible ASCII and spaces.
    pub fn realm(mut self, realm: impl AsRef<str>) -> Result<Self, ConfigError> {
        self.config().challenges = Challenges::new(realm.as_ref())?;
        Ok(self)
    }

    /// Answers refusals with a response of one's own. Start from
    /// [`into_response`](axum::response::IntoResponse::into_response), which has the standard headers.
    ///
    /// On HTTP/1 the connection is closed all the same, and an answer that would mean success is replaced: a refused
    /// handshake is never completed.
    pub fn on_rejection(mut self, hook: impl Fn(Rejection) -> Response + Send + Sync + 'static) -> Self {
        self.config().on_rejection = Some(Arc::new(hook));
        self
    }

    /// Refuses handshakes by accepting them and closing at once, with a code that a page can read.
    ///
    /// To a page every refused handshake looks alike (close code 1006), so that it cannot tell "sign in again" from
    /// "server down". With this it can, by the code and by the reason, which is
    /// [`RejectionKind::as_str`](crate::RejectionKind::as_str). Requests that are no well-formed handshake or whose head is
    /// too large, and pages whose origin is not allowed, still get the plain response; and so does an offer of
    /// subprotocols in which there is neither a token nor one of [`subprotocols`](Self::subprotocols), because browsers
    /// want one to be selected, and any of them might be a secret.
    ///
    /// Defaults to off, because other clients, proxies and logs want the status, and because each refusal then holds a
    /// connection until the client closes it, for two seconds at most.
    pub fn accept_then_close(mut self) -> Self {
        self.config().accept_then_close = true;
        self
    }

    /// Sets the codes with which sockets are closed, at the end of their sessions and by
    /// [`accept_then_close`](Self::accept_then_close).
    ///
    /// Defaults to [`CloseCodes::IANA`], because these are the ones that have a public meaning; or to those of the
    /// protocol that [`first_message`](Self::first_message) speaks.
    pub fn close_codes(mut self, codes: CloseCodes) -> Self {
        self.config().set_close_codes(codes);
        self
    }

    /// Registers the sessions, so that they can be counted, limited, looked at, ended and drained.
    ///
    /// Defaults to no registry: a session then ends at its deadline, or by its own handler.
    pub fn sessions(mut self, sessions: &Sessions) -> Self {
        self.config().session_mut().set_sessions(sessions.clone());
        self
    }

    /// Ends sessions, and refuses handshakes and refreshes, by these revocations.
    ///
    /// Sessions are then registered, with those of [`sessions`](Self::sessions) or by themselves. Defaults to none: a token
    /// is good until it expires.
    pub fn revocations(mut self, revocations: &Revocations) -> Self {
        self.config().session_mut().set_revocations(revocations.clone());
        self
    }

    /// Sets how old a session may become, however often it is refreshed: then it ends with
    /// [`EndReason::MaxLifetime`](crate::EndReason::MaxLifetime).
    ///
    /// Defaults to no limit, because a token says itself how long it is good for. Set it for verifiers whose tokens do
    /// not.
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

    /// Sets how many attempts to [refresh](crate::Session::refresh) a session may make in how long a time, whether they
    /// succeed or not. None at all is a number too.
    ///
    /// Defaults to five a minute, because each of them costs a verification, and a client needs one in the life of a
    /// token.
    pub fn refresh_limit(mut self, attempts: u32, per: Duration) -> Self {
        self.config().session_mut().refresh_limit = (attempts, per);
        self
    }

    /// Sets how long a [refresh](crate::Session::refresh) may take. After that it fails as
    /// [unavailable](crate::VerifyError::unavailable), and the verification is dropped.
    ///
    /// Defaults to ten seconds: a verifier that asks a key server or a database needs less, and a client that refreshes
    /// [by messages](Self::refresh_protocol) is not read from meanwhile.
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

    /// Lets clients refresh their sessions over the socket, without code in the handler.
    ///
    /// Defaults to off: every message is the handler's.
    pub fn refresh_protocol(mut self, protocol: RefreshProtocol) -> Self {
        self.config().refresh_protocol = Some(protocol);
        self
    }

    /// Lets clients authenticate by their first message, who have no token in the handshake.
    ///
    /// Put such a layer around WebSocket routes only: handlers begin to run before the client has authenticated, and wait
    /// in [`on_upgrade`](crate::AuthenticatedUpgrade::on_upgrade); see [`FirstMessage`].
    ///
    /// With [`optional`](Self::optional), that goes for requests that are no handshakes. Defaults to off: no token, no
    /// handshake.
    pub fn first_message(mut self, first_message: FirstMessage) -> Self {
        self.config().set_first_message(first_message);
        self
    }

    /// Names the subprotocols that the application speaks, such as `graphql-transport-ws`, so that one of them can be
    /// selected by [`accept_then_close`](Self::accept_then_close). Handlers still choose for themselves. Defaults to
    /// none.
    ///
    /// # Errors
    ///
    /// If a name is empty or holds a character that a subprotocol may not hold (RFC 6455 §4.1).
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
