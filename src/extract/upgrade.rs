use std::{borrow::Cow, fmt, future::Future};

use axum::{
    extract::{
        FromRequestParts,
        ws::{DefaultOnFailedUpgrade, OnFailedUpgrade, WebSocketUpgrade},
    },
    response::Response,
};
use http::{HeaderValue, request::Parts};

use super::{Authenticated, AuthenticatedRejection};
use crate::{AuthenticatedSocket, Session};

/// axum's [`WebSocketUpgrade`] for an authenticated client.
///
/// It has all of axum's knobs, and one other default: a read buffer of 8 KiB instead of 128 KiB, which is allocated for
/// every connection and makes up most of what an idle one costs. Large messages still arrive whole; raise it with
/// [`read_buffer_size`](Self::read_buffer_size) where most of them are large.
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
pub struct AuthenticatedUpgrade<C, F = DefaultOnFailedUpgrade> {
    upgrade: WebSocketUpgrade<F>,
    session: Session<C>,
}

/// Small, because it is there for every connection; see [`AuthenticatedUpgrade`].
const READ_BUFFER_SIZE: usize = 8 * 1024;

impl<C, F> AuthenticatedUpgrade<C, F> {
    /// The session that begins if the upgrade succeeds.
    #[must_use]
    pub const fn session(&self) -> &Session<C> {
        &self.session
    }

    /// Sets the size of the read buffer in bytes. Defaults to 8 KiB, because axum's 128 KiB is most of what an idle
    /// connection costs.
    pub fn read_buffer_size(self, bytes: usize) -> Self {
        self.with(|upgrade| upgrade.read_buffer_size(bytes))
    }

    /// Sets how many bytes are gathered before they are written, short of a flush; see
    /// [`WebSocketUpgrade::write_buffer_size`]. Defaults to 128 KiB as in axum, because it is only allocated as it
    /// fills.
    pub fn write_buffer_size(self, bytes: usize) -> Self {
        self.with(|upgrade| upgrade.write_buffer_size(bytes))
    }

    /// Sets how many bytes may wait to be written while writing fails; see
    /// [`WebSocketUpgrade::max_write_buffer_size`]. Defaults to no limit, as in axum.
    pub fn max_write_buffer_size(self, bytes: usize) -> Self {
        self.with(|upgrade| upgrade.max_write_buffer_size(bytes))
    }

    /// Sets how many bytes a message may have. Defaults to 64 MiB, as in axum.
    pub fn max_message_size(self, bytes: usize) -> Self {
        self.with(|upgrade| upgrade.max_message_size(bytes))
    }

    /// Sets how many bytes a frame may have. Defaults to 16 MiB, as in axum.
    pub fn max_frame_size(self, bytes: usize) -> Self {
        self.with(|upgrade| upgrade.max_frame_size(bytes))
    }

    /// Sets whether frames without a mask are accepted. Defaults to `false`, because RFC 6455 §5.1 forbids them.
    pub fn accept_unmasked_frames(self, accept: bool) -> Self {
        self.with(|upgrade| upgrade.accept_unmasked_frames(accept))
    }

    /// Selects the first of these subprotocols that the client offered; see [`WebSocketUpgrade::protocols`].
    ///
    /// Where none is selected and the token came in the list, the layer selects the public marker, because browsers
    /// insist on one.
    pub fn protocols<I>(self, protocols: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Cow<'static, str>>,
    {
        self.with(|upgrade| upgrade.protocols(protocols))
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
        AuthenticatedUpgrade { upgrade: self.upgrade.on_failed_upgrade(callback), session: self.session }
    }

    fn with(self, change: impl FnOnce(WebSocketUpgrade<F>) -> WebSocketUpgrade<F>) -> Self {
        Self { upgrade: change(self.upgrade), session: self.session }
    }
}

impl<C: Send + Sync + 'static, F: OnFailedUpgrade> AuthenticatedUpgrade<C, F> {
    /// Completes the handshake and runs the callback with the socket, in a task of its own.
    #[must_use = "the handshake is completed by returning this response"]
    pub fn on_upgrade<H, Fut>(self, callback: H) -> Response
    where
        H: FnOnce(AuthenticatedSocket<C>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let session = self.session;
        self.upgrade.on_upgrade(|socket| callback(AuthenticatedSocket::new(socket, session)))
    }
}

impl<C, S> FromRequestParts<S> for AuthenticatedUpgrade<C>
where
    C: Send + Sync + 'static,
    S: Send + Sync,
{
    type Rejection = AuthenticatedRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let Authenticated(session) =
            <Authenticated<C> as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state)
            .await
            .map_err(AuthenticatedRejection::Upgrade)?
            .read_buffer_size(READ_BUFFER_SIZE);
        Ok(Self { upgrade, session })
    }
}

// By hand: a derive would ask for `C: Debug`.
impl<C, F> fmt::Debug for AuthenticatedUpgrade<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticatedUpgrade").field("upgrade", &self.upgrade).field("session", &self.session).finish()
    }
}
