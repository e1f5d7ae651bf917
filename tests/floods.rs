//! A client that never pauses and a handler that never waits delay neither the end of their session nor other clients.
//!
//! The delay is counted in messages handled after the end, because a clock would measure the machine.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    hint::spin_loop,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Waker},
    time::{Duration, Instant},
};

use axum::{Router, extract::ws::Message, routing::any};
use axum_ws_auth::{AuthenticatedSocket, AuthenticatedUpgrade, EndReason, RefreshProtocol, Sessions, WsAuthLayer};
use futures_util::{Sink, SinkExt, StreamExt, future::poll_fn, stream::FusedStream};
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, split},
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

type Socket = AuthenticatedSocket<String>;

/// When the session must end.
const DUE: Duration = Duration::from_millis(200);

/// How much work a handler may do after the end of its session.
const MAX_LATE: Duration = Duration::from_millis(50);

/// The work that a handler does after its session should have ended.
struct Tally {
    work: Duration,
    /// How many messages come first that take no time. The first of them comes shortly before the session ends.
    quick: AtomicU32,
    due: Instant,
    late: AtomicU32,
    /// Stops handlers that ignore the end.
    stop: AtomicBool,
}

impl Tally {
    fn new(work: Duration, due: Instant) -> Self {
        Self { work, quick: AtomicU32::new(0), due, late: AtomicU32::new(0), stop: AtomicBool::new(false) }
    }

    /// Waits for the time of the first message.
    async fn begin(&self) {
        if self.quick.load(SeqCst) > 0 {
            sleep((self.due - Duration::from_millis(10)).saturating_duration_since(Instant::now())).await;
        }
    }

    /// Works on one message. Returns whether the handler should continue.
    fn work(&self) -> bool {
        if self.quick.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return true;
        }
        let start = Instant::now();
        if start > self.due {
            self.late.fetch_add(1, SeqCst);
        }
        while start.elapsed() < self.work {
            spin_loop();
        }
        // A bug must not hang the test.
        !self.stop.load(SeqCst) && self.late() < Duration::from_secs(2)
    }

    fn late(&self) -> Duration {
        self.work * self.late.load(SeqCst)
    }
}

#[derive(Clone, Copy, Debug)]
enum Handler {
    Receives,
    ReceivesInAnotherTask,
    ReceivesAndIgnoresTheEnd,
    Echoes,
    Feeds,
    FeedsInAnotherTask,
    Sends,
    SendsAndIgnoresErrors,
    Flushes,
    SendsWithoutPollReady,
    WaitsForWhatHasHappened,
}

const ALL: [Handler; 11] = [
    Handler::Receives,
    Handler::ReceivesInAnotherTask,
    Handler::ReceivesAndIgnoresTheEnd,
    Handler::Echoes,
    Handler::Feeds,
    Handler::FeedsInAnotherTask,
    Handler::Sends,
    Handler::SendsAndIgnoresErrors,
    Handler::Flushes,
    Handler::SendsWithoutPollReady,
    Handler::WaitsForWhatHasHappened,
];

fn tick() -> Message {
    Message::Binary("tick".into())
}

impl Handler {
    async fn run(self, mut socket: Socket, tally: Arc<Tally>) {
        tally.begin().await;
        match self {
            Self::Receives => {
                while let Some(Ok(_)) = socket.recv().await
                    && tally.work()
                {}
            }
            Self::ReceivesInAnotherTask => {
                let (_sink, mut stream) = socket.split();
                let receiving = async move {
                    while let Some(Ok(_)) = stream.next().await
                        && tally.work()
                    {}
                };
                tokio::spawn(receiving).await.unwrap();
            }
            Self::ReceivesAndIgnoresTheEnd => loop {
                let _ = socket.recv().await;
                if !tally.work() {
                    break;
                }
            },
            Self::Echoes => {
                while let Some(Ok(message)) = socket.recv().await
                    && tally.work()
                    && socket.send(message).await.is_ok()
                {}
            }
            Self::Feeds => while socket.feed(tick()).await.is_ok() && tally.work() {},
            Self::FeedsInAnotherTask => {
                let (mut sink, _stream) = socket.split();
                let feeding = async move { while sink.feed(tick()).await.is_ok() && tally.work() {} };
                tokio::spawn(feeding).await.unwrap();
            }
            Self::Sends => while socket.send(tick()).await.is_ok() && tally.work() {},
            Self::SendsAndIgnoresErrors => loop {
                let _ = socket.send(tick()).await;
                if !tally.work() {
                    break;
                }
            },
            Self::Flushes => while socket.flush().await.is_ok() && tally.work() {},
            Self::SendsWithoutPollReady => while Pin::new(&mut socket).start_send(tick()).is_ok() && tally.work() {},
            Self::WaitsForWhatHasHappened => loop {
                socket.session().expiring_in(Duration::from_secs(3600)).await;
                if !tally.work() {
                    break;
                }
            },
        }
    }

