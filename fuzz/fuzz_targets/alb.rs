//! Tokens of an AWS Application Load Balancer that are signed by the right key, with any header and any claims, padded
//! or not. The verifier accepts those that keep all rules, as `serde_json` reads them, and no others. It fetches a key
//! only for a token that is right but for its signature, and only by a UUID.
//!
//! The input is a byte of settings, the header, a zero byte, and the claims.
#![no_main]

use std::{
    future::ready,
    sync::{Arc, LazyLock, Mutex},
    time::SystemTime,
};

use axum_ws_auth::{
    Token, Verified, Verifier, VerifyError, VerifyInput,
    jwt::{AlbVerifier, Algorithm},
};
use axum_ws_auth_fuzz::{
    documents::{
        object::Object,
        refused::{Outcome, refused, rule},
        runtime::block_on,
        split,
        token::{Claims, LEEWAY, date, now},
    },
    jwt::sign_message,
};
use base64::{
    Engine as _,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use http::{Request, Response};
use jsonwebtoken::EncodingKey;
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::Value;

const ARN: &str = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/chat/50dc6c495c0c9188";
const KEYS: &str = "https://public-keys.auth.elb.eu-west-1.amazonaws.com";
const KEY_ID: &str = "abb8289f-e3a4-4a34-9472-c2105e2b2482";

static KEY: LazyLock<EncodingKey> = LazyLock::new(|| {
    EncodingKey::from_ec_pem(include_bytes!("../../tests/test_keys/p256.pem")).expect("a private key")
});

/// A token that is right but for its signature.
struct Right {
    key_id: String,
    issuer: String,
    expires_at: SystemTime,
}

fuzz_target!(|data: &[u8]| {
    let Some((&settings, data)) = data.split_first() else { return };
    let Some((header, claims)) = split(data) else { return };
    let has_client = settings & 1 != 0;
    let encode = |bit: u8, bytes: &[u8]| {
        if settings & bit != 0 { URL_SAFE.encode(bytes) } else { URL_SAFE_NO_PAD.encode(bytes) }
    };
    let message = format!("{}.{}", encode(2, header), encode(4, claims));
    let mut token = sign_message(Algorithm::ES256, &KEY, &message);
    if settings & 8 != 0 {
        // A signature of 64 bytes takes two characters of padding.
        token.push_str("==");
    }
    let (outcome, requests) = verify(&token, has_client);
    let right = read(header, claims, has_client);
    let wanted: Vec<_> = right.iter().map(|right| format!("{KEYS}/{}", right.key_id)).collect();
    // Whether the claims are JSON is known for sure only after the signature.
    if right.is_ok() || serde_json::from_slice::<IgnoredAny>(claims).is_ok() {
        assert_eq!(requests, wanted, "{:?}", right.err());
    }
    let value = serde_json::from_slice::<Value>(claims);
    match (right, outcome) {
        (Ok(right), Ok(verified)) if right.key_id == KEY_ID => check(&right, claims, value.expect("JSON"), &verified),
        (Ok(right), Err(_)) if right.key_id != KEY_ID || value.is_err() => {}
        (Err(_), Err(_)) => {}
        (right, outcome) => panic!("the reference says {:?}, but {outcome:?}", right.err()),
    }
});

/// Returns what was fetched, too.
fn verify(token: &str, has_client: bool) -> (Result<Verified<Value>, VerifyError>, Vec<String>) {
    let requests = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&requests);
    let fetch = move |request: Request<()>| {
        let url = request.uri().to_string();
        let response = Response::builder().status(if url.ends_with(KEY_ID) { 200 } else { 404 });
        seen.lock().expect("the lock").push(url);
        ready(response.body(include_bytes!("../../tests/test_keys/p256.pub.pem").to_vec()).map_err(Into::into))
    };
    let outcome = block_on(async {
        let mut builder = AlbVerifier::builder(ARN).fetch(fetch);
        if has_client {
            builder = builder.client("chat");
        }
        let verifier = builder.build().expect("a verifier");
        verifier.verify(VerifyInput::without_request(&Token::new(token), now())).await
    });
    let requests = std::mem::take(&mut *requests.lock().expect("the lock"));
    (outcome, requests)
}

fn check(right: &Right, claims: &[u8], value: Value, verified: &Verified<Value>) {
    let claims = Claims::read(claims).expect("claims");
    assert_eq!(verified.claims, value);
    assert_eq!(verified.issuer.as_deref(), Some(&*right.issuer));
    assert_eq!(verified.subject.as_deref(), claims.subject.as_deref());
    assert_eq!(verified.token_id.as_deref(), claims.token_id.as_deref());
    assert_eq!(verified.provider_session.as_deref(), claims.session.as_deref());
    assert_eq!(verified.issued_at, claims.issued_at);
    assert_eq!(verified.expires_at, Some(right.expires_at));
}

fn read(header: &[u8], claims: &[u8], has_client: bool) -> Outcome<Right> {
    let header = Object::read(header)?;
    let text = |name| header.text(name)?.map_or(refused("a member is missing"), Ok);
    rule(text("alg")? == "ES256", "another algorithm")?;
    rule(!header.has("crit"), "a critical extension")?;
    rule(header.text("typ")?.is_none_or(|typ| typ.eq_ignore_ascii_case("JWT")), "another type")?;
    rule(text("signer")? == ARN, "of another load balancer")?;
    let client = header.text("client")?;
    rule(!has_client || client.as_deref() == Some("chat"), "for another client")?;
    let (key_id, issuer) = (text("kid")?, text("iss")?);
    rule(is_uuid(&key_id), "the key's id could be any path")?;
    rule(!issuer.is_empty(), "of nobody")?;
    let expiry = header.value("exp")?.map_or(refused("no end"), |value| date(&value))?;

    let claims = Claims::read(claims)?;
    let expiry = claims.expiry.map_or(expiry, |own| own.min(expiry));
    let Some(expires_at) = expiry.checked_add(LEEWAY) else { return refused("exp is out of range") };
    rule(now() < expires_at, "expired")?;
    rule(claims.not_before.is_none_or(|begin| begin <= now() + LEEWAY), "not valid yet")?;
    rule(claims.issuer.is_none_or(|own| own == issuer), "of two issuers")?;
    rule(!claims.members.has("cnf"), "bound to a key")?;
    Ok(Right { key_id, issuer, expires_at })
}

/// In lower case.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.concat().bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
