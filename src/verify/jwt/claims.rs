//! The registered claims (RFC 7519 §4.1).

#[cfg(feature = "dpop")]
use std::sync::Arc;
use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    time::{Duration, SystemTime},
};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, IgnoredAny},
};
use serde_json::value::RawValue;

use super::{
    claims_type::{ClaimsType, from_unit},
    compact::{Compact, DecodeBuffer},
    header::is_present,
    id::Id,
    json::{Value, set_once, visit_members},
};
use crate::{
    json::is_object,
    verify::{VerifyError, VerifyErrorKind as Kind},
};

/// The names of the claims that are checked.
pub(super) const REGISTERED: [&str; 8] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "cnf"];

/// The decoded JSON of the claims.
pub(super) struct Payload<'a>(&'a str);

/// The registered claims that are checked. A claim of the wrong type or a repeated claim is an error.
///
/// `null` counts as absent, because issuers write it, except in `exp` and `cnf`, where that would weaken a check. An
/// empty `iss`, `sub` or `jti` also counts as absent, so that users without a name are not all the same subject.
#[derive(Default, Deserialize)]
pub(super) struct Registered<'a> {
    #[serde(borrow, default)]
    pub(super) iss: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) sub: Option<Id<'a>>,
    #[serde(borrow, default)]
    pub(super) aud: Option<Audience<'a>>,
    #[serde(default, deserialize_with = "non_null")]
    pub(super) exp: Option<NumericDate>,
    #[serde(default)]
    pub(super) nbf: Option<NumericDate>,
    #[serde(default)]
    pub(super) iat: Option<NumericDate>,
    #[serde(borrow, default)]
    pub(super) jti: Option<Id<'a>>,
    /// The id of the user's session at the provider, in the claim of the configured name.
    #[serde(skip)]
    pub(super) provider_session: Option<Text<'a>>,
    /// Whether there is a `cnf` (RFC 7800 §3.1) with any value: the token is bound to a key.
    #[serde(default, rename = "cnf", deserialize_with = "is_present")]
    pub(super) has_cnf: bool,
}

#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Deserializes the member of this name from an object, and ignores all others.
struct Member<'n>(&'n str);

