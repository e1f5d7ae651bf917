//! The processor time of keep-alive for 100,000 idle sockets at 30 seconds, as the share of a core; and the memory of a
//! socket with it.
//!
//! Fewer sockets are pinged at the same rate, so the interval is shorter by as much. Their clients run in this process
//! and the server in another, on a thread of its own. What the kernel does for the server's reads and writes counts
//! too. Not measured: that the state of more sockets fits less well into the processor's caches.

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

mod support;

use std::{
    cell::Cell,
    future::pending,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use axum::{Router, response::Response, routing::any};
use axum_ws_auth::{AuthenticatedUpgrade, Sessions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{LocalSet, spawn_local},
    time::sleep,
};

use support::{
    Claims,
    goal::Goal,
    is_test,
    server::{Server, be_server, most_files, wanted},
    spread::Spread,
    tcp::{connect, runtime, to_bytes},
};

/// What is measured: this many sockets at this interval.
const SOCKETS: u32 = 100_000;
const EVERY: Duration = Duration::from_secs(30);
/// As many as loopback has ports for.
const MOST: usize = 20_000;

const PING: &[u8] = b"\x89\x0akeep-alive";
const PONG: &[u8] = b"\x8a\x8a\0\0\0\0keep-alive";

fn main() -> io::Result<()> {
    if let Some(millis) = wanted() {
        return be_server(app(Duration::from_millis(millis.parse().map_err(io::Error::other)?)));
    }
    if !Server::can_be_measured() {
        println!("not run: processor time is read as Linux shows it");
        return Ok(());
    }
    let (most, turns, turn) =
        if is_test() { (20, 1, Duration::from_millis(50)) } else { (MOST, 10, Duration::from_secs(6)) };
    runtime()?.block_on(measure(most.min(most_files()?.saturating_sub(100)), turns, turn))
}

/// The two ways of a handler: it waits for messages, or never looks at the socket.
async fn receive(upgrade: AuthenticatedUpgrade<Claims>) -> Response {
    upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
}

async fn only_hold(upgrade: AuthenticatedUpgrade<Claims>) -> Response {
    upgrade.on_upgrade(async |socket| {
        let _held = socket;
        pending::<()>().await;
    })
}

fn app(every: Duration) -> Router {
    let sessions = Sessions::new();
    let silent = support::layer().sessions(&sessions);
    let pinged = silent.clone().keep_alive(every, Duration::from_secs(20)).expect("not zero");
    Router::new()
        .route("/receive", any(receive).layer(pinged.clone()))
        .route("/hold", any(only_hold).layer(pinged))
        .route("/silent", any(receive).layer(silent))
}

async fn measure(sockets: usize, turns: usize, turn: Duration) -> io::Result<()> {
    let share = u32::try_from(sockets).map_err(io::Error::other)?;
    let every = EVERY / SOCKETS * share;
    println!(
        "| {sockets} sockets, pinged every {every:?} | goal | % of a core | pings/s | goal | resident KiB for each |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for (name, path, goal) in [
        ("the handler receives", "/receive", Goal::AtMost(5.0)),
        ("the handler never looks at the socket", "/hold", Goal::AtMost(5.0)),
        ("without keep-alive", "/silent", Goal::None),
    ] {
        let server = Server::start(&every.as_millis().to_string())?;
        let pings = Rc::new(Cell::new(0_u32));
        let clients = LocalSet::new();
        let (share, rate, memory) = clients
            .run_until(async {
                // Allocates what is allocated once.
                let first = connect(server.address, &to_bytes(&support::chromium("first").path(path).build())).await?;
                spawn_local(answer(first, Rc::clone(&pings)));
                let without = server.settled_memory().await?;
                for number in 0..sockets {
                    let request = support::chromium(&format!("user-{number}")).path(path);
                    let stream = connect(server.address, &to_bytes(&request.build())).await?;
                    spawn_local(answer(stream, Rc::clone(&pings)));
                }
                // Until the pings have spread.
                sleep(every * 3).await;
                pings.set(0);
                let begin = Instant::now();
                let mut shares = Vec::new();
                for _ in 0..turns {
                    let (start, before) = (Instant::now(), server.time()?);
                    sleep(turn).await;
                    let busy = server.time()? - before;
                    shares.push(busy / 1e6 / start.elapsed().as_secs_f64() * 100.0);
                }
                let rate = f64::from(pings.get()) / begin.elapsed().as_secs_f64();
                let memory = (server.memory()? - without) / f64::from(share);
                Ok::<_, io::Error>((Spread::of(shares), rate, memory))
            })
            .await?;
        let small = Goal::AtMost(3.0);
        println!(
            "| {name} | {goal} | {} | {rate:.0} | {small} | {} |",
            goal.judge(share.median, &share.to_string()),
            small.judge(memory, &format!("{memory:.2}"))
        );
    }
    Ok(())
}

/// Answers pings until the server closes.
async fn answer(mut stream: TcpStream, pings: Rc<Cell<u32>>) -> io::Result<()> {
    let mut ping = [0; PING.len()];
    loop {
        stream.read_exact(&mut ping).await?;
        if ping != PING {
            return Err(io::Error::other("no ping"));
        }
        pings.set(pings.get() + 1);
        stream.write_all(PONG).await?;
    }
}
