//! DPoP proofs with any header and any claims. A proof is accepted once, and only if it keeps all rules of RFC 9449
//! §4.3, as `serde_json` and the `url` crate read it, and the key of the token has signed it. It always is if its URI
//! is in the form that browsers write.
//!
//! The input is a byte of settings, the path of the request, a zero byte, the header, a zero byte, and the claims.
#![no_main]

use std::{sync::LazyLock, time::UNIX_EPOCH};

use axum_ws_auth::{
    Dpop, Token, Verifier, VerifyErrorKind as Kind, VerifyInput,
    jwt::{Algorithm, JwtVerifier},
};
use axum_ws_auth_fuzz::{
    documents::{
        object::Object,
        refused::{Outcome, refused, rule},
        runtime::block_on,
        split,
        token::now,
    },
    jwt::{SECRET, sign, sign_with},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Request, request::Parts};
use jsonwebtoken::EncodingKey;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

const BASE: &str = "https://chat.example/ws";
/// The keys of test 1 and test 2 of RFC 8032 §7.1.
const SEEDS: [&[u8]; 2] = [
    b"\x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4\x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60",
    b"\x4c\xcd\x08\x9b\x28\xff\x96\xda\x9d\xb6\xc3\x46\xec\x11\x4e\x0f\x5b\x8a\x31\x9f\x35\xab\xa6\x24\xda\x8c\xf6\xed\x4f\xb8\xa6\xfb",
];
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
/// RFC 8037 §A.3.
const THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
/// The two names of the algorithm (RFC 9864).
const ALGORITHMS: [&str; 2] = ["EdDSA", "Ed25519"];
/// The nonce that the server makes at this time with this key.
const NONCE: &str = "AAAAAGVT8QAnaTR3_-Pe9B0PKQ4hMxRFYpt8Yk-mJyIoaYzeR9y_qQ";

static VERIFIER: LazyLock<JwtVerifier<Value>> = LazyLock::new(|| {
    JwtVerifier::builder().secret(SECRET).expect("a secret").audience("chat").build().expect("a verifier")
});

