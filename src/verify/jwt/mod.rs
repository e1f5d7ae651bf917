//! JSON Web Tokens (RFC 7519), verified more strictly than [`jsonwebtoken`] does by itself.
//!
//! - What is configured is required: with an issuer or audience set, a token without one, or with one of the wrong JSON
//!   type, is refused. A token that names an audience is refused where none is configured (RFC 7519 §4.1.3).
//! - A token is expired *on* its `exp`, fractions included, and not a second later. There are 30 seconds of leeway by
//!   default. Without `exp` it is refused.
//! - A token is verified only with the algorithm of a configured key: there is no `none`. A public key that is given as an
//!   HMAC secret does not build, in whatever form it comes (RFC 8725 §2.1). `Ed25519` and `EdDSA` are one algorithm (RFC
//!   9864).
//! - A token that is bound to a key (`cnf`, RFC 7800: DPoP, mutual TLS) is no bearer token, and is refused, unless
//!   [something else checks that](JwtVerifierBuilder::insecure_ignore_cnf).
//! - A token whose `typ` says that it is of another kind, such as `logout+jwt` or `dpop+jwt`, is refused (RFC 8725 §3.11).
//!   Accepted are `JWT`, `at+jwt` and no `typ`, or [what is configured](JwtVerifierBuilder::token_type).
//! - A critical header refuses (RFC 7515 §4.1.11). `jku`, `x5u`, `x5c` and `jwk` in a header are never followed.
//! - A key that is too short, of another curve, private, broken, or one for which anybody could sign does not build.
//!
//! # What issuers write
//!
//! Some issuers write `null` or an empty string for an absent member, and pad base64. This is accepted where it weakens no
//! check:
//!
//! | where | what | is read as |
//! | --- | --- | --- |
//! | header: `kid`, `typ` | `null`, `""` | absent |
//! | header: `alg` | `null`, `""` | refused |
//! | header: `crit` | `null`, `""`, `[]` | refused, as every `crit` is |
//! | header: all others | anything | not read |
//! | claims: `iss`, `sub`, `jti` | `null`, `""` | absent, and refused where it is required |
//! | claims: `aud`, `nbf`, `iat` | `null` | absent, and refused where it is required |
//! | claims: `aud` | `""`, `[]` | present, and naming no audience: refused |
//! | claims: `nbf`, `iat` | `""` | refused: not a number |
//! | claims: `exp` | `null`, `""` | refused, even where `exp` may be absent |
//! | claims: `cnf` | `null`, `""`, `{}` | a token that is bound to a key: refused |
//! | token: each part | padding, the other base64 alphabet, unused bits that are set | refused: one token has one spelling |
//! | token: header and claims | a byte order mark, text that is not UTF-8 | refused (RFC 7515 §5.2, RFC 7519 §7.2) |
//! | [`Jwk`]: `kid`, `alg`, `use`, `d` and its like | `null`, `""` | absent |
//! | [`Jwk`]: `key_ops` | `null` | absent; a list without `verify` refuses |
//! | [`Jwk`]: `n`, `e`, `x`, `y`, `k` | padding, the other base64 alphabet | the same number |
//! | [`Jwk`]: `n`, `e`, and `x`, `y` of an `EC` key | leading zeros too many or too few | the same number |
//!
//! The claims type is deserialized from the same JSON, and decides for itself what `null` means to it. With `()` or a unit
//! struct, the claims are verified and then dropped. A verifier whose claims type can never be read from a JSON object, such
//! as `String`, does not build.
//!
//! # Security advisories
//!
//! With `rust-crypto`, the dependency tree contains the crate `rsa`, so audits report RUSTSEC-2023-0071 (Marvin): the
//! timing of operations with a *private* RSA key can reveal that key. Verification is not affected: it uses public keys
//! only. This crate neither decrypts nor signs, and it refuses private keys. A server that uses `rsa` for nothing else can
//! ignore the advisory. With `aws-lc-rs`, the default, `rsa` is not compiled.
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
//! // No: signed by somebody else.
//! let forged = Token::new(token.sign_with(b"somebody else's thirty-two bytes!"));
//! let error = verifier.verify(VerifyInput::new(&forged, &parts, SystemTime::now())).await.unwrap_err();
//! assert_eq!(error.kind(), VerifyErrorKind::BadSignature);
//!
//! // No: a secret that can be guessed.
//! let weak = JwtVerifier::<Claims>::builder().secret(b"secret");
//! assert!(matches!(weak, Err(ConfigError::WeakKey { .. })));
//! # Ok(()) }
//! ```
//!
//! [`jsonwebtoken`]: https://docs.rs/jsonwebtoken

#[cfg(feature = "jwks")]
mod bound;
mod builder;
mod check;
mod claims;
mod compact;
mod crypto;
mod header;
mod jwk;
mod key;
mod plain;
mod rules;
mod secret;
mod shape;
mod signature;
mod verifier;

pub use builder::JwtVerifierBuilder;
pub use jsonwebtoken::Algorithm;
pub use jwk::Jwk;
pub use key::JwtKey;
pub use verifier::JwtVerifier;

#[cfg(feature = "test-util")]
pub(crate) use crypto::provider;
pub(crate) use verifier::Checked;
