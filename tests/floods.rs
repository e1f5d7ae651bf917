//! A client that never pauses, and a handler that never waits, hold off neither the end of their session nor the clients
//! beside them.
//!
//! How much work is done too late is counted in messages, because a clock would say more about the machine than about
//! the crate.

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

/// When a session is to end.
const DUE: Duration = Duration::from_millis(200);

/// The work that a handler may still do once its session is over.
const MOST: Duration = Duration::from_millis(50);

/// What a handler has done, and when it should have been stopped.
struct Tally {
    work: Duration,
    due: Instant,
    late: AtomicU32,
    /// For handlers that would go on for ever.
    stop: AtomicBool,
}

impl Tally {
    /// Works on one message. Returns whether the handler is to go on.
    fn work(&self) -> bool {
        let began = Instant::now();
        if began > self.due {
            self.late.fetch_add(1, SeqCst);
        }
        while began.elapsed() < self.work {
            spin_loop();
        }
        // A fault must not keep the test for ever.
        !self.stop.load(SeqCst) && self.late() < Duration::from_secs(2)
    }

    fn late(&self) -> Duration {
        self.work * self.late.load(SeqCst)
    }
}

#[derive(Clone, Copy, Debug)]
enum Handler {
    Receives,
    ReceivesInATaskOfItsOwn,
    ReceivesAndIgnoresTheEnd,
    Echoes,
    Feeds,
    FeedsInATaskOfItsOwn,
    Sends,
    SendsAndIgnoresErrors,
    Flushes,
    QueuesWithoutAsking,
    WaitsForWhatHasCome,
}

const ALL: [Handler; 11] = [
    Handler::Receives,
    Handler::ReceivesInATaskOfItsOwn,
    Handler::ReceivesAndIgnoresTheEnd,
    Handler::Echoes,
    Handler::Feeds,
    Handler::FeedsInATaskOfItsOwn,
    Handler::Sends,
    Handler::SendsAndIgnoresErrors,
    Handler::Flushes,
    Handler::QueuesWithoutAsking,
    Handler::WaitsForWhatHasCome,
];

fn tick() -> Message {
    Message::Binary("tick".into())
}

