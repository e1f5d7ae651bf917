//! A server that listens on a port, and its clients.

use std::time::Instant;

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::IntoResponse,
    routing::{MethodRouter, any},
};
use axum_ws_auth::{AuthenticatedUpgrade, WsAuthLayer};
use futures_util::{SinkExt, StreamExt};
use http::Response;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{self, UnboundedReceiver},
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use crate::TIMEOUT;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
pub(crate) type Refusal = Response<Option<Vec<u8>>>;

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

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Opens sockets at `/chat` behind the layer, and serves the other routes without it.
    pub(crate) fn serve(&mut self, layer: WsAuthLayer, routes: Router) {
        let app = Router::new().route("/chat", any(chat)).layer(layer).merge(routes);
        let listener = self.listener.take().expect("it serves once");
        self.server.spawn(async { axum::serve(listener, app).await.expect("it serves") });
    }

    /// Opens a socket as a page does, or returns the status of the refusal.
    pub(crate) async fn open(&self, token: &str) -> Result<Socket, u16> {
        let headers = [("sec-websocket-protocol", format!("bearer, {token}"))];
        self.open_with(&headers).await.map_err(|refusal| refusal.status().as_u16())
    }

    /// Opens a socket, or returns the refusal.
    pub(crate) async fn open_with(&self, headers: &[(&'static str, String)]) -> Result<Socket, Box<Refusal>> {
        let mut request = format!("ws://{}/chat", self.address).into_client_request().expect("a URL");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header value"));
        }
        match timeout(TIMEOUT, connect_async(request)).await.expect("an answer") {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(response)) => Err(response),
            Err(error) => panic!("{error}"),
        }
    }
}

async fn chat(upgrade: AuthenticatedUpgrade<Value>) -> impl IntoResponse {
    upgrade.on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            // Sending the close frame back fails.
            let _ = socket.send(message).await;
        }
    })
}

/// Waits until the server closes the socket. Returns the code, the reason and the time.
pub(crate) async fn closed(socket: &mut Socket) -> (u16, String, Instant) {
    let message = timeout(TIMEOUT, socket.next()).await.expect("the server closes the socket");
    let Some(Ok(Message::Close(Some(frame)))) = message else { panic!("no close frame: {message:?}") };
    (frame.code.into(), frame.reason.to_string(), Instant::now())
}

/// Whether the server answers a message.
pub(crate) async fn is_open(socket: &mut Socket) -> bool {
    if socket.send(Message::text("still there?")).await.is_err() {
        return false;
    }
    let message = timeout(TIMEOUT, socket.next()).await.expect("an answer");
    matches!(message, Some(Ok(Message::Text(_))))
}

/// A request of a provider: when it arrived, and the status of the answer.
pub(crate) struct Notice {
    pub(crate) arrived: Instant,
    pub(crate) status: u16,
}

/// Reports every request for the route once it is answered.
pub(crate) fn observed(route: MethodRouter) -> (MethodRouter, UnboundedReceiver<Notice>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let route = route.layer(from_fn(move |request: Request, next: Next| {
        let (arrived, sender) = (Instant::now(), sender.clone());
        async move {
            let response = next.run(request).await;
            // Fails if the test has ended.
            let _ = sender.send(Notice { arrived, status: response.status().as_u16() });
            response
        }
    }));
    (route, receiver)
}
