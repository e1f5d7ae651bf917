//! Authentication by the first message of a client.

mod candidate;
mod dialects;
mod rationed;

use std::{fmt, sync::Arc, time::Duration};

use axum::extract::ws::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use candidate::{Candidate, NoToken};
pub(super) use rationed::Rationed;

use crate::{AdmissionError, CloseCodes, ConfigError, Token};

/// How clients authenticate that can send a token only when the WebSocket is open.
///
/// Set with [`WsAuthLayer::first_message`](crate::WsAuthLayer::first_message). A handshake *with* a token is treated as
/// without this. One without a token is accepted, and then:
///
/// - The client has ten seconds and 16 KiB to send its token. Of what it sends behind that nothing is read.
/// - The token is verified as it would have been in the handshake, with the head of the handshake (without the headers
///   that are about the upgrade alone; of its extensions there is only axum's `OriginalUri`), and the session is admitted or not.
/// - Only then the callback of [`AuthenticatedUpgrade::on_upgrade`](crate::AuthenticatedUpgrade::on_upgrade) runs. A
///   client that is refused is told so by a close code; see [`CloseCodes`].
///
/// **Put such a layer around WebSocket routes only.** The handler itself runs *before*, as far as `on_upgrade`: it must
/// not do anything there for an unknown client, and so must no other handler that a well-formed WebSocket handshake (a
/// `GET`, or a `CONNECT`) can reach. None of them can let such a client in: to all other extractors the connection cannot
/// be upgraded, and any answer but that of a completed handshake is replaced by a 401.
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
///         // A GraphQL server expects to see this. The token is no longer in it.
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
    find: Arc<Find>,
    greeting: Option<Message>,
    accepted: Option<Message>,
    refused: Option<Message>,
    timeout: Duration,
    max_bytes: usize,
    waiting: Arc<Semaphore>,
    close_codes: Option<CloseCodes>,
}

/// A place among the clients that have yet to authenticate.
pub(crate) type Place = OwnedSemaphorePermit;

/// What [`FirstMessage`] found in a client's first message.
#[must_use]
pub struct FirstToken {
    pub(crate) token: Token,
    pub(crate) replay: Option<Message>,
}

type Find = dyn Fn(&Message) -> Option<FirstToken> + Send + Sync;

impl FirstMessage {
    /// A protocol of one's own: `find` is given the client's first text or binary message, and finds the token in it.
    /// Without a token the client is refused.
    pub fn new(find: impl Fn(&Message) -> Option<FirstToken> + Send + Sync + 'static) -> Self {
        Self {
            find: Arc::new(find),
            greeting: None,
            accepted: None,
            refused: None,
            timeout: Duration::from_secs(10),
            max_bytes: 16 * 1024,
            waiting: Arc::new(Semaphore::new(1024)),
            close_codes: None,
        }
    }

    /// The protocol `graphql-transport-ws`: the token is in the payload of `connection_init`, as `Authorization` (with or
    /// without `Bearer`), `token`, `accessToken` or `authToken`.
    ///
    /// The handler receives `connection_init` without the token, and answers it. The close codes are
    /// [`CloseCodes::GRAPHQL_WS`], unless the layer is given others: 4403 for a client that is refused, 4408 for one that
    /// is silent.
    pub fn graphql_ws() -> Self {
        Self { close_codes: Some(CloseCodes::GRAPHQL_WS), ..Self::new(dialects::graphql_ws) }
    }

    /// As Home Assistant does it: `auth_required` is answered by `{"type":"auth","access_token":"…"}`, and that by
    /// `auth_ok` or `auth_invalid`.
    pub fn home_assistant() -> Self {
        Self::new(dialects::home_assistant)
            .greeting(r#"{"type":"auth_required"}"#)
            .accepted(r#"{"type":"auth_ok"}"#)
            .refused(r#"{"type":"auth_invalid","message":"Invalid access token"}"#)
    }

    /// As Centrifugo's clients do it in JSON: the token is in the first command, `{"id":1,"connect":{"token":"…"}}`.
    ///
    /// The handler receives that command without the token (and what else came with it, a command a line), and answers it.
    /// The close codes are [`CloseCodes::CENTRIFUGO`], unless the layer is given others.
    pub fn centrifugo() -> Self {
        Self { close_codes: Some(CloseCodes::CENTRIFUGO), ..Self::new(dialects::centrifugo) }
    }

    /// Sets what is sent to the client first. Defaults to nothing.
    pub fn greeting(mut self, message: impl Into<Message>) -> Self {
        self.greeting = Some(message.into());
        self
    }

    /// Sets what is sent to a client that was accepted. Defaults to nothing.
    pub fn accepted(mut self, message: impl Into<Message>) -> Self {
        self.accepted = Some(message.into());
        self
    }

    /// Sets what is sent to a client that was refused, before the close frame. Defaults to nothing.
    pub fn refused(mut self, message: impl Into<Message>) -> Self {
        self.refused = Some(message.into());
        self
    }

    /// Sets how long the client may take, from the handshake until its message is there. Defaults to ten seconds, because
    /// what holds a connection without a name should be short, and a client may have to fetch its token first.
    ///
    /// The verifier has as long again: unlike in a handshake, it is not cancelled if the client goes away.
    pub const fn timeout(mut self, time: Duration) -> Self {
        self.timeout = time;
        self
    }

    /// Sets how many bytes the client may send before it is authenticated: its message, and whatever else there is, with
    /// the headers of the frames. Defaults to 16 KiB, because a token of the longest kind fits in twice.
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

    /// Sets how many clients may be waited for at a time. Handshakes beyond that are answered with 503. Defaults to 1024,
    /// because each of them costs a connection, and nobody knows who they are.
    ///
    /// They are no sessions, and do not count as such: who has a token in the handshake finds room whatever they do.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_waiting(self, clients: usize) -> Result<Self, ConfigError> {
        if clients == 0 {
            return Err(ConfigError::ZeroLimit("clients that are waited for"));
        }
        Ok(Self { waiting: Arc::new(Semaphore::new(clients.min(Semaphore::MAX_PERMITS))), ..self })
    }

    pub(crate) fn place(&self) -> Result<Place, AdmissionError> {
        let place = Arc::clone(&self.waiting).try_acquire_owned();
        place.map_err(|_| AdmissionError::Full { retry_after: self.timeout })
    }

    pub(crate) const fn time(&self) -> Duration {
        self.timeout
    }

    pub(crate) const fn close_codes(&self) -> Option<CloseCodes> {
        self.close_codes
    }

    fn find(&self, message: &Message) -> Option<FirstToken> {
        (self.find)(message)
    }
}

impl FirstToken {
    /// The token. The message that held it is not shown to the handler.
    pub const fn new(token: Token) -> Self {
        Self { token, replay: None }
    }

    /// Has the handler receive this message first. It should not hold the token.
    pub fn replay(mut self, message: impl Into<Message>) -> Self {
        self.replay = Some(message.into());
        self
    }
}

// By hand: what is replayed may hold anything.
impl fmt::Debug for FirstToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstToken").field("token", &self.token).finish_non_exhaustive()
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
