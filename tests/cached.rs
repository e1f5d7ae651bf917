//! `CachedVerifier`: what is remembered of a token, and what is asked again each time.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]
#![cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use axum_ws_auth::{
    CachedVerifier, ConfigError, Token, Verified, Verifier, VerifyError, VerifyErrorKind as Kind, VerifyInput,
    WsAuthLayer,
    jwks::IssuerKeys,
    jwt::JwtVerifier,
    test_util::{TEST_SECRET, TestToken, base64url, handshake, verifier},
};
#[cfg(feature = "aws-lc-rs")]
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
#[cfg(not(feature = "aws-lc-rs"))]
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use support::{answer, echo_behind};

/// Claims that know how often they were read out of a token: as often as it was verified.
#[derive(Clone, Debug)]
struct Counted(u64);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Claims {
            counter: usize,
        }
        let Claims { counter } = Claims::deserialize(deserializer)?;
        Ok(Self(COUNTERS[counter].fetch_add(1, Relaxed) + 1))
    }
}

/// One for each test that counts.
static COUNTERS: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

fn counted(counter: usize) -> TestToken {
    TestToken::new("alice").claim("counter", counter)
}

fn cached() -> CachedVerifier<Counted> {
    CachedVerifier::new(verifier())
}

async fn verify_at<C: Send + Sync + 'static>(
    verifier: &impl Verifier<Claims = C>,
    token: &str,
    now: SystemTime,
) -> Result<Verified<C>, VerifyError> {
    let (parts, _) = handshake().build().into_parts();
    verifier.verify(VerifyInput::new(&Token::new(token), &parts, now)).await
}

async fn kind_at<C: Send + Sync + 'static>(verifier: &impl Verifier<Claims = C>, token: &str, now: SystemTime) -> Kind {
    verify_at(verifier, token, now).await.expect_err("a refusal").kind()
}

/// How long the refused client is told to wait, in seconds.
async fn wait_at<C: Send + Sync + 'static>(
    verifier: &impl Verifier<Claims = C>,
    token: &str,
    now: SystemTime,
) -> Option<u64> {
    verify_at(verifier, token, now).await.expect_err("a refusal").retry_after().map(|wait| wait.as_secs())
}

/// An issuer in process, whose set is whatever was last put there. `None` is an outage.
#[derive(Clone, Default)]
struct Issuer(Arc<Mutex<Option<Value>>>);

impl Issuer {
    fn publish(&self, key_ids: &[&str]) {
        let key = |id: &&str| json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": ed25519_x()});
        *self.0.lock().unwrap() = Some(json!({"keys": key_ids.iter().map(key).collect::<Vec<_>>()}));
    }

    fn break_down(&self) {
        *self.0.lock().unwrap() = None;
    }

    fn keys(&self, name: &str) -> IssuerKeys {
        let this = self.clone();
        let fetch = move |_: http::Request<()>| {
            let set = this.0.lock().unwrap().clone();
            async move { set.map(|set| http::Response::new(set.to_string().into_bytes())).ok_or("out of order".into()) }
        };
        IssuerKeys::jwks_url(name, "https://issuer.test/keys").fetch(fetch)
    }
}

const ED25519: &str = include_str!("test_keys/ed25519.pem");

/// Of the public half of [`ED25519`].
fn ed25519_x() -> String {
    let public = include_str!("test_keys/ed25519.pub.pem");
    let body: String = public.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).unwrap();
    base64url(&der[der.len() - 32..])
}

fn signed(key_id: &str, claims: &Value) -> String {
    let header = json!({"alg": "EdDSA", "kid": key_id});
    let message = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
    let key = EncodingKey::from_ed_pem(ED25519.as_bytes()).unwrap();
    let signer = (DEFAULT_PROVIDER.signer_factory)(&Algorithm::EdDSA, &key).unwrap();
    format!("{message}.{}", base64url(signer.try_sign(message.as_bytes()).unwrap()))
}

/// The claims of a token that is good for two days.
fn claims(issuer: &str, counter: usize) -> Value {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    json!({"iss": issuer, "sub": "alice", "counter": counter, "exp": now + 2 * 24 * 3600})
}

#[tokio::test]
async fn a_token_is_verified_once() {
    let (verifier, token, now) = (cached(), counted(0).sign(), SystemTime::now());
    for _ in 0..3 {
        let verified = verify_at(&verifier, &token, now).await.unwrap();
        assert_eq!((verified.claims.0, verified.subject.as_deref()), (1, Some("alice")));
        assert!(verified.expires_at.is_some());
    }
    // Clones remember together.
    assert_eq!(verify_at(&verifier.clone(), &token, now).await.unwrap().claims.0, 1);
    // Another token of the same claims is another token.
    assert_eq!(verify_at(&verifier, &counted(0).claim("jti", "2").sign(), now).await.unwrap().claims.0, 2);
}

