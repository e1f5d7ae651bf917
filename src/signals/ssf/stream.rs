//! A stream's configuration (Shared Signals Framework 1.0 §8.1.1).

use std::fmt;

use http::HeaderValue;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, json};

use super::{StreamState, TransmitterError, TransmitterErrorKind, event::supported_types};
use crate::json::from_object;

const PUSH: &str = "urn:ietf:rfc:8935";
const POLL: &str = "urn:ietf:rfc:8936";

/// What to ask a transmitter for; see [`Transmitter::create_stream`](super::Transmitter::create_stream).
#[derive(Clone)]
#[must_use]
pub struct StreamRequest {
    delivery: Delivery,
    events: Vec<String>,
    description: Option<String>,
}

#[derive(Clone)]
enum Delivery {
    Push { url: String, authorization: Option<HeaderValue> },
    Poll,
}

/// A stream of events at a transmitter.
#[derive(Clone, Debug, Deserialize)]
pub struct Stream {
    #[serde(rename = "stream_id")]
    id: String,
    #[serde(rename = "iss")]
    issuer: String,
    #[serde(rename = "aud")]
    audience: Audience,
    #[serde(default)]
    events_delivered: Vec<String>,
    #[serde(deserialize_with = "delivery")]
    delivery: StreamDelivery,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// The `authorization_header`, which a transmitter may echo, is not read.
#[derive(Clone, Debug, Deserialize)]
struct StreamDelivery {
    method: String,
    endpoint_url: Option<String>,
}

impl StreamRequest {
    /// A stream whose events are pushed to this URL, where the [route](super::SharedSignals::push_route) is.
    /// `authorization` is what the transmitter sends as its `Authorization`; the receiver
    /// [expects](super::SharedSignalsBuilder::push_authorization) the same.
    pub fn push(url: impl Into<String>, authorization: Option<HeaderValue>) -> Self {
        Self::new(Delivery::Push { url: url.into(), authorization })
    }

    /// A stream whose events are [polled](super::SharedSignals::poll).
    pub fn poll() -> Self {
        Self::new(Delivery::Poll)
    }

    fn new(delivery: Delivery) -> Self {
        Self { delivery, events: supported_types().collect(), description: None }
    }

    /// Sets the types of the events. Defaults to all that have an effect without a
    /// [fallback](super::SharedSignalsBuilder::fallback).
    pub fn events<S: Into<String>>(mut self, types: impl IntoIterator<Item = S>) -> Self {
        self.events = types.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a description, for the administrators of the transmitter. Defaults to none.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        let delivery = match &self.delivery {
            Delivery::Poll => json!({ "method": POLL }),
            Delivery::Push { url, authorization } => {
                let authorization = authorization.as_ref().and_then(|value| value.to_str().ok());
                let mut delivery = json!({ "method": PUSH, "endpoint_url": url });
                if let (Some(authorization), Value::Object(members)) = (authorization, &mut delivery) {
                    members.insert("authorization_header".to_owned(), authorization.into());
                }
                delivery
            }
        };
        let mut request = json!({ "events_requested": self.events, "delivery": delivery });
        if let (Some(description), Value::Object(members)) = (&self.description, &mut request) {
            members.insert("description".to_owned(), description.as_str().into());
        }
        request.to_string().into_bytes()
    }

    /// Whether the stream has the requested delivery.
    pub(super) fn is_for(&self, stream: &Stream) -> bool {
        let StreamDelivery { method, endpoint_url } = &stream.delivery;
        match &self.delivery {
            Delivery::Poll => method == POLL,
            Delivery::Push { url, .. } => method == PUSH && endpoint_url.as_ref() == Some(url),
        }
    }
}

impl Stream {
    /// The id of the stream.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The audiences of its events, for [`SharedSignalsBuilder::audience`](super::SharedSignalsBuilder::audience).
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        match &self.audience {
            Audience::One(audience) => std::slice::from_ref(audience),
            Audience::Several(audiences) => audiences,
        }
    }

    /// The types of the events that the transmitter sends.
    #[must_use]
    pub fn events_delivered(&self) -> &[String] {
        &self.events_delivered
    }

    pub(super) fn poll_url(&self) -> Option<&str> {
        self.delivery.endpoint_url.as_deref().filter(|_| self.delivery.method == POLL)
    }
}

pub(super) fn parse(json: &[u8]) -> Result<Stream, TransmitterError> {
    from_object(json).map_err(malformed)
}

/// A list of streams. Some transmitters answer with the only one.
pub(super) fn parse_list(json: &[u8]) -> Result<Vec<Stream>, TransmitterError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Streams {
        // First, because a struct deserializes from a list too.
        Several(Vec<Value>),
        One(Stream),
    }

    Ok(match serde_json::from_slice(json).map_err(malformed)? {
        Streams::One(stream) => vec![stream],
        // A stream of another kind must not hide ours.
        Streams::Several(streams) => {
            let objects = streams.into_iter().filter(Value::is_object);
            objects.filter_map(|stream| serde_json::from_value(stream).ok()).collect()
        }
    })
}

pub(super) fn parse_state(json: &[u8]) -> Result<StreamState, TransmitterError> {
    #[derive(Deserialize)]
    struct Status {
        status: String,
    }

    let Status { status } = from_object(json).map_err(malformed)?;
    Ok(StreamState::of(&status))
}

/// An object: the derived code would accept an array of its members too.
fn delivery<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StreamDelivery, D::Error> {
    struct Object;

    impl<'de> Visitor<'de> for Object {
        type Value = StreamDelivery;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<StreamDelivery, A::Error> {
            StreamDelivery::deserialize(MapAccessDeserializer::new(members))
        }
    }

    deserializer.deserialize_map(Object)
}

/// Without the cause: it could quote a secret that the transmitter echoed.
fn malformed(_: serde_json::Error) -> TransmitterError {
    TransmitterErrorKind::Malformed.error()
}

// By hand: the secret is not shown.
impl fmt::Debug for StreamRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut request = f.debug_struct("StreamRequest");
        match &self.delivery {
            Delivery::Push { url, .. } => request.field("push", url),
            Delivery::Poll => request.field("poll", &true),
        };
        request.field("events", &self.events).field("description", &self.description).finish()
    }
}
