use std::{fmt, sync::Arc, time::Duration};

use axum::extract::ws::Message;
use tokio::time::Instant;

use super::{ReceivedRefresh, RefreshRequest, centrifugo, json};
use crate::{
    id::SessionId,
    session::{Demand, RefreshError},
    verify::VerifyError,
};

#[allow(unused_imports, reason = "for the docs")]
use crate::token::Token;

/// Refreshes that clients request over the socket, without code in the handler.
///
/// Set with [`WsAuthLayer::refresh_protocol`](crate::WsAuthLayer::refresh_protocol). The handler does not receive the
/// requests. Their tokens are verified by the rules of [`Session::refresh`](crate::Session::refresh), and each request
/// gets a response.
///
/// A request is read when the handler receives. The handler receives the next message after the response was sent, at
/// the latest after [`refresh_timeout`](crate::WsAuthLayer::refresh_timeout). If the client leaves in the meantime, the
/// refresh is cancelled and the handler receives the remaining messages. While the handler
/// [requires](crate::Session::require) a better sign-in, a request is read in any case.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use axum::{Router, response::Response, routing::any};
/// use axum_ws_auth::{AuthenticatedUpgrade, RefreshProtocol, WsAuthLayer, test_util::{self, TestToken, handshake}};
/// use futures_util::{SinkExt, StreamExt};
/// use serde_json::{Value, json};
///
/// async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
///     upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = WsAuthLayer::new(test_util::verifier::<Value>()).refresh_protocol(RefreshProtocol::json());
/// let app = Router::new().route("/", any(chat)).layer(layer);
/// let request = handshake().bearer_subprotocol(&TestToken::new("alice").sign()).build();
/// let (mut socket, _) = test_util::connect(app, request).await?;
///
/// // Yes: a newer token of the same subject.
/// let token = TestToken::new("alice").expires_in(Duration::from_secs(2 * 3600)).sign();
/// socket.send(json!({ "type": "auth.refresh", "token": token }).to_string().into()).await?;
/// let response: Value = serde_json::from_str(socket.next().await.expect("a response")?.to_text()?)?;
/// assert_eq!(response["type"], "auth.refreshed");
/// assert!(response["expires_in"].as_u64() > Some(7000));
///
/// // No: a token of another subject.
/// let token = TestToken::new("bob").sign();
/// socket.send(json!({ "type": "auth.refresh", "token": token }).to_string().into()).await?;
/// let response: Value = serde_json::from_str(socket.next().await.expect("a response")?.to_text()?)?;
/// assert_eq!(response, json!({ "type": "auth.refused", "reason": "other_subject" }));
/// # Ok(()) }
/// ```
///
/// Clients can also be [told their session](Self::greeting), and [asked for a token](Self::ask) in time.
#[derive(Clone)]
pub struct RefreshProtocol {
    read: Arc<Read>,
    respond: Arc<Respond>,
    /// Whether clients expect messages of the server in JSON.
    has_json_messages: bool,
    greeting: Option<Arc<Greet>>,
    asking: Option<Asking>,
    demanding: Option<Arc<Require>>,
}

/// How a client is asked for its next token.
#[derive(Clone)]
pub(in crate::socket) struct Asking {
    pub(in crate::socket) before: Duration,
    pub(in crate::socket) message: Arc<Ask>,
}

type Read = dyn Fn(&Message) -> Option<RefreshRequest> + Send + Sync;
type Greet = dyn Fn(SessionId, Option<Duration>) -> Message + Send + Sync;
type Ask = dyn Fn(Duration) -> Message + Send + Sync;
type Require = dyn Fn(&VerifyError, Duration) -> Message + Send + Sync;
type Respond = dyn Fn(&Message, Result<Option<Duration>, &RefreshError>) -> Option<Message> + Send + Sync;

impl RefreshProtocol {
    /// A request is the JSON text `{"type":"auth.refresh","token":"…"}`. The response is
    /// `{"type":"auth.refreshed","expires_in":3600}`, in seconds, or `null` if the session does not expire. A refusal
    /// is `{"type":"auth.refused","reason":"token_expired"}`, with a [`RefreshError::reason`] and, if known, the
    /// seconds to wait as `retry_after`. If the user must sign in again or by other means, it has the `acr_values` and
    /// the `max_age` that the verifier names.
    ///
    /// With the feature `dpop`, a request may have a proof for the token as `dpop`, and a refusal the
    /// [nonce](RefreshError::dpop_nonce) for the next proof as `dpop_nonce`; see [`Dpop`](crate::Dpop).
    ///
    /// A request is an object whose own member `type` is the string `auth.refresh`. The JSON may have escapes, other
    /// members, white space, a byte order mark before it, or a record separator behind it. The handler receives
    /// everything else, including a message with `auth.refresh` elsewhere.
    ///
    /// Some malformed messages may contain a token, so the handler does not receive them either. They are refused as
    /// malformed, and count as attempts: a request without a token, with a duplicate `type`, `token` or `dpop`, or with
    /// a JSON error behind the `type`; and a text that is not JSON and contains both `"auth.refresh"` and `"token"` as
    /// whole strings.
    #[must_use]
    pub fn json() -> Self {
        let protocol = Self::of(Arc::new(json::read), Arc::new(|_, outcome| Some(json::response(outcome))));
        protocol.require_with(json::required)
    }

