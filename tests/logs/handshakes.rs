//! Mistakes of handlers are told once they complete a handshake, and nothing else is.

use axum::{Router, extract::WebSocketUpgrade, response::Response, routing::any};
use axum_ws_auth::test_util::handshake;
use http::{HeaderValue, StatusCode};
use tracing::Level;

use crate::{captured, support::*};

#[tokio::test]
async fn only_a_selection_that_was_not_offered_causes_a_warning() {
    for (selection, is_warned) in [(None, false), (Some("chat"), false), (Some("imagined"), true)] {
        let handler = async move |mut upgrade: WebSocketUpgrade| -> Response {
            if let Some(name) = selection {
                upgrade.set_selected_protocol(HeaderValue::from_static(name));
            }
            upgrade.on_upgrade(async |_| {})
        };
        let app = Router::new().route("/", any(handler)).layer(opaque_layer());
        let request = handshake().subprotocols(["chat", "bearer", TOKEN]).build();
        let (response, log) = captured(Level::WARN, answer(&app, request)).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let warning = "WARN axum_ws_auth: subprotocol not offered: the response omits the handler's selection\n";
        assert_eq!(
            (log.lines().count(), log.ends_with(warning)),
            (is_warned.into(), is_warned),
            "{selection:?}: {log}"
        );
    }
}
