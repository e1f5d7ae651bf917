//! Answers of an introspection endpoint, plain (RFC 7662) and signed (RFC 9701). A token is accepted if the answer says
//! so and keeps all rules, as `serde_json` reads it, and then with the claims of the answer. An answer that is not one
//! is an outage, and never a verdict on the token.
//!
//! The input is a byte of settings, and the answer. A signed one is the header, a zero byte, and the claims.
#![no_main]

use std::{future::ready, time::Duration};

use axum::body::Bytes;
use axum_ws_auth::{
    Token, Verified, Verifier, VerifyError, VerifyErrorKind as Kind, VerifyInput,
    introspection::{ClientAuth, IntrospectionVerifier},
    jwks::IssuerKeys,
};
use axum_ws_auth_fuzz::{
    documents::{
        object::Object,
        refused::{Outcome, Refused, refused, rule},
        runtime::block_on,
        split,
        token::{Claims, ISSUER, LEEWAY, SECRET_SET, now, token_type},
    },
    jwt::sign,
};
use http::{Request, Response, header::CONTENT_TYPE};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

#[derive(Clone, Copy)]
struct Settings {
    is_signed: bool,
    ignores_binding: bool,
}

/// What an answer says.
#[derive(Debug)]
enum Verdict {
    /// The token is not valid, or is not one that may be used here.
    Refused,
    Accepted,
}

fuzz_target!(|data: &[u8]| {
    let Some((&settings, data)) = data.split_first() else { return };
    let settings = Settings { is_signed: settings & 1 != 0, ignores_binding: settings & 2 != 0 };
    if !settings.is_signed {
        let outcome = verify(settings, "application/json", data.to_vec());
        return compare(settings, data, outcome);
    }
    let Some((header, claims)) = split(data) else { return };
    // Without the content type of signed answers, an answer counts as not signed.
    let outcome = verify(settings, "application/json", claims.to_vec());
    assert_eq!(outcome.expect_err("not signed").kind(), Kind::Unavailable);
    let answer = sign(header, claims).into_bytes();
    let outcome = verify(settings, "application/token-introspection+jwt", answer);
    match opened(header, claims) {
        Ok(answer) => compare(settings, answer.as_bytes(), outcome),
        Err(why) => assert_eq!(outcome.expect_err(why.0).kind(), Kind::Unavailable),
    }
});

fn verify(settings: Settings, content_type: &'static str, answer: Vec<u8>) -> Result<Verified<Value>, VerifyError> {
    let answer = Bytes::from(answer);
    let client = move |_: Request<Bytes>| {
        ready(Response::builder().header(CONTENT_TYPE, content_type).body(answer.clone()).map_err(Into::into))
    };
    block_on(async {
        let auth = ClientAuth::basic("chat-server", "secret");
        let mut verifier = IntrospectionVerifier::endpoint("https://id.example.com/introspect", auth)
            .issuer(ISSUER)
            .audience("chat")
            .http_client(client);
        if settings.is_signed {
            verifier = verifier.signed_answers(IssuerKeys::jwks(ISSUER, serde_json::from_str(SECRET_SET)?));
        }
        if settings.ignores_binding {
            verifier = verifier.insecure_ignore_cnf();
        }
        let verifier = verifier.build().expect("a verifier");
        Ok::<_, serde_json::Error>(verifier.verify(VerifyInput::without_request(&Token::new("opaque"), now())).await)
    })
    .expect("a key set")
}

fn compare(settings: Settings, answer: &[u8], outcome: Result<Verified<Value>, VerifyError>) {
    match (expected(settings, answer), outcome) {
        (Ok(Verdict::Accepted), Ok(verified)) => check(answer, &verified),
        (Ok(Verdict::Refused), Err(error)) => assert_ne!(error.kind(), Kind::Unavailable, "{error:?}"),
        (Err(_), Err(error)) => assert_eq!(error.kind(), Kind::Unavailable, "{error:?}"),
        (expected, outcome) => panic!("expected {expected:?}, but {outcome:?}"),
    }
}

fn check(answer: &[u8], verified: &Verified<Value>) {
    let claims = Claims::read(answer).expect("claims");
    assert_eq!(verified.claims, serde_json::from_slice::<Value>(answer).expect("JSON"));
    assert_eq!(verified.issuer.as_deref(), Some(ISSUER));
    assert_eq!(verified.subject.as_deref(), claims.subject.as_deref());
    assert_eq!(verified.token_id.as_deref(), claims.token_id.as_deref());
    assert_eq!(verified.provider_session.as_deref(), claims.session.as_deref());
    assert_eq!(verified.issued_at, claims.issued_at);
    assert_eq!(verified.expires_at, claims.expiry.map(|expiry| expiry + LEEWAY));
}

/// `Err` if it is not an answer.
fn expected(settings: Settings, answer: &[u8]) -> Outcome<Verdict> {
    rule(answer.len() <= 64 * 1024, "too long")?;
    let members = Object::read(answer)?;
    let Some(Value::Bool(is_active)) = members.value("active")? else { return refused("no verdict") };
    let token_type = members.text("token_type")?.unwrap_or_default().to_ascii_lowercase();
    let is_other = |name| {
        let value = members.value(name)?;
        let kind = value.as_ref().and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
        Ok::<_, Refused>(["refresh_token", "refresh", "offline", "id_token", "id"].contains(&&*kind))
    };
    let (is_other_use, is_other_type) = (is_other("token_use")?, is_other("typ")?);
    let is_bound = ["dpop", "pop"].contains(&&*token_type);
    let is_bearer = ["", "bearer", "access_token"].contains(&&*token_type);
    if !is_active || is_other_use || is_other_type || !(is_bearer || is_bound && settings.ignores_binding) {
        return Ok(Verdict::Refused);
    }
    let claims = Claims::read(answer)?;
    let is_ours = claims.issuer.as_deref().is_none_or(|issuer| issuer == ISSUER);
    let is_bound = claims.members.has("cnf") && !settings.ignores_binding;
    let is_json = serde_json::from_slice::<Value>(answer).is_ok();
    let is_accepted = is_ours && !is_bound && is_json && claims.check_times_and_audience("chat").is_ok();
    Ok(if is_accepted { Verdict::Accepted } else { Verdict::Refused })
}

/// The answer in a signed one.
fn opened<'a>(header: &[u8], claims: &'a [u8]) -> Outcome<&'a str> {
    rule(token_type(header)? == "token-introspection+jwt", "another type")?;
    let claims = Claims::read(claims)?;
    claims.check("chat-server")?;
    rule(claims.issuer.as_deref() == Some(ISSUER), "of another issuer")?;
    let Some(issued_at) = claims.issued_at else { return refused("without iat") };
    let minute = Duration::from_secs(60);
    rule((now() - minute..=now() + minute).contains(&issued_at), "not signed now")?;
    claims.members.raw("token_introspection")?.map_or(refused("without an answer"), Ok)
}
