//! The recipes of `clients/js` for other packages: a new token for each attempt, and an end when the user has to sign
//! in.

use axum::{
    Json, Router,
    extract::ws::Message,
    response::Response,
    routing::{any, post},
};
use axum_ws_auth::{AuthenticatedUpgrade, FirstMessage, RefreshProtocol, Sessions, TokenSource, WsAuthLayer};
use serde_json::{Value, json};

use crate::{
    js_client::Application,
    protocols::{answer_commands, verifier},
    script,
};

/// A route for each package, which speaks as much of its protocol as a connection needs.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(sessions: &Sessions) -> Router<S> {
    let layer = || WsAuthLayer::new(verifier).sessions(sessions);
    let phoenix = layer().sources([TokenSource::phoenix()]).expect("a source").accept_then_close();
    let centrifugo = layer().first_message(FirstMessage::centrifugo()).refresh_protocol(RefreshProtocol::centrifugo());
    Router::new()
        .route("/partysocket", any(wait).layer(layer().accept_then_close()))
        .route("/phoenix/websocket", any(phoenix_socket).layer(phoenix))
        .route("/graphql-ws", any(graphql).layer(layer().first_message(FirstMessage::graphql_ws())))
        .route("/centrifuge", any(centrifuge).layer(centrifugo))
        .route("/signalr", any(hub).layer(layer()))
        .route("/signalr/negotiate", post(negotiate).layer(layer()))
}

async fn wait(upgrade: AuthenticatedUpgrade<String>) -> Response {
    upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
}

async fn phoenix_socket(upgrade: AuthenticatedUpgrade<String>) -> Response {
    wait(upgrade.protocols(["phoenix"])).await
}

async fn graphql(upgrade: AuthenticatedUpgrade<String>) -> Response {
    upgrade.protocols(["graphql-transport-ws"]).on_upgrade(async |socket| {
        answer_commands(socket, |_| vec![json!({ "type": "connection_ack" })]).await;
    })
}

async fn centrifuge(upgrade: AuthenticatedUpgrade<String>) -> Response {
    upgrade.on_upgrade(async |socket| {
        let reply = |command: Value| vec![json!({ "id": command["id"], "connect": { "client": "c" } })];
        answer_commands(socket, reply).await;
    })
}

async fn negotiate() -> Json<Value> {
    let transports = json!([{ "transport": "WebSockets", "transferFormats": ["Text"] }]);
    Json(
        json!({ "negotiateVersion": 1, "connectionId": "c", "connectionToken": "t", "availableTransports": transports }),
    )
}

/// Answers the handshake of SignalR, and nothing else.
async fn hub(upgrade: AuthenticatedUpgrade<String>) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        if let Some(Ok(Message::Text(_))) = socket.recv().await {
            let _ = socket.send("{}\u{1e}".into()).await;
        }
        while let Some(Ok(_)) = socket.recv().await {}
    })
}

#[tokio::test]
async fn recipes_get_new_tokens_and_stop() {
    let app = Application::start().await;
    let (twice, once) = (json!(["socket 101", "socket 101"]), json!(["socket 101"]));
    let usual = |log: &Value| {
        let seen = json!({ "tokens": 2, "needed": ["revoked"], "log": log });
        let refused = json!({ "tokens": 1, "needed": ["invalid_token"], "log": once });
        json!([seen, refused])
    };
    let thrice = json!(["socket 101", "socket 101", "socket 101"]);
    let negotiated = json!(["plain 200", "socket 101", "plain 200", "socket 101"]);
    let expected = json!({
        "partysocket": usual(&twice),
        "phoenix": usual(&twice),
        "graphql-ws": usual(&twice),
        // It sends its token again, is told that this has expired, and gets another one.
        "centrifuge": usual(&thrice),
        // Each request has a token of its own.
        "signalr": [
            { "tokens": 4, "needed": ["revoked"], "log": negotiated },
            { "tokens": 1, "needed": [], "thrown": true },
        ],
    });
    let names: Vec<_> = expected.as_object().expect("an object").keys().collect();
    let input = json!({ "base": app.origin(), "names": names });
    let seen: Vec<Value> = script::node_script("partysocket", "js_recipes.mjs", input).await;
    for (name, expected) in expected.as_object().expect("an object") {
        assert_eq!(&seen[0][name], expected, "{name}");
    }
    // The function for Phoenix's token cannot wait. An attempt without one is not the user's fault.
    assert_eq!(seen[0]["slow"], json!(["revoked"]));
}
