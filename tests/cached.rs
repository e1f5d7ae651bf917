//! `CachedVerifier`: what is cached for a token, and what is checked each time.

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

/// Claims that count how often they were deserialized, which is how often the token was verified.
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

/// One counter for each test that uses [`Counted`].
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

/// The `Retry-After` of the refusal, in seconds.
async fn retry_after_at<C: Send + Sync + 'static>(
    verifier: &impl Verifier<Claims = C>,
    token: &str,
    now: SystemTime,
) -> Option<u64> {
    verify_at(verifier, token, now).await.expect_err("a refusal").retry_after().map(|delay| delay.as_secs())
}

/// An in-process issuer with the key set published last. `None` is an outage.
#[derive(Clone, Default)]
struct Issuer(Arc<Mutex<Option<Value>>>);

impl Issuer {
    fn publish(&self, key_ids: &[&str]) {
        let key = |id: &&str| json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": ed25519_x()});
        *self.0.lock().unwrap() = Some(json!({"keys": key_ids.iter().map(key).collect::<Vec<_>>()}));
    }

    fn stop(&self) {
        *self.0.lock().unwrap() = None;
    }

    fn keys(&self, name: &str) -> IssuerKeys {
        let this = self.clone();
        let fetch = move |_: http::Request<()>| {
            let set = this.0.lock().unwrap().clone();
            async move { set.map(|set| http::Response::new(set.to_string().into_bytes())).ok_or("unavailable".into()) }
        };
        IssuerKeys::jwks_url(name, "https://issuer.test/keys").fetch(fetch)
    }
}

const ED25519: &str = include_str!("test_keys/ed25519.pem");

/// The `x` member of the public half of [`ED25519`].
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

/// The claims of a token that expires in two days.
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
    // Clones share the cache.
    assert_eq!(verify_at(&verifier.clone(), &token, now).await.unwrap().claims.0, 1);
    // Another token with the same subject has its own entry.
    assert_eq!(verify_at(&verifier, &counted(0).claim("jti", "2").sign(), now).await.unwrap().claims.0, 2);
}

