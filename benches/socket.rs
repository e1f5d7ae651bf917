//! The throughput, processor time and memory of an open socket, compared with axum's.
//!
//! `-- '64 KiB' memory` runs only these parts. See `benches/README.md`.

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
    time::timeout,
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
    /// Its route on the server.
    path: &'static str,
    /// The goals for the ratios of its rate and its processor time to those of the first side.
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
    runtime()?.block_on(async {
        rates(&effort).await?;
        if is_wanted("memory") {
            let ours = [Goal::AtMost(3.0), Goal::AtMost(3.5)];
            memory(&[(BARE, [Goal::None; 2]), (BARE_SMALL, [Goal::None; 2]), (OURS, ours)], &effort).await?;
        }
        if is_wanted("attacks") {
            attacks(&effort).await?;
        }
        Ok(())
    })
}

/// Whether a part is named on the command line. Without names, all run.
fn is_wanted(part: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|name| name == part)
}

async fn rates(effort: &Effort) -> io::Result<()> {
    for (name, size, window, rate, time) in [
        ("64 B", 64, 1, 1.0, 1.0),
        ("64 B", 64, 32, 1.0, 1.0),
        ("1 KiB", 1 << 10, 1, 1.0, 1.0),
        ("1 KiB", 1 << 10, 32, 1.0, 1.0),
        ("16 KiB", 16 << 10, 1, 1.0, 1.0),
        ("16 KiB", 16 << 10, 4, 1.0, 1.0),
        ("64 KiB", 64 << 10, 1, 1.3, 0.75),
        ("64 KiB", 64 << 10, 4, 1.3, 0.75),
        ("1 MiB", 1 << 20, 2, 1.05, 0.9),
    ] {
        if is_wanted(name) {
            // axum's socket runs twice. The difference between the two is noise.
            let sides = [BARE, Side { name: "axum's `WebSocket`, again", ..BARE }, OURS.with_goals(rate, time)];
            compare(&Messages::new(name, size, window), &sides, effort).await?;
        }
    }
    Ok(())
}

impl Side {
    const fn new(name: &'static str, path: &'static str) -> Self {
        Self { name, path, rate: Goal::None, time: Goal::None }
    }

    const fn with_goals(self, rate: f64, time: f64) -> Self {
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

/// Echoes every message. A macro, because the two sockets share no trait with these methods.
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

/// Sessions have a deadline and are registered, so that the supervisor has all of its work to do.
fn app() -> Router {
    let layer = support::layer().sessions(&Sessions::new());
    Router::new().route(OURS.path, any(ours)).layer(layer).route(BARE.path, any(bare))
}

/// Opens a socket with a handshake as Chromium sends it.
async fn open(server: &Server, path: &str, subject: &str) -> io::Result<TcpStream> {
    let request = support::chromium(subject).path(path).cookie("preferences", "theme=dark&language=en");
    connect(server.address, &to_bytes(&request.build())).await
}

/// The result of one side in one turn.
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

/// Runs the sides in turns, so that other load on the machine affects all of them. Each is compared with the first one
/// in the same round.
async fn compare(messages: &Messages, sides: &[Side], effort: &Effort) -> io::Result<()> {
    let server = Server::start("both")?;
    let mut seen: Vec<(Side, Vec<Sample>)> = sides.iter().map(|side| (*side, Vec::new())).collect();
    for _ in 0..effort.rounds {
        for (side, samples) in &mut seen {
            samples.push(sample(&server, side.path, messages, effort.turn).await?);
        }
        // Each goes first equally often.
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

/// Measures the memory of the server per idle socket: new, after each has echoed a large message, one after the other,
/// and after all were halfway into one at once.
async fn memory(sides: &[(Side, [Goal; 2])], effort: &Effort) -> io::Result<()> {
    let sockets = effort.sockets.min(most_files()?.saturating_sub(100));
    if sockets < effort.sockets {
        println!("\nno more than {sockets} sockets: `ulimit -n` does not allow {}", effort.sockets);
    }
    println!(
        "\n| resident for each of {sockets} sockets | KiB idle | goal | KiB after each has echoed 256 KiB | goal | after all were \
         halfway into that at once |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for (Side { name, path, .. }, [idle_goal, used_goal]) in sides {
        let mut measured = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..effort.servers {
            for (all, one) in measured.iter_mut().zip(memory_of(path, sockets).await?) {
                all.push(one);
            }
        }
        let [idle, used, halfway] = measured.map(Spread::of);
        println!(
            "| {name} | {} | {idle_goal} | {} | {used_goal} | {halfway} |",
            idle_goal.judge(idle.median, &idle.to_string()),
            used_goal.judge(used.median, &used.to_string()),
        );
    }
    Ok(())
}

/// The three values of [`memory`].
async fn memory_of(path: &str, count: usize) -> io::Result<[f64; 3]> {
    let server = Server::start("both")?;
    let message = Messages::new("256 KiB", 256 << 10, 1);
    // Allocates what is allocated once.
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
        echo(socket, &message.sent, &mut received).await?;
    }
    let used = server.settled_memory().await?;
    let (first, rest) = message.sent.split_at(message.sent.len() / 2);
    for socket in &mut sockets {
        socket.write_all(first).await?;
    }
    server.settled_memory().await?;
    for socket in &mut sockets {
        echo(socket, rest, &mut received).await?;
    }
    let halfway = server.settled_memory().await?;
    Ok([idle, used, halfway].map(|after| (after - before) / count as f64))
}

async fn echo(socket: &mut TcpStream, sent: &[u8], received: &mut [u8]) -> io::Result<()> {
    let (mut reader, mut writer) = socket.split();
    tokio::try_join!(writer.write_all(sent), async { reader.read_exact(received).await.map(drop) })?;
    Ok(())
}

/// Measures how much clients can make the memory of the server grow.
async fn attacks(effort: &Effort) -> io::Result<()> {
    println!("\n| the server's memory grows by | MiB | goal |\n| --- | --- | --- |");
    let sockets = effort.sockets.min(1000);
    let claim = [&[0x82, 0xff][..], &(15_u64 << 20).to_be_bytes(), &[1, 2, 3, 4, 5]].concat();
    let grown = growth(sockets, &claim, 1).await?;
    let goal = Goal::AtMost(1.0);
    println!(
        "| {sockets} sockets that claim 15 MiB and send a byte | {} | {goal} |",
        goal.judge(grown, &format!("{grown:.2}"))
    );
    let pings = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[b'p'; 125]].concat().repeat(1000);
    let most = if effort.rounds > 1 { 150_000_000 / pings.len() } else { 10 };
    let grown = growth(1, &pings, most).await?;
    println!(
        "| up to 150 MB of pings by a client that does not read | {} | {goal} |",
        goal.judge(grown, &format!("{grown:.2}"))
    );
    Ok(())
}

/// Sends these bytes on every socket, as often as given or until the server stops reading.
async fn growth(sockets: usize, bytes: &[u8], times: usize) -> io::Result<f64> {
    let server = Server::start("both")?;
    let mut open_sockets = vec![open(&server, OURS.path, "first").await?];
    for number in 1..sockets {
        open_sockets.push(open(&server, OURS.path, &format!("user-{number}")).await?);
    }
    let before = server.settled_memory().await?;
    for socket in &mut open_sockets {
        for _ in 0..times {
            if timeout(Duration::from_secs(1), socket.write_all(bytes)).await.is_err() {
                break;
            }
        }
    }
    Ok((server.settled_memory().await? - before) / 1024.0)
}
