use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use jsonwebtoken::Algorithm;
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::{
    super::{VerifyError, VerifyErrorKind},
    compact::{Memory, malformed},
};
use crate::token::is_json_object;

/// The members of a JOSE header that are looked at. Others are ignored: `jku`, `x5u`, `x5c` and `jwk` above all.
///
/// In an optional member, `null` and the empty string mean that it is absent: issuers write both.
#[derive(Deserialize)]
pub(super) struct Header {
    alg: String,
    #[serde(default, deserialize_with = "text")]
    kid: Option<String>,
    #[serde(default, deserialize_with = "text")]
    typ: Option<String>,
    /// Present at all, in whatever form, it refuses: no extension is understood here.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

/// The header of a good token. An issuer writes the same one into all of them, until its key changes: so it is not parsed
/// again.
#[derive(Default)]
pub(super) struct LastHeader {
    header: ArcSwapOption<Known>,
    /// Good tokens that had another one.
    others: AtomicU32,
}

struct Known {
    /// As it stands in tokens.
    encoded: Box<str>,
    header: Header,
}

/// A header that was read.
pub(super) struct Read {
    known: Arc<Known>,
    is_last: bool,
}

/// Where several issuers take turns, the last one is not worth keeping each time.
const OTHERS: u32 = 64;

impl LastHeader {
    /// Reads a header as it stands in a token.
    pub(super) fn read(&self, encoded: &str) -> Result<Read, VerifyError> {
        if let Some(last) = &*self.header.load()
            && *last.encoded == *encoded
        {
            return Ok(Read { known: Arc::clone(last), is_last: true });
        }
        let known = Known { encoded: encoded.into(), header: Header::parse(encoded)? };
        Ok(Read { known: Arc::new(known), is_last: false })
    }

    /// The token is good.
    pub(super) fn note(&self, read: Read) {
        if !read.is_last && self.others.fetch_add(1, Ordering::Relaxed).is_multiple_of(OTHERS) {
            self.header.store(Some(read.known));
        }
    }
}

impl Read {
    pub(super) fn header(&self) -> &Header {
        &self.known.header
    }
}

impl Header {
    fn parse(encoded: &str) -> Result<Self, VerifyError> {
        let mut memory = Memory::new();
        // RFC 7515 §5.2, step 3: UTF-8 throughout. The parser does not look at members that are ignored.
        let json = str::from_utf8(memory.decode(encoded)?).map_err(|_| malformed())?;
        if !is_json_object(json.as_bytes()) {
            return Err(malformed());
        }
        let header: Self = serde_json::from_str(json).map_err(|_| malformed())?;
        if header.crit { Err(VerifyError::new(VerifyErrorKind::CriticalHeader)) } else { Ok(header) }
    }

    pub(super) fn algorithm(&self) -> Result<Algorithm, VerifyError> {
        algorithm_named(&self.alg).ok_or(VerifyError::new(VerifyErrorKind::WrongAlgorithm))
    }

    pub(super) fn key_id(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether `typ` is this media type. Case does not matter, and `application/` may be left out (RFC 7515 §4.1.9).
    pub(super) fn is_of_type(&self, media_type: &str) -> bool {
        self.typ.as_ref().is_some_and(|typ| short(typ).eq_ignore_ascii_case(short(media_type)))
    }

    pub(super) const fn has_type(&self) -> bool {
        self.typ.is_some()
    }
}

/// The algorithm of this name in a token or key. `Ed25519` is the name that RFC 9864 gives to what was only `EdDSA` before.
pub(super) fn algorithm_named(name: &str) -> Option<Algorithm> {
    if name == "Ed25519" { Some(Algorithm::EdDSA) } else { name.parse().ok() }
}

fn short(media_type: &str) -> &str {
    const PREFIX: &str = "application/";
    match media_type.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => media_type,
    }
}

/// Whatever it is, it is there.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(deserializer).map(|text| text.filter(|text| !text.is_empty()))
}

// By hand: what an issuer writes there is nobody's business.
impl fmt::Debug for LastHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastHeader").finish_non_exhaustive()
    }
}
