//! Keys that verify JWT signatures, and the crypto backend behind them.

mod crypto;
mod jwk;
mod key;
mod secret;
mod strength;

pub use jsonwebtoken::Algorithm;

pub(crate) use crypto::provider;
pub use jwk::Jwk;
pub use key::JwtKey;

/// Parses an `alg` value. RFC 9864 renames `EdDSA` on this curve to `Ed25519`; both names mean the same algorithm here.
pub(super) fn algorithm_named(name: &str) -> Option<Algorithm> {
    if name == "Ed25519" { Some(Algorithm::EdDSA) } else { name.parse().ok() }
}
