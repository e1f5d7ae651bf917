//! A server that listens on a port, and its clients.

use axum::{Router, response::Response, routing::any};
use axum_ws_auth::{AuthenticatedUpgrade, WsAuthLayer};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use crate::TIMEOUT;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Has an address before it serves, so that a provider can know it. Stops when it is dropped.
pub(crate) struct Node {
    address: String,
    listener: Option<TcpListener>,
    server: JoinSet<()>,
}

impl Node {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        Self { address, listener: Some(listener), server: JoinSet::new() }
    }

    /// Opens sockets at `/chat` behind the layer, and serves the other routes without it.
    pub(crate) fn serve(&mut self, layer: WsAuthLayer, routes: Router) {
        let app = Router::new().route("/chat", any(chat)).layer(layer).merge(routes);
        let listener = self.listener.take().expect("it serves once");
        self.server.spawn(async { axum::serve(listener, app).await.expect("it serves") });
    }

    /// Opens a socket, or returns the status of the refusal.
    pub(crate) async fn open(&self, token: &str) -> Result<Socket, u16> {
        let mut request = format!("ws://{}/chat", self.address).into_client_request().expect("a URL");
        let offer = format!("bearer, {token}").parse().expect("a token is a subprotocol's name");
        request.headers_mut().insert("sec-websocket-protocol", offer);
        match timeout(TIMEOUT, connect_async(request)).await.expect("an answer") {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }
}

async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            // Sending the close frame back fails.
            let _ = socket.send(message).await;
        }
    })
}

/// Whether the server answers a message.
pub(crate) async fn is_open(socket: &mut Socket) -> bool {
    if socket.send(Message::text("still there?")).await.is_err() {
        return false;
    }
    let message = timeout(TIMEOUT, socket.next()).await.expect("an answer");
    matches!(message, Some(Ok(Message::Text(_))))
}
