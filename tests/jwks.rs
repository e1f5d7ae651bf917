//! Key sets of issuers: where they come from, which tokens they verify, and how they change.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]
#![cfg(all(feature = "jwks", any(feature = "aws-lc-rs", feature = "rust-crypto")))]

mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use axum_ws_auth::{
    ConfigError, VerifyErrorKind as Kind, WsAuthLayer,
    jwks::{IssuerKeys, JwkSet, KeysErrorKind, StartError},
    jwt::{Algorithm, JwtVerifier, JwtVerifierBuilder},
    test_util::{base64url, handshake},
};
use futures_util::{FutureExt, future::join_all};
use http::StatusCode;
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};
use support::{
    answer, echo_behind,
    issuer::{
        EXP, Gate, KEYS, Key, METADATA, NOW, Pair, Reply, TestIssuer, claims, forged, message, set, signed, status,
        verifier, verify, verify_at,
    },
    settle,
};
use tokio::time::advance;

const A: &str = "https://a.example";
const B: &str = "https://b.example";
const SECRET: &[u8] = b"TEST KEY TEST KEY TEST KEY TEST KEY";
const COOL_DOWN: Duration = Duration::from_secs(10);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ed(id: &str) -> Key {
    Key::new(Pair::Ed25519, id)
}

fn hs256(id: Option<&str>, claims: &Value) -> String {
    signed(&message("HS256", id, claims), Algorithm::HS256, &EncodingKey::from_secret(SECRET))
}

fn oct(id: &str) -> Value {
    json!({"kty": "oct", "kid": id, "k": base64url(SECRET)})
}

fn local_set(keys: &Value) -> JwkSet {
    serde_json::from_value(json!({"keys": keys})).unwrap()
}

async fn outcome(verifier: &JwtVerifier<Value>, token: &str) -> Result<(), Kind> {
    verify(verifier, token).await.map_err(|error| error.kind())
}

/// The outcome, unless it must be waited for.
fn outcome_now(verifier: &JwtVerifier<Value>, token: &str) -> Option<Result<(), Kind>> {
    outcome(verifier, token).now_or_never()
}

// ---- Where keys come from.

#[tokio::test]
async fn keys_of_every_kind_are_discovered_over_tcp() {
    let keys = [ed("ed"), Key::new(Pair::Rsa, "rsa"), Key::new(Pair::P256, "p256"), Key::new(Pair::P384, "p384")];
    let issuer = TestIssuer::over_tcp(&keys).await;
    let verifier = JwtVerifier::<Value>::discover(issuer.name()).audience("chat").await.unwrap();
    for key in &keys {
        assert_eq!(outcome(&verifier, &key.token(issuer.name())).await, Ok(()), "{:?}", key.algorithm());
    }
    assert_eq!((issuer.fetches_of(METADATA), issuer.fetches()), (1, 1));
    let headers = &issuer.requests_for(KEYS)[0];
    assert_eq!(headers["accept"], "application/json, application/jwk-set+json, */*;q=0.1");
    assert_eq!(issuer.requests_for(METADATA)[0]["accept"], "application/json, */*;q=0.1");
    assert!(headers["user-agent"].to_str().unwrap().starts_with("axum-ws-auth/"), "{headers:?}");
}

#[tokio::test]
async fn each_constructor_requests_the_urls_that_it_needs() {
    struct Case {
        name: &'static str,
        keys: fn(&TestIssuer) -> IssuerKeys,
        requested: &'static [&'static str],
    }

    for Case { name, keys, requested } in [
        Case { name: "discover", keys: TestIssuer::discovered, requested: &[METADATA, KEYS] },
        Case { name: "jwks_url", keys: TestIssuer::keys, requested: &[KEYS] },
        Case {
            name: "discover_at",
            keys: |issuer| IssuerKeys::discover_at(A, "https://inside.example/meta").fetch(issuer.client()),
            requested: &["/meta", KEYS],
        },
        Case { name: "jwks", keys: |_| IssuerKeys::jwks(A, local_set(&json!([ed("1").jwk()]))), requested: &[] },
    ] {
        let issuer = TestIssuer::in_process(A, &[ed("1")]);
        issuer.reply("/meta", Reply::json(&issuer.metadata()));
        let verifier = verifier([keys(&issuer)]).await.unwrap();
        assert_eq!(outcome_now(&verifier, &ed("1").token(A)), Some(Ok(())), "{name}");
        for path in [METADATA, "/meta", KEYS] {
            assert_eq!(issuer.fetches_of(path), usize::from(requested.contains(&path)), "{name}: {path}");
        }
    }
}

