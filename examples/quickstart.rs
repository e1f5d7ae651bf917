//! A chat that only those with a token may enter. Run it, and follow what it prints:
//!
//! ```sh
//! cargo run --example quickstart
//! ```

#![allow(clippy::print_stdout, reason = "it talks to a person")]

use std::time::Duration;

use axum::{Router, response::Response, routing::any, serve::ListenerExt};
use axum_ws_auth::{AuthenticatedUpgrade, WsAuthLayer, jwt::JwtVerifier, test_util::TestToken};

/// Read yours from the environment or a file.
const SECRET: &[u8] = b"an example secret, known to everybody";

#[derive(serde::Deserialize)]
struct Claims {
    sub: String,
}

async fn chat(upgrade: AuthenticatedUpgrade<Claims>) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        let claims = socket.claims();
        println!("{} has come", claims.sub);
        while let Some(Ok(message)) = socket.recv().await {
            let Ok(text) = message.to_text() else { continue };
            if socket.send(format!("{}: {text}", claims.sub).into()).await.is_err() {
                break;
            }
        }
        println!("{} has gone", claims.sub);
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let verifier = JwtVerifier::<Claims>::builder().secret(SECRET)?.audience("chat").build()?;
    let app = Router::new().route("/chat", any(chat)).layer(WsAuthLayer::new(verifier));

    // `axum::serve` leaves Nagle's algorithm on, which holds back small messages until the last one was acknowledged.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let url = format!("ws://{}/chat", axum::serve::Listener::local_addr(&listener)?);
    let token = TestToken::new("alice").claim("aud", "chat").expires_in(Duration::from_secs(3600)).sign_with(SECRET);

    println!("A token for alice, good for an hour:\n\n{token}\n");
    println!("In a browser's console (on any page but one served by https):\n");
    println!("  ws = new WebSocket(\"{url}\", [\"bearer\", \"{token}\"]);");
    println!("  ws.onmessage = e => console.log(e.data); ws.onopen = () => ws.send(\"hello\")\n");
    println!("With websocat, or with wscat:\n");
    println!("  websocat -H=\"Authorization: Bearer {token}\" {url}");
    println!("  npx wscat -H \"Authorization: Bearer {token}\" -c {url}\n");
    println!("And a token that is not one gets a 401:\n");
    println!(
        "  curl -i -N -H \"Connection: Upgrade\" -H \"Upgrade: websocket\" -H \"Authorization: Bearer x\" {}\n",
        url.replacen("ws", "http", 1)
    );
    axum::serve(listener, app).await?;
    Ok(())
}
