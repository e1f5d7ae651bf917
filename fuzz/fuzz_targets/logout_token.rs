//! Log-out tokens that are signed by the right key, with any header and any claims. The receiver accepts those that
//! keep all rules of OpenID Connect Back-Channel Logout 1.0 §2.6, as `serde_json` reads them, and no others. It then
//! revokes what the token names, and nothing else. Its answer never repeats the token.
//!
//! The input is a byte of settings, the header, a zero byte, and the claims.
#![no_main]

use std::{
    sync::LazyLock,
    time::{Duration, UNIX_EPOCH},
};

use axum_ws_auth::{Revocation, ScopedId, TimeSource, jwt::JwtVerifier, signals::BackChannelLogout};
use axum_ws_auth_fuzz::{
    documents::{
        object::Object,
        refused::{Outcome, refused, rule},
        revocations::{Recorder, post},
        runtime::block_on,
        split,
        token::{Claims, ISSUER, LEEWAY, now, token_type},
    },
    jwt::{SECRET, sign},
};
use http::StatusCode;
use libfuzzer_sys::fuzz_target;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

static VERIFIER: LazyLock<JwtVerifier<()>> = LazyLock::new(|| {
    let builder = JwtVerifier::builder().secret(SECRET).expect("a secret").issuer(ISSUER).audience("chat");
    builder.build().expect("a verifier")
});

struct Settings {
    accept_untyped: bool,
    accept_without_exp: bool,
    whole_subject: bool,
}

fuzz_target!(|data: &[u8]| {
    let Some((&settings, data)) = data.split_first() else { return };
    let Some((header, claims)) = split(data) else { return };
    let settings = Settings {
        accept_untyped: settings & 1 != 0,
        accept_without_exp: settings & 2 != 0,
        whole_subject: settings & 4 != 0,
    };
    let token = sign(header, claims);
    let (status, answer, revoked) = receive(&settings, &token);
    assert!(!answer.contains(&token));
    match expected(&settings, header, claims) {
        Ok(revocation) => assert_eq!((status, revoked), (StatusCode::OK, vec![revocation]), "{answer}"),
        Err(why) => assert_eq!((status, revoked), (StatusCode::BAD_REQUEST, vec![]), "{why:?}"),
    }
});

fn receive(settings: &Settings, token: &str) -> (StatusCode, String, Vec<Revocation>) {
    let recorder = Recorder::default();
    let (status, answer) = block_on(async {
        let logout = BackChannelLogout::new(&VERIFIER, &recorder.revocations(), "chat").expect("a receiver");
        let mut logout = logout.time_source(TimeSource::new(now));
        if settings.accept_untyped {
            logout = logout.insecure_accept_untyped();
        }
        if settings.accept_without_exp {
            logout = logout.insecure_accept_without_exp();
        }
        if settings.whole_subject {
            logout = logout.whole_subject();
        }
        let body = format!("logout_token={token}");
        post(logout.route(), "application/x-www-form-urlencoded", body).await
    });
    (status, answer, recorder.take())
}

fn expected(settings: &Settings, header: &[u8], claims: &[u8]) -> Outcome<Revocation> {
    let typ = token_type(header)?;
    rule(typ == "logout+jwt" || settings.accept_untyped && ["", "jwt", "at+jwt"].contains(&&*typ), "another type")?;
    let claims = Claims::read(claims)?;
    claims.check("chat")?;
    rule(claims.expiry.is_some() || settings.accept_without_exp, "without exp")?;
    rule(claims.issuer.as_deref() == Some(ISSUER), "of another issuer")?;
    rule(claims.token_id.is_some(), "without jti")?;
    let Some(issued_at) = claims.issued_at else { return refused("without iat") };
    rule(issued_at <= now() + LEEWAY, "from the future")?;
    rule(claims.expiry.is_some() || issued_at + Duration::from_secs(300) + LEEWAY > now(), "too old")?;
    let Some(events) = claims.members.raw("events")? else { return refused("without events") };
    rule(Object::read(events.as_bytes())?.raw(EVENT)?.is_some(), "another event")?;
    rule(claims.members.raw("nonce")?.is_none(), "with a nonce")?;
    rule(claims.members.text("sid")?.as_deref() != Some(""), "of an empty session")?;
    match (claims.session, claims.subject) {
        (None, None) => refused("of nobody"),
        (Some(session), subject) if subject.is_none() || !settings.whole_subject => {
            Ok(Revocation::ProviderSession(ScopedId::of(ISSUER, session)))
        }
        (_, subject) => {
            let subject = ScopedId::of(ISSUER, subject.unwrap_or_default());
            Ok(Revocation::Subject { subject, until: issued_at.clamp(UNIX_EPOCH, now()) })
        }
    }
}
