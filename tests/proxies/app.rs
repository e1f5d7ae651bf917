//! The application behind the proxies.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header::SET_COOKIE},
    middleware::{Next, from_fn_with_state},
    response::{
        Html, IntoResponse, Redirect, Response,
        sse::{Event, Sse},
    },
    routing::{any, get, post},
};
use axum_ws_auth::{
    AuthenticatedUpgrade, ClientAddr, MemoryTickets, Sessions, TicketOptions, Tickets, TokenSource, TrustedProxies,
    WsAuthLayer,
    jwt::JwtVerifier,
    test_util::{TEST_SECRET, TestToken},
};
use futures_util::{Stream, StreamExt, stream};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

/// The most bytes of a token that the layer accepts by default.
pub(crate) const MAX_TOKEN_LEN: usize = 8 * 1024;

/// Listens until it is dropped.
pub(crate) struct App {
    pub(crate) authority: String,
    pub(crate) sessions: Sessions,
    shared: Arc<Shared>,
    reports: mpsc::UnboundedReceiver<Value>,
    serving: JoinHandle<()>,
}

struct Shared {
    statuses: Mutex<Vec<StatusCode>>,
    reports: mpsc::UnboundedSender<Value>,
}

impl App {
    pub(crate) async fn start() -> Self {
        let (sender, reports) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { statuses: Mutex::default(), reports: sender });
        let sessions = Sessions::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authority = listener.local_addr().expect("an address").to_string();
        let app = router(&sessions, &shared).into_make_service_with_connect_info::<SocketAddr>();
        let serving = tokio::spawn(async {
            let _ = axum::serve(listener, app).into_future().await;
        });
        Self { authority, sessions, shared, reports, serving }
    }

    /// The answers to all requests behind the layer so far.
    pub(crate) fn statuses(&self) -> Vec<StatusCode> {
        self.shared.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for what the page found.
    pub(crate) async fn report(&mut self) -> Value {
        self.reports.recv().await.expect("the application runs")
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A token of alice.
pub(crate) fn token() -> String {
    TestToken::new("alice").sign()
}

/// A token of alice that the layer accepts for a few seconds more.
pub(crate) fn expiring() -> String {
    TestToken::new("alice").expires_at(SystemTime::now() + Duration::from_secs(3)).sign()
}

/// A token of alice with this many bytes, or up to three less.
pub(crate) fn token_of(len: usize) -> String {
    let padded = |len| TestToken::new("alice").claim("padding", "x".repeat(len)).sign();
    // base64 makes four bytes of three.
    let token = padded((len - padded(0).len()) / 4 * 3);
    assert!((len - 3..=len).contains(&token.len()), "{}", token.len());
    token
}

fn router(sessions: &Sessions, shared: &Arc<Shared>) -> Router {
    // Without leeway, tokens expire when they say.
    let verifier = JwtVerifier::<Value>::builder().secret(TEST_SECRET).expect("a secret").leeway(Duration::ZERO);
    let sources =
        [TokenSource::cookie("__Host-session"), TokenSource::bearer_subprotocol(), TokenSource::authorization()];
    let layer =
        WsAuthLayer::new(verifier.build().expect("a verifier")).sources(sources).expect("sources").sessions(sessions);
    let kept = layer.clone().keep_alive(Duration::from_millis(500), Duration::from_secs(20)).expect("not zero");
    let closing = layer.clone().accept_then_close();
    let proxies = TrustedProxies::x_forwarded(["127.0.0.1"]).expect("an address");
    let trusting = layer.clone().trusted_proxies(proxies);
    let tickets = Tickets::<Value>::new(MemoryTickets::new());
    let redeeming = WsAuthLayer::new(tickets.verifier()).sources([TokenSource::ticket()]).expect("sources");
    let ways = || Router::new().route("/chat", any(echo)).route("/events", get(events));
    ways()
        .route("/download", get(download))
        .route("/ticket", tickets.route(TicketOptions::new()))
        .layer(layer)
        .nest("/kept", ways().layer(kept))
        .nest("/trusting", ways().route("/client", get(client)).layer(trusting))
        .nest("/closing", ways().layer(closing))
        .nest("/redeem", ways().layer(redeeming))
        .layer(from_fn_with_state(Arc::clone(shared), log))
        .route("/health", get("healthy"))
        .route("/sign-in", get(sign_in))
        .route("/page", get(page))
        .route("/report", post(report))
        .with_state(Arc::clone(shared))
}

async fn echo(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    upgrade.on_upgrade(async |socket| {
        let (sink, stream) = socket.split();
        let _ = stream.forward(sink).await;
    })
}

/// One event, and then silence.
async fn events() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::iter([Ok(Event::default().data("hello"))]).chain(stream::pending()))
}

/// More than a proxy's buffers hold, and then silence.
async fn download() -> Body {
    let part = Ok::<_, Infallible>("x".repeat(200_000));
    Body::from_stream(stream::iter([part]).chain(stream::pending()))
}

async fn client(Extension(client): Extension<ClientAddr>, headers: HeaderMap) -> String {
    format!("{client}, Forwarded: {:?}", headers.get("forwarded"))
}

async fn log(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    shared.statuses.lock().unwrap_or_else(PoisonError::into_inner).push(response.status());
    response
}

async fn sign_in() -> Response {
    let cookie = format!("__Host-session={}; Path=/; Secure; HttpOnly; SameSite=Strict", token());
    ([(SET_COOKIE, cookie)], Redirect::to("/page")).into_response()
}

async fn page() -> Html<String> {
    Html(include_str!("page.html").replace("TOKEN", &token()))
}

async fn report(State(shared): State<Arc<Shared>>, Json(found): Json<Value>) {
    // Fails if the test has already ended.
    let _ = shared.reports.send(found);
}