impl Handler {
    async fn run(self, mut socket: Socket, tally: Arc<Tally>) {
        match self {
            Self::Receives => {
                while let Some(Ok(_)) = socket.recv().await
                    && tally.work()
                {}
            }
            Self::ReceivesInATaskOfItsOwn => {
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
            Self::FeedsInATaskOfItsOwn => {
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
            Self::QueuesWithoutAsking => while Pin::new(&mut socket).start_send(tick()).is_ok() && tally.work() {},
            Self::WaitsForWhatHasCome => loop {
                socket.session().expiring_in(Duration::from_secs(3600)).await;
                if !tally.work() {
                    break;
                }
            },
        }
    }

    /// An order comes from another task of the same thread, which a handler that awaits nothing does not let run.
    fn lets_others_run(self) -> bool {
        !matches!(self, Self::QueuesWithoutAsking)
    }
}

/// Sends empty messages without pause and reads all that comes, on the thread of the handler, until it is dropped.
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

/// How late the handler is stopped, in work, if its session ends at its deadline or by an order.
async fn lateness(handler: Handler, work: Duration, layer: WsAuthLayer, by_order: bool) -> Duration {
    let sessions = Sessions::new();
    let layer = if by_order { layer } else { layer.max_lifetime(DUE).unwrap() };
    let (tallies, mut tally) = mpsc::unbounded_channel();
    let route = async move |upgrade: AuthenticatedUpgrade<String>| {
        upgrade.on_upgrade(async move |socket| {
            let (late, stop) = (AtomicU32::new(0), AtomicBool::new(false));
            let tally = Arc::new(Tally { work, due: Instant::now() + DUE, late, stop });
            tallies.send(Arc::clone(&tally)).unwrap();
            handler.run(socket, tally).await;
        })
    };
    let app = Router::new().route("/", any(route)).layer(layer.sessions(&sessions));
    let client = flood(connected(&app, "alice.3600").await);
    let tally = tally.recv().await.unwrap();
    if by_order {
        sleep(tally.due.saturating_duration_since(Instant::now())).await;
        sessions.end_subject("alice");
    }
    while sessions.iter().next().is_some() {
        sleep(Duration::from_millis(1)).await;
    }
    let late = tally.late();
    // Its connection is closed, whether the handler has noticed or not. The client is not to delay that.
    drop(client);
    let closed = async {
        while sessions.count() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(Duration::from_secs(10), closed).await.is_ok(), "{handler:?}: the connection is still there");
    tally.stop.store(true, SeqCst);
    late
}

#[tokio::test]
async fn a_deadline_ends_a_session_whatever_is_sent() {
    for handler in ALL {
        for work in [100, 1000].map(Duration::from_micros) {
            let late = lateness(handler, work, WsAuthLayer::new(timed), false).await;
            assert!(late <= MOST, "{handler:?} with {work:?} a message: {late:?} late");
        }
    }
}

#[tokio::test]
async fn an_order_ends_a_session_whatever_is_sent() {
    for handler in ALL.into_iter().filter(|handler| handler.lets_others_run()) {
        for work in [100, 1000].map(Duration::from_micros) {
            let late = lateness(handler, work, WsAuthLayer::new(timed), true).await;
            assert!(late <= MOST, "{handler:?} with {work:?} a message: {late:?} late");
        }
    }
}

/// The messages are read in another way then.
#[tokio::test]
async fn so_it_is_where_clients_refresh_their_sessions() {
    for by_order in [false, true] {
        let layer = WsAuthLayer::new(timed).refresh_protocol(RefreshProtocol::json());
        let late = lateness(Handler::Echoes, Duration::from_micros(100), layer, by_order).await;
        assert!(late <= MOST, "{late:?} late");
    }
}

/// Neither tokio's budget nor another task counts here: the socket itself sees that its time is over.
#[tokio::test]
async fn a_handler_that_opted_out_of_yielding_is_stopped_by_its_deadline() {
    let (done, mut late) = mpsc::unbounded_channel();
    let route = async move |upgrade: AuthenticatedUpgrade<String>| {
        upgrade.on_upgrade(async move |mut socket| {
            let tally = Tally {
                work: Duration::from_micros(100),
                due: Instant::now() + DUE,
                late: AtomicU32::new(0),
                stop: AtomicBool::new(false),
            };
            let feeding = async { while socket.feed(tick()).await.is_ok() && tally.work() {} };
            tokio::task::unconstrained(feeding).await;
            done.send((tally.late(), socket.session().end_reason())).unwrap();
        })
    };
    let app = Router::new().route("/", any(route)).layer(WsAuthLayer::new(timed).max_lifetime(DUE).unwrap());
    let _client = flood(connected(&app, "alice").await);
    let (late, reason) = late.recv().await.unwrap();
    assert!(late <= MOST, "{late:?} late");
    assert_eq!(reason, Some(EndReason::MaxLifetime));
}

/// A handler that takes one message each time that it is woken for something else gets one each time.
#[tokio::test]
async fn a_message_that_has_come_is_there_at_the_first_look() {
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

/// Without a runtime's budget there is nothing to wait for.
#[tokio::test]
async fn an_operation_that_is_polled_by_hand_is_ready() {
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

/// The close frame of somebody who shares the thread comes in time.
#[tokio::test]
async fn a_flood_does_not_hold_off_the_end_of_another_session() {
    for work in [100, 1000].map(Duration::from_micros) {
        let due = Instant::now() + Duration::from_secs(1);
        let tally = Arc::new(Tally { work, due, late: AtomicU32::new(0), stop: AtomicBool::new(false) });
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
        assert!(late <= MOST, "with {work:?} a message: {late:?} late");
    }
}
