use std::{
    borrow::Cow,
    fmt,
    future::{Future, ready},
};

use axum::{
    Error,
    extract::{
        FromRequestParts,
        ws::{OnFailedUpgrade, WebSocket, WebSocketUpgrade},
    },
    response::Response,
};
use http::{HeaderValue, request::Parts};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::{
    Authenticated, AuthenticatedRejection,
    deferred::{Plan, open},
};
use crate::{
    AuthenticatedSocket, RefreshProtocol, Session,
    gate::{Deferred, InBand},
    handshake::no_connection,
    session::Lease,
    socket::{Opened, Supervisor, Transport},
};

/// axum's [`WebSocketUpgrade`] for an authenticated client.
///
/// It has all of axum's knobs, and one other default: a read buffer of 8 KiB instead of 128 KiB, which is allocated for
/// every connection and makes up most of what an idle one costs: 11 KiB instead of 134. The price is paid by messages that
/// are larger than the buffer, which are read in pieces: measured, those of 64 KiB are echoed four fifths as fast, and
/// those of 1 MiB two thirds. Where most messages are large, and connections few, set
/// [`read_buffer_size`](Self::read_buffer_size) to axum's.
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
    limits: WebSocketConfig,
    on_failed_upgrade: F,
    client: Client<C>,
    refresh_protocol: Option<RefreshProtocol>,
}

enum Client<C> {
    /// From here on the session lasts as long as its lease: in this, and then in what supervises the socket.
    Known(Session<C>, Lease),
    /// It is to authenticate by its first message.
    Unknown(Deferred<C>),
}

/// Small, because it is there for every connection; see [`AuthenticatedUpgrade`].
const READ_BUFFER_SIZE: usize = 8 * 1024;

impl<C, F> AuthenticatedUpgrade<C, F> {
    /// The session. `None` where the client has yet to authenticate by its [first message](crate::FirstMessage).
    #[must_use]
    pub const fn session(&self) -> Option<&Session<C>> {
        match &self.client {
            Client::Known(session, _) => Some(session),
            Client::Unknown(_) => None,
        }
    }

    /// Sets the size of the read buffer in bytes. Defaults to 8 KiB, because most messages are smaller, and axum's 128 KiB
    /// is most of what an idle connection costs.
    pub const fn read_buffer_size(mut self, bytes: usize) -> Self {
        self.limits.read_buffer_size = bytes;
        self
    }

    /// Sets how many bytes are gathered before they are written, short of a flush; see
    /// [`WebSocketUpgrade::write_buffer_size`]. Defaults to 128 KiB as in axum, because it is only allocated as it
    /// fills.
    pub const fn write_buffer_size(mut self, bytes: usize) -> Self {
        self.limits.write_buffer_size = bytes;
        self
    }

    /// Sets how many bytes may wait to be written while writing fails; see
    /// [`WebSocketUpgrade::max_write_buffer_size`]. Defaults to no limit, as in axum. A
    /// [`write_buffer_size`](Self::write_buffer_size) that is not less becomes so.
    pub const fn max_write_buffer_size(mut self, bytes: usize) -> Self {
        self.limits.max_write_buffer_size = bytes;
        self
    }

    /// Sets how many bytes a message may have. Defaults to 64 MiB, as in axum.
    pub const fn max_message_size(mut self, bytes: usize) -> Self {
        self.limits.max_message_size = Some(bytes);
        self
    }

    /// Sets how many bytes a frame may have. Defaults to 16 MiB, as in axum.
    pub const fn max_frame_size(mut self, bytes: usize) -> Self {
        self.limits.max_frame_size = Some(bytes);
        self
    }

    /// Sets whether frames without a mask are accepted. Defaults to `false`, because RFC 6455 §5.1 forbids them.
    pub const fn accept_unmasked_frames(mut self, accept: bool) -> Self {
        self.limits.accept_unmasked_frames = accept;
        self
    }

    /// Selects the first of these subprotocols that the client offered; see [`WebSocketUpgrade::protocols`].
    ///
    /// Where none is selected and the token came in the list, the layer selects the public marker, because browsers
    /// insist on one.
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

    /// Selects a subprotocol. One that was not offered is left out of the answer.
    pub fn set_selected_protocol(&mut self, protocol: HeaderValue) {
        self.upgrade.set_selected_protocol(protocol);
    }

    /// The subprotocol selected so far by this handler.
    pub fn selected_protocol(&self) -> Option<&HeaderValue> {
        self.upgrade.selected_protocol()
    }

