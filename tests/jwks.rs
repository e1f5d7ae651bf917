//! Keys of issuers: where they come from, which tokens they count for, and what becomes of them when they change.

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
        Answer, EXP, Gate, KEYS, Key, METADATA, NOW, Pair, TestIssuer, claims, invented, message, set, signed, status,
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

fn in_hand(keys: &Value) -> JwkSet {
    serde_json::from_value(json!({"keys": keys})).unwrap()
}

async fn outcome(verifier: &JwtVerifier<Value>, token: &str) -> Result<(), Kind> {
    verify(verifier, token).await.map_err(|error| error.kind())
}

/// Without waiting for anything.
fn at_once(verifier: &JwtVerifier<Value>, token: &str) -> Option<Result<(), Kind>> {
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
    let headers = &issuer.seen(KEYS)[0];
    assert_eq!(headers["accept"], "application/json, application/jwk-set+json, */*;q=0.1");
    assert_eq!(issuer.seen(METADATA)[0]["accept"], "application/json, */*;q=0.1");
    assert!(headers["user-agent"].to_str().unwrap().starts_with("axum-ws-auth/"), "{headers:?}");
}

#[tokio::test]
async fn each_place_is_asked_for_what_it_has() {
    struct Case {
        name: &'static str,
        keys: fn(&TestIssuer) -> IssuerKeys,
        asked: &'static [&'static str],
    }

    for Case { name, keys, asked } in [
        Case { name: "discovered", keys: TestIssuer::discovered, asked: &[METADATA, KEYS] },
        Case { name: "url of the set", keys: TestIssuer::keys, asked: &[KEYS] },
        Case {
            name: "document elsewhere",
            keys: |issuer| IssuerKeys::discover_at(A, "https://inside.example/meta").fetch(issuer.client()),
            asked: &["/meta", KEYS],
        },
        Case { name: "in hand", keys: |_| IssuerKeys::jwks(A, in_hand(&json!([ed("1").jwk()]))), asked: &[] },
    ] {
        let issuer = TestIssuer::in_process(A, &[ed("1")]);
        issuer.answer("/meta", Answer::json(&issuer.metadata()));
        let verifier = verifier([keys(&issuer)]).await.unwrap();
        assert_eq!(at_once(&verifier, &ed("1").token(A)), Some(Ok(())), "{name}");
        for path in [METADATA, "/meta", KEYS] {
            assert_eq!(issuer.fetches_of(path), usize::from(asked.contains(&path)), "{name}: {path}");
        }
    }
}

