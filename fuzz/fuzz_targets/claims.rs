//! Claims of a token that is signed by the right key: they are accepted exactly if `serde_json` reads an object whose
//! registered members obey the rules, and with the same values. Whether the application wants the claims, or no claims,
//! makes no difference. No error shows the token.
//!
//! The input is the configuration, and the claims.
#![no_main]

use std::{
    error::Error,
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum_ws_auth::{Token, Verified, Verifier, VerifyError, VerifyInput, jwt::JwtVerifier};
use axum_ws_auth_fuzz::{
    json::{RawMembers, string},
    jwt::{SECRET, sign},
};
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};

const NOW: u64 = 1_700_000_000;
const LEEWAY: u64 = 30;
const REGISTERED: [&str; 8] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "cnf"];

/// A configuration, with a verifier for claims and one for no claims.
struct Config {
    with_claims: JwtVerifier<Value>,
    without: JwtVerifier<()>,
    /// `iss` must be `a`, `exp` may be missing, identifiers may be integers, and `aud` must be missing. Otherwise `iss`
    /// may be anything, and `aud` must hold `chat`.
    is_second: bool,
}

static CONFIGS: LazyLock<[Config; 2]> = LazyLock::new(|| {
    [false, true].map(|is_second| Config { with_claims: verifier(is_second), without: verifier(is_second), is_second })
});

fn verifier<C: DeserializeOwned + Send + Sync + 'static>(is_second: bool) -> JwtVerifier<C> {
    let builder = JwtVerifier::builder().secret(SECRET).expect("a secret");
    let builder = if is_second {
        builder.issuer("a").integer_ids().insecure_allow_missing_exp().provider_session_claim("session")
    } else {
        builder.audience("chat")
    };
    builder.build().expect("a verifier")
}

fuzz_target!(init: { let _ = DEFAULT_PROVIDER.install_default(); }, |data: &[u8]| {
    let Some((&config, claims)) = data.split_first() else { return };
    let config = &CONFIGS[usize::from(config) % CONFIGS.len()];
    let token = sign(br#"{"alg":"HS256"}"#, claims);
    let without = verify(&config.without, &token).map(|verified| Accepted::of(&verified));
    let with_claims = verify(&config.with_claims, &token);
    if let Ok(verified) = &with_claims {
        assert_eq!(serde_json::from_slice::<Value>(claims).expect("JSON"), verified.claims);
    }
    let is_value = serde_json::from_slice::<Value>(claims).is_ok();
    // Any value needs more than to be skipped: numbers in range, for example.
    assert_eq!(with_claims.ok().map(|verified| Accepted::of(&verified)), without.as_ref().ok().filter(|_| is_value).cloned());
    let Some(expected) = config.expected(claims) else { return };
    assert_eq!(without.ok(), expected);
});

fn verify<C: DeserializeOwned + Send + Sync + 'static>(
    verifier: &JwtVerifier<C>,
    token: &str,
) -> Result<Verified<C>, VerifyError> {
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let outcome = verifier.verify_now(VerifyInput::without_request(&Token::new(token), now)).expect("the key is known");
    if let Err(error) = &outcome {
        let source = error.source().map(ToString::to_string).unwrap_or_default();
        let (_, signature) = token.rsplit_once('.').expect("a token");
        assert!(!format!("{error} {error:?} {source}").contains(signature), "the error shows the token");
    }
    outcome
}

/// What is known of an accepted token.
#[derive(Clone, Debug, PartialEq)]
struct Accepted {
    /// `iss`, `sub`, `jti` and the provider's session.
    texts: [Option<String>; 4],
    expires_at: Option<SystemTime>,
    issued_at: Option<SystemTime>,
}

impl Accepted {
    fn of<C>(verified: &Verified<C>) -> Self {
        let Verified { issuer, subject, token_id, provider_session, expires_at, issued_at, .. } = verified;
        let texts = [issuer, subject, token_id, provider_session];
        let texts = texts.map(|text| text.as_deref().map(str::to_owned));
        Self { texts, expires_at: *expires_at, issued_at: *issued_at }
    }
}

/// The claims break a rule.
struct Refused;

