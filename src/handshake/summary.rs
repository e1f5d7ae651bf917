//! What logs say of a request.

use std::net::IpAddr;

use axum::extract::MatchedPath;
use http::{HeaderValue, header::ORIGIN, request::Parts};

use super::{config::Config, origin::compared_origins};
use crate::{
    forwarded::ClientAddr,
    rejection::Rejection,
    telemetry::{self, Refused},
};

/// What the event of a refusal says of the request. Never the path or the query, which may hold secrets.
#[derive(Clone, Default)]
pub(crate) struct RequestSummary {
    route: Option<MatchedPath>,
    peer: Option<IpAddr>,
    origin: Option<HeaderValue>,
}

impl RequestSummary {
    pub(crate) fn of(parts: &Parts) -> Self {
        Self {
            route: parts.extensions.get().cloned(),
            peer: parts.extensions.get().copied().map(ClientAddr::ip),
            origin: parts.headers.get(ORIGIN).cloned(),
        }
    }

    /// For later, if anybody would see it. Boxed, because it is moved with the request.
    pub(super) fn kept(parts: &Parts) -> Option<Box<Self>> {
        telemetry::are_refusals_logged().then(|| Box::new(Self::of(parts)))
    }

    pub(crate) fn into_refused(self) -> Refused {
        let origin = self.origin.as_ref().map(|origin| bounded(origin.as_bytes()));
        let route = self.route.map(|route| route.as_str().to_owned());
        Refused { route, peer: self.peer, origin, compared: None }
    }
}

/// The beginning of what a client has sent.
pub(super) fn bounded(text: &[u8]) -> String {
    const MAX_LEN: usize = 256;
    String::from_utf8_lossy(text.get(..MAX_LEN).unwrap_or(text)).into_owned()
}

/// Logs a refusal whose request is at hand.
pub(crate) fn log_refusal(config: &Config, rejection: &Rejection, parts: &Parts) {
    rejection.log(&config.throttles, || {
        let compared = compared_origins(config, rejection, parts);
        Refused { compared, ..RequestSummary::of(parts).into_refused() }
    });
}

/// Logs a refusal whose request has gone to the handler.
pub(crate) fn log_late_refusal(config: &Config, rejection: &Rejection, request: Option<&RequestSummary>) {
    rejection.log(&config.throttles, || request.cloned().unwrap_or_default().into_refused());
}

/// Logs a handshake of which this is missing.
pub(super) fn log_incomplete(config: &Config, missing: &'static str, parts: &Parts) {
    telemetry::handshake_incomplete(missing, &config.throttles.incomplete, || RequestSummary::of(parts).into_refused());
}