#[tokio::test]
async fn the_discovery_document_must_name_exactly_the_issuer() {
    struct Case {
        configured: &'static str,
        document: &'static str,
        accepted: bool,
    }

    for Case { configured, document, accepted } in [
        Case { configured: A, document: A, accepted: true },
        Case { configured: "https://a.example/", document: "https://a.example/", accepted: true },
        Case { configured: A, document: "https://a.example/", accepted: false },
        Case { configured: "https://a.example/", document: A, accepted: false },
        Case { configured: A, document: "https://A.example", accepted: false },
        Case { configured: A, document: B, accepted: false },
        Case { configured: A, document: "", accepted: false },
    ] {
        let issuer = TestIssuer::in_process(A, &[ed("1")]);
        issuer.reply(METADATA, Reply::json(&json!({"issuer": document, "jwks_uri": issuer.url(KEYS)})));
        let built = verifier([IssuerKeys::discover(configured).fetch(issuer.client())]).await;
        match built {
            Ok(verifier) => {
                assert!(accepted, "{configured}, but the document names {document}");
                assert_eq!(outcome(&verifier, &ed("1").token(configured)).await, Ok(()));
            }
            Err(StartError::Keys { issuer: named, source }) => {
                assert!(!accepted, "{configured}, and the document names {document}");
                assert_eq!((named.as_str(), source.kind()), (configured, KeysErrorKind::WrongIssuer));
                assert_eq!(issuer.fetches(), 0, "the document is not trusted");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn the_discovery_document_is_below_the_path_of_the_issuer() {
    for (name, path) in
        [("https://a.example/realms/one", "/realms/one"), ("https://a.example/realms/one/", "/realms/one")]
    {
        let issuer = TestIssuer::in_process(name, &[]);
        issuer.reply(METADATA, Reply::raw(404, ""));
        let document = json!({"issuer": name, "jwks_uri": "https://keys.example/of/one?v=2"});
        issuer.reply(&format!("{path}{METADATA}"), Reply::json(&document));
        issuer.reply("/of/one", Reply::keys(&[ed("1")]));
        let verifier = verifier([issuer.discovered()]).await.unwrap();
        assert_eq!(outcome_now(&verifier, &ed("1").token(name)), Some(Ok(())), "{name}");
    }
}

// ---- Which tokens they verify.

#[tokio::test]
async fn keys_verify_tokens_of_their_issuer_only() {
    let key = |pair| Key::new(pair, "same");
    let (of_a, of_b) = (key(Pair::EdTest1), key(Pair::EdTest2));
    let a = TestIssuer::in_process(A, std::slice::from_ref(&of_a));
    let b = TestIssuer::in_process(B, std::slice::from_ref(&of_b));
    let local = IssuerKeys::jwks("local", local_set(&json!([key(Pair::Ed25519).jwk()])));
    let verifier = verifier([a.discovered(), b.keys(), local]).await.unwrap();
    let other = Key::new(Pair::EdTest1, "of a only");
    a.publish(&[of_a.clone(), other.clone()]);

    struct Case {
        name: &'static str,
        token: String,
        expected: Result<(), Kind>,
    }
    for Case { name, token, expected } in [
        Case { name: "a", token: of_a.token(A), expected: Ok(()) },
        Case { name: "b", token: of_b.token(B), expected: Ok(()) },
        Case { name: "local", token: key(Pair::Ed25519).token("local"), expected: Ok(()) },
        Case { name: "issuer a, key of b", token: of_b.token(A), expected: Err(Kind::BadSignature) },
        Case { name: "issuer b, key of a", token: of_a.token(B), expected: Err(Kind::BadSignature) },
        Case { name: "local issuer, key of a", token: of_a.token("local"), expected: Err(Kind::BadSignature) },
        Case { name: "issuer b, key id of a", token: other.token(B), expected: Err(Kind::UnknownKey) },
        Case { name: "local issuer, key id of a", token: other.token("local"), expected: Err(Kind::UnknownKey) },
        Case { name: "another issuer", token: of_a.token("https://c.example"), expected: Err(Kind::WrongIssuer) },
        Case {
            name: "no issuer",
            token: of_a.sign(&json!({"aud": "chat", "exp": EXP})),
            expected: Err(Kind::MissingClaim),
        },
    ] {
        assert_eq!(outcome(&verifier, &token).await, expected, "{name}");
    }
    assert_eq!((a.fetches(), b.fetches()), (1, 2), "only the unknown key of b caused a fetch");
    let names: Vec<_> = verifier.status().iter().map(|status| status.issuer().to_owned()).collect();
    assert_eq!(names, [A, B, "local"]);
}

#[tokio::test]
async fn issuers_can_be_combined_with_a_shared_secret() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let with_secret = || verifier([issuer.keys()]).secret(SECRET).unwrap();
    let any = with_secret().await.unwrap();
    let named = with_secret().issuer(B).await.unwrap();
    let anonymous = json!({"aud": "chat", "exp": EXP});

    struct Case {
        name: &'static str,
        token: String,
        any: Result<(), Kind>,
        named: Result<(), Kind>,
    }
    for case in [
        Case { name: "the issuer", token: ed("1").token(A), any: Ok(()), named: Ok(()) },
        Case { name: "allowed issuer, secret", token: hs256(None, &claims(B)), any: Ok(()), named: Ok(()) },
        Case {
            name: "another issuer, secret",
            token: hs256(None, &claims("c")),
            any: Ok(()),
            named: Err(Kind::WrongIssuer),
        },
        Case { name: "no issuer, secret", token: hs256(None, &anonymous), any: Ok(()), named: Err(Kind::MissingClaim) },
        Case {
            name: "the issuer, secret",
            token: hs256(None, &claims(A)),
            any: Err(Kind::WrongAlgorithm),
            named: Err(Kind::WrongAlgorithm),
        },
        Case {
            name: "the issuer, secret, with a key id",
            token: hs256(Some("?"), &claims(A)),
            any: Err(Kind::WrongAlgorithm),
            named: Err(Kind::WrongAlgorithm),
        },
        Case {
            name: "allowed issuer, key of the issuer",
            token: ed("1").token(B),
            any: Err(Kind::WrongAlgorithm),
            named: Err(Kind::WrongAlgorithm),
        },
    ] {
        assert_eq!(outcome(&any, &case.token).await, case.any, "{}", case.name);
        assert_eq!(outcome(&named, &case.token).await, case.named, "{}, with allowed issuers", case.name);
    }
    assert_eq!(issuer.fetches(), 2, "one for each verifier");
}

#[tokio::test]
async fn algorithms_follow_from_keys_and_are_restricted_by_the_list() {
    use Algorithm::{ES256, EdDSA, PS256, PS384, RS256, RS512};

    struct Case {
        name: &'static str,
        allowed: Option<&'static [Algorithm]>,
        pair: Pair,
        alg: Option<&'static str>,
        usable: &'static [Algorithm],
    }

    let case = |name, allowed, pair, alg, usable| Case { name, allowed, pair, alg, usable };
    for Case { name, allowed, pair, alg, usable } in [
        case("RSA by default", None, Pair::Rsa, None, &[RS256]),
        case("RSA with alg", None, Pair::Rsa, Some("PS256"), &[PS256]),
        case("RSA by the list", Some(&[PS256, PS384]), Pair::Rsa, None, &[PS256, PS384]),
        case("RSA with alg in the list", Some(&[RS256, PS256]), Pair::Rsa, Some("RS256"), &[RS256]),
        case("RSA with alg not in the list", Some(&[PS256]), Pair::Rsa, Some("RS256"), &[]),
        case("RSA, one of the list", Some(&[ES256, EdDSA, RS512]), Pair::Rsa, None, &[RS512]),
        case("RSA not in the list", Some(&[ES256, EdDSA]), Pair::Rsa, None, &[]),
        case("EC by its curve", None, Pair::P256, None, &[ES256]),
        case("EC not in the list", Some(&[EdDSA, RS256]), Pair::P256, None, &[]),
        case("EC in the list", Some(&[EdDSA, ES256]), Pair::P256, None, &[ES256]),
    ] {
        let mut jwk = Key::new(pair, "1").jwk();
        if let Some(alg) = alg {
            jwk["alg"] = alg.into();
        }
        let issuer = TestIssuer::in_process(A, &[]);
        issuer.reply(KEYS, Reply::json(&json!({"keys": [jwk]})));
        let keys = |keys: IssuerKeys| match allowed {
            Some(allowed) => keys.algorithms(allowed.iter().copied()),
            None => keys,
        };
        let built = verifier([keys(issuer.keys())]).await;
        let local = verifier([keys(IssuerKeys::jwks(A, local_set(&json!([jwk]))))]).build();
        if usable.is_empty() {
            assert!(
                matches!(&built, Err(StartError::Keys { source, .. }) if source.kind() == KeysErrorKind::NoUsableKey),
                "{name}: {built:?}"
            );
            assert!(matches!(&local, Err(ConfigError::NoUsableKey { issuer, .. }) if issuer == A), "{name}: {local:?}");
            continue;
        }
        let built = built.unwrap();
        let algorithms: &[Algorithm] = if pair == Pair::Rsa { &[RS256, RS512, PS256, PS384] } else { &[ES256] };
        for &algorithm in algorithms {
            let expected = if usable.contains(&algorithm) { Ok(()) } else { Err(Kind::WrongAlgorithm) };
            let token = Key::new(pair, "1").sign_with(algorithm, &claims(A));
            assert_eq!(outcome(&built, &token).await, expected, "{name}: {algorithm:?}");
            assert_eq!(outcome(local.as_ref().unwrap(), &token).await, expected, "{name}, local: {algorithm:?}");
        }
        assert_eq!(issuer.fetches(), 1, "{name}");
    }
}

#[tokio::test]
async fn symmetric_keys_are_accepted_from_local_sets_only() {
    let keys = json!([oct("secret"), ed("1").jwk()]);
    let issuer = TestIssuer::in_process(A, &[]);
    issuer.reply(KEYS, Reply::json(&json!({"keys": keys})));
    let fetched = verifier([issuer.keys()]).await.unwrap();
    let allowed = verifier([issuer.keys().algorithms([Algorithm::HS256, Algorithm::EdDSA])]).await.unwrap();
    let local = verifier([IssuerKeys::jwks(A, local_set(&keys))]).build().unwrap();

    for id in [Some("secret"), Some("unknown"), None] {
        let token = hs256(id, &claims(A));
        for (name, verifier) in [("by default", &fetched), ("allowed", &allowed)] {
            assert_eq!(outcome_now(verifier, &token), Some(Err(Kind::WrongAlgorithm)), "{name}: {id:?}");
        }
        let expected = if id == Some("unknown") { Err(Kind::UnknownKey) } else { Ok(()) };
        assert_eq!(outcome_now(&local, &token), Some(expected), "local: {id:?}");
    }
    assert_eq!(issuer.fetches(), 2, "one for each verifier");
    let unusable: Vec<_> = status(&fetched).unusable().to_vec();
    assert_eq!((unusable.len(), unusable[0].key_id()), (1, Some("secret")));
    assert_eq!(unusable[0].problem(), "it is a symmetric key that is published");

    issuer.reply(KEYS, Reply::json(&json!({"keys": [oct("secret")]})));
    let alone = verifier([issuer.keys()]).await;
    assert!(matches!(alone, Err(StartError::Keys { .. })), "{alone:?}");
}

/// Anyone who reads the set can sign with such a key.
#[tokio::test]
async fn a_published_private_key_is_not_used() {
    let private = |id: &str, more: Value| {
        let mut jwk = ed(id).jwk();
        jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        jwk
    };
    let other = Key::new(Pair::P256, "other");
    let keys = json!([
        private("private", json!({"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", "use": "enc"})),
        ed("twin").jwk(),
        private("twin with alg", json!({"alg": "Ed25519"})),
        other.jwk(),
    ]);
    let issuer = TestIssuer::in_process(A, &[]);
    issuer.reply(KEYS, Reply::json(&json!({ "keys": keys })));
    let fetched = verifier([issuer.keys()]).await.unwrap();
    let problems: Vec<_> = status(&fetched)
        .unusable()
        .iter()
        .map(|key| (key.key_id().unwrap().to_owned(), key.problem().to_owned()))
        .collect();
    let beside = "its private half is published in the same set";
    let expected = [("private", "it is a private key that is published"), ("twin", beside), ("twin with alg", beside)];
    assert_eq!(problems, expected.map(|(id, problem)| (id.to_owned(), problem.to_owned())));
    assert_eq!(outcome_now(&fetched, &other.token(A)), Some(Ok(())));
    for id in ["private", "twin", "twin with alg"] {
        assert!(outcome(&fetched, &ed(id).token(A)).await.is_err(), "{id}");
    }

    // A local set is not published, but a private key is refused all the same.
    let local = verifier([IssuerKeys::jwks(A, local_set(&keys))]).build().unwrap();
    let unusable = status(&local).unusable().to_vec();
    assert_eq!((unusable.len(), unusable[0].key_id()), (1, Some("private")));
    assert!(unusable[0].problem().contains("private"), "{unusable:?}");
    assert_eq!(outcome_now(&local, &ed("twin").token(A)), Some(Ok(())));

    let (rsa, mut exposed) = (Key::new(Pair::Rsa, "rsa").jwk(), Key::new(Pair::Rsa, "exposed").jwk());
    exposed["d"] = "AQAB".into();
    issuer.reply(KEYS, Reply::json(&json!({"keys": [rsa, exposed, other.jwk()]})));
    let rsa = verifier([issuer.keys()]).await.unwrap();
    let problems: Vec<_> = status(&rsa).unusable().iter().map(|key| key.problem().to_owned()).collect();
    assert_eq!(problems, [beside, "it is a private key that is published"]);

    issuer.reply(KEYS, Reply::json(&json!({"keys": [keys[0]]})));
    let alone = verifier([issuer.keys()]).await;
    assert!(matches!(alone, Err(StartError::Keys { .. })), "{alone:?}");
}

// ---- Configuration errors.

#[tokio::test]
async fn impossible_durations_and_lists_are_refused() {
    type Change = fn(IssuerKeys) -> IssuerKeys;
    type Check = fn(&ConfigError) -> bool;
    struct Case {
        name: &'static str,
        change: Change,
        refused: Option<Check>,
    }

    let case = |name, change: Change, refused: Option<Check>| Case { name, change, refused };
    let year = seconds(365 * 24 * 3600);
    assert_eq!(year, seconds(31_536_000));
    for Case { name, change, refused } in [
        case("defaults", |keys| keys, None),
        case("no timeout", |keys| keys.timeout(Duration::ZERO), Some(|e| matches!(e, ConfigError::ZeroDuration(_)))),
        case(
            "no cool-down",
            |keys| keys.cool_down(Duration::ZERO),
            Some(|e| matches!(e, ConfigError::ZeroDuration(_))),
        ),
        case(
            "no max_stale",
            |keys| keys.max_stale(Duration::ZERO),
            Some(|e| matches!(e, ConfigError::ZeroDuration(_))),
        ),
        case(
            "never fresh",
            |keys| keys.refresh_interval(Duration::ZERO..=seconds(1)),
            Some(|e| matches!(e, ConfigError::ZeroDuration(_))),
        ),
        case(
            "more than a year",
            |keys| keys.max_stale(seconds(31_536_001)),
            Some(|e| matches!(e, ConfigError::LongDuration(_))),
        ),
        case("a year", |keys| keys.max_stale(seconds(31_536_000)), None),
        case(
            "maximum timeout",
            |keys| keys.timeout(Duration::MAX),
            Some(|e| matches!(e, ConfigError::LongDuration(_))),
        ),
        case(
            "empty interval",
            |keys| keys.refresh_interval(seconds(2)..=seconds(1)),
            Some(|e| matches!(e, ConfigError::InvalidRefreshInterval)),
        ),
        case("fixed interval", |keys| keys.refresh_interval(seconds(2)..=seconds(2)), None),
        case(
            "max_stale below the interval",
            |keys| keys.max_stale(seconds(3599)),
            Some(|e| matches!(e, ConfigError::InvalidRefreshInterval)),
        ),
        case("max_stale equal to the interval", |keys| keys.max_stale(seconds(3600)), None),
        case(
            "no algorithm",
            |keys| keys.algorithms([]),
            Some(|e| matches!(e, ConfigError::Empty("list of algorithms"))),
        ),
    ] {
        let built = verifier([change(TestIssuer::in_process(A, &[]).keys())]).build();
        match refused {
            None => assert!(built.is_ok(), "{name}: {built:?}"),
            Some(refused) => assert!(built.as_ref().is_err_and(refused), "{name}: {built:?}"),
        }
    }
}

#[tokio::test]
async fn insecure_and_invalid_urls_are_refused() {
    struct Case {
        url: &'static str,
        shown: Result<(), &'static str>,
    }

    for Case { url, shown } in [
        Case { url: "https://id.example.com/keys?a=b", shown: Ok(()) },
        Case { url: "http://localhost:1/keys", shown: Ok(()) },
        Case { url: "http://127.0.0.1:1/keys", shown: Ok(()) },
        Case { url: "http://127.8.9.1:1/keys", shown: Ok(()) },
        Case { url: "http://[::1]:1/keys", shown: Ok(()) },
        Case { url: "http://id.example.com/keys", shown: Err("http://id.example.com/keys") },
        Case { url: "http://10.0.0.1/keys", shown: Err("http://10.0.0.1/keys") },
        Case { url: "http://localhost.example.com/keys", shown: Err("http://localhost.example.com/keys") },
        Case { url: "http://127.0.0.1.example.com/keys", shown: Err("http://127.0.0.1.example.com/keys") },
        Case { url: "https://user:hunter2@id.example.com/keys", shown: Err("…@id.example.com/keys") },
        Case { url: "https://hunter2@id.example.com/keys", shown: Err("…@id.example.com/keys") },
        Case { url: "http://user:hunter2@localhost:1/keys", shown: Err("…@localhost:1/keys") },
        Case { url: "https://id.example.com/keys#1", shown: Err("https://id.example.com/keys#1") },
        Case { url: "ftp://id.example.com/keys", shown: Err("ftp://id.example.com/keys") },
        Case { url: "file:///etc/keys", shown: Err("file:///etc/keys") },
        Case { url: "/keys", shown: Err("/keys") },
        Case { url: "", shown: Err("") },
    ] {
        for (name, keys) in [("set", IssuerKeys::jwks_url(A, url)), ("document", IssuerKeys::discover_at(A, url))] {
            let debug = format!("{keys:?} {:?}", IssuerKeys::discover(url));
            assert!(!debug.contains("hunter2"), "{debug}");
            let built = verifier([keys]).build();
            match (built, shown) {
                (Ok(_), Ok(())) => {}
                (Err(error), Err(shown)) => {
                    let text = format!("{error} {error:?}");
                    assert!(!text.contains("hunter2"), "{text}");
                    assert!(matches!(error, ConfigError::InvalidUrl { url, .. } if url == shown), "{text}");
                }
                (built, _) => panic!("{name}, {url}: {built:?}"),
            }
        }
    }

    let discovered = verifier([IssuerKeys::discover("http://id.example.com")]).build();
    assert!(matches!(discovered, Err(ConfigError::InvalidUrl { .. })), "{discovered:?}");
    let http = IssuerKeys::jwks_url(A, "http://id.example.com/keys").insecure_http();
    assert!(verifier([http]).build().is_ok());
    let ftp = IssuerKeys::jwks_url(A, "ftp://id.example.com/keys").insecure_http();
    assert!(verifier([ftp]).build().is_err(), "only http is allowed");
}

#[tokio::test]
async fn redirects_to_plain_http_are_followed_only_if_allowed() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    issuer.reply("/from", Reply::redirect(302, "http://elsewhere.example/keys"));
    let keys = || IssuerKeys::jwks_url(A, "https://a.example/from").fetch(issuer.client());
    let refused = verifier([keys()]).await;
    assert!(
        matches!(&refused, Err(StartError::Keys { source, .. }) if source.kind() == KeysErrorKind::InsecureUrl),
        "{refused:?}"
    );
    assert_eq!(issuer.fetches(), 0);
    assert!(verifier([keys().insecure_http()]).await.is_ok());
    assert_eq!(issuer.fetches(), 1);

    // A remote host cannot redirect to this machine over plain HTTP.
    issuer.reply("/from", Reply::redirect(302, "http://127.0.0.1/keys"));
    assert!(verifier([keys()]).await.is_err());
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn an_issuer_needs_a_unique_name_and_a_usable_key() {
    let local = || IssuerKeys::jwks(A, local_set(&json!([ed("1").jwk()])));
    let twice = verifier([local(), IssuerKeys::discover(A)]).build();
    assert!(matches!(&twice, Err(ConfigError::DuplicateIssuer(name)) if name == A), "{twice:?}");
    assert!(verifier([local(), IssuerKeys::discover("https://a.example/")]).build().is_ok(), "a slash matters");
    let twice = JwtVerifier::<Value>::discover(A).issuer_keys(local()).build();
    assert!(matches!(&twice, Err(ConfigError::DuplicateIssuer(name)) if name == A), "{twice:?}");
    let nameless = verifier([IssuerKeys::jwks_url("", "https://a.example")]).build();
    assert!(matches!(nameless, Err(ConfigError::Empty("issuer"))), "{nameless:?}");
    for (keys, problem) in [(json!([]), "the set is empty"), (json!([{"kty": "?", "kid": "x"}]), "`x`: ")] {
        let set = local_set(&keys);
        assert_eq!(set.is_empty(), keys == json!([]));
        let useless = verifier([IssuerKeys::jwks(A, set)]).build();
        let Err(ConfigError::NoUsableKey { issuer, problems }) = useless else { panic!("{useless:?}") };
        assert!(issuer == A && problems.starts_with(problem), "{problems}");
    }
}

#[test]
fn fetched_keys_need_a_runtime() {
    let issuer = TestIssuer::in_process(A, &[]);
    for keys in [issuer.keys(), IssuerKeys::discover(A)] {
        let built = verifier([keys]).build();
        assert!(matches!(built, Err(ConfigError::NoRuntime)), "{built:?}");
    }
    let local = verifier([IssuerKeys::jwks(A, local_set(&json!([ed("1").jwk()])))]).build().unwrap();
    assert_eq!(outcome_now(&local, &ed("1").token(A)), Some(Ok(())));
}

// ---- Rotation, and unknown keys.

#[tokio::test(start_paused = true)]
async fn keys_are_refreshed_in_the_background_before_they_are_stale() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    issuer.reply(KEYS, Reply::keys(&[ed("1")]).header("cache-control", "max-age=1000"));
    let verifier = verifier([issuer.discovered()]).await.unwrap();
    issuer.publish(&[ed("2")]);
    advance(seconds(740)).await;
    settle().await;
    assert_eq!(issuer.fetches(), 1, "not yet");
    assert_eq!(outcome_now(&verifier, &ed("1").token(A)), Some(Ok(())));
    advance(seconds(211)).await;
    settle().await;
    assert_eq!(issuer.fetches(), 2);
    assert_eq!(outcome_now(&verifier, &ed("2").token(A)), Some(Ok(())), "no handshake waits");
    assert_eq!(outcome(&verifier, &ed("1").token(A)).await, Err(Kind::UnknownKey), "the key is withdrawn");
}

/// Runs handshakes concurrently, and counts their statuses.
async fn handshakes(verifier: &JwtVerifier<Value>, tokens: impl Iterator<Item = String>) -> BTreeMap<u16, usize> {
    let app = echo_behind(WsAuthLayer::new(verifier.clone()));
    let all = tokens.map(|token| answer(&app, handshake().bearer_subprotocol(&token).build()).boxed());
    let mut counts = BTreeMap::new();
    for response in join_all(all).await {
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            assert!(wait <= COOL_DOWN.as_secs(), "{wait}");
        }
        *counts.entry(response.status().as_u16()).or_default() += 1;
    }
    counts
}

const MANY: usize = 10_000;

#[tokio::test(start_paused = true)]
async fn ten_thousand_handshakes_with_one_unknown_key_cost_one_fetch() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    let counts = handshakes(&verifier, std::iter::repeat_n(forged(A, "?"), MANY)).await;
    assert_eq!(counts, BTreeMap::from([(401, MANY)]));
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_handshakes_with_different_unknown_keys_cost_one_fetch() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    for round in 1..=3 {
        let tokens = (0..MANY).map(|i| forged(A, &format!("{round} {i}")));
        let counts = handshakes(&verifier, tokens).await;
        assert_eq!(counts.values().sum::<usize>(), MANY);
        assert!(counts.keys().all(|status| [401, 503].contains(status)), "{counts:?}");
        assert_eq!(issuer.fetches(), 1 + round, "{counts:?}");
        // During the cool-down there is no further fetch, and so no 401 for unknown keys.
        let more = handshakes(&verifier, std::iter::once(forged(A, &format!("in between {round}")))).await;
        assert_eq!(more, BTreeMap::from([(503, 1)]));
        assert_eq!(issuer.fetches(), 1 + round);
        assert_eq!(outcome_now(&verifier, &ed("1").token(A)), Some(Ok(())), "known keys still work");
        advance(COOL_DOWN).await;
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_handshakes_with_a_new_key_are_admitted_after_one_fetch() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    let new = Key::new(Pair::Rsa, "2");
    issuer.publish(&[ed("1"), new.clone()]);
    let counts = handshakes(&verifier, std::iter::repeat_n(new.token(A), MANY)).await;
    assert_eq!(counts, BTreeMap::from([(101, MANY)]));
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_unknown_only_after_a_fetch_that_is_newer_than_the_token() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    let token = forged(A, "unknown");
    for round in 1..=3 {
        assert_eq!(outcome(&verifier, &token).await, Err(Kind::UnknownKey), "the fetch did not bring it");
        assert_eq!(issuer.fetches(), 1 + round);
        for wait in [COOL_DOWN, COOL_DOWN / 2] {
            let error = verify(&verifier, &token).now_or_never().unwrap().unwrap_err();
            assert_eq!((error.kind(), error.retry_after()), (Kind::Unavailable, Some(wait)));
            advance(COOL_DOWN / 2).await;
            settle().await;
        }
        assert_eq!(issuer.fetches(), 1 + round, "only one fetch per cool-down");
    }
}

/// An attacker can guess that `2026-12` follows `2026-11`.
#[tokio::test(start_paused = true)]
async fn guessing_a_key_id_before_it_is_used_does_not_block_its_key() {
    let (old, new) = (ed("2026-11"), Key::new(Pair::EdTest2, "2026-12"));
    // The attacker sends a token once or repeatedly, and before or during the fetch.
    for repeats in [false, true] {
        for is_during_fetch in [false, true] {
            let issuer = TestIssuer::in_process(A, std::slice::from_ref(&old));
            let verifier = verifier([issuer.keys()]).await.unwrap();
            advance(seconds(20)).await;
            let gate = Gate::closed();
            issuer.reply(KEYS, Reply::keys(std::slice::from_ref(&old)).held_by(&gate));
            let guessed = forged(A, "2026-12");
            let mut attacker = Box::pin(outcome(&verifier, &guessed));
            assert_eq!((&mut attacker).now_or_never(), None);
            settle().await;
            if !is_during_fetch {
                gate.open();
                assert_eq!((&mut attacker).await, Err(Kind::UnknownKey));
            }
            issuer.publish(&[old.clone(), new.clone()]);
            let mut outcomes = Vec::new();
            for second in 0..=COOL_DOWN.as_secs() {
                let token = new.token(A);
                let mut valid = Box::pin(outcome(&verifier, &token));
                let immediate = (&mut valid).now_or_never();
                gate.open();
                let valid_outcome = match immediate {
                    Some(outcome) => outcome,
                    None => valid.await,
                };
                assert!(matches!(valid_outcome, Ok(()) | Err(Kind::Unavailable)), "{valid_outcome:?} at {second}");
                outcomes.push(valid_outcome);
                if repeats {
                    let _ = outcome(&verifier, &guessed).await;
                }
                advance(seconds(1)).await;
                settle().await;
            }
            assert_eq!(outcomes.last(), Some(&Ok(())), "{repeats}, {is_during_fetch}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_cool_down_an_unknown_key_causes_a_fetch() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    for cool_down in [None, Some(seconds(25))] {
        let keys = cool_down.map_or_else(|| issuer.keys(), |cool_down| issuer.keys().cool_down(cool_down));
        let cool_down = cool_down.unwrap_or(COOL_DOWN);
        issuer.publish(&[ed("1")]);
        let verifier = verifier([keys]).await.unwrap();
        let first = issuer.fetches();
        assert_eq!(outcome(&verifier, &forged(A, "?")).await, Err(Kind::UnknownKey));
        issuer.publish(&[ed("1"), ed("2")]);
        advance(cool_down - seconds(1)).await;
        let error = verify(&verifier, &ed("2").token(A)).now_or_never().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (Kind::Unavailable, Some(seconds(1))));
        assert_eq!(issuer.fetches(), first + 1);
        advance(seconds(1)).await;
        assert_eq!(outcome(&verifier, &ed("2").token(A)).await, Ok(()));
        assert_eq!(issuer.fetches(), first + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_that_would_be_refused_anyway_cost_no_fetch() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let keys = issuer.keys().algorithms([Algorithm::EdDSA, Algorithm::ES256]);
    let verifier = verifier([keys]).token_type("JWT").await.unwrap();
    let with = |name: &str, value: Value| {
        let mut claims = claims(A);
        claims[name] = value;
        ed("?").sign(&claims)
    };
    let without = |name: &str| {
        let mut claims = claims(A);
        claims.as_object_mut().unwrap().remove(name);
        ed("?").sign(&claims)
    };
    let with_header = |header: Value| {
        let rest = ed("?").token(A);
        format!("{}.{}", base64url(header.to_string()), rest.split_once('.').unwrap().1)
    };
    let signature = |signature: &str| format!("{}.{signature}", message("EdDSA", Some("?"), &claims(A)));

    let alg = |alg: &str| with_header(json!({"alg": alg, "typ": "JWT", "kid": "?"}));
    for (name, token, expected) in [
        ("expired", with("exp", (NOW - 31).into()), Kind::Expired),
        ("not valid yet", with("nbf", (NOW + 31).into()), Kind::NotYetValid),
        ("no exp", without("exp"), Kind::MissingClaim),
        ("wrong issuer", with("iss", B.into()), Kind::WrongIssuer),
        ("no issuer", without("iss"), Kind::MissingClaim),
        ("wrong audience", with("aud", "mail".into()), Kind::WrongAudience),
        ("no audience", without("aud"), Kind::MissingClaim),
        ("algorithm that is not allowed", alg("RS256"), Kind::WrongAlgorithm),
        ("symmetric", alg("HS256"), Kind::WrongAlgorithm),
        ("no algorithm", alg("none"), Kind::WrongAlgorithm),
        ("unknown algorithm", alg("ES999"), Kind::WrongAlgorithm),
        ("wrong type", with_header(json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "?"})), Kind::WrongType),
        (
            "critical header",
            with_header(json!({"alg": "EdDSA", "typ": "JWT", "kid": "?", "crit": ["x"]})),
            Kind::CriticalHeader,
        ),
        ("signature not base64url", signature("=!"), Kind::Malformed),
        ("two parts", signature("").trim_end_matches('.').to_owned(), Kind::Malformed),
        (
            "known key, forged",
            format!("{}.{}", message("EdDSA", Some("1"), &claims(A)), base64url([7; 64])),
            Kind::BadSignature,
        ),
        ("known key, another algorithm", Key::new(Pair::P256, "1").token(A), Kind::WrongAlgorithm),
    ] {
        assert_eq!(outcome_now(&verifier, &token), Some(Err(expected)), "{name}");
        settle().await;
        assert_eq!(issuer.fetches(), 1, "{name}");
    }
    assert_eq!(outcome_now(&verifier, &ed("?").token(A)), None, "a token without a fault causes a fetch");
}

#[tokio::test(start_paused = true)]
async fn tokens_with_a_known_key_never_wait() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.discovered()]).await.unwrap();
    issuer.reply(KEYS, Reply::keys(&[ed("1")]).held_by(&Gate::closed()));
    let unknown = forged(A, "?");
    let mut waiting = Box::pin(outcome(&verifier, &unknown));
    assert_eq!((&mut waiting).now_or_never(), None);
    settle().await;
    assert_eq!(issuer.fetches(), 2, "the fetch is in progress");
    assert_eq!(outcome_now(&verifier, &ed("1").token(A)), Some(Ok(())));
    advance(seconds(9)).await;
    assert_eq!((&mut waiting).now_or_never(), None);
    assert_eq!(outcome_now(&verifier, &ed("1").token(A)), Some(Ok(())));
    assert_eq!(waiting.await, Err(Kind::Unavailable), "the fetch timed out");
    assert_eq!(status(&verifier).last_error().unwrap().kind(), KeysErrorKind::TimedOut);
    assert_eq!(outcome_now(&verifier, &ed("1").token(A)), Some(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_handshake_does_not_cancel_the_fetch() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    let gate = Gate::closed();
    issuer.reply(KEYS, Reply::keys(&[ed("1"), ed("2")]).held_by(&gate));
    let token = ed("2").token(A);
    let mut first = Box::pin(outcome(&verifier, &token));
    let mut second = Box::pin(outcome(&verifier, &token));
    assert_eq!((&mut first).now_or_never(), None);
    assert_eq!((&mut second).now_or_never(), None);
    settle().await;
    drop(first);
    settle().await;
    gate.open();
    assert_eq!(second.await, Ok(()));
    assert_eq!(issuer.fetches(), 2);

    let gate = Gate::closed();
    issuer.reply(KEYS, Reply::keys(&[ed("1"), ed("3")]).held_by(&gate));
    advance(COOL_DOWN).await;
    assert_eq!(outcome_now(&verifier, &ed("3").token(A)), None);
    settle().await;
    gate.open();
    settle().await;
    assert_eq!(outcome_now(&verifier, &ed("3").token(A)), Some(Ok(())), "the fetch continues without a waiter");
    assert_eq!(issuer.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_key_published_during_a_fetch_is_not_unknown() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    let gate = Gate::closed();
    issuer.reply(KEYS, Reply::keys(&[ed("1")]).held_by(&gate));
    assert_eq!(outcome_now(&verifier, &forged(A, "?")), None);
    settle().await;
    assert_eq!(issuer.fetches(), 2, "the fetch is in progress, and its reply is fixed");

    issuer.publish(&[ed("1"), ed("2")]);
    let token = ed("2").token(A);
    let app = echo_behind(WsAuthLayer::new(verifier.clone()));
    let mut response = Box::pin(answer(&app, handshake().bearer_subprotocol(&token).build()));
    assert!((&mut response).now_or_never().is_none());
    gate.open();
    let response = response.await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "10");
    advance(COOL_DOWN).await;
    assert_eq!(outcome(&verifier, &token).await, Ok(()));
    assert_eq!(issuer.fetches(), 3);
}

/// It began before the token arrived, so that it would not suffice without the key.
#[tokio::test(start_paused = true)]
async fn a_fetch_in_progress_may_bring_the_key() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    let gate = Gate::closed();
    issuer.reply(KEYS, Reply::keys(&[ed("1"), ed("2")]).held_by(&gate));
    assert_eq!(outcome_now(&verifier, &forged(A, "?")), None);
    settle().await;
    let token = ed("2").token(A);
    let mut waiting = Box::pin(outcome(&verifier, &token));
    assert_eq!((&mut waiting).now_or_never(), None);
    gate.open();
    assert_eq!(waiting.await, Ok(()));
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_published_key_is_never_unknown() {
    let issuer = TestIssuer::in_process(A, &[ed("0")]);
    let verifier = verifier([issuer.keys().cool_down(Duration::from_millis(1))]).await.unwrap();
    for round in 1..=100 {
        let key = ed(&round.to_string());
        issuer.publish(std::slice::from_ref(&key));
        let token = key.token(A);
        let tasks = (0..8).map(|task| {
            let (verifier, token) = (verifier.clone(), token.clone());
            tokio::spawn(async move {
                // Forged tokens start fetches that are in progress when a valid token arrives.
                let _ = outcome(&verifier, &forged(A, &format!("{round} {task}"))).await;
                loop {
                    match outcome(&verifier, &token).await {
                        Err(Kind::Unavailable) => tokio::task::yield_now().await,
                        other => return other,
                    }
                }
            })
        });
        for done in join_all(tasks).await {
            assert_eq!(done.unwrap(), Ok(()), "{round}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_says_when_keys_have_changed() {
    if !cfg!(feature = "tracing") {
        return;
    }
    let log = support::log::Log::default();
    let _capture = log.everything();
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let _verifier = verifier([issuer.keys().refresh_interval(seconds(20)..=seconds(20))]).await.unwrap();
    let events = || ["keys changed", "keys unchanged"].map(|event| log.text().matches(event).count());
    assert_eq!(events(), [1, 0]);
    for (keys, expected) in [(&[ed("1")][..], [1, 1]), (&[ed("1"), ed("2")], [2, 1])] {
        issuer.publish(keys);
        advance(seconds(20)).await;
        settle().await;
        assert_eq!(events(), expected, "{}", log.text());
    }
    assert!(log.text().contains("keys changed issuer=\"https://a.example\" keys=2"), "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_becomes_known_after_a_refresh() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let keys = issuer.keys().refresh_interval(seconds(20)..=seconds(20)).max_stale(seconds(30));
    let verifier = verifier([keys]).await.unwrap();
    let token = ed("2").token(A);
    assert_eq!(outcome(&verifier, &token).await, Err(Kind::UnknownKey));
    issuer.publish(&[ed("1"), ed("2")]);
    advance(seconds(20)).await;
    settle().await;
    assert_eq!(outcome_now(&verifier, &token), Some(Ok(())), "the refresh brought the key");

    issuer.reply(KEYS, Reply::raw(500, ""));
    advance(seconds(31)).await;
    settle().await;
    let error = verify(&verifier, &token).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "the keys are too old to decide");
}

#[tokio::test(start_paused = true)]
async fn tokens_without_a_key_id_are_tried_with_all_keys() {
    let issuer = TestIssuer::in_process(A, &[Key::new(Pair::EdTest1, "1"), Key::new(Pair::EdTest2, "2")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    for pair in [Pair::EdTest1, Pair::EdTest2] {
        assert_eq!(outcome_now(&verifier, &Key::without_id(pair).token(A)), Some(Ok(())));
    }
    assert_eq!(outcome_now(&verifier, &Key::without_id(Pair::Ed25519).token(A)), Some(Err(Kind::BadSignature)));

    // A key without an id is tried for all tokens, but a key id that it does not match is still unknown.
    issuer.publish(&[Key::without_id(Pair::EdTest1), Key::new(Pair::EdTest2, "2")]);
    assert_eq!(outcome(&verifier, &forged(A, "new")).await, Err(Kind::UnknownKey));
    assert_eq!(outcome_now(&verifier, &Key::new(Pair::EdTest1, "whatever").token(A)), Some(Ok(())));
    assert_eq!(issuer.fetches(), 2);
    advance(COOL_DOWN).await;
    issuer.publish(&[Key::without_id(Pair::EdTest1), ed("3")]);
    assert_eq!(outcome(&verifier, &ed("3").token(A)).await, Ok(()));
}

// ---- Status and debug output.

#[tokio::test(start_paused = true)]
async fn the_status_describes_the_keys() {
    let issuer = TestIssuer::in_process(A, &[]);
    let keys = json!([ed("1").jwk(), Key::without_id(Pair::Rsa).jwk(), oct("secret"), {"kty": "?"}, 7]);
    issuer.reply(KEYS, Reply::json(&json!({"keys": keys})).header("cache-control", "max-age=1000"));
    let local = IssuerKeys::jwks(B, local_set(&json!([ed("b").jwk()])));
    let verifier = verifier([issuer.keys(), local]).await.unwrap();
    advance(seconds(70)).await;

    let status = |index: usize| verifier.status()[index].clone();
    let fetched = status(0);
    assert!(fetched.is_usable());
    assert_eq!(fetched.issuer(), A);
    assert_eq!(fetched.key_ids().collect::<Vec<_>>(), [Some("1"), None]);
    assert_eq!(fetched.age(), Some(seconds(70)));
    assert!(fetched.last_error().is_none());
    let next = fetched.next_refresh().unwrap();
    assert!((seconds(680)..=seconds(880)).contains(&next), "{next:?}");
    let unusable: Vec<_> = fetched.unusable().iter().map(|key| key.key_id()).collect();
    assert_eq!(unusable, [Some("secret"), None, None]);
    assert!(fetched.unusable().iter().all(|key| !key.problem().is_empty()));
    assert_eq!(
        serde_json::to_value(&fetched).unwrap(),
        json!({
            "issuer": A,
            "is_usable": true,
            "key_ids": ["1", null],
            "unusable": fetched
                .unusable()
                .iter()
                .map(|key| json!({"key_id": key.key_id(), "problem": key.problem()}))
                .collect::<Value>(),
            "age": 70,
            "last_error": null,
            "next_refresh": next.as_secs(),
        })
    );
    assert_eq!(
        serde_json::to_value(status(1)).unwrap(),
        json!({
            "issuer": B, "is_usable": true, "key_ids": ["b"], "unusable": [],
            "age": null, "last_error": null, "next_refresh": null,
        })
    );

    issuer.reply(KEYS, Reply::raw(500, "").header("retry-after", "120"));
    assert_eq!(outcome(&verifier, &forged(A, "?")).await, Err(Kind::Unavailable));
    let failed = status(0);
    assert!(failed.is_usable());
    assert_eq!(failed.age(), Some(seconds(70)), "a failed fetch does not reset the age");
    assert_eq!(failed.next_refresh(), Some(seconds(120)));
    let json = serde_json::to_value(&failed).unwrap();
    assert_eq!(json["last_error"], "the issuer responded with status 500");
}

#[tokio::test]
async fn key_material_is_never_printed() {
    let broken = json!({"kty": "oct", "kid": "broken", "k": ["c2VjcmV0LXRleHQ"]});
    let number = json!({"kty": "oct", "kid": "number", "k": 424_242});
    let short = json!({"kty": "oct", "kid": "short", "k": "c2hvcnQtc2VjcmV0"});
    let keys = local_set(&json!([oct("1"), broken, number, short, ed("2").jwk()]));
    let ids = r#"[Some(String("1")), Some(String("broken")), Some(String("number")), Some(String("short")), Some(String("2"))]"#;
    assert_eq!(format!("{keys:?}"), format!("JwkSet({ids})"));

    let issuer_keys = IssuerKeys::jwks(A, keys.clone());
    let builder: JwtVerifierBuilder<Value> = verifier([issuer_keys.clone()]);
    let of_builder = format!("{builder:?}");
    let verifier = builder.build().unwrap();
    let status = verifier.status();
    let useless = IssuerKeys::jwks(A, local_set(&json!([broken, number, short])));
    let error = support::issuer::verifier([useless]).build().unwrap_err();
    let shown = [
        format!("{keys:#?}"),
        format!("{issuer_keys:?} {issuer_keys:#?}"),
        of_builder,
        format!("{verifier:?} {verifier:#?}"),
        format!("{status:?} {}", serde_json::to_string(&status).unwrap()),
        format!("{error} {error:?}"),
    ];
    assert!(shown[3].contains(r#"JwtKey { algorithm: HS256, key_id: Some("1"), .. }"#), "{}", shown[3]);
    let x = ed("2").jwk()["x"].as_str().unwrap().to_owned();
    for text in shown {
        let bytes = |secret: &[u8]| format!("{:?}", secret.to_vec()).trim_matches(['[', ']']).to_owned();
        for secret in [
            base64url(SECRET),
            String::from_utf8_lossy(SECRET).into_owned(),
            bytes(&SECRET[..8]),
            "c2VjcmV0LXRleHQ".to_owned(),
            "424242".to_owned(),
            "c2hvcnQtc2VjcmV0".to_owned(),
            "short-secret".to_owned(),
            x.clone(),
        ] {
            assert!(!text.contains(&secret), "{secret} in {text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn keys_and_status_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    fn send<T: Send>(value: T) -> T {
        value
    }

    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    shared(&issuer.keys());
    shared(&set(&[]));
    let verifier = send(std::future::IntoFuture::into_future(verifier([issuer.keys()]))).await.unwrap();
    shared(&verifier);
    shared(&status(&verifier));
    send(verifier.ready()).await.unwrap();
    let now = UNIX_EPOCH + seconds(NOW);
    assert!(send(verify_at(&verifier, &ed("1").token(A), now)).await.is_ok());
    assert!(verify_at(&verifier, &ed("1").token(A), UNIX_EPOCH + seconds(EXP + 30)).await.is_err());
}
