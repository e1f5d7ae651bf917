//! `Authorization` and custom headers as token sources.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, AUTHORIZATION},
};

use super::{Token, TokenErrorKind, encoding};
use crate::error::ConfigError;

/// Headers that the protocol or another token source uses.
const RESERVED: [HeaderName; 11] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::COOKIE,
    header::HOST,
    header::ORIGIN,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
    header::UPGRADE,
];

pub(super) fn parse_name(name: &str) -> Result<HeaderName, ConfigError> {
    HeaderName::from_bytes(name.as_bytes())
        .ok()
        .filter(|name| !RESERVED.contains(name))
        .ok_or_else(|| ConfigError::InvalidHeaderName(name.to_owned()))
}

/// An authentication scheme whose credentials are a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Bearer,
    /// RFC 9449 §7.1.
    #[cfg(feature = "dpop")]
    Dpop,
}

impl Scheme {
    const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            #[cfg(feature = "dpop")]
            Self::Dpop => "DPoP",
        }
    }

    /// The rest after the scheme. `Bearertoken` is another scheme; `Bearer,` is malformed `Bearer`.
    fn strip(self, credentials: &[u8]) -> Option<&[u8]> {
        let (scheme, rest) = credentials.split_at_checked(self.name().len())?;
        let is_complete = rest.first().is_none_or(|&next| !encoding::is_tchar(next));
        (scheme.eq_ignore_ascii_case(self.name().as_bytes()) && is_complete).then_some(rest)
    }
}

/// Finds the bearer token in `Authorization`. `Ok(None)` if the header is absent or has another scheme.
#[cfg(feature = "signals")]
pub(crate) fn find_bearer(headers: &HeaderMap, max_len: usize) -> Result<Option<Token>, TokenErrorKind> {
    Ok(find_credentials(headers, &[Scheme::Bearer], max_len)?.map(|(_, token)| token))
}

/// Finds the token in `Authorization`, and its scheme. `Ok(None)` if the header is absent or has another scheme.
pub(super) fn find_credentials(
    headers: &HeaderMap,
    schemes: &[Scheme],
    max_len: usize,
) -> Result<Option<(Scheme, Token)>, TokenErrorKind> {
    let lines = headers.get_all(AUTHORIZATION);
    let mut iter = lines.iter();
    let Some(first) = iter.next() else { return Ok(None) };
    if iter.next().is_some() {
        // RFC 9110 §5.3: the field is not a list, and a proxy may have checked the other line.
        let has_token = lines.iter().any(|line| contains(line, schemes));
        return if has_token { Err(TokenErrorKind::Repeated) } else { Ok(None) };
    }
    let stripped = schemes.iter().find_map(|&scheme| Some((scheme, scheme.strip(first.as_bytes())?)));
    let Some((scheme, rest)) = stripped else {
        return if contains(first, schemes) { Err(TokenErrorKind::Undecodable) } else { Ok(None) };
    };
    let token = rest.trim_ascii_start();
    if token.is_empty() {
        return Err(TokenErrorKind::Empty);
    }
    if token.len() > max_len {
        return Err(TokenErrorKind::TooLong);
    }
    // RFC 9110 §11.4 allows only spaces as the separator.
    if rest.strip_suffix(token).is_some_and(|gap| gap.iter().any(|&b| b != b' ')) {
        return Err(TokenErrorKind::Undecodable);
    }
    Ok(Some((scheme, encoding::token68(token)?)))
}

/// Whether `Authorization` holds this token as a bearer token.
pub(super) fn has_bearer(headers: &HeaderMap, token: &Token) -> bool {
    let bearers = headers.get_all(AUTHORIZATION).iter().filter_map(|line| Scheme::Bearer.strip(line.as_bytes()));
    bearers.map(<[u8]>::trim_ascii).any(|text| text == token.expose().as_bytes())
}

pub(super) fn find(headers: &HeaderMap, name: &HeaderName, max_len: usize) -> Result<Option<Token>, TokenErrorKind> {
    let mut lines = headers.get_all(name).iter();
    let Some(value) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(TokenErrorKind::Repeated);
    }
    if value.len() > max_len {
        return Err(TokenErrorKind::TooLong);
    }
    encoding::plain(value.as_bytes()).map(Some)
}

/// Whether a line has credentials of these schemes anywhere. The field is not a list, but a proxy may have joined two
/// lines.
fn contains(line: &HeaderValue, schemes: &[Scheme]) -> bool {
    let mut parts = line.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii);
    parts.any(|part| schemes.iter().any(|scheme| scheme.strip(part).is_some()))
}