impl Config {
    /// `None` if a number is too close to the range of the clock to tell.
    fn expected(&self, claims: &[u8]) -> Option<Option<Accepted>> {
        let read = |text| serde_json::from_str::<RawMembers>(text).ok();
        let Some(members) = str::from_utf8(claims).ok().and_then(read) else { return Some(None) };
        let is_at_edge = |name| {
            members.all(name).filter_map(|value| number(value)).any(|number| (9e18..1e19).contains(&number.abs()))
        };
        (!["exp", "nbf", "iat"].into_iter().any(is_at_edge)).then(|| self.accept(&members).ok())
    }

    fn accept(&self, members: &RawMembers) -> Result<Accepted, Refused> {
        let session = if self.is_second { "session" } else { "sid" };
        if REGISTERED.into_iter().chain([session]).any(|name| members.all(name).count() > 1)
            || members.only("cnf").is_some()
        {
            return Err(Refused);
        }
        let exp = match members.only("exp") {
            Some(exp) => Some(time(exp)?.ok_or(Refused)?),
            None if self.is_second => None,
            None => return Err(Refused),
        };
        let [nbf, iat] = ["nbf", "iat"].map(|name| members.only(name).map_or(Ok(None), |value| time(value)));
        let (now, leeway) = (UNIX_EPOCH + Duration::from_secs(NOW), Duration::from_secs(LEEWAY));
        let expires_at = exp.map(|exp| exp + leeway);
        let iss = members.only("iss").map_or(Ok(None), |iss| text(iss))?;
        let is_in_time = expires_at.is_none_or(|end| now < end) && nbf?.is_none_or(|nbf| nbf <= now + leeway);
        let is_ours = if self.is_second { iss.as_deref() == Some("a") } else { true };
        if !is_in_time || !is_ours || !self.is_for_us(members.only("aud"))? {
            return Err(Refused);
        }
        let [sub, jti] = ["sub", "jti"].map(|name| members.only(name).map_or(Ok(None), |id| self.id(id)));
        let session = members.only(session).map_or(Ok(None), |session| text(session))?;
        Ok(Accepted { texts: [iss, sub?, jti?, session], expires_at, issued_at: iat? })
    }

    fn is_for_us(&self, aud: Option<&Box<RawValue>>) -> Result<bool, Refused> {
        let Some(aud) = aud.filter(|aud| aud.get() != "null") else { return Ok(self.is_second) };
        let several: Option<Vec<String>> = serde_json::from_str(aud.get()).ok();
        let several = several.or_else(|| Some(vec![string(aud)?])).ok_or(Refused)?;
        Ok(!self.is_second && several.iter().any(|one| one == "chat"))
    }

    fn id(&self, id: &RawValue) -> Result<Option<String>, Refused> {
        let json = id.get();
        let is_integer = !json.contains(['.', 'e', 'E', '"']) && json != "-0" && {
            let integer = json.parse::<i128>();
            integer.is_ok_and(|integer| (i64::MIN.into()..=u64::MAX.into()).contains(&integer))
        };
        if is_integer && self.is_second { Ok(Some(json.to_owned())) } else { text(id) }
    }
}

/// A text that is not empty.
fn text(value: &RawValue) -> Result<Option<String>, Refused> {
    let text: Option<String> = serde_json::from_str(value.get()).map_err(|_| Refused)?;
    Ok(text.filter(|text| !text.is_empty()))
}

fn number(value: &RawValue) -> Option<f64> {
    value.get().parse().ok()
}

fn time(value: &RawValue) -> Result<Option<SystemTime>, Refused> {
    if value.get() == "null" {
        return Ok(None);
    }
    let number: serde_json::Number = serde_json::from_str(value.get()).map_err(|_| Refused)?;
    if number.as_f64().is_none_or(|number| number.abs() >= 1e19) {
        return Err(Refused);
    }
    let distance = match number.as_i64() {
        Some(seconds) => Duration::from_secs(seconds.unsigned_abs()),
        None => Duration::from_secs_f64(number.as_f64().ok_or(Refused)?.abs()),
    };
    let is_negative = value.get().starts_with('-');
    Ok(Some(if is_negative { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }))
}
