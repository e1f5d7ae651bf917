use std::borrow::Cow;

use axum::response::Response;
use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::Body;

use super::ending::Ending;
use crate::error::ConfigError;

/// Which responses are streams, and which of them take a place in the limits; see
/// [`WsAuthLayer::streams`](crate::WsAuthLayer::streams).
///
/// A token expires; a response that goes on does not. So the layer ends **every response of unknown length** together
/// with its [`Session`](crate::Session): at its deadline, when it is revoked, or when the server shuts down. The
/// handler need not know. The handler's stream is dropped at once, whether or not it has anything to send, and the
/// client sees the end:
///
/// | content type | how it ends |
/// | --- | --- |
/// | `text/event-stream` | an event `auth.ended` with the data `{"reason":"token_expired"}`, then the regular end of the body |
/// | `application/grpc`, `application/grpc+…` | the trailers `grpc-status: 16` (`UNAUTHENTICATED`) and `grpc-message: token_expired`; 14 (`UNAVAILABLE`) for the reasons `shutdown` and `unconfirmed` |
/// | any other | the body fails: HTTP/1 closes the connection without the last chunk, HTTP/2 resets the stream |
///
/// The reason is [`EndReason::as_str`](crate::EndReason::as_str). A failed body cannot be taken for a whole one, for
/// example by a client that downloads a file (over HTTP/1.0 it can: there, no client can tell). What reads it in this
/// process sees a [`SessionEnded`](crate::SessionEnded) as the source of the error.
///
/// An `EventSource` reconnects after the end of a body, meets the refusal of its old token, and stops for good: it
/// takes any status but 200 as final. So the client needs no code, except a listener for `auth.ended` if it wants to
/// know the reason. One case needs more: if limits [evict](crate::AtLimit::EvictOldest) the oldest session, two pages
/// of one user evict each other in turn, because the token of both is still good. A page closes its `EventSource` when
/// `auth.ended` has the reason `too_many_sessions`.
///
/// If the session ends in the middle of an event, the body just ends, because the client then discards the part that it
/// has. If a layer inside this one compressed the body, nothing can be added to it, so it fails as the others do.
///
/// A response that is in memory as a whole is not touched, nor are answers to `HEAD`, and those with the status 204 or
/// 304.
///
/// # Places in the limits
///
/// A response with one of these content types also *counts*, as a connection of the kind
/// [`Stream`](crate::SessionKind::Stream): `text/event-stream`, `application/x-ndjson`, `application/ndjson`,
/// `application/jsonl`, `application/json-seq`, `application/stream+json`, `multipart/x-mixed-replace`, and all that
/// begin with `application/grpc`. It takes a place in the [limits](crate::Limits), also across nodes;
/// [`Sessions`](crate::Sessions) counts and lists it, and a [drain](crate::Sessions::drain) ends it and waits for it.
/// If there is no place, the handler's response is dropped, and the client gets the refusal instead: 429 or 503.
///
/// A response of any other content type ends with its session, but takes no place: it may be a page, or an answer that
/// was compressed on the way, and loading a page must not evict its user's socket. A drain lets it go on, like any
/// other request, until the server shuts down. Responses with an error status do not count either.
///
/// If the session has ended before the handler responds, the client gets a refusal as well: 401 if the token expired or
/// was revoked.
///
/// # Keep-alive
///
/// With [`WsAuthLayer::keep_alive`](crate::WsAuthLayer::keep_alive), an event stream that is silent is sent comments,
/// so that no proxy cuts it. The handler need not send its own.
///
/// # What it cannot do
///
/// A server polls the body of a response only if the client reads. If it does not, nothing can be added and nothing can
/// fail. The session has ended all the same, and no longer counts among those of its subject. The connection, and its
/// place in the [total](crate::Limits::total), are freed by the server's own write timeout, if it has one.
///
/// # Example
///
/// ```
/// use std::{convert::Infallible, time::Duration};
///
/// use axum::{Router, body::Body, http::{Request, StatusCode}, response::sse::{Event, Sse}, routing::get};
/// use axum_ws_auth::{Sessions, WsAuthLayer, test_util::{self, TestToken}};
/// use futures_util::{Stream, StreamExt, stream};
/// use tower::ServiceExt;
///
/// /// Sends one event, and then waits for others that never come.
/// async fn events() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
///     Sse::new(stream::iter([Ok(Event::default().data("hello"))]).chain(stream::pending()))
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sessions = Sessions::new();
/// let layer = WsAuthLayer::new(test_util::verifier::<serde_json::Value>()).sessions(&sessions);
/// let app = Router::new().route("/events", get(events)).layer(layer);
/// let bearer = format!("Bearer {}", TestToken::new("alice").sign());
/// let request = || Request::get("/events").header("authorization", &bearer).body(Body::empty());
///
/// // Yes: the session is listed like that of a socket …
/// let mut body = app.clone().oneshot(request()?).await?.into_body().into_data_stream();
/// assert_eq!(body.next().await.expect("an event")?, "data: hello\n\n");
/// assert_eq!(sessions.iter().next().expect("one").kind().as_str(), "stream");
///
/// // … and no: once it is revoked, the client reads why, and the body ends.
/// sessions.end_subject("alice");
/// assert_eq!(body.next().await.expect("an event")?, "event: auth.ended\ndata: {\"reason\":\"revoked\"}\n\n");
/// assert!(body.next().await.is_none());
/// drop(body);
/// assert_eq!(sessions.count(), 0);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Streams {
    is_on: bool,
    counted: Counted,
}

