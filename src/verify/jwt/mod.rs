//! JSON Web Tokens (RFC 7519), verified more strictly than [`jsonwebtoken`] does by default.
//!
//! - What is configured is required. If an issuer or audience is set, a token without one, or with one of the wrong
//!   JSON type, is refused. If no audience is set, a token with an audience is refused (RFC 7519 §4.1.3).
//! - A token expires *at* its `exp`, fractions included, plus 30 seconds of leeway by default. A token without `exp` is
//!   refused.
//! - A token is verified only with the algorithm of a configured key; `none` is never accepted. A public key in any
//!   format is rejected as an HMAC secret (RFC 8725 §2.1). `Ed25519` and `EdDSA` are the same algorithm (RFC 9864).
//! - A token that is bound to a key (`cnf`, RFC 7800: DPoP, mutual TLS) is not a bearer token. It is refused unless
//!   [`Dpop`](crate::Dpop) or [something else checks the binding](JwtVerifierBuilder::insecure_ignore_cnf).
//! - A token with the `typ` of another kind of token, such as `logout+jwt` or `dpop+jwt`, is refused (RFC 8725 §3.11).
//!   `JWT`, `at+jwt` and a missing `typ` are accepted, or [what is configured](JwtVerifierBuilder::token_type).
//! - A token with a critical header is refused (RFC 7515 §4.1.11). `jku`, `x5u`, `x5c` and `jwk` in a header are
//!   ignored.
//! - A key that is too short, private, malformed, on an unsupported curve, or allows forgeries is rejected at build
//!   time.
//!
//! # Lenient parsing
//!
//! Some issuers write `null` or an empty string for an absent member, and pad base64. This is accepted where it does
//! not weaken a check:
//!
//! | where | what | is read as |
//! | --- | --- | --- |
//! | header: `kid`, `typ` | `null`, `""` | absent |
//! | header: `alg` | `null`, `""` | refused |
//! | header: `crit` | `null`, `""`, `[]` | refused, as any `crit` |
//! | header: all others | anything | ignored |
//! | claims: `iss`, `sub`, `jti`, `sid` | `null`, `""` | absent; refused if required |
//! | claims: `sub`, `jti` | an integer | refused, or [its decimal text](JwtVerifierBuilder::integer_ids) |
//! | claims: `aud`, `nbf`, `iat` | `null` | absent; refused if required |
//! | claims: `aud` | `""`, `[]` | present without a matching audience: refused |
//! | claims: `nbf`, `iat` | `""` | refused: not a number |
//! | claims: `exp` | `null`, `""` | refused, even if `exp` may be absent |
//! | claims: `cnf` | `null`, `""`, `{}` | a token that is bound to a key: refused |
//! | token: each part | padding, the other base64 alphabet, unused bits that are set | refused: not canonical |
//! | token: header and claims | a byte order mark, text that is not UTF-8 | refused (RFC 7515 §5.2, RFC 7519 §7.2) |
//! | [`Jwk`]: `kid`, `alg`, `use`, `d` and the other private members | `null`, `""` | absent |
//! | [`Jwk`]: `key_ops` | `null` | absent; a list without `verify` is refused |
//! | [`Jwk`]: `n`, `e`, `x`, `y`, `k` | padding, the other base64 alphabet | the same number |
//! | [`Jwk`]: `n`, `e`, and `x`, `y` of an `EC` key | too many or too few leading zeros | the same number |
//!
//! The claims type is deserialized from the same JSON, and handles `null` in its own way. With `()` or a unit struct,
//! the claims are verified and then dropped. A claims type that can never be deserialized from a JSON object, such as
//! `String`, is rejected at build time.
//!
//! # Security advisories
//!
//! With `rust-crypto`, the dependency tree contains the crate `rsa`, so audits report RUSTSEC-2023-0071 (Marvin): the
//! timing of operations with a *private* RSA key can reveal that key. Verification is not affected: it uses public keys
//! only. This crate neither decrypts nor signs, and it refuses private keys. A server that uses `rsa` for nothing else
//! can ignore the advisory. With `aws-lc-rs`, the default, `rsa` is not compiled.
//!
//! # Example
//!
//! ```
//! use axum_ws_auth::{ConfigError, Token, Verifier, VerifyErrorKind, VerifyInput, jwt::JwtVerifier};
//! use axum_ws_auth::test_util::{TestToken, handshake};
//! use std::time::SystemTime;
//!
//! #[derive(serde::Deserialize)]
//! struct Claims { sub: String }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = JwtVerifier::<Claims>::builder()
//!     .secret(b"at least thirty-two bytes of secret")?
//!     .issuer("https://id.example.com")
//!     .audience("chat")
//!     .build()?;
//! let token = TestToken::new("alice").claim("iss", "https://id.example.com").claim("aud", "chat");
//! let (parts, _) = handshake().build().into_parts();
//!
//! // Yes.
//! let good = Token::new(token.clone().sign_with(b"at least thirty-two bytes of secret"));
//! let verified = verifier.verify(VerifyInput::new(&good, &parts, SystemTime::now())).await?;
//! assert_eq!(verified.claims.sub, "alice");
//!
//! // No: signed with another secret.
//! let forged = Token::new(token.sign_with(b"another secret of thirty-two bytes"));
//! let error = verifier.verify(VerifyInput::new(&forged, &parts, SystemTime::now())).await.unwrap_err();
//! assert_eq!(error.kind(), VerifyErrorKind::BadSignature);
//!
//! // No: a secret that is short enough to guess.
//! let weak = JwtVerifier::<Claims>::builder().secret(b"secret");
//! assert!(matches!(weak, Err(ConfigError::WeakKey { .. })));
//! # Ok(()) }
//! ```
//!
//! [`jsonwebtoken`]: https://docs.rs/jsonwebtoken

#[cfg(feature = "jwks")]
mod alb;
mod build;
mod builder;
mod claims;
mod claims_type;
mod compact;
mod failure;
mod header;
mod id;
#[cfg(feature = "introspection")]
mod introspected;
#[cfg(feature = "jwks")]
mod issuer;
mod json;
mod rules;
mod signature;
mod verifier;

pub use super::keys::{Algorithm, Jwk, JwtKey};
#[cfg(feature = "dpop")]
pub(crate) use super::keys::{MacKey, algorithm_named};
#[cfg(feature = "jwks")]
pub use alb::{AlbVerifier, AlbVerifierBuilder};
pub use builder::JwtVerifierBuilder;
pub use verifier::JwtVerifier;

#[cfg(feature = "test-util")]
pub(crate) use super::keys::provider;
pub(crate) use failure::Refusal;
pub(crate) use rules::KeyGeneration;
#[cfg(feature = "signals")]
pub(crate) use verifier::TokenKind;
pub(crate) use verifier::VerifiedToken;
