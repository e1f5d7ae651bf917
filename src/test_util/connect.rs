use axum::body::{Body, Bytes};
use http::{Request, Response};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::io::DuplexStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config, tungstenite, tungstenite::protocol::WebSocketConfig,
};
use tower_service::Service;

/// The bytes that the pipe buffers in each direction: few enough that a large message meets back-pressure.
const PIPE: usize = 16 * 1024;

/// Why [`connect`] got no WebSocket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server refused the handshake with this response.
    #[error("the handshake was refused with {}", .0.status())]
    Refused(Box<Response<Vec<u8>>>),
    /// The handshake failed for another reason.
    #[error(transparent)]
    Failed(Box<tungstenite::Error>),
}

/// Opens a WebSocket to an application over an in-memory pipe, with hyper on one end and tungstenite on the other.
///
/// A task serves the connection, and ends with it. Works under tokio's paused clock. HTTP/1.1 only.
///
/// # Errors
///
/// If the handshake is refused or fails.
pub async fn connect<A, B>(
    app: A,
    handshake: Request<Body>,
) -> Result<(WebSocketStream<DuplexStream>, Response<()>), ConnectError>
where
    A: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    A::Future: Send,
    A::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (client, server) = tokio::io::duplex(PIPE);
    let serving = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(server), TowerToHyperService::new(app))
        .with_upgrades();
    tokio::spawn(async move {
        // The client sees an error on its end.
        let _ = serving.await;
    });

    let (mut parts, _) = handshake.into_parts();
    // tungstenite requires a host.
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = format!("ws://localhost{path}").parse().unwrap_or_default();
    // A test may open thousands, and tungstenite allocates 128 KiB for each to read into.
    let config = WebSocketConfig::default().read_buffer_size(4 * 1024);
    match client_async_with_config(Request::from_parts(parts, ()), client, Some(config)).await {
        Ok((socket, response)) => Ok((socket, response.map(|_| ()))),
        Err(tungstenite::Error::Http(response)) => {
            Err(ConnectError::Refused(Box::new(response.map(Option::unwrap_or_default))))
        }
        Err(error) => Err(ConnectError::Failed(Box::new(error))),
    }
}
