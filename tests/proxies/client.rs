//! Clients that speak TLS to a proxy.

use std::{net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderName, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs::default_provider,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use crate::{
    TIMEOUT,
    proxy::{CERTIFICATE, Proxy},
};

/// The address of all clients here but Chromium. The proxy's own is 127.0.0.1.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;
pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

/// Connects, and agrees on the version of HTTP.
pub(crate) async fn connect(proxy: &Proxy, version: Version) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(CERTIFICATE).expect("a certificate")).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS");
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    let protocol: &[u8] = if version == Version::HTTP_2 { b"h2" } else { b"http/1.1" };
    config.alpn_protocols = vec![protocol.to_vec()];
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((ADDRESS, 0).into()).expect("an address");
    let stream = socket.connect((Ipv4Addr::LOCALHOST, proxy.port).into()).await.expect("a connection");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
    stream
}

/// Opens a WebSocket over HTTP/1.1. Returns it and the subprotocol that was selected, or the answer to a refusal.
pub(crate) async fn open(
    proxy: &Proxy,
    path: &str,
    headers: Headers<'_>,
) -> Result<(Socket, Option<String>), Box<Response<Option<Vec<u8>>>>> {
    let mut request = format!("wss://{}{path}", proxy.authority).into_client_request().expect("a URL");
    for (name, value) in headers {
        let name: HeaderName = name.parse().expect("a name");
        request.headers_mut().append(name, HeaderValue::from_str(value).expect("a value"));
    }
    let stream = connect(proxy, Version::HTTP_11).await;
    match timeout(TIMEOUT, client_async(request, stream)).await.expect("an answer") {
        Ok((socket, response)) => {
            let protocol = response.headers().get("sec-websocket-protocol");
            Ok((socket, protocol.map(|name| name.to_str().expect("ASCII").to_owned())))
        }
        Err(Error::Http(response)) => Err(response),
        Err(error) => panic!("{path}: {error}"),
    }
}

/// The status of the answer to a handshake.
pub(crate) async fn status(proxy: &Proxy, path: &str, headers: Headers<'_>) -> u16 {
    match open(proxy, path, headers).await {
        Ok(_) => 101,
        Err(response) => response.status().as_u16(),
    }
}

pub(crate) async fn open_with_token(proxy: &Proxy, path: &str, token: &str) -> Socket {
    let opened = open(proxy, path, &[("authorization", &format!("Bearer {token}"))]).await;
    opened.unwrap_or_else(|response| panic!("{path}: {}", response.status())).0
}

pub(crate) async fn assert_echoes(socket: &mut Socket) {
    socket.send(Message::text("hello")).await.expect("an open socket");
    let echo = loop {
        let message = timeout(TIMEOUT, socket.next()).await.expect("an echo");
        match message.expect("an open socket").expect("an echo") {
            // A client answers them by itself.
            Message::Ping(_) => {}
            message => break message,
        }
    };
    assert_eq!(echo, Message::text("hello"));
}

/// How a socket ends: with a close code and reason, or without. A page then sees 1006.
pub(crate) async fn end_of(socket: &mut Socket) -> Option<(u16, String)> {
    loop {
        match timeout(TIMEOUT, socket.next()).await.expect("an end") {
            Some(Ok(Message::Ping(_))) => {}
            Some(Ok(Message::Close(Some(frame)))) => return Some((frame.code.into(), frame.reason.to_string())),
            Some(Ok(Message::Close(None))) => return Some((1005, String::new())),
            None | Some(Err(_)) => return None,
            other => panic!("instead of an end: {other:?}"),
        }
    }
}

/// Sends a request without a body, on a connection of its own.
pub(crate) async fn request(
    proxy: &Proxy,
    version: Version,
    method: &str,
    path: &str,
    headers: Headers<'_>,
) -> Response<Incoming> {
    let stream = TokioIo::new(connect(proxy, version).await);
    let is_http2 = version == Version::HTTP_2;
    let uri = if is_http2 { format!("https://{}{path}", proxy.authority) } else { path.to_owned() };
    let mut request = Request::builder().method(method).uri(uri).version(version);
    if !is_http2 {
        request = request.header("host", &proxy.authority);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let answer = async {
        if is_http2 {
            let (mut sender, connection) =
                conn::http2::handshake(TokioExecutor::new(), stream).await.expect("a connection");
            tokio::spawn(connection);
            sender.send_request(request).await
        } else {
            let (mut sender, connection) = conn::http1::handshake(stream).await.expect("a connection");
            tokio::spawn(connection);
            sender.send_request(request).await
        }
    };
    timeout(TIMEOUT, answer).await.expect("an answer").expect("an answer")
}

/// The next part of a body. `None` at its regular end.
pub(crate) async fn next_part(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    loop {
        let frame = timeout(TIMEOUT, body.frame()).await.expect("a part or the end")?;
        match frame.map(|frame| frame.into_data().unwrap_or_default()) {
            // In HTTP/2, the last frame may be empty.
            Ok(part) if part.is_empty() => {}
            part => return Some(part),
        }
    }
}

/// The text up to this end.
pub(crate) async fn text_until(body: &mut Incoming, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let part = next_part(body).await.unwrap_or_else(|| panic!("{text:?} ends early")).expect("a part");
        text.push_str(std::str::from_utf8(&part).expect("text"));
    }
    text
}
