//! Many sockets at once, and many in sequence: each is accounted for, and nothing of it is left.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    collections::{BTreeMap, HashSet},
    env,
    fmt::Debug,
    fs,
    future::{Future, pending, ready},
    mem,
    panic::resume_unwind,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Body,
    routing::{MethodRouter, any},
};
use axum_ws_auth::{
    AtLimit, AuthenticatedSocket, AuthenticatedUpgrade, EndReason, FirstMessage, Limits, RefreshProtocol, SessionId,
    Sessions, TimeSource, Verified, Verifier, VerifyInput, WsAuthLayer,
    jwt::JwtVerifier,
    test_util::{self, ConnectError, HandshakeBuilder, TEST_SECRET, TestToken, handshake},
};
use futures_util::{
    FutureExt, SinkExt, StreamExt,
    future::{LocalBoxFuture, join_all},
};
use http::{Request, StatusCode};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::{Value, json};
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    runtime::{Builder, Handle},
    sync::mpsc::{self, UnboundedReceiver},
    task::{AbortHandle, JoinHandle},
    time::{Instant, sleep, sleep_until, timeout},
};
use tower::ServiceExt;

/// A wall clock that follows tokio's, and starts at a whole second because tokens have whole seconds.
fn wall_clock() -> TimeSource {
    let start = Instant::now();
    TimeSource::new(move || epoch() + start.elapsed())
}

fn epoch() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Runs all ready tasks, without advancing time, until this is as expected.
async fn until<T: Debug + PartialEq>(expected: T, what: &str, actual: impl Fn() -> T) {
    for _ in 0..1000 {
        if actual() == expected {
            return;
        }
        settle().await;
    }
    assert_eq!(actual(), expected, "{what}");
}

const MINUTE: Duration = Duration::from_secs(60);

const SOCKETS: usize = 10_000;

/// Sockets that are open at the same time, and the ends that their handlers report.
struct Crowd {
    app: Router,
    sessions: Sessions,
    start: Instant,
    tasks: usize,
    clients: Vec<ClientSocket>,
    ends: UnboundedReceiver<SeenEnd>,
}

/// What a handler reports when its stream has ended.
struct SeenEnd {
    id: SessionId,
    reason: Option<EndReason>,
    after: Duration,
    messages: usize,
}

impl Crowd {
    fn new() -> Self {
        let (sessions, start, tasks) = (Sessions::new(), Instant::now(), alive_tasks());
        let (sender, ends) = mpsc::unbounded_channel();
        let handler = async move |upgrade: AuthenticatedUpgrade<Value>| {
            upgrade.on_upgrade(async move |mut socket| {
                let mut messages = 0;
                while let Some(Ok(_)) = socket.recv().await {
                    messages += 1;
                }
                let (session, after) = (socket.session(), start.elapsed());
                sender.send(SeenEnd { id: session.id(), reason: session.end_reason(), after, messages }).unwrap();
            })
        };
        let verifier = JwtVerifier::<Value>::builder().secret(TEST_SECRET).unwrap().leeway(Duration::ZERO);
        let layer = WsAuthLayer::new(verifier.build().unwrap())
            .time_source(wall_clock())
            .sessions(&sessions)
            .refresh_protocol(RefreshProtocol::json());
        let app = Router::new().route("/", any(handler)).layer(layer);
        Self { app, sessions, start, tasks, clients: Vec::new(), ends }
    }

    /// Opens sockets with one token, a thousand per second.
    async fn open(&mut self, count: usize, token: &str) {
        for number in 1..=count {
            self.clients.push(connected(&self.app, token).await);
            if number % 1000 == 0 {
                sleep(Duration::from_millis(987)).await;
            }
        }
    }

    async fn at(&self, seconds: f64) {
        sleep_until(self.start + Duration::from_secs_f64(seconds)).await;
    }

