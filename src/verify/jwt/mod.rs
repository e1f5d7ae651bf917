//! JSON Web Tokens (RFC 7519), verified more strictly than [`jsonwebtoken`] does by itself.
//!
//! - What is configured is required: with an issuer or audience set, a token without one, or with one of the wrong JSON
//!   type, is refused. A token that names an audience is refused where none is configured (RFC 7519 §4.1.3).
//! - A token is expired *on* its `exp`, fractions included, and not a second later. There are 30 seconds of leeway by
//!   default. Without `exp` it is refused.
//! - A token is verified only with the algorithm of a configured key: there is no `none`, and no public key is ever an
//!   HMAC secret (RFC 8725 §3.1).
//! - A critical header refuses (RFC 7515 §4.1.11). `jku`, `x5u`, `x5c` and `jwk` in a header are never followed.
//! - A key that is too short, of another curve, private (in PEM or DER), broken, or one for which anybody could sign
//!   does not build.
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
mod key;
mod plain;
mod rules;
mod signature;
mod verifier;

pub use builder::JwtVerifierBuilder;
pub use jsonwebtoken::{Algorithm, jwk::Jwk};
pub use key::JwtKey;
pub use verifier::JwtVerifier;

#[cfg(feature = "test-util")]
pub(crate) use crypto::provider;
pub(crate) use verifier::Checked;
