//! Subject identifiers (RFC 9493), as they are in signals from identity providers.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

/// Who or what a signal is about: a subject identifier (RFC 9493), or a complex subject (Shared Signals Framework 1.0
/// §3.3).
///
/// ```
/// use axum_ws_auth::signals::SubjectId;
///
/// // Yes.
/// let subject = SubjectId::from_bytes(br#"{"format": "email", "email": "alice@example.com"}"#)?;
/// assert!(matches!(&subject, SubjectId::Email { email } if &**email == "alice@example.com"));
///
/// // No: without a format, the other members have no meaning.
/// assert!(SubjectId::from_bytes(br#"{"email": "alice@example.com"}"#).is_err());
/// # Ok::<(), axum_ws_auth::signals::ParseSubjectIdError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubjectId {
    /// `iss_sub`: a user of an issuer (§3.2.3).
    IssSub {
        /// The issuer.
        iss: Arc<str>,
        /// The user's id at this issuer.
        sub: Arc<str>,
    },
    /// `opaque`: an id without further meaning (§3.2.4). In events about sessions, it is the session's id (`sid`).
    Opaque {
        /// The id.
        id: Arc<str>,
    },
    /// `jwt_id`: a JSON Web Token (Shared Signals Framework 1.0 §3.4.1).
    JwtId {
        /// The issuer.
        iss: Arc<str>,
        /// The token's id.
        jti: Arc<str>,
    },
    /// `email`: an email address (§3.2.2).
    Email {
        /// The address, as it was sent.
        email: Arc<str>,
    },
    /// `complex`: several aspects of one subject.
    Complex(ComplexSubject),
    /// A subject in another format.
    Other(OtherSubject),
}

/// Several aspects of one subject, such as a user and a session; see [`SubjectId::Complex`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComplexSubject(BTreeMap<Box<str>, SubjectId>);

/// A subject in a format that has no variant of its own, such as `account` or `phone_number`; see [`SubjectId::Other`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherSubject {
    format: Box<str>,
    members: BTreeMap<Box<str>, Box<str>>,
}

/// The text is not a subject identifier; see [`SubjectId::from_bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a subject identifier: {0}")]
pub struct ParseSubjectIdError(&'static str);

/// The longest subject in bytes. Real ones have a few hundred.
const MAX_LEN: usize = 16 * 1024;
/// The longest id, address or issuer in bytes. Stores keep ids for a day.
const MAX_ID_LEN: usize = 1024;
const MAX_MEMBERS: usize = 32;

impl SubjectId {
    /// Parses a subject identifier: a JSON object with a `format`. Members that the format does not define are ignored.
    ///
    /// # Errors
    ///
    /// - If this is not such an object, or is longer than 16 KiB.
    /// - If a member that its format requires is missing, empty or longer than a KiB. In a complex subject this holds
    ///   for the members `user` and `session`.
    pub fn from_bytes(json: &[u8]) -> Result<Self, ParseSubjectIdError> {
        if json.len() > MAX_LEN {
            return Err(ParseSubjectIdError("it is too long"));
        }
        let value = serde_json::from_slice(json).map_err(|_| ParseSubjectIdError("it is not json"))?;
        Self::from_value(&value)
    }

    pub(super) fn from_value(value: &Value) -> Result<Self, ParseSubjectIdError> {
        let members = value.as_object().ok_or(ParseSubjectIdError("it is not an object"))?;
        if members.len() > MAX_MEMBERS {
            return Err(ParseSubjectIdError("it has too many members"));
        }
        match members.get("format").and_then(Value::as_str) {
            Some("complex") => ComplexSubject::parse(members).map(Self::Complex),
            _ => Self::simple(members),
        }
    }

    /// A subject that is not complex. A complex one may not be inside another.
    fn simple(members: &Map<String, Value>) -> Result<Self, ParseSubjectIdError> {
        Ok(match &*text(members, "format")? {
            "iss_sub" => Self::IssSub { iss: text(members, "iss")?, sub: text(members, "sub")? },
            "opaque" => Self::Opaque { id: text(members, "id")? },
            "jwt_id" => Self::JwtId { iss: text(members, "iss")?, jti: text(members, "jti")? },
            "email" => Self::Email { email: text(members, "email")? },
            format => Self::Other(OtherSubject::new(format, members)),
        })
    }
}

impl ComplexSubject {
    fn parse(members: &Map<String, Value>) -> Result<Self, ParseSubjectIdError> {
        let mut subjects = BTreeMap::new();
        for (name, value) in members.iter().filter(|(name, _)| *name != "format") {
            let not_an_object = ParseSubjectIdError("a member is not an object");
            let subject = value.as_object().ok_or(not_an_object).and_then(SubjectId::simple);
            let subject = match (&**name, subject) {
                (_, Ok(subject)) => subject,
                ("user" | "session", Err(error)) => return Err(error),
                // An extension. It must not keep a session alive, but it may be critical.
                (_, Err(_)) => SubjectId::Other(OtherSubject { format: "".into(), members: BTreeMap::new() }),
            };
            subjects.insert(name.as_str().into(), subject);
        }
        Ok(Self(subjects))
    }

    /// The member of this name: `user`, `session`, `device`, `tenant`, `org_unit`, `group`, `application` or another.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SubjectId> {
        self.0.get(name)
    }

    /// The names of all members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }
}

impl OtherSubject {
    fn new(format: &str, members: &Map<String, Value>) -> Self {
        let texts = members.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
        let texts = texts.filter(|(name, text)| *name != "format" && text.len() <= MAX_ID_LEN);
        let members = texts.map(|(name, text)| (name.as_str().into(), text.into())).collect();
        Self { format: format.into(), members }
    }

    /// The name of the format. Empty for a member of a complex subject that is not a subject identifier.
    #[must_use]
    pub fn format(&self) -> &str {
        &self.format
    }

    /// The text of a member, such as `uri` of an `account`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.members.get(name).map(|text| &**text)
    }
}

/// A member that is neither missing nor empty (RFC 9493 §3).
fn text(members: &Map<String, Value>, name: &'static str) -> Result<Arc<str>, ParseSubjectIdError> {
    match members.get(name).and_then(Value::as_str) {
        None | Some("") => Err(ParseSubjectIdError("a required member is missing or empty")),
        Some(text) if text.len() > MAX_ID_LEN => Err(ParseSubjectIdError("a member is too long")),
        Some(text) => Ok(text.into()),
    }
}
