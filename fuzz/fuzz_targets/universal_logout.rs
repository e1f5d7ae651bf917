//! Requests for Universal Logout (draft-parecki-oauth-global-token-revocation): a JWT that is signed by the right key,
//! with any header and any claims, and any body. A request revokes exactly what its body names, and only if the JWT
//! keeps all rules, as `serde_json` reads both. Otherwise the answer says whose fault it is. None repeats the JWT.
//!
//! The input is a byte of settings, the header, a zero byte, the claims, a zero byte, and the body.
#![no_main]

use std::{
    future::ready,
    sync::LazyLock,
    time::{Duration, UNIX_EPOCH},
};

use axum_ws_auth::{
    Revocation, ScopedId, TimeSource,
    jwt::JwtVerifier,
    signals::{SubjectId, UniversalLogout},
};
use axum_ws_auth_fuzz::{
    documents::{
        object::Object,
        refused::{Outcome, refused, rule},
        revocations::{Recorder, send},
        runtime::block_on,
        split,
        subject::Subject,
        token::{Claims, ISSUER, LEEWAY, now, token_type},
    },
    jwt::{SECRET, sign},
};
use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const URL: &str = "https://chat.example/universal-logout";
const MAX_TOKEN_LEN: usize = 8 * 1024;

static VERIFIER: LazyLock<JwtVerifier<()>> = LazyLock::new(|| {
    let builder = JwtVerifier::builder().secret(SECRET).expect("a secret").issuer(ISSUER).audience("chat");
    builder.build().expect("a verifier")
});

#[derive(Clone, Copy)]
struct Settings {
    has_resolver: bool,
    has_client_id: bool,
}

fuzz_target!(|data: &[u8]| {
    let Some((&settings, data)) = data.split_first() else { return };
    let Some((header, data)) = split(data) else { return };
    let Some((claims, body)) = split(data) else { return };
    let settings = Settings { has_resolver: settings & 1 != 0, has_client_id: settings & 2 != 0 };
    let token = sign(header, claims);
    let (status, answer, revoked) = receive(settings, &token, body);
    assert!(!answer.contains(&token));
    match authenticated(settings, &token, header, claims) {
        Err(why) => assert_eq!((status, revoked), (StatusCode::UNAUTHORIZED, vec![]), "{why:?}"),
        Ok(claims) => match revocation(settings, &claims, body) {
            Ok(revocation) => assert_eq!((status, revoked), (StatusCode::NO_CONTENT, vec![revocation]), "{answer}"),
            Err(expected) => assert_eq!((status, revoked), (expected, vec![]), "{answer}"),
        },
    }
});

fn receive(settings: Settings, token: &str, body: &[u8]) -> (StatusCode, String, Vec<Revocation>) {
    let recorder = Recorder::default();
    let (status, answer) = block_on(async {
        let logout = UniversalLogout::new(&VERIFIER, &recorder.revocations(), URL).expect("a url");
        let mut logout = logout.time_source(TimeSource::new(now));
        if settings.has_resolver {
            logout = logout.users(|subject| ready(Ok(resolved(&subject))));
        }
        if settings.has_client_id {
            logout = logout.client_id("client").expect("an id");
        }
        let request = Request::post("/").header(AUTHORIZATION, format!("Bearer {token}"));
        let request = request.header(CONTENT_TYPE, "application/json").body(body.to_vec().into());
        send(logout.route(), request.expect("a request")).await
    });
    (status, answer, recorder.take())
}

/// The resolver knows one address.
fn resolved(subject: &SubjectId) -> Option<ScopedId> {
    match subject {
        SubjectId::Email { email } if &**email == "a@b.c" => Some(ScopedId::of(ISSUER, "alice")),
        _ => None,
    }
}

fn authenticated<'a>(settings: Settings, token: &str, header: &[u8], claims: &'a [u8]) -> Outcome<Claims<'a>> {
    rule(token.len() <= MAX_TOKEN_LEN, "too long")?;
    rule(token_type(header)? == "global-token-revocation+jwt", "another type")?;
    let claims = Claims::read(claims)?;
    claims.check(URL)?;
    rule(claims.expiry.is_some(), "without exp")?;
    rule(claims.issuer.as_deref() == Some(ISSUER), "of another issuer")?;
    rule(claims.subject.is_some(), "without sub")?;
    rule(!settings.has_client_id || claims.subject.as_deref() == Some("client"), "of another client")?;
    let Some(issued_at) = claims.issued_at else { return refused("without iat") };
    rule(issued_at <= now() + LEEWAY, "from the future")?;
    rule(issued_at + Duration::from_secs(300) + LEEWAY > now(), "too old")?;
    Ok(claims)
}

/// What the body asks to revoke, or the status of the answer.
fn revocation(settings: Settings, claims: &Claims<'_>, body: &[u8]) -> Result<Revocation, StatusCode> {
    let until = claims.issued_at.expect("iat").clamp(UNIX_EPOCH, now());
    let of = |subject| Ok(Revocation::Subject { subject, until });
    match subject(body).map_err(|_| StatusCode::BAD_REQUEST)? {
        Subject::Email { email } if settings.has_resolver && email == "a@b.c" => of(ScopedId::of(ISSUER, "alice")),
        Subject::IssSub { iss, sub } if iss == ISSUER => of(ScopedId::of(iss, sub)),
        Subject::IssSub { .. } => Err(StatusCode::FORBIDDEN),
        // These name no user.
        Subject::Complex(_) | Subject::JwtId { .. } => Err(StatusCode::UNPROCESSABLE_ENTITY),
        _ if settings.has_resolver => Err(StatusCode::NOT_FOUND),
        _ => Err(StatusCode::UNPROCESSABLE_ENTITY),
    }
}

/// The subject is in one of two members.
fn subject(body: &[u8]) -> Outcome<Subject> {
    let members = Object::read(body)?;
    let member = |name| Ok(members.raw(name)?.filter(|raw| *raw != "null"));
    let ((Some(raw), None) | (None, Some(raw))) = (member("sub_id")?, member("subject")?) else {
        return refused("none or two subjects");
    };
    rule(raw.len() <= 16 * 1024, "too long")?;
    let Ok(value) = serde_json::from_str::<Value>(raw) else { return refused("not a value") };
    Subject::read(&value)
}
