//! A server and a client over loopback.

use std::{io, net::SocketAddr, thread};

use axum::{Router, body::Body, serve::ListenerExt};
use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Serves in a thread of its own until the program ends.
pub(crate) fn serve(app: Router) -> io::Result<SocketAddr> {
    let runtime = runtime()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("a TCP connection"));
    thread::spawn(move || runtime.block_on(async { axum::serve(listener, app).await }));
    Ok(address)
}

pub(crate) fn to_bytes(request: &Request<Body>) -> Vec<u8> {
    let mut bytes = format!("GET {} HTTP/1.1\r\n", request.uri()).into_bytes();
    for (name, value) in request.headers() {
        bytes.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Completes one handshake.
pub(crate) async fn connect(server: SocketAddr, request: &[u8]) -> io::Result<TcpStream> {
    let mut stream = send(server, request).await?;
    let mut response = Vec::with_capacity(512);
    while !response.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut response).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    expect(b"HTTP/1.1 101 ", &response).map(|()| stream)
}

/// Sends a request that is refused, and reads the response until the server closes.
pub(crate) async fn be_refused(server: SocketAddr, request: &[u8]) -> io::Result<()> {
    let mut response = Vec::with_capacity(512);
    send(server, request).await?.read_to_end(&mut response).await?;
    expect(b"HTTP/1.1 401 ", &response)
}

pub(crate) async fn send(server: SocketAddr, request: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    // Closing with a reset leaves no port in TIME_WAIT. Otherwise the ports run out.
    stream.set_zero_linger()?;
    stream.write_all(request).await?;
    Ok(stream)
}

fn expect(status: &[u8], response: &[u8]) -> io::Result<()> {
    if response.starts_with(status) {
        return Ok(());
    }
    Err(io::Error::other(format!("unexpected response: {}", String::from_utf8_lossy(response))))
}
