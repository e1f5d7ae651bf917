//! The response of the introspection endpoint, before its content is looked at.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header::CONTENT_TYPE, header::RETRY_AFTER};
use serde::Deserialize;

use super::failure::{Failure, Reason};
use crate::json;

/// The longest answer in bytes. It describes one token.
pub(super) const MAX_LEN: usize = 64 * 1024;

/// An error response (RFC 6749 §5.2).
#[derive(Deserialize)]
struct ErrorBody<'a> {
    #[serde(borrow)]
    error: &'a str,
}

/// The text of a successful response.
pub(super) fn text(response: &Response<Bytes>) -> Result<&str, Failure> {
    if response.body().len() > MAX_LEN {
        return Err(Failure::new(Reason::TooLarge));
    }
    match response.status() {
        StatusCode::OK => str::from_utf8(response.body()).map_err(|_| Failure::malformed("it is not utf-8")),
        status => Err(Failure::new(reason(status, response.body())).with_retry_after(retry_after(response.headers()))),
    }
}

fn reason(status: StatusCode, body: &[u8]) -> Reason {
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Reason::WrongCredentials;
    }
    let error = json::from_object::<ErrorBody<'_>>(body).ok();
    match error.filter(|_| status == StatusCode::BAD_REQUEST).map(|body| body.error) {
        Some("invalid_client" | "unauthorized_client") => Reason::WrongCredentials,
        // RFC 7009 §2.2.1. Some providers do not answer for their own JSON Web Tokens.
        Some("unsupported_token_type") => Reason::UnsupportedToken,
        _ => Reason::Status(status),
    }
}

/// Whether the response has this content type, whatever its parameters.
pub(super) fn has_type(headers: &HeaderMap, expected: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(expected)
}

/// `Retry-After` in seconds. Dates are ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}
