use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::claims::Text;

/// `sub` or `jti`.
pub(super) enum Id<'a> {
    Text(Cow<'a, str>),
    /// An integer in decimal, exactly as the token has it.
    Integer(&'a str),
}

impl Id<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Integer(integer) => integer,
        }
    }

    pub(super) const fn is_integer(&self) -> bool {
        matches!(self, Self::Integer(_))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Id<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not as a number, which might be rounded.
        let json = <&'de RawValue>::deserialize(deserializer)?.get();
        if json.starts_with('"') {
            return serde_json::from_str(json).map(|Text(text)| Self::Text(text)).map_err(de::Error::custom);
        }
        // JSON has one way to write each of these, so the same number is always the same text.
        let is_integer = json.parse::<u64>().is_ok() || json.parse::<i64>().is_ok_and(|integer| integer != 0);
        if is_integer { Ok(Self::Integer(json)) } else { Err(de::Error::custom("neither a string nor an integer")) }
    }
}
