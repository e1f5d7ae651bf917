//! Keys that verify JWT signatures, and the crypto backend behind them.

mod crypto;
mod jwk;
mod key;
#[cfg(feature = "dpop")]
mod mac;
mod secret;
mod strength;
#[cfg(feature = "dpop")]
mod thumbprint;

pub use jsonwebtoken::Algorithm;

pub(crate) use crypto::provider;
#[cfg(feature = "dpop")]
pub(crate) use mac::MacKey;

pub use jwk::Jwk;
#[cfg(feature = "jwks")]
pub(crate) use jwk::wipe;
pub use key::JwtKey;

/// Parses an `alg` value. RFC 9864 renames `EdDSA` on this curve to `Ed25519`; both names mean the same algorithm here.
pub(crate) fn algorithm_named(name: &str) -> Option<Algorithm> {
    if name == "Ed25519" { Some(Algorithm::EdDSA) } else { name.parse().ok() }
}
