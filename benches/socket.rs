//! What a socket costs once it is open: its rate, its processor time and its memory, beside axum's own.
//!
//! `-- memory` looks at memory alone. See `benches/README.md`.

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

mod support;

use std::{
    io,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Query, ws::WebSocketUpgrade},
    response::Response,
    routing::any,
};
use axum_ws_auth::{AuthenticatedUpgrade, Sessions};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use support::{
    Claims,
    goal::Goal,
    is_test,
    messages::Messages,
    server::{Server, be_server, most_files, wanted},
    spread::Spread,
    tcp::{connect, runtime, to_bytes},
};

/// A kind of socket.
#[derive(Clone, Copy)]
struct Side {
    name: &'static str,
    /// Where the server has it.
    path: &'static str,
    /// What the ratios of its rate and its processor time to those of the first side are to be.
    rate: Goal,
    time: Goal,
}

const OURS: Side = Side::new("`AuthenticatedSocket`", "/ours");
const BARE: Side = Side::new("axum's `WebSocket`", "/axum");
const BARE_SMALL: Side = Side::new("axum's `WebSocket`, 8 KiB", "/axum?kib=8");

fn main() -> io::Result<()> {
    if wanted().is_some() {
        return be_server(app());
    }
    if !Server::can_be_measured() {
        println!("not run: processor time and memory are read as Linux shows them");
        return Ok(());
    }
    let effort = Effort::of(is_test());
    let is_memory_alone = std::env::args().any(|argument| argument == "memory");
    runtime()?.block_on(async {
        if !is_memory_alone {
            rates(&effort).await?;
        }
        memory(
            &[(BARE, [Goal::None; 2]), (BARE_SMALL, [Goal::None; 2]), (OURS, [Goal::AtMost(3.0), Goal::AtMost(3.5)])],
            &effort,
        )
        .await
    })
}

async fn rates(effort: &Effort) -> io::Result<()> {
    // Once more the same, because what that differs by is chance.
    let sides = |rate, time| [BARE, Side { name: "axum's `WebSocket`, once more", ..BARE }, OURS.to_have(rate, time)];
    for (name, size, window) in [("64 B", 64, 1), ("64 B", 64, 32), ("1 KiB", 1 << 10, 1), ("1 KiB", 1 << 10, 32)] {
        compare(&Messages::new(name, size, window), &sides(1.0, 1.0), effort).await?;
    }
    for window in [1, 4] {
        compare(&Messages::new("16 KiB", 16 << 10, window), &sides(1.0, 1.0), effort).await?;
    }
    compare(&Messages::new("64 KiB", 64 << 10, 4), &sides(1.3, 0.75), effort).await?;
    compare(&Messages::new("1 MiB", 1 << 20, 2), &sides(1.05, 0.9), effort).await
}

impl Side {
    const fn new(name: &'static str, path: &'static str) -> Self {
        Self { name, path, rate: Goal::None, time: Goal::None }
    }

    const fn to_have(self, rate: f64, time: f64) -> Self {
        Self { rate: Goal::AtLeast(rate), time: Goal::AtMost(time), ..self }
    }
}

/// How much is measured.
struct Effort {
    rounds: usize,
    turn: Duration,
    sockets: usize,
    servers: usize,
}

impl Effort {
    const fn of(is_test: bool) -> Self {
        if is_test {
            Self { rounds: 1, turn: Duration::from_millis(20), sockets: 20, servers: 1 }
        } else {
            Self { rounds: 300, turn: Duration::from_millis(50), sockets: 5000, servers: 3 }
        }
    }
}

/// Sends back every message. The same text for both sockets: what they have in common is no trait with these methods.
macro_rules! echo {
    ($upgrade:expr) => {
        $upgrade.on_upgrade(async |mut socket| {
            while let Some(Ok(message)) = socket.recv().await {
                if socket.send(message).await.is_err() {
                    break;
                }
            }
        })
    };
}

#[derive(Deserialize)]
struct ReadBuffer {
    kib: Option<usize>,
}

async fn ours(upgrade: AuthenticatedUpgrade<Claims>) -> Response {
    echo!(upgrade)
}

async fn bare(Query(wanted): Query<ReadBuffer>, upgrade: WebSocketUpgrade) -> Response {
    match wanted.kib {
        Some(kib) => echo!(upgrade.read_buffer_size(kib << 10)),
        None => echo!(upgrade),
    }
}

/// The token has an end and the sessions are registered: the supervisor has everything to do that it can have.
fn app() -> Router {
    let layer = support::layer().sessions(&Sessions::new());
    Router::new().route(OURS.path, any(ours)).layer(layer).route(BARE.path, any(bare))
}

