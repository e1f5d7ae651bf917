use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    super::{VerifyError, VerifyErrorKind},
    claims::{Text, some},
};
use crate::token::is_json_object;

/// A JWS in compact form (RFC 7515 §7.1), cut into its parts.
pub(super) struct Compact<'a> {
    header: &'a str,
    pub(super) payload: &'a str,
    signature: &'a str,
    /// What is signed: the header and the payload with the dot between them.
    pub(super) signed: &'a [u8],
}

/// The members of a JOSE header that are looked at. Others are ignored: `jku`, `x5u`, `x5c` and `jwk` above all.
#[derive(Deserialize)]
pub(super) struct Header<'a> {
    #[serde(borrow)]
    alg: Text<'a>,
    #[serde(borrow, default, deserialize_with = "some")]
    kid: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "some")]
    typ: Option<Text<'a>>,
    /// Present at all, in whatever form, it refuses: no extension is understood here.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

impl<'a> Compact<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, VerifyError> {
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(VerifyError::new(VerifyErrorKind::Malformed));
        };
        let signed = token.as_bytes().get(..header.len() + 1 + payload.len()).unwrap_or_default();
        Ok(Self { header, payload, signature, signed })
    }

    pub(super) fn header_json(&self) -> Result<Vec<u8>, VerifyError> {
        decode(self.header)
    }

    pub(super) fn signature(&self) -> Result<Vec<u8>, VerifyError> {
        decode(self.signature)
    }
}

impl<'a> Header<'a> {
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, VerifyError> {
        let malformed = || VerifyError::new(VerifyErrorKind::Malformed);
        if !is_json_object(json) {
            return Err(malformed());
        }
        let header: Self = serde_json::from_slice(json).map_err(|_| malformed())?;
        if header.crit { Err(VerifyError::new(VerifyErrorKind::CriticalHeader)) } else { Ok(header) }
    }

    pub(super) fn algorithm(&self) -> Result<Algorithm, VerifyError> {
        self.alg.0.parse().map_err(|_| VerifyError::new(VerifyErrorKind::WrongAlgorithm))
    }

    pub(super) fn key_id(&self) -> Option<&str> {
        self.kid.as_ref().map(|kid| kid.0.as_ref())
    }

    /// Whether `typ` is the media type required, which is compared without regard to case and may leave out
    /// `application/` (RFC 7515 §4.1.9).
    pub(super) fn is_of_type(&self, required: &str) -> bool {
        self.typ.as_ref().is_some_and(|typ| short(&typ.0).eq_ignore_ascii_case(short(required)))
    }
}

fn short(media_type: &str) -> &str {
    const PREFIX: &str = "application/";
    match media_type.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => media_type,
    }
}

/// Base64url without padding, and in its one canonical form.
pub(super) fn decode(part: &str) -> Result<Vec<u8>, VerifyError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| VerifyError::new(VerifyErrorKind::Malformed))
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}
