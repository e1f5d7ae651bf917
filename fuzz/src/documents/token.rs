//! What RFC 7515 and RFC 7519 say of a token that is signed by the right key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{
    object::Object,
    refused::{Outcome, refused, rule},
};

/// The secret that signs tokens, as a key set.
pub const SECRET_SET: &str =
    r#"{"keys":[{"kty":"oct","alg":"HS256","k":"VEVTVCBLRVkgVEVTVCBLRVkgVEVTVCBLRVkgVEVTVCBLRVk"}]}"#;
pub const ISSUER: &str = "https://id.example.com";
pub const LEEWAY: Duration = Duration::from_secs(30);

/// The time of every run.
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// Checks the header of a token that [`sign`](crate::jwt::sign) has made, and returns its type in lower case.
pub fn token_type(header: &[u8]) -> Outcome<String> {
    let header = Object::read(header)?;
    rule(header.text("alg")?.as_deref() == Some("HS256"), "another algorithm")?;
    rule(!header.has("crit"), "a critical extension")?;
    header.text("kid")?;
    let typ = header.text("typ")?.unwrap_or_default().to_ascii_lowercase();
    Ok(typ.strip_prefix("application/").unwrap_or(&typ).to_owned())
}

/// The registered claims.
pub struct Claims<'a> {
    pub members: Object<'a>,
    pub issuer: Option<String>,
    pub subject: Option<String>,
    pub token_id: Option<String>,
    pub session: Option<String>,
    pub audiences: Option<Vec<String>>,
    pub expiry: Option<SystemTime>,
    pub not_before: Option<SystemTime>,
    pub issued_at: Option<SystemTime>,
}

impl<'a> Claims<'a> {
    pub fn read(json: &'a [u8]) -> Outcome<Self> {
        let members = Object::read(json)?;
        // An empty name is none.
        let text = |name| members.text(name).map(|text| text.filter(|text| !text.is_empty()));
        let date = |name| match members.value(name)? {
            None => Ok(None),
            Some(Value::Null) if name != "exp" => Ok(None),
            Some(value) => date(&value).map(Some),
        };
        let expiry = date("exp")?;
        rule(expiry.is_none_or(|expiry| expiry.checked_add(LEEWAY).is_some()), "exp is out of range")?;
        members.raw("cnf")?;
        Ok(Self {
            issuer: text("iss")?,
            subject: text("sub")?,
            token_id: text("jti")?,
            session: text("sid")?,
            audiences: members.value("aud")?.map_or(Ok(None), audiences)?,
            expiry,
            not_before: date("nbf")?,
            issued_at: date("iat")?,
            members,
        })
    }

    /// The rules that hold for every token.
    pub fn check(&self, audience: &str) -> Outcome<()> {
        self.check_times_and_audience(audience)?;
        rule(!self.members.has("cnf"), "bound to a key")
    }

    pub fn check_times_and_audience(&self, audience: &str) -> Outcome<()> {
        rule(self.expiry.is_none_or(|expiry| now() < expiry + LEEWAY), "expired")?;
        rule(self.not_before.is_none_or(|begin| begin <= now() + LEEWAY), "not valid yet")?;
        rule(self.audiences.iter().flatten().any(|own| own == audience), "for another audience")
    }
}

fn audiences(value: Value) -> Outcome<Option<Vec<String>>> {
    match value {
        Value::Null => Ok(None),
        Value::String(one) => Ok(Some(vec![one])),
        several => serde_json::from_value(several).map(Some).or_else(|_| refused("an audience is not a string")),
    }
}

/// Seconds since the epoch.
pub fn date(value: &Value) -> Outcome<SystemTime> {
    let seconds = match (value.as_u64(), value.as_i64(), value.as_f64()) {
        (Some(seconds), ..) => Some((Duration::from_secs(seconds), true)),
        (_, Some(seconds), _) => Some((Duration::from_secs(seconds.unsigned_abs()), false)),
        (.., Some(seconds)) => {
            Duration::try_from_secs_f64(seconds.abs()).ok().map(|distance| (distance, seconds >= 0.0))
        }
        _ => None,
    };
    let time =
        seconds.and_then(
            |(distance, is_after)| {
                if is_after { UNIX_EPOCH.checked_add(distance) } else { UNIX_EPOCH.checked_sub(distance) }
            },
        );
    time.ok_or(super::refused::Refused("not a time"))
}
