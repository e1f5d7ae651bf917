//! A second look: the token of a live session is verified again.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[path = "recheck/across_nodes.rs"]
mod across_nodes;
#[path = "recheck/answers.rs"]
mod answers;
#[path = "recheck/checks.rs"]
mod checks;
#[path = "recheck/combinators.rs"]
mod combinators;
#[path = "recheck/connections.rs"]
mod connections;
#[path = "support/limits.rs"]
mod limits;
#[path = "recheck/many.rs"]
mod many;
#[path = "recheck/on_demand.rs"]
mod on_demand;
#[path = "recheck/races.rs"]
mod races;
#[path = "recheck/secrets.rs"]
mod secrets;
mod support;
#[path = "recheck/unavailable.rs"]
mod unavailable;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use axum::{Router, routing::any};
use axum_ws_auth::{
    Authenticated, AuthenticatedUpgrade, Session, TimeSource, Verified, Verifier, VerifyError, VerifyInput,
    WsAuthLayer, test_util::handshake,
};
use support::{ClientSocket, answer, connected};
use tokio::{sync::mpsc, time::Instant};

pub(crate) const PERIOD: Duration = Duration::from_secs(60);

pub(crate) type Answer = Result<Verified<String>, VerifyError>;
type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A verifier whose answers a test chooses. Clones are the same verifier.
#[derive(Clone)]
pub(crate) struct Answers(Arc<State>);

struct State {
    answer: Mutex<Arc<dyn Fn(String) -> Answering + Send + Sync>>,
    times: Mutex<Vec<Instant>>,
    running: AtomicUsize,
    most: AtomicUsize,
}

struct Running<'a>(&'a State);

impl Answers {
    pub(crate) fn new(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let answers = Self(Arc::new(State {
            answer: Mutex::new(Arc::new(|_| unreachable!())),
            times: Mutex::default(),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        }));
        answers.set(answer);
        answers
    }

    /// Accepts every token, whose claims are its text, and rechecks it each minute.
    pub(crate) fn yes() -> Self {
        Self::new(|token| Ok(accepted(token)))
    }

    pub(crate) fn set(&self, answer: impl Fn(&str) -> Answer + Send + Sync + 'static) {
        let answer = Arc::new(answer);
        self.set_async(move |token| {
            let answer = Arc::clone(&answer);
            async move { answer(&token) }
        });
    }

    pub(crate) fn set_async<Fut>(&self, answer: impl Fn(String) -> Fut + Send + Sync + 'static)
    where
        Fut: Future<Output = Answer> + Send + 'static,
    {
        *self.0.answer.lock().unwrap() = Arc::new(move |token| Box::pin(answer(token)));
    }

    /// When the verifier was asked.
    pub(crate) fn times(&self) -> Vec<Instant> {
        self.0.times.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.times.lock().unwrap().len()
    }

    /// How many calls there are now.
    pub(crate) fn running(&self) -> usize {
        self.0.running.load(SeqCst)
    }

    /// How many calls there were at the same time, at most.
    pub(crate) fn most(&self) -> usize {
        self.0.most.load(SeqCst)
    }
}

impl Verifier for Answers {
    type Claims = String;

    async fn verify(&self, input: VerifyInput<'_>) -> Answer {
        self.0.times.lock().unwrap().push(Instant::now());
        let running = self.0.running.fetch_add(1, SeqCst) + 1;
        self.0.most.fetch_max(running, SeqCst);
        let _running = Running(&self.0);
        let answer = Arc::clone(&*self.0.answer.lock().unwrap());
        answer(input.token.expose().to_owned()).await
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

/// Claims that are the text of the token, whose subject is its first word.
pub(crate) fn accepted(token: &str) -> Verified<String> {
    let subject = token.split('.').next().unwrap();
    Verified::new(token.to_owned()).with_subject(subject).recheck_in(PERIOD)
}

/// The same, without a recheck.
pub(crate) fn accepted_for_good(token: &str) -> Verified<String> {
    let mut verified = accepted(token);
    verified.recheck_in = None;
    verified
}

/// A layer whose wall clock goes with the test's paused clock.
pub(crate) fn layer(verifier: impl Verifier) -> WsAuthLayer {
    let (wall, monotonic) = (SystemTime::now(), Instant::now());
    WsAuthLayer::new(verifier).time_source(TimeSource::new(move || wall + monotonic.elapsed()))
}

/// A client of a handler that keeps its socket open, and its session.
pub(crate) async fn open(layer: WsAuthLayer, token: &str) -> (ClientSocket, Session<String>) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let handler = async move |upgrade: AuthenticatedUpgrade<String>| {
        upgrade.on_upgrade(async move |mut socket| {
            let _ = sender.send(socket.session().clone());
            while let Some(Ok(_)) = socket.recv().await {}
        })
    };
    let app = Router::new().route("/", any(handler)).layer(layer);
    let client = connected(&app, token).await;
    (client, receiver.recv().await.unwrap())
}

/// Sessions of handshakes, without sockets.
pub(crate) async fn sessions_of(layer: WsAuthLayer, tokens: impl IntoIterator<Item = String>) -> Vec<Session<String>> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let handler = async move |Authenticated(session): Authenticated<String>| {
        let _ = sender.send(session);
    };
    let app = Router::new().route("/", any(handler)).layer(layer);
    let mut sessions = Vec::new();
    for token in tokens {
        answer(&app, handshake().bearer_subprotocol(&token).build()).await;
        sessions.push(receiver.recv().await.unwrap());
    }
    sessions
}
