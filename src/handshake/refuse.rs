//! Answers a refusal: by the standard response, by one of the user's own, or by a WebSocket that says why it closes.

use std::future::ready;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, header::CONNECTION, request::Parts};

use super::{
    config::Config,
    origin::may_tell_page,
    summary::{RequestSummary, log_late_refusal, log_refusal},
    upgrade,
};
use crate::{
    rejection::{Rejection, RejectionKind, add_grpc_status, is_grpc},
    socket::close_unread,
    telemetry,
    token::Selection,
};

pub(super) fn refuse(config: &Config, rejection: Rejection, parts: &mut Parts, selection: &Selection) -> Response {
    log_refusal(config, &rejection, parts);
    if config.accept_then_close
        && let Some(mut accepted) = accept_then_close(config, &rejection, parts, selection)
    {
        accepted.extensions_mut().insert(rejection);
        return accepted;
    }
    let mut response = respond(config, rejection);
    if parts.method == Method::POST && is_grpc(&parts.headers) {
        add_grpc_status(&mut response);
    }
    response
}

/// Refuses by a plain response, because the inner service has answered already: by this one, which is not sent.
pub(super) fn refuse_plainly(
    config: &Config,
    rejection: Rejection,
    request: Option<&RequestSummary>,
    answer: &Response,
) -> Response {
    log_late_refusal(config, &rejection, request);
    let mut response = respond(config, rejection);
    if is_grpc(answer.headers()) {
        add_grpc_status(&mut response);
    }
    response
}

pub(super) fn respond(config: &Config, rejection: Rejection) -> Response {
    let Some(hook) = &config.on_rejection else { return rejection.into_response() };
    let mut response = hook(rejection.clone());
    if response.status().is_informational() || response.status().is_success() {
        // `101`, or over HTTP/2 any success, would complete the refused handshake.
        telemetry::rejection_hook_succeeded(&config.throttles.hook);
        return rejection.into_response();
    }
    if rejection.closes_connection() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    // The hook's own response lacks it.
    response.extensions_mut().insert(rejection);
    response
}

/// Completes the handshake and closes at once. `None` if the request is no handshake, or the page may not learn the
/// reason.
fn accept_then_close(
    config: &Config,
    rejection: &Rejection,
    parts: &mut Parts,
    selection: &Selection,
) -> Option<Response> {
    // A head that is too large still holds copies of the token, so no origin predicate may see it. Neither is anything
    // read of a client whose address is not let in, and it gets no connection.
    let is_silent = matches!(rejection.kind(), RejectionKind::OriginNotAllowed | RejectionKind::HeadTooLarge)
        || rejection.is_of_address();
    if is_silent || !may_tell_page(config, parts) {
        return None;
    }
    let (code, reason) = (rejection.close_code(&config.session.close_codes), rejection.kind().as_str());
    let name = selection.without_handler(&config.subprotocols).ok()?;
    let (connection, mut upgrade) = upgrade::take(parts)?;
    if let Some(name) = name {
        upgrade.set_selected_protocol(name);
    }
    tokio::spawn(async move {
        if let Ok(upgraded) = connection.await {
            close_unread(upgraded, code, reason).await;
        }
    });
    // Only for its response: `upgrade` has no connection any more.
    Some(upgrade.on_upgrade(|_| ready(())))
}
