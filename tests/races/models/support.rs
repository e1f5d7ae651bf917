//! Runs a model in many orders, and the crate in it.

use std::{
    convert::Infallible,
    env,
    future::{Future, poll_fn},
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use axum::body::Body;
use axum_ws_auth::{
    Revocations, Session, Sessions, TimeSource, Token, Verified, VerifyError, WsAuthLayer, verifier_fn,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use metrics::with_local_recorder;
use shuttle::{
    Config, Runner,
    future::block_on,
    rand::{Rng, thread_rng},
    scheduler::{PctScheduler, RandomScheduler},
    thread::{self, JoinHandle},
};
use tokio::{
    runtime::{Builder, Runtime},
    task::yield_now,
};
use tower::{Layer, ServiceExt, service_fn};
use tracing::subscriber::with_default;

use crate::observer::{self, EndEvents, EndMetrics};

/// How many switches at the wrong places PCT looks for.
const PCT_DEPTH: usize = 3;

/// Runs the model in many orders, each time with a new runtime, whose clock stands still.
pub(crate) fn check(model: impl Fn(&Tasks) + Send + Sync + 'static) {
    let setting = |name, default| env::var(name).map_or(default, |value| value.parse().unwrap());
    let (seed, orders) = (setting("RACES_SEED", 1_u64), setting("RACES_ORDERS", 10_000));
    let orders = usize::try_from(orders).unwrap();
    let run = Arc::new(AtomicUsize::new(0));
    let counted = {
        let run = Arc::clone(&run);
        move || {
            run.fetch_add(1, Ordering::Relaxed);
            observer::reset();
            let tasks = Tasks::new();
            let _entered = tasks.0.enter();
            model(&tasks);
            observer::assert_consistent();
        }
    };
    let (random, pct) = (Arc::new(counted), orders / 2);
    let counted = Arc::clone(&random);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let run = || {
            let pct_orders = PctScheduler::new_from_seed(seed, PCT_DEPTH, pct);
            Runner::new(pct_orders, Config::new()).run(move || counted());
            let random_orders = RandomScheduler::new_from_seed(seed, orders - pct);
            Runner::new(random_orders, Config::new()).run(move || random());
        };
        with_default(EndEvents, || with_local_recorder(&EndMetrics::new(), run));
    }));
    if let Err(panic) = outcome {
        eprintln!("RACES_SEED={seed} RACES_ORDERS={orders}: order {} failed", run.load(Ordering::Relaxed));
        resume_unwind(panic);
    }
}

/// One of these, as the order says.
pub(crate) fn any<T: Clone>(of: &[T]) -> T {
    of[thread_rng().gen_range(0..of.len())].clone()
}

/// The tasks that the crate has spawned.
#[derive(Clone)]
pub(crate) struct Tasks(Arc<Runtime>);

impl Tasks {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()))
    }

    /// What this spawns is one of these tasks.
    pub(crate) fn within<T>(&self, spawns: impl FnOnce() -> T) -> T {
        let _entered = self.0.enter();
        spawns()
    }

    /// Runs the tasks for a while, in a thread.
    pub(crate) fn run(&self) -> JoinHandle<()> {
        let tasks = self.clone();
        thread::spawn(move || {
            for _ in 0..4 {
                tasks.turn();
                thread::yield_now();
            }
        })
    }

    /// The clock goes on.
    pub(crate) fn pass(&self, time: Duration) {
        self.0.block_on(tokio::time::advance(time));
    }

    /// Runs the tasks until all of them wait.
    pub(crate) fn settle(&self) {
        for _ in 0..8 {
            self.turn();
        }
    }

    /// Runs each task that is ready.
    pub(crate) fn turn(&self) {
        self.0.block_on(yield_now());
    }
}

/// A layer, and what the application does with it.
#[derive(Clone)]
pub(crate) struct Node {
    layer: WsAuthLayer,
    /// Added to the layer's wall clock.
    seconds: Arc<AtomicU64>,
    /// Whether the verifier refuses every token from now on.
    pub(crate) refuses: Arc<AtomicBool>,
    pub(crate) sessions: Sessions,
    /// The sessions that a handler has seen.
    pub(crate) admitted: Arc<Mutex<Vec<Session<()>>>>,
}