    /// A revocation comes from another task of the same thread, which cannot run if the handler never awaits.
    fn yields(self) -> bool {
        !matches!(self, Self::SendsWithoutPollReady)
    }

    /// Another task ends a session whose handler does not.
    fn ends(self) -> bool {
        !matches!(self, Self::ReceivesAndIgnoresTheEnd | Self::SendsAndIgnoresErrors | Self::WaitsForWhatHasHappened)
    }
}

/// Sends empty messages without pause and reads everything, on the thread of the handler, until it is dropped.
fn flood(client: ClientSocket) -> JoinSet<()> {
    let (mut read, mut write) = split(client.into_inner());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let frames = [0x82, 0x80, 0, 0, 0, 0].repeat(10_000);
        while write.write_all(&frames).await.is_ok() {}
    });
    tasks.spawn(async move {
        let mut buffer = vec![0; 16 * 1024];
        while read.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {}
    });
    tasks
}

/// How much work the handler does after its session ends, at its deadline or by a revocation.
async fn lateness(handler: Handler, work: Duration, layer: WsAuthLayer, revoked: bool) -> Duration {
    lateness_after_quick(handler, 0, work, layer, revoked).await
}

/// The same, after so many messages that take no time.
async fn lateness_after_quick(
    handler: Handler,
    quick: u32,
    work: Duration,
    layer: WsAuthLayer,
    revoked: bool,
) -> Duration {
    let sessions = Sessions::new();
    let layer = if revoked { layer } else { layer.max_lifetime(DUE).unwrap() };
    let (tallies, mut tally) = mpsc::unbounded_channel();
    let route = async move |upgrade: AuthenticatedUpgrade<String>| {
        upgrade.on_upgrade(async move |socket| {
            let tally = Arc::new(Tally { quick: quick.into(), ..Tally::new(work, Instant::now() + DUE) });
            tallies.send(Arc::clone(&tally)).unwrap();
            handler.run(socket, tally).await;
        })
    };
    let app = Router::new().route("/", any(route)).layer(layer.sessions(&sessions));
    let client = flood(connected(&app, "alice.3600").await);
    let tally = tally.recv().await.unwrap();
    if revoked {
        sleep(tally.due.saturating_duration_since(Instant::now())).await;
        sessions.end_subject("alice");
    }
    while sessions.iter().next().is_some() {
        sleep(Duration::from_millis(1)).await;
    }
    let late = tally.late();
    // The connection is closed even if the handler has not noticed. The client must not delay that.
    drop(client);
    let closed = async {
        while sessions.count() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(Duration::from_secs(10), closed).await.is_ok(), "{handler:?}: the connection is still open");
    tally.stop.store(true, SeqCst);
    late
}

#[tokio::test]
async fn deadline_ends_a_session_during_a_flood() {
    for handler in ALL {
        for work in [100, 1000].map(Duration::from_micros) {
            let late = lateness(handler, work, WsAuthLayer::new(timed), false).await;
            assert!(late <= MAX_LATE, "{handler:?} with {work:?} a message: {late:?} late");
        }
    }
}

/// The session ends during the first slow message.
#[tokio::test]
async fn quick_messages_before_slow_ones_do_not_delay_the_end() {
    const SLOW: Duration = Duration::from_millis(20);
    for handler in ALL.into_iter().filter(|handler| handler.ends()) {
        for quick in [1, 2, 3, 7] {
            let late = lateness_after_quick(handler, quick, SLOW, WsAuthLayer::new(timed), false).await;
            assert!(late <= 2 * SLOW, "{handler:?} after {quick} quick messages: {late:?} late");
            if handler.yields() {
                // The revocation comes from another task, so the turn of this one ends first.
                let late = lateness_after_quick(handler, quick, SLOW, WsAuthLayer::new(timed), true).await;
                assert!(late <= 4 * SLOW, "{handler:?} after {quick} quick messages, revoked: {late:?} late");
            }
        }
    }
}

#[tokio::test]
async fn revocation_ends_a_session_during_a_flood() {
    for handler in ALL.into_iter().filter(|handler| handler.yields()) {
        for work in [100, 1000].map(Duration::from_micros) {
            let late = lateness(handler, work, WsAuthLayer::new(timed), true).await;
            assert!(late <= MAX_LATE, "{handler:?} with {work:?} a message: {late:?} late");
        }
    }
}

