//! Which crypto backend is in use, and what differs between the two.
//!
//! jsonwebtoken has a process-wide provider that panics in the first request where cargo has unified features so that
//! neither or both of its backends are compiled in. So it is not used: the backend is the one that this crate's own
//! features name, and is called directly.

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

    /// jsonwebtoken makes one of these for each verification, which is much of the work of `HS256`.
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
                // aws-lc looks at these bytes at each verification only. With a point off the curve, none succeeds.
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

    /// A verifier is made for each verification, because they are not `Send`.
    #[derive(Clone)]
    pub(super) struct Prepared {
        algorithm: Algorithm,
        key: DecodingKey,
    }

    impl Prepared {
        pub(super) fn new(algorithm: Algorithm, key: &DecodingKey) -> Option<Self> {
            // Making one parses the key.
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

    /// There is none.
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

/// The longest RSA modulus that the backend verifies with.
pub(super) const MAX_RSA_BITS: usize = backend::MAX_RSA_BITS;

/// A key that the backend has parsed, and need not parse again.
#[derive(Clone)]
pub(super) struct Prepared(backend::Prepared);

impl Prepared {
    /// Parses a key that was [checked](super::check::check). What is left to find is a point that is not on its curve.
    pub(super) fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, ConfigError> {
        backend::Prepared::new(algorithm, key).map(Self).ok_or(ConfigError::InvalidKey {
            problem: "its point is not on its curve, or the crypto backend does not take it",
        })
    }

    /// Whether the signature over the message is this key's.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verifies(message, signature)
    }
}