#[derive(Clone, Debug)]
enum Counted {
    All,
    Types {
        /// Those that [`is_stream`] knows.
        known: bool,
        added: Vec<Cow<'static, str>>,
    },
}

/// How a response ends with its session.
pub(crate) struct Coverage {
    pub(super) ending: Ending,
    /// Whether it takes a place in the limits.
    pub(crate) is_counted: bool,
}

impl Streams {
    /// Every response of unknown length ends with its session, and those count whose content type is that of a stream.
    pub const fn new() -> Self {
        Self { is_on: true, counted: Counted::Types { known: true, added: Vec::new() } }
    }

    /// Also counts responses of this content type, `video/mp2t` for example. Parameters, such as `charset`, do not
    /// matter.
    ///
    /// # Errors
    ///
    /// If it is not of the form `type/subtype` (RFC 9110 §8.3.1), without parameters.
    pub fn add_counted_type(mut self, content_type: impl Into<Cow<'static, str>>) -> Result<Self, ConfigError> {
        let content_type = content_type.into();
        if !is_media_type(&content_type) {
            return Err(ConfigError::InvalidContentType(content_type.into_owned()));
        }
        if let Counted::Types { added, .. } = &mut self.counted {
            added.push(content_type);
        }
        Ok(self)
    }

    /// Counts every response of unknown length.
    ///
    /// Use it only for routes that serve streams and nothing else, because a page or a download would then take a place
    /// too.
    pub fn count_all(mut self) -> Self {
        self.counted = Counted::All;
        self
    }

    /// Counts none, except types that are [added](Self::add_counted_type) afterwards. They still end with their
    /// sessions.
    ///
    /// Use it if a client opens a stream beside its socket, and the limits are for sockets. Or if each call is answered
    /// by a short event stream, as by an MCP server that keeps sessions: with one place per subject, a call beside the
    /// open stream would be refused.
    pub fn count_none(mut self) -> Self {
        self.counted = Counted::Types { known: false, added: Vec::new() };
        self
    }

    /// Ends no response, so a stream goes on after its token has expired or was revoked.
    ///
    /// Use it only if each handler that streams waits for [`Session::ended`](crate::Session::ended) itself, or for
    /// routes with downloads that may take longer than a token lasts.
    pub const fn insecure_off() -> Self {
        Self { is_on: false, counted: Counted::All }
    }

    /// How this response ends with its session; `None` if it does not.
    pub(crate) fn coverage(&self, response: &Response) -> Option<Coverage> {
        let (status, headers, body) = (response.status(), response.headers(), response.body());
        let has_body =
            !status.is_informational() && ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        if !self.is_on || !has_body || body.is_end_stream() || body.size_hint().exact().is_some() {
            return None;
        }
        let content_type = content_type(headers).unwrap_or_default();
        Some(Coverage {
            ending: ending(content_type, headers),
            is_counted: status.is_success() && self.counts(content_type),
        })
    }

    fn counts(&self, content_type: &str) -> bool {
        match &self.counted {
            Counted::All => true,
            Counted::Types { known, added } => {
                (*known && is_stream(content_type)) || added.iter().any(|one| one.eq_ignore_ascii_case(content_type))
            }
        }
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self::new()
    }
}

fn is_media_type(text: &str) -> bool {
    // The name of a header is a token too.
    let is_token = |text: &str| HeaderName::from_bytes(text.as_bytes()).is_ok();
    text.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// Without its parameters.
fn content_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

const EVENT_STREAM: &str = "text/event-stream";
const GRPC: &str = "application/grpc";

fn is_stream(content_type: &str) -> bool {
    const STREAMS: [&str; 7] = [
        EVENT_STREAM,
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/json-seq",
        "application/stream+json",
        "multipart/x-mixed-replace",
    ];
    STREAMS.iter().any(|stream| stream.eq_ignore_ascii_case(content_type)) || after(GRPC, content_type).is_some()
}

fn ending(content_type: &str, headers: &HeaderMap) -> Ending {
    // Nothing can be added to a body whose length was announced, or that is encoded.
    let is_encoded =
        headers.get_all(CONTENT_ENCODING).iter().any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if is_encoded || headers.contains_key(CONTENT_LENGTH) {
        return Ending::Failure;
    }
    match after(GRPC, content_type) {
        // Not gRPC-Web, whose trailers are in the body.
        Some(rest) if rest.is_empty() || rest.starts_with('+') => Ending::Grpc,
        None if EVENT_STREAM.eq_ignore_ascii_case(content_type) => Ending::event_stream(),
        _ => Ending::Failure,
    }
}

/// What follows this prefix, in any case.
fn after<'a>(prefix: &str, text: &'a str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}
