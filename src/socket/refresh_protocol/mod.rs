//! Refreshes by messages of the client's.

mod centrifugo;
mod json;

use std::{fmt, sync::Arc, time::Duration};

use axum::extract::ws::Message;

use crate::{session::RefreshError, token::Token};

/// How clients refresh their sessions over the socket, without any code in the handler.
///
/// Set with [`WsAuthLayer::refresh_protocol`](crate::WsAuthLayer::refresh_protocol). Messages that the protocol
/// recognises are taken out of what the handler receives, verified, and answered; see
/// [`Session::refresh`](crate::Session::refresh) for the rules. A request is read when the handler receives, and the
/// handler receives what follows it once its answer was sent, or
/// [`refresh_timeout`](crate::WsAuthLayer::refresh_timeout) has passed. A client that leaves meanwhile is noticed: its
/// refresh is given up, and the handler receives the rest.
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
/// // Yes: a newer token of hers.
/// let token = TestToken::new("alice").expires_in(Duration::from_secs(2 * 3600)).sign();
/// socket.send(json!({ "type": "auth.refresh", "token": token }).to_string().into()).await?;
/// let answer: Value = serde_json::from_str(socket.next().await.expect("an answer")?.to_text()?)?;
/// assert_eq!(answer["type"], "auth.refreshed");
/// assert!(answer["expires_in"].as_u64() > Some(7000));
///
/// // No: somebody else's.
/// let token = TestToken::new("bob").sign();
/// socket.send(json!({ "type": "auth.refresh", "token": token }).to_string().into()).await?;
/// let answer: Value = serde_json::from_str(socket.next().await.expect("an answer")?.to_text()?)?;
/// assert_eq!(answer, json!({ "type": "auth.refused", "reason": "other_subject" }));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RefreshProtocol {
    read: Arc<Read>,
    answer: Arc<Answer>,
}

/// What [`RefreshProtocol`] recognised in a message of the client's.
///
/// A [`Token`] is one, too: by `into()`.
#[must_use]
pub struct RefreshRequest {
    /// `None` if what should hold it does not.
    token: Option<Token>,
    rest: Option<Message>,
}

/// A request, and the message that holds it.
pub(super) struct Asked {
    pub(super) token: Option<Token>,
    pub(super) message: Message,
}

type Read = dyn Fn(&Message) -> Option<RefreshRequest> + Send + Sync;
type Answer = dyn Fn(&Message, Result<Option<Duration>, &RefreshError>) -> Option<Message> + Send + Sync;

impl RefreshProtocol {
    /// JSON texts: `{"type":"auth.refresh","token":"…"}` is answered by `{"type":"auth.refreshed","expires_in":3600}`,
    /// in seconds and `null` where there is no end, or by `{"type":"auth.refused","reason":"token_expired"}` with a
    /// [`RefreshError::reason`] and, where it is known, the seconds to wait in `retry_after`.
    ///
    /// A request is an object whose own member `type` is the string `auth.refresh`, however the JSON is written: with
    /// escapes, other members, white space, a byte order mark before it or a record separator behind it. Everything else
    /// is the handler's, also if it mentions `auth.refresh` elsewhere.
    ///
    /// What may hold a token is not shown to the handler but refused as malformed, and counts as an attempt: a request
    /// without a token, with one of the two members twice, or with an error in its JSON behind the `type`; and a text that
    /// is not JSON and holds both `"auth.refresh"` and `"token"`, as whole strings.
    #[must_use]
    pub fn json() -> Self {
        Self { read: Arc::new(json::read), answer: Arc::new(|_, outcome| Some(json::answer(outcome))) }
    }

    /// As Centrifugo's clients do it in JSON, by the command `{"id":2,"refresh":{"token":"…"}}`. It is answered by
    /// `{"id":2,"refresh":{"expires":true,"ttl":3570}}`, or by an error with that id and one of Centrifugo's codes.
    ///
    /// A client asks for its next token (`getToken`) when the `ttl` is over. So that is shorter than the session has to
    /// live: by 30 seconds, or a third of a short one. Do the same in your answer to the `connect` command. A client whose
    /// token had expired, or who came too often or at a bad time, tries again with another token; any other error is final
    /// to it.
    ///
    /// Other commands in the same message are the handler's. For the first token see
    /// [`FirstMessage::centrifugo`](crate::FirstMessage::centrifugo).
    #[must_use]
    pub fn centrifugo() -> Self {
        Self { read: Arc::new(centrifugo::read), answer: Arc::new(centrifugo::answer) }
    }

    /// A protocol of one's own.
    ///
    /// `recognise` says whether a text or binary message asks for a refresh, and finds the token in it: it returns a
    /// [`Token`] or a [`RefreshRequest`]. It is called for every message, so it should be quick to say no. A token that is
    /// empty, or holds white space or control characters, is refused without asking the verifier.
    ///
    /// `answer` is given the message that was recognised, and for how long the session will live now (`None` where there
    /// is no end), or why it was not refreshed. It returns what is sent to the client, if anything. The message holds the
    /// token: nothing of it should be sent back but what names the request, such as an id.
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
    pub fn new<R, Q, A>(recognise: R, answer: A) -> Self
    where
        R: Fn(&Message) -> Option<Q> + Send + Sync + 'static,
        Q: Into<RefreshRequest>,
        A: Fn(&Message, Result<Option<Duration>, &RefreshError>) -> Option<Message> + Send + Sync + 'static,
    {
        Self { read: Arc::new(move |message| recognise(message).map(Into::into)), answer: Arc::new(answer) }
    }

    /// The request in the message, if it is one, and what else is in it.
    pub(super) fn read(&self, message: &Message) -> Option<(Asked, Option<Message>)> {
        let RefreshRequest { token, rest } = (self.read)(message)?;
        Some((Asked { token, message: message.clone() }, rest))
    }

    pub(super) fn answer(
        &self,
        request: &Message,
        outcome: Result<Option<Duration>, &RefreshError>,
    ) -> Option<Message> {
        (self.answer)(request, outcome)
    }
}

impl RefreshRequest {
    /// Asks for a refresh with this token. The message that held it is not shown to the handler.
    pub const fn new(token: Token) -> Self {
        Self { token: Some(token), rest: None }
    }

    /// Asks for a refresh without a token that could be read. It is refused as
    /// [`Malformed`](crate::RefreshErrorKind::Malformed), and counts as an attempt.
    pub const fn malformed() -> Self {
        Self { token: None, rest: None }
    }

    /// Has the handler receive this message next, once the request is answered: what else the client's message held. It
    /// should not hold the token.
    pub fn pass_on(mut self, message: impl Into<Message>) -> Self {
        self.rest = Some(message.into());
        self
    }
}

impl From<Token> for RefreshRequest {
    fn from(token: Token) -> Self {
        Self::new(token)
    }
}

// By hand: what is passed on may hold anything.
impl fmt::Debug for RefreshRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshRequest").field("token", &self.token).finish_non_exhaustive()
    }
}

// By hand: closures have no `Debug`.
impl fmt::Debug for RefreshProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshProtocol(<fn>)")
    }
}
