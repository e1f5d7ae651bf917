//! Security events (RFC 8417), and what they mean here.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::{Map, Value};

use super::error::{SecurityEventError, SecurityEventErrorKind};
use crate::{signals::SubjectId, verify::Verified};

/// A security event from an identity provider, whose signature is valid; see
/// [`SharedSignalsBuilder::fallback`](super::SharedSignalsBuilder::fallback).
#[derive(Clone, Debug)]
pub struct SecurityEvent {
    issuer: Arc<str>,
    id: Arc<str>,
    event_type: Box<str>,
    subject: Option<SubjectId>,
    time: SystemTime,
    members: Map<String, Value>,
}

/// What an event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    SessionRevoked,
    CredentialChange,
    ClaimsChange,
    /// Something that ends all sessions of a user.
    UserEnded,
    Verification,
    StreamUpdated,
    Unknown,
}

/// The claims of a security event token, besides those that every token has.
#[derive(Deserialize)]
pub(super) struct SetClaims {
    /// Shared Signals Framework 1.0 §4.1 forbids `sub` and `exp`, so that no event token is taken for an access token.
    #[serde(default, deserialize_with = "is_present")]
    sub: bool,
    #[serde(default, deserialize_with = "is_present")]
    exp: bool,
    sub_id: Option<Value>,
    toe: Option<Value>,
    events: BTreeMap<Box<str>, Value>,
}

/// The prefixes of the events that mean something here, and what each event is about.
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type/";

const MAX_TYPE_LEN: usize = 512;

impl Kind {
    pub(super) fn of(event_type: &str) -> Self {
        let name = |prefix| event_type.strip_prefix(prefix);
        match (name(CAEP), name(RISC), name(SSF)) {
            (Some("session-revoked"), ..) => Self::SessionRevoked,
            (Some("credential-change"), ..) | (_, Some("credential-compromise"), _) => Self::CredentialChange,
            (Some("token-claims-change"), ..) => Self::ClaimsChange,
            (_, Some("account-disabled" | "account-purged" | "sessions-revoked"), _) => Self::UserEnded,
            (.., Some("verification")) => Self::Verification,
            (.., Some("stream-updated")) => Self::StreamUpdated,
            _ => Self::Unknown,
        }
    }

    /// A label of the metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::SessionRevoked => "session_revoked",
            Self::CredentialChange => "credential_change",
            Self::ClaimsChange => "token_claims_change",
            Self::UserEnded => "account_disabled",
            Self::Verification => "verification",
            Self::StreamUpdated => "stream_updated",
            Self::Unknown => "unknown",
        }
    }
}

/// The types of all events that are acted on, for a new stream.
pub(super) fn supported_types() -> impl Iterator<Item = String> {
    let caep = ["session-revoked", "credential-change", "token-claims-change"].map(|name| (CAEP, name));
    let risc = ["account-disabled", "account-purged", "sessions-revoked", "credential-compromise"];
    caep.into_iter().chain(risc.map(|name| (RISC, name))).map(|(prefix, name)| format!("{prefix}{name}"))
}

impl SecurityEvent {
    /// The event of a token that has been verified.
    pub(super) fn of(verified: Verified<SetClaims>, now: SystemTime) -> Result<Self, SecurityEventError> {
        let invalid = |problem| SecurityEventError::new(SecurityEventErrorKind::InvalidRequest, problem);
        let Verified { claims: SetClaims { sub, exp, sub_id, toe, events }, issuer, token_id, issued_at, .. } =
            verified;
        if sub || exp {
            return Err(invalid("a security event token must have neither sub nor exp"));
        }
        let (Some(id), Some(issued_at)) = (token_id, issued_at) else {
            return Err(invalid("the claim jti or iat is missing"));
        };
        let mut events = events.into_iter();
        let (Some((event_type, Value::Object(members))), None) = (events.next(), events.next()) else {
            return Err(invalid("the claim events is not an object with one event"));
        };
        if event_type.len() > MAX_TYPE_LEN {
            return Err(invalid("the event type is too long"));
        }
        let subject = sub_id.as_ref().map(SubjectId::from_value).transpose();
        let subject =
            subject.map_err(|error| invalid("the claim sub_id is not a subject identifier").with_source(error))?;
        let stated = members.get("event_timestamp").and_then(date).or_else(|| toe.as_ref().and_then(date));
        // No event is reported before it happens. So a time that is later is wrong, in milliseconds for example.
        let time = stated.map_or(issued_at, |stated| stated.min(issued_at)).min(now);
        Ok(Self { issuer: issuer.unwrap_or_default(), id, event_type, subject, time, members })
    }

    pub(super) fn kind(&self) -> Kind {
        Kind::of(&self.event_type)
    }

    /// Who reported the event (`iss`).
    #[must_use]
    pub const fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// The id of the event's token (`jti`). An identity provider may send it more than once.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The type of the event: a URI.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// Who or what the event is about (`sub_id`).
    #[must_use]
    pub const fn subject(&self) -> Option<&SubjectId> {
        self.subject.as_ref()
    }

    /// When it happened: `event_timestamp`, or else `toe`, or else `iat`; never later than `iat` or now.
    #[must_use]
    pub const fn time(&self) -> SystemTime {
        self.time
    }

    /// A member of the event that is a string, such as `current_level` or `current_status`.
    #[must_use]
    pub fn text(&self, member: &str) -> Option<&str> {
        self.members.get(member).and_then(Value::as_str)
    }

    /// The members of the event, as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.members).unwrap_or_default()
    }
}

/// Seconds since the epoch.
fn date(value: &Value) -> Option<SystemTime> {
    let seconds = Duration::try_from_secs_f64(value.as_f64()?).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(seconds)
}

/// Deserializes any value of a member, `null` included, as `true`.
fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}