/// `aud`: one audience or several.
pub(super) enum Audience<'a> {
    One(Cow<'a, str>),
    Several(Vec<Cow<'a, str>>),
}

/// Seconds since the epoch, fractions allowed.
#[derive(Clone, Copy)]
pub(super) struct NumericDate(SystemTime);

impl<'a> Payload<'a> {
    pub(super) fn decode(compact: &Compact<'_>, buffer: &'a mut DecodeBuffer) -> Result<Self, VerifyError> {
        // RFC 7519 §7.2, step 10.
        let json =
            str::from_utf8(buffer.decode(compact.payload)?).map_err(|_| VerifyError::new(Kind::MalformedClaim))?;
        Self::from_json(json)
    }

    pub(super) fn from_json(json: &'a str) -> Result<Self, VerifyError> {
        if is_object(json) { Ok(Self(json)) } else { Err(VerifyError::new(Kind::MalformedClaim)) }
    }

    /// The registered claims, and the provider's session from the claim of this name. The rest of the JSON is validated
    /// only by [`claims`](Self::claims).
    pub(super) fn registered(
        &self,
        provider_session_claim: &str,
        integer_ids: bool,
    ) -> Result<Registered<'a>, VerifyError> {
        let mut registered = match Registered::scan(self.0, provider_session_claim) {
            Some(registered) => registered,
            None => {
                let provider_session = self.text(provider_session_claim)?;
                Registered { provider_session, ..self.parse(integer_ids)? }
            }
        };
        let Registered { iss, sub, jti, provider_session, .. } = &mut registered;
        for text in [iss, provider_session] {
            text.take_if(|text| text.0.is_empty());
        }
        for id in [sub, jti] {
            id.take_if(|id| id.as_str().is_empty());
        }
        Ok(registered)
    }

    /// The claim of this name, which must be a string, `null` or absent.
    fn text(&self, name: &str) -> Result<Option<Text<'a>>, VerifyError> {
        let mut json = serde_json::Deserializer::from_str(self.0);
        Member(name).deserialize(&mut json).map_err(|source| VerifyError::new(Kind::MalformedClaim).with_source(source))
    }

    /// Checks that the token is from this tenant of Microsoft Entra.
    #[cfg(feature = "jwks")]
    pub(super) fn check_tenant(&self, tenant: &str) -> Result<(), VerifyError> {
        match self.text("tid") {
            Ok(Some(tid)) if tid.0 == tenant => Ok(()),
            Ok(Some(_)) => Err(VerifyError::of_claim(Kind::WrongIssuer, "tid")),
            Ok(None) => Err(VerifyError::of_claim(Kind::MissingClaim, "tid")),
            // The claims may not be authenticated yet, so the error must not quote them.
            Err(_) => Err(VerifyError::of_claim(Kind::MalformedClaim, "tid")),
        }
    }

    fn parse(&self, integer_ids: bool) -> Result<Registered<'a>, VerifyError> {
        let malformed = |source| {
            let error = VerifyError::new(Kind::MalformedClaim);
            let named = |name| VerifyError::of_claim(Kind::MalformedClaim, name);
            self.malformed_claim().map_or(error, named).with_source(source)
        };
        let registered: Registered<'_> = serde_json::from_str(self.0).map_err(malformed)?;
        for (name, id) in [("sub", &registered.sub), ("jti", &registered.jti)] {
            if !integer_ids && id.as_ref().is_some_and(Id::is_integer) {
                return Err(VerifyError::of_claim(Kind::MalformedClaim, name));
            }
        }
        Ok(registered)
    }

    /// The registered claim of a wrong type. `None` if that is not what is wrong.
    fn malformed_claim(&self) -> Option<&'static str> {
        let members: HashMap<String, &RawValue> = serde_json::from_str(self.0).ok()?;
        let is_malformed = |name: &str, value: &RawValue| {
            serde_json::from_str::<Registered<'_>>(&format!(r#"{{"{name}":{value}}}"#)).is_err()
        };
        REGISTERED.into_iter().find(|name| members.get(*name).is_some_and(|value| is_malformed(name, value)))
    }

    /// The thumbprint in `cnf` (RFC 9449 §6.1). A token that is bound in another way too is refused.
    #[cfg(feature = "dpop")]
    pub(super) fn key_thumbprint(&self) -> Result<Arc<str>, VerifyError> {
        #[derive(Deserialize)]
        struct Bound {
            cnf: serde_json::Map<String, serde_json::Value>,
        }

        let bound: Option<Bound> = serde_json::from_str(self.0).ok();
        let only = bound.filter(|bound| bound.cnf.len() == 1).and_then(|mut bound| bound.cnf.remove("jkt"));
        match only {
            Some(serde_json::Value::String(thumbprint)) => Ok(thumbprint.into()),
            _ => Err(VerifyError::of_claim(Kind::SenderConstrained, "cnf")),
        }
    }

    pub(super) fn claims<C: DeserializeOwned>(&self) -> Result<C, VerifyError> {
        match serde_json::from_str(self.0) {
            Ok(claims) => Ok(claims),
            Err(source) => self.unit_claims().ok_or(VerifyError::new(Kind::UnexpectedClaims).with_source(source)),
        }
    }

    /// The value of a unit claims type, which serde_json does not deserialize from an object.
    fn unit_claims<C: DeserializeOwned>(&self) -> Option<C> {
        // Nothing else has validated the JSON.
        let is_unit = ClaimsType::of::<C>() == ClaimsType::Unit && serde_json::from_str::<IgnoredAny>(self.0).is_ok();
        is_unit.then(from_unit).flatten()
    }
}

