//! What a socket costs once it is open: its rate, its processor time and its memory, beside axum's own.
//!
//! See `benches/README.md`.

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

mod support;

use std::{
    io,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Query, ws::WebSocketUpgrade},
    routing::any,
};
use axum_ws_auth::{AuthenticatedUpgrade, Sessions};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use support::{
    Claims, is_test,
    messages::Messages,
    server::{Server, be_server, most_files, wanted},
    spread::Spread,
    tcp::{connect, runtime, to_bytes},
};

/// A kind of socket: what it is called, and where the server has it.
type Side = (&'static str, &'static str);

const OURS: Side = ("ours", "/ours");
const BARE: Side = ("axum", "/axum");
const BARE_SMALL: Side = ("axum, 8 KiB", "/axum?kib=8");

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
        let messages = [Messages::new("64 B", 64, 64), Messages::new("64 KiB", 64 << 10, 4)];
        for messages in &messages {
            compare(messages, &[BARE_SMALL, ("axum, 8 KiB, once more", BARE_SMALL.1), OURS], &effort).await?;
        }
        let sides = [
            BARE,
            ("ours, 4 KiB", "/ours?kib=4"),
            OURS,
            ("ours, 16 KiB", "/ours?kib=16"),
            ("ours, 32 KiB", "/ours?kib=32"),
            ("ours, 128 KiB", "/ours?kib=128"),
        ];
        let messages = [Messages::new("64 KiB", 64 << 10, 4), Messages::new("1 MiB", 1 << 20, 2)];
        for messages in &messages {
            compare(messages, &sides, &effort).await?;
        }
        memory(&[OURS, BARE_SMALL, BARE], &effort).await
    })
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
    ($upgrade:ty) => {
        any(async |Query(wanted): Query<ReadBuffer>, upgrade: $upgrade| {
            let upgrade = match wanted.kib {
                Some(kib) => upgrade.read_buffer_size(kib << 10),
                None => upgrade,
            };
            upgrade.on_upgrade(async |mut socket| {
                while let Some(Ok(message)) = socket.recv().await {
                    if socket.send(message).await.is_err() {
                        break;
                    }
                }
            })
        })
    };
}

#[derive(Deserialize)]
struct ReadBuffer {
    kib: Option<usize>,
}

/// The token has an end and the sessions are registered: the supervisor has everything to do that it can have.
fn app() -> Router {
    let layer = support::layer().sessions(&Sessions::new());
    Router::new().route(OURS.1, echo!(AuthenticatedUpgrade<Claims>)).layer(layer).route(BARE.1, echo!(WebSocketUpgrade))
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
        for ((_, path), samples) in &mut seen {
            samples.push(sample(&server, path, messages, effort.turn).await?);
        }
        // Each goes first as often as the others, should that make a difference.
        seen.rotate_left(1);
    }
    seen.rotate_right(effort.rounds % sides.len());

    println!(
        "\necho of {}: messages per second, and processor time of the server, to those of the first",
        messages.name
    );
    let first: Vec<Sample> = seen.first().map(|(_, samples)| samples.clone()).unwrap_or_default();
    for ((name, _), samples) in &seen {
        let to_first =
            |of: fn(&Sample) -> f64| spread(samples.iter().zip(&first).map(|(own, first)| of(own) / of(first)));
        println!(
            "{name:<22} {:>7.0}/s {} {:>8.2} µs {}",
            Spread::of(samples.iter().map(|own| own.rate)).median,
            to_first(|sample| sample.rate),
            Spread::of(samples.iter().map(|own| own.time)).median,
            to_first(|sample| sample.time),
        );
    }
    Ok(())
}

fn spread(values: impl Iterator<Item = f64>) -> String {
    let Spread { lower, median, upper, .. } = Spread::of(values);
    format!("{median:.3} ({lower:.3} to {upper:.3})")
}

/// Opens sockets that then do nothing, and looks at the server's memory before and after. And once more when each has
/// echoed a message, as most idle sockets have at some time.
async fn memory(sides: &[Side], effort: &Effort) -> io::Result<()> {
    let sockets = effort.sockets.min(most_files()?.saturating_sub(100));
    if sockets < effort.sockets {
        println!("\nno more than {sockets} sockets: `ulimit -n` does not allow {}", effort.sockets);
    }
    println!("\nKiB of resident memory for each of {sockets} idle sockets; and after each has echoed 64 B");
    for (name, path) in sides {
        let mut seen = Vec::new();
        for _ in 0..effort.servers {
            seen.push(memory_of(path, sockets).await?);
        }
        println!("{name:<22} {}; {}", spread(seen.iter().map(|seen| seen.0)), spread(seen.iter().map(|seen| seen.1)));
    }
    Ok(())
}

async fn memory_of(path: &str, count: usize) -> io::Result<(f64, f64)> {
    let server = Server::start("both")?;
    let message = Messages::new("64 B", 64, 1);
    // What is allocated once is there after this.
    let mut first = open(&server, path, "first").await?;
    message.exchange(&mut first, Duration::from_millis(1)).await?;
    let before = server.settled_memory().await?;

    let mut sockets = Vec::new();
    for number in 0..count {
        sockets.push(open(&server, path, &format!("user-{number}")).await?);
    }
    let idle = server.settled_memory().await?;
    for socket in &mut sockets {
        socket.write_all(&message.sent).await?;
        socket.read_exact(&mut vec![0; message.received]).await?;
    }
    let each = |after: f64| (after - before) / count as f64;
    Ok((each(idle), each(server.settled_memory().await?)))
}
