use std::{
    fmt, iter,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::compact::{DecodeBuffer, malformed};
use crate::{
    json,
    verify::{
        VerifyError, VerifyErrorKind,
        keys::{Algorithm, JwtKey, algorithm_named},
    },
};

/// The members of a JOSE header that are read. All others are ignored, notably `jku`, `x5u`, `x5c` and `jwk`.
///
/// In an optional member, `null` and the empty string count as absent, because issuers write both.
#[derive(Deserialize)]
pub(super) struct Header {
    alg: String,
    #[serde(default, deserialize_with = "non_empty_string")]
    kid: Option<String>,
    #[serde(default, deserialize_with = "non_empty_string")]
    typ: Option<String>,
    /// Any `crit` is refused, whatever its value: no extension is supported.
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
}

/// Caches one parsed header. An issuer writes the same header into all its tokens until its key changes.
#[derive(Default)]
pub(super) struct HeaderCache {
    cached: ArcSwapOption<ParsedHeader>,
    /// How many valid tokens had another header.
    misses: AtomicU32,
}

struct ParsedHeader {
    encoded: Box<str>,
    header: Header,
}

/// A header, and whether it came from the cache.
pub(super) struct CachedHeader {
    parsed: Arc<ParsedHeader>,
    is_hit: bool,
}

/// One in so many misses replaces the cached header. If several issuers alternate, replacing it each time is wasted
/// work.
const MISSES_PER_UPDATE: u32 = 64;

impl HeaderCache {
    /// Returns the header of a token, parsed now or before.
    pub(super) fn get(&self, encoded: &str) -> Result<CachedHeader, VerifyError> {
        if let Some(cached) = &*self.cached.load()
            && *cached.encoded == *encoded
        {
            return Ok(CachedHeader { parsed: Arc::clone(cached), is_hit: true });
        }
        let parsed = ParsedHeader { encoded: encoded.into(), header: Header::parse(encoded)? };
        Ok(CachedHeader { parsed: Arc::new(parsed), is_hit: false })
    }

    /// Stores the header of a valid token. Only these are cached, so that forged tokens cannot replace the header.
    pub(super) fn store(&self, header: CachedHeader) {
        if !header.is_hit && self.misses.fetch_add(1, Ordering::Relaxed).is_multiple_of(MISSES_PER_UPDATE) {
            self.cached.store(Some(header.parsed));
        }
    }
}

impl CachedHeader {
    pub(super) fn header(&self) -> &Header {
        &self.parsed.header
    }
}

impl Header {
    fn parse(encoded: &str) -> Result<Self, VerifyError> {
        let mut buffer = DecodeBuffer::new();
        // RFC 7515 §5.2, steps 3 and 4.
        let header: Self = json::from_object(buffer.decode(encoded)?).map_err(|_| malformed())?;
        if header.crit { Err(VerifyError::new(VerifyErrorKind::CriticalHeader)) } else { Ok(header) }
    }

    pub(super) fn algorithm(&self) -> Result<Algorithm, VerifyError> {
        algorithm_named(&self.alg).ok_or_else(|| self.wrong_algorithm(iter::empty()))
    }

    /// The error of a token whose algorithm none of these keys is for.
    pub(super) fn wrong_algorithm<'a>(&self, keys: impl Iterator<Item = &'a JwtKey>) -> VerifyError {
        VerifyError::new(VerifyErrorKind::WrongAlgorithm).with_compared(|| {
            let algorithms: Vec<_> = keys.map(JwtKey::algorithm_name).collect();
            (algorithms.join(", "), self.alg.clone())
        })
    }

    /// The error of a token whose key is none of these.
    pub(super) fn unknown_key<'a>(&self, keys: impl Iterator<Item = &'a JwtKey>) -> VerifyError {
        VerifyError::new(VerifyErrorKind::UnknownKey).with_compared(|| {
            let ids: Vec<_> = keys.map(|key| key.id().unwrap_or("none")).collect();
            (ids.join(", "), self.key_id().unwrap_or("none").to_owned())
        })
    }

    pub(super) fn key_id(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether `typ` is this media type. Case-insensitive, with or without `application/` (RFC 7515 §4.1.9).
    pub(super) fn has_type(&self, media_type: &str) -> bool {
        self.typ.as_ref().is_some_and(|typ| subtype(typ).eq_ignore_ascii_case(subtype(media_type)))
    }

    pub(super) fn token_type(&self) -> Option<&str> {
        self.typ.as_deref()
    }
}

/// The media type without `application/`.
fn subtype(media_type: &str) -> &str {
    const PREFIX: &str = "application/";
    match media_type.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => media_type,
    }
}

/// Deserializes any value of a member as `true`.
pub(super) fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn non_empty_string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(deserializer).map(|text| text.filter(|text| !text.is_empty()))
}

// By hand: a cache is not shared. Another one begins empty.
impl Clone for HeaderCache {
    fn clone(&self) -> Self {
        Self::default()
    }
}

// By hand: a derive would print the header of a token.
impl fmt::Debug for HeaderCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderCache").finish_non_exhaustive()
    }
}
