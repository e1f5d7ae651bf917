//! Sockets that follow a cookie session of tower-sessions: they stay open while requests extend it, and are closed soon
//! after a log-out. axum-login keeps its users in such sessions.

mod support;

use std::{error::Error, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, Response, header},
    routing::{any, get, post},
};
use axum_ws_auth::{
    AuthenticatedUpgrade, Sessions, Token, TokenSource, Verified, VerifyError, WsAuthLayer, verifier_fn,
};
use serde_json::Value;
use support::{Client, closed, connect_with, serve, slot_freed};
use tower::ServiceExt;
use tower_sessions::{
    Expiry, MemoryStore, Session, SessionManagerLayer, SessionStore, cookie::time, session::Id, session_store,
};

/// A log-out closes sockets within this time. Take a minute: each socket costs a look-up in the store per period.
const PERIOD: Duration = Duration::from_secs(1);

/// Looks up the session that the cookie names.
async fn verify(store: MemoryStore, cookie: Token) -> Result<Verified<String>, VerifyError> {
    let unavailable = |error: session_store::Error| VerifyError::unavailable(Duration::from_secs(5)).with_source(error);
    let id: Id = cookie.expose().parse().map_err(|_| VerifyError::invalid())?;
    let record = store.load(&id).await.map_err(unavailable)?.ok_or(VerifyError::invalid())?;
    let user = record.data.get("user").and_then(Value::as_str).ok_or(VerifyError::invalid())?;
    let expires_at = record.expiry_date.into();
    Ok(Verified::new(user.to_owned()).with_subject(user).with_expires_at(expires_at).recheck_in(PERIOD))
}

fn app() -> (Router, Sessions) {
    let store = MemoryStore::default();
    // Each request extends the session to half an hour from then.
    let cookies = SessionManagerLayer::new(store.clone())
        .with_name("__Host-session")
        .with_expiry(Expiry::OnInactivity(time::Duration::minutes(30)))
        .with_always_save(true);
    let pages = Router::new()
        .route("/login", post(async |session: Session| session.insert("user", "alice").await.map_err(|_| "no store")))
        .route("/page", get(async |session: Session| session.get::<String>("user").await.unwrap().unwrap()))
        .route("/logout", post(async |session: Session| session.flush().await.map_err(|_| "no store")))
        .layer(cookies);

    let sessions = Sessions::new();
    let verifier = verifier_fn(async move |cookie: Token| verify(store, cookie).await);
    let layer =
        WsAuthLayer::new(verifier).sources([TokenSource::cookie("__Host-session")]).unwrap().sessions(&sessions);
    let sockets = Router::new().route("/chat", any(chat)).layer(layer);
    (pages.merge(sockets), sessions)
}

async fn chat(upgrade: AuthenticatedUpgrade<String>) -> Response<Body> {
    upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
}

async fn request(app: &Router, method: &str, path: &str, cookie: &str) -> Response<Body> {
    let request = Request::builder().method(method).uri(path).header(header::COOKIE, cookie);
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    response
}

/// Logs in, and returns the cookie.
async fn log_in(app: &Router) -> String {
    let response = request(app, "POST", "/login", "").await;
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// Connects as a page of the same origin does.
async fn connect(address: &str, cookie: &str) -> Result<Client, u16> {
    connect_with(address, "/chat", &[("cookie", cookie), ("origin", &format!("http://{address}"))]).await
}

#[tokio::test]
async fn log_out_closes_the_socket() {
    let (app, sessions) = app();
    let address = serve(app.clone()).await;
    let cookie = log_in(&app).await;
    let mut client = connect(&address, &cookie).await.expect("a session");
    let mut other = connect(&address, &log_in(&app).await).await.expect("a session");

    request(&app, "POST", "/logout", &cookie).await;
    assert_eq!(closed(&mut client).await, (3000, "revoked".to_owned()));
    assert_eq!(connect(&address, &cookie).await.err(), Some(401));

    // The other browser of the same user is still logged in.
    assert_eq!(sessions.iter().count(), 1);
    other.close(None).await.unwrap();
    slot_freed(&sessions).await;
}

#[tokio::test]
async fn requests_extend_the_life_of_the_socket() -> Result<(), Box<dyn Error>> {
    let (app, sessions) = app();
    let address = serve(app.clone()).await;
    let cookie = log_in(&app).await;
    let _client = connect(&address, &cookie).await.expect("a session");
    let expires_at = || sessions.iter().next().and_then(|session| session.expires_at()).expect("it is open");
    let before = expires_at();
    tokio::time::sleep(Duration::from_millis(10)).await;
    request(&app, "GET", "/page", &cookie).await;
    let moved = async {
        while expires_at() == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), moved).await?;
    assert!(expires_at() > before);
    Ok(())
}
