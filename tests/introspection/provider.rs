//! A provider in process, with scripted answers.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::body::Bytes;
use axum_ws_auth::HttpClient;
use http::{Method, Request, Response, StatusCode, Uri, header::HeaderMap};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

type Sent = Result<Response<Bytes>, Box<dyn std::error::Error + Send + Sync>>;
type Answering = Pin<Box<dyn Future<Output = Sent> + Send>>;
type Answer = Arc<dyn Fn(&str) -> Answering + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Provider(Arc<State>);

struct State {
    answer: Mutex<Answer>,
    delay: Mutex<Duration>,
    documents: Mutex<HashMap<String, Value>>,
    requests: Mutex<Vec<Seen>>,
    running: AtomicUsize,
    most: AtomicUsize,
}

/// A request for introspection.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) form: HashMap<String, String>,
}

struct Running<'a>(&'a State);

impl Provider {
    /// Answers about each token as the function says.
    pub(crate) fn new(answer: impl Fn(&str) -> Value + Send + Sync + 'static) -> Self {
        let provider = Self(Arc::new(State {
            answer: Mutex::new(Arc::new(|_| unreachable!())),
            delay: Mutex::default(),
            documents: Mutex::default(),
            requests: Mutex::default(),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        }));
        provider.answer(answer);
        provider
    }

    /// Every token is active, and its text is the name of its subject.
    pub(crate) fn yes() -> Self {
        Self::new(active)
    }

    pub(crate) fn answer(&self, answer: impl Fn(&str) -> Value + Send + Sync + 'static) {
        self.respond(move |token| Ok(json_response(&answer(token))));
    }

    pub(crate) fn respond(&self, respond: impl Fn(&str) -> Sent + Send + Sync + 'static) {
        let respond = Arc::new(respond);
        *self.0.answer.lock().unwrap() = Arc::new(move |token| {
            let response = respond(token);
            Box::pin(async move { response })
        });
    }

    /// Answers after this time.
    pub(crate) fn delay(&self, delay: Duration) {
        *self.0.delay.lock().unwrap() = delay;
    }

    /// What a `GET` of this URL returns.
    pub(crate) fn document(&self, url: &str, document: &Value) {
        self.0.documents.lock().unwrap().insert(url.to_owned(), document.clone());
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.0.requests.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.requests.lock().unwrap().len()
    }

    /// How many requests there are now.
    pub(crate) fn running(&self) -> usize {
        self.0.running.load(SeqCst)
    }

    /// How many requests there were at the same time, at most.
    pub(crate) fn most(&self) -> usize {
        self.0.most.load(SeqCst)
    }

    pub(crate) fn client(&self) -> impl HttpClient + use<> {
        let state = Arc::clone(&self.0);
        move |request| {
            let state = Arc::clone(&state);
            async move { state.receive(request).await }
        }
    }
}

impl State {
    async fn receive(&self, request: Request<Bytes>) -> Sent {
        if request.method() == Method::GET {
            let document = self.documents.lock().unwrap().get(&request.uri().to_string()).cloned();
            return Ok(document.map_or_else(|| status(404), |document| json_response(&document)));
        }
        let form: HashMap<String, String> = form_urlencoded::parse(request.body()).into_owned().collect();
        let token = form["token"].clone();
        let (parts, _) = request.into_parts();
        let seen = Seen { at: Instant::now(), uri: parts.uri, headers: parts.headers, form };
        self.requests.lock().unwrap().push(seen);
        let running = self.running.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(running, SeqCst);
        let _running = Running(self);
        let delay = *self.delay.lock().unwrap();
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let answer = Arc::clone(&*self.answer.lock().unwrap());
        answer(&token).await
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An answer about an access token for this server, valid for an hour.
pub(crate) fn active(subject: &str) -> Value {
    let exp = seconds(SystemTime::now()) + 3600;
    json!({
        "active": true, "iss": crate::ISSUER, "sub": subject, "aud": "chat", "exp": exp, "scope": "read",
        "client_id": "web", "token_type": "Bearer",
    })
}

pub(crate) fn inactive() -> Value {
    json!({"active": false})
}

pub(crate) fn json_response(value: &Value) -> Response<Bytes> {
    Response::builder().header("content-type", "application/json").body(value.to_string().into()).unwrap()
}

pub(crate) fn status(status: u16) -> Response<Bytes> {
    let status = StatusCode::from_u16(status).unwrap();
    Response::builder().status(status).body(Bytes::new()).unwrap()
}
