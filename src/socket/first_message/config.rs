use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use axum::extract::ws::Message;
use http::request::Parts;

use super::{FirstToken, PendingPermit, pending_limit::PendingLimit};
use crate::{
    error::ConfigError,
    rejection::Rejection,
    session::{AdmissionError, CloseCodes},
};

/// Authentication by the first message, for clients that can send a token only after the WebSocket is open.
///
/// Set with [`WsAuthLayer::first_message`](crate::WsAuthLayer::first_message). It does not change a handshake *with* a
/// token. A handshake without a token is accepted, and then:
///
/// - The client has ten seconds and 16 KiB to send its token. Whatever follows its first message is read once the
///   client is authenticated. If the client is refused, the rest is discarded, for at most two seconds and 8 MiB, so
///   that the client receives the close code.
/// - The token is verified with the [head of the handshake](crate::VerifyInput::parts), as in a handshake, and the
///   session is admitted or not.
/// - Then the callback of [`AuthenticatedUpgrade::on_upgrade`](crate::AuthenticatedUpgrade::on_upgrade) runs. A refused
///   client receives a close code; see [`CloseCodes`].
///
/// **Use such a layer around WebSocket routes only.** The handler runs up to `on_upgrade` *before* the client is
/// authenticated, and so does every other handler that a well-formed WebSocket handshake (a `GET`, or a `CONNECT`) can
/// reach. None of them may do anything for an unknown client. They cannot let it in: for all other extractors the
/// connection cannot be upgraded, and every response except a completed handshake is replaced by a 401.
///
/// # Example
///
/// ```
/// use axum::{Router, response::Response, routing::any};
/// use axum_ws_auth::{AuthenticatedUpgrade, FirstMessage, WsAuthLayer, test_util::{self, TestToken, handshake}};
/// use futures_util::{SinkExt, StreamExt};
/// use serde_json::{Value, json};
/// use tokio_tungstenite::tungstenite::Message;
///
/// async fn graphql(upgrade: AuthenticatedUpgrade<Value>) -> Response {
///     upgrade.protocols(["graphql-transport-ws"]).on_upgrade(async |mut socket| {
///         // The message without the token, which a GraphQL server expects.
///         let init = socket.recv().await.expect("a message").expect("no error");
///         assert_eq!(init.to_text().expect("a text"), r#"{"payload":{},"type":"connection_init"}"#);
///         let _ = socket.send(json!({ "type": "connection_ack" }).to_string().into()).await;
///     })
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = WsAuthLayer::new(test_util::verifier::<Value>()).first_message(FirstMessage::graphql_ws());
/// let app = Router::new().route("/", any(graphql)).layer(layer);
/// let connect = async || {
///     let request = handshake().subprotocols(["graphql-transport-ws"]).build();
///     test_util::connect(app.clone(), request).await.map(|(socket, _)| socket)
/// };
/// let init = |token: &str| {
///     let payload = json!({ "Authorization": format!("Bearer {token}") });
///     json!({ "type": "connection_init", "payload": payload }).to_string()
/// };
///
/// // Yes.
/// let mut socket = connect().await?;
/// socket.send(init(&TestToken::new("alice").sign()).into()).await?;
/// assert_eq!(socket.next().await.expect("a message")?.to_text()?, r#"{"type":"connection_ack"}"#);
///
/// // No.
/// let mut socket = connect().await?;
/// socket.send(init("not a token").into()).await?;
/// let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close frame") };
/// assert_eq!(u16::from(frame.code), 4403);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct FirstMessage {
    find_token: Arc<FindToken>,
    pub(super) greeting: Option<Message>,
    pub(super) accepted: Option<Message>,
    refused: Option<Arc<Refused>>,
    timeout: Duration,
    pub(super) max_bytes: usize,
    pending_limit: PendingLimit,
    close_codes: Option<CloseCodes>,
}

type FindToken = dyn Fn(&Message) -> Option<FirstToken> + Send + Sync;
type Refused = dyn Fn(&Rejection, Option<&Message>) -> Option<Message> + Send + Sync;

impl FirstMessage {
    /// A custom protocol. `find_token` takes the client's first text or binary message and returns the token in it.
    /// Without a token, the client is refused.
    ///
    /// A token that is empty, or contains white space or control characters, is refused without calling the verifier,
    /// as in a handshake.
    pub fn new(find_token: impl Fn(&Message) -> Option<FirstToken> + Send + Sync + 'static) -> Self {
        Self {
            find_token: Arc::new(find_token),
            greeting: None,
            accepted: None,
            refused: None,
            timeout: Duration::from_secs(10),
            max_bytes: 16 * 1024,
            pending_limit: PendingLimit::new(1024),
            close_codes: None,
        }
    }

    /// Sets a message that is sent when the socket is open. Defaults to none.
    pub fn greeting(mut self, message: impl Into<Message>) -> Self {
        self.greeting = Some(message.into());
        self
    }

    /// Sets a message that is sent to accepted clients. Defaults to none.
    pub fn accepted(mut self, message: impl Into<Message>) -> Self {
        self.accepted = Some(message.into());
        self
    }

