//! The route for pushed events (RFC 8935).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::Request,
    response::Response,
    routing::{MethodRouter, post},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    error::{SecurityEventError, SecurityEventErrorKind},
    receiver::{self, Receiver},
};
use crate::{
    signals::{SignalErrorKind, body},
    telemetry,
    time::wait_seconds,
    token::equal,
};

pub(super) fn route<S: Clone + Send + Sync + 'static>(receiver: Arc<Receiver>) -> MethodRouter<S> {
    post(async move |request: Request| {
        let (parts, body) = request.into_parts();
        match receiver.receive_push(&parts.headers, body).await {
            Ok(()) => response(StatusCode::ACCEPTED, Body::empty()),
            Err(error) if error.is_unavailable() => {
                let mut response = response(StatusCode::SERVICE_UNAVAILABLE, Body::empty());
                let wait = HeaderValue::from(wait_seconds(receiver::RETRY_AFTER));
                response.headers_mut().insert(RETRY_AFTER, wait);
                response
            }
            Err(error) => refusal(&error),
        }
    })
}

impl Receiver {
    async fn receive_push(&self, headers: &HeaderMap, body: Body) -> Result<(), SecurityEventError> {
        match self.read_push(headers, body).await {
            Ok(token) => self.receive(&token).await,
            Err(error) => {
                telemetry::signal_refused("unreadable", error.kind().as_str(), &error, &self.refusals);
                Err(error)
            }
        }
    }

    async fn read_push(&self, headers: &HeaderMap, body: Body) -> Result<String, SecurityEventError> {
        let invalid = |problem| SecurityEventError::new(SecurityEventErrorKind::InvalidRequest, problem);
        if self.authorization.is_some_and(|expected| !is_authorized(headers, &expected)) {
            return Err(SecurityEventError::new(
                SecurityEventErrorKind::AuthenticationFailed,
                "the request is not authorized",
            ));
        }
        let body = body::read(headers, "application/secevent+jwt", body).await.map_err(|kind| match kind {
            SignalErrorKind::WrongContentType => invalid("the content type is not application/secevent+jwt"),
            _ => invalid("the body cannot be read or is too long"),
        })?;
        String::from_utf8(body).map_err(|_| invalid("the body is not a token"))
    }
}

/// Whether there is one `Authorization`, with this hash.
fn is_authorized(headers: &HeaderMap, expected: &[u8; 32]) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => equal(&Sha256::digest(value), expected),
        _ => false,
    }
}

/// RFC 8935 §2.3.
fn refusal(error: &SecurityEventError) -> Response {
    let body = json!({ "err": error.kind().as_str(), "description": error.description() });
    let mut response = response(StatusCode::BAD_REQUEST, body.to_string());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static("en"));
    response
}

fn response(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
