//! Issuers that are recognized by a rule, and issuers with several names.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` at each call reads better")]
#![cfg(all(feature = "jwks", any(feature = "aws-lc-rs", feature = "rust-crypto")))]

#[path = "issuer_rules/alb.rs"]
mod alb;
#[path = "issuer_rules/bounds.rs"]
mod bounds;
#[path = "issuer_rules/entra.rs"]
mod entra;
#[path = "issuer_rules/names.rs"]
mod names;
#[path = "issuer_rules/realms.rs"]
mod realms;
mod support;

use std::time::{Duration, UNIX_EPOCH};

use axum_ws_auth::{
    CachedVerifier, ConfigError, Token, Verified, Verifier, VerifyError, VerifyErrorKind as Kind, VerifyInput,
    jwks::{IssuerKeys, IssuerRule, JwkSet},
    jwt::{JwtVerifier, JwtVerifierBuilder},
    test_util::handshake,
};
use futures_util::FutureExt;
use realms::{Realms, key, name, token};
use serde_json::{Value, json};
use support::{
    issuer::{EXP, KEYS, Key, NOW, Pair, TestIssuer, claims, set, verify},
    settle,
};
use tokio::time::advance;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn builder() -> JwtVerifierBuilder<Value> {
    JwtVerifier::builder().audience("chat")
}

async fn outcome(verifier: &JwtVerifier<Value>, token: &str) -> Result<(), Kind> {
    verify(verifier, token).await.map_err(|error| error.kind())
}

async fn verified<V: Verifier>(verifier: &V, token: &str) -> Result<Verified<V::Claims>, VerifyError> {
    let (parts, _) = handshake().build().into_parts();
    verifier.verify(VerifyInput::new(&Token::new(token), &parts, UNIX_EPOCH + seconds(NOW))).await
}

/// The issuers that the verifier knows, and whether they have keys.
fn known(verifier: &JwtVerifier<Value>) -> Vec<(String, bool)> {
    let status = verifier.status();
    status.iter().map(|status| (status.issuer().to_owned(), status.is_usable())).collect()
}

#[tokio::test(start_paused = true)]
async fn each_realm_is_an_issuer_with_its_own_keys() {
    let realms = Realms::default();
    let verifier = builder().issuers_where(realms.rule()).await.unwrap();
    verifier.ready().await.unwrap();
    assert_eq!((known(&verifier), realms.fetches()), (vec![], 0), "nothing is fetched before the first token");

    struct Case {
        name: &'static str,
        token: String,
        expected: Result<(), Kind>,
    }
    for Case { name, token, expected } in [
        Case { name: "a realm", token: token("tenant-a"), expected: Ok(()) },
        Case { name: "another realm", token: token("tenant-b"), expected: Ok(()) },
        Case {
            name: "a key of another realm",
            token: key("tenant-b").token(&name("tenant-a")),
            expected: Err(Kind::UnknownKey),
        },
        Case {
            name: "its id, and a key of another realm",
            token: Key::new(Pair::EdTest2, "tenant-a").token(&name("tenant-a")),
            expected: Err(Kind::BadSignature),
        },
        Case { name: "no tenant", token: token("master"), expected: Err(Kind::WrongIssuer) },
        Case {
            name: "another host",
            token: key("tenant-a").token("https://id.example.evil/realms/tenant-a"),
            expected: Err(Kind::WrongIssuer),
        },
        Case {
            name: "no issuer",
            token: key("tenant-a").sign(&json!({"aud": "chat", "exp": EXP})),
            expected: Err(Kind::MissingClaim),
        },
        Case { name: "a realm that does not exist", token: token("tenant-none"), expected: Err(Kind::Unavailable) },
    ] {
        assert_eq!(outcome(&verifier, &token).await, expected, "{name}");
    }
    let expected = [("tenant-a", true), ("tenant-b", true), ("tenant-none", false)];
    assert_eq!(known(&verifier), expected.map(|(realm, usable)| (self::name(realm), usable)));
    assert_eq!(verified(&verifier, &token("tenant-a")).await.unwrap().issuer.as_deref(), Some(&*name("tenant-a")));
}

