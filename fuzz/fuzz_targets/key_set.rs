//! Key sets that an issuer publishes (RFC 7517), in any JSON. The verifier takes exactly the keys that the RFCs and the
//! limits of `jwks` allow, in their order, and reports all others. It accepts what the private half of one of them has
//! signed, and nothing else. A document is a set if `serde_json` reads an object with one list of keys.
//!
//! The input is a byte of settings, and the document.
#![no_main]

use std::{future::ready, sync::LazyLock};

use axum_ws_auth::{
    Token, Verifier, VerifyInput,
    jwks::{IssuerKeys, JwkSet, StartError},
    jwt::{Algorithm, JwtVerifier},
};
use axum_ws_auth_fuzz::{
    documents::{
        jwk::{Jwk, Material},
        object::Object,
        refused::{Outcome, refused},
        runtime::block_on,
        token::{ISSUER, now},
    },
    jwt::sign_with,
};
use http::{Request, Response};
use jsonwebtoken::EncodingKey;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// The algorithms that are allowed if the settings restrict them.
const ALLOWED: [Algorithm; 4] = [Algorithm::PS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
/// Checking a signature takes long. Most sets have few keys.
const MAX_CHECKED_KEYS: usize = 4;

/// A key pair of the issuer, and tokens that it has signed.
struct Pair {
    algorithm: Algorithm,
    public: Jwk,
    /// With the key id `a`, and without one.
    tokens: [String; 2],
}

static PAIRS: LazyLock<[Pair; 3]> = LazyLock::new(|| {
    let pair = |algorithm, public, private: EncodingKey| {
        let claims = format!(r#"{{"iss":"{ISSUER}","aud":"chat","exp":1700000060}}"#);
        let sign = |kid| {
            let header = format!(r#"{{"alg":"{algorithm:?}","kid":"{kid}"}}"#);
            sign_with(algorithm, &private, header.as_bytes(), claims.as_bytes())
        };
        let public = Jwk::read(&serde_json::from_str(public).expect("JSON")).expect("a key");
        Pair { algorithm, public, tokens: [sign("a"), sign("")] }
    };
    let key = |pem: jsonwebtoken::errors::Result<EncodingKey>| pem.expect("a private key");
    [
        pair(
            Algorithm::EdDSA,
            r#"{"kty":"OKP","crv":"Ed25519","x":"6L-k622e3nvYYwMFiKy0WFIz2HjsxZYPuYs9wklt69E"}"#,
            key(EncodingKey::from_ed_pem(include_bytes!("../../tests/test_keys/ed25519.pem"))),
        ),
        pair(
            Algorithm::ES256,
            r#"{"kty":"EC","crv":"P-256","x":"Zc_UDXv960O7nK0DODsIXLIt2T_tSLMoHxwt3AahMbw","y":"ERUG9ZGqsRVtLuo_vQoc80InhOPXLsyqZAuYhP_XcqM"}"#,
            key(EncodingKey::from_ec_pem(include_bytes!("../../tests/test_keys/p256.pem"))),
        ),
        pair(
            Algorithm::RS256,
            r#"{"kty":"RSA","e":"AQAB","n":"tq8aF3yRO-mMjQ0CP_XqdmCSMyJpxsrvTzYD4cbCsHAwD91uYl2S0ADhKQqNVQylw22dEtZv1fzBdvD-gljLvaLDBery_sD42tCOBS3EehSV3rih6v3C5wOwfzBrO_e8wNqDtMmfakzoqi6K4QNvxRV_sxFIv1W4B5bYwJw0ahV0F-Ds71FacXhmQLZvhnURWCF5d1WGdGAL-iJILGnl2-AjOHkXpndaHsEHTEHmJYPIeSnM_j0tljycyjYVUyb1wMLrFAshuVgzKsruJXioeAER-q-1Oty-6a0i7ocaegZ2Q3o2tsc92gh0V20ES9uRa4Uu3GhI_n2wJm6pQs_ejQ"}"#,
            key(EncodingKey::from_rsa_pem(include_bytes!("../../tests/test_keys/rsa2048.pem"))),
        ),
    ]
});

/// What the verifier does with a set.
#[derive(Debug, Default, PartialEq)]
struct Sorted {
    /// The ids of the keys that are used, once for each algorithm.
    usable: Vec<Option<String>>,
    /// The ids of the others.
    unusable: Vec<Option<String>>,
}

fuzz_target!(|data: &[u8]| {
    let Some((&settings, document)) = data.split_first() else { return };
    let allowed = (settings & 1 != 0).then_some(&ALLOWED[..]);
    let expected = keys(document);
    let verifier = start(allowed, document.to_vec());
    match (verifier, expected) {
        (Some(verifier), Ok(keys)) => {
            let usable = usable(&keys, allowed);
            assert_eq!(sorted_by(&verifier), sorted(&keys, &usable));
            if usable.len() <= MAX_CHECKED_KEYS {
                check_signatures(&verifier, &usable);
            }
        }
        (None, Ok(keys)) => assert!(keys.len() > 100 || usable(&keys, allowed).is_empty(), "refused"),
        (Some(_), Err(why)) => panic!("accepted, but {why:?}"),
        (None, Err(_)) => {}
    }
    // A set in the configuration is read alike.
    if let Ok(json) = str::from_utf8(without_mark(document)) {
        let set = serde_json::from_str::<JwkSet>(json);
        assert_eq!(set.ok().map(|set| set.len()), keys(document).ok().map(|keys| keys.len()));
    }
});

/// A verifier with the keys of this document. `None` if it finds none.
fn start(allowed: Option<&[Algorithm]>, document: Vec<u8>) -> Option<JwtVerifier<Value>> {
    let client = move |_: Request<()>| ready(Ok(Response::new(document.clone())));
    let mut keys = IssuerKeys::jwks_url(ISSUER, "https://id.example.com/keys").fetch(client);
    if let Some(allowed) = allowed {
        keys = keys.algorithms(allowed.iter().copied());
    }
    match block_on(JwtVerifier::builder().issuer_keys(keys).audience("chat").into_future()) {
        Ok(verifier) => Some(verifier),
        Err(StartError::Keys { .. }) => None,
        Err(other) => panic!("{other:?}"),
    }
}

fn sorted_by(verifier: &JwtVerifier<Value>) -> Sorted {
    let [status] = &*verifier.status() else { panic!("one issuer") };
    for key in status.unusable() {
        assert!(key.problem().chars().count() <= 200 && key.key_id().is_none_or(|id| id.chars().count() <= 200));
    }
    Sorted {
        usable: status.key_ids().map(|id| id.map(str::to_owned)).collect(),
        unusable: status.unusable().iter().map(|key| key.key_id().map(str::to_owned)).collect(),
    }
}

/// A set is an object with one list of keys.
fn keys(document: &[u8]) -> Outcome<Vec<Value>> {
    match Object::read(without_mark(document))?.value("keys")? {
        Some(Value::Array(keys)) => Ok(keys),
        _ => refused("not a list of keys"),
    }
}

/// Some servers send a byte order mark.
fn without_mark(document: &[u8]) -> &[u8] {
    document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document)
}

/// The keys that may be used, with their places in the set and their algorithms.
fn usable(keys: &[Value], allowed: Option<&[Algorithm]>) -> Vec<(usize, Jwk, Algorithm)> {
    let exposed: Vec<Material> = keys.iter().filter_map(|key| Jwk::exposed(key).ok()).collect();
    let of_key = |(place, key): (usize, &Value)| {
        let key = Jwk::read(key).ok().filter(|key| !exposed.contains(&key.material));
        let algorithms = key.as_ref().map(|key| key.algorithms(allowed)).unwrap_or_default();
        algorithms
            .into_iter()
            .zip(std::iter::repeat(key))
            .filter_map(move |(algorithm, key)| Some((place, key?, algorithm)))
    };
    keys.iter().enumerate().flat_map(of_key).collect()
}

fn sorted(keys: &[Value], usable: &[(usize, Jwk, Algorithm)]) -> Sorted {
    let is_unusable = |place: &usize| usable.iter().all(|(used, ..)| used != place);
    let id = |place: usize| Some(keys[place].get("kid")?.as_str()?.chars().take(200).collect());
    Sorted {
        usable: usable.iter().map(|(_, key, _)| key.id.clone()).collect(),
        unusable: (0..keys.len()).filter(is_unusable).map(id).collect(),
    }
}

fn check_signatures(verifier: &JwtVerifier<Value>, usable: &[(usize, Jwk, Algorithm)]) {
    for pair in &*PAIRS {
        for (token, id) in pair.tokens.iter().zip([Some("a"), None]) {
            let expected = usable.iter().any(|(_, key, algorithm)| {
                let is_named = id.is_none() || key.id.is_none() || key.id.as_deref() == id;
                let is_same = key.material == pair.public.material && key.exponent == pair.public.exponent;
                is_named && *algorithm == pair.algorithm && is_same
            });
            let token = Token::new(token.as_str());
            // `None` if its key is not known.
            let outcome = verifier.verify_now(VerifyInput::without_request(&token, now()));
            assert_eq!(outcome.is_some_and(|outcome| outcome.is_ok()), expected, "{:?} {id:?}", pair.algorithm);
        }
    }
}
