//! Which crypto backend is in use, and what differs between the two.
//!
//! jsonwebtoken has a process-wide provider that panics in the first request where cargo has unified features so that
//! neither or both of its backends are compiled in. So it is not used: the backend is the one that this crate's own
//! features name, and is called directly.

use jsonwebtoken::{Algorithm, crypto::CryptoProvider};

#[cfg(feature = "aws-lc-rs")]
mod backend {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
    use jsonwebtoken::Algorithm;

    use super::CryptoProvider;

    pub(super) const PROVIDER: Option<&'static CryptoProvider> = Some(&jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER);
    pub(super) const MAX_RSA_BITS: usize = 8192;

    /// jsonwebtoken parses the key at each verification, so that a point off the curve would be noticed by nobody:
    /// every signature would just be bad.
    pub(super) fn is_point_on_curve(algorithm: Algorithm, point: &[u8]) -> bool {
        let parsed = match algorithm {
            Algorithm::ES256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point),
            Algorithm::ES384 => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point),
            // aws-lc looks at these bytes at each verification only. With a point off the curve, none succeeds.
            Algorithm::EdDSA => return true,
            _ => return false,
        };
        parsed.is_ok()
    }
}

#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
mod backend {
    use jsonwebtoken::{Algorithm, DecodingKey};

    use super::CryptoProvider;

    pub(super) const PROVIDER: Option<&'static CryptoProvider> =
        Some(&jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER);
    pub(super) const MAX_RSA_BITS: usize = 4096;

    /// Making the verifier parses the key.
    pub(super) fn is_point_on_curve(algorithm: Algorithm, point: &[u8]) -> bool {
        let key = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_der(point),
            Algorithm::EdDSA => DecodingKey::from_ed_der(point),
            _ => return false,
        };
        let provider = &jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
        (provider.verifier_factory)(&algorithm, &key).is_ok()
    }
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod backend {
    use jsonwebtoken::Algorithm;

    use super::CryptoProvider;

    pub(super) const PROVIDER: Option<&'static CryptoProvider> = None;
    pub(super) const MAX_RSA_BITS: usize = 0;

    pub(super) const fn is_point_on_curve(_: Algorithm, _: &[u8]) -> bool {
        false
    }
}

/// The backend, if one is compiled in.
pub(crate) const fn provider() -> Option<&'static CryptoProvider> {
    backend::PROVIDER
}

/// The longest RSA modulus that the backend verifies with.
pub(super) const MAX_RSA_BITS: usize = backend::MAX_RSA_BITS;

/// Whether these bytes are a point on the curve of the algorithm.
pub(super) fn is_point_on_curve(algorithm: Algorithm, point: &[u8]) -> bool {
    backend::is_point_on_curve(algorithm, point)
}
