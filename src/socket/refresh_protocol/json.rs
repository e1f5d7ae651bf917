//! `{"type":"auth.refresh","token":"…"}` and its responses. A bound token comes with its proof, as `dpop`.

use std::{borrow::Cow, fmt, time::Duration};

use axum::extract::ws::Message;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json, value::RawValue};

use super::RefreshRequest;
use crate::{id::SessionId, session::RefreshError, time::wait_seconds, token::Token, verify::VerifyError};

const REFRESH: &str = "auth.refresh";
/// The start of an escape. The string above may be written with escapes.
const ESCAPE: &str = "\\u";
/// May end a message in a JSON text sequence (RFC 7464).
const RECORD_SEPARATOR: char = '\u{1e}';
/// May start a text (RFC 8259 §8.1).
const BYTE_ORDER_MARK: char = '\u{feff}';

pub(super) fn read(message: &Message) -> Option<RefreshRequest> {
    let Message::Text(text) = message else { return None };
    // Avoids parsing other messages.
    if !text.contains(REFRESH) && !text.contains(ESCAPE) {
        return None;
    }
    let text = text.trim_start_matches(BYTE_ORDER_MARK).trim_start();
    let text = text.trim_end_matches(|c: char| c == RECORD_SEPARATOR || c.is_whitespace());
    if !text.starts_with('{') {
        return None;
    }
    let mut members = Members::default();
    let is_json = Collector(&mut members).read(text).is_ok();
    match members {
        Members { is_refresh: true, has_duplicates: false, token: Some(token), .. } if is_json => {
            #[cfg(feature = "dpop")]
            let token = match members.proof {
                Some(proof) => token.with_dpop_proof(proof),
                None => token,
            };
            Some(token.into())
        }
        Members { is_refresh: true, .. } => Some(RefreshRequest::malformed()),
        // It may be a malformed request that contains a token.
        Members { is_refresh: false, .. } if !is_json && names_both(text) => Some(RefreshRequest::malformed()),
        Members { is_refresh: false, .. } => None,
    }
}

pub(super) fn response(outcome: Result<Option<Duration>, &RefreshError>) -> Message {
    let response = match outcome {
        Ok(expires_in) => json!({ "type": "auth.refreshed", "expires_in": expires_in.map(seconds) }),
        Err(error) => {
            let mut response = json!({ "type": "auth.refused", "reason": error.reason() });
            let (acr_values, max_age) = error.authentication();
            set(&mut response, "acr_values", acr_values);
            set(&mut response, "max_age", max_age.map(|age| age.as_secs()));
            set(&mut response, "retry_after", error.retry_after().map(wait_seconds));
            set(&mut response, "dpop_nonce", error.dpop_nonce());
            response
        }
    };
    Message::Text(response.to_string().into())
}

pub(super) fn greeting(session: SessionId, expires_in: Option<Duration>) -> Message {
    let greeting = json!({ "type": "auth.session", "session": session, "expires_in": expires_in.map(seconds) });
    Message::Text(greeting.to_string().into())
}

pub(super) fn expiring(left: Duration) -> Message {
    Message::Text(json!({ "type": "auth.expiring", "expires_in": seconds(left) }).to_string().into())
}

pub(super) fn required(required: &VerifyError, within: Duration) -> Message {
    let mut message = json!({ "type": "auth.required", "within": seconds(within) });
    set(&mut message, "acr_values", required.acr_values());
    set(&mut message, "max_age", required.max_age().map(|age| age.as_secs()));
    set(&mut message, "scope", required.scope());
    Message::Text(message.to_string().into())
}

/// Sets a member of an object, if there is a value.
fn set(object: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let (Value::Object(members), Some(value)) = (object, value) {
        members.insert(name.to_owned(), value.into());
    }
}

/// To the nearest second, because a timer fires within a millisecond.
const fn seconds(left: Duration) -> u64 {
    left.saturating_add(Duration::from_millis(500)).as_secs()
}

/// Whether the text contains both the type and the member of a request, as whole strings.
fn names_both(text: &str) -> bool {
    text.contains(r#""auth.refresh""#) && text.contains(r#""token""#)
}

/// The relevant members of an object, up to an error.
#[derive(Default)]
struct Members {
    /// Whether a member `type` is `auth.refresh`.
    is_refresh: bool,
    /// Whether there is a duplicate `type`, `token` or `dpop`, of which another parser may use the other one.
    has_duplicates: bool,
    token: Option<Token>,
    #[cfg(feature = "dpop")]
    proof: Option<String>,
}

/// Collects the members of an object. They remain after an error.
struct Collector<'a>(&'a mut Members);

impl Collector<'_> {
    fn read(self, text: &str) -> serde_json::Result<()> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        deserializer.deserialize_map(self)?;
        deserializer.end()
    }
}

impl<'de> de::Visitor<'de> for Collector<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut types, mut tokens) = (0, 0);
        while let Some(name) = map.next_key::<Text<'de>>()? {
            // The value may be of any type.
            let value: &RawValue = map.next_value()?;
            let text = || serde_json::from_str::<Text<'_>>(value.get()).ok();
            match &*name.0 {
                "type" => {
                    types += 1;
                    self.0.is_refresh |= text().is_some_and(|kind| kind.0 == REFRESH);
                }
                "token" => {
                    tokens += 1;
                    self.0.token = text().map(|token| Token::new(token.0));
                }
                #[cfg(feature = "dpop")]
                "dpop" => {
                    // Anything but a string is refused like a malformed proof.
                    let proof = text().map(|proof| proof.0.into_owned()).unwrap_or_default();
                    self.0.has_duplicates |= self.0.proof.replace(proof).is_some();
                }
                _ => {}
            }
            self.0.has_duplicates |= types > 1 || tokens > 1;
        }
        Ok(())
    }
}

/// A string, borrowed if it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