#[tokio::test]
async fn the_time_is_looked_at_again() {
    let verifier = CachedVerifier::new(
        JwtVerifier::<Counted>::builder().secret(TEST_SECRET).unwrap().leeway(Duration::ZERO).build().unwrap(),
    );
    let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let end = begin + Duration::from_secs(60);
    let token = counted(1).claim("nbf", 1_700_000_000).expires_at(end).sign();

    let nanosecond = Duration::from_nanos(1);
    assert_eq!(verify_at(&verifier, &token, begin).await.unwrap().claims.0, 1);
    assert_eq!(verify_at(&verifier, &token, end - nanosecond).await.unwrap().claims.0, 1, "from the cache");
    // A clock that is set back.
    assert_eq!(kind_at(&verifier, &token, begin - nanosecond).await, Kind::NotYetValid);
    assert_eq!(verify_at(&verifier, &token, begin).await.unwrap().claims.0, 1, "still remembered");
    assert_eq!(kind_at(&verifier, &token, end).await, Kind::Expired);
    assert_eq!(kind_at(&verifier, &token, end + nanosecond).await, Kind::Expired);
    // It may have been the clock that was wrong, also with a token that was never found good.
    let other = counted(1).claim("jti", "2").expires_at(end).sign();
    assert_eq!(kind_at(&verifier, &other, end).await, Kind::Expired);
    for token in [&token, &other] {
        assert!(verify_at(&verifier, token, end - nanosecond).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn with_the_first_change_of_the_keys_tokens_are_verified_anew() {
    let (rotating, steady) = (Issuer::default(), Issuer::default());
    rotating.publish(&["old", "older"]);
    steady.publish(&["a"]);
    let keys = rotating.keys("rotating").refresh_interval(Duration::from_secs(60)..=Duration::from_secs(60));
    let verifier =
        JwtVerifier::<Counted>::builder().issuer_keys(keys).issuer_keys(steady.keys("steady")).await.unwrap();
    let (cached, now) = (CachedVerifier::new(verifier.clone()), SystemTime::now());
    let [old, older] = ["old", "older"].map(|id| signed(id, &claims("rotating", 2)));
    let other = signed("a", &claims("steady", 3));
    for token in [&old, &older, &other] {
        verify_at(&cached, token, now).await.unwrap();
        verify_at(&cached, token, now).await.unwrap();
    }
    assert_eq!(COUNTERS[2].load(Relaxed), 2);

    rotating.publish(&["new", "old"]);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(verifier.status()[0].key_ids().collect::<Vec<_>>(), [Some("new"), Some("old")]);
    assert_eq!(kind_at(&cached, &older, now).await, Kind::UnknownKey, "its key was withdrawn");
    assert_eq!(verify_at(&cached, &old, now).await.unwrap().claims.0, 3, "its key is still there, and was looked at");
    assert_eq!(verify_at(&cached, &old, now).await.unwrap().claims.0, 3, "remembered again");
    assert_eq!(verify_at(&cached, &other, now).await.unwrap().claims.0, 1, "that issuer has the same keys");

    // The same keys in another order are the same.
    rotating.publish(&["old", "new"]);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(verify_at(&cached, &old, now).await.unwrap().claims.0, 3);
}

#[tokio::test(start_paused = true)]
async fn when_the_keys_are_too_old_it_does_not_matter_what_is_remembered() {
    let issuer = Issuer::default();
    issuer.publish(&["a"]);
    let keys = issuer.keys("issuer").max_stale(Duration::from_secs(3600));
    let verifier = JwtVerifier::<Counted>::builder().issuer_keys(keys).await.unwrap();
    let (cached, now, token) = (CachedVerifier::new(verifier), SystemTime::now(), signed("a", &claims("issuer", 4)));
    verify_at(&cached, &token, now).await.unwrap();

    issuer.break_down();
    tokio::time::sleep(Duration::from_secs(3599)).await;
    assert_eq!(verify_at(&cached, &token, now).await.unwrap().claims.0, 1, "from the cache");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(kind_at(&cached, &token, now).await, Kind::Unavailable);

    issuer.publish(&["a"]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(verify_at(&cached, &token, now).await.unwrap().claims.0, 1, "the keys are the same again");
}

#[tokio::test]
async fn a_dead_token_is_told_to_wait_for_longer_each_time() {
    let (verifier, now) = (cached(), SystemTime::now());
    let dead = [
        (Kind::Expired, counted(5).expires_at(now - Duration::from_secs(3600)).sign()),
        (Kind::BadSignature, counted(5).sign_with(b"TEST KEY of somebody else: never use it either")),
    ];
    for (kind, token) in &dead {
        assert_eq!(kind_at(&verifier, token, now).await, *kind);
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(wait_at(&verifier, token, now).await, Some(seconds), "{kind:?}");
        }
        assert_eq!(kind_at(&verifier, token, now).await, *kind);
    }
    assert_eq!(COUNTERS[5].load(Relaxed), 0);

    // What was wrong with others may be over, or is no matter of the token.
    for token in [counted(5).claim("nbf", 99_999_999_999_u64).sign(), counted(5).claim("aud", "another").sign()] {
        for _ in 0..3 {
            assert_eq!(wait_at(&verifier, &token, now).await, None);
        }
    }

    let app = echo_behind(WsAuthLayer::new(verifier));
    let response = answer(&app, handshake().bearer_subprotocol(&dead[0].1).build()).await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["retry-after"], "300");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_badly_signed_has_another_chance_with_other_keys() {
    let issuer = Issuer::default();
    // The right id on the wrong key.
    let wrong = json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    *issuer.0.lock().unwrap() = Some(json!({ "keys": [wrong] }));
    let verifier = JwtVerifier::<Counted>::builder().issuer_keys(issuer.keys("issuer")).await.unwrap();
    let (cached, now, token) = (CachedVerifier::new(verifier), SystemTime::now(), signed("a", &claims("issuer", 6)));
    assert_eq!(wait_at(&cached, &token, now).await, None);
    assert_eq!(wait_at(&cached, &token, now).await, Some(1));

    issuer.publish(&["a"]);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(verify_at(&cached, &token, now).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_badly_signed_is_not_called_so_when_the_keys_are_too_old() {
    let issuer = Issuer::default();
    issuer.publish(&["a"]);
    let keys = issuer.keys("issuer").max_stale(Duration::from_secs(3600));
    let verifier = JwtVerifier::<Counted>::builder().issuer_keys(keys).await.unwrap();
    let (cached, now) = (CachedVerifier::new(verifier), SystemTime::now());
    // The claims of one with the signature of another.
    let [one, other] = [6, 7].map(|counter| signed("a", &claims("issuer", counter)));
    let forged = format!("{}.{}", one.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
    assert_eq!(kind_at(&cached, &forged, now).await, Kind::BadSignature);
    issuer.break_down();
    tokio::time::sleep(Duration::from_secs(3601)).await;
    assert_eq!(kind_at(&cached, &forged, now).await, Kind::Unavailable);
}

#[tokio::test]
async fn what_is_remembered_is_bounded_and_dead_tokens_do_not_push_out_good_ones() {
    let (verifier, now) = (cached().capacity(100).unwrap(), SystemTime::now());
    let good = counted(7).sign();
    for _ in 0..3 {
        verify_at(&verifier, &good, now).await.unwrap();
    }
    for number in 0..10_000 {
        let dead = counted(7).claim("jti", number).sign_with(b"TEST KEY of somebody else: never use it either");
        assert_eq!(kind_at(&verifier, &dead, now).await, Kind::BadSignature);
    }
    assert_eq!(verify_at(&verifier, &good, now).await.unwrap().claims.0, 1, "from the cache");
    let remembered = |name: &str| -> usize {
        let text = format!("{verifier:?}");
        let digits = text.rsplit_once(&format!("{name}: ")).unwrap().1;
        digits.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    assert!((4000..4300).contains(&remembered("refused")), "{}", remembered("refused"));

    for number in 0..1000 {
        verify_at(&verifier, &counted(7).claim("jti", number.to_string()).sign(), now).await.unwrap();
    }
    assert!((50..130).contains(&remembered("valid")), "{}", remembered("valid"));
    assert!(!format!("{verifier:?}").contains(&good));

    assert_eq!(cached().capacity(0).err(), Some(ConfigError::ZeroLimit("cached tokens")));
}

#[tokio::test]
async fn a_rule_of_a_route_is_asked_each_time() {
    let verifier = CachedVerifier::new(verifier::<Value>())
        .authorize(|_, parts| if parts.uri.path() == "/allowed" { Ok(()) } else { Err(VerifyError::forbidden()) });
    let (app, token) = (echo_behind(WsAuthLayer::new(verifier)), TestToken::new("alice").sign());
    for (path, status) in [("/allowed", 101), ("/other", 403), ("/allowed", 101), ("/other", 403)] {
        let response = answer(&app, handshake().path(path).bearer_subprotocol(&token).build()).await;
        assert_eq!(response.status(), status, "{path}");
    }
}