    /// The JSON protocol of Centrifugo. A request is the command `{"id":2,"refresh":{"token":"…"}}`. The response is
    /// `{"id":2,"refresh":{"expires":true,"ttl":3570}}`, or an error with this id and one of Centrifugo's codes.
    ///
    /// A client gets its next token (`getToken`) when the `ttl` has passed. So the `ttl` is shorter than the remaining
    /// lifetime of the session, by 30 seconds or a third, whichever is less. Do the same in your response to the
    /// `connect` command.
    ///
    /// After an expired token, too many attempts, or a temporary error, a client retries with another token. Any other
    /// error is final for it.
    ///
    /// The handler receives the other commands of the same message. For the first token see
    /// [`FirstMessage::centrifugo`](crate::FirstMessage::centrifugo).
    #[must_use]
    pub fn centrifugo() -> Self {
        let protocol = Self::of(Arc::new(centrifugo::read), Arc::new(centrifugo::response));
        Self { has_json_messages: false, ..protocol }
    }

    /// A custom protocol.
    ///
    /// `read` returns the [`Token`] or [`RefreshRequest`] in a text or binary message, or `None` if the message is not
    /// a request. It is called for every message, so it should reject others quickly. A token that is empty, or
    /// contains white space or control characters, is refused without calling the verifier.
    ///
    /// `respond` returns the message that is sent to the client, if any. It takes the message with the request, and the
    /// result: the remaining lifetime of the session (`None` if it does not expire), or an error. The message contains
    /// the token, so do not send any of it back except what identifies the request, such as an id.
    ///
    /// ```
    /// use axum::extract::ws::Message;
    /// use axum_ws_auth::{RefreshProtocol, Token};
    ///
    /// /// `refresh ID TOKEN`
    /// fn fields(message: &Message) -> Option<(&str, &str)> {
    ///     message.to_text().ok()?.strip_prefix("refresh ")?.split_once(' ')
    /// }
    ///
    /// let protocol = RefreshProtocol::new(
    ///     |message| fields(message).map(|(_, token)| Token::new(token)),
    ///     |request, outcome| {
    ///         let (id, _) = fields(request)?;
    ///         Some(format!("{id} {}", outcome.map_or_else(|error| error.reason(), |_| "refreshed")).into())
    ///     },
    /// );
    /// ```
    pub fn new<R, Q, A>(read: R, respond: A) -> Self
    where
        R: Fn(&Message) -> Option<Q> + Send + Sync + 'static,
        Q: Into<RefreshRequest>,
        A: Fn(&Message, Result<Option<Duration>, &RefreshError>) -> Option<Message> + Send + Sync + 'static,
    {
        Self::of(Arc::new(move |message| read(message).map(Into::into)), Arc::new(respond))
    }

    fn of(read: Arc<Read>, respond: Arc<Respond>) -> Self {
        Self { read, respond, has_json_messages: true, greeting: None, asking: None, demanding: None }
    }

    /// Tells each client its session when the socket opens, before any message of the handler:
    /// `{"type":"auth.session","session":"0123456789abcdef0000000000000001","expires_in":3600}`, in seconds, or `null`
    /// if the session does not expire.
    ///
    /// With it, a page knows when to get its next token, and which session to
    /// [refresh over HTTP](crate::WsAuthLayer::refresh_route). After authentication by the
    /// [first message](crate::FirstMessage), it follows the message for accepted clients (`auth_ok`), if there is one.
    /// Do not use it with clients that expect something else first, such as the `connection_ack` of GraphQL.
    ///
    /// Centrifugo's protocol has no such message: the response to `connect` has the `ttl`. So this does nothing with
    /// [`centrifugo`](Self::centrifugo). Defaults to off, because a client must expect it.
    #[must_use]
    pub fn greeting(self) -> Self {
        if self.has_json_messages { self.greeting_with(json::greeting) } else { self }
    }

    /// The same, with a message of your own for the session and the time that it has left.
    #[must_use]
    pub fn greeting_with<G, M>(mut self, message: G) -> Self
    where
        G: Fn(SessionId, Option<Duration>) -> M + Send + Sync + 'static,
        M: Into<Message>,
    {
        self.greeting = Some(Arc::new(move |session, expires_in| message(session, expires_in).into()));
        self
    }

