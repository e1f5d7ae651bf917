//! The handler that issues tickets.

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use super::{TicketError, TicketErrorKind, TicketOptions, Tickets, issue::TicketRequest, verifier};
use crate::{extract::Authenticated, telemetry, time::wait_seconds};

pub(super) fn route<C, S>(tickets: Tickets<C>, options: TicketOptions) -> MethodRouter<S>
where
    C: Serialize + Send + Sync + 'static,
    S: Clone + Send + Sync + 'static,
{
    post(async move |Authenticated(session): Authenticated<C>, request: Request| {
        let (parts, _) = request.into_parts();
        let mut origins = parts.headers.get_all(ORIGIN).iter();
        let origin = origins.next().filter(|_| origins.next().is_none()).and_then(|origin| origin.to_str().ok());
        match tickets.issue_to(&session, &options, TicketRequest { origin, parts: Some(&parts) }).await {
            Ok(ticket) => answer(StatusCode::OK, "application/json", serde_json::to_vec(&ticket).unwrap_or_default()),
            Err(error) => {
                telemetry::ticket_not_issued(&error, &tickets.not_issued);
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
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A problem document (RFC 9457) that names the kind and nothing else.
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
        if status == StatusCode::UNAUTHORIZED {
            // As RFC 9110 §15.5.2 demands. What the layer has to say, it says to a request without a valid token.
            let challenge = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            let wait = HeaderValue::from(wait_seconds(verifier::RETRY_AFTER));
            response.headers_mut().insert(RETRY_AFTER, wait);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::Value;

    use super::*;
    use crate::store::StoreErrorKind;

    #[tokio::test]
    async fn problem_documents_hold_the_name_of_the_kind_and_the_status() {
        for kind in [
            TicketErrorKind::Expired,
            TicketErrorKind::NoOrigin,
            TicketErrorKind::UnwritableClaims,
            TicketErrorKind::TooMany,
            TicketErrorKind::Store(StoreErrorKind::Full),
        ] {
            let response = TicketError::of(kind).into_response();
            let status = response.status().as_u16();
            assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), status == 401, "{kind:?}");
            let body = response.into_body().collect().await.expect("a body in memory").to_bytes();
            let problem: Value = serde_json::from_slice(&body).expect("json");
            assert_eq!(problem.get("error").and_then(Value::as_str), Some(kind.as_str()), "{kind:?}");
            assert_eq!(problem.get("status").and_then(Value::as_u64), Some(status.into()), "{kind:?}");
        }
    }
}
