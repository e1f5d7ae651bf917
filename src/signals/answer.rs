//! The answers to notices.

use axum::{body::Body, response::Response};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::json;

use super::SignalError;
use crate::time::wait_seconds;

/// Not to be cached: a cached answer would take the place of the next log-out.
pub(super) fn empty(status: StatusCode) -> Response {
    with_body(status, Body::empty())
}

/// An error document (RFC 6749 §5.2). The description names no value of the notice.
pub(super) fn refusal(status: StatusCode, code: &'static str, error: SignalError) -> Response {
    let document = json!({ "error": code, "error_description": error.to_string() });
    let mut response = with_body(status, document.to_string().into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(retry_after) = error.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait_seconds(retry_after)));
    }
    response.extensions_mut().insert(error);
    response
}

fn with_body(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
