//! The crypto backend that this crate's features select.
//!
//! jsonwebtoken has a process-wide provider. If feature unification compiles in neither or both of its backends, that
//! provider panics in the first request. So this module calls the selected backend directly.

use jsonwebtoken::{Algorithm, DecodingKey, crypto::CryptoProvider};

use crate::error::ConfigError;

#[cfg(feature = "aws-lc-rs")]
mod backend {
    use aws_lc_rs::{
        hmac,
        signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents},
    };
    use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};

    use super::CryptoProvider;

    pub(super) const PROVIDER: Option<&'static CryptoProvider> = Some(&jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER);
    pub(super) const MAX_RSA_BITS: usize = 8192;

    /// A parsed key. jsonwebtoken parses one for each verification, which dominates the cost of `HS256`.
    #[derive(Clone)]
    pub(super) enum Prepared {
        Secret(Box<hmac::Key>),
        Public(ParsedPublicKey),
    }

    impl Prepared {
        pub(super) fn new(algorithm: Algorithm, key: &DecodingKey) -> Option<Self> {
            let secret = |hash| Some(Self::Secret(Box::new(hmac::Key::new(hash, key.try_get_as_bytes().ok()?))));
            let rsa = |parameters| prepare_rsa(parameters, key).map(Self::Public);
            match algorithm {
                Algorithm::HS256 => secret(hmac::HMAC_SHA256),
                Algorithm::HS384 => secret(hmac::HMAC_SHA384),
                Algorithm::HS512 => secret(hmac::HMAC_SHA512),
                Algorithm::RS256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
                Algorithm::RS384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
                Algorithm::RS512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
                Algorithm::PS256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
                Algorithm::PS384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
                Algorithm::PS512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
                Algorithm::ES256 => public(&signature::ECDSA_P256_SHA256_FIXED, key),
                Algorithm::ES384 => public(&signature::ECDSA_P384_SHA384_FIXED, key),
                // aws-lc checks these bytes only when it verifies. If the point is off the curve, every verification
                // fails.
                Algorithm::EdDSA => public(&signature::ED25519, key),
                _ => None,
            }
        }

        pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
            match self {
                Self::Secret(key) => hmac::verify(key, message, signature).is_ok(),
                Self::Public(key) => key.verify_sig(message, signature).is_ok(),
            }
        }
    }

    fn public(algorithm: &'static dyn signature::VerificationAlgorithm, key: &DecodingKey) -> Option<Prepared> {
        ParsedPublicKey::new(algorithm, key.try_get_as_bytes().ok()?).ok().map(Prepared::Public)
    }

    fn prepare_rsa(parameters: &'static RsaParameters, key: &DecodingKey) -> Option<ParsedPublicKey> {
        match key.kind() {
            DecodingKeyKind::SecretOrDer(der) => ParsedPublicKey::new(parameters, der).ok(),
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters).ok()
            }
        }
    }
}

#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
mod backend {
    use jsonwebtoken::{Algorithm, DecodingKey};

    use super::CryptoProvider;

    pub(super) const PROVIDER: Option<&'static CryptoProvider> =
        Some(&jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER);
    pub(super) const MAX_RSA_BITS: usize = 4096;

    /// Verifiers of this backend are not `Send`, so each verification makes a new one.
    #[derive(Clone)]
    pub(super) struct Prepared {
        algorithm: Algorithm,
        key: DecodingKey,
    }

    impl Prepared {
        pub(super) fn new(algorithm: Algorithm, key: &DecodingKey) -> Option<Self> {
            // This parses the key.
            (jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.verifier_factory)(&algorithm, key).ok()?;
            Some(Self { algorithm, key: key.clone() })
        }

        pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
            let provider = &jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
            (provider.verifier_factory)(&self.algorithm, &self.key)
                .is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
        }
    }
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod backend {
    use jsonwebtoken::{Algorithm, DecodingKey};

    use super::CryptoProvider;

    pub(super) const PROVIDER: Option<&'static CryptoProvider> = None;
    pub(super) const MAX_RSA_BITS: usize = 0;

    /// Never constructed: there is no backend.
    #[derive(Clone)]
    pub(super) enum Prepared {}

    impl Prepared {
        pub(super) const fn new(_: Algorithm, _: &DecodingKey) -> Option<Self> {
            None
        }

        pub(super) const fn verifies(&self, _: &[u8], _: &[u8]) -> bool {
            match *self {}
        }
    }
}

/// The backend, if one is compiled in.
pub(crate) const fn provider() -> Option<&'static CryptoProvider> {
    backend::PROVIDER
}

/// The longest RSA modulus that the backend supports.
pub(super) const MAX_RSA_BITS: usize = backend::MAX_RSA_BITS;

/// A key that the backend has parsed.
#[derive(Clone)]
pub(super) struct Prepared(backend::Prepared);

impl Prepared {
    /// Parses a key that passed [`check`](super::strength::check). The remaining error is a point that is not on its
    /// curve.
    pub(super) fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, ConfigError> {
        backend::Prepared::new(algorithm, key).map(Self).ok_or(ConfigError::InvalidKey {
            problem: "its point is not on its curve, or the crypto backend does not take it",
        })
    }

    /// Whether this key made the signature over the message.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verifies(message, signature)
    }
}
