use axum::Error;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

use super::event_boundary::EventBoundary;
use crate::session::{EndReason, SessionEnded};

/// How a body ends when its session does.
pub(super) enum Ending {
    /// By a last event.
    EventStream(EventBoundary),
    /// By trailers with a status.
    Grpc,
    /// By an error, so that nobody takes a part for the whole.
    Failure,
}

impl Ending {
    pub(super) const fn event_stream() -> Self {
        Self::EventStream(EventBoundary::new())
    }

    /// Whether a comment may follow.
    pub(super) const fn takes_comment(&self) -> bool {
        matches!(self, Self::EventStream(boundary) if boundary.is_reached())
    }

    /// Takes note of what was sent.
    pub(super) fn push(&mut self, frame: &Frame<Bytes>) {
        if let (Self::EventStream(boundary), Some(data)) = (self, frame.data_ref()) {
            boundary.push(data);
        }
    }

    /// What is sent last.
    pub(super) fn last(&self, reason: EndReason) -> Option<Result<Frame<Bytes>, Error>> {
        match self {
            Self::EventStream(boundary) if boundary.is_reached() => Some(Ok(last_event(reason))),
            // The client discards an event without its blank line. With one, it would take a part for the whole.
            Self::EventStream(_) => None,
            Self::Grpc => Some(Ok(trailers(reason))),
            Self::Failure => Some(Err(Error::new(SessionEnded::new(reason)))),
        }
    }
}

fn last_event(reason: EndReason) -> Frame<Bytes> {
    Frame::data(Bytes::from(format!(
        "event: auth.ended\ndata: {{\"reason\":\"{reason}\"}}\n\n",
        reason = reason.as_str()
    )))
}

/// Of the gRPC protocol over HTTP/2. The reason needs no percent-encoding.
fn trailers(reason: EndReason) -> Frame<Bytes> {
    const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");
    const UNAUTHENTICATED: HeaderValue = HeaderValue::from_static("16");
    let status = match reason {
        // The same token is good for another try.
        EndReason::Shutdown | EndReason::Unconfirmed => UNAVAILABLE,
        _ => UNAUTHENTICATED,
    };
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert(HeaderName::from_static("grpc-status"), status);
    trailers.insert(HeaderName::from_static("grpc-message"), HeaderValue::from_static(reason.as_str()));
    Frame::trailers(trailers)
}
