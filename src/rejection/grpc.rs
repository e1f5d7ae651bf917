//! The status of a refused gRPC call.

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};

use super::{Rejection, RejectionKind};

/// Whether a request or response with these headers is one of gRPC, or of gRPC-Web.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().get(..GRPC.len()));
    content_type.is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
}

/// Adds the status that the client of a refused call reads. Some clients take a response without one for a message.
pub(crate) fn add_grpc_status(response: &mut Response) {
    let Some(kind) = response.extensions().get().map(Rejection::kind) else { return };
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static(kind.grpc_status()));
    headers.insert(HeaderName::from_static("grpc-message"), HeaderValue::from_static(kind.as_str()));
}

impl RejectionKind {
    const fn grpc_status(self) -> &'static str {
        match self {
            Self::InvalidRequest => "3",                             // INVALID_ARGUMENT
            Self::TimedOut => "4",                                   // DEADLINE_EXCEEDED
            Self::InsufficientScope | Self::OriginNotAllowed => "7", // PERMISSION_DENIED
            Self::HeadTooLarge | Self::TooManyRequests | Self::TooManySessions => "8", // RESOURCE_EXHAUSTED
            Self::Unavailable => "14",                               // UNAVAILABLE
            // UNAUTHENTICATED
            Self::MissingToken | Self::InvalidToken | Self::InsufficientUserAuthentication => "16",
        }
    }
}
