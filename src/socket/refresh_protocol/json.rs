//! `{"type":"auth.refresh","token":"…"}` and its answers.

use std::{borrow::Cow, fmt, time::Duration};

use axum::extract::ws::Message;
use serde::{Deserialize, Deserializer, de};
use serde_json::{json, value::RawValue};

use super::RefreshRequest;
use crate::{session::RefreshError, time::wait_seconds, token::Token};

const REFRESH: &str = "auth.refresh";
/// The start of every escape that may spell a part of the above in another way.
const ESCAPE: &str = "\\u";
/// May end a message where those are put one behind the other (RFC 7464).
const RECORD_SEPARATOR: char = '\u{1e}';
/// May begin a text (RFC 8259 §8.1).
const BYTE_ORDER_MARK: char = '\u{feff}';

pub(super) fn read(message: &Message) -> Option<RefreshRequest> {
    let Message::Text(text) = message else { return None };
    // Other messages should not be parsed for this.
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
        Members { is_refresh: true, repeated: false, token: Some(token) } if is_json => Some(token.into()),
        Members { is_refresh: true, .. } => Some(RefreshRequest::malformed()),
        // It cannot be told what this was to be. If it was a request, there may be a token in it.
        Members { is_refresh: false, .. } if !is_json && names_both(text) => Some(RefreshRequest::malformed()),
        Members { is_refresh: false, .. } => None,
    }
}

pub(super) fn answer(outcome: Result<Option<Duration>, &RefreshError>) -> Message {
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
    Message::Text(answer.to_string().into())
}

/// Whether both the type and the member of a request are in the text, each as a whole string.
fn names_both(text: &str) -> bool {
    text.contains(r#""auth.refresh""#) && text.contains(r#""token""#)
}

/// What matters of an object, as far as it could be read.
#[derive(Default)]
struct Members {
    /// Whether one of the members `type` says so.
    is_refresh: bool,
    /// Whether `type` or `token` is there twice: others may read it in another way.
    repeated: bool,
    token: Option<Token>,
}

/// Collects the members of an object into something that is there after an error, too.
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
            // Values of all other kinds are values, too.
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
                _ => {}
            }
            self.0.repeated = types > 1 || tokens > 1;
        }
        Ok(())
    }
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
