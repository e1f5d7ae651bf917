//! What is on the wire when a stream ends, through `axum::serve` and a real connection.

use axum_ws_auth::EndReason;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{DOWNLOAD, EVENTS, Fixture, Source, last_event};

async fn serve(fixture: &Fixture) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = fixture.app.clone();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Everything that the server sends on a connection until it closes it or has sent the last chunk.
async fn everything(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    while stream.read_buf(&mut all).await.is_ok_and(|count| count > 0) && !all.ends_with(b"0\r\n\r\n") {}
    String::from_utf8(all).unwrap()
}

async fn requested(address: std::net::SocketAddr, content_type: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer alice.600\r\nrespond-content-type: {content_type}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// The handler's end, once the server has sent its first data.
async fn opened(fixture: &Fixture, data: &'static str) -> Source {
    loop {
        if let Some(source) = fixture.opened.lock().unwrap().pop_front() {
            source.send(data);
            return source;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn http1_sends_the_last_chunk_of_events_and_aborts_a_download() {
    let fixture = Fixture::new();
    let address = serve(&fixture).await;
    for content_type in [EVENTS, DOWNLOAD, "application/x-ndjson"] {
        let mut stream = requested(address, content_type).await;
        let source = opened(&fixture, "data: 1\n\n").await;
        let mut start = Vec::new();
        while !start.ends_with(b"data: 1\n\n\r\n") {
            assert!(stream.read_buf(&mut start).await.unwrap() > 0);
        }
        assert!(start.starts_with(b"HTTP/1.1 200 "));
        fixture.sessions.end_subject("alice");
        let rest = everything(stream).await;
        if content_type == EVENTS {
            let event = last_event("revoked");
            assert_eq!(rest, format!("{:X}\r\n{event}\r\n0\r\n\r\n", event.len()));
        } else {
            assert_eq!(rest, "", "no last chunk: the client must not take it for the whole");
        }
        assert!(source.is_dropped());
        while fixture.sessions.count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// A client that leaves ends the session of its silent stream.
#[tokio::test]
async fn http1_client_that_leaves_ends_its_session() {
    let fixture = Fixture::new();
    let address = serve(&fixture).await;
    let stream = requested(address, EVENTS).await;
    let source = opened(&fixture, "data: 1\n\n").await;
    drop(stream);
    assert_eq!(source.session().ended().await, EndReason::Closed);
    assert_eq!(fixture.sessions.iter().count(), 0);
}

async fn over_http2(address: std::net::SocketAddr, content_type: &str) -> http::Response<Incoming> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{address}/"))
        .header("authorization", "Bearer alice.600")
        .header("respond-content-type", content_type)
        .body(Empty::<Bytes>::new())
        .unwrap();
    sender.send_request(request).await.unwrap()
}

#[tokio::test]
async fn http2_sends_trailers_of_a_call_and_resets_a_download() {
    let fixture = Fixture::new();
    let address = serve(&fixture).await;
    for content_type in [EVENTS, "application/grpc", DOWNLOAD] {
        let mut body = over_http2(address, content_type).await.into_body();
        let source = opened(&fixture, "data: 1\n\n").await;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
        fixture.sessions.end_subject("alice");
        let last = body.frame().await.unwrap();
        match content_type {
            EVENTS => assert_eq!(last.unwrap().into_data().unwrap(), last_event("revoked")),
            "application/grpc" => {
                let trailers: HeaderMap = last.unwrap().into_trailers().unwrap();
                assert_eq!(
                    (&trailers["grpc-status"], &trailers["grpc-message"]),
                    (&"16".parse().unwrap(), &"revoked".parse().unwrap())
                );
            }
            _ => {
                let error = last.unwrap_err();
                assert!(format!("{error:?}").contains("INTERNAL_ERROR"), "{error:?}");
                continue;
            }
        }
        assert!(body.frame().await.is_none(), "{content_type}");
        assert!(source.is_dropped());
    }
}
