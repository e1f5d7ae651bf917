//! Shared by the targets.

#[path = "../../src/websocket/tests/comparison.rs"]
pub mod comparison;
pub mod documents;
pub mod handshake;
pub mod input;
pub mod json;
pub mod jwt;
pub mod trace;
pub mod wire;

use axum_ws_auth::{WebSocketError, WebSocketErrorKind};
