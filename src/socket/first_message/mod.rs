//! Authentication by the first message of a client.

mod candidate;
mod dialects;
mod places;

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use axum::extract::ws::Message;
use http::request::Parts;
use serde_json::json;

pub(crate) use candidate::{Candidate, NoToken};
pub(crate) use places::PendingPermit;

use crate::{
    error::ConfigError,
    rejection::Rejection,
    session::{AdmissionError, CloseCodes},
    token::Token,
};
use places::Places;

/// How clients authenticate that can send a token only when the WebSocket is open.
///
/// Set with [`WsAuthLayer::first_message`](crate::WsAuthLayer::first_message). A handshake *with* a token is treated as
/// without this. One without a token is accepted, and then:
///
/// - The client has ten seconds and 16 KiB to send its token. What it sends behind its first message is read only when it
///   is authenticated; if it is refused, that is discarded, for two seconds and 8 MiB at most, so that the close code
///   reaches it.
/// - The token is verified as it would have been in the handshake, with the
///   [head of the handshake](crate::VerifyInput::parts), and the session is admitted or not.
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
    refused: Option<Arc<Refused>>,
    timeout: Duration,
    max_bytes: usize,
    places: Places,
    close_codes: Option<CloseCodes>,
}

/// What [`FirstMessage`] found in a client's first message.
#[must_use]
pub struct FirstToken {
    pub(crate) token: Token,
    pub(crate) replay: Option<Message>,
}

type Find = dyn Fn(&Message) -> Option<FirstToken> + Send + Sync;
type Refused = dyn Fn(&Rejection, Option<&Message>) -> Option<Message> + Send + Sync;

impl FirstMessage {
    /// A protocol of one's own: `find` is given the client's first text or binary message, and finds the token in it.
    /// Without a token the client is refused.
    ///
    /// A token that is empty, or holds white space or control characters, is refused without asking the verifier, as in
    /// a handshake.
    pub fn new(find: impl Fn(&Message) -> Option<FirstToken> + Send + Sync + 'static) -> Self {
        Self {
            find: Arc::new(find),
            greeting: None,
            accepted: None,
            refused: None,
            timeout: Duration::from_secs(10),
            max_bytes: 16 * 1024,
            places: Places::new(1024),
            close_codes: None,
        }
    }

    /// The protocol `graphql-transport-ws`, and its predecessor `graphql-ws`: the token is in the payload of
    /// `connection_init`, where the clients in use put it.
    ///
    /// | member of the payload | who |
    /// | --- | --- |
    /// | `Authorization` | Apollo Client, Apollo iOS, Relay, urql, GraphiQL |
    /// | `headers.Authorization` | Hasura, Nhost, Apollo Kotlin |
    /// | `authToken` | Apollo Client, Strawberry |
    /// | `authentication` | Apollo Server |
    /// | `token`, `accessToken`, `access_token` | others |
    ///
    /// Names are compared without case, and `Bearer` may precede the token in all of them. A member that is `null` or
    /// empty counts as absent: this is what a page sends whose user has not signed in. Several members may hold the same
    /// token. Different tokens are not picked from: they are no token.
    ///
    /// The handler receives `connection_init` without the token, and answers it. The close codes are
    /// [`CloseCodes::GRAPHQL_WS`], unless the layer is given others: 4403 for a client that is refused, 4408 for one that
    /// is silent.
    pub fn graphql_ws() -> Self {
        Self { close_codes: Some(CloseCodes::GRAPHQL_WS), ..Self::new(dialects::graphql_ws) }
    }

    /// As Home Assistant does it: `auth_required` is answered by `{"type":"auth","access_token":"…"}`, and that by
    /// `auth_ok` or `auth_invalid`.
    ///
    /// Its client gives up on `auth_invalid` for good. So only a client whose token is at fault is sent that; one that may
    /// come back ([`RejectionKind::is_temporary`](crate::RejectionKind::is_temporary)) sees its connection close.
    ///
    /// Its client also wants to know the version of Home Assistant, and decides by it what it may ask for. The one that is
    /// told is 2022.8.0, because clients of later ones begin with a command that turns features on. See
    /// [`home_assistant_as`](Self::home_assistant_as).
    pub fn home_assistant() -> Self {
        Self::home_assistant_as("2022.8.0")
    }

