//! What a session is, and how long it lasts.

use std::{sync::Arc, time::Duration};

use http::request::Parts;

use super::WsAuthLayer;
#[cfg(feature = "streams")]
use crate::stream::Streams;
use crate::{
    error::ConfigError,
    revocation::Revocations,
    session::{KeepAlive, SessionMeta, Sessions},
};

/// # Sessions
impl WsAuthLayer {
    /// Registers sessions, so that they can be counted, limited, listed, ended and drained. Several layers can share
    /// one registry.
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
    /// use axum_ws_auth::{ClientAddr, PathParams, SessionMeta, WsAuthLayer, test_util};
    ///
    /// let layer = WsAuthLayer::new(test_util::verifier::<serde_json::Value>()).session_meta(|parts| {
    ///     let mut meta = SessionMeta::new();
    ///     if let Some(room) = PathParams::of(parts).get("room") {
    ///         meta = meta.with("room", room);
    ///     }
    ///     // Present if the app is served with `into_make_service_with_connect_info::<SocketAddr>()`.
    ///     if let Some(client) = parts.extensions.get::<ClientAddr>() {
    ///         meta = meta.with("address", client.to_string());
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
    /// Sessions are then registered, in [`sessions`](Self::sessions) or in a registry of the layer's own. Defaults to
    /// none: a token is valid until it expires.
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

    /// Pings clients, which keeps idle connections open and ends the sessions of clients that have vanished.
    ///
    /// A client is sent a ping (RFC 6455 §5.5.2) every `every`, unless messages went both ways in the meantime. All
    /// WebSocket clients answer pings by themselves. If nothing at all arrives within `timeout` after the ping, the
    /// session ends with [`EndReason::Unresponsive`](crate::EndReason::Unresponsive). While a message that was sent
    /// before the ping still makes progress, the `timeout` begins again.
    ///
    /// 30 and 20 seconds are good values. If a client's network or power is gone, its place in the
    /// [limits](crate::Limits) is then free within a minute, instead of when its token expires. The pings also keep
    /// proxies from cutting idle connections, which most do after a minute. Each session shortens the interval by up to
    /// a fifth, each by another amount, so that sockets that were opened at the same moment are not pinged at the same
    /// moment. Choose a longer `timeout` for clients on slow links: an answer may wait behind a large message.
    ///
    /// The handler has nothing to do. It does not receive the pongs to these pings. It need not receive at all: while
    /// the client is probed, up to 16 messages or 64 KiB are read ahead and kept for the handler. A client that has
    /// sent more than that is not probed until the handler has received some of it. If a client leaves and the handler
    /// does not receive that within `timeout`, the session ends with [`EndReason::Closed`](crate::EndReason::Closed).
    ///
    /// An event stream that was silent for `every` is sent a comment (`:` and a blank line), which clients ignore. Its
    /// client cannot answer, so `timeout` does not apply to it.
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

    /// Sets which responses end with their session, and which of them take a place in the limits; see [`Streams`].
    ///
    /// Defaults to [`Streams::new`]: every response of unknown length ends with its session, so that no stream outlives
    /// its token, and those whose content type is that of a stream count as connections.
    #[cfg(feature = "streams")]
    pub fn streams(mut self, streams: Streams) -> Self {
        self.config().streams = streams;
        self
    }
}
