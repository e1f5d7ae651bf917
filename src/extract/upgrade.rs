use std::{
    borrow::Cow,
    fmt,
    future::{Future, ready},
    time::Duration,
};

use axum::{
    Error,
    extract::{
        FromRequestParts,
        ws::{OnFailedUpgrade, WebSocketUpgrade},
    },
    response::Response,
};
use http::{HeaderValue, request::Parts};
use hyper::upgrade::OnUpgrade;

use super::{
    Authenticated, AuthenticatedRejection,
    first_message::{SocketSettings, open},
};
use crate::{
    error::ConfigError,
    handshake::{InBandRefresh, PendingSession, no_connection},
    session::{ConnectionGuard, KeepAlive, Session},
    socket::{AuthenticatedSocket, RefreshProtocol, SocketParts, Supervisor, Transport},
    websocket::Limits,
};

/// axum's [`WebSocketUpgrade`] for an authenticated client.
///
/// It answers the handshake as axum does. The socket is this crate's own: it holds no buffer between messages,
/// allocates for a message only as its bytes arrive, and frees all of it afterwards. So there is no read buffer to
/// size.
///
/// # Example
///
/// ```
/// use axum::response::Response;
/// use axum_ws_auth::AuthenticatedUpgrade;
///
/// # struct Claims;
/// async fn chat(upgrade: AuthenticatedUpgrade<Claims>) -> Response {
///     upgrade.max_message_size(64 * 1024).on_upgrade(async |mut socket| {
///         while let Some(Ok(message)) = socket.recv().await {
///             if socket.send(message).await.is_err() {
///                 break;
///             }
///         }
///     })
/// }
/// ```
#[must_use]
pub struct AuthenticatedUpgrade<C, F = fn(Error)> {
    upgrade: WebSocketUpgrade,
    limits: Limits,
    on_failed_upgrade: F,
    client: Client<C>,
    refresh_protocol: Option<RefreshProtocol>,
    keep_alive: Option<KeepAlive>,
}

enum Client<C> {
    /// From here on the session lasts as long as its guard, here and then in the socket's supervisor.
    Known(Session<C>, ConnectionGuard, OnUpgrade),
    /// The client is to authenticate by its first message.
    Pending(PendingSession<C>),
}

impl<C, F> AuthenticatedUpgrade<C, F> {
    /// The session. `None` where the client has yet to authenticate by its [first message](crate::FirstMessage).
    #[must_use]
    pub const fn session(&self) -> Option<&Session<C>> {
        match &self.client {
            Client::Known(session, ..) => Some(session),
            Client::Pending(_) => None,
        }
    }

    /// Sets how many bytes may be buffered before a sender has to wait. Defaults to 128 KiB, as in axum, which keeps a
    /// connection busy. The buffer is allocated as it fills.
    pub const fn write_buffer_size(mut self, bytes: usize) -> Self {
        self.limits.write_buffer = bytes;
        self
    }

    /// Sets the maximum size of a message in bytes. A client that sends a larger one is closed with code 1009.
    ///
    /// Defaults to 16 MiB, the same as for a frame, so that a client cannot exceed the frame limit by fragmenting.
    /// axum's default is 64 MiB.
    pub const fn max_message_size(mut self, bytes: usize) -> Self {
        self.limits.max_message = bytes;
        self
    }

    /// Sets the maximum payload of a frame in bytes. A client that announces more is closed with code 1009, before
    /// anything is read or allocated. Defaults to 16 MiB, as in axum.
    pub const fn max_frame_size(mut self, bytes: usize) -> Self {
        self.limits.max_frame = bytes;
        self
    }

    /// Sets whether frames without a mask are accepted. Defaults to `false`, because RFC 6455 §5.1 forbids them.
    pub const fn accept_unmasked_frames(mut self, accept: bool) -> Self {
        self.limits.accept_unmasked = accept;
        self
    }

    /// Sets how this socket is kept alive, instead of as [`WsAuthLayer::keep_alive`](crate::WsAuthLayer::keep_alive)
    /// says.
    ///
    /// # Errors
    ///
    /// If one of the times is zero.
    pub fn keep_alive(mut self, every: Duration, timeout: Duration) -> Result<Self, ConfigError> {
        self.keep_alive = Some(KeepAlive::new(every, timeout)?);
        Ok(self)
    }

    /// Sends no pings over this socket, whatever [`WsAuthLayer::keep_alive`](crate::WsAuthLayer::keep_alive) says: for
    /// a protocol with pings of its own.
    pub fn without_keep_alive(mut self) -> Self {
        self.keep_alive = None;
        self
    }

