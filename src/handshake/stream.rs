//! What follows for a response of unknown length: it ends with its session, and may take a place in the limits.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::Method;

use super::{
    admit::{Admitted, Refusal},
    choose::{Completed, Completion},
};
use crate::{
    rejection::Rejection,
    session::{AdmissionError, EndReason, SessionKind},
    stream::{SessionBody, goes_on},
    verify::VerifyError,
};

impl Completion {
    /// Ties the response to its session, if the layer is to do so.
    pub(super) fn stream(mut self, session: Admitted, response: Response) -> Completed {
        if self.method == Method::HEAD {
            return Completed::Now(response);
        }
        let Some(mut coverage) = self.config.streams.coverage(&response) else { return Completed::Now(response) };
        let core = Arc::clone(session.core());
        // That of a handshake is counted already.
        coverage.is_counted |= core.is_counted();
        let is_counted = coverage.is_counted;
        if let Some(reason) = core.end_reason().filter(|reason| !goes_on(*reason, is_counted)) {
            return Completed::Now(self.refuse_stream(self.ended(reason), &response));
        }
        let response = response.map(|body| Body::new(SessionBody::new(body, session, coverage)));
        if !is_counted {
            return Completed::Now(response);
        }
        if let Some(mut visit) = self.visit.take() {
            if let Err(error) = visit.take_place() {
                let rejection = Rejection::address(error, &self.config.challenges, self.version);
                return Completed::Now(self.refuse_plainly(SessionKind::Stream, rejection, &response));
            }
            core.keep_place(visit);
        }
        match core.count_as_stream() {
            Err(error) => {
                // The handler's response is dropped, which frees what it holds before the client reads the refusal.
                Completed::Now(self.refuse_stream(Refusal::Admission(error), &response))
            }
            Ok(true) if self.config.session.shares_limits() => Completed::Later(Box::pin(async move {
                match core.acquire_lease().await {
                    Ok(()) => response,
                    Err(error) => self.refuse_stream(Refusal::Admission(error), &response),
                }
            })),
            Ok(_) => Completed::Now(response),
        }
    }

    /// Refuses the client in place of the handler's response.
    fn refuse_stream(&self, refusal: Refusal, response: &Response) -> Response {
        self.refuse_plainly(SessionKind::Stream, refusal.rejection(&self.config, self.version), response)
    }

    /// The refusal of a session that has ended before its response began.
    fn ended(&self, reason: EndReason) -> Refusal {
        let retry_after = self.config.session.retry_after();
        match reason {
            EndReason::TokenExpired | EndReason::MaxLifetime => Refusal::Verify(VerifyError::expired()),
            EndReason::Revoked => Refusal::Admission(AdmissionError::Revoked),
            EndReason::InsufficientUserAuthentication => {
                Refusal::Verify(VerifyError::insufficient_user_authentication())
            }
            EndReason::Policy => Refusal::Verify(VerifyError::forbidden()),
            EndReason::TooManySessions => Refusal::Admission(AdmissionError::TooManySessions { retry_after }),
            EndReason::Shutdown => Refusal::Admission(AdmissionError::Draining { retry_after }),
            EndReason::Unresponsive | EndReason::Unconfirmed | EndReason::Closed => {
                Refusal::Verify(VerifyError::unavailable(retry_after))
            }
        }
    }
}
