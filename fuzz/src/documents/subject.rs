//! Subject identifiers (RFC 9493; Shared Signals Framework 1.0 §3.3 and §3.4), read plainly.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::refused::{Outcome, refused, rule};

#[derive(Debug, PartialEq)]
pub enum Subject {
    IssSub { iss: String, sub: String },
    Opaque { id: String },
    JwtId { iss: String, jti: String },
    Email { email: String },
    Complex(BTreeMap<String, Subject>),
    Other,
}

impl Subject {
    pub fn read(value: &Value) -> Outcome<Self> {
        let Some(members) = value.as_object() else { return refused("a subject is not an object") };
        rule(members.len() <= 32, "a subject has too many members")?;
        if members.get("format").is_none_or(|format| format != "complex") {
            return Self::simple(members);
        }
        let mut aspects = BTreeMap::new();
        for (name, value) in members.iter().filter(|(name, _)| *name != "format") {
            let aspect = value.as_object().map_or(refused("a member is not an object"), Self::simple);
            let is_extension = !["user", "session"].contains(&name.as_str());
            let aspect = if is_extension { aspect.unwrap_or(Self::Other) } else { aspect? };
            aspects.insert(name.clone(), aspect);
        }
        Ok(Self::Complex(aspects))
    }

    /// Not of several aspects: one may not be inside another.
    fn simple(members: &Map<String, Value>) -> Outcome<Self> {
        let text = |name| match members.get(name) {
            Some(Value::String(text)) if (1..=1024).contains(&text.len()) => Ok(text.clone()),
            _ => refused("a member of a subject is missing, empty or too long"),
        };
        Ok(match &*text("format")? {
            "iss_sub" => Self::IssSub { iss: text("iss")?, sub: text("sub")? },
            "opaque" => Self::Opaque { id: text("id")? },
            "jwt_id" => Self::JwtId { iss: text("iss")?, jti: text("jti")? },
            "email" => Self::Email { email: text("email")? },
            _ => Self::Other,
        })
    }
}
