//! A server on loopback: routes behind layers, and a page that opens WebSockets to them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Query, Request, State},
    http::header::{CONTENT_TYPE, COOKIE, ORIGIN, SET_COOKIE},
    middleware::{Next, from_fn_with_state},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{any, get, post},
    serve::ListenerExt,
};
use axum_ws_auth::{
    AuthenticatedSocket, AuthenticatedUpgrade, CloseCodes, FirstMessage, FirstToken, Token, TokenSource, WsAuthLayer,
    test_util::{self, TestToken},
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

use crate::cases::{Attempt, Outcome};

pub(crate) struct Server {
    /// A valid token.
    pub(crate) token: String,
    authority: String,
    shared: Arc<Shared>,
    reports: mpsc::UnboundedReceiver<Vec<Outcome>>,
    serving: JoinHandle<std::io::Result<()>>,
}

/// A handshake as a middleware outside of the layer sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Handshake {
    pub(crate) status: u16,
    pub(crate) with_cookie: bool,
    pub(crate) origin: Option<String>,
}

struct Shared {
    token: String,
    handshakes: Mutex<Vec<Handshake>>,
    attempts: Mutex<Vec<Attempt>>,
    reports: mpsc::UnboundedSender<Vec<Outcome>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let (sender, reports) = mpsc::unbounded_channel();
        let token = TestToken::new("alice").sign();
        let shared = Arc::new(Shared {
            token: token.clone(),
            handshakes: Mutex::default(),
            attempts: Mutex::default(),
            reports: sender,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authority = listener.local_addr().expect("an address").to_string();
        let listener = listener.tap_io(|stream| {
            // Otherwise small messages are delayed.
            let _ = stream.set_nodelay(true);
        });
        let serving = tokio::spawn(axum::serve(listener, app(&shared)).into_future());
        Self { token, authority, shared, reports, serving }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.authority)
    }

    pub(crate) fn websocket(&self, path: &str) -> String {
        format!("ws://{}{path}", self.authority)
    }

    pub(crate) fn page(&self) -> String {
        format!("{}/page", self.origin())
    }

    /// Sets the cookie and redirects to `url`.
    pub(crate) fn login_then(&self, url: &str) -> String {
        format!("{}/login?then={url}", self.origin())
    }

    /// Sets what the page does when it is opened.
    pub(crate) fn page_runs(&self, attempts: Vec<Attempt>) {
        *self.shared.attempts.lock().unwrap_or_else(PoisonError::into_inner) = attempts;
    }

    /// Waits for the page's outcomes.
    pub(crate) async fn report(&mut self) -> Vec<Outcome> {
        self.reports.recv().await.expect("the server runs")
    }

    pub(crate) fn handshakes(&self) -> Vec<Handshake> {
        self.shared.handshakes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn app(shared: &Arc<Shared>) -> Router {
    let layer = WsAuthLayer::new(test_util::verifier::<Value>());
    let brief = layer.clone().max_lifetime(Duration::from_millis(300)).expect("a lifetime");
    let kept = layer.clone().keep_alive(Duration::from_millis(100), Duration::from_secs(2)).expect("not zero");
    let cookie = layer.clone().sources([TokenSource::cookie("session")]).expect("a cookie with the default policy");
    let handshakes = Router::new()
        .route("/bearer", any(echo).layer(layer.clone()))
        .route("/v1", any(echo_v1).layer(layer.clone()))
        .route("/kept", any(pause).layer(kept))
        .route("/brief", any(wait).layer(brief))
        .route("/ended", any(end).layer(layer.clone().close_codes(CloseCodes::HTTP_LIKE)))
        .route("/first", any(echo).layer(layer.clone().first_message(first_message())))
        .route("/close", any(echo).layer(with_reasons(layer)))
        .route("/cookie", any(echo).layer(cookie.clone()))
        .route("/cookie/close", any(echo).layer(with_reasons(cookie)))
        .layer(from_fn_with_state(Arc::clone(shared), log));
    let pages = Router::new()
        .route("/page", get(Html(include_str!("page.html"))))
        .route("/web.mjs", get(([(CONTENT_TYPE, "text/javascript")], include_str!("web.mjs"))))
        .route("/login", get(login))
        .route("/attempts", get(attempts))
        .route("/report", post(report))
        .with_state(Arc::clone(shared));
    handshakes.merge(pages)
}

/// Takes `token:` and the token. The handler echoes the message.
fn first_message() -> FirstMessage {
    FirstMessage::new(|message| {
        let token = message.to_text().ok()?.strip_prefix("token:")?;
        Some(FirstToken::new(Token::new(token)).replay(message.clone()))
    })
}

/// Gives pages the reason of a refusal.
fn with_reasons(layer: WsAuthLayer) -> WsAuthLayer {
    layer.accept_then_close().subprotocols(["chat.v1"]).expect("a subprotocol's name")
}

async fn echo(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    upgrade.on_upgrade(send_back)
}

async fn echo_v1(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    upgrade.protocols(["chat.v1"]).on_upgrade(send_back)
}

async fn wait(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    upgrade.on_upgrade(async |socket| {
        let _held = socket;
        std::future::pending::<()>().await;
    })
}

/// Echoes after several pings, and after a client that does not answer them has lost its session.
async fn pause(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        let Some(Ok(message)) = socket.recv().await else { return };
        tokio::time::sleep(Duration::from_secs(3)).await;
        if socket.send(message).await.is_ok() {
            send_back(socket).await;
        }
    })
}

async fn end(upgrade: AuthenticatedUpgrade<Value>) -> Response {
    upgrade.on_upgrade(async |socket| {
        socket.session().end();
    })
}

async fn send_back(mut socket: AuthenticatedSocket<Value>) {
    while let Some(Ok(message)) = socket.recv().await {
        // Sending the close frame back fails. The client must still see a clean close.
        if socket.send(message).await.is_err() {
            break;
        }
    }
}

async fn log(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let with_cookie = request.headers().contains_key(COOKIE);
    let origin = request.headers().get(ORIGIN).map(|origin| String::from_utf8_lossy(origin.as_bytes()).into_owned());
    let response = next.run(request).await;
    let handshake = Handshake { status: response.status().as_u16(), with_cookie, origin };
    shared.handshakes.lock().unwrap_or_else(PoisonError::into_inner).push(handshake);
    response
}

#[derive(serde::Deserialize)]
struct Login {
    then: String,
}

async fn login(State(shared): State<Arc<Shared>>, Query(Login { then }): Query<Login>) -> Response {
    let cookie = format!("session={}; Path=/; HttpOnly; SameSite=Strict", shared.token);
    ([(SET_COOKIE, cookie)], Redirect::to(&then)).into_response()
}

async fn attempts(State(shared): State<Arc<Shared>>) -> Json<Vec<Attempt>> {
    Json(shared.attempts.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

async fn report(State(shared): State<Arc<Shared>>, Json(outcomes): Json<Vec<Outcome>>) {
    // Fails if the test has already ended.
    let _ = shared.reports.send(outcomes);
}