/// A token that is bound to the first key.
static TOKEN: LazyLock<String> = LazyLock::new(|| {
    let claims = format!(r#"{{"aud":"chat","exp":1700000060,"cnf":{{"jkt":"{THUMBPRINT}"}}}}"#);
    sign(br#"{"alg":"HS256"}"#, claims.as_bytes())
});

/// What `htu` says.
#[derive(PartialEq)]
enum Uri {
    /// The URI of the request, in the form that browsers write.
    Same,
    /// The same after normalization.
    Equivalent,
}

fuzz_target!(|data: &[u8]| {
    let Some((&settings, data)) = data.split_first() else { return };
    let Some((path, data)) = split(data) else { return };
    let Some((header, claims)) = split(data) else { return };
    let method = ["GET", "CONNECT", "POST", "GET"][usize::from(settings >> 2 & 3)];
    let Ok(request) = Request::builder().method(method).uri(path).body(()) else { return };
    let (request, ()) = request.into_parts();
    if request.uri.authority().is_some() || !request.uri.path().starts_with('/') {
        return;
    }
    let needs_nonce = settings & 1 != 0;
    let key = usize::from(settings >> 1 & 1);
    let outcomes = verify(needs_nonce, &request, &proof_of(SEEDS[key], header, claims));
    let expected =
        rule(key == 0, "signed by another key").and_then(|()| expected(needs_nonce, &request, header, claims));
    match (outcomes, expected) {
        ([Ok(()), second], Ok(_)) => assert_eq!(second, Err(Kind::ProofReplayed)),
        ([Ok(()), _], Err(why)) => panic!("accepted, but {why:?}"),
        ([Err(kind), _], Ok(Uri::Same)) => panic!("refused as {kind:?}"),
        ([Err(_), _], _) => {}
    }
});

/// Shows the proof twice to a new verifier.
fn verify(needs_nonce: bool, request: &Parts, proof: &str) -> [Result<(), Kind>; 2] {
    let mut verifier = Dpop::new(VERIFIER.clone(), BASE).expect("a base");
    if needs_nonce {
        verifier = verifier.require_nonce_of(SECRET).expect("a key");
    }
    let token = Token::new(TOKEN.as_str()).with_dpop_proof(proof);
    let verify = || block_on(verifier.verify(VerifyInput::new(&token, request, now())));
    [verify(), verify()].map(|outcome| outcome.map(drop).map_err(|error| error.kind()))
}

fn proof_of(seed: &[u8], header: &[u8], claims: &[u8]) -> String {
    // PKCS #8 (RFC 8410 §7).
    let der = [b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20", seed].concat();
    sign_with(Algorithm::EdDSA, &EncodingKey::from_ed_der(&der), header, claims)
}

fn expected(needs_nonce: bool, request: &Parts, header: &[u8], claims: &[u8]) -> Outcome<Uri> {
    check_header(header)?;
    let claims = Object::read(claims)?;
    let text = |name| claims.text(name)?.map_or(refused("a claim is missing"), Ok);
    rule((1..=256).contains(&text("jti")?.len()), "jti is empty or too long")?;
    let method = text("htm")?;
    let is_handshake = |method: &str| ["GET", "CONNECT"].contains(&method);
    let is_method = request.method == *method || is_handshake(request.method.as_str()) && is_handshake(&method);
    rule(is_method, "for another method")?;
    rule(text("ath")? == URL_SAFE_NO_PAD.encode(Sha256::digest(&*TOKEN)), "for another token")?;
    let Some(made) = claims.value("iat")?.and_then(|iat| iat.as_f64()) else { return refused("without iat") };
    let now = now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs_f64();
    rule((now - 60.0..=now + 10.0).contains(&made), "stale")?;
    rule(claims.text("nonce")?.is_some_and(|nonce| nonce == NONCE) || !needs_nonce, "without a nonce of this server")?;
    uri(&text("htu")?, request.uri.path())
}

fn check_header(header: &[u8]) -> Outcome<()> {
    let header = Object::read(header)?;
    let is = |name, values: &[&str]| {
        let text = header.text(name)?.unwrap_or_default();
        rule(values.iter().any(|value| text.eq_ignore_ascii_case(value)), "another type")
    };
    is("typ", &["dpop+jwt"])?;
    let algorithm = header.text("alg")?.unwrap_or_default();
    rule(ALGORITHMS.contains(&&*algorithm), "another algorithm")?;
    rule(!header.has("crit"), "a critical extension")?;
    let Some(Value::Object(jwk)) = header.value("jwk")? else { return refused("without a key") };
    // As in key sets, a member that is `null` or empty is none.
    let member = |name: &str| jwk.get(name).filter(|value| !value.is_null() && *value != "");
    for (name, value) in [("kty", "OKP"), ("crv", "Ed25519"), ("x", PUBLIC)] {
        rule(member(name).is_some_and(|own| own == value), "another key")?;
    }
    let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv", "k"];
    rule(private.iter().all(|name| member(name).is_none()), "a private key")?;
    rule(member("use").is_none_or(|purpose| purpose == "sig"), "for another use")?;
    let verifies = |value: &Value| value.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
    rule(member("key_ops").is_none_or(verifies), "for other operations")?;
    rule(member("alg").is_none_or(|own| ALGORITHMS.iter().any(|algorithm| own == algorithm)), "for another algorithm")?;
    rule(member("kid").is_none_or(Value::is_string), "its id is not a string")
}

/// What `htu` says of a request with this path (RFC 9449 §4.3, RFC 3986 §6.2.2 and §6.2.3).
fn uri(htu: &str, path: &str) -> Outcome<Uri> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~/".contains(&byte);
    if path.bytes().all(is_plain) && htu == format!("{BASE}{path}") {
        return Ok(Uri::Same);
    }
    let (Ok(signed), Ok(own)) = (Url::parse(htu), Url::parse(&format!("https://chat.example{path}"))) else {
        return refused("not a URI");
    };
    rule(["https", "wss"].contains(&signed.scheme()), "of another scheme")?;
    rule(signed.username().is_empty() && signed.password().is_none(), "with credentials")?;
    rule(signed.host_str() == own.host_str(), "of another host")?;
    rule(signed.port_or_known_default() == own.port_or_known_default(), "of another port")?;
    rule(plain(signed.path()) == format!("/ws{}", plain(own.path())), "of another path")?;
    Ok(Uri::Equivalent)
}

/// A path in which only what must be escaped is escaped.
fn plain(path: &str) -> String {
    let mut pieces = path.split('%');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let byte = piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => plain.push(char::from(byte)),
            Some(byte) => plain.push_str(&format!("%{byte:02X}")),
            None => plain.push('%'),
        }
        plain.push_str(if byte.is_some() { &piece[2..] } else { piece });
    }
    plain
}