    /// The same, with the version of Home Assistant that clients are told.
    pub fn home_assistant_as(version: impl AsRef<str>) -> Self {
        let versioned = |kind| json!({ "type": kind, "ha_version": version.as_ref() }).to_string();
        Self::new(dialects::home_assistant)
            .greeting(versioned("auth_required"))
            .accepted(versioned("auth_ok"))
            .refused(r#"{"type":"auth_invalid","message":"Invalid access token"}"#)
    }

    /// As Centrifugo's clients do it in JSON: the token is in the first command, `{"id":1,"connect":{"token":"…"}}`.
    ///
    /// The handler receives that command without the token (and what else came with it, a command a line), and answers it.
    /// A token that has expired is answered with Centrifugo's error 109, at which its clients ask for another one
    /// (`getToken`) and come back. Any other refusal is told by the close code alone. The close codes are
    /// [`CloseCodes::CENTRIFUGO`], unless the layer is given others.
    ///
    /// For refreshes see [`RefreshProtocol::centrifugo`](crate::RefreshProtocol::centrifugo).
    pub fn centrifugo() -> Self {
        Self { close_codes: Some(CloseCodes::CENTRIFUGO), ..Self::new(dialects::centrifugo) }
            .refused_with(dialects::centrifugo_refused)
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

    /// Sets what is sent, before the close frame, to a client whose token is at fault: it sent none, or none that is
    /// accepted. Defaults to nothing.
    ///
    /// A client that may come back with the same token
    /// ([`RejectionKind::is_temporary`](crate::RejectionKind::is_temporary)) is not sent it, because clients take such a
    /// message as final. See [`refused_with`](Self::refused_with) to tell them apart.
    pub fn refused(self, message: impl Into<Message>) -> Self {
        let message = message.into();
        self.refused_with(move |rejection, _| (!rejection.kind().is_temporary()).then(|| message.clone()))
    }

    /// Sets how to find what is sent, before the close frame, to a client that is refused: from why it is, and from its
    /// first message, if that was read.
    ///
    /// The message may hold the token. Nothing of it should be sent back but what names the request, such as an id.
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
        Ok(Self { places: self.places.at_most(clients), ..self })
    }

    /// Sets how many clients with the same key may be waited for at a time, so that one stranger cannot take all the
    /// places. Handshakes beyond that are answered with 503. Defaults to no such limit, because only the application
    /// knows how to tell clients apart.
    ///
    /// The key is found in the head of the handshake, such as the peer's address in
    /// [`ConnectInfo`](axum::extract::ConnectInfo). Where `None` is a possible key, all clients without one share its
    /// places. An IPv6 address is a poor key, for a stranger has 2⁶⁴ of them: take the first 64 bits. Behind a proxy the
    /// peer is the proxy; take the header that it sets.
    ///
    /// ```
    /// use std::net::{IpAddr, SocketAddr};
    ///
    /// use axum::extract::ConnectInfo;
    /// use axum_ws_auth::FirstMessage;
    /// use http::request::Parts;
    ///
    /// fn peer(parts: &Parts) -> Option<u64> {
    ///     // There if the app is served with `into_make_service_with_connect_info::<SocketAddr>()`.
    ///     let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    ///     Some(match peer.ip().to_canonical() {
    ///         IpAddr::V4(address) => u64::from(u32::from(address)),
    ///         IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    ///     })
    /// }
    ///
    /// let protocol = FirstMessage::graphql_ws().max_waiting_per_key(16, peer)?;
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
            return Err(ConfigError::ZeroLimit("clients with the same key that are waited for"));
        }
        Ok(Self { places: self.places.at_most_per_key(clients, key), ..self })
    }

    pub(crate) fn place(&self, parts: &Parts) -> Result<PendingPermit, AdmissionError> {
        self.places.take(parts).ok_or(AdmissionError::Full { retry_after: self.timeout })
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

    fn refusal(&self, rejection: &Rejection, first: Option<&Message>) -> Option<Message> {
        self.refused.as_ref()?(rejection, first)
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