/// An open connection: a response that goes on as long as its session.
pub(crate) struct Connection {
    pub(crate) session: Session<()>,
    pub(crate) body: Body,
}

impl Node {
    pub(crate) fn new(sessions: &Sessions, revocations: Option<&Revocations>) -> Self {
        let (seconds, refuses) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let clock = Arc::clone(&seconds);
        let time = TimeSource::new(move || start() + Duration::from_secs(clock.load(Ordering::Relaxed)));
        let layer = WsAuthLayer::new(verifier_fn({
            let refuses = Arc::clone(&refuses);
            async move |token: Token| match refuses.load(Ordering::Relaxed) {
                true => Err(VerifyError::invalid()),
                false => verify(&token),
            }
        }))
        .time_source(time)
        .sessions(sessions);
        let layer = revocations.into_iter().fold(layer, WsAuthLayer::revocations);
        Self { layer, seconds, refuses, sessions: sessions.clone(), admitted: Arc::default() }
    }

    /// A handshake, which the handler answers with a body that goes on. Fails with the status of a refusal.
    pub(crate) fn connect(&self, token: &str) -> Result<Connection, StatusCode> {
        block_on(self.handshake(token))
    }

    /// A handshake that the client gives up after so many steps.
    pub(crate) fn give_up(&self, token: &str, steps: usize) {
        let mut handshake = pin!(self.handshake(token));
        let mut steps = 0..steps;
        block_on(poll_fn(|cx| match steps.next() {
            None => Poll::Ready(()),
            Some(_) => handshake.as_mut().poll(cx).map(drop),
        }));
    }

    async fn handshake(&self, token: &str) -> Result<Connection, StatusCode> {
        let admitted = Arc::clone(&self.admitted);
        let handler = service_fn(move |request: Request<Body>| {
            let session = request.extensions().get::<Session<()>>().unwrap().clone();
            admitted.lock().unwrap().push(session.clone());
            let response = Response::builder().header("content-type", "text/event-stream").extension(session);
            async { Ok::<_, Infallible>(response.body(Body::new(Endless)).unwrap()) }
        });
        let request = Request::get("/")
            .header("host", "localhost")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", format!("bearer, {token}"))
            .body(Body::empty());
        let response = self.layer.clone().layer(handler).oneshot(request.unwrap()).await.unwrap();
        let (mut parts, body) = response.into_parts();
        match parts.extensions.remove() {
            Some(session) if parts.status.is_success() => Ok(Connection { session, body }),
            _ => Err(parts.status),
        }
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    /// The admitted sessions that have not ended.
    pub(crate) fn open(&self) -> Vec<Session<()>> {
        // Copied first: looking at a session takes locks of the crate.
        let admitted = self.admitted.lock().unwrap().clone();
        admitted.into_iter().filter(|session| session.end_reason().is_none()).collect()
    }

    /// Once the application holds none, nothing is left of any session.
    pub(crate) fn assert_idle(&self) {
        // Not under the lock: to drop a session takes locks of the crate.
        let admitted = mem::take(&mut *self.admitted.lock().unwrap());
        drop(admitted);
        assert_eq!((self.sessions.count(), self.sessions.iter().count()), (0, 0), "slots, registrations");
    }
}

/// Reads the body until it ends. Returns its last event.
pub(crate) fn read(mut body: Body) -> String {
    let mut last = Bytes::new();
    while let Some(Ok(frame)) = block_on(body.frame()) {
        last = frame.into_data().unwrap();
    }
    String::from_utf8(last.to_vec()).unwrap()
}

/// When a model begins.
pub(crate) fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

/// A token is `<subject>.<id>.<for how many seconds it is valid>.<for how many it has been>`, seen from the beginning
/// of the model.
fn verify(token: &Token) -> Result<Verified<()>, VerifyError> {
    let parts: Vec<_> = token.expose().split('.').collect();
    let [subject, id, left, age] = parts.as_slice() else { return Err(VerifyError::invalid()) };
    let seconds = |text: &str| Duration::from_secs(text.parse().unwrap());
    let mut verified = Verified::new(()).with_subject(*subject).with_token_id(*id).recheck_in(Duration::MAX);
    verified.expires_at = Some(start() + seconds(left));
    verified.issued_at = Some(start() - seconds(age));
    Ok(verified)
}

/// A body that is never ready.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}
