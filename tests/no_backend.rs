//! Without a crypto backend, the builder returns an error and does not panic.

#![cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]

use axum_ws_auth::{
    ConfigError,
    jwt::{JwtKey, JwtVerifier},
};

#[test]
fn builder_reports_the_missing_backend() {
    const PUBLIC_KEY: &str = include_str!("test_keys/ed25519.pub.pem");
    assert_eq!(JwtKey::secret(&[1; 32]).map(|_| ()), Err(ConfigError::NoCryptoBackend));
    assert_eq!(JwtKey::pem(PUBLIC_KEY).map(|_| ()), Err(ConfigError::NoCryptoBackend));
    assert_eq!(JwtVerifier::<()>::builder().build().map(|_| ()), Err(ConfigError::NoCryptoBackend));
    let text = ConfigError::NoCryptoBackend.to_string();
    assert!(text.contains("`aws-lc-rs`") && text.contains("`rust-crypto`"), "{text}");
}
