//! The page's client in `clients/js`, in Node and in browsers.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, RawQuery, Request, State, ws::CloseFrame, ws::Message},
    http::{
        HeaderMap,
        header::{CONTENT_TYPE, SET_COOKIE, UPGRADE},
    },
    middleware::{Next, from_fn_with_state},
    response::{
        Html, Response,
        sse::{Event, Sse},
    },
    routing::{any, get, post},
};
use axum_ws_auth::{
    AuthenticatedUpgrade, Drain, FirstMessage, MemoryTickets, RefreshProtocol, Sessions, TicketOptions, Tickets,
    TokenSource, WsAuthLayer,
};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::{
    browser::{Browser, visit},
    js_recipes,
    protocols::{Served, verifier},
    script,
};

const CLIENT: &str = include_str!("../../clients/js/index.js");

struct Shared {
    sessions: Sessions,
    /// Requests by scenario: `socket 101`, or `plain 401`.
    requests: Mutex<HashMap<String, Vec<String>>>,
    /// An application that restarts, and its sessions.
    restarting: Mutex<(Router, Sessions)>,
    reports: mpsc::UnboundedSender<Value>,
}

pub(crate) struct Application {
    served: Served,
    reports: mpsc::UnboundedReceiver<Value>,
}

impl Application {
    pub(crate) async fn start() -> Self {
        let (sender, reports) = mpsc::unbounded_channel();
        let sessions = Sessions::new();
        let shared = Arc::new(Shared {
            sessions: sessions.clone(),
            requests: Mutex::default(),
            restarting: Mutex::new(restarted()),
            reports: sender,
        });
        let app = sockets(&sessions)
            .merge(js_recipes::routes(&sessions))
            .route("/restarting", any(restarting))
            .layer(from_fn_with_state(Arc::clone(&shared), log))
            .route("/restart", post(restart))
            .route("/end/{subject}", post(end))
            .route("/renew", post(renew))
            .route("/log/{scenario}", get(requests))
            .route("/report", post(report))
            .route("/", get(Html(include_str!("js_client.html"))))
            .route("/client.js", get(([(CONTENT_TYPE, "text/javascript")], CLIENT)))
            .route("/scenarios.js", get(([(CONTENT_TYPE, "text/javascript")], include_str!("js_client_scenarios.mjs"))))
            .with_state(shared);
        Self { served: Served::start(app).await, reports }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.served.authority())
    }
}

/// A route for each way to authenticate.
fn sockets<S: Clone + Send + Sync + 'static>(sessions: &Sessions) -> Router<S> {
    let layer = || WsAuthLayer::new(verifier).sessions(sessions);
    let with_cookie = layer().sources([TokenSource::cookie("session")]).expect("a cookie");
    let with_cookie = with_cookie.refresh_protocol(RefreshProtocol::json().greeting());
    let tickets = Tickets::<String>::new(MemoryTickets::new());
    let redeeming = WsAuthLayer::new(tickets.verifier()).sources([TokenSource::ticket()]).expect("a ticket");
    let ask = RefreshProtocol::json().ask(Duration::from_secs(3));
    let socket = |layer: WsAuthLayer| any(echo).layer(layer);
    Router::new()
        .route("/socket", socket(layer()))
        .route("/greeted", socket(layer().refresh_protocol(RefreshProtocol::json().greeting())))
        .route("/asked", socket(layer().refresh_protocol(ask)))
        .route("/closing", socket(layer().accept_then_close()))
        .route("/first", socket(layer().first_message(FirstMessage::json())))
        .route("/ticket", tickets.route(TicketOptions::new().path("/redeem").expect("a path")).layer(layer()))
        .route("/redeem", socket(redeeming))
        .route("/refresh/{session}", with_cookie.refresh_route().expect("a registry"))
        .route("/cookie", socket(with_cookie))
        .route("/events", get(events).layer(layer()))
}

/// Sends every message back, save for one that makes it restart.
async fn echo(upgrade: AuthenticatedUpgrade<String>) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            let message = match message {
                Message::Text(text) if text == "restart" => {
                    Message::Close(Some(CloseFrame { code: 1012, reason: "".into() }))
                }
                message => message,
            };
            if socket.send(message).await.is_err() {
                break;
            }
        }
    })
}

/// Sends the id that the client knows as an event with the next one.
async fn events(headers: HeaderMap) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let last = last.unwrap_or_else(|| "none".to_owned());
    let event = Event::default().id(format!("{last}→")).retry(Duration::from_millis(50)).data(last);
    Sse::new(stream::iter([Ok(event)]).chain(stream::pending()))
}

fn restarted() -> (Router, Sessions) {
    let sessions = Sessions::new();
    let layer = WsAuthLayer::new(verifier).sessions(&sessions);
    (Router::new().route("/restarting", any(echo)).layer(layer), sessions)
}

async fn restarting(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (app, _) = shared.restarting.lock().unwrap_or_else(PoisonError::into_inner).clone();
    app.oneshot(request).await.unwrap_or_else(|never| match never {})
}

