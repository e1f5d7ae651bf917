//! How a rejection is answered: by a response, by one of the user's own, or by a WebSocket that says why it closes.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{
    extract::{
        FromRequestParts,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header::CONNECTION, request::Parts};

use crate::{CloseCodes, Rejection, RejectionKind, config::Config, telemetry, token::Selection};

/// How long a refused client may take to answer the close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

impl Config {
    pub(crate) fn refuse(&self, rejection: Rejection, parts: Parts, selection: &Selection) -> Response {
        telemetry::refused(&rejection);
        let mut response = self
            .accept_then_close
            .and_then(|codes| self.accept_then_close(codes, &rejection, parts, selection))
            .unwrap_or_else(|| self.response_to(rejection.clone()));
        // Answers of one's own, and a `101`, do not have it yet.
        response.extensions_mut().insert(rejection);
        response
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
        response
    }

    /// Completes the handshake and closes at once. `None` where the request is no handshake, or the page may not know.
    fn accept_then_close(
        &self,
        codes: CloseCodes,
        rejection: &Rejection,
        mut parts: Parts,
        selection: &Selection,
    ) -> Option<Response> {
        if rejection.kind() == RejectionKind::OriginNotAllowed || !self.may_tell_page(&parts) {
            return None;
        }
        let frame = CloseFrame { code: code_of(codes, rejection.kind()), reason: rejection.kind().as_str().into() };
        // All that the client has to say is a control frame (RFC 6455 §5.5). For a longer one tungstenite would reserve
        // the memory that its header asks for.
        let mut upgrade = upgrade_of(&mut parts)?.read_buffer_size(128).max_frame_size(125).max_message_size(125);
        if let Some(name) = selection.without_handler(&self.subprotocols).ok()? {
            upgrade.set_selected_protocol(name);
        }
        Some(upgrade.on_upgrade(|socket| close(socket, frame)))
    }
}

const fn code_of(codes: CloseCodes, kind: RejectionKind) -> u16 {
    match kind {
        RejectionKind::InvalidRequest => codes.bad_request,
        RejectionKind::MissingToken | RejectionKind::InvalidToken => codes.unauthorized,
        RejectionKind::InsufficientScope | RejectionKind::OriginNotAllowed => codes.forbidden,
        RejectionKind::Unavailable => codes.unavailable,
    }
}

/// axum's extractor is an async function that never waits.
fn upgrade_of(parts: &mut Parts) -> Option<WebSocketUpgrade> {
    let extraction = pin!(WebSocketUpgrade::from_request_parts(parts, &()));
    match extraction.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(upgrade) => upgrade.ok(),
        Poll::Pending => None,
    }
}

/// Sends the close frame and waits a moment for the client's: a connection that is dropped at once may lose it.
async fn close(mut socket: WebSocket, frame: CloseFrame) {
    let closing = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    // Whether the client answers or not, the connection is dropped.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
}
