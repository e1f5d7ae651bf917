//! A socket of fastwebsockets, closed when its session ends.

mod support;

use axum::{Router, body::Body, response::Response, routing::any};
use axum_ws_auth::{Authenticated, Session};
use fastwebsockets::{FragmentCollector, Frame, OpCode, WebSocketError, upgrade::IncomingUpgrade, upgrade::UpgradeFut};
use support::{assert_closed_and_slot_freed, layer};

async fn echo(Authenticated(session): Authenticated<String>, upgrade: IncomingUpgrade) -> Response {
    let (response, socket) = upgrade.upgrade().expect("a handshake");
    tokio::spawn(serve(session, socket));
    response.map(Body::new)
}

/// Owns the session, and drops it with the socket.
async fn serve(session: Session<String>, socket: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(socket.await?);
    loop {
        // `read_frame` may lose data when it is dropped. That does not matter once the session has ended.
        let frame = tokio::select! {
            reason = session.ended() => {
                let code = session.close_code().unwrap_or(1000);
                return socket.write_frame(Frame::close(code, reason.as_str().as_bytes())).await;
            }
            frame = socket.read_frame() => frame?,
        };
        match frame.opcode {
            // The library has already answered it.
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

#[tokio::test]
async fn ending_the_session_closes_the_socket() {
    let (layer, sessions) = layer();
    let app = Router::new().route("/", any(echo)).layer(layer);
    assert_closed_and_slot_freed(app, sessions).await;
}