    /// Asserts that every socket is open and was sent nothing.
    fn assert_open(&mut self, expires_at: u64) {
        let count = self.clients.len();
        assert_eq!((self.sessions.count(), self.sessions.iter().count()), (count, count));
        let expires_at = Some(epoch() + Duration::from_secs(expires_at));
        assert!(self.sessions.iter().all(|session| session.expires_at() == expires_at));
        assert!(self.clients.iter_mut().all(|client| client.next().now_or_never().is_none()));
        assert!(self.ends.is_empty(), "no handler saw its stream end");
        assert_eq!(alive_tasks(), self.tasks + count, "a socket is one task");
    }

    /// Asserts that these sockets are closed on both sides within this second, and that only the others are left.
    async fn assert_closed(&mut self, reason: EndReason, second: u64, others: usize) {
        let mut clients = mem::take(&mut self.clients);
        let (mut closes, mut ids) = (BTreeMap::new(), HashSet::new());
        let all = async {
            for client in &mut clients {
                *closes.entry(closed(client).await).or_insert(0) += 1;
            }
            for _ in 0..clients.len() {
                let end = self.ends.recv().await.unwrap();
                assert_eq!((end.reason, end.after.as_secs(), end.messages), (Some(reason), second, 0));
                ids.insert(end.id);
            }
        };
        timeout(MINUTE, all).await.expect("all are closed");
        assert_eq!(closes, BTreeMap::from([((3000, reason.as_str().to_owned()), clients.len())]));
        assert_eq!(ids.len(), clients.len(), "each handler sees one end");
        let left = (others, others, self.tasks + others, 0);
        until(left, "connections, sessions, tasks, unexpected ends", || {
            (self.sessions.count(), self.sessions.iter().count(), alive_tasks(), self.ends.len())
        })
        .await;
        assert_eq!(self.start.elapsed().as_secs(), second, "the close took no time");
    }
}

