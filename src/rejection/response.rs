use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderName, HeaderValue,
    header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::{Rejection, challenge::Challenge};
use crate::time::wait_seconds;

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.kind.body()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        // Room for these and the `Content-Length` that axum adds.
        headers.reserve(5);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.closes_connection() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(retry_after) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait_seconds(retry_after)));
        }
        if let Some(nonce) = self.dpop_nonce().and_then(|nonce| HeaderValue::from_str(nonce).ok()) {
            headers.insert(HeaderName::from_static("dpop-nonce"), nonce);
        }
        for line in self.challenge.iter().flat_map(Challenge::lines) {
            headers.append(WWW_AUTHENTICATE, line.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}
