//! Handshakes, tokens and in-memory connections for tests of applications that use this crate.
//!
//! - [`handshake`] builds requests for `tower::ServiceExt::oneshot`, which returns the refusal, or the `101` of a
//!   completed handshake.
//! - [`connect`] opens a WebSocket over an in-memory pipe.
//! - [`conformance`] tests stores.
//! - `DpopKey` signs the proofs of bound tokens (feature `dpop`).
//! - [`TestToken`] signs tokens, with your secret or for [`verifier`].
//!
//! The sockets are tokio-tungstenite's, in the version that axum uses: any release may change this module with it.
//!
//! # Example
//!
//! ```
//! use axum::{Router, http::StatusCode, response::Response, routing::any};
//! use axum_ws_auth::{AuthenticatedUpgrade, WsAuthLayer, test_util::{self, TestToken, handshake}};
//! use futures_util::{SinkExt, StreamExt};
//! use tower::ServiceExt;
//!
//! #[derive(serde::Deserialize)]
//! struct Claims { sub: String }
//!
//! async fn chat(upgrade: AuthenticatedUpgrade<Claims>) -> Response {
//!     upgrade.on_upgrade(async |mut socket| {
//!         let name = socket.claims().sub.clone();
//!         while let Some(Ok(message)) = socket.recv().await {
//!             let Ok(text) = message.to_text() else { break };
//!             let _ = socket.send(format!("{name}: {text}").into()).await;
//!         }
//!     })
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app = Router::new().route("/chat", any(chat)).layer(WsAuthLayer::new(test_util::verifier::<Claims>()));
//! let token = TestToken::new("alice").sign();
//!
//! // Yes.
//! let request = handshake().path("/chat").bearer_subprotocol(&token).build();
//! let (mut socket, response) = test_util::connect(app.clone(), request).await?;
//! assert_eq!(response.headers()["sec-websocket-protocol"], "bearer");
//! socket.send("hi".into()).await?;
//! assert_eq!(socket.next().await.expect("an answer")?.to_text()?, "alice: hi");
//!
//! // No.
//! let response = app.oneshot(handshake().path("/chat").build()).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//! # Ok(()) }
//! ```

mod bus;
pub mod conformance;
mod connect;
#[cfg(feature = "dpop")]
mod dpop;
mod handshake;
mod token;

use axum::{
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    response::Response,
};

pub use bus::MemoryBus;
pub use connect::{ConnectError, connect};
#[cfg(feature = "dpop")]
pub use dpop::DpopKey;
pub use handshake::{HandshakeBuilder, handshake};
pub use token::{TEST_SECRET, TestToken, base64url, verifier};

/// A handler that echoes every message. It ignores the session, so it shows what the layer does on its own.
pub async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket: WebSocket| {
        while let Some(Ok(message)) = socket.recv().await {
            // Reading to the end answers a close frame.
            if !matches!(message, Message::Close(_)) && socket.send(message).await.is_err() {
                break;
            }
        }
    })
}