#[tokio::test]
async fn the_times_are_checked_for_cached_tokens() {
    let verifier = CachedVerifier::new(
        JwtVerifier::<Counted>::builder().secret(TEST_SECRET).unwrap().leeway(Duration::ZERO).build().unwrap(),
    );
    let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let end = begin + Duration::from_secs(60);
    let token = counted(1).claim("nbf", 1_700_000_000).expires_at(end).sign();

    let nanosecond = Duration::from_nanos(1);
    assert_eq!(verify_at(&verifier, &token, begin).await.unwrap().claims.0, 1);
    assert_eq!(verify_at(&verifier, &token, end - nanosecond).await.unwrap().claims.0, 1, "from the cache");
    // The clock is set back.
    assert_eq!(kind_at(&verifier, &token, begin - nanosecond).await, Kind::NotYetValid);
    assert_eq!(verify_at(&verifier, &token, begin).await.unwrap().claims.0, 1, "still cached");
    assert_eq!(kind_at(&verifier, &token, end).await, Kind::Expired);
    assert_eq!(kind_at(&verifier, &token, end + nanosecond).await, Kind::Expired);
    // Even a token that was never valid is verified again if the clock is set back.
    let other = counted(1).claim("jti", "2").expires_at(end).sign();
    assert_eq!(kind_at(&verifier, &other, end).await, Kind::Expired);
    for token in [&token, &other] {
        assert!(verify_at(&verifier, token, end - nanosecond).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_are_verified_again_when_the_keys_change() {
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
    assert_eq!(
        verify_at(&cached, &old, now).await.unwrap().claims.0,
        3,
        "its key is unchanged, but the token is verified again"
    );
    assert_eq!(verify_at(&cached, &old, now).await.unwrap().claims.0, 3, "cached again");
    assert_eq!(verify_at(&cached, &other, now).await.unwrap().claims.0, 1, "the other issuer's keys are unchanged");

    // The order of the keys does not matter.
    rotating.publish(&["old", "new"]);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(verify_at(&cached, &old, now).await.unwrap().claims.0, 3);
}

#[tokio::test(start_paused = true)]
async fn cached_tokens_are_refused_when_the_keys_are_too_old() {
    let issuer = Issuer::default();
    issuer.publish(&["a"]);
    let keys = issuer.keys("issuer").max_stale(Duration::from_secs(3600));
    let verifier = JwtVerifier::<Counted>::builder().issuer_keys(keys).await.unwrap();
    let (cached, now, token) = (CachedVerifier::new(verifier), SystemTime::now(), signed("a", &claims("issuer", 4)));
    verify_at(&cached, &token, now).await.unwrap();

    issuer.stop();
    tokio::time::sleep(Duration::from_secs(3599)).await;
    assert_eq!(verify_at(&cached, &token, now).await.unwrap().claims.0, 1, "from the cache");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(kind_at(&cached, &token, now).await, Kind::Unavailable);

    issuer.publish(&["a"]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(verify_at(&cached, &token, now).await.unwrap().claims.0, 1, "the keys are the same again");
}

#[tokio::test]
async fn the_retry_after_of_a_refused_token_doubles_each_time() {
    let (verifier, now) = (cached(), SystemTime::now());
    let refused = [
        (Kind::Expired, counted(5).expires_at(now - Duration::from_secs(3600)).sign()),
        (Kind::BadSignature, counted(5).sign_with(b"ANOTHER TEST KEY: never use it for anything either")),
    ];
    for (kind, token) in &refused {
        assert_eq!(kind_at(&verifier, token, now).await, *kind);
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(retry_after_at(&verifier, token, now).await, Some(seconds), "{kind:?}");
        }
        assert_eq!(kind_at(&verifier, token, now).await, *kind);
    }
    assert_eq!(COUNTERS[5].load(Relaxed), 0);

    // Tokens that may become valid are not cached.
    for token in [counted(5).claim("nbf", 99_999_999_999_u64).sign(), counted(5).claim("aud", "another").sign()] {
        for _ in 0..3 {
            assert_eq!(retry_after_at(&verifier, &token, now).await, None);
        }
    }

    let app = echo_behind(WsAuthLayer::new(verifier));
    let response = answer(&app, handshake().bearer_subprotocol(&refused[0].1).build()).await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["retry-after"], "300");
}

#[tokio::test(start_paused = true)]
async fn a_badly_signed_token_is_verified_again_when_the_keys_change() {
    let issuer = Issuer::default();
    // Another key with the same id.
    let wrong = json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    *issuer.0.lock().unwrap() = Some(json!({ "keys": [wrong] }));
    let verifier = JwtVerifier::<Counted>::builder().issuer_keys(issuer.keys("issuer")).await.unwrap();
    let (cached, now, token) = (CachedVerifier::new(verifier), SystemTime::now(), signed("a", &claims("issuer", 6)));
    assert_eq!(retry_after_at(&cached, &token, now).await, None);
    assert_eq!(retry_after_at(&cached, &token, now).await, Some(1));

    issuer.publish(&["a"]);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(verify_at(&cached, &token, now).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_badly_signed_token_is_unavailable_when_the_keys_are_too_old() {
    let issuer = Issuer::default();
    issuer.publish(&["a"]);
    let keys = issuer.keys("issuer").max_stale(Duration::from_secs(3600));
    let verifier = JwtVerifier::<Counted>::builder().issuer_keys(keys).await.unwrap();
    let (cached, now) = (CachedVerifier::new(verifier), SystemTime::now());
    // The claims of one token with the signature of another.
    let [one, other] = [6, 7].map(|counter| signed("a", &claims("issuer", counter)));
    let forged = format!("{}.{}", one.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
    assert_eq!(kind_at(&cached, &forged, now).await, Kind::BadSignature);
    issuer.stop();
    tokio::time::sleep(Duration::from_secs(3601)).await;
    assert_eq!(kind_at(&cached, &forged, now).await, Kind::Unavailable);
}

#[tokio::test]
async fn the_cache_is_bounded_and_refused_tokens_do_not_evict_valid_ones() {
    let (verifier, now) = (cached().capacity(100).unwrap(), SystemTime::now());
    let valid = counted(7).sign();
    for _ in 0..3 {
        verify_at(&verifier, &valid, now).await.unwrap();
    }
    for number in 0..10_000 {
        let refused = counted(7).claim("jti", number).sign_with(b"ANOTHER TEST KEY: never use it for anything either");
        assert_eq!(kind_at(&verifier, &refused, now).await, Kind::BadSignature);
    }
    assert_eq!(verify_at(&verifier, &valid, now).await.unwrap().claims.0, 1, "from the cache");
    let count = |name: &str| -> usize {
        let text = format!("{verifier:?}");
        let digits = text.rsplit_once(&format!("{name}: ")).unwrap().1;
        digits.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    assert!((4000..4300).contains(&count("refused")), "{}", count("refused"));

    for number in 0..1000 {
        verify_at(&verifier, &counted(7).claim("jti", number.to_string()).sign(), now).await.unwrap();
    }
    assert!((50..130).contains(&count("valid")), "{}", count("valid"));
    assert!(!format!("{verifier:?}").contains(&valid));

    assert_eq!(cached().capacity(0).err(), Some(ConfigError::ZeroLimit("cached tokens")));
}

#[tokio::test]
async fn authorize_runs_for_cached_tokens() {
    let verifier = CachedVerifier::new(verifier::<Value>())
        .authorize(|_, parts| if parts.uri.path() == "/allowed" { Ok(()) } else { Err(VerifyError::forbidden()) });
    let (app, token) = (echo_behind(WsAuthLayer::new(verifier)), TestToken::new("alice").sign());
    for (path, status) in [("/allowed", 101), ("/other", 403), ("/allowed", 101), ("/other", 403)] {
        let response = answer(&app, handshake().path(path).bearer_subprotocol(&token).build()).await;
        assert_eq!(response.status(), status, "{path}");
    }
}
