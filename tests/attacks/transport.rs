//! Sends an attack in one of three ways.

use std::collections::HashMap;

use axum::{Router, body::Body, serve::ListenerExt};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper::{client::conn::http2::SendRequest, ext::Protocol};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use super::{
    http1,
    request::{Attack, HOST},
    service::{Observed, app},
    table::Transport,
};
use crate::support::{answer, http2::socket_of};

/// What the client saw.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// The services that are running, each with a connection over HTTP/2.
#[derive(Default)]
pub(crate) struct Services(HashMap<String, Service>);

pub(crate) struct Service {
    app: Router,
    pub(crate) observed: Observed,
    port: u16,
    http2: SendRequest<Empty<Bytes>>,
}

impl Services {
    pub(crate) async fn get(&mut self, name: &str) -> &mut Service {
        if !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), Service::start(name).await);
        }
        self.0.get_mut(name).expect("it was started")
    }
}

impl Service {
    async fn start(name: &str) -> Self {
        let (app, observed) = app(name);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("it is open"));
        let served = app.clone();
        tokio::spawn(async move { axum::serve(listener, served).await });
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("it is open");
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (http2, connection) = handshake.await.expect("a connection over HTTP/2");
        tokio::spawn(connection);
        Self { app, observed, port: address.port(), http2 }
    }

    pub(crate) async fn send(&mut self, attack: &Attack, transport: Transport) -> Result<Reply, String> {
        match transport {
            Transport::Oneshot => Ok(self.call(attack).await),
            Transport::Http1 => http1::exchange(self.port, attack).await,
            Transport::Http2 => self.connect(attack).await,
        }
    }

    async fn call(&self, attack: &Attack) -> Reply {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method(attack, Method::GET);
        *request.uri_mut() = attack.target.parse().expect("a target that `http` can express");
        *request.version_mut() = if attack.version == "1.0" { Version::HTTP_10 } else { Version::HTTP_11 };
        for (name, value) in attack.handshake_lines() {
            request
                .headers_mut()
                .append(HeaderName::from_bytes(name.as_bytes()).expect("a name"), HeaderValue::from_static(value));
        }
        append(request.headers_mut(), attack);
        // As hyper does.
        if request.headers().contains_key("upgrade") || request.method() == Method::CONNECT {
            request.extensions_mut().insert(hyper::upgrade::on(Request::new(())));
        }
        let (parts, body) = answer(&self.app, request).await.into_parts();
        let body = body.collect().await.expect("a body in memory").to_bytes().to_vec();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// The same connection takes all attacks: none may break it.
    async fn connect(&mut self, attack: &Attack) -> Result<Reply, String> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = method(attack, Method::CONNECT);
        let is_connect = request.method() == Method::CONNECT;
        *request.uri_mut() = match &attack.protocol {
            None if is_connect => format!("{HOST}:443"),
            _ => format!("https://{HOST}{}", attack.target),
        }
        .parse()
        .expect("a target that `http` can express");
        if let Some(protocol) = attack.protocol.as_deref().filter(|_| is_connect) {
            request.extensions_mut().insert(Protocol::from(protocol));
        }
        for (name, value) in attack.handshake_lines().filter(|(name, _)| *name == "Sec-WebSocket-Version") {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        append(request.headers_mut(), attack);
        self.http2.ready().await.map_err(|error| format!("the connection is closed: {error}"))?;
        let response = self.http2.send_request(request).await.map_err(|error| format!("no response: {error}"))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        if is_connect && response.status().is_success() {
            let mut socket = socket_of(response).await;
            socket.send(Message::text("hi")).await.map_err(|error| error.to_string())?;
            let echo = socket.next().await.ok_or("no echo")?.map_err(|error| error.to_string())?;
            return if echo == Message::text("hi") {
                Ok(Reply { status, headers, body: Vec::new() })
            } else {
                Err(format!("the echo is {echo:?}"))
            };
        }
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes().to_vec();
        Ok(Reply { status, headers, body })
    }
}

fn method(attack: &Attack, default: Method) -> Method {
    attack.method.as_ref().map_or(default, |method| method.parse().expect("a method"))
}

fn append(headers: &mut HeaderMap, attack: &Attack) {
    for (name, value) in attack.headers() {
        let name = HeaderName::from_bytes(name).expect("a name that `http` can express");
        headers.append(name, HeaderValue::from_bytes(value).expect("a value that `http` can express"));
    }
}
