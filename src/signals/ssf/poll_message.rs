//! The messages of a poll (RFC 8936 §2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::SecurityEventError;
use crate::json;

/// The outcomes of events, to be sent with the next poll.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcomes {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ack: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    set_errs: BTreeMap<String, SetError>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PollRequest<'a> {
    max_events: usize,
    return_immediately: bool,
    #[serde(flatten)]
    outcomes: &'a Outcomes,
}

#[derive(Debug, Serialize)]
struct SetError {
    err: &'static str,
    description: &'static str,
}

/// The answer to a poll.
#[derive(Debug)]
pub(super) struct PollResponse {
    /// The tokens by their id.
    pub(super) sets: Vec<(String, String)>,
}

/// How many events a poll asks for: their tokens fit into an answer of 1 MiB, even if they are long.
const MAX_EVENTS: usize = 15;
/// How many events are read from one answer. Further ones are sent again.
const MAX_SETS: usize = 1000;
/// The longest id of an event in bytes.
const MAX_ID_LEN: usize = 1024;

impl Outcomes {
    /// The request that reports these outcomes. If there are any, the transmitter shall not wait for events.
    pub(super) fn to_request(&self) -> Vec<u8> {
        let return_immediately = !self.is_empty();
        let request = PollRequest { max_events: MAX_EVENTS, return_immediately, outcomes: self };
        serde_json::to_vec(&request).unwrap_or_default()
    }

    /// Notes the outcome of an event. One that is unavailable is not mentioned, so that it is sent again.
    pub(super) fn note(&mut self, id: String, outcome: &Result<(), SecurityEventError>) {
        match outcome {
            Ok(()) => self.ack.push(id),
            Err(error) if error.is_unavailable() => {}
            Err(error) => {
                let error = SetError { err: error.kind().as_str(), description: error.description() };
                self.set_errs.insert(id, error);
            }
        }
    }

    /// Whether this is the id of one of the events.
    pub(super) fn mentions(&self, id: &str) -> bool {
        self.ack.iter().any(|ack| ack == id) || self.set_errs.contains_key(id)
    }

    fn is_empty(&self) -> bool {
        self.ack.is_empty() && self.set_errs.is_empty()
    }
}

impl PollResponse {
    /// `None` if this is not the answer to a poll.
    pub(super) fn from_bytes(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Response {
            #[serde(default)]
            sets: BTreeMap<String, Value>,
        }

        // Whether there are more (`moreAvailable`) need not be known: the next poll follows at once after any event.
        let Response { sets } = json::from_object(json).ok()?;
        // What is not a token is refused like one that is not valid.
        let set = |(id, token): (String, Value)| (id, token.as_str().unwrap_or_default().to_owned());
        let sets = sets.into_iter().filter(|(id, _)| id.len() <= MAX_ID_LEN).take(MAX_SETS).map(set).collect();
        Some(Self { sets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::ssf::SecurityEventErrorKind;

    /// The examples of RFC 8936 §2.4 and §2.5, with shorter tokens.
    #[test]
    fn messages_are_those_of_the_specification() {
        let mut outcomes = Outcomes::default();
        assert!(outcomes.is_empty());
        assert_eq!(outcomes.to_request(), br#"{"maxEvents":15,"returnImmediately":false}"#);
        outcomes.note("4d3559ec67504aaba65d40b0363faad8".to_owned(), &Ok(()));
        let error = SecurityEventError::new(SecurityEventErrorKind::InvalidAudience, "the audience is another");
        outcomes.note("3d0c3cf797584bd193bd0fb1bd4e7d30".to_owned(), &Err(error));
        outcomes.note("not stored".to_owned(), &Err(SecurityEventError::unavailable()));
        let expected = concat!(
            r#"{"maxEvents":15,"returnImmediately":true,"ack":["4d3559ec67504aaba65d40b0363faad8"],"#,
            r#""setErrs":{"3d0c3cf797584bd193bd0fb1bd4e7d30":{"err":"invalid_audience","description":"the audience is another"}}}"#
        );
        assert!(!outcomes.is_empty());
        assert_eq!(String::from_utf8_lossy(&outcomes.to_request()), expected);

        let response =
            br#"{"sets":{"4d3559ec":"eyJhbGciOi.a.b","3d0c3cf7":"eyJhbGciOi.c.d"},"moreAvailable":true,"x":1}"#;
        let response = PollResponse::from_bytes(response).expect("a response");
        let sets = [("3d0c3cf7", "eyJhbGciOi.c.d"), ("4d3559ec", "eyJhbGciOi.a.b")];
        assert_eq!(response.sets, sets.map(|(id, token)| (id.to_owned(), token.to_owned())));
        let empty = PollResponse::from_bytes(br#"{"sets":{}}"#).expect("a response");
        assert!(empty.sets.is_empty());
    }

    #[test]
    fn other_answers_are_refused_and_long_ones_are_cut() {
        // An array was once read as an answer, and its first element as the events.
        for other in ["", "[]", r#"[{"a":"token"}]"#, "null", "{\"sets\":[1]}", "\u{feff}{}"] {
            assert!(PollResponse::from_bytes(other.as_bytes()).is_none(), "{other}");
        }
        let odd = PollResponse::from_bytes(br#"{"sets":{"a":7,"b":null}}"#).expect("a response");
        assert_eq!(odd.sets, ["a", "b"].map(|id| (id.to_owned(), String::new())));
        let many: BTreeMap<_, _> = (0..1500).map(|number| (number.to_string(), "token")).collect();
        let many = serde_json::json!({ "sets": many }).to_string();
        let many = PollResponse::from_bytes(many.as_bytes()).expect("a response");
        assert_eq!(many.sets.len(), MAX_SETS);
    }
}