    /// Sets what is called if the upgrade fails after the handshake was answered. Defaults to nothing, as in axum.
    pub fn on_failed_upgrade<G: OnFailedUpgrade>(self, callback: G) -> AuthenticatedUpgrade<C, G> {
        AuthenticatedUpgrade {
            upgrade: self.upgrade,
            limits: self.limits,
            on_failed_upgrade: callback,
            client: self.client,
            refresh_protocol: self.refresh_protocol,
        }
    }
}

impl<C: Send + Sync + 'static, F: OnFailedUpgrade> AuthenticatedUpgrade<C, F> {
    /// Completes the handshake and runs the callback with the socket, in a task of its own.
    ///
    /// The session is [supervised](AuthenticatedSocket) in that same task. It is free when the callback is done and the
    /// socket dropped. If the session has ended by the time the socket is open, the callback does not run.
    #[must_use = "the handshake is completed by returning this response"]
    pub fn on_upgrade<H, Fut>(self, callback: H) -> Response
    where
        H: FnOnce(AuthenticatedSocket<C>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let Self { upgrade, limits, on_failed_upgrade, client, refresh_protocol } = self;
        let limits = consistent(limits);
        match client {
            Client::Known(session, lease) => {
                let open = |socket: WebSocket| {
                    let subprotocol = socket.protocol().cloned();
                    let opened = Opened { transport: Transport::Axum(socket), subprotocol, replay: None };
                    // In a task of its own size: axum's, which has opened the socket, is twice as large.
                    tokio::spawn(Supervisor::new(opened, (session, lease), refresh_protocol, callback));
                    ready(())
                };
                limited(upgrade, limits).on_failed_upgrade(on_failed_upgrade).on_upgrade(open)
            }
            Client::Unknown(deferred) => {
                let plan = Plan { limits, subprotocol: upgrade.selected_protocol().cloned(), on_failed_upgrade };
                if let Some(claimed) = deferred.unclaimed.claim() {
                    tokio::spawn(async move {
                        if let Some((opened, session, lease)) = open(deferred, claimed, plan).await {
                            // In a task of its own size: that of this one, which can refuse and say why, is seven times
                            // as large.
                            tokio::spawn(Supervisor::new(opened, (session, lease), refresh_protocol, callback));
                        }
                    });
                }
                // For the answer alone: what it would upgrade is not the connection.
                upgrade.on_upgrade(|_| ready(()))
            }
        }
    }
}

impl<C, S> FromRequestParts<S> for AuthenticatedUpgrade<C>
where
    C: Send + Sync + 'static,
    S: Send + Sync,
{
    type Rejection = AuthenticatedRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let deferred = parts.extensions.remove::<Deferred<C>>();
        if deferred.is_some() {
            // axum insists on one, and the real one is withheld.
            parts.extensions.insert(no_connection());
        }
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state).await;
        let upgrade = upgrade.map_err(AuthenticatedRejection::Upgrade);
        let (client, upgrade) = match deferred {
            Some(deferred) => (Client::Unknown(deferred), upgrade?),
            None => {
                let authenticated = <Authenticated<C> as FromRequestParts<S>>::from_request_parts(parts, state);
                let Authenticated(session) = authenticated.await?;
                let upgrade = upgrade?;
                let lease = session.lease();
                (Client::Known(session, lease), upgrade)
            }
        };
        let limits = WebSocketConfig::default().read_buffer_size(READ_BUFFER_SIZE);
        let refresh_protocol = parts.extensions.remove().map(|InBand(protocol)| protocol);
        Ok(Self { upgrade, limits, on_failed_upgrade: |_| {}, client, refresh_protocol })
    }
}

/// tungstenite panics if what may wait to be written is not more than what is gathered before.
fn consistent(mut limits: WebSocketConfig) -> WebSocketConfig {
    limits.max_write_buffer_size = limits.max_write_buffer_size.max(1);
    limits.write_buffer_size = limits.write_buffer_size.min(limits.max_write_buffer_size - 1);
    limits
}

fn limited(upgrade: WebSocketUpgrade, limits: WebSocketConfig) -> WebSocketUpgrade {
    let upgrade = upgrade
        .read_buffer_size(limits.read_buffer_size)
        .write_buffer_size(limits.write_buffer_size)
        .max_write_buffer_size(limits.max_write_buffer_size)
        .accept_unmasked_frames(limits.accept_unmasked_frames);
    let upgrade = limits.max_message_size.into_iter().fold(upgrade, WebSocketUpgrade::max_message_size);
    limits.max_frame_size.into_iter().fold(upgrade, WebSocketUpgrade::max_frame_size)
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