#[tokio::test]
async fn the_document_names_the_issuer_to_the_letter() {
    struct Case {
        configured: &'static str,
        says: &'static str,
        same: bool,
    }

    for Case { configured, says, same } in [
        Case { configured: A, says: A, same: true },
        Case { configured: "https://a.example/", says: "https://a.example/", same: true },
        Case { configured: A, says: "https://a.example/", same: false },
        Case { configured: "https://a.example/", says: A, same: false },
        Case { configured: A, says: "https://A.example", same: false },
        Case { configured: A, says: B, same: false },
        Case { configured: A, says: "", same: false },
    ] {
        let issuer = TestIssuer::in_process(A, &[ed("1")]);
        issuer.answer(METADATA, Answer::json(&json!({"issuer": says, "jwks_uri": issuer.url(KEYS)})));
        let built = verifier([IssuerKeys::discover(configured).fetch(issuer.client())]).await;
        match built {
            Ok(verifier) => {
                assert!(same, "{configured}, and it says {says}");
                assert_eq!(outcome(&verifier, &ed("1").token(configured)).await, Ok(()));
            }
            Err(StartError::Keys { issuer: named, source }) => {
                assert!(!same, "{configured}, and it says {says}");
                assert_eq!((named.as_str(), source.kind()), (configured, KeysErrorKind::WrongIssuer));
                assert_eq!(issuer.fetches(), 0, "nothing that it says is believed");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn the_document_stands_below_the_path_of_the_issuer() {
    for (name, path) in
        [("https://a.example/realms/one", "/realms/one"), ("https://a.example/realms/one/", "/realms/one")]
    {
        let issuer = TestIssuer::in_process(name, &[]);
        issuer.answer(METADATA, Answer::raw(404, ""));
        let document = json!({"issuer": name, "jwks_uri": "https://keys.example/of/one?v=2"});
        issuer.answer(&format!("{path}{METADATA}"), Answer::json(&document));
        issuer.answer("/of/one", Answer::keys(&[ed("1")]));
        let verifier = verifier([issuer.discovered()]).await.unwrap();
        assert_eq!(at_once(&verifier, &ed("1").token(name)), Some(Ok(())), "{name}");
    }
}

// ---- Whose tokens they count for.

#[tokio::test]
async fn keys_count_for_their_issuer_only() {
    let key = |pair| Key::new(pair, "same");
    let (of_a, of_b) = (key(Pair::EdTest1), key(Pair::EdTest2));
    let a = TestIssuer::in_process(A, std::slice::from_ref(&of_a));
    let b = TestIssuer::in_process(B, std::slice::from_ref(&of_b));
    let hand = IssuerKeys::jwks("hand", in_hand(&json!([key(Pair::Ed25519).jwk()])));
    let verifier = verifier([a.discovered(), b.keys(), hand]).await.unwrap();
    let other = Key::new(Pair::EdTest1, "of a only");
    a.publish(&[of_a.clone(), other.clone()]);

    struct Case {
        name: &'static str,
        token: String,
        expected: Result<(), Kind>,
    }
    for Case { name, token, expected } in [
        Case { name: "a's own", token: of_a.token(A), expected: Ok(()) },
        Case { name: "b's own", token: of_b.token(B), expected: Ok(()) },
        Case { name: "in hand", token: key(Pair::Ed25519).token("hand"), expected: Ok(()) },
        Case { name: "a's name, b's key", token: of_b.token(A), expected: Err(Kind::BadSignature) },
        Case { name: "b's name, a's key", token: of_a.token(B), expected: Err(Kind::BadSignature) },
        Case { name: "the name in hand, a's key", token: of_a.token("hand"), expected: Err(Kind::BadSignature) },
        Case { name: "a's key in b's name, by id", token: other.token(B), expected: Err(Kind::UnknownKey) },
        Case { name: "unknown in hand", token: other.token("hand"), expected: Err(Kind::UnknownKey) },
        Case { name: "another issuer", token: of_a.token("https://c.example"), expected: Err(Kind::WrongIssuer) },
        Case {
            name: "no issuer",
            token: of_a.sign(&json!({"aud": "chat", "exp": EXP})),
            expected: Err(Kind::MissingClaim),
        },
    ] {
        assert_eq!(outcome(&verifier, &token).await, expected, "{name}");
    }
    assert_eq!((a.fetches(), b.fetches()), (1, 2), "only b was asked for a key that it does not have");
    let names: Vec<_> = verifier.status().iter().map(|status| status.issuer().to_owned()).collect();
    assert_eq!(names, [A, B, "hand"]);
}

#[tokio::test]
async fn issuers_stand_beside_a_shared_secret() {
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
        Case { name: "the issuer's", token: ed("1").token(A), any: Ok(()), named: Ok(()) },
        Case { name: "another's by the secret", token: hs256(None, &claims(B)), any: Ok(()), named: Ok(()) },
        Case { name: "not named", token: hs256(None, &claims("c")), any: Ok(()), named: Err(Kind::WrongIssuer) },
        Case { name: "nobody's", token: hs256(None, &anonymous), any: Ok(()), named: Err(Kind::MissingClaim) },
        Case {
            name: "the issuer's by the secret",
            token: hs256(None, &claims(A)),
            any: Err(Kind::WrongAlgorithm),
            named: Err(Kind::WrongAlgorithm),
        },
        Case {
            name: "the issuer's by the secret, with an id",
            token: hs256(Some("?"), &claims(A)),
            any: Err(Kind::WrongAlgorithm),
            named: Err(Kind::WrongAlgorithm),
        },
        Case {
            name: "another's by the issuer's key",
            token: ed("1").token(B),
            any: Err(Kind::WrongAlgorithm),
            named: Err(Kind::WrongAlgorithm),
        },
    ] {
        assert_eq!(outcome(&any, &case.token).await, case.any, "{}", case.name);
        assert_eq!(outcome(&named, &case.token).await, case.named, "{} of those named", case.name);
    }
    assert_eq!(issuer.fetches(), 2, "one for each verifier");
}

#[tokio::test]
async fn algorithms_follow_from_keys_and_are_limited_by_the_list() {
    use Algorithm::{ES256, EdDSA, PS256, PS384, RS256, RS512};

    struct Case {
        name: &'static str,
        allowed: Option<&'static [Algorithm]>,
        pair: Pair,
        alg: Option<&'static str>,
        good: &'static [Algorithm],
    }

    let case = |name, allowed, pair, alg, good| Case { name, allowed, pair, alg, good };
    for Case { name, allowed, pair, alg, good } in [
        case("RSA by default", None, Pair::Rsa, None, &[RS256]),
        case("RSA that says", None, Pair::Rsa, Some("PS256"), &[PS256]),
        case("RSA by the list", Some(&[PS256, PS384]), Pair::Rsa, None, &[PS256, PS384]),
        case("RSA that says, in the list", Some(&[RS256, PS256]), Pair::Rsa, Some("RS256"), &[RS256]),
        case("RSA that says, not in the list", Some(&[PS256]), Pair::Rsa, Some("RS256"), &[]),
        case("RSA among others", Some(&[ES256, EdDSA, RS512]), Pair::Rsa, None, &[RS512]),
        case("RSA, and only others", Some(&[ES256, EdDSA]), Pair::Rsa, None, &[]),
        case("EC by its curve", None, Pair::P256, None, &[ES256]),
        case("EC not in the list", Some(&[EdDSA, RS256]), Pair::P256, None, &[]),
        case("EC in the list", Some(&[EdDSA, ES256]), Pair::P256, None, &[ES256]),
    ] {
        let mut jwk = Key::new(pair, "1").jwk();
        if let Some(alg) = alg {
            jwk["alg"] = alg.into();
        }
        let issuer = TestIssuer::in_process(A, &[]);
        issuer.answer(KEYS, Answer::json(&json!({"keys": [jwk]})));
        let keys = |keys: IssuerKeys| match allowed {
            Some(allowed) => keys.algorithms(allowed.iter().copied()),
            None => keys,
        };
        let built = verifier([keys(issuer.keys())]).await;
        let hand = verifier([keys(IssuerKeys::jwks(A, in_hand(&json!([jwk]))))]).build();
        if good.is_empty() {
            assert!(
                matches!(&built, Err(StartError::Keys { source, .. }) if source.kind() == KeysErrorKind::NoUsableKey),
                "{name}: {built:?}"
            );
            assert!(matches!(&hand, Err(ConfigError::NoUsableKey { issuer, .. }) if issuer == A), "{name}: {hand:?}");
            continue;
        }
        let built = built.unwrap();
        let algorithms: &[Algorithm] = if pair == Pair::Rsa { &[RS256, RS512, PS256, PS384] } else { &[ES256] };
        for &algorithm in algorithms {
            let expected = if good.contains(&algorithm) { Ok(()) } else { Err(Kind::WrongAlgorithm) };
            let token = Key::new(pair, "1").sign_with(algorithm, &claims(A));
            assert_eq!(outcome(&built, &token).await, expected, "{name}: {algorithm:?}");
            assert_eq!(outcome(hand.as_ref().unwrap(), &token).await, expected, "{name} in hand: {algorithm:?}");
        }
        assert_eq!(issuer.fetches(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_published_secret_is_no_secret() {
    let keys = json!([oct("secret"), ed("1").jwk()]);
    let issuer = TestIssuer::in_process(A, &[]);
    issuer.answer(KEYS, Answer::json(&json!({"keys": keys})));
    let fetched = verifier([issuer.keys()]).await.unwrap();
    let allowed = verifier([issuer.keys().algorithms([Algorithm::HS256, Algorithm::EdDSA])]).await.unwrap();
    let hand = verifier([IssuerKeys::jwks(A, in_hand(&keys))]).build().unwrap();

    for id in [Some("secret"), Some("unknown"), None] {
        let token = hs256(id, &claims(A));
        for (name, verifier) in [("by default", &fetched), ("allowed", &allowed)] {
            assert_eq!(at_once(verifier, &token), Some(Err(Kind::WrongAlgorithm)), "{name}: {id:?}");
        }
        let expected = if id == Some("unknown") { Err(Kind::UnknownKey) } else { Ok(()) };
        assert_eq!(at_once(&hand, &token), Some(expected), "in hand: {id:?}");
    }
    assert_eq!(issuer.fetches(), 2, "one for each verifier");
    let unusable: Vec<_> = status(&fetched).unusable().to_vec();
    assert_eq!((unusable.len(), unusable[0].key_id()), (1, Some("secret")));
    assert_eq!(unusable[0].problem(), "it is a symmetric key that is published");

    issuer.answer(KEYS, Answer::json(&json!({"keys": [oct("secret")]})));
    let alone = verifier([issuer.keys()]).await;
    assert!(matches!(alone, Err(StartError::Keys { .. })), "{alone:?}");
}

/// Whoever reads the set can sign with such a key.
#[tokio::test]
async fn a_private_key_that_is_published_verifies_nothing() {
    let private = |id: &str, more: Value| {
        let mut jwk = ed(id).jwk();
        jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        jwk
    };
    let other = Key::new(Pair::P256, "other");
    let keys = json!([
        private("private", json!({"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", "use": "enc"})),
        ed("twin").jwk(),
        private("twin by another name", json!({"alg": "Ed25519"})),
        other.jwk(),
    ]);
    let issuer = TestIssuer::in_process(A, &[]);
    issuer.answer(KEYS, Answer::json(&json!({ "keys": keys })));
    let fetched = verifier([issuer.keys()]).await.unwrap();
    let problems: Vec<_> = status(&fetched)
        .unusable()
        .iter()
        .map(|key| (key.key_id().unwrap().to_owned(), key.problem().to_owned()))
        .collect();
    let beside = "its private half is published in the same set";
    let expected =
        [("private", "it is a private key that is published"), ("twin", beside), ("twin by another name", beside)];
    assert_eq!(problems, expected.map(|(id, problem)| (id.to_owned(), problem.to_owned())));
    assert_eq!(at_once(&fetched, &other.token(A)), Some(Ok(())));
    for id in ["private", "twin", "twin by another name"] {
        assert!(outcome(&fetched, &ed(id).token(A)).await.is_err(), "{id}");
    }

    // In hand nothing is published, but a verifier needs the public half.
    let hand = verifier([IssuerKeys::jwks(A, in_hand(&keys))]).build().unwrap();
    let unusable = status(&hand).unusable().to_vec();
    assert_eq!((unusable.len(), unusable[0].key_id()), (1, Some("private")));
    assert!(unusable[0].problem().contains("private"), "{unusable:?}");
    assert_eq!(at_once(&hand, &ed("twin").token(A)), Some(Ok(())));

    issuer.answer(KEYS, Answer::json(&json!({"keys": [keys[0]]})));
    let alone = verifier([issuer.keys()]).await;
    assert!(matches!(alone, Err(StartError::Keys { .. })), "{alone:?}");
}

// ---- What is refused when it is configured.

#[tokio::test]
async fn configurations_that_cannot_be_meant_are_refused() {
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
        case("as it is", |keys| keys, None),
        case("no time", |keys| keys.timeout(Duration::ZERO), Some(|e| matches!(e, ConfigError::ZeroDuration(_)))),
        case(
            "no cool-down",
            |keys| keys.cool_down(Duration::ZERO),
            Some(|e| matches!(e, ConfigError::ZeroDuration(_))),
        ),
        case("no stale", |keys| keys.max_stale(Duration::ZERO), Some(|e| matches!(e, ConfigError::ZeroDuration(_)))),
        case(
            "never fresh",
            |keys| keys.refresh_interval(Duration::ZERO..=seconds(1)),
            Some(|e| matches!(e, ConfigError::ZeroDuration(_))),
        ),
        case(
            "too long",
            |keys| keys.max_stale(seconds(31_536_001)),
            Some(|e| matches!(e, ConfigError::LongDuration(_))),
        ),
        case("a year", |keys| keys.max_stale(seconds(31_536_000)), None),
        case(
            "longest timeout",
            |keys| keys.timeout(Duration::MAX),
            Some(|e| matches!(e, ConfigError::LongDuration(_))),
        ),
        case(
            "ends before it begins",
            |keys| keys.refresh_interval(seconds(2)..=seconds(1)),
            Some(|e| matches!(e, ConfigError::InvalidRefreshInterval)),
        ),
        case("one length", |keys| keys.refresh_interval(seconds(2)..=seconds(2)), None),
        case(
            "stale before they are refreshed",
            |keys| keys.max_stale(seconds(3599)),
            Some(|e| matches!(e, ConfigError::InvalidRefreshInterval)),
        ),
        case("stale when they are refreshed", |keys| keys.max_stale(seconds(3600)), None),
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
async fn urls_that_anybody_can_answer_for_are_refused() {
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
    let loosened = IssuerKeys::jwks_url(A, "http://id.example.com/keys").insecure_http();
    assert!(verifier([loosened]).build().is_ok());
    let still = IssuerKeys::jwks_url(A, "ftp://id.example.com/keys").insecure_http();
    assert!(verifier([still]).build().is_err(), "this is about http only");
}

#[tokio::test]
async fn plain_http_from_elsewhere_is_followed_only_where_that_was_asked_for() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    issuer.answer("/from", Answer::redirect(302, "http://elsewhere.example/keys"));
    let keys = || IssuerKeys::jwks_url(A, "https://a.example/from").fetch(issuer.client());
    let refused = verifier([keys()]).await;
    assert!(
        matches!(&refused, Err(StartError::Keys { source, .. }) if source.kind() == KeysErrorKind::InsecureUrl),
        "{refused:?}"
    );
    assert_eq!(issuer.fetches(), 0);
    assert!(verifier([keys().insecure_http()]).await.is_ok());
    assert_eq!(issuer.fetches(), 1);

    // Nor is this machine plainly reached because somebody on the network says so.
    issuer.answer("/from", Answer::redirect(302, "http://127.0.0.1/keys"));
    assert!(verifier([keys()]).await.is_err());
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn an_issuer_has_one_set_and_a_name() {
    let hand = || IssuerKeys::jwks(A, in_hand(&json!([ed("1").jwk()])));
    let twice = verifier([hand(), IssuerKeys::discover(A)]).build();
    assert!(matches!(&twice, Err(ConfigError::DuplicateIssuer(name)) if name == A), "{twice:?}");
    assert!(verifier([hand(), IssuerKeys::discover("https://a.example/")]).build().is_ok(), "a slash counts");
    let nameless = verifier([IssuerKeys::jwks_url("", "https://a.example")]).build();
    assert!(matches!(nameless, Err(ConfigError::Empty("issuer"))), "{nameless:?}");
    for keys in [json!([]), json!([{"kty": "?", "kid": "x"}])] {
        let useless = verifier([IssuerKeys::jwks(A, in_hand(&keys))]).build();
        assert!(matches!(&useless, Err(ConfigError::NoUsableKey { issuer, .. }) if issuer == A), "{useless:?}");
    }
}

#[test]
fn keys_that_are_fetched_need_a_runtime() {
    let issuer = TestIssuer::in_process(A, &[]);
    for keys in [issuer.keys(), IssuerKeys::discover(A)] {
        let built = verifier([keys]).build();
        assert!(matches!(built, Err(ConfigError::NoRuntime)), "{built:?}");
    }
    let hand = verifier([IssuerKeys::jwks(A, in_hand(&json!([ed("1").jwk()])))]).build().unwrap();
    assert_eq!(at_once(&hand, &ed("1").token(A)), Some(Ok(())));
}

// ---- Keys that change.

#[tokio::test(start_paused = true)]
async fn keys_are_refreshed_in_the_background_before_they_are_needed() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    issuer.answer(KEYS, Answer::keys(&[ed("1")]).header("cache-control", "max-age=1000"));
    let verifier = verifier([issuer.discovered()]).await.unwrap();
    issuer.publish(&[ed("2")]);
    advance(seconds(740)).await;
    settle().await;
    assert_eq!(issuer.fetches(), 1, "not yet");
    assert_eq!(at_once(&verifier, &ed("1").token(A)), Some(Ok(())));
    advance(seconds(211)).await;
    settle().await;
    assert_eq!(issuer.fetches(), 2);
    assert_eq!(at_once(&verifier, &ed("2").token(A)), Some(Ok(())), "nobody has to wait for it");
    assert_eq!(outcome(&verifier, &ed("1").token(A)).await, Err(Kind::UnknownKey), "it is withdrawn");
}

/// How many handshakes got which status.
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
    let counts = handshakes(&verifier, std::iter::repeat_n(invented(A, "?"), MANY)).await;
    assert_eq!(counts, BTreeMap::from([(401, MANY)]));
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_handshakes_with_unknown_keys_of_their_own_cost_one_fetch() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    for round in 1..=3 {
        let tokens = (0..MANY).map(|i| invented(A, &format!("{round} {i}")));
        let counts = handshakes(&verifier, tokens).await;
        assert_eq!(counts.values().sum::<usize>(), MANY);
        assert!(counts.keys().all(|status| [401, 503].contains(status)), "{counts:?}");
        assert_eq!(issuer.fetches(), 1 + round, "{counts:?}");
        // Within the cool-down there is no other, and nobody is told that a key is not there that was not looked for.
        let more = handshakes(&verifier, std::iter::once(invented(A, &format!("in between {round}")))).await;
        assert_eq!(more, BTreeMap::from([(503, 1)]));
        assert_eq!(issuer.fetches(), 1 + round);
        assert_eq!(at_once(&verifier, &ed("1").token(A)), Some(Ok(())), "known keys are as good as ever");
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
async fn a_key_is_called_unknown_only_by_an_answer_that_is_newer_than_the_token() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    let token = invented(A, "invented");
    for round in 1..=3 {
        assert_eq!(outcome(&verifier, &token).await, Err(Kind::UnknownKey), "it was looked for");
        assert_eq!(issuer.fetches(), 1 + round);
        for wait in [COOL_DOWN, COOL_DOWN / 2] {
            let error = verify(&verifier, &token).now_or_never().unwrap().unwrap_err();
            assert_eq!((error.kind(), error.retry_after()), (Kind::Unavailable, Some(wait)));
            advance(COOL_DOWN / 2).await;
            settle().await;
        }
        assert_eq!(issuer.fetches(), 1 + round, "not twice within the cool-down");
    }
}

/// `2026-12` comes after `2026-11`.
#[tokio::test(start_paused = true)]
async fn an_id_that_was_guessed_before_it_was_used_is_not_held_against_its_key() {
    let (old, new) = (ed("2026-11"), Key::new(Pair::EdTest2, "2026-12"));
    // With tokens of the attacker that come once, come again and again, and come while the answer is under way.
    for again in [false, true] {
        for under_way in [false, true] {
            let issuer = TestIssuer::in_process(A, std::slice::from_ref(&old));
            let verifier = verifier([issuer.keys()]).await.unwrap();
            advance(seconds(20)).await;
            let gate = Gate::closed();
            issuer.answer(KEYS, Answer::keys(std::slice::from_ref(&old)).behind(&gate));
            let guessed = invented(A, "2026-12");
            let mut attacker = Box::pin(outcome(&verifier, &guessed));
            assert_eq!((&mut attacker).now_or_never(), None);
            settle().await;
            if !under_way {
                gate.open();
                assert_eq!((&mut attacker).await, Err(Kind::UnknownKey));
            }
            issuer.publish(&[old.clone(), new.clone()]);
            let mut outcomes = Vec::new();
            for second in 0..=COOL_DOWN.as_secs() {
                let token = new.token(A);
                let mut valid = Box::pin(outcome(&verifier, &token));
                let at_once = (&mut valid).now_or_never();
                gate.open();
                let outcome_now = match at_once {
                    Some(outcome) => outcome,
                    None => valid.await,
                };
                assert!(matches!(outcome_now, Ok(()) | Err(Kind::Unavailable)), "{outcome_now:?} at {second}");
                outcomes.push(outcome_now);
                if again {
                    let _ = outcome(&verifier, &guessed).await;
                }
                advance(seconds(1)).await;
                settle().await;
            }
            assert_eq!(outcomes.last(), Some(&Ok(())), "{again}, {under_way}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_cool_down_another_key_is_looked_for() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    for cool_down in [None, Some(seconds(25))] {
        let keys = cool_down.map_or_else(|| issuer.keys(), |cool_down| issuer.keys().cool_down(cool_down));
        let cool_down = cool_down.unwrap_or(COOL_DOWN);
        issuer.publish(&[ed("1")]);
        let verifier = verifier([keys]).await.unwrap();
        let first = issuer.fetches();
        assert_eq!(outcome(&verifier, &invented(A, "?")).await, Err(Kind::UnknownKey));
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
async fn tokens_that_no_key_could_save_cost_no_fetch() {
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
    let headed = |header: Value| {
        let rest = ed("?").token(A);
        format!("{}.{}", base64url(header.to_string()), rest.split_once('.').unwrap().1)
    };
    let signature = |signature: &str| format!("{}.{signature}", message("EdDSA", Some("?"), &claims(A)));

    let alg = |alg: &str| headed(json!({"alg": alg, "typ": "JWT", "kid": "?"}));
    for (name, token, expected) in [
        ("expired", with("exp", (NOW - 31).into()), Kind::Expired),
        ("not yet", with("nbf", (NOW + 31).into()), Kind::NotYetValid),
        ("without an end", without("exp"), Kind::MissingClaim),
        ("wrong issuer", with("iss", B.into()), Kind::WrongIssuer),
        ("no issuer", without("iss"), Kind::MissingClaim),
        ("wrong audience", with("aud", "mail".into()), Kind::WrongAudience),
        ("no audience", without("aud"), Kind::MissingClaim),
        ("algorithm that is not allowed", alg("RS256"), Kind::WrongAlgorithm),
        ("symmetric", alg("HS256"), Kind::WrongAlgorithm),
        ("no algorithm", alg("none"), Kind::WrongAlgorithm),
        ("unknown algorithm", alg("ES999"), Kind::WrongAlgorithm),
        ("wrong type", headed(json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "?"})), Kind::WrongType),
        ("critical", headed(json!({"alg": "EdDSA", "typ": "JWT", "kid": "?", "crit": ["x"]})), Kind::CriticalHeader),
        ("signature not base64url", signature("=!"), Kind::Malformed),
        ("two parts", signature("").trim_end_matches('.').to_owned(), Kind::Malformed),
        (
            "known key, forged",
            format!("{}.{}", message("EdDSA", Some("1"), &claims(A)), base64url([7; 64])),
            Kind::BadSignature,
        ),
        ("known key, another algorithm", Key::new(Pair::P256, "1").token(A), Kind::WrongAlgorithm),
    ] {
        assert_eq!(at_once(&verifier, &token), Some(Err(expected)), "{name}");
        settle().await;
        assert_eq!(issuer.fetches(), 1, "{name}");
    }
    assert_eq!(at_once(&verifier, &ed("?").token(A)), None, "and the same without a fault does");
}

#[tokio::test(start_paused = true)]
async fn who_has_a_known_key_waits_for_nobody() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.discovered()]).await.unwrap();
    issuer.answer(KEYS, Answer::keys(&[ed("1")]).behind(&Gate::closed()));
    let unknown = invented(A, "?");
    let mut waiting = Box::pin(outcome(&verifier, &unknown));
    assert_eq!((&mut waiting).now_or_never(), None);
    settle().await;
    assert_eq!(issuer.fetches(), 2, "it is under way");
    assert_eq!(at_once(&verifier, &ed("1").token(A)), Some(Ok(())));
    advance(seconds(9)).await;
    assert_eq!((&mut waiting).now_or_never(), None);
    assert_eq!(at_once(&verifier, &ed("1").token(A)), Some(Ok(())));
    assert_eq!(waiting.await, Err(Kind::Unavailable), "in the end there was no answer");
    assert_eq!(status(&verifier).last_error().unwrap().kind(), KeysErrorKind::TimedOut);
    assert_eq!(at_once(&verifier, &ed("1").token(A)), Some(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_does_not_stop_the_fetch_for_the_others() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    let gate = Gate::closed();
    issuer.answer(KEYS, Answer::keys(&[ed("1"), ed("2")]).behind(&gate));
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
    issuer.answer(KEYS, Answer::keys(&[ed("1"), ed("3")]).behind(&gate));
    advance(COOL_DOWN).await;
    assert_eq!(at_once(&verifier, &ed("3").token(A)), None);
    settle().await;
    gate.open();
    settle().await;
    assert_eq!(at_once(&verifier, &ed("3").token(A)), Some(Ok(())), "it goes on with nobody left");
    assert_eq!(issuer.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_came_after_the_answer_under_way_is_not_called_unknown() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    let gate = Gate::closed();
    issuer.answer(KEYS, Answer::keys(&[ed("1")]).behind(&gate));
    assert_eq!(at_once(&verifier, &invented(A, "?")), None);
    settle().await;
    assert_eq!(issuer.fetches(), 2, "it is under way, and its answer is written");

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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_that_is_published_is_never_called_unknown() {
    let issuer = TestIssuer::in_process(A, &[ed("0")]);
    let verifier = verifier([issuer.keys().cool_down(Duration::from_millis(1))]).await.unwrap();
    for round in 1..=100 {
        let key = ed(&round.to_string());
        issuer.publish(std::slice::from_ref(&key));
        let token = key.token(A);
        let tasks = (0..8).map(|task| {
            let (verifier, token) = (verifier.clone(), token.clone());
            tokio::spawn(async move {
                // Others make attempts start that are under way when a good token comes.
                let _ = outcome(&verifier, &invented(A, &format!("{round} {task}"))).await;
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
async fn a_key_that_appears_is_not_held_against_it_that_it_was_not_there() {
    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    let keys = issuer.keys().refresh_interval(seconds(20)..=seconds(20)).max_stale(seconds(30));
    let verifier = verifier([keys]).await.unwrap();
    let token = ed("2").token(A);
    assert_eq!(outcome(&verifier, &token).await, Err(Kind::UnknownKey));
    issuer.publish(&[ed("1"), ed("2")]);
    advance(seconds(20)).await;
    settle().await;
    assert_eq!(at_once(&verifier, &token), Some(Ok(())), "the refresh has brought it");

    issuer.answer(KEYS, Answer::raw(500, ""));
    advance(seconds(31)).await;
    settle().await;
    let error = verify(&verifier, &token).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "the keys are too old, and it may be good");
}

#[tokio::test(start_paused = true)]
async fn tokens_without_a_key_id_are_tried_with_all_keys() {
    let issuer = TestIssuer::in_process(A, &[Key::new(Pair::EdTest1, "1"), Key::new(Pair::EdTest2, "2")]);
    let verifier = verifier([issuer.keys()]).await.unwrap();
    for pair in [Pair::EdTest1, Pair::EdTest2] {
        assert_eq!(at_once(&verifier, &Key::without_id(pair).token(A)), Some(Ok(())));
    }
    assert_eq!(at_once(&verifier, &Key::without_id(Pair::Ed25519).token(A)), Some(Err(Kind::BadSignature)));

    // And a key without an id is tried for all tokens, which says nothing of the key that they name.
    issuer.publish(&[Key::without_id(Pair::EdTest1), Key::new(Pair::EdTest2, "2")]);
    assert_eq!(outcome(&verifier, &invented(A, "new")).await, Err(Kind::UnknownKey));
    assert_eq!(at_once(&verifier, &Key::new(Pair::EdTest1, "whatever").token(A)), Some(Ok(())));
    assert_eq!(issuer.fetches(), 2);
    advance(COOL_DOWN).await;
    issuer.publish(&[Key::without_id(Pair::EdTest1), ed("3")]);
    assert_eq!(outcome(&verifier, &ed("3").token(A)).await, Ok(()));
}

// ---- What is said of it.

#[tokio::test(start_paused = true)]
async fn the_status_says_how_it_stands() {
    let issuer = TestIssuer::in_process(A, &[]);
    let keys = json!([ed("1").jwk(), Key::without_id(Pair::Rsa).jwk(), oct("secret"), {"kty": "?"}, 7]);
    issuer.answer(KEYS, Answer::json(&json!({"keys": keys})).header("cache-control", "max-age=1000"));
    let hand = IssuerKeys::jwks(B, in_hand(&json!([ed("b").jwk()])));
    let verifier = verifier([issuer.keys(), hand]).await.unwrap();
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

    issuer.answer(KEYS, Answer::raw(500, "").header("retry-after", "120"));
    assert_eq!(outcome(&verifier, &invented(A, "?")).await, Err(Kind::Unavailable));
    let failed = status(0);
    assert!(failed.is_usable());
    assert_eq!(failed.age(), Some(seconds(70)), "nothing has been confirmed");
    assert_eq!(failed.next_refresh(), Some(seconds(120)));
    let json = serde_json::to_value(&failed).unwrap();
    assert_eq!(json["last_error"], "the issuer responded with status 500");
}

#[tokio::test]
async fn nothing_of_a_key_is_shown() {
    let broken = json!({"kty": "oct", "kid": "broken", "k": ["c2VjcmV0LXRleHQ"]});
    let number = json!({"kty": "oct", "kid": "number", "k": 424_242});
    let short = json!({"kty": "oct", "kid": "short", "k": "c2hvcnQtc2VjcmV0"});
    let keys = in_hand(&json!([oct("1"), broken, number, short, ed("2").jwk()]));
    let ids = r#"[Some(String("1")), Some(String("broken")), Some(String("number")), Some(String("short")), Some(String("2"))]"#;
    assert_eq!(format!("{keys:?}"), format!("JwkSet({ids})"));

    let issuer_keys = IssuerKeys::jwks(A, keys.clone());
    let builder: JwtVerifierBuilder<Value> = verifier([issuer_keys.clone()]);
    let of_builder = format!("{builder:?}");
    let verifier = builder.build().unwrap();
    let status = verifier.status();
    let useless = IssuerKeys::jwks(A, in_hand(&json!([broken, number, short])));
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
    fn sent<T: Send>(value: T) -> T {
        value
    }

    let issuer = TestIssuer::in_process(A, &[ed("1")]);
    shared(&issuer.keys());
    shared(&set(&[]));
    let verifier = sent(std::future::IntoFuture::into_future(verifier([issuer.keys()]))).await.unwrap();
    shared(&verifier);
    shared(&status(&verifier));
    sent(verifier.ready()).await.unwrap();
    let now = UNIX_EPOCH + seconds(NOW);
    assert!(sent(verify_at(&verifier, &ed("1").token(A), now)).await.is_ok());
    assert!(verify_at(&verifier, &ed("1").token(A), UNIX_EPOCH + seconds(EXP + 30)).await.is_err());
}
