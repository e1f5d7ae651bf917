//! Checks that a key is well-formed and strong enough for its algorithm.

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};

use super::{crypto, secret::resembles_key};
use crate::error::ConfigError;

/// Returns an error if the key cannot be used with the algorithm.
pub(super) fn check(algorithm: Algorithm, key: &DecodingKey) -> Result<(), ConfigError> {
    if crypto::provider().is_none() {
        return Err(ConfigError::NoCryptoBackend);
    }
    if key.family() != algorithm.family() {
        return Err(mismatch(algorithm));
    }
    match algorithm.family() {
        AlgorithmFamily::Hmac => check_secret(algorithm, key),
        AlgorithmFamily::Rsa => check_rsa(algorithm, key),
        AlgorithmFamily::Ec => check_ec(algorithm, key),
        AlgorithmFamily::Ed => check_ed(key),
    }
}

fn check_secret(algorithm: Algorithm, key: &DecodingKey) -> Result<(), ConfigError> {
    let minimum = match algorithm {
        Algorithm::HS384 => 384,
        Algorithm::HS512 => 512,
        _ => 256,
    };
    let secret = bytes_of(key)?;
    check_len(minimum, secret.len() * 8, algorithm)?;
    if resembles_key(secret) {
        return Err(invalid(
            "it is not a secret but a public or private key, a certificate or a URL; see `pem`, `der` and `jwk`",
        ));
    }
    Ok(())
}

fn check_rsa(algorithm: Algorithm, key: &DecodingKey) -> Result<(), ConfigError> {
    let (n, e) = match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => (n.clone(), e.clone()),
        DecodingKeyKind::SecretOrDer(der) => {
            let provider = crypto::provider().ok_or(ConfigError::NoCryptoBackend)?;
            (provider.key_utils.rsa_pub_components_from_public_key)(der)
                .map_err(|_| invalid("it is not a well-formed RSA public key"))?
        }
    };
    let bits = bit_length(&n);
    check_len(2048, bits, algorithm)?;
    if bits > crypto::MAX_RSA_BITS {
        return Err(invalid("its modulus is longer than the crypto backend supports"));
    }
    // With an exponent of one, every signature is valid. RSA exponents are odd, and the backends support up to 33 bits.
    if !(2..=33).contains(&bit_length(&e))
        || e.last().is_none_or(|last| last % 2 == 0)
        || n.last().is_none_or(|last| last % 2 == 0)
    {
        return Err(invalid("it is not a well-formed RSA public key"));
    }
    Ok(())
}

fn check_ed(key: &DecodingKey) -> Result<(), ConfigError> {
    let bytes = bytes_of(key)?;
    // The backends would read past the end of a shorter key, and ignore the rest of a longer one.
    let Ok(point) = <[u8; 32]>::try_from(bytes) else { return Err(invalid("it is not 32 bytes long")) };
    if has_small_order(point) {
        return Err(invalid("its point has small order: anyone could forge signatures"));
    }
    Ok(())
}

/// Whether a point of Curve25519 has an order of eight or less, in any encoding (RFC 8032 §5.1.7, RFC 7748 §7).
///
/// For such a key, one signature can be constructed that is valid for every message.
fn has_small_order(mut point: [u8; 32]) -> bool {
    // The order does not depend on the sign of x.
    point[31] &= 0x7f;
    SMALL_ORDER.contains(&point)
}

/// The y coordinates of these points: 0, 1, p - 1, p (also 0), p + 1 (also 1), and the two of order eight.
const SMALL_ORDER: [[u8; 32]; 7] = [
    coordinate(0x00, 0x00, 0x00),
    coordinate(0x01, 0x00, 0x00),
    coordinate(0xec, 0xff, 0x7f),
    coordinate(0xed, 0xff, 0x7f),
    coordinate(0xee, 0xff, 0x7f),
    *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05",
    *b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a",
];

const fn coordinate(first: u8, fill: u8, last: u8) -> [u8; 32] {
    let mut bytes = [fill; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

fn check_ec(algorithm: Algorithm, key: &DecodingKey) -> Result<(), ConfigError> {
    if ec_algorithm(key)? == algorithm { Ok(()) } else { Err(mismatch(algorithm)) }
}

/// The algorithm of the key's curve, inferred from the length of its uncompressed point (SEC 1 §2.3.3).
pub(super) fn ec_algorithm(key: &DecodingKey) -> Result<Algorithm, ConfigError> {
    match bytes_of(key)? {
        [4, xy @ ..] if xy.len() == 64 => Ok(Algorithm::ES256),
        [4, xy @ ..] if xy.len() == 96 => Ok(Algorithm::ES384),
        _ => Err(invalid("its curve is neither P-256 nor P-384, or its point is compressed")),
    }
}

/// A big-endian number without its leading zeros.
pub(super) fn significant(big_endian: &[u8]) -> &[u8] {
    let first = big_endian.iter().position(|&b| b != 0);
    first.and_then(|first| big_endian.get(first..)).unwrap_or_default()
}

fn bytes_of(key: &DecodingKey) -> Result<&[u8], ConfigError> {
    key.try_get_as_bytes().map_err(|_| invalid("it has no bytes"))
}

fn bit_length(big_endian: &[u8]) -> usize {
    let bytes = significant(big_endian);
    bytes.len() * 8 - bytes.first().map_or(0, |first| first.leading_zeros() as usize)
}

fn check_len(minimum: usize, bits: usize, algorithm: Algorithm) -> Result<(), ConfigError> {
    if bits < minimum {
        return Err(ConfigError::WeakKey { algorithm: name_of(algorithm), bits, minimum });
    }
    Ok(())
}

fn mismatch(algorithm: Algorithm) -> ConfigError {
    ConfigError::AlgorithmMismatch { algorithm: name_of(algorithm) }
}

fn name_of(algorithm: Algorithm) -> String {
    format!("{algorithm:?}")
}

pub(super) const fn invalid(problem: &'static str) -> ConfigError {
    ConfigError::InvalidKey { problem }
}