    /// Selects the first of these subprotocols that the client offered; see [`WebSocketUpgrade::protocols`].
    ///
    /// If none is selected and the token came in the list, the layer selects the public marker, because browsers
    /// require a selection.
    pub fn protocols<I>(mut self, protocols: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Cow<'static, str>>,
    {
        self.upgrade = self.upgrade.protocols(protocols);
        self
    }

    /// The subprotocols that the client offered. The token is not among them.
    pub fn requested_protocols(&self) -> impl Iterator<Item = &HeaderValue> {
        self.upgrade.requested_protocols()
    }

    /// Selects a subprotocol. The response omits one that was not offered.
    pub fn set_selected_protocol(&mut self, protocol: HeaderValue) {
        self.upgrade.set_selected_protocol(protocol);
    }

    /// The subprotocol selected so far by this handler.
    pub fn selected_protocol(&self) -> Option<&HeaderValue> {
        self.upgrade.selected_protocol()
    }

    /// Sets the callback for an upgrade that fails after the response was sent. Defaults to none, as in axum.
    pub fn on_failed_upgrade<G: OnFailedUpgrade>(self, callback: G) -> AuthenticatedUpgrade<C, G> {
        AuthenticatedUpgrade {
            upgrade: self.upgrade,
            limits: self.limits,
            on_failed_upgrade: callback,
            client: self.client,
            refresh_protocol: self.refresh_protocol,
            keep_alive: self.keep_alive,
        }
    }
}

impl<C: Send + Sync + 'static, F: OnFailedUpgrade> AuthenticatedUpgrade<C, F> {
    /// Completes the handshake, and runs the callback with the socket in a new task.
    ///
    /// The same task [supervises](AuthenticatedSocket) the session, which ends when the callback has returned and the
    /// socket is dropped. If the session ends before the socket is open, the callback does not run.
    #[must_use = "the handshake is completed by returning this response"]
    pub fn on_upgrade<H, Fut>(self, callback: H) -> Response
    where
        H: FnOnce(AuthenticatedSocket<C>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let Self { upgrade, limits, on_failed_upgrade, client, refresh_protocol, keep_alive } = self;
        let sending = (refresh_protocol, keep_alive);
        // Only for its response: `upgrade` has no connection any more.
        let subprotocol = upgrade.selected_protocol().cloned();
        let response = upgrade.on_upgrade(|_| ready(()));
        match client {
            Client::Known(session, guard, connection) => {
                tokio::spawn(async move {
                    match connection.await {
                        Ok(upgraded) => {
                            let transport = Transport::new(upgraded, limits);
                            let parts = SocketParts { transport, subprotocol, replay: None };
                            // A new task, as large as the supervisor only: idle sockets pay for its size.
                            tokio::spawn(Supervisor::new(parts, (session, guard), sending, callback));
                        }
                        Err(error) => on_failed_upgrade.call(Error::new(error)),
                    }
                });
            }
            Client::Pending(pending) => {
                let settings = SocketSettings { limits, subprotocol, on_failed_upgrade };
                if let Some(withheld) = pending.upgrade.take() {
                    tokio::spawn(async move {
                        if let Some((parts, session, guard)) = open(pending, withheld, settings).await {
                            // A new task: this one also holds what a refusal needs, and is seven times as large.
                            tokio::spawn(Supervisor::new(parts, (session, guard), sending, callback));
                        }
                    });
                }
            }
        }
        response
    }
}

impl<C, S> FromRequestParts<S> for AuthenticatedUpgrade<C>
where
    C: Send + Sync + 'static,
    S: Send + Sync,
{
    type Rejection = AuthenticatedRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let pending = parts.extensions.remove::<PendingSession<C>>();
        // axum's extractor requires a connection. It only answers the handshake, so a placeholder will do.
        let connection = parts.extensions.remove::<OnUpgrade>();
        if pending.is_some() || connection.is_some() {
            parts.extensions.insert(no_connection());
        }
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state).await;
        let upgrade = upgrade.map_err(AuthenticatedRejection::Upgrade);
        let (client, upgrade) = match (pending, connection) {
            (Some(pending), _) => (Client::Pending(pending), upgrade?),
            (None, connection) => {
                let authenticated = <Authenticated<C> as FromRequestParts<S>>::from_request_parts(parts, state);
                let Authenticated(session) = authenticated.await?;
                let upgrade = upgrade?;
                let guard = session.guard();
                (Client::Known(session, guard, connection.unwrap_or_else(no_connection)), upgrade)
            }
        };
        let refresh_protocol = parts.extensions.remove().map(|InBandRefresh(protocol)| protocol);
        let keep_alive = match &client {
            Client::Known(session, ..) => session.core().keep_alive(),
            Client::Pending(pending) => pending.config.session.keep_alive,
        };
        let limits = Limits::default();
        Ok(Self { upgrade, limits, on_failed_upgrade: |_| {}, client, refresh_protocol, keep_alive })
    }
}

// By hand: a derive would ask for `C: Debug`.
impl<C, F> fmt::Debug for AuthenticatedUpgrade<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticatedUpgrade")
            .field("selected_protocol", &self.selected_protocol())
            .field("limits", &self.limits)
            .field("session", &self.session())
            .finish_non_exhaustive()
    }
}
