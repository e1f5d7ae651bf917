//! The registered claims (RFC 7519 §4.1), with their types.

use std::{
    borrow::Cow,
    fmt,
    time::{Duration, SystemTime},
};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, IgnoredAny},
};

use super::{
    super::{VerifyError, VerifyErrorKind as Kind},
    compact::{Compact, Memory},
    header::present,
    plain::{Value, members, once},
    shape::{self, Shape},
};
use crate::token::is_json_object;

/// The claims of a token, decoded.
pub(super) struct Payload<'a>(&'a str);

/// The registered claims that are looked at. One of another type is an error, and so is one that is there twice.
///
/// A claim that is `null` is absent, because issuers write that, except `exp` and `cnf`, whose absence would weaken a check. An
/// empty `iss`, `sub` or `jti` is absent too: otherwise all users without a name would be the same user.
#[derive(Default, Deserialize)]
pub(super) struct Registered<'a> {
    #[serde(borrow, default)]
    pub(super) iss: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) sub: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) aud: Option<Audience<'a>>,
    #[serde(default, deserialize_with = "some")]
    pub(super) exp: Option<NumericDate>,
    #[serde(default)]
    pub(super) nbf: Option<NumericDate>,
    #[serde(default)]
    pub(super) iat: Option<NumericDate>,
    #[serde(borrow, default)]
    pub(super) jti: Option<Text<'a>>,
    /// Whether there is a `cnf` (RFC 7800 §3.1), in whatever form: the token is bound to a key.
    #[serde(default, rename = "cnf", deserialize_with = "present")]
    pub(super) is_bound: bool,
}

#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// One audience or several.
pub(super) enum Audience<'a> {
    One(Cow<'a, str>),
    Several(Vec<Cow<'a, str>>),
}

/// Seconds since the epoch, fractions allowed.
#[derive(Clone, Copy)]
pub(super) struct NumericDate(SystemTime);

impl<'a> Payload<'a> {
    pub(super) fn decode(compact: &Compact<'_>, memory: &'a mut Memory) -> Result<Self, VerifyError> {
        // RFC 7519 §7.2, step 10.
        let json =
            str::from_utf8(memory.decode(compact.payload)?).map_err(|_| VerifyError::new(Kind::MalformedClaim))?;
        if is_json_object(json.as_bytes()) { Ok(Self(json)) } else { Err(VerifyError::new(Kind::MalformedClaim)) }
    }

    /// The registered claims. That the rest is well-formed is seen only when the [claims](Self::claims) are read.
    pub(super) fn registered(&self) -> Result<Registered<'a>, VerifyError> {
        let mut registered = match Registered::plain(self.0) {
            Some(registered) => registered,
            None => self.parsed()?,
        };
        for name in [&mut registered.iss, &mut registered.sub, &mut registered.jti] {
            name.take_if(|name| name.0.is_empty());
        }
        Ok(registered)
    }

    fn parsed(&self) -> Result<Registered<'a>, VerifyError> {
        serde_json::from_str(self.0).map_err(|source| VerifyError::new(Kind::MalformedClaim).with_source(source))
    }

    pub(super) fn claims<C: DeserializeOwned>(&self) -> Result<C, VerifyError> {
        match serde_json::from_str(self.0) {
            Ok(claims) => Ok(claims),
            Err(source) => self.no_claims().ok_or(VerifyError::new(Kind::UnexpectedClaims).with_source(source)),
        }
    }

    /// The claims for a type that wants none. No part of serde_json lets it be read from an object.
    fn no_claims<C: DeserializeOwned>(&self) -> Option<C> {
        // That the claims are well-formed has not been seen yet.
        let is_empty = shape::of::<C>() == Shape::Unit && serde_json::from_str::<IgnoredAny>(self.0).is_ok();
        is_empty.then(shape::from_nothing).flatten()
    }
}

