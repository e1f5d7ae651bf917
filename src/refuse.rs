//! How a rejection is answered: by a response, by one of the user's own, or by a WebSocket that says why it closes.

use std::future::ready;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Version, header::CONNECTION, request::Parts};

use crate::{
    config::Config,
    handshake::claim,
    rejection::{Rejection, RejectionKind},
    socket::close_unread,
    telemetry,
    token::Selection,
};

impl Config {
    pub(crate) fn refuse(&self, rejection: Rejection, parts: &mut Parts, selection: &Selection) -> Response {
        rejection.log();
        if self.accept_then_close
            && let Some(mut accepted) = self.accept_then_close(&rejection, parts, selection)
        {
            accepted.extensions_mut().insert(rejection);
            return accepted;
        }
        self.response_to(rejection)
    }

    /// Refuses a client that was to authenticate by its first message, and was answered otherwise.
    pub(crate) fn refuse_unclaimed(&self, version: Version) -> Response {
        let rejection = Rejection::missing_token(&self.challenges, version);
        rejection.log();
        self.response_to(rejection)
    }

    fn response_to(&self, rejection: Rejection) -> Response {
        let Some(hook) = &self.on_rejection else { return rejection.into_response() };
        let mut response = hook(rejection.clone());
        if response.status().is_informational() || response.status().is_success() {
            // `101`, and over HTTP/2 any success, would be the handshake that was refused.
            telemetry::hook_answered_with_success();
            return rejection.into_response();
        }
        if rejection.closes_connection() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // One of the hook's own does not have it.
        response.extensions_mut().insert(rejection);
        response
    }

    /// Completes the handshake and closes at once. `None` where the request is no handshake, or the page may not know.
    fn accept_then_close(&self, rejection: &Rejection, parts: &mut Parts, selection: &Selection) -> Option<Response> {
        // Copies of the token are still in a head that is too large, so no origin predicate may look at it.
        let is_silent = matches!(rejection.kind(), RejectionKind::OriginNotAllowed | RejectionKind::HeadTooLarge);
        if is_silent || !self.may_tell_page(parts) {
            return None;
        }
        let (code, reason) = (rejection.close_code(&self.session.close_codes), rejection.kind().as_str());
        let name = selection.without_handler(&self.subprotocols).ok()?;
        let (connection, mut upgrade) = claim(parts)?;
        if let Some(name) = name {
            upgrade.set_selected_protocol(name);
        }
        tokio::spawn(async move {
            if let Ok(upgraded) = connection.await {
                close_unread(upgraded, code, reason).await;
            }
        });
        // For the answer alone: what it would upgrade is not the connection.
        Some(upgrade.on_upgrade(|_| ready(())))
    }
}
