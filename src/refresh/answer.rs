//! The answers to a refresh: JSON, or a problem document (RFC 9457).

use std::time::Duration;

use axum::{body::Body, response::Response};
use http::{
    HeaderValue, StatusCode, Version,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::json;

use crate::{handshake::Pipeline, session::RefreshReply, time::wait_seconds, verify::VerifyError};

const UNKNOWN: &str =
    r#"{"title":"Not Found","status":404,"detail":"there is no such session","error":"unknown_session"}"#;
const IN_PROGRESS: &str =
    r#"{"title":"Conflict","status":409,"detail":"another refresh came first","error":"refresh_in_progress"}"#;
const TOO_MANY: &str =
    r#"{"title":"Too Many Requests","status":429,"detail":"there are too many refreshes","error":"too_many_attempts"}"#;

pub(super) fn of(reply: &RefreshReply, pipeline: &Pipeline, version: Version) -> Response {
    let refused = |error| pipeline.respond(pipeline.rejection(error, version));
    match reply {
        RefreshReply::Refreshed { expires_in } => {
            json(StatusCode::OK, json!({ "expires_in": expires_in.map(|left| left.as_secs()) }).to_string())
        }
        RefreshReply::Unknown => problem(StatusCode::NOT_FOUND, UNKNOWN),
        RefreshReply::Invalid => refused(VerifyError::invalid()),
        RefreshReply::Insufficient { scope: Some(scope) } => refused(VerifyError::insufficient_scope(scope.clone())),
        RefreshReply::Insufficient { scope: None } => refused(VerifyError::forbidden()),
        RefreshReply::InsufficientAuthentication { acr_values, max_age } => {
            let error = VerifyError::insufficient_user_authentication();
            let error = acr_values.iter().fold(error, |error, values| error.with_acr_values(values.clone()));
            refused(max_age.iter().fold(error, |error, age| error.with_max_age(*age)))
        }
        RefreshReply::InProgress => problem(StatusCode::CONFLICT, IN_PROGRESS),
        RefreshReply::TooManyAttempts { retry_after } => {
            with_retry_after(problem(StatusCode::TOO_MANY_REQUESTS, TOO_MANY), *retry_after)
        }
        RefreshReply::Unavailable { retry_after } => refused(VerifyError::unavailable(*retry_after)),
    }
}

fn problem(status: StatusCode, body: &'static str) -> Response {
    response(status, "application/problem+json", body)
}

pub(super) fn json(status: StatusCode, body: String) -> Response {
    response(status, "application/json", body)
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn with_retry_after(mut response: Response, retry_after: Option<Duration>) -> Response {
    if let Some(retry_after) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait_seconds(retry_after)));
    }
    response
}