impl<'a> Registered<'a> {
    /// From claims that are spelled the plain way; as the parser would have it.
    fn plain(json: &'a str) -> Option<Self> {
        let mut registered = Self::default();
        members(json, |name, value| match (name.as_bytes(), value) {
            (b"iss", Value::Text(text)) => once(&mut registered.iss, Text(Cow::Borrowed(text))),
            (b"sub", Value::Text(text)) => once(&mut registered.sub, Text(Cow::Borrowed(text))),
            (b"aud", Value::Text(text)) => once(&mut registered.aud, Audience::One(Cow::Borrowed(text))),
            (b"exp", Value::Integer(seconds)) => once(&mut registered.exp, NumericDate::from_seconds(seconds)?),
            (b"nbf", Value::Integer(seconds)) => once(&mut registered.nbf, NumericDate::from_seconds(seconds)?),
            (b"iat", Value::Integer(seconds)) => once(&mut registered.iat, NumericDate::from_seconds(seconds)?),
            (b"jti", Value::Text(text)) => once(&mut registered.jti, Text(Cow::Borrowed(text))),
            (b"iss" | b"sub" | b"aud" | b"exp" | b"nbf" | b"iat" | b"jti" | b"cnf", _) => None,
            _ => Some(()),
        })?;
        Some(registered)
    }
}

impl Audience<'_> {
    pub(super) fn names_any_of(&self, audiences: &[String]) -> bool {
        let is_own = |audience: &Cow<'_, str>| audiences.iter().any(|own| own == audience);
        match self {
            Self::One(audience) => is_own(audience),
            Self::Several(audiences) => audiences.iter().any(is_own),
        }
    }
}

impl NumericDate {
    fn from_seconds(seconds: u64) -> Option<Self> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).map(Self)
    }

    pub(super) const fn moment(self) -> SystemTime {
        self.0
    }

    /// The moment, moved by the leeway; `None` where a clock does not reach.
    pub(super) fn later_by(self, leeway: Duration) -> Option<SystemTime> {
        self.0.checked_add(leeway)
    }

    /// Whether the moment has come, give or take the leeway.
    pub(super) fn has_come(self, now: SystemTime, leeway: Duration) -> bool {
        now.checked_add(leeway).is_some_and(|now| now >= self.0)
    }
}

/// Unlike `Option`'s own, this does not take `null` for absent.
fn some<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

impl<'de: 'a, 'a> Deserialize<'de> for Audience<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Audience<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_borrowed_str<E: de::Error>(self, one: &'de str) -> Result<Self::Value, E> {
                Ok(Audience::One(Cow::Borrowed(one)))
            }

            fn visit_str<E: de::Error>(self, one: &str) -> Result<Self::Value, E> {
                Ok(Audience::One(Cow::Owned(one.to_owned())))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut many: A) -> Result<Self::Value, A::Error> {
                let mut audiences = Vec::new();
                while let Some(Text(audience)) = many.next_element()? {
                    audiences.push(audience);
                }
                Ok(Audience::Several(audiences))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = NumericDate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since the epoch")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<NumericDate, E> {
                at(Some(Duration::from_secs(seconds)), true)
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<NumericDate, E> {
                at(Some(Duration::from_secs(seconds.unsigned_abs())), seconds >= 0)
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<NumericDate, E> {
                at(Duration::try_from_secs_f64(seconds.abs()).ok(), seconds >= 0.0)
            }
        }

        fn at<E: de::Error>(distance: Option<Duration>, after: bool) -> Result<NumericDate, E> {
            let epoch = SystemTime::UNIX_EPOCH;
            distance
                .and_then(|distance| if after { epoch.checked_add(distance) } else { epoch.checked_sub(distance) })
                .map(NumericDate)
                .ok_or_else(|| E::custom("out of range"))
        }

        // Not `deserialize_any`: under serde_json's `arbitrary_precision` that would show a map.
        deserializer.deserialize_f64(Visitor)
    }
}
