//! The registered claims (RFC 7519 §4.1), with their types.

use std::{
    borrow::Cow,
    fmt,
    time::{Duration, SystemTime},
};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned},
};

use super::{
    super::{VerifyError, VerifyErrorKind as Kind},
    header::{self, Compact},
};
use crate::token::is_json_object;

/// The claims of a token, decoded.
pub(super) struct Payload(Vec<u8>);

/// The registered claims that are looked at. One that is there and is `null` or of another type is an error, and so is
/// one that is there twice.
#[derive(Deserialize)]
pub(super) struct Registered<'a> {
    #[serde(borrow, default, deserialize_with = "some")]
    pub(super) iss: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "some")]
    pub(super) sub: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "some")]
    pub(super) aud: Option<Audience<'a>>,
    #[serde(default, deserialize_with = "some")]
    pub(super) exp: Option<NumericDate>,
    #[serde(default, deserialize_with = "some")]
    pub(super) nbf: Option<NumericDate>,
    #[serde(default, deserialize_with = "some")]
    pub(super) iat: Option<NumericDate>,
    #[serde(borrow, default, deserialize_with = "some")]
    pub(super) jti: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// One audience or several.
pub(super) struct Audience<'a>(Vec<Cow<'a, str>>);

/// Seconds since the epoch, fractions allowed.
#[derive(Clone, Copy)]
pub(super) struct NumericDate(SystemTime);

impl Payload {
    pub(super) fn decode(compact: &Compact<'_>) -> Result<Self, VerifyError> {
        let json = header::decode(compact.payload)?;
        if is_json_object(&json) { Ok(Self(json)) } else { Err(VerifyError::new(Kind::MalformedClaim)) }
    }

    pub(super) fn registered(&self) -> Result<Registered<'_>, VerifyError> {
        serde_json::from_slice(&self.0).map_err(|source| VerifyError::new(Kind::MalformedClaim).with_source(source))
    }

    pub(super) fn claims<C: DeserializeOwned>(&self) -> Result<C, VerifyError> {
        serde_json::from_slice(&self.0).map_err(|source| VerifyError::new(Kind::UnexpectedClaims).with_source(source))
    }
}

impl Audience<'_> {
    pub(super) fn names_any_of(&self, audiences: &[String]) -> bool {
        self.0.iter().any(|audience| audiences.iter().any(|own| own == audience))
    }
}

impl NumericDate {
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
pub(super) fn some<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
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
                Ok(Audience(vec![Cow::Borrowed(one)]))
            }

            fn visit_str<E: de::Error>(self, one: &str) -> Result<Self::Value, E> {
                Ok(Audience(vec![Cow::Owned(one.to_owned())]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut many: A) -> Result<Self::Value, A::Error> {
                let mut audiences = Vec::new();
                while let Some(Text(audience)) = many.next_element()? {
                    audiences.push(audience);
                }
                Ok(Audience(audiences))
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
