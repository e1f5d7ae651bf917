//! A chat that requires a token. Run it and follow the instructions that it prints:
//!
//! ```sh
//! cargo run --example quickstart
//! ```
//!
//! The token is valid for a minute, or for the given number of seconds. When it expires, the socket is closed.

#![allow(clippy::print_stdout, reason = "it talks to a person")]

use std::time::Duration;

use axum::{Router, response::Response, routing::any, serve::ListenerExt};
use axum_ws_auth::{AuthenticatedUpgrade, EndReason, WsAuthLayer, jwt::JwtVerifier, test_util::TestToken};

/// Read yours from the environment or from a file.
const SECRET: &[u8] = b"an example secret, known to everybody";

#[derive(serde::Deserialize)]
struct Claims {
    sub: String,
}

async fn chat(upgrade: AuthenticatedUpgrade<Claims>) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        let claims = socket.claims();
        println!("{} has joined", claims.sub);
        while let Some(Ok(message)) = socket.recv().await {
            let Ok(text) = message.to_text() else { continue };
            if socket.send(format!("{}: {text}", claims.sub).into()).await.is_err() {
                break;
            }
        }
        // `recv` returns `None` when the session ends, too.
        let reason = socket.session().end_reason().map_or("closed", EndReason::as_str);
        println!("{} has left ({reason})", claims.sub);
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(60), |seconds| seconds.parse())?;
    // No leeway, so the minute is exact. In production keep the default of 30 seconds, because clocks differ.
    let verifier = JwtVerifier::<Claims>::builder().secret(SECRET)?.audience("chat").leeway(Duration::ZERO).build()?;
    let app = Router::new().route("/chat", any(chat)).layer(WsAuthLayer::new(verifier));

    // `axum::serve` leaves Nagle's algorithm on, which delays small messages until the last one is acknowledged.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let url = format!("ws://{}/chat", axum::serve::Listener::local_addr(&listener)?);
    let token = TestToken::new("alice").claim("aud", "chat").expires_in(Duration::from_secs(seconds)).sign_with(SECRET);

    println!("A token for alice, valid for {seconds} seconds:\n\n{token}\n");
    println!("In a browser's console (not on a page served over https):\n");
    println!("  ws = new WebSocket(\"{url}\", [\"bearer\", \"{token}\"]);");
    println!("  ws.onmessage = e => console.log(e.data); ws.onopen = () => ws.send(\"hello\")");
    println!("  ws.onclose = e => console.log(e.code, e.reason) // 3000 \"token_expired\" when the token expires\n");
    println!("With websocat, or with wscat:\n");
    println!("  websocat -H=\"Authorization: Bearer {token}\" {url}");
    println!("  npx wscat -H \"Authorization: Bearer {token}\" -c {url}\n");
    println!("A bad token gets a 401:\n");
    println!(
        "  curl -i -N -H \"Connection: Upgrade\" -H \"Upgrade: websocket\" -H \"Authorization: Bearer x\" {}\n",
        url.replacen("ws", "http", 1)
    );
    axum::serve(listener, app).await?;
    Ok(())
}