async fn restart(State(shared): State<Arc<Shared>>) {
    let (_, sessions) = {
        let mut current = shared.restarting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, restarted())
    };
    sessions.drain(Drain::service_restart()).await;
}

/// Returns how many sessions it ended.
async fn end(State(shared): State<Arc<Shared>>, Path(subject): Path<String>) -> Json<usize> {
    Json(shared.sessions.end_subject(subject))
}

/// The query says until when the cookie is valid.
async fn renew(RawQuery(until): RawQuery) -> ([(axum::http::HeaderName, String); 1], &'static str) {
    let cookie = format!("session=cookie.{}; Path=/; HttpOnly; SameSite=Strict", until.unwrap_or_default());
    ([(SET_COOKIE, cookie)], "")
}

async fn log(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let scenario = query.split('&').find_map(|pair| pair.strip_prefix("scenario=")).map(str::to_owned);
    let kind = if request.headers().contains_key(UPGRADE) { "socket" } else { "plain" };
    let response = next.run(request).await;
    if let Some(scenario) = scenario {
        let mut requests = shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.entry(scenario).or_default().push(format!("{kind} {}", response.status().as_u16()));
    }
    response
}

async fn requests(State(shared): State<Arc<Shared>>, Path(scenario): Path<String>) -> Json<Vec<String>> {
    let requests = shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
    Json(requests.get(&scenario).cloned().unwrap_or_default())
}

async fn report(State(shared): State<Arc<Shared>>, Json(seen): Json<Value>) {
    // Fails if the test has already ended.
    let _ = shared.reports.send(seen);
}

/// What happens in each scenario, whatever runs it.
fn expected() -> Value {
    let expired = json!([[3000, "token_expired", "renew"]]);
    let refused = json!([[3000, "invalid_token", "refused"], [3000, "invalid_token", "sign-in"]]);
    let opened = json!(["socket 101"]);
    let twice = json!(["socket 101", "socket 101"]);
    let probed = json!(["socket 401", "plain 401", "socket 401", "plain 401"]);
    json!({
        "expiry": { "echo": "hello", "asked": 2, "closes": expired, "log": twice },
        "refresh": { "echo": "still here", "opens": 1, "messages": 1, "log": opened },
        "asked": { "echo": "still here", "opens": 1, "log": opened },
        "otherUser": { "refused": ["other_subject"] },
        "ticket": { "echo": "hello", "closes": [[1012, "", "retry"]], "log": twice },
        "first": { "echo": "hello", "log": opened },
        "firstRefused": { "closes": refused, "log": twice },
        "revoked": { "closes": [[3000, "revoked", "sign-in"]], "state": 3, "log": opened },
        "drain": { "echo": "hello", "closes": [[1012, "shutdown", "retry"]], "log": twice },
        "closing": { "closes": refused, "log": twice },
        "refused": {
            "closes": [[1006, "invalid_token", "refused"], [1006, "invalid_token", "sign-in"]],
            "log": probed,
        },
        "unseen": { "asked": 5, "grows": true, "signInNeeded": 0, "last": [1006, "", "retry"] },
        "events": {
            "messages": [["none", "none→"], ["none→", "none→→"]],
            "reasons": [["token_expired", "renew"], ["revoked", "sign-in"]],
            "log": ["plain 200", "plain 200"],
        },
        "eventsRefused": { "statuses": [401, 401], "log": ["plain 401", "plain 401"] },
    })
}

fn compare(seen: &Value, expected: &Value) {
    let (seen, expected) = (seen.as_object().expect("an object"), expected.as_object().expect("an object"));
    for (name, expected) in expected {
        assert_eq!(seen.get(name), Some(expected), "{name}");
    }
    assert_eq!(seen.len(), expected.len());
}

async fn page(browser: Browser) {
    let mut app = Application::start().await;
    let seen = visit(browser, &app.origin(), app.reports.recv()).await.expect("the server runs");
    let mut expected = expected();
    // No script can read the cookie.
    expected["cookie"] = json!({ "echo": "still here", "readable": "", "opens": 1, "log": ["socket 101"] });
    compare(&seen, &expected);
}

#[tokio::test]
async fn node_reconnects_refreshes_and_stops() {
    let app = Application::start().await;
    let seen: Vec<Value> = script::node_script("ws", "js_client.mjs", app.origin()).await;
    compare(&seen[0], &expected());
}

#[tokio::test]
async fn types_are_those_of_the_module() {
    script::type_check("js_types.ts").await;
}

mod page_in_chromium {
    use super::{Browser, page};

    #[tokio::test]
    async fn client_reconnects_refreshes_and_stops() {
        page(Browser::Chromium).await;
    }
}

mod page_in_firefox {
    use super::{Browser, page};

    #[tokio::test]
    #[ignore = "needs Firefox"]
    async fn client_reconnects_refreshes_and_stops() {
        page(Browser::Firefox).await;
    }
}