    /// Asks each client for its next token when less than `before` is left of its session:
    /// `{"type":"auth.expiring","expires_in":60}`, in seconds. The handler has nothing to do.
    ///
    /// A client is asked once for each deadline: again when a refresh of any kind has moved it, and at once if less
    /// than `before` is left then, or when the socket opens.
    ///
    /// Clients of Centrifugo ask for a token themselves, when the `ttl` has passed. They ignore the push that the
    /// protocol has for this (`{"push":{"refresh":…}}`), so this does nothing with [`centrifugo`](Self::centrifugo).
    /// Defaults to off, because a client must expect it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use axum::{Router, response::Response, routing::any};
    /// use axum_ws_auth::{AuthenticatedUpgrade, RefreshProtocol, WsAuthLayer, test_util::{self, TestToken, handshake}};
    /// use futures_util::StreamExt;
    /// use serde_json::Value;
    ///
    /// async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    ///     upgrade.on_upgrade(async |mut socket| {
    ///         let _ = socket.send("welcome".into()).await;
    ///         while let Some(Ok(_)) = socket.recv().await {}
    ///     })
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let protocol = RefreshProtocol::json().greeting().ask(Duration::from_secs(60));
    /// let layer = WsAuthLayer::new(test_util::verifier::<Value>()).refresh_protocol(protocol);
    /// let app = Router::new().route("/", any(chat)).layer(layer);
    ///
    /// // Yes: a token that expires soon. No: one that is good for an hour.
    /// for (seconds, expected) in [(30, "auth.session auth.expiring welcome"), (3600, "auth.session welcome")] {
    ///     let token = TestToken::new("alice").expires_in(Duration::from_secs(seconds)).sign();
    ///     let request = handshake().bearer_subprotocol(&token).build();
    ///     let (mut socket, _) = test_util::connect(app.clone(), request).await?;
    ///     let mut received = Vec::new();
    ///     while received.last().is_none_or(|last| last != "welcome") {
    ///         let text = socket.next().await.expect("a message")?.into_text()?;
    ///         let message = serde_json::from_str::<Value>(&text).unwrap_or_default();
    ///         received.push(message["type"].as_str().unwrap_or(&text).to_owned());
    ///     }
    ///     assert_eq!(received.join(" "), expected);
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn ask(self, before: Duration) -> Self {
        if self.has_json_messages { self.ask_with(before, json::expiring) } else { self }
    }

    /// The same, with a message of your own for the time that is left.
    #[must_use]
    pub fn ask_with<A, M>(mut self, before: Duration, message: A) -> Self
    where
        A: Fn(Duration) -> M + Send + Sync + 'static,
        M: Into<Message>,
    {
        self.asking = Some(Asking { before, message: Arc::new(move |left| message(left).into()) });
        self
    }

    /// Sets the message that asks for a token of a better or newer sign-in, when a handler
    /// [requires](crate::Session::require) that. It is made of what the next token needs
    /// ([`acr_values`](VerifyError::acr_values), [`max_age`](VerifyError::max_age), [`scope`](VerifyError::scope)), and
    /// of the time that the client has.
    ///
    /// Defaults to none, and to `auth.required` with [`json`](Self::json).
    #[must_use]
    pub fn require_with<R, M>(mut self, message: R) -> Self
    where
        R: Fn(&VerifyError, Duration) -> M + Send + Sync + 'static,
        M: Into<Message>,
    {
        self.demanding = Some(Arc::new(move |required, within| message(required, within).into()));
        self
    }

    /// The first message of a socket.
    pub(in crate::socket) fn greet(&self, session: SessionId, expires_in: Option<Duration>) -> Option<Message> {
        self.greeting.as_ref().map(|greet| greet(session, expires_in))
    }

    /// The message for this demand.
    pub(in crate::socket) fn demand(&self, demand: &Demand) -> Option<Message> {
        let within = demand.until.saturating_duration_since(Instant::now());
        Some(self.demanding.as_ref()?(&demand.step_up.error(), within))
    }

    pub(in crate::socket) fn asking(&self) -> Option<Asking> {
        self.asking.clone()
    }

    /// The request in a message, and the rest of the message. `None` if there is no request.
    pub(in crate::socket) fn read(&self, message: &Message) -> Option<(ReceivedRefresh, Option<Message>)> {
        let RefreshRequest { token, rest } = (self.read)(message)?;
        Some((ReceivedRefresh { token, message: message.clone() }, rest))
    }

    /// The response to the request in this message.
    pub(in crate::socket) fn respond(
        &self,
        request: &Message,
        outcome: Result<Option<Duration>, &RefreshError>,
    ) -> Option<Message> {
        (self.respond)(request, outcome)
    }
}

// By hand: closures have no `Debug`.
impl fmt::Debug for RefreshProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshProtocol(<fn>)")
    }
}
