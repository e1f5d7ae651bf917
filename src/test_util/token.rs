use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::verify::jwt::{JwtVerifier, JwtVerifierBuilder, provider};

/// The secret of [`verifier`] and [`TestToken::sign`]. It is public: never use it in production.
pub const TEST_SECRET: &[u8] = b"TEST KEY, known to everybody: never use it";

/// A verifier for the tokens of [`TestToken::sign`].
///
/// # Panics
///
/// If no crypto backend is compiled in.
#[must_use]
pub fn verifier<C: DeserializeOwned + Send + Sync + 'static>() -> JwtVerifier<C> {
    JwtVerifier::builder().secret(TEST_SECRET).and_then(JwtVerifierBuilder::build).expect("a crypto backend")
}

/// A JWT for tests, signed with HS256.
///
/// ```
/// use axum_ws_auth::test_util::TestToken;
/// use std::time::Duration;
///
/// let token = TestToken::new("alice").claim("scope", "chat:write").expires_in(Duration::from_secs(60)).sign();
/// assert_eq!(token.split('.').count(), 3);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TestToken {
    claims: Map<String, Value>,
    token_type: Value,
}

impl TestToken {
    /// A token of this subject, issued now and valid for an hour.
    pub fn new(subject: &str) -> Self {
        let now = unix_seconds(SystemTime::now());
        let claims = [("sub", subject.into()), ("iat", now.into()), ("exp", (now + 3600).into())];
        let claims = claims.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect();
        Self { claims, token_type: "JWT".into() }
    }

    /// Sets a claim.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a claim.
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets `exp` to now plus this duration.
    pub fn expires_in(self, duration: Duration) -> Self {
        self.expires_at(SystemTime::now() + duration)
    }

    /// Sets `exp`, in whole seconds.
    pub fn expires_at(self, time: SystemTime) -> Self {
        self.claim("exp", unix_seconds(time))
    }

    /// Sets the `typ` of the header, for tokens that are not access tokens, such as `logout+jwt`. Defaults to `JWT`.
    pub fn token_type(mut self, token_type: &str) -> Self {
        self.token_type = token_type.into();
        self
    }

    /// Signs with [`TEST_SECRET`].
    ///
    /// # Panics
    ///
    /// If no crypto backend is compiled in.
    #[must_use]
    pub fn sign(self) -> String {
        self.sign_with(TEST_SECRET)
    }

    /// Signs with this secret.
    ///
    /// # Panics
    ///
    /// If no crypto backend is compiled in.
    #[must_use]
    pub fn sign_with(self, secret: &[u8]) -> String {
        let message = format!(
            "{}.{}",
            base64url(json!({ "alg": "HS256", "typ": self.token_type }).to_string()),
            base64url(Value::from(self.claims).to_string())
        );
        let provider = provider().expect("a crypto backend");
        let signer =
            (provider.signer_factory)(&Algorithm::HS256, &EncodingKey::from_secret(secret)).expect("an HMAC key");
        let signature = signer.try_sign(message.as_bytes()).expect("HMAC does not fail");
        format!("{message}.{}", base64url(signature))
    }
}

/// Encodes as base64url without padding, for token sources that require it.
#[must_use]
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
