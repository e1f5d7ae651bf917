//! A client that opens WebSockets over HTTP/2 (RFC 8441).

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use axum::{Router, response::Response, routing::any};
use axum_ws_auth::{AuthenticatedUpgrade, WsAuthLayer};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, Request};
use http_body_util::Empty;
use hyper::{body::Incoming, client::conn::http2::SendRequest, ext::Protocol, upgrade::Upgraded};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

pub(crate) struct Client {
    pub(crate) sender: SendRequest<Empty<Bytes>>,
    pub(crate) authority: String,
}

impl Client {
    /// Serves an echo behind the layer, and opens an HTTP/2 connection to it.
    pub(crate) async fn of(layer: WsAuthLayer) -> Self {
        async fn echo(upgrade: AuthenticatedUpgrade<String>) -> Response {
            upgrade.protocols(["chat"]).on_upgrade(async |socket| {
                let (sink, stream) = socket.split();
                let _ = stream.forward(sink).await;
            })
        }
        let app = Router::new().route("/", any(echo)).layer(layer);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, authority: address.to_string() }
    }

    pub(crate) async fn connect(&mut self, path: &str, headers: &[(&str, &str)]) -> http::Response<Incoming> {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("http://{}{path}", self.authority))
            .extension(Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await.unwrap();
        self.sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap()
    }
}

pub(crate) async fn socket_of(response: http::Response<Incoming>) -> WebSocketStream<TokioIo<Upgraded>> {
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await
}