/// The supervisor reads the messages in this case.
#[tokio::test]
async fn session_with_a_refresh_protocol_ends_during_a_flood() {
    for revoked in [false, true] {
        let layer = WsAuthLayer::new(timed).refresh_protocol(RefreshProtocol::json());
        let late = lateness(Handler::Echoes, Duration::from_micros(100), layer, revoked).await;
        assert!(late <= MAX_LATE, "{late:?} late");
    }
}

/// Without tokio's coop budget, the socket itself checks the deadline.
#[tokio::test]
async fn unconstrained_handler_is_stopped_by_its_deadline() {
    let (done, mut late) = mpsc::unbounded_channel();
    let route = async move |upgrade: AuthenticatedUpgrade<String>| {
        upgrade.on_upgrade(async move |mut socket| {
            let tally = Tally::new(Duration::from_micros(100), Instant::now() + DUE);
            let feeding = async { while socket.feed(tick()).await.is_ok() && tally.work() {} };
            tokio::task::unconstrained(feeding).await;
            done.send((tally.late(), socket.session().end_reason())).unwrap();
        })
    };
    let app = Router::new().route("/", any(route)).layer(WsAuthLayer::new(timed).max_lifetime(DUE).unwrap());
    let _client = flood(connected(&app, "alice").await);
    let (late, reason) = late.recv().await.unwrap();
    assert!(late <= MAX_LATE, "{late:?} late");
    assert_eq!(reason, Some(EndReason::MaxLifetime));
}

/// A handler that polls once whenever it wakes for something else gets one message each time.
#[tokio::test]
async fn available_message_is_ready_at_the_first_poll() {
    const MESSAGES: usize = 50;
    let (done, mut counts) = mpsc::unbounded_channel();
    let route = async move |upgrade: AuthenticatedUpgrade<String>| {
        upgrade.on_upgrade(async move |mut socket| {
            sleep(Duration::from_millis(200)).await;
            let mut received = 0;
            for _ in 0..MESSAGES {
                sleep(Duration::from_millis(6)).await;
                let mut next = pin!(socket.next());
                let polled = poll_fn(|cx| std::task::Poll::Ready(next.as_mut().poll(cx))).await;
                received += usize::from(polled.is_ready());
            }
            done.send(received).unwrap();
        })
    };
    let app = Router::new().route("/", any(route)).layer(WsAuthLayer::new(timed));
    let mut client = connected(&app, "alice").await;
    for _ in 0..MESSAGES {
        client.send(tokio_tungstenite::tungstenite::Message::text("hello")).await.unwrap();
    }
    assert_eq!(counts.recv().await.unwrap(), MESSAGES);
}

/// Outside a runtime there is no coop budget.
#[tokio::test]
async fn operation_polled_outside_a_runtime_is_ready() {
    let (done, mut counts) = mpsc::unbounded_channel();
    let route = async move |upgrade: AuthenticatedUpgrade<String>| {
        upgrade.on_upgrade(async move |mut socket| {
            let sent = std::thread::spawn(move || {
                let mut cx = Context::from_waker(Waker::noop());
                let mut sent = 0;
                while sent < 1000 && Pin::new(&mut socket).poll_ready(&mut cx).is_ready() {
                    Pin::new(&mut socket).start_send(tick()).unwrap();
                    sent += 1;
                }
                assert!(!socket.is_terminated());
                sent
            });
            done.send(sent.join().unwrap()).unwrap();
        })
    };
    let app = Router::new().route("/", any(route)).layer(WsAuthLayer::new(timed));
    let _client = connected(&app, "alice").await;
    assert_eq!(counts.recv().await.unwrap(), 1000);
}

/// The close frame of another session on the same thread is sent in time.
#[tokio::test]
async fn flood_does_not_delay_the_end_of_another_session() {
    for work in [100, 1000].map(Duration::from_micros) {
        let tally = Arc::new(Tally::new(work, Instant::now() + Duration::from_secs(1)));
        let of_flood = Arc::clone(&tally);
        let route = async move |upgrade: AuthenticatedUpgrade<String>| {
            upgrade.on_upgrade(async move |mut socket| match socket.session().subject() {
                Some("mallory") => {
                    while let Some(Ok(_)) = socket.recv().await
                        && of_flood.work()
                    {}
                }
                _ => while let Some(Ok(_)) = socket.recv().await {},
            })
        };
        let app = Router::new().route("/", any(route)).layer(WsAuthLayer::new(timed));
        let mut neighbour = connected(&app, "alice.1").await;
        let _client = flood(connected(&app, "mallory").await);
        assert_eq!(closed(&mut neighbour).await, (3000, "token_expired".to_owned()));
        let late = tally.late();
        tally.stop.store(true, SeqCst);
        assert!(late <= MAX_LATE, "with {work:?} a message: {late:?} late");
    }
}
