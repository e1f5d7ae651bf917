//! Where tickets are bought.

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ORIGIN, RETRY_AFTER},
};
use serde::Serialize;

use super::{TicketError, TicketErrorKind, TicketOptions, Tickets, verifier};
use crate::{extract::Authenticated, telemetry, time::wait_seconds};

pub(super) fn route<C, S>(tickets: Tickets<C>, options: TicketOptions) -> MethodRouter<S>
where
    C: Serialize + Send + Sync + 'static,
    S: Clone + Send + Sync + 'static,
{
    post(async move |Authenticated(session): Authenticated<C>, request: Request| {
        let (parts, _) = request.into_parts();
        let mut origins = parts.headers.get_all(ORIGIN).iter();
        let asking = origins.next().filter(|_| origins.next().is_none()).and_then(|origin| origin.to_str().ok());
        match tickets.issue_to(&session, &options, asking, Some(&parts)).await {
            Ok(ticket) => answer(StatusCode::OK, "application/json", serde_json::to_vec(&ticket).unwrap_or_default()),
            Err(error) => {
                telemetry::no_ticket(&error);
                error.into_response()
            }
        }
    })
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Nobody else may get this one.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A problem document (RFC 9457), which says which class it is and no more.
impl IntoResponse for TicketError {
    fn into_response(self) -> Response {
        let (status, body) = match self.kind() {
            TicketErrorKind::Expired => (
                StatusCode::UNAUTHORIZED,
                r#"{"title":"Unauthorized","status":401,"detail":"the token is not valid","error":"invalid_token"}"#,
            ),
            TicketErrorKind::NoOrigin => (
                StatusCode::FORBIDDEN,
                r#"{"title":"Forbidden","status":403,"detail":"the origin is not allowed","error":"origin_not_allowed"}"#,
            ),
            TicketErrorKind::UnwritableClaims => (
                StatusCode::INTERNAL_SERVER_ERROR,
                r#"{"title":"Internal Server Error","status":500,"detail":"no ticket can be issued","error":"internal"}"#,
            ),
            TicketErrorKind::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                r#"{"title":"Too Many Requests","status":429,"detail":"there are too many tickets","error":"too_many_tickets"}"#,
            ),
            TicketErrorKind::Store(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                r#"{"title":"Service Unavailable","status":503,"detail":"try again later","error":"unavailable"}"#,
            ),
        };
        let mut response = answer(status, "application/problem+json", body);
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            let wait = HeaderValue::from(wait_seconds(verifier::RETRY_AFTER));
            response.headers_mut().insert(RETRY_AFTER, wait);
        }
        response
    }
}