/// Opens a socket with a handshake as Chromium sends it.
async fn open(server: &Server, path: &str, subject: &str) -> io::Result<TcpStream> {
    let request = support::chromium(subject).path(path).cookie("preferences", "theme=dark&language=en");
    connect(server.address, &to_bytes(&request.build())).await
}

/// What was seen of one side in one turn.
#[derive(Clone, Copy)]
struct Sample {
    /// Messages per second.
    rate: f64,
    /// The server's processor time for each message, in microseconds.
    time: f64,
}

async fn sample(server: &Server, path: &str, messages: &Messages, turn: Duration) -> io::Result<Sample> {
    let mut stream = open(server, path, "alice").await?;
    let (start, before) = (Instant::now(), server.time()?);
    let count = messages.exchange(&mut stream, turn).await?;
    Ok(Sample { rate: count / start.elapsed().as_secs_f64(), time: (server.time()? - before) / count })
}

/// Has the sides take turns, so that whatever else the machine does meets all of them. The first is what the others are
/// compared with, in the same round.
async fn compare(messages: &Messages, sides: &[Side], effort: &Effort) -> io::Result<()> {
    let server = Server::start("both")?;
    let mut seen: Vec<(Side, Vec<Sample>)> = sides.iter().map(|side| (*side, Vec::new())).collect();
    for _ in 0..effort.rounds {
        for (side, samples) in &mut seen {
            samples.push(sample(&server, side.path, messages, effort.turn).await?);
        }
        // Each goes first as often as the others, should that make a difference.
        seen.rotate_left(1);
    }
    seen.rotate_right(effort.rounds % sides.len());

    println!(
        "\n| echo of {}, {} in flight | messages/s | goal | to the first | server, µs each | goal | to the first |",
        messages.name, messages.window
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let first: Vec<Sample> = seen.first().map(|(_, samples)| samples.clone()).unwrap_or_default();
    for (Side { name, rate, time, .. }, samples) in &seen {
        let median = |of: fn(&Sample) -> f64| Spread::of(samples.iter().map(of)).median;
        let to_first =
            |of: fn(&Sample) -> f64| Spread::of(samples.iter().zip(&first).map(|(own, first)| of(own) / of(first)));
        let (rates, times) = (to_first(|sample| sample.rate), to_first(|sample| sample.time));
        println!(
            "| {name} | {:.0} | {rate} | {} | {:.2} | {time} | {} |",
            median(|sample| sample.rate),
            rate.judge(rates.median, &rates.to_string()),
            median(|sample| sample.time),
            time.judge(times.median, &times.to_string()),
        );
    }
    Ok(())
}

/// Opens sockets that then do nothing, and looks at the server's memory before and after. And once more when each has
/// echoed a large message, one after the other, as most idle sockets have at some time.
async fn memory(sides: &[(Side, [Goal; 2])], effort: &Effort) -> io::Result<()> {
    let sockets = effort.sockets.min(most_files()?.saturating_sub(100));
    if sockets < effort.sockets {
        println!("\nno more than {sockets} sockets: `ulimit -n` does not allow {}", effort.sockets);
    }
    println!(
        "\n| resident for each of {sockets} sockets | KiB idle | goal | KiB when each has echoed 256 KiB | goal |"
    );
    println!("| --- | --- | --- | --- | --- |");
    for (Side { name, path, .. }, [idle_goal, used_goal]) in sides {
        let (mut idle, mut used) = (Vec::new(), Vec::new());
        for _ in 0..effort.servers {
            let (before, after) = memory_of(path, sockets).await?;
            idle.push(before);
            used.push(after);
        }
        let [idle, used] = [idle, used].map(Spread::of);
        println!(
            "| {name} | {} | {idle_goal} | {} | {used_goal} |",
            idle_goal.judge(idle.median, &idle.to_string()),
            used_goal.judge(used.median, &used.to_string()),
        );
    }
    Ok(())
}

async fn memory_of(path: &str, count: usize) -> io::Result<(f64, f64)> {
    let server = Server::start("both")?;
    let message = Messages::new("256 KiB", 256 << 10, 1);
    // What is allocated once is there after this.
    let mut first = open(&server, path, "first").await?;
    message.exchange(&mut first, Duration::from_millis(1)).await?;
    let before = server.settled_memory().await?;

    let mut sockets = Vec::new();
    for number in 0..count {
        sockets.push(open(&server, path, &format!("user-{number}")).await?);
    }
    let idle = server.settled_memory().await?;
    let mut received = vec![0; message.received];
    for socket in &mut sockets {
        let (mut reader, mut writer) = socket.split();
        tokio::try_join!(writer.write_all(&message.sent), async { reader.read_exact(&mut received).await.map(drop) })?;
    }
    let each = |after: f64| (after - before) / count as f64;
    Ok((each(idle), each(server.settled_memory().await?)))
}