fn token(subject: &str, expires_at: u64) -> String {
    TestToken::new(subject).expires_at(epoch() + Duration::from_secs(expires_at)).sign()
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_sockets_expire_in_the_same_second() {
    let mut crowd = Crowd::new();
    crowd.open(SOCKETS, &token("alice", 60)).await;
    crowd.at(59.998).await;
    crowd.assert_open(60);
    crowd.assert_closed(EndReason::TokenExpired, 60, 0).await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_sockets_of_a_subject_are_revoked_at_once() {
    let mut crowd = Crowd::new();
    crowd.open(100, &token("bob", 60)).await;
    let bobs = mem::take(&mut crowd.clients);
    crowd.open(SOCKETS, &token("alice", 60)).await;
    let second = crowd.start.elapsed().as_secs();

    // By several threads: each session is counted by the one that ends it.
    let sessions = crowd.sessions.clone();
    let counts: Vec<usize> = thread::scope(|scope| {
        let revoke = || sessions.end_subject("alice");
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(revoke)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(counts.iter().sum::<usize>(), SOCKETS, "{counts:?}");
    assert_eq!(sessions.end_subject("alice"), 0);
    assert_eq!((sessions.iter().count(), sessions.count()), (bobs.len(), bobs.len() + SOCKETS), "still closing");
    crowd.assert_closed(EndReason::Revoked, second, bobs.len()).await;

    crowd.clients = bobs;
    crowd.assert_open(60);
    assert_eq!(sessions.end_subject("bob"), crowd.clients.len());
    crowd.assert_closed(EndReason::Revoked, second, 0).await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_sockets_are_refreshed() {
    let mut crowd = Crowd::new();
    crowd.open(SOCKETS, &token("alice", 60)).await;
    crowd.at(30.0).await;
    let refresh = json!({ "type": "auth.refresh", "token": token("alice", 120) }).to_string();
    for client in &mut crowd.clients {
        client.send(refresh.clone().into()).await.unwrap();
    }
    for client in &mut crowd.clients {
        let answer = client.next().await.unwrap().unwrap();
        let answer: Value = serde_json::from_str(answer.to_text().unwrap()).unwrap();
        assert_eq!(answer, json!({ "type": "auth.refreshed", "expires_in": 90 }));
    }
    assert_eq!(crowd.start.elapsed().as_secs(), 30);
    for seconds in [59.998, 60.0, 61.0, 119.998] {
        crowd.at(seconds).await;
        crowd.assert_open(120);
    }
    crowd.assert_closed(EndReason::TokenExpired, 120, 0).await;
}

/// How many handshakes of a kind run at the same time.
const WAVE: usize = 40;
const HANDSHAKES: usize = 100_000;
/// How many run before anything is measured: caches, tables and arenas grow at first.
const WARM_UP: usize = HANDSHAKES / 5;
/// In KiB, during the other handshakes of a process: fifty bytes each.
const MAX_GROWTH: usize = 2 * 1024;

/// Must not leak: its clones are counted.
type Trace = Arc<()>;
type Socket = AuthenticatedSocket<Trace>;

/// The servers, and what counts the resources that they hold.
struct Stage {
    /// The same routes behind several layers.
    app: Router,
    by_first_message: Router,
    accept_then_close: Router,
    refuse_new: Router,
    evict_oldest: Router,
    sessions: Sessions,
    limited: [Sessions; 2],
    trace: Trace,
    failed_upgrades: Arc<AtomicUsize>,
    /// Tasks that own a socket.
    owners: Arc<Mutex<Vec<AbortHandle>>>,
    subjects: AtomicUsize,
    handshakes: AtomicUsize,
    before: Held,
}

/// The resources held for connections.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Held {
    connections: usize,
    sessions: usize,
    traces: usize,
    tasks: usize,
}

/// Runs a wave of handshakes of one kind.
type Run = for<'a> fn(&'a Stage) -> LocalBoxFuture<'a, ()>;

impl Stage {
    fn new() -> Self {
        let trace = Trace::default();
        let (owners, failed_upgrades) = (Arc::default(), Arc::default());
        let routes = routes(&trace, &owners, &failed_upgrades);
        let sessions = Sessions::new();
        let limited = [AtLimit::RefuseNew, AtLimit::EvictOldest]
            .map(|at_limit| Sessions::with_limits(Limits::new().per_subject(WAVE / 4, at_limit).unwrap()));
        let behind = |sessions, more: fn(WsAuthLayer) -> WsAuthLayer| {
            let layer = WsAuthLayer::new(traced(&trace)).time_source(wall_clock()).sessions(sessions);
            routes.clone().layer(more(layer))
        };
        let mut stage = Self {
            app: behind(&sessions, |layer| layer),
            by_first_message: behind(&sessions, |layer| {
                layer.first_message(FirstMessage::graphql_ws().max_waiting(WAVE).unwrap())
            }),
            accept_then_close: behind(&sessions, WsAuthLayer::accept_then_close),
            refuse_new: behind(&limited[0], |layer| layer),
            evict_oldest: behind(&limited[1], |layer| layer),
            sessions,
            limited,
            trace,
            failed_upgrades,
            owners,
            subjects: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            before: Held::default(),
        };
        drop(routes);
        stage.before = stage.held();
        stage
    }

    fn held(&self) -> Held {
        let registries = || [&self.sessions].into_iter().chain(&self.limited);
        Held {
            connections: registries().map(Sessions::count).sum(),
            sessions: registries().map(|sessions| sessions.iter().count()).sum(),
            traces: Arc::strong_count(&self.trace),
            tasks: alive_tasks(),
        }
    }

    /// A token that expires in a minute, with a new subject, so that nothing of another token is overwritten.
    fn token(&self) -> String {
        // Long, so that a leak is easy to measure.
        format!("{:0>100}.60", self.subjects.fetch_add(1, Ordering::Relaxed))
    }

    /// A handshake about as large as a browser's.
    fn anonymous(&self, path: &str) -> HandshakeBuilder {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        handshake().path(path).header("user-agent", "Mozilla/5.0 ".repeat(40).trim_end())
    }

    fn request(&self, path: &str) -> HandshakeBuilder {
        self.anonymous(path).bearer_subprotocol(&self.token())
    }

    /// A handshake with a token, or one for a first message, and its server.
    fn either(&self, number: usize, path: &str) -> (&Router, Request<Body>) {
        if number.is_multiple_of(2) {
            (&self.app, self.request(path).build())
        } else {
            (&self.by_first_message, self.anonymous(path).build())
        }
    }

    /// A wave of clients with tokens.
    async fn clients(&self, path: &str) -> Vec<ClientSocket> {
        let mut clients = Vec::new();
        for _ in 0..WAVE {
            clients.push(open(&self.app, self.request(path)).await);
        }
        assert_eq!((self.sessions.count(), self.sessions.iter().count()), (WAVE, WAVE), "{path}");
        clients
    }

    /// As many unauthenticated clients as may wait for a first message. Each is a task without a session.
    async fn unauthenticated(&self, path: &str) -> Vec<ClientSocket> {
        let mut clients = Vec::new();
        for _ in 0..WAVE {
            clients.push(open(&self.by_first_message, self.anonymous(path)).await);
        }
        until((0, self.before.tasks + WAVE), path, || (self.sessions.count(), alive_tasks())).await;
        clients
    }

    /// Waits until the first registry has this many connections and sessions.
    async fn until(&self, connections: usize, sessions: usize) {
        let actual = || (self.sessions.count(), self.sessions.iter().count());
        until((connections, sessions), "connections and sessions", actual).await;
    }
}

/// How often a handler sends a tick. Tokens expire in a minute.
const TICK: Duration = Duration::from_secs(15);

fn routes(trace: &Trace, owners: &Arc<Mutex<Vec<AbortHandle>>>, failed_upgrades: &Arc<AtomicUsize>) -> Router {
    async fn wait(socket: Socket) {
        socket.session().ended().await;
    }
    async fn split(socket: Socket) {
        let (mut sink, mut stream) = socket.split();
        tokio::spawn(async move { while let Some(Ok(_)) = stream.next().await {} });
        tokio::spawn(async move {
            while sink.send("tick".into()).await.is_ok() {
                sleep(TICK).await;
            }
        });
    }
    async fn panic<T>(_: T) {
        // Runs no panic hook, so it prints nothing.
        resume_unwind(Box::new(()));
    }
    let (owners, failed, in_hook) = (Arc::clone(owners), Arc::clone(failed_upgrades), Arc::clone(trace));
    let give_away = move |socket| {
        owners.lock().unwrap().push(tokio::spawn(read_on(socket)).abort_handle());
        ready(())
    };
    let fail = async move |upgrade: AuthenticatedUpgrade<Trace>| {
        let hook = move |_| drop((in_hook, failed.fetch_add(1, Ordering::SeqCst)));
        upgrade.on_failed_upgrade(hook).on_upgrade(read_on)
    };
    Router::new()
        .route("/reads", upgrading(trace, read_on))
        .route("/waits", upgrading(trace, wait))
        .route("/returns", upgrading(trace, async |_| {}))
        .route("/panics", upgrading(trace, panic))
        .route("/splits", upgrading(trace, split))
        .route("/gives-away", upgrading(trace, give_away))
        .route("/fails", any(fail))
        .route("/hangs", refusing(trace, async |upgrade| drop((pending::<()>().await, upgrade))))
        .route("/refuses", refusing(trace, async |_| {}))
        .route("/upgrades-and-refuses", refusing(trace, async |upgrade| drop(upgrade.on_upgrade(read_on))))
        .route("/panics-early", refusing(trace, panic))
}

fn traced(trace: &Trace) -> impl Verifier<Claims = Trace> {
    let trace = Arc::clone(trace);
    move |input: VerifyInput<'_>| {
        let verified = timed(input).into_inner().map(|known| {
            let mut verified = Verified::new(Arc::clone(&trace));
            (verified.subject, verified.expires_at) = (known.subject, known.expires_at);
            verified
        });
        ready(verified)
    }
}

/// A handler whose callback holds a trace.
fn upgrading<F, Fut>(trace: &Trace, callback: F) -> MethodRouter
where
    F: Fn(Socket) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let trace = Arc::clone(trace);
    any(async move |upgrade: AuthenticatedUpgrade<Trace>| {
        upgrade.on_upgrade(async move |socket| {
            let _trace = trace;
            callback(socket).await;
        })
    })
}

/// A handler that does not upgrade.
fn refusing<F, Fut>(trace: &Trace, decide: F) -> MethodRouter
where
    F: Fn(AuthenticatedUpgrade<Trace>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let trace = Arc::clone(trace);
    any(async move |upgrade: AuthenticatedUpgrade<Trace>| {
        let _trace = trace;
        decide(upgrade).await;
        StatusCode::IM_A_TEAPOT
    })
}

async fn read_on(mut socket: Socket) {
    while let Some(Ok(_)) = socket.recv().await {}
}

async fn open(app: &Router, request: HandshakeBuilder) -> ClientSocket {
    test_util::connect(app.clone(), request.build()).await.expect("a 101").0
}

/// The status of a refused handshake; `None` if the connection breaks.
async fn refused(app: &Router, request: HandshakeBuilder) -> Option<StatusCode> {
    match test_util::connect(app.clone(), request.build()).await {
        Ok(_) => panic!("a 101"),
        Err(ConnectError::Refused(response)) => Some(response.status()),
        Err(_) => None,
    }
}

/// Serves one connection over a pipe of this capacity, and sends a request.
async fn send(app: &Router, request: &Request<Body>, pipe: usize) -> (DuplexStream, JoinHandle<()>) {
    let (mut client, server) = tokio::io::duplex(pipe);
    let serving = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(server), TowerToHyperService::new(app.clone()))
        .with_upgrades();
    let serving = tokio::spawn(async move { drop(serving.await) });
    let mut head = format!("GET {} HTTP/1.1\r\n", request.uri());
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    client.write_all((head + "\r\n").as_bytes()).await.unwrap();
    (client, serving)
}