#[tokio::test(start_paused = true)]
async fn a_known_issuer_is_verified_without_waiting() {
    let realms = Realms::default();
    let verifier = builder().issuers_where(realms.rule()).build().unwrap();
    assert!(verified(&verifier, &token("tenant-a")).now_or_never().is_none(), "the first token waits");
    assert!(verified(&verifier, &token("tenant-a")).await.is_ok());
    assert!(verified(&verifier, &token("tenant-a")).now_or_never().unwrap().is_ok());
    assert_eq!(realms.fetches(), 2, "one document, one set");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_anyway_adds_no_issuer() {
    let realms = Realms::default();
    let verifier = builder().issuers_where(realms.rule()).build().unwrap();
    for (wrong, expected) in [
        (json!({"iss": name("tenant-a"), "aud": "mail", "exp": EXP}), Kind::WrongAudience),
        (json!({"iss": name("tenant-a"), "aud": "chat", "exp": 1}), Kind::Expired),
    ] {
        assert_eq!(outcome(&verifier, &key("tenant-a").sign(&wrong)).await, Err(expected));
    }
    assert_eq!((known(&verifier).len(), realms.fetches()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn configured_issuers_and_shared_keys_work_beside_a_rule() {
    const SECRET: &[u8] = b"TEST KEY TEST KEY TEST KEY TEST KEY";
    let (realms, other) = (Realms::default(), TestIssuer::in_process("https://a.example", &[key("1")]));
    let own = TestIssuer::in_process("https://own.example", &[key("own")]);
    let own = IssuerKeys::jwks_url(name("tenant-b"), own.url(KEYS)).fetch(own.client());
    let verifier = builder().issuer_keys(other.keys()).issuer_keys(own).issuers_where(realms.rule());
    let verifier = verifier.secret(SECRET).unwrap().issuer("https://secret.example").await.unwrap();
    let secret = |iss: &str| {
        let message = support::issuer::message("HS256", None, &claims(iss));
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
        support::issuer::signed(&message, axum_ws_auth::jwt::Algorithm::HS256, &key)
    };
    for (name, token, expected) in [
        ("the configured issuer", key("1").token("https://a.example"), Ok(())),
        ("the rule", token("tenant-a"), Ok(())),
        ("a realm with keys of its own", key("own").token(&name("tenant-b")), Ok(())),
        ("its keys by the rule", token("tenant-b"), Err(Kind::UnknownKey)),
        ("the shared key", secret("https://secret.example"), Ok(())),
        ("the shared key for a realm", secret(&name("tenant-a")), Err(Kind::WrongAlgorithm)),
        ("the shared key for a new realm", secret(&name("tenant-c")), Err(Kind::WrongAlgorithm)),
        ("the shared key for another issuer", secret("https://c.example"), Err(Kind::WrongIssuer)),
    ] {
        assert_eq!(outcome(&verifier, &token).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_template_is_an_https_url_with_one_whole_part_of_the_path() {
    let built = |template: &str| {
        let rule = IssuerRule::matching(template, |_| true);
        builder().issuers_where(rule).build().map(drop)
    };
    for template in [
        "https://id.example/*",
        "https://id.example/realms/*",
        "https://id.example/*/v2.0",
        "http://localhost:8080/realms/*",
    ] {
        assert_eq!(built(template), Ok(()), "{template}");
    }
    for template in [
        "https://id.example/realms",
        "https://*/realms",
        "https://*.example/realms",
        "https://id.example/*/*",
        "https://id.example/realm-*",
        "https://id.example*",
        "https://user@id.example/*",
        "http://id.example/*",
        "id.example/*",
        "*",
        "",
    ] {
        assert!(matches!(built(template), Err(ConfigError::InvalidUrl { .. })), "{template}");
    }
    let none = IssuerRule::new(|_| true).max_issuers(0);
    assert!(matches!(builder().issuers_where(none).build(), Err(ConfigError::ZeroLimit(_))));
}

#[test]
fn a_rule_needs_a_runtime() {
    assert_eq!(builder().issuers_where(IssuerRule::new(|_| true)).build().map(drop), Err(ConfigError::NoRuntime));
}

#[tokio::test(start_paused = true)]
async fn the_star_stands_for_one_part_of_the_path() {
    let realms = Realms::default();
    let rule = IssuerRule::matching("https://id.example/realms/*", |_| true).keys(realms.keys());
    let verifier = builder().issuers_where(rule).build().unwrap();
    let long = "a".repeat(128);
    let too_long = "a".repeat(129);
    for (realm, is_allowed) in [
        ("tenant-a", true),
        ("a.b_c~d-E9", true),
        ("...", true),
        (&*long, true),
        (&*too_long, false),
        ("", false),
        (".", false),
        ("..", false),
        ("tenant-a/", false),
        ("tenant-a/x", false),
        ("../x", false),
        ("a%2fb", false),
        ("a?b", false),
        ("a#b", false),
        ("a b", false),
        ("a\\b", false),
        ("a@b", false),
        ("ä", false),
    ] {
        let outcome = outcome(&verifier, &key("k").token(&name(realm))).await;
        assert_eq!(outcome != Err(Kind::WrongIssuer), is_allowed, "{realm}: {outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_never_sees_a_long_issuer() {
    let rule = IssuerRule::new(|iss| panic!("{} bytes", iss.len()));
    let verifier = builder().issuers_where(rule).build().unwrap();
    let long = format!("https://id.example/{}", "a".repeat(512));
    assert_eq!(outcome(&verifier, &key("k").token(&long)).await, Err(Kind::WrongIssuer));
}

#[tokio::test(start_paused = true)]
async fn unusable_keys_of_a_rule_are_no_fault_of_the_token() {
    let local = |iss: &str| IssuerKeys::jwks(iss, serde_json::from_value::<JwkSet>(set(&[key("tenant-a")])).unwrap());
    struct Case {
        name: &'static str,
        keys: fn(&str) -> IssuerKeys,
    }
    for Case { name: case, keys } in [
        Case { name: "another name", keys: |_| IssuerKeys::discover("https://other.example") },
        Case { name: "an alias", keys: |iss| IssuerKeys::discover(iss).alias("https://other.example") },
        Case { name: "for tokens without an issuer", keys: |iss| IssuerKeys::discover(iss).allow_missing_iss() },
        Case { name: "all tenants of Entra", keys: |_| IssuerKeys::insecure_entra_any_tenant() },
        Case { name: "not https", keys: |iss| IssuerKeys::jwks_url(iss, "http://id.example/keys") },
    ] {
        let verifier = builder().issuers_where(IssuerRule::new(|_| true).keys(keys)).build().unwrap();
        let error = verified(&verifier, &token("tenant-a")).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (Kind::Unavailable, Some(seconds(60))), "{case}");
    }
    // A local set needs no fetch.
    let verifier = builder().issuers_where(IssuerRule::new(|_| true).keys(local)).build().unwrap();
    assert!(verified(&verifier, &token("tenant-a")).now_or_never().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn cached_tokens_of_a_dropped_issuer_are_verified_again() {
    let realms = Realms::default();
    let verifier = builder().issuers_where(realms.rule().max_issuers(1)).build().unwrap();
    let cached = CachedVerifier::new(verifier.clone());
    assert!(verified(&cached, &token("tenant-a")).await.is_ok());
    let forged = Key::new(Pair::EdTest2, "tenant-a").token(&name("tenant-a"));
    for retry_after in [None, Some(seconds(1)), Some(seconds(2))] {
        let error = verified(&cached, &forged).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry_after()),
            (Kind::BadSignature, retry_after),
            "the second is from the cache"
        );
    }
    let fetches = realms.fetches();
    assert!(verified(&cached, &token("tenant-a")).await.is_ok());
    assert_eq!(realms.fetches(), fetches);

    // Another one takes its place.
    advance(seconds(61)).await;
    assert!(verified(&cached, &token("tenant-b")).await.is_ok());
    assert_eq!(known(&verifier), [(name("tenant-b"), true)]);
    advance(seconds(1)).await;
    assert!(verified(&cached, &token("tenant-a")).now_or_never().is_none(), "its keys are fetched again");
    let error = verified(&cached, &forged).await.unwrap_err();
    assert_eq!(error.retry_after(), None, "and so is the forged one verified again");
}
