use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use axum::extract::ws::Message;
use serde::Deserialize;
use serde_json::json;

use crate::{RefreshError, Token, time::wait_seconds};

/// How clients refresh their sessions over the socket, without any code in the handler.
///
/// Set with [`WsAuthLayer::refresh_protocol`](crate::WsAuthLayer::refresh_protocol). Messages that the protocol
/// recognises are taken out of what the handler receives, verified, and answered; see
/// [`Session::refresh`](crate::Session::refresh) for the rules. They are read when the handler reads, and what comes
/// behind one is received after its answer was sent.
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

type Read = dyn Fn(&Message) -> Option<Request> + Send + Sync;
type Answer = dyn Fn(Result<Option<Duration>, &RefreshError>) -> Option<Message> + Send + Sync;

/// What a recognised message asks for: a refresh, if there is a token in it.
pub(super) type Request = Option<Token>;

impl RefreshProtocol {
    /// JSON texts: `{"type":"auth.refresh","token":"…"}` is answered by `{"type":"auth.refreshed","expires_in":3600}`,
    /// in seconds and `null` where there is no end, or by `{"type":"auth.refused","reason":"token_expired"}` with a
    /// [`RefreshError::reason`] and, where it is known, the seconds to wait in `retry_after`.
    ///
    /// A text that begins like an object and holds `auth.refresh`, but is not well-formed JSON, is refused too: there may
    /// be a token in it, which is not the handler's to see.
    #[must_use]
    pub fn json() -> Self {
        Self { read: Arc::new(read_json), answer: Arc::new(answer_json) }
    }

    /// A protocol of one's own.
    ///
    /// `recognise` says whether a text or binary message asks for a refresh, and finds the token in it. It is called
    /// for every message, so it should be quick to say no. `answer` is given for how long the session will live now
    /// (`None` where there is no end), or why it was not refreshed, and returns what is sent to the client, if anything.
    pub fn new<R, A>(recognise: R, answer: A) -> Self
    where
        R: Fn(&Message) -> Option<Token> + Send + Sync + 'static,
        A: Fn(Result<Option<Duration>, &RefreshError>) -> Option<Message> + Send + Sync + 'static,
    {
        Self { read: Arc::new(move |message| recognise(message).map(Some)), answer: Arc::new(answer) }
    }

    pub(super) fn read(&self, message: &Message) -> Option<Request> {
        (self.read)(message)
    }

    pub(super) fn answer(&self, outcome: Result<Option<Duration>, &RefreshError>) -> Option<Message> {
        (self.answer)(outcome)
    }
}

const REFRESH: &str = "auth.refresh";

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    token: serde_json::Value,
}

fn read_json(message: &Message) -> Option<Request> {
    let Message::Text(text) = message else { return None };
    // Other messages should not be parsed for this; and serde would take an array for an object.
    if !text.contains(REFRESH) || !text.trim_start().starts_with('{') {
        return None;
    }
    match serde_json::from_str(text) {
        Ok(Asked { kind: Some(kind), token }) if kind == REFRESH => Some(token.as_str().map(Token::new)),
        Ok(_) => None,
        // There may be a token in it, which is not the handler's to see.
        Err(_) => Some(None),
    }
}

fn answer_json(outcome: Result<Option<Duration>, &RefreshError>) -> Option<Message> {
    let answer = match outcome {
        Ok(expires_in) => {
            json!({ "type": "auth.refreshed", "expires_in": expires_in.map(|left| left.as_secs()) })
        }
        Err(error) => match error.retry_after() {
            Some(wait) => {
                json!({ "type": "auth.refused", "reason": error.reason(), "retry_after": wait_seconds(wait) })
            }
            None => json!({ "type": "auth.refused", "reason": error.reason() }),
        },
    };
    Some(Message::Text(answer.to_string().into()))
}

// By hand: closures have no `Debug`.
impl fmt::Debug for RefreshProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshProtocol(<fn>)")
    }
}