impl<'a> Registered<'a> {
    /// Reads simple claims without the full parser. `None` if the parser is needed.
    fn scan(json: &'a str, provider_session_claim: &str) -> Option<Self> {
        let mut registered = Self::default();
        visit_members(json, |name, value| match (name.as_bytes(), value) {
            (b"iss", Value::Text(text)) => set_once(&mut registered.iss, Text(Cow::Borrowed(text))),
            (b"sub", Value::Text(text)) => set_once(&mut registered.sub, Id::Text(Cow::Borrowed(text))),
            (b"aud", Value::Text(text)) => set_once(&mut registered.aud, Audience::One(Cow::Borrowed(text))),
            (b"exp", Value::Integer(seconds)) => set_once(&mut registered.exp, NumericDate::from_seconds(seconds)?),
            (b"nbf", Value::Integer(seconds)) => set_once(&mut registered.nbf, NumericDate::from_seconds(seconds)?),
            (b"iat", Value::Integer(seconds)) => set_once(&mut registered.iat, NumericDate::from_seconds(seconds)?),
            (b"jti", Value::Text(text)) => set_once(&mut registered.jti, Id::Text(Cow::Borrowed(text))),
            (b"iss" | b"sub" | b"aud" | b"exp" | b"nbf" | b"iat" | b"jti" | b"cnf", _) => None,
            _ if name == provider_session_claim => match value {
                Value::Text(text) => set_once(&mut registered.provider_session, Text(Cow::Borrowed(text))),
                Value::Integer(_) | Value::Other => None,
            },
            _ => Some(()),
        })?;
        Some(registered)
    }
}

impl Audience<'_> {
    pub(super) fn contains_any(&self, allowed: &[String]) -> bool {
        let is_allowed = |audience: &Cow<'_, str>| allowed.iter().any(|allowed| allowed == audience);
        match self {
            Self::One(audience) => is_allowed(audience),
            Self::Several(audiences) => audiences.iter().any(is_allowed),
        }
    }
}

impl fmt::Display for Audience<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(audience) => f.write_str(audience),
            Self::Several(audiences) => f.write_str(&audiences.join(", ")),
        }
    }
}

impl NumericDate {
    fn from_seconds(seconds: u64) -> Option<Self> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).map(Self)
    }

    pub(super) const fn time(self) -> SystemTime {
        self.0
    }

    /// The time plus the leeway. `None` if `SystemTime` cannot represent it.
    pub(super) fn plus(self, leeway: Duration) -> Option<SystemTime> {
        self.0.checked_add(leeway)
    }

    /// Whether the time has been reached, minus the leeway.
    pub(super) fn is_reached(self, now: SystemTime, leeway: Duration) -> bool {
        now.checked_add(leeway).is_some_and(|now| now >= self.0)
    }
}

/// Unlike the implementation of `Option`, this rejects `null`.
fn non_null<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<Text<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> de::Visitor<'de> for Member<'_> {
    type Value = Option<Text<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found: Option<Option<Text<'de>>> = None;
        while let Some(Text(name)) = members.next_key()? {
            if name != self.0 {
                members.next_value::<IgnoredAny>()?;
            } else if found.replace(members.next_value()?).is_some() {
                return Err(de::Error::custom("a repeated member"));
            }
        }
        Ok(found.flatten())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Audience<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Audience<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_borrowed_str<E: de::Error>(self, audience: &'de str) -> Result<Self::Value, E> {
                Ok(Audience::One(Cow::Borrowed(audience)))
            }

            fn visit_str<E: de::Error>(self, audience: &str) -> Result<Self::Value, E> {
                Ok(Audience::One(Cow::Owned(audience.to_owned())))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut audiences = Vec::new();
                while let Some(Text(audience)) = list.next_element()? {
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
                from_epoch(Some(Duration::from_secs(seconds)), true)
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<NumericDate, E> {
                from_epoch(Some(Duration::from_secs(seconds.unsigned_abs())), seconds >= 0)
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<NumericDate, E> {
                from_epoch(Duration::try_from_secs_f64(seconds.abs()).ok(), seconds >= 0.0)
            }
        }

        fn from_epoch<E: de::Error>(distance: Option<Duration>, is_after: bool) -> Result<NumericDate, E> {
            let epoch = SystemTime::UNIX_EPOCH;
            distance
                .and_then(|distance| if is_after { epoch.checked_add(distance) } else { epoch.checked_sub(distance) })
                .map(NumericDate)
                .ok_or_else(|| E::custom("out of range"))
        }

        // Not `deserialize_any`: with serde_json's `arbitrary_precision` the visitor would get a map.
        deserializer.deserialize_f64(Visitor)
    }
}