fn connection_init(token: &str) -> String {
    json!({ "type": "connection_init", "payload": { "Authorization": token } }).to_string()
}

/// Asserts that all clients are closed with this code and reason.
async fn all_closed(clients: Vec<ClientSocket>, code: u16, reason: &str) {
    for mut client in clients {
        assert_eq!(closed(&mut client).await, (code, reason.to_owned()));
    }
}

fn scenarios() -> [(&'static str, Run); 25] {
    macro_rules! scenarios {
        ($($name:ident),*) => { [$((stringify!($name), |stage| Box::pin($name(stage)))),*] };
    }
    scenarios![
        client_closes,
        client_disconnects,
        client_disconnects_and_handler_does_not_read,
        session_expires,
        session_expires_and_client_does_not_answer,
        registry_ends_session,
        callback_returns_at_once,
        callback_panics,
        callback_moves_the_halves_into_two_tasks,
        task_that_owns_the_socket_is_aborted,
        upgrade_fails_because_client_does_not_read_the_response,
        client_disconnects_before_the_handler_responds,
        connection_is_aborted_before_the_handler_responds,
        handler_panics_before_the_upgrade,
        handler_does_not_upgrade,
        handler_upgrades_and_responds_otherwise,
        no_route_matches,
        response_is_dropped_without_a_connection,
        response_future_is_dropped,
        client_disconnects_without_a_first_message,
        first_message_times_out,
        first_message_is_refused,
        first_message_is_accepted,
        token_is_refused,
        too_many_sessions
    ]
}

async fn client_closes(stage: &Stage) {
    for mut client in stage.clients("/reads").await {
        client.close(None).await.unwrap();
        while let Some(Ok(_)) = client.next().await {}
    }
}

async fn client_disconnects(stage: &Stage) {
    drop(stage.clients("/reads").await);
}

async fn client_disconnects_and_handler_does_not_read(stage: &Stage) {
    drop(stage.clients("/waits").await);
    settle().await;
    // Nothing reads the socket, so nothing notices.
    assert_eq!(stage.sessions.count(), WAVE);
    sleep(MINUTE).await;
}

async fn session_expires(stage: &Stage) {
    all_closed(stage.clients("/reads").await, 3000, "token_expired").await;
}

async fn session_expires_and_client_does_not_answer(stage: &Stage) {
    let clients = stage.clients("/waits").await;
    sleep(MINUTE + Duration::from_secs(1)).await;
    stage.until(WAVE, 0).await;
    sleep(Duration::from_secs(2)).await;
    stage.until(0, 0).await;
    drop(clients);
}

async fn registry_ends_session(stage: &Stage) {
    let clients = stage.clients("/reads").await;
    let mut infos = stage.sessions.iter();
    assert_eq!(stage.sessions.end(infos.next().unwrap().id()), 1);
    assert_eq!(stage.sessions.end_subject(infos.next().unwrap().subject().unwrap()), 1);
    drop(infos);
    assert_eq!(stage.sessions.end_all(), WAVE - 2);
    all_closed(clients, 3000, "revoked").await;
}

async fn callback_returns_at_once(stage: &Stage) {
    for _ in 0..WAVE {
        let mut client = open(&stage.app, stage.request("/returns")).await;
        while let Some(Ok(_)) = client.next().await {}
    }
}

async fn callback_panics(stage: &Stage) {
    for _ in 0..WAVE {
        let mut client = open(&stage.app, stage.request("/panics")).await;
        while let Some(Ok(_)) = client.next().await {}
    }
}

async fn callback_moves_the_halves_into_two_tasks(stage: &Stage) {
    let mut clients = stage.clients("/splits").await;
    clients.truncate(WAVE / 2);
    // The half that reads notices at once, which ends the session for both.
    stage.until(WAVE / 2, WAVE / 2).await;
    sleep(MINUTE).await;
    stage.until(WAVE / 2, 0).await;
    for mut client in clients {
        while client.next().await.unwrap().unwrap().is_text() {}
        assert!(client.next().await.is_none());
    }
    // The next tick finds no connection.
    sleep(TICK).await;
}

async fn task_that_owns_the_socket_is_aborted(stage: &Stage) {
    let clients = stage.clients("/gives-away").await;
    until(WAVE, "tasks", || stage.owners.lock().unwrap().len()).await;
    stage.owners.lock().unwrap().drain(..).for_each(|task| task.abort());
    for mut client in clients {
        assert!(client.next().await.is_none_or(|message| message.is_err()));
    }
}

async fn upgrade_fails_because_client_does_not_read_the_response(stage: &Stage) {
    let before = stage.failed_upgrades.load(Ordering::SeqCst);
    for number in 0..WAVE {
        let (app, request) = stage.either(number, "/fails");
        let (mut client, _) = send(app, &request, 64).await;
        let mut status = [0; 12];
        client.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 101");
    }
    until(before + WAVE, "failed upgrades", || stage.failed_upgrades.load(Ordering::SeqCst)).await;
}

async fn client_disconnects_before_the_handler_responds(stage: &Stage) {
    let connections = (0..WAVE).map(|_| async {
        let request = stage.request("/hangs").build();
        timeout(TICK, test_util::connect(stage.app.clone(), request)).await.is_err()
    });
    assert!(join_all(connections).await.into_iter().all(|timed_out| timed_out));
}

async fn connection_is_aborted_before_the_handler_responds(stage: &Stage) {
    let mut clients = Vec::new();
    for _ in 0..WAVE {
        clients.push(send(&stage.app, &stage.request("/hangs").build(), 4096).await);
    }
    stage.until(WAVE, WAVE).await;
    for (_, serving) in &clients {
        serving.abort();
    }
    stage.until(0, 0).await;
}

async fn handler_panics_before_the_upgrade(stage: &Stage) {
    for _ in 0..WAVE {
        assert_eq!(refused(&stage.app, stage.request("/panics-early")).await, None);
    }
}

async fn handler_does_not_upgrade(stage: &Stage) {
    for _ in 0..WAVE {
        assert_eq!(refused(&stage.app, stage.request("/refuses")).await, Some(StatusCode::IM_A_TEAPOT));
    }
}

async fn handler_upgrades_and_responds_otherwise(stage: &Stage) {
    for _ in 0..WAVE {
        assert_eq!(refused(&stage.app, stage.request("/upgrades-and-refuses")).await, Some(StatusCode::IM_A_TEAPOT));
    }
}

async fn no_route_matches(stage: &Stage) {
    for _ in 0..WAVE {
        assert_eq!(refused(&stage.app, stage.request("/nowhere")).await, Some(StatusCode::NOT_FOUND));
    }
}

async fn response_is_dropped_without_a_connection(stage: &Stage) {
    for number in 0..WAVE {
        let app = if number % 2 == 0 { &stage.app } else { &stage.by_first_message };
        let request = if number % 4 < 2 { stage.request("/reads") } else { stage.anonymous("/reads") };
        let response = answer(app, request.build()).await;
        let is_refused = number % 4 == 2;
        assert_eq!(response.status().is_client_error(), is_refused, "{number}");
    }
}

async fn response_future_is_dropped(stage: &Stage) {
    for number in 0..WAVE {
        let (app, request) = stage.either(number, "/hangs");
        assert!(app.clone().oneshot(request).now_or_never().is_none());
    }
}

async fn client_disconnects_without_a_first_message(stage: &Stage) {
    drop(stage.unauthenticated("/reads").await);
}

async fn first_message_times_out(stage: &Stage) {
    all_closed(stage.unauthenticated("/reads").await, 4408, "timed_out").await;
}

async fn first_message_is_refused(stage: &Stage) {
    for mut client in stage.unauthenticated("/reads").await {
        client.send(connection_init("bad").into()).await.unwrap();
        assert_eq!(closed(&mut client).await, (4403, "invalid_token".to_owned()));
    }
}

async fn first_message_is_accepted(stage: &Stage) {
    let mut clients = stage.unauthenticated("/reads").await;
    for client in &mut clients {
        client.send(connection_init(&stage.token()).into()).await.unwrap();
    }
    stage.until(WAVE, WAVE).await;
    clients.truncate(WAVE / 2);
    stage.until(WAVE / 2, WAVE / 2).await;
    all_closed(clients, 4403, "token_expired").await;
}

async fn token_is_refused(stage: &Stage) {
    for number in 0..WAVE {
        match number % 4 {
            0 => {
                let request = stage.anonymous("/reads").bearer_subprotocol("bad");
                assert_eq!(refused(&stage.app, request).await, Some(StatusCode::UNAUTHORIZED));
            }
            1 => {
                let request = stage.anonymous("/reads").bearer_subprotocol("bad");
                assert_eq!(closed(&mut open(&stage.accept_then_close, request).await).await.1, "invalid_token");
            }
            2 => assert_eq!(refused(&stage.app, stage.anonymous("/reads")).await, Some(StatusCode::UNAUTHORIZED)),
            // The client may authenticate later, and the handler does not upgrade.
            _ => {
                let status = refused(&stage.by_first_message, stage.anonymous("/refuses")).await;
                assert_eq!(status, Some(StatusCode::UNAUTHORIZED));
            }
        }
    }
}

async fn too_many_sessions(stage: &Stage) {
    let token = stage.token();
    let request = || stage.anonymous("/reads").bearer_subprotocol(&token);
    let mut clients = Vec::new();
    for number in 0..WAVE / 2 {
        if number < WAVE / 4 {
            clients.push(open(&stage.refuse_new, request()).await);
        } else {
            assert_eq!(refused(&stage.refuse_new, request()).await, Some(StatusCode::TOO_MANY_REQUESTS));
        }
    }
    let mut evicted = Vec::new();
    for _ in 0..WAVE / 2 {
        evicted.push(open(&stage.evict_oldest, request()).await);
    }
    clients.extend(evicted.split_off(WAVE / 4));
    all_closed(evicted, 1008, "too_many_sessions").await;
    drop(clients);
}

/// How often the runtime wakes up during some idle minutes. It does so for each timer.
async fn wake_ups(start: Instant) -> u64 {
    // It also wakes for its timer wheel, and for nothing else before the next multiple of a power of 64 milliseconds.
    let turn = Duration::from_millis(64 * 64 * 64);
    let parks = || Handle::current().metrics().worker_park_count(0);
    settle().await;
    let before = parks();
    for _ in 0..2 {
        let turns = start.elapsed().as_millis() / turn.as_millis();
        sleep_until(start + turn * (u32::try_from(turns).unwrap() + 1)).await;
    }
    settle().await;
    parks() - before
}

/// The resident memory of the process, in KiB. Cheaper figures may be off by megabytes.
fn resident() -> Option<usize> {
    let rollup = cfg!(target_os = "linux").then(|| fs::read_to_string("/proc/self/smaps_rollup").unwrap())?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    Some(line.trim().trim_end_matches(" kB").parse().unwrap())
}

#[test]
fn a_hundred_thousand_handshakes_leave_nothing() {
    const SHARE: &str = "AXUM_WS_AUTH_TEST_SHARE";
    if let Ok(share) = env::var(SHARE) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        return runtime.block_on(leave_nothing(share.parse().unwrap()));
    }
    // Memory is measured per process, so each runs nothing else. Two processes save time.
    let run = |share: usize| {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "a_hundred_thousand_handshakes_leave_nothing"]).env(SHARE, share.to_string());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for process in [0, 1].map(run) {
        let output = process.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }
}

