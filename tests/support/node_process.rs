//! A node in a separate process: the test program runs itself again, with an ignored test that serves until its
//! standard input is closed.

use std::{
    io::{BufRead, BufReader, Lines, Read},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, State},
    http::{Request, StatusCode},
    routing::{any, post},
};
use axum_ws_auth::{
    AtLimit, Authenticated, Limits, Redis, Revocations, Session, SessionInfo, SessionMeta, Sessions, TicketOptions,
    Tickets, TokenSource, WsAuthLayer,
};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, client::IntoClientRequest},
};

use crate::nodes::{idle, named, verifier};

/// The environment variable with the URL of Redis.
const REDIS: &str = "AXUM_WS_AUTH_TEST_REDIS";
/// How long the sessions of a dead node count.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// Killed when it is dropped.
pub(crate) struct NodeProcess {
    process: Child,
    address: SocketAddr,
    /// Kept open, because the process writes to it when it ends.
    _output: Lines<BufReader<ChildStdout>>,
}

impl NodeProcess {
    /// Starts the test that calls [`serve`].
    pub(crate) fn start(test: &str, redis: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(REDIS, redis)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut output = BufReader::new(process.stdout.take().expect("its output")).lines();
        let mut lines = output.by_ref().map(|line| line.expect("a line"));
        let line = lines.find(|line| line.contains("node at ")).expect("it prints its address");
        let address = line.split("node at ").nth(1).and_then(|address| address.trim().parse().ok());
        Self { process, address: address.expect("an address"), _output: output }
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it has ended");
    }

    /// Stops the node and checks that it ends without an error.
    pub(crate) fn shut_down(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().expect("it has ended").success());
    }

    /// Opens a socket whose first message is the id of its session.
    pub(crate) async fn connect_named(&self, token: &str) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, u16> {
        self.open("/named", Some(token)).await
    }

    /// Opens a socket, or returns the status of the refusal.
    pub(crate) async fn connect(&self, token: &str) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, u16> {
        self.open("/chat", Some(token)).await
    }

    /// Opens a socket whose session notes this device.
    pub(crate) async fn connect_from(
        &self,
        device: &str,
        token: &str,
    ) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, u16> {
        self.open(&format!("/chat?device={device}"), Some(token)).await
    }

    /// The devices of the token's subject, on all nodes, with pages of two.
    pub(crate) async fn devices(&self, token: &str) -> Vec<String> {
        let (status, body) = self.post("/devices", token).await;
        assert_eq!(status, 200, "{body}");
        body.lines().map(str::to_owned).collect()
    }

    pub(crate) async fn connect_with_ticket(
        &self,
        ticket: &str,
    ) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, u16> {
        self.open(&format!("/by-ticket?ticket={ticket}"), None).await
    }

    async fn open(&self, path: &str, token: Option<&str>) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, u16> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().expect("a request");
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().expect("a header");
            request.headers_mut().insert("authorization", value);
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// A `POST` with a token.
    pub(crate) async fn post(&self, path: &str, token: &str) -> (StatusCode, String) {
        let stream = TokioIo::new(TcpStream::connect(self.address).await.expect("it listens"));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.expect("a connection");
        let connection = tokio::spawn(connection);
        let request = Request::post(path)
            .header("host", self.address.to_string())
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())
            .expect("a request");
        let (parts, body) = sender.send_request(request).await.expect("an answer").into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        connection.abort();
        (parts.status, String::from_utf8(bytes.to_vec()).expect("text"))
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves until standard input is closed. A subject may have one session on all nodes together.
pub(crate) async fn serve() {
    serve_limited(Limits::new().per_subject(1, AtLimit::RefuseNew).expect("one")).await;
}

/// Serves until standard input is closed, with limits for all nodes together.
pub(crate) async fn serve_limited(limits: Limits) {
    let Ok(url) = std::env::var(REDIS) else { return };
    let redis = Redis::new(&url).expect("a url");
    let limits = limits.across_nodes(redis.clone()).lease_lifetime(LEASE).expect("long enough");
    let sessions = Sessions::with_limits(limits).reachable_through(redis.clone());
    let tickets = Tickets::<String>::new(redis.clone());
    let revocations = Revocations::new(redis);
    let by_token = WsAuthLayer::new(verifier).sessions(&sessions).revocations(&revocations).session_meta(|parts| {
        let device = parts.uri.query().and_then(|query| query.strip_prefix("device="));
        device.map_or_else(SessionMeta::new, |device| SessionMeta::new().with("device", device))
    });
    let by_ticket = WsAuthLayer::new(tickets.verifier()).sources([TokenSource::ticket()]).expect("a source");
    let by_ticket = by_ticket.sessions(&sessions).revocations(&revocations);
    let refresh = by_token.refresh_route().expect("a registry");
    let app = Router::new()
        .route("/ticket", tickets.route(TicketOptions::new()))
        .route("/logout", post(log_out))
        .route("/devices", post(devices))
        .route("/devices/{device}/sign-out", post(sign_out))
        .route("/chat", any(idle))
        .route("/named", any(named))
        .layer(by_token)
        .route("/refresh/{session}", refresh)
        .route("/by-ticket", any(idle).layer(by_ticket))
        .layer(Extension(sessions))
        .with_state(Arc::new(revocations));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("node at {}", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(async { axum::serve(listener, app).await });
    let waiting = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    waiting.await.expect("no panic").expect("it is closed");
    serving.abort();
}

async fn log_out(
    State(revocations): State<Arc<Revocations>>,
    Authenticated(session): Authenticated<String>,
) -> StatusCode {
    let claims = session.claims();
    let (_, id) = claims.split_once('.').expect("an id");
    match revocations.revoke_token(id).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// All sessions of the user, with pages of two.
async fn own_sessions(session: &Session<String>, sessions: &Sessions) -> Result<Vec<SessionInfo>, StatusCode> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = sessions.of_subject(session.scoped_subject().expect("a subject")).after(after).limit(2).await;
        let page = page.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        after = page.next();
        all.extend(page);
        if after.is_none() {
            return Ok(all);
        }
    }
}

fn device(session: &SessionInfo) -> &str {
    session.meta().get("device").unwrap_or("unknown")
}

async fn devices(
    Authenticated(session): Authenticated<String>,
    Extension(sessions): Extension<Sessions>,
) -> Result<String, StatusCode> {
    Ok(own_sessions(&session, &sessions).await?.iter().map(|own| device(own).to_owned() + "\n").collect())
}

async fn sign_out(
    State(revocations): State<Arc<Revocations>>,
    Authenticated(session): Authenticated<String>,
    Path(name): Path<String>,
    Extension(sessions): Extension<Sessions>,
) -> Result<StatusCode, StatusCode> {
    let own = own_sessions(&session, &sessions).await?;
    let own = own.iter().find(|own| device(own) == name).ok_or(StatusCode::NOT_FOUND)?;
    revocations.revoke_session(own.id()).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(StatusCode::NO_CONTENT)
}
