//! The examples of RFCs 7515, 7519, 7520, 7797 and 8037: keys, signatures and tokens that others have made.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum_ws_auth::{
    ConfigError, Token, Verifier, VerifyErrorKind as Kind, VerifyInput,
    jwt::{Jwk, JwtKey, JwtVerifier},
    test_util::base64url,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Vectors {
    signed: Vec<Vector>,
    refused: Vec<Vector>,
    unusable: Vec<UnusableKey>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    key: Jwk,
    token: String,
    /// When it is verified, in seconds. Most examples have no time.
    at: Option<u64>,
    /// `valid`, or why it is refused although the signature is good.
    expect: String,
}

#[derive(Deserialize)]
struct UnusableKey {
    name: String,
    key: Jwk,
}

impl Vector {
    async fn verify(&self, token: &str, at: Option<u64>) -> Result<(), Kind> {
        let verifier = JwtVerifier::<Value>::builder().jwk(&self.key).expect("a key").build().expect("a verifier");
        let now = at.map_or_else(SystemTime::now, |at| UNIX_EPOCH + Duration::from_secs(at));
        let token = Token::new(token);
        verifier.verify(VerifyInput::without_request(&token, now)).await.map(drop).map_err(|error| error.kind())
    }

    /// The tokens with one bit flipped in this part, in some bytes.
    fn forged(&self, part: usize) -> Vec<String> {
        let parts: Vec<&str> = self.token.split('.').collect();
        let bytes = URL_SAFE_NO_PAD.decode(parts[part]).expect("base64url");
        let flipped = |at: usize| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            let part_of =
                |(place, old): (usize, &&str)| if place == part { base64url(&bytes) } else { (*old).to_owned() };
            parts.iter().enumerate().map(part_of).collect::<Vec<_>>().join(".")
        };
        (0..bytes.len()).step_by(5).chain([bytes.len() - 1]).map(flipped).collect()
    }
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors/jws.json")).expect("the vectors")
}

#[tokio::test]
async fn signatures_of_the_rfcs_verify() {
    for vector in vectors().signed {
        let outcome = vector.verify(&vector.token, vector.at).await;
        let outcome = outcome.err().map_or("valid", Kind::as_str);
        assert_eq!(outcome, vector.expect, "{}", vector.name);
        if let Some(at) = vector.at {
            assert_eq!(vector.verify(&vector.token, Some(at + 3600)).await, Err(Kind::Expired), "{}", vector.name);
        }
    }
}

/// A forged token gets no further than its signature: a good one gets to the claims.
#[tokio::test]
async fn forged_examples_of_the_rfcs_do_not_verify() {
    for vector in vectors().signed {
        for part in [1, 2] {
            for token in vector.forged(part) {
                assert_eq!(vector.verify(&token, vector.at).await, Err(Kind::BadSignature), "{}: {token}", vector.name);
            }
        }
        for token in vector.forged(0) {
            let error = vector.verify(&token, vector.at).await.expect_err("a forged header");
            let reasons =
                [Kind::BadSignature, Kind::Malformed, Kind::UnknownKey, Kind::WrongAlgorithm, Kind::WrongType];
            assert!(reasons.contains(&error), "{}: {error:?}: {token}", vector.name);
        }
    }
}

#[tokio::test]
async fn unsupported_examples_of_the_rfcs_are_refused() {
    for vector in vectors().refused {
        let error = vector.verify(&vector.token, vector.at).await.expect_err(&vector.name);
        assert_eq!(error.as_str(), vector.expect, "{}", vector.name);
    }
}

#[test]
fn keys_of_the_rfcs_that_verify_nothing_are_refused() {
    for UnusableKey { name, key } in vectors().unusable {
        assert!(matches!(JwtKey::jwk(&key), Err(ConfigError::InvalidKey { .. })), "{name}");
    }
}
