//! A page whose token is in an `HttpOnly` cookie refreshes the session of its socket.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderName, header::SET_COOKIE},
    middleware::{Next, from_fn_with_state},
    response::{Html, Response},
    routing::{any, get, post},
};
use axum_ws_auth::{
    AuthenticatedUpgrade, Sessions, Token, TokenSource, Verified, VerifyError, WsAuthLayer, verifier_fn,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

use crate::browser::{Browser, visit};

/// How long the first token is valid, in seconds.
const LIFETIME: u64 = 5;

/// Of the answers to refreshes.
type Statuses = Arc<Mutex<Vec<u16>>>;

pub(crate) async fn check(browser: Browser) {
    let (sender, mut reports) = mpsc::unbounded_channel::<Value>();
    let statuses = Statuses::default();
    let foreign = serve(Router::new().route("/foreign", get(Html(FOREIGN)))).await;

    let layer = WsAuthLayer::new(verifier_fn(verify))
        .sources([TokenSource::cookie("session")])
        .expect("a cookie")
        .sessions(&Sessions::new());
    let refresh = layer.refresh_route().expect("a registry");
    let refresh = Router::new().route("/refresh/{session}", refresh);
    let refresh = refresh.layer(from_fn_with_state(Arc::clone(&statuses), record));
    let app = Router::new()
        .route("/chat", any(chat))
        .layer(layer)
        .merge(refresh)
        .route("/", get((cookie(LIFETIME), Html(include_str!("refresh.html")))))
        .route("/renew", post((cookie(3600), "")))
        .route("/settings", get(Json(json!({ "foreign": foreign, "lifetime": LIFETIME }))))
        .route(
            "/report",
            post(async move |Json(report): Json<Value>| {
                // Fails if the test has already ended.
                let _ = sender.send(report);
            }),
        );
    let url = serve(app).await;
    let report = visit(browser, &url, async { reports.recv().await.expect("the server runs") }).await;

    let expires_in = report["expires_in"].as_u64();
    assert!(expires_in.is_some_and(|seconds| seconds > 3000), "{report}");
    let expected = json!({ "readable": "", "status": 200, "expires_in": expires_in, "echo": "still here" });
    assert_eq!(report, expected);
    // The browser sends the cookie with the foreign page's request too.
    assert_eq!(*statuses.lock().unwrap_or_else(PoisonError::into_inner), [200, 403]);
}

async fn record(State(statuses): State<Statuses>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    statuses.lock().unwrap_or_else(PoisonError::into_inner).push(response.status().as_u16());
    response
}

/// Posts to the URL in its query, and tells the page around it.
const FOREIGN: &str = r#"<!doctype html><script type="module">
  const url = new URLSearchParams(location.search).get("url");
  try {
    await fetch(url, { method: "POST", mode: "no-cors", credentials: "include" });
  } finally {
    parent.postMessage("posted", "*");
  }
</script>"#;

/// Accepts the seconds until the token expires.
async fn verify(token: Token) -> Result<Verified<()>, VerifyError> {
    let seconds = token.expose().parse().map_err(|_| VerifyError::invalid())?;
    let expires_at = std::time::SystemTime::now() + Duration::from_secs(seconds);
    Ok(Verified::new(()).with_subject("alice").with_expires_at(expires_at))
}

fn cookie(seconds: u64) -> [(HeaderName, String); 1] {
    [(SET_COOKIE, format!("session={seconds}; Path=/; HttpOnly; SameSite=Strict"))]
}

/// Sends the id of the session, and then every message back.
async fn chat(upgrade: AuthenticatedUpgrade<()>) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        let id = socket.session().id().to_string();
        let _ = socket.send(id.into()).await;
        while let Some(Ok(message)) = socket.recv().await {
            let _ = socket.send(message).await;
        }
    })
}

/// Returns the origin.
async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(axum::serve(listener, app).into_future());
    origin
}