/// Runs every other scenario.
async fn leave_nothing(share: usize) {
    let start = Instant::now();
    let scenarios = scenarios();
    let stage = Stage::new();
    let idle = wake_ups(start).await;
    for handshakes in [WARM_UP, HANDSHAKES - WARM_UP] {
        let waves = handshakes / WAVE / scenarios.len();
        assert_eq!(waves * WAVE * scenarios.len(), handshakes);
        let resident_before = resident();
        for (name, run) in scenarios.iter().skip(share).step_by(2) {
            for _ in 0..waves {
                let before = stage.handshakes.load(Ordering::Relaxed);
                timeout(10 * MINUTE, run(&stage)).await.expect(name);
                assert_eq!(stage.handshakes.load(Ordering::Relaxed) - before, WAVE, "{name}");
                until(stage.before, name, || stage.held()).await;
                // So that each wave has its own timers.
                sleep(Duration::from_millis(7)).await;
            }
            assert_eq!(wake_ups(start).await, idle, "{name}: leaked timers");
        }
        if let (Some(before), Some(after)) = (resident_before, resident())
            && handshakes > WARM_UP
        {
            assert!(after < before + MAX_GROWTH, "from {before} KiB of memory to {after} KiB");
        }
    }
}

/// Connections in every state are freed.
#[test]
fn runtime_shutdown_frees_all_connections() {
    for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        let runtime = builder.enable_time().build().unwrap();
        let (stage, clients, pipes) = runtime.block_on(async {
            let stage = Stage::new();
            let (mut clients, mut pipes) = (Vec::new(), Vec::new());
            for _ in 0..8 {
                for path in ["/reads", "/waits", "/splits", "/gives-away"] {
                    clients.push(open(&stage.app, stage.request(path)).await);
                    clients.push(open(&stage.by_first_message, stage.anonymous(path)).await);
                }
                pipes.push(send(&stage.app, &stage.request("/hangs").build(), 4096).await);
                pipes.push(send(&stage.by_first_message, &stage.anonymous("/hangs").build(), 4096).await);
            }
            let all_there = async {
                while stage.sessions.count() < WAVE {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(MINUTE, all_there).await.unwrap();
            // Some of them are being closed.
            for session in stage.sessions.iter().take(WAVE / 2) {
                assert_eq!(stage.sessions.end(session.id()), 1);
            }
            assert_eq!(stage.sessions.iter().count(), WAVE / 2);
            (stage, clients, pipes)
        });
        drop(runtime);
        let left = (stage.sessions.count(), stage.sessions.iter().count(), Arc::strong_count(&stage.trace));
        assert_eq!(left, (0, 0, stage.before.traces));
        drop((clients, pipes));
        // No client waits for its first message any more.
        Builder::new_current_thread().enable_time().build().unwrap().block_on(stage.unauthenticated("/reads"));
    }
}
