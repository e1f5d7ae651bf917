//! The endpoint `{hub}/refresh` of ASP.NET Core SignalR 11.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use serde_json::json;

use super::answer::{json, with_retry_after};
use crate::{
    rejection::{Rejection, RejectionKind},
    session::RefreshReply,
};

/// Clients hold the lifetime in 32 bits.
const MAX_LIFETIME: u64 = i32::MAX as u64;

/// The text of the parameter `id`, unless it is missing or empty.
pub(super) fn session(uri: &Uri) -> Option<String> {
    let mut pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    let (_, id) = pairs.find(|(name, _)| name == "id")?;
    (!id.is_empty()).then(|| id.into_owned())
}

pub(super) fn missing_id() -> Response {
    error(StatusCode::BAD_REQUEST, "missing_connection_token")
}

pub(super) fn answer(reply: &RefreshReply) -> Response {
    match reply {
        RefreshReply::Refreshed { expires_in: None } => json(StatusCode::OK, "{}".to_owned()),
        RefreshReply::Refreshed { expires_in: Some(left) } => {
            json(StatusCode::OK, json!({ "tokenLifetimeSeconds": left.as_secs().min(MAX_LIFETIME) }).to_string())
        }
        RefreshReply::Unknown => error(StatusCode::NOT_FOUND, "connection_not_found"),
        RefreshReply::Invalid => error(StatusCode::UNAUTHORIZED, "invalid_token"),
        RefreshReply::Insufficient { .. } => error(StatusCode::FORBIDDEN, "permission_change_rejected"),
        RefreshReply::InsufficientAuthentication { .. } => {
            error(StatusCode::UNAUTHORIZED, RejectionKind::InsufficientUserAuthentication.as_str())
        }
        RefreshReply::InProgress => error(StatusCode::CONFLICT, "refresh_in_progress"),
        RefreshReply::TooManyAttempts { retry_after: None } => error(StatusCode::NOT_FOUND, "refresh_disabled"),
        RefreshReply::TooManyAttempts { retry_after } => {
            with_retry_after(error(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"), *retry_after)
        }
        RefreshReply::Unavailable { retry_after } => {
            with_retry_after(error(StatusCode::SERVICE_UNAVAILABLE, "unavailable"), Some(*retry_after))
        }
    }
}

/// The standard status and headers of a rejection, and SignalR's body.
pub(super) fn rejected(rejection: Rejection) -> Response {
    let name = match rejection.kind() {
        RejectionKind::MissingToken => RejectionKind::InvalidToken.as_str(),
        kind => kind.as_str(),
    };
    let (mut parts, _) = rejection.into_response().into_parts();
    let (own, body) = error(parts.status, name).into_parts();
    parts.headers.extend(own.headers);
    Response::from_parts(parts, body)
}

fn error(status: StatusCode, name: &'static str) -> Response {
    json(status, json!({ "error": name }).to_string())
}
