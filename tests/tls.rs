//! WebSockets over TLS, through `axum::serve`.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, extract::ws, response::Response, routing::any, serve::Listener};
use axum_ws_auth::{AuthenticatedUpgrade, Sessions, WsAuthLayer, test_util::handshake};
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request};
use support::*;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector, client,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::aws_lc_rs::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
    server,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message,
        protocol::frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

const CERTIFICATE: &[u8] = include_bytes!("test_keys/localhost.pem");
const KEY: &[u8] = include_bytes!("test_keys/p256.pem");

type Client = WebSocketStream<client::TlsStream<TcpStream>>;

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = server::TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(CERTIFICATE).unwrap()
}

async fn echo(upgrade: AuthenticatedUpgrade<String>) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, ws::Message::Text(_) | ws::Message::Binary(_)) && socket.send(message).await.is_err() {
                break;
            }
        }
    })
}

/// Serves an echo, and connects to it.
async fn connect(layer: WsAuthLayer) -> Client {
    let provider = Arc::new(default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate()], key).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let listener = TlsListener { tcp, acceptor: TlsAcceptor::from(Arc::new(config)) };
    let app = Router::new().route("/", any(echo)).layer(layer);
    tokio::spawn(async move { axum::serve(listener, app).await });

    let mut roots = RootCertStore::empty();
    roots.add(certificate()).unwrap();
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let (parts, ()) = handshake().bearer_subprotocol(TOKEN).build().map(drop).into_parts();
    let mut request = Request::builder().method(Method::GET).uri("wss://localhost/");
    *request.headers_mut().unwrap() = parts.headers;
    client_async(request.body(()).unwrap(), stream).await.unwrap().0
}

async fn receive(client: &mut Client) -> Message {
    client.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn messages_of_all_sizes_are_echoed() {
    let mut client = connect(opaque_layer()).await;
    // Around the lengths of headers, of TLS records and of what is written from where it is.
    for len in [0, 1, 125, 126, 4096, 16_383, 16_384, 16_385, 65_535, 65_536, 100_000, 1 << 20] {
        for message in
            [Message::binary((0..251).cycle().take(len).collect::<Vec<u8>>()), Message::text("é".repeat(len / 2))]
        {
            client.send(message.clone()).await.unwrap();
            assert!(receive(&mut client).await == message, "{len}");
        }
    }
}

#[tokio::test]
async fn many_messages_in_flight_are_echoed_in_order() {
    let client = connect(opaque_layer()).await;
    let messages: Vec<Message> =
        (0..300).map(|number: u32| Message::binary(number.to_be_bytes().repeat(1 + number as usize * 40))).collect();
    let (mut sink, mut stream) = client.split();
    let sent = messages.clone();
    let sending = async move {
        for message in sent {
            sink.send(message).await.unwrap();
        }
        sink
    };
    let receiving = async move {
        for message in messages {
            assert!(stream.next().await.unwrap().unwrap() == message);
        }
    };
    // The sink is held: its end would be the end of the connection.
    let (_sink, ()) = tokio::join!(sending, receiving);
}

#[tokio::test]
async fn fragments_are_one_message_and_pings_between_them_are_answered() {
    let mut client = connect(opaque_layer()).await;
    let parts = [vec![1; 100_000], Vec::new(), vec![2; 70_000], vec![3; 10]];
    for (number, part) in (0..).zip(&parts) {
        let opcode = if number == 0 { Data::Binary } else { Data::Continue };
        let is_final = number == 3;
        client.send(Message::Frame(Frame::message(part.clone(), OpCode::Data(opcode), is_final))).await.unwrap();
        client.send(Message::Ping(vec![number].into())).await.unwrap();
    }
    // A pong to the last ping is enough (RFC 6455 §5.5.3).
    let (mut is_echoed, mut is_answered) = (false, false);
    while !(is_echoed && is_answered) {
        match receive(&mut client).await {
            Message::Pong(payload) => is_answered |= *payload == [3],
            message => {
                assert!(message == Message::binary(parts.concat()));
                is_echoed = true;
            }
        }
    }
}

/// The bytes of a frame arrive in TLS records of their own.
#[tokio::test]
async fn frame_may_arrive_byte_by_byte() {
    let mut client = connect(opaque_layer()).await;
    for byte in [0x81, 0x83, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2, b'c' ^ 3] {
        client.get_mut().write_all(&[byte]).await.unwrap();
        client.get_mut().flush().await.unwrap();
    }
    assert_eq!(receive(&mut client).await, Message::text("abc"));
}

#[tokio::test]
async fn client_receives_the_close_frame_of_a_session_that_ends() {
    let sessions = Sessions::new();
    let mut client = connect(opaque_layer().sessions(&sessions)).await;
    client.send("hi".into()).await.unwrap();
    assert_eq!(receive(&mut client).await, Message::text("hi"));
    assert_eq!(sessions.end_subject("alice"), 1);
    let Message::Close(Some(frame)) = receive(&mut client).await else { panic!("no close frame") };
    assert_eq!((u16::from(frame.code), &*frame.reason), (3000, "revoked"));
    assert!(client.next().await.is_none());
}