    /// Sets a message that is sent, before the close frame, to a client without a token or with an invalid one.
    /// Defaults to none.
    ///
    /// It is not sent if the refusal is [temporary](crate::RejectionKind::is_temporary), because clients treat such a
    /// message as final. To choose the message by the refusal, use [`refused_with`](Self::refused_with).
    pub fn refused(self, message: impl Into<Message>) -> Self {
        let message = message.into();
        self.refused_with(move |rejection, _| (!rejection.kind().is_temporary()).then(|| message.clone()))
    }

    /// Sets a function that returns the message for a refused client, which is sent before the close frame. It takes
    /// the rejection, and the client's first message if one was received.
    ///
    /// That message may contain the token. Do not send any of it back except what identifies the request, such as an
    /// id.
    ///
    /// ```
    /// use axum_ws_auth::{FirstMessage, FirstToken, Token};
    ///
    /// let protocol = FirstMessage::new(|message| Some(FirstToken::new(Token::new(message.to_text().ok()?))))
    ///     .refused_with(|rejection, _| Some(format!("no: {}", rejection.kind().as_str()).into()));
    /// ```
    pub fn refused_with(
        mut self,
        message: impl Fn(&Rejection, Option<&Message>) -> Option<Message> + Send + Sync + 'static,
    ) -> Self {
        self.refused = Some(Arc::new(message));
        self
    }

    /// Sets the time from the handshake to the first message. Defaults to ten seconds: an unauthenticated connection
    /// should be short, but a client may have to fetch its token first.
    ///
    /// The verifier has the same time again. Unlike in a handshake, it is not cancelled if the client disconnects.
    pub const fn timeout(mut self, time: Duration) -> Self {
        self.timeout = time;
        self
    }

    /// Sets how many bytes the client may send before it is authenticated, in all frames and including their headers.
    /// Defaults to 16 KiB, which is twice the maximum length of a token.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_bytes(self, bytes: usize) -> Result<Self, ConfigError> {
        if bytes == 0 {
            return Err(ConfigError::ZeroLimit("the first message"));
        }
        Ok(Self { max_bytes: bytes, ..self })
    }

    /// Sets the maximum number of clients that have not authenticated yet. Handshakes beyond it are answered with 503.
    /// Defaults to 1024, because each of them is a connection of an unknown client.
    ///
    /// They are not sessions and do not count towards the limits on sessions. So they cannot keep out a client with a
    /// token in its handshake.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_waiting(self, clients: usize) -> Result<Self, ConfigError> {
        if clients == 0 {
            return Err(ConfigError::ZeroLimit("unauthenticated clients"));
        }
        Ok(Self { pending_limit: self.pending_limit.with_max(clients), ..self })
    }

    /// Sets the maximum number of clients with the same key that have not authenticated yet, so that one client cannot
    /// exhaust [`max_waiting`](Self::max_waiting). Handshakes beyond it are answered with 503. Defaults to no limit,
    /// because only the application can distinguish clients.
    ///
    /// The key is a function of the head of the handshake, such as the client's address. If it returns an `Option`, all
    /// clients with `None` share a limit. Do not use a whole IPv6 address, because one client may have 2⁶⁴ of them: use
    /// the first 64 bits.
    ///
    /// ```
    /// use std::net::IpAddr;
    ///
    /// use axum_ws_auth::{ClientAddr, FirstMessage};
    /// use http::request::Parts;
    ///
    /// fn client(parts: &Parts) -> Option<u64> {
    ///     // Present if the app is served with `into_make_service_with_connect_info::<SocketAddr>()`.
    ///     Some(match parts.extensions.get::<ClientAddr>()?.ip() {
    ///         IpAddr::V4(address) => u64::from(u32::from(address)),
    ///         IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    ///     })
    /// }
    ///
    /// let protocol = FirstMessage::graphql_ws().max_waiting_per_key(16, client)?;
    /// # Ok::<(), axum_ws_auth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_waiting_per_key<K>(
        self,
        clients: usize,
        key: impl Fn(&Parts) -> K + Send + Sync + 'static,
    ) -> Result<Self, ConfigError>
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
    {
        if clients == 0 {
            return Err(ConfigError::ZeroLimit("unauthenticated clients with the same key"));
        }
        Ok(Self { pending_limit: self.pending_limit.with_max_per_key(clients, key), ..self })
    }

    /// Sets the close codes that are used unless the layer sets others.
    pub(super) const fn with_close_codes(mut self, codes: CloseCodes) -> Self {
        self.close_codes = Some(codes);
        self
    }

    pub(crate) fn acquire_permit(&self, parts: &Parts) -> Result<PendingPermit, AdmissionError> {
        self.pending_limit.acquire(parts).ok_or(AdmissionError::Full { retry_after: self.timeout })
    }

    pub(crate) const fn time_limit(&self) -> Duration {
        self.timeout
    }

    pub(crate) const fn close_codes(&self) -> Option<CloseCodes> {
        self.close_codes
    }

    pub(in crate::socket) fn find_token(&self, message: &Message) -> Option<FirstToken> {
        (self.find_token)(message)
    }

    /// The message for a refused client.
    pub(super) fn refused_message(&self, rejection: &Rejection, first: Option<&Message>) -> Option<Message> {
        self.refused.as_ref()?(rejection, first)
    }
}

// By hand: closures have no `Debug`.
impl fmt::Debug for FirstMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstMessage")
            .field("timeout", &self.timeout)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}
